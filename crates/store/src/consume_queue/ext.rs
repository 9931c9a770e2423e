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
//! What the bits mean is the broker's business ([`FilterBits`], [`MessageFilter::matches_bits`]).
//!
//! [`FilterBits`]: crate::append::FilterBits
//! [`MessageFilter::matches_bits`]: crate::MessageFilter::matches_bits

use std::sync::Arc;

use super::entry::QueueEntry;
use crate::error::StoreError;
use crate::sequence::{Place, Sequence};

/// Bytes of a unit without a bit map.
pub(crate) const UNIT_SIZE: usize = 20;
/// The longest bit map in bytes.
const MAX_BITS: usize = i16::MAX as usize - UNIT_SIZE;
/// Bytes that stay free at the end of a file (`END_BLANK_DATA_LENGTH`).
const FREE: i64 = 4;
/// The largest address (`MAX_ADDR`).
const MAX_ADDRESS: i64 = i32::MIN as i64 - 1;

/// Where an address points; `None` for any other tags code.
pub(crate) fn position(tags_code: i64) -> Option<i64> {
    (tags_code <= MAX_ADDRESS).then(|| tags_code.wrapping_sub(i64::MIN))
}

/// What is kept of a message beside its entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtUnit {
    /// Tags code.
    pub tags_code: i64,
    /// When the message was stored, in milliseconds since 1970.
    pub store_timestamp: i64,
    /// Which filters it passes; empty where nobody has asked them.
    pub filter_bits: Vec<u8>,
}

impl ExtUnit {
    /// Bytes of the unit.
    pub fn size(&self) -> usize {
        UNIT_SIZE + self.filter_bits.len()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size());
        bytes.extend_from_slice(&(self.size() as i16).to_be_bytes());
        bytes.extend_from_slice(&self.tags_code.to_be_bytes());
        bytes.extend_from_slice(&self.store_timestamp.to_be_bytes());
        bytes.extend_from_slice(&(self.filter_bits.len() as i16).to_be_bytes());
        bytes.extend_from_slice(&self.filter_bits);
        bytes
    }

    /// The unit at the front of bytes, without its bits, and its size; `None` where there is none.
    pub(crate) fn decode_head(bytes: &[u8]) -> Option<(Self, i64)> {
        let (size, rest) = bytes.split_first_chunk()?;
        let (tags_code, rest) = rest.split_first_chunk()?;
        let size = i16::from_be_bytes(*size);
        let unit = Self {
            tags_code: i64::from_be_bytes(*tags_code),
            store_timestamp: i64::from_be_bytes(*rest.first_chunk()?),
            filter_bits: Vec::new(),
        };
        (size >= UNIT_SIZE as i16).then_some((unit, i64::from(size)))
    }
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

    /// Whether new messages get a unit.
    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    /// The bytes.
    pub(crate) fn units(&self) -> &Sequence {
        &self.units
    }

    /// Adds a message's unit, if they get one; returns what its entry has as tags code. Bits that
    /// are too many for a unit are left out.
    pub(crate) fn put(&self, mut unit: ExtUnit) -> i64 {
        if !self.writes {
            return unit.tags_code;
        }
        let most = MAX_BITS.min(self.units.file_size() as usize - UNIT_SIZE - FREE as usize);
        if unit.filter_bits.len() > most {
            unit.filter_bits.clear();
        }
        let bytes = unit.encode();
        let end = self.units.end();
        let room = self.units.file_start(end) + self.units.file_size() - end;
        if bytes.len() as i64 + FREE > room {
            let mut rest = vec![0; room as usize];
            let size = rest.iter_mut().take(2);
            size.for_each(|byte| *byte = 0xFF);
            self.units.push(&rest);
        }
        let position = self.units.end();
        self.units.push(&bytes);
        position.wrapping_add(i64::MIN)
    }

    /// The unit at a position, with its bits if they are wanted; `None` where there is none.
    pub(crate) fn get(&self, position: i64, bits: bool) -> Result<Option<ExtUnit>, StoreError> {
        let Some((mut unit, size)) = self.head(position)? else {
            return Ok(None);
        };
        let count = size as usize - UNIT_SIZE;
        if bits && count > 0 {
            let at = position + UNIT_SIZE as i64;
            self.units.read(at, count, &mut unit.filter_bits)?;
        }
        Ok(Some(unit))
    }

    /// The unit at a position without its bits, and its size.
    fn head(&self, position: i64) -> Result<Option<(ExtUnit, i64)>, StoreError> {
        let mut bytes = Vec::with_capacity(UNIT_SIZE);
        self.units.read(position, UNIT_SIZE, &mut bytes)?;
        Ok(ExtUnit::decode_head(&bytes))
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
            Some(Some(position)) => match self.head(position)? {
                Some((_, size)) => position + size,
                // It is lost, but its entry still points to its place.
                None => self.units.file_start(position) + size,
            },
        };
        self.units.end_at(end);
        Ok(())
    }
}
