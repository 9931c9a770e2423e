//! Bodies about lite topics.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::offset::OffsetWrapper;
use super::topic::TopicOffset;

/// Changes of lite subscriptions.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LiteSubscriptionCtlRequestBody {
    /// Changes.
    pub subscription_set: Vec<LiteSubscriptionDto>,
}

/// A change of a client's lite subscriptions (`LiteSubscriptionDTO`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LiteSubscriptionDto {
    /// What to do with the lite topics.
    pub action: LiteSubscriptionAction,
    /// Id of the client.
    pub client_id: String,
    /// Its consumer group.
    pub group: String,
    /// Lite topics.
    pub lite_topic_set: Vec<String>,
    /// Where to start.
    pub offset_option: Option<OffsetOption>,
    /// Parent topic.
    pub topic: String,
    /// Version, greater is newer.
    pub version: i64,
}

/// Where the consumption of a lite topic starts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetOption {
    /// What `value` is.
    #[serde(rename = "type")]
    pub option_type: OffsetOptionType,
    /// Policy number, offset, count or milliseconds since 1970.
    pub value: i64,
}

/// Lite topics of a broker in numbers.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetBrokerLiteInfoResponseBody {
    /// Consume queues.
    pub cq_table_size: i32,
    /// Light queues.
    pub current_lmq_num: i32,
    /// Clients with something to receive.
    pub event_map_size: i32,
    /// Groups by parent topic.
    pub group_meta: BTreeMap<String, BTreeSet<String>>,
    /// Subscriptions.
    pub lite_subscription_count: i32,
    /// Most light queues allowed.
    pub max_lmq_num: i32,
    /// Entries of the offset table.
    pub offset_table_size: i32,
    /// Entries of the table of ordered receptions.
    pub order_info_count: i32,
    /// What keeps the consume queues.
    pub store_type: String,
    /// Time to live by parent topic, in minutes.
    pub topic_meta: BTreeMap<String, i32>,
}

/// A parent topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetParentTopicInfoResponseBody {
    /// Groups that consume it.
    pub groups: BTreeSet<String>,
    /// Lite topics below it.
    pub lite_topic_count: i32,
    /// Light queues of the broker.
    pub lmq_num: i32,
    /// Name of the parent topic.
    pub topic: String,
    /// Time to live of an unused lite topic, in minutes.
    pub ttl: i32,
}

/// A lite topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetLiteTopicInfoResponseBody {
    /// Name below the parent.
    pub lite_topic: String,
    /// Name of the parent topic.
    pub parent_topic: String,
    /// Whether this broker has the lite topic by the sharding rule.
    pub sharding_to_broker: bool,
    /// Clients subscribed to it.
    pub subscriber: Vec<ClientGroup>,
    /// How far it goes.
    pub topic_offset: Option<TopicOffset>,
}

/// A client and its group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientGroup {
    /// Id of the client.
    pub client_id: String,
    /// Consumer group.
    pub group: String,
}

/// A client of lite topics.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetLiteClientInfoResponseBody {
    /// Id of the client.
    pub client_id: String,
    /// Its consumer group.
    pub group: String,
    /// Its last request, in milliseconds since 1970.
    pub last_access_time: i64,
    /// Its last reception, in milliseconds since 1970.
    pub last_consume_time: i64,
    /// Lite topics that it is subscribed to.
    pub lite_topic_count: i32,
    /// Their names, as many as asked for.
    pub lite_topic_set: BTreeSet<String>,
    /// Name of the parent topic.
    pub parent_topic: String,
}

/// A group on its lite topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetLiteGroupInfoResponseBody {
    /// Store time of the oldest message not consumed, in milliseconds since 1970; -1: none.
    pub earliest_unconsumed_timestamp: i64,
    /// Consumer group.
    pub group: String,
    /// Lite topics with the most messages not consumed.
    pub lag_count_top_k: Vec<LiteLagInfo>,
    /// Lite topics with the oldest message not consumed.
    pub lag_timestamp_top_k: Vec<LiteLagInfo>,
    /// The one lite topic asked about.
    pub lite_topic: Option<String>,
    /// How far the group has come in it.
    pub lite_topic_offset_wrapper: Option<OffsetWrapper>,
    /// Name of the parent topic.
    pub parent_topic: String,
    /// Messages not consumed, of all lite topics.
    pub total_lag_count: i64,
}

impl Default for GetLiteGroupInfoResponseBody {
    fn default() -> Self {
        Self {
            earliest_unconsumed_timestamp: -1,
            group: String::new(),
            lag_count_top_k: Vec::new(),
            lag_timestamp_top_k: Vec::new(),
            lite_topic: None,
            lite_topic_offset_wrapper: None,
            parent_topic: String::new(),
            total_lag_count: 0,
        }
    }
}

/// How far behind a group is on a lite topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LiteLagInfo {
    /// Store time of the oldest message not consumed, in milliseconds since 1970.
    pub earliest_unconsumed_timestamp: i64,
    /// Messages not consumed.
    pub lag_count: i64,
    /// Name of the lite topic.
    pub lite_topic: String,
}

/// What to do with the lite topics of a change.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LiteSubscriptionAction {
    /// Subscribe to these as well.
    #[default]
    PartialAdd,
    /// Leave these.
    PartialRemove,
    /// Subscribe to these and leave all others.
    CompleteAdd,
    /// Leave all.
    CompleteRemove,
}

/// What the value of an [`OffsetOption`] is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OffsetOptionType {
    /// A policy: 0 the last known offset, 1 the first message, 2 behind the last.
    #[default]
    Policy,
    /// A logical offset.
    Offset,
    /// A number of messages counted from the end.
    TailN,
    /// A store time, in milliseconds since 1970.
    Timestamp,
}
