package kerolox.store;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.AckStatus;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.constant.ConsumeInitMode;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ChangeInvisibleTimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.EndTransactionRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.RecallMessageRequestHeader;

/**
 * What a broker still owes when its store goes over to another one: messages that were received and not acknowledged,
 * open transactions, messages that wait for a time or by a delay level.
 *
 * <p>Reads a line for each broker that has the store now: its name server, its address, and {@code last} if no broker
 * follows, or {@code kill} if this one will be killed. Tells as a {@code fault} what is not as it was promised under
 * the broker before, and then, when the next broker is owed enough, {@code steady}.
 */
public final class Handover {
    private static final String BROKER = "broker-a";
    private static final String POPPED = "popped";
    private static final String RESTLESS = "restless";
    private static final String ORDERED = "ordered";
    private static final String DECIDED = "decided";
    private static final String TIMED = "timed";
    private static final String DELAYED = "delayed";
    private static final List<String> TOPICS = List.of(POPPED, RESTLESS, ORDERED, DECIDED, TIMED, DELAYED);
    private static final String GROUP = "handover";

    /** Longer than a change of brokers takes. */
    private static final long HIDDEN_MILLIS = 45_000;
    private static final long LONGER_HIDDEN_MILLIS = 50_000;
    /** Longer than anything here takes. */
    private static final long LONG_MILLIS = 600_000;
    /** By how much all that comes may be late. */
    private static final long LATE_MILLIS = 180_000;
    /** By when all that a broker knows is on the disk: the reference writes orderly pops every ten seconds. */
    private static final long WRITTEN_MILLIS = 18_000;
    /** The same for how far groups have come, which it is told to write twice a second. */
    private static final long OFFSETS_WRITTEN_MILLIS = 8_000;
    /** How long to look for what must not come, after it could have. */
    private static final long WATCH_MILLIS = 5_000;
    /** How long before its time comes a message is still dealt with, so that this is done in time. */
    private static final long IN_TIME_MILLIS = 5_000;
    private static final int HEARTBEAT_MILLIS = 1_000;
    private static final long PAUSE_MILLIS = 100;
    private static final int POP_BATCH = 8;
    private static final int PULL_BATCH = 32;

    /** What a message is owed: to come so often, not before a time; or not to come, as it could from a time on. */
    private record Debt(int least, int most, long from) {
        Debt(boolean comes, long from) {
            this(comes ? 1 : 0, comes ? 1 : 0, from);
        }

        boolean comes() {
            return least > 0;
        }
    }

    /** That a message was received, and maybe acknowledged right then. */
    private record Reception(long at, boolean acknowledged) {
    }

    /** An acknowledgement's answer. */
    private static final class Answer extends CompletableFuture<AckResult> implements AckCallback {
        @Override
        public void onSuccess(AckResult result) {
            complete(result);
        }

        @Override
        public void onException(Throwable e) {
            completeExceptionally(e);
        }

        AckResult ok() throws Exception {
            AckResult result = get(Api.PATIENCE_MILLIS, TimeUnit.MILLISECONDS);
            if (result.getStatus() != AckStatus.OK) {
                throw new IllegalStateException("an acknowledgement is answered " + result);
            }
            return result;
        }
    }

    /** By the message's id. */
    private final Map<String, Debt> debts = new TreeMap<>();
    /** When messages came, by their ids. */
    private final Map<String, List<Long>> came = new TreeMap<>();
    /** Ids of the ordered ones, as they came. */
    private final List<String> inOrder = new ArrayList<>();
    /** What is left to do under the next broker. */
    private final List<Lines.Task> next = new ArrayList<>();
    /** What the producer answers when it is asked. */
    private final Map<String, LocalTransactionState> verdicts = new ConcurrentHashMap<>();
    private final Map<MessageQueue, Long> read = new HashMap<>();
    private int leg;
    private int number;
    private Api api;
    private TransactionMQProducer producer;
    @SuppressWarnings("deprecation")
    private DefaultMQPullConsumer reader;

    public static void main(String[] args) {
        Lines.tell(() -> new Handover().run());
    }

