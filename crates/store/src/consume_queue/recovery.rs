//! Finding a queue's end at the start, and changing it where the log says otherwise. Nobody else
//! uses the queue at that time.

use std::sync::atomic::Ordering;

use super::{ENTRY_SIZE, Queue, QueueEntry, entries, has_data, partition_point};
use crate::error::StoreError;
use crate::files;

impl Queue {
    /// Finds the queue's files and its end. After a kill `rebuild_from` is where the log is
    /// entered again: files with nothing but entries of records behind that are not needed.
    pub(crate) fn load(&self, rebuild_from: Option<i64>) -> Result<(), StoreError> {
        let size = self.files.file_size;
        let mut starts = files::load(
            &*self.files.disk,
            &self.dir(),
            size,
            rebuild_from.is_some(),
            "mappedFileSizeConsumeQueue",
        )?;
        let last_run = |starts: &[i64]| {
            let files = starts
                .windows(2)
                .rposition(|pair| matches!(pair, [one, next] if *next != one + size));
            files.map_or(0, |gap| gap + 1)
        };
        // A power failure can take a new file and leave the one behind it.
        while let (Some(from), run @ 1..) = (rebuild_from, last_run(&starts)) {
            let first = starts.get(run).copied().unwrap_or_default();
            if self
                .first_entry(first)?
                .is_some_and(|entry| entry.physical_offset < from)
            {
                break;
            }
            for start in starts.split_off(run) {
                self.files.open.forget((self.number, start));
                files::remove(&*self.files.disk, &self.path(start))?;
            }
        }
        let run = last_run(&starts);
        if run > 0 {
            tracing::warn!(topic = %self.topic, queue = self.id, "a file of the queue is missing, those before it are ignored");
        }
        let (Some(first), Some(last)) = (starts.get(run).copied(), starts.last().copied()) else {
            return Ok(());
        };
        {
            let mut tail = self.tail.lock();
            tail.span = Some((first, last));
            // Whoever made them may have been killed before the directory was flushed.
            tail.names_changed = rebuild_from.is_some();
        }
        self.find_end((first, last))
    }

    /// The first entry of a file.
    fn first_entry(&self, start: i64) -> Result<Option<QueueEntry>, StoreError> {
        let mut bytes = [0; ENTRY_SIZE];
        if let Some(file) = self.open_file(start)? {
            file.read_at(&mut bytes, 0)
                .map_err(|error| StoreError::io("read", self.path(start), error))?;
        }
        Ok(QueueEntry::decode(&bytes))
    }

    /// The first number without an entry. Entries are written in order, so all before the first
    /// missing one are there; after a power failure there may be more behind a hole, which
    /// recovery writes again.
    fn find_end(&self, (first, last): (i64, i64)) -> Result<(), StoreError> {
        let per_file = self.files.entries_per_file();
        let begin = first / ENTRY_SIZE as i64;
        let end = last / ENTRY_SIZE as i64 + per_file;
        self.set_offsets(begin, end);
        let written = |offset: i64| Ok::<bool, StoreError>(self.entry(offset)?.is_some());
        // Nearly always the end is in the last file.
        let mut low = last / ENTRY_SIZE as i64;
        if low > begin && !written(low)? {
            low = begin;
        }
        let end = partition_point(low, end, written)?;
        self.set_offsets(begin, end);
        self.skip_blanks()
    }

    /// Moves the first number behind the entries that fill the first file's front.
    fn skip_blanks(&self) -> Result<(), StoreError> {
        let (mut min, max) = (self.min_offset(), self.max_offset());
        let mut bytes = Vec::new();
        'blanks: while min < max {
            bytes.clear();
            self.read(min, 1000, &mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            for entry in entries(&bytes) {
                if min == max || !entry.is_some_and(|entry| entry.is_blank()) {
                    break 'blanks;
                }
                min += 1;
            }
        }
        self.min.store(min, Ordering::Release);
        Ok(())
    }

    fn set_offsets(&self, min: i64, max: i64) {
        self.min.store(min, Ordering::Release);
        self.max.store(max, Ordering::Release);
        self.next.store(max, Ordering::Release);
        self.tail.lock().pending.clear();
        self.first_pending.store(max, Ordering::Release);
    }

    /// Ends the queue before the first entry of a record at `physical` or behind, so that
    /// recovery can write those again. What was there stays in the file until
    /// [`Queue::clear_behind_end`].
    pub(crate) fn truncate(&self, physical: i64) -> Result<(), StoreError> {
        let (min, max) = (self.min_offset(), self.max_offset());
        let before = |offset| Ok(self.physical_from(offset)?.is_some_and(|at| at < physical));
        let end = partition_point(min, max, before)?;
        if end < max {
            self.set_offsets(min, end);
        }
        Ok(())
    }

    /// Starts a queue without entries at a number; the messages before it are gone.
    pub(crate) fn start_at(&self, offset: i64) -> Result<(), StoreError> {
        self.remove_files()?;
        self.set_offsets(offset, offset);
        Ok(())
    }

    /// The entry of the last message; `None` without one.
    pub(crate) fn last_entry(&self) -> Result<Option<QueueEntry>, StoreError> {
        let (min, max) = (self.min_offset(), self.max_offset());
        if min == max {
            Ok(None)
        } else {
            self.entry(max - 1)
        }
    }

    /// Removes from the files what stands behind the end, which the reference would take for
    /// entries. Everything up to the end has been written.
    pub(crate) fn clear_behind_end(&self) -> Result<(), StoreError> {
        let Some((first, last)) = self.tail.lock().span else {
            return Ok(());
        };
        let end = self.max_offset() * ENTRY_SIZE as i64;
        let mut start = last;
        // The first file stays, it says where the queue goes on.
        while start > first && start >= end {
            self.files.open.forget((self.number, start));
            files::remove(&*self.files.disk, &self.path(start))?;
            start -= self.files.file_size;
            let mut tail = self.tail.lock();
            tail.span = Some((first, start));
            tail.names_changed = true;
        }
        let Some(file) = self.open_file(start)? else {
            return Ok(());
        };
        let at = (end - start).clamp(0, self.files.file_size) as u64;
        let failed = |error| StoreError::io("clear", self.path(start), error);
        if at == self.files.file_size as u64 || !has_data(&*file, at).map_err(failed)? {
            return Ok(());
        }
        file.set_len(at)
            .and_then(|()| file.set_len(self.files.file_size as u64))
            .map_err(failed)?;
        let mut tail = self.tail.lock();
        if !tail.unflushed.contains(&start) {
            tail.unflushed.push(start);
        }
        Ok(())
    }
}
