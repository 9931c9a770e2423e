//! Tags: their hash codes, which consume queues hold, and the expressions consumers subscribe
//! with.

use std::collections::HashSet;

use super::MessageError;

/// Java's `String.hashCode` of a text: over its UTF-16 units, `h = 31 * h + unit`, wrapping.
pub fn java_hash(text: &str) -> i32 {
    extend_java_hash(0, text)
}

/// The [`java_hash`] of a text that goes on with `text` behind one with the hash code `hash`.
pub fn extend_java_hash(hash: i32, text: &str) -> i32 {
    let next = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    if !text.is_ascii() {
        return text.encode_utf16().fold(hash, next);
    }
    // Four units at a time, so that they do not wait for each other.
    let (fours, rest) = text.as_bytes().as_chunks::<4>();
    let hash = fours.iter().fold(hash, |hash, [a, b, c, d]| {
        let unit = |byte: &u8, weight: i32| i32::from(*byte) * weight;
        hash.wrapping_mul(31 * 31 * 31 * 31)
            .wrapping_add(unit(a, 31 * 31 * 31) + unit(b, 31 * 31) + unit(c, 31) + i32::from(*d))
    });
    rest.iter()
        .fold(hash, |hash, byte| next(hash, u16::from(*byte)))
}

/// The code of a message's tag in its consume queue entry; 0 without a tag
/// (`MessageExtBrokerInner.tagsString2tagsCode`).
pub fn tags_code(tag: Option<&str>) -> i64 {
    tag.map_or(0, |tag| i64::from(java_hash(tag)))
}

/// The expression that selects every message; so does an empty one.
pub const SUB_ALL: &str = "*";

/// A tag expression read (`FilterAPI.buildSubscriptionData`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagExpression<'a> {
    /// Every message, whatever its tag.
    All,
    /// Messages with one of these tags, in the order written, each once. May be empty (for
    /// `" || "`), which selects nothing. `*` among others is a tag like any other.
    Tags(Vec<&'a str>),
}

impl<'a> TagExpression<'a> {
    /// Reads `*`, an empty expression, or tags separated by `||`, with blanks around them.
    ///
    /// # Errors
    /// [`MessageError::TagExpression`] if there are only separators.
    pub fn parse(expression: &'a str) -> Result<TagExpression<'a>, MessageError> {
        if expression.is_empty() || expression == SUB_ALL {
            return Ok(TagExpression::All);
        }
        if expression.split("||").all(str::is_empty) {
            return Err(MessageError::TagExpression(expression.into()));
        }
        let mut tags = Vec::new();
        let mut seen = HashSet::new();
        for part in expression.split("||") {
            // Java's `trim`: everything up to the blank, and nothing above.
            let tag = part.trim_matches(|c| c <= ' ');
            if !tag.is_empty() && seen.insert(tag) {
                tags.push(tag);
            }
        }
        Ok(TagExpression::Tags(tags))
    }

    /// The hash codes of the tags, to look for in consume queues; empty for [`Self::All`].
    pub fn codes(&self) -> Vec<i32> {
        match self {
            TagExpression::All => Vec::new(),
            TagExpression::Tags(tags) => tags.iter().map(|tag| java_hash(tag)).collect(),
        }
    }

    /// Whether a message with this tag is selected, the tag compared as text.
    pub fn matches(&self, tag: Option<&str>) -> bool {
        match self {
            TagExpression::All => true,
            TagExpression::Tags(tags) => tag.is_some_and(|tag| tags.contains(&tag)),
        }
    }
}
