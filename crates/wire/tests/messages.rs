//! The reference's encodings of messages, ids, names and POP texts (`data/messages.jsonl`), read
//! and made again.

#![expect(
    clippy::unwrap_used,
    reason = "a test may stop at what it does not expect"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::BytesMut;
use kerolox_wire::message::body::{Batch, BatchMessage, Records, check_batch, plain_body};
use kerolox_wire::message::compression::CompressionType;
use kerolox_wire::message::id::{OffsetMessageId, UniqueId, UniqueIdGenerator};
use kerolox_wire::message::pop::revive::{CK_TAG, PopAck, PopCheckPoint};
use kerolox_wire::message::pop::{self, ExtraInfo, TopicKind};
use kerolox_wire::message::recall::RecallHandle;
use kerolox_wire::message::record::{
    self, BLANK_MAGIC, LogEntry, PROPERTIES_CRC_LEN, RecordError, RecordFields, RecordRef,
    RecordVersion,
};
use kerolox_wire::message::tags::{TagExpression, java_hash, tags_code};
use kerolox_wire::message::{names, properties, property};
use serde_json::{Value, json};

const DATA: &str = include_str!("data/messages.jsonl");

/// Plenty for every body of the data.
const LIMIT: usize = 1 << 20;

fn all() -> impl Iterator<Item = Value> {
    DATA.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// Runs `check` on each line of a kind, of which there must be some.
fn each(kind: &str, check: impl Fn(&Value)) {
    let lines: Vec<Value> = all().filter(|line| line["kind"] == kind).collect();
    assert!(!lines.is_empty(), "no line of kind {kind}");
    for line in &lines {
        println!("{kind} {}", line["name"]);
        check(line);
    }
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field]
        .as_str()
        .unwrap_or_else(|| panic!("no text {field}"))
}

fn long(line: &Value, field: &str) -> i64 {
    line[field]
        .as_i64()
        .unwrap_or_else(|| panic!("no number {field}"))
}

fn int(line: &Value, field: &str) -> i32 {
    long(line, field).try_into().unwrap()
}

/// Bytes in Base64; null is empty.
fn bytes(line: &Value, field: &str) -> Vec<u8> {
    BASE64_STANDARD
        .decode(line[field].as_str().unwrap_or_default())
        .unwrap()
}

fn host(line: &Value, field: &str) -> SocketAddr {
    text(line, field).parse().unwrap()
}

fn map(value: &Value) -> BTreeMap<String, String> {
    match value {
        Value::Null => BTreeMap::new(),
        value => serde_json::from_value(value.clone()).unwrap(),
    }
}

fn decoded(string: &str) -> BTreeMap<String, String> {
    properties::iter(string)
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn is_exception(value: &Value) -> bool {
    value.get("exception").is_some()
}

#[test]
fn every_kind_of_line_is_checked() {
    let checked = "batch_body batch_body_refused batch_inner batch_stored body_crc compressed \
        compression_type_of_sys_flag constants decompress_bad extra_info group_kind is_lmq \
        lite_topic names names_cluster namespace offset_msg_id offset_msg_id_bad pop_ack \
        pop_check_point pop_info pop_info_bad properties_decode properties_encode recall_handle \
        recall_handle_decode receipt_handle stored_record stored_record_refused tag_hash \
        tag_subscription topic_allows_lmq topic_validation uniq_id";
    // Expressions are checked in `sql92.rs`; bloom filters are no part of this crate.
    let elsewhere = "bits_array bloom bloom_bad sql92";
    let known: BTreeSet<String> = checked
        .split_whitespace()
        .chain(elsewhere.split_whitespace())
        .map(String::from)
        .collect();
    let found: BTreeSet<String> = all().map(|line| text(&line, "kind").into()).collect();
    assert_eq!(found, known);
}

#[test]
fn properties_are_written_and_read_as_by_the_reference() {
    each("properties_encode", |line| {
        // Null values are not written; the order is that of the line.
        let entries: Vec<(String, String)> = match &line["map"] {
            Value::Null => Vec::new(),
            map => map
                .as_object()
                .unwrap()
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.into())))
                .collect(),
        };
        let mut expected: Vec<&str> = text(line, "string").split_inclusive('\u{2}').collect();
        let string = properties::encode(
            entries
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        assert_eq!(string.len(), bytes(line, "utf8_b64").len());
        let mut written: Vec<&str> = string.split_inclusive('\u{2}').collect();
        // A map of JSON has no order, the string has.
        written.sort_unstable();
        expected.sort_unstable();
        assert_eq!(written, expected);
        assert_eq!(decoded(text(line, "string")), map(&line["decoded"]));
    });
    each("properties_decode", |line| {
        let string = text(line, "string");
        let expected = map(&line["decoded"]);
        assert_eq!(decoded(string), expected);
        for (name, value) in &expected {
            assert_eq!(properties::get(string, name), Some(value.as_str()));
            assert_eq!(properties::get_each(string, [name]), [Some(value.as_str())]);
        }
        assert_eq!(properties::get(string, "none"), None);
        assert_eq!(properties::get(string, ""), None);
    });
}

