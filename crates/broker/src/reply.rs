//! Request and reply: the broker hands the reply to a request to the client that waits for it
//! (`ReplyMessageProcessor`).
//!
//! A reply is a message to the cluster's reply topic, whose property `REPLY_TO_CLIENT` names the
//! client. It is pushed to that client, and stored as well unless `storeReplyMessageEnable` is
//! off.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{Append, TagsCode};
use tracing::warn;
use transport::{Connection, Reply};
use wire::code::ResponseCode;
use wire::command::{Command, PushReplyMessageToClient};
use wire::frame::{Head, SerializeType};
use wire::header::send::{
    ReplyMessageRequest, SendMessageRequest, SendMessageRequestV2, SendMessageResponse,
};
use wire::message::id::OffsetMessageId;
use wire::message::{properties, property, tags};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;
use crate::send;

/// How long the client may take to confirm a reply (`Broker2Client.callClient`).
const TIMEOUT: Duration = Duration::from_secs(10);

/// SEND_REPLY_MESSAGE_V2.
pub(crate) async fn reply_v2(
    broker: &Arc<Broker>,
    call: &Call,
    header: SendMessageRequestV2<'_>,
    body: Bytes,
) -> Result<Reply<SendMessageResponse<'static>>, BrokerError> {
    reply(broker, call, send::with_full_names(header), body).await
}

/// SEND_REPLY_MESSAGE.
pub(crate) async fn reply(
    broker: &Arc<Broker>,
    call: &Call,
    header: SendMessageRequest<'_>,
    body: Bytes,
) -> Result<Reply<SendMessageResponse<'static>>, BrokerError> {
    let settings = broker.settings();
    send::check_started(broker, &settings)?;
    let topic = send::find_topic(broker, &settings, &header)?;
    broker.topics.keep(std::slice::from_ref(&topic));
    let queue_id = send::choose_queue(broker, &topic, &header, &call.connection)?;
    let pushed = push(broker, call, &header, body.clone()).await;
    let stored = if settings.broker.store_reply_message_enable {
        store(broker, call, &header, queue_id, &body)
    } else {
        None
    };
    pushed?;
    let (msg_id, queue_offset) = stored.unwrap_or_else(|| ("0".into(), 0));
    Ok(Reply::ok(SendMessageResponse {
        msg_id: Cow::Owned(msg_id),
        queue_id,
        queue_offset,
        region_id: Some(Cow::Owned(broker.region_id.clone())),
        trace_on: Some(broker.trace_on),
        ..SendMessageResponse::default()
    }))
}

/// Hands the reply to the client that waits for it.
async fn push(
    broker: &Broker,
    call: &Call,
    header: &SendMessageRequest<'_>,
    body: Bytes,
) -> Result<(), BrokerError> {
    let sent = header.properties.as_deref().unwrap_or_default();
    let name = property::MESSAGE_REPLY_TO_CLIENT;
    let Some(client) = properties::get(sent, name) else {
        let problem = format!("reply message properties[{name}] is null");
        return Err(BrokerError::System(problem));
    };
    let connection: Arc<Connection> = broker.clients.producer(client).ok_or_else(|| {
        BrokerError::System(format!(
            "push reply message fail, channel of <{client}> not found."
        ))
    })?;
    let now = broker.now_millis();
    let mut told = sent.to_owned();
    properties::set(&mut told, property::PUSH_REPLY_TIME, &now.to_string());
    let pushed = ReplyMessageRequest {
        producer_group: Cow::Borrowed(&header.producer_group),
        topic: Cow::Borrowed(&header.topic),
        default_topic: Cow::Borrowed(&header.default_topic),
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: Some(Cow::Owned(told)),
        reconsume_times: header.reconsume_times,
        unit_mode: header.unit_mode.unwrap_or_default(),
        born_host: Cow::Owned(call.connection.peer().to_string()),
        store_host: Cow::Owned(broker.store_host.to_string()),
        store_timestamp: now,
        ..ReplyMessageRequest::default()
    };
    let head = Head::request(PushReplyMessageToClient::CODE as i32, SerializeType::Json);
    let answer = connection
        .request(head, &pushed, body.into(), TIMEOUT)
        .await;
    let problem = match answer {
        Ok(answer) if answer.head.code == ResponseCode::Success as i32 => return Ok(()),
        Ok(answer) => answer.remark.map(|remark| remark.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let problem = problem.unwrap_or_default();
    warn!(client, problem, "a reply could not be handed over");
    Err(BrokerError::System(format!(
        "push reply message to {client} fail. {problem}"
    )))
}

/// Stores the reply; returns its message id and its number in the queue. A reply that can't be
/// stored has reached its client all the same.
fn store(
    broker: &Broker,
    call: &Call,
    header: &SendMessageRequest<'_>,
    queue_id: i32,
    body: &[u8],
) -> Option<(String, i64)> {
    let sent = header.properties.as_deref().unwrap_or_default();
    let queue = match broker.queue(&header.topic, queue_id) {
        Ok(queue) => queue,
        Err(error) => {
            warn!("a reply can't be stored: {error}");
            return None;
        }
    };
    let (born_host, store_host) = (call.connection.peer(), broker.store_host);
    let mut append = Append::new(&queue, body, sent.as_bytes(), born_host, store_host);
    append.tags_code = TagsCode::Known(tags::tags_code(properties::get(sent, property::TAGS)));
    append.flag = header.flag;
    append.born_timestamp = header.born_timestamp;
    append.reconsume_times = header.reconsume_times.unwrap_or(0);
    let mut appends = [append];
    broker.store.append(&mut appends);
    let [append] = appends;
    match append.outcome? {
        Ok(stored) => {
            broker.count_stored(&header.topic, stored.size);
            let mut id = String::new();
            OffsetMessageId {
                host: store_host,
                offset: stored.physical_offset,
            }
            .append_to(&mut id);
            Some((id, stored.queue_offset))
        }
        Err(error) => {
            warn!("a reply can't be stored: {error}");
            None
        }
    }
}
