//! Headers of lite topics: many small topics below one parent, each consumed by itself.

use std::borrow::Cow;

use super::{Header, RpcFields};

/// Takes messages of the lite topics that a client is subscribed to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "PopLiteMessageRequestHeader")]
pub struct PopLiteMessageRequest<'a> {
    /// Id of the receiving client.
    #[header(required)]
    pub client_id: Cow<'a, str>,
    /// Name of its consumer group.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Parent topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Most messages wanted.
    #[header(required)]
    pub max_msg_num: i32,
    /// How long the messages stay hidden from others unless acknowledged, in milliseconds.
    #[header(required)]
    pub invisible_time: i64,
    /// How long the broker may hold the request while there is nothing new, in milliseconds.
    #[header(required)]
    pub poll_time: i64,
    /// When the client made the request, in milliseconds since 1970.
    #[header(required)]
    pub born_time: i64,
    /// Id of the attempt, so that a repeated request gets the same messages.
    pub attempt_id: Option<Cow<'a, str>>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// What is needed to acknowledge the received messages.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "PopLiteMessageResponseHeader")]
pub struct PopLiteMessageResponse<'a> {
    /// When the messages were taken, in milliseconds since 1970.
    #[header(required)]
    pub pop_time: i64,
    /// How long they stay hidden, in milliseconds.
    #[header(required)]
    pub invisible_time: i64,
    /// Queue of the revive topic that keeps track of them.
    #[header(required)]
    pub revive_qid: i32,
    /// First offset for each queue, as in a pop.
    pub start_offset_info: Option<Cow<'a, str>>,
    /// Offsets for each queue, as in a pop.
    pub msg_offset_info: Option<Cow<'a, str>>,
    /// Retries so far of the messages, as in a pop.
    pub order_count_info: Option<Cow<'a, str>>,
}

/// Comes with the lite topics that a client subscribes to or leaves.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "LiteSubscriptionCtlRequestHeader")]
pub struct LiteSubscriptionCtlRequest<'a> {
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Tells a client that it no longer gets a lite topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "NotifyUnsubscribeLiteRequestHeader")]
pub struct NotifyUnsubscribeLiteRequest<'a> {
    /// Lite topic that was taken away.
    #[header(required)]
    pub lite_topic: Cow<'a, str>,
    /// Group of the client.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Id of the client.
    #[header(required)]
    pub client_id: Cow<'a, str>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Asks about a parent topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetParentTopicInfoRequestHeader")]
pub struct GetParentTopicInfoRequest<'a> {
    /// Parent topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
}

/// Asks who subscribes to a lite topic and how far it goes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetLiteTopicInfoRequestHeader")]
pub struct GetLiteTopicInfoRequest<'a> {
    /// Parent topic.
    pub parent_topic: Option<Cow<'a, str>>,
    /// Lite topic below it.
    pub lite_topic: Option<Cow<'a, str>>,
}

/// Asks what lite topics a client subscribes to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetLiteClientInfoRequestHeader")]
pub struct GetLiteClientInfoRequest<'a> {
    /// Parent topic.
    pub parent_topic: Option<Cow<'a, str>>,
    /// Consumer group of the client.
    pub group: Option<Cow<'a, str>>,
    /// Id of the client.
    pub client_id: Option<Cow<'a, str>>,
    /// Most lite topics to list, above 0; 1000 if it is missing.
    pub max_count: Option<i32>,
}

/// Asks how far behind a group is on its lite topics.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetLiteGroupInfoRequestHeader")]
pub struct GetLiteGroupInfoRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// One lite topic to ask about; absent: the group as a whole.
    pub lite_topic: Option<Cow<'a, str>>,
    /// How many of the furthest behind to list.
    pub top_k: i32,
}

/// Makes the broker look again for messages that a client waits for.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "TriggerLiteDispatchRequestHeader")]
pub struct TriggerLiteDispatchRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// One client of it; absent: all.
    pub client_id: Option<Cow<'a, str>>,
}
