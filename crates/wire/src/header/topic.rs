//! Headers of topic administration.

use std::borrow::Cow;

use super::{Header, RpcFields, TopicRpcFields};

/// Creates a topic or changes its settings.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "CreateTopicRequestHeader")]
pub struct CreateTopicRequest<'a> {
    /// Name of the topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Topic that the settings were taken from, `TBW102` by custom.
    #[header(required)]
    pub default_topic: Cow<'a, str>,
    /// Queues that can be read.
    #[header(required)]
    pub read_queue_nums: i32,
    /// Queues that can be written.
    #[header(required)]
    pub write_queue_nums: i32,
    /// Permission bits: 4 read, 2 write, 1 inherit.
    #[header(required)]
    pub perm: i32,
    /// How the topic is filtered: `SINGLE_TAG` or `MULTI_TAG`.
    #[header(required)]
    pub topic_filter_type: Cow<'a, str>,
    /// System flag bits: 1 unit, 2 unit subscribed.
    pub topic_sys_flag: Option<i32>,
    /// Whether the topic keeps its order when brokers are missing.
    #[header(required)]
    pub order: bool,
    /// Changes of attributes: `+name=value` sets, `-name` removes, joined by commas.
    pub attributes: Option<Cow<'a, str>>,
    /// Whether to go on where a static topic would lose its mapping.
    pub force: Option<bool>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Comes with a list of topics to create or change.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "CreateTopicListRequestHeader")]
pub struct CreateTopicListRequest<'a> {
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Deletes a topic and its queues from a broker.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "DeleteTopicRequestHeader")]
pub struct DeleteTopicRequest<'a> {
    /// Name of the topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Asks for the settings of a topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetTopicConfigRequestHeader")]
pub struct GetTopicConfigRequest<'a> {
    /// Name of the topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Asks how far the queues of a topic go.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetTopicStatsInfoRequestHeader")]
pub struct GetTopicStatsInfoRequest<'a> {
    /// Name of the topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Asks for the settings of all topics, a page at a time.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetAllTopicConfigRequestHeader")]
pub struct GetAllTopicConfigRequest<'a> {
    /// Number of topics to skip.
    #[header(required)]
    pub topic_seq: i32,
    /// Version that the first page came with, as JSON; when it has changed paging starts again.
    pub data_version: Option<Cow<'a, str>>,
    /// Most topics wanted in a page.
    pub max_topic_num: Option<i32>,
}

/// How many topics there are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetAllTopicConfigResponseHeader")]
pub struct GetAllTopicConfigResponse {
    /// Number of topics in all pages.
    pub total_topic_num: Option<i32>,
}

/// Asks which groups consume a topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "QueryTopicConsumeByWhoRequestHeader")]
pub struct QueryTopicConsumeByWhoRequest<'a> {
    /// Name of the topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Asks which topics a group consumes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "QueryTopicsByConsumerRequestHeader")]
pub struct QueryTopicsByConsumerRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// How many messages a queue took in a span of time; no request code of version 5.5.0 carries it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "StatisticsMessagesRequestHeader")]
pub struct StatisticsMessagesRequest<'a> {
    /// Consumer group asking.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Topic of the queue.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queue to count in; -1: all.
    #[header(required)]
    pub queue_id: i32,
    /// Start of the span, in milliseconds since 1970.
    pub from_time: i64,
    /// End of the span, in milliseconds since 1970.
    pub to_time: i64,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// The order configuration of a topic; no request code of version 5.5.0 carries it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RegisterOrderTopicRequestHeader")]
pub struct RegisterOrderTopicRequest<'a> {
    /// Name of the topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Queues by broker, `broker-a:4;broker-b:4`.
    #[header(required)]
    pub order_topic_string: Cow<'a, str>,
}
