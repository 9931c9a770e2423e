//! Delay levels: messages that wait in `SCHEDULE_TOPIC_XXXX`, a queue for each level, until they
//! are due (`ScheduleMessageService`).
//!
//! A queue's messages are due in their order, so that only the first one of each level has to be
//! watched. A consume queue entry's tags code is the time of delivery. `config/delayOffset.json`
//! tells how far each level was delivered; what was delivered after its last write is delivered
//! again after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use store::{Arrival, ConfigFile, Queue, Store, StoreError, TagsCode};
use tokio::sync::Notify;
use tracing::warn;
use wire::body::json;
use wire::body::offset::DelayOffsetSerializeWrapper;
use wire::body::version::DataVersion;
use wire::message::delay_levels::DelayLevels;
use wire::message::record::RecordRef;
use wire::message::{names, properties, property};

use crate::broker::Broker;
use crate::delivery::{self, Delivery};

/// Due messages that are delivered together.
const BATCH: usize = 64;

/// How long a delivery that failed waits for the next try.
const RETRY: Duration = Duration::from_secs(1);

/// The delayed messages.
pub(crate) struct Schedule {
    levels: DelayLevels,
    progress: Mutex<Progress>,
    file: ConfigFile,
    wake_up: Notify,
}

/// How far the levels have been delivered.
#[derive(Default)]
struct Progress {
    /// By level, the queue offset of the first message that was not delivered.
    offsets: BTreeMap<i32, i64>,
    version: DataVersion,
    changed: bool,
}

impl Schedule {
    /// Reads how far the levels were delivered.
    pub(crate) fn open(levels: DelayLevels, file: ConfigFile) -> Result<Self, StoreError> {
        let progress = match file.load()? {
            None => Progress::default(),
            Some(text) => match json::read::<DelayOffsetSerializeWrapper>(&text) {
                Ok(read) => Progress {
                    offsets: read.offset_table,
                    version: read.data_version.unwrap_or_default(),
                    changed: false,
                },
                Err(error) => {
                    let path = file.path().display();
                    warn!("{path} can't be read ({error}): delayed messages may come twice");
                    Progress::default()
                }
            },
        };
        Ok(Self {
            levels,
            progress: Mutex::new(progress),
            file,
            wake_up: Notify::new(),
        })
    }

    /// The highest level.
    pub(crate) fn max_level(&self) -> i32 {
        self.levels.max_level()
    }

    /// Where a message for a topic's queue waits, and the properties by which it finds its way.
    pub(crate) fn place(
        &self,
        store: &Store,
        level: i32,
        topic: &str,
        queue_id: i32,
        added: &mut String,
    ) -> Result<(Arc<Queue>, TagsCode), StoreError> {
        properties::put(added, property::REAL_TOPIC, topic);
        properties::put(added, property::REAL_QUEUE_ID, &queue_id.to_string());
        let queue = store.queue(names::SCHEDULE_TOPIC, level - 1)?;
        Ok((
            queue,
            TagsCode::DeliverAfter(self.levels.delay_millis(level)),
        ))
    }

    /// The first message of a level that was not delivered.
    fn next(&self, level: i32) -> i64 {
        let delivered = &self.progress.lock().offsets;
        delivered.get(&level).copied().unwrap_or(0)
    }

    /// Hears of new messages.
    pub(crate) fn arrived(&self, arrival: &Arrival<'_>) {
        if &**arrival.queue.topic() != names::SCHEDULE_TOPIC {
            return;
        }
        // Only the first message of a level changes when there is something to do.
        let level = arrival.queue.id() + 1;
        if self.next(level).max(arrival.queue.min_offset()) >= arrival.first_offset {
            self.wake_up.notify_one();
        }
    }

    /// Delivers what is due, for ever.
    pub(crate) async fn run(&self, broker: &Broker) {
        loop {
            let wait = self.deliver_due(broker).await.unwrap_or_else(|error| {
                warn!("delayed messages can't be delivered, trying again: {error}");
                RETRY
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wake_up.notified() => {}
            }
        }
    }

    /// Delivers what is due and tells how long until there may be more.
    async fn deliver_due(&self, broker: &Broker) -> Result<Duration, StoreError> {
        let mut wait = Duration::from_secs(3600);
        for level in 1..=self.max_level() {
            while let Some(due) = self.deliver_level(broker, level)? {
                let millis = due.saturating_sub(broker.now_millis());
                if millis > 0 {
                    wait = wait.min(Duration::from_millis(millis as u64));
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(wait)
    }

    /// Delivers a batch of one level. Returns when the next message is due, `None` without one.
    fn deliver_level(&self, broker: &Broker, level: i32) -> Result<Option<i64>, StoreError> {
        let store = &broker.store;
        let Some(queue) = store.find_queue(names::SCHEDULE_TOPIC, level - 1) else {
            return Ok(None);
        };
        let start = self.next(level);
        let mut next = start.clamp(queue.min_offset(), queue.max_offset());
        let now = broker.now_millis();
        let latest = now.saturating_add(self.levels.delay_millis(level));
        let mut due_next = None;
        let mut records = Vec::new();
        while records.len() < BATCH {
            let Some(entry) = store.entry(&queue, next)? else {
                break;
            };
            // A time further away than the level's delay comes of a clock that was set back.
            let due = if entry.tags_code > latest {
                now
            } else {
                entry.tags_code
            };
            due_next = Some(due);
            if due > now {
                break;
            }
            due_next = Some(now);
            if let Some(record) = store.message(entry.physical_offset)? {
                let properties = RecordRef::parse(&record)
                    .map(|record| record.properties().into_owned())
                    .unwrap_or_default();
                records.extend(Delivery::of(broker, record, properties)?);
            }
            next += 1;
        }
        let counters = broker.counters(names::SCHEDULE_TOPIC, names::SCHEDULE_GROUP);
        delivery::deliver(broker, &records, |delivery| {
            if let Some(counters) = &counters {
                counters.delayed(queue.id(), delivery.record.len());
            }
        })?;
        if next != start {
            let mut progress = self.progress.lock();
            progress.offsets.insert(level, next);
            progress.version.advance(0, now);
            progress.changed = true;
        }
        Ok(due_next)
    }

    /// What is written to the file and answered to `GET_ALL_DELAY_OFFSET`.
    pub(crate) fn encode(&self) -> bytes::Bytes {
        let progress = self.progress.lock();
        json::write(&DelayOffsetSerializeWrapper {
            data_version: Some(progress.version),
            offset_table: progress.offsets.clone(),
        })
    }

    /// Writes to disk how far the levels were delivered, if that has changed.
    pub(crate) fn persist(&self) -> Result<(), StoreError> {
        if !std::mem::take(&mut self.progress.lock().changed) {
            return Ok(());
        }
        let saved = self.file.save(&self.encode());
        self.progress.lock().changed |= saved.is_err();
        saved
    }
}
