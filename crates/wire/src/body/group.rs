//! Bodies about consumer groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::heartbeat::SubscriptionData;
use super::version::DataVersion;
use crate::message::attribute;

/// Settings of a consumer group on a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// Attributes by name.
    pub attributes: BTreeMap<String, String>,
    /// Broker that the group is meant to consume from; 0 is the master.
    pub broker_id: i64,
    /// Whether it may consume in broadcast.
    pub consume_broadcast_enable: bool,
    /// Whether it may consume at all.
    pub consume_enable: bool,
    /// Whether it may start at a queue's first message.
    pub consume_from_min_enable: bool,
    /// Whether it consumes in order, for pop.
    pub consume_message_orderly: bool,
    /// After how many minutes a consumption counts as failed.
    pub consume_timeout_minute: i32,
    /// Name of the group.
    pub group_name: String,
    /// When failed messages come again.
    pub group_retry_policy: GroupRetryPolicy,
    /// System flag bits.
    pub group_sys_flag: i32,
    /// Whether its clients are told when one comes or goes.
    pub notify_consumer_ids_changed_enable: bool,
    /// Retries before a message goes to the dead letter queue.
    pub retry_max_times: i32,
    /// Queues of its retry topic.
    pub retry_queue_nums: i32,
    /// What it may subscribe to; absent: anything.
    pub subscription_data_set: Option<Vec<SimpleSubscriptionData>>,
    /// Broker that it is sent to when it is far behind.
    pub which_broker_when_consume_slowly: i64,
}

impl Default for SubscriptionGroupConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: GroupRetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: None,
            which_broker_when_consume_slowly: 1,
        }
    }
}

/// How many lite topics a client may subscribe to, unless an attribute says so.
const DEFAULT_LITE_CLIENT_QUOTA: i32 = 2000;

impl SubscriptionGroupConfig {
    /// The topic whose lite topics the group receives; `None` for a group that receives topics.
    pub fn lite_bind_topic(&self) -> Option<&str> {
        self.attributes
            .get(attribute::LITE_BIND_TOPIC)
            .map(String::as_str)
    }

    /// How many lite topics one of its clients may subscribe to.
    pub fn lite_client_quota(&self) -> i32 {
        let quota = self.attributes.get(attribute::LITE_CLIENT_QUOTA);
        quota
            .and_then(|quota| quota.parse().ok())
            .unwrap_or(DEFAULT_LITE_CLIENT_QUOTA)
    }
}

/// What a group wants of a topic, as far as settings say.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SimpleSubscriptionData {
    /// Filter expression.
    pub expression: String,
    /// Its language: `TAG` or `SQL92`.
    pub expression_type: String,
    /// Name of the topic.
    pub topic: String,
    /// Version, greater is newer.
    pub version: i64,
}

/// When failed messages come again.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupRetryPolicy {
    /// Waits one by one; absent: the default ones.
    pub customized_retry_policy: Option<CustomizedRetryPolicy>,
    /// Waits that grow.
    pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
    /// Which of both counts.
    #[serde(rename = "type")]
    pub policy_type: GroupRetryPolicyType,
}

/// Waits one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomizedRetryPolicy {
    /// Wait before each retry in milliseconds; the last is used for all further ones.
    pub next: Vec<i64>,
}

impl Default for CustomizedRetryPolicy {
    fn default() -> Self {
        Self {
            next: DEFAULT_WAITS.to_vec(),
        }
    }
}

/// Waits that grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExponentialRetryPolicy {
    /// First wait, in milliseconds.
    pub initial: i64,
    /// Longest wait, in milliseconds.
    pub max: i64,
    /// What each wait is multiplied with for the next.
    pub multiplier: i64,
}

impl Default for ExponentialRetryPolicy {
    fn default() -> Self {
        Self {
            initial: 5_000,
            max: 7_200_000,
            multiplier: 2,
        }
    }
}

/// All consumer groups of a broker.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Forbidden bits by group and topic; bit 2 (value 4) forbids reading.
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    /// Settings by group.
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}

/// Groups to create or change.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupList {
    /// Settings, names included.
    pub group_config_list: Vec<SubscriptionGroupConfig>,
}

/// Whether a group may read a topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupForbidden {
    /// Consumer group.
    pub group: String,
    /// Whether it may.
    pub readable: Option<bool>,
    /// Name of the topic.
    pub topic: String,
}

/// Names of groups.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupList {
    /// Names, in no order.
    pub group_list: Vec<String>,
}

/// How a group is subscribed to a topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QuerySubscriptionResponseBody {
    /// Consumer group.
    pub group: String,
    /// Its subscription, if it is online with one.
    pub subscription_data: Option<SubscriptionData>,
    /// Name of the topic.
    pub topic: String,
}

/// Waits before retries in milliseconds, unless a group has its own: those of the reference's
/// delay levels.
pub const DEFAULT_WAITS: [i64; 18] = [
    1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 180_000, 240_000, 300_000, 360_000, 420_000,
    480_000, 540_000, 600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000,
];

/// Which retry policy counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GroupRetryPolicyType {
    /// [`ExponentialRetryPolicy`].
    Exponential,
    /// [`CustomizedRetryPolicy`].
    #[default]
    Customized,
}
