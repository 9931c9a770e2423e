//! `timerwheel`: for each moment at which messages with a time of their own are due, where they
//! stand in the [timer log](crate::timer_log).
//!
//! One file of slots, two for each moment of seven days: 1,209,600 slots, whatever
//! `timerPrecisionMs` says a moment is. The slot of a moment is `time % number of slots`. A slot
//! has 32 bytes; integers are big-endian and signed (`TimerWheel`, `Slot`):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | time: the moment, milliseconds since 1970 divided by `timerPrecisionMs` |
//! | 8 | 8 | first: position in the timer log of the first entry for that moment |
//! | 16 | 8 | last: position of the last one, from which the others are found |
//! | 24 | 4 | count: messages to deliver; one taken back counts as -1 |
//! | 28 | 4 | magic: 0, without meaning |
//!
//! A slot of zeros was never used. One whose time is past stays as it is until its place is needed
//! for another moment.

use std::sync::Arc;

use bytes::{Buf, BufMut};

use crate::disk::File;

/// Slots of a wheel.
pub(crate) const WHEEL_SLOTS: u64 = 2 * 7 * 24 * 60 * 60;
/// Bytes of a slot.
pub const TIMER_SLOT_SIZE: usize = 32;

/// The messages of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerSlot {
    /// The moment, milliseconds since 1970 divided by `timerPrecisionMs`.
    pub time: i64,
    /// Position of its first entry in the timer log.
    pub first: i64,
    /// Position of its last entry in the timer log.
    pub last: i64,
    /// Messages to deliver.
    pub count: i32,
    /// Without meaning.
    pub magic: i32,
}

impl TimerSlot {
    /// Reads a slot; `None` for one that was never used.
    pub fn decode(bytes: &[u8; TIMER_SLOT_SIZE]) -> Option<TimerSlot> {
        let mut rest = bytes.as_slice();
        let slot = TimerSlot {
            time: rest.get_i64(),
            first: rest.get_i64(),
            last: rest.get_i64(),
            count: rest.get_i32(),
            magic: rest.get_i32(),
        };
        (*bytes != [0; TIMER_SLOT_SIZE]).then_some(slot)
    }

    /// The slot's bytes.
    pub fn encode(&self) -> [u8; TIMER_SLOT_SIZE] {
        let mut bytes = [0; TIMER_SLOT_SIZE];
        let mut rest = bytes.as_mut_slice();
        rest.put_i64(self.time);
        rest.put_i64(self.first);
        rest.put_i64(self.last);
        rest.put_i32(self.count);
        rest.put_i32(self.magic);
        bytes
    }
}

/// The slots in use of a wheel with their places, in the order of the file. What is not written
/// takes no time to read.
pub(crate) fn used_slots(
    file: Arc<dyn File>,
) -> impl Iterator<Item = std::io::Result<(u64, TimerSlot)>> {
    const SIZE: u64 = TIMER_SLOT_SIZE as u64;
    const CHUNK: usize = 2048 * TIMER_SLOT_SIZE;
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let from = at.take()?;
        let chunk = file.next_data(from).and_then(|data| {
            let Some(data) = data else {
                return Ok(None);
            };
            let begin = data - data % SIZE;
            let mut bytes = vec![0; CHUNK];
            let count = file.read_at(&mut bytes, begin)?;
            bytes.truncate(count);
            Ok(Some((begin, bytes)))
        });
        match chunk {
            Ok(Some((begin, bytes))) => {
                if bytes.len() == CHUNK {
                    at = Some(begin + CHUNK as u64);
                }
                let (slots, _) = bytes.as_chunks();
                let used = slots
                    .iter()
                    .zip(begin / SIZE..)
                    .filter_map(|(slot, index)| Some(Ok((index, TimerSlot::decode(slot)?))));
                Some(used.collect())
            }
            Ok(None) => None,
            Err(error) => Some(vec![Err(error)]),
        }
    })
    .flatten()
}
