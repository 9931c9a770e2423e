//! Topics: making, changing and deleting them, and what they are set to.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use transport::Reply;
use wire::body::group::GroupList;
use wire::body::json;
use wire::body::static_topic::TopicQueueMappingDetail;
use wire::body::topic::{
    CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper,
    TopicConfigAndQueueMapping, TopicFilterType, TopicList,
};
use wire::header::topic::{
    CreateTopicListRequest, CreateTopicRequest, DeleteTopicRequest, GetAllTopicConfigRequest,
    GetAllTopicConfigResponse, GetTopicConfigRequest, QueryTopicConsumeByWhoRequest,
    QueryTopicsByConsumerRequest,
};
use wire::header::{Header, HeaderError, NoHeader};
use wire::message::attribute::MESSAGE_TYPE;
use wire::message::names;

use super::{page, read_body};
use crate::attributes;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::lite;
use crate::routes::Call;
use crate::topics::MOST_QUEUES;

/// UPDATE_AND_CREATE_TOPIC: makes a topic or changes it.
pub(crate) async fn upsert(
    broker: &Arc<Broker>,
    _: &Call,
    header: CreateTopicRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    upsert_all(broker, vec![config(header)?])
}

/// UPDATE_AND_CREATE_STATIC_TOPIC: the same with the mapping of the topic's logical queues.
pub(crate) async fn map(
    broker: &Arc<Broker>,
    _: &Call,
    header: CreateTopicRequest<'_>,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let mapping = TopicQueueMappingDetail {
        topic: header.topic.to_string(),
        ..read_body(&body)?
    };
    let force = header.force.unwrap_or_default();
    let config = config(header)?;
    check(broker, &config)?;
    let name = &broker.settings().broker.broker_name;
    broker.static_topics.upsert(mapping, name, force)?;
    broker.topics.upsert(vec![config])?;
    // Also where only the mapping is another one.
    broker.topics.mark_changed();
    Ok(Reply::empty())
}

fn config(header: CreateTopicRequest<'_>) -> Result<TopicConfig, BrokerError> {
    let filter_type = &*header.topic_filter_type;
    let known = TopicFilterType::from_name(filter_type);
    let topic_filter_type = known.ok_or_else(|| {
        let names = "SINGLE_TAG or MULTI_TAG";
        let (class, field) = (CreateTopicRequest::NAME, "topicFilterType");
        HeaderError::invalid(class, field, names, filter_type.as_bytes())
    })?;
    Ok(TopicConfig {
        attributes: attributes::parse(header.attributes.as_deref().unwrap_or_default())?,
        order: header.order,
        perm: header.perm,
        read_queue_nums: header.read_queue_nums,
        topic_filter_type,
        topic_name: header.topic.into_owned(),
        topic_sys_flag: header.topic_sys_flag.unwrap_or_default(),
        write_queue_nums: header.write_queue_nums,
    })
}

/// UPDATE_AND_CREATE_TOPIC_LIST: the same for many, all or none.
pub(crate) async fn upsert_list(
    broker: &Arc<Broker>,
    _: &Call,
    _: CreateTopicListRequest<'_>,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let list: CreateTopicListRequestBody = read_body(&body)?;
    upsert_all(broker, list.topic_config_list)
}

fn upsert_all(broker: &Broker, configs: Vec<TopicConfig>) -> Result<Reply, BrokerError> {
    configs
        .iter()
        .try_for_each(|config| check(broker, config))?;
    broker.topics.upsert(configs)?;
    Ok(Reply::empty())
}

/// Refuses what no topic can be.
fn check(broker: &Broker, config: &TopicConfig) -> Result<(), BrokerError> {
    names::validate_topic(&config.topic_name)?;
    refuse_system_topic(broker, &config.topic_name)?;
    let message_type = config.attributes.get(&format!("+{MESSAGE_TYPE}"));
    let may_be_mixed = broker.settings().broker.enable_mixed_message_type;
    if message_type.is_some_and(|kind| kind == "MIXED") && !may_be_mixed {
        let why = "MIXED message type is not supported.";
        return Err(BrokerError::InvalidParameter(why.into()));
    }
    let queues = 0..=MOST_QUEUES;
    if !queues.contains(&config.read_queue_nums) || !queues.contains(&config.write_queue_nums) {
        return Err(BrokerError::InvalidParameter(format!(
            "topic[{}] can not have {} read and {} write queues, only 0 to {MOST_QUEUES} of each",
            config.topic_name, config.read_queue_nums, config.write_queue_nums
        )));
    }
    Ok(())
}

fn refuse_system_topic(broker: &Broker, topic: &str) -> Result<(), BrokerError> {
    if broker.topics.is_system(topic) {
        return Err(BrokerError::InvalidParameter(format!(
            "The topic[{topic}] is conflict with system topic."
        )));
    }
    Ok(())
}

