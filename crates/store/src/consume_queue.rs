//! A consume queue: for each message of one queue of a topic, where its record is.
//!
//! There are two kinds: in a simple queue each message has an entry, in a batch queue each record,
//! which may hold a batch of messages; `entry` specifies both, `ext` what can be kept beside the
//! entries of a simple queue. The entries count from 0 by *slot*; in a simple queue that is the
//! number of the message.
//!
//! New entries are readable at once from memory and are written to the file in batches. A kill
//! loses at most those, and recovery takes them from the commit log again.

mod entry;
pub(crate) mod ext;
mod recovery;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use self::ext::Ext;
use crate::compaction::copy::Compacted;
use crate::error::StoreError;
use crate::sequence::{Place, Sequence};

pub(crate) use self::entry::MAX_OFFSET;
pub use self::entry::{BATCH_ENTRY_SIZE, ENTRY_SIZE, QueueEntry, QueueKind, QueueUnit};
pub use self::ext::ExtUnit;
pub(crate) use self::recovery::QueueEnds;

/// Bytes of entries that may wait in one queue before whoever appends writes them itself.
const MOST_PENDING: i64 = 1 << 20;
/// Waiting entries at which writing should not wait for its time.
const URGENT: i64 = 8192;

/// Where the files of all queues are.
pub(crate) struct QueueFiles {
    pub(crate) simple: Arc<Place>,
    pub(crate) batch: Arc<Place>,
    pub(crate) ext: Arc<Place>,
    /// Whether new messages of simple queues get a unit in the extension.
    pub(crate) writes_ext: bool,
}

impl QueueFiles {
    /// Where the entries of a kind of queues are.
    pub(crate) fn place(&self, kind: QueueKind) -> &Arc<Place> {
        match kind {
            QueueKind::Simple => &self.simple,
            QueueKind::Batch => &self.batch,
        }
    }
}

/// One queue of a topic.
pub struct Queue {
    kind: QueueKind,
    entries: Sequence,
    /// For the queues that have it.
    ext: OnceLock<Box<Ext>>,
    /// Number of the first message whose record is still in the log.
    min: AtomicI64,
    /// Slot of its entry.
    first: AtomicI64,
    /// Number the next message gets, once all before it are readable.
    max: AtomicI64,
    /// Number the next message gets in a batch being appended; changes under the log's lock.
    next: AtomicI64,
    deleted: AtomicBool,
    /// The copy of its older messages, if it is compacted.
    compacted: RwLock<Option<Arc<Compacted>>>,
    /// Whether the queue is on the list of those with something to write or flush.
    listed: AtomicBool,
}

/// What adding an entry asks for.
pub(crate) struct Pushed {
    /// The queue has to go on the list of those with something to write.
    pub(crate) list: bool,
    /// Much is waiting: it should be written now.
    pub(crate) urgent: bool,
}

impl Queue {
    /// A queue without messages. Its number tells its open files from those of others.
    pub(crate) fn new(
        kind: QueueKind,
        topic: Arc<str>,
        id: i32,
        number: u64,
        files: &QueueFiles,
    ) -> Queue {
        let place = Arc::clone(files.place(kind));
        let queue = Queue {
            kind,
            entries: Sequence::new(place, topic, id, number),
            ext: OnceLock::new(),
            min: AtomicI64::new(0),
            first: AtomicI64::new(0),
            max: AtomicI64::new(0),
            next: AtomicI64::new(0),
            deleted: AtomicBool::new(false),
            compacted: RwLock::default(),
            listed: AtomicBool::new(false),
        };
        if files.writes_ext && kind == QueueKind::Simple {
            queue.make_ext(files);
        }
        queue
    }

    fn make_ext(&self, files: &QueueFiles) -> &Ext {
        self.ext.get_or_init(|| {
            let topic = Arc::clone(self.topic());
            let place = Arc::clone(&files.ext);
            // The numbers of entries count from below.
            let number = !self.entries.number();
            Box::new(Ext::new(place, topic, self.id(), number, files.writes_ext))
        })
    }

    /// The topic.
    pub fn topic(&self) -> &Arc<str> {
        self.entries.topic()
    }

    /// The queue's number in its topic.
    pub fn id(&self) -> i32 {
        self.entries.id()
    }

    /// What its entries stand for.
    pub fn kind(&self) -> QueueKind {
        self.kind
    }

