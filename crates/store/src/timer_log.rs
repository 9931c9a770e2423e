//! `timerlog`: the messages with a time of their own, in the order in which they were taken over
//! from their queue; the entries of one moment form a chain that begins in its slot of the
//! [wheel](crate::timer_wheel).
//!
//! Files of `mappedFileSizeTimerLog` bytes ([`files`]) with entries of 52 bytes; integers are
//! big-endian and signed (`TimerLog`, `TimerMessageStore.doEnqueue`):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | size: 52 |
//! | 4 | 8 | previous: position in this log of the moment's entry before; -1 for its first |
//! | 12 | 4 | magic: bits 1 message, 2 due later than the wheel reaches, 4 takes another one back |
//! | 16 | 8 | written: when the message was taken over, milliseconds since 1970 |
//! | 24 | 4 | delay: milliseconds from then until it is due |
//! | 28 | 8 | physical offset of the message's record in the commit log |
//! | 36 | 4 | size of the record |
//! | 40 | 4 | hash of the topic that it is for |
//! | 44 | 8 | 0 |
//!
//! Where an entry does not fit with 16 bytes to spare, the rest of the file is a blank: 4 bytes its
//! size, 8 bytes 0, 4 bytes magic `0xCBD43194`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use wire::message::record::BLANK_MAGIC;

use crate::disk::{Disk, File, OpenMode};
use crate::error::StoreError;
use crate::files::{self, Found};

/// Bytes of an entry.
pub const TIMER_ENTRY_SIZE: usize = 52;
/// Bytes of a blank that are written.
const BLANK_SIZE: usize = 16;
/// A message with a time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerEntry {
    /// Position in the timer log of the moment's entry before; -1 for its first.
    pub previous: i64,
    /// Bits [`MESSAGE`](TimerEntry::MESSAGE), [`ROLLS`](TimerEntry::ROLLS),
    /// [`TAKES_BACK`](TimerEntry::TAKES_BACK).
    pub magic: i32,
    /// When the message was taken over, milliseconds since 1970.
    pub written: i64,
    /// Milliseconds from then until it is due.
    pub delay: i32,
    /// Position of its record in the commit log.
    pub physical_offset: i64,
    /// Bytes of its record.
    pub size: i32,
    /// Hash of the topic that it is for.
    pub topic_hash: i32,
}

impl TimerEntry {
    /// Bit of the magic: a message; all entries have it.
    pub const MESSAGE: i32 = 1;
    /// Bit of the magic: due later than the wheel reaches, so that it is stored and entered anew.
    pub const ROLLS: i32 = 2;
    /// Bit of the magic: takes another message back.
    pub const TAKES_BACK: i32 = 4;

    /// Reads an entry; `None` where none stands.
    pub fn decode(bytes: &[u8; TIMER_ENTRY_SIZE]) -> Option<TimerEntry> {
        let mut rest = bytes.as_slice();
        let size = rest.get_i32();
        let entry = TimerEntry {
            previous: rest.get_i64(),
            magic: rest.get_i32(),
            written: rest.get_i64(),
            delay: rest.get_i32(),
            physical_offset: rest.get_i64(),
            size: rest.get_i32(),
            topic_hash: rest.get_i32(),
        };
        // `TimerMessageStore.isMagicOK`
        (size == TIMER_ENTRY_SIZE as i32 && (0..16).contains(&entry.magic)).then_some(entry)
    }

    /// The entry's bytes.
    pub fn encode(&self) -> [u8; TIMER_ENTRY_SIZE] {
        let mut bytes = [0; TIMER_ENTRY_SIZE];
        let mut rest = bytes.as_mut_slice();
        rest.put_i32(TIMER_ENTRY_SIZE as i32);
        rest.put_i64(self.previous);
        rest.put_i32(self.magic);
        rest.put_i64(self.written);
        rest.put_i32(self.delay);
        rest.put_i64(self.physical_offset);
        rest.put_i32(self.size);
        rest.put_i32(self.topic_hash);
        bytes
    }

    /// When it is due, milliseconds since 1970.
    pub fn due(&self) -> i64 {
        self.written.saturating_add(i64::from(self.delay))
    }
}

/// What stands at a position of the timer log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerItem {
    /// An entry.
    Entry(TimerEntry),
    /// The rest of the file is blank; the next entry begins the next file.
    Blank,
    /// Nothing has been written here.
    Unwritten,
    /// Neither.
    Damaged,
}

