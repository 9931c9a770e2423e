package kerolox.interop.grpc;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicInteger;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import kerolox.interop.fixture.Settings;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.RecallReceipt;
import org.apache.rocketmq.client.apis.producer.SendReceipt;
import org.apache.rocketmq.client.apis.producer.Transaction;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Every kind of message and consumer of the gRPC API. */
@ExtendWith(OwnServer.class)
@Settings({"transactionTimeOut=1000", "transactionCheckInterval=500", "transactionOpBatchInterval=10",
    "enablePropertyFilter=true", "recallMessageEnable=true", "timerPrecisionMs=100"})
class GrpcMessagingTest {
    /** What a producer gives a message a consumer gets, and once it is acknowledged nobody gets it again. */
    @Test
    void simpleConsumerGetsWhatWasSent(Server server, Clients clients) throws Exception {
        String topic = clients.topic(2);
        String group = clients.group();
        try (GrpcClients grpc = new GrpcClients(server)) {
            SendReceipt sent = grpc.producer(topic).send(GrpcClients.message(topic, "größe").setTag("TagA")
                .setKeys("k1", "k2").addProperty("farbe", "blau").build());
            SimpleConsumer consumer = grpc.simpleConsumer(group, topic);
            MessageView received = GrpcClients.receive(consumer, 1, GrpcClients.HIDDEN).get(0);

            assertEquals(sent.getMessageId(), received.getMessageId());
            assertEquals("größe", GrpcClients.body(received));
            assertEquals(topic, received.getTopic());
            assertEquals(Optional.of("TagA"), received.getTag());
            assertEquals(Set.of("k1", "k2"), new TreeSet<>(received.getKeys()));
            assertEquals(Map.of("farbe", "blau"), received.getProperties());
            assertEquals(1, received.getDeliveryAttempt());
            consumer.ack(received);
            assertTrue(consumer.receive(1, GrpcClients.HIDDEN).isEmpty(), "it is consumed");
        }
    }

    /** A message that is not acknowledged in time comes again, and says so; one hidden for longer waits. */
    @Test
    void unacknowledgedMessageComesAgain(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        try (GrpcClients grpc = new GrpcClients(server)) {
            SimpleConsumer consumer = grpc.simpleConsumer(clients.group(), topic);
            grpc.producer(topic).send(GrpcClients.plain(topic, "again"));
            MessageView first = GrpcClients.receive(consumer, 1, Duration.ofSeconds(60)).get(0);
            consumer.changeInvisibleDuration(first, Duration.ofSeconds(1));

            MessageView second = GrpcClients.receive(consumer, 1, GrpcClients.HIDDEN).get(0);
            assertEquals(first.getMessageId(), second.getMessageId());
            assertEquals(2, second.getDeliveryAttempt());
            consumer.ack(second);
            assertTrue(consumer.receive(1, GrpcClients.HIDDEN).isEmpty(), "it is consumed");
        }
    }

    /** Tags and SQL92 choose. */
    @Test
    void filtersChoose(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        try (GrpcClients grpc = new GrpcClients(server)) {
            Producer producer = grpc.producer(topic);
            for (int i = 0; i < 6; i++) {
                producer.send(GrpcClients.message(topic, Integer.toString(i)).setTag(i % 2 == 0 ? "even" : "odd")
                    .addProperty("n", Integer.toString(i)).build());
            }
            SimpleConsumer odd = grpc.simpleConsumer(clients.group(), topic, new FilterExpression("odd || none"));
            assertEquals(List.of("1", "3", "5"), sorted(GrpcClients.receive(odd, 3, GrpcClients.HIDDEN)));
            SimpleConsumer large = grpc.simpleConsumer(clients.group(), topic,
                new FilterExpression("n > 3", FilterExpressionType.SQL92));
            assertEquals(List.of("4", "5"), sorted(GrpcClients.receive(large, 2, GrpcClients.HIDDEN)));
        }
    }

    /** A push consumer gets each message once, and one that it fails again. */
    @Test
    void pushConsumerGetsFailedMessagesAgain(Server server, Clients clients) throws Exception {
        String topic = clients.topic(4);
        ConcurrentMap<String, AtomicInteger> attempts = new ConcurrentHashMap<>();
        try (GrpcClients grpc = new GrpcClients(server)) {
            Producer producer = grpc.producer(topic);
            for (String body : Clients.numbered(20)) {
                producer.send(GrpcClients.plain(topic, body));
            }
            producer.send(GrpcClients.plain(topic, "fails"));
            grpc.pushConsumer(clients.group(), topic, message -> {
                String body = GrpcClients.body(message);
                int attempt = attempts.computeIfAbsent(body, key -> new AtomicInteger()).incrementAndGet();
                assertEquals(attempt, message.getDeliveryAttempt());
                return body.equals("fails") && attempt == 1 ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
            });
            Await.until(() -> "all have come, and one again: " + attempts,
                () -> attempts.size() == 21 && attempts.get("fails").get() == 2);
            attempts.remove("fails");
            assertTrue(attempts.values().stream().allMatch(count -> count.get() == 1), attempts.toString());
        }
    }

