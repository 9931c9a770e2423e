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
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What the broker counts, and what it keeps for tools. */
@ExtendWith(SharedServer.class)
class StatisticsTest {
    private static final int SYSTEM_ERROR = 1;
    private static final int UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200;
    private static final int VIEW_BROKER_STATS_DATA = 315;
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
        RemotingCommand unknown = clients.ask(VIEW_BROKER_STATS_DATA, Map.of("statsName", "TOPIC_PUT_NUMS", "statsKey", "nowhere"), "");
        assertEquals(SYSTEM_ERROR, unknown.getCode());
        assertEquals("The stats <TOPIC_PUT_NUMS> <nowhere> not exist", unknown.getRemark());
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
        RemotingCommand answer = clients.ask(VIEW_BROKER_STATS_DATA, Map.of("statsName", set, "statsKey", key), "");
        if (answer.getCode() != 0) {
            return false;
        }
        String minute = body(answer).replaceAll(".*\"statsMinute\":\\{([^}]*)}.*", "$1");
        return minute.contains("\"sum\":" + sum) && minute.contains("\"avgpt\":" + mean + ".0");
    }

    private static String body(RemotingCommand answer) {
        return new String(answer.getBody(), StandardCharsets.UTF_8);
    }
}
