//! The revive topic: the durable form of what is in flight.
//!
//! Its messages are the reference's, so that a store can change hands: a check point for each
//! reception, an acknowledgement for each message that is settled
//! ([`wire::message::pop::revive`]). Three things differ.
//!
//! - They go into the topic's queues at once. The reference lets the timer put them there when the
//!   reception's time is over, and takes their delivery time for the point up to which it has seen
//!   all acknowledgements. Here that property has the time of writing, which makes it true again.
//! - What a group receives of a topic goes into one queue, chosen by their names. So the check
//!   points of a queue stand in their order, and tell how far the group has come when the broker
//!   was killed before it wrote `consumerOffset.json`.
//! - A check point without messages says that the group goes on at its start offset: it was reset.
//!   A check point that is acknowledged from the start says that the group has come so far: orderly
//!   consumption. The reference passes over both.
//!
//! The offset of the group `CID_RMQ_SYS_REVIVE_GROUP` in a queue is, as in the reference, that of
//! the last message that is not needed any more.

use std::cell::Cell;
use std::sync::Arc;

use store::{AllMessages, Append, Arrival, Queue, StoreError, TagsCode};
use tracing::warn;
use wire::message::pop::revive::{ACK_TAG, BATCH_ACK_TAG, CK_TAG, PopAck, PopCheckPoint};
use wire::message::record::{RecordRef, crc32};
use wire::message::{names, properties, property, tags};

use super::in_flight::Place;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::timer::accept;
use crate::topics::REVIVE_QUEUES;

/// Messages that are read at a time.
const BATCH: usize = 256;

/// The queue for what a group receives of a topic.
pub(super) fn queue_id(topic: &str, group: &str) -> i32 {
    let hash = crc32(topic.as_bytes()).wrapping_add(crc32(group.as_bytes()));
    (hash % REVIVE_QUEUES as u32) as i32
}

/// A message for the revive topic.
pub(super) struct Entry {
    queue: Arc<Queue>,
    tag: &'static str,
    body: String,
    properties: String,
}

impl Entry {
    pub(super) fn check_point(
        broker: &Broker,
        queue_id: i32,
        check_point: &PopCheckPoint<'_>,
    ) -> Result<Self, StoreError> {
        Self::new(broker, queue_id, CK_TAG, check_point.encode())
    }

    pub(super) fn ack(
        broker: &Broker,
        queue_id: i32,
        ack: &PopAck<'_>,
    ) -> Result<Self, StoreError> {
        Self::new(broker, queue_id, ack.tag(), ack.encode())
    }

    /// The same, as it waits in the timer until a time; `None` if the timer does not take it.
    pub(super) fn timed(mut self, broker: &Broker, until: i64) -> Option<Self> {
        let (topic, queue_id, mut added) = (self.queue.topic(), self.queue.id(), String::new());
        let text = &mut self.properties;
        properties::set(text, property::TIMER_DELIVER_MS, &until.to_string());
        let placed = accept::place(broker, text, 0, topic, queue_id, &mut added);
        let timed = placed.ok().flatten()?;
        text.push_str(&added);
        self.queue = timed.queue;
        Some(self)
    }

    fn new(
        broker: &Broker,
        queue_id: i32,
        tag: &'static str,
        body: String,
    ) -> Result<Self, StoreError> {
        let queue = broker.store.queue(&broker.pop.revive_topic, queue_id)?;
        let mut string = String::new();
        properties::put(&mut string, property::TAGS, tag);
        let now = broker.now_millis().to_string();
        properties::put(&mut string, property::TIMER_DELIVER_MS, &now);
        Ok(Self {
            queue,
            tag,
            body,
            properties: string,
        })
    }

