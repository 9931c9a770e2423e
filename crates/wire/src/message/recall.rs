//! Recall handles: what the producer of a delayed message recalls it with.
//!
//! A handle is the URL-safe Base64, padded, of `v1 topic brokerName timestamp uniqueId`, with a
//! blank between the parts. Source in the reference: `RecallMessageHandle`.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::MessageError;

/// Padding may be missing and the last digit's spare bits may be set, as Java's decoder allows.
const RECALL_BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
const RECALL_VERSION: &str = "v1";

/// What a delayed message is recalled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallHandle {
    /// The message's topic.
    pub topic: String,
    /// The broker that has it.
    pub broker_name: String,
    /// When it is to be delivered, milliseconds since 1970; a text because nothing checks it
    /// when a handle is made.
    pub timestamp: String,
    /// The message's unique id.
    pub message_id: String,
}

impl RecallHandle {
    /// Reads a handle.
    ///
    /// # Errors
    /// [`MessageError::Pop`] if it is no Base64, of another version, or has too few parts.
    pub fn decode(handle: &str) -> Result<RecallHandle, MessageError> {
        let error = |reason| MessageError::Pop {
            kind: "recall handle",
            text: handle.into(),
            reason,
        };
        let bytes = RECALL_BASE64
            .decode(handle)
            .map_err(|_| error("it is not URL-safe Base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| error("its text is not UTF-8"))?;
        let mut parts = text.trim_end_matches(' ').split(' ');
        if parts.next() != Some(RECALL_VERSION) {
            return Err(error("its version is not v1"));
        }
        let mut next = || {
            parts
                .next()
                .map(String::from)
                .ok_or_else(|| error("parts are missing at its end"))
        };
        Ok(RecallHandle {
            topic: next()?,
            broker_name: next()?,
            timestamp: next()?,
            message_id: next()?,
        })
    }

    /// The handle's text.
    pub fn encode(&self) -> String {
        let RecallHandle {
            topic,
            broker_name,
            timestamp,
            message_id,
        } = self;
        RECALL_BASE64.encode(format!(
            "{RECALL_VERSION} {topic} {broker_name} {timestamp} {message_id}"
        ))
    }
}
