//! The timer's wheel and log against each other and against the records.

use std::path::Path;

use wire::message::names::TIMER_TOPIC;
use wire::message::record::RecordRef;

use super::Severity;
use super::verify::Verify;
use crate::disk::OpenMode;
use crate::error::StoreError;
use crate::files;
use crate::timer_log::{TIMER_ENTRY_SIZE, TimerEntry, TimerItem, TimerLog};
use crate::timer_wheel::{self, TIMER_SLOT_SIZE, TimerSlot, WHEEL_SLOTS};

impl Verify<'_> {
    pub(super) fn timer(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let root = store.settings.root();
        let mut log = store.timer_log()?;
        let checkpoint = store.timer_checkpoint()?.unwrap_or_default();
        let len = log.file_size().max(1);
        let files = log.files().to_vec();
        self.lengths(&files, len, "mappedFileSizeTimerLog", |start| {
            log.place(start).0
        });
        let end = self.timer_log(&mut log)?;
        if checkpoint.flushed > end {
            let place = self.file(&store.settings.config_dir().join("timercheck"), Some(8));
            let what = format!(
                "it says that the timer log is on the disk up to position {}, but that ends at {end}",
                checkpoint.flushed
            );
            self.found(Severity::Damage, place, what);
        }
        let path = root.join("timerwheel");
        let Some(file) = files::open(&*store.disk, &path, OpenMode::Read)? else {
            if end > 0 {
                let place = self.file(&path, None);
                self.found(
                    Severity::Damage,
                    place,
                    "the file is missing, but there is a timer log",
                );
            }
            return Ok(());
        };
        let failed = |error| StoreError::io("read", &path, error);
        let expected = WHEEL_SLOTS * TIMER_SLOT_SIZE as u64;
        let len = file.len().map_err(failed)?;
        if len != expected {
            let what = format!("the file is {len} bytes long instead of {expected}");
            self.found(Severity::Damage, self.file(&path, None), what);
        }
        for slot in timer_wheel::used_slots(file) {
            let (index, slot) = slot.map_err(failed)?;
            self.timer_slot(&path, index, &slot, &mut log, checkpoint.read_timestamp)?;
        }
        Ok(())
    }

    /// Reads the timer log from its begin to its end, which is returned.
    fn timer_log(&mut self, log: &mut TimerLog) -> Result<i64, StoreError> {
        let Some(last) = log.files().last().map(|file| log.next_file(file.start)) else {
            return Ok(0);
        };
        let mut position = log.files().first().map_or(0, |file| file.start);
        let mut end = position;
        while position < last {
            match log.look(position)? {
                TimerItem::Entry(entry) => {
                    self.verified.timer_entries += 1;
                    self.timer_entry(log, position, &entry)?;
                    position += TIMER_ENTRY_SIZE as i64;
                    end = position;
                }
                TimerItem::Blank => {
                    position = log.next_file(position);
                    end = position;
                }
                TimerItem::Unwritten => position = log.next_file(position),
                TimerItem::Damaged => {
                    let (path, at) = log.place(position);
                    let place = self.file(&path, Some(at));
                    let severity = Self::unless(self.killed);
                    self.found(
                        severity,
                        place,
                        "there is neither an entry nor a blank here",
                    );
                    position += TIMER_ENTRY_SIZE as i64;
                }
            }
        }
        Ok(end)
    }

    /// An entry of the timer log against its record.
    fn timer_entry(
        &mut self,
        log: &TimerLog,
        position: i64,
        entry: &TimerEntry,
    ) -> Result<(), StoreError> {
        let store = self.store;
        let what = if entry.previous >= position || entry.previous < -1 {
            Some(format!(
                "the entry before is said to be at {}, which is not before this one",
                entry.previous
            ))
        } else if entry.physical_offset < store.log.begin() {
            None
        } else {
            let bytes = store.record(entry.physical_offset)?;
            let record = bytes
                .as_deref()
                .and_then(|bytes| RecordRef::parse(bytes).ok());
            let physical = entry.physical_offset;
            match record {
                None => Some(format!("no whole record is at position {physical}")),
                Some(record) if record.topic() != TIMER_TOPIC => Some(format!(
                    "the record at position {physical} is a message of {}, not of the timer",
                    record.topic()
                )),
                Some(record) if record.total_size() as i64 != i64::from(entry.size) => {
                    Some(format!(
                        "the entry says {} bytes, but the record at position {physical} has {}",
                        entry.size,
                        record.total_size()
                    ))
                }
                Some(_) => None,
            }
        };
        if let Some(what) = what {
            let (path, at) = log.place(position);
            self.found(Severity::Damage, self.file(&path, Some(at)), what);
        }
        Ok(())
    }

    /// A slot of the wheel against its entries. What was delivered is not looked into.
    fn timer_slot(
        &mut self,
        path: &Path,
        index: u64,
        slot: &TimerSlot,
        log: &mut TimerLog,
        read_timestamp: i64,
    ) -> Result<(), StoreError> {
        let place = self.file(path, Some(index * TIMER_SLOT_SIZE as u64));
        if slot.time.rem_euclid(WHEEL_SLOTS as i64) as u64 != index {
            let what = format!("the slot's time, {}, belongs into another slot", slot.time);
            self.found(Severity::Damage, place, what);
            return Ok(());
        }
        let precision = i64::from(self.store.settings.timer_precision_ms);
        let read = read_timestamp / precision;
        if slot.time < read {
            return Ok(());
        }
        let begin = log.files().first().map_or(0, |file| file.start);
        let (mut count, mut first) = (0, -1);
        for entry in log.chain(slot.last) {
            let what = match entry? {
                Ok((position, entry)) if entry.due() / precision == slot.time => {
                    let takes_back = entry.magic & TimerEntry::TAKES_BACK != 0;
                    count += if takes_back { -1 } else { 1 };
                    first = position;
                    continue;
                }
                Ok((position, entry)) => format!(
                    "the entry at position {position} of the timer log is due at {}, not at {}",
                    entry.due(),
                    slot.time.saturating_mul(precision)
                ),
                // The front of the timer log has been removed.
                Err(position) if (0..begin).contains(&position) => return Ok(()),
                Err(position) => {
                    format!("there is no entry at position {position} of the timer log")
                }
            };
            self.found(Severity::Damage, place, what);
            return Ok(());
        }
        if slot.first != first {
            let what = format!(
                "the slot says that its first entry is at position {} of the timer log, but it is at {first}",
                slot.first
            );
            self.found(Severity::Damage, place, what);
        } else if slot.count != count {
            let what = format!("the slot counts {} messages, but has {count}", slot.count);
            self.found(Severity::Damage, place, what);
        }
        Ok(())
    }
}
