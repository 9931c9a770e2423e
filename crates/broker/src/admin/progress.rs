//! How far topics go and how far behind their groups are, for tools.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use store::Queue;
use transport::Reply;
use wire::body::json;
use wire::body::offset::{
    ConsumeStats, ConsumeStatsList, OffsetWrapper, QueryConsumeTimeSpanBody, QueueTimeSpan,
};
use wire::body::topic::{TopicOffset, TopicStatsTable};
use wire::header::group::{GetConsumeStatsInBrokerRequest, GetConsumeStatsRequest};
use wire::header::offset::QueryConsumeTimeSpanRequest;
use wire::header::topic::GetTopicStatsInfoRequest;

use super::offset::{queue_of, range};
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;

/// When the message at an offset was stored; -1 where there is none.
fn stored_at(broker: &Broker, queue: Option<&Arc<Queue>>, offset: i64) -> Result<i64, BrokerError> {
    match queue {
        Some(queue) if offset >= 0 => Ok(broker.store.store_timestamp_at(queue, offset)?),
        _ => Ok(-1),
    }
}

/// GET_TOPIC_STATS_INFO: how far the queues of a topic go.
pub(crate) async fn topic_stats(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetTopicStatsInfoRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    Ok(Reply::empty().with_body(json::write(&stats(broker, &header.topic)?)))
}

/// How far the broker's own queues of a topic go.
pub(crate) fn stats(broker: &Broker, name: &str) -> Result<TopicStatsTable, BrokerError> {
    let config = &broker.existing_topic(name)?.config;
    let mut stats = TopicStatsTable::default();
    for queue_id in 0..config.write_queue_nums.max(config.read_queue_nums) {
        let (min, max) = range(broker, name, queue_id);
        let queue = broker.store.find_queue(name, queue_id);
        let offsets = TopicOffset {
            last_update_timestamp: stored_at(broker, queue.as_ref(), max - 1)?.max(0),
            max_offset: max.max(0),
            min_offset: min.max(0),
        };
        stats
            .offset_table
            .insert(queue_of(broker, name, queue_id), offsets);
    }
    Ok(stats)
}

/// GET_CONSUME_STATS: how far behind a group is, in the topics that are asked for or in all.
pub(crate) async fn group_stats(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetConsumeStatsRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let group = &*header.consumer_group;
    let listed = header.topic_list.as_deref().unwrap_or_default();
    let mut topics: Vec<String> = listed.split(';').map(str::to_owned).collect();
    topics.retain(|topic| !topic.trim().is_empty());
    if topics.is_empty() {
        topics = match header.topic.as_deref() {
            Some(topic) if !topic.trim().is_empty() => vec![topic.to_owned()],
            _ => broker.offsets.topics_of(group),
        };
        topics.retain(|topic| !broker.clients.has_left(group, topic));
    }
    let mut stats = ConsumeStats::default();
    for topic in topics {
        let Some(known) = broker.topics.get(&topic) else {
            continue;
        };
        let queues = known.config.read_queue_nums;
        // Of a logical queue's parts only some have an offset; tools look for those.
        let unset = match broker.static_topics.get(&topic) {
            Some(_) => -1,
            None => 0,
        };
        add_group_stats(broker, group, &topic, (queues, unset), &mut stats)?;
    }
    Ok(Reply::empty().with_body(json::write(&stats)))
}

/// How far a group is in the first `queues` queues of a topic; `unset` where it has no offset.
fn add_group_stats(
    broker: &Broker,
    group: &str,
    topic: &str,
    (queues, unset): (i32, i64),
    stats: &mut ConsumeStats,
) -> Result<(), BrokerError> {
    for queue_id in 0..queues {
        let consumer_offset = broker
            .offsets
            .query(group, topic, queue_id)
            .unwrap_or(unset)
            .max(unset);
        let pulled = broker
            .offsets
            .query_pulled(group, topic, queue_id)
            .unwrap_or(unset);
        let queue = broker.store.find_queue(topic, queue_id);
        let progress = OffsetWrapper {
            broker_offset: range(broker, topic, queue_id).1.max(0),
            consumer_offset,
            last_timestamp: stored_at(broker, queue.as_ref(), consumer_offset - 1)?.max(0),
            pull_offset: pulled.max(consumer_offset),
        };
        stats
            .offset_table
            .insert(queue_of(broker, topic, queue_id), progress);
    }
    Ok(())
}

/// GET_BROKER_CONSUME_STATS: how far behind every group is in every topic.
pub(crate) async fn broker_stats(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetConsumeStatsInBrokerRequest,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let mut list = ConsumeStatsList {
        broker_addr: Some(broker.address.clone()),
        ..ConsumeStatsList::default()
    };
    for group in broker.groups.names() {
        let mut of_group = Vec::new();
        for topic in broker.offsets.topics_of(&group) {
            let Some(known) = broker.topics.get(&topic) else {
                continue;
            };
            if header.is_order && !known.config.order || broker.clients.has_left(&group, &topic) {
                continue;
            }
            let mut stats = ConsumeStats::default();
            add_group_stats(
                broker,
                &group,
                &topic,
                (known.config.write_queue_nums, 0),
                &mut stats,
            )?;
            for progress in stats.offset_table.values() {
                list.total_diff += progress.broker_offset - progress.consumer_offset;
                list.total_inflight_diff += progress.pull_offset - progress.consumer_offset;
            }
            of_group.push(stats);
        }
        list.consume_stats_list
            .push(BTreeMap::from([(group, of_group)]));
    }
    Ok(Reply::empty().with_body(json::write(&list)))
}

/// QUERY_CONSUME_TIME_SPAN: what span of time each queue holds, and where a group is in it.
pub(crate) async fn time_span(
    broker: &Arc<Broker>,
    _: &Call,
    header: QueryConsumeTimeSpanRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let (group, name) = (&*header.group, &*header.topic);
    let mut body = QueryConsumeTimeSpanBody::default();
    for queue_id in 0..broker.existing_topic(name)?.config.write_queue_nums {
        let queue = broker.store.find_queue(name, queue_id);
        let (_, end) = range(broker, name, queue_id);
        let min_time_stamp = match &queue {
            Some(queue) => broker.store.earliest_message_time(queue)?,
            None => -1,
        };
        let consumed = broker.offsets.query(group, name, queue_id).unwrap_or(-1);
        let consume_time_stamp = match consumed {
            1.. => stored_at(broker, queue.as_ref(), consumed - 1)?,
            _ => min_time_stamp,
        };
        let mut delay_time = 0;
        if consumed < end {
            let next = stored_at(broker, queue.as_ref(), consumed.max(0))?;
            if next > 0 {
                delay_time = broker.now_millis() - next;
            }
        }
        body.consume_time_span_set.push(QueueTimeSpan {
            consume_time_stamp,
            delay_time,
            max_time_stamp: stored_at(broker, queue.as_ref(), end - 1)?,
            message_queue: queue_of(broker, name, queue_id),
            min_time_stamp,
        });
    }
    Ok(Reply::empty().with_body(json::write(&body)))
}
