//! Headers between clients and the broker about themselves: presence, locks, questions to clients.

use std::borrow::Cow;

use super::{Header, RpcFields, TopicRpcFields};

/// Comes with what a client produces and consumes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "HeartbeatRequestHeader")]
pub struct HeartbeatRequest<'a> {
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// A client leaves its groups.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "UnregisterClientRequestHeader")]
pub struct UnregisterClientRequest<'a> {
    /// Id of the client.
    #[header(name = "clientID", required)]
    pub client_id: Cow<'a, str>,
    /// Producer group that it leaves.
    pub producer_group: Option<Cow<'a, str>>,
    /// Consumer group that it leaves.
    pub consumer_group: Option<Cow<'a, str>>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Says that the client has left; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "UnregisterClientResponseHeader")]
pub struct UnregisterClientResponse {}

/// Asks for the ids of the clients in a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetConsumerListByGroupRequestHeader")]
pub struct GetConsumerListByGroupRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Comes with the ids of the clients; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetConsumerListByGroupResponseHeader")]
pub struct GetConsumerListByGroupResponse {}

/// Tells a client that the members of its group have changed, so that it rebalances.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "NotifyConsumerIdsChangedRequestHeader")]
pub struct NotifyConsumerIdsChangedRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Comes with the queues that an ordered consumer wants for itself.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "LockBatchMqRequestHeader")]
pub struct LockBatchMqRequest<'a> {
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Comes with the queues that an ordered consumer gives up.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "UnlockBatchMqRequestHeader")]
pub struct UnlockBatchMqRequest<'a> {
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Asks for the connected clients of a consumer group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetConsumerConnectionListRequestHeader")]
pub struct GetConsumerConnectionListRequest<'a> {
    /// Consumer group.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Asks for the connected clients of a producer group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetProducerConnectionListRequestHeader")]
pub struct GetProducerConnectionListRequest<'a> {
    /// Producer group.
    #[header(required)]
    pub producer_group: Cow<'a, str>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Asks for all connected producers; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetAllProducerInfoRequestHeader")]
pub struct GetAllProducerInfoRequest {}

/// Asks a client, through the broker, how it is doing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetConsumerRunningInfoRequestHeader")]
pub struct GetConsumerRunningInfoRequest<'a> {
    /// Consumer group of the client.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Id of the client.
    #[header(required)]
    pub client_id: Cow<'a, str>,
    /// Whether its threads are wanted as well.
    pub jstack_enable: bool,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Asks clients, through the broker, how far each has come.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetConsumerStatusRequestHeader")]
pub struct GetConsumerStatusRequest<'a> {
    /// Topic consumed.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Consumer group.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// One client, by its id; absent: all.
    pub client_addr: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Makes a client, through the broker, consume one message now.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ConsumeMessageDirectlyResultRequestHeader")]
pub struct ConsumeMessageDirectlyResultRequest<'a> {
    /// Consumer group of the client.
    #[header(required)]
    pub consumer_group: Cow<'a, str>,
    /// Id of the client.
    pub client_id: Option<Cow<'a, str>>,
    /// Offset message id of the message.
    pub msg_id: Option<Cow<'a, str>>,
    /// Name of the broker that has the message.
    pub broker_name: Option<Cow<'a, str>>,
    /// Topic of the message.
    pub topic: Option<Cow<'a, str>>,
    /// System flag bits of the topic, filled in by the broker.
    pub topic_sys_flag: Option<i32>,
    /// System flag bits of the group, filled in by the broker.
    pub group_sys_flag: Option<i32>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// How the broker takes heartbeats; the reference has no class for these fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "answer to HEART_BEAT")]
pub struct HeartbeatResponse {
    /// Whether later heartbeats may leave the subscriptions out while their fingerprint stays.
    #[header(name = "IS_SUPPORT_HEART_BEAT_V2")]
    pub is_support_heartbeat_v2: Option<bool>,
    /// Whether this heartbeat changed the group's subscriptions.
    #[header(name = "IS_SUB_CHANGE")]
    pub is_sub_change: Option<bool>,
}
