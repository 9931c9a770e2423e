//! What answers say.

use prost::{Enumeration, Message};

/// Why a request succeeded or failed. The first three digits are those of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Code {
    /// Not said.
    Unspecified = 0,
    /// Success.
    Ok = 20000,
    /// The entries of the answer differ in their codes.
    MultipleResults = 30000,
    /// A required field or header is missing, or another fault of the request.
    BadRequest = 40000,
    /// The access point has not the right form.
    IllegalAccessPoint = 40001,
    /// The topic's name has not the right form, or is the system's.
    IllegalTopic = 40002,
    /// The group's name has not the right form, or is the system's.
    IllegalConsumerGroup = 40003,
    /// The tag has not the right form.
    IllegalMessageTag = 40004,
    /// A key has not the right form.
    IllegalMessageKey = 40005,
    /// The message group is too long or has not the right form.
    IllegalMessageGroup = 40006,
    /// A property is reserved or has not the right form.
    IllegalMessagePropertyKey = 40007,
    /// The transaction id is missing.
    InvalidTransactionId = 40008,
    /// The message id is missing.
    IllegalMessageId = 40009,
    /// The filter expression cannot be read.
    IllegalFilterExpression = 40010,
    /// The invisible time is out of bounds.
    IllegalInvisibleTime = 40011,
    /// The time of delivery is too far away.
    IllegalDeliveryTime = 40012,
    /// The receipt handle is expired or no handle.
    InvalidReceiptHandle = 40013,
    /// The message's type is not the topic's.
    MessagePropertyConflictWithType = 40014,
    /// The server does not know the client, or not such clients.
    UnrecognizedClientType = 40015,
    /// The message does not fit its checksum, or there is none.
    MessageCorrupted = 40016,
    /// The header `x-mq-client-id` is missing.
    ClientIdRequired = 40017,
    /// There is not enough time to wait for messages.
    IllegalPollingTime = 40018,
    /// The offset is out of bounds.
    IllegalOffset = 40019,
    /// The lite topic's name has not the right form.
    IllegalLiteTopic = 40020,
    /// What the application says of the client has not the right form.
    InvalidClientProperties = 40021,
    /// No valid credentials.
    Unauthorized = 40100,
    /// The account is overdue.
    PaymentRequired = 40200,
    /// Not permitted.
    Forbidden = 40300,
    /// Something named in the request does not exist.
    NotFound = 40400,
    /// There is no message.
    MessageNotFound = 40401,
    /// There is no such topic.
    TopicNotFound = 40402,
    /// There is no such group.
    ConsumerGroupNotFound = 40403,
    /// There is no offset.
    OffsetNotFound = 40404,
    /// The client was too slow.
    RequestTimeout = 40800,
    /// Something in the request is too large.
    PayloadTooLarge = 41300,
    /// The message's body is too large.
    MessageBodyTooLarge = 41301,
    /// The message has no body.
    MessageBodyEmpty = 41302,
    /// The client is not in the state for the request.
    PreconditionFailed = 42800,
    /// Too many requests.
    TooManyRequests = 42900,
    /// Too many lite topics.
    LiteTopicQuotaExceeded = 42901,
    /// Too many subscriptions to lite topics.
    LiteSubscriptionQuotaExceeded = 42902,
    /// Headers are too large.
    RequestHeaderFieldsTooLarge = 43100,
    /// The message's properties are too large, or too many.
    MessagePropertiesTooLarge = 43101,
    /// The client or server failed.
    InternalError = 50000,
    /// The server failed, and has no better word for it.
    InternalServerError = 50001,
    /// There is no replica where there must be one.
    HaNotAvailable = 50002,
    /// The server does not do this.
    NotImplemented = 50100,
    /// A broker did not answer in time.
    ProxyTimeout = 50400,
    /// The message was not on disk in time.
    MasterPersistenceTimeout = 50401,
    /// The message was not on a replica's disk in time.
    SlavePersistenceTimeout = 50402,
    /// The operation is not supported.
    Unsupported = 50500,
    /// This version does not allow it.
    VersionUnsupported = 50501,
    /// An ordered message cannot be verified.
    VerifyFifoMessageUnsupported = 50502,
    /// The client could not consume the message.
    FailedToConsumeMessage = 60000,
}

/// How a request went.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Status {
    /// For programs.
    #[prost(enumeration = "Code", tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// What all answers have in common: the status is their field 1. An answer that says no more
/// than that is this message, whatever was asked.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusOnly {
    /// How the request went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}
