//! `cargo xtask bench protocols`: the protocols of the remoting layer beside each other, on
//! Kerolox alone.
//!
//! What is compared takes turns, and each second round goes the other way round: so a machine
//! that becomes slower or faster meanwhile is so for all. A ratio is the median of those of the
//! rounds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::server::{Home, Kind, Programs, Server, Settings};
use super::table::{grouped, or_dash, time};
use super::{median, publish, report};
use crate::network::free_ports;
use crate::process::Result;

/// Time for a server to settle before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(4);

/// Options of `cargo xtask bench protocols`.
#[derive(Debug, Args)]
pub(crate) struct Protocols {
    /// Rounds; in each every protocol has its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Idle connections of each protocol; the system must allow as many open files
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// Put the tables into docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

/// One way to the same broker, measured against the first one.
struct Way {
    title: &'static str,
    /// Address of the broker.
    address: String,
    /// The least of the first one's rate that is wanted.
    wanted: Option<f64>,
}

/// What the runs of a way came to, one number a round.
#[derive(Default)]
struct Runs {
    rate: Vec<f64>,
    p50: Vec<f64>,
    server: Vec<f64>,
    client: Vec<f64>,
}

/// A protocol that connections are set up by: its name for `kerolox bench connections`, its title,
/// and the most milliseconds that are wanted.
const SET_UPS: [(&str, &str, u32); 5] = [
    ("remoting", "TCP", 1),
    ("websocket", "WebSocket", 1),
    ("http2", "HTTP/2", 1),
    ("tls", "TLS 1.3", 5),
    ("tls-resumed", "TLS 1.3, resumed", 3),
];

/// Bytes that an idle connection may take.
const IDLE_WANTED: u32 = 12_000;

/// What is on when the memory of protocols is measured.
const MEMORIES: [&str; 4] = [
    "remoting",
    "remoting,tls",
    "remoting,websocket",
    "remoting,http2",
];

impl Protocols {
    pub(super) fn run(self) -> Result<()> {
        let programs = Programs::ready(false)?;
        let mut table = String::new();
        self.rates(&programs, &mut table)?;
        self.set_ups(&programs, &mut table)?;
        self.memories(&programs, &mut table)?;
        publish("bench protocols", &table, self.write)
    }

    /// Rates of sending, and what finding out the protocol of a connection costs.
    fn rates(&self, programs: &Programs, table: &mut String) -> Result<()> {
        let home = Home::new(Kind::Kerolox, programs)?;
        let (pinned, unix) = (free_ports(1)?, home.path("remoting.sock"));
        let unix = format!("unix:{}", unix.display());
        let listeners = format!("127.0.0.1:{pinned}=remoting, {unix}=remoting");
        let settings = Settings::from([("kerolox.listeners".to_owned(), listeners)]);
        let server = Server::start(Kind::Kerolox, programs, &home, &settings)?;
        let way = |title, address, wanted| Way {
            title,
            address,
            wanted,
        };
        let by = |scheme: &str| format!("{scheme}://{}", server.address);
        let ways = [
            way("TCP", server.address.to_string(), None),
            way("WebSocket", by("ws"), Some(0.85)),
            way("HTTP/2", by("h2"), Some(0.6)),
            way("TLS 1.3", by("tls"), Some(0.7)),
            way("Unix socket", unix, Some(1.0)),
        ];
        table.push_str("| pipelined send, 8 connections × 256 in flight | rate | of TCP's | wanted | processor of the server | of the client |\n|---|---|---|---|---|---|\n");
        let load = ["--connections", "8", "--in-flight", "256"];
        let measured = self.rounds_of(&ways, programs, &server, &load)?;
        for (way, runs) in ways.iter().zip(&measured) {
            let ratio = runs.ratio(&measured[0], |runs| &runs.rate);
            let wanted = way.wanted.map(|wanted| format!("{wanted}"));
            let _ = writeln!(
                table,
                "| {} | {} msg/s | {ratio:.2} | {} | {} | {} |",
                way.title,
                grouped(median(runs.rate.clone())),
                or_dash(wanted.unwrap_or_default()),
                time(median(runs.server.clone())),
                time(median(runs.client.clone())),
            );
        }
        let ways = [
            way("remoting alone", format!("127.0.0.1:{pinned}"), None),
            way("any", server.address.to_string(), None),
        ];
        table.push_str("\n| what the port speaks | load | rate | of remoting alone | p50 | of remoting alone |\n|---|---|---|---|---|---|\n");
        for (load, connections, in_flight) in [("8 × 256", "8", "256"), ("64 × 1", "64", "1")] {
            let options = ["--connections", connections, "--in-flight", in_flight];
            let measured = self.rounds_of(&ways, programs, &server, &options)?;
            for (way, runs) in ways.iter().zip(&measured) {
                let _ = writeln!(
                    table,
                    "| {} | {load} | {} msg/s | {:.3} | {} | {:.3} |",
                    way.title,
                    grouped(median(runs.rate.clone())),
                    runs.ratio(&measured[0], |runs| &runs.rate),
                    time(median(runs.p50.clone())),
                    runs.ratio(&measured[0], |runs| &runs.p50),
                );
            }
        }
        Ok(())
    }

