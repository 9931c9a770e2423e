//! Appending messages: one lock and one write for many.

mod message;

use std::sync::Arc;
use std::time::Duration;

use wire::message::record::BLANK_HEAD_SIZE;

use crate::commit_log::LogTail;
use crate::consume_queue::{Queue, QueueEntry, QueueUnit};
use crate::error::StoreError;
use crate::settings::StoreConfig;
use crate::store::Store;

pub(crate) use self::message::is_queued;
pub use self::message::{Append, Appended, TagsCode};

/// Tells which filters a message of a topic passes, by its properties, which stand in two parts:
/// bits that a [`MessageFilter`](crate::MessageFilter) understands. `None` where it has none to ask.
/// Called under the log's lock, after the message has got its time.
pub type FilterBits = dyn Fn(&str, [&[u8]; 2]) -> Option<Vec<u8>> + Send + Sync;

/// Told of messages that arrived.
pub trait ArrivalListener: Send + Sync {
    /// Messages of a queue arrived and can be read. Called by the thread that appends, without
    /// any lock of the store: it must be quick.
    fn arrived(&self, arrival: &Arrival<'_>);
}

/// Messages that arrived together in one queue.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The queue.
    pub queue: &'a Arc<Queue>,
    /// Number of the first of them.
    pub first_offset: i64,
    /// Number the queue's next message gets.
    pub max_offset: i64,
    /// The tags code of all of them; `None` if they differ.
    pub tags_code: Option<i64>,
    /// When they were stored, milliseconds since 1970.
    pub store_timestamp: i64,
}

