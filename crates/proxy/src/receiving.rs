//! Receiving messages (`ReceiveMessageActivity`, `ConsumerProcessor.popMessage`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use transport::Body;
use wire::code::ResponseCode;
use wire::command::PopMessage;
use wire::frame::Frame;
use wire::grpc::{
    Code, FilterType, Message, ReceiveMessageRequest, ReceiveMessageResponse, Received, Timestamp,
};
use wire::header::pop::{PopMessageRequest, PopMessageResponse};
use wire::message::body::Records;
use wire::message::pop::{
    ExtraInfo, TopicKind, parse_msg_offset_info, parse_order_count_info, parse_start_offset_info,
    queue_key, queue_offset_key,
};
use wire::message::record::RecordRef;
use wire::message::tags::TagExpression;
use wire::message::{properties, property};

use crate::acknowledging::{acknowledge_one, change_invisible_time, forward_one};
use crate::call::Call;
use crate::cluster::{Queue, TIMEOUT, refused};
use crate::error::{ProxyError, named, status};
use crate::grpc::{Answers, GivenUp};
use crate::message::{self, Delivery};
use crate::renewal::Held;
use crate::telemetry::max_attempts;
use crate::validate;

/// Most messages that a broker gives at a time (`ProxyUtils.MAX_MSG_NUMS_FOR_POP_REQUEST`).
const MAX_MESSAGES: i32 = 32;

/// How long a message is hidden that could not be handed to its client, in milliseconds
/// (`ReceiveMessageResponseStreamWriter.NACK_INVISIBLE_TIME`).
const RETURNED_MILLIS: i64 = 1000;

/// Where a group without an offset starts: behind the last message (`ConsumeInitMode.MAX`).
const FROM_THE_END: i32 = 1;

/// From this version on clients know [`Code::IllegalPollingTime`].
const KNOWS_POLLING_TIME: &str = "5.0.3";

/// Takes messages, waiting for one if there is none.
pub(crate) async fn receive(
    call: Call,
    request: ReceiveMessageRequest,
    answers: Answers<ReceiveMessageResponse>,
) {
    let taking = async {
        let receiving = Receiving::new(&call, &request).await?;
        receiving.take().await
    };
    let taken = tokio::select! {
        taken = taking => taken,
        () = call.state.stopped() => Err(nothing()),
    };
    let sent = match taken {
        Ok(messages) => hand_over(&call, &request, messages, &answers).await,
        Err(error) => answers.send(&told(error.status())).await,
    };
    if sent.is_ok() {
        let now = Timestamp::from_millis(message::now_millis());
        let last = ReceiveMessageResponse {
            content: Some(Received::DeliveryTimestamp(now)),
        };
        // Whoever has left now has everything.
        let _ = answers.send(&last).await;
    }
}

fn nothing() -> ProxyError {
    ProxyError::new(Code::MessageNotFound, "no new message")
}

fn told(status: wire::grpc::Status) -> ReceiveMessageResponse {
    ReceiveMessageResponse {
        content: Some(Received::Status(status)),
    }
}

/// Sends messages to the client. What cannot be sent is soon delivered to others.
async fn hand_over(
    call: &Call,
    request: &ReceiveMessageRequest,
    messages: Vec<Message>,
    answers: &Answers<ReceiveMessageResponse>,
) -> Result<(), GivenUp> {
    let first = if messages.is_empty() {
        status(Code::MessageNotFound, "no match message")
    } else {
        named(Code::Ok)
    };
    let mut sent = answers.send(&told(first)).await;
    for message in messages {
        if sent.is_ok() {
            let answer = ReceiveMessageResponse {
                content: Some(Received::Message(Box::new(message.clone()))),
            };
            sent = answers.send(&answer).await;
        }
        if sent.is_err() {
            give_back(call, request, &message).await;
        }
    }
    sent
}

/// Has a message delivered again soon.
async fn give_back(call: &Call, request: &ReceiveMessageRequest, message: &Message) {
    let Some(system) = &message.system_properties else {
        return;
    };
    let group = request.group.as_ref().map_or("", |group| &group.name);
    let topic = message::name_of(message);
    let state = &call.state;
    let handle = state
        .renewals
        .release(
            &call.client_id,
            group,
            &system.message_id,
            system.receipt_handle(),
        )
        .await;
    let handle = handle.as_deref().unwrap_or_else(|| system.receipt_handle());
    let changed =
        change_invisible_time(&state.cluster, group, topic, handle, RETURNED_MILLIS).await;
    if let Err(error) = changed {
        tracing::debug!(topic, group, %error, "a message comes back only when its time is up");
    }
}

/// A request to receive, checked.
struct Receiving<'a> {
    call: &'a Call,
    topic: &'a str,
    group: &'a str,
    queue: Queue,
    request: PopMessageRequest<'a>,
    /// Filter by tag, if there is one.
    tags: TagExpression<'a>,
    max_attempts: i32,
    auto_renew: bool,
}

