package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Batches kept as one record each ({@code queue.type=BatchCQ}). Clients of 4.9.7 send them without an id, so that theirs are not. */
@ExtendWith(SharedServer.class)
class BatchQueueTest {
    private static final long POLL_MILLIS = 100;

    /** Each message of a batch has a number, also beside messages sent by themselves, and comes as it was sent. */
    @Test
    void messagesOfBatchesAreNumberedOneByOne(Clients clients) throws Exception {
        String topic = clients.batchTopic(1);
        DefaultMQProducer producer = clients.producer();
        long next = 0;
        List<String> sent = new ArrayList<>();
        for (int size : List.of(1, 2, 5, 40)) {
            List<Message> batch = batch(topic, size, "of" + size + "-");
            SendResult result = producer.send(batch);
            assertEquals(next, result.getQueueOffset());
            next += size;
            sent.addAll(IntStream.range(0, size).mapToObj(i -> "of" + size + "-" + i).toList());
            assertEquals(next, producer.send(Clients.message(topic, "tag", "alone" + size)).getQueueOffset());
            next++;
            sent.add("alone" + size);
        }
        List<MessageExt> read = clients.readAtLeast(topic, sent.size());
        assertEquals(sent, Clients.bodies(read));
        assertEquals(LongStream.range(0, next).boxed().toList(), read.stream().map(MessageExt::getQueueOffset).toList());
        MessageExt last = read.get(read.size() - 2);
        assertEquals("tag", last.getTags());
        assertEquals("key39", last.getKeys());
        assertEquals("39", last.getUserProperty("número"));
        MessageQueue queue = clients.queues(topic).get(0);
        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        assertEquals(next, consumer.maxOffset(queue));
        assertEquals(0, consumer.minOffset(queue));
    }

    /** Who asks for a message in the middle of a batch gets it, and goes on behind the batch. */
    @Test
    void messageInTheMiddleIsFound(Clients clients) throws Exception {
        String topic = clients.batchTopic(1);
        DefaultMQProducer producer = clients.producer();
        producer.send(batch(topic, 10, "first"));
        producer.send(batch(topic, 10, "second"));
        clients.readAtLeast(topic, 20);
        MessageQueue queue = clients.queues(topic).get(0);
        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        for (int offset = 0; offset < 20; offset++) {
            int wanted = offset;
            PullResult result = consumer.pull(queue, "*", offset, 10);
            assertEquals(PullStatus.FOUND, result.getPullStatus());
            assertTrue(result.getMsgFoundList().stream().anyMatch(message -> message.getQueueOffset() == wanted));
            assertTrue(result.getNextBeginOffset() >= (offset < 10 ? 10 : 20), result.toString());
        }
        assertEquals(PullStatus.NO_NEW_MSG, consumer.pull(queue, "*", 20, 10).getPullStatus());
    }

    /** A push consumer gets every message once, those that were there and those that come while it waits. */
    @Test
    void pushConsumerGetsEveryMessage(Clients clients) throws Exception {
        String topic = clients.batchTopic(4);
        DefaultMQProducer producer = clients.producer();
        Set<String> expected = new HashSet<>();
        Inbox inbox = new Inbox();
        for (int round = 0; round < 20; round++) {
            if (round == 10) {
                clients.pushConsumer(clients.newGroup(), topic, inbox);
                inbox.awaitAtLeast(expected.size());
            }
            String prefix = "round" + round + "-";
            producer.send(batch(topic, 1 + round, prefix));
            IntStream.rangeClosed(0, round).forEach(i -> expected.add(prefix + i));
        }
        inbox.awaitExactly(expected.size());
        assertEquals(expected, Set.copyOf(inbox.bodies()));
    }

    /** A message of a batch that cannot be consumed comes again, by itself. */
    @Test
    void failedMessageComesAgainAlone(Clients clients) throws Exception {
        String topic = clients.batchTopic(1);
        clients.producer().send(batch(topic, 3, "x"));
        Inbox inbox = new Inbox();
        var consumer = clients.newPushConsumer(clients.newGroup());
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrentlyAfterOneFailure(1));
        consumer.start();
        List<String> all = new ArrayList<>(Clients.bodies(inbox.awaitExactly(6)));
        all.sort(null);
        assertEquals(List.of("x0", "x0", "x1", "x1", "x2", "x2"), all);
    }

    /** A lite pull consumer polls every message, commits, and its group goes on behind them. */
    @Test
    void litePullConsumerPollsAndCommits(Clients clients) throws Exception {
        String topic = clients.batchTopic(1);
        DefaultMQProducer producer = clients.producer();
        producer.send(batch(topic, 7, "a"));
        producer.send(batch(topic, 5, "b"));
        String group = clients.newGroup();
        var consumer = clients.newLitePullConsumer(group);
        consumer.setAutoCommit(false);
        consumer.subscribe(topic, "*");
        consumer.start();
        List<String> polled = new ArrayList<>();
        Await.until(() -> "12 messages are polled; " + polled.size() + " are", () -> {
            polled.addAll(Clients.bodies(consumer.poll(POLL_MILLIS)));
            return polled.size() >= 12;
        });
        List<String> expected = new ArrayList<>();
        IntStream.range(0, 7).forEach(i -> expected.add("a" + i));
        IntStream.range(0, 5).forEach(i -> expected.add("b" + i));
        assertEquals(expected, polled);
        consumer.commitSync();
        MessageQueue queue = clients.queues(topic).get(0);
        Await.until("the offset is committed", () -> consumer.committed(queue) == 12);
    }

    private static List<Message> batch(String topic, int count, String prefix) {
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Message message = Clients.message(topic, "tag", prefix + i);
            message.setKeys("key" + i);
            message.putUserProperty("número", Integer.toString(i));
            batch.add(message);
        }
        return batch;
    }
}
