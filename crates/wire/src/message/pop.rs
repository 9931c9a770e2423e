//! What POP writes into properties, headers and handles.
//!
//! All are texts. [`ExtraInfo`] goes with each message a POP answer brings, as its property
//! `POP_CK`, and comes back to acknowledge it; with the commit log offset it is a receipt handle:
//!
//! ```text
//! startOffset popTime invisibleTime reviveQueueId topicKind brokerName queueId [queueOffset [commitLogOffset]]
//! ```
//!
//! A POP answer's header has three lists, entries separated by `;`, parts by a blank:
//!
//! | header | entry |
//! |---|---|
//! | `startOffsetInfo` | `topicKind queueId startOffset` |
//! | `msgOffsetInfo` | `topicKind queueId offset,offset,…` |
//! | `orderCountInfo` | `topicKind queueId count`, or `topicKind qo<queueId>%<queueOffset> count` |
//!
//! [`revive`] has the messages POP writes for itself.
//!
//! Sources in the reference: `ExtraInfoUtil`, `ReceiptHandle`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use std::str::FromStr;

use super::MessageError;
use super::names::{
    POP_ORDER_REVIVE_QUEUE, is_pop_retry_topic_v2, is_retry_topic, pop_retry_topic_v1,
    pop_retry_topic_v2,
};

pub mod revive;

/// Which of a group's three topics a popped message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TopicKind {
    /// The topic itself, written `0`.
    #[default]
    Normal,
    /// Its retry topic of form 1, written `1`.
    RetryV1,
    /// Its retry topic of form 2, written `2`.
    RetryV2,
}

impl TopicKind {
    /// The kind a topic's name tells.
    pub fn of_topic(topic: &str) -> TopicKind {
        if is_pop_retry_topic_v2(topic) {
            TopicKind::RetryV2
        } else if is_retry_topic(topic) {
            TopicKind::RetryV1
        } else {
            TopicKind::Normal
        }
    }

    /// The kind as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            TopicKind::Normal => "0",
            TopicKind::RetryV1 => "1",
            TopicKind::RetryV2 => "2",
        }
    }

    /// The topic of this kind that belongs to `topic` and `group`.
    pub fn real_topic<'a>(self, topic: &'a str, group: &str) -> Cow<'a, str> {
        match self {
            TopicKind::Normal => Cow::Borrowed(topic),
            TopicKind::RetryV1 => Cow::Owned(pop_retry_topic_v1(topic, group)),
            TopicKind::RetryV2 => Cow::Owned(pop_retry_topic_v2(topic, group)),
        }
    }
}

impl FromStr for TopicKind {
    type Err = ();

    fn from_str(text: &str) -> Result<TopicKind, ()> {
        match text {
            "0" => Ok(TopicKind::Normal),
            "1" => Ok(TopicKind::RetryV1),
            "2" => Ok(TopicKind::RetryV2),
            _ => Err(()),
        }
    }
}

/// The parts of a text; empty ones at its end do not count, as with Java's `split`.
fn parts(text: &str, separator: char) -> std::str::Split<'_, char> {
    text.trim_end_matches(separator).split(separator)
}

/// What a popped message is acknowledged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtraInfo<'a> {
    /// Queue offset of the check point: where the POP started.
    pub start_offset: i64,
    /// When the message was popped, milliseconds since 1970.
    pub pop_time: i64,
    /// Milliseconds from then until it is delivered again.
    pub invisible_time: i64,
    /// Queue of the revive topic the check point is in.
    pub revive_queue_id: i32,
    /// Which topic the message came from.
    pub topic_kind: TopicKind,
    /// The broker that has the message.
    pub broker_name: &'a str,
    /// Queue of the message.
    pub queue_id: i32,
    /// Queue offset of the message. Always there in a receipt handle.
    pub queue_offset: Option<i64>,
    /// Commit log offset of the message, -1 if unknown. Only in a receipt handle.
    pub commit_log_offset: Option<i64>,
}

impl<'a> ExtraInfo<'a> {
    /// Reads the property `POP_CK` or the header field `extraInfo`.
    ///
    /// # Errors
    /// [`MessageError::Pop`] if one of the first seven parts is missing or no number, or if the
    /// eighth or ninth is no number.
    pub fn decode(text: &'a str) -> Result<ExtraInfo<'a>, MessageError> {
        ExtraInfo::of_parts(text).map_err(|reason| pop_error("POP extra info", text, reason))
    }

    fn of_parts(text: &'a str) -> Result<ExtraInfo<'a>, &'static str> {
        let mut parts = parts(text, ' ');
        Ok(ExtraInfo {
            start_offset: number(&mut parts)?.ok_or(MISSING)?,
            pop_time: number(&mut parts)?.ok_or(MISSING)?,
            invisible_time: number(&mut parts)?.ok_or(MISSING)?,
            revive_queue_id: number(&mut parts)?.ok_or(MISSING)?,
            topic_kind: parts
                .next()
                .ok_or(MISSING)?
                .parse()
                .map_err(|()| "its fifth part must be 0, 1 or 2")?,
            broker_name: parts.next().ok_or(MISSING)?,
            queue_id: number(&mut parts)?.ok_or(MISSING)?,
            queue_offset: number(&mut parts)?,
            commit_log_offset: number(&mut parts)?,
        })
    }

    /// Reads a receipt handle; a missing commit log offset becomes -1.
    ///
    /// # Errors
    /// As [`Self::decode`], and if there is no queue offset.
    pub fn decode_receipt_handle(text: &'a str) -> Result<ExtraInfo<'a>, MessageError> {
        let info = ExtraInfo::decode(text)?;
        if info.queue_offset.is_none() {
            return Err(pop_error("receipt handle", text, MISSING));
        }
        Ok(ExtraInfo {
            commit_log_offset: info.commit_log_offset.or(Some(-1)),
            ..info
        })
    }

    /// When the message is delivered again, milliseconds since 1970.
    pub fn next_visible_time(&self) -> i64 {
        self.pop_time.saturating_add(self.invisible_time)
    }

    /// Whether the message was popped in order, so that no check point exists for it.
    pub fn is_order(&self) -> bool {
        self.revive_queue_id == POP_ORDER_REVIVE_QUEUE
    }
}

impl Display for ExtraInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {} {}",
            self.start_offset,
            self.pop_time,
            self.invisible_time,
            self.revive_queue_id,
            self.topic_kind.as_str(),
            self.broker_name,
            self.queue_id
        )?;
        for offset in [self.queue_offset, self.commit_log_offset]
            .into_iter()
            .flatten()
        {
            write!(f, " {offset}")?;
        }
        Ok(())
    }
}

