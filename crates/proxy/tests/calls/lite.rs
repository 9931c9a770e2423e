//! Lite topics: clients that subscribe to them, receive and acknowledge.

use wire::body::group::SubscriptionGroupConfig;
use wire::grpc::rpc::{
    ChangeInvisibleDuration, NotifyClientTermination, QueryAssignment, ReceiveMessage,
    SyncLiteSubscription,
};
use wire::grpc::{
    ChangeInvisibleDurationRequest, ClientType, Code, Command, Duration, LiteSubscriptionAction,
    Message, MessageQueue, MessageType, NotifyClientTerminationRequest, OffsetOption, OffsetPolicy,
    OffsetType, PubSub, QueryAssignmentRequest, ReceiveMessageRequest, Subscription,
    SyncLiteSubscriptionRequest,
};

use crate::rig::{Rig, Stream, message};
use crate::{acknowledge_as, consumer, handle, messages_in, named, receive_as, send};

/// A topic with a group bound to it.
const TOPIC: &str = "chats";
const GROUP: &str = "readers";

async fn start(model: &str) -> Rig {
    let rig = Rig::start().await;
    rig.topic(TOPIC, MessageType::Lite).await;
    let attributes = [("+lite.bind.topic", TOPIC), ("+lite.sub.model", model)];
    rig.group(SubscriptionGroupConfig {
        group_name: GROUP.into(),
        attributes: attributes
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        ..SubscriptionGroupConfig::default()
    })
    .await;
    rig
}

/// A client enters; the server's word on its settings comes first on its stream.
async fn enter(rig: &Rig, client: &str) -> (Stream, Subscription) {
    let settings = consumer(ClientType::LitePushConsumer, GROUP, TOPIC, None);
    let mut stream = rig.telemetry(client, settings).await;
    let told = stream.next().await.and_then(|told| told.command);
    let Some(Command::Settings(settings)) = told else {
        panic!("{told:?}")
    };
    match settings.pub_sub {
        Some(PubSub::Subscription(subscription)) => (stream, subscription),
        other => panic!("{other:?}"),
    }
}

async fn subscribe(
    rig: &Rig,
    client: &str,
    action: LiteSubscriptionAction,
    names: &[&str],
) -> (i32, String) {
    let request = SyncLiteSubscriptionRequest {
        action: action as i32,
        topic: named(TOPIC),
        group: named(GROUP),
        lite_topic_set: names.iter().map(|name| (*name).to_owned()).collect(),
        version: Some(1),
        offset_option: None,
    };
    rig.call_by::<SyncLiteSubscription>(client, &request)
        .await
        .told()
}

/// Adds a lite topic that shall be received from some place on.
async fn add_from(rig: &Rig, client: &str, name: &str, from: Option<OffsetType>) -> i32 {
    let request = SyncLiteSubscriptionRequest {
        action: LiteSubscriptionAction::PartialAdd as i32,
        topic: named(TOPIC),
        group: named(GROUP),
        lite_topic_set: vec![name.to_owned()],
        version: Some(1),
        offset_option: Some(OffsetOption { offset_type: from }),
    };
    let told = rig.call_by::<SyncLiteSubscription>(client, &request);
    told.await.told().0
}

async fn add(rig: &Rig, client: &str, name: &str) {
    let told = subscribe(rig, client, LiteSubscriptionAction::PartialAdd, &[name]).await;
    assert_eq!(told, (Code::Ok as i32, String::new()));
}

async fn send_to(rig: &Rig, lite_topic: &str, body: &str) {
    let mut message = message(TOPIC, body, body);
    if let Some(system) = &mut message.system_properties {
        system.lite_topic = Some(lite_topic.to_owned());
    }
    assert_eq!(send(rig, vec![message]).await.0, Code::Ok as i32);
}

async fn take(rig: &Rig, client: &str, wait: i64) -> Vec<Message> {
    receive_as(rig, client, TOPIC, GROUP, wait).await.1
}

fn bodies(messages: &[Message]) -> Vec<&[u8]> {
    messages.iter().map(|message| &message.body[..]).collect()
}

