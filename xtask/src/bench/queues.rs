//! `cargo xtask bench queues`: what many queues cost.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use super::server::{Home, Kind, Programs, Server, Settings};
use super::table::grouped;
use super::{publish, report};
use crate::process::Result;

/// Queues of each topic.
const OF_TOPIC: u64 = 8;
/// Messages of a queue before pulling begins, so that each pull finds all that it asks for.
const MESSAGES: u64 = 32;
/// Messages of all queues at least.
const LEAST: u64 = 500_000;

/// Options of `cargo xtask bench queues`.
#[derive(Debug, Args)]
pub(crate) struct Queues {
    /// Numbers of queues, each a multiple of 8
    #[arg(long, value_delimiter = ',', default_values_t = [8, 1000, 10_000, 100_000])]
    queues: Vec<u64>,
    /// Most queues that the reference gets
    #[arg(long, default_value_t = 10_000)]
    reference_queues: u64,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 8)]
    seconds: u32,
    /// Leave the reference out
    #[arg(long)]
    without_reference: bool,
    /// Put the table into docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

impl Queues {
    pub(super) fn run(self) -> Result<()> {
        let programs = Programs::ready(!self.without_reference)?;
        let mut table = "| queues | server | filling | pull, 32 a request | send, 8 connections × 256 in flight | start after a clean stop | after a kill | resident |\n|---|---|---|---|---|---|---|---|\n".to_owned();
        for queues in &self.queues {
            for kind in programs.brokers() {
                if kind != Kind::Reference || *queues <= self.reference_queues {
                    eprintln!("== {}: {queues} queues", kind.name());
                    table.push_str(&self.measure(kind, *queues, &programs)?);
                }
            }
        }
        publish("bench queues", &table, self.write)
    }

    /// The row of a server with so many queues.
    fn measure(&self, kind: Kind, queues: u64, programs: &Programs) -> Result<String> {
        let home = Home::new(kind, programs)?;
        let start = || Server::start(kind, programs, &home, &Settings::new());
        let mut server = start()?;
        let fill = (queues * MESSAGES).max(LEAST);
        let pull = self.bench(
            &server,
            programs,
            queues,
            &["pull", "--fill", &fill.to_string()],
        )?;
        let filled = pull["fill"]["messages"].as_f64().unwrap_or_default()
            / pull["fill"]["seconds"].as_f64().unwrap_or(1.0);
        let send = self.bench(&server, programs, queues, &["send"])?;
        let resident = server.memory().unwrap_or_default()[0];
        server.stop()?;
        server = start()?;
        let clean = server.start;
        self.bench(&server, programs, queues, &["send"])?;
        drop(server);
        server = start()?;
        let killed = server.start;
        let rate = |report: &Value| {
            let rate = report["median"]["messages_per_second"].as_f64();
            format!("{} msg/s", grouped(rate.unwrap_or_default()))
        };
        let mut row = String::new();
        let _ = writeln!(
            row,
            "| {} | {} | {} msg/s | {} | {} | {:.3} s | {:.3} s | {:.0} MB |",
            grouped(queues as f64),
            kind.title(),
            grouped(filled),
            rate(&pull),
            rate(&send),
            clean.as_secs_f64(),
            killed.as_secs_f64(),
            resident as f64 / 1e6,
        );
        eprint!("   {row}");
        Ok(row)
    }

    fn bench(
        &self,
        server: &Server,
        programs: &Programs,
        queues: u64,
        options: &[&str],
    ) -> Result<Value> {
        let mut bench = programs.bench(server);
        bench.args(options).args(["--topic", "many"]);
        bench.args(["--topics", &(queues / OF_TOPIC).to_string()]);
        bench.args(["--queues", &OF_TOPIC.to_string()]);
        bench.args([
            "--warm-up",
            "2s",
            "--duration",
            &format!("{}s", self.seconds),
        ]);
        report(&mut bench)
    }
}
