package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.Relay;
import kerolox.interop.fixture.Server;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Clients that encrypt ({@code tls.enable}, {@code setUseTLS}), on the same ports as those that do not. */
@ExtendWith(SharedServer.class)
class TlsTest {
    private static final int HANDSHAKE = 0x16;
    private static final int MANY = 100;
    private static final int GET_BROKER_RUNTIME_INFO = 28;

    /** What is sent over TLS is consumed over TLS and in clear, and the other way round. */
    @Test
    void messagesGoBetweenEncryptedAndPlainClients(Clients clients) throws Exception {
        String topic = clients.topic(4);
        Inbox encrypted = new Inbox();
        Inbox plain = new Inbox();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.setUseTLS(true);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(encrypted.concurrently());
        consumer.start();
        clients.pushConsumer(clients.newGroup(), topic, plain);

        Set<String> sent = new HashSet<>(Clients.send(encryptedProducer(clients), topic, MANY));
        sent.addAll(Clients.send(clients.producer(), topic, MANY));

        for (Inbox inbox : List.of(encrypted, plain)) {
            inbox.awaitBodies(sent);
            inbox.awaitExactly(2 * MANY);
        }
    }

    /** Clients that encrypt do so with the name server and the broker, from the first byte on. */
    @Test
    void bothServersAreSpokenToInTls(Clients clients, Server server) throws Exception {
        try (Relay nameServer = new Relay(server.nameServer()); Relay broker = new Relay(server.broker())) {
            DefaultMQProducer producer = clients.newProducer();
            producer.setUseTLS(true);
            producer.setNamesrvAddr(nameServer.address());
            producer.start();
            Clients.send(producer, clients.topic(1), 1);
            RemotingCommand answer = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl()
                .getRemotingClient().invokeSync(
                    broker.address(), RemotingCommand.createRequestCommand(GET_BROKER_RUNTIME_INFO, null), Clients.TIMEOUT_MILLIS);
            assertEquals(0, answer.getCode(), answer.getRemark());

            for (Relay relay : List.of(nameServer, broker)) {
                assertFalse(relay.firstBytes().isEmpty());
                assertTrue(relay.firstBytes().stream().allMatch(first -> first == HANDSHAKE), "" + relay.firstBytes());
            }
        }
    }

    private static DefaultMQProducer encryptedProducer(Clients clients) throws Exception {
        DefaultMQProducer producer = clients.newProducer();
        producer.setUseTLS(true);
        producer.start();
        return producer;
    }
}
