//! The line: what is said on a connection, put together to exchanges.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::frame::FrameError;
use wire::grpc::Code;

use super::calls::Calls;
use super::pending::{Kept, Orphan, Pending, Waiting};
use crate::capture::{Process, Timestamp};
use crate::exchange::{Command, Exchange, Outcome, Protocol, Side, Status, Timing, Unanswered};
use crate::inspector::Context;
use crate::message::{self, News};
use crate::notice::Notice;
use crate::protocol::remoting::{Framed, Frames};
use crate::protocol::{self, Recognition, http2};
use crate::session::{Connection, Sent};
use crate::stream::Given;

/// Ports that servers have unless told otherwise: name server, brokers with their second and
/// third, proxy.
const USUAL_PORTS: [u16; 6] = [9876, 10_911, 10_909, 10_912, 8_080, 8_081];

/// Bytes after which a connection whose beginning is not known speaks something else, where
/// nothing of ours was recognized. A frame has at most half as many.
const MAX_UNDECIDED: u64 = 32 << 20;

/// What brokers ask clients.
const ASKED_OF_CLIENTS: [RequestCode; 8] = [
    RequestCode::PushReplyMessageToClient,
    RequestCode::CheckTransactionState,
    RequestCode::NotifyConsumerIdsChanged,
    RequestCode::NotifyUnsubscribeLite,
    RequestCode::ResetConsumerClientOffset,
    RequestCode::GetConsumerStatusFromClient,
    RequestCode::GetConsumerRunningInfo,
    RequestCode::ConsumeMessageDirectly,
];

/// What is spoken.
#[derive(Debug)]
enum Talk {
    /// Nobody knows yet.
    Undecided([Frames; 2]),
    /// Frames of remoting.
    Remoting([Frames; 2]),
    /// Calls of gRPC; not there while they are taken care of.
    Grpc(Option<Box<Calls>>),
    /// Nothing that can be read.
    Silent,
}

/// What is said on a connection.
#[derive(Debug)]
pub(crate) struct Line {
    ends: [SocketAddr; 2],
    /// Which of the ends opened the connection.
    client: Option<usize>,
    talk: Talk,
    /// The number of the session, once RocketMQ is recognized.
    number: Option<u64>,
    client_id: Arc<str>,
    /// The requests of each end.
    pending: [Pending; 2],
    ended: [bool; 2],
    /// Whether the capture has not all of a direction.
    lost: [bool; 2],
    first: Timestamp,
    opened: bool,
    /// What each end sent.
    pub(crate) sent: [Sent; 2],
    /// Of what each end sends: from the place of the capture to the other end and back.
    pub(crate) round_trips: [Option<Duration>; 2],
    pub(crate) process: Option<Arc<Process>>,
}

impl Line {
    pub(crate) fn new(ends: [SocketAddr; 2], now: Timestamp) -> Self {
        Self {
            ends,
            client: None,
            talk: Talk::Undecided(Default::default()),
            number: None,
            client_id: Arc::default(),
            pending: Default::default(),
            ended: [false; 2],
            lost: [false; 2],
            first: now,
            opened: false,
            sent: Default::default(),
            round_trips: [None; 2],
            process: None,
        }
    }

    /// Bytes that are kept for later.
    pub(crate) fn buffered(&self) -> usize {
        let frames = match &self.talk {
            Talk::Undecided(frames) | Talk::Remoting(frames) => {
                frames.iter().map(|frames| frames.bytes().len()).sum()
            }
            Talk::Grpc(calls) => calls.as_ref().map_or(0, |calls| calls.buffered()),
            Talk::Silent => 0,
        };
        frames + self.pending.iter().map(Pending::buffered).sum::<usize>()
    }

    /// Whether both directions ended.
    pub(crate) fn is_over(&self) -> bool {
        self.ended == [true; 2]
    }

    /// This end opened the connection.
    pub(crate) fn opened_by(&mut self, end: usize) {
        self.opened = true;
        self.client = Some(end);
    }

