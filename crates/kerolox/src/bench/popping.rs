//! Pops: each slot takes messages and acknowledges them one by one, over and over.
//!
//! When the topic has been taken to its end, the consumers go on as a new group that begins at
//! the first message.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wire::code::ResponseCode;
use wire::command::{AckMessage, PopMessage};
use wire::frame::SerializeType;
use wire::header::pop::{AckMessageRequest, PopMessageRequest, PopMessageResponse};
use wire::message::pop::{ExtraInfo, TopicKind, parse_msg_offset_info, parse_start_offset_info};

use super::engine::Work;
use super::frames::{Answer, Frames};
use super::tally::Recorder;

/// How long messages stay hidden unless acknowledged, in milliseconds: the Java client's default.
const INVISIBLE_MILLIS: i64 = 60_000;

/// The pops of all connections.
#[derive(Debug, Clone)]
pub(super) struct Pops {
    pub(super) serialize: SerializeType,
    pub(super) topic: String,
    /// Queues of the topic.
    pub(super) queues: u32,
    /// What the groups' names begin with.
    pub(super) group: String,
    /// Name of the broker, which handles contain.
    pub(super) broker_name: String,
    /// Messages wanted a pop.
    pub(super) max_messages: u32,
    /// Whether each slot takes a queue of its own, in order; otherwise it takes any queue.
    pub(super) orderly: bool,
    /// Bytes of a message's body.
    pub(super) body_size: usize,
    /// How often the topic has been taken to its end.
    pub(super) round: Arc<AtomicU64>,
}

impl Pops {
    /// The frames of connection number `lane` with so many slots. The slots take the queues in
    /// turn.
    pub(super) fn lane(&self, lane: usize, slots: usize) -> (Frames, Popping) {
        let mut frames = Frames::default();
        let consumer = |slot| Consumer {
            queue_id: match self.orderly {
                true => ((lane * slots + slot) % self.queues as usize) as i32,
                false => -1,
            },
            round: 0,
            asked: 0,
            taken: Vec::new(),
        };
        let consumers = (0..slots).map(|_| consumer(frames.add_slot())).collect();
        let pops = self.clone();
        (frames, Popping { pops, consumers })
    }

    fn group(&self, round: u64) -> String {
        format!("{}_{round}", self.group)
    }
}

/// The pops of one connection.
pub(super) struct Popping {
    pops: Pops,
    /// By slot.
    consumers: Vec<Consumer>,
}

/// What a slot is at.
struct Consumer {
    /// Queue that it takes messages of; -1: any.
    queue_id: i32,
    round: u64,
    /// When its last pop was meant to leave.
    asked: u64,
    /// Messages that it has taken and not acknowledged, the next one last.
    taken: Vec<Taken>,
}

/// A message that waits for its acknowledgement.
struct Taken {
    kind: TopicKind,
    queue_id: i32,
    offset: i64,
    extra_info: String,
}

impl Work for Popping {
    fn prepare(&mut self, slot: usize, frames: &mut Frames, intended: u64) {
        let (pops, consumer) = (&self.pops, &mut self.consumers[slot]);
        if let Some(next) = consumer.taken.last() {
            let group = pops.group(consumer.round);
            let header = AckMessageRequest {
                topic: next.kind.real_topic(&pops.topic, &group),
                consumer_group: Cow::Borrowed(&group),
                queue_id: next.queue_id,
                extra_info: Cow::Borrowed(&next.extra_info),
                offset: next.offset,
                ..AckMessageRequest::default()
            };
            return frames.put::<AckMessage>(slot, pops.serialize, &header, b"");
        }
        consumer.round = pops.round.load(Ordering::Relaxed);
        consumer.asked = intended;
        let header = PopMessageRequest {
            consumer_group: Cow::Owned(pops.group(consumer.round)),
            topic: Cow::Borrowed(&pops.topic),
            queue_id: consumer.queue_id,
            max_msg_nums: pops.max_messages as i32,
            invisible_time: INVISIBLE_MILLIS,
            expression_type: Some(Cow::Borrowed("TAG")),
            expression: Some(Cow::Borrowed("*")),
            order: Some(pops.orderly),
            ..PopMessageRequest::default()
        };
        frames.put::<PopMessage>(slot, pops.serialize, &header, b"");
    }

    fn answered(&mut self, answer: &Answer<'_>, _: u64, now: u64, recorder: &mut Recorder) {
        let (pops, consumer) = (&self.pops, &mut self.consumers[answer.slot]);
        let code = ResponseCode::try_from(answer.code);
        let acknowledged = consumer.taken.pop().is_some();
        match code {
            Ok(ResponseCode::Success) if acknowledged => {
                recorder.count(1, pops.body_size as u64);
                recorder.latency(consumer.asked, now);
            }
            Ok(ResponseCode::Success | ResponseCode::PollingTimeout) if !acknowledged => {
                let frame = answer.decode();
                let header = frame
                    .as_ref()
                    .and_then(|frame| frame.header::<PopMessageResponse<'_>>().ok());
                let taken = header.as_ref().and_then(|header| taken(pops, header));
                match (header, taken) {
                    (Some(header), Some(taken)) if taken.is_empty() => {
                        // Others may have the last messages: then something is left.
                        if header.rest_num == 0 {
                            let next = consumer.round + 1;
                            pops.round.fetch_max(next, Ordering::Relaxed);
                        }
                    }
                    (_, Some(taken)) => consumer.taken = taken,
                    (_, None) => recorder.error(answer.code, || "a pop without handles".to_owned()),
                }
            }
            _ => recorder.error(answer.code, || answer.remark()),
        }
    }
}

/// The messages of a pop, the first one last; `None` if the header does not tell.
fn taken(pops: &Pops, header: &PopMessageResponse<'_>) -> Option<Vec<Taken>> {
    let starts = header.start_offset_info.as_deref().unwrap_or_default();
    let starts = parse_start_offset_info(starts).ok()?;
    let offsets = header.msg_offset_info.as_deref().unwrap_or_default();
    let mut all = Vec::new();
    for (queue, offsets) in parse_msg_offset_info(offsets).ok()? {
        let (kind, queue_id) = queue.split_once('@')?;
        let (kind, queue_id) = (kind.parse().ok()?, queue_id.parse().ok()?);
        let start_offset = *starts.get(&queue)?;
        all.extend(offsets.into_iter().map(|offset| {
            let extra_info = ExtraInfo {
                start_offset,
                pop_time: header.pop_time,
                invisible_time: header.invisible_time,
                revive_queue_id: header.revive_qid,
                topic_kind: kind,
                broker_name: &pops.broker_name,
                queue_id,
                queue_offset: Some(offset),
                commit_log_offset: None,
            };
            Taken {
                kind,
                queue_id,
                offset,
                extra_info: extra_info.to_string(),
            }
        }));
    }
    all.reverse();
    Some(all)
}
