//! Random messages, ids and texts: what is written is read back the same, and no bytes at all
//! make a decoder panic.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use kerolox_wire::message::body::{Batch, BatchMessage, Records, plain_body};
use kerolox_wire::message::compression::CompressionType;
use kerolox_wire::message::id::{OffsetMessageId, UniqueId};
use kerolox_wire::message::pop::revive::{PopAck, PopCheckPoint};
use kerolox_wire::message::pop::{self, ExtraInfo, TopicKind};
use kerolox_wire::message::recall::RecallHandle;
use kerolox_wire::message::record::{LogEntry, RecordFields, RecordRef, RecordVersion};
use kerolox_wire::message::tags::TagExpression;
use kerolox_wire::message::{names, properties, sys_flag};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Largest body any decoder may make of random bytes.
const LIMIT: usize = 1 << 16;

const COMPRESSIONS: [CompressionType; 3] = [
    CompressionType::Lz4,
    CompressionType::Zstd,
    CompressionType::Zlib,
];

fn any_host() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn any_kind() -> impl Strategy<Value = TopicKind> {
    prop_oneof![
        Just(TopicKind::Normal),
        Just(TopicKind::RetryV1),
        Just(TopicKind::RetryV2)
    ]
}

/// Bytes that look like a record as far as the magic goes, so that more than that is tried.
fn record_like() -> impl Strategy<Value = Vec<u8>> {
    let magic = prop_oneof![
        Just(RecordVersion::V1.magic()),
        Just(RecordVersion::V2.magic()),
        any::<i32>()
    ];
    let length = || prop_oneof![0..200_i32, any::<i32>()];
    (magic, vec(any::<u8>(), 0..300), length(), 0..0x400_i32).prop_map(
        |(magic, mut bytes, body_len, sys_flag)| {
            let total = bytes.len() as i32;
            for (at, value) in [
                (0, total),
                (4, magic),
                (36, sys_flag),
                (84, body_len),
                (108, body_len),
            ] {
                if let Some(place) = bytes.get_mut(at..at + 4) {
                    place.copy_from_slice(&value.to_be_bytes());
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn records_are_read_back(
        head in (any::<i32>(), any::<i32>(), any::<i64>(), any::<i64>(), any::<i32>()),
        hosts in (any_host(), any_host()),
        times in (any::<i64>(), any::<i64>()),
        counts in (any::<i32>(), any::<i64>()),
        body in vec(any::<u8>(), 0..200),
        topic in "\\PC{0,60}",
        properties in ("\\PC{0,40}", "\\PC{0,40}"),
        append_record_crc: bool,
    ) {
        let fields = RecordFields {
            version: RecordVersion::for_topic_len(topic.len()),
            queue_id: head.0,
            flag: head.1,
            queue_offset: head.2,
            physical_offset: head.3,
            sys_flag: head.4,
            born_timestamp: times.0,
            born_host: hosts.0,
            store_timestamp: times.1,
            store_host: hosts.1,
            reconsume_times: counts.0,
            prepared_transaction_offset: counts.1,
            body: &body,
            topic: &topic,
            properties: properties.0.as_bytes(),
            more_properties: properties.1.as_bytes(),
            append_record_crc,
        };
        let mut bytes = BytesMut::new();
        prop_assert_eq!(fields.encode_into(&mut bytes).unwrap(), fields.encoded_len());
        prop_assert_eq!(bytes.len(), fields.encoded_len());
        {
            let record = RecordRef::parse(&bytes).unwrap();
            prop_assert_eq!(LogEntry::parse(&bytes), Ok(LogEntry::Record(record)));
            prop_assert_eq!(record.as_bytes(), &bytes);
            prop_assert_eq!(record.queue_id(), fields.queue_id);
            prop_assert_eq!(record.flag(), fields.flag);
            prop_assert_eq!(record.queue_offset(), fields.queue_offset);
            prop_assert_eq!(record.physical_offset(), fields.physical_offset);
            let host_bits = sys_flag::message::BORN_HOST_V6 | sys_flag::message::STORE_HOST_V6;
            prop_assert_eq!(record.sys_flag() & !host_bits, fields.sys_flag & !host_bits);
            prop_assert_eq!(record.born_timestamp(), fields.born_timestamp);
            prop_assert_eq!(record.born_host(), fields.born_host);
            prop_assert_eq!(record.store_timestamp(), fields.store_timestamp);
            prop_assert_eq!(record.store_host(), fields.store_host);
            prop_assert_eq!(record.reconsume_times(), fields.reconsume_times);
            prop_assert_eq!(
                record.prepared_transaction_offset(),
                fields.prepared_transaction_offset
            );
            prop_assert_eq!(record.body(), fields.body);
            prop_assert_eq!(record.topic(), fields.topic);
            prop_assert!(record.properties_bytes().starts_with(fields.properties));
            record.check_body_crc().unwrap();
            prop_assert_eq!(record.check_record_crc().is_ok(), append_record_crc);
        }
        let two = [&bytes[..], &bytes[..]].concat();
        prop_assert_eq!(Records::new(&two).filter(Result::is_ok).count(), 2);
    }

    #[test]
    fn no_bytes_make_the_record_decoder_panic(bytes in record_like()) {
        let _ = LogEntry::parse(&bytes);
        for record in Records::new(&bytes).flatten() {
            let _ = plain_body(&record, LIMIT);
            let _ = (record.check_body_crc(), record.check_record_crc(), record.topic());
            let _ = (record.born_host(), record.store_host(), record.store_timestamp());
            let _ = (record.reconsume_times(), record.prepared_transaction_offset());
            let properties = record.properties();
            prop_assert!(properties::iter(&properties).count() <= properties.len());
        }
    }

    #[test]
    fn batches_are_read_back(
        messages in vec((any::<i32>(), vec(any::<u8>(), 0..50), vec(any::<u8>(), 0..50)), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let messages: Vec<BatchMessage> = messages
            .iter()
            .map(|(flag, body, properties)| BatchMessage { flag: *flag, body, properties })
            .collect();
        let mut bytes = BytesMut::new();
        for message in &messages {
            message.encode_into(&mut bytes).unwrap();
        }
        prop_assert_eq!(&Batch::new(&bytes).collect::<Result<Vec<_>, _>>().unwrap(), &messages);
        let cut = if bytes.is_empty() { 0 } else { cut.index(bytes.len()) };
        let whole: Vec<_> = Batch::new(&bytes[..cut]).map_while(Result::ok).collect();
        prop_assert!(messages.starts_with(&whole));
    }

    #[test]
    fn no_bytes_make_the_batch_decoder_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Batch::new(&bytes).count() <= bytes.len());
    }

    #[test]
    fn properties_are_read_back(
        map in btree_map("[^\u{1}\u{2}]{1,8}", "[^\u{1}\u{2}]{1,8}", 0..8),
    ) {
        let string = properties::encode(map.iter().map(|(name, value)| (&name[..], &value[..])));
        let read: BTreeMap<String, String> =
            properties::iter(&string).map(|(name, value)| (name.into(), value.into())).collect();
        prop_assert_eq!(&read, &map);
        for (name, value) in &map {
            prop_assert_eq!(properties::get(&string, name), Some(&value[..]));
            let mut changed = string.clone();
            properties::set(&mut changed, name, "new");
            prop_assert_eq!(properties::get(&changed, name), Some("new"));
            prop_assert_eq!(properties::iter(&changed).count(), map.len());
            let rest = properties::without(&string, &[name]);
            prop_assert_eq!(properties::get(&rest, name), None);
        }
    }

    #[test]
    fn the_ways_to_find_a_property_agree(string in "[ab\u{1}\u{2}]{0,24}", name in "[ab]{0,2}") {
        let last = properties::iter(&string).filter(|(found, _)| *found == name).last();
        let expected = last.map(|(_, value)| value);
        prop_assert_eq!(properties::get(&string, &name), expected);
        prop_assert_eq!(properties::get_each(&string, [&name]), [expected]);
    }

    #[test]
    fn bodies_are_decompressed_again(
        plain in vec(0..8_u8, 0..3000),
        level in any::<i8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for compression in COMPRESSIONS {
            let compressed = compression.compress(&plain, level.into()).unwrap();
            prop_assert_eq!(&compression.decompress(&compressed, plain.len()).unwrap(), &plain);
            let sys_flag = sys_flag::message::COMPRESSED | compression.sys_flag_bits();
            prop_assert_eq!(CompressionType::of_sys_flag(sys_flag), Ok(compression));
            let cut = cut.index(compressed.len());
            if let Ok(part) = compression.decompress(&compressed[..cut], LIMIT) {
                prop_assert!(plain.starts_with(&part));
            }
        }
    }

    #[test]
    fn no_bytes_make_a_decompressor_panic(
        bytes in vec(any::<u8>(), 0..200),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        plain in vec(0..4_u8, 1..500),
    ) {
        for compression in COMPRESSIONS {
            let _ = compression.decompress(&bytes, LIMIT);
            let mut damaged = compression.compress(&plain, 5).unwrap();
            for (at, with) in &flips {
                let at = at.index(damaged.len());
                damaged[at] ^= with;
            }
            if let Ok(plain) = compression.decompress(&damaged, LIMIT) {
                prop_assert!(plain.len() <= LIMIT);
            }
        }
    }

    #[test]
    fn ids_are_read_back(
        host in any_host(),
        offset: i64,
        unique in (any::<u16>(), any::<i32>(), any::<u32>(), any::<u16>()),
        now in 0..4_102_444_800_000_i64,
    ) {
        let id = OffsetMessageId { host, offset };
        prop_assert_eq!(OffsetMessageId::decode(&id.to_string()), Ok(id));
        let (pid, loader_hash, since_month_start, counter) = unique;
        let id = UniqueId { ip: host.ip(), pid, loader_hash, since_month_start, counter };
        prop_assert_eq!(UniqueId::decode(&id.to_string()), Ok(id));
        prop_assert_eq!(UniqueId::decode(&id.to_string().to_lowercase()), Ok(id));
        let _ = id.made_at(offset, offset);
        let month = kerolox_wire::message::id::UniqueIdGenerator::new(id.ip, 1, 1, 0).next(now);
        prop_assert_eq!(month.made_at(now + 1, 0), now);
    }

    #[test]
    fn extra_info_is_read_back(
        numbers in (any::<i64>(), any::<i64>(), any::<i64>(), any::<i32>(), any::<i32>()),
        kind in any_kind(),
        broker_name in "[^ ]{1,12}",
        offsets in prop::option::of((any::<i64>(), any::<Option<i64>>())),
    ) {
        let info = ExtraInfo {
            start_offset: numbers.0,
            pop_time: numbers.1,
            invisible_time: numbers.2,
            revive_queue_id: numbers.3,
            topic_kind: kind,
            broker_name: &broker_name,
            queue_id: numbers.4,
            queue_offset: offsets.map(|(offset, _)| offset),
            commit_log_offset: offsets.and_then(|(_, offset)| offset),
        };
        let text = info.to_string();
        prop_assert_eq!(ExtraInfo::decode(&text), Ok(info));
        let _ = info.next_visible_time();
    }

    #[test]
    fn check_points_and_acknowledgements_are_read_back(
        texts in ("\\PC{0,12}", "\\PC{0,12}", "\\PC{0,12}", prop::option::of("\\PC{1,4}")),
        numbers in (any::<i64>(), any::<i64>(), any::<i64>(), any::<i32>(), any::<i8>()),
        diffs in vec(any::<i32>(), 0..5),
        offsets in prop::option::of(vec(any::<i64>(), 0..5)),
        suspend: bool,
    ) {
        let check_point = PopCheckPoint {
            bit_map: numbers.3,
            broker_name: texts.0.as_str().into(),
            group: texts.1.as_str().into(),
            queue_offset_diff: diffs,
            invisible_time: numbers.0,
            num: numbers.4,
            pop_time: numbers.1,
            queue_id: numbers.3,
            revive_offset: numbers.2,
            re_put_times: texts.3.as_deref().map(Into::into),
            start_offset: numbers.2,
            suspend,
            topic: texts.2.as_str().into(),
        };
        let json = check_point.encode();
        prop_assert_eq!(&PopCheckPoint::decode(&json).unwrap(), &check_point);
        let _ = (check_point.index_of_ack(numbers.0), check_point.ack_offset_by_index(1));
        let _ = (check_point.unique_key(), check_point.parsed_re_put_times());
        let ack = PopAck {
            ack_offset: numbers.0,
            ack_offset_list: offsets,
            broker_name: texts.0.as_str().into(),
            group: texts.1.as_str().into(),
            pop_time: numbers.1,
            queue_id: numbers.3,
            start_offset: numbers.2,
            topic: texts.2.as_str().into(),
        };
        let json = ack.encode();
        prop_assert_eq!(&PopAck::decode(&json).unwrap(), &ack);
    }

    #[test]
    fn recall_handles_are_read_back(
        topic in "[^ ]{1,9}", broker_name in "[^ ]{1,9}", timestamp: i64, id in "[0-9A-F]{32}",
    ) {
        let timestamp = timestamp.to_string();
        let handle = RecallHandle { topic, broker_name, timestamp, message_id: id };
        prop_assert_eq!(RecallHandle::decode(&handle.encode()), Ok(handle));
    }

    #[test]
    fn lists_of_a_pop_answer_are_read_back(
        queues in btree_map(any::<i32>(), vec(any::<i64>(), 1..4), 1..4),
    ) {
        let mut list = String::new();
        for (queue_id, offsets) in &queues {
            pop::append_msg_offsets(&mut list, "T", *queue_id, offsets);
        }
        let expected: BTreeMap<String, Vec<i64>> =
            queues.into_iter().map(|(id, offsets)| (pop::queue_key("T", id), offsets)).collect();
        prop_assert_eq!(pop::parse_msg_offset_info(&list).unwrap(), expected);
    }

    #[test]
    fn names_with_a_namespace_lose_it_again(
        namespace in "[a-z]{1,8}",
        prefix in prop_oneof![Just(""), Just("%RETRY%"), Just("%DLQ%")],
        name in "[A-Z]{1,8}",
    ) {
        let name = format!("{prefix}{name}");
        let wrapped = names::wrap_namespace(&namespace, &name);
        prop_assert_eq!(names::namespace_of(&wrapped), &namespace);
        prop_assert_eq!(names::without_namespace(&wrapped), &name[..]);
        prop_assert_eq!(names::without_this_namespace(&wrapped, &namespace), &name[..]);
        prop_assert_eq!(names::wrap_namespace(&namespace, &wrapped), &wrapped[..]);
    }

    #[test]
    fn no_text_makes_a_decoder_panic(text in "\\PC*", other in "\\PC{0,4}") {
        let _ = OffsetMessageId::decode(&text);
        let _ = UniqueId::decode(&text);
        let _ = ExtraInfo::decode_receipt_handle(&text);
        let _ = pop::parse_start_offset_info(&text);
        let _ = pop::parse_msg_offset_info(&text);
        let _ = pop::parse_order_count_info(&text);
        let _ = PopCheckPoint::decode(&text);
        let _ = PopAck::decode(&text);
        let _ = RecallHandle::decode(&text);
        let _ = TagExpression::parse(&text);
        let _ = (names::validate_topic(&text), names::validate_group(&text));
        let _ = (names::normal_topic(&text), names::normal_topic_of_group(&text, &other));
        let _ = (names::group_of_retry_topic(&text), names::parent_and_lite_topic(&text));
        let _ = (names::without_namespace(&text), names::wrap_namespace(&other, &text));
    }

    #[test]
    fn no_hexadecimal_text_makes_an_id_decoder_panic(text in "[0-9A-Fa-f]{32}|[0-9a-f]{56}") {
        prop_assert_eq!(UniqueId::decode(&text).unwrap().to_string(), text.to_uppercase());
        let _ = OffsetMessageId::decode(&text);
    }
}
