//! Acknowledging, hiding, giving up (`AckMessageActivity`, `ChangeInvisibleDurationActivity`,
//! `ForwardMessageToDLQActivity`).

use transport::Body;
use wire::command::{AckMessage, ChangeMessageInvisibleTime, ConsumerSendMsgBack};
use wire::frame::Frame;
use wire::grpc::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, AckMessageResultEntry,
    ChangeInvisibleDurationRequest, ChangeInvisibleDurationResponse, Code,
    ForwardMessageToDeadLetterQueueRequest, ForwardMessageToDeadLetterQueueResponse,
};
use wire::header::pop as headers;
use wire::header::send::ConsumerSendMsgBackRequest;
use wire::message::pop::ExtraInfo;

use crate::call::Call;
use crate::cluster::{Cluster, TIMEOUT};
use crate::error::{ProxyError, code_of, common, named, ok, status};
use crate::message::now_millis;
use crate::renewal::Held;
use crate::{batch_ack, validate};

/// Delay level of a message that goes to the dead letter queue at once.
const TO_DEAD_LETTERS: i32 = -1;

/// A message that a client of a group has received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    /// Its lite topic, if it came as one of that.
    pub(crate) lite_topic: Option<&'a str>,
    /// What it is acknowledged with.
    pub(crate) handle: &'a str,
}

impl<'a> Delivered<'a> {
    /// Holds the message hidden no longer. Returns what is known of it, if it was held.
    pub(crate) async fn release(&self, call: &Call, message_id: &str) -> Option<Held> {
        let renewals = &call.state.renewals;
        let released = renewals.release(&call.client_id, self.group, message_id, self.handle);
        released.await
    }

    /// The same with what is known of a message that was held: the handle that holds now, if it
    /// was hidden further since, and its lite topic, which clients don't always say.
    pub(crate) fn as_held(self, held: Option<&'a Held>) -> Self {
        match held {
            Some(held) => Self {
                lite_topic: held.lite_topic.as_deref(),
                handle: &held.handle,
                ..self
            },
            None => self,
        }
    }
}

/// Messages were consumed.
pub(crate) async fn acknowledge(
    call: Call,
    request: AckMessageRequest,
) -> Result<AckMessageResponse, ProxyError> {
    let topic = validate::topic(request.topic.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let mut held = Vec::with_capacity(request.entries.len());
    for entry in &request.entries {
        let said = said(topic, group, entry);
        held.push(said.release(&call, &entry.message_id).await);
    }
    let delivered = request.entries.iter().zip(&held);
    let delivered: Vec<_> = delivered
        .map(|(entry, held)| said(topic, group, entry).as_held(held.as_ref()))
        .collect();
    let cluster = &call.state.cluster;
    let acknowledged = if call.state.config.enable_batch_ack {
        batch_ack::acknowledge(cluster, &delivered).await
    } else {
        let mut acknowledged = Vec::with_capacity(delivered.len());
        for one in delivered {
            acknowledged.push(acknowledge_one(cluster, one).await);
        }
        acknowledged
    };
    let entries = request.entries.into_iter().zip(acknowledged);
    let entries: Vec<_> = entries
        .map(|(entry, acknowledged)| AckMessageResultEntry {
            message_id: entry.message_id,
            receipt_handle: entry.receipt_handle,
            status: Some(acknowledged.map_or_else(|error| error.status(), |()| named(Code::Ok))),
        })
        .collect();
    let codes = entries.iter().filter_map(|entry| entry.status.as_ref());
    let common = common(
        codes.map(|status| status.code()),
        "ack message result is empty",
    );
    Ok(AckMessageResponse {
        status: Some(common),
        entries,
    })
}

/// What a client says of a message that it acknowledges.
fn said<'a>(topic: &'a str, group: &'a str, entry: &'a AckMessageEntry) -> Delivered<'a> {
    Delivered {
        group,
        topic,
        lite_topic: entry.lite_topic.as_deref(),
        handle: &entry.receipt_handle,
    }
}

