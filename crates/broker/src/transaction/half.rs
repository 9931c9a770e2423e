//! Half messages: how they are stored, and what they say
//! (`TransactionalMessageBridge.parseHalfMessageInner`).

use std::borrow::Cow;
use std::sync::Arc;

use store::{Append, Queue};
use wire::message::record::RecordRef;
use wire::message::sys_flag::message as message_flag;
use wire::message::{names, properties, property};

use crate::broker::Broker;
use crate::delivery;

/// Properties that a producer has no say in. A half message is not delayed, as clients have it.
const DROPPED: [&str; 5] = [
    property::DELAY_TIME_LEVEL,
    property::TIMER_DELIVER_MS,
    property::TIMER_DELAY_MS,
    property::TIMER_DELAY_SEC,
    property::TRANSACTION_PREPARED_QUEUE_OFFSET,
];

/// Where a half message for a topic's queue waits, and the properties by which it finds its way.
pub(crate) fn place(
    broker: &Broker,
    topic: &str,
    queue_id: i32,
    unique_id: Option<&str>,
    added: &mut String,
) -> Arc<Queue> {
    if let Some(id) = unique_id {
        properties::put(added, property::TRANSACTION_ID, id);
    }
    properties::put(added, property::REAL_TOPIC, topic);
    properties::put(added, property::REAL_QUEUE_ID, &queue_id.to_string());
    Arc::clone(&broker.transactions.half)
}

/// The properties of a half message, if they are not to be stored as they were sent.
pub(crate) fn rewritten(sent: &str) -> Option<String> {
    let mut names = properties::iter(sent).map(|(name, _)| name);
    let has_dropped = names.any(|name| DROPPED.contains(&name));
    has_dropped.then(|| properties::without(sent, &DROPPED))
}

/// A half message in the log.
pub(super) struct HalfMessage<'a> {
    pub(super) record: RecordRef<'a>,
    pub(super) properties: Cow<'a, str>,
}

impl<'a> HalfMessage<'a> {
    /// Reads a record; `None` if it is no half message.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Self::parse_in(names::TRANS_HALF_TOPIC, bytes)
    }

    /// Reads a record; `None` if it is no message that was given up.
    pub(super) fn parse_given_up(bytes: &'a [u8]) -> Option<Self> {
        Self::parse_in(names::TRANS_CHECK_MAX_TIME_TOPIC, bytes)
    }

    fn parse_in(topic: &str, bytes: &'a [u8]) -> Option<Self> {
        let record = RecordRef::parse(bytes).ok()?;
        let is_there = record.topic_bytes() == topic.as_bytes();
        is_there.then(|| Self {
            record,
            properties: record.properties(),
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }

    /// The topic that it is meant for, empty if it does not say so.
    pub(super) fn topic(&self) -> &str {
        self.get(property::REAL_TOPIC).unwrap_or_default()
    }

    /// The topic and queue that it is meant for.
    pub(super) fn destination(&self) -> Option<(&str, i32)> {
        let queue_id = self.get(property::REAL_QUEUE_ID)?.parse().ok()?;
        Some((self.get(property::REAL_TOPIC)?, queue_id)).filter(|_| queue_id >= 0)
    }

    /// The number in the half queue that the producer was told: its own, or that of the message
    /// that it is a copy of.
    pub(super) fn original(&self) -> i64 {
        let told = self.get(property::TRANSACTION_PREPARED_QUEUE_OFFSET);
        told.and_then(|offset| offset.parse().ok())
            .unwrap_or_else(|| self.record.queue_offset())
    }

    /// The same message in another queue, with these properties.
    pub(super) fn append<'s>(&self, queue: &'s Arc<Queue>, properties: &'s str) -> Append<'s>
    where
        'a: 's,
    {
        delivery::copy(&self.record, queue, properties)
    }

    /// The properties of a copy that is put back, having been asked about so often.
    pub(super) fn put_back_properties(&self, check_times: i32) -> String {
        let mut again = self.asked(check_times);
        let original = self.original().to_string();
        properties::put(
            &mut again,
            property::TRANSACTION_PREPARED_QUEUE_OFFSET,
            &original,
        );
        again
    }

    /// The properties of a message that was given up and is a half message again.
    pub(super) fn resumed_properties(&self) -> String {
        self.asked(0)
    }

    fn asked(&self, times: i32) -> String {
        const OLD: [&str; 2] = [
            property::TRANSACTION_CHECK_TIMES,
            property::TRANSACTION_PREPARED_QUEUE_OFFSET,
        ];
        let mut asked = properties::without(&self.properties, &OLD);
        properties::put(
            &mut asked,
            property::TRANSACTION_CHECK_TIMES,
            &times.to_string(),
        );
        asked
    }

    /// The system flag of a message that is no half message any more.
    pub(super) fn committed_flag(&self) -> i32 {
        message_flag::with_transaction_type(
            self.record.sys_flag(),
            message_flag::TRANSACTION_COMMIT_TYPE,
        )
    }
}
