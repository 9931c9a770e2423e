package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import kerolox.interop.fixture.Settings;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Light queues: messages of a topic that are in other queues as well. */
@ExtendWith(OwnServer.class)
@Settings({"enableLmq=true", "enableMultiDispatch=true"})
class LmqTest {
    private static final String BROKER = "broker-a";

    /** A message is read from its topic and from each light queue that it names, by any group, also after a crash. */
    @Test
    void messagesAreInTheQueuesThatTheyName(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        MessageQueue first = lightQueue(clients);
        MessageQueue second = lightQueue(clients);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 10; i++) {
            String names = i % 2 == 0 ? first.getTopic() : first.getTopic() + "," + second.getTopic();
            producer.send(message(topic, names, "body" + i));
        }
        clients.readAtLeast(topic, 10);
        DefaultMQPullConsumer consumer = consumer(clients, topic);
        DefaultMQPullConsumer other = consumer(clients, topic);
        for (DefaultMQPullConsumer reader : List.of(consumer, other)) {
            awaitEnd(reader, first, 10);
            assertEquals(Clients.numbered(10).stream().map(i -> "body" + i).toList(), Clients.bodies(Clients.pullAll(reader, first, 3)));
            awaitEnd(reader, second, 5);
            assertEquals(List.of("body1", "body3", "body5", "body7", "body9"), Clients.bodies(Clients.pullAll(reader, second, 3)));
            assertEquals(0, reader.minOffset(second));
        }
        List<MessageExt> read = Clients.pullAll(consumer, second, 3);
        assertEquals(topic, read.get(4).getTopic());
        assertEquals("9,4", read.get(4).getProperty("INNER_MULTI_QUEUE_OFFSET"));

        server.kill();
        server.start();

        producer.send(message(topic, second.getTopic(), "behind"));
        awaitEnd(consumer, second, 6);
        assertEquals(List.of("body1", "body3", "body5", "body7", "body9", "behind"), Clients.bodies(Clients.pullAll(consumer, second, 3)));
        awaitEnd(consumer, first, 10);
    }

    /** Each group has its own offset in a light queue, and keeps it when the server is restarted. */
    @Test
    void groupsHaveOffsetsInLightQueues(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        MessageQueue queue = lightQueue(clients);
        for (int i = 0; i < 3; i++) {
            clients.producer().send(message(topic, queue.getTopic(), "body" + i));
        }
        DefaultMQPullConsumer one = consumer(clients, topic);
        DefaultMQPullConsumer two = consumer(clients, topic);
        awaitEnd(one, queue, 3);
        for (DefaultMQPullConsumer consumer : List.of(one, two)) {
            assertEquals(PullStatus.FOUND, consumer.pull(queue, "*", 0, 1).getPullStatus());
        }
        one.getOffsetStore().updateConsumeOffsetToBroker(queue, 2, false);
        two.getOffsetStore().updateConsumeOffsetToBroker(queue, 1, false);

        server.stop();
        server.start();

        Await.until("both offsets are there", () -> one.fetchConsumeOffset(queue, true) == 2
            && two.fetchConsumeOffset(queue, true) == 1);
    }

    private static MessageQueue lightQueue(Clients clients) {
        return new MessageQueue("%LMQ%" + clients.newTopic(), BROKER, 0);
    }

    private static Message message(String topic, String lightQueues, String body) {
        Message message = Clients.message(topic, body);
        message.putUserProperty("INNER_MULTI_DISPATCH", lightQueues);
        return message;
    }

    /** A consumer that knows the broker. */
    private static DefaultMQPullConsumer consumer(Clients clients, String topic) throws Exception {
        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        // Nobody but the topic's route tells it where the broker is.
        consumer.maxOffset(new MessageQueue(topic, BROKER, 0));
        return consumer;
    }

    private static void awaitEnd(DefaultMQPullConsumer consumer, MessageQueue queue, long end) throws Exception {
        Await.until(queue + " ends at " + end, () -> consumer.maxOffset(queue) == end);
    }
}
