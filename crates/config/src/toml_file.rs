//! Configuration in TOML: the same flat keys, `listenPort = 10911`. A table
//! is a prefix: `[kerolox]` with `logLevel` is the key `kerolox.logLevel`.

use toml::de::{DeTable, DeValue};

use crate::ConfigError;
use crate::load::Entry;

/// Reads a TOML text; `file` names it in errors.
///
/// # Errors
/// A syntax error, or a value that is a list or a date, with the line.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let line_of = |offset: usize| {
        let before = text.as_bytes().iter().take(offset);
        1 + before.filter(|&&byte| byte == b'\n').count()
    };
    let table = DeTable::parse(text).map_err(|error| {
        let line = line_of(error.span().map_or(0, |span| span.start));
        ConfigError::Syntax(error.message().to_owned()).at(file, line)
    })?;
    let mut entries = Vec::new();
    let mut tables = vec![(String::new(), table.into_inner())];
    while let Some((prefix, table)) = tables.pop() {
        for (name, value) in table {
            let line = line_of(name.span().start);
            let key = format!("{prefix}{}", name.get_ref());
            let value = match value.into_inner() {
                DeValue::Table(inner) => {
                    tables.push((format!("{key}."), inner));
                    continue;
                }
                DeValue::String(text) => text.into_owned(),
                DeValue::Boolean(value) => value.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.to_string(),
                DeValue::Array(_) | DeValue::Datetime(_) => {
                    let what = format!(
                        "`{key}` is a list or a date: a value is text in quotes, a number, true or false"
                    );
                    return Err(ConfigError::Syntax(what).at(file, line));
                }
            };
            entries.push(Entry { key, value, line });
        }
    }
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}
