//! Finding the end of the log and bringing the queues in line with it, at the start.
//!
//! After a clean stop (no file `abort`) the queues are trusted: the log is read from the last
//! record any of them points to. After a kill it is read from the checkpoint's position, or if
//! another broker was here since, from the newest file that began before the checkpoint's time;
//! everything behind is entered into the queues again, and what stands in
//! the queues' files behind that is replaced. So the time this takes depends on what was not
//! flushed, not on how much is stored.
//!
//! Where records follow behind damaged bytes, those are left out and the rest is kept
//! ([`LogScan`]): unlike the reference (`CommitLog.recoverNormally`, `recoverAbnormally`), which
//! drops everything behind the first damaged byte. A message that is missing leaves its number
//! empty, so that the messages behind it keep theirs. A message with the number 0 behind others of
//! its queue begins the queue anew: its topic was deleted in between.

use std::sync::Arc;

use wire::message::delay_levels::DelayLevels;
use wire::message::record::{MIN_RECORD_SIZE, RecordRef};

use crate::checkpoint::Checkpoint;
use crate::commit_log::CommitLog;
use crate::consume_queue::{MAX_OFFSET, Queue, QueueEntry, QueueKind, QueueUnit};
use crate::dispatch::{Dispatch, dispatches};
use crate::error::StoreError;
use crate::log_scan::{self, LogItem, LogScan};
use crate::settings::StoreConfig;
use crate::store::Store;

impl CommitLog {
    /// Before which position everything was flushed.
    pub(crate) fn rebuild_from(
        &self,
        settings: &StoreConfig,
        checkpoint: Checkpoint,
    ) -> Result<i64, StoreError> {
        if let Some(position) = checkpoint.position
            && (self.begin()..=self.end()).contains(&position)
        {
            return Ok(position);
        }
        let flushed = 1..=checkpoint.recovery_timestamp();
        let files = self.files().clone();
        for start in files.into_iter().rev() {
            let first = self.message(start)?;
            let stored = first.as_deref().and_then(|bytes| {
                let record = RecordRef::parse(bytes).ok()?;
                log_scan::check(&record, start, settings).ok()?;
                Some(record.store_timestamp())
            });
            if stored.is_some_and(|stored| flushed.contains(&stored)) {
                return Ok(start);
            }
        }
        Ok(self.begin())
    }
}

/// Where to begin reading, and what to enter into the queues.
struct Plan {
    from: i64,
    /// The last record stored at this time or before, and all in front of it, were entered into
    /// the queues.
    entered_until: i64,
    /// The queues' entries from `from` on are written again.
    rebuild: bool,
    /// The queues are known from the last stop: they were in line with the log up to `from`.
    restored: bool,
}

