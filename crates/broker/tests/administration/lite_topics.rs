//! Lite topics: subscribing, taking messages in order, acknowledging, and what tools see.

use bytes::Bytes;
use transport::Body;
use wire::body::group::SubscriptionGroupConfig;
use wire::body::json;
use wire::body::lite::{
    GetBrokerLiteInfoResponseBody, GetLiteClientInfoResponseBody, GetLiteGroupInfoResponseBody,
    GetLiteTopicInfoResponseBody, GetParentTopicInfoResponseBody, LiteSubscriptionAction,
    LiteSubscriptionCtlRequestBody, LiteSubscriptionDto, OffsetOption, OffsetOptionType,
};
use wire::code::ResponseCode;
use wire::command::{
    AckMessage, ChangeMessageInvisibleTime, DeleteTopicInBroker, GetBrokerLiteInfo,
    GetLiteClientInfo, GetLiteGroupInfo, GetLiteTopicInfo, GetParentTopicInfo, LiteSubscriptionCtl,
    PopLiteMessage, SendMessageV2, TriggerLiteDispatch, UpdateAndCreateSubscriptionGroup,
    UpdateAndCreateTopic,
};
use wire::frame::Frame;
use wire::header::lite::{
    GetLiteClientInfoRequest, GetLiteGroupInfoRequest, GetLiteTopicInfoRequest,
    GetParentTopicInfoRequest, LiteSubscriptionCtlRequest, PopLiteMessageRequest,
    PopLiteMessageResponse, TriggerLiteDispatchRequest,
};
use wire::header::pop::{AckMessageRequest, ChangeInvisibleTimeRequest};
use wire::header::topic::{CreateTopicRequest, DeleteTopicRequest};
use wire::message::property;
use wire::message::record::RecordRef;

use crate::light_queues::{message, with_light_queues};
use crate::rig::{Rig, refused, topic_request};
use crate::statistics::{sums, view};

/// A long time for a reception.
const LONG: i64 = 60_000;

/// A broker with the parent topic `chats` and the group `g` bound to it.
async fn rig(attributes: &[(&str, &str)]) -> Rig {
    let rig = Rig::with(with_light_queues).await;
    let topic = CreateTopicRequest {
        attributes: Some("+message.type=LITE,+lite.topic.expiration=30".into()),
        ..topic_request("chats", 4)
    };
    rig.done::<UpdateAndCreateTopic>(topic, Body::Empty).await;
    let bound = [("+lite.bind.topic", "chats")];
    let group = SubscriptionGroupConfig {
        group_name: "g".into(),
        attributes: attributes
            .iter()
            .chain(&bound)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Default::default()
    };
    let header = Default::default();
    rig.done::<UpdateAndCreateSubscriptionGroup>(header, json::write(&group))
        .await;
    rig
}

async fn send(rig: &Rig, lite_topic: &str, body: &'static str) {
    let header = message("chats", &[(property::LITE_TOPIC, lite_topic)]);
    rig.done::<SendMessageV2>(header, Body::One(Bytes::from_static(body.as_bytes())))
        .await;
}

fn change(
    client: &str,
    action: LiteSubscriptionAction,
    lite_topics: &[&str],
) -> LiteSubscriptionDto {
    LiteSubscriptionDto {
        action,
        client_id: client.into(),
        group: "g".into(),
        topic: "chats".into(),
        lite_topic_set: lite_topics.iter().map(|lite| (*lite).to_owned()).collect(),
        ..Default::default()
    }
}

async fn control(rig: &Rig, change: LiteSubscriptionDto) -> Frame {
    let body = LiteSubscriptionCtlRequestBody {
        subscription_set: vec![change],
    };
    let header = LiteSubscriptionCtlRequest::default();
    rig.ask::<LiteSubscriptionCtl>(header, json::write(&body))
        .await
}

async fn subscribe(rig: &Rig, client: &str, lite_topics: &[&str]) {
    let change = change(client, LiteSubscriptionAction::PartialAdd, lite_topics);
    assert_eq!(control(rig, change).await.head.code, 0);
}

async fn ask(rig: &Rig, client: &str, poll_time: i64, invisible_time: i64) -> Frame {
    let header = PopLiteMessageRequest {
        client_id: client.into(),
        consumer_group: "g".into(),
        topic: "chats".into(),
        max_msg_num: 32,
        invisible_time,
        poll_time,
        ..Default::default()
    };
    rig.ask::<PopLiteMessage>(header, Body::Empty).await
}

/// What a client got: bodies with how often each was received before, and the reception's handle.
async fn pop(
    rig: &Rig,
    client: &str,
    poll_time: i64,
    invisible_time: i64,
) -> (Vec<String>, String) {
    let answer = ask(rig, client, poll_time, invisible_time).await;
    let header: PopLiteMessageResponse<'_> = answer.header().unwrap();
    let counts = header.order_count_info.unwrap_or_default().into_owned();
    let mut counts = counts.split(';');
    let mut rest = &*answer.body;
    let mut bodies = Vec::new();
    while let Ok(record) = RecordRef::parse(rest) {
        let body = String::from_utf8(record.body().to_vec()).unwrap();
        bodies.push(format!("{body} {}", counts.next().unwrap()));
        rest = &rest[record.total_size()..];
    }
    let handle = format!(
        "0 {} {invisible_time} {} 0 broker-a 0",
        header.pop_time, header.revive_qid
    );
    (bodies, handle)
}

