//! Sending messages, and taking them back (`SendMessageActivity`, `RecallMessageActivity`,
//! `ProducerProcessor`).

use bytes::{Bytes, BytesMut};
use wire::code::ResponseCode;
use wire::command::{RecallMessage, SendBatchMessage, SendMessageV2};
use wire::frame::Frame;
use wire::grpc::{
    Code, Message, MessageType, RecallMessageRequest, RecallMessageResponse, SendMessageRequest,
    SendMessageResponse, SendResultEntry,
};
use wire::header::send as headers;
use wire::message::body::{BatchMessage, check_batch};
use wire::message::id::OffsetMessageId;
use wire::message::names::{self, AUTO_CREATE_TOPIC_KEY_TOPIC};
use wire::message::recall::RecallHandle;
use wire::message::sys_flag::message as flags;
use wire::message::tags::java_hash;

use crate::call::Call;
use crate::cluster::{Queue, Route, TIMEOUT, refused};
use crate::error::{ProxyError, common, named, ok, status};
use crate::transactions::HalfMessage;
use crate::{message, validate};

/// Queues of a topic that is created by a message.
const DEFAULT_QUEUES: i32 = 4;

/// Stores the messages of one topic: a single one, or several as a batch.
pub(crate) async fn send(
    call: Call,
    request: SendMessageRequest,
) -> Result<SendMessageResponse, ProxyError> {
    let Some(first) = request.messages.first() else {
        let nothing = "no message to send";
        return Err(ProxyError::new(Code::MessageCorrupted, nothing));
    };
    let topic = validate::topic(first.topic.as_ref())?;
    if request
        .messages
        .iter()
        .any(|other| other.topic != first.topic)
    {
        let differ = "topic in message is not same";
        return Err(ProxyError::new(Code::MessageCorrupted, differ));
    }
    let properties = request
        .messages
        .iter()
        .map(|message| message::properties_of(&call, message))
        .collect::<Result<Vec<_>, _>>()?;
    let first_properties = properties.first().map_or("", String::as_str);
    let state = &call.state;
    let of_any_type = names::is_retry_topic(topic) || names::is_dlq_topic(topic);
    if state.config.enable_topic_message_type_check && !of_any_type {
        let kind = message::kind_of(first_properties);
        state.cluster.topic_type(topic).await.check(kind)?;
    }
    let route = state.cluster.route(topic).await?;
    let queue = choose(&route, &request.messages)
        .ok_or_else(|| ProxyError::new(Code::Forbidden, "no writable queue"))?;
    let header = header(
        topic,
        first,
        first_properties,
        queue,
        request.messages.len() > 1,
    );
    let cluster = &state.cluster;
    let answer = if header.batch == Some(true) {
        let body = batch(topic, &request.messages, &properties)?;
        cluster
            .ask::<SendBatchMessage>(&queue.address, &header, body, TIMEOUT)
            .await?
    } else {
        cluster
            .ask::<SendMessageV2>(&queue.address, &header, first.body.clone(), TIMEOUT)
            .await?
    };
    let entry = result(&call, topic, &request.messages, queue, &header, answer)?;
    let code = entry.status.as_ref().map(|status| status.code());
    Ok(SendMessageResponse {
        status: Some(common(code, "send status is empty")),
        entries: vec![entry],
    })
}

/// Which queue takes the messages: that of the message group or lite topic of a single one, or
/// any in turn.
fn choose<'r>(route: &'r Route, messages: &[Message]) -> Option<&'r Queue> {
    let system = match messages {
        [single] => single.system_properties.as_ref(),
        _ => None,
    };
    let key = system.and_then(|system| {
        let group = system.message_group();
        let key = if group.trim().is_empty() {
            system.lite_topic()
        } else {
            group
        };
        (!key.is_empty()).then_some(key)
    });
    match key {
        Some(key) => {
            let bucket = consistent_hash(i64::from(java_hash(key)), route.writable.len());
            route.writable.get(bucket)
        }
        None => route.in_turn(&route.writable),
    }
}

/// Guava's `Hashing.consistentHash`, so that a message group has the same queue behind every
/// proxy.
fn consistent_hash(input: i64, buckets: usize) -> usize {
    let mut state = input;
    let mut candidate = 0_usize;
    loop {
        state = state
            .wrapping_mul(2_862_933_555_777_941_757)
            .wrapping_add(1);
        let draw = f64::from(((state as u64) >> 33) as i32 + 1) / f64::from(1_u32 << 31);
        let next = ((candidate + 1) as f64 / draw) as usize;
        if next >= buckets {
            return candidate;
        }
        candidate = next;
    }
}

