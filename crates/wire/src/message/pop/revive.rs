//! The messages POP writes into the revive topic: check points and acknowledgements.
//!
//! Their bodies are JSON objects with one- and two-letter names; a missing name stands for 0 or
//! nothing. Sources in the reference: `PopCheckPoint`, `AckMsg`, `BatchAckMsg`,
//! `PopMessageProcessor`.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::super::MessageError;
use super::{Joined, pop_error};

/// Tag of a check point's message.
pub const CK_TAG: &str = "ck";
/// Tag of an acknowledgement's message.
pub const ACK_TAG: &str = "ack";
/// Tag of the message of several acknowledgements.
pub const BATCH_ACK_TAG: &str = "bAck";

/// What one POP took from a queue: kept until all of it is acknowledged or due again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct PopCheckPoint<'a> {
    /// Which messages are acknowledged, a bit for each.
    #[serde(rename = "bm")]
    pub bit_map: i32,
    /// The broker that has the messages.
    #[serde(rename = "bn", borrow)]
    pub broker_name: Cow<'a, str>,
    /// The consumer group.
    #[serde(rename = "c", borrow)]
    pub group: Cow<'a, str>,
    /// Offset of each message less the start offset. Empty in check points of old brokers: then
    /// the messages follow each other without gaps.
    #[serde(rename = "d")]
    pub queue_offset_diff: Vec<i32>,
    /// Milliseconds from the pop time until the messages are delivered again.
    #[serde(rename = "it")]
    pub invisible_time: i64,
    /// How many messages.
    #[serde(rename = "n")]
    pub num: i8,
    /// When they were popped, milliseconds since 1970.
    #[serde(rename = "pt")]
    pub pop_time: i64,
    /// The queue they were popped from.
    #[serde(rename = "q")]
    pub queue_id: i32,
    /// Offset of the check point in the revive topic's queue.
    #[serde(rename = "ro")]
    pub revive_offset: i64,
    /// How often the check point was put back, as a number in a text.
    #[serde(rename = "rp")]
    pub re_put_times: Option<Cow<'a, str>>,
    /// Queue offset of the first message.
    #[serde(rename = "so")]
    pub start_offset: i64,
    /// Whether delivery is suspended.
    #[serde(rename = "sp")]
    pub suspend: bool,
    /// The topic they were popped from.
    #[serde(rename = "t", borrow)]
    pub topic: Cow<'a, str>,
}

impl<'a> PopCheckPoint<'a> {
    /// Reads the body of a check point's message.
    ///
    /// # Errors
    /// [`MessageError::Pop`] if it is no such JSON.
    pub fn decode(json: &'a str) -> Result<PopCheckPoint<'a>, MessageError> {
        serde_json::from_str(json).map_err(|_| pop_error("POP check point", json, BAD_JSON))
    }

    /// The body of a check point's message.
    pub fn encode(&self) -> String {
        to_json(self)
    }

    /// When the messages are delivered again, milliseconds since 1970.
    pub fn revive_time(&self) -> i64 {
        self.pop_time.saturating_add(self.invisible_time)
    }

    /// The place of a queue offset among the messages; `None` if it is not one of them.
    pub fn index_of_ack(&self, ack_offset: i64) -> Option<usize> {
        let diff = ack_offset
            .checked_sub(self.start_offset)
            .filter(|diff| *diff >= 0)?;
        if self.queue_offset_diff.is_empty() {
            return (diff < i64::from(self.num)).then_some(diff as usize);
        }
        self.queue_offset_diff
            .iter()
            .position(|known| i64::from(*known) == diff)
    }

    /// The queue offset of the message at a place; `None` behind the last.
    pub fn ack_offset_by_index(&self, index: usize) -> Option<i64> {
        let diff = if self.queue_offset_diff.is_empty() {
            i64::try_from(index)
                .ok()
                .filter(|index| *index < i64::from(self.num))?
        } else {
            i64::from(*self.queue_offset_diff.get(index)?)
        };
        self.start_offset.checked_add(diff)
    }

    /// The queue offset of the last message; `None` without messages.
    pub fn last_offset(&self) -> Option<i64> {
        let last = usize::try_from(self.num).ok()?.checked_sub(1)?;
        self.ack_offset_by_index(last)
    }

    /// How often the check point was put back; 127 if the text is no number.
    pub fn parsed_re_put_times(&self) -> i32 {
        self.re_put_times
            .as_ref()
            .map_or(0, |times| times.parse().unwrap_or(i32::from(i8::MAX)))
    }

    /// The unique id of the check point's message.
    pub fn unique_key(&self) -> String {
        format!(
            "{}@{}@{}@{}@{}@{}@{CK_TAG}",
            self.topic,
            self.queue_id,
            self.start_offset,
            self.group,
            self.pop_time,
            self.broker_name
        )
    }
}

impl Serialize for PopCheckPoint<'_> {
    /// The names in the order of the reference, with the computed `reviveTime` it writes too.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("bm", &self.bit_map)?;
        if !self.broker_name.is_empty() {
            map.serialize_entry("bn", &self.broker_name)?;
        }
        map.serialize_entry("c", &self.group)?;
        if !self.queue_offset_diff.is_empty() {
            map.serialize_entry("d", &self.queue_offset_diff)?;
        }
        map.serialize_entry("it", &self.invisible_time)?;
        map.serialize_entry("n", &self.num)?;
        map.serialize_entry("pt", &self.pop_time)?;
        map.serialize_entry("q", &self.queue_id)?;
        map.serialize_entry("reviveTime", &self.revive_time())?;
        map.serialize_entry("ro", &self.revive_offset)?;
        if let Some(times) = &self.re_put_times {
            map.serialize_entry("rp", times)?;
        }
        map.serialize_entry("so", &self.start_offset)?;
        map.serialize_entry("sp", &self.suspend)?;
        map.serialize_entry("t", &self.topic)?;
        map.end()
    }
}

