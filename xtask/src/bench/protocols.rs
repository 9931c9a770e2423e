//! `cargo xtask bench protocols`: the protocols of the remoting layer beside each other, on
//! Kerolox alone.
//!
//! What is compared takes turns, and each second round goes the other way round: so a machine
//! that becomes slower or faster meanwhile is so for all. A ratio is the median of those of the
//! rounds.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::load::{Connections, Report, Run, report};
use super::median;
use super::page::Page;
use super::server::{Home, Kind, Programs, Server, Settings};
use super::table::{Table, grouped, rate, time};
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
    #[command(flatten)]
    page: Page,
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
        let tables = [
            self.rates(&programs)?,
            self.set_ups(&programs)?,
            self.memories(&programs)?,
        ];
        self.page.publish("bench protocols", &tables.concat())
    }

    /// Rates of sending, and what finding out the protocol of a connection costs.
    fn rates(&self, programs: &Programs) -> Result<String> {
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
        let mut by_protocol = Table::new([
            "pipelined send, 8 connections × 256 in flight",
            "rate",
            "of TCP's",
            "wanted",
            "processor of the server",
            "of the client",
        ]);
        let load = ["--connections", "8", "--in-flight", "256"];
        let measured = self.rounds_of(&ways, programs, &server, &load)?;
        for (way, runs) in ways.iter().zip(&measured) {
            let wanted = way.wanted.map(|wanted| wanted.to_string());
            by_protocol.row([
                way.title.to_owned(),
                rate(median(runs.rate.clone())),
                format!("{:.2}", runs.ratio(&measured[0], |runs| &runs.rate)),
                wanted.unwrap_or_default(),
                time(median(runs.server.clone())),
                time(median(runs.client.clone())),
            ]);
        }
        let ways = [
            way("remoting alone", format!("127.0.0.1:{pinned}"), None),
            way("any", server.address.to_string(), None),
        ];
        let mut by_port = Table::new([
            "what the port speaks",
            "load",
            "rate",
            "of remoting alone",
            "p50",
            "of remoting alone",
        ]);
        for (load, connections, in_flight) in [("8 × 256", "8", "256"), ("64 × 1", "64", "1")] {
            let options = ["--connections", connections, "--in-flight", in_flight];
            let measured = self.rounds_of(&ways, programs, &server, &options)?;
            for (way, runs) in ways.iter().zip(&measured) {
                by_port.row([
                    way.title.to_owned(),
                    load.to_owned(),
                    rate(median(runs.rate.clone())),
                    format!("{:.3}", runs.ratio(&measured[0], |runs| &runs.rate)),
                    time(median(runs.p50.clone())),
                    format!("{:.3}", runs.ratio(&measured[0], |runs| &runs.p50)),
                ]);
            }
        }
        Ok(by_protocol.text() + "\n" + &by_port.text())
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
                let run = report::<Report>(&mut bench)?.median;
                eprintln!(
                    "   round {round}, {title}: {}",
                    rate(run.messages_per_second)
                );
                all[at].add(&run)?;
            }
        }
        Ok(all)
    }

    /// The time that connections take to be set up, and the memory of idle ones.
    fn set_ups(&self, programs: &Programs) -> Result<String> {
        let connections = grouped(self.connections.into());
        let mut table = Table::new([
            &*format!("{connections} connections"),
            "set-up p50",
            "p99",
            "wanted",
            "memory of an idle one",
            "wanted",
        ]);
        for (protocol, title, wanted) in SET_UPS {
            let home = Home::new(Kind::Kerolox, programs)?;
            // Idle ones are kept.
            let idle = ("serverChannelMaxIdleTimeSeconds".to_owned(), "0".to_owned());
            let server = Server::start(Kind::Kerolox, programs, &home, &[idle].into())?;
            let measured = Connections::measure(programs, &server, protocol, self.connections)?;
            let row = table.row([
                title.to_owned(),
                time(measured.set_up_us.p50),
                format!("{:.2} ms", measured.set_up_us.p99 / 1000.0),
                format!("{wanted} ms"),
                format!("{:.1} KB", measured.bytes_each / 1000.0),
                format!("{} KB", IDLE_WANTED / 1000),
            ]);
            eprint!("   {row}");
        }
        Ok("\n".to_owned() + &table.text())
    }

    /// What each protocol takes that nobody speaks.
    fn memories(&self, programs: &Programs) -> Result<String> {
        let mut private: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for _ in 0..self.rounds {
            for protocols in MEMORIES {
                let home = Home::new(Kind::Kerolox, programs)?;
                let setting = ("kerolox.protocols".to_owned(), protocols.to_owned());
                let settings = Settings::from([setting]);
                let server = Server::start(Kind::Kerolox, programs, &home, &settings)?;
                thread::sleep(SETTLE);
                let memory = server.memory().ok_or("the system tells no memory")?;
                let bytes = memory.private as f64;
                private.entry(protocols).or_default().push(bytes);
            }
        }
        let private = MEMORIES.map(|protocols| median(private[protocols].clone()));
        let mut table = Table::new([
            "protocols that are on, nobody connected",
            "private memory",
            "more than remoting alone",
            "wanted",
        ]);
        let shown = |bytes: f64| format!("{:.2} MB", bytes / 1e6);
        for (protocols, bytes) in MEMORIES.into_iter().zip(private) {
            table.row([
                protocols.replace(',', ", "),
                shown(bytes),
                shown(bytes - private[0]),
                "1 MB".to_owned(),
            ]);
        }
        Ok("\n".to_owned() + &table.text())
    }
}

impl Runs {
    /// Takes the numbers of a run.
    fn add(&mut self, run: &Run) -> Result<()> {
        let [server, client] = run.of_both()?;
        self.rate.push(run.messages_per_second);
        self.p50.push(run.latency_us.p50);
        self.server.push(server);
        self.client.push(client);
        Ok(())
    }

    /// How the numbers compare with those of another way, round by round.
    fn ratio(&self, other: &Self, numbers: fn(&Self) -> &Vec<f64>) -> f64 {
        let rounds = numbers(self).iter().zip(numbers(other));
        median(rounds.map(|(ours, theirs)| ours / theirs).collect())
    }
}
