//! JSON bodies against those that the reference writes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::body::assignment::BatchAckMessageRequestBody;
use wire::body::client::{ConsumerConnection, GetConsumerListByGroupResponseBody};
use wire::body::heartbeat::{ConsumeFromWhere, ConsumeType, HeartbeatData, MessageModel};
use wire::body::offset::{ConsumeStats, DelayOffsetSerializeWrapper, ResetOffsetBody};
use wire::body::queue::MessageQueue;
use wire::body::register::RegisterBrokerBody;
use wire::body::route::TopicRouteData;
use wire::body::topic::{TopicConfig, TopicConfigSerializeWrapper, TopicFilterType};
use wire::body::version::DataVersion;
use wire::body::{
    BodyError, assignment, auth, client, group, heartbeat, json, kv, lite, lock, offset, queue,
    register, replica, route, running, static_topic, stats, topic, version,
};
use wire::frame::Language;

extern crate kerolox_wire as wire;

/// What a class makes of a body: the same in plain and in standard form, as text.
struct Rewritten {
    plain: String,
    standard: String,
}

fn rewrite<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    body: &[u8],
) -> Result<Rewritten, BodyError> {
    let value: T = json::read(body)?;
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.into()).expect("JSON is UTF-8");
    let rewritten = Rewritten {
        plain: text(json::write(&value)),
        standard: text(json::write_standard(&value)),
    };
    for again in [rewritten.plain.as_bytes(), rewritten.standard.as_bytes()] {
        assert_eq!(json::read::<T>(again)?, value);
    }
    assert_eq!(json::read::<T>(&json::write_pretty(&value))?, value);
    Ok(rewritten)
}

macro_rules! classes {
    ($($module:ident: $($class:ident),* $(,)?;)*) => {
        /// Every body class by the reference's name.
        const CLASSES: &[(&str, fn(&[u8]) -> Result<Rewritten, BodyError>)] = &[
            $($((stringify!($class), rewrite::<$module::$class>),)*)*
            ("LiteSubscriptionDTO", rewrite::<lite::LiteSubscriptionDto>),
            ("List<AclInfo>", rewrite::<Vec<auth::AclInfo>>),
        ];
    };
}

classes! {
    assignment: BatchAck, BatchAckMessageRequestBody, MessageQueueAssignment,
        MessageRequestModeSerializeWrapper, QueryAssignmentRequestBody,
        QueryAssignmentResponseBody, SetMessageRequestModeRequestBody;
    auth: AclInfo, PolicyEntryInfo, PolicyInfo, UserInfo;
    client: Connection, ConsumeMessageDirectlyResult, ConsumerConnection,
        GetConsumerListByGroupResponseBody, ProducerConnection, ProducerInfo, ProducerTableInfo;
    group: CustomizedRetryPolicy, ExponentialRetryPolicy, GroupForbidden, GroupList,
        GroupRetryPolicy, QuerySubscriptionResponseBody, SimpleSubscriptionData,
        SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper;
    heartbeat: CheckClientRequestBody, ConsumerData, HeartbeatData, ProducerData,
        SubscriptionData;
    kv: KVConfigSerializeWrapper, KVTable;
    lite: ClientGroup, GetBrokerLiteInfoResponseBody, GetLiteClientInfoResponseBody,
        GetLiteGroupInfoResponseBody, GetLiteTopicInfoResponseBody,
        GetParentTopicInfoResponseBody, LiteLagInfo, LiteSubscriptionCtlRequestBody;
    lock: LockBatchRequestBody, LockBatchResponseBody, UnlockBatchRequestBody;
    offset: ConsumeStats, ConsumeStatsList, ConsumerOffsetSerializeWrapper,
        DelayOffsetSerializeWrapper, GetConsumerStatusBody, OffsetSerializeWrapper, OffsetWrapper,
        QueryConsumeTimeSpanBody, QueryCorrectionOffsetBody, QueueTimeSpan, ResetOffsetBody,
        ResetOffsetBodyForC;
    queue: ConsumeQueueData, MessageQueue, MessageQueueForC, QueryConsumeQueueResponseBody;
    register: RegisterBrokerBody;
    replica: BrokerReplicasInfo, ElectMasterResponseBody, EpochEntry, EpochEntryCache,
        HAClientRuntimeInfo, HAConnectionRuntimeInfo, HARuntimeInfo, ReplicaIdentity,
        ReplicasInfo, RoleChangeNotifyEntry, SyncStateSet;
    route: BrokerData, BrokerMemberGroup, ClusterInfo, GetBrokerMemberGroupResponseBody,
        QueueData, TopicRouteData;
    running: ConsumeStatus, ConsumerRunningInfo, PopProcessQueueInfo, ProcessQueueInfo;
    static_topic: LogicQueueMappingItem, TopicQueueMappingDetail, TopicQueueMappingInfo,
        TopicQueueMappingSerializeWrapper;
    stats: BrokerStatsData, BrokerStatsItem;
    topic: CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper,
        TopicConfigAndQueueMapping, TopicConfigSerializeWrapper, TopicList, TopicOffset,
        TopicStatsTable;
    version: DataVersion;
}

