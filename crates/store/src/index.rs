//! The index: where the messages with a key are.
//!
//! Files in `index`, each named after the local time at which it was made, as
//! `yyyyMMddHHmmssSSS`. Integers are big-endian and signed (`IndexFile`, `IndexHeader`); `S` is
//! `maxHashSlotNum`, `N` is `maxIndexNum`:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | store timestamp of the first entry's message, milliseconds since 1970 |
//! | 8 | 8 | store timestamp of the last entry's message |
//! | 16 | 8 | physical offset of the first entry's message |
//! | 24 | 8 | physical offset of the last entry's message |
//! | 32 | 4 | slots in use |
//! | 36 | 4 | number of the next entry; the first has number 1 |
//! | 40 | 4 `S` | slots: number of the newest entry in each, 0 for none |
//! | 40 + 4 `S` | 20 `N` | entries; entry `n` is at 40 + 4 `S` + 20 `n`, and the first place stays empty |
//!
//! An entry:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | hash of the key; modulo `S` it is the entry's slot |
//! | 4 | 8 | physical offset of the message |
//! | 12 | 4 | seconds from the file's first timestamp to the message's, 0 to 2147483647 |
//! | 16 | 4 | number of the entry before this one in its slot, 0 for none |
//!
//! The hash is the absolute value of Java's `String.hashCode` of `TOPIC#KEY`, or of `TOPIC#T#TAG`
//! for the tag; 0 where there is no absolute value. A message has an entry for its unique id, each
//! of its keys, and its tag (`IndexService.buildIndex`). A new file begins with the timestamps and
//! offsets at which the one before ended, and its first entry counts its seconds from there. A
//! file is full with number `N` next; all but the last are.
//!
//! The index follows the log: what was appended is entered soon afterwards by a thread of its own,
//! and before any question is answered. It needs nothing but the log to be made, so appending
//! knows nothing of it, and whatever is missing or damaged is made again (`recovery`).

mod file;
mod follow;
mod keys;
mod layout;
mod query;
mod recovery;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use wire::calendar;

use self::file::Tail;
use self::follow::Reader;
use crate::clock::Clock;
use crate::disk::{Disk, File};
use crate::error::StoreError;
use crate::files::{self, OpenFiles};
use crate::settings::StoreConfig;

pub(crate) use file::{ENTRY_SIZE, i32_at};
pub use file::{Entry, Header};
pub use keys::Key;
pub(crate) use keys::gather_hashes;
pub(crate) use layout::Layout;
pub use query::{Query, QueryResult};
pub(crate) use recovery::names;

/// Number of the index among the sequences of files; the log has 0, and queues count from 1.
const NUMBER: u64 = u64::MAX;

pub(crate) struct Index {
    files: IndexFiles,
    clock: Arc<dyn Clock>,
    /// Whether messages are entered.
    enabled: bool,
    state: Mutex<State>,
    /// Store timestamp of the last entry in files that are finished and flushed.
    flushed_timestamp: AtomicI64,
    /// The earliest time that the clock went back to.
    clock_back_to: AtomicI64,
}

/// What all files of the index share.
struct IndexFiles {
    disk: Arc<dyn Disk>,
    open: Arc<OpenFiles>,
    dir: PathBuf,
    layout: Layout,
}

/// A file of the index.
struct IndexFile {
    /// Its name, a number of 17 digits.
    name: i64,
    header: Header,
    /// Whether header, slots and entries agree, as far as is known.
    sound: bool,
}

#[derive(Default)]
struct State {
    /// In the order of their names.
    files: Vec<IndexFile>,
    /// The last file, once something is to be added to it.
    tail: Option<Tail>,
    /// The files were brought in line with the log.
    recovered: bool,
    /// All records in front of this position are entered.
    position: i64,
    /// Keys of the record at the position that are entered already.
    entered: usize,
    /// Where the log ended at the start; what is behind was appended since.
    trusted_from: i64,
    reader: Reader,
    /// Files were made since the directory was flushed.
    names_changed: bool,
    /// The last attempt to go on failed, and that was told.
    failing: bool,
}

impl IndexFiles {
    fn path(&self, name: i64) -> PathBuf {
        self.dir.join(file_name(name))
    }

    /// The open file; `None` where it is gone.
    fn open(&self, name: i64) -> Result<Option<Arc<dyn File>>, StoreError> {
        self.open.get((NUMBER, name), || self.path(name))
    }

    fn remove(&self, name: i64) -> Result<(), StoreError> {
        self.open.forget((NUMBER, name));
        files::remove(&*self.disk, &self.path(name))
    }

    fn sync_dir(&self) -> Result<(), StoreError> {
        let synced = self.disk.sync_dir(&self.dir);
        synced.map_err(|error| StoreError::io("flush the directory", &self.dir, error))
    }
}

