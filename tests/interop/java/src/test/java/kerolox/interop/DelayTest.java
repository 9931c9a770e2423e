package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Messages sent with a delay level. */
@ExtendWith(OwnServer.class)
class DelayTest {
    /** The first levels, in milliseconds. */
    private static final long[] LEVELS = {0, 1_000, 5_000};
    /** How late a message may be on a machine that has other things to do, too. */
    private static final long LATE_MILLIS = 20_000;
    /** How late the most punctual one that was delayed is at most. */
    private static final long PUNCTUAL_MILLIS = 1_000;

    /** Each message comes when its level's delay is over, as it was sent. */
    @Test
    void messagesComeAfterTheirLevelsDelay(Clients clients) throws Exception {
        String topic = clients.topic(4);
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        DefaultMQProducer producer = clients.producer();
        Map<String, Long> due = new HashMap<>();
        for (int i = 0; i < 6; i++) {
            Message message = Clients.message(topic, "TagA", "delayed " + i);
            message.setKeys("key " + i);
            int level = i % LEVELS.length;
            message.setDelayTimeLevel(level);
            due.put("delayed " + i, System.currentTimeMillis() + LEVELS[level]);
            producer.send(message);
        }
        long least = Long.MAX_VALUE;
        for (MessageExt message : inbox.awaitExactly(6)) {
            long late = message.getStoreTimestamp() - due.get(Clients.body(message));
            assertTrue(late >= 0 && late < LATE_MILLIS, Clients.body(message) + " came " + late + " ms late");
            int level = Integer.parseInt(Clients.body(message).substring("delayed ".length())) % LEVELS.length;
            least = level == 0 ? least : Math.min(least, late);
            assertEquals(topic, message.getTopic());
            assertEquals("TagA", message.getTags());
            assertEquals(Clients.body(message).replace("delayed", "key"), message.getKeys());
            assertEquals(0, message.getReconsumeTimes());
        }
        assertTrue(least <= PUNCTUAL_MILLIS, "the most punctual came " + least + " ms late");
    }

    /** The messages of one level come in the order in which they were sent to their queue. */
    @Test
    void messagesOfOneLevelKeepTheirOrder(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        List<String> bodies = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            Message message = Clients.message(topic, Integer.toString(i));
            message.setDelayTimeLevel(1);
            producer.send(message);
            bodies.add(Integer.toString(i));
        }
        assertEquals(bodies, Clients.bodies(clients.readAtLeast(topic, 100)));
    }

    /** Messages that wait when the server stops or crashes come all the same. */
    @Test
    void waitingMessagesSurvive(Server server, Clients clients) throws Exception {
        String topic = clients.topic(2);
        DefaultMQProducer producer = clients.producer();
        Inbox inbox = new Inbox();
        long due = System.currentTimeMillis() + LEVELS[2];
        Set<String> bodies = Set.of("one", "two", "three");
        for (String body : bodies) {
            Message message = Clients.message(topic, body);
            message.setDelayTimeLevel(2);
            producer.send(message);
        }
        server.stop();
        server.start();
        server.kill();
        server.start();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        inbox.awaitBodies(bodies);
        for (MessageExt message : inbox.all()) {
            assertTrue(message.getStoreTimestamp() >= due, "came early");
        }
    }
}
