//! Receiving messages (`ReceiveMessageActivity`, `ConsumerProcessor.popMessage`).

use std::time::Duration;

use bytes::Bytes;
use transport::Body;
use wire::code::ResponseCode;
use wire::command::{Command, PopLiteMessage, PopMessage};
use wire::frame::Frame;
use wire::grpc::{
    Code, FilterType, Message, ReceiveMessageRequest, ReceiveMessageResponse, Received, Timestamp,
};
use wire::header::lite::PopLiteMessageRequest;
use wire::header::pop::PopMessageRequest;
use wire::message::body::Records;
use wire::message::record::RecordRef;
use wire::message::tags::TagExpression;
use wire::message::{properties, property};

use crate::acknowledging::{
    Delivered, Hidden, acknowledge_one, change_invisible_time, forward_one,
};
use crate::call::Call;
use crate::cluster::{Queue, TIMEOUT, refused};
use crate::error::{ProxyError, named, status};
use crate::grpc::{Answers, GivenUp};
use crate::handles::Handles;
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
    let said = Delivered {
        group,
        topic,
        lite_topic: system.lite_topic.as_deref(),
        handle: system.receipt_handle(),
    };
    let held = said.release(call, &system.message_id).await;
    let delivered = said.as_held(held.as_ref());
    let hidden = Hidden {
        millis: RETURNED_MILLIS,
        suspend: true,
    };
    let changed = change_invisible_time(&call.state.cluster, delivered, hidden).await;
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
    max_messages: i32,
    invisible_time: i64,
    poll_time: i64,
    attempt_id: Option<&'a str>,
    expression: &'a str,
    /// Whether the expression is one of SQL92.
    sql: bool,
    /// Filter by tag, if there is one.
    tags: TagExpression<'a>,
    /// Whether the group receives in order.
    order: bool,
    /// Whether the client receives its lite topics.
    lite: bool,
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
        let tags = if sql && expression.is_empty() {
            let missing = "Expression can't be null! SQL92";
            return Err(ProxyError::new(Code::IllegalFilterExpression, missing));
        } else if sql {
            TagExpression::All
        } else {
            TagExpression::parse(expression).map_err(|error| {
                ProxyError::new(Code::IllegalFilterExpression, error.to_string())
            })?
        };
        let lite = call.state.clients.is_lite(&call.client_id);
        if lite {
            check_held(call, group)?;
        }

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
            max_messages: request.batch_size.min(MAX_MESSAGES),
            invisible_time,
            poll_time,
            attempt_id: request.attempt_id.as_deref(),
            expression: if expression.is_empty() {
                "*"
            } else {
                expression
            },
            sql,
            tags,
            order: settings.consume_message_orderly,
            lite,
            max_attempts: max_attempts(&settings),
            auto_renew,
        })
    }

    /// Asks the broker, and keeps of its answer what the client is to have.
    async fn take(self) -> Result<Vec<Message>, ProxyError> {
        let answer = if self.lite {
            self.ask_for_lite_topics().await?
        } else {
            self.ask().await?
        };
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
        let broker_name = &self.queue.broker_name;
        let handles = if self.lite {
            Handles::of_lite_topics(&answer, broker_name)?
        } else {
            Handles::of_queues(&answer, broker_name, self.order)?
        };
        let mut messages = Vec::new();
        for (index, record) in Records::new(&answer.body).enumerate() {
            let record = record?;
            let delivery = handles.delivery(index, &record)?;
            if let Some(message) = self.keep(&record, &answer.body, &delivery).await? {
                messages.push(message);
            }
        }
        if self.auto_renew {
            self.hold(&messages);
        }
        Ok(messages)
    }

    async fn ask(&self) -> Result<Frame, ProxyError> {
        let request = PopMessageRequest {
            consumer_group: self.group.into(),
            topic: self.topic.into(),
            queue_id: self.queue.queue_id,
            max_msg_nums: self.max_messages,
            invisible_time: self.invisible_time,
            poll_time: self.poll_time,
            born_time: message::now_millis(),
            init_mode: FROM_THE_END,
            expression_type: Some(if self.sql { "SQL92" } else { "TAG" }.into()),
            expression: Some(self.expression.into()),
            order: Some(self.order),
            attempt_id: self.attempt_id.map(Into::into),
            ..PopMessageRequest::default()
        };
        self.ask_by::<PopMessage>(&request).await
    }

    async fn ask_for_lite_topics(&self) -> Result<Frame, ProxyError> {
        let request = PopLiteMessageRequest {
            client_id: self.call.client_id.as_str().into(),
            consumer_group: self.group.into(),
            topic: self.topic.into(),
            max_msg_num: self.max_messages,
            invisible_time: self.invisible_time,
            poll_time: self.poll_time,
            born_time: message::now_millis(),
            attempt_id: self.attempt_id.map(Into::into),
            ..PopLiteMessageRequest::default()
        };
        self.ask_by::<PopLiteMessage>(&request).await
    }

    async fn ask_by<C: Command>(&self, request: &C::Request<'_>) -> Result<Frame, ProxyError> {
        let timeout = Duration::from_millis(self.poll_time.unsigned_abs()) + TIMEOUT;
        let (cluster, address) = (&self.call.state.cluster, &self.queue.address);
        cluster
            .ask::<C>(address, request, Body::Empty, timeout)
            .await
    }

    /// What the client gets of a record: nothing if its tag is not wanted, or if it was delivered
    /// too often.
    async fn keep(
        &self,
        record: &RecordRef<'_>,
        bytes: &Bytes,
        delivery: &Delivery,
    ) -> Result<Option<Message>, ProxyError> {
        let text = record.properties();
        let [tag, lite_topic] = properties::get_each(&text, [property::TAGS, property::LITE_TOPIC]);
        let delivered = Delivered {
            group: self.group,
            topic: self.topic,
            lite_topic,
            handle: delivery.receipt_handle.as_deref().unwrap_or_default(),
        };
        let cluster = &self.call.state.cluster;
        if !self.tags.matches(tag) {
            let passed = acknowledge_one(cluster, delivered).await;
            return passed.map(|()| None);
        }
        let message = message::of_record(record, bytes, self.topic, delivery)?;
        let attempts = message.system_properties.as_ref();
        let attempts = attempts.map_or(0, |system| system.delivery_attempt());
        if attempts > self.max_attempts {
            let id = message
                .system_properties
                .as_ref()
                .map_or("", |system| &system.message_id);
            let dead = forward_one(cluster, delivered, id).await;
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
                let delivered = Delivered {
                    group: self.group,
                    topic: self.topic,
                    lite_topic: system.lite_topic.as_deref(),
                    handle: system.receipt_handle(),
                };
                let held = Held::new(delivered, system.delivery_attempt());
                state
                    .renewals
                    .hold(client, self.group, &system.message_id, held);
            }
        }
    }
}

/// Refuses a client of lite topics that has not acknowledged what it has received before.
fn check_held(call: &Call, group: &str) -> Result<(), ProxyError> {
    let client = &call.client_id;
    let held = call.state.renewals.count(client, group);
    if held <= call.state.config.max_lite_renew_num_per_channel {
        return Ok(());
    }
    Err(ProxyError::new(
        Code::Forbidden,
        format!("The client [{client}] has too many unacked messages. Unacked count: {held}"),
    ))
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
