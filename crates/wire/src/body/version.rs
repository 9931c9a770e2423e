//! Versions of data that brokers and name servers compare.

use serde::{Deserialize, Serialize};

/// Says whether two copies of some data are the same; whoever changes the data changes all three.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Number of changes so far.
    pub counter: i64,
    /// Master epoch at the last change.
    pub state_version: i64,
    /// Time of the last change, in milliseconds since 1970.
    pub timestamp: i64,
}

impl DataVersion {
    /// Counts a change made at `now`, in milliseconds since 1970, under master epoch
    /// `state_version`.
    pub fn advance(&mut self, state_version: i64, now: i64) {
        self.counter += 1;
        self.state_version = state_version;
        self.timestamp = now;
    }
}
