//! Bodies about replication, between brokers and with the controller.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::route::BrokerMemberGroup;

/// How replication of a broker is doing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HARuntimeInfo {
    /// As a replica.
    pub ha_client_runtime_info: HAClientRuntimeInfo,
    /// As a master: one for each replica.
    pub ha_connection_info: Vec<HAConnectionRuntimeInfo>,
    /// Replicas that are in sync.
    pub in_sync_slave_nums: i32,
    /// Whether the broker is a master.
    pub master: bool,
    /// End of the commit log, in bytes.
    pub master_commit_log_max_offset: i64,
}

/// How a replica is doing, as its master sees it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HAConnectionRuntimeInfo {
    /// Address of the replica.
    pub addr: String,
    /// How far it is behind, in bytes.
    pub diff: i64,
    /// Whether it is in sync.
    pub in_sync: bool,
    /// End of what it has, in bytes.
    pub slave_ack_offset: i64,
    /// Where the transfer is, in bytes.
    pub transfer_from_where: i64,
    /// Bytes sent to it in a second.
    pub transferred_byte_in_second: i64,
}

/// How a replica is doing, as it sees itself.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HAClientRuntimeInfo {
    /// Last data from the master, in milliseconds since 1970.
    pub last_read_timestamp: i64,
    /// Last report to the master, in milliseconds since 1970.
    pub last_write_timestamp: i64,
    /// Address of the master.
    pub master_addr: Option<String>,
    /// End of what the master has on disk, in bytes.
    pub master_flush_offset: i64,
    /// End of the commit log, in bytes.
    pub max_offset: i64,
    /// Bytes received in a second.
    pub transferred_byte_in_second: i64,
}

/// The in-sync replicas of a broker group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStateSet {
    /// Ids of the brokers.
    pub sync_state_set: BTreeSet<i64>,
    /// How often the set has changed.
    pub sync_state_set_epoch: i32,
}

/// The group of a new master.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElectMasterResponseBody {
    /// Its brokers.
    pub broker_member_group: BrokerMemberGroup,
    /// Ids of its in-sync replicas.
    pub sync_state_set: BTreeSet<i64>,
}

/// The epochs that a broker has lived through.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EpochEntryCache {
    /// Id of the broker.
    pub broker_id: i64,
    /// Name of the broker group.
    pub broker_name: String,
    /// Name of the cluster.
    pub cluster_name: String,
    /// Epochs, oldest first.
    pub epoch_list: Vec<EpochEntry>,
    /// End of the commit log, in bytes.
    pub max_offset: i64,
}

/// What one master wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EpochEntry {
    /// Where its part of the commit log ends, in bytes; the greatest number: it goes on.
    pub end_offset: i64,
    /// Number of the master.
    pub epoch: i32,
    /// Where its part of the commit log starts, in bytes.
    pub start_offset: i64,
}

impl Default for EpochEntry {
    fn default() -> Self {
        Self {
            end_offset: i64::MAX,
            epoch: 0,
            start_offset: 0,
        }
    }
}

/// Masters and replicas of broker groups.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerReplicasInfo {
    /// One by broker group.
    pub replicas_info_table: BTreeMap<String, ReplicasInfo>,
}

/// Master and replicas of a broker group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicasInfo {
    /// Replicas in sync.
    pub in_sync_replicas: Vec<ReplicaIdentity>,
    /// Address of the master.
    pub master_address: Option<String>,
    /// Id of the master.
    pub master_broker_id: Option<i64>,
    /// How many masters the group has had.
    pub master_epoch: i32,
    /// Replicas not in sync.
    pub not_in_sync_replicas: Vec<ReplicaIdentity>,
    /// How often the in-sync replicas have changed.
    pub sync_state_set_epoch: i32,
}

/// A replica.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaIdentity {
    /// Whether the controller hears of it.
    pub alive: bool,
    /// Address of the broker.
    pub broker_address: Option<String>,
    /// Id of the broker.
    pub broker_id: i64,
    /// Name of the broker group.
    pub broker_name: String,
}

/// Who is master of a broker group now.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleChangeNotifyEntry {
    /// Its brokers.
    pub broker_member_group: BrokerMemberGroup,
    /// Address of the master.
    pub master_address: Option<String>,
    /// Id of the master.
    pub master_broker_id: Option<i64>,
    /// How many masters the group has had.
    pub master_epoch: i32,
    /// Ids of its in-sync replicas.
    pub sync_state_set: BTreeSet<i64>,
    /// How often the set has changed.
    pub sync_state_set_epoch: i32,
}
