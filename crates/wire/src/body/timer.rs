//! Bodies about messages with a time of their own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::version::DataVersion;

/// How many messages wait for their time (`TimerMetrics.TimerMetricsSerializeWrapper`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimerMetricsSerializeWrapper {
    /// Version of the table.
    pub data_version: Option<DataVersion>,
    /// Waiting messages by the topic that they are for.
    pub timing_count: BTreeMap<String, TimerMetric>,
}

/// How many messages of one topic wait (`TimerMetrics.Metric`).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimerMetric {
    /// Messages.
    pub count: i64,
    /// When the number changed last, in milliseconds since 1970.
    pub time_stamp: i64,
}
