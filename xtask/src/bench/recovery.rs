//! `cargo xtask bench recovery`: how long a broker takes to start on what is stored.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::server::{Home, Kind, Programs, Server, Settings};
use super::table::{less, or_dash};
use super::{median, publish, report};
use crate::process::{self, Result};

/// Bytes of a body.
const BODY: u64 = 1024;
/// Bytes that a message with such a body takes in the log, about.
const RECORD: u64 = 1240;
/// How long a server is under load before it is killed.
const LOAD: Duration = Duration::from_secs(5);

/// Options of `cargo xtask bench recovery`.
#[derive(Debug, Args)]
pub(crate) struct Recovery {
    /// Sizes of the stores, in GB, the smallest first
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10])]
    gigabytes: Vec<u64>,
    /// Starts after a clean stop, and as many after a kill
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Leave the reference out
    #[arg(long)]
    without_reference: bool,
    /// Put the table into docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

/// Seconds from a start to the first answer.
struct Starts {
    gigabytes: u64,
    kind: Kind,
    clean: f64,
    killed: f64,
}

type Seconds = fn(&Starts) -> f64;

impl Recovery {
    pub(super) fn run(self) -> Result<()> {
        let programs = Programs::ready(!self.without_reference)?;
        let mut all = Vec::new();
        for kind in programs.brokers() {
            self.measure(kind, &programs, &mut all)?;
        }
        let mut table =
            "| store | stopped | reference | Kerolox | Kerolox takes |\n|---|---|---|---|---|\n"
                .to_owned();
        for gigabytes in &self.gigabytes {
            let of = |kind: Kind| {
                all.iter()
                    .find(|starts| starts.kind == kind && starts.gigabytes == *gigabytes)
            };
            let rows: [(&str, Seconds); 2] = [
                ("cleanly", |starts| starts.clean),
                ("killed under load", |starts| starts.killed),
            ];
            for (title, number) in rows {
                let (reference, kerolox) = (
                    of(Kind::Reference).map(number),
                    of(Kind::Kerolox).map(number),
                );
                let shown = |seconds: Option<f64>| {
                    or_dash(
                        seconds
                            .map(|seconds| format!("{seconds:.2} s"))
                            .unwrap_or_default(),
                    )
                };
                let ratio = reference.zip(kerolox);
                let ratio = ratio.map(|(theirs, ours)| less(theirs / ours));
                let _ = writeln!(
                    table,
                    "| {gigabytes} GB | {title} | {} | {} | {} |",
                    shown(reference),
                    shown(kerolox),
                    or_dash(ratio.unwrap_or_default()),
                );
            }
        }
        let cold = if drop_page_cache() {
            "Nothing of the stores is in memory before a start."
        } else {
            "The stores are in memory as far as there is room: the system does not let us drop them."
        };
        let _ = write!(
            table,
            "\nTime to the first answer, medians of {} starts. {cold}",
            self.runs
        );
        publish("bench recovery", &table, self.write)
    }

    fn measure(&self, kind: Kind, programs: &Programs, all: &mut Vec<Starts>) -> Result<()> {
        let home = Home::new(kind, programs)?;
        let start = || Server::start(kind, programs, &home, &Settings::new());
        let mut server = start()?;
        for gigabytes in &self.gigabytes {
            eprintln!("== {}: {gigabytes} GB", kind.name());
            let messages = gigabytes * 1_000_000_000 / RECORD;
            let mut fill = programs.bench(&server);
            fill.args(["pull", "--topic", "recovery", "--connections", "1"]);
            fill.args(["--body-size", &BODY.to_string()]);
            fill.args(["--fill", &messages.to_string()]);
            fill.args(["--warm-up", "0s", "--duration", "100ms"]);
            eprintln!("   filled: {}", report(&mut fill)?["fill"]);
            let (mut clean, mut killed) = (Vec::new(), Vec::new());
            for _ in 0..self.runs {
                server.stop()?;
                drop_page_cache();
                server = start()?;
                clean.push(server.start.as_secs_f64());
                kill_under_load(programs, server)?;
                drop_page_cache();
                server = start()?;
                killed.push(server.start.as_secs_f64());
            }
            eprintln!("   clean {clean:.2?}, killed {killed:.2?}");
            all.push(Starts {
                gigabytes: *gigabytes,
                kind,
                clean: median(clean),
                killed: median(killed),
            });
        }
        Ok(())
    }
}

fn kill_under_load(programs: &Programs, server: Server) -> Result<()> {
    let mut load = programs.bench(&server);
    load.args(["send", "--connections", "4", "--in-flight", "128"]);
    load.args(["--body-size", &BODY.to_string(), "--duration", "60s"]);
    // It ends with an error when its server does.
    let load = load.stdout(Stdio::null()).stderr(Stdio::null());
    let mut load = load.spawn().map_err(|error| error.to_string())?;
    thread::sleep(LOAD);
    drop(server);
    load.wait().map_err(|error| error.to_string())?;
    Ok(())
}

/// Has the system forget what it keeps of files; `false` where it does not let us.
fn drop_page_cache() -> bool {
    process::works(&mut Command::new("sync")) && fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
