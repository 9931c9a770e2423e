package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.List;
import kerolox.interop.fixture.Await;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.OwnServer;
import kerolox.interop.fixture.Server;
import kerolox.interop.fixture.Settings;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * Transactions: messages that are there for consumers only if their producer says so. Questions count though no
 * producer hears them, and a producer tells a new server of itself when its next heartbeat gets through; so there are
 * questions enough.
 */
@ExtendWith(OwnServer.class)
@Settings({"transactionTimeOut=1000", "transactionCheckInterval=500", "transactionCheckMax=1000",
    "transactionOpBatchInterval=10"})
@Order(1)
class TransactionTest {
    /** What is committed comes once and as it was sent; what is rolled back never does. */
    @Test
    void committedMessagesComeAndOthersDoNot(Clients clients) throws Exception {
        String topic = clients.topic(2);
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        TransactionMQProducer producer = clients.transactionProducer(clients.newGroup(), new Decisions());

        Decisions.send(producer, topic, "no", LocalTransactionState.ROLLBACK_MESSAGE);
        Message message = Clients.message(topic, "TagA", "yes");
        message.setKeys("key");
        message.putUserProperty("größe", "42");
        TransactionSendResult sent =
            producer.sendMessageInTransaction(message, LocalTransactionState.COMMIT_MESSAGE);

        MessageExt received = inbox.awaitExactly(1).get(0);
        assertEquals("yes", Clients.body(received));
        assertEquals(topic, received.getTopic());
        assertEquals(sent.getMsgId(), received.getMsgId());
        assertEquals(sent.getTransactionId(), received.getTransactionId());
        assertEquals(sent.getMessageQueue().getQueueId(), received.getQueueId());
        assertEquals("TagA", received.getTags());
        assertEquals("key", received.getKeys());
        assertEquals("42", received.getUserProperty("größe"));
        assertNull(received.getProperty("REAL_TOPIC"));
    }

    /** A producer that does not know yet is asked, until it does. */
    @Test
    void undecidedProducerIsAskedAgain(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        Decisions decisions = new Decisions();
        decisions.later.put("commit", LocalTransactionState.COMMIT_MESSAGE);
        decisions.later.put("roll back", LocalTransactionState.ROLLBACK_MESSAGE);
        decisions.patience = 2;
        TransactionMQProducer producer = clients.transactionProducer(clients.newGroup(), decisions);
        Decisions.send(producer, topic, "roll back", LocalTransactionState.UNKNOW);
        Decisions.send(producer, topic, "commit", LocalTransactionState.UNKNOW);

        assertEquals("commit", Clients.body(inbox.awaitExactly(1).get(0)));
        Await.until("both are asked about", () -> decisions.asked("commit") >= 2 && decisions.asked("roll back") >= 2);
        // Questions that were on their way with the last ones come before the second one about a further message.
        decisions.patience = Integer.MAX_VALUE;
        Decisions.send(producer, topic, "further", LocalTransactionState.UNKNOW);
        Await.until("another one is asked about", () -> decisions.asked("further") >= 2);
        int commits = decisions.asked("commit");
        int rollbacks = decisions.asked("roll back");
        Await.until("it is asked about again", () -> decisions.asked("further") >= 5);
        assertEquals(commits, decisions.asked("commit"));
        assertEquals(rollbacks, decisions.asked("roll back"));
        assertEquals(List.of("commit"), inbox.bodies());
    }

    /** When its producer is gone, another one of the group is asked. */
    @Test
    void anotherProducerOfTheGroupIsAsked(Clients clients) throws Exception {
        String topic = clients.topic(1);
        String group = clients.newGroup();
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        Decisions decisions = new Decisions();
        decisions.later.put("left behind", LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer second = clients.transactionProducer(group, decisions);
        // A producer tells brokers of itself once it knows them.
        Decisions.send(second, topic, "no", LocalTransactionState.ROLLBACK_MESSAGE);
        TransactionMQProducer first = clients.transactionProducer(group, new Decisions());
        Decisions.send(first, topic, "left behind", LocalTransactionState.UNKNOW);
        first.shutdown();
        assertEquals("left behind", Clients.body(inbox.awaitExactly(1).get(0)));
    }

    /** Half messages outlive a crash of the server, and end as their producer says then. */
    @Test
    void halfMessagesSurviveCrash(Server server, Clients clients) throws Exception {
        String topic = clients.topic(1);
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        Decisions decisions = new Decisions();
        TransactionMQProducer producer = clients.transactionProducer(clients.newGroup(), decisions);
        Decisions.send(producer, topic, "commit", LocalTransactionState.UNKNOW);
        Decisions.send(producer, topic, "roll back", LocalTransactionState.UNKNOW);
        server.kill();
        decisions.later.put("commit", LocalTransactionState.COMMIT_MESSAGE);
        decisions.later.put("roll back", LocalTransactionState.ROLLBACK_MESSAGE);
        server.start();
        inbox.awaitBodies(List.of("commit"));
        Await.until("both are asked about", () -> decisions.asked("roll back") > 0);
        assertEquals(List.of("commit"), inbox.bodies());
    }
}
