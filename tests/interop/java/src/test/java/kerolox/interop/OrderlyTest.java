package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A push consumer that handles the messages of each queue one after the other. */
@ExtendWith(SharedServer.class)
class OrderlyTest {
    private static final int QUEUES = 4;

    /** Messages of one queue are handled in the order in which they were sent. */
    @Test
    void orderIsKeptInEachQueue(Clients clients) throws Exception {
        String topic = clients.topic(QUEUES);
        sendNumbered(clients.producer(), topic, 0, 50);
        Inbox inbox = new Inbox();
        orderly(clients, clients.newGroup(), topic, inbox.orderly());

        inbox.awaitExactly(QUEUES * 50);
        assertInOrder(inbox.all(), 50);
    }

    /** A failed message is given again, and nothing behind it in its queue overtakes. */
    @Test
    void failedMessageHoldsBackItsQueue(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        for (String body : Clients.numbered(6)) {
            producer.send(Clients.message(topic, body));
        }
        Inbox inbox = new Inbox();
        AtomicInteger failures = new AtomicInteger();
        orderly(clients, clients.newGroup(), topic, (batch, context) -> {
            inbox.addAll(batch);
            if (Clients.body(batch.get(0)).equals("3") && failures.getAndIncrement() < 2) {
                context.setSuspendCurrentQueueTimeMillis(100);
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });

        inbox.awaitExactly(8);
        assertEquals(List.of("0", "1", "2", "3", "3", "3", "4", "5"), inbox.bodies());
    }

    /** A failed message holds back its own queue only. */
    @Test
    void otherQueuesGoOn(Clients clients) throws Exception {
        String topic = clients.topic(QUEUES);
        sendNumbered(clients.producer(), topic, 0, 10);
        Inbox inbox = new Inbox();
        orderly(clients, clients.newGroup(), topic, (batch, context) -> {
            if (batch.get(0).getQueueId() == 0) {
                context.setSuspendCurrentQueueTimeMillis(200);
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            inbox.addAll(batch);
            return ConsumeOrderlyStatus.SUCCESS;
        });

        inbox.awaitExactly((QUEUES - 1) * 10);
    }

    /** When a second consumer joins, the queues that move are still handled in order, and none by both. */
    @Test
    void orderIsKeptWhenQueuesMove(Clients clients) throws Exception {
        String topic = clients.topic(QUEUES);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Inbox both = new Inbox();
        Inbox second = new Inbox();
        orderly(clients, group, topic, both.orderly());
        sendNumbered(producer, topic, 0, 25);
        both.awaitAtLeast(QUEUES * 25);

        orderly(clients, group, topic, (batch, context) -> {
            second.addAll(batch);
            both.addAll(batch);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        int[] sent = {25};
        Await.until("the second consumer gets messages", () -> {
            sendNumbered(producer, topic, sent[0], 1);
            sent[0]++;
            return second.size() > 0;
        });
        both.awaitExactly(QUEUES * sent[0]);
        assertInOrder(both.all(), sent[0]);
    }

    /** A group of orderly consumers continues where it left off. */
    @Test
    void nextConsumerContinues(Clients clients) throws Exception {
        String topic = clients.topic(QUEUES);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        sendNumbered(producer, topic, 0, 10);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer first = orderly(clients, group, topic, inbox.orderly());
        inbox.awaitExactly(QUEUES * 10);
        first.shutdown();

        sendNumbered(producer, topic, 10, 10);
        orderly(clients, group, topic, inbox.orderly());
        inbox.awaitExactly(QUEUES * 20);
        assertInOrder(inbox.all(), 20);
    }

    private static DefaultMQPushConsumer orderly(Clients clients, String group, String topic, MessageListenerOrderly listener) throws Exception {
        DefaultMQPushConsumer consumer = clients.newPushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(listener);
        consumer.start();
        return consumer;
    }

    /** Sends the numbers from {@code first} on to each queue. */
    private static void sendNumbered(DefaultMQProducer producer, String topic, int first, int count) throws Exception {
        for (int number = first; number < first + count; number++) {
            for (int queue = 0; queue < QUEUES; queue++) {
                producer.send(Clients.message(topic, Integer.toString(number)), (queues, message, key) -> queues.get((Integer) key), queue);
            }
        }
    }

    /** Each queue gave the numbers from zero on, in order. */
    private static void assertInOrder(List<MessageExt> messages, int perQueue) {
        Set<Integer> queues = messages.stream().map(MessageExt::getQueueId).collect(Collectors.toSet());
        assertEquals(QUEUES, queues.size());
        for (int queue : queues) {
            List<String> bodies = new ArrayList<>();
            messages.stream().filter(message -> message.getQueueId() == queue).forEach(message -> bodies.add(Clients.body(message)));
            assertEquals(Clients.numbered(perQueue), bodies, "queue " + queue);
        }
    }
}
