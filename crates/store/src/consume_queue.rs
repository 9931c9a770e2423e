//! A consume queue: for each message of one queue of a topic, where its record is.
//!
//! Entries have 20 bytes; integers are big-endian and signed (`ConsumeQueue`):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | physical offset of the record in the commit log |
//! | 8 | 4 | size of the record |
//! | 12 | 8 | tags code: hash of the tag, or the delivery time in a delay-level queue |
//!
//! Entry `n` of a queue stands at byte `20 n` of the files in `consumequeue/TOPIC/QUEUE`, which
//! have `mappedFileSizeConsumeQueue` bytes each. A size of 0 ends the queue. If the first file
//! begins before the queue's first entry, it is filled up to there with entries of physical
//! offset 0, size 2147483647 and tags code 0 (`fillPreBlank`); the same stands for a message
//! that was lost, so that those behind it keep their numbers.
//!
//! New entries are readable at once from memory and are written to the file in batches. A kill
//! loses at most those, and recovery takes them from the commit log again.

mod recovery;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::disk::{Disk, File};
use crate::error::StoreError;
use crate::files::{self, OpenFiles};

/// Bytes of an entry.
pub const ENTRY_SIZE: usize = 20;

/// Bytes of entries that may wait in one queue before whoever appends writes them itself.
const MOST_PENDING: usize = 1 << 20;
/// Bytes of waiting entries at which writing should not wait for its time.
const URGENT: usize = ENTRY_SIZE * 8192;

/// Where a message of a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueEntry {
    /// Position of its record in the commit log.
    pub physical_offset: i64,
    /// Bytes of its record.
    pub size: i32,
    /// Hash of its tag, or its delivery time in a delay-level queue.
    pub tags_code: i64,
}

impl QueueEntry {
    /// Fills the place of entries that never were or are lost.
    pub(crate) const BLANK: QueueEntry = QueueEntry {
        physical_offset: 0,
        size: i32::MAX,
        tags_code: 0,
    };

    /// Whether this fills a place instead of pointing to a record.
    pub fn is_blank(&self) -> bool {
        *self == QueueEntry::BLANK
    }

    /// Reads an entry; `None` where none was written.
    pub fn decode(bytes: &[u8; ENTRY_SIZE]) -> Option<QueueEntry> {
        let (offset, rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let entry = QueueEntry {
            physical_offset: i64::from_be_bytes(*offset),
            size: i32::from_be_bytes(*size),
            tags_code: i64::from_be_bytes(*rest.first_chunk()?),
        };
        (entry.physical_offset >= 0 && entry.size > 0).then_some(entry)
    }

    /// The entry's bytes.
    pub fn encode(&self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        let (offset, rest) = bytes.split_at_mut(8);
        let (size, tags_code) = rest.split_at_mut(4);
        offset.copy_from_slice(&self.physical_offset.to_be_bytes());
        size.copy_from_slice(&self.size.to_be_bytes());
        tags_code.copy_from_slice(&self.tags_code.to_be_bytes());
        bytes
    }
}

/// What all queues share.
pub(crate) struct QueueFiles {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) open: Arc<OpenFiles>,
    /// `consumequeue` in the data directory.
    pub(crate) dir: PathBuf,
    /// Bytes of a file.
    pub(crate) file_size: i64,
}

impl QueueFiles {
    /// Entries of a file.
    pub(crate) fn entries_per_file(&self) -> i64 {
        self.file_size / ENTRY_SIZE as i64
    }
}

/// One queue of a topic.
pub struct Queue {
    topic: Arc<str>,
    id: i32,
    /// Distinguishes its open files.
    number: u64,
    files: Arc<QueueFiles>,
    /// Number of the first message whose record is still in the log.
    min: AtomicI64,
    /// Number the next message gets, once all before it are readable.
    max: AtomicI64,
    /// Number the next message gets in a batch being appended; changes under the log's lock.
    next: AtomicI64,
    deleted: AtomicBool,
    /// Number of the first message whose entry is not in the files yet.
    first_pending: AtomicI64,
    tail: Mutex<Tail>,
    /// Held by whoever writes entries to the files. Locked before `tail`.
    writing: Mutex<()>,
}

/// What adding an entry asks for.
pub(crate) struct Pushed {
    /// The queue has to go on the list of those with something to write.
    pub(crate) list: bool,
    /// Much is waiting: it should be written now.
    pub(crate) urgent: bool,
}

