//! Putting a load on a broker.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wire::code::ResponseCode;

use super::Mode;
use super::engine::{Clock, Lane, Outcome, Pace, Work, drive};
use super::frames::Frames;
use super::load::Load;
use super::popping::Pops;
use super::pulling::Following;
use super::report::Fill;
use super::sending::{Kind, Sending};
use super::setup::{Found, Stored};
use super::tally::Runs;
use super::together::deliver_together;
use super::transacting::Transacting;
use super::watched_process::WatchedProcess;
use crate::client::ClientError;

/// How long messages of the last run may take to come, end to end.
const LAST_RECEIPTS: Duration = Duration::from_secs(2);
/// Messages in flight while queues are filled, at most.
const FILL_IN_FLIGHT: usize = 1024;
/// Rest of a server that was too busy.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

impl Load {
    /// Puts the load on a broker. Takes as long as the warm-up and all runs.
    pub(super) fn run(
        &self,
        address: &str,
        found: &Found,
    ) -> Result<(Option<Fill>, Outcome), ClientError> {
        let stored = &found.stored;
        let fill = match self.mode {
            Mode::Pull | Mode::Pop | Mode::Orderly => {
                let messages = |queue: &Stored| queue.end.saturating_sub(queue.begin);
                fill(self, address, stored.iter().map(messages).sum())?
            }
            Mode::Send
            | Mode::Transaction
            | Mode::E2e
            | Mode::Timer
            | Mode::Overload
            | Mode::Connections => None,
        };
        if let Some(count) = self.together {
            return deliver_together(self, address, stored, count);
        }
        let outcome = match self.mode {
            Mode::Send | Mode::Overload | Mode::Connections => send(self, address),
            Mode::Transaction => transact(self, address),
            Mode::Pull => pull(self, address, stored),
            Mode::Pop | Mode::Orderly => pop(self, address, &found.broker_name),
            Mode::E2e => end_to_end(self, address, stored, Kind::Stamped),
            Mode::Timer => end_to_end(self, address, stored, Kind::Timed(self.delay)),
        }?;
        Ok((fill, outcome))
    }

    /// Does the work while the server's process is watched, if that is wanted.
    pub(super) fn watched(
        &self,
        clock: Clock,
        runs: &Runs,
        work: impl FnOnce() -> Result<Outcome, ClientError>,
    ) -> Result<Outcome, ClientError> {
        thread::scope(|scope| {
            let watch = |process: WatchedProcess| scope.spawn(move || process.watch(clock, runs));
            let server = self.server.map(watch);
            let own = self.server.and(WatchedProcess::own()).map(watch);
            let mut outcome = work()?;
            let usages = server.map(joined).unwrap_or_default();
            for (tally, usage) in outcome.0.iter_mut().zip(usages) {
                tally.server = Some(usage);
            }
            let usages = own.map(joined).unwrap_or_default();
            for (tally, usage) in outcome.0.iter_mut().zip(usages) {
                tally.own_processor = Some(usage.processor);
            }
            Ok(outcome)
        })
    }
}

/// Opens a connection.
pub(super) fn connect<W: Work>(
    address: &str,
    frames: Frames,
    work: W,
) -> Result<Lane<W>, ClientError> {
    Ok(Lane::connect(address, frames, work)?)
}

/// Puts the load on all connections, each with the frames and the work of its number.
fn load_all<W: Work>(
    load: &Load,
    address: &str,
    lane: impl Fn(usize) -> (Frames, W),
) -> Result<Outcome, ClientError> {
    let lanes = (0..load.connections).map(|number| {
        let (frames, work) = lane(number);
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

fn send(load: &Load, address: &str) -> Result<Outcome, ClientError> {
    let sends = load.sends(load.batch, Kind::Plain);
    load_all(load, address, |lane| {
        sends.lane(lane, load.connections, load.in_flight)
    })
}

fn transact(load: &Load, address: &str) -> Result<Outcome, ClientError> {
    let sends = load.sends(1, Kind::Half);
    load_all(load, address, |lane| {
        Transacting::lane(&sends, lane, load.connections, load.in_flight)
    })
}

fn pop(load: &Load, address: &str, broker_name: &str) -> Result<Outcome, ClientError> {
    let pops = Pops {
        serialize: load.pulls.serialize,
        topic: load.queues.topic.clone(),
        queues: load.queues.of_topic,
        group: format!("{}_{:016X}", load.pulls.group, load.mark),
        broker_name: broker_name.to_owned(),
        max_messages: load.pulls.max_messages,
        orderly: load.mode == Mode::Orderly,
        body_size: load.body_size,
        round: Arc::default(),
    };
    load_all(load, address, |lane| pops.lane(lane, load.in_flight))
}

fn pull(load: &Load, address: &str, stored: &[Stored]) -> Result<Outcome, ClientError> {
    let queue = |number: usize| {
        let stored = stored[number % stored.len()];
        (stored.queue, stored.begin)
    };
    load_all(load, address, |lane| {
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
        load.pulls.reading(&queues, load.in_flight)
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
    let sends = load.sends(batch as u32, Kind::Plain);
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

/// Connections that wait for what comes behind the ends of the queues.
pub(super) fn followers(
    load: &Load,
    address: &str,
    stored: &[Stored],
) -> Result<Vec<Lane<Following>>, ClientError> {
    let lanes = 0..load.connections.min(stored.len());
    lanes
        .map(|lane| {
            let ends = stored.iter().map(|stored| (stored.queue, stored.end));
            let queues: Vec<_> = ends.skip(lane).step_by(load.connections).collect();
            let (frames, work) = load.pulls.following(&queues, load.mark);
            connect(address, frames, work)
        })
        .collect()
}

fn end_to_end(
    load: &Load,
    address: &str,
    stored: &[Stored],
    kind: Kind,
) -> Result<Outcome, ClientError> {
    let followers = followers(load, address, stored)?;
    let sends = load.sends(1, kind);
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
    let timed = load.mode == Mode::Timer;
    let pace = match timed {
        // What is due may be late, and counts when it comes.
        true => Pace::Closed,
        false => Pace::Following(LAST_RECEIPTS.as_nanos() as u64),
    };
    let (sent, received) = thread::scope(|scope| {
        let received = scope.spawn(|| drive(followers, clock, runs.clone(), pace));
        let sent = drive(senders, clock, runs.clone(), load.pace(clock, 0, 1));
        (sent, joined(received))
    });
    let ((sent, sent_remarks), (mut received, mut remarks)) = (sent?, received?);
    for (received, sent) in received.iter_mut().zip(&sent) {
        received.unsent = sent.unsent;
        received.unanswered = sent.unanswered;
        if timed {
            received.sent = Some(sent.messages);
        } else {
            let acknowledged = sent.latency.len() - sent.unsent - sent.unanswered;
            received.missing = acknowledged.saturating_sub(received.latency.len());
        }
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
