#![no_main]
//! A stream of frames and their typed headers.

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use wire::frame::Frame;
use wire::header::{nameserver, pull, send};

fuzz_target!(|bytes: &[u8]| {
    let mut stream = BytesMut::from(bytes);
    while let Ok(Some(frame)) = Frame::decode(&mut stream) {
        let _ = frame.header::<send::SendMessageRequestV2<'_>>();
        let _ = frame.header::<pull::PullMessageRequest<'_>>();
        let _ = frame.header::<nameserver::RegisterBrokerRequest<'_>>();
        let mut again = BytesMut::new();
        wire::frame::encode(&frame.head, frame.remark.as_deref(), &frame.ext, 0, &mut again);
        let again = Frame::decode(&mut again).expect("what was encoded decodes").expect("whole");
        // A language that nobody knows is not kept.
        assert_eq!(again.head.code, frame.head.code);
        assert_eq!(again.head.opaque, frame.head.opaque);
        assert_eq!(again.head.flag, frame.head.flag);
    }
});
