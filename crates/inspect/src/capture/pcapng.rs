//! The pcapng format: what Wireshark and `kerolox inspect record` write.
//!
//! A file is a run of blocks:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | type |
//! | 4 | 4 | total length `n`, a multiple of 4 |
//! | 8 | n - 12 | body |
//! | n - 4 | 4 | total length again |
//!
//! The bodies of the blocks that are read here; others are passed over:
//!
//! | type | block | body |
//! |---|---|---|
//! | `0x0A0D0D0A` | section header | 4: `0x1A2B3C4D` in the section's byte order, 2 + 2: version, 8: length, options |
//! | 1 | interface | 2: link type, 2: none, 4: snap length (0: none), options |
//! | 6 | enhanced packet | 4: interface, 4 + 4: time, upper half first, 4: bytes kept, 4: bytes sent, the bytes, padded to 4 |
//! | 3 | simple packet | 4: bytes sent, the bytes; of the first interface, without a time |
//! | 2 | packet (retired) | 2: interface, 2: lost, then as the enhanced one |
//! | 5 | statistics | 4: interface, 4 + 4: time, options |
//!
//! An option is 2 bytes code, 2 bytes length, and the value padded to 4. Of an interface: 9, the
//! unit of times (`10^-n` seconds, or `2^-n` with the upper bit set; 6 if it is not there) and 14,
//! the seconds to add. Of statistics: 5, packets lost by the interface, and 7, by the system.

use std::io::{self, Read, Write};

use super::file::{Input, damaged};
use super::pcap::ByteOrder;
use super::{LinkType, Observed, Packet, Timestamp};

const BLOCK_HEADER: usize = 8;
/// Both lengths and the type.
const BLOCK_FRAME: usize = 12;
const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

const OPTION_TIME_UNIT: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;
const OPTION_LOST_BY_INTERFACE: u16 = 5;
const OPTION_LOST_BY_SYSTEM: u16 = 7;

/// Interfaces of a section; a file with more is damaged.
const MAX_INTERFACES: usize = 65_536;

/// What an interface's block says.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: LinkType,
    snap_length: u32,
    /// Times are `2^-exponent` seconds, else `10^-exponent`.
    binary: bool,
    exponent: u32,
    /// Seconds to add to times.
    offset: i64,
    lost: u64,
}

impl Interface {
    fn time(&self, units: u64) -> Timestamp {
        let units = i128::from(units);
        let nanoseconds = if self.binary {
            (units * 1_000_000_000) >> self.exponent
        } else if self.exponent <= 9 {
            units * 10_i128.pow(9 - self.exponent)
        } else {
            units / 10_i128.pow((self.exponent - 9).min(30))
        };
        let nanoseconds = nanoseconds + i128::from(self.offset) * 1_000_000_000;
        Timestamp(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
    }
}

/// What the blocks so far say of the section.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// Of the last packet that had one.
    time: Timestamp,
    /// Packets lost in earlier sections.
    lost: u64,
}

impl Pcapng {
    /// The first bytes of a file, the same in both byte orders.
    pub(super) const MAGIC: [u8; 4] = SECTION.to_be_bytes();

    /// How many packets were lost when the file was written, as far as its statistics tell.
    pub(super) fn lost(&self) -> u64 {
        self.lost + self.interfaces.iter().map(|one| one.lost).sum::<u64>()
    }