/// What is not in the files yet, and which files there are.
#[derive(Default)]
struct Tail {
    /// Entries in their form on the disk.
    pending: Vec<u8>,
    /// First byte of the first and last file; `None` without files.
    span: Option<(i64, i64)>,
    /// Files written to since they were flushed.
    unflushed: Vec<i64>,
    /// Files were made or removed since the directory was flushed.
    names_changed: bool,
    /// Whether the queue is on the list of those with something to write or flush.
    listed: bool,
}

impl Queue {
    /// A queue without messages.
    pub(crate) fn new(topic: Arc<str>, id: i32, number: u64, files: Arc<QueueFiles>) -> Queue {
        Queue {
            topic,
            id,
            number,
            files,
            min: AtomicI64::new(0),
            max: AtomicI64::new(0),
            next: AtomicI64::new(0),
            deleted: AtomicBool::new(false),
            first_pending: AtomicI64::new(0),
            tail: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// The topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The queue's number in its topic.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Number of the first message still there; equal to [`max_offset`](Queue::max_offset)
    /// without any.
    pub fn min_offset(&self) -> i64 {
        self.min.load(Ordering::Acquire)
    }

    /// Number the next message gets.
    pub fn max_offset(&self) -> i64 {
        self.max.load(Ordering::Acquire)
    }

    /// Whether the queue was deleted and takes no messages any more.
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Numbers for the next `count` messages of a batch. Under the log's lock.
    pub(crate) fn reserve(&self, count: i64) -> i64 {
        let first = self.next.load(Ordering::Relaxed);
        self.next.store(first + count, Ordering::Relaxed);
        first
    }

    /// Takes back the numbers of a batch that failed. Under the log's lock.
    pub(crate) fn unreserve(&self) {
        self.next
            .store(self.max.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Makes the next message readable. Under the log's lock, in the order of the log.
    pub(crate) fn push(&self, entry: &QueueEntry) -> Pushed {
        let mut tail = self.tail.lock();
        tail.pending.extend_from_slice(&entry.encode());
        let max = self.max.load(Ordering::Relaxed) + 1;
        self.max.store(max, Ordering::Release);
        self.next.fetch_max(max, Ordering::Relaxed);
        Pushed {
            list: !std::mem::replace(&mut tail.listed, true),
            urgent: tail.pending.len() == URGENT,
        }
    }

    /// Makes room for more entries where far too many wait to be written.
    ///
    /// # Errors
    /// If they cannot be written; the queue must not take more then.
    pub(crate) fn relieve(&self) -> Result<(), StoreError> {
        let waiting =
            self.next.load(Ordering::Relaxed) - self.first_pending.load(Ordering::Relaxed);
        if waiting >= (MOST_PENDING / ENTRY_SIZE) as i64 {
            self.write_pending()?;
        }
        Ok(())
    }

    /// Reads entries from number `from` on, as many as there are up to `count`, up to the end of
    /// the file they are in; fewer than that only at the queue's end. The bytes are appended to
    /// `out`.
    pub(crate) fn read(
        &self,
        from: i64,
        count: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let per_file = self.files.entries_per_file();
        let count = (count as i64).min(per_file - from.rem_euclid(per_file));
        let first_pending = {
            let tail = self.tail.lock();
            let first_pending = self.first_pending.load(Ordering::Relaxed);
            if from >= first_pending {
                let at = (from - first_pending) as usize * ENTRY_SIZE;
                let pending = tail.pending.get(at..).unwrap_or_default();
                let len = pending.len().min(count as usize * ENTRY_SIZE);
                out.extend_from_slice(pending.get(..len).unwrap_or_default());
                return Ok(());
            }
            first_pending
        };
        if from < 0 {
            return Ok(());
        }
        let count = count.min(first_pending - from) as usize;
        let at = from * ENTRY_SIZE as i64;
        let start = at - at % self.files.file_size;
        let Some(file) = self.open_file(start)? else {
            return Ok(());
        };
        let before = out.len();
        out.resize(before + count * ENTRY_SIZE, 0);
        let buffer = out.get_mut(before..).unwrap_or_default();
        let read = file
            .read_at(buffer, (at - start) as u64)
            .map_err(|error| StoreError::io("read", self.path(start), error))?;
        out.truncate(before + read - read % ENTRY_SIZE);
        Ok(())
    }

    /// The entry of a message; `None` where there is none.
    pub(crate) fn entry(&self, offset: i64) -> Result<Option<QueueEntry>, StoreError> {
        if offset < 0 || offset >= self.max_offset() {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(ENTRY_SIZE);
        self.read(offset, 1, &mut bytes)?;
        Ok(bytes.first_chunk().and_then(QueueEntry::decode))
    }

    /// Where the record of a message is, or of the next one that has one: numbers and places grow
    /// together, except for the entries that only fill a place.
    fn physical_from(&self, offset: i64) -> Result<Option<i64>, StoreError> {
        let max = self.max_offset();
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < max {
            bytes.clear();
            self.read(at, 1, &mut bytes)?;
            match bytes.first_chunk().and_then(QueueEntry::decode) {
                Some(entry) if entry.is_blank() => at += 1,
                Some(entry) => return Ok(Some(entry.physical_offset)),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Writes what waits to the files, which then hold all up to the present end. Returns
    /// whether there was something to write.
    pub(crate) fn write_pending(&self) -> Result<bool, StoreError> {
        let _writing = self.writing.lock();
        let (first, bytes) = {
            let tail = self.tail.lock();
            (
                self.first_pending.load(Ordering::Relaxed),
                tail.pending.clone(),
            )
        };
        if bytes.is_empty() || self.is_deleted() {
            return Ok(false);
        }
        let mut at = first * ENTRY_SIZE as i64;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let start = at - at % self.files.file_size;
            let room = (start + self.files.file_size - at) as usize;
            let (piece, more) = rest.split_at(rest.len().min(room));
            let file = self.file_to_write(start, at)?;
            file.write_at(piece, (at - start) as u64)
                .map_err(|error| StoreError::io("write", self.path(start), error))?;
            at += piece.len() as i64;
            rest = more;
        }
        let mut tail = self.tail.lock();
        let written = bytes.len().min(tail.pending.len());
        tail.pending.drain(..written);
        self.first_pending
            .fetch_add((written / ENTRY_SIZE) as i64, Ordering::Relaxed);
        if tail.pending.is_empty() {
            // 100,000 queues: none keeps room for a burst that is over.
            tail.pending.shrink_to(4 * ENTRY_SIZE);
        }
        Ok(true)
    }

    /// The file to write an entry at byte `at` to; made where it is not there, with the place
    /// before the queue's first entry filled.
    fn file_to_write(&self, start: i64, at: i64) -> Result<Arc<dyn File>, StoreError> {
        let span = self.tail.lock().span;
        let exists = span.is_some_and(|(first, last)| first <= start && start <= last);
        let open = if exists { self.open_file(start)? } else { None };
        let file = match open {
            Some(file) => file,
            None => {
                let dir = self.dir();
                files::create_dir(&*self.files.disk, &dir)?;
                let path = dir.join(files::file_name(start));
                let file = files::create(&*self.files.disk, &path, self.files.file_size as u64)?;
                if span.is_none() && at > start {
                    let blanks = QueueEntry::BLANK
                        .encode()
                        .repeat((at - start) as usize / ENTRY_SIZE);
                    file.write_at(&blanks, 0)
                        .map_err(|error| StoreError::io("write", &path, error))?;
                }
                self.files.open.put((self.number, start), Arc::clone(&file));
                self.tail.lock().names_changed = true;
                file
            }
        };
        let mut tail = self.tail.lock();
        let (first, last) = tail.span.unwrap_or((start, start));
        tail.span = Some((first.min(start), last.max(start)));
        if !tail.unflushed.contains(&start) {
            tail.unflushed.push(start);
        }
        Ok(file)
    }

    /// Flushes the files written to since the last time; what waits is not written.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let unflushed = std::mem::take(&mut self.tail.lock().unflushed);
        for (index, start) in unflushed.iter().enumerate() {
            let flushed = self.open_file(*start).and_then(|file| match file {
                Some(file) => file
                    .sync_data()
                    .map_err(|error| StoreError::io("flush", self.path(*start), error)),
                None => Ok(()),
            });
            if let Err(error) = flushed {
                let rest = unflushed.get(index..).unwrap_or_default();
                self.tail.lock().unflushed.extend_from_slice(rest);
                return Err(error);
            }
        }
        if !std::mem::take(&mut self.tail.lock().names_changed) {
            return Ok(());
        }
        let dir = self.dir();
        match self.files.disk.sync_dir(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                self.tail.lock().names_changed = true;
                Err(StoreError::io("flush the directory", dir, error))
            }
            _ => Ok(()),
        }
    }

    /// Takes the queue off the list of those with something to write; `true` if it has to stay.
    pub(crate) fn unlist(&self) -> bool {
        let mut tail = self.tail.lock();
        let work = !tail.pending.is_empty() || !tail.unflushed.is_empty() || tail.names_changed;
        let stays = work && !self.is_deleted();
        tail.listed = stays;
        stays
    }

    /// Moves the first message's number up to the first whose record lies at `min_physical` or
    /// behind, and removes the files that hold older entries only (`correctMinOffset`,
    /// `deleteExpiredFile`). The last file stays, so that numbers go on.
    pub(crate) fn forget_before(&self, min_physical: i64) -> Result<(), StoreError> {
        let (min, max) = (self.min_offset(), self.max_offset());
        let gone = |offset| {
            Ok(self
                .physical_from(offset)?
                .is_none_or(|at| at < min_physical))
        };
        let low = partition_point(min, max, gone)?;
        if low > min {
            self.min.store(low, Ordering::Release);
        }
        let _writing = self.writing.lock();
        loop {
            let Some((first, last)) = self.tail.lock().span else {
                return Ok(());
            };
            let end = (first + self.files.file_size) / ENTRY_SIZE as i64;
            if first >= last || end > low {
                return Ok(());
            }
            self.files.open.forget((self.number, first));
            files::remove(&*self.files.disk, &self.path(first))?;
            let mut tail = self.tail.lock();
            tail.span = Some((first + self.files.file_size, last));
            tail.unflushed.retain(|start| *start != first);
            tail.names_changed = true;
        }
    }

    /// The queue takes no more messages. Under the log's lock.
    pub(crate) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Removes the files and the directory.
    pub(crate) fn remove_files(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock();
        let dir = self.dir();
        for found in files::list(&*self.files.disk, &dir)? {
            self.files.open.forget((self.number, found.start));
            files::remove(&*self.files.disk, &dir.join(files::file_name(found.start)))?;
        }
        {
            let mut tail = self.tail.lock();
            let listed = tail.listed;
            *tail = Tail::default();
            tail.listed = listed;
        }
        let topic_dir = dir.parent().unwrap_or(&dir);
        let removed = self.files.disk.remove_dir(&dir);
        match removed.and_then(|()| self.files.disk.sync_dir(topic_dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove the directory", dir, error))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of the files and of what waits.
    pub(crate) fn file_bytes(&self) -> i64 {
        match self.tail.lock().span {
            Some((first, last)) => last + self.files.file_size - first,
            None => 0,
        }
    }

    fn dir(&self) -> PathBuf {
        queue_dir(&self.files.dir, &self.topic, self.id)
    }

    fn path(&self, start: i64) -> PathBuf {
        self.dir().join(files::file_name(start))
    }

    fn open_file(&self, start: i64) -> Result<Option<Arc<dyn File>>, StoreError> {
        self.files
            .open
            .get((self.number, start), || self.path(start))
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("topic", &self.topic)
            .field("id", &self.id)
            .field("min_offset", &self.min_offset())
            .field("max_offset", &self.max_offset())
            .finish_non_exhaustive()
    }
}

/// The entries in bytes read from a queue; `None` for one that was never written.
pub(crate) fn entries(bytes: &[u8]) -> impl Iterator<Item = Option<QueueEntry>> {
    bytes
        .chunks_exact(ENTRY_SIZE)
        .map(|bytes| bytes.first_chunk().and_then(QueueEntry::decode))
}

/// The directory of a queue.
pub(crate) fn queue_dir(dir: &Path, topic: &str, id: i32) -> PathBuf {
    let mut path = dir.join(topic);
    path.push(id.to_string());
    path
}

/// The first number for which `before` does not hold, which holds for none behind it.
pub(crate) fn partition_point(
    mut low: i64,
    mut high: i64,
    mut before: impl FnMut(i64) -> Result<bool, StoreError>,
) -> Result<i64, StoreError> {
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Whether a file holds anything but zeros from a position on.
pub(crate) fn has_data(file: &dyn File, from: u64) -> std::io::Result<bool> {
    let mut at = from;
    let mut bytes = vec![0; 1 << 16];
    while let Some(next) = file.next_data(at)? {
        let count = file.read_at(&mut bytes, next)?;
        let read = bytes.get(..count).unwrap_or_default();
        if read.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        if count == 0 {
            break;
        }
        at = next + count as u64;
    }
    Ok(false)
}
