//! The load that the options ask for, and how it is run.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use wire::code::ResponseCode;

use super::engine::{Clock, Lane, Outcome, Pace, Work, drive};
use super::frames::Frames;
use super::pulling::{Following, Pulls};
use super::queues::Queues;
use super::report::Fill;
use super::sending::{STAMP_SIZE, Sending, Sends};
use super::server_process::ServerProcess;
use super::setup::Stored;
use super::tally::Runs;
use super::{Args, Mode};
use crate::client::ClientError;

/// How long messages of the last run may take to come, end to end.
const LAST_RECEIPTS: Duration = Duration::from_secs(2);
/// Messages in flight while queues are filled, at most.
const FILL_IN_FLIGHT: usize = 1024;
/// Rest of a server that was too busy.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// Requests in flight on each connection of an open loop, at most.
const OPEN_LOOP_IN_FLIGHT: usize = 1024;

/// The load, with all defaults decided.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) mode: Mode,
    pub(super) queues: Queues,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) threads: usize,
    pub(super) body_size: usize,
    pub(super) batch: u32,
    pub(super) rate: Option<f64>,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) runs: u32,
    pub(super) fill: u64,
    pub(super) pulls: Pulls,
    /// Tells this load's messages from others.
    pub(super) mark: u64,
    /// The server's process, to be watched.
    pub(super) server: Option<ServerProcess>,
}

impl Load {
    /// The load that the options ask for.
    ///
    /// # Errors
    /// Options that don't go together or are out of range.
    pub(super) fn new(args: &Args) -> Result<Self, ClientError> {
        let wrong = |text: &str| Err(ClientError::Argument(text.to_owned()));
        let mode = args.mode;
        let connections = args.connections.unwrap_or(match mode {
            Mode::Send => 8,
            Mode::Pull => 4,
            Mode::E2e => 1,
        });
        let rate = args.rate.or((mode == Mode::E2e).then_some(1000.0));
        let in_flight = args.in_flight.unwrap_or(match (mode, rate) {
            (Mode::Pull, _) => 1,
            (_, Some(_)) => OPEN_LOOP_IN_FLIGHT,
            (_, None) => 256,
        });
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = args.threads.unwrap_or(processors).min(connections);
        if connections == 0 || in_flight == 0 || threads == 0 {
            return wrong("--connections, --in-flight and --threads must be at least 1");
        }
        if connections > 10_000 || connections.saturating_mul(in_flight) > 10_000_000 {
            return wrong("--connections is at most 10000, and times --in-flight at most 10000000");
        }
        if mode == Mode::Pull && rate.is_some() {
            return wrong("--rate goes with send and e2e, not with pull");
        }
        if rate.is_some_and(|rate| !(0.1..=1e8).contains(&rate)) {
            return wrong("--rate must be between 0.1 and 100000000");
        }
        if mode == Mode::E2e && args.batch > 1 {
            return wrong("--batch goes with send, not with e2e");
        }
        if mode == Mode::E2e && args.body_size < STAMP_SIZE {
            return wrong(
                "--body-size must be at least 16 with e2e: the time of sending is in there",
            );
        }
        let request_size = args
            .body_size
            .saturating_add(100)
            .saturating_mul(args.batch as usize);
        if args.body_size == 0 || request_size > wire::frame::MAX_FRAME_SIZE / 2 {
            return wrong("--body-size must be at least 1, and times --batch at most 8 MB");
        }
        if mode == Mode::E2e && args.topics.is_some() {
            return wrong("--topics goes with send and pull, not with e2e");
        }
        if args.duration.is_zero() {
            return wrong("--duration must be more than 0");
        }
        let topic = args.topic.clone().unwrap_or_else(|| match mode {
            Mode::Pull => format!("kerolox_bench_pull_{}", args.body_size),
            _ => format!("kerolox_bench_{}", mode.name()),
        });
        let queues = Queues {
            topic,
            topics: args.topics,
            of_topic: args.queues,
        };
        Ok(Self {
            mode,
            queues: queues.clone(),
            connections,
            in_flight,
            threads,
            body_size: args.body_size,
            batch: args.batch,
            rate,
            warm_up: args.warm_up,
            duration: args.duration,
            runs: args.runs,
            fill: args.fill,
            pulls: Pulls {
                serialize: args.serialize.into(),
                queues,
                group: args.group.clone(),
                max_messages: args.max_messages,
                hold: mode == Mode::E2e,
            },
            mark: RandomState::new().build_hasher().finish(),
            server: args.server_pid.map(ServerProcess::new).transpose()?,
        })
    }

