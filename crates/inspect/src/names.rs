//! Names of topics, groups, tags and clients, each kept once however often it travels.

use std::collections::HashSet;
use std::sync::Arc;

/// Names that are kept; with more, all begin anew.
const MAX_NAMES: usize = 65_536;

/// The names seen.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<Arc<str>, foldhash::fast::RandomState>);

impl Names {
    /// The one copy of a name.
    pub(crate) fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        if self.0.len() >= MAX_NAMES {
            self.0.clear();
        }
        let new: Arc<str> = name.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}
