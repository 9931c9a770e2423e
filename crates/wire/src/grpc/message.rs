//! A message with its properties.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::{Enumeration, Message as ProstMessage};

use super::{Duration, MessageType, Resource, Timestamp};

/// How a [`Digest`] is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum DigestType {
    /// Not said.
    Unspecified = 0,
    /// CRC-32.
    Crc32 = 1,
    /// MD5.
    Md5 = 2,
    /// SHA-1.
    Sha1 = 3,
}

/// Checksum of a body.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct Digest {
    /// How it is computed.
    #[prost(enumeration = "DigestType", tag = "1")]
    pub r#type: i32,
    /// The checksum in upper-case hexadecimal digits.
    #[prost(string, tag = "2")]
    pub checksum: String,
}

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Encoding {
    /// Not said; read as plain.
    Unspecified = 0,
    /// Plain.
    Identity = 1,
    /// Compressed by zlib, in spite of its name.
    Gzip = 2,
}

/// Where a message of a dead letter queue came from.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct DeadLetterQueue {
    /// Its topic.
    #[prost(string, tag = "1")]
    pub topic: String,
    /// Its message id.
    #[prost(string, tag = "2")]
    pub message_id: String,
}

/// What the system knows of a message.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct SystemProperties {
    /// Tag to filter by.
    #[prost(string, optional, tag = "1")]
    pub tag: Option<String>,
    /// Keys to find it by.
    #[prost(string, repeated, tag = "2")]
    pub keys: Vec<String>,
    /// Unique id, made by the producer.
    #[prost(string, tag = "3")]
    pub message_id: String,
    /// Checksum of the body as it is encoded.
    #[prost(message, optional, tag = "4")]
    pub body_digest: Option<Digest>,
    /// How the body is encoded.
    #[prost(enumeration = "Encoding", tag = "5")]
    pub body_encoding: i32,
    /// What kind of message it is.
    #[prost(enumeration = "MessageType", tag = "6")]
    pub message_type: i32,
    /// When the producer made it.
    #[prost(message, optional, tag = "7")]
    pub born_timestamp: Option<Timestamp>,
    /// Host of the producer.
    #[prost(string, tag = "8")]
    pub born_host: String,
    /// When it was stored.
    #[prost(message, optional, tag = "9")]
    pub store_timestamp: Option<Timestamp>,
    /// The broker that stored it, `host:port`.
    #[prost(string, tag = "10")]
    pub store_host: String,
    /// When it is to be delivered.
    #[prost(message, optional, tag = "11")]
    pub delivery_timestamp: Option<Timestamp>,
    /// What it is acknowledged with.
    #[prost(string, optional, tag = "12")]
    pub receipt_handle: Option<String>,
    /// Queue that it is in.
    #[prost(int32, tag = "13")]
    pub queue_id: i32,
    /// Its number there.
    #[prost(int64, optional, tag = "14")]
    pub queue_offset: Option<i64>,
    /// How long it is hidden from others.
    #[prost(message, optional, tag = "15")]
    pub invisible_duration: Option<Duration>,
    /// How often it has been delivered, this time included.
    #[prost(int32, optional, tag = "16")]
    pub delivery_attempt: Option<i32>,
    /// Messages of one group are delivered in their order.
    #[prost(string, optional, tag = "17")]
    pub message_group: Option<String>,
    /// Context of a distributed trace.
    #[prost(string, optional, tag = "18")]
    pub trace_context: Option<String>,
    /// How long its transaction may stay undecided before the producer is asked.
    #[prost(message, optional, tag = "19")]
    pub orphaned_transaction_recovery_duration: Option<Duration>,
    /// Where it came from, if this is a dead letter queue.
    #[prost(message, optional, tag = "20")]
    pub dead_letter_queue: Option<DeadLetterQueue>,
    /// Its lite topic.
    #[prost(string, optional, tag = "21")]
    pub lite_topic: Option<String>,
    /// Its priority, from 0.
    #[prost(int32, optional, tag = "22")]
    pub priority: Option<i32>,
}

/// A message.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct Message {
    /// Its topic.
    #[prost(message, optional, tag = "1")]
    pub topic: Option<Resource>,
    /// Properties of the application.
    #[prost(btree_map = "string, string", tag = "2")]
    pub user_properties: BTreeMap<String, String>,
    /// What the system knows of it.
    #[prost(message, optional, tag = "3")]
    pub system_properties: Option<SystemProperties>,
    /// The body.
    #[prost(bytes = "bytes", tag = "4")]
    pub body: Bytes,
}
