//! Headers between brokers, and of a broker as a process: replicas, containers, statistics.

use std::borrow::Cow;

use super::Header;

/// Asks for the brokers of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetBrokerMemberGroupRequestHeader")]
pub struct GetBrokerMemberGroupRequest<'a> {
    /// Name of the cluster.
    #[header(required)]
    pub cluster_name: Cow<'a, str>,
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
}

/// Tells the brokers of a group which of them has the smallest id now.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "NotifyMinBrokerIdChangeRequestHeader")]
pub struct NotifyMinBrokerIdChangeRequest<'a> {
    /// Smallest id that is alive.
    pub min_broker_id: Option<i64>,
    /// Name of the broker group.
    pub broker_name: Option<Cow<'a, str>>,
    /// Address of that broker.
    pub min_broker_addr: Option<Cow<'a, str>>,
    /// Address of the broker that went away, if one did.
    pub offline_broker_addr: Option<Cow<'a, str>>,
    /// Address that replicas reach the new smallest one at.
    pub ha_broker_addr: Option<Cow<'a, str>>,
}

/// A broker asks its master about replication, or tells it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ExchangeHAInfoRequestHeader")]
pub struct ExchangeHAInfoRequest<'a> {
    /// Address that replicas reach the master at.
    pub master_ha_address: Option<Cow<'a, str>>,
    /// End of what the master has on disk, in bytes.
    pub master_flush_offset: Option<i64>,
    /// Address that clients reach the master at.
    pub master_address: Option<Cow<'a, str>>,
}

/// What the master says about replication.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ExchangeHAInfoResponseHeader")]
pub struct ExchangeHAInfoResponse<'a> {
    /// Address that replicas reach the master at.
    pub master_ha_address: Option<Cow<'a, str>>,
    /// End of what the master has on disk, in bytes.
    pub master_flush_offset: Option<i64>,
    /// Address that clients reach the master at.
    pub master_address: Option<Cow<'a, str>>,
}

/// Sets from where replicas count the master's data as its own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "ResetMasterFlushOffsetHeader")]
pub struct ResetMasterFlushOffsetRequest {
    /// Commit log offset in bytes.
    #[header(required)]
    pub master_flush_offset: i64,
}

/// Starts a broker inside a container.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "AddBrokerRequestHeader")]
pub struct AddBrokerRequest<'a> {
    /// Path of its configuration file on the container's machine.
    pub config_path: Option<Cow<'a, str>>,
}

/// Stops a broker inside a container.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RemoveBrokerRequestHeader")]
pub struct RemoveBrokerRequest<'a> {
    /// Name of the broker group.
    #[header(required)]
    pub broker_name: Cow<'a, str>,
    /// Name of the cluster.
    #[header(required)]
    pub broker_cluster_name: Cow<'a, str>,
    /// Id in the group.
    #[header(required)]
    pub broker_id: i64,
}

/// Comes with the configuration.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetBrokerConfigResponseHeader")]
pub struct GetBrokerConfigResponse<'a> {
    /// Data version of the configuration, as JSON.
    #[header(required)]
    pub version: Cow<'a, str>,
}

/// Asks for a counter of the broker's statistics.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ViewBrokerStatsDataRequestHeader")]
pub struct ViewBrokerStatsDataRequest<'a> {
    /// Name of the counter set, such as `TOPIC_PUT_NUMS`.
    #[header(required)]
    pub stats_name: Cow<'a, str>,
    /// Topic, group or both joined by `@`, as the set is keyed.
    #[header(required)]
    pub stats_key: Cow<'a, str>,
}

/// Writes configuration kept in RocksDB to JSON files.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ExportRocksDBConfigToJsonRequestHeader")]
pub struct ExportRocksDBConfigToJsonRequest<'a> {
    /// What to write: `topics`, `subscriptionGroups`, `consumerOffsets`, joined by `;`.
    #[header(required)]
    pub config_type: Cow<'a, str>,
}

/// Asks whether consume queues in files and in RocksDB agree.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "CheckRocksdbCqWriteProgressRequestHeader")]
pub struct CheckRocksdbCqWriteProgressRequest<'a> {
    /// Topic to check.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Store time to check from, in milliseconds since 1970.
    pub check_store_time: i64,
}

/// Chooses what keeps timed messages; the reference has no class for this field.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "SWITCH_TIMER_ENGINE")]
pub struct SwitchTimerEngineRequest<'a> {
    /// `F`: the time wheel file, `R`: RocksDB.
    #[header(name = "E_T")]
    pub engine_type: Option<Cow<'a, str>>,
}
