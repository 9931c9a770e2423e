//! Bringing the index in line with the log, after a start or when damage shows.
//!
//! The start only looks at headers. A file is taken as it is if the store was closed, or if it
//! was finished before the checkpoint's time for the index. Of any other file the slots are made
//! again from the entries, as far as those follow from each other and have the keys of the records
//! that they point to: a power failure can leave a part of an entry. That is
//! done by the first step of the thread that follows the log, or the first question. What is
//! missing then is entered again from the log, which costs more, but nothing is lost. (The
//! reference removes each file that was not finished, and what the log had in front of where its
//! recovery begins is not found any more: `IndexService.load`.)

use std::path::Path;
use std::sync::atomic::Ordering;

use super::file::{ENTRY_SIZE, Entry, Header, Tail};
use super::follow::Reader;
use super::{Index, IndexFile, State, keys};
use crate::commit_log::CommitLog;
use crate::disk::{Disk, OpenMode};
use crate::error::StoreError;
use crate::files;
use crate::settings::StoreConfig;

/// Digits of a file's name.
const NAME_DIGITS: usize = 17;
/// Entries read at a time.
const AT_A_TIME: usize = 4096;

/// The names of the index files in a directory, in order.
pub(crate) fn names(disk: &dyn Disk, dir: &Path) -> Result<Vec<i64>, StoreError> {
    let is_name =
        |name: &str| name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    let mut names: Vec<i64> = files::entries(disk, dir)?
        .iter()
        .filter(|entry| !entry.is_dir && is_name(&entry.name))
        .filter_map(|entry| entry.name.parse().ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

impl Index {
    /// Finds the files. Those that cannot be of this log and these settings are removed, with all
    /// behind them.
    pub(crate) fn load(
        &self,
        (log_end, log_timestamp): (i64, i64),
        flushed_timestamp: i64,
        was_killed: bool,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.trusted_from = log_end;
        let mut names = names(&*self.files.disk, &self.files.dir)?.into_iter();
        let layout = &self.files.layout;
        for name in names.by_ref() {
            let before = state.files.last().map(|last| last.header);
            let header = self.header(name)?.filter(|header| {
                let follows = before.is_none_or(|before| {
                    before.is_full(layout) && before.end_offset <= header.begin_offset
                });
                follows && header.count > 1 && header.begin_offset < log_end
            });
            let Some(header) = header else {
                tracing::warn!(file = %self.files.path(name).display(), "an index file is empty, damaged, or of another log or other settings; it is made anew");
                self.files.remove(name)?;
                state.names_changed = true;
                break;
            };
            let ended = header.end_timestamp;
            // Of several that ended at the same time, the first is surely flushed.
            let flushed = header.is_full(layout)
                && (ended < flushed_timestamp
                    || (ended == flushed_timestamp
                        && before.is_none_or(|before| before.end_timestamp < ended)));
            let sound = (flushed || !was_killed) && header.end_offset < log_end;
            state.files.push(IndexFile {
                name,
                header,
                sound,
            });
        }
        for name in names {
            self.files.remove(name)?;
        }
        // The log may get other messages where these files say theirs are, so they must not come
        // back.
        self.flush_names(&mut state)?;
        let flushed = state
            .files
            .iter()
            .take_while(|file| file.sound && file.header.is_full(layout));
        let timestamp = flushed.last().map_or(0, |file| file.header.end_timestamp);
        // Messages of the log's last time and later are still to come.
        let timestamp = timestamp.min(log_timestamp - 1).max(0);
        self.flushed_timestamp.store(timestamp, Ordering::Release);
        Ok(())
    }

    /// The header of a file that has the right length, if it is possible.
    fn header(&self, name: i64) -> Result<Option<Header>, StoreError> {
        let path = self.files.path(name);
        let failed = |error| StoreError::io("read", &path, error);
        let file = self
            .files
            .disk
            .open(&path, OpenMode::Read)
            .map_err(failed)?;
        if file.len().map_err(failed)? != self.files.layout.len() {
            return Ok(None);
        }
        let header = Header::read(&*file).map_err(failed)?;
        Ok(header.filter(|header| header.fits(&self.files.layout)))
    }

    /// Makes all files sound and finds where to go on in the log.
    pub(super) fn recover(
        &self,
        state: &mut State,
        log: &CommitLog,
        settings: &StoreConfig,
    ) -> Result<(), StoreError> {
        let mut at = 0;
        while let Some(file) = state.files.get(at) {
            if self.misses_keys(state, at, log, settings)? {
                tracing::warn!(file = %self.files.path(file.name).display(), "keys in front of an index file are missing, making the index anew from there");
                self.remove_from(state, at)?;
            } else if !file.sound || !self.agrees(state, file, log, settings)? {
                self.make_sound(state, at, log, settings)?;
            }
            at += 1;
        }
        self.flush_names(state)?;
        if self.resume(state, log, settings)?.is_none() {
            tracing::warn!("the index does not fit the log, making it anew");
            self.remove_from(state, 0)?;
            self.flush_names(state)?;
            state.position = log.begin();
            state.entered = 0;
        }
        Ok(())
    }

    /// Whether messages with keys lie between a file and the one before it, or the log's begin.
    fn misses_keys(
        &self,
        state: &State,
        at: usize,
        log: &CommitLog,
        settings: &StoreConfig,
    ) -> Result<bool, StoreError> {
        let Some(file) = state.files.get(at).filter(|_| self.enabled) else {
            return Ok(false);
        };
        let mut reader = Reader::default();
        let mut position = log.begin();
        let before = at.checked_sub(1).and_then(|before| state.files.get(before));
        if let Some(before) = before.filter(|before| before.header.end_offset >= position) {
            let ended = before.header.end_offset;
            (_, position) = reader.next(log, settings, ended, log.end())?;
        }
        while position < file.header.begin_offset {
            let (record, next) = reader.next(log, settings, position, log.end())?;
            let keyless = record.is_none_or(|record| keys::each_hash(&record, Err).is_ok());
            if !keyless {
                return Ok(true);
            }
            position = next;
        }
        Ok(false)
    }

    /// Whether a file's header agrees with its first and last entry and their messages.
    fn agrees(
        &self,
        state: &State,
        file: &IndexFile,
        log: &CommitLog,
        settings: &StoreConfig,
    ) -> Result<bool, StoreError> {
        let header = &file.header;
        let mut entries = self.entries(state, file)?;
        for (number, offset, timestamp) in [
            (1, header.begin_offset, header.begin_timestamp),
            (header.count - 1, header.end_offset, header.end_timestamp),
        ] {
            let entry = entries.get(number)?;
            let stored = timestamp_at(log, settings, offset)?;
            if entry.is_none_or(|entry| entry.offset != offset)
                || stored.is_some_and(|stored| stored != timestamp)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn remove_from(&self, state: &mut State, at: usize) -> Result<(), StoreError> {
        while let Some(last) = state.files.get(at..).and_then(<[_]>::last) {
            self.files.remove(last.name)?;
            state.files.pop();
            state.tail = None;
            state.names_changed = true;
        }
        Ok(())
    }

    /// Makes a file's slots again from its entries. Entries that cannot be right end it, and then
    /// it is the last one.
    fn make_sound(
        &self,
        state: &mut State,
        at: usize,
        log: &CommitLog,
        settings: &StoreConfig,
    ) -> Result<(), StoreError> {
        let (Some(file), last) = (state.files.get_mut(at), at + 1) else {
            return Ok(());
        };
        let (header, mut tail) = self.rebuild(file, log, settings)?;
        let whole = header.count == file.header.count;
        if !whole {
            tracing::warn!(
                file = %self.files.path(file.name).display(),
                kept = header.count - 1,
                of = file.header.count - 1,
                "an index file ends in entries that were lost, they are made anew"
            );
        }
        file.header = header;
        file.sound = true;
        if header.count <= 1 {
            return self.remove_from(state, at);
        }
        if !whole {
            self.remove_from(state, last)?;
        }
        if last < state.files.len() {
            tail.finish(&header)
        } else {
            state.tail = Some(tail);
            Ok(())
        }
    }

    /// The file as its entries show it.
    fn rebuild(
        &self,
        file: &IndexFile,
        log: &CommitLog,
        settings: &StoreConfig,
    ) -> Result<(Header, Tail), StoreError> {
        let layout = self.files.layout;
        let path = self.files.path(file.name);
        let failed = |error| StoreError::io("read", &path, error);
        let handle = files::create(&*self.files.disk, &path, layout.len())?;
        let mut tail = Tail::new(handle.clone(), path.clone(), layout);
        let mut header = Header {
            end_offset: file.header.begin_offset,
            slots_used: 0,
            count: 1,
            ..file.header
        };
        let mut buffer = vec![0; AT_A_TIME * ENTRY_SIZE];
        let mut expected = Expected::default();
        let mut seconds = 0;
        'file: while header.count < file.header.count {
            let at = layout.entry_at(header.count);
            let read = handle.read_at(&mut buffer, at).map_err(failed)?;
            let (entries, _) = buffer.get(..read).unwrap_or_default().as_chunks();
            if entries.is_empty() {
                break;
            }
            for entry in entries.iter().map(Entry::decode) {
                if header.count == file.header.count {
                    break;
                }
                let first = header.count == 1;
                let in_order = entry.offset >= header.end_offset && entry.offset < log.end();
                if entry.hash < 0
                    || entry.seconds < 0
                    || !in_order
                    || (first && entry.offset != header.begin_offset)
                    || tail.slot(layout.slot_of(entry.hash)) != entry.previous
                    || !expected.has(log, settings, &entry)?
                {
                    break 'file;
                }
                tail.set_slot(layout.slot_of(entry.hash), header.count);
                header.slots_used += i32::from(entry.previous == 0);
                header.end_offset = entry.offset;
                header.count += 1;
                seconds = entry.seconds;
            }
        }
        let (begin, end) = (header.begin_offset, header.end_offset);
        if let Some(stored) = timestamp_at(log, settings, begin)? {
            header.begin_timestamp = stored;
        }
        header.end_timestamp = match timestamp_at(log, settings, end)? {
            Some(stored) => stored,
            None => header.begin_timestamp + i64::from(seconds) * 1000,
        };
        if header.count < file.header.count {
            // What stands behind must never be taken for entries again.
            handle
                .set_len(layout.entry_at(header.count))
                .and_then(|()| handle.set_len(layout.len()))
                .and_then(|()| handle.sync_data())
                .map_err(|error| StoreError::io("clear", &path, error))?;
        }
        tail.rebuilt(&header);
        Ok((header, tail))
    }

    /// Finds the record to go on with, and which of its keys are entered; `None` if the record is
    /// another one than the index has.
    fn resume(
        &self,
        state: &mut State,
        log: &CommitLog,
        settings: &StoreConfig,
    ) -> Result<Option<()>, StoreError> {
        state.entered = 0;
        let end_offset = state.files.last().map(|last| last.header.end_offset);
        state.position = end_offset.unwrap_or(0).max(log.begin());
        if end_offset != Some(state.position) {
            return Ok(Some(()));
        }
        let known = self.last_hashes(state)?;
        let mut reader = Reader::default();
        let (record, _) = reader.next(log, settings, state.position, log.end())?;
        let Some(record) = record else {
            // It is lost, and the log goes on behind it.
            return Ok(Some(()));
        };
        let mut hashes = Vec::new();
        keys::gather_hashes(&record, &mut hashes);
        state.entered = known.len();
        Ok(hashes.starts_with(&known).then_some(()))
    }

    /// The hashes of the last message in the index, in order.
    fn last_hashes(&self, state: &State) -> Result<Vec<i32>, StoreError> {
        let mut hashes = Vec::new();
        let position = state.position;
        'files: for file in state.files.iter().rev() {
            let mut entries = self.entries(state, file)?;
            for number in (1..file.header.count).rev() {
                match entries.get(number)? {
                    Some(entry) if entry.offset == position => hashes.push(entry.hash),
                    _ => break 'files,
                }
            }
        }
        hashes.reverse();
        Ok(hashes)
    }
}

/// The keys that come next, as the log has them.
#[derive(Default)]
struct Expected {
    reader: Reader,
    /// Position of the record that the hashes are of; `None` before the first entry.
    at: Option<i64>,
    hashes: Vec<i32>,
    /// How many of them were met.
    met: usize,
    /// Where the log goes on behind that record.
    next: i64,
}

impl Expected {
    /// Whether an entry is the next one; any can be whose record lies in front of the log.
    fn has(
        &mut self,
        log: &CommitLog,
        settings: &StoreConfig,
        entry: &Entry,
    ) -> Result<bool, StoreError> {
        let begin = log.begin();
        if entry.offset < begin {
            (self.at, self.next) = (Some(entry.offset), begin);
            return Ok(true);
        }
        if self.at.is_none() {
            // A file may begin in the middle of a record's keys.
            self.read(log, settings, entry.offset)?;
            let ahead = self.hashes.iter().position(|hash| *hash == entry.hash);
            self.met = ahead.unwrap_or(0);
        }
        while self.met == self.hashes.len() && self.next <= entry.offset {
            self.read(log, settings, self.next)?;
        }
        let is_next =
            self.at == Some(entry.offset) && self.hashes.get(self.met) == Some(&entry.hash);
        self.met += 1;
        Ok(is_next)
    }

    /// Reads the record at a position, if one is there.
    fn read(&mut self, log: &CommitLog, settings: &StoreConfig, at: i64) -> Result<(), StoreError> {
        self.at = Some(at);
        self.met = 0;
        self.hashes.clear();
        let (record, next) = self.reader.next(log, settings, at, log.end())?;
        self.next = next;
        if let Some(record) = record {
            keys::gather_hashes(&record, &mut self.hashes);
        }
        Ok(())
    }
}

/// When the message at a position was stored; `None` where none is.
fn timestamp_at(
    log: &CommitLog,
    settings: &StoreConfig,
    position: i64,
) -> Result<Option<i64>, StoreError> {
    if !(log.begin()..log.end()).contains(&position) {
        return Ok(None);
    }
    let mut reader = Reader::default();
    let (record, _) = reader.next(log, settings, position, log.end())?;
    Ok(record.map(|record| record.store_timestamp()))
}
