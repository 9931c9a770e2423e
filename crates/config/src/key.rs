//! One key: its declaration and what is told about it.

use std::ops::{Bound, RangeBounds};

use crate::ConfigError;
use crate::error::start;
use crate::settings::Settings;
use crate::value::{Kind, Value};

/// What is told about a key, whatever its type.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyInfo {
    /// The name in configuration files.
    pub key: &'static str,
    /// Its documentation: lines of Markdown.
    pub doc: &'static str,
    /// The type it is a field of.
    pub group: &'static str,
    /// The reference's classes that have the key; empty for a group of ours.
    pub classes: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// What it takes in words, bounds included: "a whole number from 1 to 10".
    pub takes: String,
    /// The default as shown in documentation, with `${user.home}`,
    /// `${hostname}` and `${local address}` for what differs between
    /// machines; `None` when it is not set.
    pub default: Option<String>,
    /// Whether it can change while running.
    pub reloadable: bool,
    /// Whether `-m` prints it.
    pub important: bool,
    /// Whether the key is Kerolox's own and unknown to the reference.
    pub ours: bool,
    /// Why the default is not the reference's.
    pub differs: Option<&'static str>,
}

impl KeyInfo {
    /// Adds the keys of a group to those of a role; `group` holds the role's
    /// defaults for it. `groups!` calls this.
    pub fn join<S: Settings>(keys: &mut Vec<KeyInfo>, group: &S) {
        let own = S::default();
        for info in S::keys() {
            if let Some(known) = keys.iter_mut().find(|known| known.key == info.key) {
                // What holds for one of them only does not hold for the key.
                known.reloadable &= info.reloadable;
                known.important |= info.important;
                continue;
            }
            let mut info = info.clone();
            let value = group.get(info.key);
            if value != own.get(info.key) {
                info.default = value;
            }
            keys.push(info);
        }
    }
}

type Within<T> = dyn Fn(&T) -> bool;
type Check<T> = fn(&T) -> Result<(), String>;

/// The declaration of a key of type `T`. The methods are the options that can
/// follow the default in [`settings!`](crate::settings).
pub struct Key<T> {
    info: KeyInfo,
    within: Option<Box<Within<T>>>,
    check: Option<Check<T>>,
}

impl<T: Value> Key<T> {
    /// A key without options; `settings!` calls this.
    pub fn new(
        key: &'static str,
        doc: &'static str,
        group: &'static str,
        classes: &'static [&'static str],
        default: fn() -> T,
    ) -> Key<T> {
        Key {
            info: KeyInfo {
                key,
                doc,
                group,
                classes,
                kind: T::KIND,
                takes: takes(T::KIND, None, None, false),
                default: default().show(),
                reloadable: false,
                important: false,
                ours: false,
                differs: None,
            },
            within: None,
            check: None,
        }
    }

    /// Option: the value lies in this range.
    pub fn range(mut self, range: impl RangeBounds<T> + 'static) -> Key<T>
    where
        T: PartialOrd,
    {
        let edge = |bound: Bound<&T>| match bound {
            Bound::Included(edge) | Bound::Excluded(edge) => edge.show(),
            Bound::Unbounded => None,
        };
        let below = matches!(range.end_bound(), Bound::Excluded(_));
        let (low, high) = (edge(range.start_bound()), edge(range.end_bound()));
        self.info.takes = takes(T::KIND, low, high, below);
        self.within = Some(Box::new(move |value| range.contains(value)));
        self
    }

    /// Option: a test of its own; the error is a clause such as
    /// "the hours are two digits each, 00 to 23".
    pub fn check(mut self, check: fn(&T) -> Result<(), String>) -> Key<T> {
        self.check = Some(check);
        self
    }

    /// Option: the value can change while running. Whoever uses it has to
    /// read it from [`Live`](crate::Live) each time.
    pub fn reloadable(mut self) -> Key<T> {
        self.info.reloadable = true;
        self
    }

    /// Option: one of the few keys that `-m` prints.
    pub fn important(mut self) -> Key<T> {
        self.info.important = true;
        self
    }

    /// Option: a key the reference does not have.
    pub fn ours(mut self) -> Key<T> {
        self.info.ours = true;
        self
    }

    /// Option: the default is not the reference's, and why.
    pub fn differs(mut self, reason: &'static str) -> Key<T> {
        self.info.differs = Some(reason);
        self
    }

    /// Option: how the default is written in documentation, when it depends
    /// on the machine: `"${user.home}/store"`.
    pub fn shown(mut self, default: &'static str) -> Key<T> {
        self.info.default = Some(default.to_owned());
        self
    }

    /// What is told about the key.
    pub fn into_info(self) -> KeyInfo {
        self.info
    }

    /// Reads a value; white space around it does not count.
    pub fn parse(self, text: &str) -> Result<T, ConfigError> {
        let text = text.trim();
        let bad = |reason| ConfigError::BadValue {
            key: self.info.key,
            value: start(text),
            reason,
        };
        let in_range = |value: &T| self.within.as_ref().is_none_or(|within| within(value));
        let Some(value) = T::parse(text).filter(in_range) else {
            return Err(bad(format!("it takes {}", self.info.takes)));
        };
        match self.check.map(|check| check(&value)) {
            Some(Err(reason)) => Err(bad(reason)),
            _ => Ok(value),
        }
    }
}

/// What a key takes, in words. `below`: the upper edge itself is not allowed.
fn takes(kind: Kind, low: Option<String>, high: Option<String>, below: bool) -> String {
    let (noun, low, high) = match kind {
        Kind::Boolean => return "true or false".to_owned(),
        Kind::Text => return "text".to_owned(),
        Kind::Choice(words) => return format!("one of {}", words.join(", ")),
        Kind::Decimal => ("a number", low, high),
        Kind::Integer { min, max } => {
            // Limits of wide types say nothing to a person.
            let limit = |edge: i128| (edge.abs() < 1 << 31).then(|| edge.to_string());
            let low = low.or_else(|| limit(min));
            ("a whole number", low, high.or_else(|| limit(max)))
        }
    };
    let to = if below { "to below" } else { "to" };
    match (low, high) {
        (Some(low), Some(high)) => format!("{noun} from {low} {to} {high}"),
        (Some(low), None) => format!("{noun} of {low} or more"),
        (None, Some(high)) => format!("{noun} up to {high}"),
        (None, None) => noun.to_owned(),
    }
}
