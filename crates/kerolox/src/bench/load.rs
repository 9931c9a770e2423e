//! The load that the options ask for.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;
use std::time::Duration;

use super::engine::{Clock, Pace};
use super::pulling::Pulls;
use super::queues::Queues;
use super::sending::{Kind, STAMP_SIZE, Sends};
use super::tally::Runs;
use super::watched_process::WatchedProcess;
use super::{Args, Mode};
use crate::client::ClientError;

/// Messages that a pop brings at most.
const POP_MESSAGES: u32 = 32;
/// Connections that carry load, at most.
const MOST_CONNECTIONS: usize = 10_000;
/// Connections that are idle, at most.
const MOST_IDLE: usize = 60_000;
/// How many times more connections than before make an overload.
const OVERLOAD: usize = 10;
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
    /// From a send to the message's delivery.
    pub(super) delay: Duration,
    /// Messages that are all due at one time.
    pub(super) together: Option<u64>,
    /// Tells this load's messages from others.
    pub(super) mark: u64,
    /// The server's process, to be watched.
    pub(super) server: Option<WatchedProcess>,
}

impl Load {
    /// The load that the options ask for.
    ///
    /// # Errors
    /// Options that don't go together or are out of range.
    pub(super) fn new(args: &Args) -> Result<Self, ClientError> {
        let mode = args.mode;
        let connections = args.connections.unwrap_or(match mode {
            Mode::Send | Mode::Transaction | Mode::Timer | Mode::Overload | Mode::Connections => 8,
            Mode::Pull | Mode::Pop | Mode::Orderly => 4,
            Mode::E2e => 1,
        });
        let rate = args.rate.or((mode == Mode::E2e).then_some(1000.0));
        let in_flight = args.in_flight.unwrap_or(match (mode, rate) {
            (Mode::Pull, _) => 1,
            (Mode::Pop, _) => 32,
            (Mode::Orderly, _) => 2,
            (Mode::Transaction, None) => 64,
            (_, Some(_)) => OPEN_LOOP_IN_FLIGHT,
            (_, None) => 256,
        });
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = args.threads.unwrap_or(processors).min(connections);
        let topic = args.topic.clone().unwrap_or_else(|| match mode {
            Mode::Pull | Mode::Pop | Mode::Orderly => {
                format!("kerolox_bench_{}_{}", mode.name(), args.body_size)
            }
            _ => format!("kerolox_bench_{}", mode.name()),
        });
        let queues = Queues {
            topic,
            topics: args.topics,
            of_topic: args.queues,
        };
        let load = Self {
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
                hold: matches!(mode, Mode::E2e | Mode::Timer),
            },
            delay: args.delay,
            together: args.together,
            mark: RandomState::new().build_hasher().finish(),
            server: args.server_pid.map(WatchedProcess::new).transpose()?,
        };
        load.check(args)?;
        Ok(load)
    }

    /// Options that don't go together or are out of range.
    fn check(&self, args: &Args) -> Result<(), ClientError> {
        let Self {
            mode,
            connections,
            in_flight,
            rate,
            ..
        } = *self;
        let wrong = |text: &str| Err(ClientError::Argument(text.to_owned()));
        if connections == 0 || in_flight == 0 || self.threads == 0 {
            return wrong("--connections, --in-flight and --threads must be at least 1");
        }
        if mode == Mode::Connections {
            if connections > MOST_IDLE {
                return wrong("--connections is at most 60000 with connections");
            }
        } else if connections > MOST_CONNECTIONS
            || connections.saturating_mul(in_flight) > 10_000_000
        {
            return wrong("--connections is at most 10000, and times --in-flight at most 10000000");
        }
        if mode == Mode::Overload && connections > MOST_CONNECTIONS / OVERLOAD {
            return wrong("--connections is at most 1000 with overload");
        }
        if rate.is_some() && !matches!(mode, Mode::Send | Mode::E2e | Mode::Timer) {
            return wrong("--rate goes with send, e2e and timer only");
        }
        if rate.is_some_and(|rate| !(0.1..=1e8).contains(&rate)) {
            return wrong("--rate must be between 0.1 and 100000000");
        }
        if !matches!(mode, Mode::Send | Mode::Overload) && args.batch > 1 {
            return wrong("--batch goes with send and overload only");
        }
        if matches!(mode, Mode::E2e | Mode::Timer) && args.body_size < STAMP_SIZE {
            return wrong("--body-size must be at least 16 with e2e and timer: a time is in there");
        }
        let request_size = args
            .body_size
            .saturating_add(100)
            .saturating_mul(args.batch as usize);
        if args.body_size == 0 || request_size > wire::frame::MAX_FRAME_SIZE / 2 {
            return wrong("--body-size must be at least 1, and times --batch at most 8 MB");
        }
        if args.topics.is_some() && !matches!(mode, Mode::Send | Mode::Pull) {
            return wrong("--topics goes with send and pull only");
        }
        if args.max_messages > POP_MESSAGES && matches!(mode, Mode::Pop | Mode::Orderly) {
            return wrong("--max-messages is at most 32 with pop and orderly");
        }
        if args.together.is_some() && (mode != Mode::Timer || args.rate.is_some()) {
            return wrong("--together goes with timer only, without --rate");
        }
        if args.duration.is_zero() {
            return wrong("--duration must be more than 0");
        }
        Ok(())
    }

    /// The same load on many times the connections.
    pub(super) fn many_times(&self) -> Self {
        Self {
            connections: self.connections * OVERLOAD,
            ..self.clone()
        }
    }

    /// Sends of messages of a kind.
    pub(super) fn sends(&self, batch: u32, kind: Kind) -> Sends {
        Sends {
            serialize: self.pulls.serialize,
            queues: self.queues.clone(),
            body_size: self.body_size,
            batch,
            mark: self.mark,
            kind,
        }
    }

    /// The runs of a load that begins now.
    pub(super) fn runs(&self, clock: Clock) -> Runs {
        Runs {
            start: clock.now() + self.warm_up.as_nanos() as u64,
            length: self.duration.as_nanos() as u64,
            count: self.runs as usize,
        }
    }

    /// The pace of load thread `number` of `threads`.
    pub(super) fn pace(&self, clock: Clock, number: usize, threads: usize) -> Pace {
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
