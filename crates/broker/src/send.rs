//! Sending: SEND_MESSAGE, SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE (`SendMessageProcessor`).
//!
//! All messages that one read of a connection brought go into the commit log together. A message
//! is answered when what its properties and the broker's settings promise is true: at once, or
//! when it is on disk.

mod answer;
mod message;
mod places;
mod plan;
mod request;
mod sending;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use store::{FlushDiskType, StoreError};
use transport::{Connection, Outbox, Reply};
use wire::frame::Frame;

use self::answer::{Stored, Took, answer_when_flushed, into_owned};
use self::places::{Place, Places, RECENT};
pub(crate) use self::request::{check_started, choose_queue, find_topic, with_full_names};
use self::sending::Sending;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::statistics::Tally;

/// Queues of a group's dead letter topic (`DLQ_NUMS_PER_GROUP`).
pub(crate) const DEAD_LETTER_QUEUES: i32 = 1;

/// Clients of this version (`MQVersion.Version.V3_4_9`) say how often a message may be retried.
pub(crate) const TELLS_MAX_RECONSUME_TIMES: i32 = 121;

/// Serves the send requests of one read; see the module's page.
pub(crate) fn send(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    run: &[Frame],
    out: &mut Outbox,
) {
    let mut took = Took::since(broker.now_millis());
    let mut places = Places::new(broker);
    let sync_flush = places.settings.store.flush_disk_type == FlushDiskType::SyncFlush;
    let room = if sync_flush {
        // What waits for the disk takes memory, however slow the disk is.
        let capacity = places.settings.broker.send_thread_pool_queue_capacity;
        capacity.saturating_sub(broker.unflushed_sends.load(Ordering::Relaxed))
    } else {
        usize::MAX
    };
    let (run, too_many) = run.split_at(room.min(run.len()));
    let mut accepted = Vec::with_capacity(run.len());
    for frame in run {
        match Sending::accept(broker, connection, &mut places, frame) {
            Ok(sending) => accepted.push(sending),
            Err(error) => out.refuse(&frame.head, &error.into()),
        }
    }
    for frame in too_many {
        out.refuse(&frame.head, &BrokerError::Overload.into());
    }
    if accepted.is_empty() {
        return;
    }
    // New topics of the whole run share one write of the table.
    broker.topics.keep(&places.unkept);
    let mut appends = Vec::with_capacity(accepted.len());
    for sending in &accepted {
        sending.append_to(broker, connection, &places, &mut appends);
    }
    let end = broker.store.append(&mut appends);

    let mut waiting = Vec::new();
    let mut message_ids = String::new();
    let mut tallies = Vec::new();
    let mut outcomes = appends
        .iter_mut()
        .filter_map(|append| append.outcome.take());
    for sending in &accepted {
        let head = &sending.frame.head;
        let outcomes = outcomes.by_ref().take(sending.plan.records);
        let stored = match Stored::collect(outcomes, broker, &mut message_ids) {
            Ok(stored) => stored,
            Err(error) => {
                broker.statistics.put_failed.fetch_add(1, Ordering::Relaxed);
                out.refuse(head, &not_stored(broker, error).into());
                continue;
            }
        };
        let place = sending.plan.place;
        if let Some(topic) = sending.topic {
            add_up(&mut tallies, topic, place, sending.tally(stored.bytes));
        }
        let (queue, transactions) = (places.get(place), &broker.transactions);
        transactions.stored(broker, queue, &sending.header.topic);
        let response = sending.response(broker, stored.queue_offset, &message_ids);
        if sync_flush && sending.wait_store {
            waiting.push((connection.responder(head), into_owned(response)));
        } else {
            out.reply(head, Reply::ok(response));
        }
    }
    for (topic, place, tally) in tallies {
        let Some(topic) = places.counting.get(topic) else {
            continue;
        };
        broker.statistics.stored(topic, tally);
        took.add(topic, places.get(place).id(), tally);
    }
    if waiting.is_empty() {
        took.count(broker);
    } else {
        broker
            .unflushed_sends
            .fetch_add(waiting.len(), Ordering::Relaxed);
        tokio::spawn(answer_when_flushed(Arc::clone(broker), end, waiting, took));
    }
}

/// Adds what one request stored to what others of the read stored in the same queue.
fn add_up(tallies: &mut Vec<(usize, Place, Tally)>, topic: usize, place: Place, tally: Tally) {
    let mut recent = tallies.iter_mut().rev().take(RECENT);
    match recent.find(|(_, known, _)| *known == place) {
        Some((_, _, sum)) => sum.add(tally),
        None => tallies.push((topic, place, tally)),
    }
}

/// Why one message of an append was not stored.
fn not_stored(broker: &Broker, error: StoreError) -> BrokerError {
    match error {
        error if error.is_illegal_message() => {
            plan::illegal_size(broker.settings().store.max_message_size)
        }
        error => error.into(),
    }
}
