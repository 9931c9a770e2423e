//! What a process uses while there is load, as Linux tells in `/proc`: the server's, or this one.

use std::fs;
use std::thread;
use std::time::Duration;

use super::engine::Clock;
use super::tally::Runs;
use crate::client::ClientError;

/// Unit of processor times in `/proc`, the same on all architectures.
const TICK: Duration = Duration::from_millis(10);

/// A process that is watched.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchedProcess(u32);

/// What it used in a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// Processor time of all its threads.
    pub(super) processor: Duration,
    /// Resident memory at the run's end, in bytes.
    pub(super) resident: u64,
    /// The part of it that no file backs.
    pub(super) private: u64,
}

impl WatchedProcess {
    /// # Errors
    /// There is no such process, or this is not Linux.
    pub(super) fn new(id: u32) -> Result<Self, ClientError> {
        let process = Self(id);
        match process.processor_time() {
            Some(_) => Ok(process),
            None => Err(ClientError::Argument(format!(
                "--server-pid: /proc/{id}/stat cannot be read; is there a process {id}?"
            ))),
        }
    }

    /// This process, where the system tells of it.
    pub(super) fn own() -> Option<Self> {
        Self::new(std::process::id()).ok()
    }

    /// Watches it through the runs; returns one value a run, fewer if it ends.
    pub(super) fn watch(self, clock: Clock, runs: &Runs) -> Vec<Usage> {
        let sleep_until = |time: u64| {
            thread::sleep(Duration::from_nanos(time.saturating_sub(clock.now())));
        };
        sleep_until(runs.start);
        let mut used = self.processor_time();
        let mut usages = Vec::new();
        for run in 1..=runs.count as u64 {
            sleep_until(runs.start + runs.length * run);
            let now = self.processor_time();
            let (Some(before), Some(after)) = (used, now) else {
                break;
            };
            usages.push(Usage {
                processor: after.saturating_sub(before),
                resident: self.resident(),
                private: self.status("RssAnon:").unwrap_or(0),
            });
            used = now;
        }
        usages
    }

    /// Resident memory now, in bytes.
    pub(super) fn resident(self) -> u64 {
        self.status("VmRSS:").unwrap_or(0)
    }

    fn processor_time(self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        // The name, in parentheses, may contain anything; what follows are fields 3 and up.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut next = || fields.next()?.parse::<u32>().ok();
        Some(TICK * (next()? + next()?))
    }

    /// A size from `/proc/PID/status`, in bytes.
    fn status(self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    }
}
