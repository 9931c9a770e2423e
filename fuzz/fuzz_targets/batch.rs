#![no_main]
//! The body of a batch of messages, as a producer sends it.

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use wire::message::body::Batch;

fuzz_target!(|bytes: &[u8]| {
    let mut again = BytesMut::new();
    for message in Batch::new(bytes) {
        let Ok(message) = message else { return };
        message.encode_into(&mut again).expect("a message that was read can be written");
    }
    let messages: Vec<_> = Batch::new(bytes).flatten().collect();
    assert_eq!(Batch::new(&again).flatten().collect::<Vec<_>>(), messages);
});
