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

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, BufMut};

use crate::disk::{Disk, File, OpenMode};
use crate::error::StoreError;
use crate::files;

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

/// The wheel of a running broker. What is changed is kept in memory until it is flushed.
pub(crate) struct Wheel {
    file: Arc<dyn File>,
    path: PathBuf,
    /// The bytes of the slots changed since the last flush, by place.
    changed: BTreeMap<u64, [u8; TIMER_SLOT_SIZE]>,
}

impl Wheel {
    /// Slots read at a time when one in use is looked for.
    const STRETCH: i64 = 2048;

    /// Opens the file, made where it is missing, and tells whether it was there. One that is too
    /// short lost its end with the power, before it was first flushed: then it is none.
    pub(crate) fn open(disk: &dyn Disk, path: PathBuf) -> Result<(Wheel, bool), StoreError> {
        let expected = WHEEL_SLOTS * TIMER_SLOT_SIZE as u64;
        let found = files::open(disk, &path, OpenMode::Write)?;
        let len = match &found {
            Some(file) => file
                .len()
                .map_err(|error| StoreError::io("look at", &path, error))?,
            None => 0,
        };
        if len > expected {
            let key = "the length of a timer wheel";
            return Err(StoreError::FileSize {
                path,
                len,
                expected,
                key,
            });
        }
        let file = files::create_named(disk, &path, expected)?;
        let changed = BTreeMap::new();
        let wheel = Wheel {
            file,
            path,
            changed,
        };
        Ok((wheel, len == expected))
    }

    fn index(time: i64) -> u64 {
        time.rem_euclid(WHEEL_SLOTS as i64) as u64
    }

    /// The slot of a moment, if it is in use for that one.
    pub(crate) fn get(&self, time: i64) -> Result<Option<TimerSlot>, StoreError> {
        self.first_used(time, time + 1)
    }

    /// Changes the slot of its moment.
    pub(crate) fn put(&mut self, slot: &TimerSlot) {
        self.changed.insert(Self::index(slot.time), slot.encode());
    }

    /// Makes the slot of a moment one that was never used.
    pub(crate) fn clear(&mut self, time: i64) {
        self.changed.insert(Self::index(time), [0; TIMER_SLOT_SIZE]);
    }

    /// The first slot in use for a moment from one to another, which is not included.
    pub(crate) fn first_used(
        &self,
        from: i64,
        until: i64,
    ) -> Result<Option<TimerSlot>, StoreError> {
        let mut bytes = Vec::new();
        let mut from = from;
        while from < until {
            let index = Self::index(from);
            let in_file = WHEEL_SLOTS as i64 - index as i64;
            let count = (until - from).min(in_file).min(Self::STRETCH);
            bytes.resize(count as usize * TIMER_SLOT_SIZE, 0);
            self.file
                .read_at(&mut bytes, index * TIMER_SLOT_SIZE as u64)
                .map_err(|error| StoreError::io("read", &self.path, error))?;
            let (slots, _) = bytes.as_chunks();
            for (slot, (index, time)) in slots.iter().zip((index..).zip(from..)) {
                let slot = self.changed.get(&index).unwrap_or(slot);
                let slot = TimerSlot::decode(slot).filter(|slot| slot.time == time);
                if slot.is_some() {
                    return Ok(slot);
                }
            }
            from += count;
        }
        Ok(None)
    }

    /// The slots in use in the file, in no order of time; see [`used_slots`].
    pub(crate) fn used(&self) -> impl Iterator<Item = Result<TimerSlot, StoreError>> + use<> {
        let path = self.path.clone();
        used_slots(Arc::clone(&self.file)).map(move |slot| {
            slot.map(|(_, slot)| slot)
                .map_err(|error| StoreError::io("read", &path, error))
        })
    }

    /// Slots changed since the last flush.
    pub(crate) fn changes(&self) -> usize {
        self.changed.len()
    }

    /// Makes all slots such that were never used.
    pub(crate) fn reset(&mut self) -> Result<(), StoreError> {
        self.changed.clear();
        let len = WHEEL_SLOTS * TIMER_SLOT_SIZE as u64;
        self.file
            .set_len(0)
            .and_then(|()| self.file.set_len(len))
            .map_err(|error| StoreError::io("clear", &self.path, error))
    }

    /// Writes and flushes what was changed.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let written = self
            .changed
            .iter()
            .try_for_each(|(index, slot)| self.file.write_at(slot, index * TIMER_SLOT_SIZE as u64));
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|error| StoreError::io("write", &self.path, error))?;
        self.changed.clear();
        Ok(())
    }
}
