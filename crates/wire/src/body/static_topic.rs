//! Bodies about static topics, whose logical queues are mapped to queues of brokers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::version::DataVersion;

/// Mapping of a static topic on one broker, as far as routes need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingInfo {
    /// Name of the broker group.
    pub bname: String,
    /// Queues of the broker by logical queue, where they take messages now.
    pub curr_id_map: BTreeMap<i32, i32>,
    /// Whether the mapping is known to be out of date.
    pub dirty: bool,
    /// Number of the mapping; greater is newer.
    pub epoch: i64,
    /// Scope of the topic, `__global__` by custom.
    pub scope: String,
    /// Name of the topic.
    pub topic: String,
    /// Logical queues on all brokers.
    pub total_queues: i32,
}

impl Default for TopicQueueMappingInfo {
    fn default() -> Self {
        Self {
            bname: String::new(),
            curr_id_map: BTreeMap::new(),
            dirty: false,
            epoch: 0,
            scope: "__global__".to_owned(),
            topic: String::new(),
            total_queues: 0,
        }
    }
}

/// Mapping of a static topic on one broker, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingDetail {
    /// Name of the broker group.
    pub bname: String,
    /// Queues of the broker by logical queue, where they take messages now.
    pub curr_id_map: BTreeMap<i32, i32>,
    /// Whether the mapping is known to be out of date.
    pub dirty: bool,
    /// Number of the mapping; greater is newer.
    pub epoch: i64,
    /// History of each logical queue that lives here, oldest part first.
    pub hosted_queues: BTreeMap<i32, Vec<LogicQueueMappingItem>>,
    /// Scope of the topic, `__global__` by custom.
    pub scope: String,
    /// Name of the topic.
    pub topic: String,
    /// Logical queues on all brokers.
    pub total_queues: i32,
}

impl Default for TopicQueueMappingDetail {
    fn default() -> Self {
        Self {
            bname: String::new(),
            curr_id_map: BTreeMap::new(),
            dirty: false,
            epoch: 0,
            hosted_queues: BTreeMap::new(),
            scope: "__global__".to_owned(),
            topic: String::new(),
            total_queues: 0,
        }
    }
}

/// A part of a logical queue: where it was from one offset to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogicQueueMappingItem {
    /// Name of the broker group that has it.
    pub bname: String,
    /// Offset in the broker's queue behind the part; -1: it goes on.
    pub end_offset: i64,
    /// Number of the part, from 0.
    #[serde(rename = "gen")]
    pub generation: i32,
    /// Offset in the logical queue that the part starts at; -1: not known yet.
    pub logic_offset: i64,
    /// Queue of the broker.
    pub queue_id: i32,
    /// Offset in the broker's queue that the part starts at.
    pub start_offset: i64,
    /// Store time of its last message, in milliseconds since 1970; -1: it goes on.
    pub time_of_end: i64,
    /// Store time of its first message, in milliseconds since 1970; -1: not known.
    pub time_of_start: i64,
}

impl Default for LogicQueueMappingItem {
    fn default() -> Self {
        Self {
            bname: String::new(),
            end_offset: -1,
            generation: 0,
            logic_offset: 0,
            queue_id: 0,
            start_offset: 0,
            time_of_end: -1,
            time_of_start: -1,
        }
    }
}

/// All mappings of a broker.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingSerializeWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Mappings by topic.
    pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingDetail>,
}
