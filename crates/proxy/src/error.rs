//! Why a call is refused, and how that is told.

use transport::TransportError;
use wire::code::ResponseCode;
use wire::grpc::{Code, Status};
use wire::header::HeaderError;
use wire::message::MessageError;
use wire::message::record::RecordError;

/// Why a call is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The proxy itself refuses it.
    #[error("{message}")]
    Refused { code: Code, message: String },
    /// A name server or broker refuses it.
    #[error("{remark}")]
    Remote { code: i32, remark: String },
    /// A name server or broker can't be asked.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A name server's or broker's answer can't be understood.
    #[error("{address} answers with what cannot be understood: {reason}")]
    Answer { address: String, reason: String },
}

impl ProxyError {
    /// The proxy's own refusal.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self::Refused {
            code,
            message: message.into(),
        }
    }

    /// An answer with a body or header that can't be read.
    pub(crate) fn answer(address: &str, reason: impl ToString) -> Self {
        Self::Answer {
            address: address.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// What a client is told of it.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Remote { code, .. } => code_of(*code),
            Self::Transport(TransportError::Timeout { .. }) => Code::ProxyTimeout,
            Self::Transport(
                TransportError::TooManyRequests { .. } | TransportError::Backlog { .. },
            ) => Code::TooManyRequests,
            Self::Transport(_) | Self::Answer { .. } => Code::InternalServerError,
        }
    }

    /// The same about a message that was received: if its broker refuses, clients are told no more
    /// than that (`AckStatus.NO_EXIST`).
    pub(crate) fn about_received(self) -> Self {
        match self {
            Self::Remote { remark, .. } => Self::new(Code::InternalServerError, remark),
            other => other,
        }
    }

    /// The same with what a person reads.
    pub(crate) fn status(&self) -> Status {
        status(self.code(), self.to_string())
    }
}

/// What a remoting response code is to a client (`ResponseBuilder.RESPONSE_CODE_MAPPING`,
/// `TopicRouteHelper.isTopicNotExistError`).
pub(crate) fn code_of(code: i32) -> Code {
    match ResponseCode::try_from(code) {
        Ok(ResponseCode::Success) => Code::Ok,
        Ok(ResponseCode::SystemBusy) => Code::TooManyRequests,
        Ok(ResponseCode::RequestCodeNotSupported) => Code::NotImplemented,
        Ok(ResponseCode::TopicNotExist) => Code::TopicNotFound,
        Ok(ResponseCode::SubscriptionGroupNotExist) => Code::ConsumerGroupNotFound,
        Ok(ResponseCode::LmqQuotaExceeded) => Code::LiteTopicQuotaExceeded,
        Ok(ResponseCode::LiteSubscriptionQuotaExceeded) => Code::LiteSubscriptionQuotaExceeded,
        _ => Code::InternalServerError,
    }
}

/// A status.
pub(crate) fn status(code: Code, message: impl Into<String>) -> Status {
    Status {
        code: code as i32,
        message: message.into(),
    }
}

/// The status whose message is the code's name.
pub(crate) fn named(code: Code) -> Status {
    status(code, code.name())
}

/// The status of success.
pub(crate) fn ok() -> Option<Status> {
    Some(named(Code::Ok))
}

/// The status of several entries: theirs, if they agree.
pub(crate) fn common(entries: impl IntoIterator<Item = Code>, none: &str) -> Status {
    let mut codes = entries.into_iter();
    match codes.next() {
        None => status(Code::InternalServerError, none),
        Some(first) if codes.all(|code| code == first) => named(first),
        Some(_) => named(Code::MultipleResults),
    }
}

impl From<HeaderError> for ProxyError {
    fn from(error: HeaderError) -> Self {
        Self::new(Code::InternalServerError, error.to_string())
    }
}

impl From<MessageError> for ProxyError {
    fn from(error: MessageError) -> Self {
        Self::new(Code::InternalServerError, error.to_string())
    }
}

impl From<RecordError> for ProxyError {
    fn from(error: RecordError) -> Self {
        Self::new(Code::InternalServerError, error.to_string())
    }
}
