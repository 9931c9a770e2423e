//! Sending: SEND_MESSAGE, SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE (`SendMessageProcessor`).
//!
//! All messages that one read of a connection brought go into the commit log together. A message
//! is answered when what its properties and the broker's settings promise is true: at once, or
//! when it is on disk.

mod answer;
mod message;
mod places;
mod request;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use store::{Append, FlushDiskType, Queue, QueueKind, StoreError, TagsCode};
use transport::{Connection, Outbox, Reply};
use wire::command::RequestCode;
use wire::frame::Frame;
use wire::header::send::{SendMessageRequest, SendMessageResponse};
use wire::message::body::{Batch, BatchMessage};
use wire::message::sys_flag::message as message_flag;
use wire::message::{names, perm, properties, property, tags};

use self::answer::{Stored, Took, answer_when_flushed, into_owned};
use self::message::{Properties, UniqueId};
use self::places::{Place, Places, RECENT};
pub(crate) use self::request::{check_started, choose_queue, find_topic, with_full_names};
use crate::broker::Broker;
use crate::compaction;
use crate::error::BrokerError;
use crate::settings::BrokerSettings;
use crate::static_topics::LogicalQueue;
use crate::statistics::Tally;
use crate::timer::accept;
use crate::transaction;

/// Queues of a group's dead letter topic (`DLQ_NUMS_PER_GROUP`).
pub(crate) const DEAD_LETTER_QUEUES: i32 = 1;

/// Clients of this version (`MQVersion.Version.V3_4_9`) say how often a message may be retried.
pub(crate) const TELLS_MAX_RECONSUME_TIMES: i32 = 121;

/// Properties that the broker sets; what a client sends under these names is dropped.
const SET_BY_THE_BROKER: [&str; 5] = [
    property::INNER_MULTI_QUEUE_OFFSET,
    property::POP_CK,
    property::MSG_REGION,
    property::TRACE_SWITCH,
    property::CLUSTER,
];

/// Serves the send requests of one read; see the module's page.
pub(crate) fn send(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    run: &[Frame],
    out: &mut Outbox,
) {
    let began_millis = broker.now_millis();
    let mut places = Places::new(broker);
    let sync_flush = places.settings.store.flush_disk_type == FlushDiskType::SyncFlush;
    // What waits for the disk takes memory, however slow the disk is.
    let mut room = if sync_flush {
        let capacity = places.settings.broker.send_thread_pool_queue_capacity;
        capacity.saturating_sub(broker.unflushed_sends.load(Ordering::Relaxed))
    } else {
        usize::MAX
    };
    let mut accepted = Vec::with_capacity(run.len());
    for frame in run {
        if room == 0 {
            out.refuse(&frame.head, &BrokerError::Overload.into());
            continue;
        }
        room -= 1;
        match Sending::accept(broker, connection, &mut places, frame) {
            Ok(sending) => accepted.push(sending),
            Err(error) => out.refuse(&frame.head, &error.into()),
        }
    }
    if accepted.is_empty() {
        return;
    }
    let mut appends = Vec::with_capacity(accepted.len());
    for sending in &accepted {
        sending.append_to(broker, connection, &places, &mut appends);
    }
    let end = broker.store.append(&mut appends);

    let mut waiting = Vec::new();
    let mut message_ids = String::new();
    let mut tallies: Vec<(usize, Place, Tally)> = Vec::new();
    let mut outcomes = appends
        .iter_mut()
        .filter_map(|append| append.outcome.take());
    for sending in &accepted {
        let head = &sending.frame.head;
        let stored: Result<Stored, StoreError> = Stored::collect(
            outcomes.by_ref().take(sending.records),
            broker,
            &mut message_ids,
        );
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                broker.statistics.put_failed.fetch_add(1, Ordering::Relaxed);
                out.refuse(head, &not_stored(broker, error).into());
                continue;
            }
        };
        if let Some(topic) = sending.topic {
            let recent = tallies.iter_mut().rev().take(RECENT);
            let tally = Tally {
                requests: 1,
                messages: sending.records.max(sending.inner_messages as usize) as u64,
                bytes: stored.bytes,
            };
            match recent
                .into_iter()
                .find(|(_, place, _)| *place == sending.place)
            {
                Some((_, _, sum)) => sum.add(tally),
                None => tallies.push((topic, sending.place, tally)),
            }
        }
        let (queue, transactions) = (places.get(sending.place), &broker.transactions);
        transactions.stored(broker, queue, &sending.header.topic);
        let response = sending.response(broker, stored.queue_offset, &message_ids);
        if sync_flush && sending.wait_store {
            waiting.push((connection.responder(head), into_owned(response)));
        } else {
            out.reply(head, Reply::ok(response));
        }
    }
    let mut took = Took::since(began_millis);
    for (topic, place, tally) in tallies {
        let Some(topic) = places.counting.get(topic) else {
            continue;
        };
        broker.statistics.stored(topic, tally);
        took.add(topic, places.get(place).id(), tally);
    }
    if waiting.is_empty() {
        took.count(broker);
    } else {
        broker
            .unflushed_sends
            .fetch_add(waiting.len(), Ordering::Relaxed);
        tokio::spawn(answer_when_flushed(Arc::clone(broker), end, waiting, took));
    }
}

