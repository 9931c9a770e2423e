//! Reading messages of a queue, as a pull does.

mod compacted;

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use wire::message::body::Records;
use wire::message::record::RecordRef;

use crate::consume_queue::{ExtUnit, Queue, QueueEntry, QueueUnit};
use crate::error::StoreError;
use crate::settings::StoreConfig;
use crate::store::Store;

/// Records shorter than this are copied together; longer ones are shared with the log's buffer.
/// Sharing 32 small ones costs more than copying them, for whoever writes them to a socket, too,
/// and would keep large buffers alive.
const SHARED: usize = 4096;
/// Records no further apart than this are read from the file in one go.
pub(crate) const NEARBY: i64 = 4096;
/// Entries read from the queue at a time.
const ENTRIES: usize = 64;
/// Bytes of records that one call reads in vain, so that a filter that matches nothing does not
/// keep others waiting.
const MAX_UNWANTED: usize = 4 << 20;
/// No answer is larger than this (`DefaultMessageStore.MAX_PULL_MSG_SIZE`).
const MAX_PULL_SIZE: usize = 128 << 20;

/// How reading went (`GetMessageStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GetStatus {
    /// There are messages.
    Found,
    /// None of those looked at passes the filter.
    NoMatchedMessage,
    /// The messages' records are gone from the log.
    MessageWasRemoving,
    /// The queue has no entry where it should have one.
    OffsetFoundNull,
    /// The offset is behind the next message.
    OffsetOverflowBadly,
    /// The offset is that of the next message.
    OffsetOverflowOne,
    /// The messages at the offset are gone.
    OffsetTooSmall,
    /// The queue never had a message.
    NoMessageInQueue,
}

impl GetStatus {
    /// The reference's name of it (`GetMessageStatus`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found => "FOUND",
            Self::NoMatchedMessage => "NO_MATCHED_MESSAGE",
            Self::MessageWasRemoving => "MESSAGE_WAS_REMOVING",
            Self::OffsetFoundNull => "OFFSET_FOUND_NULL",
            Self::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
            Self::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
            Self::OffsetTooSmall => "OFFSET_TOO_SMALL",
            Self::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
        }
    }
}

/// Which messages a reader wants.
pub trait MessageFilter {
    /// Whether a message with this tags code may be wanted.
    fn matches_entry(&self, tags_code: i64) -> bool;

    /// Whether the message is wanted, by its record. Only asked if
    /// [`looks_at_records`](MessageFilter::looks_at_records).
    fn matches_record(&self, record: &[u8]) -> bool {
        let _ = record;
        true
    }

    /// Whether a message may be wanted, by the bits of the filters that it passes and when it was
    /// stored, in milliseconds since 1970. Only asked if
    /// [`looks_at_bits`](MessageFilter::looks_at_bits), and where there are bits.
    fn matches_bits(&self, filter_bits: &[u8], store_timestamp: i64) -> bool {
        let _ = (filter_bits, store_timestamp);
        true
    }

    /// Whether such bits matter.
    fn looks_at_bits(&self) -> bool {
        false
    }

    /// Whether a message may be wanted, by what is kept of it beside its record.
    fn matches_unit(&self, unit: &ExtUnit) -> bool {
        let bits = &unit.filter_bits;
        self.matches_entry(unit.tags_code)
            && (bits.is_empty() || self.matches_bits(bits, unit.store_timestamp))
    }

    /// Whether records matter.
    fn looks_at_records(&self) -> bool {
        false
    }
}

impl<F: Fn(i64) -> bool> MessageFilter for F {
    fn matches_entry(&self, tags_code: i64) -> bool {
        self(tags_code)
    }
}

/// Wants every message.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllMessages;

impl MessageFilter for AllMessages {
    fn matches_entry(&self, _tags_code: i64) -> bool {
        true
    }
}

/// Messages of a queue, or why there are none.
#[derive(Debug, Clone, PartialEq)]
pub struct GetMessages {
    /// How it went.
    pub status: GetStatus,
    /// Where to read next.
    pub next_begin_offset: i64,
    /// The queue's first message.
    pub min_offset: i64,
    /// The queue's next message.
    pub max_offset: i64,
    /// The records one behind the other, in few pieces.
    pub slices: Vec<Bytes>,
    /// Bytes of all of them.
    pub size: usize,
    /// How many messages there are, all of an inner batch counted.
    pub message_count: usize,
    /// Bytes of the log behind the last entry looked at.
    pub behind: i64,
    /// Whether the reader is so far behind that a slave should serve it.
    pub suggest_pulling_from_slave: bool,
}

