//! The commit log: all messages of the broker, one record behind the other.
//!
//! Files of `mappedFileSizeCommitLog` bytes in `commitlog`, each named after the position of its
//! first byte. A record ([`wire::message::record`]) never crosses a file's end: where it does
//! not fit with 8 bytes to spare, the rest of the file is a blank and the record begins the next
//! file. So the position of any byte is `file name + place in the file`, and a file always ends
//! in a blank of at least 8 bytes (`CommitLog`, `MappedFileQueue`).
//!
//! One lock orders everything that is appended. Under it records are encoded straight into the
//! buffer that readers at the end of the log share afterwards ([`TailCache`]), written with one
//! call, and entered into their queues.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use wire::message::record::{BLANK_HEAD_SIZE, PHYSICAL_OFFSET_POSITION, RecordRef, encode_blank};

use crate::clock::Clock;
use crate::disk::{Disk, File};
use crate::error::StoreError;
use crate::files::{self, OpenFiles};
use crate::tail_cache::TailCache;

/// Bytes taken from the allocator at a time for what is appended.
const CHUNK: usize = 1 << 20;
/// Number of the log among the sequences of files; queues count from 1.
const NUMBER: u64 = 0;

pub(crate) struct CommitLog {
    disk: Arc<dyn Disk>,
    open: Arc<OpenFiles>,
    dir: PathBuf,
    file_size: i64,
    /// First byte of each file, in order.
    files: RwLock<Vec<i64>>,
    cache: RwLock<TailCache>,
    /// Position behind the last record, once it can be read.
    end: AtomicI64,
    tail: Mutex<LogTail>,
    /// Since when the tail is being appended to, in milliseconds since 1970; 0 while it is not.
    appending_since: AtomicI64,
    /// Files were made or removed since the directory was flushed.
    names_changed: AtomicBool,
}

/// The end of the log, for whoever appends.
pub(crate) struct LogTail {
    /// The file being written and its first byte.
    file: Option<(i64, Arc<dyn File>)>,
    end: i64,
    /// Store timestamp of the last record.
    timestamp: i64,
    /// Records encoded but not written.
    pub(crate) buffer: BytesMut,
    /// Memory to go on in when the buffer is full.
    unused: BytesMut,
    /// A failed write left bytes behind the end.
    unclean: bool,
}

impl LogTail {
    /// Where the next record encoded into the buffer will be.
    pub(crate) fn position(&self) -> i64 {
        self.end + self.buffer.len() as i64
    }

    /// Position behind what is written.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Store timestamp of the last record.
    pub(crate) fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Room for `len` more bytes in the buffer, all of a batch in one allocation.
    pub(crate) fn reserve(&mut self, len: usize) {
        if self.buffer.capacity() - self.buffer.len() < len {
            let size = CHUNK.max(self.buffer.len() + len);
            let mut chunk = std::mem::take(&mut self.unused);
            chunk.clear();
            if !chunk.try_reclaim(size) {
                chunk = BytesMut::with_capacity(size);
            }
            chunk.extend_from_slice(&self.buffer);
            self.buffer = chunk;
        }
    }
}

