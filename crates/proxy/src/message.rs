//! Messages to properties and from records: what a field of the gRPC API is to remoting
//! (`SendMessageActivity.buildMessageProperty`, `GrpcConverter`).

use std::collections::BTreeMap;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use wire::grpc::{
    Code, DeadLetterQueue, Digest, DigestType, Encoding, Message, MessageType, Resource,
    SystemProperties, Timestamp,
};
use wire::message::compression::CompressionType;
use wire::message::names;
use wire::message::record::RecordRef;
use wire::message::sys_flag::message as flags;
use wire::message::{body, properties, property};

use crate::call::Call;
use crate::error::ProxyError;
use crate::settings::ProxyConfig;
use crate::validate;

/// Bytes of the largest body that is decompressed here.
const MAX_PLAIN_BODY: usize = 128 * 1024 * 1024;

/// Checks a message that a client sends and makes its properties.
pub(crate) fn properties_of(call: &Call, message: &Message) -> Result<String, ProxyError> {
    let config = &call.state.config;
    let system = message.system_properties.clone().unwrap_or_default();
    check_body(&message.body, config)?;
    check_properties(message, &system, config)?;

    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            properties::put(&mut text, name, value);
        }
    };
    for (name, value) in &message.user_properties {
        put(name, value);
    }
    put(property::TAGS, system.tag());
    put(property::KEYS, &system.keys.join(" "));
    put(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &system.message_id);
    if system.message_type() == MessageType::Transaction {
        put(property::TRANSACTION_PREPARED, "true");
        if let Some(time) = system.orphaned_transaction_recovery_duration {
            put(
                property::CHECK_IMMUNITY_TIME_IN_SECONDS,
                &time.seconds.to_string(),
            );
        }
    }
    if let Some(time) = system.delivery_timestamp {
        let time = time.to_millis();
        if let Some(level) = config.delay_level(time.saturating_sub(now_millis())) {
            put(property::DELAY_TIME_LEVEL, &level.to_string());
        }
        put(property::TIMER_DELIVER_MS, &time.to_string());
    }
    if let Some(priority) = system.priority {
        put(property::PRIORITY, &priority.to_string());
    }
    put(
        property::RECONSUME_TIME,
        &system.delivery_attempt().to_string(),
    );
    // Brokers ask the group about transactions; a producer of the topic will answer.
    put(property::PRODUCER_GROUP, name_of(message));
    put(property::SHARDING_KEY, system.message_group());
    put(property::LITE_TOPIC, system.lite_topic());
    put(property::TRACE_CONTEXT, system.trace_context());
    if system.born_host.trim().is_empty() {
        put(property::BORN_HOST, &call.peer.to_string());
    } else {
        put(property::BORN_HOST, &system.born_host);
    }
    if let Some(time) = system.born_timestamp {
        put(property::BORN_TIMESTAMP, &time.to_millis().to_string());
    }
    Ok(text)
}

/// Name of a message's topic.
pub(crate) fn name_of(message: &Message) -> &str {
    message.topic.as_ref().map_or("", |topic| &topic.name)
}

fn check_body(body: &Bytes, config: &ProxyConfig) -> Result<(), ProxyError> {
    if body.is_empty() && config.enable_message_body_empty_check {
        let empty = "message body cannot be empty";
        return Err(ProxyError::new(Code::MessageBodyEmpty, empty));
    }
    let most = config.max_message_size;
    if most > 0 && body.len() > most {
        let large = format!("message body cannot exceed the max {most}");
        return Err(ProxyError::new(Code::MessageBodyTooLarge, large));
    }
    Ok(())
}

