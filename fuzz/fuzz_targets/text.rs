#![no_main]
//! Ids, handles, names and tag expressions that clients send as text.

use libfuzzer_sys::fuzz_target;
use wire::message::id::{OffsetMessageId, UniqueId};
use wire::message::pop::ExtraInfo;
use wire::message::tags::TagExpression;
use wire::message::{names, pop};

fuzz_target!(|text: &str| {
    let _ = (OffsetMessageId::decode(text), UniqueId::decode(text));
    let _ = (ExtraInfo::decode(text), ExtraInfo::decode_receipt_handle(text));
    let _ = (pop::parse_start_offset_info(text), pop::parse_msg_offset_info(text));
    let _ = (names::validate_topic(text), names::validate_group(text));
    let _ = (names::normal_topic(text), names::group_of_retry_topic(text));
    let _ = (names::without_namespace(text), names::parent_and_lite_topic(text));
    if let Ok(expression) = TagExpression::parse(text) {
        let _ = (expression.codes(), expression.matches(Some(text)));
    }
});
