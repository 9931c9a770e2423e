#![no_main]
//! JSON bodies, and the compressed registration of a broker.

use libfuzzer_sys::fuzz_target;
use wire::body::heartbeat::HeartbeatData;
use wire::body::json;
use wire::body::offset::ConsumeStats;
use wire::body::register::RegisterBrokerBody;
use wire::body::route::TopicRouteData;

fuzz_target!(|bytes: &[u8]| {
    let _ = json::read::<ConsumeStats>(bytes);
    let _ = json::read::<TopicRouteData>(bytes);
    if let Ok(beat) = json::read::<HeartbeatData>(bytes) {
        assert_eq!(json::read::<HeartbeatData>(&json::write(&beat)), Ok(beat));
    }
    if let Ok(body) = RegisterBrokerBody::decompress(bytes) {
        let again = json::read::<RegisterBrokerBody>(&json::write(&body));
        assert_eq!(again, Ok(body));
    }
});