fn check_properties(
    message: &Message,
    system: &SystemProperties,
    config: &ProxyConfig,
) -> Result<(), ProxyError> {
    let too_large = |message| Err(ProxyError::new(Code::MessagePropertiesTooLarge, message));
    let most = config.user_property_max_num;
    if message.user_properties.len() > most {
        return too_large(format!("too many user properties, max is {most}"));
    }
    for (name, value) in &message.user_properties {
        validate::property(name, value)?;
    }
    validate::tag(system.tag())?;
    system.keys.iter().try_for_each(|key| validate::key(key))?;
    let own = message.user_properties.iter();
    let size = own
        .map(|(name, value)| name.len() + value.len())
        .sum::<usize>()
        + system.tag().len()
        + system.keys.iter().map(String::len).sum::<usize>();
    let most = config.max_user_property_size;
    if size > most {
        return too_large(format!(
            "the total size of user property is too large, max is {most}"
        ));
    }
    if system.message_id.trim().is_empty() {
        let missing = "message id cannot be empty";
        return Err(ProxyError::new(Code::IllegalMessageId, missing));
    }
    let most = config.max_transaction_recovery_second;
    let recovery = system.orphaned_transaction_recovery_duration;
    if most > 0
        && system.message_type() == MessageType::Transaction
        && recovery.is_some_and(|time| time.seconds > most)
    {
        let late =
            format!("the max transaction recovery time of message is too large, max is {most}");
        return Err(ProxyError::new(Code::BadRequest, late));
    }
    if system
        .delivery_timestamp
        .is_some_and(|time| !time.is_valid())
    {
        let invalid = "Timestamp is not valid: the delivery time is not of the years 1 to 9999";
        return Err(ProxyError::new(Code::InternalServerError, invalid));
    }
    let most = config.max_delay_time_mills;
    if let Some(time) = system.delivery_timestamp
        && most > 0
        && time.to_millis().saturating_sub(now_millis()) > most
    {
        let late = format!("the max delay time of message is too large, max is {most}");
        return Err(ProxyError::new(Code::IllegalDeliveryTime, late));
    }
    if system.priority.is_some_and(|priority| priority < 0) {
        let negative = "The priority must be greater than or equal to 0";
        return Err(ProxyError::new(Code::InternalServerError, negative));
    }
    validate::message_group(system.message_group(), config)?;
    match system.lite_topic() {
        "" => Ok(()),
        name => validate::lite_topic(name, config),
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// The kind of message that properties make (`TopicMessageType.parseFromMessageProperty`).
pub(crate) fn kind_of(text: &str) -> MessageType {
    let [half, level, at, seconds, millis, group, priority, lite] = properties::get_each(
        text,
        [
            property::TRANSACTION_PREPARED,
            property::DELAY_TIME_LEVEL,
            property::TIMER_DELIVER_MS,
            property::TIMER_DELAY_SEC,
            property::TIMER_DELAY_MS,
            property::SHARDING_KEY,
            property::PRIORITY,
            property::LITE_TOPIC,
        ],
    );
    if half.is_some_and(|half| half.eq_ignore_ascii_case("true")) {
        MessageType::Transaction
    } else if level.or(at).or(seconds).or(millis).is_some() {
        MessageType::Delay
    } else if group.is_some() {
        MessageType::Fifo
    } else if priority.is_some() {
        MessageType::Priority
    } else if lite.is_some() {
        MessageType::Lite
    } else {
        MessageType::Normal
    }
}

/// The system flag of a message that a client sends.
pub(crate) fn sys_flag_of(message: &Message) -> i32 {
    let Some(system) = &message.system_properties else {
        return 0;
    };
    let mut flag = 0;
    if system.body_encoding() == Encoding::Gzip {
        flag |= flags::COMPRESSED;
    }
    if system.message_type() == MessageType::Transaction {
        flag |= flags::TRANSACTION_PREPARED_TYPE;
    }
    flag
}

/// What a delivery adds to a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delivery {
    /// What it is acknowledged with.
    pub(crate) receipt_handle: Option<String>,
    /// How often it was delivered before, if that is not the record's number.
    pub(crate) reconsume_times: Option<i32>,
    /// Its number in the queue that it came from, if that is not the record's.
    pub(crate) queue_offset: Option<i64>,
}

/// The message that a record is, as one of `topic`; `bytes` holds the record.
pub(crate) fn of_record(
    record: &RecordRef<'_>,
    bytes: &Bytes,
    topic: &str,
    delivery: &Delivery,
) -> Result<Message, ProxyError> {
    let text = record.properties();
    let user_properties: BTreeMap<String, String> = properties::iter(&text)
        .filter(|(name, _)| !property::is_reserved(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let (body, encoding) = body_of(record, bytes)?;
    let mut system = system_properties(record, &text, delivery);
    system.body_encoding = encoding as i32;
    system.body_digest = Some(Digest {
        r#type: DigestType::Md5 as i32,
        checksum: format!("{:X}", Md5::digest(&body)),
    });
    Ok(Message {
        topic: Some(Resource {
            resource_namespace: names::namespace_of(topic).to_owned(),
            name: names::without_namespace(topic).into_owned(),
        }),
        user_properties,
        system_properties: Some(system),
        body,
    })
}

/// The body as clients can read it: those know no other compression than zlib's.
fn body_of(record: &RecordRef<'_>, bytes: &Bytes) -> Result<(Bytes, Encoding), ProxyError> {
    let flag = record.sys_flag();
    let as_it_is = || bytes.slice_ref(record.body());
    if !flags::is_compressed(flag) {
        return Ok((as_it_is(), Encoding::Identity));
    }
    match CompressionType::of_sys_flag(flag)? {
        CompressionType::Zlib => Ok((as_it_is(), Encoding::Gzip)),
        CompressionType::Lz4 | CompressionType::Zstd => {
            let plain = body::plain_body(record, MAX_PLAIN_BODY)?.into_owned();
            Ok((plain.into(), Encoding::Identity))
        }
    }
}

fn system_properties(record: &RecordRef<'_>, text: &str, delivery: &Delivery) -> SystemProperties {
    let get = |name| properties::get(text, name);
    let owned = |name| get(name).map(str::to_owned);
    let number = |name| get(name).and_then(|value| value.parse::<i64>().ok());
    let born_host = owned(property::BORN_HOST).filter(|host| !host.trim().is_empty());
    let dead = owned(property::DLQ_ORIGIN_TOPIC).zip(owned(property::DLQ_ORIGIN_MESSAGE_ID));
    let delivery_time = match number(property::TIMER_DELAY_SEC) {
        Some(seconds) => Some(now_millis().saturating_add(seconds.saturating_mul(1000))),
        None => number(property::TIMER_DELIVER_MS),
    };
    let attempts = delivery
        .reconsume_times
        .unwrap_or_else(|| record.reconsume_times());
    SystemProperties {
        tag: owned(property::TAGS),
        keys: get(property::KEYS).map_or_else(Vec::new, |keys| {
            let keys = keys.trim_end_matches(property::KEY_SEPARATOR);
            keys.split(property::KEY_SEPARATOR)
                .map(str::to_owned)
                .collect()
        }),
        message_id: owned(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX)
            .unwrap_or_else(|| offset_id(record)),
        message_type: kind_of(text) as i32,
        born_timestamp: Some(Timestamp::from_millis(record.born_timestamp())),
        born_host: born_host.unwrap_or_else(|| record.born_host().ip().to_string()),
        store_timestamp: Some(Timestamp::from_millis(record.store_timestamp())),
        store_host: record.store_host().to_string(),
        delivery_timestamp: delivery_time.map(Timestamp::from_millis),
        receipt_handle: delivery.receipt_handle.clone(),
        queue_id: record.queue_id(),
        queue_offset: delivery.queue_offset.or(Some(record.queue_offset())),
        delivery_attempt: Some(attempts.saturating_add(1)),
        message_group: owned(property::SHARDING_KEY),
        trace_context: owned(property::TRACE_CONTEXT),
        dead_letter_queue: dead.map(|(topic, message_id)| DeadLetterQueue { topic, message_id }),
        lite_topic: owned(property::LITE_TOPIC),
        priority: number(property::PRIORITY)
            .and_then(|priority| i32::try_from(priority).ok())
            .filter(|priority| *priority >= 0),
        ..SystemProperties::default()
    }
}

/// The id of a record that was sent without one: where it lies.
fn offset_id(record: &RecordRef<'_>) -> String {
    let mut id = String::new();
    wire::message::id::OffsetMessageId {
        host: record.store_host(),
        offset: record.physical_offset(),
    }
    .append_to(&mut id);
    id
}
