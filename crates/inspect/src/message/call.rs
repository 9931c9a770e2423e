//! What a call of the 5.x clients' gRPC API means.

use bytes::Bytes;
use wire::body::heartbeat::{ConsumeType, ConsumerData, HeartbeatData, SubscriptionData};
use wire::grpc::rpc::{self, Rpc};
use wire::grpc::{self, Code, Received, Resource, StatusOnly};
use wire::message::pop::ExtraInfo;
use wire::message::sys_flag;

use super::{DEAD_LETTER, News, Reader, kept};
use crate::exchange::{Action, Exchange, Message, MessageType, Status};

/// What the path of a call begins with.
pub(crate) const SERVICE: &str = grpc::rpc::SERVICE_PATH;

/// The name of the call by which both sides send commands as they like.
pub(crate) const TELEMETRY: &str = rpc::Telemetry::NAME;

/// What a request says besides what its exchange has.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) may_be_held: bool,
    pub(crate) news: Option<News>,
}

/// Reads a request into its exchange. What cannot be read is left out.
pub(crate) fn request(
    method: &str,
    bytes: &Bytes,
    exchange: &mut Exchange,
    reader: &mut Reader,
) -> Option<Extra> {
    let mut extra = Extra::default();
    match method {
        rpc::SendMessage::NAME => {
            let request = read::<grpc::SendMessageRequest>(bytes)?;
            exchange.action = Action::Send;
            let topic = request.messages.first().and_then(|one| one.topic.as_ref());
            set_topic(exchange, reader, topic);
            let messages = request.messages.iter().map(|one| Message {
                // The server chooses the queue, whatever the client says, and does not tell.
                queue_id: None,
                ..message(one, None, reader, &mut exchange.unread)
            });
            exchange.messages = messages.collect();
            exchange.message_type = match exchange.messages.as_slice() {
                [one] => one.message_type,
                [] => None,
                _ => Some(MessageType::Batch),
            };
        }
        rpc::ReceiveMessage::NAME => {
            let request = read::<grpc::ReceiveMessageRequest>(bytes)?;
            exchange.action = Action::Pop;
            exchange.message_type = Some(MessageType::Pop);
            set_group(exchange, reader, request.group.as_ref());
            if let Some(queue) = &request.message_queue {
                set_topic(exchange, reader, queue.topic.as_ref());
                exchange.queue_id = (queue.id >= 0).then_some(queue.id);
            }
            extra.may_be_held = true;
        }
        rpc::PullMessage::NAME => {
            let request = read::<grpc::PullMessageRequest>(bytes)?;
            exchange.action = Action::Pull;
            set_group(exchange, reader, request.group.as_ref());
            set_queue(exchange, reader, request.message_queue.as_ref());
            exchange.offset = Some(request.offset);
            extra.may_be_held = true;
        }
        rpc::AckMessage::NAME => {
            let request = read::<grpc::AckMessageRequest>(bytes)?;
            exchange.action = Action::Acknowledge;
            set_group(exchange, reader, request.group.as_ref());
            set_topic(exchange, reader, request.topic.as_ref());
            let entries = request.entries.into_iter();
            let named = entries.map(|entry| received(entry.message_id, entry.receipt_handle));
            set_received(exchange, named.collect());
        }
        rpc::ChangeInvisibleDuration::NAME => {
            let request = read::<grpc::ChangeInvisibleDurationRequest>(bytes)?;
            exchange.action = Action::ChangeInvisible;
            set_group(exchange, reader, request.group.as_ref());
            set_topic(exchange, reader, request.topic.as_ref());
            let message = received(request.message_id, request.receipt_handle);
            set_received(exchange, vec![message]);
        }
        rpc::ForwardMessageToDeadLetterQueue::NAME => {
            let request = read::<grpc::ForwardMessageToDeadLetterQueueRequest>(bytes)?;
            exchange.action = Action::SendBack;
            exchange.detail = Some(DEAD_LETTER.into());
            set_group(exchange, reader, request.group.as_ref());
            set_topic(exchange, reader, request.topic.as_ref());
            let message = received(request.message_id, request.receipt_handle);
            set_received(exchange, vec![message]);
        }
        rpc::EndTransaction::NAME => {
            let request = read::<grpc::EndTransactionRequest>(bytes)?;
            exchange.action = Action::EndTransaction;
            exchange.message_type = Some(MessageType::Transactional);
            set_topic(exchange, reader, request.topic.as_ref());
            let resolution = match request.resolution() {
                grpc::TransactionResolution::Commit => "commit",
                grpc::TransactionResolution::Rollback => "rollback",
                grpc::TransactionResolution::Unspecified => "unknown",
            };
            exchange.detail = Some(resolution.into());
            exchange.messages = vec![Message {
                id: Some(request.message_id.into()),
                message_type: Some(MessageType::Transactional),
                ..Message::default()
            }];
        }
        rpc::UpdateOffset::NAME => {
            let request = read::<grpc::UpdateOffsetRequest>(bytes)?;
            exchange.action = Action::Commit;
            set_group(exchange, reader, request.group.as_ref());
            set_queue(exchange, reader, request.message_queue.as_ref());
            exchange.committed = Some(request.offset);
        }
        rpc::RecallMessage::NAME => {
            let request = read::<grpc::RecallMessageRequest>(bytes)?;
            exchange.action = Action::Recall;
            set_topic(exchange, reader, request.topic.as_ref());
        }
        rpc::QueryRoute::NAME => {
            let request = read::<grpc::QueryRouteRequest>(bytes)?;
            set_topic(exchange, reader, request.topic.as_ref());
        }
        rpc::QueryAssignment::NAME => {
            let request = read::<grpc::QueryAssignmentRequest>(bytes)?;
            set_topic(exchange, reader, request.topic.as_ref());
            set_group(exchange, reader, request.group.as_ref());
        }
        rpc::Heartbeat::NAME => {
            let request = read::<grpc::HeartbeatRequest>(bytes)?;
            exchange.action = Action::Heartbeat;
            set_group(exchange, reader, request.group.as_ref());
            extra.news = Some(News::Alive);
        }
        rpc::NotifyClientTermination::NAME => {
            let request = read::<grpc::NotifyClientTerminationRequest>(bytes)?;
            set_group(exchange, reader, request.group.as_ref());
            let group = request.group.map(|group| group.name);
            extra.news = Some(News::Left {
                producer_group: None,
                consumer_group: group,
            });
        }
        _ => return None,
    }
    Some(extra)
}

