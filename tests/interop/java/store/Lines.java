package kerolox.store;

import com.alibaba.fastjson2.JSON;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.broker.offset.LmqConsumerOffsetManager;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.protocol.body.SubscriptionGroupWrapper;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigSerializeWrapper;

/** What the programs here tell: JSON, one object a line, named by its field {@code kind}. */
final class Lines {
    /** The property that says which message it is; no two messages sent have the same. */
    static final String ID = "id";

    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    private Lines() {
    }

    /** What a program here does. */
    @FunctionalInterface
    interface Task {
        void run() throws Exception;
    }

    /**
     * Runs a program to its end, which is the end of the JVM: neither the client's threads nor those of a store keep
     * it running. Whatever others write to standard output goes elsewhere.
     */
    static void tell(Task program) {
        System.setOut(System.err);
        try {
            program.run();
        } catch (Throwable e) {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
        Runtime.getRuntime().halt(0);
    }

    /** Names and values in turn. */
    static Map<String, Object> line(String kind, Object... fields) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("kind", kind);
        for (int i = 0; i < fields.length; i += 2) {
            line.put((String) fields[i], fields[i + 1]);
        }
        return line;
    }

    static synchronized void print(Map<String, Object> line) {
        OUT.print(JSON.toJSONString(line) + "\n");
        OUT.flush();
    }

    static void print(String kind, Object... fields) {
        print(line(kind, fields));
    }

    /** A whole record as it lies in the commit log, read by the reference's own decoder. */
    static Map<String, Object> message(MessageExt message, byte[] record) throws Exception {
        Map<String, Object> line = line("message",
            "topic", message.getTopic(),
            "queue", message.getQueueId(),
            "offset", message.getQueueOffset(),
            "position", message.getCommitLogOffset(),
            "size", record.length,
            "record", sha256(record),
            "storeTime", message.getStoreTimestamp(),
            "keys", keys(message).keySet());
        List<Map<String, Object>> contents = new ArrayList<>();
        for (MessageExt inner : inner(message)) {
            contents.add(content(inner.getProperty(ID), inner.getBody(), inner.getFlag(), inner.getProperties()));
        }
        line.put("contents", contents);
        return line;
    }

    /** What a sender gives and a consumer gets. */
    static Map<String, Object> content(String id, byte[] body, int flag, Map<String, String> properties) {
        Map<String, Object> content = new LinkedHashMap<>();
        content.put("id", id);
        content.put("body", sha256(body));
        content.put("flag", flag);
        content.put("properties", new TreeMap<>(properties));
        return content;
    }

    static MessageExt decode(byte[] record) {
        MessageExt message = MessageDecoder.decode(ByteBuffer.wrap(record), true, true, false, false, true);
        if (message == null) {
            throw new IllegalStateException("the reference cannot decode " + HexFormat.of().formatHex(record));
        }
        return message;
    }

    static void topics(TopicConfigSerializeWrapper table) {
        print("version", "table", "topics", "counter", table.getDataVersion().getCounter().get());
        table.getTopicConfigTable().forEach((name, config) -> print("topic", "name", name, "settings", JSON.toJSONString(config)));
    }

    static void groups(SubscriptionGroupWrapper table) {
        print("version", "table", "groups", "counter", table.getDataVersion().getCounter().get());
        table.getSubscriptionGroupTable().forEach((name, config) -> print("group", "name", name, "settings", JSON.toJSONString(config)));
    }

    /** The content of {@code consumerOffset.json} or {@code lmqConsumerOffset.json}. */
    static void offsets(byte[] json) {
        // This one understands the files of both kinds.
        LmqConsumerOffsetManager offsets = new LmqConsumerOffsetManager();
        offsets.decode(new String(json, StandardCharsets.UTF_8));
        offsets.getOffsetTable().forEach((key, queues) ->
            queues.forEach((queue, offset) -> print("groupOffset", "key", key, "queue", queue, "offset", offset)));
        offsets.getLmqOffsetTable().forEach((key, offset) -> print("groupOffset", "key", key, "queue", 0, "offset", offset));
    }

    static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException never) {
            throw new IllegalStateException(never);
        }
    }

    /** The keys that a message can be found by, each with whether it is the unique one. */
    static Map<String, Boolean> keys(MessageExt message) {
        Map<String, Boolean> keys = new LinkedHashMap<>();
        if (message.getKeys() != null) {
            for (String key : message.getKeys().split(MessageConst.KEY_SEPARATOR)) {
                keys.put(key, false);
            }
        }
        String unique = message.getProperty(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
        if (unique != null) {
            keys.put(unique, true);
        }
        return keys;
    }

    /** The messages of an inner batch; any other message alone. */
    private static List<MessageExt> inner(MessageExt message) throws Exception {
        boolean batch = MessageSysFlag.check(message.getSysFlag(), MessageSysFlag.INNER_BATCH_FLAG);
        if (!batch) {
            return List.of(message);
        }
        List<MessageExt> inner = new ArrayList<>();
        MessageDecoder.decodeMessage(message, inner);
        return inner;
    }
}
