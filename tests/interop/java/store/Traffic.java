package kerolox.store;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.header.UpdateConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.ConsumeType;
import org.apache.rocketmq.remoting.protocol.heartbeat.ConsumerData;
import org.apache.rocketmq.remoting.protocol.heartbeat.HeartbeatData;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.heartbeat.SubscriptionData;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;

/**
 * What clients do to a broker in one leg: make topics and groups, send messages of every kind, commit offsets, give
 * messages back. Tells what the broker has acknowledged, as soon as it has.
 *
 * <p>The arguments: the name server, the broker, the leg's number, a seed, how many sends to make ({@code 0}: until the
 * broker is gone), and words for what this leg has besides: {@code batch-queues}, {@code filters}, {@code light-queues}.
 */
public final class Traffic {
    private static final int SENDERS = 4;
    private static final int FIRST_SENDS = 80;
    private static final int RETRIES = 5;
    private static final int LARGE = 12_000;
    private static final int COMPRESSED_FROM = 2_048;
    private static final int BATCH_LIMIT = 12;
    private static final int DELAY_LEVELS = 3;
    private static final int ROUTE_PAUSE_MILLIS = 20;
    private static final String ORDERS = "orders";
    private static final String BATCHES = "batches";
    private static final String INNER_BATCHES = "inner-batches";
    /** As long as a topic's name may be. */
    private static final String LONG = "long-" + "x".repeat(122);
    private static final List<CompressionType> COMPRESSIONS = List.of(CompressionType.ZLIB, CompressionType.LZ4, CompressionType.ZSTD);

    private final String nameServer;
    private final Api api;
    private final int leg;
    private final long seed;
    private final int sends;
    private final List<String> extras;
    private final AtomicInteger numbers = new AtomicInteger();
    private final AtomicBoolean ended = new AtomicBoolean();
    private final List<MessageQueue> queues = new ArrayList<>();

    private Traffic(String[] args) {
        nameServer = args[0];
        api = new Api(args[1]);
        leg = Integer.parseInt(args[2]);
        seed = Long.parseLong(args[3]);
        sends = Integer.parseInt(args[4]);
        extras = List.of(args).subList(5, args.length);
    }

    public static void main(String[] args) {
        Lines.tell(() -> new Traffic(args).run());
    }

    private void run() throws Exception {
        DefaultMQProducer first = producer(0);
        makeTopicsAndGroups(first);
        Random random = new Random(seed);
        while (numbers.get() < FIRST_SENDS) {
            send(first, random);
        }
        commitOffsets(random);
        giveBack();
        // From here on the broker may be killed.
        Lines.print("steady");
        List<Thread> senders = new ArrayList<>();
        for (int i = 1; i <= SENDERS; i++) {
            DefaultMQProducer producer = producer(i);
            Random own = new Random(random.nextLong());
            Thread sender = new Thread(() -> sendUntilEnd(producer, own));
            sender.start();
            senders.add(sender);
        }
        for (Thread sender : senders) {
            sender.join();
        }
    }

    private void sendUntilEnd(DefaultMQProducer producer, Random random) {
        while (!ended.get() && (sends == 0 || numbers.get() < sends)) {
            try {
                send(producer, random);
            } catch (Exception e) {
                ended.set(true);
                if (sends != 0) {
                    e.printStackTrace();
                    Runtime.getRuntime().halt(1);
                }
            }
        }
    }

