//! The signals that stop a server: Ctrl-C and SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;

/// Listens from its making on, so that no signal is lost.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts to listen; needs the runtime.
    pub(crate) fn listen() -> Result<Signals, CliError> {
        let listen = |kind| {
            signal(kind).map_err(|source| CliError::System {
                what: "listen for signals",
                source,
            })
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal; returns the exit code of a process that
    /// the signal killed.
    pub(crate) async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