    /// Distinguishes the queues of a store, in the order they were made.
    pub(crate) fn number(&self) -> u64 {
        self.entries.number()
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

    /// Whether new messages get a unit in the extension.
    pub(crate) fn writes_ext(&self) -> bool {
        self.ext.get().is_some_and(|ext| ext.writes())
    }

    /// Makes the next messages readable, with the bits of the filters that they pass, if that is
    /// known. Under the log's lock, in the order of the log.
    pub(crate) fn push(
        &self,
        unit: &QueueUnit,
        store_timestamp: i64,
        filter_bits: Vec<u8>,
    ) -> Pushed {
        match (self.kind, self.ext.get()) {
            (QueueKind::Batch, _) => self.entries.push(&unit.encode_batch(store_timestamp)),
            (QueueKind::Simple, Some(ext)) if !unit.entry.is_blank() => {
                let tags_code = ext.put(ExtUnit {
                    tags_code: unit.entry.tags_code,
                    store_timestamp,
                    filter_bits,
                });
                let entry = QueueEntry {
                    tags_code,
                    ..unit.entry
                };
                self.entries.push(&entry.encode());
            }
            (QueueKind::Simple, _) => self.entries.push(&unit.entry.encode()),
        }
        self.max.store(unit.end(), Ordering::Release);
        self.next.fetch_max(unit.end(), Ordering::Relaxed);
        Pushed {
            list: !self.listed.swap(true, Ordering::AcqRel),
            urgent: self.entries.waiting() == URGENT * self.entry_size(),
        }
    }

    /// Makes room for more entries where far too many wait to be written.
    ///
    /// # Errors
    /// If they cannot be written; the queue must not take more then.
    pub(crate) fn relieve(&self) -> Result<(), StoreError> {
        if self.entries.waiting() >= MOST_PENDING {
            self.write_pending()?;
        }
        Ok(())
    }

    fn entry_size(&self) -> i64 {
        self.kind.entry_size() as i64
    }

    /// Slots of the first entry and behind the last one.
    pub(crate) fn slots(&self) -> (i64, i64) {
        let end = self.entries.end() / self.entry_size();
        (self.first.load(Ordering::Acquire), end)
    }

    /// The slot of the entry that has a message; of the next one where none has it.
    pub(crate) fn slot_of(&self, offset: i64) -> Result<i64, StoreError> {
        match self.kind {
            QueueKind::Simple => Ok(offset),
            QueueKind::Batch => {
                let (first, end) = self.slots();
                let before = |slot| Ok(self.unit(slot)?.is_none_or(|unit| unit.end() <= offset));
                partition_point(first, end, before)
            }
        }
    }

    /// The first slot of the file behind the one that has this slot.
    pub(crate) fn next_file(&self, slot: i64) -> i64 {
        let per_file = self.entries.file_size() / self.entry_size();
        slot - slot.rem_euclid(per_file) + per_file
    }

    /// Reads entries from a slot on, as many as there are up to `count`, up to the end of the
    /// file they are in; fewer than that only at the queue's end. The bytes are appended to `out`.
    pub(crate) fn read(
        &self,
        slot: i64,
        count: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let (before, size) = (out.len(), self.kind.entry_size());
        let at = slot.saturating_mul(self.entry_size());
        self.entries.read(at, count.saturating_mul(size), out)?;
        out.truncate(before + (out.len() - before) / size * size);
        Ok(())
    }

    /// The entries in bytes read from a slot on; `None` for one that was never written.
    pub(crate) fn units<'a>(
        &self,
        slot: i64,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = Option<QueueUnit>> + use<'a> {
        let kind = self.kind;
        let entries = bytes.chunks_exact(kind.entry_size()).zip(slot..);
        entries.map(move |(bytes, slot)| QueueUnit::decode(kind, slot, bytes))
    }

    /// The entry in a slot; `None` where there is none.
    pub(crate) fn unit(&self, slot: i64) -> Result<Option<QueueUnit>, StoreError> {
        let mut bytes = Vec::with_capacity(self.kind.entry_size());
        self.read(slot, 1, &mut bytes)?;
        Ok(self.units(slot, &bytes).next().flatten())
    }

    /// The entry that has a message; `None` where there is none.
    pub(crate) fn unit_of(&self, offset: i64) -> Result<Option<QueueUnit>, StoreError> {
        if offset < 0 || offset >= self.max_offset() {
            return Ok(None);
        }
        let unit = self.unit(self.slot_of(offset)?)?;
        Ok(unit.filter(|unit| unit.queue_offset <= offset))
    }

    /// What an entry says of its message's tag: what the extension has for it, if it points there;
    /// `None` if that is lost.
    pub(crate) fn tags_code(&self, entry: &QueueEntry) -> Result<Option<i64>, StoreError> {
        Ok(self.said(entry, false)?.map(|said| said.tags_code))
    }

    /// What an entry says of its message, the bits of filters among it if they are wanted; `None`
    /// if it points to a unit of the extension that is lost.
    pub(crate) fn said(
        &self,
        entry: &QueueEntry,
        bits: bool,
    ) -> Result<Option<ExtUnit>, StoreError> {
        match (ext::position(entry.tags_code), self.ext.get()) {
            (None, _) => Ok(Some(ExtUnit {
                tags_code: entry.tags_code,
                ..ExtUnit::default()
            })),
            (Some(position), Some(ext)) => ext.get(position, bits),
            (Some(_), None) => Ok(None),
        }
    }

