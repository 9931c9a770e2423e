//! `cargo xtask bench inspect-live`: what it costs to have the analyser watch a broker.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::load::{Report, report};
use super::median;
use super::page::Page;
use super::server::{Home, Kind, Programs, Server, Settings};
use super::table::{Table, grouped, megabytes};
use super::usage::{self, Usage};
use crate::interop;
use crate::process::{Process, Result};

/// Time for the analyser to begin, and at the end to read what waits.
const SETTLE: Duration = Duration::from_secs(2);

/// Options of `cargo xtask bench inspect-live`.
#[derive(Debug, Args)]
pub(crate) struct InspectLive {
    /// Rounds; in each the broker is watched in every way, one after the other
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Messages a second of the load that is not the most that the broker takes
    #[arg(long, default_value_t = 100_000)]
    rate: u32,
    /// Leave out the tracing in the kernel, which needs clang, libelf and zlib
    #[arg(long)]
    without_trace: bool,
    #[command(flatten)]
    page: Page,
}

/// How the broker is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    Not,
    Packets,
    Trace,
}

impl Watch {
    const fn title(self) -> &'static str {
        match self {
            Self::Not => "not watched",
            Self::Packets => "packets (AF_PACKET)",
            Self::Trace => "traced (eBPF)",
        }
    }
}

const LOADS: [Load; 3] = [Load::Paced, Load::Full, Load::Many];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Load {
    /// So many messages a second.
    Paced,
    /// As much as the broker takes; the analyser gives way.
    Full,
    /// The same by many connections, of which a sample is followed.
    Many,
}

impl Load {
    /// Connections, and requests in flight on each.
    const fn lanes(self) -> (&'static str, &'static str) {
        match self {
            Self::Paced | Self::Full => ("8", "256"),
            Self::Many => ("64", "32"),
        }
    }

    /// Options of the analyser: under full load there is no processor left for both, and the broker
    /// is what matters.
    const fn manners(self) -> &'static [&'static str] {
        match self {
            Self::Paced => &[],
            Self::Full => &["--give-way"],
            Self::Many => &["--give-way", "--sample", "16"],
        }
    }

    fn title(self, rate: u32) -> String {
        match self {
            Self::Paced => format!("{} messages/s", grouped(f64::from(rate))),
            Self::Full => "all it takes".to_owned(),
            Self::Many => "all it takes by 64 connections, one in 16 followed".to_owned(),
        }
    }
}

/// What was measured once.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Messages a second.
    rate: f64,
    /// In microseconds.
    p50: f64,
    p99: f64,
    /// Microseconds of the broker's processor time a message.
    broker: f64,
    /// Processors that the analyser used, its memory, and packets or pieces that it lost.
    analyser: f64,
    memory: f64,
    lost: f64,
}

impl InspectLive {
    pub(super) fn run(self) -> Result<()> {
        let mut programs = Programs::ready(false)?;
        let mut ways = vec![Watch::Not, Watch::Packets];
        if !self.without_trace {
            programs.kerolox = interop::release_binary(&["ebpf"])?;
            ways.push(Watch::Trace);
        }
        let mut samples: BTreeMap<(Load, Watch), Vec<Sample>> = BTreeMap::new();
        for round in 1..=self.rounds {
            eprintln!("== round {round} of {}", self.rounds);
            let home = Home::new(Kind::Kerolox, &programs)?;
            let server = Server::start(Kind::Kerolox, &programs, &home, &Settings::new())?;
            for load in LOADS {
                for watch in &ways {
                    let sample = self.measure(&programs, &server, load, *watch)?;
                    eprintln!("   {load:?}, {}: {sample:?}", watch.title());
                    samples.entry((load, *watch)).or_default().push(sample);
                }
            }
            server.stop()?;
        }
        self.page
            .publish("bench inspect-live", &self.table(&samples))
    }

    fn measure(
        &self,
        programs: &Programs,
        server: &Server,
        load: Load,
        watch: Watch,
    ) -> Result<Sample> {
        let analyser = Analyser::start(programs, server, load, watch)?;
        thread::sleep(SETTLE);
        let mut bench = programs.bench(server);
        let (connections, in_flight) = load.lanes();
        bench.args([
            "send",
            "--connections",
            connections,
            "--in-flight",
            in_flight,
        ]);
        bench.args(["--warm-up", "1s"]);
        bench.args(["--duration", &format!("{}s", self.seconds)]);
        bench.args(["--server-pid", &server.process().to_string()]);
        if load == Load::Paced {
            bench.args(["--rate", &self.rate.to_string()]);
        }
        let run = report::<Report>(&mut bench)?.median;
        thread::sleep(SETTLE);
        let seen = analyser
            .map(|analyser| analyser.end(load, run.messages))
            .transpose()?;
        let (usage, lost) = seen.unwrap_or_default();
        Ok(Sample {
            rate: run.messages_per_second,
            p50: run.latency_us.p50,
            p99: run.latency_us.p99,
            broker: run.of_both()?[0],
            // Of the time that the load lasts: it is idle before and after.
            analyser: usage.processor.as_secs_f64() / f64::from(self.seconds + 1),
            memory: usage.memory as f64,
            lost: lost as f64,
        })
    }

