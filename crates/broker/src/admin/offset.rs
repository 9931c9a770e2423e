//! Offsets: how far queues go, how far groups have come in them, and setting that.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use store::Boundary;
use transport::{Body, Reply};
use wire::body::json;
use wire::body::offset::{QueryCorrectionOffsetBody, ResetOffsetBody, ResetOffsetBodyForC};
use wire::body::queue::{MessageQueue, MessageQueueForC};
use wire::command::{Command, ResetConsumerClientOffset};
use wire::frame::{Head, Language, SerializeType};
use wire::header::NoHeader;
use wire::header::offset::{
    BoundaryType, CloneGroupOffsetRequest, GetEarliestMsgStoretimeRequest,
    GetEarliestMsgStoretimeResponse, GetMaxOffsetRequest, GetMaxOffsetResponse,
    GetMinOffsetRequest, GetMinOffsetResponse, QueryConsumerOffsetRequest,
    QueryConsumerOffsetResponse, QueryCorrectionOffsetRequest, ResetOffsetRequest,
    SearchOffsetRequest, SearchOffsetResponse, UpdateConsumerOffsetRequest,
    UpdateConsumerOffsetResponse,
};
use wire::message::names;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;
use crate::static_topics::requests;

/// QUERY_CONSUMER_OFFSET: where a group goes on in a queue.
///
/// A group without an offset gets 0 while the first message of the queue is still in memory, so
/// that a new group misses nothing of a topic that is new as well. Otherwise the client decides.
pub(crate) fn query(
    broker: &Arc<Broker>,
    _: &Call,
    header: QueryConsumerOffsetRequest<'_>,
    _: &Bytes,
) -> Result<Reply<QueryConsumerOffsetResponse>, BrokerError> {
    let (group, topic) = (&header.consumer_group, &header.topic);
    let queue_id = header.queue_id;
    let known = broker.offsets.query(group, topic, queue_id);
    if let Some(offset) = known.filter(|&offset| offset >= 0) {
        return Ok(Reply::ok(QueryConsumerOffsetResponse { offset }));
    }
    if header.set_zero_if_not_found == Some(false) {
        return Err(BrokerError::NotFound(
            "Not found, do not set to zero, maybe this group boot first".into(),
        ));
    }
    let starts_in_memory = match broker.store.find_queue(topic, queue_id) {
        Some(queue) if queue.min_offset() <= 0 => broker.store.is_in_memory(&queue, 0)?,
        _ => false,
    };
    if starts_in_memory {
        return Ok(Reply::ok(QueryConsumerOffsetResponse { offset: 0 }));
    }
    Err(BrokerError::no_offset())
}

/// UPDATE_CONSUMER_OFFSET: how far a group has come in a queue.
pub(crate) fn update(
    broker: &Arc<Broker>,
    _: &Call,
    header: UpdateConsumerOffsetRequest<'_>,
    _: &Bytes,
) -> Result<Reply<UpdateConsumerOffsetResponse>, BrokerError> {
    let (group, topic) = (&header.consumer_group, &header.topic);
    broker.existing_group(group)?;
    broker.existing_topic(topic)?;
    let reply = Reply::ok(UpdateConsumerOffsetResponse {});
    // Its consumers have not heard of a reset yet, and would undo it.
    if broker.settings().broker.use_server_side_reset_offset
        && broker.offsets.has_reset(group, topic, header.queue_id)
    {
        return Ok(reply.with_remark("Offset has been previously reset"));
    }
    broker
        .offsets
        .commit(group, topic, header.queue_id, header.commit_offset);
    Ok(reply)
}

/// GET_MAX_OFFSET: behind the last message of a queue.
pub(crate) fn max(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetMaxOffsetRequest<'_>,
    _: &Bytes,
) -> Result<Reply<GetMaxOffsetResponse>, BrokerError> {
    let (_, offset) = range(broker, &header.topic, header.queue_id);
    Ok(Reply::ok(GetMaxOffsetResponse { offset }))
}

/// GET_MIN_OFFSET: the first message of a queue.
pub(crate) fn min(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetMinOffsetRequest<'_>,
    _: &Bytes,
) -> Result<Reply<GetMinOffsetResponse>, BrokerError> {
    let (offset, _) = range(broker, &header.topic, header.queue_id);
    Ok(Reply::ok(GetMinOffsetResponse { offset }))
}

/// First offset and offset behind the last of a queue; that of a queue without messages is 0.
pub(super) fn range(broker: &Broker, topic: &str, queue_id: i32) -> (i64, i64) {
    let queue = broker.store.find_queue(topic, queue_id);
    queue.map_or((0, 0), |queue| (queue.min_offset(), queue.max_offset()))
}

/// SEARCH_OFFSET_BY_TIMESTAMP: the message stored at a time.
pub(crate) async fn search(
    broker: &Arc<Broker>,
    _: &Call,
    header: SearchOffsetRequest<'_>,
    _: Bytes,
) -> Result<Reply<SearchOffsetResponse>, BrokerError> {
    let (topic, queue_id) = (&header.topic, header.queue_id);
    match broker.static_topics.find(topic, queue_id, &header.rpc)? {
        Some(logical) => requests::search(broker, &logical, header).await,
        None => search_here(broker, &header),
    }
}

