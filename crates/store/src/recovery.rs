//! Finding the end of the log and bringing the queues in line with it, at the start.
//!
//! After a clean stop (no file `abort`) the queues are trusted: the log is read from the last
//! record any of them points to. After a kill it is read from the newest file that began before
//! the checkpoint's time, everything behind is entered into the queues again, and what stands in
//! the queues' files behind that is replaced. So the time this takes depends on what was not
//! flushed, not on how much is stored.
//!
//! A record is taken if its lengths agree, its body has its CRC (or the whole of it, if it carries
//! one) and it says itself that it is where it is. The log ends where no record follows. Where records do follow behind damaged
//! bytes, those are left out and the rest is kept: unlike the reference
//! (`CommitLog.recoverNormally`, `recoverAbnormally`), which drops everything behind the first
//! damaged byte. A message that is missing leaves its number empty, so that the messages behind
//! it keep theirs. A message with the number 0 behind others of its queue begins the queue anew:
//! its topic was deleted in between.

use std::sync::Arc;

use wire::message::record::{
    BLANK_MAGIC, LogEntry, MIN_RECORD_SIZE, PHYSICAL_OFFSET_POSITION, RecordRef, RecordVersion,
};

use crate::checkpoint::Checkpoint;
use crate::commit_log::CommitLog;
use crate::consume_queue::{MAX_OFFSET, Queue, QueueEntry, QueueKind, QueueUnit};
use crate::delay_levels::DelayLevels;
use crate::disk::File;
use crate::dispatch::{Dispatch, dispatches};
use crate::error::StoreError;
use crate::settings::StoreConfig;
use crate::store::Store;

/// Where to begin reading, and what to enter into the queues.
struct Plan {
    from: i64,
    /// The last record stored at this time or before, and all in front of it, were entered into
    /// the queues.
    entered_until: i64,
    /// The queues' entries from `from` on are written again.
    rebuild: bool,
}

impl Store {
    /// Recovers log and queues.
    pub(crate) fn recover(
        &self,
        checkpoint: Checkpoint,
        was_killed: bool,
    ) -> Result<(), StoreError> {
        let settings = self.settings();
        self.log.load(was_killed)?;
        self.log.set_end_behind_files();
        let killed_at = if was_killed {
            Some(self.rebuild_from(&settings, checkpoint)?)
        } else {
            None
        };
        let dir_missing = self.queues.make_missing_dir()?;
        self.queues.load(killed_at)?;
        if self.log.files().is_empty() {
            return self.forget_queues();
        }
        let plan = self.plan(checkpoint, killed_at, dir_missing)?;
        if was_killed {
            tracing::warn!(from = plan.from, "the store was not closed, recovering it");
        }
        let queues = self.queues.all();
        if plan.rebuild {
            for queue in &queues {
                queue.truncate(plan.from)?;
                self.blank_torn_entries(queue)?;
            }
        }

        let levels = settings.delay_levels();
        let mut scan = Scan::new(&self.log, &settings, plan.from);
        // What stands in front of this position is in the queues, or was taken out of them.
        let mut entered = plan.from;
        while let Some((record, at)) = scan.next()? {
            if plan.rebuild {
                self.enter(&record, at, &levels)?;
            }
            if plan.rebuild || record.store_timestamp() <= plan.entered_until {
                entered = at + record.total_size() as i64;
            }
        }
        let end = scan.end;
        let timestamp = match scan.timestamp {
            0 => checkpoint.log_timestamp,
            last => last,
        };
        if entered < end {
            let mut rest = Scan::new(&self.log, &settings, entered);
            while let Some((record, at)) = rest.next()? {
                self.enter(&record, at, &levels)?;
            }
        }
        self.log.truncate(end, timestamp)?;
        self.set_flushed(plan.from.min(end));
        for queue in self.queues.all() {
            self.end_queue(&queue, end, plan.rebuild)?;
        }
        if self.log.begin() > 0 {
            self.clean_queues()?;
        }
        tracing::info!(begin = self.log.begin(), end, "the commit log is ready");
        Ok(())
    }

