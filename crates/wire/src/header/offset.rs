//! Headers of offsets: how far a queue goes, and how far a group has come in it.

use std::borrow::Cow;

use super::{FieldKind, FieldSink, FieldValue, Header, RpcFields, TopicRpcFields};

/// Asks for the offset behind the last message of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Header)]
#[header(name = "GetMaxOffsetRequestHeader")]
pub struct GetMaxOffsetRequest<'a> {
    /// Topic of the queue.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue to look at.
    #[header(required)]
    pub queue_id: i32,
    /// Whether only messages that can be read already count. True by default.
    pub committed: bool,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

impl Default for GetMaxOffsetRequest<'_> {
    fn default() -> Self {
        Self {
            topic: Default::default(),
            queue_id: Default::default(),
            committed: true,
            rpc: TopicRpcFields::default(),
        }
    }
}

/// The offset behind the last message of a queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetMaxOffsetResponseHeader")]
pub struct GetMaxOffsetResponse {
    /// Logical offset behind the last message.
    #[header(required)]
    pub offset: i64,
}

/// Asks for the offset of the first message of a queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetMinOffsetRequestHeader")]
pub struct GetMinOffsetRequest<'a> {
    /// Topic of the queue.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue to look at.
    #[header(required)]
    pub queue_id: i32,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// The offset of the first message of a queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetMinOffsetResponseHeader")]
pub struct GetMinOffsetResponse {
    /// Logical offset of the first message that is still there.
    #[header(required)]
    pub offset: i64,
}

/// Which message a search by time takes when several or none were stored at that time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum BoundaryType {
    /// The first message stored at that time, or the first one after it.
    #[default]
    Lower,
    /// The last message stored at that time, or the last one before it.
    Upper,
}

impl<'a> FieldValue<'a> for BoundaryType {
    const KIND: FieldKind = FieldKind::Enum;
    const WANTED: &'static str = "LOWER or UPPER";

    /// As `BoundaryType.getType` of the reference does, takes all but `upper` for lower.
    fn parse(value: &'a [u8]) -> Option<Self> {
        Some(if value.eq_ignore_ascii_case(b"upper") {
            Self::Upper
        } else {
            Self::Lower
        })
    }

    fn put(&self, name: &str, sink: &mut FieldSink<'_>) {
        sink.text(
            name,
            match self {
                Self::Lower => "LOWER",
                Self::Upper => "UPPER",
            },
        );
    }
}

/// Asks for the offset of the message stored at a time.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "SearchOffsetRequestHeader")]
pub struct SearchOffsetRequest<'a> {
    /// Topic of the queue.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Lite topic below `topic` to look at instead.
    pub lite_topic: Option<Cow<'a, str>>,
    /// Queue to look at.
    #[header(required)]
    pub queue_id: i32,
    /// Store time to look for, in milliseconds since 1970.
    #[header(required)]
    pub timestamp: i64,
    /// Which message to take when several or none were stored at that time.
    pub boundary_type: Option<BoundaryType>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// The offset of the message stored at a time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "SearchOffsetResponseHeader")]
pub struct SearchOffsetResponse {
    /// Logical offset of the message.
    #[header(required)]
    pub offset: i64,
}

/// Asks when the first message of a queue was stored.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetEarliestMsgStoretimeRequestHeader")]
pub struct GetEarliestMsgStoretimeRequest<'a> {
    /// Topic of the queue.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue to look at.
    #[header(required)]
    pub queue_id: i32,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// When the first message of a queue was stored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetEarliestMsgStoretimeResponseHeader")]
pub struct GetEarliestMsgStoretimeResponse {
    /// Store time in milliseconds since 1970; -1 for an empty queue.
    #[header(required)]
    pub timestamp: i64,
}

/// Asks how far a group has come in a queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "QueryConsumerOffsetRequestHeader")]
pub struct QueryConsumerOffsetRequest<'a> {
    /// Group to look up.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Topic of the queue.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue to look at.
    #[header(required)]
    pub queue_id: i32,
    /// Whether a group without an offset gets 0 where the queue's start is still in memory.
    /// Absent means yes.
    pub set_zero_if_not_found: Option<bool>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// How far a group has come in a queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "QueryConsumerOffsetResponseHeader")]
pub struct QueryConsumerOffsetResponse {
    /// Logical offset of the next message to consume.
    #[header(required)]
    pub offset: i64,
}

/// Stores how far a group has come in a queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "UpdateConsumerOffsetRequestHeader")]
pub struct UpdateConsumerOffsetRequest<'a> {
    /// Group that consumed.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Topic of the queue.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue that was consumed.
    #[header(required)]
    pub queue_id: i32,
    /// Logical offset of the next message to consume.
    #[header(required)]
    pub commit_offset: i64,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Says that the offset is stored; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "UpdateConsumerOffsetResponseHeader")]
pub struct UpdateConsumerOffsetResponse {}

/// Where a group starts to consume a topic; no request code of version 5.5.0 carries it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "InitConsumerOffsetRequestHeader")]
pub struct InitConsumerOffsetRequest<'a> {
    /// Topic to consume.
    pub topic: Option<Cow<'a, str>>,
    /// 0 first message, 1 behind the last.
    pub init_mode: i32,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Sets a group's offsets in a topic to a time or a place.
#[derive(Debug, Clone, PartialEq, Eq, Header)]
#[header(name = "ResetOffsetRequestHeader")]
pub struct ResetOffsetRequest<'a> {
    /// Consumer group to reset.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// Topic to reset it in.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// One queue, or -1 for all; -1 by default.
    pub queue_id: i32,
    /// Logical offset to go to, for one queue; -1 or absent: by `timestamp`.
    pub offset: Option<i64>,
    /// Store time to go to, in milliseconds since 1970; -1: the end.
    #[header(required)]
    pub timestamp: i64,
    /// Whether a group may also be moved forward.
    #[header(required)]
    pub is_force: bool,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

impl Default for ResetOffsetRequest<'_> {
    fn default() -> Self {
        Self {
            group: Default::default(),
            topic: Default::default(),
            queue_id: -1,
            offset: Default::default(),
            timestamp: Default::default(),
            is_force: Default::default(),
            rpc: TopicRpcFields::default(),
        }
    }
}

/// Asks how far other groups have come in a topic, to correct a group's offsets.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "QueryCorrectionOffsetHeader")]
pub struct QueryCorrectionOffsetRequest<'a> {
    /// Groups to look at, joined by commas.
    pub filter_groups: Option<Cow<'a, str>>,
    /// Group whose offsets they are compared with.
    #[header(required)]
    pub compare_group: Cow<'a, str>,
    /// Topic to compare in.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Gives a group the offsets of another.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "CloneGroupOffsetRequestHeader")]
pub struct CloneGroupOffsetRequest<'a> {
    /// Group to copy from.
    #[header(required)]
    pub src_group: Cow<'a, str>,
    /// Group to copy to.
    #[header(required)]
    pub dest_group: Cow<'a, str>,
    /// One topic; absent: all that the first group consumes.
    pub topic: Option<Cow<'a, str>>,
    /// Whether to copy topics as well that the first group is no longer subscribed to.
    pub offline: bool,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Asks what span of time a group has still to consume.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "QueryConsumeTimeSpanRequestHeader")]
pub struct QueryConsumeTimeSpanRequest<'a> {
    /// Topic consumed.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Consumer group.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}
