package kerolox.store;

import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.body.SubscriptionGroupWrapper;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigSerializeWrapper;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.DispatchRequest;
import org.apache.rocketmq.store.SelectMappedBufferResult;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.store.queue.ConsumeQueueInterface;
import org.apache.rocketmq.store.queue.CqUnit;
import org.apache.rocketmq.store.queue.ReferredIterator;
import org.apache.rocketmq.store.stats.BrokerStatsManager;

/**
 * Opens a store directory with the reference's own store and tells all that is in it. The arguments: the directory and
 * the broker's configuration file. The directory is recovered as the reference does it, so give it a copy.
 */
public final class ReadStore {
    private static final int MAX_FOUND = 64;
    private static final int PAUSE_MILLIS = 10;

    private final DefaultMessageStore store;
    private final Path config;

    private ReadStore(Path directory, Path conf) throws Exception {
        config = directory.resolve("config");
        Properties properties = new Properties();
        try (InputStream in = Files.newInputStream(conf)) {
            properties.load(in);
        }
        MessageStoreConfig settings = new MessageStoreConfig();
        MixAll.properties2Object(properties, settings);
        settings.setStorePathRootDir(directory.toString());
        settings.setStorePathCommitLog(directory.resolve("commitlog").toString());
        settings.setHaListenPort(0);
        BrokerConfig broker = new BrokerConfig();
        MixAll.properties2Object(properties, broker);
        TopicConfigSerializeWrapper topics = read("topics.json", TopicConfigSerializeWrapper.class);
        Lines.topics(topics);
        Lines.groups(read("subscriptionGroup.json", SubscriptionGroupWrapper.class));
        Path offsets = config.resolve(settings.isEnableLmq() ? "lmqConsumerOffset.json" : "consumerOffset.json");
        Lines.offsets(Files.readAllBytes(offsets));
        store = new DefaultMessageStore(settings, new BrokerStatsManager("interop", false),
            (topic, queue, offset, tags, time, bitMap, all) -> { }, broker, topics.getTopicConfigTable());
    }

    public static void main(String[] args) {
        // The directory is a copy: nobody opens it again, and a clean end would take the reference seconds.
        Lines.tell(() -> new ReadStore(Path.of(args[0]), Path.of(args[1])).read());
    }

    private void read() throws Exception {
        open();
        readLog();
        readQueues();
    }

    private <T> T read(String name, Class<T> type) throws Exception {
        return RemotingSerializable.decode(Files.readAllBytes(config.resolve(name)), type);
    }

    private void open() throws Exception {
        if (!store.load()) {
            throw new IllegalStateException("the reference does not load this store");
        }
        store.start();
        while (store.dispatchBehindBytes() > 0) {
            Thread.sleep(PAUSE_MILLIS);
        }
    }

    /** Goes from record to record, as the reference does when it makes queues from the log. */
    private void readLog() {
        long position = store.getCommitLog().getMinOffset();
        long end = store.getCommitLog().getMaxOffset();
        while (position < end) {
            SelectMappedBufferResult data = store.getCommitLog().getData(position);
            if (data == null) {
                throw new IllegalStateException("the log says nothing at " + position + ", before its end at " + end);
            }
            int length = data.getSize();
            ByteBuffer buffer = data.getByteBuffer();
            int read = 0;
            while (read < length) {
                DispatchRequest record = store.getCommitLog().checkMessageAndReturnSize(buffer, true, false, true);
                if (!record.isSuccess()) {
                    throw new IllegalStateException("no whole record is at " + (position + read) + ", before the log's end at " + end);
                }
                if (record.getMsgSize() == 0) {
                    // The rest of the file is filled up.
                    break;
                }
                Lines.print("logRecord", "position", position + read, "topic", record.getTopic(), "queue", record.getQueueId(),
                    "offset", record.getConsumeQueueOffset(), "size", record.getMsgSize(), "tagsCode", record.getTagsCode(),
                    "count", Math.max(record.getBatchSize(), 1));
                read += record.getMsgSize();
            }
            data.release();
            position += length;
        }
        Lines.print("log", "end", end);
    }

    private void readQueues() throws Exception {
        for (Map<Integer, ConsumeQueueInterface> queues : store.getConsumeQueueTable().values()) {
            for (ConsumeQueueInterface queue : queues.values()) {
                readQueue(queue);
            }
        }
    }

    private void readQueue(ConsumeQueueInterface queue) throws Exception {
        String topic = queue.getTopic();
        int id = queue.getQueueId();
        Lines.print("queue", "topic", topic, "queue", id, "min", queue.getMinOffsetInQueue(), "max", queue.getMaxOffsetInQueue());
        List<MessageExt> messages = new ArrayList<>();
        long next = queue.getMinOffsetInQueue();
        while (next < queue.getMaxOffsetInQueue()) {
            // Ends where a file of the queue does.
            ReferredIterator<CqUnit> entries = queue.iterateFrom(next);
            if (entries == null) {
                throw new IllegalStateException(topic + " " + id + " has no entry " + next + ", before its end");
            }
            while (entries.hasNext()) {
                CqUnit entry = entries.next();
                byte[] record = record(entry);
                MessageExt message = Lines.decode(record);
                Map<String, Object> line = Lines.message(message, record);
                line.put("inQueue", topic);
                line.put("tagsCode", entry.getTagsCode());
                line.put("at", entry.getQueueOffset());
                line.put("count", entry.getBatchNum());
                Lines.print(line);
                messages.add(message);
                next = entry.getQueueOffset() + entry.getBatchNum();
            }
            entries.release();
        }
        Set<Long> times = new TreeSet<>();
        Set<String> asked = new LinkedHashSet<>();
        for (MessageExt message : messages) {
            times.add(message.getStoreTimestamp());
            for (String key : Lines.keys(message).keySet()) {
                if (topic.equals(message.getTopic()) && asked.add(key)) {
                    Lines.print("key", "topic", topic, "key", key, "found", find(topic, key));
                }
            }
        }
        for (long time : times) {
            Lines.print("time", "topic", topic, "queue", id, "time", time, "offset", store.getOffsetInQueueByTime(topic, id, time));
        }
    }

    private byte[] record(CqUnit entry) {
        SelectMappedBufferResult found = store.selectOneMessageByOffset(entry.getPos(), entry.getSize());
        if (found == null) {
            throw new IllegalStateException("no record is where an entry says: " + entry);
        }
        byte[] record = new byte[entry.getSize()];
        found.getByteBuffer().get(record);
        found.release();
        return record;
    }

    private List<Long> find(String topic, String key) {
        List<Long> found = new ArrayList<>();
        for (ByteBuffer record : store.queryMessage(topic, key, MAX_FOUND, 0, Long.MAX_VALUE).getMessageBufferList()) {
            byte[] bytes = new byte[record.remaining()];
            record.get(bytes);
            found.add(Lines.decode(bytes).getCommitLogOffset());
        }
        return found;
    }
}
