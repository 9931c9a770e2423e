//! `kerolox store`: looks into a store directory that no broker needs to have open, verifies it and
//! repairs it.

mod dump;
mod repair;
mod verify;

use std::io::{BufWriter, ErrorKind, StdoutLock, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use broker::BrokerSettings;
use serde::Serialize;
use store::{Disk, OfflineStore, OsDisk, StoreConfig};

use crate::cli::LogArgs;
use crate::client::OutputFormat;
use crate::error::CliError;
use crate::logging::Logging;

/// Options of `kerolox store`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what is in a store directory; a broker may have it open
    Dump(dump::Args),
    /// Compare everything in a store directory with everything, and tell what does not fit
    Verify(verify::Args),
    /// Make the queues of a store directory anew from its commit log
    Repair(repair::Args),
}

/// Which directory, and how it is shown.
#[derive(Debug, clap::Args)]
struct DirArgs {
    /// Store directory, of Kerolox or of the reference: storePathRootDir; of `kerolox start`, the
    /// directory `store` in its data directory
    dir: PathBuf,
    /// Configuration file of its broker [default: lengths are taken from the files themselves]
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How it is shown; json: one object a line
    #[arg(long, value_enum, default_value_t = OutputFormat::Table, global = true)]
    output: OutputFormat,
}

impl DirArgs {
    /// The settings that fit the directory.
    fn settings(&self, disk: &dyn Disk) -> Result<StoreConfig, CliError> {
        let root = self.dir.to_string_lossy().into_owned();
        let mut settings = BrokerSettings::default();
        settings.store.store_path_root_dir.clone_from(&root);
        let Some(config) = &self.config else {
            return Ok(store::layout(disk, settings.store)?);
        };
        // What the file says of lengths outweighs what is found; where the log is, it alone knows.
        let said = config::load(config, settings.clone())?.settings.store;
        settings.store.store_path_commit_log = said.store_path_commit_log;
        settings.store = store::layout(disk, settings.store)?;
        let mut settings = config::load(config, settings)?.settings.store;
        settings.store_path_root_dir = root;
        Ok(settings)
    }

    fn open(&self) -> Result<OfflineStore, CliError> {
        let disk = OsDisk::shared();
        let settings = self.settings(&*disk)?;
        Ok(OfflineStore::open(disk, settings)?)
    }
}

/// Runs one of the commands. It logs only what is asked for.
pub(crate) fn run(args: Args, log: &LogArgs) -> Result<(), CliError> {
    let _logging = Logging::start(log, log.log_level.as_deref().unwrap_or("off"))?;
    match args.command {
        Command::Dump(args) => dump::run(args),
        Command::Verify(args) => verify::run(&args),
        Command::Repair(args) => repair::run(&args),
    }
}

/// Lines of a result, for people or for programs.
struct Lines {
    out: BufWriter<StdoutLock<'static>>,
    output: OutputFormat,
}

impl Lines {
    fn new(output: OutputFormat) -> Lines {
        Lines {
            out: BufWriter::new(std::io::stdout().lock()),
            output,
        }
    }

    /// Writes a value as JSON, or as the text that it is for people. Broken off: nobody reads
    /// any more.
    fn put(
        &mut self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<ControlFlow<()>, CliError> {
        let written = match self.output {
            OutputFormat::Json => serde_json::to_writer(&mut self.out, value)
                .map_err(std::io::Error::from)
                .and_then(|()| writeln!(self.out)),
            OutputFormat::Table => writeln!(self.out, "{}", text()),
        };
        flow(written)
    }

    fn end(mut self) -> Result<(), CliError> {
        flow(self.out.flush()).map(drop)
    }
}

fn flow(written: std::io::Result<()>) -> Result<ControlFlow<()>, CliError> {
    match written {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(source) => Err(CliError::System {
            what: "write to standard output",
            source,
        }),
    }
}
