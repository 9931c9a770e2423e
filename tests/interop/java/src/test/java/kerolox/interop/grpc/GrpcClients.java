package kerolox.interop.grpc;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Leaving;
import kerolox.interop.fixture.Server;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.LitePushConsumer;
import org.apache.rocketmq.client.apis.consumer.MessageListener;
import org.apache.rocketmq.client.apis.consumer.PushConsumer;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.TransactionChecker;

/** Clients of the gRPC API, all of which end with the test. */
final class GrpcClients implements AutoCloseable {
    static final ClientServiceProvider PROVIDER = ClientServiceProvider.loadService();
    /** How long a received message is hidden unless a scenario says otherwise. */
    static final Duration HIDDEN = Duration.ofSeconds(30);
    /** The shortest that a server holds a receiving call. */
    private static final Duration POLL = Duration.ofSeconds(5);

    private final ClientConfiguration configuration;
    private final Deque<AutoCloseable> open = new ArrayDeque<>();

    /** Clients that speak TLS, as they do by default. */
    GrpcClients(Server server) {
        this(server, true);
    }

    GrpcClients(Server server, boolean tls) {
        configuration = ClientConfiguration.newBuilder().setEndpoints(server.proxy()).enableSsl(tls)
            .setRequestTimeout(Duration.ofMillis(Clients.TIMEOUT_MILLIS)).build();
    }

    @Override
    public void close() {
        open.forEach(Leaving::soon);
    }

    Producer producer(String... topics) throws Exception {
        return opened(PROVIDER.newProducerBuilder().setClientConfiguration(configuration).setTopics(topics).build());
    }

    Producer transactionProducer(String topic, TransactionChecker checker) throws Exception {
        return opened(PROVIDER.newProducerBuilder().setClientConfiguration(configuration).setTopics(topic)
            .setTransactionChecker(checker).build());
    }

    SimpleConsumer simpleConsumer(String group, String topic, FilterExpression filter) throws Exception {
        return opened(PROVIDER.newSimpleConsumerBuilder().setClientConfiguration(configuration).setConsumerGroup(group)
            .setAwaitDuration(POLL).setSubscriptionExpressions(Map.of(topic, filter)).build());
    }

    SimpleConsumer simpleConsumer(String group, String topic) throws Exception {
        return simpleConsumer(group, topic, FilterExpression.SUB_ALL);
    }

    PushConsumer pushConsumer(String group, String topic, MessageListener listener) throws Exception {
        return opened(PROVIDER.newPushConsumerBuilder().setClientConfiguration(configuration).setConsumerGroup(group)
            .setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL)).setMessageListener(listener).build());
    }

    LitePushConsumer litePushConsumer(String group, String topic, MessageListener listener) throws Exception {
        return opened(PROVIDER.newLitePushConsumerBuilder().setClientConfiguration(configuration).setConsumerGroup(group)
            .bindTopic(topic).setMessageListener(listener).build());
    }

    private <T extends AutoCloseable> T opened(T client) {
        open.addFirst(client);
        return client;
    }

    static MessageBuilder message(String topic, String body) {
        return PROVIDER.newMessageBuilder().setTopic(topic).setBody(body.getBytes(StandardCharsets.UTF_8));
    }

    static Message plain(String topic, String body) {
        return message(topic, body).build();
    }

    static String body(MessageView message) {
        return StandardCharsets.UTF_8.decode(message.getBody()).toString();
    }

    static List<String> bodies(List<MessageView> messages) {
        return messages.stream().map(GrpcClients::body).toList();
    }

    /** Receives until there are so many messages, and acknowledges none. */
    static List<MessageView> receive(SimpleConsumer consumer, int count, Duration hidden) throws Exception {
        List<MessageView> received = new ArrayList<>();
        Await.until(() -> count + " messages are received, not " + bodies(received), () -> {
            received.addAll(consumer.receive(count, hidden));
            return received.size() >= count;
        });
        return received;
    }
}