    /// Sends by each way in turn.
    fn rounds_of(
        &self,
        ways: &[Way],
        programs: &Programs,
        server: &Server,
        load: &[&str],
    ) -> Result<Vec<Runs>> {
        let mut all: Vec<Runs> = ways.iter().map(|_| Runs::default()).collect();
        for round in 1..=self.rounds {
            let mut order: Vec<usize> = (0..ways.len()).collect();
            if round % 2 == 0 {
                order.reverse();
            }
            for at in order {
                let Way { title, address, .. } = &ways[at];
                let mut bench = Command::new(&programs.kerolox);
                bench.args(["bench", "send", "--output", "json", "--warm-up", "1s"]);
                bench.args(["--broker", address]).args(load);
                bench.args(["--duration", &format!("{}s", self.seconds)]);
                bench.args(["--server-pid", &server.process().to_string()]);
                let run = report(&mut bench)?["median"].take();
                let rate = all[at].add(&run)?;
                eprintln!("   round {round}, {title}: {} msg/s", grouped(rate));
            }
        }
        Ok(all)
    }

    /// The time that connections take to be set up, and the memory of idle ones.
    fn set_ups(&self, programs: &Programs, table: &mut String) -> Result<()> {
        let _ = writeln!(
            table,
            "\n| {} connections | set-up p50 | p99 | wanted | memory of an idle one | wanted |\n|---|---|---|---|---|---|",
            grouped(self.connections.into())
        );
        for (protocol, title, wanted) in SET_UPS {
            let home = Home::new(Kind::Kerolox, programs)?;
            // Idle ones are kept.
            let idle = ("serverChannelMaxIdleTimeSeconds".to_owned(), "0".to_owned());
            let server = Server::start(Kind::Kerolox, programs, &home, &[idle].into())?;
            let mut bench = programs.bench(&server);
            bench.args(["connections", "--protocol", protocol]);
            bench.args(["--connections", &self.connections.to_string()]);
            bench.args(["--server-pid", &server.process().to_string()]);
            let measured = report(&mut bench)?;
            let number = |value: &Value| value.as_f64().ok_or("a number is missing");
            let set_up = |name: &str| number(&measured["set_up_us"][name]);
            let row = format!(
                "| {title} | {} | {:.2} ms | {wanted} ms | {:.1} KB | {} KB |\n",
                time(set_up("p50")?),
                set_up("p99")? / 1000.0,
                number(&measured["bytes_each"])? / 1000.0,
                IDLE_WANTED / 1000
            );
            eprint!("   {row}");
            table.push_str(&row);
        }
        Ok(())
    }

    /// What each protocol takes that nobody speaks.
    fn memories(&self, programs: &Programs, table: &mut String) -> Result<()> {
        let mut private: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for _ in 0..self.rounds {
            for protocols in MEMORIES {
                let home = Home::new(Kind::Kerolox, programs)?;
                let setting = ("kerolox.protocols".to_owned(), protocols.to_owned());
                let settings = Settings::from([setting]);
                let server = Server::start(Kind::Kerolox, programs, &home, &settings)?;
                thread::sleep(SETTLE);
                let [_, bytes] = server.memory().ok_or("the system tells no memory")?;
                private.entry(protocols).or_default().push(bytes as f64);
            }
        }
        let private: BTreeMap<_, _> = private
            .into_iter()
            .map(|(protocols, all)| (protocols, median(all)))
            .collect();
        table.push_str("\n| protocols that are on, nobody connected | private memory | more than remoting alone | wanted |\n|---|---|---|---|\n");
        let alone = private[MEMORIES[0]];
        for protocols in MEMORIES {
            let bytes = private[protocols];
            let _ = writeln!(
                table,
                "| {} | {:.2} MB | {:.2} MB | 1 MB |",
                protocols.replace(',', ", "),
                bytes / 1e6,
                (bytes - alone) / 1e6
            );
        }
        Ok(())
    }
}

impl Runs {
    /// Takes the numbers of a run; its rate.
    fn add(&mut self, run: &Value) -> Result<f64> {
        let number = |value: &Value| value.as_f64().ok_or("a number is missing");
        let rate = number(&run["messages_per_second"])?;
        self.rate.push(rate);
        self.p50.push(number(&run["latency_us"]["p50"])?);
        self.server
            .push(number(&run["server"]["cpu_us_per_message"])?);
        self.client.push(number(&run["own_cpu_us_per_message"])?);
        Ok(rate)
    }

    /// How the numbers compare with those of another way, round by round.
    fn ratio(&self, other: &Self, numbers: fn(&Self) -> &Vec<f64>) -> f64 {
        let rounds = numbers(self).iter().zip(numbers(other));
        median(rounds.map(|(ours, theirs)| ours / theirs).collect())
    }
}
