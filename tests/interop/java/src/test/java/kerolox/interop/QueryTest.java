package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Finding messages by their keys and ids. */
@ExtendWith(SharedServer.class)
@SuppressWarnings("deprecation")
class QueryTest {
    /** Each of a message's keys finds it, and a shared key finds all of them. */
    @Test
    void messagesAreFoundByKey(Clients clients) throws Exception {
        String topic = clients.topic(4);
        DefaultMQProducer producer = clients.producer();
        for (String body : Clients.numbered(10)) {
            Message message = Clients.message(topic, "TagA", body);
            message.setKeys(List.of("own-" + body, "shared"));
            producer.send(message);
        }
        assertEquals(Clients.numbered(10), eventually(10, () -> query(producer, topic, "shared", 32)));
        for (String body : Clients.numbered(10)) {
            assertEquals(List.of(body), query(producer, topic, "own-" + body, 32));
        }
    }

    /** A key with characters outside of ASCII is one like any other. */
    @Test
    void keysMayHaveAnyCharacters(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        String key = "ключ-鍵-🔑";
        producer.send(new Message(topic, "TagA", key, "found".getBytes()));
        assertEquals(List.of("found"), eventually(1, () -> query(producer, topic, key, 32)));
    }

    /** With more messages than wanted, the newest are found. */
    @Test
    void theNewestAreFound(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        for (String body : Clients.numbered(20)) {
            producer.send(new Message(topic, "TagA", "many", body.getBytes()));
        }
        eventually(20, () -> query(producer, topic, "many", 32));
        assertEquals(Clients.numbered(20).subList(15, 20), query(producer, topic, "many", 5));
    }

    /** Only messages stored in the time asked for are found. */
    @Test
    void theTimeLimitsWhatIsFound(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        producer.send(new Message(topic, "TagA", "timed", "first".getBytes()));
        eventually(1, () -> query(producer, topic, "timed", 32));
        long first = clients.readAtLeast(topic, 1).get(0).getStoreTimestamp();
        // The reference's index counts in seconds.
        Await.until("the clock has moved on", () -> System.currentTimeMillis() > first + 3_000);
        producer.send(new Message(topic, "TagA", "timed", "second".getBytes()));
        eventually(2, () -> query(producer, topic, "timed", 32));
        long second = clients.readAtLeast(topic, 2).get(1).getStoreTimestamp();

        assertEquals(List.of("first"), query(producer, topic, "timed", 0, first + 1_000));
        assertEquals(List.of("second"), query(producer, topic, "timed", second - 1_000, second + 1_000));
        assertThrows(MQClientException.class, () -> query(producer, topic, "timed", second + 5_000, second + 9_000));
    }

    /** The id that the client gave a message finds it, in its topic only. */
    @Test
    void messageIsFoundByItsUniqueId(Clients clients) throws Exception {
        String topic = clients.topic(2);
        String other = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        List<SendResult> sent = new ArrayList<>();
        for (String body : Clients.numbered(5)) {
            sent.add(producer.send(Clients.message(topic, body)));
        }
        for (int i = 0; i < sent.size(); i++) {
            String id = sent.get(i).getMsgId();
            List<String> found = eventually(1, () -> List.of(Clients.body(producer.viewMessage(topic, id))));
            assertEquals(List.of(Integer.toString(i)), found);
        }
        String id = sent.get(0).getMsgId();
        assertThrows(MQClientException.class, () -> query(producer, other, id, 32));
    }

    /** Each message of a batch has keys of its own. */
    @Test
    void messagesOfABatchAreFound(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        List<Message> batch = new ArrayList<>();
        for (String body : Clients.numbered(10)) {
            batch.add(new Message(topic, "TagA", "batch " + "b-" + body, body.getBytes()));
        }
        producer.send(batch);
        assertEquals(Clients.numbered(10), eventually(10, () -> query(producer, topic, "batch", 32)));
        assertEquals(List.of("7"), query(producer, topic, "b-7", 32));
    }

    /** A key that no message has is an error that says so. */
    @Test
    void unknownKeyIsAnError(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        producer.send(new Message(topic, "TagA", "known", "m".getBytes()));
        eventually(1, () -> query(producer, topic, "known", 32));
        assertThrows(MQClientException.class, () -> query(producer, topic, "unknown", 32));
    }

    private static List<String> query(DefaultMQProducer producer, String topic, String key, int most) throws Exception {
        return bodies(producer.queryMessage(topic, key, most, 0, Long.MAX_VALUE));
    }

    private static List<String> query(DefaultMQProducer producer, String topic, String key, long begin, long end)
            throws Exception {
        return bodies(producer.queryMessage(topic, key, 32, begin, end));
    }

    /** The bodies found, in the order of the log. */
    private static List<String> bodies(QueryResult result) {
        List<MessageExt> messages = new ArrayList<>(result.getMessageList());
        messages.sort(Comparator.comparingLong(MessageExt::getCommitLogOffset));
        return Clients.bodies(messages);
    }

    /** What is found once it is that many; the reference's index is a moment behind. */
    private static List<String> eventually(int count, Callable<List<String>> query) throws Exception {
        List<List<String>> found = new ArrayList<>();
        Await.until(count + " messages are found", () -> {
            found.add(query.call());
            return found.get(found.size() - 1).size() == count;
        });
        return found.get(found.size() - 1);
    }
}
