package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Many messages sent as one. */
@ExtendWith(SharedServer.class)
class BatchTest {
    /** A batch of 100 becomes 100 messages of their own, next to each other and in order. */
    @Test
    void batchOfHundredBecomesHundredMessages(Clients clients) throws Exception {
        String topic = clients.topic(4);
        List<Message> batch = batch(topic, 100, "x");
        SendResult sent = clients.producer().send(batch);

        assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
        assertEquals(100, sent.getMsgId().split(",").length);
        assertEquals(100, sent.getOffsetMsgId().split(",").length);
        List<MessageExt> read = clients.readAtLeast(topic, 100);
        for (int i = 0; i < 100; i++) {
            MessageExt message = read.get(i);
            assertEquals("x" + i, Clients.body(message));
            assertEquals("tag" + i % 2, message.getTags());
            assertEquals("key" + i, message.getKeys());
            assertEquals(Integer.toString(i), message.getUserProperty("número"));
            assertEquals(sent.getMessageQueue().getQueueId(), message.getQueueId());
            assertEquals(sent.getQueueOffset() + i, message.getQueueOffset());
        }
        assertEquals(List.of(sent.getMsgId().split(",")), read.stream().map(MessageExt::getMsgId).toList());
    }

    /** The messages of a batch are filtered and consumed one by one. */
    @Test
    void batchIsFilteredByMessage(Clients clients) throws Exception {
        String topic = clients.topic(1);
        clients.producer().send(batch(topic, 20, "x"));

        Inbox inbox = new Inbox();
        var consumer = clients.newPushConsumer(clients.newGroup());
        consumer.subscribe(topic, "tag1");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.awaitExactly(10).forEach(message -> assertEquals("tag1", message.getTags()));
    }

    /** A batch can be sent to one queue, and later batches follow the earlier ones. */
    @Test
    void batchesToOneQueueFollowEachOther(Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        MessageQueue last = producer.fetchPublishMessageQueues(topic).stream()
            .filter(queue -> queue.getQueueId() == 3).findFirst().orElseThrow();
        List<String> expected = new ArrayList<>();
        for (int round = 0; round < 5; round++) {
            String prefix = "round" + round + "-";
            SendResult sent = producer.send(batch(topic, 10, prefix), last);
            assertEquals(round * 10, sent.getQueueOffset());
            for (int i = 0; i < 10; i++) {
                expected.add(prefix + i);
            }
        }
        assertEquals(expected, Clients.bodies(clients.readAtLeast(topic, 50)));
    }

    /** A batch above the server's limit is refused whole: none of its messages is stored. */
    @Test
    void batchAboveTheLimitIsRefusedWhole(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.newProducer();
        producer.setMaxMessageSize(16 * 1024 * 1024);
        producer.start();

        List<Message> tooLarge = batch(topic, 50, "x".repeat(100_000));
        // The reference answers "system error", which the client retries and then reports as MQClientException;
        // a server that answers "message illegal", as for one message, makes it MQBrokerException.
        Exception refused = assertThrows(Exception.class, () -> producer.send(tooLarge));
        assertTrue(refused instanceof MQClientException || refused instanceof MQBrokerException, refused.toString());

        producer.send(batch(topic, 3, "small"));
        assertEquals(Set.of("small0", "small1", "small2"), Set.copyOf(Clients.bodies(clients.readAtLeast(topic, 3))));
    }

    /** A batch creates its topic like a single message does. */
    @Test
    void batchCreatesTheTopic(Clients clients) throws Exception {
        String topic = clients.newTopic();
        clients.producer().send(batch(topic, 10, "x"));
        assertEquals(10, clients.readAtLeast(topic, 10).size());
    }

    private static List<Message> batch(String topic, int count, String prefix) {
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Message message = Clients.message(topic, "tag" + i % 2, prefix + i);
            message.setKeys("key" + i);
            message.putUserProperty("número", Integer.toString(i));
            batch.add(message);
        }
        return batch;
    }
}
