import static java.nio.charset.StandardCharsets.UTF_8;

import com.alibaba.fastjson2.JSON;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * RocketMQ's own clients for Java: that of the remoting protocol, in TLS with {@code tls.enable}, and that of gRPC,
 * plain or in TLS.
 */
public final class JavaClient {
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final String GROUP = "java";
    private static final String COLOUR = "colour";
    private static final int RECEIVED_AT_ONCE = 32;

    private JavaClient() {
    }

    private interface Api {
        void send(String topic, String body, String tag, String key, String colour) throws Exception;

        void receive(String topic, int count, String group) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        Api api = args[0].equals("remoting") ? new Remoting(args[1]) : new Grpc(args[1], args[0].equals("grpcs"));
        if (args[2].equals("send")) {
            api.send(args[3], args[4], args[5], args[6], args[7]);
            System.out.println("sent");
        } else {
            api.receive(args[3], Integer.parseInt(args[4]), args[5]);
        }
        // Threads of the clients stay behind.
        System.exit(0);
    }

    private static void print(String body, Map<String, String> properties) {
        System.out.println(JSON.toJSONString(Map.of("body", body, "properties", properties)));
    }

    private record Remoting(String nameServer) implements Api {
        @Override
        public void send(String topic, String body, String tag, String key, String colour) throws Exception {
            DefaultMQProducer producer = new DefaultMQProducer(GROUP);
            producer.setNamesrvAddr(nameServer);
            // A send that is given up may have been done; a second one would count twice.
            producer.setSendMsgTimeout((int) PATIENCE.toMillis());
            producer.start();
            Message message = new Message(topic, tag, key, body.getBytes(UTF_8));
            message.putUserProperty(COLOUR, colour);
            producer.send(message);
            producer.shutdown();
        }

        @Override
        public void receive(String topic, int count, String group) throws Exception {
            BlockingQueue<MessageExt> received = new LinkedBlockingQueue<>();
            DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
            consumer.setNamesrvAddr(nameServer);
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                received.addAll(messages);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
            for (int i = 0; i < count; i++) {
                MessageExt message = received.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS);
                print(new String(message.getBody(), UTF_8), message.getProperties());
            }
            consumer.shutdown();
        }
    }

    private record Grpc(ClientServiceProvider provider, ClientConfiguration configuration) implements Api {
        Grpc(String endpoint, boolean encrypted) {
            this(ClientServiceProvider.loadService(),
                ClientConfiguration.newBuilder().setEndpoints(endpoint)
                .enableSsl(encrypted).setRequestTimeout(PATIENCE).build());
        }

        @Override
        public void send(String topic, String body, String tag, String key, String colour) throws Exception {
            Producer producer =
                provider.newProducerBuilder().setClientConfiguration(configuration).setTopics(topic).build();
            producer.send(provider.newMessageBuilder().setTopic(topic).setBody(body.getBytes(UTF_8)).setTag(tag)
                .setKeys(key).addProperty(COLOUR, colour).build());
            producer.close();
        }

        @Override
        public void receive(String topic, int count, String group) throws Exception {
            SimpleConsumer consumer = provider.newSimpleConsumerBuilder().setClientConfiguration(configuration)
                .setConsumerGroup(group).setAwaitDuration(PATIENCE)
                .setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL)).build();
            for (int left = count; left > 0;) {
                for (MessageView message : consumer.receive(RECEIVED_AT_ONCE, PATIENCE)) {
                    consumer.ack(message);
                    Map<String, String> properties = new HashMap<>(message.getProperties());
                    message.getTag().ifPresent(tag -> properties.put("TAGS", tag));
                    properties.put("KEYS", String.join(" ", message.getKeys()));
                    print(UTF_8.decode(message.getBody()).toString(), properties);
                    left--;
                }
            }
            consumer.close();
        }
    }
}