impl Store {
    /// Recovers log and queues.
    pub(crate) fn recover(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let was_killed = self.was_killed;
        let settings = self.settings();
        self.log.load(was_killed)?;
        self.log.set_end_behind_files();
        let killed_at = if was_killed {
            Some(self.log.rebuild_from(&settings, checkpoint)?)
        } else {
            None
        };
        let restored = self.restore_queues(checkpoint)?;
        let dir_missing = self.queues.make_missing_dir()?;
        if restored.is_none() {
            self.queues.load(killed_at)?;
        }
        if self.log.files().is_empty() {
            return self.forget_queues();
        }
        let plan = match restored {
            Some(plan) => plan,
            None => self.plan(checkpoint, killed_at, dir_missing)?,
        };
        if was_killed {
            tracing::warn!(from = plan.from, "the store was not closed, recovering it");
        }
        let levels = settings.delay_levels();
        if plan.rebuild {
            for queue in &self.queues.all() {
                queue.truncate(plan.from)?;
                self.blank_torn_entries(queue, plan.from, &levels)?;
            }
        }

        // Every start has to find the same records behind damaged bytes.
        let before = match checkpoint.position {
            Some(position) if position == plan.from => checkpoint.position_timestamp,
            _ => 0,
        };
        let mut scan = LogScan::new(&self.log, &settings, plan.from).behind_record_of(before);
        // What stands in front of this position is in the queues, or was taken out of them.
        let mut entered = plan.from;
        while let Some(item) = scan.next()? {
            let (record, at) = match item {
                LogItem::Record(record, at) => (record, at),
                LogItem::Damage { from, to, fault } => {
                    tracing::warn!(from, to, %fault, "damaged bytes in the commit log are left out");
                    continue;
                }
            };
            if plan.rebuild {
                self.enter(&record, at, &levels)?;
            }
            if plan.rebuild || record.store_timestamp() <= plan.entered_until {
                entered = at + record.total_size() as i64;
            }
        }
        let end = scan.end();
        let timestamp = match scan.timestamp() {
            0 => checkpoint.log_timestamp,
            last => last,
        };
        if entered < end {
            let mut rest = LogScan::new(&self.log, &settings, entered);
            while let Some(item) = rest.next()? {
                if let LogItem::Record(record, at) = item {
                    self.enter(&record, at, &levels)?;
                }
            }
        }
        self.log.truncate(end, timestamp)?;
        self.set_flushed(plan.from.min(end));
        if !plan.restored || entered < end {
            for queue in self.queues.all() {
                self.end_queue(&queue, end, plan.rebuild || entered < end)?;
            }
        }
        if self.log.begin() > 0 {
            self.clean_queues()?;
        }
        tracing::info!(begin = self.log.begin(), end, "the commit log is ready");
        Ok(())
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
                restored: false,
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
            restored: false,
        })
    }

    /// Takes the queues as the last stop knew them, if nothing was changed since.
    fn restore_queues(&self, checkpoint: Checkpoint) -> Result<Option<Plan>, StoreError> {
        // Another broker was killed here, if anybody.
        let position = checkpoint
            .position
            .filter(|_| !self.was_killed)
            .unwrap_or(-1);
        let surroundings = self.surroundings((self.log.begin(), position));
        if !self.snapshot_file.restore(&surroundings, &self.queues)? {
            return Ok(None);
        }
        self.retention.queues_begin_at(self.log.begin());
        Ok(Some(Plan {
            from: position,
            entered_until: i64::MIN,
            rebuild: false,
            restored: true,
        }))
    }

    /// A power failure can leave entries at the end of a queue of which only a part was
    /// written. Their places stay, for the messages that are entered again from a position on.
    fn blank_torn_entries(
        &self,
        queue: &Arc<Queue>,
        from: i64,
        levels: &DelayLevels,
    ) -> Result<(), StoreError> {
        let (first, max) = queue.slots();
        let mut end = max;
        while end > first && !self.is_true_entry(queue, end - 1, from, levels)? {
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

    /// Whether the entry in a slot points to the messages that it says it has, in front of a
    /// position, as far as the log can tell.
    fn is_true_entry(
        &self,
        queue: &Queue,
        slot: i64,
        before: i64,
        levels: &DelayLevels,
    ) -> Result<bool, StoreError> {
        let Some(unit) = queue.unit(slot)?.filter(|unit| !unit.entry.is_blank()) else {
            return Ok(false);
        };
        let entry = unit.entry;
        if entry.physical_offset >= before {
            return Ok(false);
        }
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
        let mut places = dispatches(&record, entry.physical_offset, levels).into_iter();
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
        if number == queue.max_offset() && number > 0 {
            // Nearly all come in order, and then nothing has to be read.
            return self.enter_next(&queue, unit, *store_timestamp);
        }
        let begin = self.log.begin();
        let last = queue.last_entry()?;
        let all_gone = last.is_some_and(|last| !last.is_blank() && last.physical_offset < begin);
        if last.is_some_and(|last| last.is_before(&unit.entry))
            && (number == 0 || number < queue.min_offset() && all_gone)
        {
            // The log says that the topic was deleted and made anew since.
            queue.start_at(number)?;
        }
        if (queue.min_offset()..queue.max_offset()).contains(&number) {
            let points_nowhere =
                |entry: &QueueEntry| entry.is_blank() || entry.physical_offset < begin;
            let known = queue.unit_of(number)?.map(|known| known.entry);
            let known = known.filter(|known| !points_nowhere(known));
            if known.is_some_and(|known| known.physical_offset == position) {
                return Ok(());
            }
            let gives_way = match known {
                // A number is given again by a queue that was made anew, whose first messages the
                // log has lost.
                Some(known) => known.is_before(&unit.entry),
                // Nothing behind it is known either.
                None => last.as_ref().is_none_or(points_nowhere),
            };
            if !gives_way {
                tracing::warn!(
                    topic,
                    queue = queue_id,
                    number,
                    position,
                    "another message has the number, this one is left out"
                );
                return Ok(());
            }
            queue.cut(queue.slot_of(number)?)?;
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
        self.enter_next(&queue, unit, *store_timestamp)
    }

    /// Enters messages behind all others of their queue.
    fn enter_next(
        &self,
        queue: &Arc<Queue>,
        unit: &QueueUnit,
        store_timestamp: i64,
    ) -> Result<(), StoreError> {
        // Which filters it passed is not known any more, so that readers look at it.
        if queue.push(unit, store_timestamp, Vec::new()).list {
            self.list(queue);
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
            self.enter_next(queue, &blank, 0)?;
        }
        Ok(())
    }

    /// Ends a queue where the log ends. The checkpoint that is made next flushes it.
    fn end_queue(
        &self,
        queue: &Arc<Queue>,
        end: i64,
        entered_again: bool,
    ) -> Result<(), StoreError> {
        queue.write_pending()?;
        let beyond = queue
            .last_entry()?
            .is_some_and(|entry| !entry.is_blank() && entry.physical_offset >= end);
        if beyond {
            tracing::warn!(topic = %queue.topic(), queue = queue.id(), "the queue goes beyond the end of the log, ending it there");
            queue.truncate(end)?;
        }
        if beyond || entered_again {
            queue.clear_behind_end()?;
        }
        if queue.has_to_be_listed() {
            self.list(queue);
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
