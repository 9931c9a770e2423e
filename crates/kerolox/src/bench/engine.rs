//! The load: threads that keep requests in flight on their connections.
//!
//! A thread drives its connections with plain system calls: wait, read all that has come, write
//! all that is to go out. One reading of the clock serves all answers of one read.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use wire::frame::MAX_FRAME_SIZE;

use super::frames::{Answer, Frames, frame_length};
use super::socket::Socket;
use super::tally::{Recorder, Runs, Tally};
use crate::client::ClientError;

/// Bytes read at once.
const READ_SIZE: usize = 256 * 1024;
/// Slices written at once.
const WRITE_SLICES: usize = 128;
/// Longest sleep, so that ends and stalls are noticed.
const TICK: u64 = 100_000_000;
/// A server that answers nothing for so long has stalled.
const STALL: u64 = 30_000_000_000;
/// How long an open loop waits for the last answers.
const LAST_ANSWERS: u64 = 5_000_000_000;
/// Mark of a slot that waits for nothing.
const IDLE: u64 = u64::MAX;

/// The load's clock: nanoseconds since the load was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// What a connection's requests are for.
pub(super) trait Work: Send {
    /// Readies a slot's frame for going out; `intended` is when it is meant to leave.
    fn prepare(&mut self, slot: usize, frames: &mut Frames, intended: u64);

    /// Takes the answer to a request that was meant to leave at `started`.
    fn answered(&mut self, answer: &Answer<'_>, started: u64, now: u64, recorder: &mut Recorder);
}

/// When requests leave.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// A slot's next request leaves as soon as its last one is answered, until the runs are over.
    Closed,
    /// As closed, but so many requests in all.
    Count(u64),
    /// As closed, and on for some nanoseconds after the runs; latencies have a start of their own.
    Following(u64),
    /// At fixed times, however long answers take.
    Open {
        /// Time from one request of this thread to its next, in nanoseconds.
        interval: f64,
        /// When the first leaves, in nanoseconds on the load's clock.
        first: f64,
    },
}

/// One connection: its requests and what is on its way.
pub(super) struct Lane<W> {
    socket: Socket,
    state: LaneState<W>,
}

struct LaneState<W> {
    frames: Frames,
    work: W,
    /// When each slot's request was meant to leave.
    started: Vec<u64>,
    free: Vec<usize>,
    /// What is to be written: ranges of the frames.
    outgoing: VecDeque<Range<usize>>,
    input: Vec<u8>,
    filled: usize,
}

impl<W: Work> Lane<W> {
    /// A lane over a new connection, with a slot for each of `frames`.
    pub(super) fn connect(address: &str, frames: Frames, work: W) -> io::Result<Self> {
        let socket = Socket::connect(address, Duration::from_nanos(TICK))?;
        let slots = frames.len();
        let state = LaneState {
            frames,
            work,
            started: vec![IDLE; slots],
            free: (0..slots).rev().collect(),
            outgoing: VecDeque::new(),
            input: vec![0; READ_SIZE],
            filled: 0,
        };
        Ok(Self { socket, state })
    }
}