impl Index {
    /// The index of a data directory, without looking at it.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        open: Arc<OpenFiles>,
        clock: Arc<dyn Clock>,
        settings: &StoreConfig,
    ) -> Index {
        Index {
            files: IndexFiles {
                disk,
                open,
                dir: settings.root().join("index"),
                layout: settings.index_layout(),
            },
            clock,
            enabled: settings.message_index_enable,
            state: Mutex::default(),
            flushed_timestamp: AtomicI64::new(0),
            clock_back_to: AtomicI64::new(i64::MAX),
        }
    }

    /// What the checkpoint has to say about the index. No message that is still to be entered was
    /// stored before.
    pub(crate) fn flushed_timestamp(&self) -> i64 {
        let back_to = self.clock_back_to.load(Ordering::Acquire);
        let flushed = self.flushed_timestamp.load(Ordering::Acquire);
        flushed.min(back_to - 1).max(0)
    }

    /// Notes that messages with an earlier time follow. Under the log's lock.
    pub(crate) fn clock_went_back(&self, now: i64) {
        self.clock_back_to.fetch_min(now, Ordering::AcqRel);
    }

    /// Removes the files whose messages all lie in front of a position, but never the last file
    /// (`IndexService.deleteExpiredFile`).
    pub(crate) fn forget_before(&self, position: i64) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        while let [first, _, ..] = state.files.as_slice() {
            if first.header.end_offset >= position {
                break;
            }
            self.files.remove(first.name)?;
            state.files.remove(0);
        }
        Ok(())
    }

    /// Flushes what is written. The slots of the last file are not: recovery can do without.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if let Some(tail) = &mut state.tail {
            tail.flush()?;
        }
        self.flush_names(&mut state)
    }

    /// Writes and flushes everything, so that all files can be trusted from now on.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        let State { files, tail, .. } = &mut *state;
        if let (Some(last), Some(tail)) = (files.last(), tail) {
            tail.finish(&last.header)?;
        }
        self.flush_names(&mut state)
    }

    fn flush_names(&self, state: &mut State) -> Result<(), StoreError> {
        if state.names_changed {
            self.files.sync_dir()?;
            state.names_changed = false;
        }
        Ok(())
    }

    /// Adds a key of the message at a position.
    fn add(
        &self,
        state: &mut State,
        hash: i32,
        offset: i64,
        timestamp: i64,
    ) -> Result<(), StoreError> {
        let layout = &self.files.layout;
        if state
            .files
            .last()
            .is_none_or(|last| last.header.is_full(layout))
        {
            self.begin_file(state)?;
        }
        let Some(last) = state.files.last_mut() else {
            return Ok(());
        };
        if state.tail.is_none() {
            let path = self.files.path(last.name);
            let file = files::create(&*self.files.disk, &path, layout.len())?;
            let mut tail = Tail::new(file, path, *layout);
            tail.load(&last.header)?;
            state.tail = Some(tail);
        }
        if let Some(tail) = &mut state.tail {
            tail.add(&mut last.header, hash, offset, timestamp);
        }
        Ok(())
    }

    /// Finishes the last file and makes the next one.
    fn begin_file(&self, state: &mut State) -> Result<(), StoreError> {
        let last = state.files.last();
        if let (Some(last), Some(tail)) = (last, &mut state.tail) {
            tail.finish(&last.header)?;
            self.flushed_timestamp
                .store(last.header.end_timestamp, Ordering::Release);
        }
        // A file whose name is lost must not have one behind it.
        self.flush_names(state)?;
        files::create_dir(&*self.files.disk, &self.files.dir)?;
        let last = state.files.last();
        let now = self.clock.now_millis() + i64::from(self.clock.utc_offset_seconds()) * 1000;
        let name = last.map_or(0, |last| last.name + 1).max(name_of(now));
        let path = self.files.path(name);
        let file = files::create(&*self.files.disk, &path, self.files.layout.len())?;
        self.files.open.put((NUMBER, name), Arc::clone(&file));
        let header = Header::behind(last.map(|last| &last.header));
        state.tail = Some(Tail::new(file, path, self.files.layout));
        state.files.push(IndexFile {
            name,
            header,
            sound: true,
        });
        state.names_changed = true;
        Ok(())
    }
}

/// A file's name in its directory.
pub(crate) fn file_name(name: i64) -> String {
    format!("{name:017}")
}

/// The name of a file made at a local time in milliseconds: the time's digits
/// (`UtilAll.timeMillisToHumanString`).
fn name_of(local_millis: i64) -> i64 {
    let (year, month, day) = calendar::date(local_millis.div_euclid(86_400_000));
    let rest = local_millis.rem_euclid(86_400_000);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let date = (year * 100 + month) * 100 + day;
    ((date * 100 + hour) * 100 + minute) * 100_000 + rest % 60_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_digits_of_the_time() {
        assert_eq!(name_of(1_795_259_982_025), 20_261_121_111_942_025);
        assert_eq!(name_of(0), 19_700_101_000_000_000);
    }
}
