//! Consumer groups: making, changing and deleting them, and what they are set to.

use std::sync::Arc;

use bytes::Bytes;
use transport::Reply;
use wire::body::group::{
    GroupForbidden, QuerySubscriptionResponseBody, SubscriptionGroupConfig, SubscriptionGroupList,
};
use wire::body::json;
use wire::header::NoHeader;
use wire::header::group::{
    DeleteSubscriptionGroupRequest, GetAllSubscriptionGroupRequest,
    GetAllSubscriptionGroupResponse, GetSubscriptionGroupConfigRequest,
    QuerySubscriptionByConsumerRequest, UpdateGroupForbiddenRequest,
};
use wire::message::names;

use super::{page, read_body};
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;
use crate::topics::MOST_QUEUES;

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: makes a group or changes it.
pub(crate) async fn upsert(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    upsert_all(broker, vec![read_body::<SubscriptionGroupConfig>(&body)?])
}

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST: the same for many, all or none.
pub(crate) async fn upsert_list(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    upsert_all(
        broker,
        read_body::<SubscriptionGroupList>(&body)?.group_config_list,
    )
}

fn upsert_all(
    broker: &Broker,
    configs: Vec<SubscriptionGroupConfig>,
) -> Result<Reply, BrokerError> {
    for config in &configs {
        names::validate_group(&config.group_name)?;
        if config.retry_queue_nums > MOST_QUEUES {
            return Err(BrokerError::InvalidParameter(format!(
                "group[{}] can not have {} retry queues, only up to {MOST_QUEUES}",
                config.group_name, config.retry_queue_nums
            )));
        }
    }
    broker.groups.upsert(configs)?;
    Ok(Reply::empty())
}

/// DELETE_SUBSCRIPTIONGROUP: forgets a group, and its offsets if asked to.
pub(crate) async fn delete(
    broker: &Arc<Broker>,
    _: &Call,
    header: DeleteSubscriptionGroupRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    broker.groups.remove(&header.group_name)?;
    broker.cold_data.forget(&header.group_name);
    broker
        .topics
        .for_each(|topic| topic.statistics.remove_group(&header.group_name));
    broker.requested.remove_group(&header.group_name);
    if header.clean_offset {
        broker.offsets.remove_group(&header.group_name);
    }
    Ok(Reply::empty())
}

/// GET_SUBSCRIPTIONGROUP_CONFIG: the settings of a group, made now if that is allowed.
pub(crate) async fn get(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetSubscriptionGroupConfigRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let config = broker.group(&header.group)?;
    Ok(Reply::empty().with_body(json::write(&*config)))
}

/// GET_ALL_SUBSCRIPTIONGROUP_CONFIG: the settings of all groups, in pages.
pub(crate) async fn all(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetAllSubscriptionGroupRequest<'_>,
    _: Bytes,
) -> Result<Reply<GetAllSubscriptionGroupResponse>, BrokerError> {
    let version = broker.groups.data_version();
    let seen = header.data_version.as_deref();
    let (skip, count) = page(seen, header.group_seq, header.max_group_num, version);
    let body = match (skip, count) {
        (0, usize::MAX) => broker.groups.wrapper(),
        (skip, count) => broker.groups.page(skip, count),
    };
    let total_group_num = broker.groups.len() as i32;
    Ok(
        Reply::ok(GetAllSubscriptionGroupResponse { total_group_num })
            .with_body(json::write(&body)),
    )
}

/// UPDATE_AND_GET_GROUP_FORBIDDEN: forbids or allows a group to read a topic, and tells which of
/// both is true now.
pub(crate) async fn forbid(
    broker: &Arc<Broker>,
    _: &Call,
    header: UpdateGroupForbiddenRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let (group, topic) = (&header.group, &header.topic);
    if let Some(readable) = header.readable {
        broker.groups.set_read_forbidden(group, topic, !readable)?;
    }
    let body = GroupForbidden {
        group: group.to_string(),
        readable: Some(!broker.groups.is_read_forbidden(group, topic)),
        topic: topic.to_string(),
    };
    Ok(Reply::empty().with_remark("").with_body(json::write(&body)))
}

/// QUERY_SUBSCRIPTION_BY_CONSUMER: how a group is subscribed to a topic.
pub(crate) async fn subscription(
    broker: &Arc<Broker>,
    _: &Call,
    header: QuerySubscriptionByConsumerRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let topic = header.topic.unwrap_or_default();
    let subscription = broker.subscription(&header.group, &topic);
    let body = QuerySubscriptionResponseBody {
        group: header.group.into_owned(),
        subscription_data: subscription.map(|subscription| subscription.data.clone()),
        topic: topic.into_owned(),
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}
