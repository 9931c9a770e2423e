//! What a sent message's properties tell the broker.

use std::ops::Range;

use wire::message::{properties, property};

use super::SET_BY_THE_BROKER;
use crate::timer::accept;

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
}

pub(super) fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}
