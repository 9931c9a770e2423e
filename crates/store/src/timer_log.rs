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

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use wire::message::record::BLANK_MAGIC;

use crate::disk::{Disk, OpenMode};
use crate::error::StoreError;
use crate::files::{self, Found};

/// Bytes of an entry.
pub const TIMER_ENTRY_SIZE: usize = 52;
/// A message with a time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerEntry {
    /// Position in the timer log of the moment's entry before; -1 for its first.
    pub previous: i64,
    /// Bits 1 message, 2 due later than the wheel reaches, [`TAKES_BACK`](TimerEntry::TAKES_BACK).
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

/// The timer log of a directory, for reading.
pub(crate) struct TimerLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    files: Vec<Found>,
    /// Bytes of a file.
    file_size: i64,
    window: Window,
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
        })
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
