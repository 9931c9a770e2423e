package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.stream.IntStream;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import kerolox.interop.fixture.Settings;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Topics that keep the last message of each key ({@code cleanup.policy=COMPACTION}), five messages in a file. */
@ExtendWith(OwnServer.class)
@Settings({"compactionScheduleInternal=1000", "compactionCqMappedFileSize=276", "compactionMappedFileSize=27600"})
class CompactionTest {
    private static final int MESSAGE_ILLEGAL = 13;

    /** Of older messages the last one of each key is left, with its number, also after a crash; the youngest are all there. */
    @Test
    void lastMessageOfEachKeyIsLeft(Server server, Clients clients) throws Exception {
        String topic = clients.compactedTopic(1);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 23; i++) {
            producer.send(keyed(topic, "key" + i % 3, Integer.toString(i)));
        }
        MessageQueue queue = clients.queues(topic).get(0);
        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        // Four files are full: 17, 18 and 19 are the last of their keys in there.
        List<String> left = IntStream.range(17, 23).mapToObj(Integer::toString).toList();
        Await.until("older messages are compacted", () -> Clients.pullAll(consumer, queue, 4).size() == left.size());
        List<MessageExt> read = Clients.pullAll(consumer, queue, 4);
        assertEquals(left, Clients.bodies(read));
        for (MessageExt message : read) {
            assertEquals(Clients.body(message), Long.toString(message.getQueueOffset()));
        }
        PullResult first = consumer.pull(queue, "*", 3, 1);
        assertEquals(PullStatus.FOUND, first.getPullStatus());
        assertEquals(18, first.getNextBeginOffset());
        assertEquals(23, first.getMaxOffset());

        server.kill();
        server.start();

        Await.until("the server is back", () -> Clients.pullAll(consumer, queue, 4).size() == left.size());
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        assertEquals(left, inbox.awaitExactly(left.size()).stream().map(Clients::body).sorted().toList());
        producer.send(keyed(topic, "key0", "behind"));
        inbox.awaitBodies(List.of("behind"));
    }

    /** A topic of a batch queue is compacted as well. */
    @Test
    void batchQueueIsCompacted(Clients clients) throws Exception {
        String topic = clients.topicWith("+cleanup.policy=COMPACTION,+queue.type=BatchCQ", 1);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 23; i++) {
            assertEquals(i, producer.send(keyed(topic, "key" + i % 3, Integer.toString(i))).getQueueOffset());
        }
        MessageQueue queue = clients.queues(topic).get(0);
        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        List<String> left = IntStream.range(17, 23).mapToObj(Integer::toString).toList();
        Await.until("older messages are compacted", () -> Clients.pullAll(consumer, queue, 4).size() == left.size());
        assertEquals(left, Clients.bodies(Clients.pullAll(consumer, queue, 4)));
        List<Message> batch = IntStream.range(0, 4).mapToObj(i -> keyed(topic, "key" + i, "of-batch" + i)).toList();
        assertEquals(23, producer.send(batch).getQueueOffset());
        assertEquals(27, producer.send(keyed(topic, "key0", "behind")).getQueueOffset());
    }

    /** A message without keys is refused. */
    @Test
    void messageWithoutKeysIsRefused(Clients clients) throws Exception {
        String topic = clients.compactedTopic(1);
        MQBrokerException refused = assertThrows(MQBrokerException.class,
            () -> clients.producer().send(Clients.message(topic, "body")));
        assertEquals(MESSAGE_ILLEGAL, refused.getResponseCode());
        assertTrue(refused.getErrorMessage().contains("Required message key is missing"), refused.getErrorMessage());
    }

    private static Message keyed(String topic, String key, String body) {
        Message message = Clients.message(topic, body);
        message.setKeys(key);
        return message;
    }
}
