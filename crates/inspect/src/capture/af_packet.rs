//! Packets of this machine's interfaces, by a packet socket (AF_PACKET).
//!
//! The kernel filters, keeps the time, and counts what found no room ([`socket`], [`filter`]).
//! What it cannot know is decided here: whose connection it is, and whether the same packet was
//! seen at another interface already, as happens between a container and the network.

mod filter;
mod socket;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::socket::{Captured, PacketSocket};
use super::live::{self, Live};
use super::processes::Owners;
use super::{Flow, LinkType, Observed, Packet, Source, Timestamp};

/// Most connections whose interface or process is kept in mind.
const MAX_FLOWS: usize = 1 << 16;
/// How long a connection may be silent at its interface before it may turn up at another, in
/// nanoseconds.
const MOVES_AFTER: i64 = 1_000_000_000;

/// The source.
#[derive(Debug)]
pub(super) struct AfPacket {
    socket: PacketSocket,
    /// The name of the interface, if it is one.
    interface: Option<String>,
    /// Whose packets are wanted, if not everybody's.
    owners: Option<Owners>,
    passages: Passages,
    lost: u64,
}

impl AfPacket {
    /// Opens it in the network namespace of this thread.
    pub(super) fn open(live: &Live, owners: Option<Owners>) -> io::Result<Self> {
        let number = match &live.interface {
            None => 0,
            Some(name) => {
                socket::interface_number(name).map_err(|_| live::unknown_interface(name))?
            }
        };
        let filter = filter::program(live).ok_or_else(|| {
            let why = "these are more ports and hosts than the kernel's filter takes: name fewer";
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })?;
        let socket = PacketSocket::open(number, &filter, live.buffer)
            .map_err(|error| explained(&error, live.buffer))?;
        Ok(Self {
            socket,
            interface: live.interface.clone(),
            owners,
            passages: Passages::default(),
            lost: 0,
        })
    }

    /// Gives what the ring has; whether it had anything.
    fn give(&mut self, sink: &mut dyn FnMut(Observed<'_>)) -> io::Result<bool> {
        let mut given = false;
        // Once around: a ring that fills as fast as it is read would keep the reader for ever.
        for _ in 0..self.socket.blocks() {
            let Some(block) = self.socket.next_block() else {
                break;
            };
            given = true;
            for captured in block.packets() {
                if wanted(
                    &captured,
                    self.interface.is_none().then_some(&mut self.passages),
                    self.owners.as_mut(),
                ) {
                    sink(Observed::Packet(Packet {
                        time: captured.time,
                        link: LinkType::RAW,
                        data: captured.data,
                        original_len: captured.original_len,
                    }));
                }
            }
        }
        self.lost += u64::from(self.socket.take_dropped()?);
        Ok(given)
    }

    fn gone(&self, error: io::Error) -> io::Error {
        match &self.interface {
            Some(name) if error.raw_os_error() == Some(libc::ENETDOWN) => {
                let why = format!("the interface {name} went down or was removed");
                io::Error::new(error.kind(), why)
            }
            _ => error,
        }
    }
}

impl Source for AfPacket {
    fn read(&mut self, patience: Duration, sink: &mut dyn FnMut(Observed<'_>)) -> io::Result<bool> {
        if self.give(sink)? {
            return Ok(true);
        }
        let mut sockets = [PollFd::new(&self.socket, PollFlags::IN)];
        let patience = Timespec::try_from(patience).ok();
        match poll(&mut sockets, patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.give(sink)?;
        self.socket.error().map_err(|error| self.gone(error))?;
        Ok(true)
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

/// Whether a packet is the first sight of one that somebody wants.
fn wanted(
    captured: &Captured<'_>,
    passages: Option<&mut Passages>,
    owners: Option<&mut Owners>,
) -> bool {
    if passages.is_none() && owners.is_none() {
        return true;
    }
    let Some((flow, begins)) = ends(captured.data) else {
        return false;
    };
    passages.is_none_or(|passages| passages.first(flow, captured.interface, captured.time))
        && owners.is_none_or(|owners| owners.own(flow, begins, captured.time))
}

/// Who sends a TCP packet to whom, and whether it begins a connection.
fn ends(data: &[u8]) -> Option<(Flow, bool)> {
    let (source, destination, tcp): (IpAddr, IpAddr, usize) = match data.first()? >> 4 {
        4 => (
            (*data.get(12..)?.first_chunk::<4>()?).into(),
            (*data.get(16..)?.first_chunk::<4>()?).into(),
            4 * usize::from(data[0] & 15),
        ),
        6 => (
            (*data.get(8..)?.first_chunk::<16>()?).into(),
            (*data.get(24..)?.first_chunk::<16>()?).into(),
            40,
        ),
        _ => return None,
    };
    let tcp = data.get(tcp..)?.first_chunk::<20>()?;
    let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
    let flow = Flow {
        source: SocketAddr::new(source, port(0)),
        destination: SocketAddr::new(destination, port(2)),
    };
    let (synchronize, acknowledge) = (tcp[13] & 2 != 0, tcp[13] & 16 != 0);
    Some((flow, synchronize && !acknowledge))
}

/// At which interface each connection was seen first: there its packets are taken.
#[derive(Debug, Default)]
struct Passages(HashMap<Flow, (u32, Timestamp), foldhash::fast::RandomState>);

impl Passages {
    fn first(&mut self, flow: Flow, interface: u32, time: Timestamp) -> bool {
        if self.0.len() >= MAX_FLOWS && !self.0.contains_key(&flow) {
            self.0.clear();
        }
        let (taken_at, seen) = self.0.entry(flow).or_insert((interface, time));
        if *taken_at != interface && time.0 - seen.0 < MOVES_AFTER {
            return false;
        }
        (*taken_at, *seen) = (interface, time);
        true
    }
}

/// Why there is no socket, and what to do.
fn explained(error: &io::Error, buffer: usize) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            live::missing_capability("capturing packets", "CAP_NET_RAW", "cap_net_raw")
        }
        Some(libc::ENOMEM) => format!(
            "the kernel has no {buffer} bytes of memory for waiting packets: give it a smaller buffer"
        ),
        Some(libc::EAFNOSUPPORT) => {
            "this kernel has no packet sockets (CONFIG_PACKET): capture to a file elsewhere"
                .to_owned()
        }
        _ => format!("packets cannot be captured: {error}"),
    };
    io::Error::new(error.kind(), why)
}

#[cfg(test)]
mod tests;
