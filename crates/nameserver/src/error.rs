//! What can go wrong in a name server, and how a peer hears of it.

use std::path::PathBuf;

use config::ConfigError;
use transport::{Refusal, TransportError};
use wire::body::BodyError;
use wire::code::ResponseCode;
use wire::header::HeaderError;

/// Where the reference sends those who ask for a topic without a route.
const FAQ: &str = "https://rocketmq.apache.org/docs/bestPractice/06FAQ";

/// Why a name server does not start, or does not do what a request asks.
///
/// The messages of requests are their remarks, worded as in the reference where it has words.
#[derive(Debug, thiserror::Error)]
pub enum NameServerError {
    /// The server can't listen.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The key-value configuration can't be read, so that starting would lose it.
    #[error(
        "cannot read the key-value configuration {}: {reason}; repair the file or move it away",
        path.display()
    )]
    KvConfigUnreadable {
        /// The file, `kvConfigPath`.
        path: PathBuf,
        /// What the system or the parser says.
        reason: String,
    },
    /// A file can't be written, so that a change would be lost at the next start.
    #[error("cannot write {}: {reason}; {consequence}", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
        /// What became of the change.
        consequence: &'static str,
    },
    /// A request's fields can't be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A request's body can't be read.
    #[error("Failed to decode {what}: {error}")]
    Body {
        /// The reference's class of the body.
        what: &'static str,
        /// What is wrong with it.
        error: BodyError,
    },
    /// The body of a registration is not the one that was sent.
    #[error("crc32 not match")]
    ChecksumMismatch,
    /// A broker registers a single topic before it has registered itself.
    #[error("register broker failed")]
    SingleTopicFirst,
    /// Routes are withheld for a while after the start.
    #[error("name server not ready")]
    NotReady,
    /// No living broker has the topic.
    #[error(
        "No topic route info in name server for the topic: {0}\nSee {FAQ} for further details."
    )]
    TopicNotExist(String),
    /// There is no value under the name.
    #[error("No config item, Namespace: {namespace} Key: {key}")]
    KvNotFound {
        /// The namespace that was asked.
        namespace: String,
        /// The name in it.
        key: String,
    },
    /// There is no such namespace.
    #[error("No config item, Namespace: {0}")]
    NamespaceNotFound(String),
    /// A setting forbids to list topics.
    #[error("disable")]
    ListingDisabled,
    /// A key may not be changed by requests.
    #[error("Can not update config in black list.")]
    InBlackList,
    /// A change of settings is refused; none of the request's changes is made.
    #[error("{0}")]
    Config(#[from] ConfigError),
}

impl NameServerError {
    /// The answer that tells the peer: the one place where errors get their response codes.
    pub fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Transport(_)
            | Self::KvConfigUnreadable { .. }
            | Self::NotKept { .. }
            | Self::Header(_)
            | Self::Body { .. }
            | Self::ChecksumMismatch
            | Self::SingleTopicFirst
            | Self::NotReady
            | Self::ListingDisabled => ResponseCode::SystemError,
            Self::TopicNotExist(_) => ResponseCode::TopicNotExist,
            Self::KvNotFound { .. } | Self::NamespaceNotFound(_) => ResponseCode::QueryNotFound,
            Self::InBlackList => ResponseCode::NoPermission,
            Self::Config(_) => ResponseCode::InvalidParameter,
        };
        Refusal::new(code, self.to_string())
    }
}

impl From<NameServerError> for Refusal {
    fn from(error: NameServerError) -> Self {
        error.refusal()
    }
}
