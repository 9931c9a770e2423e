package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Consumers share queues: each message is received for a time, and acknowledged. */
@ExtendWith(OwnServer.class)
@Order(2)
class PopTest {
    private static final int QUERY_ASSIGNMENT = 400;
    private static final int SET_MESSAGE_REQUEST_MODE = 401;
    private static final int POP_MESSAGE = 200050;
    private static final int ACK_MESSAGE = 200051;
    private static final int PEEK_MESSAGE = 200052;
    private static final int CHANGE_MESSAGE_INVISIBLETIME = 200053;
    private static final int NOTIFICATION = 200054;
    private static final int POLLING_INFO = 200055;

    private static final int SUCCESS = 0;
    private static final int MESSAGE_ILLEGAL = 13;
    private static final int TOPIC_NOT_EXIST = 17;
    private static final int PULL_NOT_FOUND = 19;
    private static final int INVALID_PARAMETER = 29;
    private static final int NO_MESSAGE = 208;
    private static final int POLLING_TIMEOUT = 210;

    /** Longer than anything here takes. */
    private static final long LONG = 600_000;
    /** How long a broker may take to write down how far a group has come. */
    private static final Duration OFFSETS_ARE_WRITTEN = Duration.ofSeconds(12);

    /** A received message, with what it is acknowledged with. */
    private record Got(String topic, String body, int queue, long offset, int times, String handle) {
        /** When the broker gave it, in milliseconds. */
        long at() {
            return Long.parseLong(handle.split(" ")[1]);
        }
    }

    /** One group that pops one topic. */
    private static final class Popper {
        private final Server server;
        private final DefaultMQProducer client;
        private final String topic;
        private final String group;

        Popper(Server server, Clients clients, String topic) throws Exception {
            this.server = server;
            client = clients.producer();
            this.topic = topic;
            group = clients.newGroup();
        }

        RemotingCommand ask(int code, Map<String, Object> fields, byte[] body) throws Exception {
            RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
            fields.forEach((name, value) -> request.addExtField(name, value.toString()));
            request.setBody(body);
            return client.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl().getRemotingClient()
                .invokeSync(server.broker(), request, Clients.TIMEOUT_MILLIS);
        }

        Map<String, Object> fields(Map<String, Object> more) {
            Map<String, Object> fields = new HashMap<>(Map.of("consumerGroup", group, "topic", topic, "queueId", -1));
            fields.putAll(more);
            return fields;
        }

        RemotingCommand popAnswer(int count, long invisible, long poll, Map<String, Object> more) throws Exception {
            Map<String, Object> fields = fields(Map.of("maxMsgNums", count, "invisibleTime", invisible,
                "pollTime", poll, "bornTime", System.currentTimeMillis(), "initMode", 0));
            fields.putAll(more);
            return ask(POP_MESSAGE, fields, null);
        }

        List<Got> pop(int count, long invisible) throws Exception {
            return messages(popAnswer(count, invisible, 0, Map.of()));
        }

        List<Got> popInOrder(int count, long invisible) throws Exception {
            return messages(popAnswer(count, invisible, 0, Map.of("order", true)));
        }

