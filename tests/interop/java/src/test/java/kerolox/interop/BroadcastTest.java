package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A group of which every member gets every message. */
@ExtendWith(SharedServer.class)
class BroadcastTest {
    private static final int PULL_MESSAGE = 11;
    private static final int QUERY_CONSUMER_OFFSET = 14;

    private static final int SUCCESS = 0;
    private static final int PULL_NOT_FOUND = 19;
    private static final int PULL_OFFSET_MOVED = 21;

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

    /**
     * A proxy does not know how far the members have come that it pulls for: the broker does. So it tells a member that
     * leaves the proxy, and a new one, which begins where the slowest is.
     */
    @Test
    void placesOfMembersBehindAProxyAreKept(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        Clients.send(producer, topic, 10);
        DefaultMQPushConsumer member = broadcast(clients, group, topic);
        Pulls proxy = new Pulls(clients, topic, group);

        assertEquals(PULL_OFFSET_MOVED, proxy.pull("member", -1).getCode());
        assertEquals(0, proxy.begin("member"));
        assertEquals(SUCCESS, proxy.pull("member", 0).getCode());
        assertEquals(PULL_NOT_FOUND, proxy.pull("member", 10).getCode());
        assertEquals(10, proxy.begin("member"));
        assertEquals(SUCCESS, proxy.pull("member", 4).getCode());
        assertEquals(10, proxy.begin("member"), "a member does not go back");
        assertEquals(SUCCESS, proxy.pull(member.buildMQClientId(), 7).getCode());
        Await.until("the place of the slowest", () -> proxy.committed() == 7);
        assertEquals(7, proxy.begin("new"));

        Inbox inbox = new Inbox();
        member.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        start(member, inbox.concurrently());
        List<String> more = Clients.send(producer, topic, 10);
        // Clients before 5.0 do not ask the broker where to begin.
        boolean asks = MQVersion.CURRENT_VERSION >= MQVersion.Version.V5_0_0.ordinal();
        inbox.awaitExactly(asks ? 13 : 20);
        assertTrue(inbox.bodies().containsAll(more));
    }

    /** A proxy's pulls of the queue of a topic. */
    private record Pulls(Clients clients, String topic, String group) {
        RemotingCommand pull(String member, long offset) throws Exception {
            Map<String, Object> fields = new HashMap<>(Map.of("queueOffset", offset, "maxMsgNums", 32, "sysFlag", 4,
                "commitOffset", 0, "suspendTimeoutMillis", 0, "subVersion", 0, "subscription", "*"));
            fields.put("requestSource", 1);
            fields.put("proxyFrowardClientId", member);
            return ask(PULL_MESSAGE, fields);
        }

        /** Where a member is told to go on when it does not know. */
        long begin(String member) throws Exception {
            return Long.parseLong(pull(member, -1).getExtFields().get("nextBeginOffset"));
        }

        long committed() throws Exception {
            Map<String, Object> fields = Map.of("consumerGroup", group + "@broadcast", "setZeroIfNotFound", false);
            RemotingCommand answer = ask(QUERY_CONSUMER_OFFSET, fields);
            return answer.getCode() == SUCCESS ? Long.parseLong(answer.getExtFields().get("offset")) : -1;
        }

        private RemotingCommand ask(int code, Map<String, Object> fields) throws Exception {
            Map<String, String> all = new HashMap<>(Map.of("consumerGroup", group, "topic", topic, "queueId", "0"));
            fields.forEach((name, value) -> all.put(name, value.toString()));
            return clients.ask(code, all, "");
        }
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
