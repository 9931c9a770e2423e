//! Which rows of a table somebody has not seen yet: its file, the name servers.

use std::collections::BTreeSet;

/// Changes of a table since the last look.
#[derive(Debug, Default)]
pub(crate) enum Changes {
    /// There are none.
    #[default]
    None,
    /// Rows of these names are new or changed.
    Rows(BTreeSet<String>),
    /// Rows have gone, or something beside the rows has changed.
    All,
}

impl Changes {
    /// Adds rows that are new or changed.
    pub(crate) fn add(&mut self, names: impl IntoIterator<Item = String>) {
        match self {
            Self::None => *self = Self::Rows(names.into_iter().collect()),
            Self::Rows(known) => known.extend(names),
            Self::All => {}
        }
    }

    /// Takes all of them, and leaves none.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
