//! Commands about messages with a time of their own.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use store::{Append, StoreError, TagsCode};
use transport::Reply;
use wire::header::NoHeader;
use wire::header::broker::SwitchTimerEngineRequest;
use wire::header::send::{RecallMessageRequest, RecallMessageResponse};
use wire::message::recall::RecallHandle;
use wire::message::{perm, properties, property, tags};

use super::accept;
use crate::admin;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;

/// The tag of a message that takes another one back (`RecallMessageProcessor.RECALL_MESSAGE_TAG`).
const RECALL_TAG: &str = "_RECALL_TAG_";

/// RECALL_MESSAGE: takes a message back that waits for its time, by a message that waits for the
/// same one (`RecallMessageProcessor`).
pub(crate) async fn recall(
    broker: &Arc<Broker>,
    call: &Call,
    header: RecallMessageRequest<'_>,
    _: Bytes,
) -> Result<Reply<RecallMessageResponse<'static>>, BrokerError> {
    let settings = broker.settings();
    let config = &settings.broker;
    if !config.recall_message_enable {
        let problem = "recall failed, operation is forbidden";
        return Err(BrokerError::NoPermission(problem.into()));
    }
    let now = broker.now_millis();
    let may_write = perm::is_writable(config.broker_permission);
    if now < config.start_accept_send_request_time_stamp
        || !(may_write || config.allow_recall_when_broker_not_writeable)
    {
        let problem = "recall failed, broker service not available";
        return Err(BrokerError::ServiceNotAvailable(problem.into()));
    }
    let topic = &*header.topic;
    if broker.topics.get(topic).is_none() {
        return Err(BrokerError::RecallTopicNotExist(topic.to_owned()));
    }
    let illegal = |problem: &str| BrokerError::IllegalOperation(problem.into());
    let handle = RecallHandle::decode(&header.recall_handle)
        .map_err(|_| illegal("recall handle is invalid"))?;
    if handle.topic != topic {
        return Err(illegal("recall failed, topic not match"));
    }
    if handle.broker_name != config.broker_name {
        return Err(illegal("recall failed, broker service not available"));
    }
    let left = handle
        .timestamp
        .parse()
        .unwrap_or(-1_i64)
        .saturating_sub(now);
    if left <= 0 || left >= i64::from(settings.store.timer_max_delay_sec) * 1000 {
        return Err(illegal("recall failed, timestamp invalid"));
    }

    let with_topic = settings.store.append_topic_for_timer_delete_key;
    let key = super::delete_key(with_topic, topic, &handle.message_id);
    let mut text = properties::encode([
        (property::TAGS, RECALL_TAG),
        (property::TIMER_DEL_UNIQKEY, &*key),
        (property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &*handle.message_id),
        (property::TIMER_DELIVER_MS, &*handle.timestamp),
        (property::BORN_TIMESTAMP, &*now.to_string()),
        (
            property::PRODUCER_GROUP,
            header.producer_group.as_deref().unwrap_or_default(),
        ),
    ]);
    let failed = || BrokerError::System("recall failed, execute error".into());
    let mut added = String::new();
    let timed = accept::place(broker, &text, 0, topic, 0, &mut added).map_err(|_| failed())?;
    let queue = timed.ok_or_else(failed)?.queue;
    text.push_str(&added);
    let (born_host, store_host) = (call.connection.peer(), broker.store_host);
    let mut append = Append::new(&queue, b"0", text.as_bytes(), born_host, store_host);
    append.tags_code = TagsCode::Known(tags::tags_code(Some(RECALL_TAG)));
    append.born_timestamp = now;
    let mut appends = [append];
    broker.store.append(&mut appends);
    let [append] = appends;
    let stored = append
        .outcome
        .unwrap_or(Err(StoreError::Closed))
        .map_err(|_| failed())?;
    broker.count_stored(queue.topic(), stored.size);
    Ok(Reply::ok(RecallMessageResponse {
        msg_id: Cow::Owned(handle.message_id),
        region_id: Some(Cow::Owned(broker.region_id.clone())),
    }))
}

/// GET_TIMER_CHECK_POINT: the last checkpoint, as it is in its file.
pub(crate) async fn checkpoint(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let bytes = broker.timer.checkpoint().encode();
    Ok(Reply::empty().with_body(Bytes::copy_from_slice(&bytes)))
}

/// GET_TIMER_METRICS: how many messages wait, by topic.
pub(crate) async fn metrics(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    Ok(Reply::empty().with_body(broker.timer.metrics.encode()))
}

/// SWITCH_TIMER_ENGINE: there is the time wheel only; it goes on if it was stopped.
pub(crate) async fn switch_engine(
    broker: &Arc<Broker>,
    call: &Call,
    header: SwitchTimerEngineRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let problem = if !broker.settings().store.timer_wheel_enable {
        "broker timerWheelEnable is false"
    } else {
        match header.engine_type.as_deref().unwrap_or_default() {
            property::TIMER_ENGINE_FILE_TIME_WHEEL => {
                admin::settings::change(broker, call, b"timerStopEnqueue=false")?;
                return Ok(Reply::empty().with_remark("switch timer engine success"));
            }
            property::TIMER_ENGINE_ROCKSDB_TIMELINE => {
                "timerRocksDBEnable must be configured true when broker start"
            }
            _ => "param error",
        }
    };
    Err(BrokerError::InvalidParameter(problem.into()))
}