#[test]
fn a_property_can_be_replaced_and_removed() {
    let mut string = String::from("TAGS\u{1}A\u{2}KEYS\u{1}k\u{2}TAGS\u{1}B");
    assert_eq!(properties::get(&string, property::TAGS), Some("B"));
    properties::set(&mut string, property::TAGS, "C");
    assert_eq!(string, "KEYS\u{1}k\u{2}TAGS\u{1}C\u{2}");
    assert_eq!(
        properties::without(&string, &[property::KEYS]),
        "TAGS\u{1}C\u{2}"
    );
    assert!(property::is_reserved("TAGS") && !property::is_reserved("mine"));
}

#[test]
fn batches_are_written_and_read_as_by_the_reference() {
    let mut whole = BytesMut::new();
    each("batch_inner", |line| {
        let expected = bytes(line, "bytes_b64");
        let body = bytes(line, "body_b64");
        let message = BatchMessage {
            flag: int(line, "flag"),
            body: &body,
            properties: text(line, "properties_string").as_bytes(),
        };
        let mut written = BytesMut::new();
        message.encode_into(&mut written).unwrap();
        assert_eq!(written, expected);
        assert_eq!(message.encoded_len(), expected.len());
        assert_eq!(
            Batch::new(&expected)
                .collect::<Result<Vec<_>, _>>()
                .unwrap(),
            [message]
        );
    });
    each("batch_body", |line| {
        let expected = bytes(line, "bytes_b64");
        let messages: Vec<BatchMessage> = Batch::new(&expected).map(Result::unwrap).collect();
        assert_eq!(messages.len() as i64, long(line, "count"));
        let mut written = BytesMut::new();
        for message in &messages {
            message.encode_into(&mut written).unwrap();
        }
        assert_eq!(written, expected);
    });
    for line in all().filter(|line| line["kind"] == "batch_inner") {
        whole.extend_from_slice(&bytes(&line, "bytes_b64"));
    }
    let mut cut = Batch::new(&whole[..whole.len() - 1]);
    assert_eq!(cut.by_ref().filter(Result::is_ok).count(), 4);
    assert!(cut.next().is_none());
}

#[test]
fn what_cannot_be_batched_is_refused_in_the_words_of_the_reference() {
    let wait = "WAIT\u{1}true\u{2}";
    each("batch_body_refused", |line| {
        let messages = match text(line, "name") {
            "delay" => [("T", "DELAY\u{1}3\u{2}"), ("T", wait)],
            "two_topics" => [("T", wait), ("U", wait)],
            "retry_topic" => [("%RETRY%g", wait), ("%RETRY%g", wait)],
            "wait_differs" => [("T", wait), ("T", "WAIT\u{1}false\u{2}")],
            name => panic!("unknown case {name}"),
        };
        let error = check_batch(messages).unwrap_err();
        assert_eq!(error.to_string(), text(&line["result"], "message"));
    });
    check_batch([("T", wait), ("T", ""), ("T", "DELAY\u{1}0\u{2}")]).unwrap();
    check_batch([("T", "TIMER_DELIVER_MS\u{1}1732186800123\u{2}")]).unwrap_err();
}

#[test]
fn a_batch_is_stored_as_by_the_reference() {
    let five = all()
        .find(|line| line["kind"] == "batch_body" && line["name"] == "five")
        .unwrap();
    let five = bytes(&five, "bytes_b64");
    each("batch_stored", |line| {
        let mut written = BytesMut::new();
        for message in Batch::new(&five).map(Result::unwrap) {
            let fields = RecordFields {
                version: RecordVersion::V1,
                queue_id: int(line, "queue_id"),
                flag: message.flag,
                queue_offset: 0,
                physical_offset: 0,
                sys_flag: 0,
                born_timestamp: long(line, "born_timestamp"),
                born_host: host(line, "born_host"),
                store_timestamp: long(line, "store_timestamp"),
                store_host: host(line, "store_host"),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: message.body,
                topic: text(line, "topic"),
                properties: message.properties,
                more_properties: b"",
                append_record_crc: false,
            };
            fields.encode_into(&mut written).unwrap();
        }
        assert_eq!(written, bytes(line, "bytes_b64"));
        assert_eq!(Records::new(&written).map(Result::unwrap).count(), 5);
    });
}

