//! Calls of gRPC on a connection, put together to exchanges.
//!
//! A call is an exchange, and ends when the server ends its stream. On the telemetry stream, which
//! stays open, each command is one; the client's settings are answered by the server's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wire::frame::Language;

use super::line::Line;
use crate::capture::Timestamp;
use crate::exchange::{Command, Exchange, Outcome, Protocol, Side, Status, Unanswered};
use crate::inspector::Context;
use crate::message::call::{self, Telemetry};
use crate::notice::Notice;
use crate::protocol::grpc::Messages;
use crate::protocol::hpack::Header;
use crate::protocol::http2::{Event, Frames, Said};

/// A call that is under way.
#[derive(Debug)]
struct Call {
    exchange: Exchange,
    method: Arc<str>,
    may_be_held: bool,
    /// Of the client and of the server.
    messages: [Messages; 2],
    status: Option<Status>,
    /// What the transport says at the end.
    transport: Option<i32>,
    retransmissions: u64,
    /// The client's settings, until they are answered.
    settings: Option<Exchange>,
}

/// The calls of a connection.
#[derive(Debug, Default)]
pub(super) struct Calls {
    frames: [Frames; 2],
    calls: HashMap<u32, Call, foldhash::fast::RandomState>,
    language: Option<Language>,
}

impl Calls {
    /// Bytes that wait.
    pub(super) fn buffered(&self) -> usize {
        let frames = self.frames.iter().map(Frames::buffered).sum::<usize>();
        let calls = self.calls.values();
        let messages = calls.map(|call| {
            size_of::<Call>() + call.messages.iter().map(Messages::buffered).sum::<usize>()
        });
        frames + messages.sum::<usize>()
    }

    /// Takes bytes of one side.
    pub(super) fn take(
        &mut self,
        line: &mut Line,
        side: usize,
        (time, bytes): (Timestamp, &[u8]),
        context: &mut Context<'_>,
    ) {
        self.frames[side].add(time, bytes);
        while let Some(event) = self.frames[side].next() {
            context.counts.frames += 1;
            line.sent[side].frames += 1;
            self.event(line, side, event, context);
        }
    }

    /// Bytes of one side are missing.
    pub(super) fn miss(&mut self, side: usize) {
        self.frames[side].miss();
    }

    fn event(&mut self, line: &mut Line, side: usize, event: Event, context: &mut Context<'_>) {
        let Event {
            stream,
            first,
            last,
            len,
            ends,
            said,
        } = event;
        let from_client = line.is_client(side);
        if let Said::Headers(headers) = &said
            && let Some(path) = value(headers, ":path")
        {
            line.opened_by(side);
            return self.begin(line, stream, path, headers, (first, last, len), context);
        }
        let Some(call) = self.calls.get_mut(&stream) else {
            return;
        };
        let exchange = &mut call.exchange;
        if from_client {
            exchange.request_len += len as u64;
            exchange.timing.request.1 = last;
        } else {
            exchange.response_len += len as u64;
            let (_, end) = exchange.timing.response.get_or_insert((first, last));
            *end = last;
        }
        match said {
            Said::Headers(headers) => {
                if let Some(status) = value(&headers, "grpc-status") {
                    call.transport = status.parse().ok();
                }
                if let Some(encoding) = value(&headers, "grpc-encoding") {
                    call.messages[usize::from(!from_client)].are_encoded(encoding);
                }
                if let Some(remark) = value(&headers, "grpc-message") {
                    exchange.remark = Some(remark.into());
                }
            }
            Said::Data(data) => {
                call.messages[usize::from(!from_client)].add(&data);
                while let Some(message) = call.messages[usize::from(!from_client)].next() {
                    let seen = Seen {
                        first,
                        last,
                        from_client,
                    };
                    match message {
                        Ok(message) => {
                            call.message(line, &message, seen, self.language, context);
                        }
                        Err(what) => call.unread(&what, from_client, context),
                    }
                }
            }
            Said::Reset => {
                let end = Outcome::Unanswered(Unanswered::Closed);
                return self.end(line, stream, Some(end), context);
            }
        }
        if ends && !from_client {
            self.end(line, stream, None, context);
        }
    }

    fn begin(
        &mut self,
        line: &mut Line,
        stream: u32,
        path: &str,
        headers: &[Header],
        (first, last, len): (Timestamp, Timestamp, usize),
        context: &mut Context<'_>,
    ) {
        line.begin(Protocol::Grpc, context);
        if let Some(id) = value(headers, "x-mq-client-id") {
            line.client_is(context.reader.names.get(id));
        }
        if let Some(language) = value(headers, "x-mq-language") {
            self.language = Language::from_name(language);
        }
        if self.calls.len() >= context.options.max_pending {
            self.close(line, Unanswered::Lost, context);
        }
        let method = path.strip_prefix(call::SERVICE).unwrap_or(path);
        let method = context.reader.names.get(method);
        let mut exchange = line.exchange(Protocol::Grpc, Command::Call(Arc::clone(&method)));
        exchange.id = stream;
        exchange.request_len = len as u64;
        exchange.timing.request = (first, last);
        let mut messages: [Messages; 2] = Default::default();
        if let Some(encoding) = value(headers, "grpc-encoding") {
            messages[0].are_encoded(encoding);
        }
        let call = Call {
            exchange,
            method,
            may_be_held: false,
            messages,
            status: None,
            transport: None,
            retransmissions: line.retransmissions(),
            settings: None,
        };
        self.calls.insert(stream, call);
    }

