//! What every request that brings a message is checked for.

use std::sync::Arc;

use transport::Connection;
use wire::header::send::{SendMessageRequest, SendMessageRequestV2};
use wire::message::sys_flag::topic as topic_flag;
use wire::message::{names, perm};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::settings::BrokerSettings;
use crate::topics::Topic;

pub(crate) fn with_full_names(header: SendMessageRequestV2<'_>) -> SendMessageRequest<'_> {
    let SendMessageRequestV2 {
        producer_group,
        topic,
        default_topic,
        default_topic_queue_nums,
        queue_id,
        sys_flag,
        born_timestamp,
        flag,
        properties,
        reconsume_times,
        unit_mode,
        max_reconsume_times,
        batch,
        broker_name: _,
        rpc,
    } = header;
    SendMessageRequest {
        producer_group,
        topic,
        default_topic,
        default_topic_queue_nums,
        queue_id,
        sys_flag,
        born_timestamp,
        flag,
        properties,
        reconsume_times,
        unit_mode,
        batch,
        max_reconsume_times,
        rpc,
    }
}

/// Refuses to take messages before the time that is set for it.
pub(crate) fn check_started(broker: &Broker, settings: &BrokerSettings) -> Result<(), BrokerError> {
    let start = settings.broker.start_accept_send_request_time_stamp;
    if start > 0 && broker.now_millis() < start {
        let problem = format!("broker unable to service, until {start} ms since 1970");
        return Err(BrokerError::System(problem));
    }
    Ok(())
}

/// The queue that is asked for, or any one of the topic's.
pub(crate) fn choose_queue(
    broker: &Broker,
    topic: &Topic,
    header: &SendMessageRequest<'_>,
    connection: &Connection,
) -> Result<i32, BrokerError> {
    let config = &topic.config;
    let queues = config.write_queue_nums.max(config.read_queue_nums);
    if header.queue_id >= queues {
        return Err(BrokerError::InvalidParameter(format!(
            "request queueId[{}] is illegal, topic[{}] has {queues} queues, Producer: {}",
            header.queue_id,
            header.topic,
            connection.peer()
        )));
    }
    Ok(match header.queue_id {
        ..0 => broker.random_queue(config.write_queue_nums),
        queue_id => queue_id,
    })
}

/// The topic to send to, made now if it may be. It has to be kept before a message is stored there.
pub(crate) fn find_topic(
    broker: &Broker,
    settings: &BrokerSettings,
    header: &SendMessageRequest<'_>,
) -> Result<Arc<Topic>, BrokerError> {
    let name = &*header.topic;
    let found = broker.topics.get(name);
    let is_order_topic = found.as_ref().is_some_and(|topic| topic.config.order);
    if is_order_topic {
        settings.broker.check_writable()?;
    }
    if names::is_not_allowed_send_topic(name) {
        return Err(BrokerError::NoPermission(format!(
            "Sending message to topic[{name}] is forbidden."
        )));
    }
    if let Some(topic) = found {
        return Ok(topic);
    }
    names::validate_topic(name)?;
    let is_retry = names::is_retry_topic(name);
    let is_unit = header.unit_mode.unwrap_or_default();
    let sys_flag = topic_flag::build(is_unit && !is_retry, is_unit && is_retry);
    let queues = header.default_topic_queue_nums;
    if let Some(topic) = broker
        .topics
        .create_on_send(name, &header.default_topic, queues, sys_flag)
    {
        return Ok(topic);
    }
    if is_retry {
        return Ok(broker.topics.create_on_send_back(
            name,
            1,
            perm::READ | perm::WRITE,
            None,
            sys_flag,
        ));
    }
    Err(BrokerError::TopicNotExist(name.to_owned()))
}
