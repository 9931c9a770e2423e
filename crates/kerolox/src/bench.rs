//! `kerolox bench`: puts load on any RocketMQ broker and measures it.
//!
//! The loads: sending, pulling what is stored, end to end (from a send to its receipt by a waiting
//! consumer), popping and acknowledging, the same in order, transactions, and messages with a
//! time of delivery. `overload` sends twice: as much as keeps the broker busy, and with ten times
//! the connections, to tell how much of its rate the broker keeps; `connections` sets up
//! connections and leaves them idle. A closed loop keeps a number of requests in flight; an open loop (`--rate`)
//! sends at fixed times and counts latencies from these times, so that a broker's stalls are not
//! left out. What comes before the end of the warm-up is not counted.
//!
//! `--null` runs a server that answers success to everything, to measure the load generator and
//! the sockets by themselves.

mod connections;
mod engine;
mod frames;
mod load;
mod null_server;
mod popping;
mod pulling;
mod queues;
mod report;
mod run;
mod sending;
mod setup;
mod socket;
mod tally;
mod together;
mod transacting;
mod watched_process;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use wire::frame::SerializeType;

use self::engine::Outcome;
use self::load::Load;
use self::report::{Fill, Overload, Report, RunReport};
use self::setup::{Found, Target};
use self::tally::Tally;
use self::watched_process::WatchedProcess;
use crate::client::{ClientError, ClusterArgs, OutputFormat, print_line};
use crate::error::CliError;

/// Options of `kerolox bench`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What to do
    #[arg(value_enum, default_value_t = Mode::Send)]
    mode: Mode,
    /// Address of the broker: host:port, unix:/path, or with a protocol as in ws://host:port
    /// [default: the first one that the name server knows]
    #[arg(long, value_name = "ADDRESS")]
    broker: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Topic; it is created, or changed to have --queues [default: kerolox_bench_MODE]
    #[arg(long)]
    topic: Option<String>,
    /// Consumer group that pulls; with pop and orderly what the groups' names begin with
    #[arg(long, default_value = "kerolox_bench")]
    group: String,
    /// Spread over so many topics, and send each request to the next queue
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    topics: Option<u32>,
    /// Queues of the topic, or of each topic
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    queues: u32,
    /// Connections; of each kind with e2e and timer [default: 8; pull, pop, orderly: 4; e2e: 1; connections: 1000]
    #[arg(short, long, value_name = "N")]
    connections: Option<usize>,
    /// Requests in flight on each connection [default: 256; transaction: 64; pop: 32; orderly: 2; pull: 1]
    #[arg(short, long, value_name = "N")]
    in_flight: Option<usize>,
    /// Threads of the load generator [default: the processors, or the connections if fewer]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Bytes of a message's body
    #[arg(short, long, value_name = "BYTES", default_value_t = 128)]
    body_size: usize,
    /// Messages a send request; more than one makes batches
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Send so many messages a second at fixed times (open loop) [default: e2e: 1000]
    #[arg(short, long, value_name = "N")]
    rate: Option<f64>,
    /// Messages wanted a pull or pop
    #[arg(short, long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_messages: u32,
    /// Messages that must be in the topic before pulling or popping; missing ones are sent first
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    fill: u64,
    /// Time from a send to the message's delivery, with timer
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    delay: Duration,
    /// With timer: send so many messages that are all due at one time, --delay from the start, and
    /// then measure for --duration how late they come
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    together: Option<u64>,
    /// Time before measuring begins: 500ms, 3s, 1m
    #[arg(short, long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    warm_up: Duration,
    /// Time of a run
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Runs, one after the other without a pause
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// How connections are set up, with connections
    #[arg(long, value_enum, default_value_t = connections::Protocol::Remoting)]
    protocol: connections::Protocol,
    /// How request headers are written
    #[arg(long, value_enum, default_value_t = Serialization::Rocketmq)]
    serialize: Serialization,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    /// Process of the server, to measure its processor time and memory as well (Linux)
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Run the null server instead: it answers success to everything
    #[arg(long)]
    null: bool,
    /// Where the null server listens
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:10999",
        requires = "null"
    )]
    listen: SocketAddr,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Sending
    Send,
    /// Pulling what is stored
    Pull,
    /// Sending to a waiting consumer: latency from send to receipt
    E2e,
    /// Popping what is stored, each message acknowledged by itself
    Pop,
    /// Popping each queue in order, each message acknowledged by itself
    Orderly,
    /// Sending half messages and committing them
    Transaction,
    /// Sending with a time of delivery to a waiting consumer: lateness of the receipt
    Timer,
    /// Sending, then sending on ten times the connections: the rate that is kept
    Overload,
    /// Setting up connections and keeping them idle: times, and memory with --server-pid
    Connections,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Pull => "pull",
            Self::E2e => "e2e",
            Self::Pop => "pop",
            Self::Orderly => "orderly",
            Self::Transaction => "transaction",
            Self::Timer => "timer",
            Self::Overload => "overload",
            Self::Connections => "connections",
        }
    }
}

