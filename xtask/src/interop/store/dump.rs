//! What the Java programs of `tests/interop/java/store` tell: one JSON object a line.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::broker::Teller;
use crate::process::Result;

/// A topic and one of its queues.
pub(super) type Queue = (String, i32);

/// One line.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(super) enum Line {
    /// A message that is stored.
    Message(Message),
    /// A record of the commit log, as the reference would make a queue entry from it.
    LogRecord(LogRecord),
    /// The log's end.
    Log {
        end: i64,
    },
    /// The bounds of a queue.
    Queue {
        topic: String,
        queue: i32,
        min: i64,
        max: i64,
    },
    /// The positions of the messages that a key finds.
    Key {
        topic: String,
        key: String,
        found: BTreeSet<i64>,
    },
    /// The offset that a time finds.
    Time {
        topic: String,
        queue: i32,
        time: i64,
        offset: i64,
    },
    Topic {
        name: String,
        settings: String,
    },
    Group {
        name: String,
        settings: String,
    },
    /// Number of changes of a table.
    Version {
        table: String,
        counter: i64,
    },
    /// How far a group has come; the key is `topic@group`.
    GroupOffset {
        key: String,
        queue: i32,
        offset: i64,
    },
    /// The broker has acknowledged these messages, one or a batch.
    Sent(Sent),
    /// The broker has acknowledged how far a group has come.
    Committed {
        key: String,
        queue: i32,
        offset: i64,
    },
    /// The broker has acknowledged that a message shall come again, in this topic.
    GivenBack {
        id: String,
        topic: String,
    },
    /// From now on there is nothing but sending; or the broker owes enough to be followed.
    Steady,
    /// A message did not come as it was promised under the broker before.
    Fault {
        what: String,
    },
}

/// A stored record. Some fields are told only by who reads the files.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) queue: i32,
    pub(super) offset: i64,
    pub(super) position: i64,
    pub(super) size: i32,
    /// SHA-256 of the whole record.
    pub(super) record: String,
    pub(super) store_time: i64,
    pub(super) keys: BTreeSet<String>,
    /// The messages of an inner batch; otherwise one.
    pub(super) contents: Vec<Content>,
    #[serde(flatten)]
    pub(super) entry: Option<Entry>,
}

/// The queue entry by which a message was found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// The topic of the queue; a light queue's is not the message's.
    pub(super) in_queue: String,
    pub(super) at: i64,
    pub(super) count: i32,
    pub(super) tags_code: i64,
}

/// What a sender gives and a consumer gets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Content {
    /// Messages that no leg has sent have none.
    pub(super) id: Option<String>,
    /// SHA-256.
    pub(super) body: String,
    pub(super) flag: i32,
    pub(super) properties: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogRecord {
    pub(super) position: i64,
    pub(super) topic: String,
    pub(super) queue: i32,
    pub(super) offset: i64,
    pub(super) size: i32,
    pub(super) tags_code: i64,
    pub(super) count: i32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    pub(super) topic: String,
    pub(super) queue: i32,
    /// Of the first message.
    pub(super) offset: i64,
    /// One a message, or one for all.
    pub(super) positions: Vec<i64>,
    pub(super) delay_level: i32,
    pub(super) contents: Vec<Content>,
}

/// All that somebody found in a store.
#[derive(Debug, Default)]
pub(super) struct Dump {
    pub(super) messages: Vec<Message>,
    /// By position.
    pub(super) log: BTreeMap<i64, LogRecord>,
    /// Where the log ends.
    pub(super) end: i64,
    /// First offset, and the one behind the last.
    pub(super) queues: BTreeMap<Queue, (i64, i64)>,
    /// Positions by topic and key.
    pub(super) keys: BTreeMap<(String, String), BTreeSet<i64>>,
    /// Offsets by queue and time.
    pub(super) times: BTreeMap<(Queue, i64), i64>,
    pub(super) topics: BTreeMap<String, String>,
    pub(super) groups: BTreeMap<String, String>,
    pub(super) versions: BTreeMap<String, i64>,
    /// By `topic@group` and queue.
    pub(super) offsets: BTreeMap<(String, i32), i64>,
}

/// Understands one line.
pub(super) fn parse<L: DeserializeOwned>(line: &str) -> Result<L> {
    serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))
}

impl Dump {
    /// Listens to the end.
    pub(super) fn read(mut teller: Teller) -> Result<Self> {
        let mut dump = Self::default();
        while let Some(line) = teller.next()? {
            dump.add(line)?;
        }
        Ok(dump)
    }

    fn add(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Message(message) => self.messages.push(message),
            Line::LogRecord(record) => {
                self.log.insert(record.position, record);
            }
            Line::Log { end } => self.end = end,
            Line::Queue {
                topic,
                queue,
                min,
                max,
            } => {
                self.queues.insert((topic, queue), (min, max));
            }
            Line::Key { topic, key, found } => {
                self.keys.insert((topic, key), found);
            }
            Line::Time {
                topic,
                queue,
                time,
                offset,
            } => {
                self.times.insert(((topic, queue), time), offset);
            }
            Line::Topic { name, settings } => {
                self.topics.insert(name, settings);
            }
            Line::Group { name, settings } => {
                self.groups.insert(name, settings);
            }
            Line::Version { table, counter } => {
                self.versions.insert(table, counter);
            }
            Line::GroupOffset { key, queue, offset } => {
                self.offsets.insert((key, queue), offset);
            }
            other => return Err(format!("a reader does not tell {other:?}")),
        }
        Ok(())
    }

    /// The messages in the queues of their own topics; light queues have them once more.
    pub(super) fn own(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| {
            let entry = message.entry.as_ref();
            entry.is_none_or(|entry| entry.in_queue == message.topic)
        })
    }
}
