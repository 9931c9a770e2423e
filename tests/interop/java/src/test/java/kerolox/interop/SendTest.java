package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** The ways of sending. */
@ExtendWith(SharedServer.class)
class SendTest {
    private static final int MANY = 200;

    /** A synchronous send tells where the message lies, and it lies there. */
    @Test
    void syncSendTellsWhereTheMessageLies(Clients clients) throws Exception {
        String topic = clients.topic(4);
        SendResult sent = clients.producer().send(Clients.message(topic, "TagA", "hello"));

        assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
        assertEquals(0, sent.getQueueOffset());
        assertEquals(topic, sent.getMessageQueue().getTopic());
        MessageExt read = clients.readAtLeast(topic, 1).get(0);
        assertEquals("hello", Clients.body(read));
        assertEquals("TagA", read.getTags());
        assertEquals(sent.getMsgId(), read.getMsgId());
        assertEquals(sent.getMessageQueue().getQueueId(), read.getQueueId());
        assertEquals(sent.getMessageQueue().getBrokerName(), read.getBrokerName());
    }

    /** Nobody has to create a topic: the first message does, with the producer's four queues. */
    @Test
    void firstMessageCreatesTheTopic(Clients clients) throws Exception {
        String topic = clients.newTopic();
        DefaultMQProducer producer = clients.producer();
        List<String> bodies = Clients.send(producer, topic, 8);

        assertEquals(Set.copyOf(bodies), Set.copyOf(Clients.bodies(clients.readAtLeast(topic, 8))));
        assertEquals(4, clients.queues(topic).size());
    }

    /** The producer's number of queues for new topics counts, up to the template topic's eight. */
    @Test
    void newTopicHasAsManyQueuesAsTheProducerSaysUpToEight(Clients clients) throws Exception {
        for (int[] askedAndGiven : new int[][] {{1, 1}, {8, 8}, {16, 8}}) {
            String topic = clients.newTopic();
            DefaultMQProducer producer = clients.newProducer();
            producer.setDefaultTopicQueueNums(askedAndGiven[0]);
            producer.start();
            Clients.send(producer, topic, 1);
            clients.readAtLeast(topic, 1);
            assertEquals(askedAndGiven[1], clients.queues(topic).size(), "queues when asked for " + askedAndGiven[0]);
        }
    }

    /** Messages go to the queues of a topic in turn. */
    @Test
    void syncSendTakesTheQueuesInTurn(Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        TreeMap<Integer, Integer> perQueue = new TreeMap<>();
        for (int i = 0; i < 40; i++) {
            SendResult sent = producer.send(Clients.message(topic, "in turn"));
            perQueue.merge(sent.getMessageQueue().getQueueId(), 1, Integer::sum);
        }
        assertEquals(List.of(10, 10, 10, 10), List.copyOf(perQueue.values()));
    }

