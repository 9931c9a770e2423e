//! `cargo xtask bench`: null server, reference and Kerolox side by side.
//!
//! `cargo xtask bench kinds` does the same with other workloads: every kind of message.
//!
//! Below it stand the measurements of scale, each a command of its own: how long a start takes
//! on a large store, what a long history costs in memory, what many queues cost, how the protocols
//! compare, and how fast the analyser reads traffic and what it costs the broker that it watches.

mod flush;
mod history;
mod inspect;
mod inspect_live;
mod memory;
mod protocols;
mod queues;
mod recovery;
mod server;
mod table;
mod usage;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::server::{Home, Kind, Programs, Server, Settings};
use crate::process::{self, Result};

/// Time between a server's start and the look at its idle memory.
const IDLE: Duration = Duration::from_secs(5);
/// Memory that is used once before each measurement, in bytes.
const BALLAST: u64 = 2 << 30;

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    side_by_side: SideBySide,
}

/// Options of what runs all servers one after the other.
#[derive(Debug, Args)]
struct SideBySide {
    /// Rounds; in each all servers run one after the other
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// One round of short measurements
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "write"])]
    quick: bool,
    /// Only these workloads of those in the folder bench
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave the reference out
    #[arg(long)]
    without_reference: bool,
    /// Put the table into docs/benchmarks.md
    #[arg(long, conflicts_with_all = ["only", "without_reference"])]
    write: bool,
}

/// A measurement with a table of its own.
#[derive(Debug, Subcommand)]
enum Other {
    /// Measure pop, transactions, timers and orderly consumption
    Kinds(SideBySide),
    /// Measure the start on large stores, after a clean stop and after a kill
    Recovery(recovery::Recovery),
    /// Measure what a long history costs in memory
    Memory(memory::Memory),
    /// Measure sending, pulling and starting with many queues
    Queues(queues::Queues),
    /// Measure how fast the analyser reads captured traffic, beside tshark
    Inspect(inspect::Inspect),
    /// Measure what it costs to have the analyser watch a broker (Linux, as root)
    InspectLive(inspect_live::InspectLive),
    /// Measure the protocols of the remoting layer beside each other
    Protocols(protocols::Protocols),
}

/// A list of workloads, each with a table in docs/benchmarks.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
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

    /// The command that measures it.
    const fn command(self) -> &'static str {
        match self {
            Self::Workloads => "bench",
            Self::Kinds => "bench kinds",
        }
    }
}

/// An entry of a list of workloads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Workload {
    name: String,
    title: String,
    /// Options of `kerolox bench`.
    options: Vec<String>,
    /// What its row shows.
    shows: Vec<Metric>,
    /// Most seconds of a measurement, where much is stored in each.
    seconds: Option<u32>,
    /// What bounds it.
    #[serde(default)]
    floor: Floor,
    /// Settings of the broker, which then is started for this workload.
    #[serde(default)]
    server: Settings,
}

/// What bounds a workload's rate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Floor {
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
enum Metric {
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
    const ALL: [Self; 7] = [
        Self::Rate,
        Self::Sent,
        Self::Megabytes,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::Cpu,
    ];

    /// The number in the output of `kerolox bench`.
    fn of(self, run: &Value) -> Option<f64> {
        let number = match self {
            Self::Rate => &run["messages_per_second"],
            Self::Sent => &run["sent_per_second"],
            Self::Megabytes => &run["megabytes_per_second"],
            Self::P50 => &run["latency_us"]["p50"],
            Self::P99 => &run["latency_us"]["p99"],
            Self::P999 => &run["latency_us"]["p99.9"],
            Self::Cpu => &run["server"]["cpu_us_per_message"],
        };
        number.as_f64()
    }
}

/// Everything that was measured; all numbers are medians of the rounds.
#[derive(Debug, Default, Serialize)]
struct Results {
    machine: String,
    command: String,
    /// By workload, server and number.
    workloads: BTreeMap<String, BTreeMap<&'static str, BTreeMap<Metric, f64>>>,
    /// By server.
    processes: BTreeMap<&'static str, Process>,
    /// Refusals, by workload and server; there should be none.
    failures: Vec<String>,
}

/// What a server takes besides.
#[derive(Debug, Default, Clone, Serialize)]
struct Process {
    start_seconds: f64,
    /// Resident memory after the start, in bytes.
    idle_resident: f64,
    /// Resident memory after all workloads, in bytes.
    loaded_resident: f64,
    /// The part of it that no file backs, in bytes.
    loaded_private: f64,
}

