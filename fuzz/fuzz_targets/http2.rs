#![no_main]
//! HTTP/2: all of a connection, or what follows the preface: frames as they come, frames with the
//! lengths that their payloads want, a call of a command, an exchange of frames.

mod server;

use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;

/// A frame of this kind, with these flags, of a stream.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [
        length[1], length[2], length[3], kind, flags, 0, 0, 0, stream,
    ];
    [&head, payload].concat()
}

/// Frames from pieces of an input: kind, flags, stream, a length, and so much payload.
fn frames(mut pieces: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while let [kind, flags, stream, length, rest @ ..] = pieces {
        let (payload, behind) = rest.split_at(rest.len().min((*length).into()));
        frames.extend(frame(*kind, *flags, *stream, payload));
        pieces = behind;
    }
    frames
}

/// A field of a head that is in no table, with its name in full.
fn field(name: &str, value: &str) -> Vec<u8> {
    let [name, value] = [name, value].map(|it| [&[it.len() as u8], it.as_bytes()].concat());
    [&[0], &name[..], &value].concat()
}

/// A POST to a path, with a body.
fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let fields = [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", path),
        field("content-type", "application/json"),
    ];
    let head = frame(1, 4, 1, &fields.concat());
    // No longer than a frame may be.
    let data = body.chunks(16_384).map(|part| frame(0, 0, 1, part));
    [head, data.collect::<Vec<_>>().concat(), frame(0, 1, 1, b"")].concat()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((start, rest)) = bytes.split_first() else {
        return;
    };
    let sent = match start {
        b'P' => return drop(server::answers(bytes)),
        b'R' => rest.to_vec(),
        b'C' => post("/v1/commands/SEND_MESSAGE", rest),
        b'F' => post("/v1/frames", rest),
        _ => frames(rest),
    };
    let answers = server::answers(&[PREFACE, &frame(SETTINGS, 0, 0, b""), &sent].concat());
    // The server's own settings come first.
    assert_eq!(answers.get(3), Some(&SETTINGS));
});
