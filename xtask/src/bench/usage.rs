//! What a process uses: processor time and memory, as Linux tells in `/proc`.

use std::fs;
use std::iter::Sum;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Result;

/// Unit of processor times in `/proc`, the same on all architectures.
const TICK: Duration = Duration::from_millis(10);
/// How often a process is looked at that is waited for.
const STEP: Duration = Duration::from_millis(2);

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// From its start, or from the first look at it.
    pub(super) time: Duration,
    /// Processor time of all its threads.
    pub(super) processor: Duration,
    /// Most resident memory at a time, in bytes.
    pub(super) memory: u64,
}

/// Runs a program to its end.
pub(super) fn of_run(command: &mut Command) -> Result<Usage> {
    let name = command.get_program().to_string_lossy().into_owned();
    let begun = Instant::now();
    let child = command.spawn();
    let mut child = child.map_err(|error| format!("cannot run {name}: {error}"))?;
    let usage = of_rest(&mut child, begun);
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    match status.success() {
        true => Ok(usage),
        false => Err(format!("{name} ended with {status}")),
    }
}

/// Waits until a process has ended; it is still to be waited for in the system's sense, so that
/// what it used is told.
pub(super) fn of_rest(child: &mut Child, begun: Instant) -> Usage {
    let mut usage = Usage::default();
    loop {
        let Some((state, processor)) = state(child.id()) else {
            return usage;
        };
        usage.time = begun.elapsed();
        usage.processor = processor;
        if state == "Z" {
            return usage;
        }
        // Of a process that has ended there is none.
        let memory = status(child.id(), "VmHWM:");
        usage.memory = memory.unwrap_or(usage.memory);
        thread::sleep(STEP);
    }
}

fn state(process: u32) -> Option<(String, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may contain anything; what follows are fields 3 and up.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.to_owned();
    let mut fields = fields.skip(10);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some((state, TICK * (next()? + next()?)))
}

/// What processes take now, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) resident: u64,
    /// The part of it that no file backs.
    pub(super) private: u64,
    pub(super) page_tables: u64,
    pub(super) address_space: u64,
    /// How many.
    pub(super) open_files: u64,
}

impl Memory {
    /// That of a process, where the system tells it.
    pub(super) fn of(process: u32) -> Option<Self> {
        let size = |name| status(process, name);
        let open = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
        Some(Self {
            resident: size("VmRSS:")?,
            private: size("RssAnon:")?,
            page_tables: size("VmPTE:")?,
            address_space: size("VmSize:")?,
            open_files: open.count() as u64,
        })
    }
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            resident: sum.resident + one.resident,
            private: sum.private + one.private,
            page_tables: sum.page_tables + one.page_tables,
            address_space: sum.address_space + one.address_space,
            open_files: sum.open_files + one.open_files,
        })
    }
}

fn status(process: u32, name: &str) -> Option<u64> {
    size(&format!("/proc/{process}/status"), name)
}

/// A size in a file of `/proc` with a name and kilobytes in each line, in bytes.
pub(super) fn size(path: &str, name: &str) -> Option<u64> {
    let sizes = fs::read_to_string(path).ok()?;
    let size = sizes.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = size.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
