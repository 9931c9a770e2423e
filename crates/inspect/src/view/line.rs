//! Exchanges as lines for people.

use std::fmt::Write;

use super::time::{clock, duration};
use crate::exchange::{Exchange, MessageType, Outcome, Side};
use crate::follow::Step;

/// An exchange as a line, without a line's end:
///
/// ```text
/// 12:00:01.123456  10.0.0.1:4711 → 10.0.0.2:10911  SEND_MESSAGE_V2  orders[2]@17  shop  SUCCESS  1.20 ms  normal 7F00…
/// ```
pub fn line(exchange: &Exchange) -> String {
    let arrow = match exchange.asked_by {
        Side::Client => "→",
        Side::Server => "←",
    };
    let mut line = format!(
        "{}  {} {arrow} {}  {:<24}",
        clock(exchange.timing.request.0),
        exchange.client,
        exchange.server,
        exchange.command,
    );
    // Writing to a text cannot fail.
    let _ = write!(line, "  {}", subject(exchange));
    let _ = write!(line, "  {}", exchange.group.as_deref().unwrap_or("-"));
    let _ = write!(line, "  {}", status(exchange));
    if let Some(latency) = exchange.latency() {
        let _ = write!(line, "  {}", duration(latency));
        if exchange.is_held() {
            let _ = write!(line, " (held {})", duration(exchange.timing.held));
        }
    }
    if exchange.timing.retransmissions > 0 {
        let _ = write!(line, "  {} sent again", exchange.timing.retransmissions);
    }
    if let Some(kind) = exchange.message_type {
        let _ = write!(line, "  {}", MessageType::name(kind));
    }
    match exchange.messages.as_slice() {
        [] => {}
        [one] => {
            let _ = write!(line, "  {}", one.id.as_deref().unwrap_or("1 message"));
        }
        many => {
            let _ = write!(line, "  {} messages", many.len());
        }
    }
    if let Some(detail) = &exchange.detail {
        let _ = write!(line, "  {}", plain(detail));
    }
    if exchange.is_error()
        && let Some(remark) = &exchange.remark
    {
        let _ = write!(line, "  {}", plain(remark));
    }
    if let Some(unread) = &exchange.unread {
        let _ = write!(line, "  ({})", plain(unread));
    }
    line
}

/// The topic with its queue and offset: `orders[2]@17`; `-` without a topic.
pub fn subject(exchange: &Exchange) -> String {
    let mut subject = plain(exchange.topic.as_deref().unwrap_or("-"));
    if let Some(queue_id) = exchange.queue_id {
        let _ = write!(subject, "[{queue_id}]");
    }
    if let Some(offset) = exchange.offset.or(exchange.committed) {
        let _ = write!(subject, "@{offset}");
    }
    subject
}

/// How an exchange ended, in a word.
pub fn status(exchange: &Exchange) -> String {
    match exchange.outcome {
        Outcome::Answered(status) if status.name == "UNKNOWN" => format!("CODE_{}", status.code),
        Outcome::Answered(status) => status.name.to_owned(),
        Outcome::Oneway => "ONEWAY".to_owned(),
        Outcome::Unanswered(why) => format!("UNANSWERED ({})", why.name()),
    }
}

/// A step of a message's way as a line.
pub fn step(step: &Step) -> String {
    let message = &step.message;
    let mut line = format!(
        "{}  {:<20}  {}  by {}",
        clock(step.time()),
        step.happening.name(),
        plain(
            message
                .topic
                .as_deref()
                .or(step.exchange.topic.as_deref())
                .unwrap_or("-")
        ),
        plain(step.exchange.group.as_deref().unwrap_or("-")),
    );
    if let (Some(queue_id), Some(offset)) = (message.queue_id, message.offset) {
        let _ = write!(line, "  queue {queue_id} offset {offset}");
    }
    let _ = write!(
        line,
        "  {}  {}",
        step.exchange.client_id,
        status(&step.exchange)
    );
    if let Some(latency) = step.exchange.latency() {
        let _ = write!(line, "  {}", duration(latency));
    }
    if message.attempts > 0 {
        let _ = write!(line, "  attempt {}", message.attempts + 1);
    }
    if let Some(detail) = &step.exchange.detail {
        let _ = write!(line, "  {}", plain(detail));
    }
    line
}

/// Text of the traffic without what would move a terminal's cursor.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { '·' } else { one })
        .collect()
}
