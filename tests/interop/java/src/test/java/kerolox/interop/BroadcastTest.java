package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A group of which every member gets every message. */
@ExtendWith(SharedServer.class)
class BroadcastTest {
    /** Each of two members gets all messages, and gets them once. */
    @Test
    void everyMemberGetsEverything(Clients clients) throws Exception {
        String topic = clients.topic(4);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Inbox first = new Inbox();
        Inbox second = new Inbox();
        start(broadcast(clients, group, topic), first.concurrently());
        start(broadcast(clients, group, topic), second.concurrently());
        Set<String> bodies = new HashSet<>(Clients.send(producer, topic, 100));

        first.awaitExactly(100);
        second.awaitExactly(100);
        assertEquals(bodies, Set.copyOf(first.bodies()));
        assertEquals(bodies, Set.copyOf(second.bodies()));
    }

    /** A member that comes back under its name continues where it left off. */
    @Test
    void memberRemembersItsOwnPlace(Clients clients) throws Exception {
        String topic = clients.topic(4);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Clients.send(producer, topic, 20);
        Inbox before = new Inbox();
        DefaultMQPushConsumer member = broadcast(clients, group, topic);
        String name = member.getInstanceName();
        start(member, before.concurrently());
        before.awaitExactly(20);
        member.shutdown();

        List<String> missed = Clients.send(producer, topic, 20);
        Inbox after = new Inbox();
        DefaultMQPushConsumer again = broadcast(clients, group, topic);
        again.setInstanceName(name);
        start(again, after.concurrently());
        after.awaitExactly(20);
        assertEquals(Set.copyOf(missed), Set.copyOf(after.bodies()));
    }

    /** A message that a member fails to handle is not given again. */
    @Test
    void failureIsNotRetried(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Clients.send(clients.producer(), topic, 10);
        Inbox inbox = new Inbox();
        start(broadcast(clients, clients.newGroup(), topic), (batch, context) -> {
            inbox.addAll(batch);
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        inbox.awaitExactly(10);
    }

    private static DefaultMQPushConsumer broadcast(Clients clients, String group, String topic) throws Exception {
        DefaultMQPushConsumer consumer = clients.newPushConsumer(group);
        // The type MessageModel lives in another package in each client version, so it is not named here.
        consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
        consumer.subscribe(topic, "*");
        return consumer;
    }

    private static void start(DefaultMQPushConsumer consumer, MessageListenerConcurrently listener) throws Exception {
        consumer.registerMessageListener(listener);
        consumer.start();
    }
}
