//! The index by key beside the log: its entries stand in the order of the log, so both are read
//! once.

use wire::message::record::RecordRef;

use super::verify::Verify;
use super::{IndexEntries, OfflineIndexFile, Severity};
use crate::error::StoreError;
use crate::index::{Entry, Header, Layout, gather_hashes, i32_at, names};

/// Compares index entries with the keys of the records that they point to.
pub(super) struct IndexCheck {
    layout: Layout,
    /// Names of the files that are still to be read, the next one last.
    rest: Vec<i64>,
    reading: Option<Reading>,
    /// The entry that comes next.
    next: Option<Entry>,
    /// Store timestamp of the last entry of the file before.
    before: i64,
    /// An entry was met.
    begun: bool,
    /// Keys of records behind the last entry.
    behind: u64,
    /// There is an index.
    exists: bool,
}

/// A file whose entries are being read.
struct Reading {
    file: OfflineIndexFile,
    header: Header,
    entries: IndexEntries,
    /// Number of the entry that was read last.
    number: i32,
    /// The newest entry in each slot.
    slots: Vec<i32>,
}

impl IndexCheck {
    pub(super) fn new(verify: &Verify<'_>) -> Result<IndexCheck, StoreError> {
        let store = verify.store;
        let mut rest = names(&*store.disk, &store.index_dir())?;
        rest.reverse();
        Ok(IndexCheck {
            layout: store.settings.index_layout(),
            exists: !rest.is_empty(),
            rest,
            reading: None,
            next: None,
            before: 0,
            begun: false,
            behind: 0,
        })
    }

    /// Compares the keys of a record with the entries that point to it.
    pub(super) fn record(
        &mut self,
        verify: &mut Verify<'_>,
        record: &RecordRef<'_>,
        at: i64,
    ) -> Result<(), StoreError> {
        if !self.exists {
            return Ok(());
        }
        let begin = verify.store.log.begin();
        while let Some(entry) = self.peek(verify)?.filter(|entry| entry.offset < at) {
            if entry.offset >= begin {
                let what = format!("it points to {}, where no record begins", entry.offset);
                self.wrong(verify, what);
            }
            self.next = None;
        }
        let mut hashes = Vec::new();
        gather_hashes(record, &mut hashes);
        let timestamp = record.store_timestamp();
        let mut missing = hashes.len();
        while let Some(entry) = self.peek(verify)?.filter(|entry| entry.offset == at) {
            if !hashes.contains(&entry.hash) {
                let what = format!("no key of the record at {at} has its hash");
                self.wrong(verify, what);
            } else {
                missing = missing.saturating_sub(1);
                self.check_time(verify, &entry, timestamp);
            }
            self.next = None;
        }
        if missing > 0 && self.begun {
            if self.peek(verify)?.is_some() {
                let what = format!("{missing} keys of the record have no entry in the index");
                let place = verify.log_place(at);
                verify.found(Severity::Damage, place, what);
            } else {
                self.behind += missing as u64;
            }
        }
        Ok(())
    }

    /// What is left when the log has been read.
    pub(super) fn finish(&mut self, verify: &mut Verify<'_>) -> Result<(), StoreError> {
        while let Some(entry) = self.peek(verify)? {
            let what = format!("it points to {}, behind the end of the log", entry.offset);
            self.wrong(verify, what);
            self.next = None;
        }
        if self.behind > 0 {
            let what = format!(
                "{} keys are behind its last entry; the next start enters them",
                self.behind
            );
            let dir = verify.store.index_dir();
            let place = verify.file(&dir, None);
            verify.found(Severity::Note, place, what);
        }
        Ok(())
    }

    /// The next entry; checks its chain and, behind the last one, the slots of its file.
    fn peek(&mut self, verify: &mut Verify<'_>) -> Result<Option<Entry>, StoreError> {
        while self.next.is_none() {
            let Some(reading) = &mut self.reading else {
                let Some(name) = self.rest.pop() else {
                    return Ok(None);
                };
                if let Some(file) = OfflineIndexFile::open(verify.store, name)? {
                    self.begin(verify, file);
                }
                continue;
            };
            let Some((number, entry)) = reading.entries.next().transpose()? else {
                self.before = reading.header.end_timestamp;
                let stale = verify.killed && self.rest.is_empty();
                let differs = !stale && reading.slots_differ()?;
                let place = verify.file(&reading.file.path, None);
                self.reading = None;
                if differs {
                    let what = "slots do not name the newest entries, so that keys are not found";
                    verify.found(Severity::Damage, place, what);
                }
                continue;
            };
            self.begun = true;
            verify.verified.index_entries += 1;
            self.next = Some(entry);
            let slot = self.layout.slot_of(entry.hash.max(0));
            let newest = reading.slots.get_mut(slot);
            let newest = newest.map(|newest| std::mem::replace(newest, number));
            reading.number = number;
            if entry.hash < 0 || newest != Some(entry.previous) {
                let what = "its chain does not lead to the entry before it in its slot";
                self.wrong(verify, what.to_owned());
            }
        }
        Ok(self.next)
    }

    fn begin(&mut self, verify: &mut Verify<'_>, file: OfflineIndexFile) {
        let Some(header) = file.header() else {
            let (len, right) = (file.len(), self.layout.len());
            let what = if len == right {
                "its header cannot be so".to_owned()
            } else {
                format!("it is {len} bytes long instead of {right} (maxHashSlotNum, maxIndexNum)")
            };
            verify.found(Severity::Damage, verify.file(&file.path, None), what);
            return;
        };
        self.reading = Some(Reading {
            entries: file.entries(),
            file,
            header,
            number: 0,
            slots: vec![0; self.layout.slots],
        });
    }

    fn check_time(&self, verify: &mut Verify<'_>, entry: &Entry, timestamp: i64) {
        let Some(reading) = &self.reading else {
            return;
        };
        // The first entry counts from where the file before ended.
        let begin = match reading.number {
            1 => self.before,
            _ => reading.header.begin_timestamp,
        };
        let seconds = match begin {
            1.. => ((timestamp - begin) / 1000).clamp(0, i64::from(i32::MAX)),
            _ => 0,
        };
        // Which file was before a first one that is gone, nobody knows.
        if i64::from(entry.seconds) != seconds && (reading.number > 1 || self.before > 0) {
            let what = format!("its time is {} s instead of {seconds} s", entry.seconds);
            self.wrong(verify, what);
        }
    }

    /// Reports the entry that was read last.
    fn wrong(&self, verify: &mut Verify<'_>, what: String) {
        if let Some(reading) = &self.reading {
            let at = self.layout.entry_at(reading.number);
            let place = verify.file(&reading.file.path, Some(at));
            verify.found(Severity::Damage, place, what);
        }
    }
}

impl Reading {
    /// Whether the slots in the file are others than its entries make them.
    fn slots_differ(&self) -> Result<bool, StoreError> {
        let mut bytes = vec![0; 1 << 16];
        for (index, slots) in self.slots.chunks(bytes.len() / 4).enumerate() {
            let part = bytes.get_mut(..slots.len() * 4).unwrap_or_default();
            let first = index * ((1 << 16) / 4);
            let OfflineIndexFile {
                path, file, layout, ..
            } = &self.file;
            file.read_at(part, layout.slot_at(first))
                .map_err(|error| StoreError::io("read", path, error))?;
            let same = |(place, slot): (usize, &i32)| i32_at(part, place * 4) == *slot;
            if !slots.iter().enumerate().all(same) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
