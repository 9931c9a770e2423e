//! Clients: that they are there, who they are, which queues they lock (`ClientManageProcessor`,
//! parts of `ConsumerManageProcessor` and `AdminBrokerProcessor`).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use transport::Reply;
use wire::body::client::{
    ConsumerConnection, GetConsumerListByGroupResponseBody, ProducerConnection,
};
use wire::body::heartbeat::{CheckClientRequestBody, HeartbeatData};
use wire::body::json;
use wire::body::lock::{LockBatchRequestBody, LockBatchResponseBody, UnlockBatchRequestBody};
use wire::header::NoHeader;
use wire::header::client::{
    GetAllProducerInfoRequest, GetConsumerConnectionListRequest, GetConsumerListByGroupRequest,
    GetConsumerListByGroupResponse, GetProducerConnectionListRequest, HeartbeatRequest,
    HeartbeatResponse, LockBatchMqRequest, UnlockBatchMqRequest, UnregisterClientRequest,
    UnregisterClientResponse,
};
use wire::message::sys_flag::topic as topic_flag;
use wire::message::{names, perm};

use super::read_body;
use crate::broker::Broker;
use crate::clients::{Client, ConsumerHeartbeat};
use crate::error::BrokerError;
use crate::filter::{self, Filter};
use crate::routes::Call;

/// HEART_BEAT: a client is there.
pub(crate) async fn heartbeat(
    broker: &Arc<Broker>,
    call: &Call,
    _: HeartbeatRequest<'_>,
    body: Bytes,
) -> Result<Reply<HeartbeatResponse>, BrokerError> {
    let heartbeat: HeartbeatData = read_body(&body)?;
    let client = Client::new(&call.connection, &call.head, &heartbeat.client_id);
    let fingerprint = heartbeat.heartbeat_fingerprint;
    let without_subscriptions = fingerprint != 0 && heartbeat.without_sub;
    let mut tell_subscriptions = false;
    let statistics = &broker.statistics;
    let millis_since = |began: Instant| began.elapsed().as_millis() as u64;
    for data in heartbeat.consumer_data_set {
        let began = Instant::now();
        // A group that is not known and must not be made does not become online.
        let Some(group) = broker.groups.get_or_create(&data.group_name) else {
            continue;
        };
        let is_ordered = |topic: &str| broker.topics.get(topic).is_some_and(|t| t.config.order);
        let ordered = data
            .subscription_data_set
            .iter()
            .any(|data| is_ordered(&data.topic));
        broker.topics.create_on_send_back(
            &names::retry_topic(&data.group_name),
            group.retry_queue_nums,
            perm::READ | perm::WRITE,
            (!without_subscriptions).then_some(ordered),
            topic_flag::build(false, data.unit_mode),
        );
        let notify = group.notify_consumer_ids_changed_enable;
        let name = data.group_name.clone();
        let known = broker.clients.group(&name);
        let changed = known.is_some_and(|group| group.is_changed_by(&data.subscription_data_set));
        if !without_subscriptions {
            broker.filters.register(&name, &data.subscription_data_set);
        }
        tell_subscriptions |= broker.clients.consumer_heartbeat(
            &client,
            ConsumerHeartbeat {
                data,
                fingerprint,
                without_subscriptions,
                notify,
            },
        );
        if changed {
            broker.polling.ask_anew(&name);
        }
        statistics.consumers_registered.add(millis_since(began), 1);
    }
    for data in heartbeat.producer_data_set {
        let began = Instant::now();
        broker.clients.producer_heartbeat(&client, &data.group_name);
        statistics.producers_registered.add(millis_since(began), 1);
    }
    Ok(Reply::ok(HeartbeatResponse {
        is_support_heartbeat_v2: Some(true),
        // A client without fingerprints tells them each time, and is told so.
        is_sub_change: Some(fingerprint == 0 || tell_subscriptions),
    }))
}

