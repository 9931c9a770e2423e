#![no_main]
//! Capture files of both formats, and all that the analyser makes of them.

use std::io::Cursor;
use std::time::Duration;

use inspect::view::json;
use inspect::{CaptureFile, Exchange, Inspector, Options, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut file) = CaptureFile::new(Cursor::new(bytes.to_vec())) else {
        return;
    };
    let mut inspector = Inspector::new(Options {
        keep_bodies: 100,
        keep_bytes: 100,
        ..Options::default()
    });
    let mut show = |exchange: Exchange| drop(json::line(&exchange));
    while let Ok(true) = file.read(Duration::ZERO, &mut |seen| inspector.observe(seen, &mut show)) {}
    inspector.end(&mut show);
    drop(inspect::view::table::sessions(inspector.sessions()));
});
