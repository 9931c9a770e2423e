package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** The members of a group share the queues of a topic. */
@ExtendWith(SharedServer.class)
class RebalanceTest {
    /** Four queues belong to one member, then to two with two each, then to one again; no message is lost or repeated. */
    @Test
    void queuesFollowTheMembers(Clients clients) throws Exception {
        String topic = clients.topic(4);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Inbox both = new Inbox();

        DefaultMQPushConsumer first = clients.pushConsumer(group, topic, both);
        awaitShares(topic, List.of(first), 4);
        Set<String> bodies = new HashSet<>(Clients.send(producer, topic, 40));
        both.awaitExactly(40);
        // Who takes a queue over starts at the offset that the server knows; left to itself, the owner tells it every 5 s.
        first.getDefaultMQPushConsumerImpl().persistConsumerOffset();

        DefaultMQPushConsumer second = clients.pushConsumer(group, topic, both);
        awaitShares(topic, List.of(first, second), 2);
        bodies.addAll(Clients.send(producer, topic, 40));
        both.awaitExactly(80);

        second.shutdown();
        awaitShares(topic, List.of(first), 4);
        bodies.addAll(Clients.send(producer, topic, 40));
        both.awaitExactly(120);
        assertEquals(bodies, Set.copyOf(both.bodies()));
    }

    /** Each member is given the messages of its own queues. */
    @Test
    void membersGetTheMessagesOfTheirQueues(Clients clients) throws Exception {
        String topic = clients.topic(4);
        String group = clients.newGroup();
        Inbox firstInbox = new Inbox();
        Inbox secondInbox = new Inbox();
        DefaultMQPushConsumer first = clients.pushConsumer(group, topic, firstInbox);
        DefaultMQPushConsumer second = clients.pushConsumer(group, topic, secondInbox);
        awaitShares(topic, List.of(first, second), 2);
        Clients.send(clients.producer(), topic, 40);

        firstInbox.awaitExactly(20);
        secondInbox.awaitExactly(20);
        assertEquals(ids(owned(topic, first)), queueIds(firstInbox));
        assertEquals(ids(owned(topic, second)), queueIds(secondInbox));
    }

    /** Nothing is lost while members come and go under load. */
    @Test
    void nothingIsLostWhileMembersComeAndGo(Clients clients) throws Exception {
        String topic = clients.topic(4);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Inbox inbox = new Inbox();
        Set<String> bodies = new HashSet<>();

        DefaultMQPushConsumer first = clients.pushConsumer(group, topic, inbox);
        bodies.addAll(Clients.send(producer, topic, 300));
        DefaultMQPushConsumer second = clients.pushConsumer(group, topic, inbox);
        bodies.addAll(Clients.send(producer, topic, 300));
        awaitShares(topic, List.of(first, second), 2);
        bodies.addAll(Clients.send(producer, topic, 300));
        first.shutdown();
        bodies.addAll(Clients.send(producer, topic, 300));
        awaitShares(topic, List.of(second), 4);
        inbox.awaitBodies(bodies);
    }

    /** Members beyond the number of queues stay idle until one is free. */
    @Test
    void spareMemberTakesOver(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer first = clients.pushConsumer(group, topic, inbox);
        DefaultMQPushConsumer second = clients.pushConsumer(group, topic, inbox);
        Await.until("one member owns the queue", () -> owned(topic, first).size() + owned(topic, second).size() == 1);
        inbox.awaitBodies(Clients.send(producer, topic, 10));

        boolean firstIsActive = !owned(topic, first).isEmpty();
        (firstIsActive ? first : second).shutdown();
        awaitShares(topic, List.of(firstIsActive ? second : first), 1);
        inbox.awaitBodies(Clients.send(producer, topic, 10));
    }

    /** Queues added to a topic are consumed without a restart of anybody. */
    @Test
    void addedQueuesAreFound(Clients clients) throws Exception {
        String topic = clients.topic(2);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = clients.pushConsumer(clients.newGroup(), topic, inbox);
        awaitShares(topic, List.of(consumer), 2);
        clients.createTopic(topic, 6);
        awaitShares(topic, List.of(consumer), 6);
        inbox.awaitBodies(Clients.send(clients.producer(), topic, 12));
        assertEquals(Set.of(0, 1, 2, 3, 4, 5), queueIds(inbox));
    }

    private static void awaitShares(String topic, List<DefaultMQPushConsumer> members, int each) throws Exception {
        Await.until("each of " + members.size() + " members owns " + each + " queues", () -> {
            Set<MessageQueue> all = new HashSet<>();
            for (DefaultMQPushConsumer member : members) {
                Set<MessageQueue> owned = owned(topic, member);
                if (owned.size() != each) {
                    return false;
                }
                all.addAll(owned);
            }
            return all.size() == each * members.size();
        });
    }

    private static Set<MessageQueue> owned(String topic, DefaultMQPushConsumer member) {
        return member.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
            .filter(queue -> queue.getTopic().equals(topic)).collect(Collectors.toSet());
    }

    private static Set<Integer> ids(Set<MessageQueue> queues) {
        return queues.stream().map(MessageQueue::getQueueId).collect(Collectors.toSet());
    }

    private static Set<Integer> queueIds(Inbox inbox) {
        return inbox.all().stream().map(MessageExt::getQueueId).collect(Collectors.toSet());
    }
}
