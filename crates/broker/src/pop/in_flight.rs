//! The messages of one topic that one group has received and not yet acknowledged.
//!
//! A reception is what one pop took from one queue. Its handle names it by queue, first offset and
//! time of the pop. Acknowledged messages are struck off; what is left of a reception when its
//! invisible time is over goes to the group's retry topic.

use std::collections::{BTreeSet, HashMap};

use wire::message::pop::revive::PopCheckPoint;

/// The most messages of one reception (`PopCheckPoint.bitMap` has so many bits).
pub(super) const MAX_MESSAGES: usize = 32;

/// How long a reception waits for the timer before it looks again, in milliseconds.
const TIMER_MILLIS: i64 = 100;

/// Which reception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Handle {
    pub(super) queue_id: i32,
    pub(super) start_offset: i64,
    /// Milliseconds since 1970.
    pub(super) pop_time: i64,
}

/// Where a reception's check point stands in the revive topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) queue_id: i32,
    pub(super) offset: i64,
}

/// What is known of a reception.
#[derive(Debug)]
struct Reception {
    place: Place,
    /// When its messages are delivered again, in milliseconds since 1970.
    due: i64,
    /// Up to when the timer may bring acknowledgements of it, in milliseconds since 1970.
    acks_until: i64,
    /// Offsets of its messages less the start offset, ascending.
    diffs: Box<[i32]>,
    /// Whether their delivery is put off by the consumer, and no failed one.
    suspended: bool,
    /// A bit for each that is settled: acknowledged, or handed on to the retry topic.
    settled: u32,
}

impl Reception {
    fn bit(&self, handle: &Handle, offset: i64) -> Option<u32> {
        let diff = i32::try_from(offset.checked_sub(handle.start_offset)?).ok()?;
        let index = self.diffs.iter().position(|known| *known == diff)?;
        Some(1 << index)
    }

    /// Offsets of the messages that are not settled.
    fn outstanding(&self, handle: &Handle) -> impl Iterator<Item = i64> {
        let (start, settled) = (handle.start_offset, self.settled);
        let numbered = self.diffs.iter().enumerate();
        numbered
            .filter(move |(index, _)| settled & (1 << index) == 0)
            .map(move |(_, diff)| start.saturating_add(i64::from(*diff)))
    }

    fn unsettled(&self, handle: &Handle) -> usize {
        self.outstanding(handle).count()
    }

    fn is_settled(&self) -> bool {
        (0..self.diffs.len()).all(|index| self.settled & (1 << index) != 0)
    }
}

/// A reception whose time is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) handle: Handle,
    pub(super) place: Place,
    /// Offsets of what was not acknowledged.
    pub(super) offsets: Vec<i64>,
    /// Whether its consumer put it off.
    pub(super) suspended: bool,
}

/// The receptions of one topic and group.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    receptions: HashMap<Handle, Reception>,
    /// Those that wait for their time, by it.
    due: BTreeSet<(i64, Handle)>,
    /// How many messages are out, by queue.
    out: HashMap<i32, usize>,
}

impl InFlight {
    /// Takes note of a reception that stands at this place. One without messages, or all of whose
    /// messages are acknowledged already, is none. If the timer has brought its check point, it may
    /// bring acknowledgements too, which are due when the reception is.
    pub(super) fn insert(&mut self, check_point: &PopCheckPoint<'_>, place: Place, by_timer: bool) {
        let diffs: Box<[i32]> = if check_point.queue_offset_diff.is_empty() {
            (0..i32::from(check_point.num)).take(MAX_MESSAGES).collect()
        } else {
            let mut diffs = check_point.queue_offset_diff.clone();
            diffs.truncate(MAX_MESSAGES);
            diffs.into()
        };
        let reception = Reception {
            place,
            due: check_point.revive_time(),
            acks_until: if by_timer {
                check_point.revive_time()
            } else {
                i64::MIN
            },
            diffs,
            suspended: check_point.suspend,
            settled: check_point.bit_map.cast_unsigned(),
        };
        if reception.is_settled() {
            return;
        }
        let handle = Handle {
            queue_id: check_point.queue_id,
            start_offset: check_point.start_offset,
            pop_time: check_point.pop_time,
        };
        self.due.insert((reception.due, handle));
        let due = reception.due;
        *self.out.entry(handle.queue_id).or_default() += reception.unsettled(&handle);
        // A check point that the reference put back has the handle of the one before.
        if let Some(before) = self.receptions.insert(handle, reception) {
            self.settled(handle.queue_id, before.unsettled(&handle));
            if before.due != due {
                self.due.remove(&(before.due, handle));
            }
        }
    }

    /// Whether there is a reception of this name.
    pub(super) fn is_known(&self, handle: &Handle) -> bool {
        self.receptions.contains_key(handle)
    }

    /// Where the check point of a message stands that is still out; `None` for one that is not,
    /// or not of this reception.
    pub(super) fn place_of(&self, handle: &Handle, offset: i64) -> Option<Place> {
        let reception = self.receptions.get(handle)?;
        let bit = reception.bit(handle, offset)?;
        (reception.settled & bit == 0).then_some(reception.place)
    }

