//! The message layer: what a command of remoting means.
//!
//! [`request`] reads a request into an exchange, [`response`] what answered it; the types of all
//! headers come from the table of commands in `wire`. What cannot be read is left out. [`call`]
//! does the same for the calls of gRPC.

pub(crate) mod call;

use std::borrow::Cow;
use std::fmt::Display;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use wire::body::assignment::BatchAckMessageRequestBody;
use wire::body::client::GetConsumerListByGroupResponseBody;
use wire::body::heartbeat::HeartbeatData;
use wire::body::json;
use wire::body::lock::LockBatchRequestBody;
use wire::command::{self, Command, RequestCode};
use wire::frame::Frame;
use wire::header::send::SendMessageRequestV2;
use wire::message::body::{Batch, Records};
use wire::message::compression::CompressionType;
use wire::message::id::OffsetMessageId;
use wire::message::names::CLIENT_INNER_PRODUCER_GROUP;
use wire::message::pop::TopicKind;
use wire::message::record::RecordRef;
use wire::message::sys_flag::{self, message as message_flag};
use wire::message::{properties, property};

use crate::exchange::{Action, Exchange, Message, MessageType};
use crate::names::Names;
use crate::protocol::remoting::Framed;

/// The largest body that is decompressed, in bytes.
const MAX_PLAIN_BODY: usize = 16 << 20;
/// The largest JSON body that is read, in bytes.
const MAX_JSON_BODY: usize = 4 << 20;
/// Offsets that one acknowledgement of a batch can name; a reception has at most 32 messages.
const MAX_ACKNOWLEDGED: usize = 1_024;

/// What reading messages needs.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) names: Names,
    /// The first bytes of each message's body that are kept.
    pub(crate) keep_bodies: usize,
}

/// What is said of a message that is not to be delivered again.
const DEAD_LETTER: &str = "dead letter";

/// What a request says besides what its exchange has.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// Whether the server may hold the request until there is something to give.
    pub(crate) may_be_held: bool,
    /// What is said about clients.
    pub(crate) news: Option<News>,
}

/// What clients and brokers say about clients.
#[derive(Debug)]
pub(crate) enum News {
    /// A client is there, and in these groups.
    Heartbeat(Box<HeartbeatData>),
    /// A client says, without being asked for a sign of life, in which groups it is.
    Presence(Box<HeartbeatData>),
    /// A client that said so is still there.
    Alive,
    /// A client left its producer and its consumer group.
    Left {
        producer_group: Option<String>,
        consumer_group: Option<String>,
    },
    /// The members of the exchange's group changed.
    MembersChanged,
    /// The members of the exchange's group.
    Members(Vec<String>),
    /// The exchange's group locks queues.
    Locks,
}

/// Reads a request into its exchange.
pub(crate) fn request(
    code: RequestCode,
    framed: &Framed<'_>,
    exchange: &mut Exchange,
    reader: &mut Reader,
) -> Extra {
    let mut extra = Extra::default();
    // A header that lacks something is read by its names like one without a type.
    let typed = typed_request(code, framed, exchange, reader, &mut extra);
    if typed.is_none() {
        named_fields(&framed.frame, exchange, reader);
    }
    extra
}

