//! From a file to settings.

use std::path::Path;

use crate::settings::Settings;
use crate::{ConfigError, json_file, properties, reference, toml_file};

/// A key and its value as they stand in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value, unescaped.
    pub value: String,
    /// Line of the text, counted from 1.
    pub line: usize,
}

/// Settings read from a file.
#[derive(Debug, Clone)]
pub struct Loaded<S> {
    /// The settings: what the file says, defaults for the rest.
    pub settings: S,
    /// Entries whose key is the reference's but has no meaning here. They are
    /// kept so that listings show them, and to be told to the user once.
    pub without_effect: Vec<Entry>,
}

impl<S: Settings> Loaded<S> {
    /// The sentence for the user about keys without effect, if there are any.
    pub fn notice(&self) -> Option<String> {
        if self.without_effect.is_empty() {
            return None;
        }
        let keys: Vec<&str> = self
            .without_effect
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        Some(format!(
            "accepted, has no effect in Kerolox: {}",
            keys.join(", ")
        ))
    }
}

/// Reads a configuration file: TOML if its name ends in `.toml`, JSON if it
/// ends in `.json`, Java properties otherwise. `settings` holds the values for keys that the file
/// leaves out.
///
/// # Errors
/// Everything that is wrong with the file, each with its line.
pub fn load<S: Settings>(path: &Path, settings: S) -> Result<Loaded<S>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let file = path.display().to_string();
    let parse: fn(&str, &str, S) -> Result<Loaded<S>, ConfigError> =
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => parse_toml,
            Some("json") => parse_json,
            _ => return parse_properties(&file, &bytes, settings),
        };
    let text = String::from_utf8(bytes)
        .map_err(|error| unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    parse(&file, &text, settings)
}

/// Reads settings from a properties text; see [`properties`].
///
/// # Errors
/// Everything that is wrong with it; `file` names it.
pub fn parse_properties<S: Settings>(
    file: &str,
    bytes: &[u8],
    settings: S,
) -> Result<Loaded<S>, ConfigError> {
    apply(file, properties::parse(file, bytes)?, settings)
}

/// Reads settings from a TOML text: flat keys; a table is a prefix.
///
/// # Errors
/// Everything that is wrong with it; `file` names it.
pub fn parse_toml<S: Settings>(
    file: &str,
    text: &str,
    settings: S,
) -> Result<Loaded<S>, ConfigError> {
    apply(file, toml_file::parse(file, text)?, settings)
}

/// Reads settings from a JSON text: one object with flat keys.
///
/// # Errors
/// Everything that is wrong with it; `file` names it.
pub fn parse_json<S: Settings>(
    file: &str,
    text: &str,
    settings: S,
) -> Result<Loaded<S>, ConfigError> {
    apply(file, json_file::parse(file, text)?, settings)
}

fn apply<S: Settings>(
    file: &str,
    entries: Vec<Entry>,
    mut settings: S,
) -> Result<Loaded<S>, ConfigError> {
    let mut without_effect: Vec<Entry> = Vec::new();
    let mut errors = Vec::new();
    for entry in entries {
        if S::key(&entry.key).is_none() && reference::has(&entry.key) {
            without_effect.retain(|earlier| earlier.key != entry.key);
            without_effect.push(entry);
        } else if let Err(error) = settings.set(&entry.key, &entry.value) {
            errors.push(error.at(file, entry.line));
        }
    }
    ConfigError::none_of(
        errors,
        Loaded {
            settings,
            without_effect,
        },
    )
}
