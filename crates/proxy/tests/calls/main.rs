//! Calls of the gRPC API over HTTP/2, with a name server and a broker behind the proxy.

extern crate kerolox_proxy as proxy;

mod lite;
mod port;
mod questions;
mod refusals;
mod rig;
mod settings;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use wire::body::group::SubscriptionGroupConfig;
use wire::grpc::rpc::{
    AckMessage, ChangeInvisibleDuration, ForwardMessageToDeadLetterQueue, Heartbeat, QueryRoute,
    ReceiveMessage, SendMessage,
};
use wire::grpc::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, ChangeInvisibleDurationRequest,
    ClientType, Code, Duration, FilterExpression, ForwardMessageToDeadLetterQueueRequest,
    HeartbeatRequest, Message, MessageQueue, MessageType, PubSub, QueryRouteRequest,
    ReceiveMessageRequest, ReceiveMessageResponse, Received, Resource, SendMessageRequest,
    Settings, Subscription, SubscriptionEntry, SystemProperties, Timestamp,
};

use rig::{Answer, CLIENT, Rig, message};

fn named(name: &str) -> Option<Resource> {
    Some(Resource::named(name))
}

/// Sends messages together; returns the code and what is told.
async fn send(rig: &Rig, messages: Vec<Message>) -> (i32, String) {
    rig.call::<SendMessage>(&SendMessageRequest { messages })
        .await
        .told()
}

/// Asks for one message.
fn receiving(topic: &str, group: &str) -> ReceiveMessageRequest {
    ReceiveMessageRequest {
        group: named(group),
        message_queue: Some(MessageQueue {
            topic: named(topic),
            ..MessageQueue::default()
        }),
        batch_size: 1,
        invisible_duration: Some(Duration::from_millis(10_000)),
        long_polling_timeout: Some(Duration::from_millis(100)),
        ..ReceiveMessageRequest::default()
    }
}

/// What a consumer says of itself that wants a topic.
fn consumer(
    client_type: ClientType,
    group: &str,
    topic: &str,
    expression: Option<FilterExpression>,
) -> Settings {
    Settings {
        client_type: Some(client_type as i32),
        pub_sub: Some(PubSub::Subscription(Subscription {
            group: named(group),
            subscriptions: vec![SubscriptionEntry {
                topic: named(topic),
                expression,
            }],
            ..Subscription::default()
        })),
        ..Settings::default()
    }
}

/// Receives whatever comes within so many milliseconds.
async fn receive(rig: &Rig, topic: &str, group: &str, wait: i64) -> (i32, Vec<Message>) {
    receive_as(rig, CLIENT, topic, group, wait).await
}

/// The same as some client.
async fn receive_as(
    rig: &Rig,
    client: &str,
    topic: &str,
    group: &str,
    wait: i64,
) -> (i32, Vec<Message>) {
    let request = ReceiveMessageRequest {
        batch_size: 32,
        long_polling_timeout: Some(Duration::from_millis(wait)),
        ..receiving(topic, group)
    };
    let answer = rig.call_by::<ReceiveMessage>(client, &request).await;
    (answer.told().0, messages_in(&answer))
}

/// The messages among the answers to a receiving call.
fn messages_in(answer: &Answer) -> Vec<Message> {
    let read = |bytes: &[u8]| ReceiveMessageResponse::decode(bytes).expect("an answer");
    let messages = answer
        .messages
        .iter()
        .filter_map(|it| match read(it).content {
            Some(Received::Message(message)) => Some(*message),
            _ => None,
        });
    messages.collect()
}

fn handle(message: &Message) -> String {
    let system = message
        .system_properties
        .as_ref()
        .expect("system properties");
    system.receipt_handle().to_owned()
}

async fn acknowledge(rig: &Rig, topic: &str, group: &str, handles: &[String]) -> Vec<i32> {
    acknowledge_as(rig, CLIENT, topic, group, handles, None).await
}

