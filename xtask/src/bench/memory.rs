//! `cargo xtask bench memory`: what brokers take of memory, side by side.

use std::process::Command;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::load::{Connections, Report, Run, report};
use super::machine::drop_page_cache;
use super::server::{Home, Kind, Programs, Server, Settings};
use super::table::{Table, compared, grouped, megabytes};
use super::{Comparison, history, usage};
use crate::process::Result;

/// Time for a server to settle before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(3);
/// Seconds of reading through the history.
const READING: &str = "10s";
/// Queues of each topic, and messages in each of them.
const QUEUES: u32 = 8;
const MESSAGES: u32 = 32;

/// Options of `cargo xtask bench memory`.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// Idle connections; the system must allow as many open files
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// Seconds of load
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Messages a second of it, as many as both brokers take
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Topics of 8 queues
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    topics: u32,
    /// Commit log files of 1 GB each of the long history, sparse
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=1000))]
    files: u64,
    #[command(flatten)]
    comparison: Comparison,
}

/// What a row of the table shows of a server.
struct Number {
    title: String,
    number: f64,
    shown: fn(f64) -> String,
}

impl Memory {
    pub(super) fn run(self) -> Result<()> {
        let programs = self.comparison.programs()?;
        let (mut reference, mut kerolox) = (Vec::new(), Vec::new());
        for kind in programs.brokers() {
            eprintln!("== {}", kind.name());
            let mut numbers = self.at_work(kind, &programs)?;
            numbers.extend(self.with_history(kind, &programs)?);
            match kind {
                Kind::Reference => reference = numbers,
                Kind::Kerolox | Kind::Null => kerolox = numbers,
            }
        }
        let mut table = Table::new(["memory", "reference", "Kerolox", "Kerolox takes"]);
        for (at, ours) in kerolox.iter().enumerate() {
            let theirs = reference.get(at).map(|theirs| theirs.number);
            table.row(compared(&ours.title, theirs, Some(ours.number), ours.shown));
        }
        self.comparison.page.publish("bench memory", &table.text())
    }

    /// A server that starts with nothing.
    fn at_work(&self, kind: Kind, programs: &Programs) -> Result<Vec<Number>> {
        let home = Home::new(kind, programs)?;
        let server = Server::start(kind, programs, &home, &Settings::new())?;
        thread::sleep(SETTLE);
        let mut numbers = Vec::from(resident(&server, "idle")?);
        let each = Connections::measure(programs, &server, "remoting", self.connections)?;
        numbers.push(Number {
            title: format!(
                "for each of {} idle connections",
                grouped(self.connections.into())
            ),
            number: each.bytes_each,
            shown: |bytes| format!("{:.1} KB", bytes / 1e3),
        });
        let mut load = programs.bench(&server);
        load.args(["send", "--rate", &self.rate.to_string()]);
        load.args(["--warm-up", "0s", "--duration"]);
        load.arg(format!("{}s", self.seconds));
        pass(&mut load)?;
        let rate = grouped(self.rate.into());
        let loaded = format!("after {} s of {rate} msg/s", self.seconds);
        numbers.extend(resident(&server, &loaded)?);
        let mut topics = programs.bench(&server);
        topics.args(["pull", "--topic", "many", "--topics"]);
        topics.arg(self.topics.to_string());
        topics.args(["--queues", &QUEUES.to_string(), "--fill"]);
        topics.arg((self.topics * QUEUES * MESSAGES).to_string());
        topics.args(["--warm-up", "0s", "--duration", "5s"]);
        pass(&mut topics)?;
        let queues = grouped((self.topics * QUEUES).into());
        let topics = grouped(self.topics.into());
        let many = format!("with {queues} queues of {topics} topics more");
        numbers.extend(resident(&server, &many)?);
        Ok(numbers)
    }

    /// A server that starts with a long history, all of which is read from the disk.
    fn with_history(&self, kind: Kind, programs: &Programs) -> Result<Vec<Number>> {
        let home = Home::new(kind, programs)?;
        history::write(&home.store(), self.files)?;
        let server = Server::start(kind, programs, &home, &Settings::new())?;
        thread::sleep(SETTLE);
        let title = format!("{} GB of history", self.files);
        let mut numbers = Vec::from(resident(&server, &title)?);
        drop_page_cache();
        let queues = history::QUEUES.to_string();
        let mut reading = programs.bench(&server);
        reading.args(["pull", "--topic", history::TOPIC, "--queues", &queues]);
        reading.args(["--connections", &queues, "--fill", "0"]);
        reading.args(["--warm-up", "0s", "--duration", READING]);
        pass(&mut reading)?;
        let title = format!("{title}, all read");
        numbers.extend(resident(&server, &title)?);
        numbers.extend(for_files(&server, &title)?);
        Ok(numbers)
    }
}

/// Resident and private memory.
fn resident(server: &Server, when: &str) -> Result<[Number; 2]> {
    let memory = look(server)?;
    let of = |what: &str, bytes: u64| Number {
        title: format!("{when}: {what}"),
        number: bytes as f64,
        shown: megabytes,
    };
    Ok([
        of("resident", memory.resident),
        of("private", memory.private),
    ])
}

/// What a server has for its files.
fn for_files(server: &Server, when: &str) -> Result<[Number; 3]> {
    let memory = look(server)?;
    let of = |what: &str, number: u64, shown| Number {
        title: format!("{when}: {what}"),
        number: number as f64,
        shown,
    };
    Ok([
        of("page tables", memory.page_tables, megabytes),
        of("address space", memory.address_space, |bytes| {
            format!("{:.1} GB", bytes / 1e9)
        }),
        of("open files", memory.open_files, |files| {
            format!("{files:.0}")
        }),
    ])
}

fn look(server: &Server) -> Result<usage::Memory> {
    let memory = server.memory();
    memory.ok_or_else(|| "the system does not tell the memory of a process".to_owned())
}

/// Puts a load on a server.
fn pass(load: &mut Command) -> Result<()> {
    let Run {
        messages, errors, ..
    } = report::<Report>(load)?.median;
    // Until it is compiled, the reference may be too busy for some.
    eprintln!("   {} messages, refused: {errors:?}", grouped(messages));
    Ok(())
}