        /** Reads an answer as the client does. */
        List<Got> messages(RemotingCommand answer) throws Exception {
            if (answer.getCode() != SUCCESS) {
                assertEquals(POLLING_TIMEOUT, answer.getCode(), answer.getRemark());
                return List.of();
            }
            Map<String, String> fields = answer.getExtFields();
            Map<String, String> starts = new HashMap<>();
            for (String entry : fields.get("startOffsetInfo").split(";")) {
                String[] parts = entry.split(" ");
                starts.put(parts[0] + "@" + parts[1], parts[2]);
            }
            String counts = fields.getOrDefault("orderCountInfo", "");
            List<Got> all = new ArrayList<>();
            for (MessageExt message : MessageDecoder.decodes(ByteBuffer.wrap(answer.getBody()))) {
                String handle = message.getProperty("POP_CK");
                if (handle == null) {
                    handle = String.join(" ", starts.get("0@" + message.getQueueId()), fields.get("popTime"),
                        fields.get("invisibleTime"), fields.get("reviveQid"), "0", brokerName(),
                        Integer.toString(message.getQueueId()), Long.toString(message.getQueueOffset()));
                }
                String realTopic = handle.split(" ")[4].equals("0") ? topic : "%RETRY%" + group + "_" + topic;
                int times = message.getReconsumeTimes();
                for (String entry : counts.split(";")) {
                    String name = " qo" + message.getQueueId() + "%" + message.getQueueOffset() + " ";
                    if (entry.contains(name)) {
                        times = Integer.parseInt(entry.split(" ")[2]);
                    }
                }
                all.add(new Got(realTopic, Clients.body(message), message.getQueueId(), message.getQueueOffset(),
                    times, handle));
            }
            return all;
        }

        String brokerName() throws Exception {
            for (MessageQueue queue : client.fetchPublishMessageQueues(topic)) {
                return queue.getBrokerName();
            }
            throw new AssertionError(topic + " has no route");
        }

        RemotingCommand tryAck(Got got, Map<String, Object> otherwise) throws Exception {
            Map<String, Object> fields = fields(Map.of("topic", got.topic(), "queueId", got.queue(),
                "extraInfo", got.handle(), "offset", got.offset()));
            fields.putAll(otherwise);
            return ask(ACK_MESSAGE, fields, null);
        }

        void ack(Got got) throws Exception {
            RemotingCommand answer = tryAck(got, Map.of());
            assertEquals(SUCCESS, answer.getCode(), answer.getRemark());
        }

        RemotingCommand tryChange(Got got, long invisible, Map<String, Object> otherwise) throws Exception {
            Map<String, Object> fields = fields(Map.of("topic", got.topic(), "queueId", got.queue(),
                "extraInfo", got.handle(), "offset", got.offset(), "invisibleTime", invisible));
            fields.putAll(otherwise);
            return ask(CHANGE_MESSAGE_INVISIBLETIME, fields, null);
        }

        /** Hides a message from now on for a time, and gives it with its new handle. */
        Got change(Got got, long invisible) throws Exception {
            RemotingCommand answer = tryChange(got, invisible, Map.of());
            assertEquals(SUCCESS, answer.getCode(), answer.getRemark());
            Map<String, String> fields = answer.getExtFields();
            String[] parts = got.handle().split(" ");
            String handle = String.join(" ", Long.toString(got.offset()), fields.get("popTime"),
                fields.get("invisibleTime"), fields.get("reviveQid"), parts[4], parts[5], parts[6], parts[7]);
            return new Got(got.topic(), got.body(), got.queue(), got.offset(), got.times(), handle);
        }

        /** Pops until so many messages have come. */
        List<Got> popUntil(int count, long invisible) throws Exception {
            List<Got> all = new ArrayList<>();
            Await.until(() -> count + " messages come; " + all.size() + " have", () -> {
                all.addAll(pop(32, invisible));
                return all.size() >= count;
            });
            return all;
        }

        /** Sees that nothing comes for a while. */
        void awaitNothing(Duration watch) throws Exception {
            List<Got> more = new ArrayList<>();
            Await.holds(() -> "nothing comes, but " + more, watch, () -> {
                more.addAll(pop(32, LONG));
                return more.isEmpty();
            });
        }
    }

    private static Set<String> bodies(List<Got> messages) {
        Set<String> bodies = new HashSet<>();
        messages.forEach(message -> assertTrue(bodies.add(message.body()), message + " comes twice"));
        return bodies;
    }