/// How request headers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Serialization {
    /// Binary
    Rocketmq,
    /// JSON, as the Java client does by default
    Json,
}

impl From<Serialization> for SerializeType {
    fn from(serialization: Serialization) -> Self {
        match serialization {
            Serialization::Rocketmq => Self::RocketMq,
            Serialization::Json => Self::Json,
        }
    }
}

/// Reads a time: a number with `ms`, `s` or `m`; without unit seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: write 500ms, 10s or 1m");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1000.0,
        "s" | "" => number,
        "m" => number * 60.0,
        _ => return Err(wrong()),
    };
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err(format!("`{text}` is not between 0 and a day"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Runs the load, or the null server, and prints the result.
pub(crate) async fn run(args: Args) -> Result<(), CliError> {
    let load = Load::new(&args)?;
    if args.null {
        let server = null_server::start(args.listen, args.body_size)
            .await
            .map_err(ClientError::from)?;
        let address = server.local_addr();
        let _ = print_line(&format!(
            "the null server listens on {address}; Ctrl-C ends it"
        ))?;
        let _ = tokio::signal::ctrl_c().await;
        return Ok(());
    }
    let target = match &args.broker {
        Some(address) => Target::at(address, &args.cluster)?,
        None => Target::find(&args.cluster).await?,
    };
    if args.mode == Mode::Connections {
        let server = args.server_pid.map(WatchedProcess::new).transpose()?;
        let count = args.connections.unwrap_or(1000);
        let measured = connections::measure(target.address(), args.protocol, count, server).await?;
        let text = printed(&measured, args.output, connections::Report::table);
        let _ = print_line(text.trim_end())?;
        return Ok(());
    }
    target.create_topics(&load.queues).await?;
    let mut found = Found::default();
    if !matches!(load.mode, Mode::Send | Mode::Transaction | Mode::Overload) {
        found.stored = target.stored(&load.queues).await?;
    }
    if matches!(load.mode, Mode::Pop | Mode::Orderly) {
        found.broker_name = target.broker_name().await?;
    }
    target.close().await;

    let address = target.address();
    let report = measure(&load, address, &found).await?;
    let text = if load.mode == Mode::Overload {
        let overloaded = measure(&load.many_times(), address, &found).await?;
        printed(
            &Overload::new(report, overloaded),
            args.output,
            Overload::table,
        )
    } else {
        printed(&report, args.output, Report::table)
    };
    let _ = print_line(text.trim_end())?;
    Ok(())
}

/// A result in the form that is wanted.
fn printed<R: Serialize>(report: &R, output: OutputFormat, table: fn(&R) -> String) -> String {
    match output {
        OutputFormat::Table => table(report),
        OutputFormat::Json => serde_json::to_string_pretty(report).unwrap_or_default(),
    }
}

/// Puts the load on the broker.
async fn measure(load: &Load, address: &str, found: &Found) -> Result<Report, ClientError> {
    let work = {
        let (load, address, found) = (load.clone(), address.to_owned(), found.clone());
        tokio::task::spawn_blocking(move || load.run(&address, &found))
    };
    let (fill, outcome) = with_progress(load, work).await?;
    Ok(report(load, address.to_owned(), fill, outcome))
}

/// Waits for the load, telling on a terminal how far it has come.
async fn with_progress(
    load: &Load,
    work: tokio::task::JoinHandle<Result<(Option<Fill>, Outcome), ClientError>>,
) -> Result<(Option<Fill>, Outcome), ClientError> {
    let shown = std::io::stderr().is_terminal();
    let total = load.warm_up + load.duration * load.runs;
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    tokio::pin!(work);
    let mut passed = 0;
    let outcome = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = seconds.tick(), if shown => {
                eprint!("\r{passed} s of {} s ", total.as_secs());
                passed += 1;
            }
        }
    };
    if shown {
        eprint!("\r{:30}\r", "");
    }
    outcome.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}