    /// As it is given to the store.
    pub(super) fn append<'a>(&'a self, broker: &Broker) -> Append<'a> {
        let host = broker.store_host;
        let (body, properties) = (self.body.as_bytes(), self.properties.as_bytes());
        let mut append = Append::new(&self.queue, body, properties, host, host);
        append.tags_code = TagsCode::Known(tags::tags_code(Some(self.tag)));
        append.born_timestamp = broker.now_millis();
        append
    }
}

thread_local! {
    /// Whether this thread is storing what it has in memory already, or is about to.
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Stores what is known in memory already, or will be. Returns what has to be flushed for it to
/// last.
pub(super) fn store(broker: &Broker, appends: &mut [Append<'_>]) -> i64 {
    let before = IS_OWN.replace(true);
    let end = broker.store.append(appends);
    IS_OWN.set(before);
    end
}

/// Hears of new messages of the topic. Those that somebody else has stored are read: the timer
/// brings what the reference has left to it.
pub(super) fn arrived(broker: &Broker, arrival: &Arrival<'_>) {
    if IS_OWN.get() {
        return;
    }
    let (first, next) = (arrival.first_offset, arrival.max_offset);
    if let Err(error) = read_between(broker, arrival.queue, first, next) {
        warn!("messages {first} to {next} of the revive topic can't be read: {error}");
    }
}

/// Stores entries together. Returns where each stands, and what has to be flushed for them to
/// last.
pub(super) fn append(broker: &Broker, entries: &[Entry]) -> Result<(Vec<Place>, i64), StoreError> {
    let mut appends: Vec<Append<'_>> = entries.iter().map(|entry| entry.append(broker)).collect();
    let end = store(broker, &mut appends);
    Ok((places(appends)?, end))
}

/// Where each message was stored; an error if one of them was not.
pub(super) fn places(appends: Vec<Append<'_>>) -> Result<Vec<Place>, StoreError> {
    let place = |append: Append<'_>| match append.outcome {
        Some(outcome) => outcome.map(|appended| Place {
            queue_id: append.queue.id(),
            offset: appended.queue_offset,
        }),
        None => Err(StoreError::Closed),
    };
    appends.into_iter().map(place).collect()
}

/// Reads what the topic says since it was last made sure that it is not needed any more.
pub(super) fn recover(broker: &Broker) -> Result<(), BrokerError> {
    for queue in broker.store.queues_of(&broker.pop.revive_topic) {
        let settled = broker
            .offsets
            .query(names::REVIVE_GROUP, queue.topic(), queue.id());
        let next = settled.map_or(0, |settled| settled + 1);
        let next = next.max(queue.min_offset());
        read_between(broker, &queue, next, queue.max_offset())?;
    }
    Ok(())
}

fn read_between(broker: &Broker, queue: &Queue, mut next: i64, end: i64) -> Result<(), StoreError> {
    while next < end {
        let got = broker
            .store
            .get_messages(queue, next, BATCH, usize::MAX, &AllMessages)?;
        for record in got.records() {
            read(broker, &record);
        }
        if got.next_begin_offset <= next {
            break;
        }
        next = got.next_begin_offset;
    }
    Ok(())
}

/// Takes in one message of the topic.
fn read(broker: &Broker, record: &RecordRef<'_>) {
    let string = record.properties();
    let body = String::from_utf8_lossy(record.body());
    let understood = match properties::get(&string, property::TAGS) {
        Some(CK_TAG) => PopCheckPoint::decode(&body).map(|check_point| {
            let place = Place {
                queue_id: record.queue_id(),
                offset: record.queue_offset(),
            };
            let by_timer = properties::get(&string, property::TIMER_OUT_MS).is_some();
            broker.pop.restore(broker, &check_point, place, by_timer);
        }),
        Some(ACK_TAG | BATCH_ACK_TAG) => PopAck::decode(&body).map(|ack| broker.pop.strike(&ack)),
        _ => Ok(()),
    };
    if let Err(error) = understood {
        let offset = record.queue_offset();
        warn!("message {offset} of the revive topic is passed over: {error}");
    }
}
