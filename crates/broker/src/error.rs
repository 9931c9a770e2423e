//! Why the broker does not do what it was asked, and how a client hears of it.

use store::StoreError;
use transport::Refusal;
use wire::code::ResponseCode;
use wire::header::HeaderError;
use wire::message::MessageError;
use wire::message::names::NameError;

/// Why a request is refused. [`BrokerError::refusal`] gives each its response code; the texts are
/// the remarks, in the reference's words where its users may look for them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the body of the request is not what it should be: {0}")]
    Body(String),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("topic[{0}] not exist, apply first please!")]
    TopicNotExist(String),
    #[error("subscription group [{0}] does not exist")]
    GroupNotExist(String),
    #[error("{0}")]
    NoPermission(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("{0}")]
    MessageIllegal(String),
    #[error("recall failed, the topic[{0}] not exist")]
    RecallTopicNotExist(String),
    #[error("{0}")]
    ServiceNotAvailable(String),
    #[error("{0}")]
    IllegalOperation(String),
    #[error("{0}")]
    NotFound(String),
    #[error("the consumer's group info not exist: {0}")]
    SubscriptionNotExist(String),
    #[error("parse the consumer's subscription failed: {0}")]
    SubscriptionParseFailed(String),
    #[error("the consumer's subscription not latest")]
    SubscriptionNotLatest,
    #[error("The broker's consumer filter data is not exist!Your expression may be wrong!")]
    FilterDataNotExist,
    #[error("the consumer's consumer filter data not latest")]
    FilterDataNotLatest,
    #[error("{0}")]
    LiteSubscriptionQuota(String),
    #[error("{0}")]
    NoMessage(String),
    #[error("{0}")]
    PollingTimeout(String),
    #[error("{0}")]
    ConsumerNotOnline(String),
    #[error("{0}")]
    NotLeader(String),
    #[error("{}", Refusal::OVERLOADED.remark)]
    Overload,
    #[error("{0}")]
    System(String),
}

impl BrokerError {
    /// Nothing is known of how far a group has come.
    pub(crate) fn no_offset() -> Self {
        Self::NotFound("Not found, maybe this group consumer boot first".into())
    }

    /// The answer that tells a client: the one place where errors get their codes.
    pub(crate) fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Header(_) | Self::Body(_) | Self::System(_) => ResponseCode::SystemError,
            Self::Name(_) | Self::InvalidParameter(_) => ResponseCode::InvalidParameter,
            Self::Message(_) | Self::MessageIllegal(_) => ResponseCode::MessageIllegal,
            Self::Store(error) if error.is_illegal_message() => ResponseCode::MessageIllegal,
            Self::Store(StoreError::Closed | StoreError::FlushFailed) => {
                ResponseCode::ServiceNotAvailable
            }
            Self::Store(StoreError::LightQueues { .. }) => ResponseCode::LmqQuotaExceeded,
            Self::Store(error) if error.is_disk_full() => ResponseCode::ServiceNotAvailable,
            Self::Overload | Self::Store(StoreError::Busy { .. }) => ResponseCode::SystemBusy,
            Self::Store(_) => ResponseCode::SystemError,
            Self::NotLeader(_) => ResponseCode::NotLeaderForQueue,
            Self::ServiceNotAvailable(_) => ResponseCode::ServiceNotAvailable,
            Self::TopicNotExist(_) | Self::RecallTopicNotExist(_) => ResponseCode::TopicNotExist,
            Self::GroupNotExist(_) => ResponseCode::SubscriptionGroupNotExist,
            Self::NoPermission(_) => ResponseCode::NoPermission,
            Self::IllegalOperation(_) => ResponseCode::IllegalOperation,
            Self::NotFound(_) => ResponseCode::QueryNotFound,
            Self::SubscriptionNotExist(_) => ResponseCode::SubscriptionNotExist,
            Self::SubscriptionParseFailed(_) => ResponseCode::SubscriptionParseFailed,
            Self::SubscriptionNotLatest => ResponseCode::SubscriptionNotLatest,
            Self::FilterDataNotExist => ResponseCode::FilterDataNotExist,
            Self::FilterDataNotLatest => ResponseCode::FilterDataNotLatest,
            Self::LiteSubscriptionQuota(_) => ResponseCode::LiteSubscriptionQuotaExceeded,
            Self::NoMessage(_) => ResponseCode::NoMessage,
            Self::PollingTimeout(_) => ResponseCode::PollingTimeout,
            Self::ConsumerNotOnline(_) => ResponseCode::ConsumerNotOnline,
        };
        Refusal::new(code, self.to_string())
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        error.refusal()
    }
}