/// The fields of a `stored_record` line, borrowing from it.
fn fields<'a>(line: &'a Value, body: &'a [u8]) -> RecordFields<'a> {
    RecordFields {
        version: if line["version"] == 2 {
            RecordVersion::V2
        } else {
            RecordVersion::V1
        },
        queue_id: int(line, "queue_id"),
        flag: int(line, "flag"),
        queue_offset: long(line, "queue_offset"),
        physical_offset: long(line, "physical_offset"),
        sys_flag: int(line, "sys_flag"),
        born_timestamp: long(line, "born_timestamp"),
        born_host: host(line, "born_host"),
        store_timestamp: long(line, "store_timestamp"),
        store_host: host(line, "store_host"),
        reconsume_times: int(line, "reconsume_times"),
        prepared_transaction_offset: long(line, "prepared_transaction_offset"),
        body,
        topic: text(line, "topic"),
        properties: line["properties_string"]
            .as_str()
            .unwrap_or_default()
            .as_bytes(),
        more_properties: b"",
        append_record_crc: line["append_prop_crc"] == true,
    }
}

#[test]
fn records_are_written_as_by_the_reference() {
    each("stored_record", |line| {
        let body = bytes(line, "body_b64");
        let expected = bytes(line, "record_b64");
        let fields = fields(line, &body);
        let mut written = BytesMut::from(&b"before"[..]);
        // The reference reserves the place of the record's CRC, and fills it in afterwards; the
        // line has it filled in.
        assert_eq!(fields.encode_into(&mut written).unwrap(), expected.len());
        assert_eq!(fields.encoded_len(), expected.len());
        assert_eq!(written[6..], expected[..]);

        for at in fields
            .properties
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == 2)
            .map(|(at, _)| at)
        {
            let (properties, more_properties) = fields.properties.split_at(at + 1);
            for properties in [properties, &properties[..at]] {
                let mut written = BytesMut::new();
                let fields = RecordFields {
                    properties,
                    more_properties,
                    ..fields
                };
                if !more_properties.is_empty() {
                    fields.encode_into(&mut written).unwrap();
                    assert_eq!(written, expected);
                }
            }
        }
    });
}

#[test]
fn records_are_read_as_by_the_reference() {
    each("stored_record", |line| {
        let mut bytes_and_more = bytes(line, "record_b64");
        let size = bytes_and_more.len();
        bytes_and_more.extend_from_slice(b"what follows");
        let body = bytes(line, "body_b64");
        let record = RecordRef::parse(&bytes_and_more).unwrap();
        let expected = fields(line, &body);
        assert_eq!(record.total_size() as i64, long(line, "total_size"));
        assert_eq!(record.as_bytes(), &bytes_and_more[..size]);
        assert_eq!(record.version(), expected.version);
        assert_eq!(record.version().magic(), int(line, "magic"));
        assert_eq!(i64::from(record.body_crc()), long(line, "body_crc"));
        assert_eq!(record.queue_id(), expected.queue_id);
        assert_eq!(record.flag(), expected.flag);
        assert_eq!(record.queue_offset(), expected.queue_offset);
        assert_eq!(record.physical_offset(), expected.physical_offset);
        assert_eq!(record.sys_flag(), expected.sys_flag);
        assert_eq!(record.born_timestamp(), expected.born_timestamp);
        assert_eq!(record.born_host(), expected.born_host);
        assert_eq!(record.store_timestamp(), expected.store_timestamp);
        assert_eq!(record.store_host(), expected.store_host);
        assert_eq!(record.reconsume_times(), expected.reconsume_times);
        assert_eq!(
            record.prepared_transaction_offset(),
            expected.prepared_transaction_offset
        );
        assert_eq!(record.body(), body);
        assert_eq!(record.topic(), expected.topic);
        record.check_body_crc().unwrap();
        if expected.append_record_crc {
            record.check_record_crc().unwrap();
            let without_crc = record.properties_bytes().len() - PROPERTIES_CRC_LEN;
            let (properties, _) = record.properties_bytes().split_at(without_crc);
            assert!(properties.starts_with(expected.properties));
        } else {
            assert_eq!(record.properties_bytes(), expected.properties);
            assert_eq!(record.check_record_crc(), Err(RecordError::NoRecordCrc));
        }

        let decoded_line = &line["decoded"];
        assert_eq!(record.topic(), text(decoded_line, "topic"));
        assert_eq!(
            decoded(&record.properties()),
            map(&decoded_line["properties"])
        );
        let plain = plain_body(&record, LIMIT).unwrap();
        if !plain.is_empty() {
            let len = if text(line, "name").contains("compressed") {
                6300
            } else {
                plain.len()
            };
            assert_eq!(plain.len(), len);
        }
        let id = OffsetMessageId {
            host: record.store_host(),
            offset: record.physical_offset(),
        };
        assert_eq!(id.to_string(), text(decoded_line, "offset_msg_id"));
    });
}

