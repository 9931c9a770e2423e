//! The messages with a time of their own, by time: the [wheel](crate::timer_wheel), the
//! [log](crate::timer_log) and the [checkpoint](crate::timer_checkpoint) of the timer together.
//!
//! The messages themselves are in the queue of [`TIMER_TOPIC`]. They are taken over from there in
//! its order: those that are due later than now go into the log and the wheel. A checkpoint is
//! made of four steps, each on the disk before the next: the commit log, so that no entry is of a
//! record that is lost; the timer log; the wheel; the checkpoint file. So what the checkpoint
//! counts is whole after a kill and after a power failure, and what came later is taken over from
//! the queue once more.
//!
//! The reference may have written the files last. Its checkpoint can count messages whose entries
//! are behind the position that it says is flushed: these entries are kept.

use std::collections::HashMap;
use std::sync::Arc;

use wire::message::names::TIMER_TOPIC;
use wire::message::record::RecordRef;
use wire::message::{properties, property, tags};

use crate::error::StoreError;
use crate::store::Store;
use crate::timer_checkpoint::{TimerCheckpoint, TimerCheckpointFile};
use crate::timer_log::{TIMER_ENTRY_SIZE, TimerEntry, TimerItem, TimerLog};
use crate::timer_wait::TimerWait;
use crate::timer_wheel::{TimerSlot, WHEEL_SLOTS, Wheel};

/// Moments that the reference's wheel never has in use (`TimerMessageStore.TIMER_BLANK_SLOTS`).
const BLANK_SLOTS: i64 = 60;

/// Slots changed since the last checkpoint from which on the next one is urgent: they are in
/// memory.
const MANY_CHANGES: usize = 1 << 16;

/// A message of the timer's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// When it is due, milliseconds since 1970.
    pub due: i64,
    /// Position of its record in the commit log.
    pub physical_offset: i64,
    /// Bytes of its record.
    pub size: i32,
    /// Hash of the topic that it is for.
    pub topic_hash: i32,
    /// Whether it takes another message back.
    pub takes_back: bool,
}

impl Waiting {
    /// Reads what a record of the timer's queue waits for; `None` if it does not say.
    pub fn of(record: &RecordRef<'_>) -> Option<Waiting> {
        let text = record.properties();
        let [due, topic, takes_back] = properties::get_each(
            &text,
            [
                property::TIMER_OUT_MS,
                property::REAL_TOPIC,
                property::TIMER_DEL_UNIQKEY,
            ],
        );
        Some(Waiting {
            due: due?.parse().ok()?,
            physical_offset: record.physical_offset(),
            size: record.total_size() as i32,
            topic_hash: topic.map_or(0, tags::java_hash),
            takes_back: takes_back.is_some(),
        })
    }
}

/// An entry of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueEntry {
    /// Position of the message's record in the commit log.
    pub physical_offset: i64,
    /// When the message was taken over, milliseconds since 1970.
    pub written: i64,
    /// Bits of [`TimerEntry::magic`].
    pub magic: i32,
    /// Bytes of the message's record.
    pub size: i32,
}

impl DueEntry {
    /// Where the message's record is, and its bytes.
    pub fn place(&self) -> (i64, usize) {
        (
            self.physical_offset,
            usize::try_from(self.size).unwrap_or(0),
        )
    }
}

/// The timer's files, for a running broker.
pub struct TimerFiles {
    wheel: Wheel,
    log: TimerLog,
    file: TimerCheckpointFile,
    checkpoint: TimerCheckpoint,
    /// Position in the commit log behind which there may be deliveries that the checkpoint does
    /// not know of.
    deliveries_from: i64,
    /// Milliseconds of a moment.
    precision: i64,
    /// Moments to wait at most before a message is stored once more.
    roll_window: i64,
}

