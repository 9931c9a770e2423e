//! What a client says of itself, and the commands of its telemetry stream.

use std::collections::BTreeMap;

use prost::{Enumeration, Message as ProstMessage, Oneof};

use super::{Duration, Endpoints, Message, Resource, RetryPolicy, Status, SubscriptionEntry};

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ClientType {
    /// Not said.
    Unspecified = 0,
    /// Sends.
    Producer = 1,
    /// Receives and calls a listener.
    PushConsumer = 2,
    /// Receives when it is asked to.
    SimpleConsumer = 3,
    /// Reads queues by offset.
    PullConsumer = 4,
    /// As a push consumer, of lite topics.
    LitePushConsumer = 5,
    /// As a simple consumer, of lite topics.
    LiteSimpleConsumer = 6,
}

/// Language that a client is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ClientLanguage {
    /// Not said.
    Unspecified = 0,
    /// Java.
    Java = 1,
    /// C++.
    Cpp = 2,
    /// C#.
    DotNet = 3,
    /// Go.
    Golang = 4,
    /// Rust.
    Rust = 5,
    /// Python.
    Python = 6,
    /// PHP.
    Php = 7,
    /// Node.
    NodeJs = 8,
    /// Ruby.
    Ruby = 9,
    /// Objective-C.
    ObjectiveC = 10,
    /// Dart.
    Dart = 11,
    /// Kotlin.
    Kotlin = 12,
}

/// What program a client is (`UA`).
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct UserAgent {
    /// Language of the client.
    #[prost(enumeration = "ClientLanguage", tag = "1")]
    pub language: i32,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Its operating system.
    #[prost(string, tag = "3")]
    pub platform: String,
    /// Its host.
    #[prost(string, tag = "4")]
    pub hostname: String,
}

/// Settings of a client: what it does, and how the server wants it done.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Settings {
    /// What the client is.
    #[prost(enumeration = "ClientType", optional, tag = "1")]
    pub client_type: Option<i32>,
    /// Where it reaches the server.
    #[prost(message, optional, tag = "2")]
    pub access_point: Option<Endpoints>,
    /// When a failed send is tried again, or a failed message delivered again.
    #[prost(message, optional, tag = "3")]
    pub backoff_policy: Option<RetryPolicy>,
    /// How long the client waits for answers, those to long polls excepted.
    #[prost(message, optional, tag = "4")]
    pub request_timeout: Option<Duration>,
    /// What the client sends or receives.
    #[prost(oneof = "PubSub", tags = "5, 6")]
    pub pub_sub: Option<PubSub>,
    /// What program the client is.
    #[prost(message, optional, tag = "7")]
    pub user_agent: Option<UserAgent>,
    /// Whether the client measures.
    #[prost(message, optional, tag = "8")]
    pub metric: Option<Metric>,
    /// What the application says of the client.
    #[prost(btree_map = "string, string", tag = "9")]
    pub client_properties: BTreeMap<String, String>,
}

/// What a client sends or receives.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum PubSub {
    /// It sends.
    #[prost(message, tag = "5")]
    Publishing(Publishing),
    /// It receives.
    #[prost(message, tag = "6")]
    Subscription(Subscription),
}

/// What a producer sends.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct Publishing {
    /// Topics that it sends to.
    #[prost(message, repeated, tag = "1")]
    pub topics: Vec<Resource>,
    /// Bytes of the largest body. The server's word.
    #[prost(int32, tag = "2")]
    pub max_body_size: i32,
    /// Whether types of messages are compared with those of topics. The server's word.
    #[prost(bool, tag = "3")]
    pub validate_message_type: bool,
}

/// What a consumer receives.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct Subscription {
    /// Its group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
    /// What it wants of which topics.
    #[prost(message, repeated, tag = "2")]
    pub subscriptions: Vec<SubscriptionEntry>,
    /// Whether the group receives in order. The server's word.
    #[prost(bool, optional, tag = "3")]
    pub fifo: Option<bool>,
    /// Messages to ask for at a time. The server's word.
    #[prost(int32, optional, tag = "4")]
    pub receive_batch_size: Option<i32>,
    /// How long to wait for messages. The server's word.
    #[prost(message, optional, tag = "5")]
    pub long_polling_timeout: Option<Duration>,
    /// How many lite topics a client may subscribe to. The server's word.
    #[prost(int32, optional, tag = "6")]
    pub lite_subscription_quota: Option<i32>,
    /// Bytes of the longest lite topic's name. The server's word.
    #[prost(int32, optional, tag = "7")]
    pub max_lite_topic_size: Option<i32>,
}