#[test]
fn what_is_no_whole_record_is_an_error() {
    each("stored_record", |line| {
        let whole = bytes(line, "record_b64");
        for len in 0..whole.len().min(400) {
            assert!(matches!(
                RecordRef::parse(&whole[..len]),
                Err(RecordError::Truncated { available, .. }) if available == len
            ));
        }
        let mut torn = whole.clone();
        let at = torn.len() - 1;
        torn[3] ^= 1;
        assert!(RecordRef::parse(&torn).is_err());
        torn[3] ^= 1;
        torn[4] ^= 1;
        assert!(matches!(
            RecordRef::parse(&torn),
            Err(RecordError::Magic(_))
        ));
        torn[4] ^= 1;
        if line["append_prop_crc"] == true {
            torn[12] ^= 1;
            let record = RecordRef::parse(&torn).unwrap();
            assert!(matches!(
                record.check_record_crc(),
                Err(RecordError::RecordCrc { .. })
            ));
            torn[at] = 0;
            let record = RecordRef::parse(&torn).unwrap();
            assert_eq!(record.check_record_crc(), Err(RecordError::NoRecordCrc));
        }
    });
    assert_eq!(RecordRef::parse(&[0; 200]), Err(RecordError::Unwritten));
}

#[test]
fn a_damaged_body_is_noticed() {
    let line = all().find(|line| line["name"] == "v1_v4_v4").unwrap();
    let mut bytes = bytes(&line, "record_b64");
    bytes[90] ^= 1;
    let record = RecordRef::parse(&bytes).unwrap();
    assert!(matches!(
        record.check_body_crc(),
        Err(RecordError::BodyCrc { .. })
    ));
}

#[test]
fn a_blank_is_told_from_a_record() {
    each("constants", |line| {
        assert_eq!(RecordVersion::V1.magic(), int(line, "message_magic_v1"));
        assert_eq!(RecordVersion::V2.magic(), int(line, "message_magic_v2"));
        assert_eq!(BLANK_MAGIC, int(line, "blank_magic"));
        assert_eq!(PROPERTIES_CRC_LEN as i64, long(line, "crc32_reserved_len"));
    });
    let mut blank = BytesMut::new();
    record::encode_blank(4096, &mut blank);
    assert_eq!(blank[..], [0, 0, 0x10, 0, 0xCB, 0xD4, 0x31, 0x94]);
    assert_eq!(LogEntry::parse(&blank), Ok(LogEntry::Blank { size: 4096 }));
    assert_eq!(
        RecordRef::parse(&blank),
        Err(RecordError::Magic(BLANK_MAGIC))
    );
    blank[2] = 0;
    assert!(matches!(
        LogEntry::parse(&blank),
        Err(RecordError::Size { .. })
    ));
}

#[test]
fn a_message_no_record_can_hold_is_refused() {
    each("stored_record_refused", |line| {
        let first = all().find(|line| line["kind"] == "stored_record").unwrap();
        let len = long(line, "properties_length") as usize;
        let properties = vec![b'p'; len];
        let mut out = BytesMut::new();
        let fields = RecordFields {
            properties: &properties,
            ..fields(&first, b"body")
        };
        assert_eq!(
            fields.encode_into(&mut out),
            Err(RecordError::PropertiesTooLong(len))
        );
        let topic = "t".repeat(128);
        let fields = RecordFields {
            topic: &topic,
            properties: b"",
            ..fields
        };
        let error = RecordError::TopicTooLong { len: 128, max: 127 };
        assert_eq!(fields.encode_into(&mut out), Err(error));
        assert!(out.is_empty());
        assert_eq!(RecordVersion::for_topic_len(128), RecordVersion::V2);
        assert_eq!(RecordVersion::for_topic_len(127), RecordVersion::V1);
    });
}

#[test]
fn the_crc_is_that_of_the_reference() {
    each("body_crc", |line| {
        assert_eq!(
            i64::from(record::crc32(&bytes(line, "body_b64"))),
            long(line, "crc")
        );
    });
}

