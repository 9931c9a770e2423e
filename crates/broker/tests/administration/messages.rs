//! Finding messages by key.

use bytes::Bytes;
use transport::Body;
use wire::code::ResponseCode;
use wire::command::{QueryMessage, SendMessageV2};
use wire::frame::Frame;
use wire::header::pull::{QueryMessageRequest, QueryMessageResponse};
use wire::header::send::SendMessageRequestV2;
use wire::message::record::RecordRef;

use crate::rig::{Rig, refused};

async fn send(rig: &Rig, body: &'static str, properties: &str) {
    let header = SendMessageRequestV2 {
        producer_group: "p".into(),
        topic: "orders".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        properties: Some(properties.to_owned().into()),
        ..Default::default()
    };
    let body = Body::One(Bytes::from_static(body.as_bytes()));
    rig.done::<SendMessageV2>(header, body).await;
}

fn request(key: &str, max_num: i32) -> QueryMessageRequest<'_> {
    QueryMessageRequest {
        topic: "orders".into(),
        key: key.into(),
        max_num,
        begin_timestamp: 0,
        end_timestamp: i64::MAX,
        ..Default::default()
    }
}

fn bodies(answer: &Frame) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut rest = &answer.body[..];
    while !rest.is_empty() {
        let record = RecordRef::parse(rest).unwrap();
        bodies.push(String::from_utf8(record.body().to_vec()).unwrap());
        rest = &rest[record.total_size()..];
    }
    bodies
}

#[tokio::test]
async fn messages_are_found_by_key_unique_id_and_tag() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    send(
        &rig,
        "one",
        "KEYS\u{1}a b\u{2}TAGS\u{1}red\u{2}UNIQ_KEY\u{1}id1\u{2}",
    )
    .await;
    send(
        &rig,
        "two",
        "KEYS\u{1}b\u{2}TAGS\u{1}red\u{2}UNIQ_KEY\u{1}id2\u{2}",
    )
    .await;
    send(&rig, "three", "KEYS\u{1}b b\u{2}TAGS\u{1}blue\u{2}").await;

    let found = |request| async { bodies(&rig.done::<QueryMessage>(request, Body::Empty).await) };
    assert_eq!(found(request("a", 10)).await, ["one"]);
    assert_eq!(found(request("b", 10)).await, ["one", "two", "three"]);
    assert_eq!(found(request("b", 2)).await, ["two", "three"], "the newest");
    assert_eq!(found(request("id2", 10)).await, ["two"]);
    let by_id = QueryMessageRequest {
        unique_key_query: Some(true),
        ..request("id1", 0)
    };
    assert_eq!(found(by_id).await, ["one"]);
    let by_tag = QueryMessageRequest {
        index_type: Some("T".into()),
        ..request("red", 10)
    };
    assert_eq!(found(by_tag).await, ["one", "two"]);

    let answer = rig
        .done::<QueryMessage>(request("a", 10), Body::Empty)
        .await;
    let index = answer.header::<QueryMessageResponse>().unwrap();
    assert!(index.index_last_update_timestamp > 0 && index.index_last_update_phyoffset > 0);

    let remark = "can not find message, maybe time range not correct";
    let over = QueryMessageRequest {
        begin_timestamp: index.index_last_update_timestamp + 1,
        ..request("a", 10)
    };
    for nothing in [request("red", 10), request("a", 0), request("a", -1), over] {
        let answer = rig.ask::<QueryMessage>(nothing, Body::Empty).await;
        refused(&answer, ResponseCode::QueryNotFound, remark);
    }

    let rig = rig.restarted().await;
    let answer = rig
        .done::<QueryMessage>(request("b", 10), Body::Empty)
        .await;
    assert_eq!(bodies(&answer), ["one", "two", "three"]);
}
