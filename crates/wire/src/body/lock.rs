//! Bodies by which ordered consumers lock queues.

use serde::{Deserialize, Serialize};

use super::queue::MessageQueue;

/// Queues that a client wants for itself.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatchRequestBody {
    /// Id of the client.
    pub client_id: String,
    /// Its consumer group.
    pub consumer_group: String,
    /// Queues to lock.
    pub mq_set: Vec<MessageQueue>,
    /// Whether the broker shall not ask the others of its group.
    pub only_this_broker: bool,
}

/// Queues that a client has now.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatchResponseBody {
    /// Locked queues.
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: Vec<MessageQueue>,
}

/// Queues that a client gives up.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnlockBatchRequestBody {
    /// Id of the client.
    pub client_id: String,
    /// Its consumer group.
    pub consumer_group: String,
    /// Queues to unlock.
    pub mq_set: Vec<MessageQueue>,
    /// Whether the broker shall not tell the others of its group.
    pub only_this_broker: bool,
}