    /// Where the newest file begins before which everything was flushed.
    fn rebuild_from(
        &self,
        settings: &StoreConfig,
        checkpoint: Checkpoint,
    ) -> Result<i64, StoreError> {
        let flushed = 1..=checkpoint.recovery_timestamp();
        let files = self.log.files().clone();
        for start in files.into_iter().rev() {
            let first = self.message(start)?;
            let stored = first.as_deref().and_then(|bytes| {
                let record = RecordRef::parse(bytes).ok()?;
                is_whole(&record, start, settings).then(|| record.store_timestamp())
            });
            if stored.is_some_and(|stored| flushed.contains(&stored)) {
                return Ok(start);
            }
        }
        Ok(self.log.begin())
    }

    fn plan(
        &self,
        checkpoint: Checkpoint,
        killed_at: Option<i64>,
        dir_missing: bool,
    ) -> Result<Plan, StoreError> {
        let queues = self.queues.all();
        // If there are none, somebody removed them all, or there never was one: the log has
        // everything.
        let rebuild_from = if dir_missing || queues.is_empty() {
            Some(self.log.begin())
        } else {
            killed_at
        };
        if let Some(from) = rebuild_from {
            return Ok(Plan {
                from,
                entered_until: i64::MIN,
                rebuild: true,
            });
        }
        // The last record that any queue points to, if it is really there.
        let mut last: Option<QueueEntry> = None;
        for queue in &queues {
            if let Some(entry) = queue.last_entry()?.filter(|entry| !entry.is_blank()) {
                let message = self
                    .log
                    .contains(entry.physical_offset, entry.size as usize);
                if message && last.is_none_or(|last| last.physical_offset < entry.physical_offset) {
                    last = Some(entry);
                }
            }
        }
        let last = match last {
            Some(entry) => self
                .message(entry.physical_offset)?
                .map(|message| (entry, message)),
            None => None,
        };
        let last_file = self.log.files().last().copied().unwrap_or(0);
        let from = match last {
            Some((entry, message)) if message.len() == entry.size as usize => entry.physical_offset,
            _ => last_file,
        };
        Ok(Plan {
            from,
            // What is not in the queues then was taken out of them: a deleted topic stays so.
            entered_until: checkpoint.queues_timestamp,
            rebuild: false,
        })
    }

    /// A power failure can leave entries at the end of a queue of which only a part was
    /// written. Their places stay, for the messages that are entered again.
    fn blank_torn_entries(&self, queue: &Arc<Queue>) -> Result<(), StoreError> {
        let (first, max) = queue.slots();
        let mut end = max;
        while end > first && !self.is_true_entry(queue, end - 1)? {
            end -= 1;
        }
        if end < max {
            tracing::warn!(topic = %queue.topic(), queue = queue.id(), count = max - end, "entries of the queue point to no message of it");
            queue.cut(end)?;
            if queue.kind() == QueueKind::Simple {
                self.push_blanks(queue, max - end)?;
            }
        }
        Ok(())
    }

    /// Whether the entry in a slot points to the messages that it says it has, as far as the log
    /// can tell.
    fn is_true_entry(&self, queue: &Queue, slot: i64) -> Result<bool, StoreError> {
        let Some(unit) = queue.unit(slot)?.filter(|unit| !unit.entry.is_blank()) else {
            return Ok(false);
        };
        let entry = unit.entry;
        if entry.physical_offset < self.log.begin() {
            let before = queue.unit(slot - 1)?;
            return Ok(before.is_none_or(|before| before.entry.is_before(&entry)));
        }
        let Some(message) = self.message(entry.physical_offset)? else {
            return Ok(false);
        };
        let Ok(record) = RecordRef::parse(&message) else {
            return Ok(false);
        };
        let levels = self.settings().delay_levels();
        let mut places = dispatches(&record, entry.physical_offset, &levels).into_iter();
        Ok(places.any(|place| {
            place.topic == **queue.topic()
                && place.queue_id == queue.id()
                && (place.unit.queue_offset, place.unit.count) == (unit.queue_offset, unit.count)
                && place.unit.entry.size == entry.size
        }))
    }

    /// Enters a record into its queues.
    fn enter(
        &self,
        record: &RecordRef<'_>,
        at: i64,
        levels: &DelayLevels,
    ) -> Result<(), StoreError> {
        for dispatch in dispatches(record, at, levels) {
            self.enter_again(&dispatch)?;
        }
        Ok(())
    }