/// Whether a client measures.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct Metric {
    /// Whether it does.
    #[prost(bool, tag = "1")]
    pub on: bool,
    /// Where it sends what it has measured.
    #[prost(message, optional, tag = "2")]
    pub endpoints: Option<Endpoints>,
}

/// A client is still there.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct HeartbeatRequest {
    /// Its consumer group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
    /// What it is.
    #[prost(enumeration = "ClientType", tag = "2")]
    pub client_type: i32,
}

/// Answer to [`HeartbeatRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct HeartbeatResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}

/// A client leaves.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct NotifyClientTerminationRequest {
    /// Its consumer group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
}

/// Answer to [`NotifyClientTerminationRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct NotifyClientTerminationResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}

/// What client and server say to each other on the telemetry stream.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct TelemetryCommand {
    /// How what was asked went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// What is said.
    #[prost(oneof = "Command", tags = "2, 3, 4, 5, 6, 7, 8, 9")]
    pub command: Option<Command>,
}

/// A command of the telemetry stream.
#[derive(Clone, PartialEq, Oneof)]
pub enum Command {
    /// From the client: its settings; from the server: the settings that hold.
    #[prost(message, boxed, tag = "2")]
    Settings(Box<Settings>),
    /// From the client: what its threads do.
    #[prost(message, tag = "3")]
    ThreadStackTrace(ThreadStackTrace),
    /// From the client: how the message fared.
    #[prost(message, tag = "4")]
    VerifyMessageResult(VerifyMessageResult),
    /// From the server: what became of this transaction?
    #[prost(message, boxed, tag = "5")]
    RecoverOrphanedTransaction(Box<RecoverOrphanedTransactionCommand>),
    /// From the server: what do your threads do?
    #[prost(message, tag = "6")]
    PrintThreadStackTrace(PrintThreadStackTraceCommand),
    /// From the server: consume this message.
    #[prost(message, boxed, tag = "7")]
    VerifyMessage(Box<VerifyMessageCommand>),
    /// From the server: connect again.
    #[prost(message, tag = "8")]
    ReconnectEndpoints(ReconnectEndpointsCommand),
    /// From the server: this lite topic is no longer yours.
    #[prost(message, tag = "9")]
    NotifyUnsubscribeLite(NotifyUnsubscribeLiteCommand),
}

/// What the threads of a client do.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct ThreadStackTrace {
    /// That of the question.
    #[prost(string, tag = "1")]
    pub nonce: String,
    /// The stacks, as text.
    #[prost(string, optional, tag = "2")]
    pub thread_stack_trace: Option<String>,
}

/// A message has been consumed as asked; the command's status tells how.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct VerifyMessageResult {
    /// That of the question.
    #[prost(string, tag = "1")]
    pub nonce: String,
}

/// What became of a transaction?
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct RecoverOrphanedTransactionCommand {
    /// Its half message.
    #[prost(message, optional, tag = "1")]
    pub message: Option<Message>,
    /// Its id.
    #[prost(string, tag = "2")]
    pub transaction_id: String,
}

/// What do your threads do?
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct PrintThreadStackTraceCommand {
    /// To be repeated in the answer.
    #[prost(string, tag = "1")]
    pub nonce: String,
}

/// Consume this message now.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct VerifyMessageCommand {
    /// To be repeated in the answer.
    #[prost(string, tag = "1")]
    pub nonce: String,
    /// The message.
    #[prost(message, optional, tag = "2")]
    pub message: Option<Message>,
}

/// Connect again.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct ReconnectEndpointsCommand {
    /// To be repeated in an answer.
    #[prost(string, tag = "1")]
    pub nonce: String,
}

/// A lite topic is no longer the client's.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct NotifyUnsubscribeLiteCommand {
    /// The lite topic.
    #[prost(string, tag = "1")]
    pub lite_topic: String,
}