    /// Puts the load on a broker. Takes as long as the warm-up and all runs.
    pub(super) fn run(
        &self,
        address: &str,
        stored: &[Stored],
    ) -> Result<(Option<Fill>, Outcome), ClientError> {
        Ok(match self.mode {
            Mode::Send => (None, send(self, address)?),
            Mode::Pull => {
                let messages = |queue: &Stored| queue.end.saturating_sub(queue.begin);
                let fill = fill(self, address, stored.iter().map(messages).sum())?;
                (fill, pull(self, address, stored)?)
            }
            Mode::E2e => (None, end_to_end(self, address, stored)?),
        })
    }

    /// Does the work while the server's process is watched, if that is wanted.
    fn watched(
        &self,
        clock: Clock,
        runs: &Runs,
        work: impl FnOnce() -> Result<Outcome, ClientError>,
    ) -> Result<Outcome, ClientError> {
        thread::scope(|scope| {
            let server = self.server;
            let watch = server.map(|server| scope.spawn(move || server.watch(clock, runs)));
            let mut outcome = work()?;
            let usages = watch.map(joined).unwrap_or_default();
            for (tally, usage) in outcome.0.iter_mut().zip(usages) {
                tally.server = Some(usage);
            }
            Ok(outcome)
        })
    }

    fn sends(&self, batch: u32) -> Sends {
        Sends {
            serialize: self.pulls.serialize,
            queues: self.queues.clone(),
            body_size: self.body_size,
            batch,
            mark: self.mark,
            stamped: self.mode == Mode::E2e,
        }
    }

    /// The runs of a load that begins now.
    fn runs(&self, clock: Clock) -> Runs {
        Runs {
            start: clock.now() + self.warm_up.as_nanos() as u64,
            length: self.duration.as_nanos() as u64,
            count: self.runs as usize,
        }
    }

    /// The pace of load thread `number` of `threads`.
    fn pace(&self, clock: Clock, number: usize, threads: usize) -> Pace {
        let Some(rate) = self.rate else {
            return Pace::Closed;
        };
        let step = 1e9 * f64::from(self.batch) / rate;
        Pace::Open {
            interval: step * threads as f64,
            first: clock.now() as f64 + step * number as f64,
        }
    }
}

fn connect<W: Work>(address: &str, frames: Frames, work: W) -> Result<Lane<W>, ClientError> {
    Ok(Lane::new(TcpStream::connect(address)?, frames, work)?)
}

fn send(load: &Load, address: &str) -> Result<Outcome, ClientError> {
    let sends = load.sends(load.batch);
    let lanes = (0..load.connections).map(|lane| {
        let (frames, work) = sends.lane(lane, load.connections, load.in_flight);
        connect(address, frames, work)
    });
    let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
    let clock = Clock::start();
    let runs = load.runs(clock);
    load.watched(clock, &runs, || {
        drive_all(lanes, load.threads, clock, &runs, |number, threads| {
            load.pace(clock, number, threads)
        })
    })
}

fn pull(load: &Load, address: &str, stored: &[Stored]) -> Result<Outcome, ClientError> {
    let queue = |number: usize| {
        let stored = stored[number % stored.len()];
        (stored.queue, stored.begin)
    };
    let lanes = (0..load.connections).map(|lane| {
        let queues: Vec<_> = match load.queues.topics {
            None => {
                let first = lane * load.in_flight;
                (first..first + load.in_flight).map(queue).collect()
            }
            // Each connection has its share of the queues.
            Some(_) => (lane..stored.len().max(lane + 1))
                .step_by(load.connections)
                .map(queue)
                .collect(),
        };
        let (frames, work) = load.pulls.reading(&queues, load.in_flight);
        connect(address, frames, work)
    });
    let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
    let clock = Clock::start();
    let runs = load.runs(clock);
    load.watched(clock, &runs, || {
        drive_all(lanes, load.threads, clock, &runs, |_, _| Pace::Closed)
    })
}