/// Reads what the server answered; a stream of answers one by one. Its status, if it tells.
pub(crate) fn response(
    method: &str,
    bytes: &Bytes,
    exchange: &mut Exchange,
    reader: &mut Reader,
) -> Option<grpc::Status> {
    match method {
        rpc::SendMessage::NAME => {
            let answer = read::<grpc::SendMessageResponse>(bytes)?;
            for (message, entry) in exchange.messages.iter_mut().zip(&answer.entries) {
                message.offset = Some(entry.offset);
            }
            exchange.offset = answer.entries.first().map(|entry| entry.offset);
            answer.status
        }
        rpc::ReceiveMessage::NAME => match read::<grpc::ReceiveMessageResponse>(bytes)?.content? {
            Received::Status(status) => Some(status),
            Received::Message(one) => {
                let asked = exchange.topic.as_deref();
                let message = message(&one, asked, reader, &mut exchange.unread);
                exchange.messages.push(message);
                None
            }
            Received::DeliveryTimestamp(_) => None,
        },
        rpc::PullMessage::NAME => match read::<grpc::PullMessageResponse>(bytes)?.content? {
            grpc::Pulled::Status(status) => Some(status),
            grpc::Pulled::Message(one) => {
                let asked = exchange.topic.as_deref();
                let message = message(&one, asked, reader, &mut exchange.unread);
                exchange.messages.push(message);
                None
            }
            grpc::Pulled::NextOffset(_) => None,
        },
        rpc::RecallMessage::NAME => {
            let answer = read::<grpc::RecallMessageResponse>(bytes)?;
            exchange.messages = vec![Message {
                id: Some(answer.message_id.into()),
                ..Message::default()
            }];
            answer.status
        }
        _ => read::<StatusOnly>(bytes)?.status,
    }
}