    /** What was received is hidden until its time is over, and then comes again; what is acknowledged does not. */
    @Test
    void messagesComeAgainUntilAcknowledged(Server server, Clients clients) throws Exception {
        Popper popper = new Popper(server, clients, clients.topic(2));
        Set<String> sent = Set.copyOf(Clients.send(clients.producer(), popper.topic, 6));
        List<Got> first = popper.popUntil(6, 8_000);
        assertEquals(sent, bodies(first));
        for (Got got : first.subList(0, 2)) {
            popper.ack(got);
        }

        List<Got> second = popper.popUntil(4, LONG);
        assertEquals(bodies(first.subList(2, 6)), bodies(second));
        for (Got got : second) {
            assertEquals(1, got.times());
            assertTrue(got.at() - first.get(0).at() >= 7_900, "it comes early: " + (got.at() - first.get(0).at()));
            popper.ack(got);
        }
        popper.awaitNothing(Duration.ofSeconds(3));
    }

    /** A consumer can have a message hidden for longer, or for a shorter time. */
    @Test
    void invisibleTimesChange(Server server, Clients clients) throws Exception {
        Popper popper = new Popper(server, clients, clients.topic(1));
        Clients.send(clients.producer(), popper.topic, 3);
        List<Got> first = popper.popUntil(3, 5_000);
        Got longer = popper.change(first.get(0), LONG);
        Got acknowledged = popper.change(first.get(1), 5_000);
        popper.ack(acknowledged);
        popper.change(first.get(2), 2_000);

        List<Got> second = popper.popUntil(1, LONG);
        assertEquals(Set.of(first.get(2).body()), bodies(second));
        popper.awaitNothing(Duration.ofSeconds(5));
        popper.ack(longer);
        popper.ack(second.get(0));
    }

    /** A delivery that its consumer puts off does not count as one that failed. */
    @Test
    void puttingOffDoesNotCount(Server server, Clients clients) throws Exception {
        Popper popper = new Popper(server, clients, clients.topic(1));
        Clients.send(clients.producer(), popper.topic, 2);
        List<Got> first = popper.popUntil(2, 6_000);
        Got putOff = first.get(0);
        RemotingCommand answer = popper.tryChange(putOff, 6_000, Map.of("suspend", true));
        assertEquals(SUCCESS, answer.getCode(), answer.getRemark());

        List<Got> second = popper.popUntil(2, LONG);
        assertEquals(bodies(first), bodies(second));
        for (Got got : second) {
            assertEquals(got.body().equals(putOff.body()) ? 0 : 1, got.times(), got.body());
            popper.ack(got);
        }
    }

    /** A request that can't be carried out is told why; a second acknowledgement does no harm. */
    @Test
    void badRequestsAreRefused(Server server, Clients clients) throws Exception {
        Popper popper = new Popper(server, clients, clients.topic(1));
        Clients.send(clients.producer(), popper.topic, 1);
        Map<String, Object> none = Map.of();
        assertEquals(INVALID_PARAMETER, popper.popAnswer(33, LONG, 0, none).getCode());
        assertEquals(INVALID_PARAMETER, popper.popAnswer(1, LONG, 0, Map.of("queueId", 1)).getCode());
        assertEquals(TOPIC_NOT_EXIST, popper.popAnswer(1, LONG, 0, Map.of("topic", "no-such-topic")).getCode());
        long longAgo = System.currentTimeMillis() - 10_000;
        RemotingCommand late = popper.popAnswer(1, LONG, 100, Map.of("bornTime", longAgo));
        assertEquals(POLLING_TIMEOUT, late.getCode());
        assertTrue(late.getRemark().contains("timeout too much"), late.getRemark());

        Got got = popper.popUntil(1, LONG).get(0);
        assertEquals(MESSAGE_ILLEGAL, popper.tryAck(got, Map.of("queueId", 1)).getCode());
        assertEquals(NO_MESSAGE, popper.tryAck(got, Map.of("offset", 7)).getCode());
        assertEquals(TOPIC_NOT_EXIST, popper.tryAck(got, Map.of("topic", "no-such-topic")).getCode());
        assertEquals(1, popper.tryAck(got, Map.of("extraInfo", "nonsense")).getCode());
        assertEquals(MESSAGE_ILLEGAL, popper.tryChange(got, LONG, Map.of("queueId", 1)).getCode());
        assertEquals(NO_MESSAGE, popper.tryChange(got, LONG, Map.of("offset", 7)).getCode());
        popper.ack(got);
        popper.ack(got);
        assertEquals(POLLING_TIMEOUT, popper.popAnswer(1, LONG, 0, none).getCode());
    }

