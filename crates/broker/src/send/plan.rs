//! Where the messages of a request are stored, and as what.

use std::borrow::Cow;

use store::{Queue, QueueKind, TagsCode};
use wire::frame::Frame;
use wire::header::send::SendMessageRequest;
use wire::message::body::Batch;
use wire::message::sys_flag::message as message_flag;
use wire::message::{names, perm, property, tags};

use super::message::{Draft, UniqueId};
use super::places::{Place, Places};
use super::{DEAD_LETTER_QUEUES, TELLS_MAX_RECONSUME_TIMES};
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::settings::BrokerSettings;
use crate::timer::accept;
use crate::transaction;

/// Where the messages of a request are stored, and as what.
pub(super) struct Plan {
    /// For a delayed message the queue of its level.
    pub(super) place: Place,
    pub(super) tags_code: TagsCode,
    /// The properties to store, where they are not those that were sent.
    pub(super) rewritten: Option<String>,
    /// What the broker adds, where it is not what it adds to every message.
    pub(super) added: Option<String>,
    pub(super) unique_id: UniqueId,
    /// What a message that waits for its time is taken back with.
    pub(super) recall_handle: Option<String>,
    /// How many records it makes.
    pub(super) records: usize,
    /// Whether these are the messages of the body.
    pub(super) is_batch: bool,
    /// How many messages its one record holds, if that is an inner batch; else 0.
    pub(super) inner_messages: i16,
}

impl Plan {
    /// Of a body that is several messages.
    pub(super) fn batch(
        broker: &Broker,
        places: &mut Places,
        body: &[u8],
        header: &SendMessageRequest<'_>,
        draft: Draft<'_>,
    ) -> Result<Self, BrokerError> {
        if names::is_retry_topic(&header.topic) {
            return Err(BrokerError::MessageIllegal(format!(
                "batch request does not support retry group {}",
                header.topic
            )));
        }
        let mut messages = 0;
        for message in Batch::new(body) {
            message?;
            messages += 1;
        }
        let read = draft.read;
        if read.delay_level > 0 || read.has_time || read.is_half {
            return Err(BrokerError::MessageIllegal(
                "the messages of a batch can be neither delayed nor transactional".into(),
            ));
        }
        if message_flag::has(header.sys_flag, message_flag::INNER_BATCH) {
            return Err(wrong_inner_batch());
        }
        let place = places.queue(broker, &header.topic, header.queue_id)?;
        // Clients that can unwrap inner batches give the batch an id. Where the last message of
        // each key is kept, each has a record of its own.
        let is_inner = places.get(place).kind() == QueueKind::Batch
            && read.unique_id.is_some()
            && !broker.topics.is_compacted(&header.topic);
        let plan = Self {
            place,
            tags_code: TagsCode::Known(0),
            rewritten: None,
            // The messages of a batch are stored with the properties that they came with.
            added: Some(String::new()),
            unique_id: draft.unique_id,
            recall_handle: None,
            records: messages,
            is_batch: true,
            inner_messages: 0,
        };
        if !is_inner {
            return Ok(plan);
        }
        let inner_messages = i16::try_from(messages).map_err(|_| {
            BrokerError::MessageIllegal(format!(
                "the batch has {messages} messages, more than the {} of a record",
                i16::MAX
            ))
        })?;
        Ok(Self {
            tags_code: TagsCode::Known(tags::tags_code(read.tags)),
            rewritten: draft.rewritten,
            added: None,
            records: 1,
            is_batch: false,
            inner_messages,
            ..plan
        })
    }

    /// Of a message by itself. One that has been given up gets another topic.
    pub(super) fn single(
        broker: &Broker,
        places: &mut Places,
        frame: &Frame,
        header: &mut SendMessageRequest<'_>,
        mut draft: Draft<'_>,
    ) -> Result<Self, BrokerError> {
        let is_retry = header.reconsume_times.unwrap_or(0) > 0 && draft.read.delay_level > 0;
        draft.read.is_half &= !is_retry;
        if draft.read.is_half {
            let config = &places.settings.broker;
            let is_allowed = !config.reject_transaction_message;
            config.check(is_allowed, "sending transaction message")?;
            (draft.read.delay_level, draft.read.has_time) = (0, false);
            header.sys_flag = message_flag::with_transaction_type(
                header.sys_flag,
                message_flag::TRANSACTION_NOT_TYPE,
            );
        }
        if draft.read.priority.is_some() && draft.read.deciding_priority().is_none() {
            draft.remove(&[property::PRIORITY]);
        }
        draft.identify(broker);
        let lite = draft.read.lite_topic;
        if let Some(light_queue) = lite.and_then(|it| names::lite_lmq_name(&header.topic, it)) {
            draft.add(property::INNER_MULTI_DISPATCH, &light_queue);
        }
        draft.limit_level(broker.schedule.max_level());
        if let Some(dead_letter) = dead_letter_topic(broker, frame, header)? {
            draft.set(property::DELAY_TIME_LEVEL, "-1");
            draft.read.delay_level = 0;
            header.queue_id = broker.random_queue(DEAD_LETTER_QUEUES);
            header.topic = Cow::Owned(dead_letter);
        }
        let (place, tags_code, recall_handle) = find_place(broker, places, header, &mut draft)?;
        let told = draft.read.inner_messages;
        let added = (!draft.added.is_empty()).then(|| draft.added + &broker.own_properties);
        Ok(Self {
            place,
            tags_code,
            rewritten: draft.rewritten,
            added,
            unique_id: draft.unique_id,
            recall_handle,
            records: 1,
            is_batch: false,
            inner_messages: inner_messages(header.sys_flag, told, places.get(place))?,
        })
    }
}