impl<'a> Receiving<'a> {
    async fn new(call: &'a Call, request: &'a ReceiveMessageRequest) -> Result<Self, ProxyError> {
        let config = &call.state.config;
        let poll_time = poll_millis(call, request)?;
        let queue = request.message_queue.as_ref();
        let topic = validate::topic(queue.and_then(|queue| queue.topic.as_ref()))?;
        let group = validate::group(request.group.as_ref())?;
        let auto_renew = config.enable_proxy_auto_renew && request.auto_renew;
        let invisible_time = if auto_renew {
            config.default_invisible_time_mills
        } else {
            let least = config.min_invisible_time_mills_for_recv;
            validate::invisible_millis(request.invisible_duration, least, config)?
        };
        let filter = request.filter_expression.as_ref();
        let expression = filter.map_or("", |filter| &filter.expression);
        let sql = filter.is_some_and(|filter| filter.r#type() == FilterType::Sql);
        let tags = if sql {
            TagExpression::All
        } else {
            TagExpression::parse(expression).map_err(|error| {
                ProxyError::new(Code::IllegalFilterExpression, error.to_string())
            })?
        };

        let cluster = &call.state.cluster;
        let route = cluster.route(topic).await?;
        let named = queue.and_then(|queue| queue.broker.as_ref());
        let named = named.map_or("", |broker| &broker.name);
        let queue = route
            .readable
            .iter()
            .find(|queue| queue.broker_name == named)
            .or_else(|| route.in_turn(&route.readable))
            .ok_or_else(|| ProxyError::new(Code::Forbidden, "no readable queue"))?;
        let settings = cluster.group(group).await.unwrap_or_default();
        Ok(Self {
            call,
            topic,
            group,
            queue: queue.clone(),
            request: PopMessageRequest {
                consumer_group: group.into(),
                topic: topic.into(),
                queue_id: queue.queue_id,
                max_msg_nums: request.batch_size.min(MAX_MESSAGES),
                invisible_time,
                poll_time,
                born_time: message::now_millis(),
                init_mode: FROM_THE_END,
                expression_type: Some(if sql { "SQL92" } else { "TAG" }.into()),
                expression: Some(
                    if expression.is_empty() {
                        "*"
                    } else {
                        expression
                    }
                    .into(),
                ),
                order: Some(settings.consume_message_orderly),
                attempt_id: request.attempt_id.as_deref().map(Into::into),
                ..PopMessageRequest::default()
            },
            tags,
            max_attempts: max_attempts(&settings),
            auto_renew,
        })
    }

    /// Asks the broker, and keeps of its answer what the client is to have.
    async fn take(self) -> Result<Vec<Message>, ProxyError> {
        let polled = Duration::from_millis(self.request.poll_time.unsigned_abs());
        let cluster = &self.call.state.cluster;
        let answer = cluster
            .ask::<PopMessage>(
                &self.queue.address,
                &self.request,
                Body::Empty,
                polled + TIMEOUT,
            )
            .await?;
        match ResponseCode::try_from(answer.head.code) {
            Ok(ResponseCode::Success) => {}
            Ok(ResponseCode::PollingFull) => {
                return Err(ProxyError::new(Code::TooManyRequests, "polling full"));
            }
            Ok(ResponseCode::PollingTimeout | ResponseCode::PullNotFound) => {
                return Err(nothing());
            }
            _ => return Err(refused(answer)),
        }
        let handles = Handles::new(&answer, &self.request, &self.queue)?;
        let mut messages = Vec::new();
        for record in Records::new(&answer.body) {
            let record = record?;
            if let Some(message) = self.keep(&record, &answer.body, &handles).await? {
                messages.push(message);
            }
        }
        if self.auto_renew {
            self.hold(&messages);
        }
        Ok(messages)
    }

    /// What the client gets of a record: nothing if its tag is not wanted, or if it was delivered
    /// too often.
    async fn keep(
        &self,
        record: &RecordRef<'_>,
        bytes: &Bytes,
        handles: &Handles<'_>,
    ) -> Result<Option<Message>, ProxyError> {
        let delivery = handles.delivery(record)?;
        let handle = delivery.receipt_handle.as_deref().unwrap_or_default();
        let text = record.properties();
        let cluster = &self.call.state.cluster;
        if !self.tags.matches(properties::get(&text, property::TAGS)) {
            let passed = acknowledge_one(cluster, self.group, self.topic, handle, None).await;
            return passed.map(|()| None);
        }
        let message = message::of_record(record, bytes, self.topic, &delivery)?;
        let attempts = message.system_properties.as_ref();
        let attempts = attempts.map_or(0, |system| system.delivery_attempt());
        if attempts > self.max_attempts {
            let id = message
                .system_properties
                .as_ref()
                .map_or("", |system| &system.message_id);
            let dead = forward_one(cluster, self.group, self.topic, handle, id).await;
            return dead.map(|_| None);
        }
        Ok(Some(message))
    }

    /// Has the messages stay hidden while the client lives. One that has not told its settings
    /// yet has until the first round to do so.
    fn hold(&self, messages: &[Message]) {
        let state = &self.call.state;
        let client = &self.call.client_id;
        for message in messages {
            if let Some(system) = &message.system_properties {
                let held = Held::new(
                    self.topic,
                    system.receipt_handle(),
                    system.delivery_attempt(),
                );
                state
                    .renewals
                    .hold(client, self.group, &system.message_id, held);
            }
        }
    }
}

/// How long the broker may hold the request, in milliseconds.
fn poll_millis(call: &Call, request: &ReceiveMessageRequest) -> Result<i64, ProxyError> {
    let config = &call.state.config;
    let least = config.grpc_client_consumer_min_long_polling_timeout_millis;
    let most = config.grpc_client_consumer_max_long_polling_timeout_millis;
    let remaining = call.remaining().map_or(i64::MAX, |remaining| {
        i64::try_from(remaining.as_millis()).unwrap_or(i64::MAX)
    });
    let wanted = match request.long_polling_timeout {
        Some(wanted) => wanted.to_millis(),
        None => {
            let timeout = call
                .state
                .clients
                .with_settings(&call.client_id, |settings| settings.request_timeout);
            remaining - timeout.map_or(0, |timeout| timeout.to_millis() / 2)
        }
    };
    let wanted = wanted.max(least).min(most);
    if wanted <= remaining {
        return Ok(wanted);
    }
    if remaining >= least {
        return Ok(remaining);
    }
    let code = if call.client_version.as_str() < KNOWS_POLLING_TIME {
        Code::BadRequest
    } else {
        Code::IllegalPollingTime
    };
    Err(ProxyError::new(
        code,
        "The deadline time remaining is not enough for polling, please check network condition",
    ))
}

/// What makes the receipt handles of an answer's messages (`MQClientAPIImpl.processPopResponse`).
struct Handles<'a> {
    request: &'a PopMessageRequest<'a>,
    broker_name: &'a str,
    pop_time: i64,
    invisible_time: i64,
    revive_queue_id: i32,
    /// By queue.
    start_offsets: BTreeMap<String, i64>,
    /// By queue.
    offsets: BTreeMap<String, Vec<i64>>,
    /// By queue, or by message.
    order_counts: BTreeMap<String, i32>,
}

