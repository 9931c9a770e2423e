package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import kerolox.interop.fixture.Storm;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** The server ends, in peace or by force, and comes back on the same data. */
@ExtendWith(OwnServer.class)
@Order(1)
class RestartTest {
    private static final int BEFORE = 2_000;
    private static final int AFTER = 200;
    /** The delay level of five seconds. */
    private static final int FIVE_SECONDS = 2;

    /** Topics, messages and the offsets of groups are still there after a restart. */
    @Test
    void cleanRestartKeepsEverything(Server server, Clients clients) throws Exception {
        String topic = clients.topic(6);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Set<String> bodies = new HashSet<>(Clients.send(producer, topic, 60));
        Inbox before = new Inbox();
        DefaultMQPushConsumer first = clients.pushConsumer(group, topic, before);
        before.awaitExactly(60);
        first.shutdown();

        server.stop();
        server.start();

        Set<String> added = Set.copyOf(Clients.send(producer, topic, 30));
        bodies.addAll(added);
        Inbox after = new Inbox();
        clients.pushConsumer(group, topic, after);
        after.awaitExactly(30);
        assertEquals(added, Set.copyOf(after.bodies()));
        assertEquals(bodies, Set.copyOf(Clients.bodies(clients.readAtLeast(topic, 90))));
        assertEquals(6, clients.queues(topic).size());
    }

    /** Clients that are connected when the server crashes carry on by themselves. */
    @Test
    void clientsCarryOn(Server server, Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        inbox.awaitBodies(Clients.send(producer, topic, 20));

        server.kill();
        server.start();
        inbox.awaitBodies(Clients.send(producer, topic, 20));
    }

    /** Messages that wait for their retry when the server crashes are still tried again. */
    @Test
    void retriesSurviveCrash(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        Inbox attempts = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(attempts.concurrentlyAfterOneFailure(FIVE_SECONDS));
        consumer.start();
        Set<String> bodies = Set.copyOf(Clients.send(clients.producer(), topic, 3));
        attempts.awaitAtLeast(3);

        server.kill();
        server.start();
        // First attempts may be repeated, since the group's offset may be older than the crash.
        Await.until("each message is tried again", () -> bodies.equals(attempts.all().stream()
            .filter(message -> message.getReconsumeTimes() == 1).map(Clients::body).collect(Collectors.toSet())));
    }

    /** A clean restart under synchronous senders loses nothing that was acknowledged. */
    @Test
    void cleanRestartUnderSyncSendersLosesNothing(Server server, Clients clients) throws Exception {
        String topic = clients.topic(4);
        try (Storm storm = Storm.sync(clients.producer(), topic)) {
            interrupt(storm, server::stop, server::start);
            assertNothingLost(storm, clients, topic);
        }
    }

    /** A crash under synchronous senders loses nothing that was acknowledged. */
    @Test
    void crashUnderSyncSendersLosesNothing(Server server, Clients clients) throws Exception {
        String topic = clients.topic(4);
        try (Storm storm = Storm.sync(clients.producer(), topic)) {
            interrupt(storm, server::kill, server::start);
            assertNothingLost(storm, clients, topic);
        }
    }

    /** A crash under an asynchronous sender loses nothing that was acknowledged. */
    @Test
    void crashUnderAsyncSenderLosesNothing(Server server, Clients clients) throws Exception {
        String topic = clients.topic(4);
        try (Storm storm = Storm.async(clients.producer(), topic)) {
            interrupt(storm, server::kill, server::start);
            assertNothingLost(storm, clients, topic);
        }
    }

    /** A step of the server's life. */
    @FunctionalInterface
    private interface Step {
        void take() throws Exception;
    }

    private static void interrupt(Storm storm, Step end, Step start) throws Exception {
        storm.awaitAcknowledged(BEFORE);
        end.take();
        start.take();
        storm.awaitAcknowledged(storm.acknowledged().size() + AFTER);
        storm.end();
    }

    private static void assertNothingLost(Storm storm, Clients clients, String topic) throws Exception {
        Set<String> missing = storm.acknowledged();
        Await.until(() -> "every acknowledged message can be read; " + missing.size() + " cannot", () -> {
            List<String> readable = Clients.bodies(clients.readAtLeast(topic, 1));
            readable.forEach(missing::remove);
            return missing.isEmpty();
        });
    }
}