    private void run() throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            List<String> words = List.of(line.split(" "));
            leg++;
            meet(words.get(0), words.get(1));
            List<Lines.Task> tasks = List.copyOf(next);
            next.clear();
            for (Lines.Task task : tasks) {
                task.run();
            }
            collect();
            judge();
            if (words.contains("kill")) {
                leaveOrdered();
                leavePopped();
                receiveUntilKilled();
            } else if (!words.contains("last")) {
                leave();
            }
            producer.shutdown();
            reader.shutdown();
            if (!words.contains("kill")) {
                Lines.print("steady");
            }
        }
    }

    @SuppressWarnings("deprecation")
    private void meet(String nameServer, String address) throws Exception {
        api = new Api(address);
        for (String topic : TOPICS) {
            int queues = topic.equals(POPPED) ? 2 : 1;
            api.client.createTopic(address, "TBW102", new TopicConfig(topic, queues, queues), Api.PATIENCE_MILLIS);
        }
        producer = new TransactionMQProducer("deciders");
        producer.setNamesrvAddr(nameServer);
        producer.setInstanceName("decider-" + leg);
        producer.setHeartbeatBrokerInterval(HEARTBEAT_MILLIS);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object state) {
                return (LocalTransactionState) state;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return verdicts.getOrDefault(message.getProperty(Lines.ID), LocalTransactionState.UNKNOW);
            }
        });
        producer.start();
        reader = new DefaultMQPullConsumer("reader");
        reader.setNamesrvAddr(nameServer);
        reader.setInstanceName("reader-" + leg);
        reader.start();
        for (String topic : TOPICS) {
            queues(topic);
        }
        // It tells the broker of itself once it knows it, so that it can be asked.
        producer.sendMessageInTransaction(message(DECIDED, "hello"), LocalTransactionState.ROLLBACK_MESSAGE);
    }

    private List<MessageQueue> queues(String topic) throws Exception {
        while (true) {
            try {
                List<MessageQueue> found = producer.fetchPublishMessageQueues(topic);
                if (!found.isEmpty()) {
                    return found;
                }
            } catch (MQClientException noRouteYet) {
                Thread.sleep(PAUSE_MILLIS);
            }
        }
    }

    private void leave() throws Exception {
        leaveTimed();
        leaveDelayed();
        leaveDecided();
        leaveOrdered();
        leavePopped();
    }

    /** Receptions of which some messages are acknowledged, or hidden for longer, by this broker or the next one. */
    private void leavePopped() throws Exception {
        for (int i = 0; i < 3 * POP_BATCH; i++) {
            send(POPPED, "popped");
        }
        long before = System.currentTimeMillis();
        List<MessageExt> popped = new ArrayList<>();
        while (popped.size() < 3 * POP_BATCH) {
            popped.addAll(pop(POPPED, HIDDEN_MILLIS, false));
        }
        long due = before + HIDDEN_MILLIS;
        for (int i = 0; i < popped.size(); i++) {
            MessageExt message = popped.get(i);
            String id = message.getProperty(Lines.ID);
            Debt again = new Debt(true, due);
            Debt none = new Debt(false, due);
            switch (i % 8) {
                case 0 -> {
                    ack(message);
                    debts.put(id, none);
                }
                case 1 -> {
                    Answer answer = new Answer();
                    api.client.batchAckMessageAsync(api.address, Api.PATIENCE_MILLIS, answer, POPPED, GROUP,
                        List.of(message.getProperty(MessageConst.PROPERTY_POP_CK)));
                    answer.ok();
                    debts.put(id, none);
                }
                case 2 -> {
                    next.add(() -> inTime(id, due, () -> ack(message)));
                    debts.put(id, none);
                }
                case 3 -> {
                    hide(message);
                    debts.put(id, new Debt(true, before + LONGER_HIDDEN_MILLIS));
                }
                case 4 -> {
                    hide(message);
                    long longer = before + LONGER_HIDDEN_MILLIS;
                    next.add(() -> inTime(id, longer, () -> ack(message)));
                    debts.put(id, new Debt(false, longer));
                }
                case 5 -> {
                    next.add(() -> inTime(id, due, () -> {
                        debts.put(id, new Debt(true, System.currentTimeMillis() + LONGER_HIDDEN_MILLIS));
                        hide(message);
                    }));
                    debts.put(id, again);
                }
                default -> debts.put(id, again);
            }
        }
        for (int i = 0; i < POP_BATCH; i++) {
            debts.put(send(POPPED, "never-popped"), new Debt(true, 0));
        }
    }

    /**
     * Receives, and acknowledges every other message, until the broker is killed amid it. What was done long before must
     * count; what was done right before may be forgotten, but no message.
     */
    private void receiveUntilKilled() throws Exception {
        Map<String, Reception> receptions = new HashMap<>();
        long started = System.currentTimeMillis();
        boolean steady = false;
        try {
            while (true) {
                debts.put(send(RESTLESS, "restless"), new Debt(1, 2, 0));
                long before = System.currentTimeMillis();
                for (MessageExt message : pop(RESTLESS, HIDDEN_MILLIS, false)) {
                    boolean acknowledged = receptions.size() % 2 == 0;
                    receptions.put(message.getProperty(Lines.ID), new Reception(before, acknowledged));
                    if (acknowledged) {
                        ack(message);
                    }
                }
                Thread.sleep(PAUSE_MILLIS);
                if (!steady && System.currentTimeMillis() > started + WRITTEN_MILLIS) {
                    steady = true;
                    Lines.print("steady");
                }
            }
        } catch (Exception killed) {
            if (!steady || isBrokerThere()) {
                throw killed;
            }
        }
        long written = System.currentTimeMillis() - OFFSETS_WRITTEN_MILLIS;
        receptions.forEach((id, reception) -> {
            long due = reception.at() + HIDDEN_MILLIS;
            if (reception.at() < written) {
                debts.put(id, new Debt(!reception.acknowledged(), due));
            } else if (reception.acknowledged()) {
                debts.put(id, new Debt(0, 2, due));
            }
        });
    }

    private boolean isBrokerThere() {
        String[] hostAndPort = api.address.split(":");
        try (Socket connected = new Socket(hostAndPort[0], Integer.parseInt(hostAndPort[1]))) {
            return connected.isConnected();
        } catch (IOException gone) {
            return false;
        }
    }

    /** Does something with a message that is hidden until a time; then it is too late, and nothing is promised. */
    private void inTime(String id, long until, Lines.Task task) throws Exception {
        if (System.currentTimeMillis() < until - IN_TIME_MILLIS) {
            task.run();
        } else {
            debts.remove(id);
        }
    }

    /** Of three that were received in order, one is acknowledged. */
    private void leaveOrdered() throws Exception {
        for (int i = 0; i < 3; i++) {
            send(ORDERED, "ordered");
        }
        // The reference enters messages into their queue a moment after it has acknowledged them.
        MessageQueue queue = queues(ORDERED).get(0);
        while (reader.maxOffset(queue) < 3) {
            Thread.sleep(PAUSE_MILLIS);
        }
        long due = System.currentTimeMillis() + HIDDEN_MILLIS;
        List<MessageExt> popped = pop(ORDERED, HIDDEN_MILLIS, true);
        for (MessageExt message : popped) {
            debts.put(message.getProperty(Lines.ID), new Debt(true, due));
        }
        ack(popped.get(0));
        debts.put(popped.get(0).getProperty(Lines.ID), new Debt(false, due));
        debts.put(send(ORDERED, "ordered"), new Debt(true, due));
    }

    /** Transactions that this broker ends, or the next one, by itself or asking. */
    private void leaveDecided() throws Exception {
        for (int i = 0; i < 3; i++) {
            for (LocalTransactionState verdict : List.of(LocalTransactionState.COMMIT_MESSAGE, LocalTransactionState.ROLLBACK_MESSAGE)) {
                Debt debt = new Debt(verdict == LocalTransactionState.COMMIT_MESSAGE, 0);
                Message now = message(DECIDED, "now-" + verdict);
                producer.sendMessageInTransaction(now, verdict);
                debts.put(now.getProperty(Lines.ID), debt);
                Message later = message(DECIDED, "later-" + verdict);
                // As the client does it, whose answer does not tell where the half message is.
                later.getProperties().put(MessageConst.PROPERTY_TRANSACTION_PREPARED, "true");
                later.getProperties().put(MessageConst.PROPERTY_PRODUCER_GROUP, producer.getProducerGroup());
                SendResult open = producer.send(later);
                next.add(() -> {
                    verdicts.put(later.getProperty(Lines.ID), verdict);
                    end(open, debt.comes());
                });
                debts.put(later.getProperty(Lines.ID), debt);
                Message asked = message(DECIDED, "asked-" + verdict);
                producer.sendMessageInTransaction(asked, LocalTransactionState.UNKNOW);
                next.add(() -> verdicts.put(asked.getProperty(Lines.ID), verdict));
                debts.put(asked.getProperty(Lines.ID), debt);
            }
        }
    }

    /** Messages due before the next broker runs and after, of which both take one back. */
    private void leaveTimed() throws Exception {
        for (int i = 0; i < 15; i++) {
            long due = System.currentTimeMillis() + 1_000 + i * 2_000L;
            timed("timed", due);
        }
        long due = System.currentTimeMillis() + 2 * HIDDEN_MILLIS;
        SendResult taken = timed("taken-back-now", due);
        recall(taken);
        SendResult later = timed("taken-back-later", due);
        next.add(() -> recall(later));
    }

    private SendResult timed(String what, long due) throws Exception {
        Message message = message(TIMED, what);
        message.setDeliverTimeMs(due);
        debts.put(message.getProperty(Lines.ID), new Debt(what.equals("timed"), due));
        return producer.send(message);
    }

    private void leaveDelayed() throws Exception {
        long[] millis = {1_000, 5_000, 10_000, 30_000};
        for (int i = 0; i < 3 * millis.length; i++) {
            int level = 1 + i % millis.length;
            Message message = message(DELAYED, "delayed-" + level);
            message.setDelayTimeLevel(level);
            debts.put(message.getProperty(Lines.ID), new Debt(true, System.currentTimeMillis() + millis[level - 1]));
            producer.send(message);
        }
    }

    /** Takes what comes until all has come that is owed, and nothing can come any more that is not. */
    private void collect() throws Exception {
        long started = System.currentTimeMillis();
        long until = started;
        for (Debt debt : debts.values()) {
            until = debt.comes() ? until : Math.max(until, debt.from() + WATCH_MILLIS);
        }
        while (System.currentTimeMillis() < until || isOwed() && System.currentTimeMillis() < started + LATE_MILLIS) {
            for (String topic : List.of(POPPED, RESTLESS)) {
                for (MessageExt message : pop(topic, LONG_MILLIS, false)) {
                    came(message, System.currentTimeMillis());
                    ack(message);
                }
            }
            for (MessageExt message : pop(ORDERED, LONG_MILLIS, true)) {
                came(message, System.currentTimeMillis());
                inOrder.add(message.getProperty(Lines.ID));
                ack(message);
            }
            for (String topic : List.of(DECIDED, TIMED, DELAYED)) {
                pull(queues(topic).get(0));
            }
            Thread.sleep(PAUSE_MILLIS);
        }
    }

    private boolean isOwed() {
        return debts.entrySet().stream().anyMatch(debt -> debt.getValue().comes() && !came.containsKey(debt.getKey()));
    }

    private void came(MessageExt message, long at) {
        came.computeIfAbsent(message.getProperty(Lines.ID), id -> new ArrayList<>()).add(at);
    }

    @SuppressWarnings("deprecation")
    private void pull(MessageQueue queue) throws Exception {
        while (true) {
            PullResult pulled = reader.pull(queue, "*", read.getOrDefault(queue, 0L), PULL_BATCH);
            read.put(queue, pulled.getNextBeginOffset());
            if (pulled.getMsgFoundList() == null || pulled.getMsgFoundList().isEmpty()) {
                return;
            }
            for (MessageExt message : pulled.getMsgFoundList()) {
                came(message, message.getStoreTimestamp());
            }
        }
    }

    private void judge() {
        debts.forEach((id, debt) -> {
            List<Long> times = came.getOrDefault(id, List.of());
            if (times.size() < debt.least() || times.size() > debt.most()) {
                Lines.print("fault", "what", id + " is owed " + debt + ", and came at " + times);
            } else if (debt.comes() && times.get(0) < debt.from()) {
                Lines.print("fault", "what", id + " comes " + (debt.from() - times.get(0)) + " ms early");
            }
        });
        List<String> sorted = inOrder.stream().sorted().toList();
        if (!sorted.equals(inOrder)) {
            Lines.print("fault", "what", "not in order: " + inOrder);
        }
        // What came well is not looked at again, but must not come once more.
        debts.replaceAll((id, debt) -> {
            int times = came.getOrDefault(id, List.of()).size();
            return new Debt(times, times, 0);
        });
    }

    private List<MessageExt> pop(String topic, long hidden, boolean order) throws Exception {
        PopMessageRequestHeader header = new PopMessageRequestHeader();
        header.setConsumerGroup(GROUP);
        header.setTopic(topic);
        header.setQueueId(-1);
        header.setMaxMsgNums(POP_BATCH);
        header.setInvisibleTime(hidden);
        header.setPollTime(0);
        header.setBornTime(System.currentTimeMillis());
        header.setInitMode(ConsumeInitMode.MIN);
        header.setExpType(ExpressionType.TAG);
        header.setExp("*");
        header.setOrder(order);
        CompletableFuture<PopResult> answer = new CompletableFuture<>();
        api.client.popMessageAsync(BROKER, api.address, header, Api.PATIENCE_MILLIS, new PopCallback() {
            @Override
            public void onSuccess(PopResult result) {
                answer.complete(result);
            }

            @Override
            public void onException(Throwable e) {
                answer.completeExceptionally(e);
            }
        });
        List<MessageExt> found = answer.get(Api.PATIENCE_MILLIS, TimeUnit.MILLISECONDS).getMsgFoundList();
        return found == null ? List.of() : found;
    }

    private void ack(MessageExt message) throws Exception {
        String[] handle = ExtraInfoUtil.split(message.getProperty(MessageConst.PROPERTY_POP_CK));
        AckMessageRequestHeader header = new AckMessageRequestHeader();
        header.setTopic(ExtraInfoUtil.getRealTopic(handle, message.getTopic(), GROUP));
        header.setConsumerGroup(GROUP);
        header.setQueueId(ExtraInfoUtil.getQueueId(handle));
        header.setOffset(ExtraInfoUtil.getQueueOffset(handle));
        header.setExtraInfo(message.getProperty(MessageConst.PROPERTY_POP_CK));
        Answer answer = new Answer();
        api.client.ackMessageAsync(api.address, Api.PATIENCE_MILLIS, answer, header);
        answer.ok();
    }

    /** Hides a message for longer; it has its new handle then. */
    private void hide(MessageExt message) throws Exception {
        String[] handle = ExtraInfoUtil.split(message.getProperty(MessageConst.PROPERTY_POP_CK));
        ChangeInvisibleTimeRequestHeader header = new ChangeInvisibleTimeRequestHeader();
        header.setTopic(ExtraInfoUtil.getRealTopic(handle, message.getTopic(), GROUP));
        header.setConsumerGroup(GROUP);
        header.setQueueId(ExtraInfoUtil.getQueueId(handle));
        header.setOffset(ExtraInfoUtil.getQueueOffset(handle));
        header.setExtraInfo(message.getProperty(MessageConst.PROPERTY_POP_CK));
        header.setInvisibleTime(LONGER_HIDDEN_MILLIS);
        Answer answer = new Answer();
        api.client.changeInvisibleTimeAsync(BROKER, api.address, header, Api.PATIENCE_MILLIS, answer);
        message.getProperties().put(MessageConst.PROPERTY_POP_CK, answer.ok().getExtraInfo());
    }

    private void end(SendResult open, boolean commit) throws Exception {
        EndTransactionRequestHeader header = new EndTransactionRequestHeader();
        header.setTopic(DECIDED);
        header.setProducerGroup(producer.getProducerGroup());
        header.setTranStateTableOffset(open.getQueueOffset());
        header.setCommitLogOffset(MessageDecoder.decodeMessageId(open.getOffsetMsgId()).getOffset());
        header.setCommitOrRollback(commit ? MessageSysFlag.TRANSACTION_COMMIT_TYPE : MessageSysFlag.TRANSACTION_ROLLBACK_TYPE);
        header.setMsgId(open.getMsgId());
        header.setTransactionId(open.getTransactionId());
        RemotingCommand answer = api.ask(RemotingCommand.createRequestCommand(RequestCode.END_TRANSACTION, header));
        if (answer.getCode() != ResponseCode.SUCCESS) {
            throw new IllegalStateException("the end of a transaction is answered " + answer);
        }
    }

    private void recall(SendResult sent) throws Exception {
        RecallMessageRequestHeader header = new RecallMessageRequestHeader();
        header.setTopic(TIMED);
        header.setProducerGroup(producer.getProducerGroup());
        header.setRecallHandle(sent.getRecallHandle());
        api.client.recallMessage(api.address, header, Api.PATIENCE_MILLIS);
    }

    private Message message(String topic, String what) {
        number++;
        String id = "%d-%04d-%s".formatted(leg, number, what);
        Message message = new Message(topic, id.getBytes(StandardCharsets.UTF_8));
        message.putUserProperty(Lines.ID, id);
        return message;
    }

    /** Sends a plain message, and gives its id. */
    private String send(String topic, String what) throws Exception {
        Message message = message(topic, what);
        producer.send(message);
        return message.getProperty(Lines.ID);
    }
}
