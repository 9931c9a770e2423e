//! Bodies about connected clients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};
use crate::frame::Language;

/// Ids of the clients in a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetConsumerListByGroupResponseBody {
    /// Client ids.
    pub consumer_id_list: Vec<String>,
}

/// A connected client.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// Address that it connects from.
    pub client_addr: String,
    /// Id of the client.
    pub client_id: String,
    /// What it is written in.
    #[serde(with = "language")]
    pub language: Option<Language>,
    /// Its version, an ordinal of the reference's `MQVersion`.
    pub version: i32,
}

/// The clients of a consumer group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnection {
    /// Connected clients.
    pub connection_set: Vec<Connection>,
    /// Where the group starts when it has no offset.
    pub consume_from_where: ConsumeFromWhere,
    /// How the clients get their messages.
    pub consume_type: ConsumeType,
    /// Who gets a message.
    pub message_model: MessageModel,
    /// Subscriptions by topic.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// The clients of a producer group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    /// Connected clients.
    pub connection_set: Vec<Connection>,
}

/// A connected producer.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerInfo {
    /// Id of the client.
    pub client_id: String,
    /// What it is written in.
    #[serde(with = "language")]
    pub language: Option<Language>,
    /// Time of its last heartbeat, in milliseconds since 1970.
    pub last_update_timestamp: i64,
    /// Address that it connects from.
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    /// Its version, an ordinal of the reference's `MQVersion`.
    pub version: i32,
}

/// All connected producers.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerTableInfo {
    /// Clients by producer group.
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// What became of a message that a client was made to consume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeMessageDirectlyResult {
    /// Whether an ordered consumer commits by itself.
    pub auto_commit: bool,
    /// Outcome.
    pub consume_result: Option<CMResult>,
    /// Whether it was consumed in order.
    pub order: bool,
    /// A note in words, such as an exception.
    pub remark: Option<String>,
    /// How long it took, in milliseconds.
    pub spent_time_mills: i64,
}

impl Default for ConsumeMessageDirectlyResult {
    fn default() -> Self {
        Self {
            auto_commit: true,
            consume_result: None,
            order: false,
            remark: None,
            spent_time_mills: 0,
        }
    }
}

/// What became of a message that a client was made to consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CMResult {
    /// It was consumed.
    #[serde(rename = "CR_SUCCESS")]
    Success,
    /// It shall come again.
    #[serde(rename = "CR_LATER")]
    Later,
    /// The ordered consumer rolled back.
    #[serde(rename = "CR_ROLLBACK")]
    Rollback,
    /// The ordered consumer committed.
    #[serde(rename = "CR_COMMIT")]
    Commit,
    /// The consumer threw an exception.
    #[serde(rename = "CR_THROW_EXCEPTION")]
    ThrowException,
    /// The consumer returned nothing.
    #[serde(rename = "CR_RETURN_NULL")]
    ReturnNull,
}

/// Languages by their names; a name that is not known reads as none.
mod language {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::frame::Language;

    pub(super) fn serialize<S: Serializer>(
        language: &Option<Language>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match language {
            Some(language) => serializer.serialize_str(language.name()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Language>, D::Error> {
        Cow::<'de, str>::deserialize(deserializer).map(|name| Language::from_name(&name))
    }
}