impl GetMessages {
    /// The records, one after the other, up to the first that is damaged in its piece.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        let records = |slice| Records::new(slice).flatten();
        self.slices.iter().flat_map(move |slice| records(slice))
    }
}

/// What going through a queue has come to.
#[derive(Default)]
struct Pass {
    /// Entries of records in front of this position are skipped.
    skip_until: i64,
    /// Bytes of records that were read in vain.
    unwanted: usize,
}

/// A record that will be in the answer.
#[derive(Clone, Copy)]
struct Wanted {
    /// Numbers of its messages.
    first: i64,
    next: i64,
    physical_offset: i64,
    size: usize,
}

impl Wanted {
    fn end(&self) -> i64 {
        self.physical_offset + self.size as i64
    }

    fn messages(&self) -> usize {
        (self.next - self.first) as usize
    }
}

impl Store {
    /// Reads up to `max_count` messages of a queue from a number on, at most `max_bytes` of them
    /// and what the settings allow, but at least one if there is one
    /// (`DefaultMessageStore.getMessage`). Of a compacted queue it reads the copy first.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn get_messages(
        &self,
        queue: &Queue,
        offset: i64,
        max_count: usize,
        max_bytes: usize,
        filter: &impl MessageFilter,
    ) -> Result<GetMessages, StoreError> {
        let limits = (max_count, max_bytes);
        let offset = match self.get_compacted(queue, offset, limits, filter)? {
            ControlFlow::Break(got) => return Ok(got),
            ControlFlow::Continue(offset) => offset,
        };
        let (min_offset, max_offset) = (queue.min_offset(), queue.max_offset());
        let mut result = GetMessages {
            status: GetStatus::NoMatchedMessage,
            next_begin_offset: offset,
            min_offset,
            max_offset,
            slices: Vec::new(),
            size: 0,
            message_count: 0,
            behind: 0,
            suggest_pulling_from_slave: false,
        };
        let beside = if max_offset == 0 {
            Some((GetStatus::NoMessageInQueue, 0))
        } else if offset < min_offset {
            Some((GetStatus::OffsetTooSmall, min_offset))
        } else if offset == max_offset {
            Some((GetStatus::OffsetOverflowOne, offset))
        } else if offset > max_offset {
            Some((GetStatus::OffsetOverflowBadly, max_offset))
        } else {
            None
        };
        if let Some((status, next)) = beside {
            result.status = status;
            result.next_begin_offset = next;
            return Ok(result);
        }
        let settings = self.settings();
        let limits = Limits {
            settings: &settings,
            log_end: self.log.end(),
            memory: self.young_bytes(&settings),
            max_count,
            max_bytes: max_bytes.clamp(100, MAX_PULL_SIZE),
            max_looked_at: (settings.max_filter_message_size / queue.kind().entry_size())
                .max(max_count) as i64,
        };
        let wanted = self.choose(queue, offset, filter, &limits, &mut result)?;
        self.gather(&wanted, &mut result)?;
        Ok(result)
    }

    /// Bytes of the youngest messages that are taken to be in memory.
    pub(crate) fn young_bytes(&self, settings: &StoreConfig) -> i64 {
        (self.memory as f64 * f64::from(settings.access_message_in_memory_max_ratio) / 100.0) as i64
    }

    /// Goes through the queue's entries and chooses messages for the answer.
    fn choose(
        &self,
        queue: &Queue,
        offset: i64,
        filter: &impl MessageFilter,
        limits: &Limits<'_>,
        result: &mut GetMessages,
    ) -> Result<Vec<Wanted>, StoreError> {
        let mut wanted: Vec<Wanted> = Vec::with_capacity(limits.max_count.min(ENTRIES));
        let entry_size = queue.kind().entry_size();
        let mut bytes = Vec::with_capacity(limits.max_count.clamp(1, ENTRIES) * entry_size);
        let mut last_physical = 0;
        let mut next = offset;
        let mut slot = queue.slot_of(offset)?;
        let mut files = 0;
        let mut pass = Pass::default();
        'files: while wanted.is_empty()
            && next < result.max_offset
            && files < limits.settings.travel_cq_file_num_when_get_message
        {
            files += 1;
            pass.skip_until = pass.skip_until.min(0);
            let file_end = queue.next_file(slot);
            while slot < file_end && next < result.max_offset {
                let count = (file_end - slot).min(result.max_offset - next);
                let count = count.min(ENTRIES as i64) as usize;
                let count = count.min(limits.max_count.max(1));
                bytes.clear();
                queue.read(slot, count, &mut bytes)?;
                if bytes.is_empty() {
                    if wanted.is_empty() {
                        result.status = GetStatus::OffsetFoundNull;
                        next = queue.offset_of(file_end)?;
                    }
                    break 'files;
                }
                for unit in queue.units(slot, &bytes) {
                    let Some(unit) = unit else {
                        result.status = GetStatus::OffsetFoundNull;
                        next = queue.offset_of(file_end)?;
                        break 'files;
                    };
                    if unit.queue_offset - offset >= limits.max_looked_at
                        || pass.unwanted >= MAX_UNWANTED
                        || limits.is_full(&unit, result)
                    {
                        break 'files;
                    }
                    let entry = unit.entry;
                    last_physical = entry.physical_offset;
                    next = next.max(unit.end());
                    slot += 1;
                    let Some(status) = self.look(queue, &entry, filter, &mut pass)? else {
                        continue;
                    };
                    result.status = status;
                    if status == GetStatus::Found {
                        let chosen = Wanted {
                            first: unit.queue_offset,
                            next: unit.end(),
                            physical_offset: entry.physical_offset,
                            size: entry.size as usize,
                        };
                        result.size += chosen.size;
                        result.message_count += chosen.messages();
                        wanted.push(chosen);
                    }
                }
            }
        }
        if !wanted.is_empty() {
            result.status = GetStatus::Found;
        }
        result.next_begin_offset = next;
        result.behind = limits.log_end - last_physical;
        result.suggest_pulling_from_slave = result.behind > limits.memory;
        Ok(wanted)
    }

    /// Whether the message of an entry is wanted, or what became of it; `None` of one that is
    /// skipped.
    fn look(
        &self,
        queue: &Queue,
        entry: &QueueEntry,
        filter: &impl MessageFilter,
        pass: &mut Pass,
    ) -> Result<Option<GetStatus>, StoreError> {
        let (position, size) = (entry.physical_offset, entry.size as usize);
        if entry.is_blank() {
            return Ok(Some(GetStatus::MessageWasRemoving));
        }
        if position < pass.skip_until {
            return Ok(None);
        }
        let said = queue.said(entry, filter.looks_at_bits())?;
        if !said.is_none_or(|said| filter.matches_unit(&said)) {
            return Ok(Some(GetStatus::NoMatchedMessage));
        }
        if !self.log.contains(position, size) {
            pass.skip_until = self.log.file_start(position) + self.log.file_size();
            return Ok(Some(GetStatus::MessageWasRemoving));
        }
        if filter.looks_at_records() {
            let record = self.log.read(position, size)?;
            if !record.is_some_and(|record| filter.matches_record(&record)) {
                pass.unwanted += size;
                return Ok(Some(GetStatus::NoMatchedMessage));
            }
        }
        pass.skip_until = 0;
        Ok(Some(GetStatus::Found))
    }

    /// Collects the records' bytes. A file may be removed at any time; then the answer ends
    /// before it.
    fn gather(&self, wanted: &[Wanted], result: &mut GetMessages) -> Result<(), StoreError> {
        let mut pieces = Pieces::default();
        let small: usize = wanted
            .iter()
            .map(|wanted| wanted.size)
            .filter(|size| *size < SHARED)
            .sum();
        pieces.copied.reserve(small);
        let mut done = 0;
        while let Some(rest) = wanted.get(done..).filter(|rest| !rest.is_empty()) {
            let from_memory = self.gather_young(rest, &mut pieces);
            done += from_memory;
            let Some(rest) = wanted.get(done..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            match self.gather_from_file(rest, &mut pieces)? {
                0 => break,
                count => done += count,
            }
        }
        if let Some(missing) = wanted.get(done) {
            let got = wanted.get(..done).unwrap_or_default();
            result.size = got.iter().map(|wanted| wanted.size).sum();
            result.message_count = got.iter().map(Wanted::messages).sum();
            result.next_begin_offset = missing.first;
            if got.is_empty() {
                result.status = GetStatus::MessageWasRemoving;
                result.next_begin_offset = missing.next;
            }
        }
        result.slices = pieces.finish();
        Ok(())
    }

    /// Collects records from memory until one is not there; returns how many.
    fn gather_young(&self, wanted: &[Wanted], pieces: &mut Pieces) -> usize {
        let cache = self.log.cache();
        for (index, wanted) in wanted.iter().enumerate() {
            if wanted.size < SHARED {
                match cache.peek(wanted.physical_offset, wanted.size) {
                    Some(bytes) => pieces.copied.extend_from_slice(bytes),
                    None => return index,
                }
            } else {
                match cache.get(wanted.physical_offset, wanted.size) {
                    Some(bytes) => pieces.share(bytes),
                    None => return index,
                }
            }
        }
        wanted.len()
    }

    /// Collects one record and those near it with one read of the file; returns how many, 0 if
    /// the file is gone.
    fn gather_from_file(
        &self,
        wanted: &[Wanted],
        pieces: &mut Pieces,
    ) -> Result<usize, StoreError> {
        let Some(first) = wanted.first() else {
            return Ok(0);
        };
        let file = self.log.file_start(first.physical_offset);
        let mut end = first.end();
        let mut count = 1;
        for next in wanted.iter().skip(1) {
            let gap = next.physical_offset - end;
            if !(0..=NEARBY).contains(&gap) || self.log.file_start(next.physical_offset) != file {
                break;
            }
            end = next.end();
            count += 1;
        }
        let len = (end - first.physical_offset) as usize;
        let Some(bytes) = self.log.read_file(first.physical_offset, len)? else {
            return Ok(0);
        };
        let bytes = bytes.freeze();
        // Records without a gap between them are one slice.
        let mut run: Option<(usize, usize)> = None;
        for wanted in wanted.iter().take(count) {
            let at = (wanted.physical_offset - first.physical_offset) as usize;
            run = match run {
                Some((start, end)) if end == at => Some((start, at + wanted.size)),
                Some((start, end)) => {
                    pieces.add(bytes.slice(start..end));
                    Some((at, at + wanted.size))
                }
                None => Some((at, at + wanted.size)),
            };
        }
        if let Some((start, end)) = run {
            pieces.add(bytes.slice(start..end));
        }
        Ok(count)
    }
}

