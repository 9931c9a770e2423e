//! The log: through `tracing`, to standard error or a file, with a level that
//! can change while running (key `kerolox.logLevel`).

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::cli::LogArgs;
use crate::error::CliError;

/// The running log. Dropping it writes out what is still waiting.
pub(crate) struct Logging {
    level: Level,
    _writer: WorkerGuard,
}

/// Changes the level of the running log.
#[derive(Clone)]
pub(crate) struct Level(reload::Handle<EnvFilter, Registry>);

impl Logging {
    /// Starts the log of this process at `level`, `info` or
    /// `info,kerolox_store=debug`. Log lines go through a bounded queue: a
    /// terminal that is held or a slow disk loses lines, but stops nobody.
    pub(crate) fn start(args: &LogArgs, level: &str) -> Result<Logging, CliError> {
        let (writer, guard, colours) = match &args.log_file {
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                let file = file.map_err(|source| CliError::LogFile {
                    path: path.clone(),
                    source,
                })?;
                queue(file, false)
            }
            None => queue(std::io::stderr(), std::io::stderr().is_terminal()),
        };
        let (filter, handle) = reload::Layer::new(filter(level));
        let lines = fmt::layer().with_writer(writer).with_ansi(colours);
        // Fails only where a log runs already, as in a test process.
        let _ = tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init();
        Ok(Logging {
            level: Level(handle),
            _writer: guard,
        })
    }

    /// A handle to change the level with.
    pub(crate) fn level(&self) -> Level {
        self.level.clone()
    }
}

impl Level {
    /// Logs at `level` from now on.
    pub(crate) fn set(&self, level: &str) {
        // An error means that the log has ended, and with it the matter.
        let _ = self.0.reload(filter(level));
    }
}

fn queue(out: impl Write + Send + 'static, colours: bool) -> (NonBlocking, WorkerGuard, bool) {
    let (writer, guard) = tracing_appender::non_blocking(out);
    (writer, guard, colours)
}

/// The filter for a level that the configuration has checked already.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(level)
}