    /// Takes what a direction gives; `opened`: from its first byte on.
    pub(crate) fn take(
        &mut self,
        side: usize,
        opened: bool,
        given: Given<'_>,
        context: &mut Context<'_>,
    ) {
        match given {
            Given::Bytes(time, bytes) => match &mut self.talk {
                Talk::Undecided(frames) => {
                    frames[side].add(time, bytes);
                    self.recognize(side, opened && !self.lost[side], bytes, context);
                }
                Talk::Remoting(frames) => {
                    frames[side].see(time);
                    self.frames(side, bytes, context);
                }
                Talk::Grpc(_) => self.calls(|calls, line| {
                    calls.take(line, side, (time, bytes), context);
                }),
                Talk::Silent => {}
            },
            Given::Missing(count) => self.miss(side, count, context),
            Given::End => {
                self.ended[side] = true;
                if self.is_over() {
                    self.close(Unanswered::Closed, context);
                }
            }
        }
    }

    fn miss(&mut self, side: usize, count: u64, context: &mut Context<'_>) {
        self.lost[side] = true;
        self.sent[side].missing += count;
        match &mut self.talk {
            Talk::Undecided(frames) => frames[side] = Frames::default(),
            Talk::Remoting(frames) => {
                frames[side].miss(count);
                context.counts.missing += count;
                context.notices.say(Notice::Missing(self.server()));
                self.frames(side, &[], context);
            }
            Talk::Grpc(calls) => {
                if let Some(calls) = calls {
                    calls.miss(side);
                }
                context.counts.missing += count;
                context.notices.say(Notice::Missing(self.server()));
            }
            Talk::Silent => {}
        }
    }

    /// Has the calls do something to this line.
    fn calls(&mut self, act: impl FnOnce(&mut Calls, &mut Self)) {
        if let Talk::Grpc(place) = &mut self.talk
            && let Some(mut calls) = place.take()
        {
            act(&mut calls, self);
            self.talk = Talk::Grpc(Some(calls));
        }
    }

    /// Decides what is spoken, if the bytes so far tell.
    fn recognize(&mut self, side: usize, opened: bool, new: &[u8], context: &mut Context<'_>) {
        let from = side;
        let Talk::Undecided(frames) = &mut self.talk else {
            return;
        };
        let recognition = if opened {
            protocol::recognize(frames[side].bytes())
        } else if protocol::is_tls(new) {
            Recognition::Encrypted
        } else if http2::is_frames(new) || new.starts_with(http2::PREFACE) {
            frames[side] = Frames::default();
            frames[side].add(context.now, new);
            Recognition::Http2(0)
        } else if frames[side].find() {
            Recognition::Remoting(0)
        } else if self.sent[side].bytes > MAX_UNDECIDED {
            Recognition::Foreign("no frame was recognized")
        } else {
            Recognition::Unknown
        };
        match recognition {
            Recognition::Unknown => {}
            Recognition::Remoting(passed) => {
                frames[side].begin(passed);
                self.talk = Talk::Remoting(std::mem::take(frames));
                self.frames(side, &[], context);
                self.frames(1 - side, &[], context);
            }
            Recognition::Http2(passed) => {
                let mut calls = Box::<Calls>::default();
                for (side, frames) in std::mem::take(frames).iter().enumerate() {
                    let bytes = frames.bytes();
                    let bytes = if side == from {
                        bytes.get(passed..).unwrap_or_default()
                    } else {
                        bytes
                    };
                    if !bytes.is_empty() {
                        calls.take(self, side, (frames.last(), bytes), context);
                    }
                }
                self.talk = Talk::Grpc(Some(calls));
            }
            Recognition::Encrypted => {
                self.talk = Talk::Silent;
                context.counts.encrypted += 1;
                self.client.get_or_insert(side);
                context.notices.say(Notice::Encrypted(self.server()));
            }
            Recognition::Foreign(reason) => {
                self.talk = Talk::Silent;
                context.counts.foreign += 1;
                self.client.get_or_insert(side);
                let server = self.server();
                context.notices.say(Notice::Foreign { server, reason });
            }
        }
    }

