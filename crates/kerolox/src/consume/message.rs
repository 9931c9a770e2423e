//! A message as it is shown.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use wire::message::MessageError;
use wire::message::body::{Batch, Records, plain_body};
use wire::message::id::OffsetMessageId;
use wire::message::record::RecordRef;
use wire::message::sys_flag::message as sys_flag;
use wire::message::{properties, property};

use super::time::format_time;
use crate::client::queue::Queue;
use crate::client::{ClientError, OutputFormat};

/// Largest body that a compressed one may become, in bytes.
pub(crate) const MAX_BODY_SIZE: usize = 64 * 1024 * 1024;

/// A message that was read.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    /// The topic that it was sent to, also when it comes back for a retry.
    topic: String,
    broker_name: String,
    pub(super) queue_id: i32,
    pub(super) queue_offset: i64,
    /// The id that its producer gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_id: Option<String>,
    /// The id that tells the broker and the place in its commit log.
    offset_msg_id: String,
    /// Milliseconds since 1970, as all times.
    born_timestamp: i64,
    born_host: String,
    pub(super) store_timestamp: i64,
    store_host: String,
    reconsume_times: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<String>,
    /// All properties, tag and keys included.
    properties: BTreeMap<String, String>,
    #[serde(flatten)]
    body: MessageBody,
}

/// The body, decompressed.
#[derive(Debug, Clone, Serialize)]
pub(crate) enum MessageBody {
    /// Text that can be shown.
    #[serde(rename = "body")]
    Text(String),
    /// Anything else, in base64.
    #[serde(rename = "bodyBase64")]
    Binary(String),
}

impl MessageBody {
    pub(crate) fn new(body: &[u8]) -> Self {
        let shown = |character: char| !character.is_control() || "\n\r\t".contains(character);
        match str::from_utf8(body) {
            Ok(text) if text.chars().all(shown) => Self::Text(text.to_owned()),
            _ => Self::Binary(BASE64_STANDARD.encode(body)),
        }
    }
}

impl Display for MessageBody {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Binary(base64) => write!(f, "base64:{base64}"),
        }
    }
}

impl Message {
    /// The messages of a pull from an offset on. Those of a batch that was stored as one record
    /// come one by one; of one that begins before the offset, only the rest.
    pub(super) fn read_all(
        queue: &Queue,
        offset: i64,
        records: &[u8],
    ) -> Result<Vec<Self>, ClientError> {
        let mut all = Vec::new();
        for record in Records::new(records) {
            let record = record.map_err(MessageError::from)?;
            let body = plain_body(&record, MAX_BODY_SIZE)?;
            if !sys_flag::has(record.sys_flag(), sys_flag::INNER_BATCH) {
                all.push(Self::new(queue, &record, &record.properties(), &body));
                continue;
            }
            for (message, queue_offset) in Batch::new(&body).zip(record.queue_offset()..) {
                let message = message?;
                let texts = String::from_utf8_lossy(message.properties);
                let read = Self::new(queue, &record, &texts, message.body);
                all.push(Self {
                    queue_offset,
                    ..read
                });
            }
        }
        all.retain(|message| message.queue_offset >= offset);
        Ok(all)
    }

    fn new(queue: &Queue, record: &RecordRef<'_>, texts: &str, body: &[u8]) -> Self {
        let properties: BTreeMap<_, _> = properties::iter(texts)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let property = |name: &str| properties.get(name).cloned();
        let offset_msg_id = OffsetMessageId {
            host: record.store_host(),
            offset: record.physical_offset(),
        };
        Self {
            topic: property(property::RETRY_TOPIC).unwrap_or_else(|| record.topic().into_owned()),
            broker_name: queue.broker_name.clone(),
            queue_id: record.queue_id(),
            queue_offset: record.queue_offset(),
            msg_id: property(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX),
            offset_msg_id: offset_msg_id.to_string(),
            born_timestamp: record.born_timestamp(),
            born_host: record.born_host().to_string(),
            store_timestamp: record.store_timestamp(),
            store_host: record.store_host().to_string(),
            reconsume_times: record.reconsume_times(),
            tag: property(property::TAGS),
            keys: property(property::KEYS),
            body: MessageBody::new(body),
            properties,
        }
    }

    /// The tag.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The message in one line, unless its body has several.
    pub(super) fn line(&self, output: OutputFormat) -> String {
        if output == OutputFormat::Json {
            return serde_json::to_string(self).unwrap_or_default();
        }
        let mut line = format!(
            "{}  {}:{}  offset {}",
            format_time(self.store_timestamp),
            self.broker_name,
            self.queue_id,
            self.queue_offset
        );
        let details = [("tag", &self.tag), ("keys", &self.keys)];
        for (name, value) in details {
            if let Some(value) = value {
                line.push_str(&format!("  {name} {value}"));
            }
        }
        line.push_str(&format!("  {}", self.body));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_text_and_the_rest_as_base64() {
        let shown =
            |body: &[u8]| serde_json::to_string(&MessageBody::new(body)).unwrap_or_default();
        assert_eq!(shown("Grüße\n".as_bytes()), r#"{"body":"Grüße\n"}"#);
        assert_eq!(shown(b"\xff\x00"), r#"{"bodyBase64":"/wA="}"#);
        // A terminal would take it for a command.
        assert_eq!(shown(b"\x1b[2J"), r#"{"bodyBase64":"G1sySg=="}"#);
    }
}