/// DELETE_TOPIC_IN_BROKER: forgets a topic, its POP retry topics, their queues and what groups
/// have consumed of them.
pub(crate) async fn delete(
    broker: &Arc<Broker>,
    _: &Call,
    header: DeleteTopicRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let topic = &*header.topic;
    if topic.trim().is_empty() {
        return Err(BrokerError::InvalidParameter(
            "The specified topic is blank.".into(),
        ));
    }
    refuse_system_topic(broker, topic)?;
    let mut topics = vec![topic.to_owned()];
    for group in broker.offsets.groups_of(topic) {
        topics.push(names::pop_retry_topic_v2(topic, &group));
        topics.push(names::pop_retry_topic_v1(topic, &group));
    }
    // The retry topics only where they are; the topic itself in any case, since its queues may
    // have outlived its settings.
    topics.retain(|name| name == topic || broker.topics.get(name).is_some());
    if broker
        .topics
        .get(topic)
        .is_some_and(|topic| lite::is_parent(&topic))
    {
        lite::expiry::delete_below(broker, topic)?;
    }
    broker.topics.remove(topics.iter().map(String::as_str))?;
    for topic in topics {
        broker.static_topics.remove(&topic)?;
        broker.pop.forget_topic(broker, &topic)?;
        broker.offsets.remove_topic(&topic);
        broker.timer.topic_deleted(&topic);
        broker.store.delete_topic(&topic)?;
    }
    Ok(Reply::empty())
}

/// GET_TOPIC_CONFIG: the settings of a topic.
pub(crate) async fn get(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetTopicConfigRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let topic = broker.existing_topic(&header.topic)?;
    let mapping = broker.static_topics.get(&header.topic);
    let body = TopicConfigAndQueueMapping {
        config: topic.config.clone(),
        mapping_detail: mapping.map(Arc::unwrap_or_clone),
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// GET_ALL_TOPIC_CONFIG: the settings of all topics, in pages.
pub(crate) async fn all(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetAllTopicConfigRequest<'_>,
    _: Bytes,
) -> Result<Reply<GetAllTopicConfigResponse>, BrokerError> {
    let version = broker.topics.data_version();
    let seen = header.data_version.as_deref();
    let (skip, count) = page(seen, header.topic_seq, header.max_topic_num, version);
    let page = broker.topics.page(skip, count);
    let mut mappings = broker.static_topics.wrapper();
    let mapped = &mut mappings.topic_queue_mapping_info_map;
    mapped.retain(|topic, _| page.topic_config_table.contains_key(topic));
    let body = TopicConfigAndMappingSerializeWrapper {
        data_version: page.data_version,
        mapping_data_version: mappings.data_version,
        topic_config_table: page.topic_config_table,
        topic_queue_mapping_detail_map: mappings.topic_queue_mapping_info_map,
        ..TopicConfigAndMappingSerializeWrapper::default()
    };
    let total_topic_num = Some(broker.topics.len() as i32);
    Ok(Reply::ok(GetAllTopicConfigResponse { total_topic_num }).with_body(json::write(&body)))
}

/// GET_SYSTEM_TOPIC_LIST_FROM_BROKER: the topics that are the system's own.
pub(crate) async fn system_list(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let body = TopicList {
        topic_list: broker.topics.system_topics(),
        broker_addr: None,
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// QUERY_TOPIC_CONSUME_BY_WHO: the groups that consume a topic, online or with offsets.
pub(crate) async fn consumed_by(
    broker: &Arc<Broker>,
    _: &Call,
    header: QueryTopicConsumeByWhoRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let mut groups: BTreeSet<String> = broker.offsets.groups_of(&header.topic);
    groups.extend(broker.clients.groups_of(&header.topic));
    let body = GroupList {
        group_list: groups.into_iter().collect(),
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// QUERY_TOPICS_BY_CONSUMER: the topics that a group has offsets in.
pub(crate) async fn consumed_topics(
    broker: &Arc<Broker>,
    _: &Call,
    header: QueryTopicsByConsumerRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let body = TopicList {
        topic_list: broker.offsets.topics_of(&header.group),
        broker_addr: Some(broker.address.clone()),
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// CLEAN_UNUSED_TOPIC: deletes the queues of topics that are gone.
pub(crate) async fn clean_unused(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    for topic in broker.store.topics() {
        let is_used = broker.topics.get(&topic).is_some()
            || broker.topics.is_system(&topic)
            || names::is_lmq(&topic);
        if !is_used {
            tracing::info!(%topic, "queues of a topic that is gone are deleted");
            broker.store.delete_topic(&topic)?;
        }
    }
    Ok(Reply::empty())
}