impl TimerFiles {
    /// Opens the files of a store, made where they are missing, and brings them to what their
    /// checkpoint says.
    ///
    /// # Errors
    /// [`StoreError::FileSize`] if a setting does not fit; [`StoreError::Io`] if the disk fails.
    pub fn open(store: &Store) -> Result<TimerFiles, StoreError> {
        let settings = store.settings();
        let (disk, root) = (store.disk(), settings.root());
        let path = settings.config_dir().join("timercheck");
        let file = TimerCheckpointFile::new(Arc::clone(disk), path);
        let saved = file.load()?;
        let (wheel, has_wheel) = Wheel::open(&**disk, root.join("timerwheel"))?;
        let file_size = settings.mapped_file_size_timer_log as i64;
        let log = TimerLog::open_to_write(Arc::clone(disk), root.join("timerlog"), file_size)?;
        let precision = i64::from(settings.timer_precision_ms);
        // `TimerMessageStore`'s constructor; a delay in an entry has 31 bits.
        let most = WHEEL_SLOTS as i64 / 2 - BLANK_SLOTS;
        let roll_window = i64::from(settings.timer_roll_window_slot).min(most);
        let (checkpoint, deliveries_from) = saved.unwrap_or_default();
        let end = store.max_physical_offset();
        let mut files = TimerFiles {
            wheel,
            log,
            file,
            checkpoint,
            deliveries_from: deliveries_from.map_or(end, |from| from.min(end)),
            precision,
            roll_window: roll_window.min(i64::from(i32::MAX) / precision),
        };
        // A replica of the reference does not go beyond its master.
        let queue_offset = checkpoint.queue_offset.min(checkpoint.master_queue_offset);
        files.checkpoint.queue_offset = queue_offset;
        if checkpoint.read_timestamp == 0 {
            files.checkpoint.read_timestamp = files.moment(store.clock.now_millis()) * precision;
        }
        let whole = (has_wheel || checkpoint.flushed == 0) && files.recover(store)?;
        if !whole {
            tracing::warn!("the timer's files do not agree, so they are made anew from its queue");
            files.rebuild(store)?;
        }
        // A power failure can end the log in front of the position, and others come there.
        if !whole || deliveries_from != Some(files.deliveries_from) {
            let TimerCheckpoint {
                read_timestamp,
                queue_offset,
                ..
            } = files.checkpoint;
            let (read, from) = (files.moment(read_timestamp), files.deliveries_from);
            files.save(store, read, queue_offset, from)?;
        }
        Ok(files)
    }

    /// What is on the disk: the moment up to which messages were delivered, and the number in the
    /// timer's queue up to which they were taken over.
    pub fn checkpoint(&self) -> &TimerCheckpoint {
        &self.checkpoint
    }

    /// Position in the commit log behind which there may be deliveries that the checkpoint does
    /// not know of.
    pub fn deliveries_from(&self) -> i64 {
        self.deliveries_from
    }

    /// The moment of a time in milliseconds.
    pub fn moment(&self, millis: i64) -> i64 {
        millis.div_euclid(self.precision)
    }

    /// When a moment begins, in milliseconds since 1970.
    pub fn begin(&self, moment: i64) -> i64 {
        moment * self.precision
    }

    /// Where a message is entered that is taken over at a moment: there, or sooner if that is too
    /// far away (`TimerMessageStore.doEnqueue`).
    fn slot_moment(&self, waiting: &Waiting, written: i64) -> (i64, i32) {
        let due = self.moment(waiting.due);
        let beyond = due - written - self.roll_window;
        let moment = if beyond < 0 {
            return (due, TimerEntry::MESSAGE);
        } else if beyond < self.roll_window / 3 {
            // The second wait shall not be a short one.
            written + self.roll_window / 2
        } else {
            written + self.roll_window
        };
        (moment, TimerEntry::MESSAGE | TimerEntry::ROLLS)
    }

    /// Whether the wheel has a place for a message that is taken over at a moment, while the
    /// messages from moment `read` on are still to be delivered.
    pub fn is_in_reach(&self, waiting: &Waiting, written: i64, read: i64) -> bool {
        self.slot_moment(waiting, written).0 < read + WHEEL_SLOTS as i64 - BLANK_SLOTS
    }

