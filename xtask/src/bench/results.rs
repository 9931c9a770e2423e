//! What the workloads came to, server by server.

use std::collections::BTreeMap;

use serde::Serialize;

use super::server::Kind;
use super::table::{Table, compared, megabytes, seconds};
use super::workload::{Metric, Workload};
use super::{machine, median, page};

/// Everything that was measured; all numbers are medians of the rounds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Results {
    pub(super) machine: String,
    pub(super) command: String,
    /// By workload, server and number.
    pub(super) workloads: BTreeMap<String, BTreeMap<&'static str, BTreeMap<Metric, f64>>>,
    /// By server.
    pub(super) processes: BTreeMap<&'static str, Process>,
    /// Refusals, by workload and server; there should be none.
    pub(super) failures: Vec<String>,
}

/// What a server takes besides.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Process {
    pub(super) start_seconds: f64,
    /// Resident memory after the start, in bytes.
    pub(super) idle_resident: f64,
    /// Resident memory after all workloads, in bytes.
    pub(super) loaded_resident: f64,
    /// The part of it that no file backs, in bytes.
    pub(super) loaded_private: f64,
}

/// The numbers of all rounds.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) workloads: BTreeMap<(String, Kind, Metric), Vec<f64>>,
    pub(super) processes: BTreeMap<Kind, Vec<Process>>,
    pub(super) failures: Vec<String>,
}

impl From<Samples> for Results {
    fn from(samples: Samples) -> Self {
        let mut results = Self {
            machine: machine::description(),
            command: page::command_line(),
            failures: samples.failures,
            ..Self::default()
        };
        for ((workload, kind, metric), numbers) in samples.workloads {
            let servers = results.workloads.entry(workload).or_default();
            let metrics = servers.entry(kind.name()).or_default();
            metrics.insert(metric, median(numbers));
        }
        for (kind, all) in samples.processes {
            let middle = |number: fn(&Process) -> f64| median(all.iter().map(number).collect());
            let process = Process {
                start_seconds: middle(|process| process.start_seconds),
                idle_resident: middle(|process| process.idle_resident),
                loaded_resident: middle(|process| process.loaded_resident),
                loaded_private: middle(|process| process.loaded_private),
            };
            results.processes.insert(kind.name(), process);
        }
        results
    }
}

impl Results {
    /// As Markdown.
    pub(super) fn table(&self, workloads: &[Workload]) -> String {
        let mut table = Table::new([
            "work",
            "reference",
            "Kerolox",
            "Kerolox is",
            "floor",
            "of floor",
        ]);
        for workload in workloads {
            table.row(self.of_workload(workload));
        }
        for (title, number, shown) in PROCESS {
            let number = |kind: Kind| self.processes.get(kind.name()).map(number);
            let [title, reference, kerolox, ratio] =
                compared(title, number(Kind::Reference), number(Kind::Kerolox), shown);
            let floor = number(Kind::Null).map(shown).unwrap_or_default();
            table.row([title, reference, kerolox, ratio, floor, String::new()]);
        }
        let refused = self.failures.iter();
        let refused = refused.map(|failure| format!("\nRefused (code: count): {failure}\n"));
        table.text() + &refused.collect::<String>()
    }

    fn of_workload(&self, workload: &Workload) -> [String; 6] {
        let number = |kind: Kind, metric: Metric| {
            let servers = self.workloads.get(&workload.name)?;
            servers.get(kind.name())?.get(&metric).copied()
        };
        let shown = |kind: Kind| {
            let shows = workload.shows.iter();
            let numbers = shows.filter_map(|metric| Some(metric.shown(number(kind, *metric)?)));
            numbers.collect::<Vec<_>>().join(", ")
        };
        let ratios = workload.shows.iter().filter_map(|metric| {
            let number = |kind| number(kind, *metric);
            metric.compared(number(Kind::Reference)?, number(Kind::Kerolox)?)
        });
        let of_floor = number(Kind::Kerolox, Metric::Rate)
            .zip(number(Kind::Null, Metric::Rate))
            .map(|(ours, floor)| format!("{:.2}", ours / floor));
        [
            workload.title.clone(),
            shown(Kind::Reference),
            shown(Kind::Kerolox),
            ratios.collect::<Vec<_>>().join(", "),
            shown(Kind::Null),
            of_floor.unwrap_or_default(),
        ]
    }
}

/// A row of the table, what it shows of a process, and how that is written.
type Row = (&'static str, fn(&Process) -> f64, fn(f64) -> String);

const PROCESS: [Row; 4] = [
    (
        "resident memory when idle",
        |process| process.idle_resident,
        megabytes,
    ),
    (
        "resident memory after all of this",
        |process| process.loaded_resident,
        megabytes,
    ),
    (
        "of that private",
        |process| process.loaded_private,
        megabytes,
    ),
    (
        "start to first answer",
        |process| process.start_seconds,
        seconds,
    ),
];