impl CommitLog {
    /// The log in a directory, without looking at it.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        open: Arc<OpenFiles>,
        dir: PathBuf,
        file_size: usize,
        cache_size: usize,
    ) -> CommitLog {
        CommitLog {
            disk,
            open,
            dir,
            file_size: file_size as i64,
            files: RwLock::default(),
            cache: RwLock::new(TailCache::new(cache_size)),
            end: AtomicI64::new(0),
            tail: Mutex::new(LogTail {
                file: None,
                end: 0,
                timestamp: 0,
                buffer: BytesMut::new(),
                unused: BytesMut::new(),
                unclean: false,
            }),
            appending_since: AtomicI64::new(0),
            names_changed: AtomicBool::new(false),
        }
    }

    /// Bytes of a file.
    pub(crate) fn file_size(&self) -> i64 {
        self.file_size
    }

    /// First byte of the file that holds a position.
    pub(crate) fn file_start(&self, position: i64) -> i64 {
        position - position.rem_euclid(self.file_size)
    }

    /// The first byte there is; 0 for an empty log.
    pub(crate) fn begin(&self) -> i64 {
        self.files.read().first().copied().unwrap_or(0)
    }

    /// Position behind the last record.
    pub(crate) fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    /// First byte of each file, in order.
    pub(crate) fn files(&self) -> RwLockReadGuard<'_, Vec<i64>> {
        self.files.read()
    }

    /// The lock that orders all appending.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LogTail> {
        self.tail.lock()
    }

    /// The same lock for one who would rather be refused than wait for longer than `limit`: a disk
    /// that stalls must not hold up everybody (`BrokerFastFailure`, `isOSPageCacheBusy`).
    pub(crate) fn lock_within(
        &self,
        limit: Duration,
        clock: &dyn Clock,
    ) -> Result<MutexGuard<'_, LogTail>, StoreError> {
        if let Some(tail) = self.tail.try_lock() {
            return Ok(tail);
        }
        let busy = |millis| Err(StoreError::Busy { millis });
        let waiting_millis = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let since = self.appending_since.load(Ordering::Relaxed);
        let held_millis = clock.now_millis() - since;
        if since > 0 && held_millis > waiting_millis {
            return busy(held_millis);
        }
        match self.tail.try_lock_for(limit) {
            Some(tail) => Ok(tail),
            None => busy(waiting_millis),
        }
    }

    /// Notes since when the tail, which the caller has locked, is being appended to; 0 when that
    /// is over.
    pub(crate) fn set_appending_since(&self, millis: i64) {
        self.appending_since.store(millis, Ordering::Relaxed);
    }

    /// End of the log and store timestamp of its last record; all before is in the queues.
    pub(crate) fn position(&self) -> (i64, i64) {
        let tail = self.tail.lock();
        (tail.end, tail.timestamp)
    }

    /// Where the log's files are.
    pub(crate) fn dir(&self) -> &PathBuf {
        &self.dir
    }

    pub(crate) fn path(&self, start: i64) -> PathBuf {
        self.dir.join(files::file_name(start))
    }

    /// The open file that begins at a position; `None` where it is gone.
    pub(crate) fn file(&self, start: i64) -> Result<Option<Arc<dyn File>>, StoreError> {
        self.open.get((NUMBER, start), || self.path(start))
    }
}

/// Appending, under the lock.
impl CommitLog {
    /// The bytes that may still be encoded into the buffer before the file has to end.
    pub(crate) fn room(&self, tail: &LogTail) -> i64 {
        let used = tail.end.rem_euclid(self.file_size) + tail.buffer.len() as i64;
        self.file_size - used - BLANK_HEAD_SIZE as i64
    }

    /// Opens the file to write to and repairs what a failed write left.
    pub(crate) fn prepare(&self, tail: &mut LogTail) -> Result<(), StoreError> {
        let start = self.file_start(tail.end);
        if tail.file.as_ref().is_none_or(|(open, _)| *open != start) {
            let path = self.path(start);
            let file = files::create(&*self.disk, &path, self.file_size as u64)?;
            self.open.put((NUMBER, start), Arc::clone(&file));
            tail.file = Some((start, file));
            let mut files = self.files.write();
            if files.last() != Some(&start) {
                files.push(start);
                self.names_changed.store(true, Ordering::Release);
            }
        }
        self.clear_behind(tail)
    }

    /// Writes the buffer. On an error nothing of it counts as appended.
    pub(crate) fn write(&self, tail: &mut LogTail, timestamp: i64) -> Result<(), StoreError> {
        if tail.buffer.is_empty() {
            return Ok(());
        }
        let Some((start, file)) = &tail.file else {
            return Err(StoreError::Closed);
        };
        let at = (tail.end - start) as u64;
        if let Err(error) = file.write_at(&tail.buffer, at) {
            let error = StoreError::io("write", self.path(*start), error);
            tail.buffer.clear();
            tail.unclean = true;
            // What was written in part must not be taken for records by a recovery. If this
            // fails, too, it is done before the next write.
            let _ = self.clear_behind(tail);
            return Err(error);
        }
        let written = tail.buffer.split().freeze();
        let begin = tail.end;
        tail.end += written.len() as i64;
        tail.timestamp = timestamp;
        if let Some(unused) = self.cache.write().push(begin, written) {
            tail.unused = unused;
        }
        self.end.store(tail.end, Ordering::Release);
        Ok(())
    }

    /// Writes the buffer, makes the rest of the file a blank and goes on to the next file.
    pub(crate) fn roll(&self, tail: &mut LogTail, timestamp: i64) -> Result<(), StoreError> {
        let rest = self.room(tail) + BLANK_HEAD_SIZE as i64;
        tail.reserve(BLANK_HEAD_SIZE);
        encode_blank(rest as u32, &mut tail.buffer);
        let timestamp = if tail.buffer.len() == BLANK_HEAD_SIZE {
            tail.timestamp
        } else {
            timestamp
        };
        self.write(tail, timestamp)?;
        tail.end += rest - BLANK_HEAD_SIZE as i64;
        self.end.store(tail.end, Ordering::Release);
        Ok(())
    }

