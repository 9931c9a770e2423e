//! Sending, ending transactions, recalling.

use prost::{Enumeration, Message as ProstMessage};

use super::{Message, Resource, Status};

/// Messages of one topic to store.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct SendMessageRequest {
    /// The messages.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<Message>,
}

/// What became of what was sent.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct SendResultEntry {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// Unique ids of the messages, joined by commas.
    #[prost(string, tag = "2")]
    pub message_id: String,
    /// What ends the transaction.
    #[prost(string, tag = "3")]
    pub transaction_id: String,
    /// Number of the first message in its queue.
    #[prost(int64, tag = "4")]
    pub offset: i64,
    /// What recalls a message that is not delivered yet.
    #[prost(string, tag = "5")]
    pub recall_handle: String,
}

/// Answer to [`SendMessageRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct SendMessageResponse {
    /// How it went in all.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// How it went one by one.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<SendResultEntry>,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum TransactionResolution {
    /// Not known yet.
    Unspecified = 0,
    /// The message is delivered.
    Commit = 1,
    /// It is not.
    Rollback = 2,
}

/// Why a transaction ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum TransactionSource {
    /// Not said.
    Unspecified = 0,
    /// The producer has decided.
    Client = 1,
    /// The server has asked.
    ServerCheck = 2,
}

/// Ends a transaction.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct EndTransactionRequest {
    /// Topic of the message.
    #[prost(message, optional, tag = "1")]
    pub topic: Option<Resource>,
    /// Its unique id.
    #[prost(string, tag = "2")]
    pub message_id: String,
    /// Id of the transaction.
    #[prost(string, tag = "3")]
    pub transaction_id: String,
    /// How it ends.
    #[prost(enumeration = "TransactionResolution", tag = "4")]
    pub resolution: i32,
    /// Why it ends now.
    #[prost(enumeration = "TransactionSource", tag = "5")]
    pub source: i32,
    /// Context of a distributed trace.
    #[prost(string, tag = "6")]
    pub trace_context: String,
}

/// Answer to [`EndTransactionRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct EndTransactionResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}

/// Takes a delayed message back.
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct RecallMessageRequest {
    /// Topic of the message.
    #[prost(message, optional, tag = "1")]
    pub topic: Option<Resource>,
    /// What [`SendResultEntry`] said.
    #[prost(string, tag = "2")]
    pub recall_handle: String,
}

/// Answer to [`RecallMessageRequest`].
#[derive(Clone, PartialEq, Eq, ProstMessage)]
pub struct RecallMessageResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// Unique id of the message.
    #[prost(string, tag = "2")]
    pub message_id: String,
}
