//! Messages selected by SQL92 expressions.

use bytes::{Bytes, BytesMut};
use store::{Clock, SystemClock};
use transport::Body;
use wire::body::heartbeat::{
    CheckClientRequestBody, ConsumeType, ConsumerData, HeartbeatData, SubscriptionData,
};
use wire::body::json;
use wire::body::queue::{CqExtUnit, QueryConsumeQueueResponseBody};
use wire::code::ResponseCode;
use wire::command::{
    CheckClientConfig, Heartbeat, PullMessage, QueryConsumeQueue, SendMessageV2, UpdateBrokerConfig,
};
use wire::frame::Frame;
use wire::header::NoHeader;
use wire::header::client::HeartbeatRequest;
use wire::header::pull::{PullMessageRequest, PullMessageResponse, QueryConsumeQueueRequest};
use wire::header::send::SendMessageRequestV2;
use wire::message::body::BatchMessage;
use wire::message::record::RecordRef;

use crate::rig::{Rig, refused};

/// Pull flags: wait for a message; the expression is in the request.
const SUSPEND: i32 = 2;
const SUBSCRIPTION: i32 = 4;

/// A broker that filters, with a topic of one queue.
async fn filtering() -> Rig {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    let settings = Bytes::from_static(b"enablePropertyFilter=true");
    rig.done::<UpdateBrokerConfig>(NoHeader, settings).await;
    rig
}

/// Sends a message whose body and property `n` are the same.
async fn send(rig: &Rig, n: &'static str) {
    send_to(rig, "orders", n, "").await;
}

async fn send_to(rig: &Rig, topic: &'static str, n: &'static str, more_properties: &str) {
    let header = message_to(topic, format!("n\u{1}{n}\u{2}{more_properties}"));
    rig.done::<SendMessageV2>(header, Bytes::from_static(n.as_bytes()))
        .await;
}

fn message_to(topic: &'static str, properties: String) -> SendMessageRequestV2<'static> {
    SendMessageRequestV2 {
        producer_group: "p".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        properties: Some(properties.into()),
        ..Default::default()
    }
}

/// Says what the group `g` wants of `orders`.
async fn subscribe(rig: &Rig, expression: &str, sub_version: i64) {
    subscribe_all(rig, vec![sql(expression, sub_version)]).await;
}

async fn subscribe_all(rig: &Rig, subscription_data_set: Vec<SubscriptionData>) {
    let data = HeartbeatData {
        client_id: "c".into(),
        consumer_data_set: vec![ConsumerData {
            group_name: "g".into(),
            consume_type: ConsumeType::ConsumePassively,
            subscription_data_set,
            ..Default::default()
        }],
        ..Default::default()
    };
    rig.done::<Heartbeat>(HeartbeatRequest::default(), json::write(&data))
        .await;
}

fn sql(expression: &str, sub_version: i64) -> SubscriptionData {
    SubscriptionData {
        topic: "orders".into(),
        sub_string: expression.into(),
        expression_type: "SQL92".into(),
        sub_version,
        ..Default::default()
    }
}

/// A pull of the group `g` that knows version 1 of its subscription.
fn pull(sys_flag: i32) -> PullMessageRequest<'static> {
    PullMessageRequest {
        consumer_group: "g".into(),
        topic: "orders".into(),
        max_msg_nums: 32,
        sys_flag,
        // Longer than any test waits.
        suspend_timeout_millis: 600_000,
        sub_version: 1,
        expression_type: Some("SQL92".into()),
        ..Default::default()
    }
}

/// The messages of an answer, and where to go on.
fn told(answer: &Frame) -> (Vec<String>, i64) {
    let header: PullMessageResponse = answer.header().unwrap();
    let mut bodies = Vec::new();
    let mut rest = &answer.body[..];
    while !rest.is_empty() {
        let record = RecordRef::parse(rest).unwrap();
        bodies.push(String::from_utf8(record.body().to_vec()).unwrap());
        rest = &rest[record.total_size()..];
    }
    (bodies, header.next_begin_offset)
}

#[tokio::test]
async fn a_group_gets_what_its_heartbeat_selects() {
    let rig = filtering().await;
    for n in ["1", "7", "x", "8", "2"] {
        send(&rig, n).await;
    }
    subscribe(&rig, "n > 5", 1).await;
    let answer = rig.done::<PullMessage>(pull(0), Body::Empty).await;
    assert_eq!(told(&answer), (vec!["7".into(), "8".into()], 5));

    subscribe(&rig, "n > 10", 2).await;
    let answer = rig.ask::<PullMessage>(pull(0), Body::Empty).await;
    refused(
        &answer,
        ResponseCode::PullRetryImmediately,
        "NO_MATCHED_MESSAGE",
    );
    assert_eq!(told(&answer), (vec![], 5));

    let newer = PullMessageRequest {
        sub_version: 3,
        ..pull(0)
    };
    let answer = rig.ask::<PullMessage>(newer, Body::Empty).await;
    refused(&answer, ResponseCode::SubscriptionNotLatest, "not latest");
    subscribe(&rig, "n >", 3).await;
    let answer = rig.ask::<PullMessage>(pull(0), Body::Empty).await;
    refused(
        &answer,
        ResponseCode::FilterDataNotExist,
        "Your expression may be wrong",
    );
}