#[test]
fn compressed_bodies_are_those_of_the_reference() {
    let random = all().find(|line| line["name"] == "len_5000").unwrap();
    let random = bytes(&random, "body_b64");
    each("compressed", |line| {
        let plain = if line["plain_b64"].is_null() {
            random.clone()
        } else {
            bytes(line, "plain_b64")
        };
        let sys_flag = int(line, "sys_flag");
        let compression = CompressionType::of_sys_flag(sys_flag).unwrap();
        assert_eq!(compression.name(), text(line, "type"));
        assert_eq!(
            CompressionType::of_name(&text(line, "type").to_lowercase()),
            Some(compression)
        );
        let compressed = bytes(line, "bytes_b64");
        assert_eq!(compression.decompress(&compressed, LIMIT).unwrap(), plain);
        assert_eq!(
            compression.decompress(&compressed, plain.len()).unwrap(),
            plain
        );
        if !plain.is_empty() {
            compression
                .decompress(&compressed, plain.len() - 1)
                .unwrap_err();
        }
        let again = compression.compress(&plain, int(line, "level")).unwrap();
        assert_eq!(compression.decompress(&again, LIMIT).unwrap(), plain);
    });
    each(
        "compression_type_of_sys_flag",
        |line| match CompressionType::of_sys_flag(int(line, "sys_flag")) {
            Ok(compression) => assert_eq!(compression.name(), line["result"]),
            Err(error) => {
                assert!(
                    error
                        .to_string()
                        .starts_with(text(&line["result"], "message"))
                );
            }
        },
    );
    each("decompress_bad", |line| {
        let hex = text(line, "bytes_hex").as_bytes();
        let bytes: Vec<u8> = hex
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect();
        let compression = CompressionType::of_name(text(line, "type")).unwrap();
        match compression.decompress(&bytes, LIMIT) {
            Ok(plain) => assert!(plain.is_empty() && line["result"] == ""),
            Err(_) => assert!(is_exception(&line["result"])),
        }
    });
}

#[test]
fn a_decompression_bomb_is_an_error() {
    for compression in [
        CompressionType::Lz4,
        CompressionType::Zstd,
        CompressionType::Zlib,
    ] {
        let bomb = compression.compress(&vec![0; 4 << 20], 9).unwrap();
        assert!(bomb.len() < LIMIT);
        let error = compression.decompress(&bomb, LIMIT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the body decompresses to more than 1048576 bytes, the limit"
        );
    }
}

#[test]
fn offset_message_ids_are_those_of_the_reference() {
    each("offset_msg_id", |line| {
        let id = OffsetMessageId {
            host: host(line, "host"),
            offset: long(line, "offset"),
        };
        assert_eq!(id.to_string(), text(line, "msg_id"));
        let read = OffsetMessageId::decode(text(line, "msg_id")).unwrap();
        assert_eq!(read.host, host(line, "decoded_host"));
        assert_eq!(read.offset, long(line, "decoded_offset"));
    });
    each("offset_msg_id_bad", |line| {
        let id = text(line, "msg_id");
        match OffsetMessageId::decode(id) {
            Ok(read) => {
                assert_eq!(read.host, host(&line["result"], "host"));
                assert_eq!(read.offset, long(&line["result"], "offset"));
            }
            // The reference takes a letter that is no digit for -1.
            Err(_) => assert!(is_exception(&line["result"]) || id.ends_with('G')),
        }
    });
    OffsetMessageId::decode("7F000001000100000000000000012FD1").unwrap_err();
    OffsetMessageId::decode("ééééééééééééé000000").unwrap_err();
}

#[test]
fn unique_ids_are_those_of_the_reference() {
    each("uniq_id", |line| {
        let id = UniqueId::decode(text(line, "id")).unwrap();
        assert_eq!(id.ip, text(line, "ip").parse::<IpAddr>().unwrap());
        assert_eq!(i64::from(id.pid), long(line, "pid"));
        assert_eq!(i64::from(id.loader_hash), long(line, "loader_hash"));
        assert_eq!(
            i64::from(id.since_month_start),
            long(line, "ms_since_month_start")
        );
        assert_eq!(i64::from(id.counter as i16), long(line, "counter"));
        assert_eq!(id.to_string(), text(line, "id"));
        if let Some(made_at) = line["clock_ms_when_made"].as_i64() {
            let generator = UniqueIdGenerator::new(id.ip, id.pid.into(), id.loader_hash, 0);
            let again = (0..=id.counter)
                .map(|_| generator.next(made_at))
                .last()
                .unwrap();
            assert_eq!(again, id);
            assert_eq!(id.made_at(made_at + 1, 0), made_at);
            assert_eq!(id.made_at(made_at + 20 * 86_400_000, 0), made_at);
        }
    });
}

