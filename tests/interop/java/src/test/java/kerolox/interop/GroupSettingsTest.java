package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What a group may consume, and what else it is set to. */
@ExtendWith(SharedServer.class)
class GroupSettingsTest {
    private static final int PULL_MESSAGE = 11;
    private static final int NO_PERMISSION = 16;
    private static final int UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200;
    private static final int GET_SUBSCRIPTIONGROUP_CONFIG = 352;
    private static final int UPDATE_AND_GET_GROUP_FORBIDDEN = 353;

    /** A group that may not consume is refused, and served once it may. */
    @Test
    @SuppressWarnings("deprecation")
    void consumingMayBeSwitchedOff(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        Clients.send(clients.producer(), topic, 1);
        DefaultMQPullConsumer consumer = clients.pullConsumer(group);
        MessageQueue queue = clients.queues(topic).get(0);
        set(clients, group, "'consumeEnable':false");
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> consumer.pull(queue, "*", 0, 1));
        assertEquals(NO_PERMISSION, refused.getResponseCode());
        assertTrue(refused.getErrorMessage().contains("subscription group no permission, " + group), refused.getErrorMessage());
        set(clients, group, "'consumeEnable':true");
        assertEquals(PullStatus.FOUND, consumer.pull(queue, "*", 0, 1).getPullStatus());
    }

    /** A group may be kept from one topic; pulls that rely on its heartbeat are refused. */
    @Test
    void oneTopicMayBeForbidden(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        Inbox inbox = new Inbox();
        clients.pushConsumer(group, topic, inbox);
        List<String> bodies = Clients.send(clients.producer(), topic, 1);
        inbox.awaitBodies(bodies);
        forbid(clients, group, topic, false);
        RemotingCommand refused = pull(clients, group, topic);
        assertEquals(NO_PERMISSION, refused.getCode(), refused.getRemark());
        assertEquals("the consumer group[" + group + "] is forbidden for topic[" + topic + "]", refused.getRemark());
        forbid(clients, group, topic, true);
        assertEquals(0, pull(clients, group, topic).getCode());
    }

    /** Retry policy and subscriptions of a group are for proxies and tools: the broker keeps and tells them. */
    @Test
    void settingsForOthersAreKept(Clients clients) throws Exception {
        String group = clients.newGroup();
        set(clients, group, "'groupRetryPolicy':{'type':'CUSTOMIZED','customizedRetryPolicy':{'next':[700,1300]}},"
            + "'subscriptionDataSet':[{'topic':'orders','expressionType':'TAG','expression':'a','version':7}],"
            + "'consumeTimeoutMinute':3,'notifyConsumerIdsChangedEnable':false");
        RemotingCommand told = clients.ask(GET_SUBSCRIPTIONGROUP_CONFIG, Map.of("group", group), "");
        assertEquals(0, told.getCode(), told.getRemark());
        String config = new String(told.getBody(), StandardCharsets.UTF_8);
        for (String part : List.of("\"type\":\"CUSTOMIZED\"", "[700,1300]", "\"expression\":\"a\"", "\"version\":7",
            "\"consumeTimeoutMinute\":3", "\"notifyConsumerIdsChangedEnable\":false")) {
            assertTrue(config.contains(part), part + " in " + config);
        }
    }

    private static void set(Clients clients, String group, String settings) throws Exception {
        String config = ("{'groupName':'" + group + "'," + settings + "}").replace('\'', '"');
        RemotingCommand answer = clients.ask(UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, Map.of(), config);
        assertEquals(0, answer.getCode(), answer.getRemark());
    }

    private static void forbid(Clients clients, String group, String topic, boolean readable) throws Exception {
        RemotingCommand answer = clients.ask(UPDATE_AND_GET_GROUP_FORBIDDEN,
            Map.of("group", group, "topic", topic, "readable", Boolean.toString(readable)), "");
        assertEquals(0, answer.getCode(), answer.getRemark());
    }

    private static RemotingCommand pull(Clients clients, String group, String topic) throws Exception {
        return clients.ask(PULL_MESSAGE, Map.of(
            "consumerGroup", group,
            "topic", topic,
            "queueId", "0",
            "queueOffset", "0",
            "maxMsgNums", "1",
            "sysFlag", "0",
            "commitOffset", "0",
            "suspendTimeoutMillis", "0",
            "subVersion", "0"), "");
    }
}
