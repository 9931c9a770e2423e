//! The pcap format: what `tcpdump -w` writes.
//!
//! The file's header; integers in the byte order of the machine that wrote it, which the magic
//! tells:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | magic: `0xA1B2C3D4` times in microseconds, `0xA1B23C4D` in nanoseconds |
//! | 4 | 2 + 2 | version: 2, 4 |
//! | 8 | 4 + 4 | of no meaning |
//! | 16 | 4 | snap length: most bytes of a packet that were kept |
//! | 20 | 4 | link type, in the lower 16 bits |
//!
//! A packet:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | seconds since 1970, without a sign |
//! | 4 | 4 | micro- or nanoseconds |
//! | 8 | 4 | bytes kept `n` |
//! | 12 | 4 | bytes that were sent |
//! | 16 | n | the bytes kept |
//!
//! Files of the modified format (`0xA1B2CD34`) have 8 more bytes in front of a packet's own.

use std::io::{self, Read, Write};

use super::file::Input;
use super::{LinkType, Observed, Packet, Timestamp};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

/// Bytes of a packet that are kept, as a file that is written here says.
const SNAP_LENGTH: u32 = 262_144;

/// In which order the bytes of an integer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ByteOrder {
    #[default]
    Little,
    Big,
}

impl ByteOrder {
    /// The 32-bit integer at a place; 0 where there is none.
    pub(super) fn u32_at(self, bytes: &[u8], at: usize) -> u32 {
        match bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(&chunk) if self == Self::Little => u32::from_le_bytes(chunk),
            Some(&chunk) => u32::from_be_bytes(chunk),
            None => 0,
        }
    }

    /// The 16-bit integer at a place; 0 where there is none.
    pub(super) fn u16_at(self, bytes: &[u8], at: usize) -> u16 {
        match bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(&chunk) if self == Self::Little => u16::from_le_bytes(chunk),
            Some(&chunk) => u16::from_be_bytes(chunk),
            None => 0,
        }
    }
}

/// What a file's header says.
#[derive(Debug)]
pub(super) struct Pcap {
    order: ByteOrder,
    /// Nanoseconds of a unit of a packet's time.
    unit: i64,
    /// Bytes between a packet's header and its own.
    extra: usize,
    link: LinkType,
}

impl Pcap {
    /// Reads the file's header; `None` if the magic is another's.
    pub(super) fn start<R: Read>(magic: [u8; 4], input: &mut Input<R>) -> io::Result<Option<Self>> {
        let orders = [ByteOrder::Little, ByteOrder::Big];
        let known = orders.into_iter().find_map(|order| {
            let (unit, extra) = match order.u32_at(&magic, 0) {
                MICROSECONDS => (1_000, 0),
                NANOSECONDS => (1, 0),
                MODIFIED => (1_000, 8),
                _ => return None,
            };
            Some((order, unit, extra))
        });
        let Some((order, unit, extra)) = known else {
            return Ok(None);
        };
        let header = input.need(FILE_HEADER, "file header")?;
        let link = LinkType(order.u32_at(header, 20) & 0xffff);
        input.pass(FILE_HEADER);
        Ok(Some(Self {
            order,
            unit,
            extra,
            link,
        }))
    }

    /// Hands over the next packet of a file that is not at its end.
    pub(super) fn next<R: Read>(
        &mut self,
        input: &mut Input<R>,
        sink: &mut dyn FnMut(Observed<'_>),
    ) -> io::Result<()> {
        let head = RECORD_HEADER + self.extra;
        let header = input.need(head, "packet header")?;
        let field = |at| self.order.u32_at(header, at);
        let (seconds, fraction) = (i64::from(field(0)), i64::from(field(4)));
        let (captured, original_len) = (field(8) as usize, field(12));
        let whole = head.saturating_add(captured);
        let record = input.need(whole, "packet")?;
        sink(Observed::Packet(Packet {
            time: Timestamp(seconds * 1_000_000_000 + fraction * self.unit),
            link: self.link,
            data: record.get(head..).unwrap_or_default(),
            original_len,
        }));
        input.pass(whole);
        Ok(())
    }
}

/// Writes the header of a file with times in nanoseconds.
pub(super) fn write_header(out: &mut impl Write, link: LinkType) -> io::Result<()> {
    out.write_all(&NANOSECONDS.to_le_bytes())?;
    out.write_all(&2_u16.to_le_bytes())?;
    out.write_all(&4_u16.to_le_bytes())?;
    out.write_all(&[0; 8])?;
    out.write_all(&SNAP_LENGTH.to_le_bytes())?;
    out.write_all(&link.0.to_le_bytes())
}

/// Writes a packet.
pub(super) fn write_packet(out: &mut impl Write, packet: &Packet<'_>) -> io::Result<()> {
    let seconds = packet.time.0.div_euclid(1_000_000_000);
    let fraction = packet.time.0.rem_euclid(1_000_000_000);
    for field in [
        seconds as u32,
        fraction as u32,
        packet.data.len() as u32,
        packet.original_len,
    ] {
        out.write_all(&field.to_le_bytes())?;
    }
    out.write_all(packet.data)
}