    /// Where the record of an entry is, or of the next one that has one: slots and places grow
    /// together, except for the entries that only fill a place.
    fn physical_from(&self, slot: i64) -> Result<Option<i64>, StoreError> {
        let (_, end) = self.slots();
        for slot in slot..end {
            match self.unit(slot)? {
                Some(unit) if unit.entry.is_blank() => {}
                Some(unit) => return Ok(Some(unit.entry.physical_offset)),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Writes what waits to the files, which then hold all up to the present end.
    pub(crate) fn write_pending(&self) -> Result<(), StoreError> {
        if self.is_deleted() {
            return Ok(());
        }
        // A topic of the same name may have left its files, if their removal failed.
        if self.entries.waiting() > 0 && self.entries.span().is_none() {
            self.remove_each(Sequence::remove_leftovers)?;
        }
        // No entry on the disk points to a unit that is not.
        self.sequences().try_for_each(Sequence::write_pending)
    }

    /// Flushes the files written to since the last time; what waits is not written.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.sequences().try_for_each(Sequence::flush)
    }

    /// The bytes of its entries, behind those of what they point to.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = &Sequence> {
        let ext = self.ext.get().map(|ext| ext.units());
        ext.into_iter().chain([&self.entries])
    }

    /// Bytes of entries that wait to be written.
    pub(crate) fn pending_bytes(&self) -> i64 {
        self.entries.waiting()
    }

    fn has_work(&self) -> bool {
        self.sequences().any(Sequence::has_work)
    }

    /// Puts the queue on the list of those with something to write or flush; `true` if it was
    /// not there and has to be.
    pub(crate) fn has_to_be_listed(&self) -> bool {
        self.has_work() && !self.listed.swap(true, Ordering::AcqRel)
    }

    /// Takes the queue off the list of those with something to write; `true` if it has to stay.
    pub(crate) fn unlist(&self) -> bool {
        self.listed.store(false, Ordering::Release);
        // Whoever has added an entry since may have listed it already.
        !self.is_deleted() && self.has_to_be_listed()
    }

    /// Moves the first message's number up to the first whose record lies at `min_physical` or
    /// behind, and removes the files that hold older entries only (`correctMinOffset`,
    /// `deleteExpiredFile`). The last file stays, so that numbers go on.
    pub(crate) fn forget_before(&self, min_physical: i64) -> Result<(), StoreError> {
        let (first, end) = self.slots();
        // The blanks at the end are of messages that a power failure took: they go with those
        // before them, and say nothing of these.
        let mut filled = end;
        while filled > first
            && self
                .unit(filled - 1)?
                .is_none_or(|unit| unit.entry.is_blank())
        {
            filled -= 1;
        }
        let gone = |slot| Ok(self.physical_from(slot)?.is_none_or(|at| at < min_physical));
        let low = match partition_point(first, filled, gone)? {
            low if low == filled => end,
            low => low,
        };
        if low > first {
            let min = self.offset_of(low)?.min(self.max_offset());
            self.first.store(low, Ordering::Release);
            self.min.store(min, Ordering::Release);
        }
        self.entries.drop_before(low * self.entry_size())?;
        let Some(ext) = self.ext.get() else {
            return Ok(());
        };
        match self
            .unit(low)?
            .map(|unit| ext::position(unit.entry.tags_code))
        {
            Some(Some(position)) => ext.units().drop_before(position),
            _ => Ok(()),
        }
    }

    /// The number of the first message of an entry, or behind the last one.
    pub(crate) fn offset_of(&self, slot: i64) -> Result<i64, StoreError> {
        match self.kind {
            QueueKind::Simple => Ok(slot),
            QueueKind::Batch => {
                let unit = self.unit(slot)?;
                Ok(unit.map_or_else(|| self.max_offset(), |unit| unit.queue_offset))
            }
        }
    }

    /// The queue takes no more messages, and has no copy of any. Under the log's lock.
    pub(crate) fn mark_deleted(&self) {
        let mut compacted = self.compacted.write();
        self.deleted.store(true, Ordering::Release);
        *compacted = None;
    }

    /// The copy of its older messages.
    pub(crate) fn compacted(&self) -> Option<Arc<Compacted>> {
        self.compacted.read().clone()
    }

    /// Finishes a copy of its older messages, unless the queue is deleted; then `false`.
    pub(crate) fn publish(
        &self,
        finish: impl FnOnce() -> Result<Compacted, StoreError>,
    ) -> Result<bool, StoreError> {
        let mut compacted = self.compacted.write();
        if self.is_deleted() {
            return Ok(false);
        }
        *compacted = Some(Arc::new(finish()?));
        Ok(true)
    }

    /// Removes the files and the directories.
    pub(crate) fn remove_files(&self) -> Result<(), StoreError> {
        self.remove_each(Sequence::remove_files)
    }

    /// Removes files, first those with the entries: none of them may point to a unit that is gone.
    fn remove_each(
        &self,
        remove: impl Fn(&Sequence) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        remove(&self.entries)?;
        self.ext.get().map_or(Ok(()), |ext| remove(ext.units()))
    }

    /// Bytes of the files.
    pub(crate) fn file_bytes(&self) -> i64 {
        let ext = self.ext.get().map_or(0, |ext| ext.units().file_bytes());
        self.entries.file_bytes() + ext
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("kind", &self.kind)
            .field("topic", self.topic())
            .field("id", &self.id())
            .field("min_offset", &self.min_offset())
            .field("max_offset", &self.max_offset())
            .finish_non_exhaustive()
    }
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