    fn table(&self, samples: &BTreeMap<(Load, Watch), Vec<Sample>>) -> String {
        let mut table = Table::new([
            "load",
            "broker is",
            "messages/s",
            "beside unwatched",
            "p50",
            "p99",
            "broker's processor a message",
            "analyser's processors",
            "its memory",
            "lost",
        ]);
        for ((load, watch), taken) in samples {
            let middle = |number: fn(&Sample) -> f64| median(taken.iter().map(number).collect());
            // Each beside the one of its own round, since the machine is not the same for long.
            let unwatched = samples.get(&(*load, Watch::Not)).into_iter().flatten();
            let ratios = taken.iter().zip(unwatched);
            let ratio = median(ratios.map(|(one, base)| one.rate / base.rate).collect());
            let of_analyser = |text: String| match watch {
                Watch::Not => String::new(),
                Watch::Packets | Watch::Trace => text,
            };
            table.row([
                load.title(self.rate),
                watch.title().to_owned(),
                grouped(middle(|sample| sample.rate)),
                of_analyser(format!("{:+.1} %", (ratio - 1.0) * 100.0)),
                format!("{:.0} µs", middle(|sample| sample.p50)),
                format!("{:.0} µs", middle(|sample| sample.p99)),
                format!("{:.2} µs", middle(|sample| sample.broker)),
                of_analyser(format!("{:.2}", middle(|sample| sample.analyser))),
                of_analyser(megabytes(middle(|sample| sample.memory))),
                of_analyser(format!("{:.0}", middle(|sample| sample.lost))),
            ]);
        }
        table.text()
    }
}

/// A `kerolox inspect stat` that runs.
struct Analyser {
    process: Process,
    begun: Instant,
}

impl Analyser {
    fn start(
        programs: &Programs,
        server: &Server,
        load: Load,
        watch: Watch,
    ) -> Result<Option<Self>> {
        let mut stat = Command::new(&programs.kerolox);
        stat.args(["inspect", "stat", "--output", "json", "--port"]);
        stat.arg(server.address.port().to_string());
        stat.args(load.manners());
        match watch {
            Watch::Not => return Ok(None),
            Watch::Packets => stat.args(["--interface", "lo"]),
            Watch::Trace => stat.args(["--trace", "--pid", &server.process().to_string()]),
        };
        stat.stdin(Stdio::null()).stdout(Stdio::piped());
        let process = Process::spawn(stat.stderr(Stdio::piped()))?;
        let begun = Instant::now();
        Ok(Some(Self { process, begun }))
    }

    /// Ends it, and tells what it used and lost. It must have seen as many messages, unless it
    /// lost some or follows a sample, of which it must have seen any.
    fn end(mut self, load: Load, messages: f64) -> Result<(Usage, u64)> {
        self.process.terminate()?;
        let usage = usage::of_rest(&mut self.process.0, self.begun);
        let (mut rows, mut said) = (String::new(), String::new());
        let told = |error: std::io::Error| format!("the analyser's output: {error}");
        if let Some(mut out) = self.process.0.stdout.take() {
            out.read_to_string(&mut rows).map_err(told)?;
        }
        if let Some(mut out) = self.process.0.stderr.take() {
            out.read_to_string(&mut said).map_err(told)?;
        }
        if said.contains("captured instead") {
            return Err(format!("the broker cannot be traced: {said}"));
        }
        // It says how many so far, whenever there are more.
        let lost: Option<u64> = said.lines().rev().find_map(|line| {
            let (number, _) = line
                .strip_prefix("kerolox: ")?
                .split_once(" packets were lost")?;
            number.parse().ok()
        });
        let lost = lost.unwrap_or(0);
        let total = rows.lines().next().and_then(|row| {
            let row: Value = serde_json::from_str(row).ok()?;
            row["messages"].as_f64()
        });
        match total {
            Some(seen) if lost > 0 || seen >= messages || load == Load::Many && seen > 0.0 => {
                Ok((usage, lost))
            }
            seen => Err(format!(
                "of {messages} messages the analyser saw {seen:?}; it said: {said}"
            )),
        }
    }
}
