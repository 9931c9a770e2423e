package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientIDSetter;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.RemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Messages sent with a time of their own. */
@ExtendWith(OwnServer.class)
class TimerTest {
    private static final String DELIVER_MS = "TIMER_DELIVER_MS";
    private static final String DELAY_MS = "TIMER_DELAY_MS";
    private static final String DELAY_SEC = "TIMER_DELAY_SEC";
    /** How late a message may be on a machine that has other things to do, too. */
    private static final long LATE_MILLIS = 20_000;
    /** How late the most punctual one is at most. */
    private static final long PUNCTUAL_MILLIS = 1_000;
    /** All that are sent are there before the first one's time comes. */
    private static final long SOONEST_MILLIS = 5_000;

    private static final int SEND_MESSAGE = 10;
    private static final int UPDATE_BROKER_CONFIG = 25;
    private static final int TIMER_CHECK_POINT = 60;
    private static final int TIMER_METRICS = 61;
    private static final int RECALL_MESSAGE = 370;
    private static final int SWITCH_TIMER_ENGINE = 5001;

    /** Each message comes at its time: never before, in order, and soon. */
    @Test
    void messagesComeAtTheirTime(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        Map<String, Long> due = new HashMap<>();
        String[] properties = {DELIVER_MS, DELAY_MS, DELAY_SEC};
        for (int i = 9; i >= 1; i--) {
            String property = properties[i % 3];
            long delay = property.equals(DELAY_SEC) ? SOONEST_MILLIS + i / 3 * 1_000L : SOONEST_MILLIS + i * 450L;
            long at = System.currentTimeMillis() + delay;
            long value = switch (property) {
                case DELIVER_MS -> at;
                case DELAY_MS -> delay;
                default -> delay / 1_000;
            };
            send(producer, topic, "timed " + i, property, value);
            due.put("timed " + i, at);
        }
        List<MessageExt> all = clients.readAtLeast(topic, 9);
        assertEquals(9, all.size());
        long least = Long.MAX_VALUE;
        long before = 0;
        for (MessageExt message : all) {
            long late = message.getStoreTimestamp() - due.get(Clients.body(message));
            assertTrue(late >= 0 && late < LATE_MILLIS, Clients.body(message) + " came " + late + " ms late");
            least = Math.min(least, late);
            long rounded = Long.parseLong(message.getProperty("TIMER_OUT_MS"));
            assertTrue(rounded >= before, "not in the order of time");
            before = rounded;
            assertEquals("TagA", message.getTags());
        }
        assertTrue(least <= PUNCTUAL_MILLIS, "the most punctual came " + least + " ms late");
    }

