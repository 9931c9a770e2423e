//! Taking out of mappings what nobody needs any more (`TopicQueueMappingCleanService`).
//!
//! Every five minutes of the hours that `deleteWhen` names, of each topic:
//!
//! | what goes | where | when |
//! |---|---|---|
//! | the first part of a logical queue | at the broker that leads it | the part's broker has no messages of it any more |
//! | all parts of a logical queue | at a broker that led it | the one that took it over has passed it on as well |
//!
//! When another broker has to be asked and does not answer, everything stays until the next time.
//! So does everything of a mapping that was changed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use wire::body::queue::MessageQueue;
use wire::body::route::TopicRouteData;
use wire::body::static_topic::{
    LogicQueueMappingItem, TopicQueueMappingDetail, TopicQueueMappingInfo,
};
use wire::body::topic::{TopicConfigAndQueueMapping, TopicStatsTable};
use wire::command::{GetRouteInfoByTopic, GetTopicConfig, GetTopicStatsInfo};
use wire::header::TopicRpcFields;
use wire::header::nameserver::GetRouteInfoRequest;
use wire::header::topic::{GetTopicConfigRequest, GetTopicStatsInfoRequest};

use super::requests::own_queue;
use crate::admin::{progress, read_body};
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::other_brokers::accepted;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(5 * 60);

/// Cleans for ever.
pub(crate) async fn run(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        clean(&broker).await;
    }
}

/// Cleans all mappings, if this is the hour for it.
pub(super) async fn clean(broker: &Broker) {
    let hour = broker.clock.local_hour();
    if !broker.settings().store.deletes_at(hour) {
        return;
    }
    for mapping in broker.static_topics.all() {
        let first_parts = first_parts(&mapping);
        if !first_parts.is_empty() {
            let stats = stats(broker, &mapping.topic, &first_parts).await;
            if let Some(cleaned) = without_used_up(&mapping, &stats) {
                broker.static_topics.replace(&mapping, cleaned);
            }
        }
    }
    for mapping in broker.static_topics.all() {
        let taken_over = taken_over(&mapping);
        if taken_over.is_empty() {
            continue;
        }
        match leaders(broker, &mapping, &taken_over).await {
            Ok(leaders) => {
                if let Some(cleaned) = without_passed_on(&mapping, &taken_over, &leaders) {
                    broker.static_topics.replace(&mapping, cleaned);
                }
            }
            Err(error) => warn!(
                topic = mapping.topic,
                "who leads the queues that were led here is not known: {error}"
            ),
        }
    }
}

/// The parts of logical queues led here that are over, if nothing is there any more: the first
/// one of each, unless it is the only one with a place in the logical queue.
fn first_parts(mapping: &TopicQueueMappingDetail) -> BTreeMap<i32, &LogicQueueMappingItem> {
    let queues = mapping.hosted_queues.iter();
    queues
        .filter_map(|(&id, parts)| {
            let [first, second, ..] = &**parts else {
                return None;
            };
            let is_led_here = parts.last()?.bname == mapping.bname;
            (is_led_here && second.logic_offset >= 0).then_some((id, first))
        })
        .collect()
}

/// How far the topic's queues go at the brokers that have these parts, as far as they answer.
async fn stats(
    broker: &Broker,
    topic: &str,
    parts: &BTreeMap<i32, &LogicQueueMappingItem>,
) -> TopicStatsTable {
    let mut all = TopicStatsTable::default();
    let brokers: BTreeSet<&str> = parts.values().map(|part| &*part.bname).collect();
    for name in brokers {
        match stats_at(broker, topic, name).await {
            Ok(stats) => all.offset_table.extend(stats.offset_table),
            Err(error) => warn!(
                topic,
                "how far the queues at {name} go is not known: {error}"
            ),
        }
    }
    all
}

async fn stats_at(
    broker: &Broker,
    topic: &str,
    name: &str,
) -> Result<TopicStatsTable, BrokerError> {
    if name == broker.settings().broker.broker_name {
        return progress::stats(broker, topic);
    }
    let header = GetTopicStatsInfoRequest {
        topic: topic.into(),
        rpc: own_queue(name),
    };
    let answer = broker.ask_other::<GetTopicStatsInfo>(name, &header).await?;
    read_body(&accepted(answer, name)?.body)
}