    /// Enters a record into a queue, unless it is there.
    fn enter_again(&self, dispatch: &Dispatch) -> Result<(), StoreError> {
        let Dispatch {
            topic,
            queue_id,
            kind,
            unit,
            store_timestamp,
        } = dispatch;
        let position = unit.entry.physical_offset;
        let number = unit.queue_offset;
        if !(0..=MAX_OFFSET).contains(&number) {
            tracing::warn!(
                topic,
                queue = queue_id,
                number,
                position,
                "the number of a message is damaged"
            );
            return Ok(());
        }
        let queue = match self.queues.get_or_make(topic, *queue_id, *kind) {
            Ok(queue) => queue,
            Err(error @ StoreError::Io { .. }) => return Err(error),
            Err(reason) => {
                tracing::warn!(%reason, position, "a message cannot be entered into its queue");
                return Ok(());
            }
        };
        let last = queue.last_entry()?;
        if number == 0 && last.is_some_and(|last| last.is_before(&unit.entry)) {
            // The log says that the topic was deleted and made anew since.
            queue.start_at(0)?;
        }
        if (queue.min_offset()..queue.max_offset()).contains(&number) {
            let known = queue.unit_of(number)?.map(|known| known.entry);
            match known.filter(|known| !known.is_blank()) {
                Some(known) if known.physical_offset == position => return Ok(()),
                // Nothing behind it is known either.
                None if last.is_none_or(|last| last.is_blank()) => {
                    queue.cut(queue.slot_of(number)?)?;
                }
                _ => {
                    tracing::warn!(
                        topic,
                        queue = queue_id,
                        number,
                        position,
                        "another message has the number, this one is left out"
                    );
                    return Ok(());
                }
            }
        }
        let (min, max) = (queue.min_offset(), queue.max_offset());
        if number < max && min < max {
            return Ok(());
        }
        if min == max && number != max {
            queue.start_at(number)?;
        } else if number > max && !self.fill_gap(&queue, unit)? {
            return Ok(());
        }
        if queue.push(unit, *store_timestamp).list {
            self.list(&queue);
        }
        queue.relieve()
    }

    /// Fills the places of messages that were lost in front of this one; `false` if so many cannot
    /// have been there.
    fn fill_gap(&self, queue: &Arc<Queue>, unit: &QueueUnit) -> Result<bool, StoreError> {
        let max = queue.max_offset();
        let missing = unit.queue_offset - max;
        // So many messages may have been between the two; a larger gap is a damaged number.
        let before = queue.last_entry()?.map_or(0, |entry| entry.physical_offset);
        let bytes = unit.entry.physical_offset - before;
        let most = match queue.kind() {
            QueueKind::Simple => bytes / MIN_RECORD_SIZE as i64,
            QueueKind::Batch => bytes,
        };
        tracing::warn!(
            topic = %queue.topic(),
            queue = queue.id(),
            missing,
            before = unit.queue_offset,
            "messages of a queue are missing"
        );
        if missing > most || queue.kind() == QueueKind::Batch {
            return Ok(missing <= most);
        }
        self.push_blanks(queue, missing)?;
        Ok(true)
    }

    /// Fills so many places of a simple queue.
    fn push_blanks(&self, queue: &Arc<Queue>, count: i64) -> Result<(), StoreError> {
        let max = queue.max_offset();
        for queue_offset in max..max + count {
            let blank = QueueUnit {
                queue_offset,
                count: 1,
                entry: QueueEntry::BLANK,
            };
            if queue.push(&blank, 0).list {
                self.list(queue);
            }
            queue.relieve()?;
        }
        Ok(())
    }

    /// Ends a queue where the log ends.
    fn end_queue(&self, queue: &Queue, end: i64, rebuilt: bool) -> Result<(), StoreError> {
        queue.write_pending()?;
        let beyond = queue
            .last_entry()?
            .is_some_and(|entry| !entry.is_blank() && entry.physical_offset >= end);
        if beyond {
            tracing::warn!(topic = %queue.topic(), queue = queue.id(), "the queue goes beyond the end of the log, ending it there");
            queue.truncate(end)?;
        }
        if beyond || rebuilt {
            queue.clear_behind_end()?;
            queue.flush()?;
        }
        Ok(())
    }

