//! Exchanges as JSON, one object a line.
//!
//! Times are texts in UTC, durations numbers in milliseconds. `time`, `client`, `server`,
//! `command`, `topic`, `group`, `queueId`, `status` and `latency` are always there, `null` if there
//! is none; of the others, those that have a value.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::exchange::{Exchange, Message, MessageType, Outcome, Shares, Side};
use crate::follow::Step;

/// An exchange as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: String,
    client: SocketAddr,
    server: SocketAddr,
    command: String,
    topic: Option<&'a str>,
    group: Option<&'a str>,
    queue_id: Option<i32>,
    status: &'static str,
    latency: Option<f64>,
    number: u64,
    connection: u64,
    id: u32,
    asked_by: &'static str,
    protocol: &'static str,
    client_id: &'a str,
    error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unanswered: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    message_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    committed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_time: Option<f64>,
    #[serde(skip_serializing_if = "is_zero")]
    retransmissions: u32,
    request_bytes: u64,
    response_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Process<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<MessageLine<'a>>,
}

#[derive(Debug, Serialize)]
struct StepLine<'a> {
    happening: &'static str,
    at: String,
    #[serde(flatten)]
    exchange: Line<'a>,
}

#[derive(Debug, Serialize)]
struct Process<'a> {
    id: u32,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    message_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    born: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<&'a str>,
    attempts: i32,
    body_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}

/// The object of an exchange, without a line's end.
pub fn line(exchange: &Exchange) -> String {
    // There is nothing in it that JSON can't have.
    serde_json::to_string(&object(exchange)).unwrap_or_default()
}

/// The object of a step of a message's way: the exchange with the message, and what is `happening`
/// in it `at` which time.
pub fn step(step: &Step) -> String {
    let line = StepLine {
        happening: step.happening.name(),
        at: step.time().to_string(),
        exchange: Line {
            messages: vec![message(&step.message)],
            ..object(&step.exchange)
        },
    };
    serde_json::to_string(&line).unwrap_or_default()
}

fn object(exchange: &Exchange) -> Line<'_> {
    let (status, status_code, unanswered) = match exchange.outcome {
        Outcome::Answered(status) => (status.name, Some(status.code), None),
        Outcome::Oneway => ("ONEWAY", None, None),
        Outcome::Unanswered(why) => ("UNANSWERED", None, Some(why.name())),
    };
    let shares = exchange.timing.shares();
    let share = |part: fn(&Shares) -> Duration| shares.as_ref().map(part).map(milliseconds);
    Line {
        time: exchange.timing.request.0.to_string(),
        client: exchange.client,
        server: exchange.server,
        command: exchange.command.to_string(),
        topic: exchange.topic.as_deref(),
        group: exchange.group.as_deref(),
        queue_id: exchange.queue_id,
        status,
        latency: exchange.latency().map(milliseconds),
        number: exchange.number,
        connection: exchange.connection,
        id: exchange.id,
        asked_by: match exchange.asked_by {
            Side::Client => "client",
            Side::Server => "server",
        },
        protocol: exchange.protocol.name(),
        client_id: &exchange.client_id,
        error: exchange.is_error(),
        code: exchange.command.code(),
        status_code,
        unanswered,
        remark: exchange.remark.as_deref(),
        unread: exchange.unread.as_deref(),
        message_type: exchange.message_type.map(MessageType::name),
        detail: exchange.detail.as_deref(),
        offset: exchange.offset,
        max_offset: exchange.max_offset,
        committed: exchange.committed,
        held: exchange
            .is_held()
            .then(|| milliseconds(exchange.timing.held)),
        client_time: share(|shares| shares.client),
        network_time: share(|shares| shares.network),
        server_time: share(|shares| shares.server),
        retransmissions: exchange.timing.retransmissions,
        request_bytes: exchange.request_len,
        response_bytes: exchange.response_len,
        process: exchange.process.as_ref().map(|process| Process {
            id: process.id,
            name: &process.name,
            container: process.container.as_deref(),
        }),
        messages: exchange.messages.iter().map(message).collect(),
    }
}

fn message(message: &Message) -> MessageLine<'_> {
    MessageLine {
        id: message.id.as_deref(),
        offset_id: message.offset_id.as_deref(),
        topic: message.topic.as_deref(),
        message_type: message.message_type.map(MessageType::name),
        tag: message.tag.as_deref(),
        keys: message.keys.as_deref(),
        queue_id: message.queue_id,
        offset: message.offset,
        born: message.born,
        stored: message.stored,
        handle: message.handle.as_deref(),
        attempts: message.attempts,
        body_bytes: message.body_len,
        body: (!message.body.is_empty())
            .then(|| String::from_utf8_lossy(&message.body).into_owned()),
    }
}
