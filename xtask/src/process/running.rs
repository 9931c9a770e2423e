//! A program that runs beside this one.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Result, cannot_run, told};

/// How long a server may take to start, to end, or to do what it does by itself, however slow the
/// machine is.
const PATIENCE: Duration = Duration::from_secs(180);

/// Pause between two looks at something that is waited for; times of starts are as exact as that.
const PAUSE: Duration = Duration::from_millis(1);

/// A process that does not outlive its value.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let process = command.spawn();
        process
            .map(Self)
            .map_err(|error| cannot_run(command, &error))
    }

    /// Starts one whose output goes behind that of earlier ones in a file.
    pub(crate) fn spawn_logged(command: &mut Command, path: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(path);
        let log = log.map_err(|error| told(path, &error))?;
        let too = log.try_clone().map_err(|error| told(path, &error))?;
        Self::spawn(command.stdin(Stdio::null()).stdout(log).stderr(too))
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        let ended = self.0.try_wait();
        ended
            .map(|status| status.is_some())
            .map_err(|error| format!("a process is lost: {error}"))
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        killed
            .map(drop)
            .map_err(|error| format!("a process cannot be killed: {error}"))
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) -> Result<()> {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or("a process has no number")?;
        kill_process(id, Signal::TERM)
            .map_err(|error| format!("a process cannot be ended: {error}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
    }
}

/// Looks again and again until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !so()? {
        if started.elapsed() > PATIENCE {
            return Err(format!("after {} s not: {what}", PATIENCE.as_secs()));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}
