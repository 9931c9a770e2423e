//! The workloads of the folder bench.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::load::Run;
use super::server::Settings;
use super::table::{grouped, less, rate, time};
use crate::process::{self, Result, told};

/// A list of workloads, each with a table in docs/benchmarks.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// bench/workloads.json
    Workloads,
    /// bench/kinds.json
    Kinds,
}

impl List {
    /// The file of the list.
    fn path(self) -> PathBuf {
        process::root().join(match self {
            Self::Workloads => "bench/workloads.json",
            Self::Kinds => "bench/kinds.json",
        })
    }

    /// Its workloads: all, or those of some names.
    ///
    /// # Errors
    /// The file cannot be read, or has none of a name.
    pub(super) fn workloads(self, only: &[String]) -> Result<Vec<Workload>> {
        let path = self.path();
        let text = fs::read_to_string(&path).map_err(|error| told(&path, &error))?;
        let mut all: Vec<Workload> =
            serde_json::from_str(&text).map_err(|error| told(&path, &error))?;
        let unknown = |name: &&String| !all.iter().any(|workload| workload.name == **name);
        if let Some(unknown) = only.iter().find(unknown) {
            let names: Vec<_> = all.iter().map(|workload| workload.name.as_str()).collect();
            return Err(format!(
                "there is no workload {unknown}; there are {}",
                names.join(", ")
            ));
        }
        all.retain(|workload| only.is_empty() || only.contains(&workload.name));
        Ok(all)
    }

    /// The command that measures it.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Workloads => "bench",
            Self::Kinds => "bench kinds",
        }
    }
}

/// An entry of a list of workloads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) title: String,
    /// Options of `kerolox bench`.
    pub(super) options: Vec<String>,
    /// What its row shows.
    pub(super) shows: Vec<Metric>,
    /// Most seconds of a measurement, where much is stored in each.
    pub(super) seconds: Option<u32>,
    /// What bounds it.
    #[serde(default)]
    pub(super) floor: Floor,
    /// Settings of the broker, which then is started for this workload.
    #[serde(default)]
    pub(super) server: Settings,
}

/// What bounds a workload's rate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Floor {
    /// What the null server reaches.
    #[default]
    Null,
    /// What the null server reaches, and what the disk allows if one flush serves a message of
    /// each connection.
    Fdatasync,
    /// Nothing that could be measured.
    None,
}

/// A number of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Metric {
    /// Messages a second.
    #[serde(rename = "rate")]
    Rate,
    /// Messages sent a second, where the rate is of those received.
    #[serde(rename = "sent")]
    Sent,
    /// Millions of bytes a second.
    #[serde(rename = "MB/s")]
    Megabytes,
    /// Microseconds.
    #[serde(rename = "p50")]
    P50,
    /// Microseconds.
    #[serde(rename = "p99")]
    P99,
    /// Microseconds.
    #[serde(rename = "p99.9")]
    P999,
    /// Microseconds of the broker's processor time a message.
    #[serde(rename = "cpu")]
    Cpu,
}

impl Metric {
    pub(super) const ALL: [Self; 7] = [
        Self::Rate,
        Self::Sent,
        Self::Megabytes,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::Cpu,
    ];

    /// The number of a run, if it has one.
    pub(super) fn of(self, run: &Run) -> Option<f64> {
        match self {
            Self::Rate => Some(run.messages_per_second),
            Self::Sent => run.sent_per_second,
            Self::Megabytes => Some(run.megabytes_per_second),
            Self::P50 => Some(run.latency_us.p50),
            Self::P99 => Some(run.latency_us.p99),
            Self::P999 => run.latency_us.p999,
            Self::Cpu => run.of_server(),
        }
    }

    /// A number with its unit.
    pub(super) fn shown(self, number: f64) -> String {
        match self {
            Self::Rate => rate(number),
            Self::Sent => format!("{} sent/s", grouped(number)),
            Self::Megabytes => format!("{} MB/s", grouped(number)),
            Self::P50 => format!("p50 {}", time(number)),
            Self::P99 => format!("p99 {}", time(number)),
            Self::P999 => format!("p99.9 {}", time(number)),
            Self::Cpu => format!("{} of processor", time(number)),
        }
    }

    /// How Kerolox compares; nothing where the rate says it already.
    pub(super) fn compared(self, reference: f64, kerolox: f64) -> Option<String> {
        let name = match self {
            Self::Rate => return Some(format!("{:.1}× rate", kerolox / reference)),
            Self::Sent | Self::Megabytes => return None,
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Cpu => "processor",
        };
        Some(format!("{name} {}", less(reference / kerolox)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_workloads_are_good() {
        let only = ["send-1".to_owned()];
        let workloads = List::Workloads.workloads(&only).unwrap();
        assert_eq!(workloads.len(), 1);
        let unknown = List::Kinds.workloads(&only).unwrap_err();
        assert!(unknown.contains("transaction"), "{unknown}");
    }

    #[test]
    fn numbers_have_as_many_digits_as_they_are_worth() {
        assert_eq!(Metric::Rate.shown(2_771_234.0), "2,770,000 msg/s");
        assert_eq!(Metric::Rate.shown(66_749.0), "66,700 msg/s");
        assert_eq!(Metric::Megabytes.shown(65.4), "65 MB/s");
        assert_eq!(Metric::P999.shown(103_400.0), "p99.9 103 ms");
    }

    #[test]
    fn comparisons_read_well_both_ways() {
        let compared = |metric: Metric, reference, kerolox| metric.compared(reference, kerolox);
        assert_eq!(
            compared(Metric::Rate, 50.0, 600.0).as_deref(),
            Some("12.0× rate")
        );
        assert_eq!(
            compared(Metric::P50, 40.0, 10.0).as_deref(),
            Some("p50 1/4.0")
        );
        assert_eq!(
            compared(Metric::P50, 10.0, 20.0).as_deref(),
            Some("p50 2.0×")
        );
    }
}