    /// The frames that a direction has whole with the `fresh` bytes.
    fn frames(&mut self, side: usize, mut fresh: &[u8], context: &mut Context<'_>) {
        let Talk::Remoting(all) = &mut self.talk else {
            return;
        };
        let mut frames = std::mem::take(&mut all[side]);
        loop {
            match frames.next(&mut fresh) {
                Ok(Some(framed)) => self.frame(side, &framed, context),
                Ok(None) => break,
                Err(error) => self.damaged(&error, context),
            }
        }
        context.counts.skipped += frames.take_skipped();
        if let Talk::Remoting(all) = &mut self.talk {
            all[side] = frames;
        }
    }

    fn damaged(&mut self, error: &FrameError, context: &mut Context<'_>) {
        let server = self.server();
        let reason = error.to_string();
        context.notices.say(Notice::Damaged { server, reason });
    }

    fn frame(&mut self, side: usize, framed: &Framed<'_>, context: &mut Context<'_>) {
        context.counts.frames += 1;
        self.sent[side].frames += 1;
        let head = framed.frame.head;
        let asker = if head.is_response() { 1 - side } else { side };
        if self.number.is_none() {
            self.guess_client(asker, framed, context);
            self.begin(Protocol::Remoting(head.serialize), context);
        }
        let id = head.opaque as u32;
        if head.is_response() {
            match self.pending[asker].take(id) {
                Some(waiting) => self.answer(asker, waiting, framed, context),
                None => match self.pending[asker].add_orphan(id, context.now, framed) {
                    Kept::New => {}
                    Kept::InPlaceOf(orphan) => self.unseen_orphan(asker, &orphan, context),
                    Kept::Not => self.unseen(asker, framed, context),
                },
            }
            return;
        }
        let waiting = self.request(asker, framed, context);
        if head.is_oneway() {
            return self.end(asker, waiting, Outcome::Oneway, context);
        }
        let orphan = self.pending[asker].take_orphan(id);
        if let Some(response) = orphan.as_ref().and_then(Orphan::framed) {
            return self.answer(asker, waiting, &response, context);
        }
        if self.pending[asker].len() >= context.options.max_pending {
            // The newer half stays.
            let half = waiting.exchange.timing.request.0.until(context.now) / 2;
            self.give_up(asker, context.now, half, Unanswered::TimedOut, context);
        }
        if let Some(lost) = self.pending[asker].add(id, waiting) {
            self.end(asker, lost, Outcome::Unanswered(Unanswered::Lost), context);
        }
    }

    /// Guesses which end opened the connection, where that was not seen.
    fn guess_client(&mut self, asker: usize, framed: &Framed<'_>, context: &Context<'_>) {
        if self.client.is_some() {
            return;
        }
        let ports = &context.options.ports;
        let is_server = |end: &SocketAddr| {
            ports.contains(&end.port()) || ports.is_empty() && USUAL_PORTS.contains(&end.port())
        };
        let head = &framed.frame.head;
        let asks = !head.is_response()
            && RequestCode::of(head).is_ok_and(|code| ASKED_OF_CLIENTS.contains(&code));
        self.client = Some(match self.ends.each_ref().map(is_server) {
            [true, false] => 1,
            [false, true] => 0,
            _ if asks => 1 - asker,
            _ => asker,
        });
    }

    /// Remembers the connection as one that RocketMQ is spoken on.
    pub(super) fn begin(&mut self, protocol: Protocol, context: &mut Context<'_>) {
        if self.number.is_some() {
            return;
        }
        let client = self.client();
        self.client_id = context.reader.names.get(&client.ip().to_string());
        self.number = Some(context.sessions.open(Connection {
            number: 0,
            client,
            server: self.server(),
            process: self.process.clone(),
            protocol,
            client_id: None,
            language: None,
            version: 0,
            first: self.first,
            last: context.now,
            opened: self.opened,
            closed: false,
            sent: [Sent::default(); 2],
            exchanges: 0,
            errors: 0,
            server_round_trip: None,
            client_round_trip: None,
        }));
    }

    /// The client says who it is.
    pub(super) fn client_is(&mut self, id: Arc<str>) {
        self.client_id = id;
    }

    /// Whether an end opened the connection.
    pub(super) fn is_client(&self, end: usize) -> bool {
        self.client == Some(end)
    }

    /// The end that opened the connection.
    fn client(&self) -> SocketAddr {
        self.ends[self.client.unwrap_or(0)]
    }

