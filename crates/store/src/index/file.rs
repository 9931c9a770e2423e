//! One file of the index: its parts, and how the last one grows.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::layout::Layout;
use crate::disk::File;
use crate::error::StoreError;

pub(super) const HEADER_SIZE: usize = 40;
pub(crate) const ENTRY_SIZE: usize = 20;
/// Bytes of the head that are written together.
const PAGE: usize = 4096;

/// The first 40 bytes of a file (`IndexHeader`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Store timestamp of the first entry's message, milliseconds since 1970; of a new file, of
    /// the last one in the file before.
    pub begin_timestamp: i64,
    /// Store timestamp of the last entry's message.
    pub end_timestamp: i64,
    /// Position in the log of the first entry's message; of a new file, of the last one in the
    /// file before.
    pub begin_offset: i64,
    /// Position in the log of the last entry's message.
    pub end_offset: i64,
    /// Slots with entries.
    pub slots_used: i32,
    /// Number of the next entry; the first has number 1.
    pub count: i32,
}

impl Header {
    /// Of a new file behind one that ended there (`IndexFile`'s constructor).
    pub(super) fn behind(before: Option<&Header>) -> Header {
        let offset = before.map_or(0, |before| before.end_offset.max(0));
        let timestamp = before.map_or(0, |before| before.end_timestamp.max(0));
        Header {
            begin_timestamp: timestamp,
            end_timestamp: timestamp,
            begin_offset: offset,
            end_offset: offset,
            slots_used: 0,
            count: 1,
        }
    }

    /// Reads the header at the front of a file; `None` where it ends before.
    pub(crate) fn read(file: &dyn File) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER_SIZE];
        if file.read_at(&mut bytes, 0)? < HEADER_SIZE {
            return Ok(None);
        }
        let long = |at| i64_at(&bytes, at);
        let int = |at| i32_at(&bytes, at);
        Ok(Some(Header {
            begin_timestamp: long(0),
            end_timestamp: long(8),
            begin_offset: long(16),
            end_offset: long(24),
            slots_used: int(32),
            count: int(36).max(1),
        }))
    }

    fn encode(&self) -> [u8; HEADER_SIZE] {
        let longs = [
            self.begin_timestamp,
            self.end_timestamp,
            self.begin_offset,
            self.end_offset,
        ];
        let mut bytes = [0; HEADER_SIZE];
        let (long_bytes, int_bytes) = bytes.split_at_mut(32);
        for (field, value) in long_bytes.chunks_exact_mut(8).zip(longs) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        for (field, value) in int_bytes
            .chunks_exact_mut(4)
            .zip([self.slots_used, self.count])
        {
            field.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    /// Whether a file of this layout can have this header.
    pub(crate) fn fits(&self, layout: &Layout) -> bool {
        self.count <= layout.numbers
            && (0..self.count).contains(&self.slots_used)
            && (0..=self.end_offset).contains(&self.begin_offset)
    }

    /// Whether there is no room for another entry.
    pub(super) fn is_full(&self, layout: &Layout) -> bool {
        self.count >= layout.numbers
    }

    /// Whether entries may lie in a time (`IndexFile.isTimeMatched`).
    pub(super) fn overlaps(&self, begin: i64, end: i64) -> bool {
        begin <= self.end_timestamp && end >= self.begin_timestamp
    }

    /// Notes one more entry and returns it (`IndexFile.putKey`).
    pub(super) fn add(&mut self, hash: i32, offset: i64, timestamp: i64, previous: i32) -> Entry {
        // In a new file this is still the time at which the one before ended.
        let seconds = if self.begin_timestamp <= 0 {
            0
        } else {
            (timestamp.saturating_sub(self.begin_timestamp) / 1000).clamp(0, i64::from(i32::MAX))
        };
        if self.count <= 1 {
            self.begin_offset = offset;
            self.begin_timestamp = timestamp;
        }
        self.slots_used += i32::from(previous == 0);
        self.count += 1;
        self.end_offset = offset;
        self.end_timestamp = timestamp;
        Entry {
            hash,
            offset,
            seconds: seconds as i32,
            previous,
        }
    }
}

/// An entry of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Hash of the key.
    pub hash: i32,
    /// Position of the message in the log.
    pub offset: i64,
    /// Seconds from the file's begin timestamp to when it was stored; of the first entry, from the
    /// end timestamp of the file before.
    pub seconds: i32,
    /// Number of the entry before it in its slot; 0 for none.
    pub previous: i32,
}

impl Entry {
    pub(crate) fn decode(bytes: &[u8; ENTRY_SIZE]) -> Entry {
        Entry {
            hash: i32_at(bytes, 0),
            offset: i64_at(bytes, 4),
            seconds: i32_at(bytes, 12),
            previous: i32_at(bytes, 16),
        }
    }

    fn encode(&self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        let (hash, rest) = bytes.split_at_mut(4);
        let (offset, rest) = rest.split_at_mut(8);
        let (seconds, previous) = rest.split_at_mut(4);
        hash.copy_from_slice(&self.hash.to_be_bytes());
        offset.copy_from_slice(&self.offset.to_be_bytes());
        seconds.copy_from_slice(&self.seconds.to_be_bytes());
        previous.copy_from_slice(&self.previous.to_be_bytes());
        bytes
    }
}