    /** Orderly: nothing more of a queue comes until what came before is acknowledged. */
    @Test
    void orderIsKept(Server server, Clients clients) throws Exception {
        Popper popper = new Popper(server, clients, clients.topic(1));
        DefaultMQProducer producer = clients.producer();
        for (String body : Clients.numbered(5)) {
            producer.send(Clients.message(popper.topic, body));
        }
        List<Got> first = popper.popInOrder(2, 6_000);
        assertEquals(List.of("0", "1"), first.stream().map(Got::body).toList());
        assertTrue(popper.popInOrder(2, 6_000).isEmpty());
        popper.ack(first.get(0));
        List<Got> again = new ArrayList<>();
        Await.until("the second message comes again", () -> {
            again.addAll(popper.popInOrder(2, 60_000));
            return !again.isEmpty();
        });
        assertEquals(List.of("1", "2"), again.stream().map(Got::body).toList());
        assertEquals(List.of(1, 0), again.stream().map(Got::times).toList());
        assertTrue(again.get(0).at() - first.get(0).at() >= 5_900, "it comes early");
        popper.ack(again.get(1));
        assertTrue(popper.popInOrder(2, 6_000).isEmpty());
        popper.ack(again.get(0));
        List<Got> last = popper.popInOrder(32, LONG);
        assertEquals(List.of("3", "4"), last.stream().map(Got::body).toList());
        assertEquals(MESSAGE_ILLEGAL, popper.tryAck(last.get(0), Map.of("offset", 5)).getCode());
        popper.ack(again.get(0));
    }

    /** A pop waits for a message, and a client can wait to be told of one. */
    @Test
    void popsWait(Server server, Clients clients) throws Exception {
        Popper popper = new Popper(server, clients, clients.topic(4));
        DefaultMQProducer producer = clients.producer();
        CompletableFuture<List<Got>> waiting = soon(() -> popper.messages(popper.popAnswer(32, LONG, 15_000, Map.of())));
        Await.until("the pop waits", () -> "1".equals(
            popper.ask(POLLING_INFO, popper.fields(Map.of()), null).getExtFields().get("pollingNum")));
        Set<String> sent = Set.copyOf(Clients.send(producer, popper.topic, 1));
        assertEquals(sent, bodies(waiting.get()));

        long start = System.currentTimeMillis();
        assertEquals(POLLING_TIMEOUT, popper.popAnswer(1, LONG, 1_000, Map.of()).getCode());
        long waited = System.currentTimeMillis() - start;
        assertTrue(waited >= 900, "it waited for " + waited);

        Map<String, Object> notify = popper.fields(Map.of("pollTime", 10_000, "bornTime", 0));
        CompletableFuture<RemotingCommand> notified = soon(() -> popper.ask(NOTIFICATION, notify, null));
        Clients.send(producer, popper.topic, 1);
        assertEquals("true", notified.get().getExtFields().get("hasMsg"));
        assertEquals("true", popper.ask(NOTIFICATION, notify, null).getExtFields().get("hasMsg"));
    }

    private interface Asking<T> {
        T ask() throws Exception;
    }

