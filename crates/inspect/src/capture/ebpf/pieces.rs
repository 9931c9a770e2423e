//! The pieces that the kernel gives, and the streams that they make up.
//!
//! | piece, from byte | what, in this machine's order of bytes unless said |
//! |---|---|
//! | 0 | time, nanoseconds of the monotonic clock |
//! | 8 | position of its first byte in the stream, modulo 2³² |
//! | 12 | how many bytes of the stream follow |
//! | 16 | number of the process |
//! | 20 | kind: 0 sent, 1 received, 2 the socket was closed; and 4 if OpenSSL had it |
//! | 24, 40 | local and remote address, as of IPv6 |
//! | 56, 58 | local and remote port, the higher byte first |
//! | 60 | nothing that is used |
//! | 64 | name of the process, 16 bytes with zeros at the end |
//! | 80 | bytes of the stream |

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::openssl;
use crate::capture::{Chunk, Flow, Observed, Process, Timestamp, processes};

/// Most connections, and most processes, that are kept in mind.
const MAX_KNOWN: usize = 1 << 16;
/// Bits of a piece's kind.
const RECEIVED: u32 = 1;
const CLOSED: u32 = 2;
const PLAIN: u32 = 4;

/// A piece of a stream.
#[derive(Debug)]
pub(super) struct Piece {
    /// Nanoseconds of the monotonic clock.
    pub(super) time: i64,
    position: u32,
    process: u32,
    kind: u32,
    local: SocketAddr,
    remote: SocketAddr,
    name: Box<str>,
    data: Box<[u8]>,
}

impl Piece {
    /// Reads what the kernel wrote.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let address = |at: usize, port: usize| {
            let ip = Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?);
            let port = u16::from_be_bytes(*bytes.get(port..)?.first_chunk()?);
            Some(SocketAddr::new(ip.to_canonical(), port))
        };
        let name = bytes.get(64..80)?.split(|byte| *byte == 0).next()?;
        let length = word(12)? as usize;
        Some(Self {
            time: i64::from_ne_bytes(*bytes.first_chunk()?),
            position: word(8)?,
            process: word(16)?,
            kind: word(20)?,
            local: address(24, 56)?,
            remote: address(40, 58)?,
            name: String::from_utf8_lossy(name).into(),
            data: bytes.get(80..)?.get(..length)?.into(),
        })
    }

    fn flow(&self) -> Flow {
        let (source, destination) = match self.kind & RECEIVED {
            0 => (self.local, self.remote),
            _ => (self.remote, self.local),
        };
        Flow {
            source,
            destination,
        }
    }
}

/// What is known of a connection.
#[derive(Debug)]
struct Connection {
    /// The end that is listened to: the other may be on this machine as well.
    local: SocketAddr,
    /// Whether only what OpenSSL had is of use.
    encrypted: bool,
    /// Where the next byte is that the local end sends, and that it receives.
    next: [Option<u32>; 2],
}

/// Pieces put together.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// By the two ends, the lesser first.
    connections: HashMap<(SocketAddr, SocketAddr), Connection, foldhash::fast::RandomState>,
    processes: HashMap<u32, Arc<Process>>,
}

impl Streams {
    /// Takes a piece, the next in time, and gives what it adds to its stream; the clock began so
    /// many nanoseconds after 1970.
    pub(super) fn give(
        &mut self,
        piece: &Piece,
        since_1970: i64,
        sink: &mut dyn FnMut(Observed<'_>),
    ) {
        let time = Timestamp(piece.time + since_1970);
        let key = (piece.local.min(piece.remote), piece.local.max(piece.remote));
        if piece.kind & CLOSED != 0 {
            return self.close(piece, key, time, sink);
        }
        if self.connections.len() >= MAX_KNOWN && !self.connections.contains_key(&key) {
            self.connections.clear();
        }
        let plain = piece.kind & PLAIN != 0;
        let connection = self.connections.entry(key).or_insert_with(|| Connection {
            local: piece.local,
            encrypted: plain || is_tls(&piece.data) && openssl::used_by(piece.process),
            next: [None; 2],
        });
        if plain && !(connection.encrypted && connection.local == piece.local) {
            *connection = Connection {
                local: piece.local,
                encrypted: true,
                next: [None; 2],
            };
        }
        if connection.local != piece.local || connection.encrypted != plain {
            return;
        }
        let next = &mut connection.next[(piece.kind & RECEIVED) as usize];
        let ahead = piece.position.wrapping_sub(next.unwrap_or(piece.position)) as i32;
        // What comes again is left out.
        let again = usize::try_from(-i64::from(ahead)).unwrap_or(0);
        let Some(data) = piece.data.get(again..) else {
            return;
        };
        *next = Some(piece.position.wrapping_add(piece.data.len() as u32));
        let process = process(&mut self.processes, piece);
        sink(Observed::Chunk(Chunk {
            time,
            flow: piece.flow(),
            process: Some(process),
            data,
            missing: u64::try_from(ahead).unwrap_or(0),
            ends: false,
        }));
    }

    fn close(
        &mut self,
        piece: &Piece,
        key: (SocketAddr, SocketAddr),
        time: Timestamp,
        sink: &mut dyn FnMut(Observed<'_>),
    ) {
        let own = |connection: &Connection| connection.local == piece.local;
        if !self.connections.get(&key).is_some_and(own) {
            return;
        }
        self.connections.remove(&key);
        for (source, destination) in [(piece.local, piece.remote), (piece.remote, piece.local)] {
            sink(Observed::Chunk(Chunk {
                time,
                flow: Flow {
                    source,
                    destination,
                },
                process: None,
                data: &[],
                missing: 0,
                ends: true,
            }));
        }
    }
}

/// The process of a piece.
fn process<'a>(known: &'a mut HashMap<u32, Arc<Process>>, piece: &Piece) -> &'a Arc<Process> {
    if known.len() >= MAX_KNOWN && !known.contains_key(&piece.process) {
        known.clear();
    }
    known.entry(piece.process).or_insert_with(|| {
        let found = processes::process(piece.process);
        // It may have ended, but its name is known.
        let name = piece.name.as_ref().into();
        Arc::new(Process { name, ..found })
    })
}

/// Whether a stream begins like TLS: a record of a kind that there is, of version 3.
fn is_tls(data: &[u8]) -> bool {
    matches!(data, [20..=23, 3, 0..=4, ..])
}
