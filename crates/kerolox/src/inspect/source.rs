//! Where the traffic comes from: a file, or the live sources.

use std::path::{Path, PathBuf};

use inspect::{CaptureFile, Source};

use crate::error::CliError;

/// Which traffic is read.
#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// Read a capture file: pcap or pcapng, also packed with gzip; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl SourceArgs {
    /// Whether traffic comes as it happens.
    pub(super) fn is_live(&self) -> bool {
        self.file.is_none()
    }

    /// Opens the source; live ones see the servers' `ports` alone if there are any.
    pub(super) fn open(&self, ports: &[u16]) -> Result<Box<dyn Source>, CliError> {
        match &self.file {
            Some(path) => file(path),
            None => live(ports),
        }
    }
}

/// A capture file.
pub(super) fn file(path: &Path) -> Result<Box<dyn Source>, CliError> {
    let opened = CaptureFile::open(path);
    let file = opened.map_err(|source| CliError::CaptureFile {
        path: path.to_owned(),
        source,
    })?;
    Ok(Box::new(file))
}

/// A live source.
fn live(_ports: &[u16]) -> Result<Box<dyn Source>, CliError> {
    Err(CliError::NoSource)
}
