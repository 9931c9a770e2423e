//! What can be wrong with a configuration.

use std::path::PathBuf;

/// What is wrong with a configuration, in words for the person who wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read at all.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file as it was given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a properties or TOML text.
    #[error("{0}")]
    Syntax(String),
    /// Neither Kerolox nor the reference has such a key.
    #[error("there is no key `{key}`; {}", hint(*nearest))]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// The known key that looks most like it, if one is near enough.
        nearest: Option<&'static str>,
    },
    /// The value is of the wrong type or out of bounds.
    #[error("`{key}` cannot be `{value}`: {reason}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value as it was written.
        value: String,
        /// What the key takes, as a clause: "it takes a whole number".
        reason: String,
    },
    /// The key is read at the start only, and the new value differs.
    #[error(
        "`{key}` cannot change while running (it is `{current}`): set it in the configuration file and restart"
    )]
    NeedsRestart {
        /// The key.
        key: &'static str,
        /// The value in force.
        current: String,
    },
    /// The values do not go together with what they are for.
    #[error("{0}")]
    Unusable(String),
    /// An error with the place it was found at.
    #[error("{file}:{line}: {error}")]
    At {
        /// Name of the file.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong there.
        error: Box<ConfigError>,
    },
    /// Several errors, one on a line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<ConfigError>),
}

/// As much of a written text as an error repeats: 64 characters.
pub(crate) fn start(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "`kerolox config-keys` lists all".to_owned(),
    }
}

impl ConfigError {
    /// This error at a line of a file.
    pub(crate) fn at(self, file: &str, line: usize) -> ConfigError {
        ConfigError::At {
            file: file.to_owned(),
            line,
            error: Box::new(self),
        }
    }

    /// `value` if nothing went wrong, else the one error or all of them.
    pub(crate) fn none_of<T>(mut errors: Vec<ConfigError>, value: T) -> Result<T, ConfigError> {
        match errors.len() {
            0 => Ok(value),
            1 => Err(errors.remove(0)),
            _ => Err(ConfigError::Several(errors)),
        }
    }
}
