//! Light queues: messages of a topic that are in other queues as well.

use bytes::Bytes;
use kerolox_broker::BrokerSettings;
use transport::Body;
use wire::code::ResponseCode;
use wire::command::{
    DeleteTopicInBroker, GetMaxOffset, GetMinOffset, PullMessage, QueryConsumerOffset,
    SendMessageV2, UpdateConsumerOffset,
};
use wire::frame::Frame;
use wire::header::offset::{
    GetMaxOffsetRequest, GetMaxOffsetResponse, GetMinOffsetRequest, GetMinOffsetResponse,
    QueryConsumerOffsetRequest, QueryConsumerOffsetResponse, UpdateConsumerOffsetRequest,
};
use wire::header::pull::PullMessageRequest;
use wire::header::send::SendMessageRequestV2;
use wire::header::topic::DeleteTopicRequest;
use wire::message::record::RecordRef;
use wire::message::sys_flag::pull as pull_flag;
use wire::message::{properties, property};

use crate::rig::{Rig, refused};

pub(crate) fn with_light_queues(settings: &mut BrokerSettings) {
    settings.store.enable_lmq = true;
    settings.store.enable_multi_dispatch = true;
}

pub(crate) fn message(
    topic: &'static str,
    properties: &[(&str, &str)],
) -> SendMessageRequestV2<'static> {
    SendMessageRequestV2 {
        producer_group: "p".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        properties: Some(properties::encode(properties.iter().copied()).into()),
        ..Default::default()
    }
}

/// Sends a message into light queues.
async fn send(rig: &Rig, body: &'static str, light_queues: &str) {
    let header = message("orders", &[(property::INNER_MULTI_DISPATCH, light_queues)]);
    rig.done::<SendMessageV2>(header, Body::One(Bytes::from_static(body.as_bytes())))
        .await;
}

async fn pull(rig: &Rig, topic: &str, offset: i64) -> Frame {
    let header = PullMessageRequest {
        consumer_group: "%LMQ%g".into(),
        topic: topic.into(),
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: pull_flag::SUBSCRIPTION,
        subscription: Some("*".into()),
        ..Default::default()
    };
    rig.ask::<PullMessage>(header, Body::Empty).await
}

/// Bodies of the messages of a light queue from an offset on, with what their records say of
/// their places in light queues.
async fn read(rig: &Rig, topic: &str, offset: i64) -> Vec<(String, String)> {
    let answer = pull(rig, topic, offset).await;
    let mut rest = &*answer.body;
    let mut messages = Vec::new();
    while let Ok(record) = RecordRef::parse(rest) {
        let text = record.properties();
        let offsets = properties::get(&text, property::INNER_MULTI_QUEUE_OFFSET);
        let body = String::from_utf8(record.body().to_vec()).unwrap();
        messages.push((body, offsets.unwrap_or_default().to_owned()));
        rest = &rest[record.total_size()..];
    }
    messages
}

async fn range(rig: &Rig, topic: &str) -> (i64, i64) {
    let min = GetMinOffsetRequest {
        topic: topic.into(),
        ..Default::default()
    };
    let max = GetMaxOffsetRequest {
        topic: topic.into(),
        ..Default::default()
    };
    let min = rig.done::<GetMinOffset>(min, Body::Empty).await;
    let max = rig.done::<GetMaxOffset>(max, Body::Empty).await;
    let min: GetMinOffsetResponse = min.header().unwrap();
    let max: GetMaxOffsetResponse = max.header().unwrap();
    (min.offset, max.offset)
}

fn own(messages: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(body, offsets): &(&str, &str)| ((*body).to_owned(), (*offsets).to_owned());
    messages.iter().map(own).collect()
}

#[tokio::test]
async fn a_message_is_in_every_light_queue_that_it_names() {
    let rig = Rig::with(with_light_queues).await;
    send(&rig, "one", "%LMQ%a,%LMQ%b").await;
    send(&rig, "two", "%LMQ%b,orders,%LMQ%b,%LMQ%../x").await;
    let forged = &[
        (property::INNER_MULTI_DISPATCH, "%LMQ%b"),
        (property::INNER_MULTI_QUEUE_OFFSET, "70"),
    ];
    rig.done::<SendMessageV2>(message("orders", forged), "three")
        .await;

    let all = own(&[("one", "0,0"), ("two", "1,,,"), ("three", "2")]);
    assert_eq!(read(&rig, "%LMQ%a", 0).await, all[..1]);
    assert_eq!(read(&rig, "%LMQ%b", 0).await, all);
    assert_eq!(read(&rig, "%LMQ%b", 2).await, all[2..]);
    assert_eq!(range(&rig, "%LMQ%b").await, (0, 3));

    let commit = UpdateConsumerOffsetRequest {
        consumer_group: "%LMQ%g".into(),
        topic: "%LMQ%b".into(),
        commit_offset: 2,
        ..Default::default()
    };
    rig.done::<UpdateConsumerOffset>(commit, Body::Empty).await;

    let rig = rig.restarted().await;
    assert_eq!(read(&rig, "%LMQ%b", 0).await, all);
    let query = QueryConsumerOffsetRequest {
        consumer_group: "%LMQ%g".into(),
        topic: "%LMQ%b".into(),
        ..Default::default()
    };
    let answer = rig.done::<QueryConsumerOffset>(query, Body::Empty).await;
    let offset: QueryConsumerOffsetResponse = answer.header().unwrap();
    assert_eq!(offset.offset, 2);

    let delete = DeleteTopicRequest {
        topic: "%LMQ%b".into(),
        ..Default::default()
    };
    rig.done::<DeleteTopicInBroker>(delete, Body::Empty).await;
    assert_eq!(range(&rig, "%LMQ%b").await, (0, 0));
    assert_eq!(read(&rig, "%LMQ%a", 0).await, all[..1]);
    send(&rig, "four", "%LMQ%b").await;
    assert_eq!(read(&rig, "%LMQ%b", 0).await, own(&[("four", "0")]));
}

#[tokio::test]
async fn there_are_no_more_light_queues_than_allowed() {
    let rig = Rig::with(|settings| {
        with_light_queues(settings);
        settings.store.enable_lmq_quota = true;
        settings.store.max_lmq_consume_queue_num = 1;
    })
    .await;
    send(&rig, "one", "%LMQ%a").await;
    let second = message("orders", &[(property::INNER_MULTI_DISPATCH, "%LMQ%b")]);
    let answer = rig.ask::<SendMessageV2>(second, "two").await;
    refused(
        &answer,
        ResponseCode::LmqQuotaExceeded,
        "maxLmqConsumeQueueNum",
    );
    refused(
        &pull(&rig, "%LMQ%b", 0).await,
        ResponseCode::LmqQuotaExceeded,
        "maxLmqConsumeQueueNum",
    );
    send(&rig, "three", "%LMQ%a").await;
    assert_eq!(range(&rig, "%LMQ%a").await, (0, 2));
    assert_eq!(range(&rig, "orders").await, (0, 2));
}

#[tokio::test]
async fn without_the_settings_there_are_no_light_queues() {
    let rig = Rig::new().await;
    send(&rig, "one", "%LMQ%a").await;
    assert_eq!(range(&rig, "%LMQ%a").await, (0, 0));
    refused(
        &pull(&rig, "%LMQ%a", 0).await,
        ResponseCode::TopicNotExist,
        "%LMQ%a",
    );
}
