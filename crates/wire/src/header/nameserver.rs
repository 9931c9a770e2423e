//! Headers of the name server: broker registration, routes, key-value configuration.

use std::borrow::Cow;

use super::{Header, TopicRpcFields};

/// A broker registers itself and its topics.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RegisterBrokerRequestHeader")]
pub struct RegisterBrokerRequest<'a> {
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
    /// Address that clients reach the broker at.
    #[header(required)]
    pub broker_addr: Cow<'a, str>,
    /// Name of the cluster.
    #[header(required)]
    pub cluster_name: Cow<'a, str>,
    /// Address that replicas reach the broker at.
    #[header(required)]
    pub ha_server_addr: Cow<'a, str>,
    /// Id in the group: 0 is the master.
    #[header(required)]
    pub broker_id: i64,
    /// After how long a silent broker counts as gone, in milliseconds; absent: the name server's
    /// own setting.
    pub heartbeat_timeout_millis: Option<i64>,
    /// Whether a replica may stand in for a missing master.
    pub enable_acting_master: Option<bool>,
    /// Whether the body is the compressed form.
    pub compressed: bool,
    /// CRC-32 of the body; 0 or absent is not checked.
    pub body_crc32: Option<i32>,
    /// Zone of the broker; added to the fields of the class.
    #[header(name = "__ZONE_NAME")]
    pub zone_name: Option<Cow<'a, str>>,
}

/// What a replica needs to know of its master.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RegisterBrokerResponseHeader")]
pub struct RegisterBrokerResponse<'a> {
    /// Address that replicas reach the master at.
    pub ha_server_addr: Option<Cow<'a, str>>,
    /// Address that clients reach the master at.
    pub master_addr: Option<Cow<'a, str>>,
}

/// A broker takes itself out.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "UnRegisterBrokerRequestHeader")]
pub struct UnRegisterBrokerRequest<'a> {
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
    /// Address that clients reach the broker at.
    #[header(required)]
    pub broker_addr: Cow<'a, str>,
    /// Name of the cluster.
    #[header(required)]
    pub cluster_name: Cow<'a, str>,
    /// Id in the group.
    #[header(required)]
    pub broker_id: i64,
}

/// A broker says that it is alive, to the name server or the controller.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "BrokerHeartbeatRequestHeader")]
pub struct BrokerHeartbeatRequest<'a> {
    /// Name of the cluster.
    #[header(required)]
    pub cluster_name: Cow<'a, str>,
    /// Address that clients reach the broker at.
    #[header(required)]
    pub broker_addr: Cow<'a, str>,
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
    /// Id in the group.
    pub broker_id: Option<i64>,
    /// Master epoch that the broker knows, for the controller.
    pub epoch: Option<i32>,
    /// End of its commit log in bytes, for the controller.
    pub max_offset: Option<i64>,
    /// End of what all in-sync replicas have, in bytes, for the controller.
    pub confirm_offset: Option<i64>,
    /// After how long a silent broker counts as gone, in milliseconds.
    #[header(name = "heartbeatTimeoutMills")]
    pub heartbeat_timeout_millis: Option<i64>,
    /// Priority in master elections; the smaller is preferred.
    pub election_priority: Option<i32>,
}

/// Asks whether a broker's topics have changed; the body is its data version.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "QueryDataVersionRequestHeader")]
pub struct QueryDataVersionRequest<'a> {
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
    /// Address that clients reach the broker at.
    #[header(required)]
    pub broker_addr: Cow<'a, str>,
    /// Name of the cluster.
    #[header(required)]
    pub cluster_name: Cow<'a, str>,
    /// Id in the group.
    #[header(required)]
    pub broker_id: i64,
}

/// Whether a broker's topics have changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "QueryDataVersionResponseHeader")]
pub struct QueryDataVersionResponse {
    /// Whether the broker should register again.
    #[header(required)]
    pub changed: bool,
}

/// Asks which brokers have a topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetRouteInfoRequestHeader")]
pub struct GetRouteInfoRequest<'a> {
    /// Name of the topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Whether the answer must be standard JSON, whatever the client's version.
    pub accept_standard_json_only: Option<bool>,
    /// Whether only brokers of one zone are wanted; added to the fields of the class.
    #[header(name = "__ZONE_MODE")]
    pub zone_mode: Option<bool>,
    /// That zone; added to the fields of the class.
    #[header(name = "__ZONE_NAME")]
    pub zone_name: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Adds a topic's queues on brokers that are named in the body.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RegisterTopicRequestHeader")]
pub struct RegisterTopicRequest<'a> {
    /// Name of the topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Forgets a topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "DeleteTopicFromNamesrvRequestHeader")]
pub struct DeleteTopicFromNamesrvRequest<'a> {
    /// Name of the topic.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Only on the brokers of this cluster; absent: everywhere.
    pub cluster_name: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Asks for the topics of a cluster.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetTopicsByClusterRequestHeader")]
pub struct GetTopicsByClusterRequest<'a> {
    /// Name of the cluster.
    #[header(required)]
    pub cluster: Cow<'a, str>,
}

/// Stores a value under a name.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "PutKVConfigRequestHeader")]
pub struct PutKVConfigRequest<'a> {
    /// Group of names, such as `ORDER_TOPIC_CONFIG`.
    #[header(required)]
    pub namespace: Cow<'a, str>,
    /// Name inside it.
    #[header(required)]
    pub key: Cow<'a, str>,
    /// Value to store.
    #[header(required)]
    pub value: Cow<'a, str>,
}

/// Asks for the value under a name.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetKVConfigRequestHeader")]
pub struct GetKVConfigRequest<'a> {
    /// Group of names.
    #[header(required)]
    pub namespace: Cow<'a, str>,
    /// Name inside it.
    #[header(required)]
    pub key: Cow<'a, str>,
}

/// The value under a name.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetKVConfigResponseHeader")]
pub struct GetKVConfigResponse<'a> {
    /// Stored value.
    pub value: Option<Cow<'a, str>>,
}

/// Deletes the value under a name.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "DeleteKVConfigRequestHeader")]
pub struct DeleteKVConfigRequest<'a> {
    /// Group of names.
    #[header(required)]
    pub namespace: Cow<'a, str>,
    /// Name inside it.
    #[header(required)]
    pub key: Cow<'a, str>,
}

/// Asks for all names and values of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetKVListByNamespaceRequestHeader")]
pub struct GetKVListByNamespaceRequest<'a> {
    /// Group of names.
    #[header(required)]
    pub namespace: Cow<'a, str>,
}

/// Forbids writing to all topics of a broker.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "WipeWritePermOfBrokerRequestHeader")]
pub struct WipeWritePermOfBrokerRequest<'a> {
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
}

/// How many topics were closed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "WipeWritePermOfBrokerResponseHeader")]
pub struct WipeWritePermOfBrokerResponse {
    /// Number of topics changed.
    #[header(required)]
    pub wipe_topic_count: i32,
}

/// Allows writing to all topics of a broker again.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "AddWritePermOfBrokerRequestHeader")]
pub struct AddWritePermOfBrokerRequest<'a> {
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
}

/// How many topics were opened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "AddWritePermOfBrokerResponseHeader")]
pub struct AddWritePermOfBrokerResponse {
    /// Number of topics changed.
    #[header(required)]
    pub add_topic_count: i32,
}