/// A message, or a batch of them, that is in order.
struct Sending<'a> {
    frame: &'a Frame,
    header: SendMessageRequest<'a>,
    /// Where it is stored; for a delayed message the queue of its level.
    place: Place,
    /// Which of the topics of [`Places`] counts it.
    topic: Option<usize>,
    /// The queue that the client is told, unless it is a logical one.
    queue_id: i32,
    /// The logical queue that it was sent to, in a static topic.
    logical: Option<LogicalQueue>,
    tags_code: TagsCode,
    /// The properties to store, where they are not those that were sent.
    rewritten: Option<String>,
    /// What the broker adds, where it is not what it adds to every message.
    added: Option<String>,
    unique_id: UniqueId,
    /// What a message that waits for its time is taken back with.
    recall_handle: Option<String>,
    /// Whether the answer waits for the disk when the broker flushes synchronously.
    wait_store: bool,
    /// How many records it makes.
    records: usize,
    /// Whether these are the messages of the body.
    is_batch: bool,
    /// How many messages its one record holds, if that is an inner batch; else 0.
    inner_messages: i16,
}

impl<'a> Sending<'a> {
    /// Checks one request (`AbstractSendMessageProcessor.msgCheck` and what follows it).
    fn accept(
        broker: &Arc<Broker>,
        connection: &Connection,
        places: &mut Places,
        frame: &'a Frame,
    ) -> Result<Self, BrokerError> {
        let code = RequestCode::of(&frame.head);
        let mut header: SendMessageRequest<'a> = match code {
            Ok(RequestCode::SendMessage) => frame.header()?,
            _ => with_full_names(frame.header()?),
        };
        check_started(broker, &places.settings)?;
        if frame.body.is_empty() {
            return Err(BrokerError::Body(
                "a message without a body can't be stored".into(),
            ));
        }
        let logical =
            broker
                .static_topics
                .find_for_message(&header.topic, header.queue_id, &header.rpc)?;
        if let Some(logical) = &logical {
            header.queue_id = logical.leader.queue_id;
        }
        let topic = places.topic(&header.topic, |settings| {
            find_topic(broker, settings, &header)
        })?;
        let queue_id = choose_queue(broker, topic, &header, connection)?;
        let write_queues = topic.config.write_queue_nums;
        let is_batch =
            code == Ok(RequestCode::SendBatchMessage) || header.batch.unwrap_or_default();
        if !is_batch {
            compaction::check_keys(topic, header.properties.as_deref())?;
        }
        let accepted = if is_batch {
            Self::accept_batch(broker, places, frame, header, queue_id)?
        } else {
            Self::accept_single(broker, places, frame, header, queue_id, write_queues)?
        };
        Ok(Self {
            logical,
            ..accepted
        })
    }

    fn accept_batch(
        broker: &Broker,
        places: &mut Places,
        frame: &'a Frame,
        header: SendMessageRequest<'a>,
        queue_id: i32,
    ) -> Result<Self, BrokerError> {
        if names::is_retry_topic(&header.topic) {
            return Err(BrokerError::MessageIllegal(format!(
                "batch request does not support retry group {}",
                header.topic
            )));
        }
        check_size(&places.settings, frame.body.len())?;
        let mut messages = 0;
        for message in Batch::new(&frame.body) {
            message?;
            messages += 1;
        }
        let sent = header.properties.as_deref().unwrap_or_default();
        let read = Properties::read(sent);
        if read.delay_level > 0 || read.has_time || read.is_half {
            return Err(BrokerError::MessageIllegal(
                "the messages of a batch can be neither delayed nor transactional".into(),
            ));
        }
        let place = places.queue(broker, &header.topic, queue_id)?;
        let unique_id = UniqueId::of(sent, read.unique_id);
        // Clients that can unwrap inner batches give the batch an id.
        let is_batch_queue = places.get(place).kind() == QueueKind::Batch;
        // Where the last message of each key is kept, each has a record of its own.
        let is_inner = is_batch_queue
            && read.unique_id.is_some()
            && !broker.topics.is_compacted(&header.topic);
        if is_inner {
            let inner_messages = i16::try_from(messages).map_err(|_| {
                BrokerError::MessageIllegal(format!(
                    "the batch has {messages} messages, more than the {} of a record",
                    i16::MAX
                ))
            })?;
            let forged = read.has_forged;
            return Ok(Self {
                frame,
                place,
                topic: places.counting_topic(broker, place),
                queue_id,
                logical: None,
                tags_code: TagsCode::Known(tags::tags_code(read.tags)),
                rewritten: forged.then(|| properties::without(sent, &SET_BY_THE_BROKER)),
                added: None,
                unique_id,
                recall_handle: None,
                wait_store: read.wait_store,
                header,
                records: 1,
                is_batch: false,
                inner_messages,
            });
        }
        Ok(Self {
            frame,
            place,
            topic: places.counting_topic(broker, place),
            queue_id,
            logical: None,
            tags_code: TagsCode::Known(0),
            rewritten: None,
            // The messages of a batch are stored with the properties that they came with.
            added: Some(String::new()),
            unique_id,
            recall_handle: None,
            wait_store: read.wait_store,
            header,
            records: messages,
            is_batch: true,
            inner_messages: 0,
        })
    }

    fn accept_single(
        broker: &Broker,
        places: &mut Places,
        frame: &'a Frame,
        mut header: SendMessageRequest<'a>,
        mut queue_id: i32,
        write_queues: i32,
    ) -> Result<Self, BrokerError> {
        check_size(&places.settings, frame.body.len())?;
        let sent = header.properties.as_deref().unwrap_or_default();
        let mut read = Properties::read(sent);
        let is_retry = header.reconsume_times.unwrap_or(0) > 0 && read.delay_level > 0;
        let is_half = read.is_half && !is_retry;
        if is_half {
            if places.settings.broker.reject_transaction_message {
                let doing = "sending transaction message";
                return Err(BrokerError::forbidden_by(&places.settings.broker, doing));
            }
            (read.delay_level, read.has_time) = (0, false);
            header.sys_flag = message_flag::with_transaction_type(
                header.sys_flag,
                message_flag::TRANSACTION_NOT_TYPE,
            );
        }
        let mut rewritten = read
            .has_forged
            .then(|| properties::without(sent, &SET_BY_THE_BROKER));
        if let Some(priority) = read.priority {
            // The queue of the highest number holds all from its own priority up.
            if is_half || read.delay_level > 0 || read.has_time || read.has_sharding_key {
                let rest = rewritten.as_deref().unwrap_or(sent);
                rewritten = Some(properties::without(rest, &[property::PRIORITY]));
            } else {
                queue_id = priority.min(write_queues - 1).max(0);
            }
        }
        let mut added = String::new();
        let unique_id = match UniqueId::of(sent, read.unique_id) {
            UniqueId::None => {
                let id = broker.new_unique_id();
                properties::put(&mut added, property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &id);
                UniqueId::Made(id)
            }
            sent => sent,
        };
        let lite = read
            .lite_topic
            .and_then(|lite| names::lite_lmq_name(&header.topic, lite));
        if let Some(light_queue) = lite {
            properties::put(&mut added, property::INNER_MULTI_DISPATCH, &light_queue);
        }
        let mut delay_level = read.delay_level.min(broker.schedule.max_level());
        if (delay_level != read.delay_level || read.has_time) && read.delay_level > 0 {
            let mut levelled =
                properties::without(rewritten.as_deref().unwrap_or(sent), &accept::TIMES);
            properties::set(
                &mut levelled,
                property::DELAY_TIME_LEVEL,
                &delay_level.to_string(),
            );
            rewritten = Some(levelled);
        }
        if let Some(dead_letter) = dead_letter_topic(broker, frame, &header)? {
            let mut given_up = rewritten.unwrap_or_else(|| sent.to_owned());
            properties::set(&mut given_up, property::DELAY_TIME_LEVEL, "-1");
            rewritten = Some(given_up);
            delay_level = 0;
            queue_id = broker.random_queue(DEAD_LETTER_QUEUES);
            header.topic = Cow::Owned(dead_letter);
        }
        let mut recall_handle = None;
        let topic = &header.topic;
        let (place, tags_code) = if is_half {
            let id = unique_id.get(sent);
            let queue = transaction::place(broker, topic, queue_id, id, &mut added);
            let properties = rewritten.as_deref().unwrap_or(sent);
            rewritten = transaction::rewritten(properties).or(rewritten);
            let tags_code = TagsCode::Known(tags::tags_code(read.tags));
            (places.add(queue), tags_code)
        } else if delay_level > 0 {
            let (queue, tags_code) =
                broker
                    .schedule
                    .place(&broker.store, delay_level, topic, queue_id, &mut added)?;
            (places.add(queue), tags_code)
        } else {
            let tags_code = TagsCode::Known(tags::tags_code(read.tags));
            let timed = match read.has_time {
                true => accept::place(
                    broker,
                    sent,
                    header.sys_flag,
                    &header.topic,
                    queue_id,
                    &mut added,
                )?,
                false => None,
            };
            let place = match timed {
                Some(timed) => {
                    let id = unique_id.get(sent).unwrap_or_default();
                    recall_handle = timed.recall_handle(broker, &header.topic, id);
                    places.add(timed.queue)
                }
                None => places.queue(broker, &header.topic, queue_id)?,
            };
            (place, tags_code)
        };
        let added = (!added.is_empty()).then(|| added + &broker.own_properties);
        let wait_store = read.wait_store;
        let inner_messages =
            inner_messages(header.sys_flag, read.inner_messages, places.get(place))?;
        Ok(Self {
            frame,
            header,
            place,
            topic: places.counting_topic(broker, place),
            queue_id,
            logical: None,
            tags_code,
            rewritten,
            added,
            unique_id,
            recall_handle,
            wait_store,
            records: 1,
            is_batch: false,
            inner_messages,
        })
    }

    /// Adds the records that it makes.
    fn append_to<'s>(
        &'s self,
        broker: &'s Broker,
        connection: &Connection,
        places: &'s Places,
        appends: &mut Vec<Append<'s>>,
    ) {
        let sent = self.header.properties.as_deref().unwrap_or_default();
        let stored = self.rewritten.as_deref().unwrap_or(sent).as_bytes();
        let added = self
            .added
            .as_deref()
            .unwrap_or(&broker.own_properties)
            .as_bytes();
        let record = |body, properties| {
            let (born_host, store_host) = (connection.peer(), broker.store_host);
            let queue = places.get(self.place);
            let mut append = Append::new(queue, body, properties, born_host, store_host);
            append.tags_code = self.tags_code;
            append.flag = self.header.flag;
            append.sys_flag = self.header.sys_flag;
            append.born_timestamp = self.header.born_timestamp;
            append.reconsume_times = self.header.reconsume_times.unwrap_or(0);
            append.more_properties = added;
            append.inner_messages = self.inner_messages;
            append
        };
        if !self.is_batch {
            appends.push(record(&self.frame.body, stored));
            return;
        }
        for (index, message) in Batch::new(&self.frame.body).flatten().enumerate() {
            let BatchMessage {
                flag,
                body,
                properties,
            } = message;
            let text = str::from_utf8(properties).unwrap_or_default();
            let mut append = record(body, properties);
            append.flag = flag;
            append.tags_code =
                TagsCode::Known(tags::tags_code(properties::get(text, property::TAGS)));
            append.with_previous = index > 0;
            appends.push(append);
        }
    }

    fn response<'s>(
        &'s self,
        broker: &'s Broker,
        queue_offset: i64,
        message_ids: &'s str,
    ) -> SendMessageResponse<'s> {
        let sent = self.header.properties.as_deref().unwrap_or_default();
        let (queue_id, queue_offset) = match &self.logical {
            Some(logical) => (logical.id, logical.offset_of_message(queue_offset)),
            None => (self.queue_id, queue_offset),
        };
        let unique_id = self.unique_id.get(sent);
        SendMessageResponse {
            msg_id: Cow::Borrowed(message_ids),
            queue_id,
            queue_offset,
            transaction_id: unique_id.map(Cow::Borrowed),
            batch_uniq_id: unique_id
                .filter(|_| self.inner_messages > 0)
                .map(Cow::Borrowed),
            recall_handle: self.recall_handle.as_deref().map(Cow::Borrowed),
            region_id: Some(Cow::Borrowed(&broker.region_id)),
            trace_on: Some(broker.trace_on),
        }
    }
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
    let config = broker
        .groups
        .get_or_create(group)
        .ok_or_else(|| BrokerError::GroupNotExist(group.to_owned()))?;
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
    count.ok_or_else(|| {
        BrokerError::MessageIllegal(format!(
            "only a batch for a topic with queue.type=BatchCQ has the property {} and the flag of \
             an inner batch",
            property::INNER_NUM
        ))
    })
}

fn check_size(settings: &BrokerSettings, body: usize) -> Result<(), BrokerError> {
    let limit = settings.store.max_message_size;
    if body > limit {
        Err(illegal_size(limit))
    } else {
        Ok(())
    }
}

fn illegal_size(limit: usize) -> BrokerError {
    BrokerError::MessageIllegal(format!(
        "the message is illegal, maybe msg body or properties length not matched. msg body length \
         limit {limit}B, msg properties length limit 32KB."
    ))
}

/// Why one message of an append was not stored.
fn not_stored(broker: &Broker, error: StoreError) -> BrokerError {
    match error {
        error if error.is_illegal_message() => {
            illegal_size(broker.settings().store.max_message_size)
        }
        error => error.into(),
    }
}
