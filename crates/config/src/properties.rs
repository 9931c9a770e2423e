//! Java's properties text: `broker.conf`, `namesrv.conf`, the bodies of
//! `getBrokerConfig` and `updateBrokerConfig`.
//!
//! The format is that of `java.util.Properties`: a line holds a key and a
//! value, separated by `=`, `:` or white space; white space around the
//! separator and at the start of a line does not count; a line that begins
//! with `#` or `!` is a comment; a line that ends with an odd number of `\`
//! goes on in the next one; `\t`, `\n`, `\r`, `\f` and `\uXXXX` stand for what
//! they do in Java, and `\` before any other character for that character.
//! Bytes are UTF-8 here; bytes that are not are taken for ISO-8859-1, which is
//! what Java reads.

use std::fmt::Write;

use crate::ConfigError;
use crate::load::Entry;

/// Reads a properties text; `file` names it in errors. A key may come twice.
///
/// # Errors
/// A malformed `\u` escape, with its line.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Entry>, ConfigError> {
    let text = decode(bytes);
    let mut entries = Vec::new();
    let mut lines = text.split('\n').enumerate();
    while let Some((index, line)) = lines.next() {
        let line = trim_start(line.trim_end_matches('\r'));
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while continues(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(trim_start(next.trim_end_matches('\r')));
        }
        let (key, value) = split(&logical);
        let unescape = |text| unescape(text).map_err(|error| error.at(file, index + 1));
        entries.push(Entry {
            key: unescape(key)?,
            value: unescape(value)?,
            line: index + 1,
        });
    }
    Ok(entries)
}

/// Writes one line, `key=value` and a line feed, so that Java reads it back:
/// what is not ASCII is escaped, and backslashes are doubled.
pub fn write(out: &mut String, key: &str, value: &str) {
    escape(out, key, true);
    out.push('=');
    escape(out, value, false);
    out.push('\n');
}

/// The text with other values for some keys, given as key and value: their lines are replaced,
/// missing ones follow at the end, and everything else, comments included, stays as it is.
///
/// # Errors
/// A malformed `\u` escape in a key, with its line.
pub fn amend(file: &str, bytes: &[u8], changes: &[(&str, &str)]) -> Result<String, ConfigError> {
    let text = decode(bytes);
    let mut amended = String::with_capacity(text.len() + 64);
    let mut missing = changes.to_vec();
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((index, first)) = lines.next() {
        let mut physical = first.to_owned();
        let line = trim_start(first.trim_end_matches(['\r', '\n']));
        let mut key = None;
        if !line.is_empty() && !line.starts_with(['#', '!']) {
            let escaped = split(line).0;
            key = Some(unescape(escaped).map_err(|error| error.at(file, index + 1))?);
            let mut last = line.to_owned();
            while continues(&last) {
                let Some((_, next)) = lines.next() else { break };
                physical.push_str(next);
                last = next.trim_end_matches(['\r', '\n']).to_owned();
            }
        }
        match changes
            .iter()
            .find(|(changed, _)| key.as_deref() == Some(*changed))
        {
            Some((key, value)) => {
                write(&mut amended, key, value);
                missing.retain(|(left, _)| left != key);
            }
            None => amended.push_str(&physical),
        }
    }
    if !amended.is_empty() && !amended.ends_with('\n') {
        amended.push('\n');
    }
    for (key, value) in missing {
        write(&mut amended, key, value);
    }
    Ok(amended)
}

fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// White space of the format; narrower than Unicode's.
const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

fn trim_start(line: &str) -> &str {
    line.trim_start_matches(BLANK)
}

/// Whether a line ends with an odd number of backslashes.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Splits a line at its first separator that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (c == '=' || c == ':' || BLANK.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = trim_start(rest);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, trim_start(rest))
}

fn unescape(text: &str) -> Result<String, ConfigError> {
    let mut out = String::with_capacity(text.len());
    // Java's escapes are UTF-16, so that two of them can make one character.
    let mut units: Vec<u16> = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let escape = if c == '\\' { rest.next() } else { None };
        if escape == Some('u') {
            let digits: String = rest.by_ref().take(4).collect();
            let unit = (digits.len() == 4).then(|| u16::from_str_radix(&digits, 16).ok());
            units.push(unit.flatten().ok_or_else(|| {
                ConfigError::Syntax(format!(
                    "`\\u{digits}` is not a character: four hexadecimal digits follow `\\u`"
                ))
            })?);
            continue;
        }
        out.push_str(&String::from_utf16_lossy(&units));
        units.clear();
        match escape {
            None => out.push(c),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some(other) => out.push(other),
        }
    }
    out.push_str(&String::from_utf16_lossy(&units));
    Ok(out)
}

fn escape(out: &mut String, text: &str, is_key: bool) {
    for (index, c) in text.chars().enumerate() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            ' ' if is_key || index == 0 => out.push_str("\\ "),
            '=' | ':' if is_key => out.extend(['\\', c]),
            '#' | '!' if is_key && index == 0 => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &[u8]) -> Vec<(String, String, usize)> {
        parse("test.conf", text)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.key, entry.value, entry.line))
            .collect()
    }

    fn pair(key: &str, value: &str, line: usize) -> (String, String, usize) {
        (key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn what_is_amended_leaves_the_rest_alone() {
        let file = b"# mine\n a = 1\nlong=x\\\n  y\n\nb:2\nlast=z";
        let amended = amend("f", file, &[("b", "3 4"), ("long", "s"), ("new", "\u{e9}")]).unwrap();
        let wanted = "# mine\n a = 1\nlong=s\n\nb=3 4\nlast=z\nnew=\\u00E9\n";
        assert_eq!(amended, wanted);
        assert_eq!(amend("f", b"", &[("a", "1")]).unwrap(), "a=1\n");
    }

    #[test]
    fn reads_what_java_reads() {
        let text = b"# comment\n! comment\n\n  brokerName = broker-a\r\nlistenPort:10911\nkey value with = in it\n\
            list=a;\\\n      b;\\\n      c\nempty=\nbare\npath=C:\\\\data\ntab=\\tx\\q\nu=\\u4f60\\ud83d\\ude00\na\\ b\\==1\n\
            odd=x\\\\\nlast=1";
        assert_eq!(
            pairs(text),
            [
                pair("brokerName", "broker-a", 4),
                pair("listenPort", "10911", 5),
                pair("key", "value with = in it", 6),
                pair("list", "a;b;c", 7),
                pair("empty", "", 10),
                pair("bare", "", 11),
                pair("path", "C:\\data", 12),
                pair("tab", "\txq", 13),
                pair("u", "你😀", 14),
                pair("a b=", "1", 15),
                pair("odd", "x\\", 16),
                pair("last", "1", 17),
            ]
        );
    }

    #[test]
    fn reads_utf8_and_latin1() {
        assert_eq!(pairs("\u{feff}a=ü".as_bytes()), [pair("a", "ü", 1)]);
        assert_eq!(pairs(b"a=\xfc"), [pair("a", "ü", 1)]);
    }

    #[test]
    fn a_broken_escape_names_its_line() {
        assert_eq!(
            parse("b.conf", b"a=1\nb=\\u12").unwrap_err().to_string(),
            "b.conf:2: `\\u12` is not a character: four hexadecimal digits follow `\\u`"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(key in "\\PC{1,12}", value in "(?s).{0,24}") {
            let mut text = String::new();
            write(&mut text, &key, &value);
            prop_assert!(text.is_ascii());
            prop_assert_eq!(pairs(text.as_bytes()), [pair(&key, &value, 1)]);
        }

        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse("x", &text);
        }
    }
}
