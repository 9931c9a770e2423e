#![no_main]
//! Property strings.

use libfuzzer_sys::fuzz_target;
use wire::message::properties;

fuzz_target!(|text: &str| {
    for (name, _) in properties::iter(text) {
        assert!(properties::get(text, name).is_some());
    }
    let encoded = properties::encode(properties::iter(text));
    assert!(properties::iter(&encoded).eq(properties::iter(text)));
});
