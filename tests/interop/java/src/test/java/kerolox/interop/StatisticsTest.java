package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What the broker counts, and what it keeps for tools. */
@ExtendWith(SharedServer.class)
class StatisticsTest {
    private static final int SYSTEM_ERROR = 1;
    private static final int PULL_MESSAGE = 11;
    private static final int GET_BROKER_RUNTIME_INFO = 28;
    private static final int UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200;
    private static final int VIEW_BROKER_STATS_DATA = 315;
    private static final int QUERY_SUBSCRIPTION_BY_CONSUMER = 345;
    private static final int POP_MESSAGE = 200050;
    private static final int UPDATE_COLD_DATA_FLOW_CTR_CONFIG = 2001;
    private static final int REMOVE_COLD_DATA_FLOW_CTR_CONFIG = 2002;
    private static final int GET_COLD_DATA_FLOW_CTR_INFO = 2003;

    /** Messages in and out are counted by topic and group. */
    @Test
    @SuppressWarnings("deprecation")
    void messagesAreCounted(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        Clients.send(clients.producer(), topic, 10);
        DefaultMQPullConsumer consumer = clients.pullConsumer(group);
        assertEquals(PullStatus.FOUND, consumer.pull(clients.queues(topic).get(0), "*", 0, 4).getPullStatus());
        // The reference tells what there was at the last of its samples, one every 10 s.
        Await.until("10 messages are counted in " + topic, () -> counted(clients, "TOPIC_PUT_NUMS", topic, 10, 1));
        Await.until("4 messages are counted for " + group, () -> counted(clients, "GROUP_GET_NUMS", topic + "@" + group, 4, 4));
        RemotingCommand unknown = told(clients, "TOPIC_PUT_NUMS", "nowhere");
        assertEquals(SYSTEM_ERROR, unknown.getCode());
        assertEquals("The stats <TOPIC_PUT_NUMS> <nowhere> not exist", unknown.getRemark());
    }

    /** How long requests took is told by queue; what the broker reads itself counts for groups of its own. */
    @Test
    @SuppressWarnings("deprecation")
    void latenciesAndOwnGroupsAreTold(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        Message delayed = Clients.message(topic, "delayed");
        delayed.setDelayTimeLevel(1);
        clients.producer().send(delayed);
        clients.readAtLeast(topic, 1);
        Clients.send(clients.producer(), topic, 1);
        DefaultMQPullConsumer consumer = clients.pullConsumer(group);
        assertEquals(PullStatus.FOUND, consumer.pull(clients.queues(topic).get(0), "*", 0, 4).getPullStatus());
        for (String[] counter : new String[][] {
            {"TOPIC_PUT_LATENCY", "0@" + topic},
            {"GROUP_GET_LATENCY", "0@" + topic + "@" + group},
            {"QUEUE_PUT_NUMS", "SCHEDULE_TOPIC_XXXX@0"},
            {"QUEUE_GET_NUMS", "SCHEDULE_TOPIC_XXXX@0@SCHEDULE_CONSUMER"},
            {"GROUP_GET_SIZE", "SCHEDULE_TOPIC_XXXX@SCHEDULE_CONSUMER"},
            {"CHANNEL_ACTIVITY", "CONNECT"},
            {"CONSUMER_REGISTER_TIME", "DefaultCluster"},
        }) {
            String what = String.join(" ", counter);
            Await.until(what + " is told", () -> told(clients, counter[0], counter[1]).getCode() == 0);
        }
        assertEquals(SYSTEM_ERROR, told(clients, "TOPIC_PUT_LATENCY", "1@" + topic).getCode());
    }

    /** What tools show of how the broker is doing, beside the counters. */
    @Test
    void runtimeInformationHasTimes(Clients clients) throws Exception {
        String info = body(clients.ask(GET_BROKER_RUNTIME_INFO, Map.of(), ""));
        for (String name : new String[] {"putMessageEntireTimeMax", "putMessageDistributeTime", "putLatency99", "putLatency999",
            "putMessageFailedTimes", "getMessageEntireTimeMax", "getFoundTps", "getMissTps", "getTotalTps", "dispatchMaxBuffer",
            "sendThreadPoolQueueCapacity", "ackThreadPoolQueueSize", "EndTransactionQueueSize", "remainTransientStoreBufferNumbs"}) {
            assertTrue(info.contains("\"" + name + "\":"), name + " in " + info);
        }
    }

