//! What tools ask about lite topics (`LiteManagerProcessor`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use transport::Reply;
use wire::body::json;
use wire::body::lite::{
    ClientGroup, GetBrokerLiteInfoResponseBody, GetLiteClientInfoResponseBody,
    GetLiteGroupInfoResponseBody, GetLiteTopicInfoResponseBody, GetParentTopicInfoResponseBody,
    LiteLagInfo,
};
use wire::body::offset::OffsetWrapper;
use wire::body::topic::TopicOffset;
use wire::header::lite::{
    GetLiteClientInfoRequest, GetLiteGroupInfoRequest, GetLiteTopicInfoRequest,
    GetParentTopicInfoRequest, TriggerLiteDispatchRequest,
};
use wire::header::{Header, HeaderError, NoHeader};
use wire::message::names;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::lite::{self, Rules};
use crate::routes::Call;
use crate::topics::Topic;

/// Most lite topics of a client that are listed.
const MOST_LISTED: usize = 10_000;
/// As many as a request without a number asks for (`GetLiteClientInfoRequestHeader.maxCount`).
const LISTED: i32 = 1000;

/// A topic that has lite topics below it.
fn parent(broker: &Broker, name: &str) -> Result<Arc<Topic>, BrokerError> {
    let topic = broker.existing_topic(name)?;
    if !lite::is_parent(&topic) {
        return Err(BrokerError::InvalidParameter(format!(
            "Topic [{name}] type not match."
        )));
    }
    Ok(topic)
}

/// A group that consumes lite topics, and their parent topic.
fn lite_group(broker: &Broker, name: &str) -> Result<String, BrokerError> {
    let config = broker.existing_group(name)?;
    let parent = Rules::of(&config)
        .parent()
        .filter(|parent| !parent.is_empty());
    parent.map(str::to_owned).ok_or_else(|| {
        BrokerError::InvalidParameter(format!("Group [{name}] is not a LITE group."))
    })
}

/// The groups that consume lite topics, by parent topic.
fn groups_by_parent(broker: &Broker) -> BTreeMap<String, BTreeSet<String>> {
    let mut by_parent = BTreeMap::<String, BTreeSet<String>>::new();
    for (name, config) in broker.groups.wrapper().subscription_group_table {
        if let Some(parent) = Rules::of(&config).parent() {
            by_parent.entry(parent.to_owned()).or_default().insert(name);
        }
    }
    by_parent
}

