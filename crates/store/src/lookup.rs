//! Finding single messages: by number, place or time.

use bytes::Bytes;
use wire::message::record::{RecordRef, SYS_FLAG_POSITION, store_timestamp_position};

use crate::consume_queue::{
    ExtUnit, Queue, QueueEntry, QueueKind, QueueUnit, ext, partition_point,
};
use crate::error::StoreError;
use crate::get_messages::NEARBY;
use crate::log_scan::{LogItem, LogScan};
use crate::store::Store;

/// Most bytes of the log that are read together for single messages.
const RUN: usize = 1 << 20;

/// Which of several messages of one time, or none of that time, is meant (`BoundaryType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The first message stored at the time or later.
    Lower,
    /// The last message stored at the time or earlier.
    Upper,
}

impl Store {
    /// The queue's entry of a number, and which messages it is for; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn unit(&self, queue: &Queue, offset: i64) -> Result<Option<QueueUnit>, StoreError> {
        if offset < queue.min_offset() {
            return Ok(None);
        }
        let mut unit = queue.unit_of(offset)?;
        if let Some(QueueUnit { entry, .. }) = &mut unit {
            entry.tags_code = queue.tags_code(entry)?.unwrap_or(entry.tags_code);
        }
        Ok(unit)
    }

    /// What is kept of a queue's message beside its entry; `None` where nothing is.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn ext_unit(&self, queue: &Queue, offset: i64) -> Result<Option<ExtUnit>, StoreError> {
        match queue.unit_of(offset)? {
            Some(unit) if ext::position(unit.entry.tags_code).is_some() => {
                queue.said(&unit.entry, true)
            }
            _ => Ok(None),
        }
    }

    /// The queue's entry of a number; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn entry(&self, queue: &Queue, offset: i64) -> Result<Option<QueueEntry>, StoreError> {
        Ok(self.unit(queue, offset)?.map(|unit| unit.entry))
    }

    /// The record that begins at a position of the log; `None` where none does or it is gone.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn message(&self, physical_offset: i64) -> Result<Option<Bytes>, StoreError> {
        self.log.message(physical_offset)
    }

    /// The records that begin at positions of the log, which have these sizes; `None` where none
    /// does or it is gone. Those that lie near each other in their order are read together.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn messages(&self, places: &[(i64, usize)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut messages = Vec::with_capacity(places.len());
        while let Some(rest) = places.get(messages.len()..)
            && let Some(&(begin, _)) = rest.first()
        {
            let run = rest.get(..self.run(rest)).unwrap_or(rest);
            let (last, size) = run.last().copied().unwrap_or_default();
            let len = (last - begin) as usize + size;
            let bytes = match len <= RUN {
                true => self.log.read(begin, len)?,
                false => None,
            };
            for &(position, size) in run {
                let at = (position - begin) as usize;
                let message = bytes.as_ref().map(|bytes| bytes.slice(at..at + size));
                let is_here = |message: &Bytes| {
                    let record = RecordRef::parse(message);
                    record.is_ok_and(|record| record.physical_offset() == position)
                };
                messages.push(match message.filter(is_here) {
                    Some(message) => Some(message),
                    None => self.log.message(position)?,
                });
            }
        }
        Ok(messages)
    }

    /// How many of these places, one at least, can be read together.
    fn run(&self, places: &[(i64, usize)]) -> usize {
        let begin = places.first().map_or(0, |(begin, _)| *begin);
        let file = self.log.file_start(begin);
        let is_near = |pair: &&[(i64, usize)]| match pair {
            [(position, size), (next, next_size)] => {
                *position >= 0
                    && next > position
                    && (0..=NEARBY).contains(&(next - position - *size as i64))
                    && (next - begin) as usize + next_size <= RUN
                    && self.log.file_start(*next) == file
            }
            _ => false,
        };
        1 + places.windows(2).take_while(is_near).count()
    }

    /// The record of a queue's message; `None` where there is none or it is gone. Of a compacted
    /// queue it may be in the copy.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn message_at(&self, queue: &Queue, offset: i64) -> Result<Option<Bytes>, StoreError> {
        let found = match self.entry(queue, offset)? {
            Some(entry) => self.log.read(entry.physical_offset, entry.size as usize)?,
            None => None,
        };
        match found {
            Some(record) => Ok(Some(record)),
            None => self.compacted_message(queue, offset),
        }
    }

    /// Shows the records from a position on, where one begins, to the end of the log.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn records_from(
        &self,
        physical_offset: i64,
        mut show: impl FnMut(&RecordRef<'_>),
    ) -> Result<(), StoreError> {
        let settings = self.settings();
        let mut scan = LogScan::new(&self.log, &settings, physical_offset);
        while scan.end() < self.log.end() {
            match scan.next()? {
                Some(LogItem::Record(record, _)) => show(&record),
                Some(LogItem::Damage { .. }) => {}
                None => break,
            }
        }
        Ok(())
    }

    /// When a queue's message was stored, in milliseconds since 1970; -1 where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn store_timestamp_at(&self, queue: &Queue, offset: i64) -> Result<i64, StoreError> {
        match self.entry(queue, offset)? {
            Some(entry) => Ok(self.timestamp(&entry)?.unwrap_or(-1)),
            None => Ok(-1),
        }
    }

    /// When the queue's first message was stored; -1 without one.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn earliest_message_time(&self, queue: &Queue) -> Result<i64, StoreError> {
        self.store_timestamp_at(queue, queue.min_offset())
    }

    /// When the log's first message was stored; -1 in an empty log.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn earliest_time(&self) -> Result<i64, StoreError> {
        let message = self.message(self.log.begin())?;
        let record = message.as_deref().map(RecordRef::parse);
        Ok(match record {
            Some(Ok(record)) => record.store_timestamp(),
            _ => -1,
        })
    }

    /// The number of the queue's message stored at a time; if there are several or none, the one
    /// `boundary` means, between the first message and the next one
    /// (`ConsumeQueue.getOffsetInQueueByTime`). In a batch queue it is the first message of a
    /// record, and of the last one at the latest (`BatchConsumeQueue.getOffsetInQueueByTime`).
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn offset_by_time(
        &self,
        queue: &Queue,
        timestamp: i64,
        boundary: Boundary,
    ) -> Result<i64, StoreError> {
        let (first, end) = queue.slots();
        let before = |slot| {
            let stored = match queue.unit(slot)? {
                Some(unit) => self.timestamp(&unit.entry)?,
                None => None,
            };
            // What is gone from the log was stored before all that is there.
            Ok(stored.is_none_or(|stored| match boundary {
                Boundary::Lower => stored < timestamp,
                Boundary::Upper => stored <= timestamp,
            }))
        };
        let point = partition_point(first, end, before)?;
        let slot = match (boundary, queue.kind()) {
            (Boundary::Lower, QueueKind::Simple) => point,
            (Boundary::Lower, QueueKind::Batch) => point.min(end - 1),
            (Boundary::Upper, _) => point - 1,
        };
        queue.offset_of(slot.max(first))
    }

    /// Whether a queue's message is young enough to be taken to be in memory
    /// (`checkInMemByConsumeOffset`).
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn is_in_memory(&self, queue: &Queue, offset: i64) -> Result<bool, StoreError> {
        let young = self.young_bytes(&self.settings());
        Ok(self
            .entry(queue, offset)?
            .is_some_and(|entry| self.log.end() - entry.physical_offset <= young))
    }

    /// When an entry's message was stored; `None` where the record is gone.
    fn timestamp(&self, entry: &QueueEntry) -> Result<Option<i64>, StoreError> {
        // With the larger of the two address sizes and the timestamp behind it.
        const HEAD: usize = 48 + 20 + 8;
        if entry.is_blank() || (entry.size as usize) < HEAD {
            return Ok(None);
        }
        let Some(head) = self.log.read(entry.physical_offset, HEAD)? else {
            return Ok(None);
        };
        let sys_flag = head.get(SYS_FLAG_POSITION..).and_then(<[u8]>::first_chunk);
        let at = sys_flag.map(|flag| store_timestamp_position(i32::from_be_bytes(*flag)));
        let timestamp = at.and_then(|at| head.get(at..)?.first_chunk());
        Ok(timestamp.map(|timestamp| i64::from_be_bytes(*timestamp)))
    }
}