    /** What a group wants is told by its pulls and pops, if no heartbeat has said it. */
    @Test
    void subscriptionsOfRequestsAreTold(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        clients.ask(PULL_MESSAGE, Map.ofEntries(
            Map.entry("consumerGroup", group),
            Map.entry("topic", topic),
            Map.entry("queueId", "0"),
            Map.entry("queueOffset", "0"),
            Map.entry("maxMsgNums", "1"),
            Map.entry("sysFlag", "4"),
            Map.entry("commitOffset", "0"),
            Map.entry("suspendTimeoutMillis", "0"),
            Map.entry("subVersion", "0"),
            Map.entry("subscription", "red || green")), "");
        String told = subscription(clients, group, topic);
        for (String part : new String[] {"\"subString\":\"red || green\"", "\"red\"", "\"green\"", "\"expressionType\":\"TAG\""}) {
            assertTrue(told.contains(part), part + " in " + told);
        }
        String popped = clients.newGroup();
        clients.ask(POP_MESSAGE, Map.ofEntries(
            Map.entry("consumerGroup", popped),
            Map.entry("topic", topic),
            Map.entry("queueId", "-1"),
            Map.entry("maxMsgNums", "1"),
            Map.entry("invisibleTime", "60000"),
            Map.entry("pollTime", "0"),
            Map.entry("bornTime", Long.toString(System.currentTimeMillis())),
            Map.entry("initMode", "0"),
            Map.entry("expType", "TAG"),
            Map.entry("exp", "blue")), "");
        assertTrue(subscription(clients, popped, topic).contains("\"tagsSet\":[\"blue\"]"), subscription(clients, popped, topic));
        String again = subscription(clients, popped, "%RETRY%" + popped + "_" + topic);
        assertTrue(again.contains("\"subString\":\"*\""), again);
        assertFalse(subscription(clients, clients.newGroup(), topic).contains("subString"));
    }

    private static String subscription(Clients clients, String group, String topic) throws Exception {
        return body(clients.ask(QUERY_SUBSCRIPTION_BY_CONSUMER, Map.of("group", group, "topic", topic), ""));
    }

    /** Thresholds for reading cold data are kept. */
    @Test
    void coldDataThresholdsAreKept(Clients clients) throws Exception {
        String group = clients.newGroup();
        assertEquals(0, clients.ask(UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, Map.of(), "{\"groupName\":\"" + group + "\"}").getCode());
        String threshold = "\"" + group + "\":4096";
        assertEquals(0, clients.ask(UPDATE_COLD_DATA_FLOW_CTR_CONFIG, Map.of(), group + "=4096\n").getCode());
        String info = body(clients.ask(GET_COLD_DATA_FLOW_CTR_INFO, Map.of(), ""));
        for (String part : new String[] {threshold, "\"cgColdReadThreshold\":3145728", "\"globalColdReadThreshold\":104857600"}) {
            assertTrue(info.contains(part), part + " in " + info);
        }
        assertEquals(0, clients.ask(REMOVE_COLD_DATA_FLOW_CTR_CONFIG, Map.of(), group).getCode());
        assertFalse(body(clients.ask(GET_COLD_DATA_FLOW_CTR_INFO, Map.of(), "")).contains(threshold));
    }

    private static boolean counted(Clients clients, String set, String key, int sum, int mean) throws Exception {
        RemotingCommand answer = told(clients, set, key);
        if (answer.getCode() != 0) {
            return false;
        }
        String minute = body(answer).replaceAll(".*\"statsMinute\":\\{([^}]*)}.*", "$1");
        return minute.contains("\"sum\":" + sum) && minute.contains("\"avgpt\":" + mean + ".0");
    }

    private static RemotingCommand told(Clients clients, String set, String key) throws Exception {
        return clients.ask(VIEW_BROKER_STATS_DATA, Map.of("statsName", set, "statsKey", key), "");
    }

    private static String body(RemotingCommand answer) {
        return new String(answer.getBody(), StandardCharsets.UTF_8);
    }
}
