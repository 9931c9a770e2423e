//! Bodies of the broker's statistics.

use serde::{Deserialize, Serialize};

/// A counter over a span of time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerStatsItem {
    /// Mean size of an event, such as milliseconds of a request.
    pub avgpt: f64,
    /// Number of events.
    pub sum: i64,
    /// Events in a second.
    pub tps: f64,
}

/// A counter over the last minute, hour and day.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerStatsData {
    /// The last day.
    pub stats_day: BrokerStatsItem,
    /// The last hour.
    pub stats_hour: BrokerStatsItem,
    /// The last minute.
    pub stats_minute: BrokerStatsItem,
}
