//! What answers say.

use prost::{Enumeration, Message};

macro_rules! codes {
    ($($(#[$doc:meta])+ $code:ident = $number:literal $name:literal,)*) => {
        /// Why a request succeeded or failed. The first three digits are those of HTTP.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
        #[repr(i32)]
        pub enum Code {
            $($(#[$doc])+ $code = $number,)*
        }

        impl Code {
            /// The reference's name of it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }
        }
    };
}

codes! {
    /// Not said.
    Unspecified = 0 "CODE_UNSPECIFIED",
    /// Success.
    Ok = 20000 "OK",
    /// The entries of the answer differ in their codes.
    MultipleResults = 30000 "MULTIPLE_RESULTS",
    /// A required field or header is missing, or another fault of the request.
    BadRequest = 40000 "BAD_REQUEST",
    /// The access point has not the right form.
    IllegalAccessPoint = 40001 "ILLEGAL_ACCESS_POINT",
    /// The topic's name has not the right form, or is the system's.
    IllegalTopic = 40002 "ILLEGAL_TOPIC",
    /// The group's name has not the right form, or is the system's.
    IllegalConsumerGroup = 40003 "ILLEGAL_CONSUMER_GROUP",
    /// The tag has not the right form.
    IllegalMessageTag = 40004 "ILLEGAL_MESSAGE_TAG",
    /// A key has not the right form.
    IllegalMessageKey = 40005 "ILLEGAL_MESSAGE_KEY",
    /// The message group is too long or has not the right form.
    IllegalMessageGroup = 40006 "ILLEGAL_MESSAGE_GROUP",
    /// A property is reserved or has not the right form.
    IllegalMessagePropertyKey = 40007 "ILLEGAL_MESSAGE_PROPERTY_KEY",
    /// The transaction id is missing.
    InvalidTransactionId = 40008 "INVALID_TRANSACTION_ID",
    /// The message id is missing.
    IllegalMessageId = 40009 "ILLEGAL_MESSAGE_ID",
    /// The filter expression cannot be read.
    IllegalFilterExpression = 40010 "ILLEGAL_FILTER_EXPRESSION",
    /// The invisible time is out of bounds.
    IllegalInvisibleTime = 40011 "ILLEGAL_INVISIBLE_TIME",
    /// The time of delivery is too far away.
    IllegalDeliveryTime = 40012 "ILLEGAL_DELIVERY_TIME",
    /// The receipt handle is expired or no handle.
    InvalidReceiptHandle = 40013 "INVALID_RECEIPT_HANDLE",
    /// The message's type is not the topic's.
    MessagePropertyConflictWithType = 40014 "MESSAGE_PROPERTY_CONFLICT_WITH_TYPE",
    /// The server does not know the client, or not such clients.
    UnrecognizedClientType = 40015 "UNRECOGNIZED_CLIENT_TYPE",
    /// The message does not fit its checksum, or there is none.
    MessageCorrupted = 40016 "MESSAGE_CORRUPTED",
    /// The header `x-mq-client-id` is missing.
    ClientIdRequired = 40017 "CLIENT_ID_REQUIRED",
    /// There is not enough time to wait for messages.
    IllegalPollingTime = 40018 "ILLEGAL_POLLING_TIME",
    /// The offset is out of bounds.
    IllegalOffset = 40019 "ILLEGAL_OFFSET",
    /// The lite topic's name has not the right form.
    IllegalLiteTopic = 40020 "ILLEGAL_LITE_TOPIC",
    /// What the application says of the client has not the right form.
    InvalidClientProperties = 40021 "INVALID_CLIENT_PROPERTIES",
    /// No valid credentials.
    Unauthorized = 40100 "UNAUTHORIZED",
    /// The account is overdue.
    PaymentRequired = 40200 "PAYMENT_REQUIRED",
    /// Not permitted.
    Forbidden = 40300 "FORBIDDEN",
    /// Something named in the request does not exist.
    NotFound = 40400 "NOT_FOUND",
    /// There is no message.
    MessageNotFound = 40401 "MESSAGE_NOT_FOUND",
    /// There is no such topic.
    TopicNotFound = 40402 "TOPIC_NOT_FOUND",
    /// There is no such group.
    ConsumerGroupNotFound = 40403 "CONSUMER_GROUP_NOT_FOUND",
    /// There is no offset.
    OffsetNotFound = 40404 "OFFSET_NOT_FOUND",
    /// The client was too slow.
    RequestTimeout = 40800 "REQUEST_TIMEOUT",
    /// Something in the request is too large.
    PayloadTooLarge = 41300 "PAYLOAD_TOO_LARGE",
    /// The message's body is too large.
    MessageBodyTooLarge = 41301 "MESSAGE_BODY_TOO_LARGE",
    /// The message has no body.
    MessageBodyEmpty = 41302 "MESSAGE_BODY_EMPTY",
    /// The client is not in the state for the request.
    PreconditionFailed = 42800 "PRECONDITION_FAILED",
    /// Too many requests.
    TooManyRequests = 42900 "TOO_MANY_REQUESTS",
    /// Too many lite topics.
    LiteTopicQuotaExceeded = 42901 "LITE_TOPIC_QUOTA_EXCEEDED",
    /// Too many subscriptions to lite topics.
    LiteSubscriptionQuotaExceeded = 42902 "LITE_SUBSCRIPTION_QUOTA_EXCEEDED",
    /// Headers are too large.
    RequestHeaderFieldsTooLarge = 43100 "REQUEST_HEADER_FIELDS_TOO_LARGE",
    /// The message's properties are too large, or too many.
    MessagePropertiesTooLarge = 43101 "MESSAGE_PROPERTIES_TOO_LARGE",
    /// The client or server failed.
    InternalError = 50000 "INTERNAL_ERROR",
    /// The server failed, and has no better word for it.
    InternalServerError = 50001 "INTERNAL_SERVER_ERROR",
    /// There is no replica where there must be one.
    HaNotAvailable = 50002 "HA_NOT_AVAILABLE",
    /// The server does not do this.
    NotImplemented = 50100 "NOT_IMPLEMENTED",
    /// A broker did not answer in time.
    ProxyTimeout = 50400 "PROXY_TIMEOUT",
    /// The message was not on disk in time.
    MasterPersistenceTimeout = 50401 "MASTER_PERSISTENCE_TIMEOUT",
    /// The message was not on a replica's disk in time.
    SlavePersistenceTimeout = 50402 "SLAVE_PERSISTENCE_TIMEOUT",
    /// The operation is not supported.
    Unsupported = 50500 "UNSUPPORTED",
    /// This version does not allow it.
    VersionUnsupported = 50501 "VERSION_UNSUPPORTED",
    /// An ordered message cannot be verified.
    VerifyFifoMessageUnsupported = 50502 "VERIFY_FIFO_MESSAGE_UNSUPPORTED",
    /// The client could not consume the message.
    FailedToConsumeMessage = 60000 "FAILED_TO_CONSUME_MESSAGE",
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
