package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Messages with a priority: it names the queue. */
@ExtendWith(SharedServer.class)
class PriorityTest {
    private static final String PRIORITY = "_SYS_MSG_PRIORITY_";
    private static final int POP_MESSAGE = 200050;

    /** Each priority has a queue, and the last queue has all that are higher as well. */
    @Test
    void priorityNamesTheQueue(Clients clients) throws Exception {
        String topic = clients.topic(3);
        DefaultMQProducer producer = clients.producer();
        List<Integer> queues = List.of(0, 1, 2, 2);
        for (int priority = 0; priority < queues.size(); priority++) {
            SendResult sent = producer.send(message(topic, priority));
            assertEquals(queues.get(priority), sent.getMessageQueue().getQueueId());
        }
        for (MessageExt message : clients.readAll(topic)) {
            int priority = Integer.parseInt(message.getProperty(PRIORITY));
            assertEquals(queues.get(priority), message.getQueueId());
        }
    }

    /** A pop looks into the queues of the higher priorities first. */
    @Test
    void popBringsTheHighestFirst(Clients clients) throws Exception {
        String topic = clients.topicWith("+message.type=PRIORITY", 4);
        for (int priority = 0; priority < 4; priority++) {
            clients.producer().send(message(topic, priority));
        }
        RemotingCommand answer = clients.ask(POP_MESSAGE, Map.of("consumerGroup", clients.newGroup(), "topic", topic,
            "queueId", "-1", "maxMsgNums", "32", "invisibleTime", "60000", "pollTime", "0",
            "bornTime", Long.toString(System.currentTimeMillis()), "initMode", "0"), "");
        assertEquals(0, answer.getCode(), answer.getRemark());
        List<Integer> queues = MessageDecoder.decodes(ByteBuffer.wrap(answer.getBody())).stream().map(MessageExt::getQueueId).toList();
        assertEquals(List.of(3, 2, 1, 0), queues);
    }

    /** A message that is delayed has no priority. */
    @Test
    void delayedMessageHasNone(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Message message = message(topic, 0);
        message.setDelayTimeLevel(1);
        clients.producer().send(message);
        assertNull(clients.readAtLeast(topic, 1).get(0).getProperty(PRIORITY));
    }

    private static Message message(String topic, int priority) {
        Message message = Clients.message(topic, "body");
        MessageAccessor.putProperty(message, PRIORITY, Integer.toString(priority));
        return message;
    }
}
