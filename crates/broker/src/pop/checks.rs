//! What all requests about a topic's queue are asked first.

use std::sync::Arc;

use transport::Connection;
use wire::message::perm;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::topics::Topic;

/// The topic that a group may read from this queue; -1 stands for all queues. `doing` is what the
/// remark calls the attempt (`PopMessageProcessor.processRequest` and others).
pub(super) fn readable_topic(
    broker: &Broker,
    connection: &Connection,
    topic: &str,
    group: &str,
    queue_id: i32,
    doing: &str,
) -> Result<Arc<Topic>, BrokerError> {
    let settings = broker.settings();
    if !perm::is_readable(settings.broker.broker_permission) {
        return Err(BrokerError::forbidden_by(&settings.broker, doing));
    }
    let found = existing_topic(broker, topic)?;
    if !perm::is_readable(found.config.perm) {
        return Err(BrokerError::NoPermission(format!(
            "the topic[{topic}] peeking message is forbidden"
        )));
    }
    if queue_id >= found.config.read_queue_nums {
        return Err(BrokerError::InvalidParameter(illegal_queue(
            connection, &found, queue_id,
        )));
    }
    let known = broker
        .groups
        .get_or_create(group)
        .ok_or_else(|| BrokerError::GroupNotExist(group.to_owned()))?;
    if !known.consume_enable {
        return Err(BrokerError::NoPermission(format!(
            "subscription group no permission, {group}"
        )));
    }
    Ok(found)
}

/// Checks what a handle says of a message (`AckMessageProcessor.processRequest`). Returns the
/// queue's first message and its next one.
pub(super) fn queue_of_handle(
    broker: &Broker,
    connection: &Connection,
    topic: &str,
    queue_id: i32,
) -> Result<(i64, i64), BrokerError> {
    let found = existing_topic(broker, topic)?;
    if !(0..found.config.read_queue_nums).contains(&queue_id) {
        return Err(BrokerError::MessageIllegal(illegal_queue(
            connection, &found, queue_id,
        )));
    }
    let queue = broker.queue(topic, queue_id)?;
    Ok((broker.store.first_offset(&queue), queue.max_offset()))
}

fn existing_topic(broker: &Broker, topic: &str) -> Result<Arc<Topic>, BrokerError> {
    broker
        .topics
        .get(topic)
        .ok_or_else(|| BrokerError::TopicNotExist(topic.to_owned()))
}

fn illegal_queue(connection: &Connection, topic: &Topic, queue_id: i32) -> String {
    format!(
        "queueId[{queue_id}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}] consumer:[{}]",
        topic.config.topic_name,
        topic.config.read_queue_nums,
        connection.peer()
    )
}