    /// Strikes off a message.
    pub(super) fn settle(&mut self, handle: &Handle, offset: i64) {
        let Some(reception) = self.receptions.get_mut(handle) else {
            return;
        };
        let Some(bit) = reception.bit(handle, offset) else {
            return;
        };
        let was_out = reception.settled & bit == 0;
        reception.settled |= bit;
        if reception.is_settled() {
            self.due.remove(&(reception.due, *handle));
            self.receptions.remove(handle);
        }
        self.settled(handle.queue_id, usize::from(was_out));
    }

    fn settled(&mut self, queue_id: i32, messages: usize) {
        if let Some(out) = self.out.get_mut(&queue_id) {
            *out -= messages;
        }
    }

    /// How many messages of a queue are out.
    pub(super) fn out_of(&self, queue_id: i32) -> usize {
        self.out.get(&queue_id).copied().unwrap_or(0)
    }

    /// Takes out a reception whose time is over, the oldest first, unless acknowledgements of it
    /// may still come from the timer, which has delivered all up to a time. It stays known until
    /// it is settled, or [put off](Self::put_off).
    pub(super) fn take_due(&mut self, now: i64, delivered_until: i64) -> Option<Due> {
        while let Some(&(due, handle)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, handle));
            let Some(reception) = self.receptions.get(&handle) else {
                continue;
            };
            if reception.acks_until > delivered_until {
                self.put_off(handle, now + TIMER_MILLIS);
                continue;
            }
            return Some(Due {
                handle,
                place: reception.place,
                offsets: reception.outstanding(&handle).collect(),
                suspended: reception.suspended,
            });
        }
        None
    }

    /// All messages that are out, those of a reception together.
    pub(super) fn outstanding(&self) -> Vec<(Handle, i64)> {
        let receptions = self.receptions.iter();
        receptions
            .flat_map(|(handle, reception)| {
                let offsets = reception.outstanding(handle);
                offsets.map(|offset| (*handle, offset))
            })
            .collect()
    }

    /// Has a reception that could not be delivered again wait once more, until some time.
    pub(super) fn put_off(&mut self, handle: Handle, until: i64) {
        if let Some(reception) = self.receptions.get_mut(&handle) {
            reception.due = until;
            self.due.insert((until, handle));
        }
    }

    /// How many receptions are out.
    pub(super) fn len(&self) -> usize {
        self.receptions.len()
    }

    /// The places of all check points that are still needed.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.receptions.values().map(|reception| reception.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_point(
        start_offset: i64,
        diffs: &[i32],
        invisible_time: i64,
    ) -> PopCheckPoint<'static> {
        PopCheckPoint {
            start_offset,
            queue_offset_diff: diffs.to_vec(),
            num: diffs.len() as i8,
            pop_time: 1000,
            invisible_time,
            ..PopCheckPoint::default()
        }
    }

    fn handle(start_offset: i64) -> Handle {
        Handle {
            queue_id: 0,
            start_offset,
            pop_time: 1000,
        }
    }

    const PLACE: Place = Place {
        queue_id: 3,
        offset: 7,
    };

    #[test]
    fn what_is_acknowledged_does_not_come_back() {
        let mut in_flight = InFlight::default();
        in_flight.insert(&check_point(10, &[0, 2, 5], 60), PLACE, false);
        assert_eq!(in_flight.place_of(&handle(10), 12), Some(PLACE));
        assert_eq!(in_flight.place_of(&handle(10), 11), None, "not received");
        assert_eq!(in_flight.place_of(&handle(9), 12), None);
        in_flight.settle(&handle(10), 12);
        in_flight.settle(&handle(10), 12);
        assert_eq!(in_flight.place_of(&handle(10), 12), None);
        assert_eq!((in_flight.out_of(0), in_flight.out_of(1)), (2, 0));
        assert_eq!(in_flight.take_due(1059, 0), None);
        let due = in_flight.take_due(1060, 0).unwrap();
        assert_eq!(due.offsets, [10, 15]);
        assert_eq!(in_flight.take_due(9999, 0), None, "taken once");
        in_flight.settle(&handle(10), 10);
        in_flight.put_off(due.handle, 2000);
        assert_eq!(in_flight.take_due(2000, 0).unwrap().offsets, [15]);
        in_flight.settle(&handle(10), 15);
        assert_eq!((in_flight.len(), in_flight.due.len()), (0, 0));
        assert_eq!(in_flight.out_of(0), 0);
    }

    #[test]
    fn check_points_of_old_brokers_and_settled_ones_are_understood() {
        let mut in_flight = InFlight::default();
        let old = PopCheckPoint {
            num: 3,
            bit_map: 0b010,
            ..check_point(5, &[], 0)
        };
        in_flight.insert(&old, PLACE, false);
        assert_eq!(in_flight.take_due(1000, 0).unwrap().offsets, [5, 7]);
        let settled = PopCheckPoint {
            bit_map: 1,
            ..check_point(9, &[0], 0)
        };
        in_flight.insert(&settled, PLACE, false);
        in_flight.insert(&check_point(11, &[], 0), PLACE, false);
        assert_eq!(in_flight.len(), 1);
        in_flight.insert(&old, PLACE, false);
        assert_eq!(in_flight.out_of(0), 2);
    }
}