/// GET_BROKER_LITE_INFO: how much there is of what.
pub(crate) async fn broker_info(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let numbers = broker.lite.numbers();
    let topics = broker.topics.wrapper().topic_config_table.into_keys();
    let parents = topics.filter_map(|name| {
        let topic = broker
            .topics
            .get(&name)
            .filter(|topic| lite::is_parent(topic))?;
        Some((name, lite::expiration_minutes(&topic)))
    });
    let body = GetBrokerLiteInfoResponseBody {
        cq_table_size: broker.store.topics().len() as i32,
        current_lmq_num: broker.store.light_queues() as i32,
        event_map_size: numbers.clients_with_events as i32,
        group_meta: groups_by_parent(broker),
        lite_subscription_count: numbers.subscriptions as i32,
        max_lmq_num: broker.store.settings().max_lmq_consume_queue_num as i32,
        offset_table_size: broker.offsets.len() as i32,
        order_info_count: numbers.orders as i32,
        store_type: "default".into(),
        topic_meta: parents.collect(),
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// GET_PARENT_TOPIC_INFO: who consumes a parent topic, and how many lite topics it has.
pub(crate) async fn parent_topic(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetParentTopicInfoRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let topic = parent(broker, &header.topic)?;
    let groups = groups_by_parent(broker).remove(&*header.topic);
    let body = GetParentTopicInfoResponseBody {
        groups: groups.unwrap_or_default(),
        lite_topic_count: lite::queues_below(broker, &header.topic).len() as i32,
        lmq_num: broker.store.light_queues() as i32,
        topic: header.topic.to_string(),
        ttl: lite::expiration_minutes(&topic),
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// GET_LITE_TOPIC_INFO: who is subscribed to a lite topic, and how far it goes.
pub(crate) async fn lite_topic(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetLiteTopicInfoRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let name = header.parent_topic.as_deref().unwrap_or_default();
    let lite_topic = header.lite_topic.as_deref().unwrap_or_default();
    parent(broker, name)?;
    let light_queue = names::lite_lmq_name(name, lite_topic).unwrap_or_default();
    let queue = lite::queue(broker, &light_queue);
    let topic_offset = match queue {
        Some(queue) => TopicOffset {
            last_update_timestamp: broker
                .store
                .store_timestamp_at(&queue, queue.max_offset() - 1)?,
            max_offset: queue.max_offset(),
            min_offset: queue.min_offset(),
        },
        None => TopicOffset::default(),
    };
    let subscribers = broker.lite.subscribers(&light_queue, name).into_iter();
    let body = GetLiteTopicInfoResponseBody {
        lite_topic: lite_topic.to_owned(),
        parent_topic: name.to_owned(),
        sharding_to_broker: true,
        subscriber: subscribers
            .map(|(group, client)| ClientGroup {
                client_id: client.to_string(),
                group: group.to_string(),
            })
            .collect(),
        topic_offset: Some(topic_offset),
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// GET_LITE_CLIENT_INFO: which lite topics a client is subscribed to.
pub(crate) async fn client(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetLiteClientInfoRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let count = header.max_count.unwrap_or(LISTED);
    if count <= 0 {
        let (class, count) = (GetLiteClientInfoRequest::NAME, count.to_string());
        let wanted = "a number above 0";
        return Err(HeaderError::invalid(class, "maxCount", wanted, count.as_bytes()).into());
    }
    let name = header.parent_topic.as_deref().unwrap_or_default();
    let group = header.group.as_deref().unwrap_or_default();
    parent(broker, name)?;
    let config = broker.existing_group(group)?;
    if Rules::of(&config).parent() != Some(name) {
        return Err(BrokerError::InvalidParameter(format!(
            "Subscription [{group}]-[{name}] not match."
        )));
    }
    let client = header.client_id.as_deref().unwrap_or_default();
    let (light_queues, last_access_time) = broker.lite.client(client);
    let most = MOST_LISTED.min(count as usize);
    let body = GetLiteClientInfoResponseBody {
        client_id: client.to_owned(),
        group: group.to_owned(),
        last_access_time,
        lite_topic_count: light_queues.as_ref().map_or(-1, |all| all.len() as i32),
        lite_topic_set: light_queues
            .into_iter()
            .flatten()
            .take(most)
            .map(|light_queue| light_queue.to_string())
            .collect(),
        parent_topic: name.to_owned(),
        ..Default::default()
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// GET_LITE_GROUP_INFO: how far behind a group is, in all lite topics or in one.
pub(crate) async fn group(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetLiteGroupInfoRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let group = &*header.group;
    let parent = lite_group(broker, group)?;
    let mut body = GetLiteGroupInfoResponseBody {
        group: group.to_owned(),
        parent_topic: parent.clone(),
        lite_topic: header.lite_topic.as_deref().map(str::to_owned),
        ..Default::default()
    };
    match header.lite_topic.as_deref().filter(|lite| !lite.is_empty()) {
        Some(lite_topic) => one(broker, &mut body, lite_topic)?,
        None => all(broker, &mut body, header.top_k.max(0) as usize)?,
    }
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// How far a group has come in one lite topic.
fn one(
    broker: &Broker,
    body: &mut GetLiteGroupInfoResponseBody,
    lite_topic: &str,
) -> Result<(), BrokerError> {
    let light_queue = names::lite_lmq_name(&body.parent_topic, lite_topic).unwrap_or_default();
    let Some(queue) = lite::queue(broker, &light_queue) else {
        body.total_lag_count = -1;
        return Ok(());
    };
    let offset = broker.offsets.query(&body.group, &light_queue, queue.id());
    let Some(offset) = offset.filter(|offset| *offset >= 0) else {
        return Ok(());
    };
    body.total_lag_count = queue.max_offset() - offset;
    body.earliest_unconsumed_timestamp = broker.store.store_timestamp_at(&queue, offset)?;
    body.lite_topic_offset_wrapper = Some(OffsetWrapper {
        broker_offset: queue.max_offset(),
        consumer_offset: offset,
        last_timestamp: match offset {
            0 => 0,
            offset => broker.store.store_timestamp_at(&queue, offset - 1)?,
        },
        ..Default::default()
    });
    Ok(())
}

/// How far behind a group is in the lite topics that it has offsets in, and in which the most.
fn all(
    broker: &Broker,
    body: &mut GetLiteGroupInfoResponseBody,
    most: usize,
) -> Result<(), BrokerError> {
    let mut lags = Vec::new();
    for queue in lite::queues_below(broker, &body.parent_topic) {
        let offset = broker.offsets.query(&body.group, queue.topic(), queue.id());
        let Some(offset) = offset.filter(|offset| (0..queue.max_offset()).contains(offset)) else {
            continue;
        };
        lags.push(LiteLagInfo {
            earliest_unconsumed_timestamp: broker.store.store_timestamp_at(&queue, offset)?,
            lag_count: queue.max_offset() - offset,
            lite_topic: queue.topic().to_string(),
        });
    }
    body.total_lag_count = lags.iter().map(|lag| lag.lag_count).sum();
    let times = lags.iter().map(|lag| lag.earliest_unconsumed_timestamp);
    body.earliest_unconsumed_timestamp = times.min().unwrap_or(-1);
    lags.sort_by_key(|lag| std::cmp::Reverse(lag.lag_count));
    body.lag_count_top_k = lags.iter().take(most).cloned().collect();
    lags.sort_by_key(|lag| lag.earliest_unconsumed_timestamp);
    lags.truncate(most);
    body.lag_timestamp_top_k = lags;
    Ok(())
}

/// TRIGGER_LITE_DISPATCH: tells a client, or all of a group, of what waits for it.
pub(crate) async fn dispatch(
    broker: &Arc<Broker>,
    _: &Call,
    header: TriggerLiteDispatchRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    lite_group(broker, &header.group)?;
    match header
        .client_id
        .as_deref()
        .filter(|client| !client.is_empty())
    {
        Some(client) => broker.lite.look_for_client(broker, client),
        None => broker.lite.look_for_group(broker, &header.group),
    }
    Ok(Reply::empty())
}