/// The same as some client, of a lite topic. The code of all comes first.
async fn acknowledge_as(
    rig: &Rig,
    client: &str,
    topic: &str,
    group: &str,
    handles: &[String],
    lite_topic: Option<&str>,
) -> Vec<i32> {
    let entries = handles.iter().map(|handle| AckMessageEntry {
        message_id: "m".into(),
        receipt_handle: handle.clone(),
        lite_topic: lite_topic.map(str::to_owned),
    });
    let request = AckMessageRequest {
        group: named(group),
        topic: named(topic),
        entries: entries.collect(),
    };
    let answer = rig.call_by::<AckMessage>(client, &request).await;
    let answer = AckMessageResponse::decode(&*answer.messages[0]).expect("an answer");
    let entries = answer
        .entries
        .iter()
        .filter_map(|entry| entry.status.as_ref());
    let codes = answer
        .status
        .iter()
        .chain(entries)
        .map(|status| status.code);
    codes.collect()
}

#[tokio::test]
async fn calls_that_make_no_sense_are_refused_in_grpcs_manner() {
    let rig = Rig::start().await;
    let status = |name, bytes: &'static [u8]| {
        let call = rig.call_as(Some("c"), name, bytes);
        async { call.await.status }
    };
    // UNIMPLEMENTED, INTERNAL, RESOURCE_EXHAUSTED.
    assert_eq!(status("PullMessage", b"").await, 12);
    assert_eq!(status("NoSuchCall", b"").await, 12);
    assert_eq!(status("QueryRoute", b"\xff\xff").await, 13);
    assert_eq!(status("QueryRoute", &[0; 100_001]).await, 8);
    let anonymous = rig.call_as(None, "QueryRoute", b"").await;
    assert_eq!(
        (anonymous.status, anonymous.told().0),
        (0, Code::ClientIdRequired as i32)
    );
    // The others are served as if nothing had been.
    let unknown = HeartbeatRequest::default();
    let told = rig.call::<Heartbeat>(&unknown).await.told();
    assert_eq!(told.0, Code::UnrecognizedClientType as i32);
    rig.stop().await;
}

#[tokio::test]
async fn requests_may_be_compressed_by_gzip_but_are_no_larger_for_that() {
    let rig = Rig::start().await;
    let gzip = |plain: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).expect("it fits");
        encoder.finish().expect("it fits")
    };
    let answer = rig.call_compressed("Heartbeat", "gzip", &gzip(b"")).await;
    assert_eq!(answer.told().0, Code::UnrecognizedClientType as i32);
    // UNIMPLEMENTED, INTERNAL, RESOURCE_EXHAUSTED.
    let large = gzip(&[0; 100_001]);
    for (status, encoding, message) in [
        (12, "snappy", &large[..]),
        (13, "gzip", b"not gzip"),
        (8, "gzip", &large),
    ] {
        let answer = rig.call_compressed("Heartbeat", encoding, message).await;
        assert_eq!(answer.status, status);
    }
    rig.stop().await;
}

