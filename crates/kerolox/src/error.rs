//! What ends a command, in one sentence for the user.

use std::error::Error;
use std::path::{Path, PathBuf};

use config::ConfigError;
use store::StoreError;

use crate::client::ClientError;

/// Why a command ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The configuration file or an option is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A command that talks to a cluster failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A store directory cannot be read or mended.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is wrong with a store directory.
    #[error(
        "{damage} findings of damage; `kerolox store repair {}` makes queues anew and passes over what is damaged in the log",
        path.display()
    )]
    DamagedStore { path: PathBuf, damage: u64 },
    /// A store directory has no such queue.
    #[error("there is no queue {id} of {topic}: `kerolox store dump` without it lists all")]
    NoQueue { topic: String, id: i32 },
    /// A command that changes much was not confirmed.
    #[error("nobody is there to confirm it: add --yes")]
    Unconfirmed,
    /// A proxy without a cluster.
    #[error("the proxy needs the addresses of name servers: give them with -n")]
    NoNameServer,
    /// A port is taken; `option` names the option or key to change.
    #[error(
        "{address} is in use by another program: stop that program, or choose another port with {option}"
    )]
    PortInUse {
        address: String,
        option: &'static str,
    },
    /// The data directory belongs to a running process.
    #[error(
        "the data directory {} is in use by another kerolox{}: stop that one, or choose another directory with --data",
        path.display(),
        process.map(|id| format!(" (process {id})")).unwrap_or_default()
    )]
    DataInUse { path: PathBuf, process: Option<u32> },
    /// The data directory cannot be made or written.
    #[error("cannot use the data directory {}: {source}; choose another with --data", path.display())]
    Data {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The log file cannot be opened.
    #[error("cannot write the log file {}: {source}; choose another with --log-file", path.display())]
    LogFile {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A role did not start.
    #[error("the {role} cannot start: {}", sentence(source.as_ref()))]
    Start {
        role: &'static str,
        source: Box<dyn Error>,
    },
    /// A role stopped, but could not put everything away.
    #[error("the {role} stopped with a loss: {source}")]
    Stop {
        role: &'static str,
        source: Box<dyn Error>,
    },
    /// A capture file or a report cannot be opened or written.
    #[error("{}: {source}", path.display())]
    CaptureFile {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A source of traffic failed; what came before is shown.
    #[error("the capture ends here: {source}")]
    Capture { source: std::io::Error },
    /// There is no live source.
    #[error("{source}")]
    Live { source: std::io::Error },
    /// No exchange has the message.
    #[error(
        "no exchange has a message {id}: is it the unique id or the offset message id, and was it captured?"
    )]
    NoMessage { id: String },
    /// The system refused something it does not usually refuse.
    #[error("cannot {what}: {source}")]
    System {
        what: &'static str,
        source: std::io::Error,
    },
}

impl CliError {
    /// A role did not start, for another reason than its port.
    pub(crate) fn start(role: &'static str, source: impl Error + 'static) -> CliError {
        CliError::Start {
            role,
            source: Box::new(source),
        }
    }

    /// What happened to a capture file or a report.
    pub(crate) fn capture_file(path: &Path) -> impl Fn(std::io::Error) -> CliError + '_ {
        |source| CliError::CaptureFile {
            path: path.to_owned(),
            source,
        }
    }

    /// The exit code: 2 when what the user wrote is wrong, as for a wrong
    /// option, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Config(_)
            | CliError::Client(ClientError::Argument(_))
            | CliError::NoNameServer
            | CliError::Unconfirmed => 2,
            _ => 1,
        }
    }
}

/// An error with its causes, unless it tells them itself.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
