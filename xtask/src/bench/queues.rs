//! `cargo xtask bench queues`: what many queues cost.

use clap::Args;

use super::Comparison;
use super::load::{Report, report};
use super::server::{Home, Kind, Programs, Server, Settings};
use super::table::{Table, grouped, megabytes, rate, seconds};
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
    #[command(flatten)]
    comparison: Comparison,
}

impl Queues {
    pub(super) fn run(self) -> Result<()> {
        let programs = self.comparison.programs()?;
        let mut table = Table::new([
            "queues",
            "server",
            "filling",
            "pull, 32 a request",
            "send, 8 connections × 256 in flight",
            "start after a clean stop",
            "after a kill",
            "resident",
        ]);
        for queues in &self.queues {
            for kind in programs.brokers() {
                if kind != Kind::Reference || *queues <= self.reference_queues {
                    eprintln!("== {}: {queues} queues", kind.name());
                    let row = self.measure(kind, *queues, &programs)?;
                    eprint!("   {}", table.row(row));
                }
            }
        }
        self.comparison.page.publish("bench queues", &table.text())
    }

    /// The row of a server with so many queues.
    fn measure(&self, kind: Kind, queues: u64, programs: &Programs) -> Result<[String; 8]> {
        let home = Home::new(kind, programs)?;
        let start = || Server::start(kind, programs, &home, &Settings::new());
        let mut server = start()?;
        let fill = (queues * MESSAGES).max(LEAST).to_string();
        let bench =
            |server: &Server, options: &[&str]| self.bench(server, programs, queues, options);
        let pull = bench(&server, &["pull", "--fill", &fill])?;
        let filled = pull.fill.map(|fill| rate(fill.messages / fill.seconds));
        let send = bench(&server, &["send"])?;
        let memory = server.memory().unwrap_or_default();
        server.stop()?;
        server = start()?;
        let clean = server.start;
        bench(&server, &["send"])?;
        drop(server);
        let killed = start()?.start;
        Ok([
            grouped(queues as f64),
            kind.title().to_owned(),
            filled.unwrap_or_default(),
            rate(pull.median.messages_per_second),
            rate(send.median.messages_per_second),
            seconds(clean.as_secs_f64()),
            seconds(killed.as_secs_f64()),
            megabytes(memory.resident as f64),
        ])
    }

    fn bench(
        &self,
        server: &Server,
        programs: &Programs,
        queues: u64,
        options: &[&str],
    ) -> Result<Report> {
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