    /// Ends a call; by what it says itself where no outcome is given.
    fn end(
        &mut self,
        line: &mut Line,
        stream: u32,
        outcome: Option<Outcome>,
        context: &mut Context<'_>,
    ) {
        let Some(mut call) = self.calls.remove(&stream) else {
            return;
        };
        let unanswered = Outcome::Unanswered(Unanswered::Closed);
        if let Some(settings) = call.settings.take() {
            line.finish(settings, outcome.unwrap_or(unanswered), 0, context);
        }
        if &*call.method == call::TELEMETRY {
            return;
        }
        let said = call.status.or(call.transport.map(call::transport_status));
        let outcome = outcome
            .or(said.map(Outcome::Answered))
            .unwrap_or(unanswered);
        if let (Outcome::Answered(status), true) = (outcome, call.may_be_held) {
            call.exchange.timing.held = super::line::held(&call.exchange, status);
        }
        let again = line.retransmissions() - call.retransmissions;
        line.finish(call.exchange, outcome, again, context);
    }

    /// Gives up calls that began longer ago than `patience`.
    pub(super) fn expire(
        &mut self,
        line: &mut Line,
        patience: Duration,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        let old = self.calls.iter().filter(|(_, call)| {
            call.exchange.timing.request.0.until(now) >= patience
                && &*call.method != call::TELEMETRY
        });
        let old: Vec<u32> = old.map(|(stream, _)| *stream).collect();
        for stream in old {
            let outcome = Outcome::Unanswered(Unanswered::TimedOut);
            self.end(line, stream, Some(outcome), context);
        }
    }

    /// Gives up all calls.
    pub(super) fn close(&mut self, line: &mut Line, why: Unanswered, context: &mut Context<'_>) {
        let mut all: Vec<u32> = self.calls.keys().copied().collect();
        all.sort_unstable();
        for stream in all {
            self.end(line, stream, Some(Outcome::Unanswered(why)), context);
        }
    }
}

/// When a message was seen, and whose it is.
#[derive(Clone, Copy)]
struct Seen {
    first: Timestamp,
    last: Timestamp,
    from_client: bool,
}

impl Call {
    /// Says that a message of the call cannot be read, and why.
    fn unread(&mut self, what: &str, from_client: bool, context: &mut Context<'_>) {
        let part = if from_client { "request" } else { "response" };
        let unread = format!("the {part} is {what}");
        context.notices.say(Notice::Unread {
            server: self.exchange.server,
            what: unread.clone(),
        });
        self.exchange.unread = Some(unread.into());
    }

    fn message(
        &mut self,
        line: &mut Line,
        bytes: &Bytes,
        seen: Seen,
        language: Option<Language>,
        context: &mut Context<'_>,
    ) {
        let keep = bytes.len().min(context.options.keep_bytes);
        let kept = &mut self.exchange.bytes[usize::from(!seen.from_client)];
        if kept.is_empty() && keep > 0 {
            *kept = Bytes::copy_from_slice(bytes.get(..keep).unwrap_or_default());
        }
        if &*self.method == call::TELEMETRY {
            return self.telemetry(line, bytes, seen, language, context);
        }
        if seen.from_client {
            let read = call::request(&self.method, bytes, &mut self.exchange, context.reader);
            let Some(extra) = read else { return };
            let known = extra.may_be_held && context.sessions.has_something(&self.exchange);
            self.may_be_held = extra.may_be_held && !known;
            if let Some(news) = extra.news {
                context.sessions.hear(&self.exchange, language, 0, news);
            }
            return;
        }
        let said = call::response(&self.method, bytes, &mut self.exchange, context.reader);
        if let Some(said) = said {
            self.status = Some(call::status(&said));
            self.exchange.remark = (!said.message.is_empty()).then(|| said.message.into());
        }
    }

    /// Reads a command of the telemetry stream, which is an exchange by itself.
    fn telemetry(
        &mut self,
        line: &mut Line,
        bytes: &Bytes,
        seen: Seen,
        language: Option<Language>,
        context: &mut Context<'_>,
    ) {
        let mut exchange = Exchange {
            asked_by: if seen.from_client {
                Side::Client
            } else {
                Side::Server
            },
            request_len: bytes.len() as u64,
            response_len: 0,
            ..self.exchange.clone()
        };
        exchange.timing.request = (seen.first, seen.last);
        exchange.timing.response = None;
        let read = call::telemetry(bytes, &mut exchange, context.reader);
        let Some((telemetry, news)) = read else {
            return;
        };
        match telemetry {
            Telemetry::Settings(_) if seen.from_client => {
                if let Some(news) = news {
                    context.sessions.hear(&exchange, language, 0, news);
                }
                if let Some(before) = self.settings.replace(exchange) {
                    let outcome = Outcome::Unanswered(Unanswered::Lost);
                    line.finish(before, outcome, 0, context);
                }
            }
            Telemetry::Settings(status) => match self.settings.take() {
                Some(mut settings) => {
                    settings.response_len = bytes.len() as u64;
                    settings.timing.response = Some((seen.first, seen.last));
                    let status = status
                        .as_ref()
                        .map_or(call::transport_status(0), call::status);
                    line.finish(settings, Outcome::Answered(status), 0, context);
                }
                None => line.finish(exchange, Outcome::Oneway, 0, context),
            },
            Telemetry::Other => line.finish(exchange, Outcome::Oneway, 0, context),
        }
    }
}

/// The value of a header.
fn value<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|(known, _)| &**known == name);
    header.map(|(_, value)| &**value)
}
