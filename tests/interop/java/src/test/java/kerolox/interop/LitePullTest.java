package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A consumer that asks for messages when it wants them. */
@ExtendWith(SharedServer.class)
class LitePullTest {
    private static final long POLL_MILLIS = 100;

    /** A subscribed consumer polls everything once. */
    @Test
    void subscriberPollsEverything(Clients clients) throws Exception {
        String topic = clients.topic(4);
        List<String> bodies = Clients.send(clients.producer(), topic, 100);
        DefaultLitePullConsumer consumer = clients.newLitePullConsumer(clients.newGroup());
        consumer.subscribe(topic, "*");
        consumer.start();

        assertEquals(sorted(bodies), sorted(poll(consumer, 100)));
        assertQuiet(consumer);
    }

    /** A subscription may filter by tag. */
    @Test
    void subscriberFilters(Clients clients) throws Exception {
        String topic = clients.topic(2);
        DefaultMQProducer producer = clients.producer();
        for (String body : Clients.numbered(30)) {
            producer.send(Clients.message(topic, "tag" + Integer.parseInt(body) % 3, body));
        }
        DefaultLitePullConsumer consumer = clients.newLitePullConsumer(clients.newGroup());
        consumer.subscribe(topic, "tag0 || tag2");
        consumer.start();

        List<String> polled = poll(consumer, 20);
        assertEquals(sorted(Clients.numbered(30).stream().filter(body -> Integer.parseInt(body) % 3 != 1).toList()), sorted(polled));
        assertQuiet(consumer);
    }