fn rewrite_as(class: &str, body: &[u8]) -> Rewritten {
    let known = CLASSES.iter().find(|(known, _)| *known == class);
    let (_, rewrite) = known.unwrap_or_else(|| panic!("{class} is not declared"));
    rewrite(body).unwrap_or_else(|error| panic!("{class}: {error}"))
}

#[test]
fn every_class_writes_all_fields_as_the_reference_does() {
    let mut classes = 0;
    for line in include_str!("data/bodies.tsv").lines().skip(1) {
        let (class, body) = line.split_once('\t').unwrap();
        // Times in words that the reference computes when it writes; nobody reads them.
        let mut expected = body.to_owned();
        for derived in ["consumeTimeStampStr", "maxTimeStampStr", "minTimeStampStr"] {
            expected = expected.replace(&format!(",\"{derived}\":\"1970-01-01#00:00:00:008\""), "");
        }
        let rewritten = rewrite_as(class, body.as_bytes());
        if class == "TopicConfigAndQueueMapping" {
            // The only one whose fields stand in another order.
            let expected: Value =
                serde_json::from_str(&expected.replace("{7:", "{\"7\":")).unwrap();
            assert_eq!(
                serde_json::from_str::<Value>(&rewritten.standard).unwrap(),
                expected
            );
        } else {
            assert_eq!(rewritten.plain, expected, "{class}");
        }
        classes += 1;
    }
    assert_eq!(classes, CLASSES.len() - 1, "some class is not compared");
}

/// The body of a golden frame.
fn golden(name: &str) -> Vec<u8> {
    let frames = include_str!("data/frames.jsonl").lines();
    let mut frames =
        frames.map(|line| serde_json::from_str::<Value>(line).expect("golden data is JSON"));
    let frame = frames
        .find(|frame| frame["name"] == name)
        .expect("a golden frame");
    STANDARD
        .decode(frame["body_b64"].as_str().expect("a body"))
        .expect("base64")
}

#[test]
fn every_golden_body_keeps_its_values() {
    let mut bodies = 0;
    for line in include_str!("data/frames.jsonl").lines() {
        let frame: Value = serde_json::from_str(line).unwrap();
        let Some(class) = frame["body_class"].as_str() else {
            continue;
        };
        if class.contains("Message") && !class.ends_with("Body") || class == "properties text" {
            continue;
        }
        let body = STANDARD
            .decode(frame["body_b64"].as_str().unwrap())
            .unwrap();
        bodies += 1;
        if class == "RegisterBrokerBody(deflate)" {
            continue; // Has a test of its own.
        }
        let rewritten = rewrite_as(class, &body);
        // Where the reference's text is standard JSON the values can be compared one by one.
        if let Ok(expected) = serde_json::from_slice::<Value>(&body) {
            let ours: Value = serde_json::from_str(&rewritten.standard).unwrap();
            assert_eq!(ours, expected, "{}", frame["name"]);
        } else {
            assert_eq!(rewritten.plain.len(), body.len(), "{}", frame["name"]);
        }
    }
    assert!(bodies > 80, "only {bodies} bodies were compared");
}