fn header<'a>(
    topic: &'a str,
    first: &Message,
    properties: &'a str,
    queue: &'a Queue,
    batch: bool,
) -> headers::SendMessageRequestV2<'a> {
    let system = first.system_properties.as_ref();
    let born = system.and_then(|system| system.born_timestamp);
    headers::SendMessageRequestV2 {
        producer_group: topic.into(),
        topic: topic.into(),
        default_topic: AUTO_CREATE_TOPIC_KEY_TOPIC.into(),
        default_topic_queue_nums: DEFAULT_QUEUES,
        queue_id: queue.queue_id,
        sys_flag: message::sys_flag_of(first),
        born_timestamp: born.map_or_else(message::now_millis, |time| time.to_millis()),
        flag: 0,
        properties: Some(properties.into()),
        reconsume_times: Some(
            system
                .filter(|_| names::is_retry_topic(topic))
                .map_or(0, |system| system.delivery_attempt()),
        ),
        batch: Some(batch),
        broker_name: Some(queue.broker_name.as_str().into()),
        ..headers::SendMessageRequestV2::default()
    }
}

/// The body of a batch.
fn batch(topic: &str, messages: &[Message], properties: &[String]) -> Result<Bytes, ProxyError> {
    check_batch(properties.iter().map(|text| (topic, text.as_str())))?;
    let mut body = BytesMut::new();
    for (message, text) in messages.iter().zip(properties) {
        BatchMessage {
            flag: 0,
            body: &message.body,
            properties: text.as_bytes(),
        }
        .encode_into(&mut body)?;
    }
    Ok(body.freeze())
}

/// What the broker's answer means to the client. A half message is noted, so that its
/// transaction can be ended.
fn result(
    call: &Call,
    topic: &str,
    messages: &[Message],
    queue: &Queue,
    header: &headers::SendMessageRequestV2<'_>,
    answer: Frame,
) -> Result<SendResultEntry, ProxyError> {
    let failed = |code, name| {
        let message = format!("send message failed, sendStatus={name}");
        Ok(SendResultEntry {
            status: Some(status(code, message)),
            ..SendResultEntry::default()
        })
    };
    match ResponseCode::try_from(answer.head.code) {
        Ok(ResponseCode::Success) => {}
        Ok(ResponseCode::FlushDiskTimeout) => {
            return failed(Code::MasterPersistenceTimeout, "FLUSH_DISK_TIMEOUT");
        }
        Ok(ResponseCode::FlushSlaveTimeout) => {
            return failed(Code::SlavePersistenceTimeout, "FLUSH_SLAVE_TIMEOUT");
        }
        Ok(ResponseCode::SlaveNotAvailable) => {
            return failed(Code::HaNotAvailable, "SLAVE_NOT_AVAILABLE");
        }
        _ => return Err(refused(answer)),
    }
    let stored: headers::SendMessageResponse<'_> = answer.header()?;
    let ids: Vec<&str> = messages
        .iter()
        .filter_map(|message| message.system_properties.as_ref())
        .map(|system| system.message_id.as_str())
        .collect();
    let transaction_id = stored.transaction_id.as_deref().unwrap_or_default();
    let half = flags::transaction_type(header.sys_flag) == flags::TRANSACTION_PREPARED_TYPE;
    if half && !transaction_id.is_empty() {
        let half = HalfMessage {
            broker: queue.address.clone(),
            queue_offset: stored.queue_offset,
            log_offset: OffsetMessageId::decode(&stored.msg_id)?.offset,
        };
        call.state.transactions.put(topic, transaction_id, half);
    }
    Ok(SendResultEntry {
        status: Some(named(Code::Ok)),
        message_id: ids.join(","),
        transaction_id: transaction_id.to_owned(),
        offset: stored.queue_offset,
        recall_handle: stored
            .recall_handle
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
    })
}

/// Takes a message back that waits for its time.
pub(crate) async fn recall(
    call: Call,
    request: RecallMessageRequest,
) -> Result<RecallMessageResponse, ProxyError> {
    let topic = validate::topic(request.topic.as_ref())?;
    let cluster = &call.state.cluster;
    if call.state.config.enable_topic_message_type_check {
        cluster.topic_type(topic).await.check(MessageType::Delay)?;
    }
    let handle = RecallHandle::decode(&request.recall_handle)?;
    let broker = cluster.broker(&handle.broker_name).await?;
    let header = headers::RecallMessageRequest {
        topic: topic.into(),
        recall_handle: request.recall_handle.as_str().into(),
        ..headers::RecallMessageRequest::default()
    };
    let answer = cluster
        .call::<RecallMessage>(&broker, &header, Bytes::new())
        .await?;
    let recalled: headers::RecallMessageResponse<'_> = answer.header()?;
    Ok(RecallMessageResponse {
        status: ok(),
        message_id: recalled.msg_id.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Guava's.
    #[test]
    fn a_message_group_has_the_queue_that_the_reference_gives_it() {
        let bucket = |key, buckets| consistent_hash(i64::from(java_hash(key)), buckets);
        let buckets = |key| [1, 2, 8, 16, 1000].map(|buckets| bucket(key, buckets));
        assert_eq!(buckets("group-1"), [0, 1, 7, 15, 36]);
        assert_eq!(buckets("orders"), [0, 0, 0, 10, 208]);
        assert_eq!(buckets("é"), [0, 0, 7, 7, 894]);
        assert_eq!(buckets("message group 42"), [0, 1, 2, 2, 23]);
        assert_eq!(consistent_hash(-1, 8), 7);
        // No queue has number 0 of none.
        assert_eq!(consistent_hash(0, 0), 0);
    }
}
