//! Frames against those that the reference encodes, decodes and refuses.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::Value;
use wire::frame::{Frame, FrameError, Head, Language, MAX_FRAME_SIZE, SerializeType, encode};
use wire::header::Header;

extern crate kerolox_wire as wire;

fn lines(text: &str) -> impl Iterator<Item = Value> + '_ {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("golden data is JSON"))
}

fn bytes_of(value: &Value) -> Vec<u8> {
    value
        .as_str()
        .map_or_else(Vec::new, |text| STANDARD.decode(text).expect("base64"))
}

fn decode_one(bytes: &[u8]) -> Frame {
    let mut buf = BytesMut::from(bytes);
    let frame = Frame::decode(&mut buf)
        .expect("a good frame")
        .expect("a whole frame");
    assert!(buf.is_empty(), "bytes left behind the frame");
    frame
}

/// The fields as the golden data has them: no null name (empty in ROCKETMQ), nulls as JSON null.
fn fields(frame: &Frame) -> BTreeMap<String, Value> {
    let text = |value: Cow<'_, str>| Value::String(value.into_owned());
    let is_json = frame.head.serialize == SerializeType::Json;
    frame
        .ext
        .iter()
        .filter(|(name, _)| is_json || !name.is_empty())
        .map(|(name, value)| (name.into_owned(), value.map_or(Value::Null, text)))
        .collect()
}

/// Compares with the golden fields; `changed` overrides what differs after decoding.
fn assert_decodes(name: &str, bytes: &[u8], expected: &Value, changed: &Value) {
    let frame = decode_one(bytes);
    let want = |field: &str| changed.get(field).unwrap_or(&expected[field]).clone();
    assert_eq!(Value::from(frame.head.code), want("code"), "{name}: code");
    assert_eq!(
        Value::from(frame.head.opaque),
        want("opaque"),
        "{name}: opaque"
    );
    assert_eq!(Value::from(frame.head.flag), want("flag"), "{name}: flag");
    assert_eq!(
        Value::from(frame.head.version),
        want("version"),
        "{name}: version"
    );
    let language = frame.head.language.map(Language::name);
    assert_eq!(Value::from(language), want("language"), "{name}: language");
    assert_eq!(
        Value::from(frame.remark.clone()),
        want("remark"),
        "{name}: remark"
    );
    let want_fields: BTreeMap<String, Value> =
        serde_json::from_value(want("ext")).unwrap_or_default();
    // A null and an absent value mean the same.
    let present = |fields: BTreeMap<String, Value>| -> BTreeMap<String, Value> {
        fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect()
    };
    assert_eq!(
        present(fields(&frame)),
        present(want_fields),
        "{name}: fields"
    );
    assert_eq!(frame.body, bytes_of(&want("body_b64")), "{name}: body");
}

#[test]
fn every_golden_frame_decodes_to_its_fields() {
    let mut frames = 0;
    for golden in lines(include_str!("data/frames.jsonl")) {
        let name = golden["name"].as_str().expect("a name");
        assert_decodes(
            name,
            &bytes_of(&golden["frame_b64"]),
            &golden,
            &golden["decoded"],
        );
        if golden.get("wire_b64").is_some() {
            let changed = golden.get("wire_decoded").unwrap_or(&golden["decoded"]);
            assert_decodes(name, &bytes_of(&golden["wire_b64"]), &golden, changed);
        }
        frames += 1;
    }
    assert_eq!(frames, 290);
}

