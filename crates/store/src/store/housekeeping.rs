//! What the store does by itself: flushing, writing queue entries, making checkpoints and
//! removing old files.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Store;
use crate::checkpoint::Checkpoint;
use crate::commit_log::LogTail;
use crate::consume_queue::Queue;
use crate::error::StoreError;
use crate::flush::{Due, Flusher};
use crate::write_behind::WriteBehind;

/// Bytes of messages after which a checkpoint is made, however young the last one is: so much
/// a recovery can read in well under a second.
const CHECKPOINT_BYTES: i64 = 256 << 20;
/// So many more for each queue that a checkpoint has to write: with 100,000 queues that take turns
/// each checkpoint writes 100,000 files, and the disk should have something else to do, too.
const CHECKPOINT_BYTES_A_QUEUE: i64 = 4 << 10;
/// So many queues are written and flushed one by one. Of more, those with few new entries wait
/// for the checkpoint, and all are flushed together with everything on the disk: a flush of each
/// of 100,000 files takes minutes.
const FEW_QUEUES: usize = 256;
/// Bytes of new entries that are worth writing even where there are many queues.
const WORTH_WRITING: i64 = 4096;

/// Steps of 1 MiB of the log that are entered into the index when the store is closed.
const MOST_STEPS_AT_CLOSE: usize = 64;
/// Shortest and longest time between two looks for what is to be entered into the index, in
/// milliseconds. While messages come, they are in memory yet.
const INDEX_INTERVAL: std::ops::RangeInclusive<u64> = 10..=320;

/// The last checkpoint.
#[derive(Clone, Copy)]
pub(super) struct CheckpointState {
    /// What the file says, or the later of what it may say.
    saved: Checkpoint,
    /// Whether it is known what the file says.
    sure: bool,
    /// End of the log at that time.
    end: i64,
    /// When that was.
    at_millis: i64,
}

impl CheckpointState {
    /// What was found in the file.
    pub(super) fn new(saved: Checkpoint, now: i64) -> CheckpointState {
        CheckpointState {
            saved,
            sure: true,
            end: 0,
            at_millis: now,
        }
    }
}

/// Wakes a thread that has something to do now and then.
#[derive(Default)]
pub(super) struct Alarm {
    state: Mutex<AlarmState>,
    wake: Condvar,
}

#[derive(Default)]
struct AlarmState {
    hurry: bool,
    stop: bool,
}

impl Store {
    /// Looks whether the clock went back before the checkpoint. Under the log's lock.
    pub(crate) fn note_time(&self, tail: &LogTail, now: i64) -> Result<(), StoreError> {
        if now >= tail.timestamp() {
            return Ok(());
        }
        // A recovery takes everything older than the checkpoint for flushed, which messages with
        // a time set back would not be. So the checkpoint goes back, too.
        self.index.clock_went_back(now);
        let mut state = self.checkpoint.lock();
        let saved = state.saved;
        if now >= saved.log_timestamp.min(saved.queues_timestamp) && now > saved.index_timestamp {
            return Ok(());
        }
        tracing::warn!(millis = tail.timestamp() - now, "the clock went back");
        let checkpoint = Checkpoint {
            log_timestamp: saved.log_timestamp.min(now),
            queues_timestamp: saved.queues_timestamp.min(now),
            index_timestamp: saved.index_timestamp.min(now - 1),
            ..saved
        };
        self.save_checkpoint(&mut state, checkpoint)
    }

    fn save_checkpoint(
        &self,
        state: &mut CheckpointState,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        if state.sure && checkpoint == state.saved {
            return Ok(());
        }
        let before = std::mem::replace(&mut state.saved, checkpoint);
        let saved = self.checkpoint_file.save(&checkpoint);
        state.sure = saved.is_ok();
        if !state.sure {
            let may_say = &mut state.saved;
            may_say.log_timestamp = may_say.log_timestamp.max(before.log_timestamp);
            may_say.queues_timestamp = may_say.queues_timestamp.max(before.queues_timestamp);
        }
        saved
    }