#[test]
fn a_month_begins_in_the_time_zone_of_the_client() {
    let ip = IpAddr::from([192, 0, 2, 10]);
    let hour = 3_600_000;
    // 2024-02-29T23:30Z, and a second of March in the next time zone to the east.
    let leap_day = 1_709_249_400_000;
    let utc = UniqueIdGenerator::new(ip, 1, 1, 0).next(leap_day);
    assert_eq!(i64::from(utc.since_month_start), 29 * 24 * hour - hour / 2);
    let east = UniqueIdGenerator::new(ip, 1, 1, hour).next(leap_day);
    assert_eq!(i64::from(east.since_month_start), hour / 2);
    assert_eq!(utc.made_at(leap_day + hour, 0), leap_day);
    assert_eq!(east.made_at(leap_day + hour, hour), leap_day);
    assert_eq!(
        east.to_string(),
        "C000020A00010000000100".to_owned() + "1B77400000"
    );
}

#[test]
fn an_expression_of_a_million_tags_is_read_in_one_go() {
    let tags: Vec<_> = (0..1_000_000).map(|number| number.to_string()).collect();
    let twice = [tags.join("||"), tags.join("||")].join("||");
    let expression = TagExpression::parse(&twice).unwrap();
    assert_eq!(expression.codes().len(), tags.len());
}

#[test]
fn tags_and_their_expressions_are_those_of_the_reference() {
    each("tag_hash", |line| {
        assert_eq!(i64::from(java_hash(text(line, "tag"))), long(line, "hash"));
        assert_eq!(tags_code(Some(text(line, "tag"))), long(line, "tags_code"));
    });
    assert_eq!(tags_code(None), 0);
    each("tag_subscription", |line| {
        let result = &line["result"];
        match TagExpression::parse(text(line, "expression")) {
            Ok(expression) => {
                let tags: BTreeSet<&str> = match &expression {
                    TagExpression::All => BTreeSet::new(),
                    TagExpression::Tags(tags) => tags.iter().copied().collect(),
                };
                assert_eq!(
                    expression == TagExpression::All,
                    result["sub_string"] == "*"
                );
                assert_eq!(json!(tags), result["tags"]);
                let mut codes: Vec<i32> = expression.codes();
                codes.sort_unstable();
                assert_eq!(json!(codes), result["codes"]);
            }
            Err(_) => assert!(is_exception(result)),
        }
    });
    let expression = TagExpression::parse("TagA || TagB").unwrap();
    assert!(expression.matches(Some("TagB")) && !expression.matches(None));
    assert!(TagExpression::All.matches(None));
}

#[test]
fn retry_and_dead_letter_names_are_those_of_the_reference() {
    each("names", |line| {
        let (topic, group) = (text(line, "topic"), text(line, "group"));
        let (v1, v2) = (text(line, "pop_retry_v1"), text(line, "pop_retry_v2"));
        assert_eq!(names::retry_topic(group), text(line, "retry_topic"));
        assert_eq!(names::dlq_topic(group), text(line, "dlq_topic"));
        assert_eq!(names::pop_retry_topic_v1(topic, group), v1);
        assert_eq!(names::pop_retry_topic_v2(topic, group), v2);
        assert_eq!(names::is_pop_retry_topic_v2(v1), line["v1_is_v2"]);
        assert_eq!(names::is_pop_retry_topic_v2(v2), line["v2_is_v2"]);
        let of_group = |name| names::normal_topic_of_group(name, group).unwrap();
        assert_eq!(of_group(v1), line["normal_of_v1_with_group"]);
        assert_eq!(of_group(v2), line["normal_of_v2_with_group"]);
        assert_eq!(of_group(topic), topic);
        assert_eq!(names::normal_topic(v1), line["normal_of_v1"]);
        assert_eq!(names::normal_topic(v2), line["normal_of_v2"]);
        assert_eq!(
            names::group_of_retry_topic(v1).unwrap(),
            line["group_of_v1"]
        );
        assert_eq!(
            names::group_of_retry_topic(v2).unwrap(),
            line["group_of_v2"]
        );
        assert_eq!(names::polling_key(topic, group, 3), line["polling_key"]);
    });
    each("names_cluster", |line| {
        let cluster = text(line, "cluster");
        assert_eq!(names::reply_topic(cluster), line["reply_topic"]);
        assert_eq!(names::revive_topic(cluster), line["revive_topic"]);
        assert_eq!(names::REVIVE_GROUP, line["revive_group"]);
        assert_eq!(
            names::POP_ORDER_REVIVE_QUEUE,
            line["pop_order_revive_queue"]
        );
    });
}

