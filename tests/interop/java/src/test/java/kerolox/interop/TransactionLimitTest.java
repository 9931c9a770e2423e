package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Map;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Settings;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** The end of a broker's patience with half messages. */
@ExtendWith(OwnServer.class)
@Settings({"transactionTimeOut=1000", "transactionCheckInterval=500", "transactionCheckMax=3",
    "transactionOpBatchInterval=10"})
@Order(1)
class TransactionLimitTest {
    private static final int GET_PRODUCER_CONNECTION_LIST = 204;
    private static final String GIVEN_UP = "TRANS_CHECK_MAX_TIME_TOPIC";

    /** A message whose producer never knows is given up after some questions, and kept elsewhere. */
    @Test
    void messageIsGivenUpAfterTooManyQuestions(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        Decisions decisions = new Decisions();
        String group = clients.newGroup();
        TransactionMQProducer producer = clients.transactionProducer(group, decisions);
        // A producer tells brokers of itself once it knows them, and questions that nobody hears count, too.
        Decisions.send(producer, topic, "no", LocalTransactionState.ROLLBACK_MESSAGE);
        Await.until("the broker knows the producer", () ->
            clients.ask(GET_PRODUCER_CONNECTION_LIST, Map.of("producerGroup", group), "").getCode() == 0);
        String body = clients.newTopic();
        Decisions.send(producer, topic, body, LocalTransactionState.UNKNOW);

        Await.until("it is given up", () -> Clients.bodies(clients.readAll(GIVEN_UP)).contains(body));
        Await.until("every question has come", () -> decisions.asked(body) >= 3);
        assertEquals(3, decisions.asked(body));
        assertEquals(0, inbox.size());
    }
}
