//! Where the traffic comes from: a file, or the live sources.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use inspect::{CaptureFile, Live, Source, Who};

use crate::error::CliError;

/// Which traffic is read.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Source")]
pub(super) struct SourceArgs {
    /// Read a capture file: pcap or pcapng, also packed with gzip; - is standard input
    /// [default: what passes this machine's interfaces]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    live: LiveArgs,
}

/// What is captured live.
#[derive(Debug, clap::Args)]
#[group(id = "live", multiple = true, conflicts_with = "file")]
struct LiveArgs {
    /// Capture at one interface [default: all]
    #[arg(short, long, value_name = "NAME")]
    interface: Option<String>,
    /// Capture what these hosts send or receive
    #[arg(long = "host", value_name = "ADDRESS", value_delimiter = ',')]
    hosts: Vec<IpAddr>,
    /// Capture what this process sends or receives
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',')]
    processes: Vec<u32>,
    /// Capture what processes of this name send or receive; the name of the program, or of a Java
    /// program its main class
    #[arg(long = "process", value_name = "NAME", value_delimiter = ',')]
    names: Vec<String>,
    /// Capture what the processes of a container send or receive: how its identifier begins, or
    /// Docker's name for it
    #[arg(long = "container", value_name = "CONTAINER", value_delimiter = ',')]
    containers: Vec<String>,
    /// Trace processes in the kernel (eBPF) instead of capturing packets: tells process and
    /// container, and reads what OpenSSL encrypts
    #[arg(long)]
    trace: bool,
    /// Follow one of so many connections, so that little is taken from a server under full load;
    /// what is counted is then what these say
    #[arg(long, value_name = "CONNECTIONS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    sample: u16,
    /// Leave the processors to what is watched where they are short, and rather lose packets
    #[arg(long)]
    give_way: bool,
    /// Megabytes of memory for what waits to be read
    #[arg(long, value_name = "MB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=4096))]
    buffer: u16,
}

impl SourceArgs {
    /// Whether traffic comes as it happens.
    pub(super) fn is_live(&self) -> bool {
        self.file.is_none()
    }

    /// The capture file, if that is the source.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Opens the source; live ones see the servers' `ports` alone if there are any.
    pub(super) fn open(&self, ports: &[u16]) -> Result<Box<dyn Source>, CliError> {
        match &self.file {
            Some(path) => file(path),
            None => self.live.open(ports),
        }
    }
}

impl LiveArgs {
    fn open(&self, ports: &[u16]) -> Result<Box<dyn Source>, CliError> {
        let source = self.source(ports)?;
        #[cfg(target_os = "linux")]
        if self.give_way {
            inspect::give_way();
        }
        Ok(source)
    }

    fn source(&self, ports: &[u16]) -> Result<Box<dyn Source>, CliError> {
        let ids = self.processes.iter().copied().map(Who::Id);
        let names = self.names.iter().cloned().map(Who::Name);
        let containers = self.containers.iter().cloned().map(Who::Container);
        let live = Live {
            interface: self.interface.clone(),
            ports: ports.to_vec(),
            hosts: self.hosts.clone(),
            processes: ids.chain(names).chain(containers).collect(),
            sample: self.sample,
            buffer: usize::from(self.buffer) << 20,
        };
        if self.trace {
            match live.streams() {
                Ok(source) => return Ok(source),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(CliError::Live { source: error });
                }
                Err(error) => eprintln!("kerolox: {error}; packets are captured instead"),
            }
        }
        match live.packets() {
            Ok(source) => Ok(source),
            Err(source) => Err(CliError::Live { source }),
        }
    }
}

/// A capture file.
pub(super) fn file(path: &Path) -> Result<Box<dyn Source>, CliError> {
    let file = CaptureFile::open(path).map_err(CliError::capture_file(path))?;
    Ok(Box::new(file))
}
