//! IP packets of both versions (RFC 791, RFC 8200).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::PassedOver;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// What an IP packet says and carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    /// 0 in IPv6.
    pub(super) identification: u16,
    /// The payload as far as the capture has it.
    pub(super) payload: &'a [u8],
    /// Bytes of the payload that were cut off.
    pub(super) cut: usize,
    pub(super) fragment: Option<Fragment>,
}

/// Which part of a packet a fragment is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    /// Tells the fragments of one packet from those of others.
    pub(super) identification: u32,
    /// Where the part stands in the whole payload, in bytes.
    pub(super) offset: usize,
    /// Whether it is the last part.
    pub(super) last: bool,
}

pub(super) fn read(bytes: &[u8]) -> Result<Network<'_>, PassedOver> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => read_v4(bytes),
        Some(6) => read_v6(bytes),
        _ => Err(PassedOver::Damaged),
    }
}

fn read_v4(bytes: &[u8]) -> Result<Network<'_>, PassedOver> {
    const MORE_FRAGMENTS: u16 = 0x2000;
    let (head, _) = bytes.split_first_chunk::<20>().ok_or(PassedOver::Damaged)?;
    let [
        first,
        _,
        l0,
        l1,
        i0,
        i1,
        f0,
        f1,
        _,
        protocol,
        _,
        _,
        addresses @ ..,
    ] = *head;
    let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
    let header_len = usize::from(first & 0xf) * 4;
    let total = match u16::from_be_bytes([l0, l1]) {
        // The card splits it later.
        0 => bytes.len(),
        total => usize::from(total),
    };
    if header_len < 20 || total < header_len {
        return Err(PassedOver::Damaged);
    }
    let there = bytes.len().min(total);
    let payload = bytes.get(header_len..there).ok_or(PassedOver::Damaged)?;
    let identification = u16::from_be_bytes([i0, i1]);
    let place = u16::from_be_bytes([f0, f1]);
    let fragment = Fragment {
        identification: u32::from(identification),
        offset: usize::from(place & 0x1fff) * 8,
        last: place & MORE_FRAGMENTS == 0,
    };
    Ok(Network {
        source: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
        destination: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
        protocol,
        identification,
        payload,
        cut: total - there,
        fragment: (fragment.offset > 0 || !fragment.last).then_some(fragment),
    })
}

fn read_v6(bytes: &[u8]) -> Result<Network<'_>, PassedOver> {
    let (head, rest) = bytes.split_first_chunk::<40>().ok_or(PassedOver::Damaged)?;
    let [_, _, _, _, l0, l1, mut protocol, _, addresses @ ..] = *head;
    let (source, destination) = addresses.split_at(16);
    let address = |bytes: &[u8]| bytes.first_chunk::<16>().copied().unwrap_or_default();
    let total = match u16::from_be_bytes([l0, l1]) {
        0 => rest.len(),
        total => usize::from(total),
    };
    let there = rest.len().min(total);
    let mut payload = rest.get(..there).unwrap_or_default();
    let mut fragment = None;
    loop {
        let (header_len, next) = match (protocol, payload) {
            (HOP_BY_HOP | ROUTING | DESTINATION, [next, units, ..]) => {
                (usize::from(*units) * 8 + 8, *next)
            }
            (AUTHENTICATION, [next, units, ..]) => (usize::from(*units) * 4 + 8, *next),
            (FRAGMENT, [next, _, p0, p1, i0, i1, i2, i3, ..]) => {
                let place = u16::from_be_bytes([*p0, *p1]);
                let part = Fragment {
                    identification: u32::from_be_bytes([*i0, *i1, *i2, *i3]),
                    offset: usize::from(place & 0xfff8),
                    last: place & 1 == 0,
                };
                fragment = (part.offset > 0 || !part.last).then_some(part);
                (8, *next)
            }
            (HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | FRAGMENT, _) => {
                return Err(PassedOver::Damaged);
            }
            _ => break,
        };
        payload = payload.get(header_len..).ok_or(PassedOver::Damaged)?;
        protocol = next;
    }
    Ok(Network {
        source: IpAddr::V6(Ipv6Addr::from(address(source))),
        destination: IpAddr::V6(Ipv6Addr::from(address(destination))),
        protocol,
        identification: 0,
        payload,
        cut: total - there,
        fragment,
    })
}
