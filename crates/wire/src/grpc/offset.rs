//! Reading queues by offset. The reference has these calls in its service and does not serve them.

use prost::{Enumeration, Message as ProstMessage, Oneof};

use super::{Duration, FilterExpression, Message, MessageQueue, Resource, Status, Timestamp};

/// Reads messages of a queue.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct PullMessageRequest {
    /// The consumer's group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
    /// The queue.
    #[prost(message, optional, tag = "2")]
    pub message_queue: Option<MessageQueue>,
    /// Number of the first message wanted.
    #[prost(int64, tag = "3")]
    pub offset: i64,
    /// Most messages wanted.
    #[prost(int32, tag = "4")]
    pub batch_size: i32,
    /// Which messages.
    #[prost(message, optional, tag = "5")]
    pub filter_expression: Option<FilterExpression>,
    /// How long to wait for a message.
    #[prost(message, optional, tag = "6")]
    pub long_polling_timeout: Option<Duration>,
}

/// One of the answers to [`PullMessageRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct PullMessageResponse {
    /// Which of them.
    #[prost(oneof = "Pulled", tags = "1, 2, 3")]
    pub content: Option<Pulled>,
}

/// What a [`PullMessageResponse`] holds.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum Pulled {
    /// How it went.
    #[prost(message, tag = "1")]
    Status(Status),
    /// A message.
    #[prost(message, boxed, tag = "2")]
    Message(Box<Message>),
    /// Where to go on.
    #[prost(int64, tag = "3")]
    NextOffset(i64),
}

/// Says how far a group has come in a queue.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct UpdateOffsetRequest {
    /// The group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
    /// The queue.
    #[prost(message, optional, tag = "2")]
    pub message_queue: Option<MessageQueue>,
    /// Number of the next message.
    #[prost(int64, tag = "3")]
    pub offset: i64,
}

/// Answer to [`UpdateOffsetRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct UpdateOffsetResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}

/// Asks how far a group has come in a queue.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct GetOffsetRequest {
    /// The group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Resource>,
    /// The queue.
    #[prost(message, optional, tag = "2")]
    pub message_queue: Option<MessageQueue>,
}

/// Answer to [`GetOffsetRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct GetOffsetResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// Number of the next message.
    #[prost(int64, tag = "2")]
    pub offset: i64,
}

/// Which offset of a queue is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum QueryOffsetPolicy {
    /// The first message's.
    Beginning = 0,
    /// That behind the last message.
    End = 1,
    /// That of a time.
    Timestamp = 2,
}

/// Asks for an offset of a queue.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct QueryOffsetRequest {
    /// The queue.
    #[prost(message, optional, tag = "1")]
    pub message_queue: Option<MessageQueue>,
    /// Which offset.
    #[prost(enumeration = "QueryOffsetPolicy", tag = "2")]
    pub query_offset_policy: i32,
    /// The time.
    #[prost(message, optional, tag = "3")]
    pub timestamp: Option<Timestamp>,
}

/// Answer to [`QueryOffsetRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct QueryOffsetResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// The offset.
    #[prost(int64, tag = "2")]
    pub offset: i64,
}
