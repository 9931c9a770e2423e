//! Attributes of topics and groups: settings by name that the reference added later
//! (`TopicAttributes`, `SubscriptionGroupAttributes`, `AttributeUtil`).
//!
//! A request changes them by signed names: `+name` with a value sets, `-name` removes.

use std::collections::{BTreeMap, BTreeSet};

use store::QueueKind;
use wire::message::attribute::{
    CLEANUP_POLICY, LITE_BIND_TOPIC, LITE_CLIENT_MAX_EVENT_COUNT, LITE_CLIENT_QUOTA,
    LITE_EXCLUSIVE, LITE_EXPIRATION, LITE_RESET_OFFSET_EXCLUSIVE, LITE_RESET_OFFSET_UNSUBSCRIBE,
    LITE_SUB_MODEL, LITE_WILDCARD, MESSAGE_TYPE, PRIORITY_FACTOR, QUEUE_TYPE, RESERVE_TIME,
};

use crate::error::BrokerError;

/// An attribute that a topic or group can have.
pub(crate) struct Attribute {
    name: &'static str,
    values: Values,
    /// Whether it can be set after the topic was made.
    changeable: bool,
}

/// Which values an attribute takes.
enum Values {
    OneOf(&'static [&'static str]),
    Between(i64, i64),
    TrueOrFalse,
    Any,
}

const fn attribute(name: &'static str, values: Values) -> Attribute {
    Attribute {
        name,
        values,
        changeable: true,
    }
}

const fn fixed(name: &'static str, values: Values) -> Attribute {
    Attribute {
        name,
        values,
        changeable: false,
    }
}

const BATCH_QUEUES: &str = "BatchCQ";

/// The kind of a topic's queues (`QueueTypeUtils`).
pub(crate) fn queue_kind(attributes: &BTreeMap<String, String>) -> QueueKind {
    match attributes.get(QUEUE_TYPE) {
        Some(kind) if kind == BATCH_QUEUES => QueueKind::Batch,
        _ => QueueKind::Simple,
    }
}

const COMPACTION: &str = "COMPACTION";

/// Whether a topic keeps the last message of each key only (`CleanupPolicyUtils`).
pub(crate) fn is_compacted(attributes: &BTreeMap<String, String>) -> bool {
    attributes
        .get(CLEANUP_POLICY)
        .is_some_and(|policy| policy == COMPACTION)
}

/// The value of [`PRIORITY_FACTOR`] (`SubscriptionGroupConfig.getPriorityFactor`).
pub(crate) fn priority_factor(attributes: &BTreeMap<String, String>) -> u32 {
    let factor = attributes.get(PRIORITY_FACTOR);
    factor.and_then(|factor| factor.parse().ok()).unwrap_or(100)
}

/// The attributes of topics.
pub(crate) const TOPIC: &[Attribute] = &[
    fixed(QUEUE_TYPE, Values::OneOf(&["SimpleCQ", BATCH_QUEUES])),
    fixed(CLEANUP_POLICY, Values::OneOf(&["DELETE", COMPACTION])),
    attribute(
        MESSAGE_TYPE,
        Values::OneOf(&[
            "UNSPECIFIED",
            "MIXED",
            "TRANSACTION",
            "PRIORITY",
            "FIFO",
            "DELAY",
            "LITE",
            "NORMAL",
        ]),
    ),
    attribute(RESERVE_TIME, Values::Between(-1, i64::MAX)),
    attribute(LITE_EXPIRATION, Values::Between(-1, 43_200)),
];

/// The attributes of groups.
pub(crate) const GROUP: &[Attribute] = &[
    attribute(PRIORITY_FACTOR, Values::Between(0, 100)),
    attribute(LITE_BIND_TOPIC, Values::Any),
    attribute(LITE_SUB_MODEL, Values::OneOf(&["Shared", LITE_EXCLUSIVE])),
    attribute(LITE_RESET_OFFSET_EXCLUSIVE, Values::TrueOrFalse),
    attribute(LITE_RESET_OFFSET_UNSUBSCRIBE, Values::TrueOrFalse),
    attribute(LITE_CLIENT_QUOTA, Values::Between(-1, i64::MAX)),
    attribute(LITE_CLIENT_MAX_EVENT_COUNT, Values::Between(10, i64::MAX)),
    attribute(LITE_WILDCARD, Values::Any),
];

/// Attributes by name, or changes of them by signed name.
pub(crate) type Attributes = BTreeMap<String, String>;

/// Reads changes as a header has them: `+name=value`, `-name`, joined by commas.
pub(crate) fn parse(changes: &str) -> Result<Attributes, BrokerError> {
    let mut parsed = Attributes::new();
    for change in changes.split(',').filter(|change| !change.is_empty()) {
        let (name, value) = match change.split_once('=') {
            Some((name, value)) if name.starts_with('+') => (name, value),
            Some((name, _)) => return refuse("add/alter attribute format is wrong", name),
            None if change.starts_with('-') => (change, ""),
            None => return refuse("delete attribute format is wrong", change),
        };
        if parsed.insert(name.into(), value.into()).is_some() {
            return refuse("key duplication", name);
        }
    }
    Ok(parsed)
}