    /** Two subscribers of a group share the queues. */
    @Test
    void subscribersShareTheQueues(Clients clients) throws Exception {
        String topic = clients.topic(4);
        String group = clients.newGroup();
        List<DefaultLitePullConsumer> members = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultLitePullConsumer member = clients.newLitePullConsumer(group);
            member.subscribe(topic, "*");
            member.start();
            members.add(member);
        }
        Await.until("each member has two queues", () -> {
            Set<MessageQueue> all = new HashSet<>();
            for (DefaultLitePullConsumer member : members) {
                if (member.assignment().size() != 2) {
                    return false;
                }
                all.addAll(member.assignment());
            }
            return all.size() == 4;
        });
        List<String> bodies = Clients.send(clients.producer(), topic, 40);
        List<String> polled = new ArrayList<>(poll(members.get(0), 20));
        polled.addAll(poll(members.get(1), 20));
        assertEquals(sorted(bodies), sorted(polled));
    }

    /** A consumer may choose its queues itself, and where to start in each. */
    @Test
    void consumerMaySeekAnyOffset(Clients clients) throws Exception {
        String topic = numberedTopic(clients, 20);
        DefaultLitePullConsumer consumer = assigned(clients, clients.newGroup(), topic);
        MessageQueue queue = clients.queues(topic).get(0);
        assertEquals(numbers(0, 20), pollToTheEnd(consumer, 20));

        consumer.seek(queue, 15);
        assertEquals(numbers(15, 20), poll(consumer, 5));
        consumer.seek(queue, 5);
        assertEquals(numbers(5, 20), poll(consumer, 15));
        consumer.seek(queue, 20);
        assertQuiet(consumer);
    }

    /** The ends of a queue have names: the beginning gives everything again, the end only what comes. */
    @Test
    void consumerMaySeekBothEnds(Clients clients) throws Exception {
        String topic = numberedTopic(clients, 20);
        DefaultLitePullConsumer consumer = assigned(clients, clients.newGroup(), topic);
        MessageQueue queue = clients.queues(topic).get(0);
        assertEquals(numbers(0, 20), pollToTheEnd(consumer, 20));

        consumer.seekToEnd(queue);
        assertQuiet(consumer);
        clients.producer().send(Clients.message(topic, "20"));
        assertEquals(List.of("20"), poll(consumer, 1));
        consumer.seekToBegin(queue);
        assertEquals(numbers(0, 21), poll(consumer, 21));
    }

    /** There is nothing to seek outside a queue. */
    @Test
    void seekOutsideTheQueueIsRefused(Clients clients) throws Exception {
        String topic = numberedTopic(clients, 3);
        DefaultLitePullConsumer consumer = assigned(clients, clients.newGroup(), topic);
        MessageQueue queue = clients.queues(topic).get(0);
        assertThrows(MQClientException.class, () -> consumer.seek(queue, 4));
        assertThrows(MQClientException.class, () -> consumer.seek(queue, -1));
        assertEquals(numbers(0, 3), poll(consumer, 3));
    }

    /** What was committed stays committed: the next consumer of the group starts behind it. */
    @Test
    void nextConsumerStartsBehindWhatWasCommitted(Clients clients) throws Exception {
        String topic = numberedTopic(clients, 20);
        String group = clients.newGroup();
        MessageQueue queue = clients.queues(topic).get(0);
        DefaultLitePullConsumer first = clients.newLitePullConsumer(group);
        first.setAutoCommit(false);
        first.setPullBatchSize(5);
        first.start();
        first.assign(List.of(queue));
        assertEquals(numbers(0, 10), poll(first, 10));
        first.commit(Set.of(queue), true);
        assertEquals(numbers(10, 20), poll(first, 10));
        Await.until("the commit is known", () -> first.committed(queue) == 10);
        first.shutdown();

        assertEquals(numbers(10, 20), poll(assigned(clients, group, topic), 10));
    }

    /** What was not committed comes again. */
    @Test
    void uncommittedMessagesComeAgain(Clients clients) throws Exception {
        String topic = numberedTopic(clients, 10);
        String group = clients.newGroup();
        DefaultLitePullConsumer first = clients.newLitePullConsumer(group);
        first.setAutoCommit(false);
        first.start();
        first.assign(clients.queues(topic));
        assertEquals(numbers(0, 10), poll(first, 10));
        first.shutdown();

        assertEquals(numbers(0, 10), poll(assigned(clients, group, topic), 10));
    }

    /** Left to itself, a consumer commits what it polled. */
    @Test
    void pollsAreCommittedByThemselves(Clients clients) throws Exception {
        String topic = numberedTopic(clients, 10);
        String group = clients.newGroup();
        MessageQueue queue = clients.queues(topic).get(0);
        DefaultLitePullConsumer first = clients.newLitePullConsumer(group);
        first.setAutoCommitIntervalMillis(1_000);
        first.start();
        first.assign(List.of(queue));
        assertEquals(numbers(0, 10), poll(first, 10));
        Await.until("the polled messages are committed", () -> {
            first.poll(POLL_MILLIS);
            return first.committed(queue) == 10;
        });
        first.shutdown();

        DefaultLitePullConsumer second = assigned(clients, group, topic);
        clients.producer().send(Clients.message(topic, "10"));
        assertEquals(List.of("10"), poll(second, 1));
    }

    /** The queues of a topic and the offset of a moment can be asked for. */
    @Test
    void queuesAndOffsetsCanBeAskedFor(Clients clients) throws Exception {
        String topic = clients.topic(3);
        DefaultLitePullConsumer consumer = clients.newLitePullConsumer(clients.newGroup());
        consumer.start();
        Set<MessageQueue> queues = Set.copyOf(consumer.fetchMessageQueues(topic));
        assertEquals(Set.copyOf(clients.queues(topic)), queues);
        Clients.send(clients.producer(), topic, 3);
        clients.readAtLeast(topic, 3);
        for (MessageQueue queue : queues) {
            assertEquals(0, consumer.offsetForTimestamp(queue, 0L));
        }
    }

    /** A topic with one queue that holds the numbers from zero on. */
    private static String numberedTopic(Clients clients, int count) throws Exception {
        String topic = clients.topic(1);
        clients.producer().send(Clients.numbered(count).stream().map(body -> Clients.message(topic, body)).toList());
        return topic;
    }

    private static DefaultLitePullConsumer assigned(Clients clients, String group, String topic) throws Exception {
        DefaultLitePullConsumer consumer = clients.newLitePullConsumer(group);
        consumer.start();
        consumer.assign(clients.queues(topic));
        return consumer;
    }

    private static List<String> poll(DefaultLitePullConsumer consumer, int count) throws Exception {
        List<MessageExt> polled = new ArrayList<>();
        Await.until(() -> count + " messages are polled; " + polled.size() + " were", () -> {
            polled.addAll(consumer.poll(POLL_MILLIS));
            return polled.size() >= count;
        });
        return Clients.bodies(polled);
    }

    private static void assertQuiet(DefaultLitePullConsumer consumer) throws Exception {
        Await.holds(() -> "nothing is polled", Duration.ofMillis(500), () -> consumer.poll(POLL_MILLIS).isEmpty());
    }

    private static List<String> numbers(int from, int to) {
        return Clients.numbered(to).subList(from, to);
    }

    private static List<String> sorted(List<String> bodies) {
        return bodies.stream().sorted().toList();
    }

    /**
     * Polls all there is, so that the client's next pull waits at the server. The client may still deliver what a pull
     * brings that is answered in the moment of a seek.
     */
    private static List<String> pollToTheEnd(DefaultLitePullConsumer consumer, int count) throws Exception {
        return poll(consumer, count);
    }
}
