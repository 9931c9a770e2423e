package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Where a group starts, and where it continues. */
@ExtendWith(SharedServer.class)
@SuppressWarnings("deprecation")
class OffsetTest {
    /** The next consumer of a group gets what the last one had not yet got: no more, no less. */
    @Test
    void groupContinuesWhereItLeftOff(Clients clients) throws Exception {
        String topic = clients.topic(4);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Inbox inbox = new Inbox();
        Set<String> bodies = new HashSet<>();
        for (int round = 1; round <= 3; round++) {
            bodies.addAll(Clients.send(producer, topic, 25));
            DefaultMQPushConsumer consumer = clients.pushConsumer(group, topic, inbox);
            inbox.awaitExactly(25 * round);
            consumer.shutdown();
        }
        assertEquals(bodies, Set.copyOf(inbox.bodies()));
    }

    /** The server knows how far a group has come, also after its last member left. */
    @Test
    void serverKnowsTheOffsets(Clients clients) throws Exception {
        String topic = clients.topic(2);
        String group = clients.newGroup();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.pushConsumer(group, topic, inbox);
        Clients.send(clients.producer(), topic, 30);
        inbox.awaitExactly(30);
        consumer.shutdown();

        // Any member of the group would be given queues of its own, so this one comes only now.
        DefaultMQPullConsumer observer = clients.pullConsumer(group);
        for (MessageQueue queue : clients.queues(topic)) {
            Await.until("the group's offset in " + queue + " is 15", () -> observer.fetchConsumeOffset(queue, true) == 15);
        }
    }

    /** A group that never consumed has no offset. */
    @Test
    void newGroupHasNoOffset(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQPullConsumer observer = clients.pullConsumer(clients.newGroup());
        assertEquals(-1, observer.fetchConsumeOffset(clients.queues(topic).get(0), true));
    }

    /**
     * A new group starts at the first message of a young topic, even when it asks for the last:
     * the server takes a queue that is all in memory for one that the group has missed nothing of.
     */
    @Test
    void newGroupOfYoungTopicStartsAtTheFirst(Clients clients) throws Exception {
        String topic = clients.topic(2);
        Set<String> bodies = Set.copyOf(Clients.send(clients.producer(), topic, 20));
        for (ConsumeFromWhere where : List.of(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET,
            ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP)) {
            Inbox inbox = new Inbox();
            DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
            consumer.setConsumeFromWhere(where);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener(inbox.concurrently());
            consumer.start();
            inbox.awaitExactly(20);
            assertEquals(bodies, Set.copyOf(inbox.bodies()), where.toString());
        }
    }

    /** What a group asks for at its start does not matter once it has an offset. */
    @Test
    void knownGroupIgnoresWhereToStart(Clients clients) throws Exception {
        String topic = clients.topic(2);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Clients.send(producer, topic, 10);
        Inbox before = new Inbox();
        DefaultMQPushConsumer first = clients.pushConsumer(group, topic, before);
        before.awaitExactly(10);
        first.shutdown();

        Set<String> missed = Set.copyOf(Clients.send(producer, topic, 10));
        Inbox after = new Inbox();
        DefaultMQPushConsumer second = clients.newPushConsumer(group);
        second.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        second.subscribe(topic, "*");
        second.registerMessageListener(after.concurrently());
        second.start();
        after.awaitExactly(10);
        assertEquals(missed, Set.copyOf(after.bodies()));
    }
}