#[test]
fn every_golden_frame_encodes_to_the_same() {
    for golden in lines(include_str!("data/frames.jsonl")) {
        let name = golden["name"].as_str().expect("a name");
        let bytes = bytes_of(&golden["frame_b64"]);
        let frame = decode_one(&bytes);
        let mut out = BytesMut::new();
        // The reference's order of the fields is kept, and so are its empty values.
        let pairs: Vec<_> = frame
            .ext
            .iter()
            .map(|(name, value)| (name.into_owned(), value.unwrap_or_default().into_owned()))
            .collect();
        let mut head = frame.head;
        head.code = golden["code"].as_i64().expect("a code") as i32;
        encode(
            &head,
            frame.remark.as_deref(),
            pairs.as_slice(),
            frame.body.len(),
            &mut out,
        );
        out.extend_from_slice(&frame.body);
        match head.serialize {
            SerializeType::RocketMq => assert_eq!(out, bytes, "{name}"),
            SerializeType::Json => {
                let again = decode_one(&out);
                assert_eq!(again.head, frame.head, "{name}");
                assert_eq!(again.remark, frame.remark, "{name}");
                assert_eq!(fields(&again), fields(&frame), "{name}");
                assert_eq!(again.body, frame.body, "{name}");
            }
        }
    }
}

