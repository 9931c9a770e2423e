//! Receiving, acknowledging, hiding, giving up; subscriptions to lite topics.

use prost::{Enumeration, Message as ProstMessage, Oneof};

use super::{Duration, FilterExpression, Message, MessageQueue, Resource, Status, Timestamp};

/// Takes messages and hides them from the group for a while.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct ReceiveMessageRequest {
    /// The consumer's group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
    /// Where from.
    #[prost(message, optional, tag = "2")]
    pub message_queue: Option<MessageQueue>,
    /// Which messages.
    #[prost(message, optional, tag = "3")]
    pub filter_expression: Option<FilterExpression>,
    /// Most messages wanted.
    #[prost(int32, tag = "4")]
    pub batch_size: i32,
    /// How long they are hidden.
    #[prost(message, optional, tag = "5")]
    pub invisible_duration: Option<Duration>,
    /// Whether the server hides them for as long as the client lives.
    #[prost(bool, tag = "6")]
    pub auto_renew: bool,
    /// How long to wait for a message.
    #[prost(message, optional, tag = "7")]
    pub long_polling_timeout: Option<Duration>,
    /// Id of the attempt; the same one gets the same messages in ordered groups.
    #[prost(string, optional, tag = "8")]
    pub attempt_id: Option<String>,
}

/// One of the answers to [`ReceiveMessageRequest`]: the status, then each message, then the time.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct ReceiveMessageResponse {
    /// Which of them.
    #[prost(oneof = "Received", tags = "1, 2, 3")]
    pub content: Option<Received>,
}

/// What a [`ReceiveMessageResponse`] holds.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum Received {
    /// How it went.
    #[prost(message, tag = "1")]
    Status(Status),
    /// A message.
    #[prost(message, boxed, tag = "2")]
    Message(Box<Message>),
    /// When the server had sent all.
    #[prost(message, tag = "3")]
    DeliveryTimestamp(Timestamp),
}

/// A message that was consumed.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct AckMessageEntry {
    /// Its unique id.
    #[prost(string, tag = "1")]
    pub message_id: String,
    /// What it was received with.
    #[prost(string, tag = "2")]
    pub receipt_handle: String,
    /// Its lite topic.
    #[prost(string, optional, tag = "3")]
    pub lite_topic: Option<String>,
}

/// Messages were consumed.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct AckMessageRequest {
    /// The consumer's group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
    /// Topic of the messages.
    #[prost(message, optional, tag = "2")]
    pub topic: Option<Resource>,
    /// The messages.
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<AckMessageEntry>,
}

/// How it went with one message.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct AckMessageResultEntry {
    /// Its unique id.
    #[prost(string, tag = "1")]
    pub message_id: String,
    /// What it was received with.
    #[prost(string, tag = "2")]
    pub receipt_handle: String,
    /// How it went.
    #[prost(message, optional, tag = "3")]
    pub status: Option<Status>,
}

/// Answer to [`AckMessageRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct AckMessageResponse {
    /// How it went in all.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// How it went one by one.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<AckMessageResultEntry>,
}

/// Changes how long a message is hidden.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct ChangeInvisibleDurationRequest {
    /// The consumer's group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
    /// Topic of the message.
    #[prost(message, optional, tag = "2")]
    pub topic: Option<Resource>,
    /// What it was received with.
    #[prost(string, tag = "3")]
    pub receipt_handle: String,
    /// How long to hide it from now on.
    #[prost(message, optional, tag = "4")]
    pub invisible_duration: Option<Duration>,
    /// Its unique id.
    #[prost(string, tag = "5")]
    pub message_id: String,
    /// Its lite topic.
    #[prost(string, optional, tag = "6")]
    pub lite_topic: Option<String>,
    /// Whether the whole lite topic is held back.
    #[prost(bool, optional, tag = "7")]
    pub suspend: Option<bool>,
}

/// Answer to [`ChangeInvisibleDurationRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct ChangeInvisibleDurationResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// What the message is acknowledged with now.
    #[prost(string, tag = "2")]
    pub receipt_handle: String,
}

/// Gives a message up: moves it to the group's dead letter queue.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct ForwardMessageToDeadLetterQueueRequest {
    /// The consumer's group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
    /// Topic of the message.
    #[prost(message, optional, tag = "2")]
    pub topic: Option<Resource>,
    /// What it was received with.
    #[prost(string, tag = "3")]
    pub receipt_handle: String,
    /// Its unique id.
    #[prost(string, tag = "4")]
    pub message_id: String,
    /// How often it has been delivered.
    #[prost(int32, tag = "5")]
    pub delivery_attempt: i32,
    /// How often it may be.
    #[prost(int32, tag = "6")]
    pub max_delivery_attempts: i32,
    /// Its lite topic.
    #[prost(string, optional, tag = "7")]
    pub lite_topic: Option<String>,
}

/// Answer to [`ForwardMessageToDeadLetterQueueRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct ForwardMessageToDeadLetterQueueResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}

/// What is done with a client's subscriptions to lite topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum LiteSubscriptionAction {
    /// These are added.
    PartialAdd = 0,
    /// These are taken away.
    PartialRemove = 1,
    /// These are all.
    CompleteAdd = 2,
    /// All are taken away.
    CompleteRemove = 3,
}

/// Where a new subscription starts.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct OffsetOption {
    /// How that is said.
    #[prost(oneof = "OffsetType", tags = "1, 2, 3, 4")]
    pub offset_type: Option<OffsetType>,
}

/// How it is said where a new subscription starts.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum OffsetType {
    /// By a rule.
    #[prost(enumeration = "OffsetPolicy", tag = "1")]
    Policy(i32),
    /// At an offset.
    #[prost(int64, tag = "2")]
    Offset(i64),
    /// So many messages before the end.
    #[prost(int64, tag = "3")]
    TailN(i64),
    /// At a time, in milliseconds since 1970.
    #[prost(int64, tag = "4")]
    Timestamp(i64),
}

/// A rule where a new subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum OffsetPolicy {
    /// Where the group was.
    Last = 0,
    /// At the first message.
    Min = 1,
    /// Behind the last message.
    Max = 2,
}

/// Says which lite topics a client subscribes to.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct SyncLiteSubscriptionRequest {
    /// What is done with them.
    #[prost(enumeration = "LiteSubscriptionAction", tag = "1")]
    pub action: i32,
    /// Topic that the lite topics belong to.
    #[prost(message, optional, tag = "2")]
    pub topic: Option<Resource>,
    /// The consumer's group.
    #[prost(message, optional, tag = "3")]
    pub group: Option<Resource>,
    /// The lite topics.
    #[prost(string, repeated, tag = "4")]
    pub lite_topic_set: Vec<String>,
    /// Greater is newer.
    #[prost(int64, optional, tag = "5")]
    pub version: Option<i64>,
    /// Where new ones start.
    #[prost(message, optional, tag = "6")]
    pub offset_option: Option<OffsetOption>,
}

/// Answer to [`SyncLiteSubscriptionRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct SyncLiteSubscriptionResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}
