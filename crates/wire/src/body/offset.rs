//! Bodies about how far groups have come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::queue::{MessageQueue, MessageQueueForC};
use super::version::DataVersion;

/// All consumer offsets of a broker.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerOffsetSerializeWrapper {
    /// Version of the table.
    pub data_version: Option<DataVersion>,
    /// Offsets of the groups of light queues, by `topic@group`; only in `lmqConsumerOffset.json`
    /// (`LmqConsumerOffsetManager`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lmq_offset_table: BTreeMap<String, i64>,
    /// Offsets by `topic@group` and queue.
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// Offsets of the delay levels.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayOffsetSerializeWrapper {
    /// Version of the table.
    pub data_version: Option<DataVersion>,
    /// Offsets by delay level.
    pub offset_table: BTreeMap<i32, i64>,
}

/// Offsets that a broadcasting client keeps in a file of its own.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetSerializeWrapper {
    /// Offsets by queue.
    pub offset_table: BTreeMap<MessageQueue, i64>,
}

/// Offsets that a group was set to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBody {
    /// Offsets by queue.
    pub offset_table: BTreeMap<MessageQueue, i64>,
}

/// The same for clients that can't read objects as names.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBodyForC {
    /// Queues with their offsets.
    pub offset_table: Vec<MessageQueueForC>,
}

/// How far clients have come.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetConsumerStatusBody {
    /// Offsets by client and queue, in the broker's answer.
    pub consumer_table: BTreeMap<String, BTreeMap<MessageQueue, i64>>,
    /// Offsets by queue, in a client's answer.
    pub message_queue_table: BTreeMap<MessageQueue, i64>,
}

/// Offsets to correct a group's by.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryCorrectionOffsetBody {
    /// Offsets by queue.
    pub correction_offsets: BTreeMap<i32, i64>,
}

/// How far a group has come in a queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetWrapper {
    /// Logical offset behind the queue's last message.
    pub broker_offset: i64,
    /// Logical offset of the next message to consume.
    pub consumer_offset: i64,
    /// Store time of the last consumed message, in milliseconds since 1970; 0: not known.
    pub last_timestamp: i64,
    /// Logical offset of the next message to pull.
    pub pull_offset: i64,
}

/// How far a group has come.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// Messages consumed in a second, of late.
    pub consume_tps: f64,
    /// Offsets by queue.
    pub offset_table: BTreeMap<MessageQueue, OffsetWrapper>,
}

/// How far every group of a broker has come.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatsList {
    /// Address of the broker.
    pub broker_addr: Option<String>,
    /// Offsets by group.
    pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    /// Messages not consumed yet, of all groups.
    pub total_diff: i64,
    /// Messages pulled and not consumed yet, of all groups.
    pub total_inflight_diff: i64,
}

/// What span of time a queue holds, and where a group is in it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueTimeSpan {
    /// Store time of the next message to consume, in milliseconds since 1970.
    pub consume_time_stamp: i64,
    /// How far the group is behind, in milliseconds.
    pub delay_time: i64,
    /// Store time of the last message, in milliseconds since 1970.
    pub max_time_stamp: i64,
    /// The queue.
    pub message_queue: MessageQueue,
    /// Store time of the first message, in milliseconds since 1970.
    pub min_time_stamp: i64,
}

/// Answer to `QUERY_CONSUME_TIME_SPAN`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryConsumeTimeSpanBody {
    /// Spans by queue.
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}
