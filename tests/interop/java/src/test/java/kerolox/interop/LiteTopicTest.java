package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Settings;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Lite topics, by the requests that a proxy makes: no Java client makes them all. */
@ExtendWith(OwnServer.class)
@Settings({"enableLmq=true", "enableMultiDispatch=true"})
class LiteTopicTest {
    private static final int UPDATE_AND_CREATE_TOPIC = 17;
    private static final int UPDATE_AND_CREATE_GROUP = 200;
    private static final int ACK = 200051;
    private static final int POP_LITE = 200070;
    private static final int CONTROL = 200071;
    private static final int GET_LITE_TOPIC_INFO = 200076;
    private static final int POLLING_TIMEOUT = 210;
    private static final int POLL_MILLIS = 3_000;
    private static final int HIDDEN_MILLIS = 30_000;

    /** A lite topic comes to its subscriber only, and nothing more of it until all that came is acknowledged. */
    @Test
    void comesInOrderToItsSubscriber(Clients clients) throws Exception {
        Chats chats = new Chats(clients, "");
        chats.subscribe("one", "a");
        chats.subscribe("two", "b");
        chats.send("a", "a0");
        chats.send("b", "b0");
        Taken taken = chats.take("one", HIDDEN_MILLIS);
        assertEquals(List.of("a0"), taken.bodies());
        assertEquals("0", taken.counts());
        assertEquals(List.of("b0"), chats.take("two", HIDDEN_MILLIS).bodies());

        chats.send("a", "a1");
        chats.send("a", "a2");
        chats.awaitEnd("a", 3);
        assertEquals(POLLING_TIMEOUT, chats.pop("one", HIDDEN_MILLIS, 0).getCode());
        assertEquals(0, chats.acknowledge("a", 0, taken).getCode());
        Taken rest = chats.take("one", HIDDEN_MILLIS);
        assertEquals(List.of("a1", "a2"), rest.bodies());
        assertEquals(0, chats.acknowledge("a", 2, rest).getCode());
        chats.send("a", "a3");
        chats.awaitEnd("a", 4);
        assertEquals(POLLING_TIMEOUT, chats.pop("one", HIDDEN_MILLIS, 0).getCode());
        assertEquals(0, chats.acknowledge("a", 1, rest).getCode());
        assertEquals(List.of("a3"), chats.take("one", HIDDEN_MILLIS).bodies());
    }

    /** What is not acknowledged comes again when its time is over, and is counted; who waits gets it. */
    @Test
    void comesAgainWhenItsTimeIsOver(Clients clients) throws Exception {
        Chats chats = new Chats(clients, "");
        chats.subscribe("one", "a");
        chats.send("a", "a0");
        long from = System.currentTimeMillis();
        assertEquals(List.of("a0"), chats.take("one", 1_000).bodies());
        Taken again = chats.take("one", HIDDEN_MILLIS);
        assertTrue(System.currentTimeMillis() - from >= 1_000);
        assertEquals(List.of("a0"), again.bodies());
        assertTrue(again.counts().endsWith("1"), again.counts());
    }

    /** A lite topic of an exclusive group goes to the client that has subscribed to it last. */
    @Test
    void exclusiveGroupHasOneClient(Clients clients) throws Exception {
        Chats chats = new Chats(clients, ",\"+lite.sub.model\":\"Exclusive\"");
        chats.subscribe("one", "a");
        chats.subscribe("two", "a");
        chats.send("a", "a0");
        assertEquals(List.of("a0"), chats.take("two", HIDDEN_MILLIS).bodies());
        assertEquals(POLLING_TIMEOUT, chats.pop("one", HIDDEN_MILLIS, 0).getCode());
    }

    private record Taken(List<String> bodies, String counts, Map<String, String> fields) {
    }

    /** A parent topic with a group bound to it. */
    private static final class Chats {
        private final Clients clients;
        private final String topic;
        private final String group;