/// A command of the telemetry stream: its name, and whether the other side answers it.
pub(crate) fn telemetry(
    bytes: &Bytes,
    exchange: &mut Exchange,
    reader: &mut Reader,
) -> Option<(Telemetry, Option<News>)> {
    let telemetry = read::<grpc::TelemetryCommand>(bytes)?;
    let status = telemetry.status;
    let (name, news) = match telemetry.command? {
        grpc::Command::Settings(settings) => {
            exchange.action = Action::Heartbeat;
            let news = presence(&settings, exchange, reader);
            return Some((Telemetry::Settings(status), Some(news)));
        }
        grpc::Command::RecoverOrphanedTransaction(command) => {
            exchange.action = Action::CheckTransaction;
            exchange.message_type = Some(MessageType::Transactional);
            if let Some(half) = &command.message {
                set_topic(exchange, reader, half.topic.as_ref());
                let asked = exchange.topic.as_deref();
                exchange.messages = vec![message(half, asked, reader, &mut exchange.unread)];
            }
            ("recover orphaned transaction", None)
        }
        grpc::Command::ThreadStackTrace(_) => ("thread stack trace", None),
        grpc::Command::VerifyMessageResult(_) => ("verify message result", None),
        grpc::Command::PrintThreadStackTrace(_) => ("print thread stack trace", None),
        grpc::Command::VerifyMessage(_) => ("verify message", None),
        grpc::Command::ReconnectEndpoints(_) => ("reconnect endpoints", None),
        grpc::Command::NotifyUnsubscribeLite(_) => ("notify unsubscribe lite", None),
    };
    exchange.detail = Some(name.into());
    Some((Telemetry::Other, news))
}

/// What is said on the telemetry stream.
#[derive(Debug)]
pub(crate) enum Telemetry {
    /// Settings; the server's answer those of the client, with a status.
    Settings(Option<grpc::Status>),
    /// Something that is not answered there.
    Other,
}

/// What a client's settings say of its groups.
fn presence(settings: &grpc::Settings, exchange: &mut Exchange, reader: &mut Reader) -> News {
    exchange.detail = Some("settings".into());
    let mut heartbeat = HeartbeatData {
        client_id: exchange.client_id.to_string(),
        ..HeartbeatData::default()
    };
    match &settings.pub_sub {
        Some(grpc::PubSub::Subscription(subscription)) => {
            set_group(exchange, reader, subscription.group.as_ref());
            let wanted = subscription.subscriptions.iter();
            let wanted = wanted.map(|entry| SubscriptionData {
                topic: entry
                    .topic
                    .as_ref()
                    .map(|topic| topic.name.clone())
                    .unwrap_or_default(),
                sub_string: entry.expression.as_ref().map_or_else(
                    || "*".to_owned(),
                    |expression| expression.expression.clone(),
                ),
                ..SubscriptionData::default()
            });
            let group = subscription.group.as_ref();
            heartbeat.consumer_data_set.push(ConsumerData {
                consume_type: ConsumeType::ConsumePop,
                group_name: group.map(|group| group.name.clone()).unwrap_or_default(),
                subscription_data_set: wanted.collect(),
                ..ConsumerData::default()
            });
        }
        // Producers of this API are in no group.
        Some(grpc::PubSub::Publishing(_)) | None => {}
    }
    News::Presence(Box::new(heartbeat))
}

/// The status of a call.
pub(crate) fn status(status: &grpc::Status) -> Status {
    Status::of_call(status.code)
}

/// That of a call that has none but the transport's.
pub(crate) fn transport_status(code: i32) -> Status {
    match code {
        0 => Status::of_call(Code::Ok as i32),
        code => Status {
            code,
            name: transport_name(code),
        },
    }
}

/// The name of a status code of gRPC.
fn transport_name(code: i32) -> &'static str {
    const NAMES: [&str; 17] = [
        "GRPC_OK",
        "GRPC_CANCELLED",
        "GRPC_UNKNOWN",
        "GRPC_INVALID_ARGUMENT",
        "GRPC_DEADLINE_EXCEEDED",
        "GRPC_NOT_FOUND",
        "GRPC_ALREADY_EXISTS",
        "GRPC_PERMISSION_DENIED",
        "GRPC_RESOURCE_EXHAUSTED",
        "GRPC_FAILED_PRECONDITION",
        "GRPC_ABORTED",
        "GRPC_OUT_OF_RANGE",
        "GRPC_UNIMPLEMENTED",
        "GRPC_INTERNAL",
        "GRPC_UNAVAILABLE",
        "GRPC_DATA_LOSS",
        "GRPC_UNAUTHENTICATED",
    ];
    let index = usize::try_from(code).unwrap_or(usize::MAX);
    NAMES.get(index).copied().unwrap_or("GRPC_UNKNOWN")
}