/// The mapping without the first parts that have no messages any more; `None` if all have some.
fn without_used_up(
    mapping: &TopicQueueMappingDetail,
    stats: &TopicStatsTable,
) -> Option<TopicQueueMappingDetail> {
    let is_used_up = |part: &LogicQueueMappingItem| {
        let queue = MessageQueue {
            topic: mapping.topic.clone(),
            broker_name: part.bname.clone(),
            queue_id: part.queue_id,
        };
        let offsets = stats.offset_table.get(&queue);
        offsets.is_some_and(|it| it.max_offset == it.min_offset || it.max_offset == 0)
    };
    let used_up: Vec<i32> = first_parts(mapping)
        .into_iter()
        .filter(|(_, part)| is_used_up(part))
        .map(|(id, _)| id)
        .collect();
    if used_up.is_empty() {
        return None;
    }
    let mut cleaned = mapping.clone();
    for id in used_up {
        if let Some(parts) = cleaned.hosted_queues.get_mut(&id) {
            let part = parts.remove(0);
            info!(
                topic = mapping.topic,
                queue = id,
                ?part,
                "a part has no messages any more"
            );
        }
    }
    Some(cleaned)
}

/// Names of the brokers that took over the queues that this one has led.
fn taken_over(mapping: &TopicQueueMappingDetail) -> BTreeMap<i32, &str> {
    let queues = mapping.hosted_queues.iter();
    queues
        .filter_map(|(&id, parts)| Some((id, &*parts.last()?.bname)))
        .filter(|(_, leader)| *leader != mapping.bname)
        .collect()
}

/// The mappings of the brokers that lead queues now, by queue.
async fn leaders(
    broker: &Broker,
    mapping: &TopicQueueMappingDetail,
    queues: &BTreeMap<i32, &str>,
) -> Result<BTreeMap<i32, Arc<TopicQueueMappingDetail>>, BrokerError> {
    let header = GetRouteInfoRequest {
        topic: mapping.topic.as_str().into(),
        accept_standard_json_only: Some(true),
        ..GetRouteInfoRequest::default()
    };
    let timeout = broker.forward_timeout();
    let answer = broker.ask_name_servers::<GetRouteInfoByTopic>(&header, timeout);
    let answer = accepted(answer.await?, "the name server")?;
    let route: TopicRouteData = read_body(&answer.body)?;
    let infos = route.topic_queue_mapping_by_broker.unwrap_or_default();
    let mut mappings = BTreeMap::new();
    let mut leaders = BTreeMap::new();
    for &id in queues.keys() {
        let Some(name) = leader(infos.values(), &mapping.scope, id) else {
            continue;
        };
        if !mappings.contains_key(name) {
            mappings.insert(name, mapping_at(broker, &mapping.topic, name).await?);
        }
        if let Some(Some(mapping)) = mappings.get(name) {
            leaders.insert(id, Arc::clone(mapping));
        }
    }
    Ok(leaders)
}

/// Name of the broker that leads a queue now: of those that say so, the one with the newest
/// mapping (`ClientMetadata.topicRouteData2EndpointsForStaticTopic`).
fn leader<'i>(
    infos: impl Iterator<Item = &'i TopicQueueMappingInfo>,
    scope: &str,
    id: i32,
) -> Option<&'i str> {
    infos
        .filter(|info| info.scope == scope && info.curr_id_map.contains_key(&id))
        .max_by_key(|info| info.epoch)
        .map(|info| &*info.bname)
}

/// A topic's mapping at another broker.
async fn mapping_at(
    broker: &Broker,
    topic: &str,
    name: &str,
) -> Result<Option<Arc<TopicQueueMappingDetail>>, BrokerError> {
    let header = GetTopicConfigRequest {
        topic: topic.into(),
        rpc: TopicRpcFields {
            logical: Some(true),
            ..own_queue(name)
        },
    };
    let answer = broker.ask_other::<GetTopicConfig>(name, &header).await?;
    let config: TopicConfigAndQueueMapping = read_body(&accepted(answer, name)?.body)?;
    Ok(config.mapping_detail.map(Arc::new))
}

/// The mapping without the queues that those who took them over have passed on; `None` if there
/// are none. Only a leader with a mapping of the same time is believed.
fn without_passed_on(
    mapping: &TopicQueueMappingDetail,
    taken_over: &BTreeMap<i32, &str>,
    leaders: &BTreeMap<i32, Arc<TopicQueueMappingDetail>>,
) -> Option<TopicQueueMappingDetail> {
    let is_passed_on = |id: &i32, taken_by: &str| {
        let leader = leaders.get(id)?;
        let last = leader.hosted_queues.get(id)?.last()?;
        let is_leader = last.bname == leader.bname;
        let is_same_time =
            (leader.epoch, leader.total_queues) == (mapping.epoch, mapping.total_queues);
        Some(is_leader && is_same_time && leader.bname != taken_by)
    };
    let passed_on = |id: &i32, by: &str| is_passed_on(id, by).unwrap_or_default();
    let mut cleaned = mapping.clone();
    for (id, taken_by) in taken_over {
        if passed_on(id, taken_by) {
            let parts = cleaned.hosted_queues.remove(id);
            info!(
                topic = mapping.topic,
                queue = id,
                ?parts,
                "a queue has been passed on twice"
            );
        }
    }
    (cleaned.hosted_queues.len() < mapping.hosted_queues.len()).then_some(cleaned)
}
