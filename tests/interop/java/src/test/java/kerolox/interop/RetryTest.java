package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Messages that a consumer fails to handle. */
@ExtendWith(SharedServer.class)
class RetryTest {
    /** The delay of one second. */
    private static final int SHORTEST_DELAY = 1;

    /** A message put off comes again as it was, counting its attempts. */
    @Test
    void messagePutOffComesAgain(Clients clients) throws Exception {
        String topic = clients.topic(2);
        Message message = Clients.message(topic, "TagA", "try me");
        message.setKeys("key");
        message.putUserProperty("größe", "42");
        String id = clients.producer().send(message).getMsgId();

        Inbox inbox = new Inbox();
        concurrent(clients, clients.newGroup(), topic, "TagA", (batch, context) -> {
            inbox.addAll(batch);
            context.setDelayLevelWhenNextConsume(SHORTEST_DELAY);
            return batch.get(0).getReconsumeTimes() < 2
                ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });

        List<MessageExt> attempts = inbox.awaitExactly(3);
        for (int times = 0; times < 3; times++) {
            MessageExt attempt = attempts.get(times);
            assertEquals(times, attempt.getReconsumeTimes());
            assertEquals(topic, attempt.getTopic());
            assertEquals(id, attempt.getMsgId());
            assertEquals("try me", Clients.body(attempt));
            assertEquals("TagA", attempt.getTags());
            assertEquals("key", attempt.getKeys());
            assertEquals("42", attempt.getUserProperty("größe"));
        }
    }

    /** Without a wish of the listener, here one that throws, the first retry comes after ten seconds; the next delay is 30 s. */
    @Test
    void firstRetryComesAfterTenSeconds(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Clients.send(clients.producer(), topic, 1);
        Inbox inbox = new Inbox();
        long[] firstFailure = {0};
        long[] secondAttempt = {0};
        concurrent(clients, clients.newGroup(), topic, "*", (batch, context) -> {
            if (batch.get(0).getReconsumeTimes() == 0) {
                firstFailure[0] = System.nanoTime();
                throw new IllegalStateException("not today");
            }
            secondAttempt[0] = System.nanoTime();
            inbox.addAll(batch);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        inbox.awaitAtLeast(1);
        long millis = (secondAttempt[0] - firstFailure[0]) / 1_000_000;
        assertTrue(millis > 9_000 && millis < 30_000, "came after " + millis + " ms");
    }

    /** A message that fails more often than allowed goes to the group's dead letters and is not tried again. */
    @Test
    void hopelessMessageBecomesDeadLetter(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        Message message = Clients.message(topic, "TagA", "hopeless");
        message.setKeys("key");
        message.putUserProperty("color", "red");
        clients.producer().send(message);

        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(group);
        consumer.setMaxReconsumeTimes(2);
        start(consumer, topic, "*", (batch, context) -> {
            inbox.addAll(batch);
            context.setDelayLevelWhenNextConsume(SHORTEST_DELAY);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });

        inbox.awaitAtLeast(3);
        MessageExt dead = clients.readAtLeast("%DLQ%" + group, 1).get(0);
        assertEquals("hopeless", Clients.body(dead));
        assertEquals("TagA", dead.getTags());
        assertEquals("key", dead.getKeys());
        assertEquals("red", dead.getUserProperty("color"));
        inbox.awaitExactly(3);
    }

    /** Dead letters can be consumed like any other topic. */
    @Test
    void deadLettersCanBeConsumed(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        List<String> bodies = Clients.send(clients.producer(), topic, 3);
        DefaultMQPushConsumer consumer = clients.newPushConsumer(group);
        consumer.setMaxReconsumeTimes(0);
        start(consumer, topic, "*", (batch, context) -> ConsumeConcurrentlyStatus.RECONSUME_LATER);
        clients.readAtLeast("%DLQ%" + group, 3);

        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), "%DLQ%" + group, inbox);
        inbox.awaitExactly(3);
        assertEquals(bodies.stream().sorted().toList(), inbox.bodies().stream().sorted().toList());
    }

    /** A delay level below zero sends a message to the dead letters at its first failure. */
    @Test
    void listenerMayGiveUpAtOnce(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        List<String> bodies = Clients.send(clients.producer(), topic, 1);
        Inbox inbox = new Inbox();
        concurrent(clients, group, topic, "*", (batch, context) -> {
            inbox.addAll(batch);
            context.setDelayLevelWhenNextConsume(-1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        assertEquals(bodies, Clients.bodies(clients.readAtLeast("%DLQ%" + group, 1)));
        inbox.awaitExactly(1);
    }

    /** An orderly consumer tries a message on the spot, then gives it to the dead letters and goes on. */
    @Test
    void orderlyConsumerGivesUpToo(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        for (String body : List.of("good", "hopeless", "better")) {
            producer.send(Clients.message(topic, body));
        }
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(group);
        consumer.setMaxReconsumeTimes(2);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
            inbox.addAll(batch);
            context.setSuspendCurrentQueueTimeMillis(100);
            return Clients.body(batch.get(0)).equals("hopeless")
                ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();

        inbox.awaitExactly(5);
        assertEquals(List.of("good", "hopeless", "hopeless", "hopeless", "better"), inbox.bodies());
        assertEquals(List.of("hopeless"), Clients.bodies(clients.readAtLeast("%DLQ%" + group, 1)));
    }

    /** Of a batch, only the messages behind the acknowledged ones come again. */
    @Test
    void partOfBatchMayBeAcknowledged(Clients clients) throws Exception {
        String topic = clients.topic(1);
        clients.producer().send(Clients.numbered(10).stream().map(body -> Clients.message(topic, body)).toList());
        Map<String, Integer> deliveries = new ConcurrentHashMap<>();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.setConsumeMessageBatchMaxSize(10);
        start(consumer, topic, "*", (batch, context) -> {
            batch.forEach(message -> deliveries.merge(Clients.body(message), 1, Integer::sum));
            inbox.addAll(batch);
            context.setDelayLevelWhenNextConsume(SHORTEST_DELAY);
            if (batch.size() == 10) {
                context.setAckIndex(5);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });

        inbox.awaitExactly(14);
        Clients.numbered(10).forEach(body ->
            assertEquals(Integer.parseInt(body) > 5 ? 2 : 1, deliveries.get(body), "deliveries of " + body));
    }

    /** A retry goes to the group that asked for it, to no other. */
    @Test
    void otherGroupsDoNotSeeRetries(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Clients.send(clients.producer(), topic, 5);
        Inbox other = new Inbox();
        Inbox failing = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, other);
        concurrent(clients, clients.newGroup(), topic, "*", failing.concurrentlyAfterOneFailure(SHORTEST_DELAY));
        failing.awaitExactly(10);
        assertEquals(5, other.awaitExactly(5).size());
    }

    private static void concurrent(Clients clients, String group, String topic, String tags, MessageListenerConcurrently listener) throws Exception {
        start(clients.newPushConsumer(group), topic, tags, listener);
    }

    private static void start(DefaultMQPushConsumer consumer, String topic, String tags, MessageListenerConcurrently listener) throws Exception {
        consumer.subscribe(topic, tags);
        consumer.registerMessageListener(listener);
        consumer.start();
    }
}