#[test]
fn a_route_is_written_in_both_forms_of_the_reference() {
    let plain = golden("route_response_plain.json");
    let standard = golden("route_response_standard.json");
    let route: TopicRouteData = json::read(&plain).unwrap();
    assert_eq!(json::read::<TopicRouteData>(&standard).unwrap(), route);
    assert_eq!(json::write(&route), plain);
    assert_eq!(json::write_standard(&route), standard);
    assert_eq!(route.broker_datas[0].broker_addrs[&1], "192.0.2.20:10911");
    assert_eq!(route.broker_datas[1].zone_name.as_deref(), Some("zone-1"));
    assert_eq!(route.order_topic_conf, None);
}

#[test]
fn names_that_are_objects_become_queues() {
    let queue = MessageQueue {
        broker_name: "broker-a".into(),
        queue_id: 0,
        topic: "TopicTest".into(),
    };
    let stats: ConsumeStats = json::read(&golden("consume_stats_response.json")).unwrap();
    assert_eq!(stats.offset_table[&queue].consumer_offset, 90);
    let body = golden("reset_consumer_client_offset.json");
    let reset: ResetOffsetBody = json::read(&body).unwrap();
    assert_eq!(reset.offset_table, [(queue, 10)].into());
    assert_eq!(json::write(&reset), body);
}

#[test]
fn a_heartbeat_says_what_a_client_consumes() {
    let beat: HeartbeatData = json::read(&golden("heartbeat_active_broadcast.json")).unwrap();
    let group = &beat.consumer_data_set[0];
    assert_eq!(group.group_name, "GID_test_b");
    assert_eq!(group.consume_type, ConsumeType::ConsumeActively);
    assert_eq!(group.message_model, MessageModel::Broadcasting);
    assert_eq!(
        group.consume_from_where,
        ConsumeFromWhere::ConsumeFromTimestamp
    );
    let beat: HeartbeatData = json::read(&golden("heartbeat_fingerprint.json")).unwrap();
    assert!(beat.without_sub);
    assert_eq!(beat.heartbeat_fingerprint, 1_338_930_933);
    let subscription = &beat.consumer_data_set[0].subscription_data_set[0];
    assert!(subscription.tags_set.contains("TagB") && subscription.code_set.contains(&2_598_920));
}

#[test]
fn a_heartbeat_of_another_language_is_understood() {
    let beat: HeartbeatData = json::read(
        br#" { 'clientID' : 17, "producerDataSet":null, "unknown":{"a":[1,{"b":null}]},
            "heartbeatFingerprint":"-5", "withoutSub":"true", "consumerDataSet":[{
                "groupName":"g\u00fc", "consumeType":1, "messageModel":null, "unitMode":0,
                "subscriptionDataSet":[{"topic":"t","subVersion":1732186800123.0,"codeSet":null}]
            }] } "#,
    )
    .unwrap();
    assert_eq!(beat.client_id, "17");
    assert!(beat.producer_data_set.is_empty() && beat.without_sub);
    assert_eq!(beat.heartbeat_fingerprint, -5);
    let group = &beat.consumer_data_set[0];
    assert_eq!(group.group_name, "g\u{fc}");
    assert_eq!(group.consume_type, ConsumeType::ConsumePassively);
    assert_eq!(group.message_model, MessageModel::Clustering);
    assert_eq!(
        group.subscription_data_set[0].sub_version,
        1_732_186_800_123
    );
    assert_eq!(group.subscription_data_set[0].expression_type, "TAG");
}

