//! Bodies by which clients say what they produce and consume.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a client produces and consumes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatData {
    /// Id of the client.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Consumer groups that it is in.
    pub consumer_data_set: Vec<ConsumerData>,
    /// Hash of everything else, the same as long as nothing changes; 0: a client that does not
    /// say.
    pub heartbeat_fingerprint: i32,
    /// Producer groups that it is in.
    pub producer_data_set: Vec<ProducerData>,
    /// Whether the subscriptions are left out, since the broker has them.
    pub without_sub: bool,
}

/// A producer group that a client is in.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    /// Name of the group.
    pub group_name: String,
}

/// A consumer group that a client is in.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    /// Where the group starts when it has no offset.
    pub consume_from_where: ConsumeFromWhere,
    /// How the client gets its messages.
    pub consume_type: ConsumeType,
    /// Name of the group.
    pub group_name: String,
    /// Who gets a message.
    pub message_model: MessageModel,
    /// What it subscribes to.
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Whether it belongs to a unit of a multi-unit deployment.
    pub unit_mode: bool,
}

/// What a group wants of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    /// Whether a filter class decides; no longer served.
    pub class_filter_mode: bool,
    /// Hashes of the tags; empty: all.
    pub code_set: BTreeSet<i32>,
    /// Language of `sub_string`: `TAG` or `SQL92`.
    pub expression_type: String,
    /// Source of a filter class; no longer served.
    pub filter_class_source: Option<String>,
    /// Filter expression; `*`: all.
    pub sub_string: String,
    /// Version, greater is newer; clients use the time in milliseconds.
    pub sub_version: i64,
    /// Tags wanted; empty: all.
    pub tags_set: BTreeSet<String>,
    /// Name of the topic.
    pub topic: String,
}

impl Default for SubscriptionData {
    fn default() -> Self {
        Self {
            class_filter_mode: false,
            code_set: BTreeSet::new(),
            expression_type: "TAG".to_owned(),
            filter_class_source: None,
            sub_string: String::new(),
            sub_version: 0,
            tags_set: BTreeSet::new(),
            topic: String::new(),
        }
    }
}

/// A subscription whose filter the broker shall check.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClientRequestBody {
    /// Id of the client.
    pub client_id: String,
    /// Consumer group.
    pub group: String,
    /// Namespace of the names.
    pub namespace: Option<String>,
    /// Subscription to check.
    pub subscription_data: SubscriptionData,
}

/// How a client gets its messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConsumeType {
    /// It pulls when the application asks.
    ConsumeActively,
    /// It pulls all the time and hands messages to the application.
    #[default]
    ConsumePassively,
    /// It receives by pop.
    ConsumePop,
}

/// Who gets a message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageModel {
    /// Every client of the group.
    Broadcasting,
    /// One client of the group.
    #[default]
    Clustering,
    /// The clients that are subscribed to the message's lite topic.
    LiteSelective,
}

/// Where a group starts when it has no offset.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConsumeFromWhere {
    /// Behind the last message.
    #[default]
    ConsumeFromLastOffset,
    /// The same; of old clients.
    ConsumeFromLastOffsetAndFromMinWhenBootFirst,
    /// At the first message; of old clients.
    ConsumeFromMinOffset,
    /// Behind the last message; of old clients.
    ConsumeFromMaxOffset,
    /// At the first message.
    ConsumeFromFirstOffset,
    /// At a time that the client knows.
    ConsumeFromTimestamp,
}
