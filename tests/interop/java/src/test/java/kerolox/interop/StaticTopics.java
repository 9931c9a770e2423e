package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import kerolox.interop.fixture.Clients;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Makes static topics; not every client has classes for that. */
final class StaticTopics {
    private static final int UPDATE_AND_CREATE_STATIC_TOPIC = 513;

    private StaticTopics() {
    }

    /** Tells a broker its part of a topic of two logical queues, and how many queues of its own that takes. */
    static void map(Clients clients, String address, String broker, String topic, int epoch, int queues, String hosted)
        throws Exception {
        String mapping = "{\"topic\":\"" + topic + "\",\"bname\":\"" + broker + "\",\"epoch\":" + epoch
            + ",\"scope\":\"__global__\",\"totalQueues\":2,\"hostedQueues\":{" + hosted + "}}";
        RemotingCommand answer =
            clients.ask(address, UPDATE_AND_CREATE_STATIC_TOPIC, Clients.topicFields(topic, queues), mapping);
        assertEquals(0, answer.getCode(), answer.getRemark());
    }

    /** A part of a logical queue: a queue from its start. */
    static String part(String broker, int generation, int queue, long offset) {
        return part(broker, generation, queue, offset, -1);
    }

    /** A part of a logical queue: a queue from its start, up to {@code end} unless that is -1. */
    static String part(String broker, int generation, int queue, long offset, long end) {
        return "{\"gen\":" + generation + ",\"queueId\":" + queue + ",\"bname\":\"" + broker + "\",\"logicOffset\":" + offset
            + ",\"startOffset\":0,\"endOffset\":" + end + ",\"timeOfStart\":-1,\"timeOfEnd\":-1}";
    }
}