/// Reads what is more than a topic, a group and a queue; `None`: nothing of that kind.
fn typed_request(
    code: RequestCode,
    framed: &Framed<'_>,
    exchange: &mut Exchange,
    reader: &mut Reader,
    extra: &mut Extra,
) -> Option<()> {
    let frame = &framed.frame;
    match code {
        RequestCode::SendMessage | RequestCode::SendReplyMessage => {
            let header = header::<command::SendMessage>(frame)?;
            let properties = header.properties.as_deref().unwrap_or_default();
            exchange.topic = Some(reader.names.get(&header.topic));
            exchange.group = Some(reader.names.get(&header.producer_group));
            let sent = Sent {
                queue_id: header.queue_id,
                sys_flag: header.sys_flag,
                born: header.born_timestamp,
                attempts: header.reconsume_times.unwrap_or(0),
                batch: header.batch == Some(true),
            };
            send(&sent, properties, framed, exchange, reader);
        }
        RequestCode::SendMessageV2
        | RequestCode::SendBatchMessage
        | RequestCode::SendReplyMessageV2 => {
            let header: SendMessageRequestV2<'_> = header::<command::SendMessageV2>(frame)?;
            let properties = header.properties.as_deref().unwrap_or_default();
            exchange.topic = Some(reader.names.get(&header.topic));
            exchange.group = Some(reader.names.get(&header.producer_group));
            let sent = Sent {
                queue_id: header.queue_id,
                sys_flag: header.sys_flag,
                born: header.born_timestamp,
                attempts: header.reconsume_times.unwrap_or(0),
                batch: header.batch == Some(true) || code == RequestCode::SendBatchMessage,
            };
            send(&sent, properties, framed, exchange, reader);
        }
        RequestCode::PullMessage | RequestCode::LitePullMessage => {
            let header = header::<command::PullMessage>(frame)?;
            exchange.action = Action::Pull;
            exchange.topic = Some(reader.names.get(&header.topic));
            exchange.group = Some(reader.names.get(&header.consumer_group));
            exchange.queue_id = Some(header.queue_id);
            exchange.offset = Some(header.queue_offset);
            if sys_flag::pull::has_commit_offset(header.sys_flag) {
                exchange.committed = Some(header.commit_offset);
            }
            extra.may_be_held = sys_flag::pull::has_suspend(header.sys_flag);
        }
        RequestCode::PopMessage | RequestCode::PopLiteMessage => {
            exchange.action = Action::Pop;
            exchange.message_type = Some(MessageType::Pop);
            named_fields(frame, exchange, reader);
            extra.may_be_held = field(frame, "pollTime") != Some(0);
        }
        RequestCode::Notification => {
            named_fields(frame, exchange, reader);
            extra.may_be_held = field(frame, "pollTime") != Some(0);
        }
        RequestCode::AckMessage => {
            let header = header::<command::AckMessage>(frame)?;
            exchange.action = Action::Acknowledge;
            exchange.topic = Some(reader.names.get(&header.topic));
            exchange.group = Some(reader.names.get(&header.consumer_group));
            exchange.queue_id = Some(header.queue_id);
            exchange.messages.push(Message {
                queue_id: Some(header.queue_id),
                offset: Some(header.offset),
                handle: Some(header.extra_info.into()),
                ..Message::default()
            });
        }
        RequestCode::BatchAckMessage => batch_acknowledgement(framed, exchange, reader)?,
        RequestCode::ChangeMessageInvisibleTime => {
            let header = header::<command::ChangeMessageInvisibleTime>(frame)?;
            exchange.action = Action::ChangeInvisible;
            exchange.topic = Some(reader.names.get(&header.topic));
            exchange.group = Some(reader.names.get(&header.consumer_group));
            exchange.queue_id = Some(header.queue_id);
            exchange.detail = Some(format!("{} ms", header.invisible_time).into());
            exchange.messages.push(Message {
                queue_id: Some(header.queue_id),
                offset: Some(header.offset),
                handle: Some(header.extra_info.into()),
                ..Message::default()
            });
        }
        RequestCode::ConsumerSendMsgBack => {
            let header = header::<command::ConsumerSendMsgBack>(frame)?;
            exchange.action = Action::SendBack;
            exchange.group = Some(reader.names.get(&header.group));
            exchange.topic = header.origin_topic.map(|topic| reader.names.get(&topic));
            exchange.detail = Some(match header.delay_level {
                ..0 => DEAD_LETTER.into(),
                0 => "next delay level".into(),
                level => format!("delay level {level}").into(),
            });
            let place = OffsetMessageId {
                host: exchange.server,
                offset: header.offset,
            };
            exchange.messages.push(Message {
                id: header.origin_msg_id.map(Into::into),
                offset_id: Some(offset_id(&place)),
                ..Message::default()
            });
        }
        RequestCode::EndTransaction => {
            let header = header::<command::EndTransaction>(frame)?;
            exchange.action = Action::EndTransaction;
            exchange.message_type = Some(MessageType::Transactional);
            exchange.topic = header.topic.map(|topic| reader.names.get(&topic));
            exchange.group = Some(reader.names.get(&header.producer_group));
            exchange.detail = Some(resolution(header.commit_or_rollback).into());
            exchange.messages.push(Message {
                id: Some(header.transaction_id.unwrap_or(header.msg_id).into()),
                message_type: Some(MessageType::Transactional),
                ..Message::default()
            });
        }
        RequestCode::CheckTransactionState => {
            exchange.action = Action::CheckTransaction;
            exchange.message_type = Some(MessageType::Transactional);
            named_fields(frame, exchange, reader);
            records(framed, exchange, reader);
            for message in &mut exchange.messages {
                message.message_type = Some(MessageType::Transactional);
            }
            let first = exchange.messages.first_mut();
            exchange.topic = exchange
                .topic
                .take()
                .or(first.and_then(|one| one.topic.take()));
        }
        RequestCode::UpdateConsumerOffset => {
            let header = header::<command::UpdateConsumerOffset>(frame)?;
            exchange.action = Action::Commit;
            exchange.topic = Some(reader.names.get(&header.topic));
            exchange.group = Some(reader.names.get(&header.consumer_group));
            exchange.queue_id = Some(header.queue_id);
            exchange.committed = Some(header.commit_offset);
        }
        RequestCode::RecallMessage => {
            exchange.action = Action::Recall;
            named_fields(frame, exchange, reader);
        }
        RequestCode::Heartbeat => {
            exchange.action = Action::Heartbeat;
            let heartbeat: HeartbeatData = body(framed, exchange)?;
            exchange.client_id = reader.names.get(&heartbeat.client_id);
            // A client is in few groups; one of them stands for it.
            let groups = heartbeat
                .consumer_data_set
                .iter()
                .map(|one| &one.group_name);
            let groups = groups.chain(
                heartbeat
                    .producer_data_set
                    .iter()
                    .map(|one| &one.group_name),
            );
            let mut groups = groups.filter(|group| *group != CLIENT_INNER_PRODUCER_GROUP);
            exchange.group = groups.next().map(|group| reader.names.get(group));
            extra.news = Some(News::Heartbeat(Box::new(heartbeat)));
        }
        RequestCode::UnregisterClient => {
            let header = header::<command::UnregisterClient>(frame)?;
            exchange.client_id = reader.names.get(&header.client_id);
            let group = header
                .consumer_group
                .as_ref()
                .or(header.producer_group.as_ref());
            exchange.group = group.map(|group| reader.names.get(group));
            extra.news = Some(News::Left {
                producer_group: header.producer_group.map(Cow::into_owned),
                consumer_group: header.consumer_group.map(Cow::into_owned),
            });
        }
        RequestCode::NotifyConsumerIdsChanged => {
            named_fields(frame, exchange, reader);
            extra.news = Some(News::MembersChanged);
        }
        RequestCode::LockBatchMq | RequestCode::UnlockBatchMq => {
            // Both have the same body.
            let locks: LockBatchRequestBody = body(framed, exchange)?;
            exchange.client_id = reader.names.get(&locks.client_id);
            exchange.group = Some(reader.names.get(&locks.consumer_group));
            exchange.topic = locks
                .mq_set
                .first()
                .map(|queue| reader.names.get(&queue.topic));
            extra.news = Some(News::Locks);
        }
        _ => return None,
    }
    Some(())
}

