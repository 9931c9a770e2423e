//! Bodies about topics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::queue::MessageQueue;
use super::static_topic::{TopicQueueMappingDetail, TopicQueueMappingInfo};
use super::version::DataVersion;

/// Settings of a topic on a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// Attributes, such as `message.type` = `FIFO`.
    pub attributes: BTreeMap<String, String>,
    /// Whether the topic keeps its order when brokers are missing.
    pub order: bool,
    /// Permission bits: 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Queues that can be read.
    pub read_queue_nums: i32,
    /// How messages carry tags.
    pub topic_filter_type: TopicFilterType,
    /// Name of the topic.
    pub topic_name: String,
    /// System flag bits: 1 unit, 2 unit subscribed.
    pub topic_sys_flag: i32,
    /// Queues that can be written.
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::default(),
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

/// Settings of a topic, with the mapping of a static topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigAndQueueMapping {
    /// Settings.
    #[serde(flatten)]
    pub config: TopicConfig,
    /// Mapping, if the topic is static.
    pub mapping_detail: Option<TopicQueueMappingDetail>,
}

/// All topics of a broker.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigSerializeWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Settings by topic.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}

/// All topics of a broker, with the mappings of static topics.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigAndMappingSerializeWrapper {
    /// Version of the table of settings.
    pub data_version: DataVersion,
    /// Version of the table of mappings.
    pub mapping_data_version: DataVersion,
    /// Settings by topic.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Mappings by topic, in full.
    pub topic_queue_mapping_detail_map: BTreeMap<String, TopicQueueMappingDetail>,
    /// Mappings by topic, as far as routes need them.
    pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingInfo>,
}

/// Names of topics.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// Address of a broker that has system topics of its own.
    pub broker_addr: Option<String>,
    /// Names, in no order.
    pub topic_list: Vec<String>,
}

/// Topics to create or change.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateTopicListRequestBody {
    /// Settings, names included.
    pub topic_config_list: Vec<TopicConfig>,
}

/// How far a queue goes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicOffset {
    /// Store time of the last message, in milliseconds since 1970; 0 for an empty queue.
    pub last_update_timestamp: i64,
    /// Logical offset behind the last message.
    pub max_offset: i64,
    /// Logical offset of the first message.
    pub min_offset: i64,
}

/// How far the queues of a topic go.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStatsTable {
    /// Offsets by queue.
    pub offset_table: BTreeMap<MessageQueue, TopicOffset>,
    /// Messages stored in a second, of late.
    pub topic_put_tps: f64,
}

/// How messages carry tags.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TopicFilterType {
    /// One tag.
    #[default]
    SingleTag,
    /// Several.
    MultiTag,
}

impl TopicFilterType {
    /// The reference's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SingleTag => "SINGLE_TAG",
            Self::MultiTag => "MULTI_TAG",
        }
    }

    /// The type of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::SingleTag, Self::MultiTag]
            .into_iter()
            .find(|known| known.name() == name)
    }
}
