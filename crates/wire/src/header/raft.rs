//! Headers that go through the log of the controllers' Raft group, from controller to controller.

use std::borrow::Cow;

use super::Header;

/// A broker was heard of.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RaftBrokerHeartBeatEventRequest")]
pub struct RaftBrokerHeartBeatEventRequest<'a> {
    /// Cluster of the broker, as it is identified.
    pub cluster_name_identity_info: Option<Cow<'a, str>>,
    /// Broker group of the broker, as it is identified.
    pub broker_name_identity_info: Option<Cow<'a, str>>,
    /// Id of the broker, as it is identified.
    pub broker_id_identity_info: Option<i64>,
    /// Broker group that the heartbeat named.
    pub broker_name: Option<Cow<'a, str>>,
    /// Address that clients reach the broker at.
    pub broker_addr: Option<Cow<'a, str>>,
    /// After how long a silent broker counts as gone, in milliseconds.
    pub heartbeat_timeout_millis: Option<i64>,
    /// Id that the heartbeat named.
    pub broker_id: Option<i64>,
    /// When it was heard of, in milliseconds since 1970.
    pub last_update_timestamp: Option<i64>,
    /// Master epoch that the broker knows.
    pub epoch: Option<i32>,
    /// End of its commit log in bytes.
    pub max_offset: Option<i64>,
    /// End of what all in-sync replicas have, in bytes.
    pub confirm_offset: Option<i64>,
    /// Priority in master elections; the smaller is preferred.
    pub election_priority: Option<i32>,
}

/// Says that it is known now; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "RaftBrokerHeartBeatEventResponse")]
pub struct RaftBrokerHeartBeatEventResponse {}

/// Asks for the in-sync replicas of all groups.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetSyncStateDataRequest")]
pub struct GetSyncStateDataRequest {
    /// When it was asked, in milliseconds since 1970.
    pub invoke_time: Option<i64>,
}

/// Looks for brokers that have been silent too long.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "CheckNotActiveBrokerRequest")]
pub struct CheckNotActiveBrokerRequest {
    /// The time to measure from, in milliseconds since 1970.
    pub check_time_millis: Option<i64>,
}

/// Comes with the brokers that are gone; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "CheckNotActiveBrokerResponse")]
pub struct CheckNotActiveBrokerResponse {}

/// Asks what is known of living brokers.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetBrokerLiveInfoRequest")]
pub struct GetBrokerLiveInfoRequest<'a> {
    /// Name of the cluster; absent: all.
    pub cluster_name: Option<Cow<'a, str>>,
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
    /// Id in the group.
    pub broker_id: Option<i64>,
}

/// Comes with what is known; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "GetBrokerLiveInfoResponse")]
pub struct GetBrokerLiveInfoResponse {}

/// A broker's connection was closed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "BrokerCloseChannelRequest")]
pub struct BrokerCloseChannelRequest<'a> {
    /// Name of the cluster.
    pub cluster_name: Option<Cow<'a, str>>,
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
    /// Id in the group.
    pub broker_id: Option<i64>,
}

/// Says that it is known now; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "BrokerCloseChannelResponse")]
pub struct BrokerCloseChannelResponse {}
