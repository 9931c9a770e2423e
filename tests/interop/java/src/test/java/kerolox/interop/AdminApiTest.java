package kerolox.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import kerolox.interop.fixture.Clients;
import kerolox.interop.fixture.SharedServer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Topics made on purpose. */
@ExtendWith(SharedServer.class)
class AdminApiTest {
    /** A topic has the number of queues it was created with. */
    @Test
    void topicHasItsQueues(Clients clients) throws Exception {
        DefaultMQProducer producer = clients.producer();
        for (int queues : new int[] {1, 5, 16}) {
            String topic = clients.topic(queues);
            List<Integer> ids = producer.fetchPublishMessageQueues(topic).stream().map(MessageQueue::getQueueId).sorted().toList();
            assertEquals(Clients.numbered(queues).stream().map(Integer::valueOf).toList(), ids);
        }
    }

    /** Creating a topic that is there changes its number of queues and keeps its messages. */
    @Test
    void topicMayGrow(Clients clients) throws Exception {
        String topic = clients.topic(2);
        DefaultMQProducer producer = clients.producer();
        List<String> bodies = Clients.send(producer, topic, 10);
        clients.createTopic(topic, 8);
        assertEquals(8, producer.fetchPublishMessageQueues(topic).size());
        assertEquals(bodies.stream().sorted().toList(), Clients.bodies(clients.readAtLeast(topic, 10)).stream().sorted().toList());
    }

    /** The server itself refuses illegal names and those of its own topics. */
    @Test
    void illegalTopicIsNotCreated(Clients clients) {
        for (String illegal : List.of("no spaces", "no.dots", "ünicode", "x".repeat(128), "TBW102", "SCHEDULE_TOPIC_XXXX")) {
            assertThrows(MQClientException.class, () -> clients.createTopic(illegal, 1), illegal);
        }
    }

    /** A topic that nobody created has no route. */
    @Test
    void unknownTopicHasNoRoute(Clients clients) throws Exception {
        DefaultMQProducer producer = clients.producer();
        String unknown = clients.newTopic();
        assertThrows(MQClientException.class, () -> producer.fetchPublishMessageQueues(unknown));
        assertFalse(producer.fetchPublishMessageQueues(clients.topic(1)).isEmpty());
    }
}