/// What bounds an answer.
struct Limits<'a> {
    settings: &'a StoreConfig,
    log_end: i64,
    /// Bytes before the log's end that are taken to be in memory.
    memory: i64,
    max_count: usize,
    max_bytes: usize,
    /// Entries.
    max_looked_at: i64,
}

impl Limits<'_> {
    /// Whether an answer does not take this record any more (`isTheBatchFull`).
    fn is_full(&self, unit: &QueueUnit, answer: &GetMessages) -> bool {
        let count = answer.message_count;
        if count == 0 {
            return false;
        }
        let settings = self.settings;
        let entry = &unit.entry;
        let (most_bytes, most_messages) = if self.log_end - entry.physical_offset <= self.memory {
            (
                settings.max_transfer_bytes_on_message_in_memory,
                settings.max_transfer_count_on_message_in_memory,
            )
        } else {
            (
                settings.max_transfer_bytes_on_message_in_disk,
                settings.max_transfer_count_on_message_in_disk,
            )
        };
        let size_with = answer.size.saturating_add(entry.size as usize);
        count + usize::from(unit.count.unsigned_abs()) > self.max_count
            || count >= most_messages
            || size_with > self.max_bytes
            || size_with > most_bytes
    }
}

/// An answer's bytes being collected.
#[derive(Default)]
struct Pieces {
    slices: Vec<Bytes>,
    /// Small records behind the last slice.
    copied: BytesMut,
}

impl Pieces {
    fn add(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED {
            self.copied.extend_from_slice(&bytes);
        } else {
            self.share(bytes);
        }
    }

    fn share(&mut self, bytes: Bytes) {
        if !self.copied.is_empty() {
            self.slices.push(self.copied.split().freeze());
        }
        self.slices.push(bytes);
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.copied.is_empty() {
            self.slices.push(self.copied.freeze());
        }
        self.slices
    }
}
