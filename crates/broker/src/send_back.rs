//! CONSUMER_SEND_MSG_BACK: a consumer returns a message that it could not consume
//! (`AbstractSendMessageProcessor.consumerSendMsgBack`).
//!
//! A copy goes to the group's retry topic after a delay, or to its dead letter topic when it was
//! tried often enough.

use std::sync::Arc;

use bytes::Bytes;
use store::TagsCode;
use transport::Reply;
use wire::header::send::ConsumerSendMsgBackRequest;
use wire::message::id::OffsetMessageId;
use wire::message::record::RecordRef;
use wire::message::sys_flag::{message as message_flag, topic as topic_flag};
use wire::message::{names, perm, properties, property, tags};

use crate::broker::Broker;
use crate::delivery;
use crate::error::BrokerError;
use crate::routes::Call;
use crate::send::{DEAD_LETTER_QUEUES, TELLS_MAX_RECONSUME_TIMES};
use crate::statistics::Tally;

/// The level of a first retry; each further one is a level longer.
const FIRST_RETRY_LEVEL: i32 = 3;

/// Properties that the copy gets anew.
const REPLACED: [&str; 4] = [
    property::DELAY_TIME_LEVEL,
    property::WAIT_STORE_MSG_OK,
    property::REAL_TOPIC,
    property::REAL_QUEUE_ID,
];

/// Serves the command.
pub(crate) async fn send_back(
    broker: &Arc<Broker>,
    call: &Call,
    header: ConsumerSendMsgBackRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let name = &*header.group;
    let group = broker
        .groups
        .get_or_create(name)
        .ok_or_else(|| BrokerError::GroupNotExist(name.to_owned()))?;
    let settings = broker.settings();
    if !perm::is_writable(settings.broker.broker_permission) {
        return Err(BrokerError::NoPermission(format!(
            "the broker[{}] sending message is forbidden",
            settings.broker.broker_ip
        )));
    }
    if group.retry_queue_nums <= 0 {
        return Ok(Reply::empty());
    }
    let offset = header.offset;
    let message = broker
        .store
        .message(offset)?
        .ok_or_else(|| BrokerError::System(format!("look message by offset failed, {offset}")))?;
    let record = RecordRef::parse(&message)
        .map_err(|error| BrokerError::System(format!("no message at offset {offset}: {error}")))?;
    if message_flag::has(record.sys_flag(), message_flag::INNER_BATCH) {
        // The consumer then sends the one message that it could not consume.
        return Err(BrokerError::System(format!(
            "the message at offset {offset} is one of a batch, which cannot be sent back as a whole"
        )));
    }

    let max_reconsume_times = header
        .max_reconsume_times
        .filter(|_| call.head.version >= TELLS_MAX_RECONSUME_TIMES)
        .unwrap_or(group.retry_max_times);
    let is_dead = record.reconsume_times() >= max_reconsume_times || header.delay_level < 0;
    let access = perm::READ | perm::WRITE;
    let (topic, queues, delay_level) = if is_dead {
        let topic = names::dlq_topic(name);
        broker
            .topics
            .create_on_send_back(&topic, DEAD_LETTER_QUEUES, access, None, 0);
        (topic, DEAD_LETTER_QUEUES, 0)
    } else {
        let topic = names::retry_topic(name);
        let sys_flag = topic_flag::build(false, header.unit_mode);
        let found = broker.topics.create_on_send_back(
            &topic,
            group.retry_queue_nums,
            access,
            None,
            sys_flag,
        );
        if !perm::is_writable(found.config.perm) {
            return Err(BrokerError::NoPermission(format!(
                "the topic[{topic}] sending message is forbidden"
            )));
        }
        let level = match header.delay_level {
            0 => FIRST_RETRY_LEVEL + record.reconsume_times(),
            level => level,
        };
        (
            topic,
            group.retry_queue_nums,
            level.min(broker.schedule.max_level()),
        )
    };

    let sent = record.properties();
    let mut string = properties::without(&sent, &REPLACED);
    if properties::get(&sent, property::RETRY_TOPIC).is_none() {
        properties::put(&mut string, property::RETRY_TOPIC, &record.topic());
    }
    if properties::get(&sent, property::ORIGIN_MESSAGE_ID).is_none() {
        let mut id = String::new();
        let offset = record.physical_offset();
        OffsetMessageId {
            host: record.store_host(),
            offset,
        }
        .append_to(&mut id);
        properties::put(&mut string, property::ORIGIN_MESSAGE_ID, &id);
    }
    properties::put(&mut string, property::WAIT_STORE_MSG_OK, "false");
    properties::put(
        &mut string,
        property::DELAY_TIME_LEVEL,
        &delay_level.to_string(),
    );

    let queue_id = broker.random_queue(queues);
    let (queue, tags_code) = if delay_level > 0 {
        broker
            .schedule
            .place(&broker.store, delay_level, &topic, queue_id, &mut string)?
    } else {
        let tags_code = tags::tags_code(properties::get(&sent, property::TAGS));
        (broker.queue(&topic, queue_id)?, TagsCode::Known(tags_code))
    };
    let mut copy = delivery::copy(&record, &queue, &string);
    copy.store_host = broker.store_host;
    copy.tags_code = tags_code;
    copy.reconsume_times += 1;
    let mut copies = [copy];
    broker.store.append(&mut copies);
    let [copy] = copies;
    match copy.outcome {
        Some(Err(error)) => Err(error.into()),
        stored => {
            if let Some(Ok(stored)) = stored
                && let Some(topic) = broker.topics.get(queue.topic())
                && delay_level > 0
            {
                // It counts for the topic that it waits in, not for the broker.
                let tally = Tally::one(stored.size);
                topic.statistics.stored(tally);
                topic.statistics.stored_in(queue.id(), tally);
            }
            let stored_in = record.topic();
            let topic = properties::get(&sent, property::RETRY_TOPIC).unwrap_or(&stored_in);
            if let Some(topic) = broker.topics.get(topic) {
                topic.statistics.group(name).sent_back();
            }
            Ok(Reply::empty())
        }
    }
}
