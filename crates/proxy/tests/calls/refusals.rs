//! What each call refuses, and by which code, besides what is wrong with messages.

use wire::command::UpdateBrokerConfig;
use wire::grpc::rpc::{
    AckMessage, ChangeInvisibleDuration, EndTransaction, ForwardMessageToDeadLetterQueue,
    Heartbeat, NotifyClientTermination, QueryAssignment, QueryRoute, RecallMessage, ReceiveMessage,
    Rpc, SyncLiteSubscription,
};
use wire::grpc::{
    AckMessageEntry, AckMessageRequest, ChangeInvisibleDurationRequest, ClientType, Code, Duration,
    EndTransactionRequest, FilterExpression, FilterType, ForwardMessageToDeadLetterQueueRequest,
    HeartbeatRequest, MessageType, NotifyClientTerminationRequest, PubSub, Publishing,
    QueryAssignmentRequest, QueryRouteRequest, RecallMessageRequest, ReceiveMessageRequest,
    Resource, Settings, SyncLiteSubscriptionRequest,
};
use wire::header::NoHeader;
use wire::message::recall::RecallHandle;

use crate::rig::Rig;
use crate::{consumer, named, receiving};

const TOPIC: &str = "orders";
const GROUP: &str = "g";

/// A handle that holds for a century, of the first message of a queue in the rig's broker.
const HANDLE: &str = "0 1795806332000 3155760000000 0 0 broker-a 0 0 0";

async fn code<R: Rpc>(rig: &Rig, request: R::Request) -> Option<Code> {
    let (code, _) = rig.call::<R>(&request).await.told();
    Code::try_from(code).ok()
}

fn acknowledging(topic: &str, group: &str, handle: &str) -> AckMessageRequest {
    AckMessageRequest {
        group: named(group),
        topic: named(topic),
        entries: vec![AckMessageEntry {
            message_id: "m".into(),
            receipt_handle: handle.into(),
            lite_topic: None,
        }],
    }
}

fn hiding(topic: &str, group: &str, handle: &str) -> ChangeInvisibleDurationRequest {
    ChangeInvisibleDurationRequest {
        group: named(group),
        topic: named(topic),
        receipt_handle: handle.into(),
        invisible_duration: Some(Duration::from_millis(10_000)),
        message_id: "m".into(),
        ..ChangeInvisibleDurationRequest::default()
    }
}

fn giving_up(topic: &str, group: &str, handle: &str) -> ForwardMessageToDeadLetterQueueRequest {
    ForwardMessageToDeadLetterQueueRequest {
        group: named(group),
        topic: named(topic),
        receipt_handle: handle.into(),
        message_id: "m".into(),
        ..ForwardMessageToDeadLetterQueueRequest::default()
    }
}

fn ending(topic: &str, transaction_id: &str) -> EndTransactionRequest {
    EndTransactionRequest {
        topic: named(topic),
        transaction_id: transaction_id.into(),
        ..EndTransactionRequest::default()
    }
}

fn recalling(topic: &str, handle: String) -> RecallMessageRequest {
    RecallMessageRequest {
        topic: named(topic),
        recall_handle: handle,
    }
}

/// What each call with a topic and a group answers to some.
async fn codes(rig: &Rig, topic: &str, group: &str) -> Vec<Option<Code>> {
    let assignment = QueryAssignmentRequest {
        topic: named(topic),
        group: named(group),
        endpoints: None,
    };
    let subscription = SyncLiteSubscriptionRequest {
        topic: named(topic),
        group: named(group),
        ..SyncLiteSubscriptionRequest::default()
    };
    vec![
        code::<QueryAssignment>(rig, assignment).await,
        code::<ReceiveMessage>(rig, receiving(topic, group)).await,
        code::<AckMessage>(rig, acknowledging(topic, group, HANDLE)).await,
        code::<ChangeInvisibleDuration>(rig, hiding(topic, group, HANDLE)).await,
        code::<ForwardMessageToDeadLetterQueue>(rig, giving_up(topic, group, HANDLE)).await,
        code::<SyncLiteSubscription>(rig, subscription).await,
    ]
}