    /** Messages of a group come in their order, each after the one before it is acknowledged. */
    @Test
    void messageGroupKeepsItsOrder(Server server, Clients clients) throws Exception {
        String topic = clients.topicWith("+message.type=FIFO", 4);
        String group = clients.orderlyGroup();
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        try (GrpcClients grpc = new GrpcClients(server)) {
            Producer producer = grpc.producer(topic);
            for (String body : Clients.numbered(20)) {
                producer.send(GrpcClients.message(topic, body).setMessageGroup("one").build());
            }
            grpc.pushConsumer(group, topic, message -> {
                assertEquals(Optional.of("one"), message.getMessageGroup());
                seen.add(GrpcClients.body(message));
                return ConsumeResult.SUCCESS;
            });
            Await.until(() -> "all have come: " + seen, () -> seen.size() >= 20);
            assertEquals(Clients.numbered(20), List.copyOf(seen));
        }
    }

    /** A delayed message comes at its time, and one that is recalled never. */
    @Test
    void delayedMessageComesAtItsTimeUnlessRecalled(Server server, Clients clients) throws Exception {
        String topic = clients.topicWith("+message.type=DELAY", 1);
        try (GrpcClients grpc = new GrpcClients(server)) {
            Producer producer = grpc.producer(topic);
            SimpleConsumer consumer = grpc.simpleConsumer(clients.group(), topic);
            long due = System.currentTimeMillis() + 8_000;
            SendReceipt recalled = producer.send(
                GrpcClients.message(topic, "recalled").setDeliveryTimestamp(due).build());
            producer.send(GrpcClients.message(topic, "delayed").setDeliveryTimestamp(due).build());
            RecallReceipt receipt = producer.recallMessage(topic, recalled.getRecallHandle());
            assertEquals(recalled.getMessageId(), receipt.getMessageId());

            MessageView received = GrpcClients.receive(consumer, 1, GrpcClients.HIDDEN).get(0);
            assertTrue(System.currentTimeMillis() >= due - 1_000, "it does not come early");
            assertEquals("delayed", GrpcClients.body(received));
            consumer.ack(received);
            assertTrue(consumer.receive(1, GrpcClients.HIDDEN).isEmpty(), "the recalled one does not come");
        }
    }

    /** What is committed comes, at once or when the producer is asked; what is rolled back does not. */
    @Test
    void transactionsEndAsTheirProducerSays(Server server, Clients clients) throws Exception {
        String topic = clients.topicWith("+message.type=TRANSACTION", 1);
        try (GrpcClients grpc = new GrpcClients(server)) {
            Producer producer = grpc.transactionProducer(topic, message ->
                GrpcClients.body(message).equals("asked") ? TransactionResolution.COMMIT : TransactionResolution.UNKNOWN);
            SimpleConsumer consumer = grpc.simpleConsumer(clients.group(), topic);
            send(producer, topic, "rolled back").rollback();
            send(producer, topic, "committed").commit();
            send(producer, topic, "asked");

            List<MessageView> received = GrpcClients.receive(consumer, 2, GrpcClients.HIDDEN);
            assertEquals(List.of("asked", "committed"), sorted(received));
            for (MessageView message : received) {
                consumer.ack(message);
            }
            assertTrue(consumer.receive(1, GrpcClients.HIDDEN).isEmpty(), "the other one does not come");
        }
    }

    /** Clients of both protocols meet. */
    @Test
    void clientsOfBothProtocolsMeet(Server server, Clients clients) throws Exception {
        String topic = clients.topic(2);
        try (GrpcClients grpc = new GrpcClients(server)) {
            Inbox inbox = new Inbox();
            clients.pushConsumer(clients.newGroup(), topic, inbox);
            SimpleConsumer consumer = grpc.simpleConsumer(clients.group(), topic);
            grpc.producer(topic).send(GrpcClients.message(topic, "by gRPC").setTag("a").build());
            Message large = Clients.message(topic, "TagB", "x".repeat(10_000));
            clients.producer().send(large);

            assertEquals(List.of("by gRPC", "x".repeat(10_000)), sorted(GrpcClients.receive(consumer, 2, GrpcClients.HIDDEN)));
            List<String> remoting = inbox.awaitExactly(2).stream().map(Clients::body).sorted().toList();
            assertEquals(List.of("by gRPC", "x".repeat(10_000)), remoting);
        }
    }

    private static Transaction send(Producer producer, String topic, String body) throws Exception {
        Transaction transaction = producer.beginTransaction();
        producer.send(GrpcClients.plain(topic, body), transaction);
        return transaction;
    }

    private static List<String> sorted(List<MessageView> messages) {
        return GrpcClients.bodies(messages).stream().sorted().toList();
    }
}
