//! Finding a queue's end at the start, and changing it where the log says otherwise. Nobody else
//! uses the queue at that time.

use std::sync::atomic::Ordering;

use super::{Queue, QueueEntry, QueueFiles, QueueKind, partition_point};
use crate::error::StoreError;
use crate::sequence::Sequence;

/// Bytes at the front of a file that are read at once.
const BLOCK: usize = 4096;

/// Where a queue begins and ends: slots of the first entry and behind the last one, numbers of the
/// first message and behind the last one, positions of the first and the last file, and those of
/// the extension and where it ends; -1 for a file that is not there.
pub(crate) type QueueEnds = [i64; 9];

impl Queue {
    /// Where the queue begins and ends.
    pub(crate) fn ends(&self) -> QueueEnds {
        let (first, end) = self.slots();
        let files = |sequence: &Sequence| sequence.span().unwrap_or((-1, -1));
        let (first_file, last_file) = files(&self.entries);
        let ext = self.ext.get().map(|ext| ext.units());
        let (first_ext, last_ext) = ext.map_or((-1, -1), files);
        let ext_end = ext.map_or(-1, Sequence::end);
        [
            first,
            end,
            self.min_offset(),
            self.max_offset(),
            first_file,
            last_file,
            first_ext,
            last_ext,
            ext_end,
        ]
    }

    /// Takes the queue as it was at a clean stop.
    pub(crate) fn restore(&self, ends: &QueueEnds, files: &QueueFiles) {
        let [
            first,
            end,
            min,
            max,
            first_file,
            last_file,
            first_ext,
            last_ext,
            ext_end,
        ] = *ends;
        let span = |first, last| (first >= 0).then_some((first, last));
        self.entries.restore(span(first_file, last_file));
        self.set_ends((first, end), (min, max));
        if ext_end >= 0 {
            let units = self.make_ext(files).units();
            units.restore(span(first_ext, last_ext));
            units.end_at(ext_end);
        }
    }

    /// Finds the queue's files and its end. After a kill `rebuild_from` is where the log is
    /// entered again: files with nothing but entries of records behind that are not needed.
    pub(crate) fn load(&self, rebuild_from: Option<i64>) -> Result<(), StoreError> {
        let is_needed = |start| {
            let first = self.unit(start / self.entry_size())?;
            Ok(first.is_some_and(|unit| {
                rebuild_from.is_some_and(|from| unit.entry.physical_offset < from)
            }))
        };
        self.entries.load(rebuild_from.is_some(), is_needed)?;
        let Some((first, last)) = self.entries.span() else {
            return self.end_at(0, 0);
        };
        let (first, last) = (first / self.entry_size(), last / self.entry_size());
        self.find_end(first, last)?;
        self.skip_blanks()
    }

    /// Finds the files of the queue's extension.
    pub(crate) fn load_ext(&self, files: &QueueFiles, was_killed: bool) -> Result<(), StoreError> {
        let ext = self.make_ext(files);
        ext.load(was_killed)?;
        ext.end_behind(self.last_entry()?.as_ref())
    }

    /// The first slot without an entry. Entries are written in order, so all before the first
    /// missing one are there; after a power failure there may be more behind a hole, which
    /// recovery writes again.
    fn find_end(&self, first: i64, last_file: i64) -> Result<(), StoreError> {
        let written = |slot: i64| Ok::<bool, StoreError>(self.unit(slot)?.is_some());
        // Nearly always the end is in the last file, and in most of many queues near its front:
        // one read finds it, where a search would touch many places of the file.
        let front = BLOCK / self.kind.entry_size();
        let mut bytes = Vec::with_capacity(BLOCK);
        self.read(last_file, front, &mut bytes)?;
        let units = self.units(last_file, &bytes);
        let count = units.take_while(Option::is_some).count();
        let end = match count {
            0 => partition_point(first, last_file, written)?,
            count if count < front => last_file + count as i64,
            _ => partition_point(last_file, self.next_file(last_file), written)?,
        };
        self.end_at(first, end)
    }

    /// Moves the first number behind the entries that fill the first file's front.
    fn skip_blanks(&self) -> Result<(), StoreError> {
        let (mut first, end) = self.slots();
        let mut bytes = Vec::new();
        'blanks: while first < end {
            bytes.clear();
            self.read(first, 1000, &mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            for unit in self.units(first, &bytes) {
                if first == end || !unit.is_some_and(|unit| unit.entry.is_blank()) {
                    break 'blanks;
                }
                first += 1;
            }
        }
        self.end_at(first, end)
    }

    /// The queue has the entries of these slots, and nothing waits.
    fn end_at(&self, first: i64, end: i64) -> Result<(), StoreError> {
        let (min, max) = match self.kind {
            QueueKind::Simple => (first, end),
            QueueKind::Batch if first == end => (self.min_offset(), self.min_offset()),
            QueueKind::Batch => {
                let max = self.unit(end - 1)?.map_or(0, |unit| unit.end());
                (self.offset_of(first)?.min(max), max)
            }
        };
        self.set_ends((first, end), (min, max));
        Ok(())
    }

    fn set_ends(&self, (first, end): (i64, i64), (min, max): (i64, i64)) {
        self.entries.end_at(end * self.entry_size());
        self.first.store(first, Ordering::Release);
        self.min.store(min, Ordering::Release);
        self.max.store(max, Ordering::Release);
        self.next.store(max, Ordering::Release);
    }

    /// Ends the queue before the first entry of a record at `physical` or behind, so that
    /// recovery can write those again. What was there stays in the file until
    /// [`Queue::clear_behind_end`].
    pub(crate) fn truncate(&self, physical: i64) -> Result<(), StoreError> {
        let last = self.last_entry()?;
        if last.is_some_and(|last| !last.is_blank() && last.physical_offset < physical) {
            return Ok(());
        }
        let (first, end) = self.slots();
        let before = |slot| Ok(self.physical_from(slot)?.is_some_and(|at| at < physical));
        let point = partition_point(first, end, before)?;
        if point < end { self.cut(point) } else { Ok(()) }
    }

    /// Ends the queue in front of a slot.
    pub(crate) fn cut(&self, end: i64) -> Result<(), StoreError> {
        self.write_pending()?;
        let (first, _) = self.slots();
        self.end_at(first, end)?;
        match self.ext.get() {
            Some(ext) => ext.end_behind(self.last_entry()?.as_ref()),
            None => Ok(()),
        }
    }

    /// Starts a queue without entries at a number; the messages before it are gone.
    pub(crate) fn start_at(&self, offset: i64) -> Result<(), StoreError> {
        self.remove_files()?;
        let slot = match self.kind {
            QueueKind::Simple => offset,
            QueueKind::Batch => 0,
        };
        self.set_ends((slot, slot), (offset, offset));
        Ok(())
    }

    /// The last entry; `None` without one.
    pub(crate) fn last_entry(&self) -> Result<Option<QueueEntry>, StoreError> {
        let (first, end) = self.slots();
        if first == end {
            return Ok(None);
        }
        Ok(self.unit(end - 1)?.map(|unit| unit.entry))
    }

    /// Removes from the files what stands behind the end, which the reference would take for
    /// entries. Everything up to the end has been written.
    pub(crate) fn clear_behind_end(&self) -> Result<(), StoreError> {
        self.sequences().try_for_each(Sequence::clear_behind_end)
    }
}
