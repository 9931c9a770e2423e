//! One logical queue: finding the part that holds an offset, and telling offsets of parts as
//! offsets of the whole (`LogicQueueMappingItem`, `TopicQueueMappingUtils`).

use std::sync::Arc;

use wire::body::static_topic::{LogicQueueMappingItem, TopicQueueMappingDetail};
use wire::code::ResponseCode;
use wire::header::pull::PullMessageResponse;

use crate::error::BrokerError;

/// A logical queue that this broker leads.
#[derive(Debug, Clone)]
pub(crate) struct LogicalQueue {
    mapping: Arc<TopicQueueMappingDetail>,
    /// Its number in the topic.
    pub(crate) id: i32,
    /// The part that takes messages.
    pub(crate) leader: LogicQueueMappingItem,
}

/// Offset of a logical queue behind a part, as far as its end is known.
pub(super) fn end(part: &LogicQueueMappingItem) -> i64 {
    part.logic_offset
        .saturating_add((part.end_offset - part.start_offset).max(0))
}

/// The logical queue's offset for one of a part.
pub(crate) fn to_logical(part: &LogicQueueMappingItem, offset: i64) -> i64 {
    part.logic_offset
        .saturating_add(offset.saturating_sub(part.start_offset).max(0))
}

/// The same where the part may not know yet where it begins, which makes it -1, and within what
/// is known of its end.
pub(super) fn to_logical_loosely(part: &LogicQueueMappingItem, offset: i64) -> i64 {
    if part.logic_offset < 0 {
        return -1;
    }
    let has_end = part.end_offset >= part.start_offset;
    to_logical(
        part,
        if has_end {
            offset.min(part.end_offset)
        } else {
            offset
        },
    )
}

/// The part's offset for one of the logical queue.
pub(super) fn to_physical(part: &LogicQueueMappingItem, offset: i64) -> i64 {
    offset
        .saturating_sub(part.logic_offset)
        .saturating_add(part.start_offset)
}

fn has_end(part: &LogicQueueMappingItem) -> bool {
    part.end_offset > part.start_offset
}

impl LogicalQueue {
    pub(super) fn led_here(
        mapping: Arc<TopicQueueMappingDetail>,
        id: i32,
    ) -> Result<Self, BrokerError> {
        let parts = mapping.hosted_queues.get(&id);
        let leader = parts.and_then(|parts| parts.last());
        match leader.filter(|leader| leader.bname == mapping.bname) {
            Some(leader) => Ok(Self {
                leader: leader.clone(),
                mapping,
                id,
            }),
            None => Err(BrokerError::NotLeader(format!(
                "{}-{id} does not exit in request process of current broker {}",
                mapping.topic, mapping.bname
            ))),
        }
    }

    /// The parts whose place in the logical queue is known, oldest first.
    pub(crate) fn parts(&self) -> impl DoubleEndedIterator<Item = &LogicQueueMappingItem> {
        let all = self.mapping.hosted_queues.get(&self.id);
        all.into_iter()
            .flatten()
            .filter(|part| part.logic_offset >= 0)
    }

    /// The part that an offset of the logical queue is in; the first one for earlier offsets.
    pub(crate) fn part_at(&self, offset: i64) -> Result<&LogicQueueMappingItem, BrokerError> {
        let part = self.parts().rfind(|part| offset >= part.logic_offset);
        part.or_else(|| self.parts().next()).ok_or_else(|| {
            BrokerError::System(format!(
                "it is not decided yet where queue {} of {} begins; map it with an offset",
                self.id, self.mapping.topic
            ))
        })
    }

    /// Whether a part is a queue of this broker.
    pub(super) fn is_here(&self, part: &LogicQueueMappingItem) -> bool {
        part.bname == self.mapping.bname
    }

    /// Whether it has always been one queue, whose offsets are its own.
    pub(super) fn is_one_queue(&self) -> bool {
        self.leader.logic_offset == 0 && self.parts().count() == 1
    }

