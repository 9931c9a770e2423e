//! How a consuming client is doing, as it says itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::heartbeat::SubscriptionData;
use super::queue::MessageQueue;

/// How a consuming client is doing.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerRunningInfo {
    /// Stacks of its threads, if asked for.
    pub jstack: Option<String>,
    /// Queues that it receives from.
    pub mq_pop_table: BTreeMap<MessageQueue, PopProcessQueueInfo>,
    /// Queues that it pulls.
    pub mq_table: BTreeMap<MessageQueue, ProcessQueueInfo>,
    /// Its settings and states by name.
    pub properties: BTreeMap<String, String>,
    /// Rates by topic.
    pub status_table: BTreeMap<String, ConsumeStatus>,
    /// What it subscribes to.
    pub subscription_set: Vec<SubscriptionData>,
    /// What the application adds.
    pub user_consumer_info: BTreeMap<String, String>,
}

/// Messages of a pulled queue that are in the client.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessQueueInfo {
    /// Number of messages.
    pub cached_msg_count: i32,
    /// Logical offset of the last.
    pub cached_msg_max_offset: i64,
    /// Logical offset of the first.
    pub cached_msg_min_offset: i64,
    /// Their size, in MiB.
    #[serde(rename = "cachedMsgSizeInMiB")]
    pub cached_msg_size_in_mib: i32,
    /// Stored consumer offset.
    pub commit_offset: i64,
    /// Whether the queue was given up.
    pub droped: bool,
    /// Last consumption, in milliseconds since 1970.
    pub last_consume_timestamp: i64,
    /// Last lock, in milliseconds since 1970.
    pub last_lock_timestamp: i64,
    /// Last pull, in milliseconds since 1970.
    pub last_pull_timestamp: i64,
    /// Whether the client has the queue's lock.
    pub locked: bool,
    /// Messages that an ordered consumer has begun.
    pub transaction_msg_count: i32,
    /// Logical offset of the last of these.
    pub transaction_msg_max_offset: i64,
    /// Logical offset of the first of these.
    pub transaction_msg_min_offset: i64,
    /// How often it tried to give up the lock.
    pub try_unlock_times: i64,
}

/// Messages received from a queue that are in the client.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PopProcessQueueInfo {
    /// Whether the queue was given up.
    pub droped: bool,
    /// Last reception, in milliseconds since 1970.
    pub last_pop_timestamp: i64,
    /// Messages not acknowledged yet.
    pub wait_ack_count: i32,
}

/// Rates at which a topic is consumed, over the last minute.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatus {
    /// Failures in the last hour.
    pub consume_failed_msgs: i64,
    /// Failures in a second.
    #[serde(rename = "consumeFailedTPS")]
    pub consume_failed_tps: f64,
    /// Consumptions in a second.
    #[serde(rename = "consumeOKTPS")]
    pub consume_ok_tps: f64,
    /// Mean time of a consumption, in milliseconds.
    #[serde(rename = "consumeRT")]
    pub consume_rt: f64,
    /// Mean time of a pull, in milliseconds.
    #[serde(rename = "pullRT")]
    pub pull_rt: f64,
    /// Messages pulled in a second.
    #[serde(rename = "pullTPS")]
    pub pull_tps: f64,
}