/// Where a message is stored: among those that wait for their transactions, their delay levels or
/// their times, else in its own queue; and what it is taken back with.
fn find_place(
    broker: &Broker,
    places: &mut Places,
    header: &SendMessageRequest<'_>,
    draft: &mut Draft<'_>,
) -> Result<(Place, TagsCode, Option<String>), BrokerError> {
    let (topic, queue_id) = (&*header.topic, header.queue_id);
    let id = draft.unique_id.get(draft.sent);
    let (added, level) = (&mut draft.added, draft.read.delay_level);
    if level > 0 {
        let schedule = &broker.schedule;
        let (queue, tags_code) = schedule.place(&broker.store, level, topic, queue_id, added)?;
        return Ok((places.add(queue), tags_code, None));
    }
    let tags_code = TagsCode::Known(tags::tags_code(draft.read.tags));
    if draft.read.is_half {
        let queue = transaction::place(broker, topic, queue_id, id, added);
        if let Some(kept) = transaction::rewritten(draft.properties()) {
            draft.rewritten = Some(kept);
        }
        return Ok((places.add(queue), tags_code, None));
    }
    if draft.read.has_time
        && let Some(timed) =
            accept::place(broker, draft.sent, header.sys_flag, topic, queue_id, added)?
    {
        let handle = timed.recall_handle(broker, topic, id.unwrap_or_default());
        return Ok((places.add(timed.queue), tags_code, handle));
    }
    Ok((places.queue(broker, topic, queue_id)?, tags_code, None))
}

/// The dead letter topic, for a retry that was tried often enough or comes from an orderly
/// consumer, which has tried in place (`SendMessageProcessor.handleRetryAndDLQ`).
fn dead_letter_topic(
    broker: &Broker,
    frame: &Frame,
    header: &SendMessageRequest<'_>,
) -> Result<Option<String>, BrokerError> {
    let Some(group) = header.topic.strip_prefix(names::RETRY_GROUP_TOPIC_PREFIX) else {
        return Ok(None);
    };
    let group = names::group_of_retry_topic(&header.topic).unwrap_or(group);
    let config = broker.group(group)?;
    let max_reconsume_times = header
        .max_reconsume_times
        .filter(|_| frame.head.version >= TELLS_MAX_RECONSUME_TIMES)
        .unwrap_or(config.retry_max_times);
    let is_over = header.reconsume_times.unwrap_or(0) > max_reconsume_times;
    if !is_over && !broker.locks.has_locks(group) {
        return Ok(None);
    }
    let topic = names::dlq_topic(group);
    let access = perm::READ | perm::WRITE;
    broker
        .topics
        .create_on_send_back(&topic, DEAD_LETTER_QUEUES, access, None, 0);
    Ok(Some(topic))
}

/// How many messages a message sent by itself says that it holds; 0 for an ordinary one
/// (`HookUtils.checkInnerBatch`).
fn inner_messages(
    sys_flag: i32,
    inner_messages: Option<&str>,
    queue: &Queue,
) -> Result<i16, BrokerError> {
    let is_inner = message_flag::has(sys_flag, message_flag::INNER_BATCH);
    let count = match (is_inner, inner_messages, queue.kind()) {
        (false, None, _) => Some(0),
        (true, Some(count), QueueKind::Batch) => count.parse().ok().filter(|count| *count > 0),
        _ => None,
    };
    count.ok_or_else(wrong_inner_batch)
}

fn wrong_inner_batch() -> BrokerError {
    BrokerError::MessageIllegal(format!(
        "only a batch for a topic with queue.type=BatchCQ has the property {} and the flag of an \
         inner batch",
        property::INNER_NUM
    ))
}

/// Refuses bodies above `maxMessageSize`.
pub(super) fn check_size(settings: &BrokerSettings, body: usize) -> Result<(), BrokerError> {
    let limit = settings.store.max_message_size;
    if body > limit {
        Err(illegal_size(limit))
    } else {
        Ok(())
    }
}

pub(super) fn illegal_size(limit: usize) -> BrokerError {
    BrokerError::MessageIllegal(format!(
        "the message is illegal, maybe msg body or properties length not matched. msg body length \
         limit {limit}B, msg properties length limit 32KB."
    ))
}
