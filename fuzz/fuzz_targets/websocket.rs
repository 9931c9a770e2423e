#![no_main]
//! A WebSocket: all of a connection, or what follows the handshake: frames as they come, or frames
//! with the lengths and masks that their payloads want.

mod server;

use libfuzzer_sys::fuzz_target;

const HANDSHAKE: &[u8] = b"GET /v1/frames HTTP/1.1\r\nHost: fuzz\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Frames from pieces of an input: a first byte, a length, and so much payload.
fn frames(mut pieces: &[u8]) -> Vec<u8> {
    let mut frames = HANDSHAKE.to_vec();
    while let [first, length, rest @ ..] = pieces {
        let (payload, behind) = rest.split_at(rest.len().min((*length).into()));
        frames.extend([*first, 0x80 | 126, 0, payload.len() as u8, 0, 0, 0, 0]);
        frames.extend(payload);
        pieces = behind;
    }
    frames
}

/// Checks that the server answers with unmasked frames of known kinds, the last of which closes.
fn check(answers: &[u8]) {
    let end = answers
        .windows(4)
        .position(|it| it == b"\r\n\r\n")
        .expect("a handshake");
    let mut rest = &answers[end + 4..];
    let mut last = 0;
    while let [first, length, behind @ ..] = rest {
        assert!([0x82, 0x88, 0x8a].contains(first), "{first:02x}");
        let (length, behind) = match length {
            ..126 => (usize::from(*length), behind),
            126 => (
                usize::from(u16::from_be_bytes([behind[0], behind[1]])),
                &behind[2..],
            ),
            127 => (
                u64::from_be_bytes(behind[..8].try_into().expect("8")) as usize,
                &behind[8..],
            ),
            128.. => panic!("a server's frame is masked"),
        };
        rest = &behind[length..];
        last = *first;
    }
    assert!(rest.is_empty() && last == 0x88, "it ends with {last:02x}");
}

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((b'G', _)) => drop(server::answers(bytes)),
        Some((b'F', raw)) => check(&server::answers(&[HANDSHAKE, raw].concat())),
        Some((_, pieces)) => check(&server::answers(&frames(pieces))),
        None => {}
    }
});
