//! A stream of TCP: one direction of a connection, put in order.
//!
//! Segments come in any order, more than once, or not at all. What comes ahead of its turn waits.
//! What never comes is given up, so that reading can go on behind it: when too much waits, when
//! the other end acknowledged it (so that it came, but the capture has it not), or after a while.
//!
//! Of a connection whose beginning was not seen nobody knows where it starts. The first segments
//! wait for each other, and the first of them in order is the start.

use std::collections::VecDeque;
use std::time::Duration;

use crate::capture::Timestamp;
use crate::packet::Segment;

/// Segments that wait; beyond, what they wait for is given up.
const MAX_WAITING: usize = 4_096;
/// The same in bytes.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// Segments that are waited for where the start is not known.
const START_SEGMENTS: usize = 16;
/// How long they are waited for.
const START_PATIENCE: Duration = Duration::from_millis(100);
/// How long to wait for what the other end acknowledged.
const ACKNOWLEDGED_PATIENCE: Duration = Duration::from_millis(200);
/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_secs(2);
/// Segments remembered to tell a packet that the capture has twice from one that was sent twice.
const REMEMBERED: usize = 16;
/// How far apart the copies of one packet are at most, where nothing else tells.
const COPY_DISTANCE: Duration = Duration::from_millis(1);

/// What a stream gives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given<'a> {
    /// The next bytes, and when they were seen.
    Bytes(Timestamp, &'a [u8]),
    /// So many bytes are missing here.
    Missing(u64),
    /// Nothing comes any more.
    End,
}

/// What a segment was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The next one, or one without payload.
    Next,
    /// One that comes before its turn.
    Ahead,
    /// Sent again.
    Again,
    /// The capture has it twice.
    Copy,
}

/// A segment that waits.
#[derive(Debug)]
struct Waiting {
    time: Timestamp,
    /// What time it was when it began to wait.
    since: Timestamp,
    sequence: u32,
    bytes: Box<[u8]>,
    /// Bytes behind these that were cut off.
    cut: usize,
}

impl Waiting {
    fn end(&self) -> u32 {
        let len = (self.bytes.len() + self.cut) as u32;
        self.sequence.wrapping_add(len)
    }
}

/// What is remembered of a segment.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    time: Timestamp,
    sequence: u32,
    len: u32,
    acknowledged: u32,
    identification: u16,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The number of the next byte to give, once the start is known.
    next: Option<u32>,
    /// Whether its beginning was seen.
    opened: bool,
    /// In the order of their numbers.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// The number behind the last byte.
    end: Option<u32>,
    ended: bool,
    /// How far the other end has it.
    acknowledged: Option<u32>,
    seen: [Seen; REMEMBERED],
    seen_at: usize,
}

