//! NOTIFICATION: a client waits to be told that there is something to pop; POLLING_INFO: how many
//! pops wait (`NotificationProcessor`, `PollingInfoProcessor`).

use std::sync::Arc;

use bytes::Bytes;
use transport::{Connection, Outbox, Reply};
use wire::frame::Frame;
use wire::header::pop::{
    NotificationRequest, NotificationResponse, PollingInfoRequest, PollingInfoResponse,
};
use wire::message::names;

use super::checks;
use super::polling::{Held, Waiting};
use super::receive::{EARLY_MILLIS, filter};
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;

/// What the remarks of both commands call what is not allowed.
const DOING: &str = "peeking message";

/// What a client waits to hear of.
pub(super) struct Notification {
    pub(super) topic: String,
    pub(super) group: String,
    /// -1: any.
    pub(super) queue_id: i32,
    order: bool,
    attempt_id: Option<String>,
}

impl Notification {
    /// Whether there is something to pop.
    pub(super) fn has_message(&self, broker: &Broker) -> Result<bool, BrokerError> {
        let topics = [
            (self.topic.clone(), self.queue_id),
            (names::pop_retry_topic_v1(&self.topic, &self.group), -1),
            (names::pop_retry_topic_v2(&self.topic, &self.group), -1),
        ];
        for (topic, queue_id) in topics {
            let Some(found) = broker.topics.get(&topic) else {
                continue;
            };
            let queues = match queue_id {
                ..0 => 0..found.config.read_queue_nums,
                id => id..id.saturating_add(1),
            };
            for queue_id in queues {
                if self.is_readable(broker, &topic, queue_id)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn is_readable(&self, broker: &Broker, topic: &str, id: i32) -> Result<bool, BrokerError> {
        let (group, attempt, now) = (
            &*self.group,
            self.attempt_id.as_deref(),
            broker.now_millis(),
        );
        let orderly = broker.pop.orders.queue(topic, group, id);
        if self.order && orderly.is_blocked(attempt, 0, now) {
            return Ok(false);
        }
        let queue = broker.queue(topic, id)?;
        Ok(
            position(broker, topic, group, id, broker.store.first_offset(&queue))
                < queue.max_offset(),
        )
    }
}

/// Where a group goes on in a queue; at its first message if it has never read it.
pub(super) fn position(broker: &Broker, topic: &str, group: &str, id: i32, min: i64) -> i64 {
    broker.offsets.query(group, topic, id).unwrap_or(min)
}

/// Serves the command: answers it now, or holds it.
pub(crate) fn notification(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    frame: &Frame,
    out: &mut Outbox,
) {
    let head = &frame.head;
    let (asked, deadline_millis) = match accept(broker, connection, frame) {
        Ok(accepted) => accepted,
        Err(error) => return out.refuse(head, &error.into()),
    };
    let has_msg = match asked.has_message(broker) {
        Ok(has_msg) => has_msg,
        Err(error) => return out.refuse(head, &error.into()),
    };
    let polling = &broker.pop.polling;
    let may_wait = !has_msg && deadline_millis > broker.now_millis();
    let polling_full =
        may_wait && polling.is_full(broker, &asked.topic, &asked.group, asked.queue_id);
    if !may_wait || polling_full {
        let answer = NotificationResponse {
            has_msg,
            polling_full,
        };
        return out.reply(head, Reply::ok(answer));
    }
    polling.hold(
        broker,
        Held {
            responder: connection.responder(head),
            deadline_millis,
            waiting: Waiting::Notification(asked),
        },
    );
}

fn accept(
    broker: &Broker,
    connection: &Connection,
    frame: &Frame,
) -> Result<(Notification, i64), BrokerError> {
    let header: NotificationRequest<'_> = frame.header()?;
    let (topic, group) = (&*header.topic, &*header.consumer_group);
    checks::readable_topic(broker, connection, topic, group, header.queue_id, DOING)?;
    // It does not count yet, but one that is none is refused all the same.
    let expression = header.expression.as_deref().unwrap_or_default();
    filter(header.expression_type.as_deref(), expression)?;
    let born = match header.born_time {
        0 => broker.now_millis(),
        born => born,
    };
    let deadline_millis = match header.poll_time {
        ..=0 => 0,
        poll_time => born.saturating_add(poll_time) - EARLY_MILLIS,
    };
    let asked = Notification {
        topic: topic.into(),
        group: group.into(),
        queue_id: header.queue_id.max(-1),
        order: header.order.unwrap_or_default(),
        attempt_id: header.attempt_id.map(Into::into),
    };
    Ok((asked, deadline_millis))
}

/// Serves the command.
pub(crate) async fn polling_info(
    broker: &Arc<Broker>,
    call: &Call,
    header: PollingInfoRequest<'_>,
    _: Bytes,
) -> Result<Reply<PollingInfoResponse>, BrokerError> {
    let (topic, group, queue_id) = (&*header.topic, &*header.consumer_group, header.queue_id);
    checks::readable_topic(broker, &call.connection, topic, group, queue_id, DOING)?;
    let waiting = broker.pop.polling.waiting(topic, group, queue_id.max(-1));
    Ok(Reply::ok(PollingInfoResponse {
        polling_num: i32::try_from(waiting).unwrap_or(i32::MAX),
    }))
}
