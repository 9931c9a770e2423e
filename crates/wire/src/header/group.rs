//! Headers of consumer group administration.

use std::borrow::Cow;

use super::{Header, RpcFields, TopicRpcFields};

/// Asks for the settings of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetSubscriptionGroupConfigRequestHeader")]
pub struct GetSubscriptionGroupConfigRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Asks for the settings of all groups, a page at a time.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetAllSubscriptionGroupRequestHeader")]
pub struct GetAllSubscriptionGroupRequest<'a> {
    /// Number of groups to skip.
    #[header(required)]
    pub group_seq: i32,
    /// Version that the first page came with, as JSON; when it has changed paging starts again.
    pub data_version: Option<Cow<'a, str>>,
    /// Most groups wanted in a page.
    pub max_group_num: Option<i32>,
}

/// How many groups there are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetAllSubscriptionGroupResponseHeader")]
pub struct GetAllSubscriptionGroupResponse {
    /// Number of groups in all pages.
    #[header(required)]
    pub total_group_num: i32,
}

/// Deletes a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "DeleteSubscriptionGroupRequestHeader")]
pub struct DeleteSubscriptionGroupRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub group_name: Cow<'a, str>,
    /// Whether its offsets go as well.
    pub clean_offset: bool,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Forbids or allows a group to read a topic, and asks which of both is true.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "UpdateGroupForbiddenRequestHeader")]
pub struct UpdateGroupForbiddenRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// Topic to read.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Whether the group may read it; absent: only asks.
    pub readable: Option<bool>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Asks how a group is subscribed to a topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "QuerySubscriptionByConsumerRequestHeader")]
pub struct QuerySubscriptionByConsumerRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// Name of the topic.
    pub topic: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Asks how far behind a group is.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetConsumeStatsRequestHeader")]
pub struct GetConsumeStatsRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// One topic; empty or absent: all that it consumes.
    pub topic: Option<Cow<'a, str>>,
    /// Several topics, joined by `;`.
    pub topic_list: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Asks how far behind every group of a broker is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetConsumeStatsInBrokerHeader")]
pub struct GetConsumeStatsInBrokerRequest {
    /// Whether only ordered groups are wanted.
    #[header(required)]
    pub is_order: bool,
}