/// What becomes of `current` by `changes`; without a current one, a topic or group is made.
pub(crate) fn alter(
    known: &[Attribute],
    current: Option<&Attributes>,
    changes: &Attributes,
) -> Result<Attributes, BrokerError> {
    let mut altered = current.cloned().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (signed, value) in changes {
        let add = signed.starts_with('+');
        let Some(name) = signed.get(1..).filter(|name| is_name(name)) else {
            return refuse("kv string format wrong.", signed);
        };
        if !seen.insert(name) {
            return refuse("alter duplication key. key", name);
        }
        if current.is_none() && !add {
            return refuse(
                "only add attribute is supported while creating topic. key",
                name,
            );
        }
        if !add && !signed.starts_with('-') {
            return refuse("wrong format key", name);
        }
        if !add && !altered.contains_key(name) {
            return refuse("attempt to delete a nonexistent key", name);
        }
        let Some(attribute) = known.iter().find(|attribute| attribute.name == name) else {
            return refuse("unsupported key", name);
        };
        if current.is_some() && !attribute.changeable {
            return refuse("attempt to update an unchangeable attribute. key", name);
        }
        if add {
            attribute.values.check(name, value)?;
            altered.insert(name.into(), value.clone());
        } else {
            altered.remove(name);
        }
    }
    Ok(altered)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['+', '-'])
}

impl Values {
    fn check(&self, name: &str, value: &str) -> Result<(), BrokerError> {
        match self {
            Self::OneOf(choices) if choices.contains(&value) => Ok(()),
            Self::OneOf(choices) => Err(BrokerError::System(format!(
                "value is not in set: [{}], the value of {name} is {value:?}",
                choices.join(", ")
            ))),
            Self::Between(min, max) => match value.parse::<i64>() {
                Ok(number) if (*min..=*max).contains(&number) => Ok(()),
                _ => Err(BrokerError::System(format!(
                    "value is not in range({min}, {max}), the value of {name} is {value:?}"
                ))),
            },
            Self::TrueOrFalse
                if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") =>
            {
                Ok(())
            }
            Self::TrueOrFalse => refuse("boolean attribute format is wrong.", name),
            Self::Any => Ok(()),
        }
    }
}

fn refuse<T>(why: &str, name: &str) -> Result<T, BrokerError> {
    Err(BrokerError::System(format!("{why}: {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Attributes {
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    fn altered(current: Option<&Attributes>, changes: &str) -> Result<Attributes, String> {
        parse(changes)
            .and_then(|changes| alter(TOPIC, current, &changes))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn changes_set_and_remove() {
        let fifo = altered(None, "+message.type=FIFO,+queue.type=SimpleCQ").unwrap();
        assert_eq!(
            fifo,
            map(&[("message.type", "FIFO"), ("queue.type", "SimpleCQ")])
        );
        let delay = altered(Some(&fifo), "+message.type=DELAY,+reserve.time=7").unwrap();
        assert_eq!(delay["message.type"], "DELAY");
        let plain = altered(Some(&delay), "-message.type,-reserve.time").unwrap();
        assert_eq!(plain, map(&[("queue.type", "SimpleCQ")]));
        assert_eq!(altered(Some(&plain), "").unwrap(), plain);
    }

    #[test]
    fn wrong_changes_are_refused_by_name() {
        let topic = map(&[("message.type", "FIFO"), ("queue.type", "SimpleCQ")]);
        for (changes, why) in [
            ("message.type=FIFO", "format is wrong: message.type"),
            ("message.type", "format is wrong: message.type"),
            (
                "+message.type=FIFO,+message.type=DELAY",
                "duplication: +message.type",
            ),
            (
                "+message.type=FIFO,-message.type",
                "duplication key. key: message.type",
            ),
            ("+message.type=fifo", "not in set"),
            ("+reserve.time=-2", "not in range(-1"),
            ("+reserve.time=soon", "not in range(-1"),
            (
                "+queue.type=BatchCQ",
                "unchangeable attribute. key: queue.type",
            ),
            ("-reserve.time", "nonexistent key: reserve.time"),
            ("+colour=red", "unsupported key: colour"),
            ("+=red", "format wrong"),
        ] {
            let error = altered(Some(&topic), changes).unwrap_err();
            assert!(error.contains(why), "{changes}: {error}");
        }
        let error = altered(None, "-message.type").unwrap_err();
        assert!(error.contains("while creating"), "{error}");
    }

    #[test]
    fn groups_have_their_own() {
        let changes = map(&[
            ("+lite.sub.wildcard", "x"),
            ("+lite.sub.reset.offset.exclusive", "TRUE"),
        ]);
        assert!(alter(GROUP, None, &changes).is_ok());
        assert!(alter(GROUP, None, &map(&[("+message.type", "FIFO")])).is_err());
        assert!(
            alter(
                GROUP,
                None,
                &map(&[("+lite.sub.reset.offset.exclusive", "1")])
            )
            .is_err()
        );
    }
}