/// The timer log of a directory.
pub(crate) struct TimerLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    files: Vec<Found>,
    /// Bytes of a file.
    file_size: i64,
    window: Window,
    /// Position behind the last entry; only for writing.
    end: i64,
    /// Bytes in front of the end that are not written yet, all of one file.
    pending: Vec<u8>,
    /// Files written to since the last flush, by their first positions.
    unflushed: BTreeMap<i64, Arc<dyn File>>,
}

/// A stretch of one file.
#[derive(Default)]
struct Window {
    start: i64,
    bytes: Vec<u8>,
}

impl TimerLog {
    /// Bytes read at a time.
    const CHUNK: i64 = 1 << 16;

    /// Finds the files.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<TimerLog, StoreError> {
        let files = files::list(&*disk, &dir)?;
        Ok(TimerLog {
            file_size: files::usual_len(&files).unwrap_or(0) as i64,
            disk,
            dir,
            files,
            window: Window::default(),
            end: 0,
            pending: Vec::new(),
            unflushed: BTreeMap::new(),
        })
    }

    /// Finds the files, to write behind the last entry once [`TimerLog::truncate`] has told where
    /// that is.
    pub(crate) fn open_to_write(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        file_size: i64,
    ) -> Result<TimerLog, StoreError> {
        // A broker of the reference that is killed leaves files at their full length, too.
        files::load(&*disk, &dir, file_size, true, "mappedFileSizeTimerLog")?;
        let log = TimerLog::open(disk, dir)?;
        Ok(TimerLog { file_size, ..log })
    }

    /// Adds an entry and returns its position. It can be read once [`TimerLog::write`] was called.
    pub(crate) fn append(&mut self, entry: &TimerEntry) -> Result<i64, StoreError> {
        let room = self.next_file(self.end) - self.end;
        if room < (TIMER_ENTRY_SIZE + BLANK_SIZE) as i64 {
            self.pending.put_i32(room as i32);
            self.pending.put_i64(0);
            self.pending.put_i32(BLANK_MAGIC);
            self.end += BLANK_SIZE as i64;
            if let Err(error) = self.write() {
                self.end -= BLANK_SIZE as i64;
                self.pending.truncate(self.pending.len() - BLANK_SIZE);
                return Err(error);
            }
            self.end = self.next_file(self.end - 1);
        }
        let position = self.end;
        self.pending.extend_from_slice(&entry.encode());
        self.end += TIMER_ENTRY_SIZE as i64;
        Ok(position)
    }

    /// Writes the entries that were added.
    pub(crate) fn write(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (path, at) = self.place(self.end - self.pending.len() as i64);
        let start = self.end - self.pending.len() as i64 - at as i64;
        if self.files.last().is_none_or(|last| last.start < start) {
            files::create_dir(&*self.disk, &self.dir)?;
            self.files.push(Found {
                start,
                len: self.file_size as u64,
            });
        }
        let file = match self.unflushed.get(&start) {
            Some(file) => Arc::clone(file),
            None => files::create(&*self.disk, &path, self.file_size as u64)?,
        };
        file.write_at(&self.pending, at)
            .map_err(|error| StoreError::io("write", &path, error))?;
        self.unflushed.insert(start, file);
        self.pending.clear();
        self.window = Window::default();
        Ok(())
    }

    /// Writes and flushes the entries that were added, and returns the end.
    pub(crate) fn flush(&mut self) -> Result<i64, StoreError> {
        self.write()?;
        if self.unflushed.is_empty() {
            return Ok(self.end);
        }
        for (start, file) in &self.unflushed {
            let path = self.dir.join(files::file_name(*start));
            file.sync_data()
                .map_err(|error| StoreError::io("flush", path, error))?;
        }
        self.unflushed.clear();
        self.disk
            .sync_dir(&self.dir)
            .map_err(|error| StoreError::io("flush the directory", &self.dir, error))?;
        Ok(self.end)
    }

    /// Forgets all from a position on, which becomes the end.
    pub(crate) fn truncate(&mut self, position: i64) -> Result<(), StoreError> {
        while let Some(last) = self.files.last().filter(|last| last.start >= position) {
            files::remove(&*self.disk, &self.dir.join(files::file_name(last.start)))?;
            self.files.pop();
        }
        self.window = Window::default();
        self.end = position;
        let (path, at) = self.place(position);
        if let Some(file) = files::open(&*self.disk, &path, OpenMode::Write)?
            && files::has_data(&*file, at).map_err(|error| StoreError::io("read", &path, error))?
        {
            file.set_len(at)
                .and_then(|()| file.set_len(self.file_size as u64))
                .and_then(|()| file.sync_data())
                .map_err(|error| StoreError::io("cut", &path, error))?;
        }
        Ok(())
    }

    /// Removes the files in front whose last entries are of records in front of a position of the
    /// commit log (`MappedFileQueue.deleteExpiredFileByOffsetForTimerLog`).
    pub(crate) fn remove_front(&mut self, min_physical: i64) -> Result<(), StoreError> {
        while let [first, _, ..] = *self.files {
            let entries = (self.file_size - BLANK_SIZE as i64) / TIMER_ENTRY_SIZE as i64;
            let last = first.start + (entries - 1) * TIMER_ENTRY_SIZE as i64;
            match self.look(last)? {
                TimerItem::Entry(entry) if entry.physical_offset < min_physical => {}
                _ => break,
            }
            files::remove(&*self.disk, &self.dir.join(files::file_name(first.start)))?;
            self.files.remove(0);
        }
        Ok(())
    }

    /// The files.
    pub(crate) fn files(&self) -> &[Found] {
        &self.files
    }

    /// Bytes of a file; 0 without files.
    pub(crate) fn file_size(&self) -> i64 {
        self.file_size
    }

    /// The file that holds a position, and the place in it.
    pub(crate) fn place(&self, position: i64) -> (PathBuf, u64) {
        let at = position.rem_euclid(self.file_size.max(1));
        (self.dir.join(files::file_name(position - at)), at as u64)
    }

    /// First byte of the file behind the one that holds a position.
    pub(crate) fn next_file(&self, position: i64) -> i64 {
        position - position.rem_euclid(self.file_size.max(1)) + self.file_size
    }

    /// What stands at a position.
    pub(crate) fn look(&mut self, position: i64) -> Result<TimerItem, StoreError> {
        let rest = self.next_file(position) - position;
        let bytes = self.read(position, rest.min(TIMER_ENTRY_SIZE as i64) as usize)?;
        if let Some(entry) = bytes.first_chunk().and_then(TimerEntry::decode) {
            return Ok(TimerItem::Entry(entry));
        }
        let magic = bytes.get(12..).and_then(<[u8]>::first_chunk);
        Ok(match magic.map(|magic| i32::from_be_bytes(*magic)) {
            Some(BLANK_MAGIC) => TimerItem::Blank,
            _ if bytes.iter().all(|byte| *byte == 0) => TimerItem::Unwritten,
            _ => TimerItem::Damaged,
        })
    }

    /// The entries of a slot with their positions, the last one first. An entry that is missing, or
    /// one that does not point backwards, ends the chain with an error of its position.
    pub(crate) fn chain(
        &mut self,
        last: i64,
    ) -> impl Iterator<Item = Result<Result<(i64, TimerEntry), i64>, StoreError>> {
        let mut next = last;
        std::iter::from_fn(move || {
            if next == -1 {
                return None;
            }
            let position = next;
            let item = if position < 0 {
                Ok(TimerItem::Damaged)
            } else {
                self.look(position)
            };
            next = match &item {
                Ok(TimerItem::Entry(entry)) if entry.previous < position => entry.previous,
                _ => -1,
            };
            Some(item.map(|item| match item {
                TimerItem::Entry(entry) if entry.previous < position => Ok((position, entry)),
                _ => Err(position),
            }))
        })
    }

    /// Bytes at a position; fewer where the file ends or is missing.
    fn read(&mut self, position: i64, len: usize) -> Result<&[u8], StoreError> {
        if self.window.get(position, len).is_none() {
            // Chains are read backwards and the log forwards: the window reaches either way.
            let (path, at) = self.place(position);
            let before = (at as i64).min(Self::CHUNK / 2);
            self.window.start = position - before;
            self.window.bytes.clear();
            if let Some(file) = files::open(&*self.disk, &path, OpenMode::Read)? {
                self.window.bytes.resize(Self::CHUNK as usize, 0);
                let count = file
                    .read_at(&mut self.window.bytes, at - before as u64)
                    .map_err(|error| StoreError::io("read", &path, error))?;
                self.window.bytes.truncate(count);
            }
        }
        let from = (position - self.window.start) as usize;
        let there = self.window.bytes.get(from..).unwrap_or_default();
        Ok(there.get(..len.min(there.len())).unwrap_or_default())
    }
}

impl Window {
    fn get(&self, position: i64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(position - self.start).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}
