package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A push consumer that handles messages concurrently. */
@ExtendWith(SharedServer.class)
class PushConsumerTest {
    /** Each message is delivered once, whether it was there before the consumer or came later. */
    @Test
    void everyMessageIsDeliveredOnce(Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        Set<String> bodies = new HashSet<>(Clients.send(producer, topic, 100));
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        inbox.awaitAtLeast(100);
        bodies.addAll(Clients.send(producer, topic, 100));

        inbox.awaitExactly(200);
        assertEquals(bodies, Set.copyOf(inbox.bodies()));
    }

    /** A waiting consumer is given a new message at once, not at its next poll. */
    @Test
    void newMessageArrivesAtOnce(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        Clients.send(producer, topic, 1);
        inbox.awaitAtLeast(1);

        // A slow moment of the tester's machine is no finding: a message that waits for a poll waits for seconds each time.
        long fastest = Long.MAX_VALUE;
        for (int i = 2; i <= 11; i++) {
            long sent = System.nanoTime();
            Clients.send(producer, topic, 1);
            inbox.awaitAtLeast(i);
            fastest = Math.min(fastest, (System.nanoTime() - sent) / 1_000_000);
        }
        assertTrue(fastest < 1_000, "the fastest arrived after " + fastest + " ms");
    }

    /** {@code A || B} delivers the messages tagged A or B, and no others. */
    @Test
    void tagsAreFiltered(Clients clients) throws Exception {
        String topic = clients.topic(4);
        sendTagged(clients, topic, List.of("A", "B", "C"), 20);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.subscribe(topic, "A || B");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();

        inbox.awaitExactly(40);
        assertEquals(Map.of("A", 20, "B", 20), tags(inbox.all()));
    }

    /** Tags with the same hash code are told apart. */
    @Test
    void tagsOfEqualHashAreToldApart(Clients clients) throws Exception {
        assertEquals("Aa".hashCode(), "BB".hashCode());
        String topic = clients.topic(1);
        sendTagged(clients, topic, List.of("Aa", "BB"), 10);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.subscribe(topic, MessageSelector.byTag("Aa"));
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();

        inbox.awaitExactly(10);
        assertEquals(Map.of("Aa", 10), tags(inbox.all()));
    }

    /** A tag filter lets new messages through to a consumer that already waits. */
    @Test
    void filterAppliesToWaitingConsumer(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.subscribe(topic, "wanted");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        sendTagged(clients, topic, List.of("wanted"), 1);
        inbox.awaitAtLeast(1);

        sendTagged(clients, topic, List.of("other"), 50);
        sendTagged(clients, topic, List.of("wanted", "other"), 5);
        inbox.awaitExactly(6);
        assertEquals(Map.of("wanted", 6), tags(inbox.all()));
    }

    /** Two groups each get everything. */
    @Test
    void groupsDoNotShare(Clients clients) throws Exception {
        String topic = clients.topic(4);
        Inbox first = new Inbox();
        Inbox second = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, first);
        clients.pushConsumer(clients.newGroup(), topic, second);
        Set<String> bodies = Set.copyOf(Clients.send(clients.producer(), topic, 40));

        first.awaitExactly(40);
        second.awaitExactly(40);
        assertEquals(bodies, Set.copyOf(first.bodies()));
        assertEquals(bodies, Set.copyOf(second.bodies()));
    }

    /** One consumer may read several topics, each with its own filter. */
    @Test
    void oneConsumerReadsSeveralTopics(Clients clients) throws Exception {
        String all = clients.topic(2);
        String some = clients.topic(2);
        sendTagged(clients, all, List.of("A", "B"), 10);
        sendTagged(clients, some, List.of("A", "B"), 10);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.subscribe(all, "*");
        consumer.subscribe(some, "A");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();

        inbox.awaitExactly(30);
        assertEquals(20, inbox.all().stream().filter(message -> message.getTopic().equals(all)).count());
        assertEquals(Map.of("A", 20, "B", 10), tags(inbox.all()));
    }

    /** A running consumer may subscribe to a further topic and leave an old one. */
    @Test
    void subscriptionMayChangeAtRunTime(Clients clients) throws Exception {
        String before = clients.topic(2);
        String after = clients.topic(2);
        DefaultMQProducer producer = clients.producer();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.pushConsumer(clients.newGroup(), before, inbox);
        inbox.awaitBodies(Clients.send(producer, before, 10));

        consumer.subscribe(after, "*");
        inbox.awaitBodies(Clients.send(producer, after, 10));
        consumer.unsubscribe(before);
        Clients.send(producer, before, 10);
        inbox.awaitBodies(Clients.send(producer, after, 10));
        inbox.awaitAtLeast(30);
    }

    /** A consumer that starts before its topic exists finds it when it comes. */
    @Test
    void consumerMayBeThereBeforeItsTopic(Clients clients) throws Exception {
        String topic = clients.newTopic();
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        List<String> bodies = Clients.send(clients.producer(), topic, 20);

        inbox.awaitExactly(20);
        assertEquals(Set.copyOf(bodies), Set.copyOf(inbox.bodies()));
    }

    /** A listener may take several messages at a time. */
    @Test
    void listenerMayTakeBatches(Clients clients) throws Exception {
        String topic = clients.topic(1);
        clients.producer().send(Clients.numbered(64).stream().map(body -> Clients.message(topic, body)).toList());
        AtomicInteger largest = new AtomicInteger();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.setConsumeMessageBatchMaxSize(16);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            largest.accumulateAndGet(batch.size(), Math::max);
            inbox.addAll(batch);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();

        inbox.awaitExactly(64);
        assertEquals(Set.copyOf(Clients.numbered(64)), Set.copyOf(inbox.bodies()));
        assertEquals(16, largest.get());
    }

    /** Thousands of messages flow through without loss or repetition. */
    @Test
    void thousandsFlowThrough(Clients clients) throws Exception {
        String topic = clients.topic(8);
        DefaultMQProducer producer = clients.producer();
        Set<String> seen = ConcurrentHashMap.newKeySet();
        AtomicInteger repeated = new AtomicInteger();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            for (MessageExt message : batch) {
                if (!seen.add(Clients.body(message))) {
                    repeated.incrementAndGet();
                }
            }
            inbox.addAll(batch);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Set<String> bodies = Set.copyOf(Clients.send(producer, topic, 5_000));

        inbox.awaitExactly(5_000);
        assertEquals(0, repeated.get());
        assertEquals(bodies, seen);
    }

    private static void sendTagged(Clients clients, String topic, List<String> tags, int each) throws Exception {
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < each; i++) {
            for (String tag : tags) {
                producer.send(Clients.message(topic, tag, tag + i));
            }
        }
    }

    private static Map<String, Integer> tags(List<MessageExt> messages) {
        Map<String, Integer> counts = new ConcurrentHashMap<>();
        messages.forEach(message -> counts.merge(message.getTags(), 1, Integer::sum));
        return counts;
    }
}
