//! The PROXY protocol of HAProxy, by which a proxy tells whom it forwards, in front of any other.
//!
//! Version 1 is one line of at most 107 bytes, its end `\r\n` included:
//! `PROXY TCP4|TCP6 SOURCE TARGET SOURCE_PORT TARGET_PORT`, or `PROXY UNKNOWN` and anything.
//!
//! Version 2:
//!
//! | at | size | what |
//! |---|---|---|
//! | 0 | 12 | signature `0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A` |
//! | 12 | 1 | `20`: the proxy itself connects (a check of its own), `21`: for another |
//! | 13 | 1 | `11`: TCP over IPv4, `21`: TCP over IPv6; the peer is not known otherwise |
//! | 14 | 2 | size of what follows, big-endian |
//! | 16 | 12 or 36 | source address, target address, source port, target port |
//! | | | further fields, which are passed over |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Buf;
use parking_lot::RwLock;
use tokio::io::AsyncReadExt;
use tokio::time::timeout_at;

use crate::endpoint::Endpoint;
use crate::executor::BoxFuture;
use crate::network::Link;
use crate::protocol::{Detection, Protocol};

/// The protocol's name.
pub(crate) const NAME: &str = "proxy";

const LINE: &[u8] = b"PROXY ";
const MAX_LINE: usize = 107;
const SIGNATURE: &[u8] = &[13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10];

/// The fields of version 2 that proxies send are some hundred bytes.
const MAX_HEADER: usize = 4096;

/// The addresses in a list such as `10.0.0.0/8, ::1`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Net {
    address: IpAddr,
    bits: u32,
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no address and no network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(bad());
        }
        Ok(Self { address, bits })
    }
}

impl Net {
    fn has(&self, peer: IpAddr) -> bool {
        let equal = |one: u128, other: u128, size: u32| {
            one.checked_shr(size - self.bits) == other.checked_shr(size - self.bits)
        };
        match (self.address, peer) {
            (IpAddr::V4(net), IpAddr::V4(peer)) => {
                equal(u32::from(net).into(), u32::from(peer).into(), 32)
            }
            (IpAddr::V6(net), IpAddr::V6(peer)) => equal(net.into(), peer.into(), 128),
            _ => false,
        }
    }
}

fn parse_nets(list: &str) -> Result<Vec<Net>, String> {
    let items = list.split(',').map(str::trim).filter(|it| !it.is_empty());
    items.map(Net::from_str).collect()
}

/// Checks the value of `kerolox.proxyProtocolFrom`.
pub(crate) fn check(list: &str) -> Result<(), String> {
    parse_nets(list).map(drop)
}

/// The protocol, for the peers that are proxies.
#[derive(Debug, Default)]
pub(crate) struct ProxyProtocol {
    from: RwLock<Vec<Net>>,
}

impl ProxyProtocol {
    /// Changes who may tell of others; a list that [`check`] refuses allows nobody.
    pub(crate) fn allow(&self, list: &str) {
        *self.from.write() = parse_nets(list).unwrap_or_default();
    }

    fn allows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.from.read().iter().any(|net| net.has(peer))
    }

    /// Reads the header and takes over the address it tells.
    async fn receive(&self, link: &mut Link) -> Result<(), String> {
        if link.stack.layers() != [NAME] {
            return Err("it comes inside of another protocol".into());
        }
        if !self.allows(link.peer.ip()) {
            return Err("kerolox.proxyProtocolFrom does not name the peer".into());
        }
        let header = loop {
            match parse(&link.received)? {
                Some(header) => break header,
                None => match link.stream.read_buf(&mut link.received).await {
                    Ok(0) => return Err("the peer left in the middle of it".into()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                },
            }
        };
        link.received.advance(header.size);
        if let Some(peer) = header.peer {
            if let Some(place) = &link.place {
                let moved = place.move_to(peer.ip());
                moved.map_err(|full| format!("{full} by {}", peer.ip()))?;
            }
            link.peer = peer;
        }
        Ok(())
    }
}

impl Protocol for ProxyProtocol {
    fn name(&self) -> &'static str {
        NAME
    }

    fn detect(&self, first: &[u8]) -> Detection {
        Detection::by_start(first, &[LINE, SIGNATURE])
    }

    fn serve(self: Arc<Self>, mut link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let proxy = link.peer;
            let deadline = endpoint.deadline(&link);
            match timeout_at(deadline, self.receive(&mut link)).await {
                Ok(Ok(())) => endpoint.serve(link).await,
                Ok(Err(why)) => {
                    endpoint.log_refusal(proxy, format_args!("its PROXY header is refused: {why}"));
                }
                Err(_) => tracing::debug!(peer = %proxy, "a silent connection is closed"),
            }
        })
    }
}

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// Whom the proxy forwards; `None` when it does not tell.
    peer: Option<SocketAddr>,
    /// The size of the header in bytes.
    size: usize,
}

/// Reads the header that these bytes begin with; `None` when it is not whole yet.
fn parse(bytes: &[u8]) -> Result<Option<Header>, String> {
    if bytes.starts_with(LINE) {
        parse_line(bytes)
    } else {
        parse_binary(bytes)
    }
}