        Chats(Clients clients, String attributes) throws Exception {
            this.clients = clients;
            topic = clients.topic(1);
            group = clients.newGroup();
            RemotingCommand made = clients.ask(UPDATE_AND_CREATE_TOPIC, Map.of("topic", topic, "defaultTopic", topic,
                "readQueueNums", "1", "writeQueueNums", "1", "perm", "6", "topicFilterType", "SINGLE_TAG",
                "topicSysFlag", "0", "order", "false", "attributes", "+message.type=LITE"), "");
            assertEquals(0, made.getCode(), made.getRemark());
            RemotingCommand bound = clients.ask(UPDATE_AND_CREATE_GROUP, Map.of(), "{\"groupName\":\"" + group
                + "\",\"attributes\":{\"+lite.bind.topic\":\"" + topic + "\"" + attributes + "}}");
            assertEquals(0, bound.getCode(), bound.getRemark());
        }

        /** Names of clients must differ between tests, too. */
        private String client(String name) {
            return name + "@" + topic;
        }

        void subscribe(String client, String liteTopic) throws Exception {
            RemotingCommand answer = clients.ask(CONTROL, Map.of(), "{\"subscriptionSet\":[{\"action\":\"PARTIAL_ADD\","
                + "\"clientId\":\"" + client(client) + "\",\"group\":\"" + group + "\",\"topic\":\"" + topic
                + "\",\"liteTopicSet\":[\"" + liteTopic + "\"],\"version\":1}]}");
            assertEquals(0, answer.getCode(), answer.getRemark());
        }

        void send(String liteTopic, String body) throws Exception {
            Message message = Clients.message(topic, body);
            MessageAccessor.putProperty(message, "__LITE_TOPIC", liteTopic);
            clients.producer().send(message);
        }

        /** The reference enters a message into its lite topic a moment after it has acknowledged it. */
        void awaitEnd(String liteTopic, int end) throws Exception {
            Await.until(liteTopic + " ends at " + end, () -> {
                RemotingCommand answer = clients.ask(GET_LITE_TOPIC_INFO, Map.of("parentTopic", topic, "liteTopic", liteTopic), "");
                String told = new String(answer.getBody(), StandardCharsets.UTF_8);
                return told.contains("\"maxOffset\":" + end + ",");
            });
        }

        RemotingCommand pop(String client, int hiddenMillis, int pollMillis) throws Exception {
            return clients.ask(POP_LITE, Map.of("clientId", client(client), "consumerGroup", group, "topic", topic,
                "maxMsgNum", "32", "invisibleTime", Integer.toString(hiddenMillis), "pollTime", Integer.toString(pollMillis),
                "bornTime", Long.toString(System.currentTimeMillis())), "");
        }

        Taken take(String client, int hiddenMillis) throws Exception {
            List<RemotingCommand> answers = new ArrayList<>();
            Await.until("something comes to " + client, () -> {
                answers.add(0, pop(client, hiddenMillis, POLL_MILLIS));
                return answers.get(0).getCode() != POLLING_TIMEOUT;
            });
            RemotingCommand answer = answers.get(0);
            assertEquals(0, answer.getCode(), answer.getRemark());
            List<String> bodies = Clients.bodies(MessageDecoder.decodes(ByteBuffer.wrap(answer.getBody())));
            Map<String, String> fields = answer.getExtFields();
            return new Taken(bodies, fields.get("orderCountInfo"), fields);
        }

        RemotingCommand acknowledge(String liteTopic, long offset, Taken taken) throws Exception {
            String handle = String.join(" ", "0", taken.fields().get("popTime"), taken.fields().get("invisibleTime"),
                taken.fields().get("reviveQid"), "0", "broker-a", "0", Long.toString(offset));
            return clients.ask(ACK, Map.of("consumerGroup", group, "topic", topic, "queueId", "0", "extraInfo", handle,
                "offset", Long.toString(offset), "liteTopic", liteTopic), "");
        }
    }
}
