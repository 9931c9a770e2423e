//! The extension of a simple queue's entries (`enableConsumeQueueExt`; `ConsumeQueueExt`).
//!
//! With it each message has a unit in the files of `consumequeue_ext/TOPIC/QUEUE`, which have
//! `mappedFileSizeConsumeQueueExt` bytes each; integers are big-endian and signed (`CqExtUnit`):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 2 | size of the unit: 20 + B |
//! | 2 | 8 | tags code, which the queue's entry has no room for any more |
//! | 10 | 8 | store timestamp |
//! | 18 | 2 | bytes `B` of the filter's bit map |
//! | 20 | B | bit map: which filters the message passes |
//!
//! Units stand one behind the other. Where less than 4 bytes would be left behind a unit, it goes
//! into the next file, and a size of -1 says so in its place. A size of 0 is the end. The queue's
//! entry has the address of the unit as its tags code: its position + -2^63, which is below every
//! other tags code (`decorate`, `isExtAddr`). So an entry tells by itself whether it has a unit, and
//! a store that was written with the extension is read rightly without it.
//!
//! Kerolox writes units without a bit map and does not look at those of others.

use std::sync::Arc;

use super::entry::QueueEntry;
use crate::error::StoreError;
use crate::sequence::{Place, Sequence};

/// Bytes of a unit without a bit map.
pub(crate) const UNIT_SIZE: usize = 20;
/// Bytes that stay free at the end of a file (`END_BLANK_DATA_LENGTH`).
const FREE: i64 = 4;
/// The largest address (`MAX_ADDR`).
const MAX_ADDRESS: i64 = i32::MIN as i64 - 1;

/// Where an address points; `None` for any other tags code.
pub(crate) fn position(tags_code: i64) -> Option<i64> {
    (tags_code <= MAX_ADDRESS).then(|| tags_code.wrapping_sub(i64::MIN))
}

/// Size and tags code of the unit at the front of bytes; `None` where there is none.
pub(crate) fn decode(bytes: &[u8]) -> Option<(i64, i64)> {
    let (size, rest) = bytes.split_first_chunk()?;
    let size = i16::from_be_bytes(*size);
    let tags_code = i64::from_be_bytes(*rest.first_chunk()?);
    (size >= UNIT_SIZE as i16).then_some((i64::from(size), tags_code))
}

/// One queue's units.
pub(crate) struct Ext {
    units: Sequence,
    /// Whether new messages get one.
    writes: bool,
}

impl Ext {
    /// No units; that touches no file.
    pub(crate) fn new(
        place: Arc<Place>,
        topic: Arc<str>,
        id: i32,
        number: u64,
        writes: bool,
    ) -> Ext {
        Ext {
            units: Sequence::new(place, topic, id, number),
            writes,
        }
    }

    /// The bytes.
    pub(crate) fn units(&self) -> &Sequence {
        &self.units
    }

    /// Adds a message's unit, if they get one; returns what its entry has as tags code.
    pub(crate) fn put(&self, tags_code: i64, store_timestamp: i64) -> i64 {
        if !self.writes {
            return tags_code;
        }
        let end = self.units.end();
        let room = self.units.file_start(end) + self.units.file_size() - end;
        if UNIT_SIZE as i64 + FREE > room {
            let mut rest = vec![0; room as usize];
            let size = rest.iter_mut().take(2);
            size.for_each(|byte| *byte = 0xFF);
            self.units.push(&rest);
        }
        let position = self.units.end();
        let mut bytes = [0; UNIT_SIZE];
        let (size, rest) = bytes.split_at_mut(2);
        let (code, rest) = rest.split_at_mut(8);
        let (timestamp, _) = rest.split_at_mut(8);
        size.copy_from_slice(&(UNIT_SIZE as i16).to_be_bytes());
        code.copy_from_slice(&tags_code.to_be_bytes());
        timestamp.copy_from_slice(&store_timestamp.to_be_bytes());
        self.units.push(&bytes);
        position.wrapping_add(i64::MIN)
    }

    /// The tags code of the unit at a position; `None` where there is none.
    pub(crate) fn tags_code(&self, position: i64) -> Result<Option<i64>, StoreError> {
        Ok(self.unit(position)?.map(|(_, tags_code)| tags_code))
    }

    /// Size and tags code of the unit at a position.
    fn unit(&self, position: i64) -> Result<Option<(i64, i64)>, StoreError> {
        let mut bytes = Vec::with_capacity(UNIT_SIZE);
        self.units.read(position, UNIT_SIZE, &mut bytes)?;
        Ok(decode(&bytes))
    }

    /// Finds the files after a stop or a kill.
    pub(crate) fn load(&self, was_killed: bool) -> Result<(), StoreError> {
        self.units.load(was_killed, |_| Ok(true))
    }

    /// Ends where new units take the place of none that an entry of the queue points to; `last`
    /// is the queue's last entry.
    pub(crate) fn end_behind(&self, last: Option<&QueueEntry>) -> Result<(), StoreError> {
        let size = self.units.file_size();
        let span = self.units.span();
        let files_end = span.map_or(0, |(_, last)| last + size);
        self.units.end_at(files_end);
        let end = match last.map(|last| position(last.tags_code)) {
            None => span.map_or(0, |(first, _)| first),
            Some(None) => files_end,
            Some(Some(position)) => match self.unit(position)? {
                Some((size, _)) => position + size,
                // It is lost, but its entry still points to its place.
                None => self.units.file_start(position) + size,
            },
        };
        self.units.end_at(end);
        Ok(())
    }
}