/// One or several acknowledgements of messages of one check point (`AckMsg`, `BatchAckMsg`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PopAck<'a> {
    /// Queue offset of the message, if it is one.
    #[serde(rename = "ao", alias = "ackOffset")]
    pub ack_offset: i64,
    /// Queue offsets of the messages, if they are several.
    #[serde(
        rename = "aol",
        alias = "ackOffsetList",
        skip_serializing_if = "Option::is_none"
    )]
    pub ack_offset_list: Option<Vec<i64>>,
    /// The broker that has the message.
    #[serde(
        rename = "bn",
        alias = "brokerName",
        borrow,
        skip_serializing_if = "str::is_empty"
    )]
    pub broker_name: Cow<'a, str>,
    /// The consumer group.
    #[serde(rename = "c", alias = "consumerGroup", borrow)]
    pub group: Cow<'a, str>,
    /// When it was popped, milliseconds since 1970.
    #[serde(rename = "pt", alias = "popTime")]
    pub pop_time: i64,
    /// The queue it was popped from.
    #[serde(rename = "q", alias = "queueId")]
    pub queue_id: i32,
    /// Start offset of the check point.
    #[serde(rename = "so", alias = "startOffset")]
    pub start_offset: i64,
    /// The topic it was popped from.
    #[serde(rename = "t", alias = "topic", borrow)]
    pub topic: Cow<'a, str>,
}

impl<'a> PopAck<'a> {
    /// Reads the body of an acknowledgement's message.
    ///
    /// # Errors
    /// [`MessageError::Pop`] if it is no such JSON.
    pub fn decode(json: &'a str) -> Result<PopAck<'a>, MessageError> {
        serde_json::from_str(json).map_err(|_| pop_error("POP acknowledgement", json, BAD_JSON))
    }

    /// The body of an acknowledgement's message.
    pub fn encode(&self) -> String {
        to_json(self)
    }

    /// The tag of the message.
    pub fn tag(&self) -> &'static str {
        if self.ack_offset_list.is_some() {
            BATCH_ACK_TAG
        } else {
            ACK_TAG
        }
    }

    /// The unique id of the message.
    pub fn unique_key(&self) -> String {
        let PopAck {
            topic,
            queue_id,
            group,
            pop_time,
            ..
        } = self;
        match &self.ack_offset_list {
            Some(offsets) => {
                let offsets = Joined(offsets, ", ");
                format!("{topic}@{queue_id}@[{offsets}]@{group}@{pop_time}@{BATCH_ACK_TAG}")
            }
            None => format!(
                "{topic}@{queue_id}@{}@{group}@{pop_time}@{}@{ACK_TAG}",
                self.ack_offset, self.broker_name
            ),
        }
    }
}

const BAD_JSON: &str = "it is not the JSON it should be";

/// Neither numbers nor texts can fail to be written.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
