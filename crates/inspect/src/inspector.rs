//! The inspector: from what a source saw to exchanges, sessions and notices.

use std::time::Duration;

use crate::capture::{Observed, Timestamp};
use crate::exchange::Exchange;
use crate::notice::{Notice, Notices};
use crate::session::Sessions;

/// What an inspector looks at, what it keeps, and how much memory it may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers' ports; empty: whatever speaks RocketMQ.
    pub ports: Vec<u16>,
    /// The first bytes of each frame that are kept with its exchange.
    pub keep_bytes: usize,
    /// The first bytes of each message's body that are kept with it, decompressed.
    pub keep_bodies: usize,
    /// How long a request waits for its response before it counts as unanswered.
    pub patience: Duration,
    /// Connections that are followed at a time; beyond, the one silent longest is dropped.
    pub max_connections: usize,
    /// Bytes of streams that wait for missing parts or whole frames; beyond, the connection silent
    /// longest is dropped.
    pub max_buffered: usize,
    /// Requests of a connection that wait for their responses; beyond, the oldest is given up.
    pub max_pending: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            keep_bytes: 0,
            keep_bodies: 0,
            patience: Duration::from_secs(60),
            max_connections: 65_536,
            max_buffered: 256 << 20,
            max_pending: 65_536,
        }
    }
}

/// What came in and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets of the source.
    pub packets: u64,
    /// Chunks of the source.
    pub chunks: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Packets that are no TCP, or whose headers cannot be read.
    pub passed_over: u64,
    /// Packets of which the capture has not all.
    pub cut: u64,
    /// Frames of remoting and messages of gRPC.
    pub frames: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Packets sent again.
    pub retransmissions: u64,
    /// Packets that came out of their order.
    pub reordered: u64,
    /// Bytes of streams that the capture does not have.
    pub missing: u64,
    /// Bytes of RocketMQ streams that could not be understood.
    pub skipped: u64,
    /// Connections that speak something else.
    pub foreign: u64,
    /// Connections that are encrypted.
    pub encrypted: u64,
    /// Connections dropped because there were too many, or too much was waiting.
    pub dropped: u64,
}

/// Makes exchanges of packets and chunks.
#[derive(Debug, Default)]
pub struct Inspector {
    options: Options,
    sessions: Sessions,
    counts: Counts,
    notices: Notices,
    now: Timestamp,
}

impl Inspector {
    /// An inspector that has seen nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Takes what a source saw, and hands over the exchanges that it completes.
    pub fn observe(&mut self, observed: Observed<'_>, sink: &mut dyn FnMut(Exchange)) {
        let _ = sink;
        match observed {
            Observed::Packet(packet) => {
                self.counts.packets += 1;
                self.counts.bytes += packet.data.len() as u64;
                self.now = self.now.max(packet.time);
                let captured = packet.data.len() as u32;
                if captured < packet.original_len {
                    self.counts.cut += 1;
                    self.notices.say(Notice::Cut(captured));
                }
            }
            Observed::Chunk(chunk) => {
                self.counts.chunks += 1;
                self.counts.bytes += chunk.data.len() as u64;
                self.now = self.now.max(chunk.time);
            }
        }
    }

    /// Says what time it is where nothing comes, so that requests without a response are given up.
    pub fn tick(&mut self, now: Timestamp, sink: &mut dyn FnMut(Exchange)) {
        let _ = sink;
        self.now = self.now.max(now);
    }

    /// Ends the capture: what waits for missing parts is read without them, and requests without a
    /// response are handed over.
    pub fn end(&mut self, sink: &mut dyn FnMut(Exchange)) {
        let _ = sink;
    }

    /// Who is there.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What came in and what became of it.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is to be said since this was last asked; each thing is said once.
    pub fn notices(&mut self) -> Vec<Notice> {
        self.notices.take()
    }

    /// The latest time seen.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }
}
