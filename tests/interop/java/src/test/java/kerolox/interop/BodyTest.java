package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Random;
import java.util.Set;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What is in a message comes back as it was: body, properties, keys and tag. */
@ExtendWith(SharedServer.class)
class BodyTest {
    private static final int MESSAGE_ILLEGAL = 13;
    private static final int MIB = 1024 * 1024;
    private static final String MANY_SCRIPTS = "größe 尺寸 размер حجم 📏";

    /** A body above 4 KB travels and lies compressed, and is consumed as it was. */
    @Test
    void largeTextIsStoredCompressed(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String text = "All work and no play makes Jack a dull boy. ".repeat(1_000);
        clients.producer().send(Clients.message(topic, text));

        MessageExt consumed = consumeOne(clients, topic);
        assertEquals(text, Clients.body(consumed));
        assertTrue(consumed.getStoreSize() < text.length() / 10, "stored in " + consumed.getStoreSize() + " bytes");
    }

    /** A body that does not shrink comes back whole, whatever its size up to 3.9 MB. */
    @Test
    void randomBodiesOfManySizesComeBack(Clients clients) throws Exception {
        DefaultMQProducer producer = clients.producer();
        for (int size : new int[] {1, 4_095, 4_096, 4_097, 100_000, MIB, 3_900_000}) {
            String topic = clients.topic(1);
            byte[] body = random(size);
            producer.send(new Message(topic, body));
            assertArrayEquals(body, consumeOne(clients, topic).getBody(), size + " bytes");
        }
    }

    /** The server refuses a body above its own limit of 4 MiB, even if the client's limit was raised. */
    @Test
    void bodyAboveFourMebibytesIsRefused(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.newProducer();
        producer.setMaxMessageSize(16 * MIB);
        producer.setCompressMsgBodyOverHowmuch(16 * MIB);
        producer.start();

        Message tooLarge = new Message(topic, random(4 * MIB + 1));
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(tooLarge));
        assertEquals(MESSAGE_ILLEGAL, refused.getResponseCode());

        producer.send(Clients.message(topic, "small"));
        assertEquals("small", Clients.body(consumeOne(clients, topic)));
    }

    /** Properties, keys, tag and body may be in any script. */
    @Test
    void unicodeSurvives(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Message message = new Message(topic, "標籤", "ключ-1 κλειδί-2", MANY_SCRIPTS.getBytes(StandardCharsets.UTF_8));
        message.putUserProperty("größe", "42 €");
        message.putUserProperty("名前", MANY_SCRIPTS);
        message.putUserProperty("emoji", "👩‍🚀");
        clients.producer().send(message);

        MessageExt consumed = consumeOne(clients, topic);
        assertEquals(MANY_SCRIPTS, Clients.body(consumed));
        assertEquals("標籤", consumed.getTags());
        assertEquals("ключ-1 κλειδί-2", consumed.getKeys());
        assertEquals("42 €", consumed.getUserProperty("größe"));
        assertEquals(MANY_SCRIPTS, consumed.getUserProperty("名前"));
        assertEquals("👩‍🚀", consumed.getUserProperty("emoji"));
    }

    /** Several keys, the flag and properties with the characters of paths, JSON and URLs are kept. */
    @Test
    void headersOfTheUserAreKept(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Message message = Clients.message(topic, "TagA", "body");
        message.setKeys(Set.of("order-1", "order-2"));
        message.setFlag(0x1234_5678);
        message.setBuyerId("buyer");
        message.putUserProperty("json", "{\"a\":[1,2],\"b\":\"c\\d\"}");
        message.putUserProperty("url", "scheme://host:1/path?x=y&z=%20#top");
        message.putUserProperty("long", "x".repeat(10_000));
        message.putUserProperty("lines", "one\ntwo\r\n\tthree");
        clients.producer().send(message);

        MessageExt consumed = consumeOne(clients, topic);
        assertEquals(Set.of("order-1", "order-2"), Set.of(consumed.getKeys().split(" ")));
        assertEquals(0x1234_5678, consumed.getFlag());
        assertEquals("buyer", consumed.getBuyerId());
        for (String name : Set.of("json", "url", "long", "lines")) {
            assertEquals(message.getUserProperty(name), consumed.getUserProperty(name), name);
        }
    }

    /** Properties of more than 32 KB do not fit a message; the server says so. */
    @Test
    void tooManyPropertiesAreRefused(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        Message message = Clients.message(topic, "body");
        message.putUserProperty("long", "x".repeat(Short.MAX_VALUE + 1));
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(message));
        assertEquals(MESSAGE_ILLEGAL, refused.getResponseCode());
    }

    private static MessageExt consumeOne(Clients clients, String topic) throws Exception {
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        return inbox.awaitAtLeast(1).get(0);
    }

    private static byte[] random(int size) {
        byte[] bytes = new byte[size];
        new Random(size).nextBytes(bytes);
        return bytes;
    }
}
