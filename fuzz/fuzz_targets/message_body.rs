#![no_main]
//! What a consumer receives: records one behind the other, with compressed bodies.

use libfuzzer_sys::fuzz_target;
use wire::message::body::{Records, plain_body};

fuzz_target!(|bytes: &[u8]| {
    for record in Records::new(bytes).flatten() {
        if let Ok(body) = plain_body(&record, 1 << 20) {
            assert!(body.len() <= bytes.len().max(1 << 20));
        }
    }
});
