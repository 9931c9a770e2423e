//! Headers of pop consumption: receiving with an invisible time, acknowledging, waiting.

use std::borrow::Cow;

use super::{Header, TopicRpcFields};

/// Takes messages of a topic and hides them from the group for a while.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "PopMessageRequestHeader")]
pub struct PopMessageRequest<'a> {
    /// Name of the receiving consumer group.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Topic to receive from.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue to receive from; -1: any.
    #[header(required)]
    pub queue_id: i32,
    /// Most messages wanted, 1 to 32.
    #[header(required)]
    pub max_msg_nums: i32,
    /// How long the messages stay hidden from others unless acknowledged, in milliseconds.
    #[header(required)]
    pub invisible_time: i64,
    /// How long the broker may hold the request while there is nothing new, in milliseconds.
    #[header(required)]
    pub poll_time: i64,
    /// When the client made the request, in milliseconds since 1970; 0: now.
    #[header(required)]
    pub born_time: i64,
    /// Where a group without an offset starts: 0 first message, 1 behind the last.
    #[header(required)]
    pub init_mode: i32,
    /// Language of the filter expression: `TAG` or `SQL92`; absent means `TAG`.
    #[header(name = "expType")]
    pub expression_type: Option<Cow<'a, str>>,
    /// Filter expression; absent means everything.
    #[header(name = "exp")]
    pub expression: Option<Cow<'a, str>>,
    /// Whether each queue is received in order: nothing more of it until the last batch is
    /// acknowledged.
    pub order: Option<bool>,
    /// Id of the attempt, so that a repeated ordered request gets the same messages.
    pub attempt_id: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// What is needed to acknowledge the received messages.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "PopMessageResponseHeader")]
pub struct PopMessageResponse<'a> {
    /// When the messages were taken, in milliseconds since 1970.
    #[header(required)]
    pub pop_time: i64,
    /// How long they stay hidden, in milliseconds.
    #[header(required)]
    pub invisible_time: i64,
    /// Queue of the revive topic that keeps track of them.
    #[header(required)]
    pub revive_qid: i32,
    /// About how many messages are left to receive.
    #[header(required)]
    pub rest_num: i64,
    /// First offset for each queue: retry kind, queue id, offset; entries joined by `;`.
    pub start_offset_info: Option<Cow<'a, str>>,
    /// Offsets for each queue: retry kind, queue id, offsets joined by `,`; entries joined by
    /// `;`.
    pub msg_offset_info: Option<Cow<'a, str>>,
    /// Retries so far of ordered messages: retry kind, queue id or `qo<id>%<offset>`, count.
    pub order_count_info: Option<Cow<'a, str>>,
}

/// A message was consumed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "AckMessageRequestHeader")]
pub struct AckMessageRequest<'a> {
    /// Group that consumed.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Topic that the message was received from.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue that it was received from.
    #[header(required)]
    pub queue_id: i32,
    /// What identifies the reception (`POP_CK` property of the message).
    #[header(required)]
    pub extra_info: Cow<'a, str>,
    /// Logical offset of the message.
    #[header(required)]
    pub offset: i64,
    /// Lite topic below `topic` that it was received from.
    pub lite_topic: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Changes how long a received message stays hidden.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ChangeInvisibleTimeRequestHeader")]
pub struct ChangeInvisibleTimeRequest<'a> {
    /// Group that received it.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Topic that the message was received from.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue that it was received from.
    #[header(required)]
    pub queue_id: i32,
    /// What identifies the reception (`POP_CK` property of the message).
    #[header(required)]
    pub extra_info: Cow<'a, str>,
    /// Logical offset of the message.
    #[header(required)]
    pub offset: i64,
    /// How long to hide it from now on, in milliseconds.
    #[header(required)]
    pub invisible_time: i64,
    /// Lite topic below `topic` that it was received from.
    pub lite_topic: Option<Cow<'a, str>>,
    /// Whether the delivery is put off, and does not count as one that failed; with a lite topic,
    /// that of all its messages.
    pub suspend: bool,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// What is needed to acknowledge the message now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "ChangeInvisibleTimeResponseHeader")]
pub struct ChangeInvisibleTimeResponse {
    /// From when the new time counts, in milliseconds since 1970.
    #[header(required)]
    pub pop_time: i64,
    /// How long the message stays hidden, in milliseconds.
    #[header(required)]
    pub invisible_time: i64,
    /// Queue of the revive topic that keeps track of it.
    #[header(required)]
    pub revive_qid: i32,
}

/// Reads messages of a topic without taking them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "PeekMessageRequestHeader")]
pub struct PeekMessageRequest<'a> {
    /// Topic to read.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue to read; -1: any.
    #[header(required)]
    pub queue_id: i32,
    /// Most messages wanted.
    #[header(required)]
    pub max_msg_nums: i32,
    /// Group whose offsets say where to read.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Waits until there is something to receive.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "NotificationRequestHeader")]
pub struct NotificationRequest<'a> {
    /// Name of the waiting consumer group.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Topic to wait on.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue to wait on; -1: any.
    #[header(required)]
    pub queue_id: i32,
    /// How long the broker may hold the request, in milliseconds.
    #[header(required)]
    pub poll_time: i64,
    /// When the client made the request, in milliseconds since 1970; 0: now.
    #[header(required)]
    pub born_time: i64,
    /// Whether the group receives in order.
    pub order: Option<bool>,
    /// Id of the attempt, as in [`PopMessageRequest`].
    pub attempt_id: Option<Cow<'a, str>>,
    /// Language of the filter expression: `TAG` or `SQL92`; absent means `TAG`.
    #[header(name = "expType")]
    pub expression_type: Option<Cow<'a, str>>,
    /// Filter expression; absent means everything.
    #[header(name = "exp")]
    pub expression: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Whether to receive now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "NotificationResponseHeader")]
pub struct NotificationResponse {
    /// Whether there is something to receive.
    #[header(required)]
    pub has_msg: bool,
    /// Whether the request was not held because too many are.
    pub polling_full: bool,
}

/// Asks how many requests are held.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "PollingInfoRequestHeader")]
pub struct PollingInfoRequest<'a> {
    /// Group whose requests are counted.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Topic that they wait on.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue that they wait on.
    #[header(required)]
    pub queue_id: i32,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// How many requests are held.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "PollingInfoResponseHeader")]
pub struct PollingInfoResponse {
    /// Number of held requests.
    #[header(required)]
    pub polling_num: i32,
}
