package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** One queue seen by its offsets. */
@ExtendWith(SharedServer.class)
@SuppressWarnings("deprecation")
class QueueTest {
    /** A queue's offsets run from its smallest to one behind its last. */
    @Test
    void offsetsBoundTheQueue(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        MessageQueue queue = clients.queues(topic).get(0);
        assertEquals(0, producer.minOffset(queue));
        assertEquals(0, producer.maxOffset(queue));

        Clients.send(producer, topic, 10);
        clients.readAtLeast(topic, 10);
        assertEquals(0, producer.minOffset(queue));
        assertEquals(10, producer.maxOffset(queue));
    }

    /** A moment leads to the first message stored at it or later. */
    @Test
    void momentLeadsToOffset(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        MessageQueue queue = clients.queues(topic).get(0);
        Clients.send(producer, topic, 5);
        long firstHalf = clients.readAtLeast(topic, 5).get(4).getStoreTimestamp();
        Await.until("the clock has moved on", () -> System.currentTimeMillis() > firstHalf + 10);
        Clients.send(producer, topic, 5);
        List<MessageExt> all = clients.readAtLeast(topic, 10);

        assertEquals(0, producer.searchOffset(queue, 0));
        assertEquals(0, producer.searchOffset(queue, all.get(0).getStoreTimestamp()));
        assertEquals(5, producer.searchOffset(queue, firstHalf + 1));
        assertEquals(5, producer.searchOffset(queue, all.get(5).getStoreTimestamp()));
        assertEquals(10, producer.searchOffset(queue, all.get(9).getStoreTimestamp() + 1));
        assertEquals(all.get(0).getStoreTimestamp(), producer.earliestMsgStoreTime(queue));
    }

    /** The id that a send returns finds the message again. */
    @Test
    void messageIsFoundByItsOffsetId(Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        for (String body : Clients.numbered(5)) {
            SendResult sent = producer.send(Clients.message(topic, "TagA", body));
            MessageExt found = producer.viewMessage(topic, sent.getOffsetMsgId());
            assertEquals(body, Clients.body(found));
            assertEquals("TagA", found.getTags());
            assertEquals(topic, found.getTopic());
            assertEquals(sent.getQueueOffset(), found.getQueueOffset());
            assertEquals(sent.getMessageQueue().getQueueId(), found.getQueueId());
        }
    }

    /** An id that leads nowhere is an error, not a wrong message. */
    @Test
    void unknownOffsetIdIsAnError(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        String id = producer.send(Clients.message(topic, "m")).getOffsetMsgId();
        String behind = id.substring(0, id.length() - 16) + "00000FFFFFFFFFFF";
        assertThrows(Exception.class, () -> producer.viewMessage(topic, behind));
    }

    /** A pull gives at most as many messages as asked for, and tells where to go on. */
    @Test
    void pullGivesWhatWasAskedFor(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Clients.send(clients.producer(), topic, 40);
        clients.readAtLeast(topic, 40);
        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        MessageQueue queue = clients.queues(topic).get(0);

        PullResult some = consumer.pull(queue, "*", 3, 10);
        assertEquals(PullStatus.FOUND, some.getPullStatus());
        assertEquals(10, some.getMsgFoundList().size());
        assertEquals(3, some.getMsgFoundList().get(0).getQueueOffset());
        assertEquals(13, some.getNextBeginOffset());
        assertEquals(0, some.getMinOffset());
        assertEquals(40, some.getMaxOffset());
        assertEquals(32, consumer.pull(queue, "*", 0, 100).getMsgFoundList().size());
    }

    /** A pull says why it found nothing. */
    @Test
    void pullSaysWhyItFoundNothing(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 5; i++) {
            producer.send(Clients.message(topic, "A", "m"));
        }
        clients.readAtLeast(topic, 5);
        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        MessageQueue queue = clients.queues(topic).get(0);

        assertEquals(PullStatus.NO_NEW_MSG, consumer.pull(queue, "*", 5, 10).getPullStatus());
        PullResult filtered = consumer.pull(queue, "B", 0, 10);
        assertEquals(PullStatus.NO_MATCHED_MSG, filtered.getPullStatus());
        assertEquals(5, filtered.getNextBeginOffset());
        PullResult beyond = consumer.pull(queue, "*", 99, 10);
        assertEquals(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus());
        assertEquals(5, beyond.getNextBeginOffset());
    }

    /** A pull that waits is answered as soon as a message comes. */
    @Test
    void waitingPullIsAnsweredByTheNextMessage(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        MessageQueue queue = clients.queues(topic).get(0);
        Clients.send(producer, topic, 1);
        clients.readAtLeast(topic, 1);

        CompletableFuture<PullResult> waiting = CompletableFuture.supplyAsync(() -> {
            try {
                return consumer.pullBlockIfNotFound(queue, "*", 1, 10);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        Await.holds(() -> "the pull waits", Duration.ofMillis(500), () -> !waiting.isDone());
        List<String> bodies = Clients.send(producer, topic, 1);
        PullResult result = waiting.get();
        assertEquals(PullStatus.FOUND, result.getPullStatus());
        assertEquals(bodies, Clients.bodies(result.getMsgFoundList()));
        assertTrue(result.getMaxOffset() >= 2);
    }
}