/// The same in a queue of this broker.
pub(crate) fn search_here(
    broker: &Broker,
    header: &SearchOffsetRequest<'_>,
) -> Result<Reply<SearchOffsetResponse>, BrokerError> {
    let boundary = match header.boundary_type.unwrap_or_default() {
        BoundaryType::Lower => Boundary::Lower,
        BoundaryType::Upper => Boundary::Upper,
    };
    let lite = header.lite_topic.as_deref();
    let lite = lite.and_then(|lite| names::lite_lmq_name(&header.topic, lite));
    let topic = lite.as_deref().unwrap_or(&header.topic);
    let offset = by_time(broker, topic, header.queue_id, header.timestamp, boundary)?;
    Ok(Reply::ok(SearchOffsetResponse { offset }))
}

fn by_time(
    broker: &Broker,
    topic: &str,
    queue_id: i32,
    timestamp: i64,
    boundary: Boundary,
) -> Result<i64, BrokerError> {
    match broker.store.find_queue(topic, queue_id) {
        Some(queue) => Ok(broker.store.offset_by_time(&queue, timestamp, boundary)?),
        None => Ok(0),
    }
}

/// GET_EARLIEST_MSG_STORETIME: when the first message of a queue was stored.
pub(crate) async fn earliest_time(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetEarliestMsgStoretimeRequest<'_>,
    _: Bytes,
) -> Result<Reply<GetEarliestMsgStoretimeResponse>, BrokerError> {
    let (topic, queue_id) = (&header.topic, header.queue_id);
    match broker.static_topics.find(topic, queue_id, &header.rpc)? {
        Some(logical) => requests::earliest_time(broker, &logical, &header).await,
        None => earliest_here(broker, &header),
    }
}

/// The same for a queue of this broker.
pub(crate) fn earliest_here(
    broker: &Broker,
    header: &GetEarliestMsgStoretimeRequest<'_>,
) -> Result<Reply<GetEarliestMsgStoretimeResponse>, BrokerError> {
    let timestamp = match broker.store.find_queue(&header.topic, header.queue_id) {
        Some(queue) => broker.store.earliest_message_time(&queue)?,
        None => -1,
    };
    Ok(Reply::ok(GetEarliestMsgStoretimeResponse { timestamp }))
}

/// GET_ALL_CONSUMER_OFFSET: how far all groups have come, for a replica.
pub(crate) async fn all(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    Ok(Reply::empty().with_body(broker.offsets.encode()))
}

/// GET_ALL_DELAY_OFFSET: how far the delay levels have been delivered, for a replica.
pub(crate) async fn all_delayed(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    Ok(Reply::empty().with_body(broker.schedule.encode()))
}

/// CLONE_GROUP_OFFSET: gives a group the offsets of another.
pub(crate) async fn clone_group(
    broker: &Arc<Broker>,
    _: &Call,
    header: CloneGroupOffsetRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let (from, to) = (&header.src_group, &header.dest_group);
    let topics = match header.topic.as_deref() {
        Some(topic) if !topic.trim().is_empty() => vec![topic.to_owned()],
        _ => broker.offsets.topics_of(from),
    };
    for topic in topics {
        let is_left = !header.offline && broker.clients.has_left(from, &topic);
        if broker.topics.get(&topic).is_none() || is_left {
            tracing::warn!(topic, group = %from, "its offsets are not cloned: no such topic, or left");
            continue;
        }
        broker.offsets.clone_group(from, to, &topic);
    }
    Ok(Reply::empty())
}

