package kerolox.store;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.impl.CommunicationMode;
import org.apache.rocketmq.client.impl.consumer.PullResultExt;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.sysflag.PullSysFlag;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigSerializeWrapper;
import org.apache.rocketmq.remoting.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.QueryMessageRequestHeader;

/** Reads all that a running broker has, over the wire, and tells it. The argument: the broker's {@code host:port}. */
public final class ReadBroker {
    /** Has a thousand queues, none of which is ever used here. */
    private static final String UNUSED_TOPIC = "BenchmarkTest";
    private static final int BATCH = 32;
    private static final int MAX_FOUND = 64;
    private static final int SIZE_FIELD = 4;

    private final Api api;

    private ReadBroker(String address) {
        api = new Api(address);
    }

    public static void main(String[] args) {
        Lines.tell(() -> new ReadBroker(args[0]).read());
    }

    private void read() throws Exception {
        TopicConfigSerializeWrapper topics = api.client.getAllTopicConfig(api.address, Api.PATIENCE_MILLIS);
        Lines.topics(topics);
        Lines.groups(api.client.getAllSubscriptionGroup(api.address, Api.PATIENCE_MILLIS));
        Lines.offsets(api.ask(RemotingCommand.createRequestCommand(RequestCode.GET_ALL_CONSUMER_OFFSET, null)).getBody());
        for (TopicConfig topic : topics.getTopicConfigTable().values()) {
            for (int id = 0; id < topic.getReadQueueNums() && !topic.getTopicName().equals(UNUSED_TOPIC); id++) {
                readQueue(new MessageQueue(topic.getTopicName(), "broker", id));
            }
        }
    }

    private void readQueue(MessageQueue queue) throws Exception {
        long max = api.client.getMaxOffset(api.address, queue, Api.PATIENCE_MILLIS);
        long min = api.client.getMinOffset(api.address, queue, Api.PATIENCE_MILLIS);
        if (max == 0) {
            return;
        }
        Lines.print("queue", "topic", queue.getTopic(), "queue", queue.getQueueId(), "min", min, "max", max);
        List<MessageExt> messages = new ArrayList<>();
        long next = min;
        while (next < max) {
            PullResultExt pulled = pull(queue, next);
            if (pulled.getPullStatus() != PullStatus.FOUND || pulled.getNextBeginOffset() <= next) {
                throw new IllegalStateException("pulling from " + queue + " at " + next + " of " + max + " gives " + pulled);
            }
            for (byte[] record : split(pulled.getMessageBinary())) {
                MessageExt message = Lines.decode(record);
                Lines.print(Lines.message(message, record));
                messages.add(message);
            }
            next = pulled.getNextBeginOffset();
        }
        Set<Long> times = new TreeSet<>();
        Set<String> asked = new HashSet<>();
        for (MessageExt message : messages) {
            times.add(message.getStoreTimestamp());
            for (Map.Entry<String, Boolean> key : Lines.keys(message).entrySet()) {
                if (asked.add(key.getKey())) {
                    find(queue.getTopic(), key.getKey(), key.getValue());
                }
            }
        }
        for (long time : times) {
            Lines.print("time", "topic", queue.getTopic(), "queue", queue.getQueueId(), "time", time,
                "offset", api.client.searchOffset(api.address, queue, time, Api.PATIENCE_MILLIS));
        }
    }

    private PullResultExt pull(MessageQueue queue, long offset) throws Exception {
        PullMessageRequestHeader header = new PullMessageRequestHeader();
        header.setConsumerGroup(MixAll.TOOLS_CONSUMER_GROUP);
        header.setTopic(queue.getTopic());
        header.setQueueId(queue.getQueueId());
        header.setQueueOffset(offset);
        header.setMaxMsgNums(BATCH);
        header.setSysFlag(PullSysFlag.buildSysFlag(false, false, true, false));
        header.setCommitOffset(0L);
        header.setSuspendTimeoutMillis(0L);
        header.setSubscription("*");
        header.setSubVersion(0L);
        header.setExpressionType(ExpressionType.TAG);
        return (PullResultExt) api.client.pullMessage(api.address, header, Api.PATIENCE_MILLIS, CommunicationMode.SYNC, null);
    }

    private void find(String topic, String key, boolean unique) throws Exception {
        QueryMessageRequestHeader header = new QueryMessageRequestHeader();
        header.setTopic(topic);
        header.setKey(key);
        header.setMaxNum(MAX_FOUND);
        header.setBeginTimestamp(0L);
        header.setEndTimestamp(Long.MAX_VALUE);
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.QUERY_MESSAGE, header);
        request.addExtField(MixAll.UNIQUE_MSG_QUERY_FLAG, Boolean.toString(unique));
        RemotingCommand answer = api.ask(request);
        List<Long> found = new ArrayList<>();
        if (answer.getCode() == ResponseCode.SUCCESS) {
            for (byte[] record : split(answer.getBody())) {
                found.add(Lines.decode(record).getCommitLogOffset());
            }
        }
        Lines.print("key", "topic", topic, "key", key, "found", found);
    }

    /** Records one behind the other. */
    private static List<byte[]> split(byte[] records) {
        List<byte[]> split = new ArrayList<>();
        ByteBuffer rest = ByteBuffer.wrap(records);
        while (rest.remaining() > SIZE_FIELD) {
            byte[] record = new byte[rest.getInt(rest.position())];
            rest.get(record);
            split.add(record);
        }
        return split;
    }
}