    /// Removes what a failed write left behind the end, if one did.
    pub(crate) fn clear_behind(&self, tail: &mut LogTail) -> Result<(), StoreError> {
        if let (true, Some((start, file))) = (tail.unclean, &tail.file) {
            // Flushed, so that what was refused cannot come back after a power failure.
            file.set_len((tail.end - start) as u64)
                .and_then(|()| file.set_len(self.file_size as u64))
                .and_then(|()| file.sync_data())
                .map_err(|error| StoreError::io("clear", self.path(*start), error))?;
        }
        tail.unclean = false;
        Ok(())
    }
}

/// Reading.
impl CommitLog {
    /// The youngest bytes, in memory.
    pub(crate) fn cache(&self) -> RwLockReadGuard<'_, TailCache> {
        self.cache.read()
    }

    /// The bytes at a position; `None` where the log does not (or no longer) have all of them
    /// in one file.
    pub(crate) fn read(&self, position: i64, len: usize) -> Result<Option<Bytes>, StoreError> {
        if let Some(bytes) = self.cache.read().get(position, len) {
            return Ok(Some(bytes));
        }
        Ok(self.read_file(position, len)?.map(BytesMut::freeze))
    }

    /// As [`read`](CommitLog::read), from the file.
    pub(crate) fn read_file(
        &self,
        position: i64,
        len: usize,
    ) -> Result<Option<BytesMut>, StoreError> {
        if !self.contains(position, len) {
            return Ok(None);
        }
        let start = self.file_start(position);
        let Some(file) = self.file(start)? else {
            return Ok(None);
        };
        let mut bytes = BytesMut::zeroed(len);
        let count = file
            .read_at(&mut bytes, (position - start) as u64)
            .map_err(|error| StoreError::io("read", self.path(start), error))?;
        Ok((count == len).then_some(bytes))
    }

    /// The record that begins at a position; `None` where none does or it is gone.
    pub(crate) fn message(&self, position: i64) -> Result<Option<Bytes>, StoreError> {
        let Some(head) = self.read(position, PHYSICAL_OFFSET_POSITION + 8)? else {
            return Ok(None);
        };
        // Before so many bytes are read, the record has to say that it is here.
        let (Some(size), Some(says)) = (head.first_chunk(), head.last_chunk()) else {
            return Ok(None);
        };
        let size = usize::try_from(i32::from_be_bytes(*size)).unwrap_or(0);
        if i64::from_be_bytes(*says) != position {
            return Ok(None);
        }
        let bytes = self.read(position, size)?;
        Ok(bytes.filter(|bytes| RecordRef::parse(bytes).is_ok()))
    }

    /// Whether the log has these bytes in one file.
    pub(crate) fn contains(&self, position: i64, len: usize) -> bool {
        let Some(end) = i64::try_from(len)
            .ok()
            .and_then(|len| position.checked_add(len))
        else {
            return false;
        };
        let in_file = position.rem_euclid(self.file_size) + len as i64 <= self.file_size;
        position >= 0 && in_file && end <= self.end() && self.has_file(self.file_start(position))
    }

    fn has_file(&self, start: i64) -> bool {
        let files = self.files.read();
        match files.first() {
            // Nearly always there is no gap, so the place follows from the first.
            Some(first) => {
                let index = (start - first) / self.file_size;
                let guess = usize::try_from(index)
                    .ok()
                    .and_then(|index| files.get(index));
                guess == Some(&start) || files.binary_search(&start).is_ok()
            }
            None => false,
        }
    }
}

/// Flushing, removing, recovering.
impl CommitLog {
    /// Flushes the files that hold positions from `from` up to `to`.
    pub(crate) fn sync(&self, from: i64, to: i64) -> Result<(), StoreError> {
        let starts: Vec<i64> = {
            let files = self.files.read();
            let overlaps = |start: &&i64| **start < to && **start + self.file_size > from;
            files.iter().filter(overlaps).copied().collect()
        };
        for start in starts {
            if let Some(file) = self.file(start)? {
                file.sync_data()
                    .map_err(|error| StoreError::io("flush", self.path(start), error))?;
            }
        }
        self.flush_names()
    }

    /// Makes sure that a power failure brings back no file that was removed, and takes none that was
    /// made.
    pub(crate) fn flush_names(&self) -> Result<(), StoreError> {
        if self.names_changed.swap(false, Ordering::AcqRel)
            && let Err(error) = self.disk.sync_dir(&self.dir)
        {
            self.names_changed.store(true, Ordering::Release);
            return Err(StoreError::io("flush the directory", &self.dir, error));
        }
        Ok(())
    }

