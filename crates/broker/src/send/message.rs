//! The properties of a message on their way into the log, and what they tell the broker.

use std::ops::Range;

use wire::message::{properties, property};

use crate::broker::Broker;
use crate::timer::accept;

/// Properties that the broker sets; what a client sends under these names is dropped.
const SET_BY_THE_BROKER: [&str; 5] = [
    property::INNER_MULTI_QUEUE_OFFSET,
    property::POP_CK,
    property::MSG_REGION,
    property::TRACE_SWITCH,
    property::CLUSTER,
];

/// The message's unique id.
pub(super) enum UniqueId {
    /// It stands there in the properties that were sent.
    Sent(Range<usize>),
    Made(String),
    None,
}

impl UniqueId {
    pub(super) fn of(sent: &str, id: Option<&str>) -> Self {
        id.map_or(Self::None, |id| {
            let start = id.as_ptr() as usize - sent.as_ptr() as usize;
            Self::Sent(start..start + id.len())
        })
    }

    /// The id, by the properties that were sent.
    pub(super) fn get<'s>(&'s self, sent: &'s str) -> Option<&'s str> {
        match self {
            Self::Sent(range) => sent.get(range.clone()),
            Self::Made(id) => Some(id),
            Self::None => None,
        }
    }
}

/// What the broker must know of a message's properties.
pub(super) struct Properties<'a> {
    pub(super) tags: Option<&'a str>,
    pub(super) unique_id: Option<&'a str>,
    pub(super) delay_level: i32,
    pub(super) wait_store: bool,
    pub(super) has_time: bool,
    pub(super) has_sharding_key: bool,
    /// Not negative.
    pub(super) priority: Option<i32>,
    pub(super) is_half: bool,
    pub(super) inner_messages: Option<&'a str>,
    pub(super) lite_topic: Option<&'a str>,
    /// There are some that only the broker sets.
    pub(super) has_forged: bool,
}

impl<'a> Properties<'a> {
    pub(super) fn read(string: &'a str) -> Self {
        let mut read = Self {
            tags: None,
            unique_id: None,
            delay_level: 0,
            wait_store: true,
            has_time: false,
            has_sharding_key: false,
            priority: None,
            is_half: false,
            inner_messages: None,
            lite_topic: None,
            has_forged: false,
        };
        for (name, value) in properties::iter(string) {
            match name {
                property::TAGS => read.tags = Some(value),
                property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX => read.unique_id = Some(value),
                property::DELAY_TIME_LEVEL => read.delay_level = value.parse().unwrap_or(0),
                property::WAIT_STORE_MSG_OK => read.wait_store = is_true(value),
                property::LITE_TOPIC => read.lite_topic = Some(value),
                property::INNER_NUM => read.inner_messages = Some(value),
                property::TRANSACTION_PREPARED => read.is_half = is_true(value),
                property::SHARDING_KEY => read.has_sharding_key = true,
                property::PRIORITY => {
                    read.priority = value.parse().ok().filter(|&priority: &i32| priority >= 0);
                }
                _ => {
                    read.has_time |= accept::TIMES.contains(&name);
                    read.has_forged |= SET_BY_THE_BROKER.contains(&name);
                }
            }
        }
        read
    }

    /// The priority, unless something else decides about the queue.
    pub(super) fn deciding_priority(&self) -> Option<i32> {
        let is_detoured = self.is_half || self.delay_level > 0 || self.has_time;
        self.priority
            .filter(|_| !is_detoured && !self.has_sharding_key)
    }
}

/// The properties of a message on their way into the log.
pub(super) struct Draft<'a> {
    /// Those that were sent.
    pub(super) sent: &'a str,
    pub(super) read: Properties<'a>,
    pub(super) unique_id: UniqueId,
    /// Those to store, where they are others.
    pub(super) rewritten: Option<String>,
    /// What is stored behind them.
    pub(super) added: String,
}

impl<'a> Draft<'a> {
    /// What was sent, without what only the broker sets.
    pub(super) fn new(sent: &'a str) -> Self {
        let read = Properties::read(sent);
        Self {
            sent,
            unique_id: UniqueId::of(sent, read.unique_id),
            rewritten: read
                .has_forged
                .then(|| properties::without(sent, &SET_BY_THE_BROKER)),
            added: String::new(),
            read,
        }
    }

    /// The properties to store.
    pub(super) fn properties(&self) -> &str {
        self.rewritten.as_deref().unwrap_or(self.sent)
    }

    pub(super) fn remove(&mut self, names: &[&str]) {
        self.rewritten = Some(properties::without(self.properties(), names));
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        let rewritten = self.rewritten.get_or_insert_with(|| self.sent.to_owned());
        properties::set(rewritten, name, value);
    }

    pub(super) fn add(&mut self, name: &str, value: &str) {
        properties::put(&mut self.added, name, value);
    }

    /// Gives the message a unique id, unless it has one.
    pub(super) fn identify(&mut self, broker: &Broker) {
        if let UniqueId::None = self.unique_id {
            let id = broker.new_unique_id();
            self.add(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &id);
            self.unique_id = UniqueId::Made(id);
        }
    }

    /// Holds the delay level within the broker's; a message with one waits for no other time.
    pub(super) fn limit_level(&mut self, highest: i32) {
        let asked = self.read.delay_level;
        self.read.delay_level = asked.min(highest);
        if asked > 0 && (asked > highest || self.read.has_time) {
            self.remove(&accept::TIMES);
            let level = self.read.delay_level.to_string();
            self.set(property::DELAY_TIME_LEVEL, &level);
        }
    }
}

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}