    /// Enters a message that is taken over at a moment, and is not due before.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn enter(&mut self, waiting: &Waiting, written: i64) -> Result<(), StoreError> {
        let (moment, mut magic) = self.slot_moment(waiting, written);
        let mut count = 1;
        if waiting.takes_back {
            magic |= TimerEntry::TAKES_BACK;
            count = -1;
        }
        let before = self.wheel.get(moment)?;
        let position = self.log.append(&TimerEntry {
            previous: before.map_or(-1, |slot| slot.last),
            magic,
            written: self.begin(written),
            delay: ((moment - written) * self.precision) as i32,
            physical_offset: waiting.physical_offset,
            size: waiting.size,
            topic_hash: waiting.topic_hash,
        })?;
        self.wheel.put(&TimerSlot {
            time: moment,
            first: before.map_or(position, |slot| slot.first),
            last: position,
            count: before.map_or(0, |slot| slot.count).saturating_add(count),
            magic: 0,
        });
        Ok(())
    }

    /// Writes the entries of the messages entered so far, so that they can be read.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn write(&mut self) -> Result<(), StoreError> {
        self.log.write()
    }

    /// Messages to deliver at a moment, as far as they have been taken over.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn count(&self, moment: i64) -> Result<i32, StoreError> {
        Ok(self.wheel.get(moment)?.map_or(0, |slot| slot.count))
    }

    /// Messages to deliver from a moment on (`TimerWheel.getAllNum`).
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn count_from(&self, moment: i64) -> Result<i64, StoreError> {
        let (mut from, until, mut all) = (moment, moment + WHEEL_SLOTS as i64, 0);
        while let Some(slot) = self.wheel.first_used(from, until)? {
            all += i64::from(slot.count);
            from = slot.time + 1;
        }
        Ok(all)
    }

    /// The first moment with messages from one to another, which is not included.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn first_due(&self, from: i64, until: i64) -> Result<Option<i64>, StoreError> {
        Ok(self.wheel.first_used(from, until)?.map(|slot| slot.time))
    }

    /// The entries of a moment, in the order in which they were taken over.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn entries(&mut self, moment: i64) -> Result<Vec<DueEntry>, StoreError> {
        let Some(slot) = self.wheel.get(moment)? else {
            return Ok(Vec::new());
        };
        self.log.write()?;
        let mut entries = Vec::with_capacity(usize::try_from(slot.count).unwrap_or(0));
        for found in self.log.chain(slot.last) {
            match found? {
                Ok((_, entry)) => entries.push(DueEntry {
                    physical_offset: entry.physical_offset,
                    written: entry.written,
                    magic: entry.magic,
                    size: entry.size,
                }),
                Err(position) => {
                    tracing::warn!(position, moment, "an entry of the timer log is missing");
                }
            }
        }
        entries.reverse();
        Ok(entries)
    }

    /// Whether so much has changed that the next checkpoint should not wait.
    pub fn is_urgent(&self) -> bool {
        self.wheel.changes() >= MANY_CHANGES
    }

    /// Notes that nothing was delivered in front of a position of the commit log that the
    /// checkpoint does not know of, so that a start after a kill need not look there.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn pass_over(&mut self, position: i64) -> Result<(), StoreError> {
        self.file.save(&self.checkpoint, position)?;
        self.deliveries_from = position;
        Ok(())
    }

    /// Makes a checkpoint: all in front of moment `read` was delivered, and all in front of
    /// `queue_offset` was taken over; what was delivered besides is in the commit log behind
    /// `deliveries_from`.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails; [`StoreError::FlushFailed`] if the commit log's did.
    pub fn make_checkpoint(
        &mut self,
        store: &Store,
        read: i64,
        queue_offset: i64,
        deliveries_from: i64,
    ) -> Result<(), StoreError> {
        let is_saved = self.checkpoint.read_timestamp == self.begin(read)
            && self.checkpoint.queue_offset == queue_offset
            && self.deliveries_from == deliveries_from
            && self.wheel.changes() == 0;
        if is_saved {
            return Ok(());
        }
        self.save(store, read, queue_offset, deliveries_from)
    }

    fn save(
        &mut self,
        store: &Store,
        read: i64,
        queue_offset: i64,
        deliveries_from: i64,
    ) -> Result<(), StoreError> {
        store.flush()?;
        let flushed = self.log.flush()?;
        self.wheel.flush()?;
        let checkpoint = TimerCheckpoint {
            read_timestamp: self.begin(read),
            flushed,
            queue_offset,
            master_queue_offset: queue_offset,
            changed_timestamp: store.clock.now_millis(),
            changes: self.checkpoint.changes + 1,
            ..self.checkpoint
        };
        self.file.save(&checkpoint, deliveries_from)?;
        self.checkpoint = checkpoint;
        self.deliveries_from = deliveries_from;
        Ok(())
    }

    /// Removes the files of the timer log whose messages left the commit log.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn remove_front(&mut self, store: &Store) -> Result<(), StoreError> {
        self.log.remove_front(store.min_physical_offset())
    }

    /// Brings wheel and log to what the checkpoint says; `false` if that cannot be.
    fn recover(&mut self, store: &Store) -> Result<bool, StoreError> {
        let TimerCheckpoint {
            flushed,
            queue_offset,
            read_timestamp,
            ..
        } = self.checkpoint;
        let begin = self.log.files().first().map_or(0, |file| file.start);
        let place = flushed.rem_euclid(self.log.file_size());
        if place >= TIMER_ENTRY_SIZE as i64 && flushed > begin {
            let last = self.log.look(flushed - TIMER_ENTRY_SIZE as i64)?;
            if !matches!(last, TimerItem::Entry(_)) {
                return Ok(false);
            }
        } else if flushed > 0 && self.log.files().is_empty() {
            return Ok(false);
        }
        let mut counted = Vec::new();
        let mut end = flushed;
        loop {
            match self.log.look(end)? {
                TimerItem::Entry(entry) if self.is_counted(store, &entry, queue_offset)? => {
                    counted.push((end, entry));
                    end += TIMER_ENTRY_SIZE as i64;
                }
                TimerItem::Blank => end = self.log.next_file(end),
                _ => break,
            }
        }
        let read = self.moment(read_timestamp);
        let mut slots = Vec::new();
        for slot in self.wheel.used() {
            slots.extend(
                Some(slot?)
                    .filter(|slot| slot.time >= read && (slot.last >= end || store.was_killed)),
            );
        }
        for slot in slots {
            // Of a slot that was being written, the end may be missing.
            let is_whole = match self.log.look(slot.last)? {
                TimerItem::Entry(last) => self.moment(last.due()) == slot.time,
                _ => false,
            };
            if !is_whole || (slot.last >= end && !self.cut(slot, end)?) {
                return Ok(false);
            }
        }
        self.log.truncate(end)?;
        for (position, entry) in counted {
            let time = self.moment(entry.due());
            let known = self.wheel.get(time)?;
            if time < read || known.is_some_and(|slot| slot.last >= position) {
                continue;
            }
            let takes_back = entry.magic & TimerEntry::TAKES_BACK != 0;
            self.wheel.put(&TimerSlot {
                time,
                first: known.map_or(position, |slot| slot.first),
                last: position,
                count: known.map_or(0, |slot| slot.count) + if takes_back { -1 } else { 1 },
                magic: 0,
            });
        }
        Ok(true)
    }

    /// Whether the checkpoint counts the message of an entry, which is therefore not taken over
    /// from the queue once more.
    fn is_counted(
        &self,
        store: &Store,
        entry: &TimerEntry,
        queue_offset: i64,
    ) -> Result<bool, StoreError> {
        let message = store.message(entry.physical_offset)?;
        let record = message.as_deref().map(RecordRef::parse);
        let Some(Ok(record)) = record else {
            return Ok(false);
        };
        if record.topic() != TIMER_TOPIC || record.queue_offset() >= queue_offset {
            return Ok(false);
        }
        // Of an entry that was being written, the end may be missing.
        let takes_back = entry.magic & TimerEntry::TAKES_BACK != 0;
        let is_whole = |waiting: Waiting| {
            let known = (waiting.size, waiting.topic_hash, waiting.takes_back);
            known == (entry.size, entry.topic_hash, takes_back)
        };
        Ok(Waiting::of(&record).is_some_and(is_whole))
    }

    /// Takes the entries from a position of the log on out of a slot; `false` if its chain is
    /// broken.
    fn cut(&mut self, slot: TimerSlot, end: i64) -> Result<bool, StoreError> {
        let mut cut = slot;
        for found in self.log.chain(slot.last) {
            match found? {
                Ok((position, _)) if position < end => {
                    cut.last = position;
                    self.wheel.put(&cut);
                    return Ok(true);
                }
                Ok((_, entry)) => {
                    let takes_back = entry.magic & TimerEntry::TAKES_BACK != 0;
                    cut.count += if takes_back { 1 } else { -1 };
                }
                Err(_) => return Ok(false),
            }
        }
        self.wheel.clear(slot.time);
        Ok(true)
    }

    /// Makes wheel and log anew from what was taken over from the queue and not delivered yet.
    fn rebuild(&mut self, store: &Store) -> Result<(), StoreError> {
        self.wheel.reset()?;
        self.log.truncate(0)?;
        let read = self.moment(self.checkpoint.read_timestamp);
        let until = self.checkpoint.queue_offset;
        let Some(queue) = store.find_queue(TIMER_TOPIC, 0) else {
            return Ok(());
        };
        let mut later_waits: HashMap<TimerWait, u32> = HashMap::new();
        for offset in queue.min_offset()..queue.max_offset() {
            if let Some(message) = store.message_at(&queue, offset)?
                && let Ok(record) = RecordRef::parse(&message)
            {
                let wait = TimerWait::of(&record.properties());
                if wait.times() > 0 {
                    *later_waits.entry(wait).or_default() += 1;
                }
            }
        }
        for offset in queue.min_offset()..until.min(queue.max_offset()) {
            let Some(message) = store.message_at(&queue, offset)? else {
                continue;
            };
            let Ok(record) = RecordRef::parse(&message) else {
                continue;
            };
            let Some(waiting) = Waiting::of(&record) else {
                continue;
            };
            let next = TimerWait::of(&record.properties()).next();
            match later_waits.get_mut(&next) {
                Some(count) if *count > 0 => *count -= 1,
                _ => self.reenter(&waiting, record.store_timestamp(), read)?,
            }
        }
        self.log.write()
    }

    /// Enters a message that was stored at a time and did not go on waiting, unless it was
    /// delivered since.
    fn reenter(&mut self, waiting: &Waiting, stored: i64, read: i64) -> Result<(), StoreError> {
        if self.moment(waiting.due) < read {
            return Ok(());
        }
        // It was taken over when it was stored, or so much later that it is still to be delivered.
        let written = self.moment(stored);
        let is_ahead = self.slot_moment(waiting, written).0 >= read;
        self.enter(waiting, if is_ahead { written } else { read })
    }
}
