//! Consumers of a group and each other, through the built binary and over the wire.

mod server;

use std::borrow::Cow;
use std::time::Instant;

use rustix::process::Signal;
use server::{Client, Server, TIMEOUT, expect, pull};
use tokio::sync::mpsc;
use transport::{HandlerTable, Reply};
use wire::body::client::GetConsumerListByGroupResponseBody;
use wire::body::heartbeat::{ConsumerData, HeartbeatData, SubscriptionData};
use wire::body::json;
use wire::body::lock::{LockBatchRequestBody, LockBatchResponseBody, UnlockBatchRequestBody};
use wire::body::queue::MessageQueue;
use wire::code::ResponseCode;
use wire::command::{
    Command, GetConsumerListByGroup, GetRouteInfoByTopic, Heartbeat, LockBatchMq,
    NotifyConsumerIdsChanged, PullMessage, RequestCode, UnlockBatchMq, UnregisterClient,
};
use wire::frame::SerializeType;
use wire::header::NoHeader;
use wire::header::client::{
    GetConsumerListByGroupRequest, HeartbeatRequest, HeartbeatResponse, LockBatchMqRequest,
    UnlockBatchMqRequest, UnregisterClientRequest,
};
use wire::header::nameserver::GetRouteInfoRequest;
use wire::message::body::Records;

#[tokio::test]
async fn a_queue_is_locked_for_one_client_of_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::cluster(dir.path(), "");
    let one = Client::connect(&server.broker).await;
    let other = Client::connect(&server.broker).await;
    let queue = |queue_id| MessageQueue {
        broker_name: "broker-a".into(),
        queue_id,
        topic: "t".into(),
    };
    let lock = async |client: &Client, client_id: &str, queues: &[i32]| -> Vec<i32> {
        let body = LockBatchRequestBody {
            client_id: client_id.into(),
            consumer_group: "g".into(),
            mq_set: queues.iter().copied().map(queue).collect(),
            only_this_broker: false,
        };
        let header = LockBatchMqRequest::default();
        let answer = client.ask::<LockBatchMq>(&header, json::write(&body)).await;
        expect(&answer, ResponseCode::Success);
        let locked: LockBatchResponseBody = json::read(&answer.body).unwrap();
        let mut ids: Vec<i32> = locked.lock_ok_mq_set.iter().map(|q| q.queue_id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(lock(&one, "one", &[0, 1]).await, [0, 1]);
    assert_eq!(lock(&other, "other", &[0, 1, 2]).await, [2]);
    assert_eq!(lock(&one, "one", &[0, 1, 2]).await, [0, 1]);
    let unlock = UnlockBatchRequestBody {
        client_id: "one".into(),
        consumer_group: "g".into(),
        // The last one is not its own.
        mq_set: vec![queue(0), queue(2)],
        only_this_broker: false,
    };
    let header = UnlockBatchMqRequest::default();
    one.ask::<UnlockBatchMq>(&header, json::write(&unlock))
        .await;
    assert_eq!(lock(&other, "other", &[0, 1, 2]).await, [0, 2]);
}

/// A client whose broker's notices about a group come out of the channel.
async fn notified(address: &str) -> (Client, mpsc::UnboundedReceiver<String>) {
    let (sender, notices) = mpsc::unbounded_channel();
    let mut handlers = HandlerTable::new();
    handlers.inline_each(&[RequestCode::NotifyConsumerIdsChanged], move |_, frame| {
        let header: <NotifyConsumerIdsChanged as Command>::Request<'_> = frame.header()?;
        let _ = sender.send(header.consumer_group.into_owned());
        Ok(Reply::<NoHeader>::empty())
    });
    let client = Client::with(address, SerializeType::Json, handlers).await;
    (client, notices)
}

#[tokio::test]
async fn the_members_of_a_group_hear_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::cluster(dir.path(), "");
    let asking = Client::connect(&server.broker).await;
    let heartbeat = async |client: &Client, client_id: &str| {
        let body = HeartbeatData {
            client_id: client_id.into(),
            consumer_data_set: vec![ConsumerData {
                group_name: "g".into(),
                subscription_data_set: vec![SubscriptionData {
                    topic: "t".into(),
                    sub_string: "*".into(),
                    ..SubscriptionData::default()
                }],
                ..ConsumerData::default()
            }],
            ..HeartbeatData::default()
        };
        let header = HeartbeatRequest::default();
        let answer = client.ask::<Heartbeat>(&header, json::write(&body)).await;
        expect(&answer, ResponseCode::Success);
        let header: HeartbeatResponse = answer.header().unwrap();
        assert_eq!(header.is_support_heartbeat_v2, Some(true));
    };
    let members = async || -> Vec<String> {
        let request = GetConsumerListByGroupRequest {
            consumer_group: Cow::Borrowed("g"),
            ..GetConsumerListByGroupRequest::default()
        };
        let answer = asking.ask::<GetConsumerListByGroup>(&request, "").await;
        expect(&answer, ResponseCode::Success);
        let list: GetConsumerListByGroupResponseBody = json::read(&answer.body).unwrap();
        let mut ids = list.consumer_id_list;
        ids.sort_unstable();
        ids
    };
    let next = async |notices: &mut mpsc::UnboundedReceiver<String>| {
        let notice = tokio::time::timeout(TIMEOUT, notices.recv()).await;
        assert_eq!(notice.expect("a notice in time").as_deref(), Some("g"));
    };

    let (one, mut to_one) = notified(&server.broker).await;
    heartbeat(&one, "one").await;
    assert_eq!(members().await, ["one"]);
    next(&mut to_one).await;
    // The group's retries are found through the name server.
    let names = Client::connect(&server.name_server).await;
    let retries = GetRouteInfoRequest {
        topic: Cow::Borrowed("%RETRY%g"),
        ..GetRouteInfoRequest::default()
    };
    let begun = Instant::now();
    while names
        .ask::<GetRouteInfoByTopic>(&retries, "")
        .await
        .head
        .code
        != ResponseCode::Success as i32
    {
        assert!(begun.elapsed() < TIMEOUT, "the broker does not register it");
    }
    let (two, mut to_two) = notified(&server.broker).await;
    heartbeat(&two, "two").await;
    next(&mut to_one).await;
    next(&mut to_two).await;
    assert_eq!(members().await, ["one", "two"]);
    // A subscription told by heartbeat is enough for a pull that brings none.
    one.send("t", 0, "m").await;
    let mut request = pull("g", "t", 0, 0);
    request.sys_flag = 0;
    request.subscription = None;
    let got = one.ask::<PullMessage>(&request, "").await;
    expect(&got, ResponseCode::Success);
    assert_eq!(Records::new(&got.body).count(), 1);

    let leave = UnregisterClientRequest {
        client_id: Cow::Borrowed("two"),
        consumer_group: Some(Cow::Borrowed("g")),
        ..UnregisterClientRequest::default()
    };
    two.ask::<UnregisterClient>(&leave, "").await;
    next(&mut to_one).await;
    assert_eq!(members().await, ["one"]);
    // Gone without a word: the closed connection says it.
    let (three, _) = notified(&server.broker).await;
    heartbeat(&three, "three").await;
    next(&mut to_one).await;
    assert_eq!(members().await, ["one", "three"]);
    drop(three);
    next(&mut to_one).await;
    assert_eq!(members().await, ["one"]);
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}