#[tokio::test]
async fn a_lite_topic_comes_to_its_subscribers_and_goes_on_when_it_is_acknowledged() {
    let rig = start("Shared").await;
    let (_one, told) = enter(&rig, "one").await;
    assert_eq!(told.lite_subscription_quota, Some(2000));
    assert_eq!(told.max_lite_topic_size, Some(64));
    let (_two, _) = enter(&rig, "two").await;
    add(&rig, "one", "a").await;
    add(&rig, "two", "b").await;
    for (name, body) in [("a", "a0"), ("b", "b0"), ("a", "a1")] {
        send_to(&rig, name, body).await;
    }
    let first = take(&rig, "one", 10_000).await;
    let system = first[0].system_properties.as_ref().expect("properties");
    assert_eq!((system.lite_topic(), system.queue_offset), ("a", Some(0)));
    assert_eq!(system.delivery_attempt, Some(1));
    assert_eq!(bodies(&take(&rig, "two", 10_000).await), [b"b0"]);

    send_to(&rig, "a", "a2").await;
    assert!(take(&rig, "one", 200).await.is_empty());
    for message in &first {
        let code = acknowledge_as(&rig, "one", TOPIC, GROUP, &[handle(message)], Some("a")).await;
        assert_eq!(code, [Code::Ok as i32, Code::Ok as i32]);
    }
    let seen = first.len();
    let rest = take(&rig, "one", 10_000).await;
    let all = [&bodies(&first)[..], &bodies(&rest)[..]].concat();
    assert_eq!(all, [b"a0", b"a1", b"a2"], "{seen} came first");
    rig.stop().await;
}