#[test]
fn light_queue_names_are_those_of_the_reference() {
    each("is_lmq", |line| {
        if let Some(name) = line["name_in"].as_str() {
            assert_eq!(names::is_lmq(name), line["is_lmq"]);
            assert_eq!(names::topic_allows_lmq(name), line["topic_allows_lmq"]);
        }
    });
    each("topic_allows_lmq", |line| {
        assert_eq!(
            names::topic_allows_lmq(text(line, "name_in")),
            line["allowed"]
        );
    });
    each("lite_topic", |line| {
        let name = names::lite_lmq_name(text(line, "parent"), text(line, "lite"));
        assert_eq!(json!(name), line["lmq_name"]);
        let name = name.unwrap_or_default();
        assert_eq!(names::is_lite_topic_queue(&name), line["is_lite"]);
        let (parent, lite) = names::parent_and_lite_topic(&name).unzip();
        assert_eq!(json!(parent), line["parsed_parent"]);
        assert_eq!(json!(lite), line["parsed_lite"]);
        assert_eq!(
            names::belongs_to_parent_topic(&name, text(line, "parent")),
            line["is_lite"]
        );
        assert!(!names::belongs_to_parent_topic(&name, "other"));
    });
}

#[test]
fn names_are_accepted_and_refused_as_by_the_reference() {
    each("topic_validation", |line| {
        let name = text(line, "topic");
        for (checked, ok, remark) in [
            (names::validate_topic(name), "topic_ok", "topic_remark"),
            (names::validate_group(name), "group_ok", "group_remark"),
        ] {
            assert_eq!(checked.is_ok(), line[ok]);
            let said = checked
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert_eq!(said, text(line, remark));
        }
        assert_eq!(names::is_system_topic(name), line["system_topic"]);
        assert_eq!(
            names::is_not_allowed_send_topic(name),
            line["not_allowed_send"]
        );
    });
    each("group_kind", |line| {
        assert_eq!(
            names::is_system_group(text(line, "group")),
            line["sys_group"]
        );
        assert_eq!(
            names::is_predefined_group(text(line, "group")),
            line["predefined"]
        );
    });
}

#[test]
fn namespaces_are_those_of_the_reference() {
    each("namespace", |line| {
        let (namespace, name) = (text(line, "namespace"), text(line, "resource"));
        let wrapped = names::wrap_namespace(namespace, name);
        assert_eq!(wrapped, line["wrapped"].as_str().unwrap());
        let without = names::without_namespace(&wrapped);
        assert_eq!(without, line["without"].as_str().unwrap());
        let without_named = names::without_this_namespace(&wrapped, namespace);
        assert_eq!(without_named, line["without_named"].as_str().unwrap());
        assert_eq!(names::namespace_of(&wrapped), line["namespace_of"]);
        let retry = names::wrap_namespace_and_retry(namespace, name);
        assert_eq!(json!(retry), line["wrapped_retry"]);
    });
}

#[test]
fn check_points_and_acknowledgements_are_those_of_the_reference() {
    each("pop_check_point", |line| {
        let json = text(line, "json");
        let check_point = PopCheckPoint::decode(json).unwrap();
        assert_eq!(check_point.encode(), json);
        assert_eq!(check_point.unique_key(), line["uniq_key"]);
        assert_eq!(CK_TAG, line["tag"]);
        assert_eq!(check_point.revive_time(), line["revive_time"]);
        let index = check_point
            .index_of_ack(101)
            .map_or(-1, |index| index as i64);
        assert_eq!(index, line["index_of_offset_101"]);
        match check_point.ack_offset_by_index(2) {
            Some(offset) => assert_eq!(offset, line["ack_offset_by_index_2"]),
            None => assert!(is_exception(&line["ack_offset_by_index_2"])),
        }
        let old = PopCheckPoint {
            queue_offset_diff: Vec::new(),
            num: 3,
            ..check_point
        };
        assert_eq!(old.index_of_ack(old.start_offset + 2), Some(2));
        assert_eq!(old.index_of_ack(old.start_offset + 3), None);
        assert_eq!(old.ack_offset_by_index(2), Some(old.start_offset + 2));
    });
    each("pop_ack", |line| {
        let json = text(line, "json");
        let ack = PopAck::decode(json).unwrap();
        assert_eq!(ack.encode(), json);
        assert_eq!(ack.unique_key(), line["uniq_key"]);
        assert_eq!(ack.tag(), line["tag"]);
    });
    let long_names = r#"{"ackOffset":5,"consumerGroup":"g","topic":"t","queueId":1}"#;
    assert_eq!(
        PopAck::decode(long_names).unwrap().encode(),
        r#"{"ao":5,"c":"g","pt":0,"q":1,"so":0,"t":"t"}"#
    );
}

