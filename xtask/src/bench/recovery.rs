//! `cargo xtask bench recovery`: how long a broker takes until it serves what is stored.

use std::net::SocketAddr;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::header::pull::PullMessageRequest;
use wire::header::send::SendMessageRequest;
use wire::message::sys_flag;

use super::load::{Report, report};
use super::machine::drop_page_cache;
use super::server::{Home, Kind, Programs, Server, Settings};
use super::table::{Table, compared, grouped, seconds};
use super::{Comparison, median};
use crate::network::ask;
use crate::process::{Process, Result};

/// The topic that the store is filled with.
const TOPIC: &str = "recovery";
/// Bytes of a body.
const BODY: u64 = 1024;
/// Bytes that a message with such a body takes in the log, about.
const RECORD: u64 = 1240;
/// How long a server is under load before it is killed.
const LOAD: Duration = Duration::from_secs(3);

/// Options of `cargo xtask bench recovery`.
#[derive(Debug, Args)]
pub(crate) struct Recovery {
    /// Sizes of the stores, in GB, the smallest first
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10])]
    gigabytes: Vec<u64>,
    /// Starts after each kind of end
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Messages a second of the load that both brokers are killed under
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    #[command(flatten)]
    comparison: Comparison,
}

/// How a broker ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// By itself, when it is told to.
    Clean,
    /// Killed under the same load as the other one.
    Killed,
    /// Killed under as much as it takes.
    KilledBusy,
}

const ENDS: [End; 3] = [End::Clean, End::Killed, End::KilledBusy];

/// Times from a start to the first message sent and pulled, in seconds.
struct Starts {
    kind: Kind,
    gigabytes: u64,
    end: End,
    middle: f64,
}

impl Recovery {
    pub(super) fn run(self) -> Result<()> {
        let programs = self.comparison.programs()?;
        let mut all = Vec::new();
        for kind in programs.brokers() {
            self.measure(kind, &programs, &mut all)?;
        }
        let mut table = Table::new(["store", "reference", "Kerolox", "Kerolox takes"]);
        for gigabytes in &self.gigabytes {
            for end in ENDS {
                let ended = match end {
                    End::Clean => "stopped".to_owned(),
                    End::Killed => format!("killed at {} msg/s", grouped(self.rate.into())),
                    End::KilledBusy => "killed at all it takes".to_owned(),
                };
                let of = |kind: Kind| {
                    let mut all = all.iter();
                    let wanted = |starts: &&Starts| {
                        (starts.kind, starts.gigabytes, starts.end) == (kind, *gigabytes, end)
                    };
                    all.find(wanted).map(|starts| starts.middle)
                };
                table.row(compared(
                    &format!("{gigabytes} GB, {ended}"),
                    of(Kind::Reference),
                    of(Kind::Kerolox),
                    seconds,
                ));
            }
        }
        let cold = if drop_page_cache() {
            "Nothing of the stores is in memory before a start."
        } else {
            "The stores are in memory as far as there is room: the system does not let us drop them."
        };
        let text = format!(
            "{}\nTime until a message is sent and one is pulled, medians of {} starts. {cold}",
            table.text(),
            self.runs
        );
        self.comparison.page.publish("bench recovery", &text)
    }

    fn measure(&self, kind: Kind, programs: &Programs, all: &mut Vec<Starts>) -> Result<()> {
        let home = Home::new(kind, programs)?;
        let start = || Server::start(kind, programs, &home, &Settings::new());
        let mut server = start()?;
        for &gigabytes in &self.gigabytes {
            eprintln!("== {}: {gigabytes} GB", kind.name());
            let messages = gigabytes * 1_000_000_000 / RECORD;
            let mut fill = programs.bench(&server);
            fill.args(["pull", "--topic", TOPIC, "--connections", "1"]);
            fill.args(["--body-size", &BODY.to_string()]);
            fill.args(["--fill", &messages.to_string()]);
            fill.args(["--warm-up", "0s", "--duration", "100ms"]);
            eprintln!("   {:?}", report::<Report>(&mut fill)?.fill);
            for end in ENDS {
                let mut times = Vec::new();
                for _ in 0..self.runs {
                    match end {
                        End::Clean => server.stop()?,
                        End::Killed => kill_under_load(programs, server, Some(self.rate))?,
                        End::KilledBusy => kill_under_load(programs, server, None)?,
                    }
                    drop_page_cache();
                    server = start()?;
                    let address = server.address;
                    let time = server.time_until("the broker serves", || serves(address))?;
                    times.push(time.as_secs_f64());
                }
                eprintln!("   {end:?}: {times:.3?}");
                all.push(Starts {
                    kind,
                    gigabytes,
                    end,
                    middle: median(times),
                });
            }
        }
        Ok(())
    }
}

/// Kills a server while it gets messages, so many a second or as many as it takes.
fn kill_under_load(programs: &Programs, server: Server, rate: Option<u32>) -> Result<()> {
    let mut load = programs.bench(&server);
    load.args(["send", "--connections", "4", "--in-flight", "128"]);
    load.args(["--body-size", &BODY.to_string(), "--duration", "60s"]);
    if let Some(rate) = rate {
        load.args(["--rate", &rate.to_string()]);
    }
    let load = load.stdout(Stdio::null()).stderr(Stdio::null());
    let load = Process::spawn(load)?;
    thread::sleep(LOAD);
    drop(server);
    drop(load);
    Ok(())
}

/// Whether a broker takes a message and gives one.
fn serves(address: SocketAddr) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let send = SendMessageRequest {
        producer_group: TOPIC.into(),
        topic: TOPIC.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 8,
        born_timestamp: now.unwrap_or_default().as_millis() as i64,
        ..SendMessageRequest::default()
    };
    let pull = PullMessageRequest {
        consumer_group: TOPIC.into(),
        topic: TOPIC.into(),
        max_msg_nums: 32,
        sys_flag: sys_flag::pull::SUBSCRIPTION,
        subscription: Some("*".into()),
        ..PullMessageRequest::default()
    };
    let success = Some(ResponseCode::Success as i32);
    ask(address, RequestCode::SendMessage, &send, b"served") == success
        && ask(address, RequestCode::PullMessage, &pull, b"") == success
}