    /** A time that is over makes an ordinary message; one that is too far away, or no number, none. */
    @Test
    void timesThatCannotBe(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        send(producer, topic, "late", DELIVER_MS, System.currentTimeMillis() - 5_000);
        List<MessageExt> all = clients.readAtLeast(topic, 1);
        assertEquals(null, all.get(0).getProperty("TIMER_OUT_MS"));
        for (String value : new String[] {Integer.toString(3 * 24 * 3600 + 10), "tomorrow"}) {
            Message message = Clients.message(topic, "never");
            message.setTags("TagA");
            message.getProperties().put(DELAY_SEC, value);
            MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(message));
            assertEquals(13, refused.getResponseCode(), value);
            assertTrue(refused.getErrorMessage().contains("259200000ms"), refused.getErrorMessage());
        }
    }

    /** Messages that wait when the server stops or crashes come all the same, and not before. */
    @Test
    void waitingMessagesSurvive(Server server, Clients clients) throws Exception {
        String topic = clients.topic(2);
        DefaultMQProducer producer = clients.producer();
        long due = System.currentTimeMillis() + 6_000;
        List<String> bodies = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            bodies.add("waiting " + i);
            send(producer, topic, "waiting " + i, DELIVER_MS, due + i * 40);
        }
        server.stop();
        server.start();
        server.kill();
        server.start();
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        inbox.awaitBodies(bodies);
        for (MessageExt message : inbox.all()) {
            assertTrue(message.getStoreTimestamp() >= due, "came early");
        }
    }

    /** A message that is taken back in time does not come; the others do. */
    @Test
    void messageIsTakenBack(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        RemotingClient remoting = remoting(producer);
        String handle = sendForHandle(server, producer, topic, "not this", 8_000);
        assertEquals(16, recall(server, remoting, topic, handle).getCode(), "forbidden at first");
        set(server, remoting, "recallMessageEnable", "true");
        try {
            send(producer, topic, "this", DELAY_MS, 8_000);
            RemotingCommand taken = recall(server, remoting, topic, handle);
            assertEquals(0, taken.getCode(), taken.getRemark());
            String[] parts = new String(Base64.getUrlDecoder().decode(handle), StandardCharsets.UTF_8).split(" ");
            assertEquals(parts[4], taken.getExtFields().get("msgId"));
            Inbox inbox = new Inbox();
            clients.pushConsumer(clients.newGroup(), topic, inbox);
            inbox.awaitAtLeast(1);
            Await.holds(() -> "only one message comes; " + inbox.bodies(), Duration.ofMillis(2_500),
                () -> inbox.bodies().equals(List.of("this")));
            assertRefused(604, recall(server, remoting, topic, handle), "timestamp invalid");
            assertRefused(604, recall(server, remoting, topic, "?"), "recall handle is invalid");
            parts[1] = "another";
            assertRefused(604, recall(server, remoting, topic, encode(parts)), "topic not match");
            parts[1] = topic;
            parts[2] = "another";
            assertRefused(604, recall(server, remoting, topic, encode(parts)), "broker service not available");
            assertRefused(17, recall(server, remoting, "missing-topic", handle), "not exist");
        } finally {
            set(server, remoting, "recallMessageEnable", "false");
        }
    }

    /** How many messages wait, and how far the timer is, can be asked. */
    @Test
    void timerTellsHowFarItIs(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        RemotingClient remoting = remoting(producer);
        for (int i = 0; i < 3; i++) {
            send(producer, topic, "later", DELAY_SEC, 3_600);
        }
        Await.until("three messages wait", () -> new String(call(server, remoting, TIMER_METRICS, Map.of()).getBody(),
            StandardCharsets.UTF_8).contains("\"" + topic + "\":{\"count\":3,"));
        assertEquals(56, call(server, remoting, TIMER_CHECK_POINT, Map.of()).getBody().length);
        assertRefused(29, call(server, remoting, SWITCH_TIMER_ENGINE, Map.of("E_T", "R")), "timerRocksDBEnable");
        assertRefused(29, call(server, remoting, SWITCH_TIMER_ENGINE, Map.of("E_T", "X")), "param error");
    }

    private static void send(DefaultMQProducer producer, String topic, String body, String property, long value)
        throws Exception {
        Message message = Clients.message(topic, "TagA", body);
        message.getProperties().put(property, Long.toString(value));
        producer.send(message);
    }

    /** Sends as no client before 5.4 can, for the handle. */
    private static String sendForHandle(Server server, DefaultMQProducer producer, String topic, String body, long delay)
        throws Exception {
        Message message = Clients.message(topic, "TagA", body);
        message.getProperties().put(DELAY_MS, Long.toString(delay));
        MessageClientIDSetter.setUniqID(message);
        RemotingCommand request = request(SEND_MESSAGE, Map.of("producerGroup", producer.getProducerGroup(),
            "topic", topic, "defaultTopic", "TBW102", "defaultTopicQueueNums", "4", "queueId", "0", "sysFlag", "0",
            "bornTimestamp", Long.toString(System.currentTimeMillis()), "flag", "0",
            "properties", MessageDecoder.messageProperties2String(message.getProperties())));
        request.setBody(message.getBody());
        RemotingCommand response = remoting(producer).invokeSync(server.broker(), request, Clients.TIMEOUT_MILLIS);
        assertEquals(0, response.getCode(), response.getRemark());
        String handle = response.getExtFields().get("recallHandle");
        assertFalse(handle.isEmpty());
        return handle;
    }

    private static RemotingCommand recall(Server server, RemotingClient remoting, String topic, String handle)
        throws Exception {
        return call(server, remoting, RECALL_MESSAGE,
            Map.of("producerGroup", "group", "topic", topic, "recallHandle", handle));
    }

    private static void set(Server server, RemotingClient remoting, String key, String value) throws Exception {
        RemotingCommand request = request(UPDATE_BROKER_CONFIG, Map.of());
        request.setBody((key + "=" + value).getBytes(StandardCharsets.UTF_8));
        RemotingCommand response = remoting.invokeSync(server.broker(), request, Clients.TIMEOUT_MILLIS);
        assertEquals(0, response.getCode(), response.getRemark());
    }

    private static RemotingCommand call(Server server, RemotingClient remoting, int code, Map<String, String> fields)
        throws Exception {
        return remoting.invokeSync(server.broker(), request(code, fields), Clients.TIMEOUT_MILLIS);
    }

    private static RemotingCommand request(int code, Map<String, String> fields) {
        RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
        fields.forEach(request::addExtField);
        return request;
    }

    private static RemotingClient remoting(DefaultMQProducer producer) {
        return producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl().getRemotingClient();
    }

    private static String encode(String[] parts) {
        return Base64.getUrlEncoder().encodeToString(String.join(" ", parts).getBytes(StandardCharsets.UTF_8));
    }

    private static void assertRefused(int code, RemotingCommand response, String remark) {
        assertEquals(code, response.getCode(), response.getRemark());
        assertTrue(response.getRemark().contains(remark), response.getRemark());
    }
}
