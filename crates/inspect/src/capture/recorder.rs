//! The recorder: what a source saw, written to a file that is opened later.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::IpAddr;

use super::{Chunk, Flow, LinkType, Observed, Packet, Timestamp, pcap, pcapng};

/// Bytes of a chunk that go into one packet; the length of IPv4 has 16 bits.
const MAX_PAYLOAD: usize = 65_000;

/// Flows of chunks whose place is remembered; beyond, all begin anew.
const MAX_FLOWS: usize = 65_536;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// One link type, read by everything.
    Pcap,
    /// Several link types.
    Pcapng,
}

/// Writes what a source saw to a file.
///
/// Chunks are written as the IP packets that would carry them, so that every tool can read them.
pub struct Recorder<W> {
    out: W,
    format: FileFormat,
    /// The interfaces described so far; a pcap file has one.
    links: Vec<LinkType>,
    /// Where each flow of chunks goes on.
    sequences: HashMap<Flow, u32>,
    packet: Vec<u8>,
}

impl<W: Write> Recorder<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(mut out: W, format: FileFormat) -> io::Result<Self> {
        if format == FileFormat::Pcapng {
            pcapng::write_header(&mut out)?;
        }
        Ok(Self {
            out,
            format,
            links: Vec::new(),
            sequences: HashMap::new(),
            packet: Vec::new(),
        })
    }

    /// Writes what was seen.
    ///
    /// # Errors
    /// It cannot be written, or packets of a second link type would go into a pcap file.
    pub fn write(&mut self, observed: &Observed<'_>) -> io::Result<()> {
        match observed {
            Observed::Packet(packet) => self.packet(packet),
            Observed::Chunk(chunk) => self.chunk(chunk),
        }
    }

    /// Brings what was written so far into the file, which can be read from then on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Makes sure that everything is in the file, with how many packets the source lost where the
    /// format can tell it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self, lost: u64) -> io::Result<W> {
        if self.format == FileFormat::Pcap && self.links.is_empty() {
            pcap::write_header(&mut self.out, LinkType::ETHERNET)?;
        }
        if self.format == FileFormat::Pcapng && !self.links.is_empty() {
            pcapng::write_lost(&mut self.out, Timestamp::now(), lost)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn packet(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let known = self.links.iter().position(|link| *link == packet.link);
        if self.format == FileFormat::Pcap {
            if known.is_none() {
                if !self.links.is_empty() {
                    return Err(io::Error::other(
                        "a pcap file holds packets of one link type: record to a .pcapng file",
                    ));
                }
                pcap::write_header(&mut self.out, packet.link)?;
                self.links.push(packet.link);
            }
            return pcap::write_packet(&mut self.out, packet);
        }
        let interface = match known {
            Some(index) => index,
            None => {
                pcapng::write_interface(&mut self.out, packet.link)?;
                self.links.push(packet.link);
                self.links.len() - 1
            }
        };
        pcapng::write_packet(&mut self.out, interface as u32, packet)
    }

    fn chunk(&mut self, chunk: &Chunk<'_>) -> io::Result<()> {
        if self.sequences.len() >= MAX_FLOWS {
            self.sequences.clear();
        }
        let start = self.sequences.get(&chunk.flow).copied().unwrap_or(1);
        let mut sequence = start.wrapping_add(chunk.missing as u32);
        let mut pieces = chunk.data.chunks(MAX_PAYLOAD).peekable();
        let mut first = true;
        while first || pieces.peek().is_some() {
            first = false;
            let piece = pieces.next().unwrap_or_default();
            let ends = chunk.ends && pieces.peek().is_none();
            let mut packet = std::mem::take(&mut self.packet);
            packet.clear();
            ip_packet(&chunk.flow, sequence, ends, piece, &mut packet);
            sequence = sequence.wrapping_add(piece.len() as u32);
            let written = self.packet(&Packet {
                time: chunk.time,
                link: LinkType::RAW,
                data: &packet,
                original_len: packet.len() as u32,
            });
            self.packet = packet;
            written?;
        }
        self.sequences.insert(chunk.flow, sequence);
        Ok(())
    }
}

/// The packet that would carry a piece of a stream. Checksums are left out, as where the network
/// card makes them.
fn ip_packet(flow: &Flow, sequence: u32, ends: bool, payload: &[u8], out: &mut Vec<u8>) {
    const TCP: u8 = 6;
    const TCP_HEADER: usize = 20;
    const FIN: u8 = 1;
    const PUSH_ACK: u8 = 0x18;
    let tcp_len = (TCP_HEADER + payload.len()) as u16;
    match (flow.source.ip(), flow.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&(20 + tcp_len).to_be_bytes());
            out.extend_from_slice(&[0, 0, 0x40, 0, 64, TCP, 0, 0]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            let v6 = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&tcp_len.to_be_bytes());
            out.extend_from_slice(&[TCP, 64]);
            out.extend_from_slice(&v6(source).octets());
            out.extend_from_slice(&v6(destination).octets());
        }
    }
    out.extend_from_slice(&flow.source.port().to_be_bytes());
    out.extend_from_slice(&flow.destination.port().to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[0x50, PUSH_ACK | if ends { FIN } else { 0 }, 0xff, 0xff]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}
