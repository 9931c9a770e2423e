//! Packets: from what a link carries to segments of TCP.

mod fragments;
mod ip;
mod link;

use std::net::{IpAddr, SocketAddr};

use crate::capture::{Flow, Packet, Timestamp};
use fragments::Fragments;
use ip::Network;

/// A segment of TCP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) time: Timestamp,
    pub(crate) flow: Flow,
    /// The number of the first byte of the payload, or of the SYN before it.
    pub(crate) sequence: u32,
    /// What the sender has of the other direction.
    pub(crate) acknowledged: Option<u32>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    /// The payload as far as the capture has it.
    pub(crate) payload: &'a [u8],
    /// Bytes of the payload that were cut off.
    pub(crate) cut: usize,
    /// The packet's identification: 0 where IP has none.
    pub(crate) identification: u16,
}

/// Why a packet is no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassedOver {
    /// It is something else: ARP, UDP, a fragment that waits for the others.
    Other,
    /// Its link type is not known.
    LinkType,
    /// A header is not whole or makes no sense.
    Damaged,
}

/// Reads packets; remembers fragments until all of them are there.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    fragments: Fragments,
}

impl Packets {
    /// Reads a packet, and hands over its segment.
    pub(crate) fn read<T>(
        &mut self,
        packet: &Packet<'_>,
        take: impl FnOnce(&Segment<'_>) -> T,
    ) -> Result<T, PassedOver> {
        let network = link::network(packet.link, packet.data)?;
        let network = ip::read(network)?;
        match network.fragment {
            None => Ok(take(&segment(
                packet.time,
                &network,
                network.payload,
                network.cut,
            )?)),
            Some(fragment) => {
                let whole = self.fragments.add(packet.time, &network, fragment);
                let whole = whole.ok_or(PassedOver::Other)?;
                Ok(take(&segment(packet.time, &network, &whole, 0)?))
            }
        }
    }
}

/// Reads the header of TCP (RFC 9293).
fn segment<'a>(
    time: Timestamp,
    network: &Network<'_>,
    bytes: &'a [u8],
    cut: usize,
) -> Result<Segment<'a>, PassedOver> {
    const TCP: u8 = 6;
    if network.protocol != TCP {
        return Err(PassedOver::Other);
    }
    let (head, _) = bytes.split_first_chunk::<20>().ok_or(PassedOver::Damaged)?;
    let [
        s0,
        s1,
        d0,
        d1,
        q0,
        q1,
        q2,
        q3,
        a0,
        a1,
        a2,
        a3,
        offset,
        flags,
        ..,
    ] = *head;
    let header_len = usize::from(offset >> 4) * 4;
    // Options may be cut off; then there is no payload either.
    let payload = bytes.get(header_len..).unwrap_or_default();
    let missing = (header_len.max(20) - 20).saturating_sub(bytes.len() - 20);
    if header_len < 20 {
        return Err(PassedOver::Damaged);
    }
    let end = |ip: IpAddr, port: [u8; 2]| SocketAddr::new(ip, u16::from_be_bytes(port));
    let bit = |mask: u8| flags & mask != 0;
    Ok(Segment {
        time,
        flow: Flow {
            source: end(network.source, [s0, s1]),
            destination: end(network.destination, [d0, d1]),
        },
        sequence: u32::from_be_bytes([q0, q1, q2, q3]),
        acknowledged: bit(0x10).then_some(u32::from_be_bytes([a0, a1, a2, a3])),
        syn: bit(0x02),
        fin: bit(0x01),
        rst: bit(0x04),
        payload,
        cut: cut.saturating_sub(missing),
        identification: network.identification,
    })
}
