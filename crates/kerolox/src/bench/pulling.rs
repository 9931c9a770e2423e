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
    pub(super) topic: String,
    pub(super) group: String,
    /// Messages wanted a request.
    pub(super) max_messages: u32,
    /// Whether the server holds a pull that finds nothing.
    pub(super) hold: bool,
}

impl Pulls {
    fn frames(&self, queues: &[u32]) -> (Frames, Vec<usize>) {
        let hold = if self.hold {
            sys_flag::pull::SUSPEND
        } else {
            0
        };
        let mut frames = Frames::default();
        for queue in queues {
            let header = PullMessageRequest {
                consumer_group: Cow::Borrowed(&self.group),
                topic: Cow::Borrowed(&self.topic),
                queue_id: *queue as i32,
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

    /// A connection that reads the given queues, each between the given offsets, again and again.
    pub(super) fn reading(&self, queues: &[(u32, u64)]) -> (Frames, Pulling) {
        let (frames, places) =
            self.frames(&queues.iter().map(|(queue, _)| *queue).collect::<Vec<_>>());
        let positions = places
            .into_iter()
            .zip(queues)
            .map(|(place, (_, begin))| Position {
                place,
                begin: *begin,
                next: *begin,
            })
            .collect();
        (frames, Pulling { positions })
    }

    /// A connection that waits for messages behind the given offsets; their stamps have `mark`.
    pub(super) fn following(&self, queues: &[(u32, u64)], mark: u64) -> (Frames, Following) {
        let (frames, pulling) = self.reading(queues);
        (
            frames,
            Following {
                pulling,
                mark: mark.to_be_bytes(),
            },
        )
    }
}

/// Where a slot's queue is read.
struct Position {
    /// Place of the offset in the frame.
    place: usize,
    /// First offset of the queue.
    begin: u64,
    /// Next offset to ask for.
    next: u64,
}

impl Position {
    fn write(&self, frame: &mut [u8]) {
        write_decimal(
            &mut frame[self.place..self.place + OFFSET_DIGITS],
            self.next,
        );
    }
}

/// The pulls of one connection through a filled topic.
pub(super) struct Pulling {
    /// By slot.
    positions: Vec<Position>,
}

impl Work for Pulling {
    fn prepare(&mut self, slot: usize, frame: &mut [u8], _: u64) {
        self.positions[slot].write(frame);
    }

    fn answered(&mut self, answer: &Answer<'_>, started: u64, now: u64, recorder: &mut Recorder) {
        let position = &mut self.positions[answer.slot];
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
    fn prepare(&mut self, slot: usize, frame: &mut [u8], intended: u64) {
        self.pulling.prepare(slot, frame, intended);
    }

    fn answered(&mut self, answer: &Answer<'_>, _: u64, now: u64, recorder: &mut Recorder) {
        let position = &mut self.pulling.positions[answer.slot];
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
