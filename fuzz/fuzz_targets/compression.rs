#![no_main]
//! Compressed bodies; the first byte chooses the kind.

use libfuzzer_sys::fuzz_target;
use wire::message::compression::CompressionType;

const LIMIT: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let Ok(compression) = CompressionType::of_sys_flag(i32::from(*kind) << 8) else { return };
    if let Ok(plain) = compression.decompress(bytes, LIMIT) {
        assert!(plain.len() <= LIMIT);
    }
});