    /// Lets the system write positions from `from` up to `to` to the disk, or forget them where
    /// they are.
    pub(crate) fn let_go(&self, from: i64, to: i64) -> Result<(), StoreError> {
        let mut at = from.max(self.begin());
        while at < to {
            let start = self.file_start(at);
            let end = to.min(start + self.file_size);
            if let Some(file) = self.file(start)? {
                file.let_go((at - start) as u64, (end - at) as u64);
            }
            at = end;
        }
        Ok(())
    }

    /// Removes the first file unless it is the one being written; the position the log begins
    /// at then, or `None` if there was nothing to remove.
    pub(crate) fn remove_first(&self) -> Result<Option<i64>, StoreError> {
        let start = match self.files.read().as_slice() {
            [first, _, ..] => *first,
            _ => return Ok(None),
        };
        files::remove(&*self.disk, &self.path(start))?;
        // Readers that come now find it gone; those that have it open can finish.
        let begin = {
            let mut files = self.files.write();
            files.retain(|file| *file != start);
            files.first().copied()
        };
        self.open.forget((NUMBER, start));
        // At once, so that a power failure cannot bring it back without the one behind it.
        self.names_changed.store(true, Ordering::Release);
        self.flush_names()?;
        Ok(begin)
    }

    /// Finds the files.
    pub(crate) fn load(&self, was_killed: bool) -> Result<(), StoreError> {
        let starts = files::load(
            &*self.disk,
            &self.dir,
            self.file_size,
            was_killed,
            "mappedFileSizeCommitLog",
        )?;
        for (file, next) in starts.iter().zip(starts.iter().skip(1)) {
            if *next != file + self.file_size {
                tracing::warn!(
                    from = file + self.file_size,
                    to = next,
                    "a part of the commit log is missing, its messages are lost"
                );
            }
        }
        *self.files.write() = starts;
        // Whoever made them may have been killed before they were flushed.
        self.names_changed.store(true, Ordering::Release);
        Ok(())
    }

    /// Knows the files that begin at these positions, however long they are, and lets readers see
    /// all of them: for a log that is not to be changed.
    pub(crate) fn look_at(&self, starts: Vec<i64>) {
        *self.files.write() = starts;
        self.set_end_behind_files();
    }

    /// Lets readers see everything up to the end of the last file, while recovery looks for the
    /// true end.
    pub(crate) fn set_end_behind_files(&self) {
        let end = self
            .files
            .read()
            .last()
            .map_or(0, |last| last + self.file_size);
        self.end.store(end, Ordering::Release);
    }

    /// Ends the log at a position: removes files behind it and clears what stands behind it in
    /// its file.
    pub(crate) fn truncate(&self, end: i64, timestamp: i64) -> Result<(), StoreError> {
        let last = self.file_start(end);
        let behind: Vec<i64> = self
            .files
            .read()
            .iter()
            .copied()
            .filter(|start| *start > last)
            .collect();
        for start in behind.into_iter().rev() {
            tracing::info!(file = %self.path(start).display(), "removing a commit log file behind the end of the log");
            self.open.forget((NUMBER, start));
            files::remove(&*self.disk, &self.path(start))?;
            self.files.write().retain(|file| *file != start);
        }
        let file = if self.has_file(last) {
            self.file(last)?
        } else {
            None
        };
        if let Some(file) = &file {
            let at = (end - last) as u64;
            let failed = |error| StoreError::io("clear", self.path(last), error);
            if files::has_data(&**file, at).map_err(failed)? {
                tracing::warn!(file = %self.path(last).display(), position = end, "clearing what stands behind the end of the log");
                file.set_len(at)
                    .and_then(|()| file.set_len(self.file_size as u64))
                    .map_err(failed)?;
            }
            // Also if it is clear already: whoever cleared it may have been killed before that
            // was on the disk.
            file.sync_data().map_err(failed)?;
        }
        let mut tail = self.tail.lock();
        tail.file = None;
        tail.end = end;
        tail.timestamp = timestamp;
        tail.unclean = false;
        self.end.store(end, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryDisk, SystemClock};

    #[test]
    fn an_append_that_the_disk_holds_up_turns_others_away() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let open = Arc::new(OpenFiles::new(Arc::clone(&disk), 8));
        let log = CommitLog::new(disk, open, "/log".into(), 4096, 0);
        let enter = |limit| log.lock_within(Duration::from_millis(limit), &SystemClock);
        let held = log.lock();
        assert!(matches!(enter(1), Err(StoreError::Busy { millis: 1 })));
        log.set_appending_since(SystemClock.now_millis() - 60_000);
        assert!(
            matches!(enter(50_000), Err(StoreError::Busy { millis: 60_000.. })),
            "without waiting once that is known"
        );
        drop(held);
        assert!(enter(1).is_ok());
    }
}