/// The first client batch of a slice of messages: most often one message.
fn first_group(batch: &[Append<'_>]) -> usize {
    let others = batch.iter().skip(1);
    1 + others.take_while(|append| append.with_previous).count()
}

impl Store {
    /// Stores messages in order and makes them readable; their outcomes tell where they are or
    /// why they were refused. Messages that are refused do not affect the others.
    ///
    /// Returns the position behind the last message stored, or the log's end: what to give to
    /// [`Store::flushed`] for all of them to be on the disk.
    pub fn append(&self, batch: &mut [Append<'_>]) -> i64 {
        let settings = self.settings();
        let mut size = 0;
        let mut rest = &mut *batch;
        while !rest.is_empty() {
            let (group, others) = rest.split_at_mut(first_group(rest));
            size += check_group(group, self, &settings);
            rest = others;
        }

        let limit = Duration::from_millis(settings.os_page_cache_busy_time_out_mills.into());
        let end = {
            let mut tail = match self.log.lock_within(limit, &*self.clock) {
                Ok(tail) => tail,
                Err(busy) => {
                    refuse(batch, &busy);
                    return self.log.end();
                }
            };
            tail.reserve((size + BLANK_HEAD_SIZE).min(settings.mapped_file_size_commit_log));
            self.append_in_order(&mut tail, batch, &settings);
            self.log.set_appending_since(0);
            tail.end()
        };
        self.flusher.appended(end);
        self.notify(batch);
        end
    }

    fn append_in_order(
        &self,
        tail: &mut LogTail,
        batch: &mut [Append<'_>],
        settings: &StoreConfig,
    ) {
        // The time is taken under the lock, so that it grows along the log.
        let now = self.clock.now_millis();
        self.log.set_appending_since(now);
        // Asked again under the lock: whoever closes the store takes it once.
        let ready = self
            .check_writable()
            .and_then(|()| self.log.prepare(tail))
            .and_then(|()| self.note_time(tail, now));
        if let Err(error) = ready {
            return refuse(batch, &error);
        }
        // Messages from `written` to `at` are in the buffer.
        let (mut written, mut at) = (0, 0);
        while let Some(rest) = batch.get(at..).filter(|rest| !rest.is_empty()) {
            let count = first_group(rest);
            let size: usize = rest.iter().take(count).map(|append| append.size).sum();
            let refused = rest.first().is_some_and(|append| append.outcome.is_some());
            if !refused && size as i64 > self.log.room(tail) {
                let rolled = self.log.roll(tail, now);
                let ready = rolled.clone().and_then(|()| self.log.prepare(tail));
                self.finish(batch.get_mut(written..at).unwrap_or_default(), rolled);
                written = at;
                if let Err(error) = ready {
                    return refuse(batch.get_mut(at..).unwrap_or_default(), &error);
                }
            }
            if let (false, Some(group)) = (refused, batch.get_mut(at..at + count)) {
                encode_group(tail, group, now, settings);
            }
            at += count;
        }
        let wrote = self.log.write(tail, now);
        self.finish(batch.get_mut(written..).unwrap_or_default(), wrote);
    }

    /// Enters what was written into the queues, or takes its numbers back.
    fn finish(&self, segment: &mut [Append<'_>], wrote: Result<(), StoreError>) {
        if let Err(error) = wrote {
            for append in segment
                .iter_mut()
                .filter(|append| append.appended().is_some())
            {
                append.queues().for_each(|queue| queue.unreserve());
                append.outcome = Some(Err(error.clone()));
            }
            return;
        }
        for append in segment.iter() {
            let Some(appended) = append.appended().filter(|_| append.is_queued()) else {
                continue;
            };
            let entry = QueueEntry {
                physical_offset: appended.physical_offset,
                size: appended.size,
                tags_code: append.tags_code(appended.store_timestamp),
            };
            let bits = append.filter_bits(self.filter_bits.get().map(|ask| &**ask));
            let enter = |queue: &Arc<Queue>, queue_offset, count| {
                let unit = QueueUnit {
                    queue_offset,
                    count,
                    entry,
                };
                let pushed = queue.push(&unit, appended.store_timestamp, bits.clone());
                if pushed.list {
                    self.list(queue);
                }
                if pushed.urgent {
                    self.hurry();
                }
            };
            enter(append.queue, appended.queue_offset, append.count());
            for place in append.light.iter().flatten() {
                enter(&place.queue, place.offset, 1);
            }
        }
    }

    /// Tells the listener, once for each queue and few messages.
    fn notify(&self, batch: &[Append<'_>]) {
        let Some(listener) = self.listener() else {
            return;
        };
        // A batch of one connection goes to few queues; a small table saves sorting.
        let mut arrivals: [Option<Arrival<'_>>; 16] = [None; 16];
        let tell = |arrivals: &mut [Option<Arrival<'_>>; 16]| {
            for slot in arrivals.iter_mut() {
                match slot.take() {
                    Some(arrival) => listener.arrived(&arrival),
                    None => break,
                }
            }
        };
        for append in batch.iter().filter(|append| append.is_queued()) {
            let Some(appended) = append.appended() else {
                continue;
            };
            let tags_code = append.tags_code(appended.store_timestamp);
            let mut arrived = |queue, first_offset, count| {
                let mine = |slot: &&mut Option<Arrival<'_>>| {
                    slot.is_none_or(|arrival| Arc::ptr_eq(arrival.queue, queue))
                };
                if arrivals.iter_mut().find(mine).is_none() {
                    tell(&mut arrivals);
                }
                if let Some(slot) = arrivals.iter_mut().find(mine) {
                    let arrival = slot.get_or_insert(Arrival {
                        queue,
                        first_offset,
                        max_offset: first_offset,
                        tags_code: Some(tags_code),
                        store_timestamp: appended.store_timestamp,
                    });
                    arrival.max_offset = first_offset + i64::from(count);
                    if arrival.tags_code != Some(tags_code) {
                        arrival.tags_code = None;
                    }
                }
            };
            arrived(append.queue, appended.queue_offset, append.count());
            for place in append.light.iter().flatten() {
                arrived(&place.queue, place.offset, 1);
            }
        }
        tell(&mut arrivals);
    }
}

/// Checks the messages of a client batch and returns the size of their records; if one is
/// refused, all are and the size is 0.
fn check_group(group: &mut [Append<'_>], store: &Store, settings: &StoreConfig) -> usize {
    let mut size = 0;
    let mut checked = Ok(());
    for append in group.iter_mut() {
        append.outcome = None;
        checked = checked.and_then(|()| append.check(store, settings));
        size += append.size;
    }
    let max = settings.mapped_file_size_commit_log - BLANK_HEAD_SIZE;
    if checked.is_ok() && size > max {
        checked = Err(StoreError::MessageTooLarge { size, max });
    }
    match checked {
        Ok(()) => size,
        Err(error) => {
            refuse(group, &error);
            0
        }
    }
}

/// Encodes the messages of a client batch into the buffer, where there is room for them.
fn encode_group(tail: &mut LogTail, group: &mut [Append<'_>], now: i64, settings: &StoreConfig) {
    let before = tail.buffer.len();
    for index in 0..group.len() {
        let Some(append) = group.get_mut(index) else {
            return;
        };
        match encode(tail, append, now, settings) {
            Ok(appended) => append.outcome = Some(Ok(appended)),
            Err(error) => {
                tail.buffer.truncate(before);
                for done in group.iter().take(index).filter(|append| append.is_queued()) {
                    done.unreserve();
                }
                return refuse(group, &error);
            }
        }
    }
}

fn encode(
    tail: &mut LogTail,
    append: &mut Append<'_>,
    now: i64,
    settings: &StoreConfig,
) -> Result<Appended, StoreError> {
    for queue in append.queues() {
        if queue.is_deleted() {
            return Err(StoreError::QueueDeleted {
                topic: Arc::clone(queue.topic()),
                queue_id: queue.id(),
            });
        }
        queue.relieve()?;
    }
    let mut record = append.record(settings);
    record.physical_offset = tail.position();
    record.store_timestamp = now;
    if append.is_queued() {
        record.queue_offset = append.reserve();
    }
    let added = append.added_properties(record.queue_offset);
    if let Some(added) = &added {
        record.more_properties = added;
    }
    match record.encode_into(&mut tail.buffer) {
        Ok(size) => Ok(Appended {
            physical_offset: record.physical_offset,
            size: size as i32,
            queue_offset: record.queue_offset,
            store_timestamp: now,
        }),
        Err(error) => {
            if append.is_queued() {
                append.unreserve();
            }
            Err(error.into())
        }
    }
}

fn refuse(batch: &mut [Append<'_>], error: &StoreError) {
    for append in batch {
        append.outcome = Some(Err(error.clone()));
    }
}
