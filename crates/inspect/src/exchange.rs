//! An exchange: one request, what it means, and what became of it.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::frame::SerializeType;
use wire::grpc::Code;

use crate::capture::{Process, Timestamp};

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Counts the exchanges from 1, in the order in which they end.
    pub number: u64,
    /// The connection that it ran over; see [`Sessions::connection`](crate::Sessions::connection).
    pub connection: u64,
    /// The end that opened the connection.
    pub client: SocketAddr,
    /// The end that accepted it.
    pub server: SocketAddr,
    /// Who asked; a broker asks clients, too.
    pub asked_by: Side,
    /// The process at this machine's end, if the source tells it.
    pub process: Option<Arc<Process>>,
    /// How requests travel on the connection.
    pub protocol: Protocol,
    /// What was asked for.
    pub command: Command,
    /// What kind of command that is.
    pub action: Action,
    /// Pairs request and response: the opaque of remoting, the stream of gRPC.
    pub id: u32,
    /// The client's id, as its heartbeats or headers say it; its address without the port until
    /// they do.
    pub client_id: Arc<str>,
    /// The topic that it is about.
    pub topic: Option<Arc<str>>,
    /// The producer or consumer group that it is about.
    pub group: Option<Arc<str>>,
    /// The queue asked for, or the one answered with where the server chose.
    pub queue_id: Option<i32>,
    /// The queue offset asked for, or the one that a sent message got.
    pub offset: Option<i64>,
    /// The offset behind the last message of the queue, if the answer tells.
    pub max_offset: Option<i64>,
    /// The offset below which the group is done with the queue, if the request says so.
    pub committed: Option<i64>,
    /// What else the request says in a word: `commit`, a key, a time.
    pub detail: Option<Box<str>>,
    /// What the messages are, or of which type the only one is.
    pub message_type: Option<MessageType>,
    /// The messages sent, delivered, acknowledged or returned.
    pub messages: Vec<Message>,
    /// Bytes of the request, and of what answered it; 0 for nothing.
    pub request_len: u64,
    /// Bytes of the response.
    pub response_len: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The server's words about it.
    pub remark: Option<Box<str>>,
    /// Which part of it could not be read, and why: `the request is compressed by …`.
    pub unread: Option<Box<str>>,
    /// When its parts were seen.
    pub timing: Timing,
    /// The first bytes of request and response, if [`Options::keep_bytes`] asks for them.
    ///
    /// [`Options::keep_bytes`]: crate::Options::keep_bytes
    pub bytes: [Bytes; 2],
}

impl Exchange {
    /// An exchange of which nothing is known but its connection's ends and its command.
    pub(crate) fn new(
        client: SocketAddr,
        server: SocketAddr,
        protocol: Protocol,
        command: Command,
        client_id: Arc<str>,
    ) -> Self {
        Self {
            number: 0,
            connection: 0,
            client,
            server,
            asked_by: Side::Client,
            process: None,
            protocol,
            command,
            action: Action::Other,
            id: 0,
            client_id,
            topic: None,
            group: None,
            queue_id: None,
            offset: None,
            max_offset: None,
            committed: None,
            detail: None,
            message_type: None,
            messages: Vec::new(),
            request_len: 0,
            response_len: 0,
            outcome: Outcome::Unanswered(Unanswered::CaptureEnded),
            remark: None,
            unread: None,
            timing: Timing::default(),
            bytes: [Bytes::new(), Bytes::new()],
        }
    }

    /// From the first byte of the request to the last of the response.
    pub fn latency(&self) -> Option<Duration> {
        self.timing.latency()
    }

    /// The time that the server worked or dawdled: the latency without the time for which it held
    /// the request because there was nothing to give.
    pub fn effort(&self) -> Option<Duration> {
        Some(self.latency()?.saturating_sub(self.timing.held))
    }

    /// Whether it went wrong: an answer with an error, or none although one was due. Consumers
    /// that leave close their connections while requests for messages wait.
    pub fn is_error(&self) -> bool {
        match self.outcome {
            Outcome::Answered(status) => status.is_error(),
            Outcome::Unanswered(Unanswered::TimedOut) => true,
            Outcome::Unanswered(Unanswered::Closed) => {
                !matches!(self.action, Action::Pull | Action::Pop)
            }
            Outcome::Unanswered(_) | Outcome::Oneway => false,
        }
    }