/// What a send says besides names and properties.
struct Sent {
    queue_id: i32,
    sys_flag: i32,
    born: i64,
    attempts: i32,
    batch: bool,
}

fn send(
    sent: &Sent,
    properties: &str,
    framed: &Framed<'_>,
    exchange: &mut Exchange,
    reader: &mut Reader,
) {
    exchange.action = Action::Send;
    exchange.queue_id = (sent.queue_id >= 0).then_some(sent.queue_id);
    let body = framed.frame.body;
    if !sent.batch {
        let mut message = described(properties, sent.sys_flag, reader);
        exchange.message_type = message.message_type;
        message.body_len = body.len();
        if !framed.arrival.torn {
            let unread = &mut exchange.unread;
            message.body = kept(sent.sys_flag, body, reader.keep_bodies, unread);
        }
        exchange.messages.push(message);
    } else {
        exchange.message_type = Some(MessageType::Batch);
        let whole = if framed.arrival.torn { &[][..] } else { body };
        for one in Batch::new(whole) {
            let unread = &mut exchange.unread;
            let Some(one) = read(one, unread) else { break };
            let properties = String::from_utf8_lossy(one.properties);
            let mut message = described(&properties, sent.sys_flag, reader);
            message.body_len = one.body.len();
            message.body = kept(sent.sys_flag, one.body, reader.keep_bodies, unread);
            exchange.messages.push(message);
        }
    }
    for message in &mut exchange.messages {
        message.queue_id = exchange.queue_id;
        message.born = Some(sent.born);
        message.attempts = sent.attempts;
    }
}

