//! Frames that are not what they say, or say it otherwise than most.

use kerolox_inspect::{Exchange, Options};
use wire::command::RequestCode;
use wire::frame::{Head, SerializeType};
use wire::message::compression::CompressionType;

use crate::follow::{Dialogue, record};
use crate::made::{ACK, frame, packet, send_fields};
use crate::support::inspect;

/// What a request says with a body.
fn asked(code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Exchange {
    let mut bytes = Vec::new();
    let head = Head::request(code as i32, SerializeType::Json);
    frame(&head, fields, body, &mut bytes);
    let options = Options {
        keep_bodies: 100,
        ..Options::default()
    };
    let outcome = inspect(&[packet(0, 0, 1, ACK, &bytes)], options);
    outcome.exchanges.into_iter().next().expect("an exchange")
}

/// Sends a message whose body is compressed with zlib, as the frame says.
fn sent(body: &[u8]) -> Exchange {
    let fields = send_fields("1", "");
    asked(RequestCode::SendMessageV2, &fields, body)
}

#[test]
fn a_body_that_cannot_be_decompressed_is_shown_as_it_is_with_a_word() {
    let plain = b"what was meant";
    let packed = CompressionType::Zlib
        .compress(plain, 5)
        .expect("it is small");
    let whole = sent(&packed);
    assert_eq!(whole.messages[0].body, plain[..]);
    assert_eq!(whole.unread, None);
    for wrong in [&plain[..], &packed[..packed.len() / 2]] {
        let sent = sent(wrong);
        assert_eq!(sent.messages[0].body, wrong);
        let unread = sent.unread.expect("a word");
        assert!(
            unread.contains("cannot be decompressed with ZLIB"),
            "{unread}"
        );
    }
}

#[test]
fn a_heartbeat_that_is_no_json_is_said_to_be_unread() {
    let unread = |body: &[u8]| asked(RequestCode::Heartbeat, &[], body).unread;
    assert!(unread(b"{\"clientID\":").is_some());
    assert!(unread(&[0x78, 0x9c, 0xff]).is_some());
    assert_eq!(unread(b"{\"clientID\":\"one\"}"), None);
    assert_eq!(unread(b""), None);
}

#[test]
fn messages_before_a_damaged_one_are_shown_and_that_there_is_one() {
    let mut dialogue = Dialogue::default();
    let mut brought = record("orders", (1, 5), 100, "");
    let whole = brought.len();
    brought.extend_from_within(..whole / 2);
    dialogue.pull("orders", "1", &brought);
    let outcome = inspect(&dialogue.packets, Options::default());
    let pulled = &outcome.exchanges[0];
    assert_eq!(pulled.messages.len(), 1);
    assert!(pulled.unread.is_some());
}

#[test]
fn topics_and_groups_are_told_whatever_a_header_calls_them() {
    let lite = [("parentTopic", "orders"), ("group", "shop")];
    let asked_for = asked(RequestCode::GetLiteClientInfo, &lite, b"");
    assert_eq!(asked_for.topic.as_deref(), Some("orders"));
    assert_eq!(asked_for.group.as_deref(), Some("shop"));
    let clone = [("srcGroup", "shop"), ("destGroup", "other")];
    let asked_for = asked(RequestCode::CloneGroupOffset, &clone, b"");
    assert_eq!(asked_for.group.as_deref(), Some("shop"));
}
