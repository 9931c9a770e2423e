//! Reading the copy of a compacted queue (`CompactionLog.getMessage`).

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{ENTRIES, GetMessages, GetStatus, Limits, MAX_PULL_SIZE, MAX_UNWANTED, MessageFilter};
use super::{Pieces, Store};
use crate::compaction::copy::{Compacted, CopyReader};
use crate::consume_queue::{BATCH_ENTRY_SIZE, Queue};
use crate::error::StoreError;

impl Store {
    /// No message of the queue has a lower number, nor has one in its copy if it is compacted.
    pub fn first_offset(&self, queue: &Queue) -> i64 {
        let first = queue.min_offset();
        queue
            .compacted()
            .map_or(first, |copy| copy.first().min(first))
    }

    /// The record of a message that only the queue's copy has; `None` if it has none.
    pub(crate) fn compacted_message(
        &self,
        queue: &Queue,
        offset: i64,
    ) -> Result<Option<Bytes>, StoreError> {
        let copy = queue.compacted().filter(|copy| offset < copy.end());
        let Some(reader) = copy
            .map(|copy| copy.reader(&*self.disk))
            .transpose()?
            .flatten()
        else {
            return Ok(None);
        };
        let units = reader.units(reader.slot_from(offset)?, 1)?;
        let unit = units.first().filter(|unit| unit.queue_offset <= offset);
        let record = unit.map(|unit| reader.record(unit)).transpose()?.flatten();
        Ok(record.map(Bytes::from))
    }

    /// Reads messages of the queue's copy as [`Store::get_messages`] does; or tells from which
    /// number on to read the queue itself.
    pub(super) fn get_compacted(
        &self,
        queue: &Queue,
        offset: i64,
        (max_count, max_bytes): (usize, usize),
        filter: &impl MessageFilter,
    ) -> Result<ControlFlow<GetMessages, i64>, StoreError> {
        let mut next = offset;
        while let Some(copy) = queue.compacted().filter(|copy| next < copy.end()) {
            let Some(reader) = copy.reader(&*self.disk)? else {
                let now = queue.compacted();
                if now.is_some_and(|now| now.end() == copy.end()) {
                    tracing::warn!(topic = &**queue.topic(), "the files of a copy are gone");
                    next = copy.end();
                }
                continue;
            };
            let slot = reader.slot_from(offset)?;
            let settings = self.settings();
            let limits = Limits {
                settings: &settings,
                log_end: copy.len(),
                memory: self.young_bytes(&settings),
                max_count,
                max_bytes: max_bytes.clamp(100, MAX_PULL_SIZE),
                max_looked_at: (settings.max_filter_message_size / BATCH_ENTRY_SIZE).max(max_count)
                    as i64,
            };
            let got = gather(&reader, &copy, slot, filter, &limits)?;
            if got.status == GetStatus::Found || got.next_begin_offset < copy.end() {
                return Ok(ControlFlow::Break(GetMessages {
                    max_offset: queue.max_offset(),
                    ..got
                }));
            }
            next = copy.end();
        }
        Ok(ControlFlow::Continue(next))
    }
}

/// Collects messages of a copy from a slot on.
fn gather(
    reader: &CopyReader,
    copy: &Compacted,
    mut slot: i64,
    filter: &impl MessageFilter,
    limits: &Limits<'_>,
) -> Result<GetMessages, StoreError> {
    let mut got = GetMessages {
        status: GetStatus::NoMatchedMessage,
        next_begin_offset: copy.first(),
        min_offset: copy.first(),
        max_offset: copy.end(),
        slices: Vec::new(),
        size: 0,
        message_count: 0,
        behind: 0,
        suggest_pulling_from_slave: false,
    };
    let mut pieces = Pieces::default();
    let last_slot = slot + limits.max_looked_at;
    let (mut last_position, mut unwanted) = (0, 0);
    'slots: loop {
        let units = reader.units(slot, limits.max_count.clamp(1, ENTRIES))?;
        if units.is_empty() {
            got.next_begin_offset = copy.end();
            break;
        }
        for unit in units {
            if slot >= last_slot || unwanted >= MAX_UNWANTED || limits.is_full(&unit, &got) {
                break 'slots;
            }
            slot += 1;
            last_position = unit.entry.physical_offset;
            got.next_begin_offset = unit.end();
            if !filter.matches_entry(unit.entry.tags_code) {
                continue;
            }
            let Some(record) = reader.record(&unit)? else {
                continue;
            };
            if filter.looks_at_records() && !filter.matches_record(&record) {
                unwanted += record.len();
                continue;
            }
            got.status = GetStatus::Found;
            got.size += record.len();
            got.message_count += unit.count as usize;
            pieces.add(Bytes::from(record));
        }
    }
    got.slices = pieces.finish();
    got.behind = limits.log_end - last_position;
    got.suggest_pulling_from_slave = got.behind > limits.memory;
    Ok(got)
}
