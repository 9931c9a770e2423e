//! Messages: how they are stored, sent, named, identified and packed.
//!
//! - [`record`]: a message in the commit log, which is also what a consumer receives
//! - [`body`]: the records of a pull answer, batches, and compressed bodies undone
//! - [`properties`]: the string of a message's properties; [`property`]: the names in use
//! - [`compression`]: ZLIB, LZ4 and ZSTD
//! - [`id`]: offset message ids and unique ids
//! - [`names`]: legal, system, retry, dead letter, light and namespaced names
//! - [`tags`]: tag hash codes and tag expressions
//! - [`sql92`]: expressions that select messages by their properties
//! - [`pop`]: what POP writes into messages, headers and handles; [`recall`]: recall handles
//! - [`attribute`]: names of the attributes of topics and groups
//! - [`sys_flag`], [`perm`]: bit sets carried as integers

pub mod attribute;
pub mod body;
pub mod compression;
pub mod delay_levels;
pub mod id;
pub mod names;
pub mod perm;
pub mod pop;
pub mod properties;
pub mod property;
pub mod recall;
pub mod record;
pub mod sql92;
pub mod sys_flag;
pub mod tags;

/// Why something of a message cannot be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A record is damaged, or cannot hold the message.
    #[error(transparent)]
    Record(#[from] record::RecordError),
    /// A batch's body is damaged.
    #[error("message {index} of the batch is not whole: the batch's body is damaged")]
    Batch {
        /// The message, from 0.
        index: usize,
    },
    /// Messages cannot be sent as one batch; the text is the reference's.
    #[error("{0}")]
    NotForBatch(&'static str),
    /// The system flag names a compression type that does not exist.
    #[error("Unknown compress type value: {0}; known are 0 and 3 (ZLIB), 1 (LZ4) and 2 (ZSTD)")]
    CompressionType(i32),
    /// A body cannot be compressed.
    #[error("the body cannot be compressed with {compression}: {reason}")]
    Compress {
        /// Name of the compression type.
        compression: &'static str,
        /// What the library says.
        reason: String,
    },
    /// A compressed body is damaged.
    #[error("the body cannot be decompressed with {compression}, so it is damaged: {reason}")]
    Decompress {
        /// Name of the compression type.
        compression: &'static str,
        /// What the library says.
        reason: String,
    },
    /// A compressed body is too large.
    #[error("the body decompresses to more than {limit} bytes, the limit")]
    DecompressedTooLarge {
        /// Largest body in bytes.
        limit: usize,
    },
    /// A text is no message id.
    #[error("{0:?} is no message id: that has 32 or 56 hexadecimal digits")]
    Id(String),
    /// A tag expression has separators but no tags.
    #[error("the tag expression {0:?} names no tag: write \"*\", or tags separated by \"||\"")]
    TagExpression(String),
    /// A text of POP or recall is not what it should be.
    #[error("{text:?} is no {kind}: {reason}")]
    Pop {
        /// What it should be.
        kind: &'static str,
        /// The text.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
}