#[tokio::test]
async fn a_pull_may_bring_its_expression() {
    let rig = filtering().await;
    for n in ["1", "7"] {
        send(&rig, n).await;
    }
    let with = |expression_type: &'static str, expression: &'static str| PullMessageRequest {
        expression_type: Some(expression_type.into()),
        subscription: Some(expression.into()),
        ..pull(SUBSCRIPTION)
    };
    let answer = rig
        .done::<PullMessage>(with("SQL92", "n = 7"), Body::Empty)
        .await;
    assert_eq!(told(&answer), (vec!["7".into()], 2));
    for (expression_type, expression) in [("SQL92", "n ="), ("SQL92", ""), ("XPATH", "n")] {
        let answer = rig
            .ask::<PullMessage>(with(expression_type, expression), Body::Empty)
            .await;
        refused(
            &answer,
            ResponseCode::SubscriptionParseFailed,
            "parse the consumer's subscription failed",
        );
    }
    let settings = Bytes::from_static(b"enablePropertyFilter=false");
    rig.done::<UpdateBrokerConfig>(NoHeader, settings).await;
    let answer = rig
        .ask::<PullMessage>(with("SQL92", "n = 7"), Body::Empty)
        .await;
    refused(
        &answer,
        ResponseCode::SystemError,
        "does not support consumer to filter message by SQL92",
    );
}

#[tokio::test]
async fn a_held_pull_is_answered_by_what_it_selects() {
    let rig = filtering().await;
    subscribe(&rig, "n > 5", 1).await;
    // All on one connection, which serves them in this order.
    let (answer, ()) = tokio::join!(rig.done::<PullMessage>(pull(SUSPEND), Body::Empty), async {
        send(&rig, "1").await;
        send(&rig, "x").await;
        send(&rig, "7").await;
    });
    assert_eq!(told(&answer), (vec!["7".into()], 3));
}

#[tokio::test]
async fn a_held_pull_is_answered_when_more_comes_than_one_look_takes() {
    let rig = filtering().await;
    let settings = Bytes::from_static(b"maxFilterMessageSize=20");
    rig.done::<UpdateBrokerConfig>(NoHeader, settings).await;
    subscribe(&rig, "n > 5", 1).await;
    let mut batch = BytesMut::new();
    for n in ["1", "7"] {
        let properties = format!("n\u{1}{n}\u{2}");
        let message = BatchMessage {
            flag: 0,
            body: n.as_bytes(),
            properties: properties.as_bytes(),
        };
        message.encode_into(&mut batch).unwrap();
    }
    let header = SendMessageRequestV2 {
        batch: Some(true),
        ..message_to("orders", String::new())
    };
    let looks_at_one = PullMessageRequest {
        max_msg_nums: 1,
        ..pull(SUSPEND)
    };
    let (answer, _) = tokio::join!(
        rig.ask::<PullMessage>(looks_at_one, Body::Empty),
        rig.done::<SendMessageV2>(header, batch.freeze()),
    );
    refused(
        &answer,
        ResponseCode::PullRetryImmediately,
        "NO_MATCHED_MESSAGE",
    );
    assert_eq!(told(&answer), (vec![], 1));
}

#[tokio::test]
async fn a_held_pull_is_given_up_when_its_group_selects_something_else() {
    let rig = filtering().await;
    subscribe(&rig, "n > 5", 1).await;
    let (answer, ()) = tokio::join!(rig.ask::<PullMessage>(pull(SUSPEND), Body::Empty), async {
        send(&rig, "1").await;
        subscribe(&rig, "n < 5", 2).await;
        send(&rig, "2").await;
    });
    assert_eq!(answer.head.code, ResponseCode::PullRetryImmediately as i32);
    assert_eq!(told(&answer), (vec![], 1));
    let next = PullMessageRequest {
        queue_offset: 1,
        ..pull(SUSPEND)
    };
    let answer = rig.done::<PullMessage>(next, Body::Empty).await;
    assert_eq!(told(&answer), (vec!["2".into()], 2));
}

