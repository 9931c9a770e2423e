//! What all requests about a topic's queue are asked first.

use std::sync::Arc;

use transport::Connection;
use wire::message::perm;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::existing::illegal_queue;
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
    broker.settings().broker.check_readable(doing)?;
    let found = broker.existing_topic(topic)?;
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
    broker.consuming_group(group)?;
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
    let found = broker.existing_topic(topic)?;
    if !(0..found.config.read_queue_nums).contains(&queue_id) {
        return Err(BrokerError::MessageIllegal(illegal_queue(
            connection, &found, queue_id,
        )));
    }
    let queue = broker.queue(topic, queue_id)?;
    Ok((broker.store.first_offset(&queue), queue.max_offset()))
}