fn read<T: prost::Message + Default>(bytes: &Bytes) -> Option<T> {
    T::decode(bytes.clone()).ok()
}

fn set_topic(exchange: &mut Exchange, reader: &mut Reader, topic: Option<&Resource>) {
    exchange.topic = topic.map(|topic| reader.names.get(&topic.name));
}

fn set_group(exchange: &mut Exchange, reader: &mut Reader, group: Option<&Resource>) {
    exchange.group = group
        .filter(|group| !group.name.is_empty())
        .map(|group| reader.names.get(&group.name));
}

fn set_queue(exchange: &mut Exchange, reader: &mut Reader, queue: Option<&grpc::MessageQueue>) {
    set_topic(
        exchange,
        reader,
        queue.and_then(|queue| queue.topic.as_ref()),
    );
    exchange.queue_id = queue.map(|queue| queue.id).filter(|id| *id >= 0);
}

/// Sets the messages that were received, and the queue if they are of one.
fn set_received(exchange: &mut Exchange, messages: Vec<Message>) {
    exchange.queue_id = messages.first().and_then(|first| first.queue_id);
    if messages.iter().any(|one| one.queue_id != exchange.queue_id) {
        exchange.queue_id = None;
    }
    exchange.messages = messages;
}

/// A message that was received, as who received it names it.
fn received(id: String, handle: String) -> Message {
    let place = ExtraInfo::decode(&handle).ok();
    Message {
        id: (!id.is_empty()).then(|| id.into()),
        queue_id: place.as_ref().map(|place| place.queue_id),
        offset: place.and_then(|place| place.queue_offset),
        handle: Some(handle.into()),
        ..Message::default()
    }
}

/// A message of a send or a delivery; the latter was asked for by a topic.
fn message(
    one: &grpc::Message,
    asked: Option<&str>,
    reader: &mut Reader,
    unread: &mut Option<Box<str>>,
) -> Message {
    let mut message = Message {
        body_len: one.body.len(),
        ..Message::default()
    };
    if let Some(topic) = one
        .topic
        .as_ref()
        .filter(|topic| asked.is_some_and(|asked| asked != topic.name))
    {
        message.topic = Some(reader.names.get(&topic.name));
    }
    let Some(system) = &one.system_properties else {
        return message;
    };
    let millis = |time: &grpc::Timestamp| {
        let seconds = time.seconds.saturating_mul(1_000);
        seconds.saturating_add(i64::from(time.nanos) / 1_000_000)
    };
    message.id = Some(system.message_id.as_str().into());
    message.message_type = Some(match system.message_type() {
        grpc::MessageType::Fifo => MessageType::Ordered,
        grpc::MessageType::Delay => MessageType::Delayed,
        grpc::MessageType::Transaction => MessageType::Transactional,
        _ => MessageType::Normal,
    });
    message.tag = system.tag.as_deref().map(|tag| reader.names.get(tag));
    message.keys = (!system.keys.is_empty()).then(|| system.keys.join(" ").into());
    message.queue_id = Some(system.queue_id);
    message.offset = system.queue_offset;
    message.born = system.born_timestamp.as_ref().map(millis);
    message.stored = system.store_timestamp.as_ref().map(millis);
    message.attempts = system
        .delivery_attempt
        .map_or(0, |attempt| attempt.saturating_sub(1))
        .max(0);
    message.handle = system.receipt_handle.as_deref().map(Into::into);
    // That is how the API calls the compression of zlib.
    let sys_flag = match system.body_encoding() {
        grpc::Encoding::Gzip => sys_flag::message::COMPRESSED,
        _ => 0,
    };
    message.body = kept(sys_flag, &one.body, reader.keep_bodies, unread);
    message
}
