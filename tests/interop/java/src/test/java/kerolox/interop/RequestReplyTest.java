package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.CompletableFuture;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.Inbox;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Requests, and the replies that come back to who asked. */
@ExtendWith(SharedServer.class)
class RequestReplyTest {
    /** Longer than a request takes to arrive. */
    private static final int NO_REPLY_MILLIS = 6_000;

    /** A reply comes to the one that asked, with what the replier put into it. */
    @Test
    void replyComesToTheRequester(Clients clients) throws Exception {
        String topic = clients.topic(1);
        replier(clients, topic);
        DefaultMQProducer other = clients.producer();
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 5; i++) {
            Message reply = producer.request(Clients.message(topic, "question " + i), Clients.TIMEOUT_MILLIS);
            assertEquals("reply to question " + i, new String(reply.getBody(), "UTF-8"));
            assertEquals("42", reply.getUserProperty("größe"));
        }
        Message reply = other.request(Clients.message(topic, "another"), Clients.TIMEOUT_MILLIS);
        assertEquals("reply to another", new String(reply.getBody(), "UTF-8"));
    }

    /** Who asks need not wait. */
    @Test
    void replyIsCalledBack(Clients clients) throws Exception {
        String topic = clients.topic(1);
        replier(clients, topic);
        CompletableFuture<Message> reply = new CompletableFuture<>();
        clients.producer().request(Clients.message(topic, "question"), callback(reply), Clients.TIMEOUT_MILLIS);
        Message message = reply.get();
        assertEquals("reply to question", new String(message.getBody(), "UTF-8"));
    }

    /** Who asks and gets no reply is told when the time is over. */
    @Test
    void requestWithoutReplyTimesOut(Clients clients) throws Exception {
        String topic = clients.topic(1);
        DefaultMQProducer producer = clients.producer();
        assertThrows(RequestTimeoutException.class, () -> producer.request(Clients.message(topic, "anybody?"), NO_REPLY_MILLIS));
    }

    /** A reply to somebody who is gone is refused. */
    @Test
    void replyToNobodyIsRefused(Clients clients) throws Exception {
        String topic = clients.topic(1);
        Inbox inbox = new Inbox();
        clients.pushConsumer(clients.newGroup(), topic, inbox);
        DefaultMQProducer requester = clients.producer();
        requester.request(Clients.message(topic, "and leave"), callback(new CompletableFuture<>()), Clients.TIMEOUT_MILLIS);
        MessageExt request = inbox.awaitAtLeast(1).get(0);
        requester.shutdown();

        DefaultMQProducer replier = clients.producer();
        Message reply = MessageUtil.createReplyMessage(request, "too late".getBytes("UTF-8"));
        MQClientException refused = assertThrows(MQClientException.class, () -> replier.send(reply));
        assertEquals(1, refused.getResponseCode());
        String answer = String.valueOf(refused.getCause());
        assertTrue(answer.contains("not found"), answer);
    }

    private static RequestCallback callback(CompletableFuture<Message> reply) {
        return new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                // The client also calls when the request is sent, without a message.
                if (message != null) {
                    reply.complete(message);
                }
            }

            @Override
            public void onException(Throwable e) {
                reply.completeExceptionally(e);
            }
        };
    }

    private static void replier(Clients clients, String topic) throws Exception {
        DefaultMQProducer producer = clients.producer();
        DefaultMQPushConsumer consumer = clients.newPushConsumer(clients.newGroup());
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            for (MessageExt request : batch) {
                try {
                    byte[] body = ("reply to " + Clients.body(request)).getBytes("UTF-8");
                    Message reply = MessageUtil.createReplyMessage(request, body);
                    reply.putUserProperty("größe", "42");
                    producer.send(reply);
                } catch (Exception e) {
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
    }
}