const MISSING: &str = "parts are missing at its end";
const NO_NUMBER: &str = "a number is expected where there is none";

/// The next part as a number, if there is one.
fn number<'a, T: FromStr>(
    parts: &mut impl Iterator<Item = &'a str>,
) -> Result<Option<T>, &'static str> {
    parts
        .next()
        .map(|part| part.parse().map_err(|_| NO_NUMBER))
        .transpose()
}

fn pop_error(kind: &'static str, text: &str, reason: &'static str) -> MessageError {
    MessageError::Pop {
        kind,
        text: text.into(),
        reason,
    }
}

/// Appends an entry to one of a POP answer's lists.
fn append_entry(list: &mut String, topic: &str, queue: impl Display, value: impl Display) {
    let separator = if list.is_empty() { "" } else { ";" };
    let kind = TopicKind::of_topic(topic).as_str();
    // Writing to a text cannot fail.
    let _ = write!(list, "{separator}{kind} {queue} {value}");
}

/// Appends to `startOffsetInfo` where the POP of a queue of `topic` started.
pub fn append_start_offset(list: &mut String, topic: &str, queue_id: i32, start_offset: i64) {
    append_entry(list, topic, queue_id, start_offset);
}

/// Appends to `msgOffsetInfo` the queue offsets of the messages popped from a queue of `topic`.
pub fn append_msg_offsets(list: &mut String, topic: &str, queue_id: i32, offsets: &[i64]) {
    append_entry(list, topic, queue_id, Joined(offsets, ","));
}

/// Appends to `orderCountInfo` how often a queue's first message was popped.
pub fn append_queue_order_count(list: &mut String, topic: &str, queue_id: i32, count: i32) {
    append_entry(list, topic, queue_id, count);
}

/// Appends to `orderCountInfo` how often one message was popped.
pub fn append_offset_order_count(
    list: &mut String,
    topic: &str,
    queue_id: i32,
    queue_offset: i64,
    count: i32,
) {
    append_entry(
        list,
        topic,
        format_args!("qo{queue_id}%{queue_offset}"),
        count,
    );
}

/// The key a queue of `topic` has in what the three readers below give.
pub fn queue_key(topic: &str, queue_id: i32) -> String {
    format!("{}@{queue_id}", TopicKind::of_topic(topic).as_str())
}

/// The key one message has in what [`parse_order_count_info`] gives.
pub fn queue_offset_key(topic: &str, queue_id: i32, queue_offset: i64) -> String {
    format!(
        "{}@qo{queue_id}%{queue_offset}",
        TopicKind::of_topic(topic).as_str()
    )
}

/// Reads `startOffsetInfo`: the start offset of each queue, by [`queue_key`].
///
/// # Errors
/// [`MessageError::Pop`] if an entry has not three parts, the last is no number, or a queue
/// comes twice.
pub fn parse_start_offset_info(list: &str) -> Result<BTreeMap<String, i64>, MessageError> {
    parse_list("startOffsetInfo", list, |value| value.parse().ok())
}

/// Reads `msgOffsetInfo`: the offsets of each queue, by [`queue_key`].
///
/// # Errors
/// As [`parse_start_offset_info`].
pub fn parse_msg_offset_info(list: &str) -> Result<BTreeMap<String, Vec<i64>>, MessageError> {
    parse_list("msgOffsetInfo", list, |value| {
        parts(value, ',')
            .map(|offset| offset.parse().ok())
            .collect()
    })
}

/// Reads `orderCountInfo`: the counts, by [`queue_key`] or [`queue_offset_key`].
///
/// # Errors
/// As [`parse_start_offset_info`].
pub fn parse_order_count_info(list: &str) -> Result<BTreeMap<String, i32>, MessageError> {
    parse_list("orderCountInfo", list, |value| value.parse().ok())
}

fn parse_list<T>(
    kind: &'static str,
    list: &str,
    value_of: impl Fn(&str) -> Option<T>,
) -> Result<BTreeMap<String, T>, MessageError> {
    let mut values = BTreeMap::new();
    if list.is_empty() {
        return Ok(values);
    }
    for entry in parts(list, ';') {
        let mut parts = parts(entry, ' ');
        let (Some(kind_of_topic), Some(queue), Some(value), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(pop_error(kind, list, "each entry must have three parts"));
        };
        let value = value_of(value).ok_or_else(|| pop_error(kind, list, NO_NUMBER))?;
        if values
            .insert(format!("{kind_of_topic}@{queue}"), value)
            .is_some()
        {
            return Err(pop_error(kind, list, "a queue comes twice"));
        }
    }
    Ok(values)
}

/// Numbers with a separator between them.
struct Joined<'a>(&'a [i64], &'a str);

impl Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { self.1 };
            write!(f, "{separator}{number}")?;
        }
        Ok(())
    }
}