    /// Whether the server held the request until there was something to give, or in vain.
    pub fn is_held(&self) -> bool {
        !self.timing.held.is_zero()
    }
}

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that opened the connection.
    Client,
    /// The end that accepted it.
    Server,
}

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Frames of RocketMQ's own.
    Remoting(SerializeType),
    /// gRPC of the 5.x API, over HTTP/2.
    Grpc,
}

impl Protocol {
    /// Its name: `remoting-json`, `remoting-rocketmq`, `grpc`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remoting(SerializeType::Json) => "remoting-json",
            Self::Remoting(SerializeType::RocketMq) => "remoting-rocketmq",
            Self::Grpc => "grpc",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// A request of remoting.
    Request(RequestCode),
    /// A request of remoting with a code that the reference does not have.
    UnknownRequest(i32),
    /// A call of gRPC, by the method's name.
    Call(Arc<str>),
    /// A response came whose request was not seen.
    Unseen,
}

impl Command {
    /// The code of a remoting request.
    pub const fn code(&self) -> Option<i32> {
        match self {
            Self::Request(code) => Some(*code as i32),
            Self::UnknownRequest(code) => Some(*code),
            Self::Call(_) | Self::Unseen => None,
        }
    }
}

/// The reference's name: `SEND_MESSAGE_V2`, `ReceiveMessage`; of an unknown request its code.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(code) => f.pad(code.name()),
            Self::UnknownRequest(code) => f.pad(&format!("REQUEST_{code}")),
            Self::Call(method) => f.pad(method),
            Self::Unseen => f.pad("UNSEEN_REQUEST"),
        }
    }
}

/// What kind of command it is, whatever the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Stores messages.
    Send,
    /// Reads messages of a queue.
    Pull,
    /// Takes messages and hides them from the others of the group.
    Pop,
    /// Says that messages were consumed.
    Acknowledge,
    /// Changes how long taken messages stay hidden.
    ChangeInvisible,
    /// Gives back messages that failed, for a retry or the dead letter queue.
    SendBack,
    /// Says how far a group has come in a queue.
    Commit,
    /// Commits or rolls back a half message.
    EndTransaction,
    /// Asks a producer what became of a transaction.
    CheckTransaction,
    /// Takes back a timed message.
    Recall,
    /// Says that a client is there and what it produces and consumes.
    Heartbeat,
    /// Anything else.
    Other,
}

/// What a message is to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Nothing of the others.
    Normal,
    /// In order with others of its key.
    Ordered,
    /// Delivered later, by level or time.
    Delayed,
    /// Half of a transaction, or committed by one.
    Transactional,
    /// Several messages in one request.
    Batch,
    /// Taken by pop.
    Pop,
}

impl MessageType {
    /// Its name: `normal`, `ordered`, `delayed`, `transactional`, `batch`, `pop`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Ordered => "ordered",
            Self::Delayed => "delayed",
            Self::Transactional => "transactional",
            Self::Batch => "batch",
            Self::Pop => "pop",
        }
    }
}

/// A message in an exchange, or one that it names.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The unique id, which the client makes.
    pub id: Option<Box<str>>,
    /// The broker's id: its address and the place in the commit log.
    pub offset_id: Option<Box<str>>,
    /// The topic, where it is another than the exchange's.
    pub topic: Option<Arc<str>>,
    /// What it is.
    pub message_type: Option<MessageType>,
    /// The tag.
    pub tag: Option<Arc<str>>,
    /// The keys, separated by blanks.
    pub keys: Option<Box<str>>,
    /// The queue.
    pub queue_id: Option<i32>,
    /// Its number in the queue.
    pub offset: Option<i64>,
    /// The producer's clock when it made the message, milliseconds since 1970.
    pub born: Option<i64>,
    /// The broker's clock when it stored the message, milliseconds since 1970.
    pub stored: Option<i64>,
    /// How often it has been delivered in vain.
    pub attempts: i32,
    /// What it is acknowledged with.
    pub handle: Option<Box<str>>,
    /// Bytes of the body as it travelled.
    pub body_len: usize,
    /// The start of the body, decompressed, if [`Options::keep_bodies`] asks for it.
    ///
    /// [`Options::keep_bodies`]: crate::Options::keep_bodies
    pub body: Bytes,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response came.
    Answered(Status),
    /// None was wanted.
    Oneway,
    /// None was seen.
    Unanswered(Unanswered),
}

