package kerolox.interop.grpc;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What tools ask consumers by gRPC through the broker. */
@ExtendWith(OwnServer.class)
class GrpcToolsTest {
    private static final int GET_CONSUMER_LIST_BY_GROUP = 38;
    private static final int CONSUME_MESSAGE_DIRECTLY = 309;
    private static final Pattern FIRST_ID = Pattern.compile("\\[\"([^\"]+)\"\\]");

    /** A consumer is listed, and consumes a message when it is told to. */
    @Test
    void consumerIsAskedThroughItsBroker(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.group();
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        try (GrpcClients grpc = new GrpcClients(server)) {
            grpc.pushConsumer(group, topic, message -> {
                seen.add(GrpcClients.body(message));
                return ConsumeResult.SUCCESS;
            });
            SendResult sent = clients.producer().send(Clients.message(topic, "m"));
            Await.until("it has come", () -> seen.size() == 1);
            String client = onlyClient(clients, group);

            RemotingCommand consumed = clients.ask(CONSUME_MESSAGE_DIRECTLY, Map.of("consumerGroup", group,
                "clientId", client, "msgId", sent.getOffsetMsgId(), "brokerName", "broker-a", "topic", topic), "");
            assertEquals(0, consumed.getCode(), consumed.getRemark());
            assertTrue(body(consumed).contains("CR_SUCCESS"), body(consumed));
            assertEquals(List.of("m", "m"), List.copyOf(seen));
        }
    }

    private static String onlyClient(Clients clients, String group) throws Exception {
        List<String> ids = new ArrayList<>();
        Await.until("the broker knows the consumer", () -> {
            RemotingCommand listed = clients.ask(GET_CONSUMER_LIST_BY_GROUP, Map.of("consumerGroup", group), "");
            Matcher found = FIRST_ID.matcher(listed.getBody() == null ? "" : body(listed));
            return found.find() && ids.add(found.group(1));
        });
        return ids.get(0);
    }

    private static String body(RemotingCommand answer) {
        return new String(answer.getBody(), StandardCharsets.UTF_8);
    }
}
