//! Sends: what their frames hold and what differs from one to the next.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use wire::command::{SendBatchMessage, SendMessageV2};
use wire::frame::SerializeType;
use wire::header::send::SendMessageRequestV2;
use wire::message::body::BatchMessage;
use wire::message::sys_flag::message as message_flag;
use wire::message::{properties, property};

use super::engine::Work;
use super::frames::{Answer, Frames, write_decimal, write_hex};
use super::queues::{Places, Queues};
use super::tally::Recorder;

/// Stands where a message's running number is written in eight hexadecimal digits.
const NUMBER_MARK: &str = "########";

/// Stands where the time of delivery is written, in milliseconds since 1970.
const DELIVERY_MARK: &str = "%%%%%%%%%%%%%";

/// Group that all messages are sent by.
pub(super) const PRODUCER_GROUP: &str = "kerolox_bench";

/// Bytes of a stamp in a body: [`Sends::mark`], then when the message was meant to leave, or with
/// a delay when it is due, in nanoseconds on the load's clock.
pub(super) const STAMP_SIZE: usize = 16;

/// What is special about messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// Their bodies begin with a stamp.
    Stamped,
    /// They are stamped, and delivered so long after they left.
    Timed(Duration),
    /// They are stamped, and all delivered at one time.
    Together(Moment),
    /// They are half messages of a transaction.
    Half,
}

/// A time to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// In nanoseconds on the load's clock.
    pub(super) stamp: u64,
    since_1970: Duration,
}

impl Moment {
    /// The time that is so long after `now` on the load's clock.
    pub(super) fn after(now: u64, delay: Duration) -> Self {
        Self {
            stamp: now + delay.as_nanos() as u64,
            since_1970: since_1970() + delay,
        }
    }
}

/// The sends of all connections.
#[derive(Debug, Clone)]
pub(super) struct Sends {
    pub(super) serialize: SerializeType,
    pub(super) queues: Queues,
    pub(super) body_size: usize,
    /// Messages a request.
    pub(super) batch: u32,
    /// Random; tells the messages of this load from others.
    pub(super) mark: u64,
    pub(super) kind: Kind,
}

impl Sends {
    /// The frames of connection number `lane` of `lanes` with so many slots. The slots take the
    /// queues in turn.
    pub(super) fn lane(&self, lane: usize, lanes: usize, slots: usize) -> (Frames, Sending) {
        let unique_key = format!("{:016X}{lane:08X}{NUMBER_MARK}", self.mark);
        let mut own = String::new();
        properties::put(
            &mut own,
            property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
            &unique_key,
        );
        match self.kind {
            Kind::Plain | Kind::Stamped => {}
            Kind::Timed(_) | Kind::Together(_) => {
                properties::put(&mut own, property::TIMER_DELIVER_MS, DELIVERY_MARK);
            }
            Kind::Half => {
                properties::put(&mut own, property::TRANSACTION_PREPARED, "true");
                properties::put(&mut own, property::PRODUCER_GROUP, PRODUCER_GROUP);
            }
        }
        let stamped = !matches!(self.kind, Kind::Plain | Kind::Half);
        let mut body = vec![b'x'; self.body_size];
        if stamped {
            body[..8].copy_from_slice(&self.mark.to_be_bytes());
        }
        if self.batch > 1 {
            let message = BatchMessage {
                body: &body,
                properties: own.as_bytes(),
                ..BatchMessage::default()
            };
            let mut bodies = BytesMut::new();
            for _ in 0..self.batch {
                message
                    .encode_into(&mut bodies)
                    .expect("short properties, a body within limits");
            }
            body = bodies.to_vec();
        }
        let mut frames = Frames::default();
        for slot in 0..slots {
            let (topic, queue_id) = self.queues.header(lane * slots + slot);
            let header = SendMessageRequestV2 {
                producer_group: Cow::Borrowed(PRODUCER_GROUP),
                topic: Cow::Owned(topic),
                default_topic: Cow::Borrowed("TBW102"),
                default_topic_queue_nums: 4,
                queue_id,
                sys_flag: match self.kind {
                    Kind::Half => message_flag::TRANSACTION_PREPARED_TYPE,
                    _ => 0,
                },
                born_timestamp: since_1970().as_millis() as i64,
                properties: Some(Cow::Borrowed(&own)),
                reconsume_times: Some(0),
                unit_mode: Some(false),
                batch: Some(self.batch > 1),
                ..SendMessageRequestV2::default()
            };
            if self.batch > 1 {
                frames.push::<SendBatchMessage>(self.serialize, &header, &body);
            } else {
                frames.push::<SendMessageV2>(self.serialize, &header, &body);
            }
        }
        let mark = self.mark.to_be_bytes();
        let stamps = |slot| {
            if stamped {
                frames.find(slot, &mark)
            } else {
                Vec::new()
            }
        };
        let sending = Sending {
            numbers: (0..slots)
                .map(|slot| frames.find(slot, NUMBER_MARK.as_bytes()))
                .collect(),
            stamps: (0..slots).map(stamps).collect(),
            deliveries: (0..slots)
                .map(|slot| frames.find(slot, DELIVERY_MARK.as_bytes()))
                .collect(),
            kind: self.kind,
            queues: self.queues.places(&frames),
            next_queue: lane,
            lanes,
            queue_count: self.queues.count(),
            sent: 0,
            messages: u64::from(self.batch),
            bytes: u64::from(self.batch) * self.body_size as u64,
        };
        (frames, sending)
    }
}

fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// The sends of one connection.
pub(super) struct Sending {
    /// Places of the running numbers, by slot.
    numbers: Vec<Vec<usize>>,
    /// Places of the stamps, by slot.
    stamps: Vec<Vec<usize>>,
    /// Places of the times of delivery, by slot.
    deliveries: Vec<Vec<usize>>,
    kind: Kind,
    /// Where each request goes to the next queue.
    queues: Option<Places>,
    next_queue: usize,
    lanes: usize,
    queue_count: usize,
    sent: u64,
    /// What a request brings.
    messages: u64,
    bytes: u64,
}

impl Work for Sending {
    fn prepare(&mut self, slot: usize, frames: &mut Frames, intended: u64) {
        let frame = frames.frame_mut(slot);
        for at in &self.numbers[slot] {
            write_hex(&mut frame[*at..at + NUMBER_MARK.len()], self.sent);
            self.sent += 1;
        }
        if let Some(queues) = &self.queues {
            queues.write(slot, frame, self.next_queue % self.queue_count);
            self.next_queue = (self.next_queue + self.lanes) % (self.queue_count * self.lanes);
        }
        let stamp = match self.kind {
            Kind::Together(due) => due.stamp,
            Kind::Timed(delay) => intended + delay.as_nanos() as u64,
            Kind::Plain | Kind::Stamped | Kind::Half => intended,
        };
        for at in &self.stamps[slot] {
            frame[at + 8..at + STAMP_SIZE].copy_from_slice(&stamp.to_be_bytes());
        }
        for at in &self.deliveries[slot] {
            let due = match self.kind {
                Kind::Together(due) => due.since_1970,
                Kind::Timed(delay) => since_1970() + delay,
                Kind::Plain | Kind::Stamped | Kind::Half => since_1970(),
            };
            let digits = &mut frame[*at..at + DELIVERY_MARK.len()];
            write_decimal(digits, due.as_millis() as u64);
        }
    }

    fn answered(&mut self, answer: &Answer<'_>, started: u64, now: u64, recorder: &mut Recorder) {
        if answer.code == 0 {
            recorder.count(self.messages, self.bytes);
            recorder.latency(started, now);
        } else {
            recorder.error(answer.code, || answer.remark());
        }
    }
}