#[tokio::test]
async fn no_call_takes_a_name_that_clients_must_not_use() {
    let rig = Rig::start().await;
    for wrong in ["", "a b", "TBW102", "rmq_sys_x"] {
        let mut found = codes(&rig, wrong, GROUP).await;
        let route = QueryRouteRequest {
            topic: named(wrong),
            endpoints: None,
        };
        found.push(code::<QueryRoute>(&rig, route).await);
        found.push(code::<EndTransaction>(&rig, ending(wrong, "t")).await);
        found.push(code::<RecallMessage>(&rig, recalling(wrong, "h".into())).await);
        assert_eq!(found, [Some(Code::IllegalTopic); 9], "{wrong:?}");
    }
    for wrong in ["", "a b", "CID_RMQ_SYS_x"] {
        let found = codes(&rig, TOPIC, wrong).await;
        assert_eq!(found, [Some(Code::IllegalConsumerGroup); 6], "{wrong:?}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_not_found() {
    let rig = Rig::start().await;
    let assignment = QueryAssignmentRequest {
        topic: named("absent"),
        group: named(GROUP),
        endpoints: None,
    };
    let absent = Some(Code::TopicNotFound);
    assert_eq!(code::<QueryAssignment>(&rig, assignment).await, absent);
    let request = receiving("absent", GROUP);
    assert_eq!(code::<ReceiveMessage>(&rig, request).await, absent);
    rig.stop().await;
}

#[tokio::test]
async fn a_handle_that_does_not_hold_is_refused_by_each_call_that_takes_one() {
    let rig = Rig::start().await;
    rig.topic(TOPIC, MessageType::Normal).await;
    let (invalid, failed) = (Code::InvalidReceiptHandle, Code::InternalServerError);
    let expired = "0 1 60000 0 0 broker-a 0 0 0";
    let elsewhere = HANDLE.replace("broker-a", "broker-z");
    // It does not tell where in the log its message is.
    let unplaced = HANDLE.trim_end_matches(" 0").to_owned() + " 0 0";
    for (handle, acknowledged, hidden, given_up) in [
        ("no handle", failed, failed, failed),
        (expired, invalid, invalid, failed),
        (&elsewhere, invalid, invalid, invalid),
        (&unplaced, Code::Ok, failed, invalid),
    ] {
        let found = [
            code::<AckMessage>(&rig, acknowledging(TOPIC, GROUP, handle)).await,
            code::<ChangeInvisibleDuration>(&rig, hiding(TOPIC, GROUP, handle)).await,
            code::<ForwardMessageToDeadLetterQueue>(&rig, giving_up(TOPIC, GROUP, handle)).await,
        ];
        let wanted = [acknowledged, hidden, given_up].map(Some);
        assert_eq!(found, wanted, "{handle}");
    }
    // The topic of its retries is not there.
    let retried = HANDLE.replace(" 0 broker-a", " 1 broker-a");
    let request = acknowledging(TOPIC, GROUP, &retried);
    assert_eq!(code::<AckMessage>(&rig, request).await, Some(failed));
    let request = hiding(TOPIC, GROUP, &retried);
    assert_eq!(
        code::<ChangeInvisibleDuration>(&rig, request).await,
        Some(failed)
    );
    let nothing = AckMessageRequest {
        entries: Vec::new(),
        ..acknowledging(TOPIC, GROUP, "")
    };
    assert_eq!(code::<AckMessage>(&rig, nothing).await, Some(failed));
    rig.stop().await;
}

#[tokio::test]
async fn times_and_filters_out_of_their_bounds_are_refused() {
    let rig = Rig::start().await;
    rig.topic(TOPIC, MessageType::Normal).await;
    let hidden_for = |millis| ReceiveMessageRequest {
        invisible_duration: Some(Duration::from_millis(millis)),
        ..receiving(TOPIC, GROUP)
    };
    let filtered = |kind: FilterType, expression: &str| ReceiveMessageRequest {
        filter_expression: Some(FilterExpression {
            r#type: kind as i32,
            expression: expression.into(),
        }),
        ..receiving(TOPIC, GROUP)
    };
    for (request, wanted) in [
        (hidden_for(9_999), Code::IllegalInvisibleTime),
        (hidden_for(43_200_001), Code::IllegalInvisibleTime),
        (
            filtered(FilterType::Tag, "||"),
            Code::IllegalFilterExpression,
        ),
        (filtered(FilterType::Sql, ""), Code::IllegalFilterExpression),
        (filtered(FilterType::Sql, "a &&"), Code::InternalServerError),
    ] {
        let told = format!("{request:?}");
        let found = code::<ReceiveMessage>(&rig, request).await;
        assert_eq!(found, Some(wanted), "{told}");
    }
    let request = receiving(TOPIC, GROUP);
    let short = rig.call_within::<ReceiveMessage>("50m", &request).await;
    assert_eq!(short.told().0, Code::IllegalPollingTime as i32);

    let too_long = ChangeInvisibleDurationRequest {
        invisible_duration: Some(Duration::from_millis(43_200_001)),
        ..hiding(TOPIC, GROUP, HANDLE)
    };
    let found = code::<ChangeInvisibleDuration>(&rig, too_long).await;
    assert_eq!(found, Some(Code::IllegalInvisibleTime));
    rig.stop().await;
}

#[tokio::test]
async fn transactions_and_recalls_that_nobody_knows_are_refused() {
    let rig = Rig::start().await;
    rig.topic(TOPIC, MessageType::Normal).await;
    rig.topic("later", MessageType::Delay).await;
    let end = async |id| code::<EndTransaction>(&rig, ending(TOPIC, id)).await;
    assert_eq!(end(" ").await, Some(Code::InvalidTransactionId));
    assert_eq!(end("unknown").await, Some(Code::InternalServerError));

    let handle = |broker_name: &str| {
        RecallHandle {
            topic: "later".into(),
            broker_name: broker_name.into(),
            timestamp: "0".into(),
            message_id: "m".into(),
        }
        .encode()
    };
    for (topic, handle, wanted) in [
        (
            TOPIC,
            handle("broker-a"),
            Code::MessagePropertyConflictWithType,
        ),
        ("later", "no handle".to_owned(), Code::InternalServerError),
        ("later", handle("broker-z"), Code::BadRequest),
        // `recallMessageEnable` is off.
        ("later", handle("broker-a"), Code::InternalServerError),
    ] {
        let found = code::<RecallMessage>(&rig, recalling(topic, handle.clone())).await;
        assert_eq!(found, Some(wanted), "{topic} {handle}");
    }
    rig.stop().await;
}

fn producer(topic: &str) -> Settings {
    Settings {
        client_type: Some(ClientType::Producer as i32),
        pub_sub: Some(PubSub::Publishing(Publishing {
            topics: vec![Resource::named(topic)],
            ..Publishing::default()
        })),
        ..Settings::default()
    }
}

#[tokio::test]
async fn settings_that_make_no_sense_end_the_stream_and_the_client_stays_unknown() {
    let rig = Rig::start().await;
    let all = || Some(FilterExpression::default());
    let no_tags = FilterExpression {
        r#type: FilterType::Tag as i32,
        expression: "||".into(),
    };
    // INVALID_ARGUMENT, INTERNAL.
    for (settings, status) in [
        (Settings::default(), 3),
        (producer("a b"), 3),
        (consumer(ClientType::SimpleConsumer, "a b", TOPIC, all()), 3),
        (
            consumer(ClientType::SimpleConsumer, GROUP, TOPIC, Some(no_tags)),
            3,
        ),
        (
            consumer(ClientType::LitePushConsumer, GROUP, TOPIC, all()),
            3,
        ),
        (consumer(ClientType::Producer, GROUP, TOPIC, all()), 13),
        (consumer(ClientType::PullConsumer, GROUP, TOPIC, all()), 13),
    ] {
        let told = format!("{settings:?}");
        let stream = rig.telemetry("wrong", settings).await;
        assert_eq!(stream.end().await, Some(status), "{told}");
        let heartbeat = HeartbeatRequest::default();
        let heartbeat = rig.call_by::<Heartbeat>("wrong", &heartbeat);
        let unknown = Code::UnrecognizedClientType as i32;
        assert_eq!(heartbeat.await.told().0, unknown, "{told}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_consumer_names_its_group_whenever_it_says_that_it_is_there_or_leaves() {
    let rig = Rig::start().await;
    let settings = consumer(
        ClientType::SimpleConsumer,
        GROUP,
        TOPIC,
        Some(FilterExpression::default()),
    );
    let mut stream = rig.telemetry("here", settings).await;
    assert!(stream.next().await.is_some());
    let heartbeat = async |group: &str| {
        let request = HeartbeatRequest {
            group: named(group),
            ..HeartbeatRequest::default()
        };
        let told = rig.call_by::<Heartbeat>("here", &request);
        Code::try_from(told.await.told().0).ok()
    };
    assert_eq!(heartbeat("").await, Some(Code::IllegalConsumerGroup));
    assert_eq!(heartbeat(GROUP).await, Some(Code::Ok));
    let leaving = NotifyClientTerminationRequest { group: named("") };
    let told = rig.call_by::<NotifyClientTermination>("here", &leaving);
    assert_eq!(told.await.told().0, Code::IllegalConsumerGroup as i32);
    // It has left all the same.
    assert_eq!(heartbeat(GROUP).await, Some(Code::UnrecognizedClientType));
    rig.stop().await;
}

#[tokio::test]
async fn a_group_that_is_not_there_is_refused_where_brokers_make_none() {
    let rig = Rig::start().await;
    rig.topic(TOPIC, MessageType::Normal).await;
    let setting = "autoCreateSubscriptionGroup=false";
    rig.tell::<UpdateBrokerConfig>(&NoHeader, setting.into())
        .await;
    let request = receiving(TOPIC, "absent");
    let found = code::<ReceiveMessage>(&rig, request).await;
    assert_eq!(found, Some(Code::ConsumerGroupNotFound));
    let settings = consumer(
        ClientType::PushConsumer,
        "absent",
        TOPIC,
        Some(FilterExpression::default()),
    );
    // INVALID_ARGUMENT.
    assert_eq!(rig.telemetry("c", settings).await.end().await, Some(3));
    rig.stop().await;
}
