package kerolox.store;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientException;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.java.impl.producer.SendReceiptImpl;
import org.apache.rocketmq.client.java.message.MessageViewImpl;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;

/**
 * The same as {@link Chat} by the gRPC API, whose consumer also hides messages for longer and acknowledges each. The
 * arguments: the broker, who serves the API, a topic.
 */
public final class GrpcChat {
    private static final int ALL = 200;
    private static final int LARGE = 20_000;
    private static final int QUEUES = 4;
    private static final int AT_A_TIME = 16;
    private static final int QUEUE_IN_HANDLE = 6;
    private static final String GROUP = "chat-consumers";
    private static final Duration HIDDEN = Duration.ofSeconds(300);
    /** The shortest that a server holds a receiving call. */
    private static final Duration POLL = Duration.ofSeconds(5);
    private static final Duration PATIENCE = Duration.ofSeconds(180);
    private static final ClientServiceProvider PROVIDER = ClientServiceProvider.loadService();

    private GrpcChat() {
    }

    public static void main(String[] args) {
        Lines.tell(() -> run(args[0], args[1], args[2]));
    }

    private static void run(String broker, String proxy, String topic) throws Exception {
        Api api = new Api(broker);
        TopicConfig config = new TopicConfig(topic, QUEUES, QUEUES);
        config.setAttributes(Map.of("+message.type", "NORMAL"));
        api.client.createTopic(broker, "TBW102", config, Api.PATIENCE_MILLIS);
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName(GROUP);
        api.client.createSubscriptionGroup(broker, group, Api.PATIENCE_MILLIS);
        ClientConfiguration configuration = ClientConfiguration.newBuilder().setEndpoints(proxy).enableSsl(false)
            .setRequestTimeout(PATIENCE).build();
        try (Producer producer = producer(configuration, topic)) {
            for (int i = 0; i < ALL; i++) {
                // Some need more than one packet, and more than one frame. Only the server knows the queue.
                SendReceiptImpl sent = (SendReceiptImpl) producer.send(message(topic, i, i % 20 == 0 ? LARGE : i));
                Lines.print("sent",
                    "id", sent.getMessageId().toString(),
                    "offset", sent.getOffset());
            }
        }
        consume(configuration, topic);
    }

    private static Message message(String topic, int number, int size) {
        byte[] body = "x".repeat(size + 1).getBytes(StandardCharsets.UTF_8);
        return PROVIDER.newMessageBuilder().setTopic(topic).setTag("tag-" + number % 3).setKeys("key-" + number)
            .setBody(body).build();
    }

    /** A producer, once the name server knows the topic. */
    private static Producer producer(ClientConfiguration configuration, String topic) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (true) {
            try {
                return PROVIDER.newProducerBuilder().setClientConfiguration(configuration).setTopics(topic).build();
            } catch (ClientException | IllegalStateException notYet) {
                if (System.nanoTime() > deadline) {
                    throw notYet;
                }
                TimeUnit.MILLISECONDS.sleep(50);
            }
        }
    }

    private static void consume(ClientConfiguration configuration, String topic) throws Exception {
        Set<String> received = new HashSet<>();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        try (SimpleConsumer consumer = PROVIDER.newSimpleConsumerBuilder().setClientConfiguration(configuration)
                .setConsumerGroup(GROUP).setAwaitDuration(POLL)
                .setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL)).build()) {
            while (received.size() < ALL) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(ALL - received.size() + " messages are not received");
                }
                for (MessageView view : consumer.receive(AT_A_TIME, HIDDEN)) {
                    MessageViewImpl message = (MessageViewImpl) view;
                    String id = message.getMessageId().toString();
                    received.add(id);
                    // The queue that the message came from stands in its handle alone.
                    String queue = message.getReceiptHandle().split(" ")[QUEUE_IN_HANDLE];
                    Lines.print("received",
                        "id", id,
                        "queue", Integer.parseInt(queue),
                        "offset", message.getOffset());
                    if (received.size() % 10 == 0) {
                        consumer.changeInvisibleDuration(view, HIDDEN);
                        Lines.print("hidden", "id", id);
                    }
                    consumer.ack(view);
                    Lines.print("acknowledged", "id", id);
                }
            }
        }
    }
}