/// QUERY_CORRECTION_OFFSET: how far the slowest group has come in each queue of a topic. A queue
/// in which the compared group is slower still has the largest number there is.
pub(crate) async fn correction(
    broker: &Arc<Broker>,
    _: &Call,
    header: QueryCorrectionOffsetRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let topic = &*header.topic;
    let left_out: Vec<&str> = header
        .filter_groups
        .as_deref()
        .unwrap_or_default()
        .split(',')
        .collect();
    let mut slowest = BTreeMap::<i32, i64>::new();
    for group in broker.offsets.groups_of(topic) {
        if left_out.contains(&&*group) {
            continue;
        }
        for (queue_id, offset) in broker.offsets.committed(&group, topic) {
            // What is deleted already holds nobody back.
            if offset >= range(broker, topic, queue_id).0 {
                let slowest = slowest.entry(queue_id).or_insert(offset);
                *slowest = offset.min(*slowest);
            }
        }
    }
    for (queue_id, offset) in broker.offsets.committed(&header.compare_group, topic) {
        if let Some(slowest) = slowest
            .get_mut(&queue_id)
            .filter(|slowest| **slowest > offset)
        {
            *slowest = i64::MAX;
        }
    }
    let body = QueryCorrectionOffsetBody {
        correction_offsets: slowest,
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// INVOKE_BROKER_TO_RESET_OFFSET: sets where a group goes on. Either the broker keeps that until
/// the consumers pull, or the consumers are told at once, as `useServerSideResetOffset` says.
pub(crate) async fn reset(
    broker: &Arc<Broker>,
    _: &Call,
    header: ResetOffsetRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let offset_table = if broker.settings().broker.use_server_side_reset_offset {
        reset_here(broker, &header)?
    } else {
        reset_at_clients(broker, &header)?
    };
    let (group, topic) = (&header.group, &header.topic);
    tracing::info!(%group, %topic, ?offset_table, "offsets reset");
    Ok(Reply::empty().with_body(json::write(&ResetOffsetBody { offset_table })))
}

type QueueTargets = BTreeMap<MessageQueue, i64>;

fn reset_here(
    broker: &Broker,
    header: &ResetOffsetRequest<'_>,
) -> Result<QueueTargets, BrokerError> {
    let (group, name) = (&*header.group, &*header.topic);
    let topic = broker.existing_topic(name)?;
    broker.existing_group(group)?;
    let target = |queue_id| reset_target(broker, name, queue_id, header.timestamp);
    let mut targets = Vec::new();
    match header.offset.filter(|&offset| offset != -1) {
        _ if header.queue_id < 0 => {
            for queue_id in 0..topic.config.read_queue_nums {
                targets.push((queue_id, target(queue_id)?));
            }
        }
        Some(offset) => {
            let (min, max) = range(broker, name, header.queue_id);
            if offset < min || offset > max + 1 {
                return Err(BrokerError::System(format!(
                    "Target offset {offset} not in consume queue range [{min}-{max}]"
                )));
            }
            targets.push((header.queue_id, offset));
        }
        None => targets.push((header.queue_id, target(header.queue_id)?)),
    }
    if targets.is_empty() {
        return Err(BrokerError::System("No queues to reset.".into()));
    }
    let mut told = QueueTargets::new();
    for (queue_id, offset) in targets {
        broker.offsets.assign_reset(group, name, queue_id, offset);
        told.insert(queue_of(broker, name, queue_id), offset);
    }
    Ok(told)
}

fn reset_at_clients(
    broker: &Broker,
    header: &ResetOffsetRequest<'_>,
) -> Result<QueueTargets, BrokerError> {
    let (name, timestamp) = (&*header.topic, header.timestamp);
    let topic = broker.existing_topic(name)?;
    let mut offset_table = QueueTargets::new();
    for queue_id in 0..topic.config.write_queue_nums {
        let present = broker
            .offsets
            .query(&header.group, name, queue_id)
            .ok_or_else(|| {
                BrokerError::System(format!("THe consumer group <{}> not exist", header.group))
            })?;
        let target = reset_target(broker, name, queue_id, timestamp)?;
        let offset = if header.is_force {
            target
        } else {
            target.min(present)
        };
        offset_table.insert(queue_of(broker, name, queue_id), offset);
    }
    let group = broker.clients.group(&header.group).ok_or_else(|| {
        BrokerError::ConsumerNotOnline(format!(
            "Consumer not online, so can not reset offset, Group: {} Topic: {name} \
             Timestamp: {timestamp}",
            header.group
        ))
    })?;
    let order = ResetOffsetRequest {
        topic: header.topic.clone(),
        group: header.group.clone(),
        timestamp,
        ..ResetOffsetRequest::default()
    };
    let head = Head::request(ResetConsumerClientOffset::CODE as i32, SerializeType::Json);
    for member in group.members() {
        let body = match member.language {
            Some(Language::Cpp) => json::write(&for_c(&offset_table)),
            _ => json::write(&ResetOffsetBody {
                offset_table: offset_table.clone(),
            }),
        };
        if let Err(error) = member.connection.oneway(head, &order, Body::One(body)) {
            tracing::warn!(client = member.id, %error, "not told to reset its offsets");
        }
    }
    Ok(offset_table)
}

/// Where a time is in a queue; a negative one is the end.
fn reset_target(
    broker: &Broker,
    topic: &str,
    queue_id: i32,
    timestamp: i64,
) -> Result<i64, BrokerError> {
    let offset = if timestamp < 0 {
        range(broker, topic, queue_id).1
    } else {
        by_time(broker, topic, queue_id, timestamp, Boundary::Lower)?
    };
    Ok(offset.max(0))
}

fn for_c(offset_table: &QueueTargets) -> ResetOffsetBodyForC {
    let queues = offset_table
        .iter()
        .map(|(queue, &offset)| MessageQueueForC {
            broker_name: queue.broker_name.clone(),
            offset,
            queue_id: queue.queue_id,
            topic: queue.topic.clone(),
        });
    ResetOffsetBodyForC {
        offset_table: queues.collect(),
    }
}

/// A queue of this broker, as bodies name it.
pub(super) fn queue_of(broker: &Broker, topic: &str, queue_id: i32) -> MessageQueue {
    let settings = broker.settings();
    MessageQueue {
        broker_name: settings.broker.broker_name.clone(),
        queue_id,
        topic: topic.into(),
    }
}