    /// Without a log the queues point nowhere.
    fn forget_queues(&self) -> Result<(), StoreError> {
        for topic in self.queues.topics() {
            tracing::warn!(%topic, "there is no commit log, removing the topic's queues");
            for queue in self.queues.take(&topic) {
                queue.remove_files()?;
            }
            self.queues.remove_topic_dirs(&topic);
        }
        self.log.truncate(0, 0)
    }
}

/// Where the log goes on behind damaged bytes at a position, if the record in front of them was
/// stored at a time; `None` if it does not.
pub(crate) fn behind_damage(
    log: &CommitLog,
    settings: &StoreConfig,
    at: i64,
    timestamp: i64,
) -> Result<Option<i64>, StoreError> {
    let mut scan = Scan::new(log, settings, at);
    scan.timestamp = timestamp;
    scan.resume(at)
}

/// Whether a record is what was stored, and where it was stored.
pub(crate) fn is_whole(record: &RecordRef<'_>, at: i64, settings: &StoreConfig) -> bool {
    if record.physical_offset() != at {
        return false;
    }
    if !settings.check_crc_on_recover {
        return true;
    }
    if settings.force_verify_prop_crc || record.record_crc().is_some() {
        return record.check_record_crc().is_ok();
    }
    // No CRC covers the properties. Where a power failure lost the record's end it is zero,
    // which no property ends in.
    record.check_body_crc().is_ok() && record.properties_bytes().last() != Some(&0)
}

/// Reads the records of the log one by one until it ends.
struct Scan<'a> {
    log: &'a CommitLog,
    settings: &'a StoreConfig,
    window: Window,
    /// Position behind the last record taken.
    end: i64,
    /// Store timestamp of that record.
    timestamp: i64,
}

/// What stands at a position.
enum At {
    Record(usize),
    /// The rest of the file is blank.
    Blank,
    /// Neither.
    Nothing,
}

