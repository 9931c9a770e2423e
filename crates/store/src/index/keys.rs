//! The keys of a message, and their hashes.

use std::convert::Infallible;

use wire::message::properties;
use wire::message::property::{
    INDEX_TAG_TYPE, KEY_SEPARATOR, KEYS, TAGS, UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
};
use wire::message::record::RecordRef;
use wire::message::sys_flag::message::{TRANSACTION_ROLLBACK_TYPE, transaction_type};
use wire::message::tags::{extend_java_hash, java_hash};

/// Between the topic, the type of the key where it is told, and the key.
const SEPARATOR: &str = "#";

/// What can be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// A unique id, or one of the keys that the application gave.
    Text(&'a str),
    /// A tag.
    Tag(&'a str),
}

impl Key<'_> {
    /// The hash that the key of a topic has in the index; others may have the same.
    pub fn hash(&self, topic: &str) -> i32 {
        let prefix = topic_hash(topic);
        match self {
            Key::Text(text) => text_hash(prefix, text),
            Key::Tag(tag) => tag_hash(prefix, tag),
        }
    }

    /// Whether a message has this key.
    pub(super) fn is_of(&self, record: &RecordRef<'_>) -> bool {
        let text = record.properties();
        let Properties { unique, keys, tag } = Properties::of(&text);
        match self {
            Key::Text(key) => unique == Some(*key) || split(keys).any(|own| own == *key),
            Key::Tag(key) => tag == Some(*key),
        }
    }
}

/// The properties that give a message its keys.
struct Properties<'a> {
    unique: Option<&'a str>,
    keys: Option<&'a str>,
    tag: Option<&'a str>,
}

impl<'a> Properties<'a> {
    fn of(text: &'a str) -> Properties<'a> {
        let names = [UNIQ_CLIENT_MESSAGE_ID_KEYIDX, KEYS, TAGS];
        let [unique, keys, tag] = properties::get_each(text, names);
        Properties { unique, keys, tag }
    }
}

fn split(keys: Option<&str>) -> impl Iterator<Item = &str> {
    let keys = keys.unwrap_or_default().split(KEY_SEPARATOR);
    keys.filter(|key| !key.is_empty())
}

/// Gives the hashes of all keys of a message, in the order of the index
/// (`IndexService.buildIndex`): the unique id, the application's keys, the tag. A message that was
/// rolled back has none.
pub(super) fn each_hash<E>(
    record: &RecordRef<'_>,
    mut enter: impl FnMut(i32) -> Result<(), E>,
) -> Result<(), E> {
    if transaction_type(record.sys_flag()) == TRANSACTION_ROLLBACK_TYPE {
        return Ok(());
    }
    let (topic, text) = (record.topic(), record.properties());
    let prefix = topic_hash(&topic);
    let Properties { unique, keys, tag } = Properties::of(&text);
    for key in unique.into_iter().chain(split(keys)) {
        enter(text_hash(prefix, key))?;
    }
    match tag {
        Some(tag) => enter(tag_hash(prefix, tag)),
        None => Ok(()),
    }
}

/// Appends the hashes that [`each_hash`] gives.
pub(crate) fn gather_hashes(record: &RecordRef<'_>, out: &mut Vec<i32>) {
    let Ok(()) = each_hash::<Infallible>(record, |hash| {
        out.push(hash);
        Ok(())
    });
}

fn topic_hash(topic: &str) -> i32 {
    extend_java_hash(java_hash(topic), SEPARATOR)
}

fn text_hash(prefix: i32, key: &str) -> i32 {
    positive(extend_java_hash(prefix, key))
}

fn tag_hash(prefix: i32, tag: &str) -> i32 {
    let kind = extend_java_hash(prefix, INDEX_TAG_TYPE);
    text_hash(extend_java_hash(kind, SEPARATOR), tag)
}

/// The number without its sign; 0 for the one that has none (`IndexFile.indexKeyHashMethod`).
fn positive(hash: i32) -> i32 {
    hash.checked_abs().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_reference() {
        // `"t#k".hashCode()` in Java, and so on.
        assert_eq!(Key::Text("k").hash("t"), 112_668);
        assert_eq!(Key::Tag("k").hash("t"), Key::Text("T#k").hash("t"));
        // "polygenelubricants".hashCode() is the smallest integer, which has no absolute value.
        assert_eq!(positive(java_hash("polygenelubricants")), 0);
        assert_eq!(positive(-5), 5);
        let long = "héllo, wörld 😀 and more";
        assert_eq!(
            extend_java_hash(java_hash("abc"), long),
            java_hash(&format!("abc{long}"))
        );
    }
}