    /// Writes the queues' new entries to their files, where a kill cannot take them. A queue
    /// that cannot be written is tried again next time.
    pub(crate) fn write_queues(&self) -> Result<(), StoreError> {
        let _keeping = self.keeping.lock();
        self.with_listed(|queues| {
            let many = queues.len() > FEW_QUEUES;
            each(queues, |queue| {
                if many && queue.pending_bytes() < WORTH_WRITING {
                    return Ok(());
                }
                queue.write_pending()
            })
        })
    }

    /// Writes the queues' new entries, and brings what is in their files to the disk.
    fn flush_queues(&self) -> Result<(), StoreError> {
        self.with_listed(|queues| {
            each(queues, Queue::write_pending)?;
            if queues.len() > FEW_QUEUES && self.queues.on_one_disk() {
                self.flush_together(queues)
            } else {
                each(queues, Queue::flush)
            }
        })
    }

    fn flush_together(&self, queues: &[Arc<Queue>]) -> Result<(), StoreError> {
        // What is written to them from here on has to be flushed once more.
        let sequences = queues.iter().flat_map(|queue| queue.sequences());
        let unflushed: Vec<_> = sequences
            .map(|sequence| (sequence, sequence.take_unflushed()))
            .collect();
        let flushed = self.sync_disk();
        if let Ok(true) = flushed {
            return Ok(());
        }
        for (sequence, unflushed) in unflushed {
            sequence.put_back(unflushed);
        }
        flushed?;
        each(queues, Queue::flush)
    }

    /// Brings all that stands on the data directory's disk there; `false`: the system cannot.
    pub(super) fn sync_disk(&self) -> Result<bool, StoreError> {
        // The lock's file is open since before the first write, so that it tells all failures.
        let flushed = match &*self.lock.lock() {
            Some(lock) => lock.file().sync_disk(),
            None => Err(std::io::ErrorKind::NotFound.into()),
        };
        flushed.map_err(|error| StoreError::io("flush the disk of", self.settings().root(), error))
    }

    fn with_listed(
        &self,
        work: impl FnOnce(&[Arc<Queue>]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut queues = std::mem::take(&mut *self.listed.lock());
        let result = work(&queues);
        queues.retain(|queue| queue.unlist());
        self.listed.lock().append(&mut queues);
        result
    }

    /// Brings log and queues to the disk and notes that in the checkpoint.
    pub(crate) fn make_checkpoint(&self) -> Result<(), StoreError> {
        let _keeping = self.keeping.lock();
        // Everything before this position is in the queues, so it is once they are flushed.
        let (end, timestamp) = self.log.position();
        self.flush_queues()?;
        self.flush()?;
        let mut state = self.checkpoint.lock();
        let checkpoint = Checkpoint {
            log_timestamp: timestamp,
            queues_timestamp: timestamp,
            index_timestamp: self.index.flushed_timestamp(),
            position: Some(end),
            position_timestamp: timestamp,
            ..state.saved
        };
        self.save_checkpoint(&mut state, checkpoint)?;
        state.end = end;
        state.at_millis = self.clock.now_millis();
        Ok(())
    }

    fn checkpoint_bytes(&self) -> i64 {
        CHECKPOINT_BYTES + self.listed.lock().len() as i64 * CHECKPOINT_BYTES_A_QUEUE
    }

    /// Does what is due besides flushing the log: writes queue entries, makes a checkpoint,
    /// removes old files.
    pub fn housekeeping(&self) {
        let settings = self.settings();
        let now = self.clock.now_millis();
        let state = *self.checkpoint.lock();
        let interval = i64::from(settings.flush_consume_queue_thorough_interval);
        let due = now - state.at_millis >= interval
            || now < state.at_millis
            || self.log.end() - state.end >= self.checkpoint_bytes();
        let result = if due {
            self.make_checkpoint()
        } else {
            self.write_queues()
        };
        if let Err(error) = result {
            tracing::error!(%error, "queue entries could not be written, they stay in memory");
        }
        self.follow_log();
        if due && let Err(error) = self.index.flush() {
            tracing::error!(%error, "the index could not be flushed, it is tried again");
        }
        self.clean(&settings, now);
    }
}

/// Does something to each queue; one that fails does not keep it from the others.
fn each(
    queues: &[Arc<Queue>],
    work: impl Fn(&Queue) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let results = queues.iter().map(|queue| work(queue));
    results.fold(Ok(()), Result::and)
}

/// The index.
impl Store {
    /// Enters the next part of what was appended into the index; `true` if there is more. Errors
    /// are told there.
    fn follow_log(&self) -> bool {
        let stopped = self.indexer.state.lock().stop;
        !stopped
            && self
                .index
                .follow(&self.log, &self.settings())
                .unwrap_or(false)
    }

