//! Single messages and entries of consume queues.

use std::sync::Arc;

use bytes::Bytes;
use store::{Key, MessageFilter, Query};
use transport::Reply;
use wire::body::json;
use wire::body::queue::{ConsumeQueueData, CqExtUnit, QueryConsumeQueueResponseBody};
use wire::frame::MAX_FRAME_SIZE;
use wire::header::pull::{
    QueryConsumeQueueRequest, QueryMessageRequest, QueryMessageResponse, ViewMessageRequest,
    ViewMessageResponse,
};
use wire::message::property::INDEX_TAG_TYPE;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::filter::{self, Filter};
use crate::routes::Call;

/// Most entries of a queue in one answer.
const MAX_ENTRIES: i64 = 10_000;

/// Most bytes of messages in one answer; the rest of the frame is for its header.
const MAX_BYTES: usize = MAX_FRAME_SIZE - (1 << 16);

/// QUERY_MESSAGE: the newest messages with a key, a unique id or a tag.
pub(crate) async fn query(
    broker: &Arc<Broker>,
    _: &Call,
    header: QueryMessageRequest<'_>,
    _: Bytes,
) -> Result<Reply<QueryMessageResponse>, BrokerError> {
    let unique = header.unique_key_query == Some(true);
    let is_tag = !unique && header.index_type.as_deref() == Some(INDEX_TAG_TYPE);
    let max_count = if unique {
        broker.settings().store.default_query_max_num
    } else {
        usize::try_from(header.max_num).unwrap_or(0)
    };
    let found = broker.store.query(&Query {
        topic: &header.topic,
        key: if is_tag {
            Key::Tag(&header.key)
        } else {
            Key::Text(&header.key)
        },
        max_count,
        max_bytes: MAX_BYTES,
        begin: header.begin_timestamp,
        end: header.end_timestamp,
    })?;
    if found.messages.is_empty() {
        return Err(BrokerError::NotFound(
            "can not find message, maybe time range not correct".into(),
        ));
    }
    let index = QueryMessageResponse {
        index_last_update_timestamp: found.last_timestamp,
        index_last_update_phyoffset: found.last_offset,
    };
    Ok(Reply::ok(index).with_body(found.messages))
}

/// VIEW_MESSAGE_BY_ID: the message at a place in the commit log, as it is stored.
pub(crate) async fn view(
    broker: &Arc<Broker>,
    _: &Call,
    header: ViewMessageRequest<'_>,
    _: Bytes,
) -> Result<Reply<ViewMessageResponse>, BrokerError> {
    let offset = header.offset;
    let message = broker.store.message(offset)?.ok_or_else(|| {
        BrokerError::System(format!("can not find message by the offset, {offset}"))
    })?;
    Ok(Reply::ok(ViewMessageResponse {}).with_body(message))
}

/// QUERY_CONSUME_QUEUE: entries of a queue, and whether a group would get their messages.
pub(crate) async fn queue_entries(
    broker: &Arc<Broker>,
    _: &Call,
    header: QueryConsumeQueueRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let (topic, queue_id) = (header.topic.unwrap_or_default(), header.queue_id);
    let queue = broker
        .store
        .find_queue(&topic, queue_id)
        .ok_or_else(|| BrokerError::System(format!("{queue_id}@{topic} is not exist!")))?;
    let group = header.consumer_group.as_deref();
    let subscription = group.and_then(|group| broker.subscription(group, &topic));
    let by_group = group.and_then(|group| broker.filters.get(&topic, group));
    let filter_data = match (group, &subscription) {
        (None, _) => None,
        (Some(group), None) => Some(format!("{group}@{topic} is not online!")),
        (Some(_), Some(_)) => Some(match &by_group {
            Some(by_group) => text(&by_group.to_json()),
            None => "null".into(),
        }),
    };
    let filter = subscription.as_ref().map(|subscription| {
        let by_tag = filter::is_tag_type(&subscription.data.expression_type);
        let by_group = by_group.filter(|_| !by_tag).map(Filter::Group);
        by_group.unwrap_or_else(|| subscription.filter.clone())
    });
    let mut body = QueryConsumeQueueResponseBody {
        filter_data,
        max_queue_index: queue.max_offset(),
        min_queue_index: queue.min_offset(),
        queue_data: Vec::new(),
        subscription_data: subscription
            .as_ref()
            .map(|subscription| subscription.data.clone()),
    };
    if !(queue.min_offset()..queue.max_offset()).contains(&header.index) {
        let index = header.index;
        let remark = format!("Index {index} of {queue_id}@{topic} is not exist!");
        return Ok(Reply::empty()
            .with_remark(remark)
            .with_body(json::write(&body)));
    }
    let count = i64::from(header.count).clamp(0, MAX_ENTRIES);
    let mut next = header.index;
    for _ in 0..count {
        let Some(unit) = broker.store.unit(&queue, next)? else {
            break;
        };
        next = unit.end();
        let entry = unit.entry;
        let kept = broker.store.ext_unit(&queue, unit.queue_offset)?;
        let extended = kept.as_ref().map(|kept| CqExtUnit {
            filter_bit_map: kept.filter_bits.clone(),
            msg_store_time: kept.store_timestamp,
            size: kept.size() as i16,
            tags_code: kept.tags_code,
        });
        let bits = kept.as_ref().map(|kept| &*kept.filter_bits);
        let may_pass = |filter: &Filter| match &kept {
            Some(kept) => filter.matches_unit(kept),
            None => filter.matches_entry(entry.tags_code),
        };
        body.queue_data.push(ConsumeQueueData {
            bit_map: bits.filter(|bits| !bits.is_empty()).map(bits_as_text),
            eval: filter.as_ref().is_some_and(may_pass),
            extend_data_json: extended.map(|unit| text(&json::write(&unit))),
            physic_offset: entry.physical_offset,
            physic_size: entry.size,
            tags_code: entry.tags_code,
            ..ConsumeQueueData::default()
        });
    }
    Ok(Reply::empty().with_body(json::write(&body)))
}

fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}

/// Bits as the reference writes them: the last byte first, of each the highest bit, with an end of
/// line behind every eighth byte from the front (`BitsArray.toString`).
fn bits_as_text(bits: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in bits.iter().enumerate().rev() {
        text.push_str(&format!("{byte:08b}"));
        if at % 8 == 0 {
            text.push('\n');
        }
    }
    text
}