    /// The end that accepted it.
    fn server(&self) -> SocketAddr {
        self.ends[1 - self.client.unwrap_or(0)]
    }

    /// An exchange on this connection, begun by the client.
    pub(super) fn exchange(&self, protocol: Protocol, command: Command) -> Exchange {
        let client_id = Arc::clone(&self.client_id);
        let client = self.client();
        let mut exchange = Exchange::new(client, self.server(), protocol, command, client_id);
        exchange.connection = self.number.unwrap_or_default();
        exchange.process.clone_from(&self.process);
        exchange
    }

    /// The side that an end is.
    fn side_of(&self, end: usize) -> Side {
        if self.is_client(end) {
            Side::Client
        } else {
            Side::Server
        }
    }

    /// Reads a request.
    fn request(&mut self, asker: usize, framed: &Framed<'_>, context: &mut Context<'_>) -> Waiting {
        let head = &framed.frame.head;
        let code = RequestCode::of(head);
        let command = match code {
            Ok(code) => Command::Request(code),
            Err(_) => Command::UnknownRequest(head.code),
        };
        let mut exchange = self.exchange(Protocol::Remoting(head.serialize), command);
        exchange.asked_by = self.side_of(asker);
        exchange.id = head.opaque as u32;
        exchange.request_len = framed.bytes.len() as u64;
        exchange.timing.request = (framed.arrival.first, framed.arrival.last);
        exchange.bytes[0] = context.kept(framed.bytes);
        let code = code.ok();
        let mut may_be_held = false;
        if let Some(code) = code {
            let extra = message::request(code, framed, &mut exchange, context.reader);
            may_be_held = extra.may_be_held;
            if let Some(news) = extra.news {
                if !matches!(news, News::MembersChanged) {
                    self.client_id = Arc::clone(&exchange.client_id);
                }
                context
                    .sessions
                    .hear(&exchange, head.language, head.version, news);
            }
        }
        let had_something = may_be_held && context.sessions.has_something(&exchange);
        Waiting {
            exchange,
            code,
            may_be_held,
            had_something,
            retransmissions: self.retransmissions(),
        }
    }

    /// Packets sent again so far.
    pub(super) fn retransmissions(&self) -> u64 {
        self.sent.iter().map(|sent| sent.retransmissions).sum()
    }

    /// Ends an exchange by its response.
    fn answer(
        &mut self,
        asker: usize,
        mut waiting: Waiting,
        framed: &Framed<'_>,
        context: &mut Context<'_>,
    ) {
        let exchange = &mut waiting.exchange;
        exchange.response_len = framed.bytes.len() as u64;
        exchange.timing.response = Some((framed.arrival.first, framed.arrival.last));
        exchange.remark = framed.frame.remark.as_deref().map(Into::into);
        exchange.bytes[1] = context.kept(framed.bytes);
        let status = Status::of_response(framed.frame.head.code);
        if let Some(code) = waiting.code
            && let Some(news) = message::response(code, framed, exchange, context.reader)
        {
            let head = &framed.frame.head;
            context
                .sessions
                .hear(exchange, head.language, head.version, news);
        }
        if waiting.may_be_held && !waiting.had_something {
            exchange.timing.held = held(exchange, status);
        }
        self.end(asker, waiting, Outcome::Answered(status), context);
    }

    /// Makes an exchange of a response whose request was not seen.
    fn unseen(&mut self, asker: usize, framed: &Framed<'_>, context: &mut Context<'_>) {
        let head = &framed.frame.head;
        let protocol = Protocol::Remoting(head.serialize);
        let mut exchange = self.exchange(protocol, Command::Unseen);
        exchange.asked_by = self.side_of(asker);
        exchange.id = head.opaque as u32;
        exchange.timing.request = (framed.arrival.first, framed.arrival.last);
        exchange.response_len = framed.bytes.len() as u64;
        exchange.remark = framed.frame.remark.as_deref().map(Into::into);
        exchange.bytes[1] = context.kept(framed.bytes);
        exchange.outcome = Outcome::Answered(Status::of_response(head.code));
        context.finish(exchange);
    }