    /** Every asynchronous send is answered, and every message that was acknowledged can be consumed. */
    @Test
    void asyncSendsAreAllAnswered(Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        CountDownLatch answered = new CountDownLatch(MANY);
        ConcurrentLinkedQueue<SendResult> results = new ConcurrentLinkedQueue<>();
        ConcurrentLinkedQueue<Throwable> failures = new ConcurrentLinkedQueue<>();
        for (int i = 0; i < MANY; i++) {
            producer.send(Clients.message(topic, "async"), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    results.add(result);
                    answered.countDown();
                }

                @Override
                public void onException(Throwable failure) {
                    failures.add(failure);
                    answered.countDown();
                }
            });
        }
        assertTrue(answered.await(Await.PATIENCE.toSeconds(), TimeUnit.SECONDS), "all sends are answered");
        assertEquals(List.of(), List.copyOf(failures));

        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        assertEquals(ids(results), readIds(inbox.awaitExactly(MANY)));
    }

    /** One-way messages are not acknowledged, but they arrive. */
    @Test
    void oneWayMessagesArrive(Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < MANY; i++) {
            producer.sendOneway(Clients.message(topic, "one way " + i));
        }
        List<MessageExt> read = clients.readAtLeast(topic, MANY);
        assertEquals(MANY, Set.copyOf(Clients.bodies(read)).size());
        assertEquals(MANY, read.size());
    }

    /** A selector decides the queue; messages of one order keep their order in it. */
    @Test
    void selectorKeepsTheOrderOfEachKey(Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        for (int step = 0; step < 10; step++) {
            for (int order = 0; order < 8; order++) {
                SendResult sent = producer.send(Clients.message(topic, order + "/" + step),
                    (queues, message, key) -> queues.get((Integer) key % queues.size()), order);
                assertEquals(order % 4, sent.getMessageQueue().getQueueId());
            }
        }
        List<MessageExt> read = clients.readAtLeast(topic, 80);
        for (int order = 0; order < 8; order++) {
            String prefix = order + "/";
            List<String> steps = Clients.bodies(read).stream().filter(body -> body.startsWith(prefix)).toList();
            List<String> expected = new ArrayList<>();
            for (int step = 0; step < 10; step++) {
                expected.add(prefix + step);
            }
            assertEquals(expected, steps);
        }
    }

    /** Asynchronous and one-way sends accept a selector and a fixed queue as well. */
    @Test
    void everyWayOfSendingCanNameTheQueue(Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        MessageQueue third = producer.fetchPublishMessageQueues(topic).stream()
            .filter(queue -> queue.getQueueId() == 2).findFirst().orElseThrow();
        CountDownLatch answered = new CountDownLatch(1);
        SendCallback callback = new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                answered.countDown();
            }

            @Override
            public void onException(Throwable failure) {
                failure.printStackTrace();
            }
        };
        producer.send(Clients.message(topic, "sync"), third);
        producer.send(Clients.message(topic, "async"), third, callback);
        assertTrue(answered.await(Await.PATIENCE.toSeconds(), TimeUnit.SECONDS), "the asynchronous send is acknowledged");
        producer.sendOneway(Clients.message(topic, "one way"), third);
        producer.sendOneway(Clients.message(topic, "selected"), (queues, message, key) -> third, null);

        List<MessageExt> read = clients.readAtLeast(topic, 4);
        assertEquals(Set.of("sync", "async", "one way", "selected"), new HashSet<>(Clients.bodies(read)));
        read.forEach(message -> assertEquals(2, message.getQueueId()));
    }

    /** Offsets of a queue count up by one from zero. */
    @Test
    void queueOffsetsAreConsecutive(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 50; i++) {
            assertEquals(i, producer.send(Clients.message(topic, "m")).getQueueOffset());
        }
    }

    /** A message says whether its sender waits for storage; it is acknowledged and kept either way. */
    @Test
    void messageMayAskNotToWaitForStorage(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        for (boolean wait : new boolean[] {true, false}) {
            Message message = Clients.message(topic, "wait " + wait);
            message.setWaitStoreMsgOK(wait);
            assertEquals(SendStatus.SEND_OK, producer.send(message).getSendStatus());
        }
        for (MessageExt read : clients.readAtLeast(topic, 2)) {
            assertEquals(Clients.body(read), "wait " + read.isWaitStoreMsgOK());
        }
    }

    /** A topic name with forbidden characters is refused before anything is sent. */
    @Test
    void illegalTopicNameIsRefused(Clients clients) throws Exception {
        DefaultMQProducer producer = clients.producer();
        for (String illegal : List.of("no spaces", "no.dots", "ünicode", "", "x".repeat(128))) {
            assertThrows(MQClientException.class, () -> producer.send(Clients.message(illegal, "m")), illegal);
        }
    }

    /** A message without tag, keys or properties of the user's has none afterwards. */
    @Test
    void bareMessageStaysBare(Clients clients) throws Exception {
        String topic = clients.topic(1);
        clients.producer().send(Clients.message(topic, "bare"));
        MessageExt read = clients.readAtLeast(topic, 1).get(0);
        assertNull(read.getTags());
        assertNull(read.getKeys());
        assertEquals(0, read.getFlag());
        assertEquals(0, read.getReconsumeTimes());
        assertNotNull(read.getStoreHost());
        assertTrue(read.getBornTimestamp() <= read.getStoreTimestamp() + 1_000, "stored after it was made");
    }

    private static Set<String> ids(Iterable<SendResult> results) {
        Set<String> ids = new HashSet<>();
        results.forEach(result -> ids.add(result.getMsgId()));
        return ids;
    }

    private static Set<String> readIds(List<MessageExt> messages) {
        return messages.stream().map(MessageExt::getMsgId).collect(Collectors.toSet());
    }
}