impl<'a> Scan<'a> {
    fn new(log: &'a CommitLog, settings: &'a StoreConfig, from: i64) -> Scan<'a> {
        Scan {
            log,
            settings,
            window: Window::default(),
            end: from,
            timestamp: 0,
        }
    }

    /// The next record and its position.
    fn next(&mut self) -> Result<Option<(RecordRef<'_>, i64)>, StoreError> {
        let (at, size) = loop {
            let at = self.end;
            match self.look(at)? {
                At::Record(size) => break (at, size),
                At::Blank => self.end = self.next_file(at),
                At::Nothing => match self.resume(at)? {
                    Some(position) => {
                        tracing::warn!(
                            from = at,
                            to = position,
                            "damaged bytes in the commit log are left out"
                        );
                        self.end = position;
                    }
                    None => return Ok(None),
                },
            }
        };
        let record = self
            .window
            .get(at, size)
            .and_then(|bytes| RecordRef::parse(bytes).ok());
        if let Some(record) = &record {
            self.end = at + size as i64;
            self.timestamp = record.store_timestamp();
        }
        Ok(record.map(|record| (record, at)))
    }

    fn next_file(&self, at: i64) -> i64 {
        self.log.file_start(at) + self.log.file_size()
    }

    /// Looks at what stands at a position; of a record, all bytes are in the window then.
    fn look(&mut self, at: i64) -> Result<At, StoreError> {
        const HEAD: usize = PHYSICAL_OFFSET_POSITION + 8;
        let rest = (self.next_file(at) - at) as usize;
        if !self.window.load(self.log, at, HEAD.min(rest))? {
            return Ok(At::Nothing);
        }
        let head = self.window.get(at, HEAD.min(rest)).unwrap_or_default();
        if let Ok(LogEntry::Blank { size }) = LogEntry::parse(head) {
            return Ok(if size as usize == rest {
                At::Blank
            } else {
                At::Nothing
            });
        }
        let size = i32_at(head, 0).and_then(|size| usize::try_from(size).ok());
        let is_record = i32_at(head, 4).and_then(RecordVersion::of_magic).is_some();
        // Before so many bytes are read, the record has to say that it is here.
        let position = head
            .get(PHYSICAL_OFFSET_POSITION..)
            .and_then(<[u8]>::first_chunk)
            .map(|bytes| i64::from_be_bytes(*bytes));
        let Some(size) = size.filter(|size| is_record && *size <= rest && position == Some(at))
        else {
            return Ok(At::Nothing);
        };
        if !self.window.load(self.log, at, size)? {
            return Ok(At::Nothing);
        }
        let bytes = self.window.get(at, size).unwrap_or_default();
        match RecordRef::parse(bytes) {
            Ok(record) if is_whole(&record, at, self.settings) => Ok(At::Record(size)),
            _ => Ok(At::Nothing),
        }
    }

    /// Where the log goes on behind damaged bytes; `None` if this is its end.
    ///
    /// Something that looks like a record may be left from before the log was cut here, so it
    /// has to be younger than the last one taken.
    fn resume(&mut self, at: i64) -> Result<Option<i64>, StoreError> {
        let file_end = self.next_file(at);
        let Some(file) = self.log.file(self.log.file_start(at))? else {
            return self.resume_in_next_file(file_end);
        };
        let mut from = at + 1;
        while let Some(found) = self.find_magic(&*file, from, file_end)? {
            match self.look(found)? {
                At::Record(size) if self.is_younger(found, size) => return Ok(Some(found)),
                // Nothing of this file follows, but whether it ends here tells the next one.
                At::Blank => {
                    return Ok(self.resume_in_next_file(file_end)?.map(|_| found));
                }
                _ => from = found + 1,
            }
        }
        self.resume_in_next_file(file_end)
    }

    fn resume_in_next_file(&mut self, start: i64) -> Result<Option<i64>, StoreError> {
        let next = self.log.files().iter().copied().find(|file| *file >= start);
        let Some(next) = next else {
            return Ok(None);
        };
        match self.look(next)? {
            At::Record(size) if self.is_younger(next, size) => Ok(Some(next)),
            _ => Ok(None),
        }
    }

    fn is_younger(&self, at: i64, size: usize) -> bool {
        let bytes = self.window.get(at, size).unwrap_or_default();
        RecordRef::parse(bytes).is_ok_and(|record| record.store_timestamp() >= self.timestamp)
    }

    /// The next position in the file whose fifth to eighth byte are the magic of a record or a
    /// blank.
    fn find_magic(
        &self,
        file: &dyn File,
        from: i64,
        file_end: i64,
    ) -> Result<Option<i64>, StoreError> {
        const CHUNK: usize = 1 << 18;
        let start = self.log.file_start(from.min(file_end - 1));
        let failed = |error| StoreError::io("read", self.log.path(start), error);
        let mut bytes = vec![0; CHUNK];
        let mut at = from + 4;
        while at < file_end {
            let Some(data) = file.next_data((at - start) as u64).map_err(failed)? else {
                return Ok(None);
            };
            // The magic's first bytes may be in front of the data's beginning only if they are
            // zero, which they are not.
            at = at.max(start + data as i64);
            let count = file
                .read_at(&mut bytes, (at - start) as u64)
                .map_err(failed)?;
            let read = bytes.get(..count).unwrap_or_default();
            let found = read.windows(4).position(|magic| {
                // One comparison rules out nearly everything.
                (magic.starts_with(&[0xDA]) || magic.starts_with(&[0xCB])) && is_magic(magic)
            });
            if let Some(found) = found {
                let position = at + found as i64 - 4;
                return Ok((position >= from).then_some(position));
            }
            if count < 4 {
                return Ok(None);
            }
            at += count as i64 - 3;
        }
        Ok(None)
    }
}

fn is_magic(bytes: &[u8]) -> bool {
    i32_at(bytes, 0)
        .is_some_and(|magic| magic == BLANK_MAGIC || RecordVersion::of_magic(magic).is_some())
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(i32::from_be_bytes(*bytes))
}

/// A stretch of the log in memory.
#[derive(Default)]
struct Window {
    start: i64,
    bytes: Vec<u8>,
}

impl Window {
    /// Bytes read ahead at least.
    const AHEAD: usize = 1 << 20;

    /// Brings bytes of one file into the window; `false` where the log does not have them.
    fn load(&mut self, log: &CommitLog, at: i64, len: usize) -> Result<bool, StoreError> {
        if self.get(at, len).is_some() {
            return Ok(true);
        }
        if !log.contains(at, len) {
            return Ok(false);
        }
        let end = (log.file_start(at) + log.file_size()).min(log.end());
        let wanted = len.max(Self::AHEAD).min((end - at) as usize);
        match log.read_file(at, wanted)? {
            Some(bytes) => {
                self.start = at;
                self.bytes = bytes.to_vec();
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn get(&self, at: i64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(at - self.start).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}
