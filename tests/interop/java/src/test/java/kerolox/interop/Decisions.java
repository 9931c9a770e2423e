package kerolox.interop;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import kerolox.interop.fixture.Clients;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Decides at once as the sender says, and when asked as it was told, or not at all. */
final class Decisions implements TransactionListener {
    final Map<String, LocalTransactionState> later = new ConcurrentHashMap<>();
    private final Map<String, AtomicInteger> questions = new ConcurrentHashMap<>();
    /** The question by which it knows. */
    volatile int patience = 1;

    /** Sends a half message whose producer decides so at once. */
    static void send(TransactionMQProducer producer, String topic, String body, LocalTransactionState state)
        throws Exception {
        producer.sendMessageInTransaction(Clients.message(topic, body), state);
    }

    @Override
    public LocalTransactionState executeLocalTransaction(Message message, Object state) {
        return (LocalTransactionState) state;
    }

    @Override
    public LocalTransactionState checkLocalTransaction(MessageExt message) {
        String body = Clients.body(message);
        int count = questions.computeIfAbsent(body, key -> new AtomicInteger()).incrementAndGet();
        return count < patience ? LocalTransactionState.UNKNOW
            : later.getOrDefault(body, LocalTransactionState.UNKNOW);
    }

    int asked(String body) {
        return questions.getOrDefault(body, new AtomicInteger()).get();
    }
}
