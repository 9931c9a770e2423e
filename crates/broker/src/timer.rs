//! Messages with a time of their own: they wait in the queue of `rmq_sys_wheel_timer`, by time in
//! the timer's files, and are then stored once more where they were meant to go
//! (`TimerMessageStore`).
//!
//! One task does all, in rounds: it takes over what came into the queue, delivers the moments
//! that are over, and makes a checkpoint now and then. A message for a moment is delivered when
//! that moment is over, which is not before its time since times are rounded down
//! ([`accept`]). All messages of the queue are taken over before a moment is delivered, so that
//! who is told that a message is taken back does not get it.
//!
//! After a kill the work since the last checkpoint is done once more, except for what was
//! delivered: that is found in the commit log ([`delivered`]).

pub(crate) mod accept;
pub(crate) mod commands;
mod delivered;
#[cfg(test)]
mod simulation;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use store::{
    AllMessages, Arrival, DueEntry, Store, StoreConfig, StoreError, TimerCheckpoint, TimerEntry,
    TimerFiles, TimerWait, Waiting,
};
use tokio::sync::Notify;
use tracing::warn;
use wire::body::metrics::TimerMetricsSerializeWrapper;
use wire::message::record::RecordRef;
use wire::message::{names, properties, property};

use self::delivered::Delivered;
use crate::broker::Broker;
use crate::delivery::{self, Delivery};
use crate::error::BrokerError;
use crate::metrics::Metrics;

/// Due messages that are delivered together, and how many bytes they have about at most.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// Bytes of a property with a time, about.
const TIME_PROPERTY: usize = 40;

/// How long work that failed waits for the next try.
const RETRY: Duration = Duration::from_secs(1);

/// Longest time between two checkpoints that say no more than that time has passed, in
/// milliseconds.
const IDLE_CHECKPOINT: i64 = 60_000;

/// Bytes of the commit log behind the last checkpoint after which an idle timer notes that it has
/// nothing there.
const PASSED_OVER: i64 = 64 << 20;

/// Time between two looks for files of the timer log to remove, in milliseconds.
const CLEANING: i64 = 30_000;

/// The property [`property::TIMER_ENQUEUE_MS`] of a message that was due when it was taken over.
const NEVER_ENTERED: i64 = i64::MAX;

/// The messages with a time of their own.
pub(crate) struct Timer {
    files: Mutex<TimerFiles>,
    /// Held while a round works, also while [`Timer::files`] is.
    work: Mutex<Work>,
    metrics: Metrics<TimerMetricsSerializeWrapper>,
    wake_up: Notify,
    stopping: AtomicBool,
    /// See [`Timer::delivered_until`].
    delivered_until: AtomicI64,
}

/// How far the work is.
struct Work {
    /// The first moment that is not delivered.
    read: i64,
    /// How many entries of it are.
    done: usize,
    /// Where the commit log ended when its delivery began; `None` if that has not begun.
    began: Option<i64>,
    /// Number in the queue of the first message that is not taken over.
    queue_offset: i64,
    delivered: Delivered,
    /// Whether there is more to save than that time has passed.
    changed: bool,
    saved_millis: i64,
    cleaned_millis: i64,
}

/// How far the timer is behind.
pub(crate) struct Backlog {
    /// Since the first moment that is not delivered.
    pub(crate) seconds: i64,
    /// Messages of the queue that are not in the wheel yet.
    pub(crate) not_entered: i64,
    /// Messages in the wheel.
    pub(crate) waiting: i64,
}

impl Work {
    /// Goes on to a moment, if that is a later one.
    fn finish(&mut self, next: i64) {
        if next > self.read {
            self.read = next;
            self.done = 0;
            self.began = None;
        }
    }
}