#[test]
fn a_broken_body_is_refused_with_the_place() {
    let error = |body: &[u8]| json::read::<HeartbeatData>(body).unwrap_err().to_string();
    assert_eq!(error(b""), "'{' expected at byte 0 of the body");
    assert_eq!(error(b"[]"), "'{' expected at byte 0 of the body");
    assert_eq!(
        error(br#"{"clientID":{}}"#),
        "text expected at byte 12 of the body"
    );
    assert_eq!(
        error(br#"{"clientID":"a"} x"#),
        "the end expected at byte 17 of the body"
    );
    assert_eq!(
        error(br#"{"clientID":"a""#),
        "',' or '}' expected at byte 15 of the body"
    );
    assert_eq!(
        error(b"{\"clientID\":\"\xff\"}"),
        "the body is not UTF-8 after byte 13"
    );
    assert_eq!(
        error(br#"{"heartbeatFingerprint":4294967296}"#),
        "a whole number in range expected at byte 24 of the body"
    );
    let deep = [b"{\"x\":".as_slice(), &[b'['; 1000]].concat();
    assert!(error(&deep).contains("less nesting"), "{}", error(&deep));
    // Names within names, thirty deep: passed in one go.
    let nested = [
        &br#"{"x":"#[..],
        &[b'{'; 30],
        b"0",
        &b":1}".repeat(30),
        b"}",
    ]
    .concat();
    assert_eq!(
        json::read::<HeartbeatData>(&nested),
        Ok(HeartbeatData::default())
    );
    let unknown = error(br#"{"consumerDataSet":[{"consumeType":"CONSUME_NEVER"}]}"#);
    assert!(unknown.contains("CONSUME_NEVER"), "{unknown}");
}

#[test]
fn absent_fields_have_the_defaults_of_the_reference() {
    let topic: TopicConfig = json::read(br#"{"topicName":"t"}"#).unwrap();
    assert_eq!(
        (topic.read_queue_nums, topic.write_queue_nums, topic.perm),
        (16, 16, 6)
    );
    assert_eq!(topic.topic_filter_type, TopicFilterType::SingleTag);
    let group: group::SubscriptionGroupConfig = json::read(b"{}").unwrap();
    assert!(group.consume_enable && group.consume_broadcast_enable);
    assert_eq!((group.retry_max_times, group.retry_queue_nums), (16, 1));
    assert_eq!(
        group.group_retry_policy.policy_type,
        group::GroupRetryPolicyType::Customized
    );
}

#[test]
fn connections_name_their_language() {
    let body = golden("consumer_connection_response.json");
    let mut group: ConsumerConnection = json::read(&body).unwrap();
    assert_eq!(group.connection_set[0].language, Some(Language::Rust));
    assert_eq!(json::write(&group), body);
    group.connection_set[0].language = None;
    assert!(
        !json::write(&group)
            .windows(8)
            .any(|text| text == b"language")
    );
    let ids: GetConsumerListByGroupResponseBody =
        json::read(&golden("consumer_list_by_group_response.json")).unwrap();
    assert_eq!(ids.consumer_id_list.len(), 2);
}

#[test]
fn acknowledged_bits_are_base64() {
    let batch: BatchAckMessageRequestBody = json::read(&golden("batch_ack.json")).unwrap();
    assert_eq!(batch.acks[0].bit_set, [0b1011]);
    assert_eq!(batch.acks[1].bit_set.len(), 9);
    assert!(json::read::<assignment::BatchAck>(br#"{"b":"?"}"#).is_err());
}

#[test]
fn a_compressed_registration_is_the_same_as_the_plain_one() {
    let compressed = golden("register_broker_compressed.json");
    let body = RegisterBrokerBody::decompress(&compressed).unwrap();
    let plain: RegisterBrokerBody = json::read(&golden("register_broker_plain.json")).unwrap();
    let (ours, theirs) = (
        &body.topic_config_serialize_wrapper,
        &plain.topic_config_serialize_wrapper,
    );
    assert_eq!(body.filter_server_list, plain.filter_server_list);
    assert_eq!(ours.data_version, theirs.data_version);
    assert_eq!(
        ours.topic_queue_mapping_info_map,
        theirs.topic_queue_mapping_info_map
    );
    // The compressed form does not carry the order flag.
    let mut topics = theirs.topic_config_table.clone();
    topics.values_mut().for_each(|topic| topic.order = false);
    assert_eq!(ours.topic_config_table, topics);
    assert_eq!(
        RegisterBrokerBody::decompress(&body.compress()).unwrap(),
        body
    );
}

#[test]
fn a_broken_compressed_registration_is_refused() {
    let whole = golden("register_broker_compressed.json");
    for length in [0, 1, 20, whole.len() / 2] {
        assert!(
            RegisterBrokerBody::decompress(&whole[..length]).is_err(),
            "{length} bytes"
        );
    }
    let mut topics = RegisterBrokerBody::default();
    let topic = TopicConfig {
        topic_name: "two words".into(),
        ..TopicConfig::default()
    };
    let table = &mut topics.topic_config_serialize_wrapper.topic_config_table;
    table.insert(topic.topic_name.clone(), topic);
    let error = RegisterBrokerBody::decompress(&topics.compress()).unwrap_err();
    assert!(matches!(error, BodyError::TopicConfig(_)), "{error}");
}

#[test]
fn configuration_files_are_written_as_the_reference_writes_them() {
    let text = include_str!("data/delayOffset.json");
    let delays: DelayOffsetSerializeWrapper = json::read(text.as_bytes()).unwrap();
    assert_eq!(delays.offset_table[&16], 0);
    assert_eq!(json::write_pretty(&delays), text);

    // Java's hash order is not kept: the same lines, in the order of the names.
    let lines = |text: &str| {
        let mut lines: Vec<String> = text
            .lines()
            .map(|line| line.trim_end_matches(',').to_owned())
            .collect();
        lines.sort();
        lines
    };
    let text = include_str!("data/topics.json");
    let topics: TopicConfigSerializeWrapper = json::read(text.as_bytes()).unwrap();
    let ours = String::from_utf8(json::write_pretty(&topics).into()).unwrap();
    assert_eq!(lines(&ours), lines(text));
    let text = include_str!("data/subscriptionGroup.json");
    let groups: group::SubscriptionGroupWrapper = json::read(text.as_bytes()).unwrap();
    let ours = String::from_utf8(json::write_pretty(&groups).into()).unwrap();
    assert_eq!(lines(&ours), lines(text));
}

#[test]
fn a_change_makes_a_data_version_another() {
    let mut version: DataVersion = json::read(&golden("query_data_version.json")).unwrap();
    let before = version;
    version.advance(3, 1_732_186_900_000);
    assert_ne!(version, before);
    let after = DataVersion {
        counter: 10,
        state_version: 3,
        timestamp: 1_732_186_900_000,
    };
    assert_eq!(version, after);
}

proptest! {
    #[test]
    fn any_text_and_number_survives(
        table in prop::collection::btree_map(any::<String>(), any::<String>(), 0..8),
        addresses in prop::collection::btree_map(any::<i64>(), any::<String>(), 0..8),
        zone in any::<Option<String>>(),
        offsets in prop::collection::btree_map((any::<String>(), any::<i32>()), any::<i64>(), 0..8),
    ) {
        let table = kv::KVTable { table };
        prop_assert_eq!(json::read::<kv::KVTable>(&json::write(&table)).unwrap(), table);
        let broker =
            route::BrokerData { broker_addrs: addresses, zone_name: zone, ..Default::default() };
        for body in [json::write(&broker), json::write_standard(&broker)] {
            prop_assert_eq!(&json::read::<route::BrokerData>(&body).unwrap(), &broker);
        }
        let named = |((topic, queue_id), offset)| {
            (MessageQueue { topic, queue_id, broker_name: String::new() }, offset)
        };
        let reset = ResetOffsetBody { offset_table: offsets.into_iter().map(named).collect() };
        prop_assert_eq!(json::read::<ResetOffsetBody>(&json::write(&reset)).unwrap(), reset);
    }

    #[test]
    fn any_registration_survives_compression(
        names in prop::collection::btree_set("[a-zA-Z0-9%|_-]{1,127}", 0..16),
        queues in 0..10_000_i32,
        attributes in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
    ) {
        let mut body = RegisterBrokerBody::default();
        for topic_name in names {
            let topic = TopicConfig {
                read_queue_nums: queues,
                attributes: attributes.clone(),
                topic_name: topic_name.clone(),
                ..TopicConfig::default()
            };
            body.topic_config_serialize_wrapper.topic_config_table.insert(topic_name, topic);
        }
        prop_assert_eq!(RegisterBrokerBody::decompress(&body.compress()).unwrap(), body);
    }

    #[test]
    fn arbitrary_bytes_are_answered_not_panicked_on(
        bytes in prop::collection::vec(any::<u8>(), 0..256),
        text in r#"[{}\[\],:"'0-9a-z\\ .-]{0,64}"#,
    ) {
        let _ = RegisterBrokerBody::decompress(&bytes);
        for body in [&*bytes, text.as_bytes()] {
            let _ = json::read::<HeartbeatData>(body);
            let _ = json::read::<ConsumeStats>(body);
            let _ = json::read::<TopicRouteData>(body);
        }
    }
}
