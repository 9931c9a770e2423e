//! What received messages are acknowledged with: the handles that an answer's header and its
//! records make (`MQClientAPIImpl.processPopResponse`, `processPopLiteResponse`).

use std::collections::BTreeMap;

use wire::frame::Frame;
use wire::header::lite::PopLiteMessageResponse;
use wire::header::pop::PopMessageResponse;
use wire::message::names::LMQ_QUEUE_ID;
use wire::message::pop::{
    ExtraInfo, TopicKind, parse_msg_offset_info, parse_order_count_info, parse_start_offset_info,
    queue_key, queue_offset_key,
};
use wire::message::record::RecordRef;
use wire::message::{properties, property};

use crate::error::ProxyError;
use crate::message::Delivery;

/// The handles of one answer.
pub(crate) struct Handles<'a> {
    broker_name: &'a str,
    pop_time: i64,
    invisible_time: i64,
    revive_queue_id: i32,
    origin: Origin,
}

/// Where the messages of an answer come from.
enum Origin {
    Queues {
        /// By queue.
        start_offsets: BTreeMap<String, i64>,
        /// By queue.
        offsets: BTreeMap<String, Vec<i64>>,
        /// By queue, or by message; `None` for a group that does not receive in order.
        order_counts: Option<BTreeMap<String, i32>>,
    },
    /// How often each message was received before, in their order.
    LiteTopics(Vec<i32>),
}

impl<'a> Handles<'a> {
    /// Those of an answer to POP_MESSAGE.
    pub(crate) fn of_queues(
        answer: &Frame,
        broker_name: &'a str,
        order: bool,
    ) -> Result<Self, ProxyError> {
        let header: PopMessageResponse<'_> = answer.header()?;
        let counts = header.order_count_info.as_deref().unwrap_or_default();
        Ok(Self {
            broker_name,
            pop_time: header.pop_time,
            invisible_time: header.invisible_time,
            revive_queue_id: header.revive_qid,
            origin: Origin::Queues {
                start_offsets: parse_start_offset_info(
                    header.start_offset_info.as_deref().unwrap_or_default(),
                )?,
                offsets: parse_msg_offset_info(
                    header.msg_offset_info.as_deref().unwrap_or_default(),
                )?,
                order_counts: order.then(|| parse_order_count_info(counts)).transpose()?,
            },
        })
    }

    /// Those of an answer to POP_LITE_MESSAGE.
    pub(crate) fn of_lite_topics(answer: &Frame, broker_name: &'a str) -> Result<Self, ProxyError> {
        let header: PopLiteMessageResponse<'_> = answer.header()?;
        let counts = header.order_count_info.as_deref().unwrap_or_default();
        // A count alone, or behind the queue and the offset that it is of.
        let count = |entry: &str| entry.split(' ').next_back().and_then(|it| it.parse().ok());
        Ok(Self {
            broker_name,
            pop_time: header.pop_time,
            invisible_time: header.invisible_time,
            revive_queue_id: header.revive_qid,
            origin: Origin::LiteTopics(
                counts
                    .split(';')
                    .map(|entry| count(entry).unwrap_or_default())
                    .collect(),
            ),
        })
    }

    /// The delivery of a record, the answer's `index`th.
    pub(crate) fn delivery(
        &self,
        index: usize,
        record: &RecordRef<'_>,
    ) -> Result<Delivery, ProxyError> {
        match &self.origin {
            Origin::Queues {
                start_offsets,
                offsets,
                order_counts,
            } => self.of_queue(record, start_offsets, offsets, order_counts.as_ref()),
            Origin::LiteTopics(counts) => self.of_lite_topic(record, counts.get(index)),
        }
    }

    /// Retries bring their handle with them; the others' is made of the header.
    fn of_queue(
        &self,
        record: &RecordRef<'_>,
        start_offsets: &BTreeMap<String, i64>,
        offsets: &BTreeMap<String, Vec<i64>>,
        order_counts: Option<&BTreeMap<String, i32>>,
    ) -> Result<Delivery, ProxyError> {
        let text = record.properties();
        if let Some(handle) = properties::get(&text, property::POP_CK) {
            return Ok(Delivery {
                receipt_handle: Some(format!("{handle} {}", record.physical_offset())),
                ..Delivery::default()
            });
        }
        let topic = record.topic();
        let (queue_id, offset) = (record.queue_id(), record.queue_offset());
        let key = queue_key(&topic, queue_id);
        let known = offsets.get(&key).is_some_and(|all| all.contains(&offset));
        let start = start_offsets.get(&key).filter(|_| known);
        let start = start.ok_or_else(|| self.missing(record))?;
        let count = order_counts.and_then(|counts| {
            let of_message = counts.get(&queue_offset_key(&topic, queue_id, offset));
            of_message.or_else(|| counts.get(&key)).copied()
        });
        let handle = ExtraInfo {
            start_offset: *start,
            topic_kind: TopicKind::of_topic(&topic),
            queue_id,
            ..self.handle(record, offset)
        };
        Ok(Delivery {
            receipt_handle: Some(handle.to_string()),
            reconsume_times: count.filter(|count| *count > 0),
            ..Delivery::default()
        })
    }

    /// A message has one lite topic, whose light queue gives it its number.
    fn of_lite_topic(
        &self,
        record: &RecordRef<'_>,
        count: Option<&i32>,
    ) -> Result<Delivery, ProxyError> {
        let text = record.properties();
        let number = properties::get(&text, property::INNER_MULTI_QUEUE_OFFSET);
        let number = number.and_then(|number| number.parse().ok());
        let offset = number.ok_or_else(|| self.missing(record))?;
        Ok(Delivery {
            receipt_handle: Some(self.handle(record, offset).to_string()),
            reconsume_times: Some(count.copied().unwrap_or_default()),
            queue_offset: Some(offset),
        })
    }

    /// The handle of a message in queue 0 of a topic that is not one of retries.
    fn handle(&self, record: &RecordRef<'_>, offset: i64) -> ExtraInfo<'a> {
        ExtraInfo {
            start_offset: 0,
            pop_time: self.pop_time,
            invisible_time: self.invisible_time,
            revive_queue_id: self.revive_queue_id,
            topic_kind: TopicKind::Normal,
            broker_name: self.broker_name,
            queue_id: LMQ_QUEUE_ID,
            queue_offset: Some(offset),
            commit_log_offset: Some(record.physical_offset()),
        }
    }

    fn missing(&self, record: &RecordRef<'_>) -> ProxyError {
        let (queue_id, offset) = (record.queue_id(), record.queue_offset());
        ProxyError::answer(
            self.broker_name,
            format!("it gives no handle for the message {offset} of queue {queue_id}"),
        )
    }
}
