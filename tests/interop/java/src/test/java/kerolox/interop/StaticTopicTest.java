package kerolox.interop;

import static kerolox.interop.StaticTopics.map;
import static kerolox.interop.StaticTopics.part;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Server;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Topics whose logical queues are mapped to queues of the broker. */
@ExtendWith(SharedServer.class)
class StaticTopicTest {
    private static final int GET_MAX_OFFSET = 30;
    private static final int NOT_LEADER_FOR_QUEUE = 501;

    /** A logical queue keeps its number while its messages go to another queue, and is read through. */
    @Test
    @SuppressWarnings("deprecation")
    void logicalQueueGoesOnElsewhere(Server server, Clients clients) throws Exception {
        String broker = clients.queues(clients.topic(1)).get(0).getBrokerName();
        String topic = clients.newTopic();
        map(clients, server.broker(), broker, topic, 1, 2, "0:[" + part(broker, 0, 1, 0) + "],1:[" + part(broker, 0, 0, 0) + "]");
        assertTrue(clients.readAtLeast(topic, 0).isEmpty());
        MessageQueue queue = clients.queues(topic).get(0);
        assertEquals(0, queue.getQueueId());
        DefaultMQProducer producer = clients.producer();
        for (int offset = 0; offset < 3; offset++) {
            assertStored(offset, producer.send(Clients.message(topic, Integer.toString(offset)), queue));
        }
        assertEquals("3", physicalEnd(clients, topic, 1));
        assertEquals("0", physicalEnd(clients, topic, 0));

        map(clients, server.broker(), broker, topic, 2, 3, "0:[" + part(broker, 0, 1, 0, 3) + "," + part(broker, 1, 2, 1000) + "],1:["
            + part(broker, 0, 0, 0) + "]");
        assertStored(1000, producer.send(Clients.message(topic, "3"), queue));
        assertEquals("1", physicalEnd(clients, topic, 2));

        DefaultMQPullConsumer consumer = clients.pullConsumer(clients.newGroup());
        assertEquals(0, consumer.minOffset(queue));
        assertEquals(1001, consumer.maxOffset(queue));
        assertPulled(PullStatus.FOUND, List.of("0", "1", "2"), 3, consumer.pull(queue, "*", 0, 32));
        assertPulled(PullStatus.NO_MATCHED_MSG, List.of(), 1000, consumer.pull(queue, "*", 3, 32));
        assertPulled(PullStatus.FOUND, List.of("3"), 1001, consumer.pull(queue, "*", 1000, 32));
        assertPulled(PullStatus.NO_NEW_MSG, List.of(), 1001, consumer.pull(queue, "*", 1001, 32));
    }

    /** A queue that is led by another broker is not served here. */
    @Test
    void queueLedElsewhereIsRefused(Server server, Clients clients) throws Exception {
        String broker = clients.queues(clients.topic(1)).get(0).getBrokerName();
        String topic = clients.newTopic();
        map(clients, server.broker(), broker, topic, 1, 1, "0:[" + part(broker, 0, 0, 0, 10) + "," + part("elsewhere", 1, 0, 1000) + "]");
        RemotingCommand refused = clients.ask(GET_MAX_OFFSET, Map.of("topic", topic, "queueId", "0"), "");
        assertEquals(NOT_LEADER_FOR_QUEUE, refused.getCode());
        assertEquals(topic + "-0 does not exit in request process of current broker " + broker, refused.getRemark());
        assertEquals("0", physicalEnd(clients, topic, 0));
    }

    private static void assertStored(long offset, SendResult result) {
        assertEquals(offset, result.getQueueOffset());
        assertEquals(0, result.getMessageQueue().getQueueId());
    }

    private static void assertPulled(PullStatus status, List<String> bodies, long next, PullResult result) {
        assertEquals(status, result.getPullStatus(), result.toString());
        assertEquals(next, result.getNextBeginOffset(), result.toString());
        assertEquals(bodies, result.getMsgFoundList() == null ? List.of() : Clients.bodies(result.getMsgFoundList()));
    }

    /** The end of one of the broker's own queues. */
    private static String physicalEnd(Clients clients, String topic, int queue) throws Exception {
        RemotingCommand answer = clients.ask(GET_MAX_OFFSET,
            Map.of("topic", topic, "queueId", Integer.toString(queue), "lo", "false"), "");
        assertEquals(0, answer.getCode(), answer.getRemark());
        return answer.getExtFields().get("offset");
    }
}