    /// The number of a message in the logical queue, by that in the leader's queue; -1 if it is
    /// not decided yet where the leader begins.
    pub(crate) fn offset_of_message(&self, offset: i64) -> i64 {
        to_logical_loosely(&self.leader, offset)
    }

    /// Offset behind the leader's known end.
    fn end(&self) -> i64 {
        end(&self.leader)
    }
}

/// What a pull of a logical queue reads: one part of it.
#[derive(Debug)]
pub(crate) struct LogicalPull {
    pub(crate) queue: LogicalQueue,
    part: LogicQueueMappingItem,
    /// The offset that was asked for, in the part's queue.
    pub(crate) asked: i64,
}

impl LogicalPull {
    /// A pull from an offset of the logical queue.
    pub(crate) fn new(queue: LogicalQueue, offset: i64) -> Result<Self, BrokerError> {
        let part = queue.part_at(offset)?.clone();
        Ok(Self {
            asked: to_physical(&part, offset),
            queue,
            part,
        })
    }

    /// The queue to read.
    pub(crate) fn queue_id(&self) -> i32 {
        self.part.queue_id
    }

    /// Name of the broker that has it.
    pub(super) fn broker_name(&self) -> &str {
        &self.part.bname
    }

    /// Whether that is this broker.
    pub(crate) fn is_here(&self) -> bool {
        self.queue.is_here(&self.part)
    }

    /// This broker's queue that holds an offset of the logical queue, and the offset there.
    pub(crate) fn place_here(&self, offset: i64) -> Option<(i32, i64)> {
        let part = self.queue.part_at(offset).ok()?;
        let place = (part.queue_id, to_physical(part, offset));
        self.queue.is_here(part).then_some(place)
    }

    /// At most as many messages as the part has.
    pub(crate) fn limit(&self, count: i32) -> i32 {
        match has_end(&self.part) {
            true => (self.part.end_offset - self.part.start_offset).min(count.into()) as i32,
            false => count,
        }
    }

    /// Tells the answer of the part's queue as one of the logical queue, and returns its code: at
    /// a part's end the reader goes on in the next one
    /// (`PullMessageProcessor.rewriteResponseForStaticTopic`).
    pub(crate) fn rewrite(
        &self,
        code: ResponseCode,
        answer: &mut PullMessageResponse,
    ) -> ResponseCode {
        let mut part = &self.part;
        let mut told = code;
        let is_leader = part.generation == self.queue.leader.generation;
        let earliest = self.queue.part_at(0).unwrap_or(part);
        let is_earliest = part.generation == earliest.generation;
        if code != ResponseCode::Success {
            let (min, max) = (answer.min_offset, answer.max_offset);
            if self.asked < min {
                answer.next_begin_offset = min;
                told = if is_earliest {
                    ResponseCode::PullOffsetMoved
                } else {
                    ResponseCode::PullRetryImmediately
                };
            } else if is_leader && self.asked > max && code == ResponseCode::PullOffsetMoved {
                answer.next_begin_offset = max;
            }
            if self.asked >= max && (is_earliest || !is_leader) {
                let next = self
                    .queue
                    .parts()
                    .find(|next| next.generation > part.generation);
                told = match next {
                    Some(next) => {
                        part = next;
                        answer.next_begin_offset = next.start_offset;
                        answer.min_offset = next.start_offset;
                        answer.max_offset = next.start_offset;
                        ResponseCode::PullRetryImmediately
                    }
                    None => ResponseCode::PullNotFound,
                };
            }
        }
        if has_end(part) {
            answer.next_begin_offset = answer.next_begin_offset.min(part.end_offset);
        }
        answer.next_begin_offset = to_logical(part, answer.next_begin_offset);
        answer.min_offset = to_logical(part, answer.min_offset.max(part.start_offset));
        answer.max_offset = to_logical(part, answer.max_offset).max(self.queue.end());
        answer.offset_delta = Some(part.logic_offset - part.start_offset);
        told
    }
}