impl Timer {
    /// Opens the timer's files and finds out how far the work is.
    pub(crate) fn open(store: &Store, now: i64) -> Result<Self, BrokerError> {
        let files = TimerFiles::open(store)?;
        let checkpoint = *files.checkpoint();
        let queue = store.find_queue(names::TIMER_TOPIC, 0);
        let (min, max) = queue.map_or((0, 0), |queue| (queue.min_offset(), queue.max_offset()));
        let delivered = Delivered::since(store, files.deliveries_from(), max)?;
        let metrics_file = store.settings().config_dir().join("timermetrics");
        Ok(Self {
            work: Mutex::new(Work {
                read: files.moment(checkpoint.read_timestamp),
                done: 0,
                began: None,
                queue_offset: checkpoint.queue_offset.clamp(min, max),
                delivered,
                changed: false,
                saved_millis: now,
                cleaned_millis: now,
            }),
            files: Mutex::new(files),
            metrics: Metrics::open(Arc::clone(store.disk()), &metrics_file)?,
            delivered_until: AtomicI64::new(checkpoint.read_timestamp),
            wake_up: Notify::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Hears of new messages.
    pub(crate) fn arrived(&self, arrival: &Arrival<'_>) {
        if &**arrival.queue.topic() == names::TIMER_TOPIC {
            self.wake_up.notify_one();
        }
    }

    /// Works for ever.
    pub(crate) async fn run(broker: Arc<Broker>) {
        loop {
            let working = Arc::clone(&broker);
            let round = move || working.timer.round(&working);
            // A round reads and writes files, and has much to do when many messages are due.
            let worked = tokio::task::spawn_blocking(round).await;
            let wait = worked.unwrap_or(Ok(RETRY)).unwrap_or_else(|error| {
                warn!("messages with a time can't be delivered, trying again: {error}");
                RETRY
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = broker.timer.wake_up.notified() => {}
            }
        }
    }

    /// Does what is to do now, and tells how long until there may be more.
    pub(crate) fn round(&self, broker: &Broker) -> Result<Duration, StoreError> {
        let mut work = self.work.lock();
        let settings = Arc::clone(&broker.settings());
        let worked = self.work(broker, &mut work, &settings.store);
        let (read, queue_offset) = (self.files.lock().begin(work.read), work.queue_offset);
        work.delivered.forget(read, queue_offset);
        let now = broker.now_millis();
        let interval = match work.changed {
            true => i64::from(settings.store.timer_flush_interval_ms),
            false => IDLE_CHECKPOINT,
        };
        // A clock that was set back makes no difference.
        if (now - work.saved_millis).abs() >= interval || self.files.lock().is_urgent() {
            self.save(broker, &mut work)?;
        }
        let end = broker.store.max_physical_offset();
        let is_idle = !work.changed && work.began.is_none() && work.delivered.is_empty();
        if is_idle && end - self.files.lock().deliveries_from() >= PASSED_OVER {
            self.files.lock().pass_over(end)?;
        }
        if (now - work.cleaned_millis).abs() >= CLEANING {
            self.files.lock().remove_front(&broker.store)?;
            work.cleaned_millis = now;
        }
        worked?;
        let files = self.files.lock();
        let next = files.begin(files.moment(now) + 1) - now;
        Ok(Duration::from_millis(next.unsigned_abs()))
    }

    /// Takes over what is in the queue, and delivers one moment after the other that is over.
    fn work(
        &self,
        broker: &Broker,
        work: &mut Work,
        settings: &StoreConfig,
    ) -> Result<(), StoreError> {
        loop {
            if !settings.timer_stop_enqueue {
                self.take_over(broker, work)?;
            }
            let may_deliver = !settings.timer_stop_dequeue;
            let goes_on = may_deliver && self.deliver_next(broker, work)?;
            let until = self.files.lock().begin(work.read);
            self.delivered_until.store(until, Ordering::Release);
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Takes over what is in the queue now.
    fn take_over(&self, broker: &Broker, work: &mut Work) -> Result<(), StoreError> {
        let Some(queue) = broker.store.find_queue(names::TIMER_TOPIC, 0) else {
            return Ok(());
        };
        work.queue_offset = work.queue_offset.max(queue.min_offset());
        let end = queue.max_offset();
        while work.queue_offset < end && !self.stopping.load(Ordering::Relaxed) {
            let count = BATCH.min((end - work.queue_offset) as usize);
            let all = &AllMessages;
            let got =
                broker
                    .store
                    .get_messages(&queue, work.queue_offset, count, BATCH_BYTES, all)?;
            work.changed = true;
            let before = work.queue_offset;
            for record in got.records() {
                if !self.take_over_one(broker, work, &record)? {
                    return self.files.lock().write();
                }
                work.queue_offset = work.queue_offset.max(record.queue_offset() + 1);
            }
            if work.queue_offset == before {
                // The message is lost, or damaged.
                work.queue_offset += 1;
            }
        }
        self.files.lock().write()
    }

    /// Takes over a message; `false` if it is for a moment that the wheel does not reach before
    /// others are delivered.
    fn take_over_one(
        &self,
        broker: &Broker,
        work: &mut Work,
        record: &RecordRef<'_>,
    ) -> Result<bool, StoreError> {
        let text = record.properties();
        let Some(waiting) = Waiting::of(record) else {
            warn!("a message of the timer's queue does not say when it is due, so it is dropped");
            return Ok(true);
        };
        // Less time may be left by now, so that this one would not go on waiting again.
        if work.delivered.take_rolled(&text) {
            return Ok(true);
        }
        let topic = properties::get(&text, property::REAL_TOPIC).unwrap_or_default();
        let now = broker.now_millis();
        let mut files = self.files.lock();
        if files.moment(waiting.due) >= work.read {
            let written = files.moment(now).max(work.read);
            let is_in_reach = files.is_in_reach(&waiting, written, work.read);
            if is_in_reach {
                files.enter(&waiting, written)?;
                drop(files);
                self.metrics.add(topic, count_of(waiting.takes_back), now);
                broker.statistics.timer_entered.add(1, 0);
            }
            return Ok(is_in_reach);
        }
        drop(files);
        // It takes back what was delivered.
        if waiting.takes_back {
            return Ok(true);
        }
        let text = with_times(&text, NEVER_ENTERED, now, false);
        let message = Bytes::copy_from_slice(record.as_bytes());
        if let Some(delivery) = Delivery::of(broker, message, text)? {
            self.deliver(broker, work, vec![delivery])?;
        }
        Ok(true)
    }

    /// Delivers the next moment that is over; `false` if there is none, or it has to stop.
    fn deliver_next(&self, broker: &Broker, work: &mut Work) -> Result<bool, StoreError> {
        let mut files = self.files.lock();
        let now = files.moment(broker.now_millis());
        let Some(moment) = files.first_due(work.read, now)? else {
            work.finish(now);
            return Ok(false);
        };
        work.finish(moment);
        let entries = files.entries(moment)?;
        drop(files);
        let end = broker.store.max_physical_offset();
        work.began.get_or_insert(end);
        work.changed = true;
        let whole = self.deliver_moment(broker, work, &entries)?;
        if whole {
            work.finish(moment + 1);
        }
        Ok(whole)
    }

    /// Delivers the entries of a moment; `false` if it has to stop before the last one.
    fn deliver_moment(
        &self,
        broker: &Broker,
        work: &mut Work,
        entries: &[DueEntry],
    ) -> Result<bool, StoreError> {
        let taken_back = taken_back(broker, entries)?;
        while let Some(rest) = entries.get(work.done..).filter(|rest| !rest.is_empty()) {
            if self.stopping.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let batch = batch(rest);
            let places: Vec<_> = batch.iter().map(DueEntry::place).collect();
            let messages = broker.store.messages(&places)?;
            let mut due = Vec::with_capacity(batch.len());
            let mut counts: Vec<(String, i64)> = Vec::new();
            let now = broker.now_millis();
            for (entry, message) in batch.iter().zip(messages) {
                let Some(message) = message else {
                    continue;
                };
                let Ok(record) = RecordRef::parse(&message) else {
                    continue;
                };
                let text = record.properties();
                let rolls = entry.magic & TimerEntry::ROLLS != 0;
                let takes_back = entry.magic & TimerEntry::TAKES_BACK != 0;
                if let Some(topic) = properties::get(&text, property::REAL_TOPIC) {
                    match counts.last_mut().filter(|(last, _)| last == topic) {
                        Some((_, count)) => *count -= count_of(takes_back),
                        None => counts.push((topic.to_owned(), -count_of(takes_back))),
                    }
                }
                let is_taken_back =
                    || !taken_back.is_empty() && taken_back.contains(&key(broker, &text));
                if !rolls && (takes_back || is_taken_back()) {
                    continue;
                }
                let text = with_times(&text, entry.written, now, rolls);
                if rolls {
                    due.push(Delivery {
                        queue: broker.store.queue(names::TIMER_TOPIC, 0)?,
                        record: message.clone(),
                        properties: text,
                    });
                } else {
                    due.extend(Delivery::of(broker, message.clone(), text)?);
                }
            }
            self.deliver(broker, work, due)?;
            work.done += batch.len();
            for (topic, count) in counts {
                self.metrics.add(&topic, count, now);
            }
        }
        Ok(true)
    }

    /// Delivers messages, except for those that were delivered before.
    fn deliver(
        &self,
        broker: &Broker,
        work: &mut Work,
        mut due: Vec<Delivery>,
    ) -> Result<(), StoreError> {
        due.retain(|delivery| {
            let topic = delivery.queue.topic();
            !work.delivered.take(&delivery.properties, topic)
        });
        let mut done = Vec::new();
        let delivered = delivery::deliver(broker, &due, |delivery| {
            broker.statistics.timer_delivered.add(1, 0);
            done.push(delivery);
        });
        if delivered.is_err() {
            // The next try begins with the first one again.
            for delivery in done {
                let topic = delivery.queue.topic();
                work.delivered.add(&delivery.properties, topic);
            }
        }
        delivered
    }

    /// Has the work stop soon, and saves how far it is; for the shutdown.
    pub(crate) fn stop(&self, broker: &Broker) -> Result<(), StoreError> {
        self.stopping.store(true, Ordering::Relaxed);
        self.save(broker, &mut self.work.lock())
    }

    /// Saves how far the work is.
    fn save(&self, broker: &Broker, work: &mut Work) -> Result<(), StoreError> {
        let mut files = self.files.lock();
        let from = if work.delivered.is_empty() {
            let end = broker.store.max_physical_offset();
            work.began.unwrap_or(end)
        } else {
            files.deliveries_from()
        };
        files.make_checkpoint(&broker.store, work.read, work.queue_offset, from)?;
        work.saved_millis = broker.now_millis();
        work.changed = false;
        drop(files);
        self.metrics.save()
    }

    /// Whether no more messages are taken that are due at a time, since `limit` are. Between that
    /// and twice as many it is the more often, the more there are (`TimerMessageStore.isReject`).
    fn is_congested(&self, broker: &Broker, due: i64, limit: i32) -> Result<bool, StoreError> {
        let files = self.files.lock();
        let beyond = i64::from(files.count(files.moment(due))?) - i64::from(limit);
        // Turns that are spread evenly do for chance.
        let chance = i64::from(broker.random_queue(1000) * 617 % 1000);
        Ok(beyond > 0 && beyond * 1000 > chance * i64::from(limit))
    }

    /// How far the work is behind; waits for the round that works.
    pub(crate) fn backlog(&self, broker: &Broker) -> Result<Backlog, StoreError> {
        let work = self.work.lock();
        let files = self.files.lock();
        let queue = broker.store.find_queue(names::TIMER_TOPIC, 0);
        let end = queue.map_or(0, |queue| queue.max_offset());
        Ok(Backlog {
            seconds: (broker.now_millis() - files.begin(work.read)).max(0) / 1000,
            not_entered: (end - work.queue_offset).max(0),
            waiting: files.count_from(work.read)?,
        })
    }

    /// The time, in milliseconds since 1970, up to which everything that was to come then or before
    /// has been delivered.
    pub(crate) fn delivered_until(&self) -> i64 {
        self.delivered_until.load(Ordering::Acquire)
    }

    /// Forgets how many messages wait for a topic that is deleted.
    pub(crate) fn topic_deleted(&self, topic: &str) {
        self.metrics.remove(topic);
    }

    /// The last checkpoint.
    pub(crate) fn checkpoint(&self) -> TimerCheckpoint {
        *self.files.lock().checkpoint()
    }
}

/// The first entries, one at least, which are delivered together.
fn batch(entries: &[DueEntry]) -> &[DueEntry] {
    let mut bytes = 0;
    let fitting = entries.iter().take(BATCH).take_while(|entry| {
        bytes += entry.place().1;
        bytes <= BATCH_BYTES
    });
    let count = fitting.count().max(1);
    entries.get(..count).unwrap_or(entries)
}

/// What an entry counts for.
fn count_of(takes_back: bool) -> i64 {
    if takes_back { -1 } else { 1 }
}

/// The messages that entries take back, by [`key`].
fn taken_back(broker: &Broker, entries: &[DueEntry]) -> Result<HashSet<String>, StoreError> {
    let mut keys = HashSet::new();
    for entry in entries {
        if entry.magic & (TimerEntry::TAKES_BACK | TimerEntry::ROLLS) != TimerEntry::TAKES_BACK {
            continue;
        }
        let message = broker.store.message(entry.physical_offset)?;
        let Some(Ok(record)) = message.as_deref().map(RecordRef::parse) else {
            continue;
        };
        let text = record.properties();
        keys.extend(properties::get(&text, property::TIMER_DEL_UNIQKEY).map(str::to_owned));
    }
    Ok(keys)
}

/// What a message with these properties is taken back by (`TimerMessageStore.buildDeleteKey`).
fn key(broker: &Broker, text: &str) -> String {
    let [topic, id] = properties::get_each(
        text,
        [
            property::REAL_TOPIC,
            property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
        ],
    );
    let with_topic = broker.settings().store.append_topic_for_timer_delete_key;
    delete_key(
        with_topic,
        topic.unwrap_or_default(),
        id.unwrap_or_default(),
    )
}

/// See [`key`].
fn delete_key(with_topic: bool, topic: &str, unique_id: &str) -> String {
    if with_topic {
        format!("{topic}+{unique_id}")
    } else {
        unique_id.to_owned()
    }
}

/// The properties of a message that leaves the timer, or enters it once more
/// (`TimerMessageStore.convert`).
fn with_times(text: &str, written: i64, now: i64, rolls: bool) -> String {
    let mut timed = String::with_capacity(text.len() + 2 * TIME_PROPERTY);
    timed.push_str(text);
    properties::set(&mut timed, property::TIMER_ENQUEUE_MS, &written.to_string());
    if rolls {
        let times = TimerWait::of(text).next().times();
        properties::set(&mut timed, property::TIMER_ROLL_TIMES, &times.to_string());
    }
    properties::set(&mut timed, property::TIMER_DEQUEUE_MS, &now.to_string());
    timed
}