    /// The same of a response that waited for its request.
    fn unseen_orphan(&mut self, asker: usize, orphan: &Orphan, context: &mut Context<'_>) {
        if let Some(framed) = orphan.framed() {
            self.unseen(asker, &framed, context);
        }
    }

    fn end(&mut self, asker: usize, waiting: Waiting, outcome: Outcome, context: &mut Context<'_>) {
        let again = self.retransmissions() - waiting.retransmissions;
        let mut exchange = waiting.exchange;
        exchange.outcome = outcome;
        exchange.timing.round_trip = self.round_trips[asker];
        exchange.timing.retransmissions = u32::try_from(again).unwrap_or(u32::MAX);
        context.finish(exchange);
    }

    /// Ends an exchange that the client began, while which so many packets were sent `again`.
    pub(super) fn finish(
        &self,
        mut exchange: Exchange,
        outcome: Outcome,
        again: u64,
        context: &mut Context<'_>,
    ) {
        exchange.outcome = outcome;
        exchange.timing.round_trip = self.client.and_then(|client| self.round_trips[client]);
        exchange.timing.retransmissions = u32::try_from(again).unwrap_or(u32::MAX);
        context.finish(exchange);
    }

    /// Gives up what waited for long enough.
    pub(crate) fn expire(&mut self, context: &mut Context<'_>) {
        for asker in 0..2 {
            if !self.pending[asker].is_empty() {
                let patience = context.options.patience;
                self.give_up(asker, context.now, patience, Unanswered::TimedOut, context);
            }
        }
        let patience = context.options.patience;
        self.calls(|calls, line| calls.expire(line, patience, context));
    }

    /// Gives up the requests of one end that have waited for so long by then.
    fn give_up(
        &mut self,
        asker: usize,
        now: Timestamp,
        patience: Duration,
        why: Unanswered,
        context: &mut Context<'_>,
    ) {
        let (orphans, requests) = self.pending[asker].expired(now, patience);
        for orphan in &orphans {
            self.unseen_orphan(asker, orphan, context);
        }
        for waiting in requests {
            // The response may be in a part that is missing.
            let why = if self.lost[1 - asker] {
                Unanswered::Lost
            } else {
                why
            };
            self.end(asker, waiting, Outcome::Unanswered(why), context);
        }
    }

    /// Gives up everything that waits, since nothing comes any more.
    pub(crate) fn close(&mut self, why: Unanswered, context: &mut Context<'_>) {
        for asker in 0..2 {
            self.give_up(asker, Timestamp(i64::MAX), Duration::ZERO, why, context);
        }
        self.calls(|calls, line| calls.close(line, why, context));
        self.ended = [true; 2];
        self.update(context);
    }

    /// Brings the session up to date.
    pub(crate) fn update(&self, context: &mut Context<'_>) {
        let (Some(number), Some(client)) = (self.number, self.client) else {
            return;
        };
        if let Some(connection) = context.sessions.connection_mut(number) {
            connection.last = context.now;
            connection.closed = self.is_over();
            connection.sent = [self.sent[client], self.sent[1 - client]];
            connection.server_round_trip = self.round_trips[client];
            connection.client_round_trip = self.round_trips[1 - client];
        }
    }
}

/// For how long a request was held because there was nothing to give.
pub(super) fn held(exchange: &Exchange, status: Status) -> Duration {
    const VAIN: [ResponseCode; 3] = [
        ResponseCode::PullNotFound,
        ResponseCode::PollingTimeout,
        ResponseCode::NoMessage,
    ];
    let Timing {
        request: (_, came),
        response: Some((left, _)),
        ..
    } = exchange.timing
    else {
        return Duration::ZERO;
    };
    let waited = came.until(left);
    if VAIN.iter().any(|code| *code as i32 == status.code)
        || status.code == Code::MessageNotFound as i32
        || exchange.command == Command::Request(RequestCode::Notification)
    {
        return waited;
    }
    // What was stored after the request came could not be given before.
    let stored = exchange
        .messages
        .iter()
        .filter_map(|message| message.stored)
        .min();
    let stored = stored.map(|stored| Timestamp(stored.saturating_mul(1_000_000)));
    stored.map_or(Duration::ZERO, |stored| came.until(stored).min(waited))
}
