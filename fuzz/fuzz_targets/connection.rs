#![no_main]
//! A connection to a server: what it speaks, a PROXY header, the start of TLS, frames.

mod server;

use libfuzzer_sys::fuzz_target;

/// What the bytes of an input come behind, so that each subject is reached at once.
const STARTS: [&[u8]; 4] = [
    b"",
    b"PROXY TCP4 ",
    &[13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21],
    &[0x16, 3, 1],
];

fuzz_target!(|bytes: &[u8]| {
    let Some((start, rest)) = bytes.split_first() else {
        return;
    };
    let start = STARTS[usize::from(*start) % STARTS.len()];
    server::answers(&[start, rest].concat());
});