/// What the reference does with bad bytes, we do: decode, wait for more, or give the stream up.
#[test]
fn bad_frames_are_refused_as_the_reference_refuses_them() {
    let mut seen = 0;
    for golden in lines(include_str!("data/frames-bad.jsonl")) {
        let name = golden["name"].as_str().expect("a name");
        let mut buf = BytesMut::from(&bytes_of(&golden["frame_b64"])[..]);
        let mut decoded = Vec::new();
        let end = loop {
            match Frame::decode(&mut buf) {
                Ok(Some(frame)) => decoded.push(frame),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let closed = golden["reference"]
            .as_str()
            .is_some_and(|word| word.ends_with("closed"));
        assert_eq!(end.is_err(), closed, "{name}: {end:?}");
        if let Err(error) = end {
            assert!(error.to_string().len() > 20, "{name}: no sentence: {error}");
        }
        let wanted = golden["decoded"].as_array().cloned().unwrap_or_default();
        // The reference's decoder goes on behind a frame that it has closed the connection for.
        let after_the_end = usize::from(name == "good_then_bad_then_good");
        assert_eq!(
            decoded.len() + after_the_end,
            wanted.len(),
            "{name}: frames before the end"
        );
        for (frame, want) in decoded.iter().zip(wanted) {
            assert_eq!(Value::from(frame.head.code), want["code"], "{name}: code");
            // A missing opaque is a number of the reference's own choice.
            if !matches!(name, "json_missing_opaque" | "json_names_other_case") {
                assert_eq!(
                    Value::from(frame.head.opaque),
                    want["opaque"],
                    "{name}: opaque"
                );
            }
            assert_eq!(
                Value::from(frame.remark.clone()),
                want["remark"],
                "{name}: remark"
            );
            let language = frame.head.language.map(Language::name);
            assert_eq!(Value::from(language), want["language"], "{name}: language");
            let want: BTreeMap<String, Value> =
                serde_json::from_value(want["ext"].clone()).unwrap_or_default();
            assert_eq!(fields(frame), want, "{name}: fields");
        }
        seen += 1;
    }
    assert_eq!(seen, 59);
}

#[test]
fn the_last_field_map_of_a_json_header_counts() {
    let decode = |header: &str| {
        let length = header.len() as u32;
        let lengths = [(4 + length).to_be_bytes(), length.to_be_bytes()];
        let frame = decode_one(&[lengths.as_flattened(), header.as_bytes()].concat());
        (frame.ext.is_empty(), Value::from_iter(fields(&frame)))
    };
    assert_eq!(
        decode(
            r#"{"extFields":{"a":"1\u0001","b":"2"},"code":1,
                "extFields":{'c\n':"\"é\" \ud83d\ude00","d":null,"e":[1, "\t"],"f":"", "g" : -1.5}}"#
        ),
        (
            false,
            serde_json::json!({
                "c\n": "\"é\" 😀", "d": null, "e": r#"[1, "\t"]"#, "f": "", "g": "-1.5"
            })
        )
    );
    let none = || Value::from_iter(BTreeMap::<String, Value>::new());
    assert_eq!(decode(r#"{"extFields":{}}"#), (false, none()));
    assert_eq!(
        decode(r#"{"extFields":{"a":"1"},"extFields":null}"#),
        (true, none())
    );
}

#[test]
fn a_nonsense_length_is_told_before_its_bytes_come() {
    let mut buf = BytesMut::from(&b"GET / HTTP/1.1\r\n\r\n"[..]);
    assert_eq!(
        Frame::decode(&mut buf).unwrap_err(),
        FrameError::Length {
            length: 0x4745_5420
        }
    );
}

#[derive(Debug, Default, Clone, PartialEq, Header)]
#[header(name = "Inner")]
struct Inner<'a> {
    bname: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, Clone, PartialEq, Header)]
#[header(name = "Sample")]
struct Sample<'a> {
    #[header(required)]
    topic: Cow<'a, str>,
    #[header(name = "e", required)]
    queue_id: i32,
    born_timestamp: Option<i64>,
    batch: bool,
    #[header(flatten)]
    inner: Inner<'a>,
}

fn serialize_types() -> impl Strategy<Value = SerializeType> {
    prop_oneof![Just(SerializeType::Json), Just(SerializeType::RocketMq)]
}

prop_compose! {
    fn samples()(
        topic in ".{1,40}",
        queue_id in any::<i32>(),
        born_timestamp in any::<Option<i64>>(),
        batch in any::<bool>(),
        bname in proptest::option::of(".{1,10}"),
    ) -> Sample<'static> {
        let inner = Inner { bname: bname.map(Cow::Owned) };
        Sample { topic: topic.into(), queue_id, born_timestamp, batch, inner }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_however_it_is_cut(
        serialize in serialize_types(),
        sample in samples(),
        code in any::<i16>(),
        opaque in any::<i32>(),
        remark in proptest::option::of(".{1,30}"),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let head = Head { opaque, ..Head::request(i32::from(code), serialize) };
        let mut bytes = BytesMut::new();
        encode(&head, remark.as_deref(), &sample, body.len(), &mut bytes);
        bytes.extend_from_slice(&body);

        let cut = cut.index(bytes.len());
        let mut buf = BytesMut::from(&bytes[..cut]);
        prop_assert!(Frame::decode(&mut buf).expect("no error in a part").is_none());
        buf.extend_from_slice(&bytes[cut..]);
        buf.extend_from_slice(b"next");
        let frame = Frame::decode(&mut buf).expect("good").expect("whole");
        prop_assert_eq!(&buf[..], b"next");
        prop_assert_eq!(frame.head, head);
        prop_assert_eq!(&frame.remark, &remark);
        prop_assert_eq!(&frame.body[..], &body[..]);
        prop_assert_eq!(frame.header::<Sample<'_>>().expect("a header"), sample);
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut buf = BytesMut::from(&bytes[..]);
        while let Ok(Some(frame)) = Frame::decode(&mut buf) {
            let _ = frame.header::<Sample<'_>>();
        }
    }

    #[test]
    fn a_damaged_frame_never_panics(
        serialize in serialize_types(),
        sample in samples(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = BytesMut::new();
        encode(&Head::request(310, serialize), None, &sample, 0, &mut bytes);
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        while let Ok(Some(frame)) = Frame::decode(&mut bytes) {
            prop_assert!(frame.body.len() < MAX_FRAME_SIZE);
            let _ = frame.header::<Sample<'_>>();
        }
    }
}

#[test]
fn a_header_says_what_is_wrong_with_it() {
    let decode = |pairs: &[(&str, &str)]| {
        let mut bytes = BytesMut::new();
        encode(
            &Head::request(1, SerializeType::Json),
            None,
            pairs,
            0,
            &mut bytes,
        );
        decode_one(&bytes)
            .header::<Sample<'_>>()
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        decode(&[("topic", "t"), ("e", "3"), ("unknown", "x")]),
        Ok(())
    );
    assert_eq!(
        decode(&[("topic", "t")]).unwrap_err(),
        "the field e of Sample is missing"
    );
    assert_eq!(
        decode(&[("topic", "t"), ("e", "3.5")]).unwrap_err(),
        "the field e of Sample must be a 32-bit number, not \"3.5\""
    );
}
