#![no_main]
//! Messages of the gRPC API.

use libfuzzer_sys::fuzz_target;
use prost::Message;
use wire::grpc::{ReceiveMessageResponse, SendMessageRequest, TelemetryCommand};

/// What is read is written so that it reads as the same.
fn check<M: Message + Default>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let written = message.encode_to_vec();
        let again = M::decode(&*written).expect("what was written is read");
        // As bytes, since a number that is none does not equal itself.
        assert_eq!(again.encode_to_vec(), written);
    }
}

fuzz_target!(|bytes: &[u8]| {
    check::<SendMessageRequest>(bytes);
    check::<ReceiveMessageResponse>(bytes);
    check::<TelemetryCommand>(bytes);
});