fn report(load: &Load, broker: String, fill: Option<Fill>, (tallies, remarks): Outcome) -> Report {
    let seconds = load.duration.as_secs_f64();
    let run = |tally: &Tally| RunReport::new(tally, seconds);
    Report {
        mode: load.mode.name(),
        broker,
        topic: load.queues.topic.clone(),
        queues: load.queues.count(),
        fill,
        connections: load.connections,
        in_flight: load.in_flight,
        threads: load.threads,
        serialize: load.pulls.serialize.name(),
        body_size: load.body_size,
        batch: load.batch,
        max_messages: load.pulls.max_messages,
        rate: load.rate,
        runs: tallies.iter().map(run).collect(),
        median: None,
        remarks,
    }
    .with_median()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn load(line: &str) -> Result<Load, String> {
        let words = ["bench"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Load::new(&line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn each_mode_has_its_defaults() {
        let load = |line| load(line).expect("good options");
        let send = load("");
        assert_eq!(
            (send.connections, send.in_flight, send.rate),
            (8, 256, None)
        );
        let pull = load("pull --body-size 1024");
        assert_eq!((pull.connections, pull.in_flight), (4, 1));
        // Bodies of another size are not taken for those that are wanted.
        assert_eq!(pull.queues.topic, "kerolox_bench_pull_1024");
        let e2e = load("e2e");
        assert_eq!((e2e.connections, e2e.rate), (1, Some(1000.0)));
        let many = load("overload --in-flight 64").many_times();
        assert_eq!((many.connections, many.in_flight), (80, 64));
    }

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        for (line, named) in [
            ("--connections 0", "--connections"),
            ("--in-flight 0", "--in-flight"),
            ("--connections 10001", "--connections"),
            ("--body-size 0", "--body-size"),
            ("--body-size 100000 --batch 10000", "--batch"),
            ("pull --rate 5", "--rate"),
            ("pop --rate 5", "--rate"),
            ("orderly --max-messages 33", "--max-messages"),
            ("timer --body-size 15", "--body-size"),
            ("transaction --batch 2", "--batch"),
            ("e2e --together 5", "--together"),
            ("--rate 0", "--rate"),
            ("--rate NaN", "--rate"),
            ("e2e --body-size 15", "--body-size"),
            ("e2e --batch 2", "--batch"),
            ("e2e --topics 2", "--topics"),
            ("overload --connections 1001", "--connections"),
            ("overload --rate 5", "--rate"),
            ("--duration 0s", "--duration"),
            ("--duration ten", "--duration"),
            ("--warm-up 5h", "--warm-up"),
            ("--listen 127.0.0.1:1", "--null"),
            ("--server-pid 4294967295", "--server-pid"),
        ] {
            match load(line) {
                Ok(load) => panic!("`{line}` became {load:?}"),
                Err(error) => assert!(error.contains(named), "`{line}`: {error}"),
            }
        }
    }

    #[test]
    fn times_are_read_in_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("-1s").is_err());
        assert!(duration("").is_err());
    }
}
