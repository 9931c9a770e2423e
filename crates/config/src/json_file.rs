//! Configuration in JSON, as the reference's `rmq-proxy.json`: one object, its keys flat.

use serde_json::{Map, Value};

use crate::ConfigError;
use crate::load::Entry;

/// Reads a JSON text; `file` names it in errors.
///
/// # Errors
/// A syntax error, or a value that is a list or an object, with the line.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        let line = error.line();
        ConfigError::Syntax(error.to_string()).at(file, line)
    })?;
    let mut entries = Vec::with_capacity(object.len());
    for (key, value) in object {
        let line = line_of(text, &key);
        let value = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Array(_) | Value::Object(_) => {
                let what = format!(
                    "`{key}` is a list or an object: a value is text in quotes, a number, true or false"
                );
                return Err(ConfigError::Syntax(what).at(file, line));
            }
        };
        entries.push(Entry { key, value, line });
    }
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

/// The line that a key stands on, counted from 1.
fn line_of(text: &str, key: &str) -> usize {
    let quoted = format!("\"{key}\"");
    1 + text
        .lines()
        .position(|line| line.contains(&quoted))
        .unwrap_or_default()
}
