package kerolox.interop;

import static kerolox.interop.StaticTopics.map;
import static kerolox.interop.StaticTopics.part;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Topics whose logical queues are mapped to queues of two brokers. */
@ExtendWith(OwnServer.class)
class StaticTopicOverBrokersTest {
    private static final int GET_MAX_OFFSET = 30;
    private static final String LOGICAL_BROKER = "__syslo__global__";

    /** A queue is moved to the other broker, as {@code mqadmin remappingStaticTopic} does it, and clients notice nothing. */
    @Test
    @SuppressWarnings("deprecation")
    void queueMovesToAnotherBroker(Server server, Clients clients) throws Exception {
        try {
            Class.forName("org.apache.rocketmq.remoting.protocol.statictopic.TopicQueueMappingDetail");
        } catch (ClassNotFoundException old) {
            Assumptions.abort("this client knows no static topics");
        }
        String a = clients.queues(clients.topic(1)).get(0).getBrokerName();
        String b = "broker-b";
        String brokerB = server.startBroker(b);
        String topic = clients.newTopic();
        String atA = part(a, 0, 0, 0);
        String other = "1:[" + part(b, 0, 0, 0) + "]";
        map(clients, server.broker(), a, topic, 1, 1, "0:[" + atA + "]");
        map(clients, brokerB, b, topic, 1, 1, other);
        MessageQueue moving = new MessageQueue(topic, LOGICAL_BROKER, 0);
        MessageQueue staying = new MessageQueue(topic, LOGICAL_BROKER, 1);
        Await.until("both queues are routed", () -> clients.queues(topic).equals(List.of(moving, staying)));

        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        DefaultMQProducer producer = clients.producer();
        for (int offset = 0; offset < 3; offset++) {
            assertStored(a, moving, offset, producer.send(Clients.message(topic, Integer.toString(offset)), moving));
        }
        assertStored(b, staying, 0, producer.send(Clients.message(topic, "other"), staying));

        String undecided = "0:[" + atA + "," + part(b, 1, 1, -1) + "]";
        map(clients, brokerB, b, topic, 2, 2, undecided + "," + other);
        map(clients, server.broker(), a, topic, 2, 1, undecided);
        RemotingCommand end = clients.ask(GET_MAX_OFFSET, Map.of("topic", topic, "queueId", "0", "lo", "false"), "");
        assertEquals("3", end.getExtFields().get("offset"));
        String decided = "0:[" + atA + "," + part(b, 1, 1, 10_000) + "]";
        map(clients, brokerB, b, topic, 2, 2, decided + "," + other);
        map(clients, server.broker(), a, topic, 2, 1, decided);

        // The producer learns by its route where the queue is.
        Await.until("the other broker takes messages", () -> sendsAt(b, producer, moving, "3", 10_000));
        assertStored(b, moving, 10_001, producer.send(Clients.message(topic, "4"), moving));

        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        // Brokers of the reference look only every five seconds where the others are.
        Await.until("the new leader reaches the other broker", () -> consumer.pull(moving, "*", 0, 1) != null);
        assertPulled(PullStatus.FOUND, List.of("0", "1", "2"), 0, 3, consumer.pull(moving, "*", 0, 32));
        assertPulled(PullStatus.NO_MATCHED_MSG, List.of(), 0, 10_000, consumer.pull(moving, "*", 3, 32));
        assertPulled(PullStatus.FOUND, List.of("3", "4"), 10_000, 10_002, consumer.pull(moving, "*", 10_000, 32));
        assertEquals(0, consumer.minOffset(moving));
        assertEquals(10_002, consumer.maxOffset(moving));
        long first = consumer.pull(moving, "*", 0, 1).getMsgFoundList().get(0).getStoreTimestamp();
        assertEquals(first, consumer.earliestMsgStoreTime(moving));

        inbox.awaitBodies(List.of("0", "1", "2", "3", "4", "other"));
    }

    private static boolean sendsAt(String broker, DefaultMQProducer producer, MessageQueue queue, String body, long offset)
        throws Exception {
        assertStored(broker, queue, offset, producer.send(Clients.message(queue.getTopic(), body), queue));
        return true;
    }

    /** Senders are told which broker took the message. */
    private static void assertStored(String broker, MessageQueue queue, long offset, SendResult result) {
        assertEquals(offset, result.getQueueOffset());
        assertEquals(new MessageQueue(queue.getTopic(), broker, queue.getQueueId()), result.getMessageQueue());
    }

    /** Messages that follow each other from an offset on, and where the next ones are. */
    private static void assertPulled(PullStatus status, List<String> bodies, long offset, long next, PullResult result) {
        assertEquals(status, result.getPullStatus(), result.toString());
        assertEquals(next, result.getNextBeginOffset(), result.toString());
        List<MessageExt> found = result.getMsgFoundList() == null ? List.of() : result.getMsgFoundList();
        assertEquals(bodies, Clients.bodies(found));
        for (int i = 0; i < found.size(); i++) {
            assertEquals(offset + i, found.get(i).getQueueOffset());
            assertEquals(LOGICAL_BROKER, found.get(i).getBrokerName());
        }
    }
}