impl<W: Work> LaneState<W> {
    fn issue(&mut self, slot: usize, intended: u64) {
        self.started[slot] = intended;
        self.work.prepare(slot, &mut self.frames, intended);
        let range = self.frames.range(slot);
        match self.outgoing.back_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.outgoing.push_back(range),
        }
    }

    /// Writes what the socket takes.
    fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let count = self.outgoing.len().min(WRITE_SLICES);
            for (slice, range) in slices.iter_mut().zip(&self.outgoing) {
                *slice = IoSlice::new(&self.frames.bytes()[range.clone()]);
            }
            match socket.write(&slices[..count])? {
                Some(written) => self.written(written),
                None => break,
            }
        }
        socket.flush()
    }

    fn written(&mut self, mut bytes: usize) {
        while let Some(first) = self.outgoing.front_mut() {
            if bytes < first.len() {
                first.start += bytes;
                return;
            }
            bytes -= first.len();
            self.outgoing.pop_front();
        }
    }

    /// Reads what has come, waiting for it if `wait`. `false`: nothing was there.
    fn fill(&mut self, socket: &mut Socket, wait: bool) -> io::Result<bool> {
        if self.filled == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        match socket.read(&mut self.input[self.filled..], wait)? {
            Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(read) => {
                self.filled += read;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Takes the whole answers off the input; each freed slot is given to `next`.
    fn answers(
        &mut self,
        now: u64,
        recorder: &mut Recorder,
        mut next: impl FnMut(&mut Self, usize),
    ) -> io::Result<()> {
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some(length) = frame_length(&input[at..self.filled]) {
            if length > MAX_FRAME_SIZE {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "no frame of RocketMQ",
                ));
            }
            let Some(frame) = input[at..self.filled].get(..length) else {
                break;
            };
            at += length;
            let Some(answer) = Answer::read(frame) else {
                continue;
            };
            let Some(started) = self.started.get_mut(answer.slot) else {
                continue;
            };
            let started = std::mem::replace(started, IDLE);
            if started != IDLE {
                self.work.answered(&answer, started, now, recorder);
                next(self, answer.slot);
            }
        }
        self.input = input;
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}

/// What a load thread brings back: a tally a run, and the first remark of each refusing code.
pub(super) type Outcome = (Vec<Tally>, BTreeMap<i32, String>);

/// Drives the lanes until the runs are over.
pub(super) fn drive<W: Work>(
    lanes: Vec<Lane<W>>,
    clock: Clock,
    runs: Runs,
    pace: Pace,
) -> Result<Outcome, ClientError> {
    let (sockets, lanes) = lanes
        .into_iter()
        .map(|lane| (lane.socket, lane.state))
        .unzip();
    let by_start = matches!(pace, Pace::Open { .. } | Pace::Following(_));
    let end = match pace {
        Pace::Count(_) => u64::MAX,
        Pace::Following(more) => runs.end() + more,
        Pace::Closed | Pace::Open { .. } => runs.end(),
    };
    let thread = LoadThread {
        sockets,
        lanes,
        clock,
        recorder: Recorder::new(runs, by_start),
        end,
    };
    match pace {
        Pace::Open { interval, first } => thread.open(interval, first),
        Pace::Count(count) => thread.closed(count),
        Pace::Closed | Pace::Following(_) => thread.closed(u64::MAX),
    }
}

struct LoadThread<W> {
    sockets: Vec<Socket>,
    lanes: Vec<LaneState<W>>,
    clock: Clock,
    recorder: Recorder,
    end: u64,
}

impl<W: Work> LoadThread<W> {
    fn closed(mut self, mut left: u64) -> Result<Outcome, ClientError> {
        let now = self.clock.now();
        let mut outstanding = 0u64;
        for lane in &mut self.lanes {
            for slot in 0..lane.frames.len() {
                if left > 0 {
                    left -= 1;
                    outstanding += 1;
                    lane.issue(slot, now);
                }
            }
        }
        let mut last_answer = now;
        while outstanding > 0 {
            let waiting = self.wait_and_read(
                |lane, slot, now| {
                    if left > 0 {
                        left -= 1;
                        lane.issue(slot, now);
                    } else {
                        outstanding -= 1;
                    }
                },
                TICK,
            )?;
            let now = self.clock.now();
            if now >= self.end {
                break;
            }
            if waiting {
                last_answer = now;
            } else if now - last_answer > STALL {
                return Err(ClientError::Stalled {
                    seconds: STALL / 1_000_000_000,
                });
            }
        }
        Ok(self.recorder.finish())
    }

    fn open(mut self, interval: f64, first: f64) -> Result<Outcome, ClientError> {
        precise_sleep();
        let mut number = 0u64;
        let due = |number: u64| (first + interval * number as f64) as u64;
        let mut turn = 0;
        loop {
            let now = self.clock.now();
            let mut full = false;
            while due(number) <= now.min(self.end - 1) && !full {
                let lanes = self.lanes.len();
                let lane = (0..lanes)
                    .map(|step| (turn + step) % lanes)
                    .find(|lane| !self.lanes[*lane].free.is_empty());
                full = lane.is_none();
                if let Some(at) = lane {
                    let lane = &mut self.lanes[at];
                    if let Some(slot) = lane.free.pop() {
                        lane.issue(slot, due(number));
                        number += 1;
                    }
                    turn = at + 1;
                }
            }
            if now >= self.end {
                break;
            }
            let sleep = if full {
                TICK
            } else {
                due(number).saturating_sub(now)
            };
            let sleep = sleep.min(self.end - now).min(TICK);
            self.wait_and_read(|lane, slot, _| lane.free.push(slot), sleep)?;
        }
        while due(number) < self.end {
            self.recorder.unsent(due(number), self.end);
            number += 1;
        }
        let give_up = self.end + LAST_ANSWERS;
        while self.clock.now() < give_up
            && self
                .lanes
                .iter()
                .any(|lane| lane.free.len() < lane.frames.len())
        {
            self.wait_and_read(|lane, slot, _| lane.free.push(slot), TICK)?;
        }
        let now = self.clock.now();
        for lane in &self.lanes {
            for started in lane.started.iter().filter(|started| **started != IDLE) {
                self.recorder.unanswered(*started, now);
            }
        }
        Ok(self.recorder.finish())
    }

    /// Writes what is to go out, sleeps at most `sleep` nanoseconds for answers and takes them.
    /// `false`: none came.
    fn wait_and_read(
        &mut self,
        mut next: impl FnMut(&mut LaneState<W>, usize, u64),
        sleep: u64,
    ) -> Result<bool, ClientError> {
        for (lane, socket) in self.lanes.iter_mut().zip(&mut self.sockets) {
            if !lane.outgoing.is_empty() || socket.is_full() {
                lane.flush(socket)?;
            }
        }
        // With one connection and nothing to write the read itself is the wait.
        let read_waits = sleep >= TICK
            && matches!((&*self.lanes, &*self.sockets), ([lane], [socket])
                if lane.outgoing.is_empty() && socket.is_plain());
        let ready = match read_waits {
            true => vec![true],
            false => self.wait(sleep)?,
        };
        let mut any = false;
        for ((lane, socket), ready) in self.lanes.iter_mut().zip(&mut self.sockets).zip(ready) {
            let mut more = ready;
            while more && lane.fill(socket, read_waits)? {
                any = true;
                // What a protocol holds back for want of room the system does not tell of.
                more = !read_waits && lane.filled == lane.input.len();
                let now = self.clock.now();
                self.recorder.tick(now);
                lane.answers(now, &mut self.recorder, |lane, slot| next(lane, slot, now))?;
                lane.flush(socket)?;
            }
        }
        Ok(any)
    }

    /// Waits for the first socket that can be read, or written where something waits; tells which
    /// can be read.
    fn wait(&self, sleep: u64) -> Result<Vec<bool>, ClientError> {
        let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(self.lanes.len());
        for (lane, socket) in self.lanes.iter().zip(&self.sockets) {
            let mut events = PollFlags::IN;
            let waits = !lane.outgoing.is_empty() || socket.is_full();
            events.set(PollFlags::OUT, waits);
            polled.push(PollFd::from_borrowed_fd(socket.as_fd(), events));
        }
        let timeout = Timespec {
            tv_sec: (sleep / 1_000_000_000) as i64,
            tv_nsec: (sleep % 1_000_000_000) as _,
        };
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let input = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let ready = polled.iter().map(|fd| fd.revents().intersects(input));
        Ok(ready.collect())
    }
}

/// Makes this thread's sleeps end on time instead of up to 50 µs late.
fn precise_sleep() {
    #[cfg(target_os = "linux")]
    {
        let slack = std::num::NonZeroU64::new(1);
        // Without it latencies are a little longer; not worth a word.
        let _ = rustix::thread::set_current_timer_slack(slack);
    }
}
