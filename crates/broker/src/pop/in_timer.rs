//! Receptions that the timer may still have.
//!
//! The reference has check points and acknowledgements wait in the timer, from where they get into
//! the revive topic when the reception's time is over. A broker that takes over its store knows
//! nothing of such a reception until then. An acknowledgement goes the same way meanwhile, and
//! comes behind the check point.

use store::StoreError;
use wire::message::pop::revive::PopAck;

use super::in_flight::Handle;
use super::revive_log::{self, Entry};
use crate::broker::Broker;
use crate::topics::REVIVE_QUEUES;

/// A reception from before the broker started, whose time is not over.
#[derive(Debug, Clone, Copy)]
pub(super) struct InTimer {
    /// When its messages are delivered again, in milliseconds since 1970.
    due: i64,
    /// The queue of the revive topic that it says.
    revive_queue: i32,
}

impl InTimer {
    /// The reception of a handle, if it can be one.
    pub(super) fn of(
        broker: &Broker,
        handle: &Handle,
        invisible_time: i64,
        revive_queue: i32,
    ) -> Option<Self> {
        let due = handle.pop_time.saturating_add(invisible_time);
        let is_one = handle.pop_time < broker.pop.opened_millis && due > broker.now_millis();
        is_one.then_some(Self { due, revive_queue })
    }

    /// The queue of the revive topic for what belongs to it.
    pub(super) fn revive_queue(&self, topic: &str, group: &str) -> i32 {
        if (0..REVIVE_QUEUES).contains(&self.revive_queue) {
            self.revive_queue
        } else {
            revive_log::queue_id(topic, group)
        }
    }

    /// An acknowledgement that waits in the timer until the reception's time is over; `None` if it
    /// can't.
    pub(super) fn ack(
        &self,
        broker: &Broker,
        ack: &PopAck<'_>,
    ) -> Result<Option<Entry>, StoreError> {
        let queue = self.revive_queue(&ack.topic, &ack.group);
        Ok(Entry::ack(broker, queue, ack)?.timed(broker, self.due))
    }
}
