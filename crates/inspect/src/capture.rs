//! Where traffic comes from: files, interfaces and processes, all of which give the same two things.

#[cfg(target_os = "linux")]
mod af_packet;
#[cfg(all(target_os = "linux", feature = "ebpf"))]
mod ebpf;
mod file;
mod live;
mod pcap;
mod pcapng;
#[cfg(target_os = "linux")]
mod processes;
mod recorder;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use file::CaptureFile;
#[cfg(target_os = "linux")]
pub use live::give_way;
pub use live::{Live, Who};
pub use recorder::{FileFormat, Recorder};

/// When something was seen: nanoseconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// What this machine's clock says.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The time from this to a later one; nothing if that is earlier.
    pub fn until(self, later: Self) -> Duration {
        let nanoseconds = later.0.saturating_sub(self.0);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
    }
}

/// What a packet's first header is, by the numbers of the pcap file format (LINKTYPE_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkType(pub u32);

impl LinkType {
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// IP packets without anything in front.
    pub const RAW: Self = Self(101);
    /// What Linux puts in front on the interface `any`.
    pub const LINUX_COOKED: Self = Self(113);
    /// The newer form of that.
    pub const LINUX_COOKED_2: Self = Self(276);
}

/// A packet of a network, as a capture has it.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// What `data` begins with.
    pub link: LinkType,
    /// The bytes captured, which may be fewer than were sent.
    pub data: &'a [u8],
    /// How many bytes were sent.
    pub original_len: u32,
}

/// Who sends and who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Who sends.
    pub source: SocketAddr,
    /// Who receives.
    pub destination: SocketAddr,
}

/// The process at this machine's end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its name, as the kernel has it.
    pub name: Arc<str>,
    /// The container that it runs in, if it is known.
    pub container: Option<Arc<str>>,
}

/// Bytes of a stream in their order, from a source that sees streams and not packets.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// When the process gave or took them.
    pub time: Timestamp,
    /// Which way they go.
    pub flow: Flow,
    /// Who gave or took them.
    pub process: Option<&'a Arc<Process>>,
    /// The bytes.
    pub data: &'a [u8],
    /// How many bytes of the stream before these the source could not give.
    pub missing: u64,
    /// Whether the stream ends behind these bytes.
    pub ends: bool,
}

/// What a source saw.
#[derive(Debug, Clone, Copy)]
pub enum Observed<'a> {
    /// A packet.
    Packet(Packet<'a>),
    /// A part of a stream.
    Chunk(Chunk<'a>),
}

/// Somewhere that traffic comes from.
pub trait Source {
    /// Gives what has come to `sink`, having waited for the first of it up to `patience`. `false`
    /// when nothing will come any more.
    ///
    /// # Errors
    /// The source failed for good, or a file is not what it says it is. What came before was given.
    fn read(&mut self, patience: Duration, sink: &mut dyn FnMut(Observed<'_>)) -> io::Result<bool>;

    /// How many packets or chunks were lost so far because they came faster than they were read.
    fn lost(&self) -> u64 {
        0
    }
}