    /// Reads the next block of a file that is not at its end, and hands over its packet if it has
    /// one.
    pub(super) fn next<R: Read>(
        &mut self,
        input: &mut Input<R>,
        sink: &mut dyn FnMut(Observed<'_>),
    ) -> io::Result<()> {
        let at = input.position();
        let header = input.need(BLOCK_FRAME, "block")?;
        if header.starts_with(&Self::MAGIC) {
            self.order = match ByteOrder::Little.u32_at(header, BLOCK_HEADER) {
                BYTE_ORDER => ByteOrder::Little,
                _ if ByteOrder::Big.u32_at(header, BLOCK_HEADER) == BYTE_ORDER => ByteOrder::Big,
                _ => {
                    return Err(damaged(format!(
                        "the section at byte {at} tells no byte order: the file is damaged there"
                    )));
                }
            };
        }
        let kind = self.order.u32_at(header, 0);
        let length = self.order.u32_at(header, 4) as usize;
        if length < BLOCK_FRAME || !length.is_multiple_of(4) {
            return Err(damaged(format!(
                "the block at byte {at} says it has {length} bytes: the file is damaged there"
            )));
        }
        let block = input.need(length, "block")?;
        if self.order.u32_at(block, length - 4) as usize != length {
            return Err(damaged(format!(
                "the block at byte {at} has two different lengths: the file is damaged there"
            )));
        }
        let body = block.get(BLOCK_HEADER..length - 4).unwrap_or_default();
        self.block(kind, body, sink).map_err(|what| {
            damaged(format!(
                "the block at byte {at} {what}: the file is damaged there"
            ))
        })?;
        input.pass(length);
        Ok(())
    }

    fn block(
        &mut self,
        kind: u32,
        body: &[u8],
        sink: &mut dyn FnMut(Observed<'_>),
    ) -> Result<(), &'static str> {
        let order = self.order;
        match kind {
            SECTION => {
                self.lost = self.lost();
                self.interfaces.clear();
            }
            INTERFACE => {
                if self.interfaces.len() >= MAX_INTERFACES {
                    return Err("is one interface too many");
                }
                self.interfaces.push(interface(order, body)?);
            }
            PACKET | OLD_PACKET => {
                let index = if kind == PACKET {
                    order.u32_at(body, 0) as usize
                } else {
                    usize::from(order.u16_at(body, 0))
                };
                let interface = self
                    .interfaces
                    .get(index)
                    .ok_or("is of an interface that was not described")?;
                let units =
                    u64::from(order.u32_at(body, 4)) << 32 | u64::from(order.u32_at(body, 8));
                self.time = interface.time(units);
                let captured = order.u32_at(body, 12) as usize;
                sink(Observed::Packet(Packet {
                    time: self.time,
                    link: interface.link,
                    data: body
                        .get(20..)
                        .and_then(|data| data.get(..captured))
                        .ok_or("is shorter than its packet")?,
                    original_len: order.u32_at(body, 16),
                }));
            }
            SIMPLE_PACKET => {
                let interface = self
                    .interfaces
                    .first()
                    .ok_or("comes before any interface")?;
                let original_len = order.u32_at(body, 0);
                let captured = match interface.snap_length {
                    0 => original_len,
                    limit => original_len.min(limit),
                };
                sink(Observed::Packet(Packet {
                    time: self.time,
                    link: interface.link,
                    data: body
                        .get(4..)
                        .and_then(|data| data.get(..captured as usize))
                        .ok_or("is shorter than its packet")?,
                    original_len,
                }));
            }
            STATISTICS => {
                let index = order.u32_at(body, 0) as usize;
                let mut lost = 0_u64;
                for (code, value) in options(order, body.get(12..).unwrap_or_default()) {
                    if matches!(code, OPTION_LOST_BY_INTERFACE | OPTION_LOST_BY_SYSTEM) {
                        lost = lost.saturating_add(u64_of(order, value));
                    }
                }
                if let Some(interface) = self.interfaces.get_mut(index) {
                    // Counts go on from block to block.
                    interface.lost = lost;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn interface(order: ByteOrder, body: &[u8]) -> Result<Interface, &'static str> {
    if body.len() < 8 {
        return Err("is too short for an interface");
    }
    let mut interface = Interface {
        link: LinkType(u32::from(order.u16_at(body, 0))),
        snap_length: order.u32_at(body, 4),
        binary: false,
        exponent: 6,
        offset: 0,
        lost: 0,
    };
    for (code, value) in options(order, body.get(8..).unwrap_or_default()) {
        match (code, value) {
            (OPTION_TIME_UNIT, [unit, ..]) => {
                interface.binary = unit & 0x80 != 0;
                interface.exponent = u32::from(unit & 0x7f);
            }
            (OPTION_TIME_OFFSET, value) => interface.offset = u64_of(order, value) as i64,
            _ => {}
        }
    }
    Ok(interface)
}

/// The options of a block; what does not fit ends them.
fn options(order: ByteOrder, mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let code = order.u16_at(rest, 0);
        let length = usize::from(order.u16_at(rest, 2));
        if code == 0 {
            return None;
        }
        let value = rest.get(4..4 + length)?;
        rest = rest
            .get(4 + length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some((code, value))
    })
}

/// The 64-bit integer of an option; its words stand as its bytes do.
fn u64_of(order: ByteOrder, value: &[u8]) -> u64 {
    match value.first_chunk() {
        Some(&chunk) if order == ByteOrder::Little => u64::from_le_bytes(chunk),
        Some(&chunk) => u64::from_be_bytes(chunk),
        None => 0,
    }
}

/// Writes the header of a file.
pub(super) fn write_header(out: &mut impl Write) -> io::Result<()> {
    let mut body = Vec::from(BYTE_ORDER.to_le_bytes());
    body.extend_from_slice(&1_u16.to_le_bytes());
    body.extend_from_slice(&0_u16.to_le_bytes());
    // How long the section is, is not known.
    body.extend_from_slice(&[0xff; 8]);
    write_block(out, SECTION, &[&body])
}

/// Writes the description of an interface, with times in nanoseconds.
pub(super) fn write_interface(out: &mut impl Write, link: LinkType) -> io::Result<()> {
    let mut body = Vec::from((link.0 as u16).to_le_bytes());
    body.extend_from_slice(&[0; 6]);
    body.extend_from_slice(&OPTION_TIME_UNIT.to_le_bytes());
    body.extend_from_slice(&1_u16.to_le_bytes());
    body.extend_from_slice(&[9, 0, 0, 0]);
    body.extend_from_slice(&[0; 4]);
    write_block(out, INTERFACE, &[&body])
}

/// Writes a packet of the interface that was described as the `interface`th.
pub(super) fn write_packet(
    out: &mut impl Write,
    interface: u32,
    packet: &Packet<'_>,
) -> io::Result<()> {
    let time = packet.time.0 as u64;
    let mut head = [0; 20];
    let fields = [
        interface,
        (time >> 32) as u32,
        time as u32,
        packet.data.len() as u32,
        packet.original_len,
    ];
    for (place, field) in head.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    write_block(out, PACKET, &[&head, packet.data])
}

/// Writes how many packets were lost until now, as statistics of the first interface.
pub(super) fn write_lost(out: &mut impl Write, now: Timestamp, lost: u64) -> io::Result<()> {
    let time = now.0 as u64;
    let mut body = Vec::new();
    for field in [0, (time >> 32) as u32, time as u32] {
        body.extend_from_slice(&field.to_le_bytes());
    }
    body.extend_from_slice(&OPTION_LOST_BY_INTERFACE.to_le_bytes());
    body.extend_from_slice(&8_u16.to_le_bytes());
    body.extend_from_slice(&lost.to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    write_block(out, STATISTICS, &[&body])
}

fn write_block(out: &mut impl Write, kind: u32, body: &[&[u8]]) -> io::Result<()> {
    let body_len: usize = body.iter().map(|part| part.len()).sum();
    let padded = body_len.next_multiple_of(4);
    let length = ((padded + BLOCK_FRAME) as u32).to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length)?;
    for part in body {
        out.write_all(part)?;
    }
    out.write_all(&[0; 3][..padded - body_len])?;
    out.write_all(&length)
}
