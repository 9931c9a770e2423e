//! The order in which pops look into the queues of a topic for priorities.

use bytes::Bytes;
use transport::Body;
use wire::body::group::SubscriptionGroupConfig;
use wire::body::json;
use wire::command::*;
use wire::header::NoHeader;
use wire::header::pop::PopMessageRequest;
use wire::header::topic::CreateTopicRequest;
use wire::message::property;
use wire::message::record::RecordRef;

use crate::light_queues::message;
use crate::rig::*;

/// Sends a message of each priority to a topic of that type, and pops them one by one.
async fn popped(rig: &Rig, group: &'static str) -> Vec<Bytes> {
    let topic = CreateTopicRequest {
        attributes: Some("+message.type=PRIORITY".into()),
        ..topic_request("orders", 4)
    };
    rig.done::<UpdateAndCreateTopic>(topic, Body::Empty).await;
    for priority in ["0", "1", "2", "3"] {
        let header = message("orders", &[(property::PRIORITY, priority)]);
        rig.done::<SendMessageV2>(header, Body::One(priority.into()))
            .await;
    }
    let mut popped = Vec::new();
    for _ in 0..4 {
        let header = PopMessageRequest {
            consumer_group: group.into(),
            topic: "orders".into(),
            queue_id: -1,
            max_msg_nums: 1,
            invisible_time: 60_000,
            ..Default::default()
        };
        let answer = rig.done::<PopMessage>(header, Body::Empty).await;
        let record = RecordRef::parse(&answer.body).unwrap();
        popped.push(Bytes::copy_from_slice(record.body()));
    }
    popped
}

#[tokio::test]
async fn a_pop_brings_the_highest_priority_first() {
    let rig = Rig::new().await;
    assert_eq!(popped(&rig, "g").await, ["3", "2", "1", "0"]);
}

#[tokio::test]
async fn the_lowest_number_may_be_the_highest_priority() {
    let rig = Rig::new().await;
    rig.done::<UpdateBrokerConfig>(NoHeader, Bytes::from("priorityOrderAsc=false"))
        .await;
    assert_eq!(popped(&rig, "g").await, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_group_may_do_without_priorities() {
    let rig = Rig::new().await;
    let group = SubscriptionGroupConfig {
        group_name: "g".into(),
        attributes: [("+priority.factor".into(), "0".into())].into(),
        ..Default::default()
    };
    rig.done::<UpdateAndCreateSubscriptionGroup>(Default::default(), json::write(&group))
        .await;
    let popped = popped(&rig, "g").await;
    let in_turn = ["3", "0", "1", "2"];
    assert!(
        (0..4).any(|at| {
            let mut turned = in_turn;
            turned.rotate_left(at);
            popped == turned
        }),
        "{popped:?}"
    );
}