#[test]
fn extra_info_and_lists_are_those_of_the_reference() {
    each("extra_info", |line| {
        let topic = text(line, "topic");
        let with_offset = ExtraInfo {
            start_offset: long(line, "ck_queue_offset"),
            pop_time: long(line, "pop_time"),
            invisible_time: long(line, "invisible_time"),
            revive_queue_id: int(line, "revive_qid"),
            topic_kind: TopicKind::of_topic(topic),
            broker_name: text(line, "broker_name"),
            queue_id: int(line, "queue_id"),
            queue_offset: Some(long(line, "queue_offset")),
            commit_log_offset: None,
        };
        assert_eq!(with_offset.to_string(), line["with_offset"]);
        assert_eq!(
            ExtraInfo::decode(text(line, "with_offset")),
            Ok(with_offset)
        );
        let without = ExtraInfo {
            queue_offset: None,
            ..with_offset
        };
        assert_eq!(without.to_string(), line["without_offset"]);
        assert_eq!(ExtraInfo::decode(text(line, "without_offset")), Ok(without));
        assert_eq!(with_offset.topic_kind.as_str(), line["retry_field"]);
        let real = with_offset.topic_kind.real_topic("TopicTest", "GID_test");
        assert_eq!(real, line["real_topic"].as_str().unwrap());
        assert_eq!(with_offset.is_order(), line["is_order"]);
    });
    each("pop_info", |line| {
        let topic = text(line, "topic");
        let (mut start, mut offsets) = (String::new(), String::new());
        pop::append_start_offset(&mut start, topic, 2, 100);
        pop::append_msg_offsets(&mut offsets, topic, 2, &[100, 101]);
        let (mut queue, mut offset) = (String::new(), String::new());
        pop::append_queue_order_count(&mut queue, topic, 2, 3);
        pop::append_offset_order_count(&mut offset, topic, 2, 101, 4);
        assert_eq!(start, line["start_offset_info"]);
        assert_eq!(offsets, line["msg_offset_info"]);
        assert_eq!(queue, line["order_count_info_queue"]);
        assert_eq!(offset, line["order_count_info_offset"]);
        assert_eq!(
            json!(pop::parse_start_offset_info(&start).unwrap()),
            line["parsed_start"]
        );
        assert_eq!(
            json!(pop::parse_msg_offset_info(&offsets).unwrap()),
            line["parsed_msg"]
        );
        pop::append_offset_order_count(&mut queue, topic, 2, 101, 4);
        assert_eq!(
            json!(pop::parse_order_count_info(&queue).unwrap()),
            line["parsed_order"]
        );
        assert_eq!(pop::queue_key(topic, 2), line["start_offset_key"]);
        assert_eq!(
            pop::queue_offset_key(topic, 2, 101),
            line["queue_offset_key"]
        );
    });
    each("pop_info_bad", |line| {
        let list = text(line, "string");
        let empty = [
            pop::parse_start_offset_info(list).map(|list| list.is_empty()),
            pop::parse_msg_offset_info(list).map(|list| list.is_empty()),
            pop::parse_order_count_info(list).map(|list| list.is_empty()),
        ];
        for (parsed, field) in empty.into_iter().zip(["start", "msg", "order"]) {
            assert_eq!(parsed.ok(), line[field].is_null().then_some(true));
        }
    });
}

#[test]
fn receipt_and_recall_handles_are_those_of_the_reference() {
    each("receipt_handle", |line| {
        let result = &line["result"];
        let Ok(handle) = ExtraInfo::decode_receipt_handle(text(line, "string")) else {
            return assert!(is_exception(result));
        };
        assert_eq!(handle.start_offset, result["start_offset"]);
        assert_eq!(handle.pop_time, result["retrieve_time"]);
        assert_eq!(handle.invisible_time, result["invisible_time"]);
        assert_eq!(handle.next_visible_time(), result["next_visible_time"]);
        assert_eq!(handle.revive_queue_id, result["revive_queue_id"]);
        assert_eq!(handle.topic_kind.as_str(), result["topic_type"]);
        assert_eq!(handle.broker_name, result["broker_name"]);
        assert_eq!(handle.queue_id, result["queue_id"]);
        assert_eq!(json!(handle.queue_offset), result["offset"]);
        assert_eq!(json!(handle.commit_log_offset), result["commit_log_offset"]);
        assert_eq!(handle.to_string(), result["encoded_again"]);
    });
    each("recall_handle", |line| {
        let handle = RecallHandle {
            topic: text(line, "topic").into(),
            broker_name: text(line, "broker_name").into(),
            timestamp: text(line, "timestamp").into(),
            message_id: text(line, "message_id").into(),
        };
        assert_eq!(handle.encode(), text(line, "handle"));
    });
    each("recall_handle_decode", |line| {
        let result = &line["result"];
        let Ok(handle) = RecallHandle::decode(text(line, "handle")) else {
            return assert!(is_exception(result));
        };
        assert_eq!(handle.topic, result["topic"]);
        assert_eq!(handle.broker_name, result["broker_name"]);
        assert_eq!(handle.timestamp, result["timestamp"]);
        assert_eq!(handle.message_id, result["message_id"]);
    });
}