#[tokio::test]
async fn messages_that_break_a_rule_are_refused_by_its_code() {
    let rig = Rig::start().await;
    rig.topic("orders", MessageType::Normal).await;
    let with = |change: fn(&mut SystemProperties)| {
        let mut message = message("orders", "m", "body");
        message.system_properties.iter_mut().for_each(change);
        vec![message]
    };
    let properties = |user_properties| {
        vec![Message {
            user_properties,
            ..message("orders", "m", "body")
        }]
    };
    let refusals = [
        (Code::MessageCorrupted, vec![]),
        (Code::IllegalTopic, vec![message("a b", "m", "body")]),
        (Code::MessageBodyEmpty, vec![message("orders", "m", "")]),
        (
            Code::MessageBodyTooLarge,
            vec![message("orders", "m", &"x".repeat(50_001))],
        ),
        (Code::IllegalMessageId, vec![message("orders", "", "body")]),
        (
            Code::IllegalMessageTag,
            with(|system| system.tag = Some("a|b".into())),
        ),
        (
            Code::IllegalMessageKey,
            with(|system| system.keys = vec!["\u{1}".into()]),
        ),
        (
            Code::MessagePropertyConflictWithType,
            with(|system| system.message_group = Some("g".into())),
        ),
        (
            Code::MessagePropertyConflictWithType,
            vec![message("absent", "m", "body")],
        ),
        (
            Code::MessageCorrupted,
            vec![message("orders", "m", "1"), message("others", "m", "2")],
        ),
        (
            Code::IllegalMessageGroup,
            with(|system| system.message_group = Some("g".repeat(64))),
        ),
        (
            Code::IllegalLiteTopic,
            with(|system| system.lite_topic = Some("a.b".into())),
        ),
        (
            Code::IllegalDeliveryTime,
            // In 2200.
            with(|system| {
                system.delivery_timestamp = Some(Timestamp::from_millis(7_258_118_400_000));
            }),
        ),
        (
            Code::InternalServerError,
            with(|system| system.delivery_timestamp = Some(Timestamp::from_millis(i64::MAX))),
        ),
        (
            Code::BadRequest,
            with(|system| {
                system.message_type = MessageType::Transaction as i32;
                system.orphaned_transaction_recovery_duration =
                    Some(Duration::from_millis(3_601_000));
            }),
        ),
        (
            Code::InternalServerError,
            with(|system| system.priority = Some(-1)),
        ),
        (
            Code::IllegalMessagePropertyKey,
            properties([("KEYS".into(), "k".into())].into()),
        ),
        (
            Code::MessagePropertiesTooLarge,
            properties([("a".into(), "x".repeat(16_384))].into()),
        ),
        (
            Code::MessagePropertiesTooLarge,
            properties((0..129).map(|n| (n.to_string(), String::new())).collect()),
        ),
    ];
    for (code, messages) in refusals {
        let told = send(&rig, messages).await;
        assert_eq!(told.0, code as i32, "{told:?}");
    }
    let absent = QueryRouteRequest {
        topic: named("absent"),
        endpoints: None,
    };
    let told = rig.call::<QueryRoute>(&absent).await.told();
    assert_eq!(told.0, Code::TopicNotFound as i32);
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_is_received_one_by_one_and_each_handle_holds_once() {
    let rig = Rig::start().await;
    rig.topic("orders", MessageType::Normal).await;
    let batch = vec![
        message("orders", "m1", "one"),
        message("orders", "m2", "two"),
    ];
    assert_eq!(send(&rig, batch).await.0, Code::Ok as i32);
    let (code, received) = receive(&rig, "orders", "g", 10_000).await;
    assert_eq!(code, Code::Ok as i32);
    let bodies: Vec<_> = received.iter().map(|message| &message.body[..]).collect();
    assert_eq!(bodies, [b"one", b"two"]);

    let [first, second] = [handle(&received[0]), handle(&received[1])];
    let hidden = rig
        .ask::<ChangeInvisibleDuration>(&ChangeInvisibleDurationRequest {
            group: named("g"),
            topic: named("orders"),
            receipt_handle: second.clone(),
            invisible_duration: Some(Duration::from_millis(20_000)),
            message_id: "m2".into(),
            ..ChangeInvisibleDurationRequest::default()
        })
        .await;
    let renewed = hidden.receipt_handle;
    assert!(
        renewed != second && renewed.contains(" 20000 "),
        "{renewed}"
    );
    let (ok, failed) = (Code::Ok as i32, Code::InternalServerError as i32);
    let codes = acknowledge(&rig, "orders", "g", &[first, renewed, "no handle".into()]).await;
    assert_eq!(codes, [Code::MultipleResults as i32, ok, ok, failed]);
    let (code, _) = receive(&rig, "orders", "g", 200).await;
    assert_eq!(code, Code::MessageNotFound as i32);
    rig.stop().await;
}

#[tokio::test]
async fn a_message_that_is_given_up_is_among_the_dead_letters_and_nowhere_else() {
    let rig = Rig::start().await;
    rig.topic("orders", MessageType::Normal).await;
    send(&rig, vec![message("orders", "m", "dead")]).await;
    let (_, received) = receive(&rig, "orders", "g", 10_000).await;
    let request = ForwardMessageToDeadLetterQueueRequest {
        group: named("g"),
        topic: named("orders"),
        receipt_handle: handle(&received[0]),
        message_id: "m".into(),
        ..ForwardMessageToDeadLetterQueueRequest::default()
    };
    let told = rig
        .call::<ForwardMessageToDeadLetterQueue>(&request)
        .await
        .told();
    assert_eq!(told, (Code::Ok as i32, "0".into()));
    assert_eq!(rig.count("%DLQ%g").await, Some(1));
    assert_eq!(
        receive(&rig, "orders", "g", 200).await.0,
        Code::MessageNotFound as i32
    );
    rig.stop().await;
}

#[tokio::test]
async fn an_orderly_group_gets_nothing_more_of_a_queue_until_it_has_acknowledged() {
    let rig = Rig::start().await;
    rig.topic("steps", MessageType::Fifo).await;
    rig.group(SubscriptionGroupConfig {
        group_name: "in-order".into(),
        consume_message_orderly: true,
        ..SubscriptionGroupConfig::default()
    })
    .await;
    let step = |id: &str| {
        let mut message = message("steps", id, id);
        if let Some(system) = &mut message.system_properties {
            system.message_group = Some("one".into());
        }
        vec![message]
    };
    send(&rig, step("1")).await;
    let (_, first) = receive(&rig, "steps", "in-order", 10_000).await;
    send(&rig, step("2")).await;
    let (code, _) = receive(&rig, "steps", "in-order", 200).await;
    assert_eq!(code, Code::MessageNotFound as i32);
    acknowledge(&rig, "steps", "in-order", &[handle(&first[0])]).await;
    let (_, second) = receive(&rig, "steps", "in-order", 10_000).await;
    assert_eq!(
        second.first().map(|message| &message.body[..]),
        Some(&b"2"[..])
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_message_has_its_priority_also_when_it_is_received() {
    let rig = Rig::start().await;
    rig.topic("urgent", MessageType::Priority).await;
    let mut message = message("urgent", "m", "now");
    if let Some(system) = &mut message.system_properties {
        system.priority = Some(3);
    }
    assert_eq!(send(&rig, vec![message]).await.0, Code::Ok as i32);
    let (_, received) = receive(&rig, "urgent", "g", 10_000).await;
    let system = received[0].system_properties.as_ref().expect("properties");
    assert_eq!(system.priority, Some(3));
    assert_eq!(system.message_type(), MessageType::Priority);
    rig.stop().await;
}

#[tokio::test]
async fn a_message_that_was_delivered_too_often_is_among_the_dead_letters() {
    let rig = Rig::start().await;
    rig.topic("orders", MessageType::Normal).await;
    rig.group(SubscriptionGroupConfig {
        group_name: "g".into(),
        retry_max_times: 0,
        ..SubscriptionGroupConfig::default()
    })
    .await;
    send(&rig, vec![message("orders", "m", "dead")]).await;
    let (_, received) = receive(&rig, "orders", "g", 10_000).await;
    let failed = ChangeInvisibleDurationRequest {
        group: named("g"),
        topic: named("orders"),
        receipt_handle: handle(&received[0]),
        invisible_duration: Some(Duration::from_millis(0)),
        message_id: "m".into(),
        ..ChangeInvisibleDurationRequest::default()
    };
    let told = rig.call::<ChangeInvisibleDuration>(&failed).await.told();
    assert_eq!(told.0, Code::Ok as i32);
    // The second delivery would be one too many, whenever it comes.
    while rig.count("%DLQ%g").await != Some(1) {
        let (code, _) = receive(&rig, "orders", "g", 1000).await;
        assert_eq!(code, Code::MessageNotFound as i32);
    }
    rig.stop().await;
}