fn parse_line(bytes: &[u8]) -> Result<Option<Header>, String> {
    let window = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return match window.len() {
            MAX_LINE => Err(format!("its line is longer than {MAX_LINE} bytes")),
            _ => Ok(None),
        };
    };
    let line = std::str::from_utf8(&window[LINE.len()..end])
        .map_err(|_| "its line is no text".to_owned())?;
    let fields: Vec<&str> = line.split(' ').collect();
    let peer = match fields[..] {
        ["UNKNOWN", ..] => None,
        [family @ ("TCP4" | "TCP6"), source, _, port, _] => {
            let bad = || format!("\"{line}\" has no source address");
            let address: IpAddr = source.parse().map_err(|_| bad())?;
            if address.is_ipv4() != (family == "TCP4") {
                return Err(bad());
            }
            let port = port.parse().map_err(|_| bad())?;
            Some(SocketAddr::new(address, port))
        }
        _ => return Err(format!("\"{line}\" is not as version 1 has it")),
    };
    let size = end + 2;
    Ok(Some(Header { peer, size }))
}

fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, String> {
    let Some(&[command, family, high, low]) =
        bytes.get(SIGNATURE.len()..).and_then(|it| it.first_chunk())
    else {
        return Ok(None);
    };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    let start = SIGNATURE.len() + 4;
    let size = start + rest;
    if size > MAX_HEADER {
        return Err(format!("it has {size} bytes; the most are {MAX_HEADER}"));
    }
    if !matches!(command, 0x20 | 0x21) {
        return Err(format!("{command:#04x} is no version and command of it"));
    }
    let Some(mut fields) = bytes.get(start..size) else {
        return Ok(None);
    };
    let short = || "its addresses are cut off".to_owned();
    let peer = match (command, family) {
        (0x21, 0x11) => {
            let address = fields.try_get_u32().map_err(|_| short())?;
            let _target = fields.try_get_u32().map_err(|_| short())?;
            Some(IpAddr::V4(Ipv4Addr::from(address)))
        }
        (0x21, 0x21) => {
            let address = fields.try_get_u128().map_err(|_| short())?;
            let _target = fields.try_get_u128().map_err(|_| short())?;
            Some(IpAddr::V6(Ipv6Addr::from(address)))
        }
        _ => None,
    };
    let peer = match peer {
        Some(address) => {
            let port = fields.try_get_u16().map_err(|_| short())?;
            Some(SocketAddr::new(address, port))
        }
        None => None,
    };
    Ok(Some(Header { peer, size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, fields: &[u8]) -> Vec<u8> {
        let size = (fields.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, family], &size, fields].concat()
    }

    #[test]
    fn headers_tell_the_peer() {
        let v6 = [&[0; 15][..], &[1], &[0; 16], &[1, 2, 0, 80]].concat();
        let cases: [(&[u8], Option<&str>); 6] = [
            (
                b"PROXY TCP4 10.1.2.3 10.0.0.1 4711 10911\r\n",
                Some("10.1.2.3:4711"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
                Some("[2001:db8::1]:1"),
            ),
            (b"PROXY UNKNOWN whatever comes\r\n", None),
            (
                &binary(
                    0x21,
                    0x11,
                    &[10, 1, 2, 3, 10, 0, 0, 1, 0x12, 0x67, 0, 80, 4, 0, 1, 0],
                ),
                Some("10.1.2.3:4711"),
            ),
            (&binary(0x21, 0x21, &v6), Some("[::1]:258")),
            (&binary(0x20, 0, b""), None),
        ];
        for (bytes, peer) in cases {
            let peer = peer.map(|text| text.parse().unwrap());
            let size = bytes.len();
            let with_more = [bytes, b"\0\0\0"].concat();
            assert_eq!(parse(&with_more), Ok(Some(Header { peer, size })));
            for cut in SIGNATURE.len()..size {
                assert_eq!(
                    parse(&bytes[..cut]),
                    Ok(None),
                    "the first {cut} of {size} bytes"
                );
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = [LINE, &[b'1'; 200]].concat();
        let cases: [&[u8]; 8] = [
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
            b"PROXY TCP4 1.2.3.4\r\n",
            b"PROXY \xff\r\n",
            &long,
            &binary(0x22, 0x11, &[0; 12]),
            &binary(0x21, 0x11, &[0; 9]),
            &binary(0x21, 0x11, &[0; 5000]),
        ];
        for bytes in cases {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let proxy = ProxyProtocol::default();
        let allows = |peer: &str| proxy.allows(peer.parse().unwrap());
        proxy.allow("10.0.0.0/8, 192.168.1.7, 2001:db8::/32");
        assert!(allows("10.255.0.1") && allows("192.168.1.7") && allows("::ffff:10.0.0.1"));
        assert!(allows("2001:db8:1::1"));
        assert!(!allows("11.0.0.1") && !allows("192.168.1.8") && !allows("2001:db9::1"));
        proxy.allow("0.0.0.0/0");
        assert!(allows("1.2.3.4") && !allows("::1"));
        for bad in ["10.0.0.0/33", "host", "10.0.0.0/x"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
