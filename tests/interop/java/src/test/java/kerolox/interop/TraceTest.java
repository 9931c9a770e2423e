package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Settings;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What clients tell of the messages that they send and consume. */
@ExtendWith(OwnServer.class)
@Settings("traceTopicEnable=true")
class TraceTest {
    private static final String TRACE_TOPIC = "RMQ_SYS_TRACE_TOPIC";
    private static final String FIELD = "\u0001";
    private static final String RECORD = "\u0002";

    /** The topic of traces is there, and tells who sent a message, who consumed it, and how that went. */
    @Test
    void sendingAndConsumingIsTold(Clients clients) throws Exception {
        assertEquals(1, clients.queues(TRACE_TOPIC).size());
        String topic = clients.topic(1);
        String producers = clients.newGroup();
        String consumers = clients.newGroup();
        SendResult sent = clients.tracedProducer(producers).send(Clients.message(topic, "body"));
        assertTrue(sent.isTraceOn());
        String id = sent.getMsgId();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.newTracedPushConsumer(consumers);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();

        Await.until("sending and consuming are told", () -> {
            List<List<String>> records = records(clients, id);
            return hasRecord(records, "Pub", producers, topic, "true")
                && hasRecord(records, "SubBefore", consumers)
                && hasRecord(records, "SubAfter", "true");
        });
        assertEquals(List.of("body"), inbox.bodies());
    }

    private static boolean hasRecord(List<List<String>> records, String kind, String... fields) {
        return records.stream().anyMatch(record -> record.get(0).equals(kind) && record.containsAll(List.of(fields)));
    }

    /** The records about a message, which is a key of those that bring them. */
    private static List<List<String>> records(Clients clients, String id) throws Exception {
        List<List<String>> records = new ArrayList<>();
        for (MessageExt message : clients.readAll(TRACE_TOPIC)) {
            if (message.getKeys().contains(id)) {
                for (String record : Clients.body(message).split(RECORD)) {
                    List<String> fields = List.of(record.split(FIELD));
                    if (fields.contains(id)) {
                        records.add(fields);
                    }
                }
            }
        }
        return records;
    }
}
