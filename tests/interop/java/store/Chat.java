package kerolox.store;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientIDSetter;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.topic.TopicValidator;

/**
 * A producer and a push consumer that tell what they sent and received, for who watches them. The arguments: the name
 * server, a topic.
 */
public final class Chat {
    private static final int SINGLE = 200;
    private static final int BATCHES = 20;
    private static final int IN_BATCH = 5;
    private static final int ONE_WAY = 30;
    private static final int ALL = SINGLE + BATCHES * IN_BATCH + ONE_WAY;
    private static final int LARGE = 20_000;
    private static final int PATIENCE_SECONDS = 180;

    private Chat() {
    }

    public static void main(String[] args) {
        Lines.tell(() -> run(args[0], args[1]));
    }

    private static void run(String nameServer, String topic) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("chat-producers");
        producer.setNamesrvAddr(nameServer);
        // A send that is given up may have been done; a second one would count twice.
        producer.setSendMsgTimeout((int) Api.PATIENCE_MILLIS);
        producer.start();
        awaitBroker(producer);
        for (int i = 0; i < SINGLE; i++) {
            // Some are large enough to be compressed, and for more than one packet.
            int size = i % 20 == 0 ? LARGE : i;
            Message message = message(topic, i, size);
            told(producer.send(message), List.of(message));
        }
        for (int i = 0; i < BATCHES; i++) {
            List<Message> batch = new ArrayList<>();
            for (int j = 0; j < IN_BATCH; j++) {
                batch.add(message(topic, i, j));
            }
            told(producer.send(batch), batch);
        }
        for (int i = 0; i < ONE_WAY; i++) {
            Message message = message(topic, i, i);
            producer.sendOneway(message);
            Lines.print("one-way", "id", MessageClientIDSetter.getUniqID(message));
        }
        consume(nameServer, topic);
        producer.shutdown();
    }

    private static Message message(String topic, int number, int size) {
        byte[] body = "x".repeat(size + 1).getBytes(StandardCharsets.UTF_8);
        return new Message(topic, "tag-" + number % 3, "key-" + number, body);
    }

    private static void told(SendResult result, List<Message> messages) {
        for (int i = 0; i < messages.size(); i++) {
            Lines.print("sent",
                "id", MessageClientIDSetter.getUniqID(messages.get(i)),
                "queue", result.getMessageQueue().getQueueId(),
                "offset", result.getQueueOffset() + i);
        }
    }

    /** Waits until the name server knows the broker, which listens before it registers there. */
    private static void awaitBroker(DefaultMQProducer producer) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (true) {
            try {
                producer.fetchPublishMessageQueues(TopicValidator.AUTO_CREATE_TOPIC_KEY_TOPIC);
                return;
            } catch (MQClientException notYet) {
                if (System.nanoTime() > deadline) {
                    throw notYet;
                }
                TimeUnit.MILLISECONDS.sleep(50);
            }
        }
    }

    private static void consume(String nameServer, String topic) throws Exception {
        CountDownLatch left = new CountDownLatch(ALL);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("chat-consumers");
        consumer.setNamesrvAddr(nameServer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                Lines.print("received",
                    "id", message.getMsgId(),
                    "queue", message.getQueueId(),
                    "offset", message.getQueueOffset());
                left.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        if (!left.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
            throw new IllegalStateException(left.getCount() + " messages are not received");
        }
        consumer.shutdown();
    }
}
