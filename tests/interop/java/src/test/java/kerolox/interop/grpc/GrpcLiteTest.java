package kerolox.interop.grpc;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import kerolox.interop.fixture.Settings;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.LitePushConsumer;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Lite topics, with the client's own consumer of them. */
@ExtendWith(OwnServer.class)
@Settings({"enableLmq=true", "enableMultiDispatch=true"})
class GrpcLiteTest {
    private static final int UPDATE_AND_CREATE_GROUP = 200;

    @BeforeAll
    static void onlyWhereTheyAreServed() {
        assumeFalse("reference".equals(System.getProperty("kerolox.against")),
            "the reference's proxy serves no subscriptions to lite topics in local mode: NullPointerException");
    }

    /** A consumer gets the lite topics that it has subscribed to, each in order, until it leaves them. */
    @Test
    void consumerGetsItsLiteTopicsInOrder(Server server, Clients clients) throws Exception {
        String topic = clients.topicWith("+message.type=LITE", 1);
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        try (GrpcClients grpc = new GrpcClients(server)) {
            LitePushConsumer consumer = grpc.litePushConsumer(group(clients, topic, true, ""), topic, message -> {
                String body = GrpcClients.body(message);
                assertEquals(Optional.of(body.substring(0, 1)), message.getLiteTopic());
                seen.add(body);
                return ConsumeResult.SUCCESS;
            });
            consumer.subscribeLite("a");
            consumer.subscribeLite("b");
            assertEquals(Set.of("a", "b"), consumer.getLiteTopicSet());
            Producer producer = grpc.producer(topic);
            for (String body : List.of("c0", "a0", "b0", "a1", "a2", "b1")) {
                send(producer, topic, body);
            }
            Await.until(() -> "all have come: " + seen, () -> seen.size() >= 5);
            assertEquals(List.of("a0", "a1", "a2"), of("a", seen));
            assertEquals(List.of("b0", "b1"), of("b", seen));

            consumer.unsubscribeLite("a");
            send(producer, topic, "a3");
            send(producer, topic, "b2");
            Await.until(() -> "b2 has come: " + seen, () -> seen.contains("b2"));
            assertEquals(List.of("a0", "a1", "a2"), of("a", seen));
        }
    }

    /** What a consumer fails comes again, and says so. */
    @Test
    void failedMessageComesAgain(Server server, Clients clients) throws Exception {
        String topic = clients.topicWith("+message.type=LITE", 1);
        List<Integer> attempts = Collections.synchronizedList(new ArrayList<>());
        try (GrpcClients grpc = new GrpcClients(server)) {
            LitePushConsumer consumer = grpc.litePushConsumer(group(clients, topic, false, ""), topic, message -> {
                attempts.add(message.getDeliveryAttempt());
                return message.getDeliveryAttempt() == 1 ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
            });
            consumer.subscribeLite("a");
            send(grpc.producer(topic), topic, "a0");
            Await.until(() -> "it comes again: " + attempts, () -> attempts.size() == 2);
            assertEquals(List.of(1, 2), List.copyOf(attempts));
        }
    }

    /** A lite topic of an exclusive group goes to who has subscribed last, and the other one hears of it. */
    @Test
    void lastSubscriberOfAnExclusiveGroupGetsTheLiteTopic(Server server, Clients clients) throws Exception {
        String topic = clients.topicWith("+message.type=LITE", 1);
        String group = group(clients, topic, false, ",\"+lite.sub.model\":\"Exclusive\"");
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        try (GrpcClients grpc = new GrpcClients(server)) {
            LitePushConsumer first = grpc.litePushConsumer(group, topic, message -> {
                seen.add("first");
                return ConsumeResult.SUCCESS;
            });
            LitePushConsumer last = grpc.litePushConsumer(group, topic, message -> {
                seen.add("last");
                return ConsumeResult.SUCCESS;
            });
            first.subscribeLite("a");
            last.subscribeLite("a");
            Await.until("the first one has lost it", () -> first.getLiteTopicSet().isEmpty());
            send(grpc.producer(topic), topic, "a0");
            Await.until(() -> "it has come: " + seen, () -> !seen.isEmpty());
            assertEquals(List.of("last"), List.copyOf(seen));
        }
    }

    private static List<String> of(String liteTopic, List<String> seen) {
        return List.copyOf(seen).stream().filter(one -> one.startsWith(liteTopic)).toList();
    }

    private static void send(Producer producer, String topic, String body) throws Exception {
        producer.send(GrpcClients.message(topic, body).setLiteTopic(body.substring(0, 1)).build());
    }

    /** A group that receives the lite topics of a topic. */
    private static String group(Clients clients, String topic, boolean orderly, String attributes) throws Exception {
        String group = clients.newGroup();
        RemotingCommand made = clients.ask(UPDATE_AND_CREATE_GROUP, Map.of(), "{\"groupName\":\"" + group
            + "\",\"consumeMessageOrderly\":" + orderly + ",\"attributes\":{\"+lite.bind.topic\":\"" + topic + "\"" + attributes + "}}");
        assertEquals(0, made.getCode(), made.getRemark());
        return group;
    }
}
