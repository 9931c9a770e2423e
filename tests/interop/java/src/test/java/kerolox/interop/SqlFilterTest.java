package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Messages selected by their properties. */
@ExtendWith(OwnServer.class)
class SqlFilterTest {
    private static final int SYSTEM_ERROR = 1;
    private static final int SUBSCRIPTION_PARSE_FAILED = 23;

    /** A push consumer gets the messages of which its expression is true, those before it and those after. */
    @Test
    void pushConsumerGetsWhatItSelects(Clients clients, Server server) throws Exception {
        DefaultMQProducer producer = filtering(clients, server, true);
        String topic = clients.topic(2);
        sendNumbered(producer, topic, 0, 20);
        Inbox inbox = new Inbox();
        consumer(clients, clients.newGroup(), topic, "n > 5 AND n NOT BETWEEN 8 AND 17 AND TAGS IN ('even')", inbox);
        assertEquals(List.of("18", "6"), sorted(Clients.bodies(inbox.awaitExactly(2))));

        sendNumbered(producer, topic, 20, 24);
        assertEquals(List.of("18", "20", "22", "6"), sorted(Clients.bodies(inbox.awaitExactly(4))));
    }

    /** What is not known is not true, and not false; what cannot be compared selects nothing. */
    @Test
    void messagesWithoutAPropertyAreUnknown(Clients clients, Server server) throws Exception {
        DefaultMQProducer producer = filtering(clients, server, true);
        String topic = clients.topic(1);
        send(producer, topic, "none", Map.of());
        send(producer, topic, "x", Map.of("a", "x"));
        send(producer, topic, "5", Map.of("a", "5"));
        send(producer, topic, "5.0", Map.of("a", "5.0"));
        Map<String, List<String>> selected = Map.of(
            "a <> 'x'", List.of("5", "5.0"),
            "NOT (a = 'x')", List.of("5", "5.0"),
            "a IS NULL OR a = 'x'", List.of("none", "x"),
            "a > 4", List.of("5"),
            "a = 5.0", List.of("5", "5.0"),
            "a NOT CONTAINS 'x'", List.of("5", "5.0"));
        Map<String, Inbox> inboxes = new HashMap<>();
        for (String expression : selected.keySet()) {
            inboxes.put(expression, new Inbox());
            consumer(clients, clients.newGroup(), topic, expression, inboxes.get(expression));
        }
        for (String expression : selected.keySet()) {
            int count = selected.get(expression).size();
            List<String> got = Clients.bodies(inboxes.get(expression).awaitExactly(count));
            assertEquals(selected.get(expression), sorted(got), expression);
        }
    }

    /** A lite pull consumer selects in the same way. */
    @Test
    void litePullConsumerGetsWhatItSelects(Clients clients, Server server) throws Exception {
        DefaultMQProducer producer = filtering(clients, server, true);
        String topic = clients.topic(2);
        sendNumbered(producer, topic, 0, 10);
        clients.readAtLeast(topic, 10);
        DefaultLitePullConsumer consumer = clients.newLitePullConsumer(clients.newGroup());
        consumer.subscribe(topic, MessageSelector.bySql("n < 3 OR n = 7"));
        consumer.start();
        List<MessageExt> polled = new ArrayList<>();
        Await.until(() -> "4 messages are polled; " + polled.size() + " were", () -> {
            polled.addAll(consumer.poll(100));
            return polled.size() >= 4;
        });
        assertEquals(List.of("0", "1", "2", "7"), sorted(Clients.bodies(polled)));
    }