async fn ack(rig: &Rig, lite_topic: &str, offset: i64, handle: &str) -> Frame {
    let header = AckMessageRequest {
        consumer_group: "g".into(),
        topic: "chats".into(),
        extra_info: handle.into(),
        offset,
        lite_topic: Some(lite_topic.into()),
        ..Default::default()
    };
    rig.ask::<AckMessage>(header, Body::Empty).await
}

#[tokio::test]
async fn a_lite_topic_comes_in_order_and_only_to_its_subscribers() {
    let rig = rig(&[]).await;
    send(&rig, "a", "a0").await;
    subscribe(&rig, "c1", &["a"]).await;
    subscribe(&rig, "c2", &["b"]).await;
    let (bodies, handle) = pop(&rig, "c1", LONG, LONG).await;
    assert_eq!(bodies, ["a0 0"]);
    send(&rig, "a", "a1").await;
    send(&rig, "a", "a2").await;
    assert_eq!(
        pop(&rig, "c1", 0, LONG).await.0,
        [""; 0],
        "a0 is not acknowledged"
    );

    // A request that waits is answered by an acknowledgement, and by a message.
    let waiting = pop(&rig, "c1", LONG, LONG);
    let acknowledged = async {
        assert_eq!(ack(&rig, "a", 0, &handle).await.head.code, 0);
    };
    let ((bodies, handle), ()) = tokio::join!(waiting, acknowledged);
    assert_eq!(bodies, ["a1 0", "a2 0"]);
    let (got, ()) = tokio::join!(pop(&rig, "c2", LONG, LONG), send(&rig, "b", "b0"));
    assert_eq!(got.0, ["b0 0"]);

    refused(
        &ack(&rig, "a", 9, &handle).await,
        ResponseCode::NoMessage,
        "ack offset illegal",
    );
    assert_eq!(ack(&rig, "a", 2, &handle).await.head.code, 0);
    send(&rig, "a", "a3").await;
    assert_eq!(
        pop(&rig, "c1", 0, LONG).await.0,
        [""; 0],
        "a1 is not acknowledged"
    );
    assert_eq!(ack(&rig, "a", 1, &handle).await.head.code, 0);
    assert_eq!(pop(&rig, "c1", LONG, LONG).await.0, ["a3 0"]);
    let counters = [
        ("GROUP_GET_NUMS", "chats@g"),
        ("BROKER_GET_NUMS", "DefaultCluster"),
        ("GROUP_ACK_NUMS", "chats@g"),
    ];
    assert_eq!(sums(&rig, counters).await, [5, 5, 3]);
    let latency = view(&rig, "GROUP_GET_LATENCY", "0@chats@g").await;
    assert_eq!(latency.head.code, 0, "{:?}", latency.remark);

    // What was not acknowledged comes again after a restart.
    let rig = rig.restarted().await;
    subscribe(&rig, "c1", &["a"]).await;
    assert_eq!(pop(&rig, "c1", LONG, LONG).await.0, ["a3 0"]);
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_comes_again_and_is_counted() {
    let rig = rig(&[]).await;
    subscribe(&rig, "c1", &["a"]).await;
    send(&rig, "a", "a0").await;
    let (bodies, handle) = pop(&rig, "c1", LONG, 200).await;
    assert_eq!(bodies, ["a0 0"]);
    let (bodies, late) = pop(&rig, "c1", LONG, LONG).await;
    assert_eq!(bodies, ["a0 1"]);
    assert_eq!(
        ack(&rig, "a", 0, &handle).await.head.code,
        0,
        "too late, and told so by nothing"
    );
    assert_eq!(pop(&rig, "c1", 0, LONG).await.0, [""; 0]);
    let sooner = ChangeInvisibleTimeRequest {
        consumer_group: "g".into(),
        topic: "chats".into(),
        extra_info: late.into(),
        invisible_time: 100,
        lite_topic: Some("a".into()),
        suspend: true,
        ..Default::default()
    };
    rig.done::<ChangeMessageInvisibleTime>(sooner, Body::Empty)
        .await;
    assert_eq!(
        pop(&rig, "c1", LONG, LONG).await.0,
        ["a0 1"],
        "suspended, not tried"
    );
}

#[tokio::test]
async fn an_exclusive_lite_topic_goes_to_the_client_that_took_it_last() {
    let rig = rig(&[("+lite.sub.model", "Exclusive")]).await;
    subscribe(&rig, "c1", &["a"]).await;
    subscribe(&rig, "c2", &["a"]).await;
    send(&rig, "a", "a0").await;
    assert_eq!(
        ask(&rig, "c1", 0, LONG).await.head.code,
        ResponseCode::PollingTimeout as i32
    );
    let (bodies, handle) = pop(&rig, "c2", LONG, LONG).await;
    assert_eq!(bodies, ["a0 0"]);
    assert_eq!(ack(&rig, "a", 0, &handle).await.head.code, 0);

    let from_start = LiteSubscriptionDto {
        offset_option: Some(OffsetOption {
            option_type: OffsetOptionType::Policy,
            value: 1,
        }),
        ..change("c3", LiteSubscriptionAction::PartialAdd, &["a"])
    };
    control(&rig, from_start).await;
    assert_eq!(pop(&rig, "c3", LONG, LONG).await.0, ["a0 0"]);
}

#[tokio::test]
async fn a_client_that_leaves_leaves_what_waits_to_others() {
    let rig = rig(&[("+lite.sub.wildcard", "true")]).await;
    refused(
        &control(
            &rig,
            change("c1", LiteSubscriptionAction::PartialAdd, &["a"]),
        )
        .await,
        ResponseCode::IllegalOperation,
        "not supported for this group",
    );
    control(&rig, change("c1", LiteSubscriptionAction::CompleteAdd, &[])).await;
    send(&rig, "a", "a0").await;
    control(&rig, change("c2", LiteSubscriptionAction::CompleteAdd, &[])).await;
    control(
        &rig,
        change("c1", LiteSubscriptionAction::CompleteRemove, &[]),
    )
    .await;
    assert_eq!(pop(&rig, "c2", LONG, LONG).await.0, ["a0 0"]);
    send(&rig, "b", "b0").await;
    assert_eq!(pop(&rig, "c2", LONG, LONG).await.0, ["b0 0"]);
}

#[tokio::test]
async fn tools_see_topics_clients_and_how_far_groups_are_behind() {
    let rig = rig(&[]).await;
    subscribe(&rig, "c1", &["a", "b"]).await;
    send(&rig, "a", "a0").await;
    send(&rig, "a", "a1").await;
    let (_, handle) = pop(&rig, "c1", LONG, LONG).await;
    ack(&rig, "a", 0, &handle).await;

    let info: GetBrokerLiteInfoResponseBody =
        rig.read::<GetBrokerLiteInfo, _>(Default::default()).await;
    assert_eq!(info.topic_meta["chats"], 30);
    assert!(info.group_meta["chats"].contains("g"));
    assert_eq!((info.lite_subscription_count, info.current_lmq_num), (2, 1));
    let parent = GetParentTopicInfoRequest {
        topic: "chats".into(),
    };
    let info: GetParentTopicInfoResponseBody = rig.read::<GetParentTopicInfo, _>(parent).await;
    assert_eq!((info.lite_topic_count, info.ttl), (1, 30));
    let lite = GetLiteTopicInfoRequest {
        parent_topic: Some("chats".into()),
        lite_topic: Some("a".into()),
    };
    let info: GetLiteTopicInfoResponseBody = rig.read::<GetLiteTopicInfo, _>(lite.clone()).await;
    assert_eq!(info.topic_offset.unwrap().max_offset, 2);
    assert_eq!(info.subscriber[0].client_id, "c1");
    let client = GetLiteClientInfoRequest {
        parent_topic: Some("chats".into()),
        group: Some("g".into()),
        client_id: Some("c1".into()),
        max_count: Some(1),
    };
    let info: GetLiteClientInfoResponseBody = rig.read::<GetLiteClientInfo, _>(client).await;
    assert_eq!((info.lite_topic_count, info.lite_topic_set.len()), (2, 1));
    let group = GetLiteGroupInfoRequest {
        group: "g".into(),
        lite_topic: None,
        top_k: 5,
    };
    let info: GetLiteGroupInfoResponseBody = rig.read::<GetLiteGroupInfo, _>(group.clone()).await;
    assert_eq!(info.total_lag_count, 1);
    assert_eq!(info.lag_count_top_k[0].lite_topic, "%LMQ%$chats$a");
    let of_one = GetLiteGroupInfoRequest {
        lite_topic: Some("a".into()),
        ..group
    };
    let info: GetLiteGroupInfoResponseBody = rig.read::<GetLiteGroupInfo, _>(of_one).await;
    assert_eq!(info.lite_topic_offset_wrapper.unwrap().consumer_offset, 1);
    let trigger = TriggerLiteDispatchRequest {
        group: "nobody".into(),
        client_id: None,
    };
    refused(
        &rig.ask::<TriggerLiteDispatch>(trigger, Body::Empty).await,
        ResponseCode::SubscriptionGroupNotExist,
        "nobody",
    );

    let delete = DeleteTopicRequest {
        topic: "chats".into(),
        ..Default::default()
    };
    rig.done::<DeleteTopicInBroker>(delete, Body::Empty).await;
    let info: GetBrokerLiteInfoResponseBody =
        rig.read::<GetBrokerLiteInfo, _>(Default::default()).await;
    assert_eq!((info.current_lmq_num, info.order_info_count), (0, 0));
    refused(
        &rig.ask::<GetLiteTopicInfo>(lite, Body::Empty).await,
        ResponseCode::TopicNotExist,
        "chats",
    );
}
