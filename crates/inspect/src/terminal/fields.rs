//! An exchange as lines: what it means, and its bytes.

use std::fmt::Display;

use crate::exchange::{Exchange, Message, MessageType};
use crate::view::line;
use crate::view::time::{clock, duration};

/// Bytes in a line where there is room, and where there is less.
const WIDTH: usize = 16;
const NARROW_WIDTH: usize = 8;
/// Columns that a line of the former takes.
const ROOM: u16 = 76;

/// The names and values of what is known of an exchange.
pub(super) fn fields(exchange: &Exchange) -> Vec<(&'static str, String)> {
    let mut fields = Fields(Vec::new());
    let code = exchange.command.code().map(|code| format!(" ({code})"));
    fields.put("time", clock(exchange.timing.request.0));
    fields.put(
        "command",
        format!("{}{}", exchange.command, code.unwrap_or_default()),
    );
    fields.put("protocol", exchange.protocol.name());
    fields.put("client", exchange.client);
    fields.put("client id", &exchange.client_id);
    fields.put("server", exchange.server);
    fields.put_some(
        "process",
        exchange.process.as_ref().map(|process| {
            let container = process.container.as_ref();
            let container = container.map(|name| format!(" in {name}"));
            format!(
                "{} {}{}",
                process.name,
                process.id,
                container.unwrap_or_default()
            )
        }),
    );
    fields.put("request number", exchange.id);
    fields.put_some("topic", exchange.topic.as_ref());
    fields.put_some("group", exchange.group.as_ref());
    fields.put_some("queue", exchange.queue_id);
    fields.put_some("offset", exchange.offset);
    fields.put_some("offset behind the last", exchange.max_offset);
    fields.put_some("committed offset", exchange.committed);
    fields.put_some("type", exchange.message_type.map(MessageType::name));
    fields.put("status", line::status(exchange));
    fields.put_some("remark", exchange.remark.as_ref());
    fields.put_some("not read", exchange.unread.as_ref());
    fields.put_some("latency", exchange.latency().map(duration));
    if exchange.is_held() {
        fields.put("held by the server", duration(exchange.timing.held));
    }
    if let Some(shares) = exchange.timing.shares() {
        fields.put("of that client", duration(shares.client));
        fields.put("of that network", duration(shares.network));
        fields.put("of that server", duration(shares.server));
    }
    if exchange.timing.retransmissions > 0 {
        fields.put("packets sent again", exchange.timing.retransmissions);
    }
    fields.put("request", format!("{} bytes", exchange.request_len));
    fields.put("response", format!("{} bytes", exchange.response_len));
    for message in &exchange.messages {
        message_fields(message, &mut fields);
    }
    fields.0
}

fn message_fields(message: &Message, fields: &mut Fields) {
    fields.put("", "");
    fields.put("message", message.id.as_deref().unwrap_or("without an id"));
    fields.put_some("  offset id", message.offset_id.as_ref());
    fields.put_some("  topic", message.topic.as_ref());
    fields.put_some("  type", message.message_type.map(MessageType::name));
    fields.put_some("  tag", message.tag.as_ref());
    fields.put_some("  keys", message.keys.as_ref());
    fields.put_some("  queue", message.queue_id);
    fields.put_some("  offset", message.offset);
    fields.put_some("  handle", message.handle.as_ref());
    if message.attempts > 0 {
        fields.put("  delivered in vain", message.attempts);
    }
    fields.put("  body", format!("{} bytes", message.body_len));
    if !message.body.is_empty() {
        fields.put("  body begins", String::from_utf8_lossy(&message.body));
    }
}

struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: impl Display) {
        self.0.push((name, line::plain(&value.to_string())));
    }

    fn put_some(&mut self, name: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
}

/// The bytes of request and response, as far as they are kept, for a screen with so many columns.
pub(super) fn dump(exchange: &Exchange, columns: u16) -> Vec<String> {
    let width = match columns < ROOM {
        true => NARROW_WIDTH,
        false => WIDTH,
    };
    let mut lines = Vec::new();
    let parts = [
        ("request", exchange.request_len),
        ("response", exchange.response_len),
    ];
    for ((name, length), bytes) in parts.into_iter().zip(&exchange.bytes) {
        let kept = bytes.len() as u64;
        lines.push(match length {
            0 => format!("no {name}"),
            _ if kept < length => format!("{name}, the first {kept} of {length} bytes"),
            _ => format!("{name}, {length} bytes"),
        });
        for (at, line) in bytes.chunks(width).enumerate() {
            let mut hex = String::new();
            for (column, byte) in line.iter().enumerate() {
                let gap = if column == 8 { "  " } else { " " };
                hex.push_str(&format!("{gap}{byte:02x}"));
            }
            let shown = |byte: &u8| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            };
            let text: String = line.iter().map(shown).collect();
            let hex_width = 3 * width + width / WIDTH;
            lines.push(format!("{:08x} {hex:<hex_width$}  {text}", at * width));
        }
        lines.push(String::new());
    }
    lines
}