#[tokio::test]
async fn a_client_may_ask_whether_its_expression_will_do() {
    let rig = filtering().await;
    let check = |expression_type: &str, expression: &str| {
        json::write(&CheckClientRequestBody {
            subscription_data: SubscriptionData {
                expression_type: expression_type.into(),
                ..sql(expression, 1)
            },
            ..Default::default()
        })
    };
    rig.done::<CheckClientConfig>(NoHeader, check("SQL92", "n > 5"))
        .await;
    rig.done::<CheckClientConfig>(NoHeader, check("TAG", "n > 5"))
        .await;
    let answer = rig
        .ask::<CheckClientConfig>(NoHeader, check("SQL92", "n > 'x'"))
        .await;
    refused(
        &answer,
        ResponseCode::SubscriptionParseFailed,
        "Invalid MessageSelector. 'x' cannot be compared",
    );
    let deep = "(".repeat(30_000);
    let answer = rig
        .ask::<CheckClientConfig>(NoHeader, check("SQL92", &deep))
        .await;
    refused(
        &answer,
        ResponseCode::SubscriptionParseFailed,
        "levels deep",
    );
}

#[tokio::test]
async fn messages_that_come_again_are_selected_as_those_of_their_topic() {
    let rig = filtering().await;
    let retry = "%RETRY%g";
    let of_retry = SubscriptionData {
        topic: retry.into(),
        ..sql("n = 1", 1)
    };
    subscribe_all(&rig, vec![sql("n > 5", 1), of_retry]).await;
    for (n, topic) in [("1", "orders"), ("7", "orders"), ("2", "bills")] {
        send_to(&rig, retry, n, &format!("RETRY_TOPIC\u{1}{topic}\u{2}")).await;
    }
    let request = || PullMessageRequest {
        topic: retry.into(),
        ..pull(0)
    };
    let answer = rig.done::<PullMessage>(request(), Body::Empty).await;
    assert_eq!(told(&answer), (vec!["1".into()], 3));

    let settings = Bytes::from_static(b"filterSupportRetry=true");
    rig.done::<UpdateBrokerConfig>(NoHeader, settings).await;
    let answer = rig.done::<PullMessage>(request(), Body::Empty).await;
    assert_eq!(
        told(&answer),
        (vec!["7".into(), "2".into()], 3),
        "bills has no filter"
    );
}

/// A message is stored with the groups that want it, and read by that.
#[tokio::test]
async fn bit_maps_tell_which_groups_want_a_message() {
    let rig = Rig::with(|settings| {
        settings.broker.enable_property_filter = true;
        settings.broker.enable_calc_filter_bit_map = true;
        settings.store.enable_consume_queue_ext = true;
    })
    .await;
    rig.create_topic("orders", 1).await;
    send(&rig, "6").await;
    subscribe(&rig, "n > 5", 1).await;
    // What is stored in the very millisecond of the subscription counts as older than it.
    let subscribed = SystemClock.now_millis();
    while SystemClock.now_millis() == subscribed {
        tokio::task::yield_now().await;
    }
    for n in ["1", "7", "2"] {
        send(&rig, n).await;
    }
    let look = QueryConsumeQueueRequest {
        topic: Some("orders".into()),
        count: 10,
        consumer_group: Some("g".into()),
        ..Default::default()
    };
    let looked: QueryConsumeQueueResponseBody =
        rig.read::<QueryConsumeQueue, _>(look.clone()).await;
    let told = looked.filter_data.as_deref().unwrap();
    assert!(told.contains("\"expression\":\"n > 5\""), "{told}");
    let passing: Vec<bool> = looked.queue_data.iter().map(|entry| entry.eval).collect();
    assert_eq!(passing, [true, false, true, false], "{looked:?}");
    let set = |at: usize| {
        let bits = looked.queue_data[at].bit_map.as_deref();
        bits.map(|bits| bits.matches('1').count())
    };
    assert_eq!(set(0), None, "nobody filtered yet");
    assert_eq!((set(1), set(3)), (Some(0), Some(0)));
    assert!((1..=3).contains(&set(2).unwrap()), "{looked:?}");
    let unit = looked.queue_data[2].extend_data_json.as_deref().unwrap();
    let unit: CqExtUnit = json::read(unit.as_bytes()).unwrap();
    assert_eq!((unit.size, unit.filter_bit_map.len()), (34, 14));

    let answer = rig.done::<PullMessage>(pull(0), Body::Empty).await;
    assert_eq!(told_bodies(&answer), ["6", "7"]);
    // What was stored before the group wanted something else does not count against it.
    subscribe(&rig, "n < 5", 2).await;
    let newer = PullMessageRequest {
        sub_version: 2,
        ..pull(0)
    };
    let answer = rig.done::<PullMessage>(newer, Body::Empty).await;
    assert_eq!(told_bodies(&answer), ["1", "2"]);
    let offline = QueryConsumeQueueRequest {
        consumer_group: Some("h".into()),
        ..look
    };
    let looked: QueryConsumeQueueResponseBody = rig.read::<QueryConsumeQueue, _>(offline).await;
    let told = looked.filter_data.as_deref();
    assert_eq!(told, Some("h@orders is not online!"));
}

fn told_bodies(answer: &Frame) -> Vec<String> {
    told(answer).0
}
