//! The protocol layer: what is spoken on a connection, and its requests and responses.
//!
//! [`recognize`] tells the protocols apart by the first bytes of a connection. [`remoting`] cuts
//! streams into frames, [`http2`] into the frames of many calls, and [`grpc`] those into messages.

pub(crate) mod grpc;
pub(crate) mod hpack;
pub(crate) mod http2;
pub(crate) mod remoting;

use remoting::Likeness;

/// Bytes by which every protocol told here can be told.
const LONGEST_BEGINNING: usize = 24;

/// What some bytes tell of their connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recognition {
    /// Nothing yet.
    Unknown,
    /// So many bytes from here, frames of remoting begin.
    Remoting(usize),
    /// So many bytes from here, HTTP/2 begins.
    Http2(usize),
    /// It is encrypted.
    Encrypted,
    /// It is something else, which is why.
    Foreign(&'static str),
}

/// Looks at the first bytes of one direction of a connection.
pub(crate) fn recognize(bytes: &[u8]) -> Recognition {
    if is_tls(bytes) {
        return Recognition::Encrypted;
    }
    let Some(passed) = behind_proxy_header(bytes) else {
        return Recognition::Unknown;
    };
    let bytes = bytes.get(passed..).unwrap_or_default();
    if let Some(reason) = foreign(bytes) {
        return Recognition::Foreign(reason);
    }
    if bytes.starts_with(http2::PREFACE) || http2::is_server_start(bytes) {
        return Recognition::Http2(passed);
    }
    match remoting::likeness(bytes) {
        Likeness::Frame => Recognition::Remoting(passed),
        Likeness::Unknown => Recognition::Unknown,
        Likeness::None if bytes.len() < LONGEST_BEGINNING => Recognition::Unknown,
        Likeness::None => Recognition::Foreign("its first bytes are no frame"),
    }
}

/// Whether the bytes are a record of TLS.
pub(crate) fn is_tls(bytes: &[u8]) -> bool {
    const LONGEST: u16 = 16_384 + 2_048;
    match bytes {
        [0x14..=0x17, 3, 0..=4, l0, l1, ..] => {
            (1..=LONGEST).contains(&u16::from_be_bytes([*l0, *l1]))
        }
        _ => false,
    }
}

/// Where the bytes behind HAProxy's header begin; `None` while it is not whole.
fn behind_proxy_header(bytes: &[u8]) -> Option<usize> {
    const VERSION_1: &[u8] = b"PROXY ";
    const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    const LONGEST_1: usize = 107;
    let begins = |signature: &[u8]| bytes.starts_with(signature) || signature.starts_with(bytes);
    if begins(VERSION_1) {
        let line = bytes.get(..LONGEST_1.min(bytes.len())).unwrap_or_default();
        let end = line.windows(2).position(|two| two == b"\r\n");
        return match end {
            None if bytes.len() >= LONGEST_1 => Some(0),
            end => end.map(|end| end + 2),
        };
    }
    if begins(VERSION_2) {
        let length = bytes.get(14..)?.first_chunk()?;
        let end = 16 + usize::from(u16::from_be_bytes(*length));
        return (bytes.len() >= end).then_some(end);
    }
    Some(0)
}

/// What the first bytes are, if they are those of another protocol that is easily told.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    const BEGINNINGS: [(&[u8], &str); 8] = [
        (b"GET ", "it is HTTP/1"),
        (b"POST ", "it is HTTP/1"),
        (b"PUT ", "it is HTTP/1"),
        (b"HEAD ", "it is HTTP/1"),
        (b"OPTIONS ", "it is HTTP/1"),
        (b"HTTP/1", "it is HTTP/1"),
        (b"SSH-", "it is SSH"),
        (b"*", "it is Redis"),
    ];
    let known = BEGINNINGS
        .iter()
        .find(|(begin, _)| bytes.starts_with(begin));
    known.map(|(_, reason)| *reason)
}