/// The integer at a place; 0 where the bytes end before.
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let chunk = bytes.get(at..).and_then(<[u8]>::first_chunk);
    chunk.map_or(0, |chunk| i32::from_be_bytes(*chunk))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let chunk = bytes.get(at..).and_then(<[u8]>::first_chunk);
    chunk.map_or(0, |chunk| i64::from_be_bytes(*chunk))
}

/// The file that entries are added to: its header and slots, and the entries not written yet.
///
/// Slots are written only when the file is finished or closed. A kill in between loses them, and
/// recovery makes them again from the entries, which are written soon.
pub(super) struct Tail {
    file: Arc<dyn File>,
    path: PathBuf,
    layout: Layout,
    /// Header and slots as they stand in the file. The system gives the memory page by page as
    /// slots are used.
    head: Vec<u8>,
    /// Which pages of the head differ from the file.
    dirty: Vec<bool>,
    /// Entries in their form on the disk.
    pending: Vec<u8>,
    /// Number of the first of them.
    first_pending: i32,
    /// Written to since it was flushed.
    unflushed: bool,
}

impl Tail {
    /// A file whose slots are all empty.
    pub(super) fn new(file: Arc<dyn File>, path: PathBuf, layout: Layout) -> Tail {
        Tail {
            file,
            path,
            layout,
            head: vec![0; layout.head_len()],
            dirty: vec![false; layout.head_len().div_ceil(PAGE)],
            pending: Vec::new(),
            first_pending: 1,
            unflushed: false,
        }
    }

    /// Reads the slots of a file that has so many entries.
    pub(super) fn load(&mut self, header: &Header) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("read", &self.path, error);
        let mut at = 0;
        while let Some(data) = self.file.next_data(at).map_err(failed)? {
            let from = data as usize;
            let to = (from + (1 << 16)).min(self.head.len());
            let Some(part) = self.head.get_mut(from..to).filter(|part| !part.is_empty()) else {
                break;
            };
            if self.file.read_at(part, data).map_err(failed)? == 0 {
                break;
            }
            at = to as u64;
        }
        self.first_pending = header.count;
        Ok(())
    }

    /// The number in a slot.
    pub(super) fn slot(&self, slot: usize) -> i32 {
        i32_at(&self.head, self.layout.slot_at(slot) as usize)
    }

    /// Puts a number into a slot.
    pub(super) fn set_slot(&mut self, slot: usize, number: i32) {
        self.put_head(self.layout.slot_at(slot) as usize, &number.to_be_bytes());
    }

    /// Entries up to this number are in the file; all slots may differ from it.
    pub(super) fn rebuilt(&mut self, header: &Header) {
        self.first_pending = header.count;
        self.dirty.fill(true);
        self.put_head(0, &header.encode());
    }

    fn put_head(&mut self, at: usize, bytes: &[u8]) {
        if let Some(target) = self.head.get_mut(at..at + bytes.len()) {
            target.copy_from_slice(bytes);
        }
        // 4 divides a page, and the header is in the first.
        if let Some(dirty) = self.dirty.get_mut(at / PAGE) {
            *dirty = true;
        }
    }

    /// Adds an entry, for which there is room.
    pub(super) fn add(&mut self, header: &mut Header, hash: i32, offset: i64, timestamp: i64) {
        let slot = self.layout.slot_of(hash);
        let mut previous = self.slot(slot);
        if !(1..header.count).contains(&previous) {
            previous = 0;
        }
        self.set_slot(slot, header.count);
        let entry = header.add(hash, offset, timestamp, previous);
        self.pending.extend_from_slice(&entry.encode());
    }

    /// An entry that is not written yet.
    pub(super) fn pending(&self, number: i32) -> Option<Entry> {
        let at = usize::try_from(number - self.first_pending).ok()?;
        let bytes = self.pending.get(at * ENTRY_SIZE..)?.first_chunk()?;
        Some(Entry::decode(bytes))
    }

    /// Writes what waits, and the header, so that a kill cannot take them.
    pub(super) fn write_entries(&mut self, header: &Header) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let failed = |error| StoreError::io("write", &self.path, error);
        let at = self.layout.entry_at(self.first_pending);
        self.unflushed = true;
        self.file.write_at(&self.pending, at).map_err(failed)?;
        self.file.write_at(&header.encode(), 0).map_err(failed)?;
        self.pending.clear();
        self.first_pending = header.count;
        self.put_head(0, &header.encode());
        Ok(())
    }

    /// Writes everything, the slots as well, and flushes it.
    pub(super) fn finish(&mut self, header: &Header) -> Result<(), StoreError> {
        self.write_entries(header)?;
        let mut page = 0;
        while let Some(rest) = self.dirty.get(page..).filter(|rest| !rest.is_empty()) {
            let count = rest.iter().take_while(|dirty| **dirty).count();
            let from = page * PAGE;
            let to = (from + count * PAGE).min(self.head.len());
            if let Some(bytes) = self.head.get(from..to).filter(|bytes| !bytes.is_empty()) {
                self.unflushed = true;
                self.file
                    .write_at(bytes, from as u64)
                    .map_err(|error| StoreError::io("write", &self.path, error))?;
            }
            page += count + 1;
        }
        self.flush()?;
        self.dirty.fill(false);
        Ok(())
    }

    /// Flushes what was written.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.unflushed)
            && let Err(error) = self.file.sync_data()
        {
            self.unflushed = true;
            return Err(StoreError::io("flush", &self.path, error));
        }
        Ok(())
    }
}
