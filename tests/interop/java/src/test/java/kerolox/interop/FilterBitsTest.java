package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Settings;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Messages are stored with the groups that select them. */
@ExtendWith(OwnServer.class)
@Settings({"enablePropertyFilter=true", "enableConsumeQueueExt=true", "enableCalcFilterBitMap=true"})
class FilterBitsTest {
    private static final int QUERY_CONSUME_QUEUE = 321;

    /** The bits of a message are those of the groups whose expressions are true of it. */
    @Test
    void bitsTellWhoSelectsAMessage(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        DefaultMQProducer producer = clients.producer();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(group);
        consumer.subscribe(topic, MessageSelector.bySql("n > 5"));
        Inbox inbox = new Inbox();
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        send(producer, topic, 9);
        inbox.awaitExactly(1);
        send(producer, topic, 1);
        send(producer, topic, 7);
        inbox.awaitExactly(2);

        Map<String, String> look = Map.of("topic", topic, "queueId", "0", "index", "1", "count", "2",
            "consumerGroup", group);
        List<List<String>> found = new ArrayList<>();
        List<String> told = new ArrayList<>();
        Await.until("both messages are in the queue", () -> {
            told.add(0, new String(clients.ask(QUERY_CONSUME_QUEUE, look, "").getBody(), StandardCharsets.UTF_8));
            found.add(0, all("\"bitMap\":\"([01\\\\n]*)\"", told.get(0)));
            return found.get(0).size() == 2;
        });
        String text = told.get(0).replace("\\\"", "\"");
        assertTrue(text.contains("\"expression\":\"n > 5\""), text);
        assertEquals(List.of("false", "true"), all("\"eval\":(true|false)", text));
        assertEquals(2, all("\"extendDataJson\":\"[^}]*\"(msgStoreTime)\":", text).size(), text);
        TreeSet<Integer> ofGroup = new TreeSet<>();
        for (String position : all("\"bitPos\":\\[([^\\]]*)\\]", text).get(0).split("[^0-9]+")) {
            if (!position.isEmpty()) {
                ofGroup.add(Integer.parseInt(position));
            }
        }
        assertEquals(List.of(new TreeSet<>(), ofGroup), found.get(0).stream().map(FilterBitsTest::positions).toList());
    }

    /** The numbers of the bits that are set; they are written from the last to the first. */
    private static TreeSet<Integer> positions(String bits) {
        String digits = new StringBuilder(bits.replace("\\n", "")).reverse().toString();
        TreeSet<Integer> set = new TreeSet<>();
        for (int i = 0; i < digits.length(); i++) {
            if (digits.charAt(i) == '1') {
                set.add(i);
            }
        }
        return set;
    }

    private static List<String> all(String pattern, String text) {
        List<String> all = new ArrayList<>();
        Matcher matcher = Pattern.compile(pattern).matcher(text);
        while (matcher.find()) {
            all.add(matcher.group(1));
        }
        return all;
    }

    private static void send(DefaultMQProducer producer, String topic, int n) throws Exception {
        Message message = Clients.message(topic, Integer.toString(n));
        message.putUserProperty("n", Integer.toString(n));
        producer.send(message);
    }
}