impl<'a> Handles<'a> {
    fn new(
        answer: &Frame,
        request: &'a PopMessageRequest<'a>,
        queue: &'a Queue,
    ) -> Result<Self, ProxyError> {
        let header: PopMessageResponse<'_> = answer.header()?;
        let text = |field: &Option<Cow<'_, str>>| field.as_deref().unwrap_or_default().to_owned();
        Ok(Self {
            request,
            broker_name: &queue.broker_name,
            pop_time: header.pop_time,
            invisible_time: header.invisible_time,
            revive_queue_id: header.revive_qid,
            start_offsets: parse_start_offset_info(&text(&header.start_offset_info))?,
            offsets: parse_msg_offset_info(&text(&header.msg_offset_info))?,
            order_counts: parse_order_count_info(&text(&header.order_count_info))?,
        })
    }

    /// A record's handle, and how often it was delivered before. Retries bring their handle with
    /// them; the others' is made of the header.
    fn delivery(&self, record: &RecordRef<'_>) -> Result<Delivery, ProxyError> {
        let text = record.properties();
        if let Some(handle) = properties::get(&text, property::POP_CK) {
            return Ok(Delivery {
                receipt_handle: Some(format!("{handle} {}", record.physical_offset())),
                reconsume_times: None,
            });
        }
        let topic = record.topic();
        let (queue_id, offset) = (record.queue_id(), record.queue_offset());
        let key = queue_key(&topic, queue_id);
        let known = self
            .offsets
            .get(&key)
            .is_some_and(|all| all.contains(&offset));
        let start = self.start_offsets.get(&key).filter(|_| known);
        let start = *start.ok_or_else(|| {
            ProxyError::answer(
                self.broker_name,
                format!("it gives no handle for the message {offset} of queue {queue_id}"),
            )
        })?;
        let handle = ExtraInfo {
            start_offset: start,
            pop_time: self.pop_time,
            invisible_time: self.invisible_time,
            revive_queue_id: self.revive_queue_id,
            topic_kind: TopicKind::of_topic(&topic),
            broker_name: self.broker_name,
            queue_id,
            queue_offset: Some(offset),
            commit_log_offset: Some(record.physical_offset()),
        };
        let count = self.request.order.unwrap_or_default().then(|| {
            let of_message = self
                .order_counts
                .get(&queue_offset_key(&topic, queue_id, offset));
            of_message.or_else(|| self.order_counts.get(&key)).copied()
        });
        Ok(Delivery {
            receipt_handle: Some(handle.to_string()),
            reconsume_times: count.flatten().filter(|count| *count > 0),
        })
    }
}
