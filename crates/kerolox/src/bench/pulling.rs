//! Pulls: over and over through a filled topic, or waiting at its end for what is sent.

use std::borrow::Cow;

use wire::code::ResponseCode;
use wire::command::PullMessage;
use wire::frame::SerializeType;
use wire::header::pull::{PullMessageRequest, PullMessageResponse};
use wire::message::body::Records;
use wire::message::sys_flag;

use super::engine::Work;
use super::frames::{Answer, Frames, write_decimal};
use super::queues::{Places, Queues};
use super::sending::STAMP_SIZE;
use super::tally::Recorder;

/// Stands where the offset is written in twelve digits.
const OFFSET_MARK: i64 = 100_000_000_000;
const OFFSET_DIGITS: usize = 12;

/// How long the server may hold a pull that finds nothing, in milliseconds.
const HOLD_MILLIS: i64 = 15_000;

/// The pulls of all connections.
#[derive(Debug, Clone)]
pub(super) struct Pulls {
    pub(super) serialize: SerializeType,
    pub(super) queues: Queues,
    pub(super) group: String,
    /// Messages wanted a request.
    pub(super) max_messages: u32,
    /// Whether the server holds a pull that finds nothing.
    pub(super) hold: bool,
}

impl Pulls {
    /// The frames of the queues, and where each has its offset.
    fn frames(&self, queues: &[usize]) -> (Frames, Vec<usize>) {
        let hold = if self.hold {
            sys_flag::pull::SUSPEND
        } else {
            0
        };
        let mut frames = Frames::default();
        for queue in queues {
            let (topic, queue_id) = self.queues.header(*queue);
            let header = PullMessageRequest {
                consumer_group: Cow::Borrowed(&self.group),
                topic: Cow::Owned(topic),
                queue_id,
                queue_offset: OFFSET_MARK,
                max_msg_nums: self.max_messages as i32,
                sys_flag: sys_flag::pull::SUBSCRIPTION | hold,
                suspend_timeout_millis: if self.hold { HOLD_MILLIS } else { 0 },
                subscription: Some(Cow::Borrowed("*")),
                expression_type: Some(Cow::Borrowed("TAG")),
                ..PullMessageRequest::default()
            };
            frames.push::<PullMessage>(self.serialize, &header, b"");
        }
        let mark = OFFSET_MARK.to_string();
        let places = (0..queues.len())
            .map(|slot| frames.find(slot, mark.as_bytes())[0])
            .collect();
        (frames, places)
    }

    /// A connection with so many slots that reads the given queues, each from the given offset,
    /// again and again. Each slot has a queue of its own, or all take all queues in turn.
    pub(super) fn reading(&self, queues: &[(usize, u64)], slots: usize) -> (Frames, Pulling) {
        let of_slots: Vec<usize> = queues
            .iter()
            .map(|(queue, _)| *queue)
            .cycle()
            .take(slots)
            .collect();
        let (frames, offsets) = self.frames(&of_slots);
        let position = |(queue, begin): &(usize, u64)| Position {
            queue: *queue,
            begin: *begin,
            next: *begin,
        };
        let pulling = Pulling {
            positions: queues.iter().map(position).collect(),
            offsets,
            turn: self
                .queues
                .places(&frames)
                .map(|places| Turn { places, next: 0 }),
            reads: (0..slots).collect(),
        };
        (frames, pulling)
    }

    /// A connection that waits for messages behind the given offsets; their stamps have `mark`.
    pub(super) fn following(&self, queues: &[(usize, u64)], mark: u64) -> (Frames, Following) {
        let (frames, pulling) = self.reading(queues, queues.len());
        (
            frames,
            Following {
                pulling,
                mark: mark.to_be_bytes(),
            },
        )
    }
}

/// Where a queue is read.
struct Position {
    queue: usize,
    /// First offset of the queue.
    begin: u64,
    /// Next offset to ask for.
    next: u64,
}

/// The pulls of one connection through a filled topic.
pub(super) struct Pulling {
    positions: Vec<Position>,
    /// Place of the offset in the frame, by slot.
    offsets: Vec<usize>,
    /// Where the queues are taken in turn.
    turn: Option<Turn>,
    /// Which position each slot reads at.
    reads: Vec<usize>,
}

/// Whose turn it is.
struct Turn {
    places: Places,
    next: usize,
}

impl Pulling {
    fn position(&mut self, slot: usize) -> &mut Position {
        let at = self.reads[slot];
        &mut self.positions[at]
    }
}

impl Work for Pulling {
    fn prepare(&mut self, slot: usize, frames: &mut Frames, _: u64) {
        let frame = frames.frame_mut(slot);
        if let Some(turn) = &mut self.turn {
            self.reads[slot] = turn.next;
            turn.places
                .write(slot, frame, self.positions[turn.next].queue);
            turn.next = (turn.next + 1) % self.positions.len();
        }
        let at = self.offsets[slot];
        let next = self.position(slot).next;
        write_decimal(&mut frame[at..at + OFFSET_DIGITS], next);
    }

    fn answered(&mut self, answer: &Answer<'_>, started: u64, now: u64, recorder: &mut Recorder) {
        let position = self.position(answer.slot);
        match ResponseCode::try_from(answer.code) {
            Ok(ResponseCode::Success) => {
                let messages = count_records(answer.body);
                position.next += messages;
                recorder.count(messages, answer.body.len() as u64);
                recorder.latency(started, now);
            }
            // The end of the queue: from the start again.
            Ok(ResponseCode::PullNotFound) => position.next = position.begin,
            _ => {
                position.next = position.begin;
                recorder.error(answer.code, || answer.remark());
            }
        }
    }
}

/// How many records a pull's body holds, going by their sizes alone.
fn count_records(mut body: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(size) = body.first_chunk() {
        let size = u32::from_be_bytes(*size) as usize;
        let Some(rest) = body.get(size.max(4)..) else {
            break;
        };
        body = rest;
        count += 1;
    }
    count
}

/// The pulls of one connection that wait for stamped messages.
pub(super) struct Following {
    pulling: Pulling,
    mark: [u8; 8],
}

impl Work for Following {
    fn prepare(&mut self, slot: usize, frames: &mut Frames, intended: u64) {
        self.pulling.prepare(slot, frames, intended);
    }

    fn answered(&mut self, answer: &Answer<'_>, _: u64, now: u64, recorder: &mut Recorder) {
        let position = self.pulling.position(answer.slot);
        match ResponseCode::try_from(answer.code) {
            Ok(ResponseCode::Success) => {
                for record in Records::new(answer.body).flatten() {
                    position.next = record.queue_offset() as u64 + 1;
                    let stamp = record.body().get(..STAMP_SIZE);
                    let stamp = stamp.and_then(|stamp| stamp.strip_prefix(&self.mark));
                    if let Some(sent) = stamp.and_then(|sent| sent.first_chunk()) {
                        recorder.count(1, record.body().len() as u64);
                        recorder.latency(u64::from_be_bytes(*sent), now);
                    }
                }
            }
            Ok(ResponseCode::PullNotFound) => {}
            Ok(ResponseCode::PullRetryImmediately | ResponseCode::PullOffsetMoved) => {
                let frame = answer.decode();
                let header = frame
                    .as_ref()
                    .map(|frame| frame.header::<PullMessageResponse>());
                if let Some(Ok(header)) = header {
                    position.next = header.next_begin_offset as u64;
                }
            }
            _ => recorder.error(answer.code, || answer.remark()),
        }
    }
}