/// How far `a` is behind `b` in the circle of numbers; negative if it comes before.
fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl Stream {
    /// Bytes that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether anything waits, so that [`expire`](Self::expire) may have something to do.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a SYN with this number begins another connection than this stream's.
    pub(crate) fn is_other_start(&self, sequence: u32) -> bool {
        // Connections of the same two ends have greater numbers one after the other.
        self.next
            .is_some_and(|next| distance(sequence, next) > 0 || distance(next, sequence) > 1 << 30)
    }

    /// Takes a segment, and gives what can be given by it; with it, whether the stream was seen
    /// from its first byte on.
    pub(crate) fn push(
        &mut self,
        segment: &Segment<'_>,
        now: Timestamp,
        give: &mut dyn FnMut(Given<'_>, bool),
    ) -> Order {
        let mut sequence = segment.sequence;
        if segment.syn {
            sequence = sequence.wrapping_add(1);
            if self.next.is_none() {
                self.opened = true;
                self.next = Some(sequence);
                self.drain(give);
            }
        }
        let len = segment.payload.len() + segment.cut;
        if segment.fin {
            self.end = Some(sequence.wrapping_add(len as u32));
        }
        if len == 0 {
            self.finish_if_whole(give);
            return Order::Next;
        }
        let copy = self.is_copy(segment, len);
        let order = match self.next {
            _ if copy => Order::Copy,
            None => {
                self.wait(segment, sequence, now);
                if self.waiting.len() >= START_SEGMENTS {
                    self.skip(give);
                }
                Order::Next
            }
            Some(next) => {
                let ahead = distance(sequence, next);
                if ahead > 0 {
                    self.wait(segment, sequence, now)
                } else {
                    let known = ahead.unsigned_abs() as usize;
                    if known >= len {
                        // A byte that is there already keeps the connection alive.
                        let alive = len == 1 && known == 1;
                        if alive { Order::Next } else { Order::Again }
                    } else {
                        self.give(segment.time, segment.payload, segment.cut, known, give);
                        self.drain(give);
                        if known > 0 { Order::Again } else { Order::Next }
                    }
                }
            }
        };
        if self.waiting.len() > MAX_WAITING || self.waiting_bytes > MAX_WAITING_BYTES {
            self.skip(give);
        }
        self.finish_if_whole(give);
        order
    }

    /// The other end has everything before this number.
    pub(crate) fn acknowledge(&mut self, number: u32) {
        self.acknowledged = Some(number);
    }

    /// Gives up what has been waited for long enough.
    pub(crate) fn expire(&mut self, now: Timestamp, give: &mut dyn FnMut(Given<'_>, bool)) {
        while let Some(first) = self.waiting.front() {
            let waited = first.since.until(now);
            let patience = match (self.next, self.acknowledged) {
                (None, _) => START_PATIENCE,
                (_, Some(number)) if distance(number, first.sequence) >= 0 => ACKNOWLEDGED_PATIENCE,
                _ => PATIENCE,
            };
            if waited < patience {
                return;
            }
            self.skip(give);
        }
    }

    /// Gives up everything that is waited for.
    pub(crate) fn skip_all(&mut self, give: &mut dyn FnMut(Given<'_>, bool)) {
        while !self.waiting.is_empty() {
            self.skip(give);
        }
    }

    /// The same, and ends the stream.
    pub(crate) fn finish(&mut self, give: &mut dyn FnMut(Given<'_>, bool)) {
        self.skip_all(give);
        if !self.ended {
            self.ended = true;
            give(Given::End, self.opened);
        }
    }

    /// Whether the capture had this very packet before.
    fn is_copy(&mut self, segment: &Segment<'_>, len: usize) -> bool {
        let new = Seen {
            time: segment.time,
            sequence: segment.sequence,
            len: len as u32,
            acknowledged: segment.acknowledged.unwrap_or(0),
            identification: segment.identification,
        };
        let may_be_old = self
            .next
            .is_none_or(|next| distance(new.sequence, next) != 0 || !self.waiting.is_empty());
        let copy = may_be_old
            && self.seen.iter().any(|seen| {
                let same = seen.sequence == new.sequence
                    && seen.len == new.len
                    && seen.acknowledged == new.acknowledged
                    && seen.identification == new.identification;
                same && (new.identification != 0 || seen.time.until(new.time) < COPY_DISTANCE)
            });
        if let Some(place) = self.seen.get_mut(self.seen_at) {
            *place = new;
        }
        self.seen_at = (self.seen_at + 1) % REMEMBERED;
        copy
    }

    fn wait(&mut self, segment: &Segment<'_>, sequence: u32, now: Timestamp) -> Order {
        let new = Waiting {
            time: segment.time,
            since: now,
            sequence,
            bytes: segment.payload.into(),
            cut: segment.cut,
        };
        let behind = |one: &Waiting| distance(one.sequence, sequence) > 0;
        let place = self.waiting.iter().rposition(|one| !behind(one));
        let covered = place
            .and_then(|place| self.waiting.get(place))
            .is_some_and(|one| distance(one.end(), new.end()) >= 0);
        if covered {
            return Order::Again;
        }
        self.waiting_bytes += new.bytes.len();
        self.waiting.insert(place.map_or(0, |place| place + 1), new);
        Order::Ahead
    }

    /// Gives what is not known yet of a segment that begins `known` bytes before the next.
    fn give(
        &mut self,
        time: Timestamp,
        bytes: &[u8],
        cut: usize,
        known: usize,
        give: &mut dyn FnMut(Given<'_>, bool),
    ) {
        if let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) {
            give(Given::Bytes(time, new), self.opened);
        }
        let cut = cut - known.saturating_sub(bytes.len()).min(cut);
        if cut > 0 {
            give(Given::Missing(cut as u64), self.opened);
        }
        let count = bytes.len().saturating_sub(known) + cut;
        self.next = self.next.map(|next| next.wrapping_add(count as u32));
    }

    /// Gives what waited for what has been given.
    fn drain(&mut self, give: &mut dyn FnMut(Given<'_>, bool)) {
        while let (Some(first), Some(next)) = (self.waiting.front(), self.next) {
            let known = distance(next, first.sequence);
            if known < 0 {
                return;
            }
            let Some(first) = self.waiting.pop_front() else {
                return;
            };
            self.waiting_bytes -= first.bytes.len();
            if (known as usize) < first.bytes.len() + first.cut {
                self.give(first.time, &first.bytes, first.cut, known as usize, give);
            }
        }
    }

    /// Goes on at the first segment that waits.
    fn skip(&mut self, give: &mut dyn FnMut(Given<'_>, bool)) {
        let Some(first) = self.waiting.front() else {
            return;
        };
        let start = first.sequence;
        if let Some(next) = self.next.replace(start) {
            give(
                Given::Missing(u64::from(start.wrapping_sub(next))),
                self.opened,
            );
        }
        self.drain(give);
        self.finish_if_whole(give);
    }

    fn finish_if_whole(&mut self, give: &mut dyn FnMut(Given<'_>, bool)) {
        let whole = self.end.is_some() && self.end == self.next;
        if whole && !self.ended {
            self.ended = true;
            give(Given::End, self.opened);
        }
    }
}
