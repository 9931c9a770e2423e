package kerolox.interop.grpc;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.function.Executable;

/** What the server refuses, and by which code. */
@ExtendWith(OwnServer.class)
class GrpcRefusalTest {
    @Test
    void sendingToAnUnknownTopicIsRefused(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        try (GrpcClients grpc = new GrpcClients(server, false)) {
            Producer producer = grpc.producer(topic);
            refused("TOPIC_NOT_FOUND", 40402, () -> producer.send(GrpcClients.plain(clients.newTopic(), "lost")));
        }
    }

    @Test
    void anInvisibleTimeHasBounds(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        try (GrpcClients grpc = new GrpcClients(server, false)) {
            SimpleConsumer consumer = grpc.simpleConsumer(clients.group(), topic);
            refused("ILLEGAL_INVISIBLE_TIME", 40011, () -> consumer.receive(1, Duration.ofSeconds(9)));
            refused("ILLEGAL_INVISIBLE_TIME", 40011, () -> consumer.receive(1, Duration.ofHours(13)));
        }
    }

    @Test
    void aHandleThatIsExpiredIsRefused(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        try (GrpcClients grpc = new GrpcClients(server, false)) {
            SimpleConsumer consumer = grpc.simpleConsumer(clients.group(), topic);
            grpc.producer(topic).send(GrpcClients.plain(topic, "late"));
            MessageView received = GrpcClients.receive(consumer, 1, Duration.ofSeconds(10)).get(0);
            consumer.changeInvisibleDuration(received, Duration.ofMillis(0));
            // The new handle is expired at once.
            refused("INVALID_RECEIPT_HANDLE", 40013, () -> consumer.ack(received));
        }
    }

    @Test
    void aPropertyOfTheSystemIsRefused(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        try (GrpcClients grpc = new GrpcClients(server, false)) {
            Producer producer = grpc.producer(topic);
            refused("ILLEGAL_MESSAGE_PROPERTY_KEY", 40007,
                () -> producer.send(GrpcClients.message(topic, "x").addProperty("KEYS", "k").build()));
        }
    }

    @Test
    void aDelayOfMoreThanADayIsRefused(Server server, Clients clients) throws Exception {
        String topic = clients.topicWith("+message.type=DELAY", 1);
        try (GrpcClients grpc = new GrpcClients(server, false)) {
            Producer producer = grpc.producer(topic);
            long late = System.currentTimeMillis() + Duration.ofDays(2).toMillis();
            refused("ILLEGAL_DELIVERY_TIME", 40012,
                () -> producer.send(GrpcClients.message(topic, "x").setDeliveryTimestamp(late).build()));
        }
    }

    @Test
    void wrongSqlIsRefused(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        try (GrpcClients grpc = new GrpcClients(server, false)) {
            assertThrows(Exception.class, () -> grpc.simpleConsumer(clients.group(), topic,
                new FilterExpression("a &&", FilterExpressionType.SQL92))
                .receive(1, GrpcClients.HIDDEN));
        }
    }

    private static void refused(String name, int code, Executable call) {
        Exception failure = assertThrows(Exception.class, call);
        String told = String.valueOf(failure.getMessage());
        assertTrue(told.contains(Integer.toString(code)), name + " (" + code + ") is told: " + failure);
    }
}