/// What a message's properties say.
fn described(properties: &str, sys_flag: i32, reader: &mut Reader) -> Message {
    let mut message = Message::default();
    let mut message_type = MessageType::Normal;
    let transaction = message_flag::transaction_type(sys_flag);
    for (name, value) in properties::iter(properties) {
        match name {
            property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX => message.id = Some(value.into()),
            property::TAGS => message.tag = Some(reader.names.get(value)),
            property::KEYS => message.keys = Some(value.into()),
            property::POP_CK => message.handle = Some(value.into()),
            property::SHARDING_KEY if message_type == MessageType::Normal => {
                message_type = MessageType::Ordered;
            }
            property::DELAY_TIME_LEVEL
            | property::TIMER_DELAY_MS
            | property::TIMER_DELAY_SEC
            | property::TIMER_DELIVER_MS => {
                message_type = MessageType::Delayed;
            }
            _ => {}
        }
    }
    if transaction != message_flag::TRANSACTION_NOT_TYPE {
        message_type = MessageType::Transactional;
    }
    message.message_type = Some(message_type);
    message
}

/// The start of a body, decompressed; as it travelled, and `unread` says why, where that fails.
fn kept(sys_flag: i32, body: &[u8], keep: usize, unread: &mut Option<Box<str>>) -> Bytes {
    if keep == 0 || body.is_empty() {
        return Bytes::new();
    }
    let start = |body: &[u8]| Bytes::copy_from_slice(body.get(..keep).unwrap_or(body));
    if !message_flag::is_compressed(sys_flag) {
        return start(body);
    }
    let plain = CompressionType::of_sys_flag(sys_flag)
        .and_then(|compression| compression.decompress(body, MAX_PLAIN_BODY));
    read(plain, unread).map_or_else(|| start(body), |plain| start(&plain))
}

/// What was read; else `unread` says why not, unless it says something already.
fn read<T>(result: Result<T, impl Display>, unread: &mut Option<Box<str>>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            unread.get_or_insert_with(|| error.to_string().into());
            None
        }
    }
}

/// The broker's id of a message, in no more memory than it needs.
fn offset_id(place: &OffsetMessageId) -> Box<str> {
    let mut id = String::new();
    place.append_to(&mut id);
    id.into()
}

/// Reads the messages of a body that is a run of records.
fn records(framed: &Framed<'_>, exchange: &mut Exchange, reader: &mut Reader) {
    if framed.arrival.torn {
        return;
    }
    let topic = exchange.topic.as_deref();
    for record in Records::new(framed.frame.body) {
        let unread = &mut exchange.unread;
        let Some(record) = read(record, unread) else {
            return;
        };
        let message = delivered(&record, topic, reader, unread);
        exchange.messages.push(message);
    }
}

/// A message as it was delivered, asked for by a topic.
fn delivered(
    record: &RecordRef<'_>,
    asked: Option<&str>,
    reader: &mut Reader,
    unread: &mut Option<Box<str>>,
) -> Message {
    let mut message = described(&record.properties(), record.sys_flag(), reader);
    let topic = record.topic();
    if asked != Some(&*topic) {
        message.topic = Some(reader.names.get(&topic));
    }
    let place = OffsetMessageId {
        host: record.store_host(),
        offset: record.physical_offset(),
    };
    message.offset_id = Some(offset_id(&place));
    message.queue_id = Some(record.queue_id());
    message.offset = Some(record.queue_offset());
    message.born = Some(record.born_timestamp());
    message.stored = Some(record.store_timestamp());
    message.attempts = record.reconsume_times();
    message.body_len = record.body().len();
    let (sys_flag, keep) = (record.sys_flag(), reader.keep_bodies);
    message.body = kept(sys_flag, record.body(), keep, unread);
    message
}

fn batch_acknowledgement(
    framed: &Framed<'_>,
    exchange: &mut Exchange,
    reader: &mut Reader,
) -> Option<()> {
    let batch: BatchAckMessageRequestBody = body(framed, exchange)?;
    exchange.action = Action::Acknowledge;
    if let Some(first) = batch.acks.first() {
        exchange.topic = Some(reader.names.get(&first.topic));
        exchange.group = Some(reader.names.get(&first.consumer_group));
    }
    for ack in &batch.acks {
        // What was delivered again is in a topic of the group.
        let kind = ack.retry.parse().unwrap_or_default();
        let retry = match kind {
            TopicKind::Normal => None,
            _ => Some(kind.real_topic(&ack.topic, &ack.consumer_group)),
        };
        let retry = retry.map(|topic| reader.names.get(&topic));
        let bits = ack.bit_set.iter().take(MAX_ACKNOWLEDGED / 8);
        let bits = bits.flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        for (place, _) in (0..).zip(bits).filter(|(_, set)| *set) {
            let offset = ack.start_offset.saturating_add(place);
            exchange.messages.push(Message {
                topic: retry.clone(),
                queue_id: Some(ack.queue_id),
                offset: Some(offset),
                ..Message::default()
            });
        }
    }
    Some(())
}

