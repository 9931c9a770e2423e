//! Bodies about how many messages wait, by the topic that they are for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::version::DataVersion;

/// How many messages wait for their time (`TimerMetrics.TimerMetricsSerializeWrapper`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimerMetricsSerializeWrapper {
    /// Version of the table.
    pub data_version: Option<DataVersion>,
    /// By topic.
    pub timing_count: BTreeMap<String, Metric>,
}

/// How many half messages are open (`TransactionMetrics.TransactionMetricsSerializeWrapper`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransactionMetricsSerializeWrapper {
    /// Version of the table.
    pub data_version: Option<DataVersion>,
    /// By topic.
    pub transaction_count: BTreeMap<String, Metric>,
}

/// How many messages of one topic wait (`TimerMetrics.Metric`, `TransactionMetrics.Metric`).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metric {
    /// Messages.
    pub count: i64,
    /// When the number changed last, in milliseconds since 1970.
    pub time_stamp: i64,
}

/// What such tables have in common.
pub trait MetricsTable {
    /// Its version, and the numbers by topic.
    fn parts(&mut self) -> (&mut Option<DataVersion>, &mut BTreeMap<String, Metric>);
}

impl MetricsTable for TimerMetricsSerializeWrapper {
    fn parts(&mut self) -> (&mut Option<DataVersion>, &mut BTreeMap<String, Metric>) {
        (&mut self.data_version, &mut self.timing_count)
    }
}

impl MetricsTable for TransactionMetricsSerializeWrapper {
    fn parts(&mut self) -> (&mut Option<DataVersion>, &mut BTreeMap<String, Metric>) {
        (&mut self.data_version, &mut self.transaction_count)
    }
}
