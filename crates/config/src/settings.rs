//! What every group of settings can do.

use crate::error::start;
use crate::key::KeyInfo;
use crate::{ConfigError, nearest, reference};

/// A group of settings, made by [`settings!`](crate::settings), or several
/// groups in one flat name space, made by [`groups!`](crate::groups).
pub trait Settings: Default + Clone + PartialEq + Send + Sync + 'static {
    /// All keys in the order of their declaration, each once.
    fn keys() -> &'static [KeyInfo];

    /// The value of a key as it stands in a configuration file; `None` when
    /// it is not set or there is no such key.
    fn get(&self, key: &str) -> Option<String>;

    /// Sets a key from text. When several groups have the key, all get it.
    ///
    /// # Errors
    /// An unknown key, a wrong type, or a value out of bounds; nothing is
    /// changed then, except where several groups share the key.
    fn set(&mut self, key: &str, text: &str) -> Result<(), ConfigError>;

    /// What is told about a key.
    fn key(key: &str) -> Option<&'static KeyInfo> {
        Self::keys().iter().find(|info| info.key == key)
    }

    /// Every key that is set, with its value, in order of declaration.
    fn entries(&self) -> impl Iterator<Item = (&'static KeyInfo, String)> {
        Self::keys()
            .iter()
            .filter_map(|info| Some((info, self.get(info.key)?)))
    }
}

/// The error for a key that `S` does not have, naming the nearest one.
pub fn unknown_key<S: Settings>(key: &str) -> ConfigError {
    let known = S::keys().iter().map(|info| info.key);
    ConfigError::UnknownKey {
        key: start(key),
        nearest: nearest::nearest(key, known.chain(reference::keys().map(|(_, key)| key))),
    }
}
