//! A message's properties: names and values in one string.
//!
//! Each property is its name, the byte `0x01`, its value, and the byte `0x02`; the last `0x02`
//! may be missing. Nothing is escaped. On reading (`MessageDecoder.string2messageProperties` of
//! the reference) the name ends at the first `0x01`, so that a value may contain `0x01` but not
//! `0x02`; an entry without `0x01`, with an empty name or with an empty value is passed over;
//! and of several entries of one name the last one counts.

use memchr::{memchr, memrchr};

/// Ends a name.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';
/// Ends a value.
pub const PROPERTY_SEPARATOR: char = '\u{2}';

/// The properties of a string in their order, those of the same name included.
pub fn iter(properties: &str) -> Iter<'_> {
    Iter { rest: properties }
}

/// The properties of a string; made by [`iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        while !self.rest.is_empty() {
            let end = memchr(PROPERTY_SEPARATOR as u8, self.rest.as_bytes());
            let (entry, rest) = split_around(self.rest, end.unwrap_or(self.rest.len()));
            self.rest = rest;
            if let Some(separator) = memchr(NAME_VALUE_SEPARATOR as u8, entry.as_bytes()) {
                let (name, value) = split_around(entry, separator);
                if !name.is_empty() && !value.is_empty() {
                    return Some((name, value));
                }
            }
        }
        None
    }
}

/// What lies before and behind the separator (a single byte) at `at`.
fn split_around(text: &str, at: usize) -> (&str, &str) {
    (
        text.get(..at).unwrap_or_default(),
        text.get(at + 1..).unwrap_or_default(),
    )
}

/// The value of one property.
pub fn get<'a>(properties: &'a str, name: &str) -> Option<&'a str> {
    if name.is_empty() {
        return None;
    }
    // From the end, because the last one counts.
    let mut rest = properties;
    loop {
        let start = memrchr(PROPERTY_SEPARATOR as u8, rest.as_bytes());
        let entry = start.map_or(Some(rest), |at| rest.get(at + 1..))?;
        let value = entry
            .strip_prefix(name)
            .and_then(|e| e.strip_prefix(NAME_VALUE_SEPARATOR));
        if value.is_some_and(|value| !value.is_empty()) {
            return value;
        }
        rest = rest.get(..start?)?;
    }
}

/// The values of several properties, found in one pass.
pub fn get_each<'a, const N: usize>(properties: &'a str, names: [&str; N]) -> [Option<&'a str>; N] {
    let mut values = [None; N];
    for (name, value) in iter(properties) {
        for (wanted, slot) in names.iter().zip(&mut values) {
            if *wanted == name {
                *slot = Some(value);
            }
        }
    }
    values
}

/// Appends a property, also one that reading will pass over because it is empty. Neither text is
/// checked for separators: a name with one, or a value with `0x02`, is not read back whole.
pub fn put(properties: &mut String, name: &str, value: &str) {
    if !properties.is_empty() && !properties.ends_with(PROPERTY_SEPARATOR) {
        properties.push(PROPERTY_SEPARATOR);
    }
    properties.reserve(name.len() + value.len() + 2);
    properties.push_str(name);
    properties.push(NAME_VALUE_SEPARATOR);
    properties.push_str(value);
    properties.push(PROPERTY_SEPARATOR);
}

/// Gives a property a value, in place of any it had.
pub fn set(properties: &mut String, name: &str, value: &str) {
    if get(properties, name).is_some() {
        *properties = without(properties, &[name]);
    }
    put(properties, name, value);
}

/// The properties except those of some names.
pub fn without(properties: &str, names: &[&str]) -> String {
    let mut rest = String::with_capacity(properties.len() + 1);
    for (name, value) in iter(properties) {
        if !names.contains(&name) {
            put(&mut rest, name, value);
        }
    }
    rest
}

/// The string of some properties (`MessageDecoder.messageProperties2String`).
pub fn encode<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut string = String::new();
    for (name, value) in properties {
        put(&mut string, name, value);
    }
    string
}
