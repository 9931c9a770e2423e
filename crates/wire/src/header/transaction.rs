//! Headers of transactional messages.

use std::borrow::Cow;

use super::{Header, RpcFields};

/// Commits or rolls back a half message.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "EndTransactionRequestHeader")]
pub struct EndTransactionRequest<'a> {
    /// Topic of the message.
    pub topic: Option<Cow<'a, str>>,
    /// Producer group that sent it.
    #[header(required)]
    pub producer_group: Cow<'a, str>,
    /// Offset in the half topic's queue.
    #[header(required)]
    pub tran_state_table_offset: i64,
    /// Place of the half message in the commit log, in bytes.
    #[header(required)]
    pub commit_log_offset: i64,
    /// 8 commit, 12 rollback, 0 not known yet.
    #[header(required)]
    pub commit_or_rollback: i32,
    /// Whether this answers a check by the broker.
    pub from_transaction_check: Option<bool>,
    /// Unique id of the message.
    #[header(required)]
    pub msg_id: Cow<'a, str>,
    /// Id of the transaction.
    pub transaction_id: Option<Cow<'a, str>>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// Says that the transaction is ended; has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Header)]
#[header(name = "EndTransactionResponseHeader")]
pub struct EndTransactionResponse {}

/// Asks a producer what has become of a transaction; comes with the half message.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "CheckTransactionStateRequestHeader")]
pub struct CheckTransactionStateRequest<'a> {
    /// Topic of the message.
    pub topic: Option<Cow<'a, str>>,
    /// Offset in the half topic's queue.
    #[header(required)]
    pub tran_state_table_offset: i64,
    /// Place of the half message in the commit log, in bytes.
    #[header(required)]
    pub commit_log_offset: i64,
    /// Unique id of the message.
    pub msg_id: Option<Cow<'a, str>>,
    /// Id of the transaction.
    pub transaction_id: Option<Cow<'a, str>>,
    /// Offset message id of the half message.
    pub offset_msg_id: Option<Cow<'a, str>>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// What has become of a transaction; clients send [`EndTransactionRequest`] instead.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "CheckTransactionStateResponseHeader")]
pub struct CheckTransactionStateResponse<'a> {
    /// Producer group of the message.
    #[header(required)]
    pub producer_group: Cow<'a, str>,
    /// Offset in the half topic's queue.
    #[header(required)]
    pub tran_state_table_offset: i64,
    /// Place of the half message in the commit log, in bytes.
    #[header(required)]
    pub commit_log_offset: i64,
    /// 8 commit, 12 rollback, 0 not known yet.
    #[header(required)]
    pub commit_or_rollback: i32,
}

/// Makes the broker check a half message again that it had given up.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ResumeCheckHalfMessageRequestHeader")]
pub struct ResumeCheckHalfMessageRequest<'a> {
    /// Topic of the message.
    pub topic: Option<Cow<'a, str>>,
    /// Offset message id of the half message.
    pub msg_id: Option<Cow<'a, str>>,
}
