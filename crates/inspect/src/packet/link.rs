//! Link layers: what stands in front of an IP packet.
//!
//! | link type | number | in front of IP |
//! |---|---|---|
//! | loopback of BSD | 0, 108 | 4 bytes: 2 for IPv4; 24, 28 or 30 for IPv6, in either byte order |
//! | Ethernet | 1 | 14 bytes, the type in the last 2; then tags of VLANs, 4 bytes each, the type in the last 2 |
//! | raw IP | 12, 14, 101, 228, 229 | nothing |
//! | Linux cooked | 113 | 16 bytes, the type in the last 2 |
//! | Linux cooked, version 2 | 276 | 20 bytes, the type in the first 2 |

use super::PassedOver;
use crate::capture::LinkType;

const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// The IP packet inside of what a link carries.
pub(super) fn network(link: LinkType, data: &[u8]) -> Result<&[u8], PassedOver> {
    match link {
        LinkType::ETHERNET => typed(data, 12),
        LinkType::LINUX_COOKED => typed(data, 14),
        LinkType::LINUX_COOKED_2 => {
            let kind = u16_at(data, 0).ok_or(PassedOver::Damaged)?;
            behind_type(kind, data.get(20..).unwrap_or_default())
        }
        LinkType(0 | 108) => {
            let (family, rest) = data.split_first_chunk::<4>().ok_or(PassedOver::Damaged)?;
            match family {
                [2 | 24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 2 | 24 | 28 | 30] => Ok(rest),
                _ => Err(PassedOver::Other),
            }
        }
        LinkType::RAW | LinkType(12 | 14 | 228 | 229) => Ok(data),
        _ => Err(PassedOver::LinkType),
    }
}

/// What follows the type that stands at a place.
fn typed(data: &[u8], at: usize) -> Result<&[u8], PassedOver> {
    let kind = u16_at(data, at).ok_or(PassedOver::Damaged)?;
    behind_type(kind, data.get(at + 2..).unwrap_or_default())
}

fn behind_type(mut kind: u16, mut rest: &[u8]) -> Result<&[u8], PassedOver> {
    while VLAN_TAGS.contains(&kind) {
        kind = u16_at(rest, 2).ok_or(PassedOver::Damaged)?;
        rest = rest.get(4..).unwrap_or_default();
    }
    match kind {
        IPV4 | IPV6 => Ok(rest),
        _ => Err(PassedOver::Other),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*chunk))
}