/// UNREGISTER_CLIENT: a client leaves a group.
pub(crate) async fn unregister(
    broker: &Arc<Broker>,
    call: &Call,
    header: UnregisterClientRequest<'_>,
    _: Bytes,
) -> Result<Reply<UnregisterClientResponse>, BrokerError> {
    if let Some(group) = &header.producer_group {
        broker.clients.unregister_producer(&call.connection, group);
    }
    if let Some(group) = &header.consumer_group {
        let config = broker.groups.get(group);
        let notify = config.is_none_or(|config| config.notify_consumer_ids_changed_enable);
        broker
            .clients
            .unregister_consumer(&call.connection, group, notify);
    }
    Ok(Reply::ok(UnregisterClientResponse {}))
}

/// CHECK_CLIENT_CONFIG: whether the broker accepts a subscription's filter.
pub(crate) async fn check_config(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let check: CheckClientRequestBody = read_body(&body)?;
    let data = &check.subscription_data;
    filter::check_type(broker, &data.expression_type)?;
    if !filter::is_tag_type(&data.expression_type) {
        Filter::parse(Some(&data.expression_type), &data.sub_string)?;
    }
    Ok(Reply::empty())
}

/// GET_CONSUMER_LIST_BY_GROUP: with whom a client shares the queues.
pub(crate) async fn consumer_list(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetConsumerListByGroupRequest<'_>,
    _: Bytes,
) -> Result<Reply<GetConsumerListByGroupResponse>, BrokerError> {
    let name = &header.consumer_group;
    let group = broker
        .clients
        .group(name)
        .ok_or_else(|| BrokerError::System(format!("no consumer for this group, {name}")))?;
    let body = GetConsumerListByGroupResponseBody {
        consumer_id_list: group.client_ids(),
    };
    Ok(Reply::ok(GetConsumerListByGroupResponse {}).with_body(json::write(&body)))
}

/// GET_CONSUMER_CONNECTION_LIST: the clients of a consumer group.
pub(crate) async fn consumer_connections(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetConsumerConnectionListRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let name = &header.consumer_group;
    let group = broker.clients.group(name).ok_or_else(|| {
        BrokerError::ConsumerNotOnline(format!("the consumer group[{name}] not online"))
    })?;
    let subscriptions = group.subscriptions.iter();
    let body = ConsumerConnection {
        connection_set: group
            .members()
            .iter()
            .map(|member| member.to_body())
            .collect(),
        consume_from_where: group.consume_from_where,
        consume_type: group.consume_type,
        message_model: group.message_model,
        subscription_table: subscriptions
            .map(|(topic, subscription)| (topic.clone(), subscription.data.clone()))
            .collect(),
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// GET_PRODUCER_CONNECTION_LIST: the clients of a producer group.
pub(crate) async fn producer_connections(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetProducerConnectionListRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let name = &header.producer_group;
    let members = broker
        .clients
        .producers(name)
        .ok_or_else(|| BrokerError::System(format!("the producer group[{name}] not exist")))?;
    let connection_set = members.iter().map(|member| member.to_body()).collect();
    Ok(Reply::empty().with_body(json::write(&ProducerConnection { connection_set })))
}

/// GET_ALL_PRODUCER_INFO: the clients of all producer groups.
pub(crate) async fn all_producers(
    broker: &Arc<Broker>,
    _: &Call,
    _: GetAllProducerInfoRequest,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    Ok(Reply::empty().with_body(json::write(&broker.clients.producer_table())))
}

/// LOCK_BATCH_MQ: an ordered consumer wants queues for itself.
pub(crate) async fn lock(
    broker: &Arc<Broker>,
    _: &Call,
    _: LockBatchMqRequest<'_>,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let wanted: LockBatchRequestBody = read_body(&body)?;
    let (group, client_id) = (&wanted.consumer_group, &wanted.client_id);
    let lock_ok_mq_set = broker.locks.lock(group, wanted.mq_set, client_id);
    Ok(Reply::empty().with_body(json::write(&LockBatchResponseBody { lock_ok_mq_set })))
}

/// UNLOCK_BATCH_MQ: an ordered consumer gives queues up.
pub(crate) async fn unlock(
    broker: &Arc<Broker>,
    _: &Call,
    _: UnlockBatchMqRequest<'_>,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let given: UnlockBatchRequestBody = read_body(&body)?;
    broker
        .locks
        .unlock(&given.consumer_group, &given.mq_set, &given.client_id);
    Ok(Reply::empty())
}