/// Sends what is missing in the queues. A server that is too busy gets the rest more slowly.
fn fill(load: &Load, address: &str, stored: u64) -> Result<Option<Fill>, ClientError> {
    let missing = load.fill.saturating_sub(stored);
    if missing == 0 {
        return Ok(None);
    }
    // Requests of up to about 256 KB; where there are many queues, neighbours in a queue shall
    // not be neighbours in the log.
    let batch = match load.queues.topics {
        None => (262_144 / (load.body_size + 100)).clamp(1, 32),
        Some(_) => 1,
    };
    let sends = load.sends(batch as u32);
    let mut slots = (load.queues.count() * 4).min(FILL_IN_FLIGHT / batch);
    let clock = Clock::start();
    let mut fill = Fill {
        seconds: 0.0,
        messages: 0,
        refused: 0,
    };
    while fill.messages < missing {
        let (frames, work) = sends.lane(0, 1, slots);
        let lane = connect(address, frames, work)?;
        let whole = Runs {
            start: 0,
            length: u64::MAX / 2,
            count: 1,
        };
        let requests = (missing - fill.messages).div_ceil(batch as u64);
        let (tallies, remarks) = drive(vec![lane], Clock::start(), whole, Pace::Count(requests))?;
        for tally in tallies {
            fill.messages += tally.messages;
            for (code, count) in tally.errors {
                if code != ResponseCode::SystemBusy as i32 {
                    return Err(ClientError::Refused {
                        address: address.to_owned(),
                        command: "to be filled with messages",
                        code,
                        remark: remarks.get(&code).cloned().unwrap_or_default(),
                    });
                }
                fill.refused += count;
                slots = (slots / 2).max(1);
                thread::sleep(BUSY_PAUSE);
            }
        }
    }
    fill.seconds = clock.now() as f64 / 1e9;
    Ok(Some(fill))
}

fn end_to_end(load: &Load, address: &str, stored: &[Stored]) -> Result<Outcome, ClientError> {
    let mut followers = Vec::new();
    for lane in 0..load.connections.min(stored.len()) {
        let ends = stored.iter().map(|stored| (stored.queue, stored.end));
        let queues: Vec<_> = ends.skip(lane).step_by(load.connections).collect();
        let (frames, work) = load.pulls.following(&queues, load.mark);
        followers.push(connect(address, frames, work)?);
    }
    let sends = load.sends(1);
    let mut senders = Vec::new();
    for lane in 0..load.connections {
        let (frames, work) = sends.lane(lane, load.connections, load.in_flight);
        senders.push(connect(address, frames, work)?);
    }
    let clock = Clock::start();
    let runs = load.runs(clock);
    load.watched(clock, &runs, || {
        send_and_follow(load, clock, &runs, senders, followers)
    })
}

fn send_and_follow(
    load: &Load,
    clock: Clock,
    runs: &Runs,
    senders: Vec<Lane<Sending>>,
    followers: Vec<Lane<Following>>,
) -> Result<Outcome, ClientError> {
    let after = LAST_RECEIPTS.as_nanos() as u64;
    let (sent, received) = thread::scope(|scope| {
        let received =
            scope.spawn(|| drive(followers, clock, runs.clone(), Pace::Following(after)));
        let sent = drive(senders, clock, runs.clone(), load.pace(clock, 0, 1));
        (sent, joined(received))
    });
    let ((sent, sent_remarks), (mut received, mut remarks)) = (sent?, received?);
    for (received, sent) in received.iter_mut().zip(&sent) {
        received.unsent = sent.unsent;
        received.unanswered = sent.unanswered;
        let acknowledged = sent.latency.len() - sent.unsent - sent.unanswered;
        received.missing = acknowledged.saturating_sub(received.latency.len());
        for (code, count) in &sent.errors {
            *received.errors.entry(*code).or_default() += count;
        }
    }
    remarks.extend(sent_remarks);
    Ok((received, remarks))
}

/// Drives the lanes by several threads and adds up what they bring.
fn drive_all<W: Work>(
    lanes: Vec<Lane<W>>,
    threads: usize,
    clock: Clock,
    runs: &Runs,
    pace: impl Fn(usize, usize) -> Pace,
) -> Result<Outcome, ClientError> {
    let mut shares: Vec<Vec<Lane<W>>> = (0..threads).map(|_| Vec::new()).collect();
    for (number, lane) in lanes.into_iter().enumerate() {
        shares[number % threads].push(lane);
    }
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (number, share) in shares.into_iter().enumerate() {
            let (runs, pace) = (runs.clone(), pace(number, threads));
            running.push(scope.spawn(move || drive(share, clock, runs, pace)));
        }
        let mut sum: Option<Outcome> = None;
        for thread in running {
            let (tallies, remarks) = joined(thread)?;
            match &mut sum {
                None => sum = Some((tallies, remarks)),
                Some((all, all_remarks)) => {
                    all.iter_mut()
                        .zip(&tallies)
                        .for_each(|(all, tally)| all.add(tally));
                    all_remarks.extend(remarks);
                }
            }
        }
        Ok(sum.unwrap_or_default())
    })
}

/// What a thread brings; its panic goes on here.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
