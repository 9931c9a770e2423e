//! Headers of reading: pulls, queries by key or id, looks into a consume queue.

use std::borrow::Cow;

use super::{Header, TopicRpcFields};

/// Asks for the messages of a queue from an offset on.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "PullMessageRequestHeader")]
pub struct PullMessageRequest<'a> {
    /// Name of the pulling consumer group.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Topic to read.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Lite topic below `topic` to read instead.
    pub lite_topic: Option<Cow<'a, str>>,
    /// Queue to read.
    #[header(required)]
    pub queue_id: i32,
    /// Logical offset of the first message wanted.
    #[header(required)]
    pub queue_offset: i64,
    /// Most messages wanted; the broker may give fewer.
    #[header(required)]
    pub max_msg_nums: i32,
    /// Pull flag bits: 1 commit offset, 2 suspend, 4 subscription given, 8 class filter, 16 lite
    /// pull.
    #[header(required)]
    pub sys_flag: i32,
    /// Consumer offset to store along the way, if bit 0 of `sys_flag` says so.
    #[header(required)]
    pub commit_offset: i64,
    /// How long the broker may hold the request while there is nothing new, in milliseconds.
    #[header(required)]
    pub suspend_timeout_millis: i64,
    /// Filter expression, if bit 2 of `sys_flag` says so.
    pub subscription: Option<Cow<'a, str>>,
    /// Version of the subscription, as of the heartbeat that announced it.
    #[header(required)]
    pub sub_version: i64,
    /// Language of `subscription`: `TAG` or `SQL92`; absent means `TAG`.
    pub expression_type: Option<Cow<'a, str>>,
    /// Most bytes of messages wanted; one message always fits.
    pub max_msg_bytes: Option<i32>,
    /// Who pulls: -1 a client, 0 a proxy for ordering, 1 for broadcast, 2 for a stream.
    pub request_source: Option<i32>,
    /// Id of the client that a proxy pulls for.
    #[header(name = "proxyFrowardClientId")]
    pub proxy_forward_client_id: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// What comes with the pulled messages, or instead of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "PullMessageResponseHeader")]
pub struct PullMessageResponse {
    /// Id of the broker to pull from next time: 0 is the master.
    #[header(required)]
    pub suggest_which_broker_id: i64,
    /// Logical offset to go on from.
    #[header(required)]
    pub next_begin_offset: i64,
    /// First logical offset in the queue.
    #[header(required)]
    pub min_offset: i64,
    /// Logical offset behind the last message in the queue.
    #[header(required)]
    pub max_offset: i64,
    /// What to add to the queue offsets in the records, with static topics.
    pub offset_delta: Option<i64>,
    /// System flag bits of the topic.
    pub topic_sys_flag: Option<i32>,
    /// System flag bits of the consumer group.
    pub group_sys_flag: Option<i32>,
    /// What forbids reading: 1 broker, 2 group, 3 topic, 4 broadcast being off, 5 the group with
    /// this topic.
    pub forbidden_type: Option<i32>,
}

/// Finds messages by key in the index.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "QueryMessageRequestHeader")]
pub struct QueryMessageRequest<'a> {
    /// Topic of the messages.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Key, unique id or tag to look for.
    #[header(required)]
    pub key: Cow<'a, str>,
    /// Most messages wanted.
    #[header(required)]
    pub max_num: i32,
    /// Earliest store time, in milliseconds since 1970.
    #[header(required)]
    pub begin_timestamp: i64,
    /// Latest store time, in milliseconds since 1970.
    #[header(required)]
    pub end_timestamp: i64,
    /// What `key` is: `K` key, `U` unique id, `T` tag; absent means key.
    pub index_type: Option<Cow<'a, str>>,
    /// Where the page before ended, to read on from there.
    pub last_key: Option<Cow<'a, str>>,
    /// Whether `key` is a unique id; added to the fields of the class.
    #[header(name = "_UNIQUE_KEY_QUERY")]
    pub unique_key_query: Option<bool>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// State of the index that was asked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "QueryMessageResponseHeader")]
pub struct QueryMessageResponse {
    /// Store time of the newest message in the index, in milliseconds since 1970.
    #[header(required)]
    pub index_last_update_timestamp: i64,
    /// Commit log offset of the newest message in the index.
    #[header(required)]
    pub index_last_update_phyoffset: i64,
}

/// Reads the one message at a place in the commit log.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ViewMessageRequestHeader")]
pub struct ViewMessageRequest<'a> {
    /// Topic of the message, for authorization.
    pub topic: Option<Cow<'a, str>>,
    /// Place of the message in the commit log, in bytes.
    #[header(required)]
    pub offset: i64,
}

/// Comes with the message; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "ViewMessageResponseHeader")]
pub struct ViewMessageResponse {}

/// Looks at entries of a consume queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "QueryConsumeQueueRequestHeader")]
pub struct QueryConsumeQueueRequest<'a> {
    /// Topic of the queue.
    pub topic: Option<Cow<'a, str>>,
    /// Queue to look into.
    pub queue_id: i32,
    /// Logical offset of the first entry wanted.
    pub index: i64,
    /// Most entries wanted.
    pub count: i32,
    /// Group whose subscription is tried on each entry.
    pub consumer_group: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}