    private static <T> CompletableFuture<T> soon(Asking<T> asking) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                return asking.ask();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
    }

    /** Who looks does not take. */
    @Test
    void peekingTakesNothing(Server server, Clients clients) throws Exception {
        Popper popper = new Popper(server, clients, clients.topic(2));
        Map<String, Object> fields = popper.fields(Map.of("maxMsgNums", 32));
        assertEquals(PULL_NOT_FOUND, popper.ask(PEEK_MESSAGE, fields, null).getCode());
        Set<String> sent = Set.copyOf(Clients.send(clients.producer(), popper.topic, 5));
        for (int i = 0; i < 2; i++) {
            RemotingCommand answer = popper.ask(PEEK_MESSAGE, fields, null);
            assertEquals(SUCCESS, answer.getCode(), answer.getRemark());
            assertEquals(sent, Set.copyOf(Clients.bodies(MessageDecoder.decodes(ByteBuffer.wrap(answer.getBody())))));
        }
        assertEquals(sent, bodies(popper.popUntil(5, LONG)));
        assertEquals(PULL_NOT_FOUND, popper.ask(PEEK_MESSAGE, fields, null).getCode());
    }

    /** An administrator has a group pop; its consumers get everything, and again what they fail at. */
    @Test
    void pushConsumersPop(Server server, Clients clients) throws Exception {
        Popper admin = new Popper(server, clients, clients.topic(4));
        DefaultMQPushConsumer consumer = clients.newPushConsumer(admin.group);
        try {
            // Clients before 5.0 can't pop.
            DefaultMQPushConsumer.class.getMethod("setClientRebalance", boolean.class).invoke(consumer, false);
        } catch (NoSuchMethodException old) {
            Assumptions.abort("this client can't pop");
        }
        String mode = "{\"topic\":\"%s\",\"consumerGroup\":\"%s\",\"mode\":\"POP\",\"popShareQueueNum\":0}";
        byte[] body = mode.formatted(admin.topic, admin.group).getBytes(StandardCharsets.UTF_8);
        assertEquals(SUCCESS, admin.ask(SET_MESSAGE_REQUEST_MODE, Map.of(), body).getCode());

        Inbox inbox = new Inbox();
        consumer.subscribe(admin.topic, "*");
        consumer.registerMessageListener((org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently)
            (batch, context) -> {
                inbox.addAll(batch);
                boolean fails = Clients.body(batch.get(0)).equals("fails") && batch.get(0).getReconsumeTimes() == 0;
                return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        consumer.start();
        DefaultMQProducer producer = clients.producer();
        inbox.awaitBodies(Clients.send(producer, admin.topic, 40));
        inbox.awaitExactly(40);

        String asked = "{\"topic\":\"%s\",\"consumerGroup\":\"%s\",\"clientId\":\"%s\",\"messageModel\":\"CLUSTERING\","
            + "\"strategyName\":\"AVG\"}";
        String id = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        body = asked.formatted(admin.topic, admin.group, id).getBytes(StandardCharsets.UTF_8);
        String assigned = new String(admin.ask(QUERY_ASSIGNMENT, Map.of(), body).getBody(), StandardCharsets.UTF_8);
        assertTrue(assigned.contains("\"mode\":\"POP\"") && assigned.contains("\"queueId\":-1"), assigned);

        producer.send(Clients.message(admin.topic, "fails"));
        List<MessageExt> all = inbox.awaitExactly(42);
        assertEquals(List.of(0, 1), all.stream().filter(message -> Clients.body(message).equals("fails"))
            .map(MessageExt::getReconsumeTimes).toList());
    }

    /** A broker that was killed delivers again what was not acknowledged, when its time is over, and nothing else. */
    @Test
    void whatIsOutSurvivesCrash(Server server, Clients clients) throws Exception {
        Popper popper = new Popper(server, clients, clients.topic(2));
        Clients.send(clients.producer(), popper.topic, 10);
        List<Got> first = popper.popUntil(10, 20_000);
        for (Got got : first.subList(0, 5)) {
            popper.ack(got);
        }
        popper.awaitNothing(OFFSETS_ARE_WRITTEN);
        server.kill();
        server.start();

        List<Got> second = popper.popUntil(5, LONG);
        assertEquals(bodies(first.subList(5, 10)), bodies(second));
        for (Got got : second) {
            assertTrue(got.at() - first.get(0).at() >= 19_900, "it comes early: " + (got.at() - first.get(0).at()));
            popper.ack(got);
        }
        popper.awaitNothing(Duration.ofSeconds(5));
    }
}
