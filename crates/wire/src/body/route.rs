//! Bodies about where topics are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::static_topic::TopicQueueMappingInfo;

/// Which brokers have a topic, and how many queues of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRouteData {
    /// Addresses of the brokers.
    pub broker_datas: Vec<BrokerData>,
    /// Filter servers by broker address; kept for old brokers.
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// Order configuration of the topic, `broker-a:4;broker-b:4`.
    pub order_topic_conf: Option<String>,
    /// Queues by broker group.
    pub queue_datas: Vec<QueueData>,
    /// Mappings of a static topic by broker group.
    pub topic_queue_mapping_by_broker: Option<BTreeMap<String, TopicQueueMappingInfo>>,
}

/// Queues of a topic on a broker group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    /// Name of the broker group.
    pub broker_name: String,
    /// Permission bits: 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Queues that can be read.
    pub read_queue_nums: i32,
    /// System flag bits of the topic.
    pub topic_sys_flag: i32,
    /// Queues that can be written.
    pub write_queue_nums: i32,
}

/// Addresses of a broker group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    /// Addresses by broker id; [`MASTER_ID`] is the master.
    pub broker_addrs: BTreeMap<i64, String>,
    /// Name of the broker group.
    pub broker_name: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Whether a replica may stand in for a missing master.
    pub enable_acting_master: bool,
    /// Zone of the brokers.
    pub zone_name: Option<String>,
}

/// Number of the master among the brokers of a group (`MixAll.MASTER_ID`).
pub const MASTER_ID: i64 = 0;

impl BrokerData {
    /// Where the master is, if it lives.
    pub fn master(&self) -> Option<&String> {
        self.broker_addrs.get(&MASTER_ID)
    }

    /// Where to read: the master, or without it the replica with the smallest number.
    pub fn master_or_replica(&self) -> Option<&String> {
        self.broker_addrs.values().next()
    }
}

/// All clusters and brokers that a name server knows.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    /// Addresses by broker group.
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Broker groups by cluster.
    pub cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
}

/// The living brokers of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerMemberGroup {
    /// Addresses by broker id.
    pub broker_addrs: BTreeMap<i64, String>,
    /// Name of the broker group.
    pub broker_name: String,
    /// Name of the cluster.
    pub cluster: String,
}

/// Answer to `GET_BROKER_MEMBER_GROUP`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetBrokerMemberGroupResponseBody {
    /// The living brokers.
    pub broker_member_group: BrokerMemberGroup,
}
