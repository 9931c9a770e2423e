//! Golden data of the tests, as inputs for the fuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::process::{Result, root, told};

/// Every value that stands in a `tests/data/*.jsonl` of a crate: the bytes of
/// fields whose name ends in `_b64`, the text of all other strings. A target
/// is given all of them; the fuzzer keeps those that reach something new.
/// Captures are values as a whole.
pub(crate) fn values() -> Result<BTreeSet<Vec<u8>>> {
    let mut values = BTreeSet::new();
    for file in files("pcap") {
        let bytes = fs::read(&file).map_err(|error| told(&file, &error))?;
        values.insert(bytes);
    }
    for file in files("jsonl") {
        let text = fs::read_to_string(&file).map_err(|error| told(&file, &error))?;
        text.lines().for_each(|line| collect(line, &mut values));
    }
    Ok(values)
}

fn files(wanted: &str) -> Vec<PathBuf> {
    let list = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let crates = list(&root().join("crates"));
    let data = crates
        .iter()
        .flat_map(|krate| list(&krate.join("tests/data")));
    data.filter(|file| {
        file.extension()
            .is_some_and(|extension| extension == wanted)
    })
    .collect()
}

/// Takes the strings of one line of JSON.
fn collect(line: &str, values: &mut BTreeSet<Vec<u8>>) {
    let mut name = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('"') {
        let (string, after) = string(&rest[start + 1..]);
        rest = after;
        if rest.starts_with(':') {
            name = string;
        } else if name.ends_with("_b64") {
            values.extend(STANDARD.decode(&string).ok());
        } else {
            values.insert(string.into_bytes());
        }
    }
}

/// Reads a JSON string behind its opening quote; returns it and what follows
/// its closing quote.
fn string(text: &str) -> (String, &str) {
    let mut out = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let unit = match c {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits: String = rest.by_ref().take(4).collect();
                    out.push(u16::from_str_radix(&digits, 16).unwrap_or(0xFFFD));
                    continue;
                }
                other => other.unwrap_or('\\'),
            },
            c => c,
        };
        out.extend_from_slice(unit.encode_utf16(&mut [0; 2]));
    }
    (String::from_utf16_lossy(&out), rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_every_string_of_a_line() {
        let mut values = BTreeSet::new();
        let line = r#"{"name":"a \"b\"","frame_b64":"AAEC","list":["x","y\u0001\ud83d\ude80"],"n":1,"none":null}"#;
        collect(line, &mut values);
        let expected: [&[u8]; 4] = [b"a \"b\"", &[0, 1, 2], b"x", "y\u{1}🚀".as_bytes()];
        assert_eq!(values, expected.map(<[u8]>::to_vec).into_iter().collect());
    }

    #[test]
    fn the_golden_frames_are_among_them() {
        let values = values().unwrap();
        // A frame: its length without the four bytes of the length itself.
        let is_frame = |value: &Vec<u8>| match value.split_first_chunk() {
            Some((length, rest)) => {
                u32::from_be_bytes(*length) as usize == rest.len() && rest.len() > 20
            }
            None => false,
        };
        assert!(values.iter().filter(|value| is_frame(value)).count() > 100);
    }
}
