//! Bodies of pop consumption: assignment of queues, batches of acknowledgements.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::heartbeat::MessageModel;
use super::queue::MessageQueue;

/// A client asks what to consume.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAssignmentRequestBody {
    /// Id of the client.
    pub client_id: String,
    /// Its consumer group.
    pub consumer_group: String,
    /// Who gets a message.
    pub message_model: MessageModel,
    /// How queues are shared, such as `AVG`.
    pub strategy_name: String,
    /// Name of the topic.
    pub topic: String,
}

/// What a client shall consume.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAssignmentResponseBody {
    /// Queues, each with how; `None`: the broker can't tell, and everything stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<MessageQueueAssignment>>,
}

/// A queue that a client shall consume.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueueAssignment {
    /// What else is to be known.
    pub attachments: Option<BTreeMap<String, String>>,
    /// The queue; number -1: all of the topic on that broker.
    pub message_queue: MessageQueue,
    /// How to get its messages.
    pub mode: MessageRequestMode,
}

/// How a group gets the messages of a topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetMessageRequestModeRequestBody {
    /// Consumer group.
    pub consumer_group: String,
    /// How it gets them.
    pub mode: MessageRequestMode,
    /// With how many other clients one shares its queues, for pop; 0 or less: all share all.
    pub pop_share_queue_num: i32,
    /// Name of the topic.
    pub topic: String,
}

/// How all groups get their messages.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageRequestModeSerializeWrapper {
    /// Settings by topic and group.
    pub message_request_mode_map:
        BTreeMap<String, BTreeMap<String, SetMessageRequestModeRequestBody>>,
}

/// Messages that were consumed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchAckMessageRequestBody {
    /// Acknowledgements.
    pub acks: Vec<BatchAck>,
    /// Name of the broker group that they came from.
    pub broker_name: String,
}

/// Messages of one reception that were consumed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchAck {
    /// Which messages: bit n of this stands for offset `start_offset` + n, lowest bit of the
    /// first byte first.
    #[serde(rename = "b", with = "bit_set")]
    pub bit_set: Vec<u8>,
    /// Consumer group.
    #[serde(rename = "c")]
    pub consumer_group: String,
    /// How long they were hidden, in milliseconds.
    #[serde(rename = "it")]
    pub invisible_time: i64,
    /// When they were taken, in milliseconds since 1970.
    #[serde(rename = "pt")]
    pub pop_time: i64,
    /// Queue that they came from.
    #[serde(rename = "q")]
    pub queue_id: i32,
    /// Kind of the topic: `0` as named, `1` and `2` its retry topics of both namings.
    #[serde(rename = "r")]
    pub retry: String,
    /// Queue of the revive topic that keeps track of them.
    #[serde(rename = "rq")]
    pub revive_queue_id: i32,
    /// Logical offset of the first message of the reception.
    #[serde(rename = "so")]
    pub start_offset: i64,
    /// Name of the topic.
    #[serde(rename = "t")]
    pub topic: String,
}

/// How a group gets the messages of a topic.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageRequestMode {
    /// Each client pulls the queues that are its own.
    #[default]
    Pull,
    /// Clients receive from shared queues.
    Pop,
}

/// Bits as base64 text.
pub(super) mod bit_set {
    use std::borrow::Cow;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::body) fn serialize<S: Serializer>(
        bits: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bits))
    }

    pub(in crate::body) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD
            .decode(&*text)
            .map_err(|_| Error::custom("the bits are not base64"))
    }
}
