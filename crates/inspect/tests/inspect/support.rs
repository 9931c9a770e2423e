//! Captures as packets in memory, and what the inspector makes of them.

use std::path::PathBuf;
use std::time::Duration;

use kerolox_inspect::{
    CaptureFile, Exchange, Inspector, LinkType, Notice, Observed, Options, Packet, Source,
    Timestamp,
};

/// A packet that has its own bytes.
#[derive(Debug, Clone)]
pub(crate) struct OwnPacket {
    pub(crate) time: Timestamp,
    pub(crate) link: LinkType,
    pub(crate) data: Vec<u8>,
    pub(crate) original_len: u32,
}

impl OwnPacket {
    pub(crate) fn of(packet: &Packet<'_>) -> Self {
        Self {
            time: packet.time,
            link: packet.link,
            data: packet.data.to_vec(),
            original_len: packet.original_len,
        }
    }

    pub(crate) fn as_packet(&self) -> Packet<'_> {
        Packet {
            time: self.time,
            link: self.link,
            data: &self.data,
            original_len: self.original_len,
        }
    }
}

pub(crate) fn capture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// The packets of a source.
pub(crate) fn packets_of(source: &mut impl Source) -> Vec<OwnPacket> {
    let mut packets = Vec::new();
    let mut take = |observed: Observed<'_>| match observed {
        Observed::Packet(packet) => packets.push(OwnPacket::of(&packet)),
        Observed::Chunk(chunk) => panic!("a file gave {chunk:?}"),
    };
    while source
        .read(Duration::ZERO, &mut take)
        .expect("a whole capture")
    {}
    packets
}

/// The packets of a capture of the tests.
pub(crate) fn packets(name: &str) -> Vec<OwnPacket> {
    packets_of(&mut CaptureFile::open(&capture(name)).expect("a capture"))
}

/// What the inspector makes of packets.
pub(crate) struct Outcome {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) inspector: Inspector,
    pub(crate) notices: Vec<Notice>,
}

pub(crate) fn inspect(packets: &[OwnPacket], options: Options) -> Outcome {
    let mut inspector = Inspector::new(options);
    let mut exchanges = Vec::new();
    for packet in packets {
        inspector.observe(Observed::Packet(packet.as_packet()), &mut |exchange| {
            exchanges.push(exchange);
        });
    }
    inspector.end(&mut |exchange| exchanges.push(exchange));
    let notices = inspector.notices();
    Outcome {
        exchanges,
        inspector,
        notices,
    }
}
