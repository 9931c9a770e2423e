//! All workloads of a list, on one server after the other.

use std::fs;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::load::{Report, Run, report};
use super::results::{Process, Results, Samples};
use super::server::{Home, Kind, Programs, Server};
use super::workload::{Floor, List, Metric, Workload};
use super::{Comparison, flush, machine};
use crate::process::{Result, told};

/// Time between a server's start and the look at its idle memory.
const IDLE: Duration = Duration::from_secs(5);

/// Options of what runs all servers one after the other.
#[derive(Debug, Args)]
pub(super) struct SideBySide {
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
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        conflicts_with = "write"
    )]
    only: Vec<String>,
    #[command(flatten)]
    comparison: Comparison,
}

impl SideBySide {
    /// Measures a list.
    pub(super) fn run(self, list: List) -> Result<()> {
        let workloads = list.workloads(&self.only)?;
        let without_floor = workloads
            .iter()
            .all(|workload| workload.floor == Floor::None);
        let programs = self.comparison.programs()?;
        let mut samples = Samples::default();
        for round in 1..=self.rounds() {
            for kind in [Kind::Null, Kind::Reference, Kind::Kerolox] {
                if kind == Kind::Reference && programs.reference.is_none()
                    || kind == Kind::Null && without_floor
                {
                    continue;
                }
                eprintln!("== round {round} of {}: {}", self.rounds(), kind.name());
                self.measure(kind, &workloads, &programs, &mut samples)?;
            }
        }
        let results = Results::from(samples);
        let path = programs.folder.join("results.json");
        let json = serde_json::to_string_pretty(&results).map_err(|error| told(&path, &error))?;
        fs::write(&path, json).map_err(|error| told(&path, &error))?;
        eprintln!("also as JSON in {}", path.display());
        let table = results.table(&workloads);
        self.comparison.page.publish(list.command(), &table)
    }

    fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
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
                    shown.push_str(&format!(" {}", metric.shown(number)));
                }
            }
            eprintln!("{shown}");
            if !run.errors.is_empty() {
                let failure = format!("{} {}: {:?}", kind.name(), workload.name, run.errors);
                samples.failures.push(failure);
            }
        }
        let loaded = server.memory().unwrap_or_default();
        Ok(Process {
            start_seconds: server.start.as_secs_f64(),
            idle_resident: idle.resident as f64,
            loaded_resident: loaded.resident as f64,
            loaded_private: loaded.private as f64,
        })
    }

    /// Runs `kerolox bench` and returns its one run.
    fn bench(
        &self,
        programs: &Programs,
        server: &Server,
        options: &[String],
        seconds: u32,
    ) -> Result<Run> {
        machine::touch_memory();
        let mut command = programs.bench(server);
        command.args(options);
        command.args(["--duration", &format!("{seconds}s")]);
        command.args(["--warm-up", if self.quick { "1s" } else { "2s" }]);
        if cfg!(target_os = "linux") {
            command.args(["--server-pid", &server.process().to_string()]);
        }
        report(&mut command).map(|report: Report| report.median)
    }
}
