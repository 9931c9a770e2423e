//! Questions and orders that the broker passes on to a client (`Broker2Client`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use transport::{Body, Reply, TransportError};
use wire::body::json;
use wire::body::offset::GetConsumerStatusBody;
use wire::code::ResponseCode;
use wire::command::{
    Command, ConsumeMessageDirectly, GetConsumerRunningInfo, GetConsumerStatusFromClient,
    RequestCode,
};
use wire::frame::{Head, SerializeType};
use wire::header::EncodeHeader;
use wire::header::client::{
    ConsumeMessageDirectlyResultRequest, GetConsumerRunningInfoRequest, GetConsumerStatusRequest,
};
use wire::message::id::OffsetMessageId;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;

/// How long a client may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to tell how far it has come.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// GET_CONSUMER_RUNNING_INFO: how a client is doing.
pub(crate) async fn running_info(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetConsumerRunningInfoRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let (group, client) = (&header.consumer_group, &header.client_id);
    ask(
        broker,
        group,
        client,
        GetConsumerRunningInfo::CODE,
        &header,
        Body::Empty,
    )
    .await
}

/// CONSUME_MESSAGE_DIRECTLY: makes a client consume one message now.
pub(crate) async fn consume_directly(
    broker: &Arc<Broker>,
    _: &Call,
    mut header: ConsumeMessageDirectlyResultRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let settings = broker.settings();
    header.broker_name = Some(settings.broker.broker_name.as_str().into());
    let topic = header
        .topic
        .as_deref()
        .and_then(|topic| broker.topics.get(topic));
    header.topic_sys_flag = topic.map(|topic| topic.config.topic_sys_flag);
    let group = broker.groups.get_or_create(&header.consumer_group);
    header.group_sys_flag = group.map(|group| group.group_sys_flag);

    let id = OffsetMessageId::decode(header.msg_id.as_deref().unwrap_or_default())?;
    let message = broker.store.message(id.offset)?.ok_or_else(|| {
        BrokerError::System(format!("can not find message by the offset, {}", id.offset))
    })?;
    let group = header.consumer_group.clone();
    let client = header.client_id.clone().unwrap_or_default();
    ask(
        broker,
        &group,
        &client,
        ConsumeMessageDirectly::CODE,
        &header,
        message.into(),
    )
    .await
}

/// INVOKE_BROKER_TO_GET_CONSUMER_STATUS: how far each client of a group has come.
pub(crate) async fn consumer_status(
    broker: &Arc<Broker>,
    _: &Call,
    header: GetConsumerStatusRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let name = &header.group;
    let group = broker.clients.group(name).ok_or_else(|| {
        BrokerError::System(format!(
            "No Any Consumer online in the consumer group: [{name}]"
        ))
    })?;
    let only = header
        .client_addr
        .as_deref()
        .filter(|client| !client.trim().is_empty());
    let question = GetConsumerStatusRequest {
        topic: header.topic.clone(),
        group: header.group.clone(),
        ..GetConsumerStatusRequest::default()
    };
    let head = Head::request(
        GetConsumerStatusFromClient::CODE as i32,
        SerializeType::Json,
    );
    // All are asked at once, so that silent ones cost their time once only.
    let mut asked = Vec::new();
    for member in group.members() {
        if only.is_none_or(|only| only == member.id) {
            match member
                .connection
                .start_request(head, &question, Body::Empty)
            {
                Ok(answer) => asked.push((member, answer)),
                Err(error) => tracing::warn!(client = member.id, %error, "status not asked"),
            }
        }
    }
    let deadline = tokio::time::Instant::now() + STATUS_TIMEOUT;
    let mut consumer_table = BTreeMap::new();
    for (member, answer) in asked {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        match answer.wait(left).await {
            Ok(answer) if answer.head.code == ResponseCode::Success as i32 => {
                match json::read::<GetConsumerStatusBody>(&answer.body) {
                    Ok(status) => {
                        consumer_table.insert(member.id.clone(), status.message_queue_table);
                    }
                    Err(error) => tracing::warn!(client = member.id, %error, "status unclear"),
                }
            }
            Ok(answer) => {
                tracing::warn!(client = member.id, remark = answer.remark, "status refused");
            }
            Err(error) => tracing::warn!(client = member.id, %error, "status not answered"),
        }
    }
    let body = GetConsumerStatusBody {
        consumer_table,
        ..GetConsumerStatusBody::default()
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

/// Passes a request on to a client, and its answer back.
async fn ask<H: EncodeHeader>(
    broker: &Broker,
    group: &str,
    client_id: &str,
    code: RequestCode,
    header: &H,
    body: Body,
) -> Result<Reply, BrokerError> {
    let online = broker.clients.group(group);
    let client = online
        .as_ref()
        .and_then(|group| group.client(client_id))
        .ok_or_else(|| {
            BrokerError::System(format!("The Consumer <{group}> <{client_id}> not online"))
        })?;
    let head = Head::request(code as i32, SerializeType::Json);
    match client.connection.request(head, header, body, TIMEOUT).await {
        Ok(answer) => Ok(Reply {
            code: answer.head.code,
            remark: answer.remark.map(Into::into),
            body: answer.body.into(),
            ..Reply::empty()
        }),
        Err(error @ TransportError::Timeout { .. }) => Ok(Reply::empty()
            .with_code(ResponseCode::ConsumeMsgTimeout)
            .with_remark(format!("consumer <{group}> <{client_id}> Timeout: {error}"))),
        Err(error) => Err(BrokerError::System(format!(
            "invoke consumer <{group}> <{client_id}> Exception: {error}"
        ))),
    }
}
