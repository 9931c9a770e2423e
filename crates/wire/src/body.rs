//! Bodies: what commands carry beside their headers.
//!
//! Most are JSON objects, named here after the reference's classes and their fields after the
//! fields there. [`json`] reads and writes them in the reference's dialect. A field that a peer
//! leaves out has the reference's default; one that it adds is passed over.
//!
//! ```
//! use kerolox_wire::body::json;
//! use kerolox_wire::body::topic::TopicList;
//!
//! let list: TopicList = json::read(br#"{"topicList":["orders"]}"#)?;
//! assert_eq!(list.topic_list, ["orders"]);
//! assert_eq!(json::write(&list), r#"{"topicList":["orders"]}"#);
//! # Ok::<(), kerolox_wire::body::BodyError>(())
//! ```

use crate::json::JsonError;

pub mod assignment;
pub mod auth;
pub mod client;
pub mod group;
pub mod heartbeat;
pub mod json;
pub mod kv;
pub mod lite;
pub mod lock;
pub mod metrics;
pub mod offset;
pub mod queue;
pub mod register;
pub mod replica;
pub mod route;
pub mod running;
pub mod static_topic;
pub mod stats;
pub mod topic;
pub mod version;

/// Why bytes are not the body that their command asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A JSON body is not UTF-8.
    #[error("the body is not UTF-8 after byte {0}")]
    NotUtf8(usize),
    /// A JSON body does not parse.
    #[error("{expected} expected at byte {at} of the body")]
    Syntax {
        /// Offset in the body.
        at: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// A JSON body parses, but a value in it is not of its field's kind.
    #[error("the body does not fit: {0}")]
    Mismatch(String),
    /// A compressed body is broken or longer than what is accepted.
    #[error("the compressed body ends or breaks inside its {0}")]
    Truncated(&'static str),
    /// A topic's settings in a compressed body can't be understood.
    #[error("\"{0}\" is not a topic with its settings")]
    TopicConfig(String),
}

impl From<JsonError> for BodyError {
    fn from(error: JsonError) -> Self {
        Self::Syntax {
            at: error.at,
            expected: error.expected,
        }
    }
}

impl serde::de::Error for BodyError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Mismatch(message.to_string())
    }
}