/// Changes how long a message is hidden.
pub(crate) async fn change_invisible_duration(
    call: Call,
    request: ChangeInvisibleDurationRequest,
) -> Result<ChangeInvisibleDurationResponse, ProxyError> {
    let topic = validate::topic(request.topic.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let millis = validate::invisible_millis(request.invisible_duration, 0, &call.state.config)?;
    ExtraInfo::decode_receipt_handle(&request.receipt_handle)?;
    let said = Delivered {
        group,
        topic,
        lite_topic: request.lite_topic.as_deref(),
        handle: &request.receipt_handle,
    };
    let held = said.release(&call, &request.message_id).await;
    let delivered = said.as_held(held.as_ref());
    let hidden = Hidden {
        millis,
        suspend: request.suspend(),
    };
    let changed = change_invisible_time(&call.state.cluster, delivered, hidden).await;
    let (status, receipt_handle) = match changed {
        Ok(renewed) => (ok(), renewed),
        // The client is to try again with the handle that still holds.
        Err(error) if error.code() == Code::TooManyRequests => {
            (Some(error.status()), delivered.handle.to_owned())
        }
        Err(error) => return Err(error),
    };
    Ok(ChangeInvisibleDurationResponse {
        status,
        receipt_handle,
    })
}

/// Gives a message up.
pub(crate) async fn forward_to_dead_letters(
    call: Call,
    request: ForwardMessageToDeadLetterQueueRequest,
) -> Result<ForwardMessageToDeadLetterQueueResponse, ProxyError> {
    let topic = validate::topic(request.topic.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let said = Delivered {
        group,
        topic,
        lite_topic: request.lite_topic.as_deref(),
        handle: &request.receipt_handle,
    };
    let held = said.release(&call, &request.message_id).await;
    let delivered = said.as_held(held.as_ref());
    let answer = forward_one(&call.state.cluster, delivered, &request.message_id).await?;
    let code = answer.head.code;
    let message = answer.remark.unwrap_or_else(|| code.to_string());
    Ok(ForwardMessageToDeadLetterQueueResponse {
        status: Some(status(code_of(code), message)),
    })
}

/// Reads a handle that still holds.
pub(crate) fn valid(handle: &str) -> Result<ExtraInfo<'_>, ProxyError> {
    let info = ExtraInfo::decode_receipt_handle(handle)?;
    if info.next_visible_time() <= now_millis() {
        let expired = "receipt handle is expired";
        return Err(ProxyError::new(Code::InvalidReceiptHandle, expired));
    }
    Ok(info)
}

/// A message was consumed.
pub(crate) async fn acknowledge_one(
    cluster: &Cluster,
    Delivered {
        group,
        topic,
        lite_topic,
        handle,
    }: Delivered<'_>,
) -> Result<(), ProxyError> {
    let info = valid(handle)?;
    let broker = cluster.broker_of_handle(info.broker_name).await?;
    let header = headers::AckMessageRequest {
        consumer_group: group.into(),
        topic: info.topic_kind.real_topic(topic, group),
        queue_id: info.queue_id,
        extra_info: handle.into(),
        offset: info.queue_offset.unwrap_or_default(),
        lite_topic: lite_topic.map(Into::into),
        ..headers::AckMessageRequest::default()
    };
    let answer = cluster.call::<AckMessage>(&broker, &header, Body::Empty);
    answer.await.map(drop).map_err(ProxyError::about_received)
}

/// For how long a message is hidden.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hidden {
    /// Milliseconds from now on.
    pub(crate) millis: i64,
    /// Whether its delivery is as if it had not been; with a lite topic, for all that came at a
    /// time.
    pub(crate) suspend: bool,
}

/// Hides a message further; returns its handle for that.
pub(crate) async fn change_invisible_time(
    cluster: &Cluster,
    Delivered {
        group,
        topic,
        lite_topic,
        handle,
    }: Delivered<'_>,
    hidden: Hidden,
) -> Result<String, ProxyError> {
    let info = valid(handle)?;
    let broker = cluster.broker_of_handle(info.broker_name).await?;
    let offset = info.queue_offset.unwrap_or_default();
    let header = headers::ChangeInvisibleTimeRequest {
        consumer_group: group.into(),
        topic: info.topic_kind.real_topic(topic, group),
        queue_id: info.queue_id,
        extra_info: handle.into(),
        offset,
        invisible_time: hidden.millis,
        lite_topic: lite_topic.map(Into::into),
        suspend: hidden.suspend,
        ..headers::ChangeInvisibleTimeRequest::default()
    };
    let answer = cluster
        .call::<ChangeMessageInvisibleTime>(&broker, &header, Body::Empty)
        .await
        .map_err(ProxyError::about_received)?;
    let hidden: headers::ChangeInvisibleTimeResponse = answer.header()?;
    let renewed = ExtraInfo {
        start_offset: offset,
        pop_time: hidden.pop_time,
        invisible_time: hidden.invisible_time,
        revive_queue_id: hidden.revive_qid,
        ..info
    };
    Ok(renewed.to_string())
}

/// Moves a message to the group's dead letter queue. Returns the broker's answer.
pub(crate) async fn forward_one(
    cluster: &Cluster,
    delivered: Delivered<'_>,
    message_id: &str,
) -> Result<Frame, ProxyError> {
    let Delivered { group, topic, .. } = delivered;
    let info = ExtraInfo::decode_receipt_handle(delivered.handle)?;
    let Some(offset) = info.commit_log_offset.filter(|offset| *offset >= 0) else {
        let missing = "commit log offset is empty";
        return Err(ProxyError::new(Code::InvalidReceiptHandle, missing));
    };
    let broker = cluster.broker_of_handle(info.broker_name).await?;
    let header = ConsumerSendMsgBackRequest {
        offset,
        group: group.into(),
        delay_level: TO_DEAD_LETTERS,
        origin_msg_id: Some(message_id.into()),
        origin_topic: Some(info.topic_kind.real_topic(topic, group)),
        max_reconsume_times: Some(0),
        ..ConsumerSendMsgBackRequest::default()
    };
    let answer = cluster
        .ask::<ConsumerSendMsgBack>(&broker, &header, Body::Empty, TIMEOUT)
        .await?;
    if code_of(answer.head.code) == Code::Ok {
        // Should this fail the message comes once more, which at-least-once allows.
        let _ = acknowledge_one(cluster, delivered).await;
    }
    Ok(answer)
}
