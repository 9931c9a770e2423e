//! CONSUMER_SEND_MSG_BACK: a consumer returns a message that it could not consume
//! (`AbstractSendMessageProcessor.consumerSendMsgBack`).
//!
//! A copy goes to the group's retry topic after a delay, or to its dead letter topic when it was
//! tried often enough.

use std::sync::Arc;

use bytes::Bytes;
use store::TagsCode;
use transport::Reply;
use wire::body::group::SubscriptionGroupConfig;
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
    let group = broker.group(name)?;
    let settings = broker.settings();
    settings.broker.check_writable()?;
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

    let (topic, queues, delay_level) = destination(broker, call, &header, &group, &record)?;
    let sent = record.properties();
    let mut string = copied_properties(&record, delay_level);
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
    copy.reconsume_times = copy.reconsume_times.saturating_add(1);
    let mut copies = [copy];
    broker.store.append(&mut copies);
    let [copy] = copies;
    let stored = copy.outcome.transpose()?;
    if let Some(stored) = stored
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

/// Where the copy of a message goes: its topic, how many queues that has, and the level of the
/// delay, 0 for none.
fn destination(
    broker: &Broker,
    call: &Call,
    header: &ConsumerSendMsgBackRequest<'_>,
    group: &SubscriptionGroupConfig,
    record: &RecordRef<'_>,
) -> Result<(String, i32, i32), BrokerError> {
    let max_reconsume_times = header
        .max_reconsume_times
        .filter(|_| call.head.version >= TELLS_MAX_RECONSUME_TIMES)
        .unwrap_or(group.retry_max_times);
    let create = |topic: &str, queues, sys_flag| {
        let access = perm::READ | perm::WRITE;
        let topics = &broker.topics;
        topics.create_on_send_back(topic, queues, access, None, sys_flag)
    };
    if record.reconsume_times() >= max_reconsume_times || header.delay_level < 0 {
        let topic = names::dlq_topic(&header.group);
        create(&topic, DEAD_LETTER_QUEUES, 0);
        return Ok((topic, DEAD_LETTER_QUEUES, 0));
    }
    let topic = names::retry_topic(&header.group);
    let queues = group.retry_queue_nums;
    let found = create(&topic, queues, topic_flag::build(false, header.unit_mode));
    if !perm::is_writable(found.config.perm) {
        return Err(BrokerError::NoPermission(format!(
            "the topic[{topic}] sending message is forbidden"
        )));
    }
    let level = match header.delay_level {
        0 => FIRST_RETRY_LEVEL.saturating_add(record.reconsume_times()),
        level => level,
    };
    Ok((topic, queues, level.min(broker.schedule.max_level())))
}

/// The properties of a message's copy, which tell where the message was first.
fn copied_properties(record: &RecordRef<'_>, delay_level: i32) -> String {
    let sent = record.properties();
    let mut copied = properties::without(&sent, &REPLACED);
    if properties::get(&sent, property::RETRY_TOPIC).is_none() {
        properties::put(&mut copied, property::RETRY_TOPIC, &record.topic());
    }
    if properties::get(&sent, property::ORIGIN_MESSAGE_ID).is_none() {
        let mut id = String::new();
        let offset = record.physical_offset();
        OffsetMessageId {
            host: record.store_host(),
            offset,
        }
        .append_to(&mut id);
        properties::put(&mut copied, property::ORIGIN_MESSAGE_ID, &id);
    }
    properties::put(&mut copied, property::WAIT_STORE_MSG_OK, "false");
    let delay_level = delay_level.to_string();
    properties::put(&mut copied, property::DELAY_TIME_LEVEL, &delay_level);
    copied
}