    /** What a queue holds that nobody selects is passed over, however much it is. */
    @Test
    void muchThatIsNotSelectedIsPassedOver(Clients clients, Server server) throws Exception {
        DefaultMQProducer producer = filtering(clients, server, true);
        String topic = clients.topic(1);
        for (int i = 0; i < 30; i++) {
            List<Message> batch = new ArrayList<>();
            for (int k = 0; k < 100; k++) {
                batch.add(Clients.message(topic, "unwanted"));
            }
            producer.send(batch);
        }
        send(producer, topic, "wanted", Map.of("n", "1"));
        Inbox inbox = new Inbox();
        consumer(clients, clients.newGroup(), topic, "n = 1", inbox);
        assertEquals(List.of("wanted"), Clients.bodies(inbox.awaitExactly(1)));
    }

    /** A consumer that subscribes anew gets what the new expression selects. */
    @Test
    void subscriptionMayChange(Clients clients, Server server) throws Exception {
        DefaultMQProducer producer = filtering(clients, server, true);
        String topic = clients.topic(1);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = consumer(clients, clients.newGroup(), topic, "n = 1", inbox);
        send(producer, topic, "first", Map.of("n", "1"));
        inbox.awaitExactly(1);

        consumer.subscribe(topic, MessageSelector.bySql("n = 2"));
        send(producer, topic, "second", Map.of("n", "2"));
        send(producer, topic, "neither", Map.of("n", "3"));
        assertEquals(List.of("first", "second"), Clients.bodies(inbox.awaitExactly(2)));
    }

    /** A consumer with an expression that is none does not start. */
    @Test
    void badExpressionsAreRefused(Clients clients, Server server) throws Exception {
        filtering(clients, server, true);
        String topic = clients.topic(1);
        for (String bad : List.of("n >", "n > 'x'", "n = NULL", "n IN (1)", "n != 1", "5", "n BETWEEN 2 AND 1", "n = 99999999999999999999")) {
            MQClientException refused = assertThrows(MQClientException.class,
                () -> consumer(clients, clients.newGroup(), topic, bad, new Inbox()), bad);
            assertEquals(SUBSCRIPTION_PARSE_FAILED, refused.getResponseCode(), bad);
        }
    }

    /** A broker that is not told to filter refuses expressions. */
    @Test
    void expressionsAreRefusedUnlessEnabled(Clients clients, Server server) throws Exception {
        filtering(clients, server, false);
        String topic = clients.topic(1);
        MQClientException refused = assertThrows(MQClientException.class,
            () -> consumer(clients, clients.newGroup(), topic, "n > 5", new Inbox()));
        assertEquals(SYSTEM_ERROR, refused.getResponseCode());
    }

    /** A producer, once the broker filters, or does not. */
    private static DefaultMQProducer filtering(Clients clients, Server server, boolean enabled) throws Exception {
        DefaultMQProducer producer = clients.producer();
        Properties properties = new Properties();
        properties.setProperty("enablePropertyFilter", Boolean.toString(enabled));
        producer.getDefaultMQProducerImpl().getmQClientFactory().getMQClientAPIImpl()
            .updateBrokerConfig(server.broker(), properties, Clients.TIMEOUT_MILLIS);
        return producer;
    }

    private static DefaultMQPushConsumer consumer(Clients clients, String group, String topic, String expression, Inbox inbox)
        throws MQClientException {
        DefaultMQPushConsumer consumer = clients.newPushConsumer(group);
        consumer.subscribe(topic, MessageSelector.bySql(expression));
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        return consumer;
    }

    private static void send(DefaultMQProducer producer, String topic, String body, Map<String, String> properties) throws Exception {
        Message message = Clients.message(topic, body);
        properties.forEach(message::putUserProperty);
        producer.send(message);
    }

    /** Messages whose bodies and property {@code n} are numbers, and whose tags tell whether they are even. */
    private static void sendNumbered(DefaultMQProducer producer, String topic, int from, int to) throws Exception {
        for (int n = from; n < to; n++) {
            Message message = Clients.message(topic, n % 2 == 0 ? "even" : "odd", Integer.toString(n));
            message.putUserProperty("n", Integer.toString(n));
            producer.send(message);
        }
    }

    private static List<String> sorted(List<String> bodies) {
        return bodies.stream().sorted().toList();
    }
}