    private void makeTopicsAndGroups(DefaultMQProducer producer) throws Exception {
        makeTopic(producer, ORDERS, 4, Map.of());
        makeTopic(producer, BATCHES, 3, Map.of("+message.type", "NORMAL"));
        makeTopic(producer, LONG, 2, Map.of());
        makeTopic(producer, "leg-" + leg, 1 + leg % 3, Map.of());
        if (extras.contains("batch-queues")) {
            makeTopic(producer, INNER_BATCHES, 2, Map.of("+queue.type", "BatchCQ"));
        }
        // Made by its first message.
        Message message = new Message("auto-" + leg, "tag", "key", Integer.toString(leg).getBytes(StandardCharsets.UTF_8));
        message.putUserProperty(Lines.ID, nextId());
        sent(producer.send(message), List.of(message));
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName(group(leg));
        group.setRetryMaxTimes(leg + 3);
        group.setConsumeBroadcastEnable(false);
        group.setRetryQueueNums(2);
        api.client.createSubscriptionGroup(api.address, group, Api.PATIENCE_MILLIS);
        if (extras.contains("filters")) {
            subscribeBySql();
            api.client.setMessageRequestMode(api.address, ORDERS, group(leg), MessageRequestMode.POP, 3, Api.PATIENCE_MILLIS);
        }
    }

    private void makeTopic(DefaultMQProducer producer, String topic, int count, Map<String, String> attributes) throws Exception {
        TopicConfig config = new TopicConfig(topic, count, count);
        config.setAttributes(attributes);
        api.client.createTopic(api.address, producer.getCreateTopicKey(), config, Api.PATIENCE_MILLIS);
        List<MessageQueue> found = List.of();
        while (found.size() < count) {
            try {
                found = producer.fetchPublishMessageQueues(topic);
            } catch (MQClientException noRouteYet) {
                Thread.sleep(ROUTE_PAUSE_MILLIS);
            }
        }
        queues.addAll(found);
    }

    private void subscribeBySql() throws Exception {
        SubscriptionData subscription = new SubscriptionData(ORDERS, "amount > 5 AND leg = '" + leg + "'");
        subscription.setExpressionType(ExpressionType.SQL92);
        ConsumerData consumer = new ConsumerData();
        consumer.setGroupName(group(leg));
        consumer.setConsumeType(ConsumeType.CONSUME_PASSIVELY);
        consumer.setMessageModel(MessageModel.CLUSTERING);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.getSubscriptionDataSet().add(subscription);
        HeartbeatData heartbeat = new HeartbeatData();
        heartbeat.setClientID("interop-" + leg);
        heartbeat.getConsumerDataSet().add(consumer);
        api.client.sendHeartbeat(api.address, heartbeat, Api.PATIENCE_MILLIS);
    }

    private void send(DefaultMQProducer producer, Random random) throws Exception {
        MessageQueue queue = queues.get(random.nextInt(queues.size()));
        boolean batch = queue.getTopic().endsWith(BATCHES) && random.nextBoolean();
        List<Message> messages = new ArrayList<>();
        int count = batch ? 1 + random.nextInt(BATCH_LIMIT) : 1;
        for (int i = 0; i < count; i++) {
            messages.add(message(queue.getTopic(), batch, random));
        }
        sent(batch ? producer.send(messages, queue) : producer.send(messages.get(0), queue), messages);
    }

    private Message message(String topic, boolean inBatch, Random random) {
        byte[] body = new byte[1 + (int) Math.pow(LARGE, random.nextDouble())];
        if (random.nextBoolean()) {
            random.nextBytes(body);
        }
        Message message = new Message(topic, body);
        message.putUserProperty(Lines.ID, nextId());
        message.putUserProperty("leg", Integer.toString(leg));
        message.putUserProperty("amount", Integer.toString(random.nextInt(10)));
        if (random.nextBoolean()) {
            message.putUserProperty("Ünïcode-\ud83d\ude80", "\u4f60\u597d".repeat(1 + random.nextInt(5)));
        }
        if (random.nextInt(3) > 0) {
            message.setTags("tag-" + random.nextInt(4));
        }
        if (random.nextInt(3) > 0) {
            List<String> keys = new ArrayList<>();
            for (int i = 0; i <= random.nextInt(3); i++) {
                keys.add("key-" + random.nextInt(200));
            }
            message.setKeys(keys);
        }
        message.setFlag(random.nextInt(3));
        if (!inBatch && topic.equals(ORDERS) && random.nextInt(8) == 0) {
            message.setDelayTimeLevel(1 + random.nextInt(DELAY_LEVELS));
        }
        if (!inBatch && topic.equals(ORDERS) && extras.contains("light-queues") && random.nextInt(4) == 0) {
            message.putUserProperty(MessageConst.PROPERTY_INNER_MULTI_DISPATCH, "%LMQ%a,%LMQ%b");
        }
        return message;
    }