#[tokio::test]
async fn a_lite_topic_is_received_from_where_its_subscriber_wants() {
    let rig = start("Shared").await;
    let (_one, _) = enter(&rig, "one").await;
    for name in ["a", "b", "c"] {
        for body in ["0", "1", "2"] {
            send_to(&rig, name, &format!("{name}{body}")).await;
        }
    }
    let policy = |policy: OffsetPolicy| OffsetType::Policy(policy as i32);
    for (name, from, wanted) in [
        (
            "a",
            policy(OffsetPolicy::Min),
            &["a0", "a1", "a2", "a3"][..],
        ),
        ("b", OffsetType::Offset(1), &["b1", "b2", "b3"]),
        ("c", policy(OffsetPolicy::Max), &["c3"]),
    ] {
        let added = add_from(&rig, "one", name, Some(from)).await;
        assert_eq!(added, Code::Ok as i32);
        send_to(&rig, name, &format!("{name}3")).await;
        let mut seen = Vec::new();
        while seen.len() < wanted.len() {
            for message in take(&rig, "one", 10_000).await {
                let handles = [handle(&message)];
                acknowledge_as(&rig, "one", TOPIC, GROUP, &handles, Some(name)).await;
                seen.push(String::from_utf8_lossy(&message.body).into_owned());
            }
        }
        assert_eq!(seen, wanted);
    }
    for wrong in [None, Some(OffsetType::Policy(9))] {
        let refused = add_from(&rig, "one", "d", wrong).await;
        assert_eq!(refused, Code::InternalServerError as i32);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_group_in_order_is_assigned_queues_but_brokers_if_it_has_lite_topics() {
    let rig = start("Shared").await;
    for (group, attributes, wanted) in [
        ("ordered", &[][..], 0),
        (GROUP, &[("+lite.bind.topic", TOPIC)], -1),
    ] {
        let attributes = attributes.iter();
        rig.group(SubscriptionGroupConfig {
            group_name: group.into(),
            consume_message_orderly: true,
            attributes: attributes
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..SubscriptionGroupConfig::default()
        })
        .await;
        let request = QueryAssignmentRequest {
            topic: named(TOPIC),
            group: named(group),
            endpoints: None,
        };
        let assigned = rig.ask::<QueryAssignment>(&request).await.assignments;
        let queues = assigned.iter().filter_map(|it| it.message_queue.as_ref());
        let ids: Vec<i32> = queues.map(|queue| queue.id).collect();
        assert_eq!(ids, [wanted], "{group}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_failed_message_comes_again_when_its_client_wants_though_it_names_no_lite_topic() {
    let rig = start("Shared").await;
    let (_one, _) = enter(&rig, "one").await;
    add(&rig, "one", "a").await;
    send_to(&rig, "a", "a0").await;
    let receiving = ReceiveMessageRequest {
        group: named(GROUP),
        message_queue: Some(MessageQueue {
            topic: named(TOPIC),
            ..MessageQueue::default()
        }),
        batch_size: 1,
        auto_renew: true,
        long_polling_timeout: Some(Duration::from_millis(10_000)),
        ..ReceiveMessageRequest::default()
    };
    let received = rig.call_by::<ReceiveMessage>("one", &receiving).await;
    let first = messages_in(&received).remove(0);
    let failing = ChangeInvisibleDurationRequest {
        group: named(GROUP),
        topic: named(TOPIC),
        receipt_handle: handle(&first),
        invisible_duration: Some(Duration::from_millis(100)),
        message_id: "a0".into(),
        ..ChangeInvisibleDurationRequest::default()
    };
    let told = rig
        .call_by::<ChangeInvisibleDuration>("one", &failing)
        .await;
    assert_eq!(told.told().0, Code::Ok as i32);
    let again = take(&rig, "one", 10_000).await;
    let system = again[0].system_properties.as_ref().expect("properties");
    assert_eq!(system.delivery_attempt, Some(2));
    rig.stop().await;
}

#[tokio::test]
async fn a_client_is_told_when_another_one_takes_its_lite_topic() {
    let rig = start("Exclusive").await;
    let (mut one, _) = enter(&rig, "one").await;
    let (_two, _) = enter(&rig, "two").await;
    add(&rig, "one", "a").await;
    add(&rig, "two", "a").await;
    let told = one.next().await.and_then(|told| told.command);
    match told {
        Some(Command::NotifyUnsubscribeLite(command)) => assert_eq!(command.lite_topic, "a"),
        other => panic!("{other:?}"),
    }
    rig.stop().await;
}

#[tokio::test]
async fn who_has_left_is_given_nothing_any_more() {
    let rig = start("Shared").await;
    let (_one, _) = enter(&rig, "one").await;
    add(&rig, "one", "a").await;
    let leaving = NotifyClientTerminationRequest {
        group: named(GROUP),
    };
    let told = rig
        .call_by::<NotifyClientTermination>("one", &leaving)
        .await;
    assert_eq!(told.told().0, Code::Ok as i32);
    send_to(&rig, "a", "a0").await;
    let (_again, _) = enter(&rig, "one").await;
    assert!(take(&rig, "one", 200).await.is_empty());
    let all = subscribe(&rig, "one", LiteSubscriptionAction::CompleteAdd, &["a"]).await;
    assert_eq!(all.0, Code::Ok as i32);
    assert_eq!(bodies(&take(&rig, "one", 10_000).await), [b"a0"]);
    rig.stop().await;
}

#[tokio::test]
async fn subscriptions_that_break_a_rule_are_refused_by_its_code() {
    let rig = start("Shared").await;
    let (_one, _) = enter(&rig, "one").await;
    let adds = LiteSubscriptionAction::PartialAdd;
    let wrong = subscribe(&rig, "one", adds, &["a b"]).await;
    assert_eq!(wrong.0, Code::IllegalLiteTopic as i32, "{wrong:?}");
    let names: Vec<String> = (0..2301).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = subscribe(&rig, "one", adds, &names).await;
    assert_eq!(many.0, Code::LiteSubscriptionQuotaExceeded as i32);
    let other = SyncLiteSubscriptionRequest {
        topic: named("others"),
        group: named(GROUP),
        ..SyncLiteSubscriptionRequest::default()
    };
    let told = rig.call::<SyncLiteSubscription>(&other).await.told();
    assert_eq!(told.0, Code::IllegalTopic as i32);
    let bound = "lite group readers is expected to bind topic chats, but actual is others";
    assert_eq!(told.1, bound);

    // Who receives in another way than its group is not let in.
    for (group, client_type) in [
        (GROUP, ClientType::PushConsumer),
        ("ordinary", ClientType::LitePushConsumer),
    ] {
        let mut stream = rig
            .telemetry("three", consumer(client_type, group, TOPIC, None))
            .await;
        assert_eq!(stream.next().await, None, "{group}");
    }
    rig.stop().await;
}