/// The numbers of all rounds.
#[derive(Debug, Default)]
struct Samples {
    workloads: BTreeMap<(String, Kind, Metric), Vec<f64>>,
    processes: BTreeMap<Kind, Vec<Process>>,
    failures: Vec<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        match self.other {
            None => self.side_by_side.run(List::Workloads),
            Some(Other::Kinds(kinds)) => kinds.run(List::Kinds),
            Some(Other::Recovery(recovery)) => recovery.run(),
            Some(Other::Memory(memory)) => memory.run(),
            Some(Other::Queues(queues)) => queues.run(),
            Some(Other::Inspect(inspect)) => inspect.run(),
            Some(Other::InspectLive(inspect)) => inspect.run(),
            Some(Other::Protocols(protocols)) => protocols.run(),
        }
    }
}

impl SideBySide {
    fn run(self, list: List) -> Result<()> {
        let workloads = self.workloads(list)?;
        let without_floor = workloads
            .iter()
            .all(|workload| workload.floor == Floor::None);
        let programs = Programs::ready(!self.without_reference)?;
        let mut samples = Samples::default();
        for round in 1..=self.rounds() {
            for kind in [Kind::Null, Kind::Reference, Kind::Kerolox] {
                if kind == Kind::Reference && self.without_reference
                    || kind == Kind::Null && without_floor
                {
                    continue;
                }
                eprintln!("== round {round} of {}: {}", self.rounds(), kind.name());
                self.measure(kind, &workloads, &programs, &mut samples)?;
            }
        }
        let results = self.results(samples);
        let table = table::markdown(&workloads, &results);
        println!("{table}");
        let path = programs.folder.join("results.json");
        let json = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
        fs::write(&path, json).map_err(|error| format!("{}: {error}", path.display()))?;
        eprintln!("also as JSON in {}", path.display());
        if self.write {
            table::write_page(list.command(), &table)
        } else {
            Ok(())
        }
    }

    fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }

    fn workloads(&self, list: List) -> Result<Vec<Workload>> {
        let path = list.path();
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut all: Vec<Workload> =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let known = |name: &&String| !all.iter().any(|workload| workload.name == **name);
        if let Some(unknown) = self.only.iter().find(known) {
            let names: Vec<_> = all.iter().map(|workload| workload.name.as_str()).collect();
            return Err(format!(
                "there is no workload {unknown}; there are {}",
                names.join(", ")
            ));
        }
        all.retain(|workload| self.only.is_empty() || self.only.contains(&workload.name));
        Ok(all)
    }

    /// Starts a server and puts all workloads on it; those that want other settings get a server
    /// of their own.
    fn measure(
        &self,
        kind: Kind,
        workloads: &[Workload],
        programs: &Programs,
        samples: &mut Samples,
    ) -> Result<()> {
        let (common, own): (Vec<_>, Vec<_>) = workloads
            .iter()
            .filter(|workload| kind != Kind::Null || workload.floor != Floor::None)
            .partition(|workload| workload.server.is_empty());
        for workload in own {
            self.measure_on(kind, &[workload], programs, samples)?;
        }
        if common.is_empty() {
            return Ok(());
        }
        let process = self.measure_on(kind, &common, programs, samples)?;
        samples.processes.entry(kind).or_default().push(process);
        Ok(())
    }

    /// Starts a server as the first workload wants it.
    fn measure_on(
        &self,
        kind: Kind,
        workloads: &[&Workload],
        programs: &Programs,
        samples: &mut Samples,
    ) -> Result<Process> {
        let home = Home::new(kind, programs)?;
        let settings = workloads.first().map(|first| &first.server);
        let settings = settings.filter(|_| kind != Kind::Null);
        let server = Server::start(
            kind,
            programs,
            &home,
            &settings.cloned().unwrap_or_default(),
        )?;
        thread::sleep(IDLE);
        let idle = server.memory().unwrap_or_default();
        if kind == Kind::Reference {
            // It is fast only when it has been compiled.
            let seconds = if self.quick { 8 } else { 20 };
            let warm_up = [
                "send".to_owned(),
                "--topic".to_owned(),
                "warm_up".to_owned(),
            ];
            self.bench(programs, &server, &warm_up, seconds)?;
        }
        for workload in workloads {
            let seconds = if self.quick { 2 } else { self.seconds };
            let seconds = workload.seconds.map_or(seconds, |most| most.min(seconds));
            let run = self.bench(programs, &server, &workload.options, seconds)?;
            let mut shown = format!("   {}:", workload.name);
            let limit = match (kind, workload.floor) {
                (Kind::Null, Floor::Fdatasync) => flush::limit(&programs.folder)?,
                _ => f64::INFINITY,
            };
            if limit.is_finite() {
                shown.push_str(&format!(" the disk allows {limit:.0} msg/s;"));
            }
            for metric in Metric::ALL {
                if let Some(mut number) = metric.of(&run) {
                    if metric == Metric::Rate {
                        number = number.min(limit);
                    }
                    let key = (workload.name.clone(), kind, metric);
                    samples.workloads.entry(key).or_default().push(number);
                    shown.push_str(&format!(" {}", table::number(metric, number)));
                }
            }
            eprintln!("{shown}");
            if run["errors"]
                .as_object()
                .is_some_and(|errors| !errors.is_empty())
            {
                let failure = format!("{} {}: {}", kind.name(), workload.name, run["errors"]);
                samples.failures.push(failure);
            }
        }
        let [loaded_resident, loaded_private] = server.memory().unwrap_or_default();
        Ok(Process {
            start_seconds: server.start.as_secs_f64(),
            idle_resident: idle[0] as f64,
            loaded_resident: loaded_resident as f64,
            loaded_private: loaded_private as f64,
        })
    }

    /// Runs `kerolox bench` and returns its one run.
    fn bench(
        &self,
        programs: &Programs,
        server: &Server,
        options: &[String],
        seconds: u32,
    ) -> Result<Value> {
        touch_memory();
        let mut command = programs.bench(server);
        command.args(options);
        command.args(["--duration", &format!("{seconds}s")]);
        command.args(["--warm-up", if self.quick { "1s" } else { "2s" }]);
        if cfg!(target_os = "linux") {
            command.args(["--server-pid", &server.process().to_string()]);
        }
        Ok(report(&mut command)?["median"].take())
    }

    fn results(&self, samples: Samples) -> Results {
        let mut results = Results {
            machine: machine(),
            command: command_line(),
            failures: samples.failures,
            ..Results::default()
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

/// The command line that brings these results.
fn command_line() -> String {
    let options: Vec<String> = env::args()
        .skip(1)
        .filter(|option| option != "--write")
        .collect();
    format!("cargo xtask {}", options.join(" "))
}

/// Runs a `kerolox bench` to its end; its report.
fn report(command: &mut Command) -> Result<Value> {
    let output = process::output(command)?;
    serde_json::from_slice(&output)
        .map_err(|error| format!("kerolox bench has a strange output: {error}"))
}

/// Prints a measurement of scale, and puts it into docs/benchmarks.md if that is wanted.
fn publish(command: &str, table: &str, write: bool) -> Result<()> {
    let table = format!("`{}` on {}:\n\n{table}", command_line(), machine());
    println!("{table}");
    if write {
        table::write_page(command, &table)
    } else {
        Ok(())
    }
}

/// Uses memory once and gives it back. On a virtual machine, memory that was not in use for some
/// seconds is slow at its first use, many times slower than what is measured here: who writes
/// much would pay for what the machine is.
fn touch_memory() {
    let half = memory("MemAvailable").unwrap_or(0) / 2;
    let ballast = vec![1u8; half.min(BALLAST) as usize];
    std::hint::black_box(&ballast);
}

/// A size of this machine's memory in bytes, where the system tells it.
fn memory(name: &str) -> Option<u64> {
    let sizes = fs::read_to_string("/proc/meminfo").ok()?;
    let size = sizes.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = size
        .trim_start_matches(':')
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kilobytes * 1024)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// What this machine is, as far as it says.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches([':', '\t', ' ']).trim().to_owned())
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let model = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = memory("MemTotal").map_or_else(
        || "unknown memory".to_owned(),
        |bytes| format!("{:.0} GB of memory", bytes as f64 / 1e9),
    );
    format!(
        "{processors} processors ({model}), {memory}, {}",
        env::consts::OS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_workloads_is_good() {
        let bench = SideBySide {
            rounds: 1,
            seconds: 1,
            quick: false,
            only: vec!["send-1".to_owned()],
            without_reference: true,
            write: false,
        };
        let workloads = bench.workloads(List::Workloads).unwrap();
        assert_eq!(workloads.len(), 1);
        let unknown = bench.workloads(List::Kinds).unwrap_err();
        assert!(unknown.contains("transaction"), "{unknown}");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![]), 0.0);
    }
}
