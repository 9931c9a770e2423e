//! Clients: that they are there, what is asked of them, what they lock.

use std::collections::BTreeMap;

use bytes::Bytes;
use transport::{Body, HandlerTable, Reply};
use wire::body::client::*;
use wire::body::group::{QuerySubscriptionResponseBody, SubscriptionGroupConfig};
use wire::body::heartbeat::{ConsumerData, HeartbeatData};
use wire::body::json;
use wire::body::lock::{LockBatchRequestBody, LockBatchResponseBody, UnlockBatchRequestBody};
use wire::body::offset::GetConsumerStatusBody;
use wire::body::queue::MessageQueue;
use wire::code::ResponseCode;
use wire::command::*;
use wire::header::client::*;
use wire::header::group::{DeleteSubscriptionGroupRequest, QuerySubscriptionByConsumerRequest};
use wire::header::pop::PopMessageRequest;
use wire::header::pull::PullMessageRequest;
use wire::header::topic::GetTopicConfigRequest;
use wire::message::record::RecordRef;
use wire::message::sys_flag::pull as pull_flag;

use crate::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_group_wants_is_told_by_its_requests_unless_it_said_so() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    let told = async |group: &'static str, topic: &'static str| {
        let header = QuerySubscriptionByConsumerRequest {
            group: group.into(),
            topic: Some(topic.into()),
            ..Default::default()
        };
        let told: QuerySubscriptionResponseBody =
            rig.read::<QuerySubscriptionByConsumer, _>(header).await;
        let data = told.subscription_data?;
        assert_eq!(data.topic, topic);
        Some((
            data.sub_string,
            data.tags_set.into_iter().collect::<Vec<_>>(),
        ))
    };
    assert_eq!(told("g", "orders").await, None);
    for expression in ["b || a", "c"] {
        let pull = PullMessageRequest {
            consumer_group: "g".into(),
            topic: "orders".into(),
            sys_flag: pull_flag::SUBSCRIPTION,
            subscription: Some(expression.into()),
            ..Default::default()
        };
        rig.ask::<PullMessage>(pull, Body::Empty).await;
        let tags: Vec<String> = match expression {
            "c" => vec!["c".into()],
            _ => vec!["a".into(), "b".into()],
        };
        assert_eq!(told("g", "orders").await, Some((expression.into(), tags)));
    }
    assert_eq!(told("g", "%RETRY%g_orders").await, None);
    rig.heartbeat(&rig.client, "c").await;
    assert_eq!(told("g", "orders").await, Some(("*".into(), vec![])));

    let pop = PopMessageRequest {
        consumer_group: "h".into(),
        topic: "orders".into(),
        queue_id: -1,
        max_msg_nums: 1,
        invisible_time: 60_000,
        ..Default::default()
    };
    rig.ask::<PopMessage>(pop, Body::Empty).await;
    let all = Some(("*".into(), vec![]));
    assert_eq!(told("h", "orders").await, all);
    assert_eq!(told("h", "%RETRY%h_orders").await, all);
    let delete = DeleteSubscriptionGroupRequest {
        group_name: "h".into(),
        ..Default::default()
    };
    rig.done::<DeleteSubscriptionGroup>(delete, Body::Empty)
        .await;
    assert_eq!(told("h", "orders").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_are_asked_and_leave() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    rig.send("orders", 0, "one").await;
    let mut handlers = HandlerTable::new();
    handlers.inline_each(&[RequestCode::NotifyConsumerIdsChanged], |_, _| {
        Ok(Reply::empty())
    });
    handlers.inline_each(&[RequestCode::GetConsumerRunningInfo], |_, frame| {
        let header: GetConsumerRunningInfoRequest<'_> = frame.header()?;
        assert_eq!(header.client_id, "c");
        Ok(Reply::empty().with_body(Bytes::from_static(b"fine")))
    });
    handlers.inline_each(&[RequestCode::ConsumeMessageDirectly], |_, frame| {
        let header: ConsumeMessageDirectlyResultRequest<'_> = frame.header()?;
        assert_eq!(header.broker_name.as_deref(), Some("broker-a"));
        assert_eq!(header.topic_sys_flag, Some(0));
        let record = RecordRef::parse(&frame.body).unwrap();
        Ok(Reply::empty().with_body(Bytes::copy_from_slice(record.body())))
    });
    handlers.inline_each(&[RequestCode::GetConsumerStatusFromClient], |_, _| {
        let queue = MessageQueue {
            topic: "orders".into(),
            ..Default::default()
        };
        let status = GetConsumerStatusBody {
            message_queue_table: BTreeMap::from([(queue, 7)]),
            ..Default::default()
        };
        Ok(Reply::empty().with_body(json::write(&status)))
    });
    let consumer = client(handlers);

    let list = || GetConsumerListByGroupRequest {
        consumer_group: "g".into(),
        ..Default::default()
    };
    let answer = rig.ask::<GetConsumerListByGroup>(list(), Body::Empty).await;
    refused(
        &answer,
        ResponseCode::SystemError,
        "no consumer for this group, g",
    );

    let answer = rig.heartbeat(&consumer, "c").await;
    let told: HeartbeatResponse = answer.header().unwrap();
    assert_eq!(told.is_support_heartbeat_v2, Some(true));
    assert_eq!(told.is_sub_change, Some(true));
    let ids: GetConsumerListByGroupResponseBody =
        rig.read::<GetConsumerListByGroup, _>(list()).await;
    assert_eq!(ids.consumer_id_list, ["c"]);
    let get = GetTopicConfigRequest {
        topic: "%RETRY%g".into(),
        ..Default::default()
    };
    rig.done::<GetTopicConfig>(get, Body::Empty).await;
    let connections = GetConsumerConnectionListRequest {
        consumer_group: "g".into(),
        ..Default::default()
    };
    let connections: ConsumerConnection =
        rig.read::<GetConsumerConnectionList, _>(connections).await;
    assert_eq!(connections.connection_set[0].client_id, "c");
    assert!(connections.subscription_table.contains_key("orders"));
    let producers = GetProducerConnectionListRequest {
        producer_group: "p".into(),
        ..Default::default()
    };
    let producers: ProducerConnection = rig.read::<GetProducerConnectionList, _>(producers).await;
    assert_eq!(producers.connection_set[0].client_id, "c");
    let producers: ProducerTableInfo = rig.read::<GetAllProducerInfo, _>(Default::default()).await;
    assert_eq!(producers.data["p"][0].client_id, "c");
    let subscription = QuerySubscriptionByConsumerRequest {
        group: "g".into(),
        topic: Some("orders".into()),
        ..Default::default()
    };
    let subscription: QuerySubscriptionResponseBody = rig
        .read::<QuerySubscriptionByConsumer, _>(subscription)
        .await;
    assert_eq!(subscription.subscription_data.unwrap().sub_string, "*");

    let running = |client_id| GetConsumerRunningInfoRequest {
        consumer_group: "g".into(),
        client_id,
        ..Default::default()
    };
    let answer = rig
        .done::<GetConsumerRunningInfo>(running("c".into()), Body::Empty)
        .await;
    assert_eq!(&answer.body[..], b"fine");
    let answer = rig
        .ask::<GetConsumerRunningInfo>(running("d".into()), Body::Empty)
        .await;
    refused(
        &answer,
        ResponseCode::SystemError,
        "The Consumer <g> <d> not online",
    );
    let direct = ConsumeMessageDirectlyResultRequest {
        consumer_group: "g".into(),
        client_id: Some("c".into()),
        msg_id: Some("7F00000100002A9F0000000000000000".into()),
        topic: Some("orders".into()),
        ..Default::default()
    };
    let answer = rig
        .done::<ConsumeMessageDirectly>(direct, Body::Empty)
        .await;
    assert_eq!(&answer.body[..], b"one");
    let status = GetConsumerStatusRequest {
        topic: "orders".into(),
        group: "g".into(),
        ..Default::default()
    };
    let status: GetConsumerStatusBody =
        rig.read::<InvokeBrokerToGetConsumerStatus, _>(status).await;
    assert_eq!(
        status.consumer_table["c"].values().collect::<Vec<_>>(),
        [&7]
    );

    let leave = UnregisterClientRequest {
        client_id: "c".into(),
        producer_group: Some("p".into()),
        consumer_group: Some("g".into()),
        ..Default::default()
    };
    let answer = rig
        .ask_as::<UnregisterClient>(&consumer, leave, Body::Empty)
        .await;
    assert_eq!(answer.head.code, 0);
    let answer = rig.ask::<GetConsumerListByGroup>(list(), Body::Empty).await;
    assert_eq!(answer.head.code, ResponseCode::SystemError as i32);
    let producers = GetProducerConnectionListRequest {
        producer_group: "p".into(),
        ..Default::default()
    };
    let answer = rig
        .ask::<GetProducerConnectionList>(producers, Body::Empty)
        .await;
    refused(
        &answer,
        ResponseCode::SystemError,
        "the producer group[p] not exist",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_locked_for_one_client() {
    let rig = Rig::new().await;
    let queues: Vec<MessageQueue> = (0..2)
        .map(|queue_id| MessageQueue {
            topic: "orders".into(),
            broker_name: "a".into(),
            queue_id,
        })
        .collect();
    let lock = |client: &str| {
        json::write(&LockBatchRequestBody {
            client_id: client.into(),
            consumer_group: "g".into(),
            mq_set: queues.clone(),
            only_this_broker: false,
        })
    };
    let locked = async |client: &str| {
        let answer = rig
            .done::<LockBatchMq>(Default::default(), lock(client))
            .await;
        json::read::<LockBatchResponseBody>(&answer.body)
            .unwrap()
            .lock_ok_mq_set
    };
    assert_eq!(locked("c").await, queues);
    assert_eq!(locked("d").await, []);
    let unlock = json::write(&UnlockBatchRequestBody {
        client_id: "c".into(),
        consumer_group: "g".into(),
        mq_set: queues.clone(),
        only_this_broker: false,
    });
    rig.done::<UnlockBatchMq>(Default::default(), unlock).await;
    assert_eq!(locked("d").await, queues);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_told_of_others_unless_their_group_does_not_want_that() {
    let rig = Rig::new().await;
    let quiet = SubscriptionGroupConfig {
        group_name: "quiet".into(),
        notify_consumer_ids_changed_enable: false,
        ..Default::default()
    };
    rig.done::<UpdateAndCreateSubscriptionGroup>(Default::default(), json::write(&quiet))
        .await;
    let (notice, mut notices) = tokio::sync::mpsc::unbounded_channel();
    let mut handlers = HandlerTable::new();
    handlers.inline_each(&[RequestCode::NotifyConsumerIdsChanged], move |_, frame| {
        let header: NotifyConsumerIdsChangedRequest<'_> = frame.header()?;
        notice.send(header.consumer_group.to_string()).unwrap();
        Ok(Reply::empty())
    });
    let member = |group: &str| ConsumerData {
        group_name: group.into(),
        ..Default::default()
    };
    let heartbeat = |id: &str| HeartbeatData {
        client_id: id.into(),
        consumer_data_set: vec![member("quiet"), member("loud")],
        ..Default::default()
    };
    let leave = |id: &'static str, group: &'static str| UnregisterClientRequest {
        client_id: id.into(),
        consumer_group: Some(group.into()),
        ..Default::default()
    };
    let (stays, goes) = (client(handlers), client(HandlerTable::new()));
    for (client, id) in [(&stays, "stays"), (&goes, "goes")] {
        let header = HeartbeatRequest::default();
        rig.ask_as::<Heartbeat>(client, header, json::write(&heartbeat(id)))
            .await;
    }
    for group in ["quiet", "loud"] {
        rig.ask_as::<UnregisterClient>(&goes, leave("goes", group), Body::Empty)
            .await;
    }
    // It is there, the other comes, the other goes. What the quiet group had told would have come
    // before the last of these.
    for _ in 0..3 {
        let notice = tokio::time::timeout(PATIENCE, notices.recv()).await;
        assert_eq!(notice.unwrap().as_deref(), Some("loud"));
    }
}