/// Why no response was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// The connection was closed.
    Closed,
    /// It did not come in [`Options::patience`](crate::Options::patience).
    TimedOut,
    /// The capture ended.
    CaptureEnded,
    /// Bytes of the connection are missing in the capture, and the response may be among them.
    Lost,
}

impl Unanswered {
    /// In a word: `closed`, `timed-out`, `capture-ended`, `lost`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::TimedOut => "timed-out",
            Self::CaptureEnded => "capture-ended",
            Self::Lost => "lost",
        }
    }
}

/// What a response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status {
    /// The response code of remoting, or the code of the gRPC API (`Code` of its `status`).
    pub code: i32,
    /// The reference's name of it; `UNKNOWN` if it has none.
    pub name: &'static str,
}

impl Status {
    /// The status of a remoting response.
    pub fn of_response(code: i32) -> Self {
        let name = ResponseCode::try_from(code).map_or("UNKNOWN", ResponseCode::name);
        Self { code, name }
    }

    /// The status of a call of the gRPC API.
    pub fn of_call(code: i32) -> Self {
        // The names as the API has them, made of those in Rust: `TopicNotFound`.
        static NAMES: LazyLock<HashMap<i32, String>> = LazyLock::new(|| {
            let codes = (0..=Code::FailedToConsumeMessage as i32)
                .filter_map(|code| Some((code, Code::try_from(code).ok()?)));
            let names = codes.map(|(code, name)| (code, screaming(&format!("{name:?}"))));
            names.collect()
        });
        let name = NAMES.get(&code).map_or("UNKNOWN", String::as_str);
        Self { code, name }
    }

    /// Whether it says that something went wrong. That there is nothing to give does not.
    pub fn is_error(self) -> bool {
        const FINE: [ResponseCode; 9] = [
            ResponseCode::Success,
            ResponseCode::PullNotFound,
            ResponseCode::PullRetryImmediately,
            ResponseCode::QueryNotFound,
            ResponseCode::TransactionShouldCommit,
            ResponseCode::TransactionShouldRollback,
            ResponseCode::TransactionStateUnknown,
            ResponseCode::NoMessage,
            ResponseCode::PollingTimeout,
        ];
        /// `OK`, `MULTIPLE_RESULTS`, `MESSAGE_NOT_FOUND` and `OFFSET_NOT_FOUND` of the gRPC API.
        const FINE_CALLS: [i32; 4] = [20_000, 30_000, 40_401, 40_404];
        !FINE.iter().any(|fine| *fine as i32 == self.code) && !FINE_CALLS.contains(&self.code)
    }
}

/// `TopicNotFound` as `TOPIC_NOT_FOUND`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// When the parts of an exchange were seen, at the place of the capture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// The first and the last byte of the request; of an unseen request those of the response.
    pub request: (Timestamp, Timestamp),
    /// The first and the last byte of the response.
    pub response: Option<(Timestamp, Timestamp)>,
    /// For how long the server held the request because there was nothing to give.
    pub held: Duration,
    /// There and back between the place of the capture and the end that was asked, without its
    /// work: from a packet to its acknowledgement.
    pub round_trip: Option<Duration>,
    /// Packets that were sent again on the connection while the exchange ran.
    pub retransmissions: u32,
}

/// Where an exchange's time went; the parts make up the latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// From the first byte of the request to its last: the asking end was still writing.
    pub client: Duration,
    /// On the way to the end that was asked and back.
    pub network: Duration,
    /// In the end that was asked, being held included.
    pub server: Duration,
}

impl Timing {
    /// From the first byte of the request to the last of the response.
    pub fn latency(&self) -> Option<Duration> {
        let (_, end) = self.response?;
        Some(self.request.0.until(end))
    }

    /// Where the time went, if the way to the end that was asked and back is known.
    pub fn shares(&self) -> Option<Shares> {
        let (first, last) = self.response?;
        let (begun, sent) = self.request;
        let waited = sent.until(first);
        let way = self.round_trip?.min(waited);
        Some(Shares {
            client: begun.until(sent),
            network: way + first.until(last),
            server: waited - way,
        })
    }
}