    /// Enters the rest of the log into the index, if it is not too much, and closes it. The next
    /// start goes on from there.
    pub(super) fn close_index(&self) -> Result<(), StoreError> {
        let settings = self.settings();
        for _ in 0..MOST_STEPS_AT_CLOSE {
            if !self.index.follow(&self.log, &settings)? {
                break;
            }
        }
        self.index.close()
    }
}

/// Threads.
impl Store {
    /// Has the housekeeping done now.
    pub(crate) fn hurry(&self) {
        self.keeper.state.lock().hurry = true;
        self.keeper.wake.notify_one();
    }

    pub(super) fn start_threads(self: &Arc<Store>) {
        let flusher = Arc::clone(&self.flusher);
        let store = Arc::downgrade(self);
        let flush = spawn("store-flush", move || flush_loop(&flusher, &store));
        let keeper = Arc::clone(&self.keeper);
        let store = Arc::downgrade(self);
        let keep = spawn("store-keeper", move || keeper_loop(&keeper, &store));
        let indexer = Arc::clone(&self.indexer);
        let store = Arc::downgrade(self);
        let index = spawn("store-index", move || index_loop(&indexer, &store));
        self.threads
            .lock()
            .extend([flush, keep, index].into_iter().flatten());
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    match std::thread::Builder::new().name(name.to_owned()).spawn(run) {
        Ok(thread) => Some(thread),
        Err(error) => {
            tracing::error!(%error, name, "a thread of the store could not be started");
            None
        }
    }
}

/// Flushes when somebody waits, and now and then; writes behind in between.
fn flush_loop(flusher: &Flusher, store: &Weak<Store>) {
    let mut next = Instant::now();
    let mut behind = None;
    while let Some(due) = flusher.wait(next) {
        let Some(store) = store.upgrade() else {
            return;
        };
        let end = store.log.end();
        let behind = behind.get_or_insert_with(|| WriteBehind::new(end));
        match due {
            Due::Flush => {
                if store.flusher.flushed() < end {
                    // It has been said and everybody who waits was told.
                    let _ = store.flush();
                }
                let millis = store.settings().flush_interval_commit_log;
                next = Instant::now() + Duration::from_millis(u64::from(millis));
            }
            Due::WriteBehind => {
                if let Err(error) = behind.step(&store) {
                    tracing::warn!(%error, "the log is left in the system's memory");
                }
            }
        }
    }
}

/// Does the housekeeping now and then, and when there is a hurry.
fn keeper_loop(alarm: &Alarm, store: &Weak<Store>) {
    let interval = || Some(store.upgrade()?.settings().flush_interval_consume_queue);
    while let Some(interval) = interval() {
        if !alarm.wait(Duration::from_millis(u64::from(interval))) {
            return;
        }
        if let Some(store) = store.upgrade() {
            store.housekeeping();
        }
    }
}

/// Keeps the index at the end of the log, with longer pauses when nothing comes.
fn index_loop(alarm: &Alarm, store: &Weak<Store>) {
    let (mut interval, mut end) = (*INDEX_INTERVAL.start(), -1);
    while alarm.wait(Duration::from_millis(interval)) {
        while let Some(store) = store.upgrade() {
            if store.log.end() == std::mem::replace(&mut end, store.log.end()) {
                interval = (2 * interval).min(*INDEX_INTERVAL.end());
            } else {
                interval = *INDEX_INTERVAL.start();
            }
            if !store.follow_log() {
                break;
            }
        }
    }
}

impl Alarm {
    pub(super) fn stop(&self) {
        self.state.lock().stop = true;
        self.wake.notify_all();
    }

    /// Waits until there is a hurry or the interval is over; `false` once it is the end.
    fn wait(&self, interval: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.hurry && !state.stop {
            self.wake.wait_for(&mut state, interval);
        }
        state.hurry = false;
        !state.stop
    }
}
