//! Entries of consume queues: the bytes of both kinds.
//!
//! An entry of a simple queue has 20 bytes; integers are big-endian and signed (`ConsumeQueue`):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | physical offset of the record in the commit log |
//! | 8 | 4 | size of the record |
//! | 12 | 8 | tags code: hash of the tag, the delivery time in a delay-level queue, or an address in `consumequeue_ext` (see `ext`) |
//!
//! Entry `n` of a queue is message `n` and stands at byte `20 n` of the files in
//! `consumequeue/TOPIC/QUEUE`, which have `mappedFileSizeConsumeQueue` bytes each. A size of 0
//! ends the queue. If the first file begins before the queue's first entry, it is filled up to
//! there with entries of physical offset 0, size 2147483647 and tags code 0 (`fillPreBlank`); the
//! same stands for a message that was lost, so that those behind it keep their numbers.
//!
//! An entry of a batch queue has 46 bytes (`BatchConsumeQueue`):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 20 | as above; the tags code is that of the record, 0 for a batch without a tag of its own |
//! | 20 | 8 | store timestamp of the record |
//! | 28 | 8 | number of its first message |
//! | 36 | 2 | how many messages it holds: 1, or those of an inner batch |
//! | 38 | 4 | compacted offset: -1 |
//! | 42 | 4 | reserved: 0 |
//!
//! They stand one behind the other in the files in `batchconsumequeue/TOPIC/QUEUE`, which have
//! `mapperFileSizeBatchConsumeQueue` bytes each. An entry says which messages it is for, so nothing
//! fills the place of those that are gone. A size or number of messages of 0 ends the queue.

/// Bytes of an entry of a simple queue.
pub const ENTRY_SIZE: usize = 20;
/// Bytes of an entry of a batch queue.
pub const BATCH_ENTRY_SIZE: usize = 46;

/// The largest number of a message that is taken for one: its entry's place can be computed.
pub(crate) const MAX_OFFSET: i64 = i64::MAX / 64;

/// What a queue's entries stand for (`CQType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// One message each.
    Simple,
    /// A record each, which may hold a batch of messages (`queue.type=BatchCQ`).
    Batch,
}

impl QueueKind {
    /// Bytes of an entry.
    pub const fn entry_size(self) -> usize {
        match self {
            Self::Simple => ENTRY_SIZE,
            Self::Batch => BATCH_ENTRY_SIZE,
        }
    }
}

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

    /// Whether this points to a record in front of the other's.
    pub(crate) fn is_before(&self, other: &QueueEntry) -> bool {
        self.physical_offset < other.physical_offset
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

/// An entry and which messages of the queue it is for (`CqUnit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueUnit {
    /// Number of its first message.
    pub queue_offset: i64,
    /// How many messages it holds, at least 1.
    pub count: i16,
    /// Where their record is.
    pub entry: QueueEntry,
}

impl QueueUnit {
    /// Number of the message behind.
    pub fn end(&self) -> i64 {
        self.queue_offset + i64::from(self.count)
    }

    /// Reads the entry in a place of a queue; `None` where none was written.
    pub(crate) fn decode(kind: QueueKind, slot: i64, bytes: &[u8]) -> Option<QueueUnit> {
        let (entry, rest) = bytes.split_first_chunk()?;
        let entry = QueueEntry::decode(entry)?;
        let (queue_offset, count) = match kind {
            QueueKind::Simple => (slot, 1),
            QueueKind::Batch => {
                let (_, rest) = rest.split_first_chunk::<8>()?;
                let (first, rest) = rest.split_first_chunk()?;
                let first = i64::from_be_bytes(*first);
                (first, i16::from_be_bytes(*rest.first_chunk()?))
            }
        };
        let is_one = (0..=MAX_OFFSET).contains(&queue_offset) && count > 0;
        is_one.then_some(QueueUnit {
            queue_offset,
            count,
            entry,
        })
    }

    /// The entry's bytes in a batch queue.
    pub(crate) fn encode_batch(&self, store_timestamp: i64) -> [u8; BATCH_ENTRY_SIZE] {
        const COMPACTED_OFFSET: i32 = -1;
        let mut bytes = [0; BATCH_ENTRY_SIZE];
        let (entry, rest) = bytes.split_at_mut(ENTRY_SIZE);
        let (timestamp, rest) = rest.split_at_mut(8);
        let (first, rest) = rest.split_at_mut(8);
        let (count, rest) = rest.split_at_mut(2);
        let (compacted, _) = rest.split_at_mut(4);
        entry.copy_from_slice(&self.entry.encode());
        timestamp.copy_from_slice(&store_timestamp.to_be_bytes());
        first.copy_from_slice(&self.queue_offset.to_be_bytes());
        count.copy_from_slice(&self.count.to_be_bytes());
        compacted.copy_from_slice(&COMPACTED_OFFSET.to_be_bytes());
        bytes
    }
}