/// What a producer decided about a transaction.
fn resolution(commit_or_rollback: i32) -> &'static str {
    match commit_or_rollback {
        message_flag::TRANSACTION_COMMIT_TYPE => "commit",
        message_flag::TRANSACTION_ROLLBACK_TYPE => "rollback",
        _ => "unknown",
    }
}

/// Reads a topic, a group and a queue by the names that headers have for them.
fn named_fields(frame: &Frame<&[u8]>, exchange: &mut Exchange, reader: &mut Reader) {
    for (name, value) in frame.ext.iter() {
        let Some(value) = value else { continue };
        match &*name {
            "topic" | "topicName" | "parentTopic" => {
                exchange.topic = Some(reader.names.get(&value))
            }
            "consumerGroup" | "group" | "groupName" | "producerGroup" | "srcGroup" => {
                exchange.group = Some(reader.names.get(&value));
            }
            "queueId" => exchange.queue_id = value.parse().ok().filter(|id| *id >= 0),
            "key" | "namespace" | "brokerName" if exchange.detail.is_none() => {
                exchange.detail = Some(value.into());
            }
            _ => {}
        }
    }
}

/// Reads what answered a request into the exchange.
pub(crate) fn response(
    code: RequestCode,
    framed: &Framed<'_>,
    exchange: &mut Exchange,
    reader: &mut Reader,
) -> Option<News> {
    let frame = &framed.frame;
    match code {
        RequestCode::SendMessage
        | RequestCode::SendMessageV2
        | RequestCode::SendBatchMessage
        | RequestCode::SendReplyMessage
        | RequestCode::SendReplyMessageV2 => {
            let answer = frame
                .header::<<command::SendMessage as Command>::Response<'_>>()
                .ok()?;
            exchange.queue_id = Some(answer.queue_id);
            exchange.offset = Some(answer.queue_offset);
            // What waits for a time or a decision is numbered in a queue of the broker's own.
            let waits = matches!(
                exchange.message_type,
                Some(MessageType::Delayed | MessageType::Transactional)
            );
            let count = exchange.messages.len().max(1) as i64;
            let end = answer.queue_offset.saturating_add(count);
            exchange.max_offset = (!waits).then_some(end);
            let ids = answer.msg_id.split(',');
            for ((place, message), id) in (0..).zip(&mut exchange.messages).zip(ids) {
                message.queue_id = Some(answer.queue_id);
                message.offset = Some(answer.queue_offset.saturating_add(place));
                message.offset_id = Some(id.into());
            }
        }
        RequestCode::PullMessage | RequestCode::LitePullMessage => {
            let answer = frame
                .header::<<command::PullMessage as Command>::Response<'_>>()
                .ok()?;
            exchange.max_offset = Some(answer.max_offset);
            records(framed, exchange, reader);
        }
        RequestCode::PopMessage
        | RequestCode::PopLiteMessage
        | RequestCode::PeekMessage
        | RequestCode::QueryMessage
        | RequestCode::ViewMessageById => records(framed, exchange, reader),
        RequestCode::RecallMessage => {
            let answer = frame
                .header::<<command::RecallMessage as Command>::Response<'_>>()
                .ok()?;
            exchange.messages.push(Message {
                id: Some(answer.msg_id.into()),
                ..Message::default()
            });
        }
        RequestCode::GetMaxOffset => exchange.max_offset = field(frame, "offset"),
        RequestCode::GetMinOffset
        | RequestCode::SearchOffsetByTimestamp
        | RequestCode::QueryConsumerOffset => exchange.offset = field(frame, "offset"),
        RequestCode::GetConsumerListByGroup => {
            let list: GetConsumerListByGroupResponseBody = body(framed, exchange)?;
            return Some(News::Members(list.consumer_id_list));
        }
        _ => {}
    }
    None
}

/// The header of a command's request.
fn header<'a, C: Command>(frame: &'a Frame<&[u8]>) -> Option<C::Request<'a>> {
    frame.header().ok()
}

/// A field with a number.
fn field(frame: &Frame<&[u8]>, name: &str) -> Option<i64> {
    frame.ext.get(name)?.parse().ok()
}

/// A body of JSON, unless it is torn or too long to be looked at.
fn body<T: DeserializeOwned>(framed: &Framed<'_>, exchange: &mut Exchange) -> Option<T> {
    let body = framed.frame.body;
    // An answer that something went wrong has none.
    if framed.arrival.torn || body.is_empty() || body.len() > MAX_JSON_BODY {
        return None;
    }
    read(json::read(body), &mut exchange.unread)
}
