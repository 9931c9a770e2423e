//! Bodies about single queues.

use serde::{Deserialize, Serialize};

use super::heartbeat::SubscriptionData;

/// A queue of a topic on a broker; names are written in some bodies as whole objects of this
/// type.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueue {
    /// Name of the broker group.
    pub broker_name: String,
    /// Number of the queue on that broker, from 0.
    pub queue_id: i32,
    /// Name of the topic.
    pub topic: String,
}

/// A queue with an offset, for clients that can't read objects as names.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueueForC {
    /// Name of the broker group.
    pub broker_name: String,
    /// Logical offset in the queue.
    pub offset: i64,
    /// Number of the queue on that broker, from 0.
    pub queue_id: i32,
    /// Name of the topic.
    pub topic: String,
}

/// One entry of a consume queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeQueueData {
    /// Filter bit map as text, if there is one.
    pub bit_map: Option<String>,
    /// Whether the asked group's subscription lets the message pass.
    pub eval: bool,
    /// Extended entry as JSON, if there is one.
    pub extend_data_json: Option<String>,
    /// Why there is no more to say about the entry.
    pub msg: Option<String>,
    /// Place of the message in the commit log, in bytes.
    pub physic_offset: i64,
    /// Size of the message in the commit log, in bytes.
    pub physic_size: i32,
    /// Hash of the tag, or the delivery time of a delayed message.
    pub tags_code: i64,
}

/// Extended entry of a queue, as it stands in [`ConsumeQueueData`].
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CqExtUnit {
    /// Which filters the message passes; empty where that is not known.
    #[serde(
        with = "super::assignment::bit_set",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub filter_bit_map: Vec<u8>,
    /// When the message was stored, in milliseconds since 1970.
    pub msg_store_time: i64,
    /// Bytes of the unit.
    pub size: i16,
    /// Hash of the tag.
    pub tags_code: i64,
}

/// Entries of a consume queue, as asked for by `QUERY_CONSUME_QUEUE`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryConsumeQueueResponseBody {
    /// Filter of the asked group as JSON, or why there is none.
    pub filter_data: Option<String>,
    /// Logical offset behind the last entry.
    pub max_queue_index: i64,
    /// Logical offset of the first entry.
    pub min_queue_index: i64,
    /// Entries from the asked offset on.
    pub queue_data: Vec<ConsumeQueueData>,
    /// Subscription of the asked group.
    pub subscription_data: Option<SubscriptionData>,
}
