//! `cargo xtask bench memory`: what a long history costs a broker in memory.

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::history;
use super::server::{Home, Kind, Programs, Server, Settings};
use super::{publish, report};
use crate::process::Result;

/// Time for a server to settle before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(3);

/// Options of `cargo xtask bench memory`.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// Commit log files of 1 GB each of the long history, sparse
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=1000))]
    files: u64,
    /// Seconds of reading through the history
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Leave the reference out
    #[arg(long)]
    without_reference: bool,
    /// Put the table into docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

/// What a broker's process takes.
struct Taken {
    resident: u64,
    private: u64,
    page_tables: u64,
    address_space: u64,
    open_files: u64,
}

impl Memory {
    pub(super) fn run(self) -> Result<()> {
        let programs = Programs::ready(!self.without_reference)?;
        let mut table = "| server | history | when | resident | of that private | page tables | address space | open files |\n|---|---|---|---|---|---|---|---|\n".to_owned();
        for kind in programs.brokers() {
            for files in [1, self.files] {
                eprintln!("== {}: {files} GB", kind.name());
                for (when, taken) in self.measure(kind, files, &programs)? {
                    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
                    let _ = writeln!(
                        table,
                        "| {} | {files} GB | {when} | {} | {} | {} | {:.0} GB | {} |",
                        kind.title(),
                        megabytes(taken.resident),
                        megabytes(taken.private),
                        megabytes(taken.page_tables),
                        taken.address_space as f64 / 1e9,
                        taken.open_files,
                    );
                }
            }
        }
        publish("bench memory", &table, self.write)
    }

    fn measure(
        &self,
        kind: Kind,
        files: u64,
        programs: &Programs,
    ) -> Result<[(&'static str, Taken); 2]> {
        let home = Home::new(kind, programs)?;
        history::write(&home.store(), files)?;
        let server = Server::start(kind, programs, &home, &Settings::new())?;
        thread::sleep(SETTLE);
        let started = taken(&server)?;
        let seconds = format!("{}s", self.seconds);
        let queues = history::QUEUES.to_string();
        let mut bench = programs.bench(&server);
        bench.args(["pull", "--topic", history::TOPIC, "--queues", &queues]);
        bench.args(["--connections", &queues, "--fill", "0"]);
        bench.args(["--warm-up", "0s", "--duration", &seconds]);
        let pulled = report(&mut bench)?["median"]["messages"].as_u64();
        eprintln!("   {} messages pulled", pulled.unwrap_or_default());
        Ok([("started", started), ("all was read", taken(&server)?)])
    }
}

fn taken(server: &Server) -> Result<Taken> {
    let size = |name| {
        server
            .status(name)
            .ok_or_else(|| format!("the system does not tell {name} of a process"))
    };
    Ok(Taken {
        resident: size("VmRSS:")?,
        private: size("RssAnon:")?,
        page_tables: size("VmPTE:")?,
        address_space: size("VmSize:")?,
        open_files: server.open_files().unwrap_or_default(),
    })
}