    private void sent(SendResult result, List<Message> messages) throws Exception {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            throw new IllegalStateException("a send is answered " + result);
        }
        List<Map<String, Object>> contents = new ArrayList<>();
        for (Message message : messages) {
            contents.add(Lines.content(message.getProperty(Lines.ID), message.getBody(), message.getFlag(), message.getProperties()));
        }
        List<Long> positions = new ArrayList<>();
        for (String id : result.getOffsetMsgId().split(",")) {
            positions.add(MessageDecoder.decodeMessageId(id).getOffset());
        }
        Lines.print("sent", "topic", result.getMessageQueue().getTopic(), "queue", result.getMessageQueue().getQueueId(),
            "offset", result.getQueueOffset(), "positions", positions,
            "delayLevel", messages.get(0).getDelayTimeLevel(), "contents", contents);
    }

    /** The group of this leg commits anew, and so does that of the leg before. */
    private void commitOffsets(Random random) throws Exception {
        for (MessageQueue queue : queues) {
            long max = api.client.getMaxOffset(api.address, queue, Api.PATIENCE_MILLIS);
            for (int of = Math.max(leg - 1, 1); of <= leg; of++) {
                commit(group(of), queue.getTopic(), queue.getQueueId(), random.nextInt((int) max + 1));
            }
        }
        if (extras.contains("light-queues")) {
            commit("%LMQ%group", "%LMQ%a", 0, leg);
        }
    }

    private void commit(String group, String topic, int queue, long offset) throws Exception {
        UpdateConsumerOffsetRequestHeader header = new UpdateConsumerOffsetRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(topic);
        header.setQueueId(queue);
        header.setCommitOffset(offset);
        api.client.updateConsumerOffset(api.address, header, Api.PATIENCE_MILLIS);
        Lines.print("committed", "key", topic + "@" + group, "queue", queue, "offset", offset);
    }

    /** Some messages are not consumed and come again. */
    @SuppressWarnings("deprecation")
    private void giveBack() throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group(leg));
        consumer.setNamesrvAddr(nameServer);
        consumer.start();
        MessageQueue queue = queues.get(0);
        PullResult pulled;
        do {
            // The first message of the queue may still be on its way.
            pulled = consumer.pullBlockIfNotFound(queue, "*", consumer.minOffset(queue), RETRIES);
        } while (pulled.getMsgFoundList() == null);
        for (MessageExt message : pulled.getMsgFoundList()) {
            int level = 1 + leg % DELAY_LEVELS;
            api.client.consumerSendMessageBack(api.address, queue.getBrokerName(), message, group(leg), level, Api.PATIENCE_MILLIS, leg + 3);
            Lines.print("givenBack", "id", message.getProperty(Lines.ID), "topic", "%RETRY%" + group(leg));
        }
    }

    private DefaultMQProducer producer(int number) throws MQClientException {
        DefaultMQProducer producer = new DefaultMQProducer("traffic");
        producer.setNamesrvAddr(nameServer);
        producer.setInstanceName("traffic-" + number);
        // A send that fails may have been done; a second one would count twice.
        producer.setRetryTimesWhenSendFailed(0);
        producer.setSendMsgTimeout((int) Api.PATIENCE_MILLIS);
        producer.setCompressMsgBodyOverHowmuch(COMPRESSED_FROM);
        producer.setCompressType(COMPRESSIONS.get(number % COMPRESSIONS.size()));
        producer.start();
        return producer;
    }

    private static String group(int leg) {
        return "group-" + leg;
    }

    private String nextId() {
        return leg + "-" + numbers.incrementAndGet();
    }
}
