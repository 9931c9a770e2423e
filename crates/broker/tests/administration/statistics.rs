//! What the broker counts, by topic and by group.

use std::time::Instant;

use transport::Body;
use wire::body::json;
use wire::body::stats::{BrokerStatsData, BrokerStatsItem};
use wire::code::ResponseCode;
use wire::command::*;
use wire::frame::Frame;
use wire::header::broker::ViewBrokerStatsDataRequest;
use wire::header::pop::{
    AckMessageRequest, ChangeInvisibleTimeRequest, PeekMessageRequest, PopMessageRequest,
    PopMessageResponse,
};
use wire::header::pull::PullMessageRequest;
use wire::header::send::{SendMessageRequest, SendMessageResponse};
use wire::header::transaction::EndTransactionRequest;
use wire::message::id::OffsetMessageId;
use wire::message::sys_flag::message as message_flag;
use wire::message::sys_flag::pull as pull_flag;
use wire::message::{names, property};

use crate::light_queues::message;
use crate::rig::*;

pub(crate) async fn view(rig: &Rig, set: &str, key: &str) -> Frame {
    let header = ViewBrokerStatsDataRequest {
        stats_name: set.into(),
        stats_key: key.into(),
    };
    rig.ask::<ViewBrokerStatsData>(header, Body::Empty).await
}

/// What a counter counted in the last minute, which is all that it ever did.
async fn told(rig: &Rig, set: &str, key: &str) -> BrokerStatsItem {
    let answer = view(rig, set, key).await;
    assert_eq!(answer.head.code, 0, "{set}: {:?}", answer.remark);
    let data: BrokerStatsData = json::read(&answer.body).unwrap();
    assert_eq!(data.stats_minute.sum, data.stats_day.sum);
    data.stats_minute
}

/// The sums of counters, 0 for those that never counted.
pub(crate) async fn sums<const N: usize>(rig: &Rig, counters: [(&str, &str); N]) -> [i64; N] {
    let mut sums = [0; N];
    for (sum, (set, key)) in sums.iter_mut().zip(counters) {
        let answer = view(rig, set, key).await;
        if answer.head.code == 0 {
            let data: BrokerStatsData = json::read(&answer.body).unwrap();
            *sum = data.stats_day.sum;
        }
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_tell_what_went_through_topics_and_groups() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    for body in ["one", "two", "three"] {
        rig.send("orders", 0, body).await;
    }
    let pull = PullMessageRequest {
        consumer_group: "g".into(),
        topic: "orders".into(),
        max_msg_nums: 2,
        sys_flag: pull_flag::SUBSCRIPTION,
        subscription: Some("*".into()),
        ..Default::default()
    };
    let pulled = rig.done::<PullMessage>(pull, Body::Empty).await;
    let stored = told(&rig, "TOPIC_PUT_NUMS", "orders").await;
    assert_eq!((stored.sum, stored.avgpt), (3, 1.0));
    assert!(stored.tps > 0.0 && stored.tps <= 0.3, "{stored:?}");
    let got = told(&rig, "GROUP_GET_NUMS", "orders@g").await;
    assert_eq!((got.sum, got.avgpt), (2, 2.0));
    let bytes = pulled.body.len() as i64;
    assert_eq!(told(&rig, "GROUP_GET_SIZE", "orders@g").await.sum, bytes);
    assert!(told(&rig, "TOPIC_PUT_SIZE", "orders").await.sum > bytes);
    for (set, sum) in [
        ("BROKER_PUT_NUMS", 3),
        ("BROKER_GET_NUMS", 2),
        ("BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", 3),
        ("BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC", 2),
    ] {
        assert_eq!(told(&rig, set, "DefaultCluster").await.sum, sum, "{set}");
    }
    for (set, key) in [
        ("TOPIC_PUT_NUMS", "bills"),
        ("SNDBCK_PUT_NUMS", "orders@g"),
        ("GROUP_GET_NUMS", "orders@h"),
        ("GROUP_GET_NUMS", "orders"),
        ("COLOURS", "orders"),
    ] {
        let remark = format!("The stats <{set}> <{key}> not exist");
        refused(
            &view(&rig, set, key).await,
            ResponseCode::SystemError,
            &remark,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latencies_are_told_by_queue() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 2).await;
    rig.send("orders", 1, "one").await;
    let pull = PullMessageRequest {
        consumer_group: "g".into(),
        topic: "orders".into(),
        queue_id: 1,
        max_msg_nums: 2,
        sys_flag: pull_flag::SUBSCRIPTION,
        subscription: Some("*".into()),
        ..Default::default()
    };
    rig.done::<PullMessage>(pull, Body::Empty).await;
    for group in ["g", "h"] {
        let pop = PopMessageRequest {
            consumer_group: group.into(),
            topic: "orders".into(),
            queue_id: -1,
            max_msg_nums: 1,
            invisible_time: 60_000,
            ..Default::default()
        };
        rig.done::<PopMessage>(pop, Body::Empty).await;
    }
    for (set, key, is_told) in [
        ("TOPIC_PUT_LATENCY", "1@orders", true),
        ("TOPIC_PUT_LATENCY", "0@orders", false),
        ("GROUP_GET_LATENCY", "1@orders@g", true),
        ("GROUP_GET_LATENCY", "-1@orders@g", true),
        ("GROUP_GET_LATENCY", "1@orders@h", false),
        ("GROUP_GET_LATENCY", "-1@orders@h", true),
    ] {
        let code = view(&rig, set, key).await.head.code;
        assert_eq!(code == 0, is_told, "{set} {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_tell_of_connections_and_heartbeats() {
    let rig = Rig::new().await;
    rig.heartbeat(&rig.client, "c").await;
    let connected = told(&rig, "CHANNEL_ACTIVITY", "CONNECT").await;
    assert_eq!((connected.sum, connected.avgpt), (1, 1.0));
    for set in ["CONSUMER_REGISTER_TIME", "PRODUCER_REGISTER_TIME"] {
        let told = view(&rig, set, "DefaultCluster").await;
        assert_eq!(told.head.code, 0, "{set}");
    }
    let never = view(&rig, "CHANNEL_ACTIVITY", "IDLE").await;
    refused(&never, ResponseCode::SystemError, "not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_tell_what_waited_for_a_delay_level() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    let header = message("orders", &[(property::DELAY_TIME_LEVEL, "1")]);
    rig.done::<SendMessageV2>(header, Body::One("x".into()))
        .await;
    let stored = [
        ("TOPIC_PUT_NUMS", "SCHEDULE_TOPIC_XXXX"),
        ("QUEUE_PUT_NUMS", "SCHEDULE_TOPIC_XXXX@0"),
        ("QUEUE_PUT_NUMS", "SCHEDULE_TOPIC_XXXX@1"),
    ];
    assert_eq!(sums(&rig, stored).await, [1, 1, 0]);
    let delivered = [
        ("TOPIC_PUT_NUMS", "orders"),
        ("GROUP_GET_NUMS", "SCHEDULE_TOPIC_XXXX@SCHEDULE_CONSUMER"),
        ("QUEUE_GET_NUMS", "SCHEDULE_TOPIC_XXXX@0@SCHEDULE_CONSUMER"),
    ];
    wait_for(&rig, delivered, [1, 1, 1]).await;
    let size = told(&rig, "QUEUE_PUT_SIZE", "SCHEDULE_TOPIC_XXXX@0").await;
    let key = "SCHEDULE_TOPIC_XXXX@0@SCHEDULE_CONSUMER";
    assert_eq!(told(&rig, "QUEUE_GET_SIZE", key).await.sum, size.sum);
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_tell_what_was_popped_acknowledged_and_delivered_again() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    for body in ["one", "two", "three"] {
        rig.send("orders", 0, body).await;
    }
    let pop = async |max_msg_nums, invisible_time| {
        let header = PopMessageRequest {
            consumer_group: "g".into(),
            topic: "orders".into(),
            queue_id: -1,
            max_msg_nums,
            invisible_time,
            ..Default::default()
        };
        let answer = rig.done::<PopMessage>(header, Body::Empty).await;
        let header: PopMessageResponse<'_> = answer.header().unwrap();
        let (time, revive) = (header.pop_time, header.revive_qid);
        let handle = move |start, offset| {
            format!("{start} {time} {invisible_time} {revive} 0 broker-a 0 {offset}")
        };
        (handle, answer.body.len() as i64)
    };
    let (handle, bytes) = pop(2, 60_000).await;
    let got = told(&rig, "GROUP_GET_NUMS", "orders@g").await;
    assert_eq!((got.sum, got.avgpt), (2, 2.0));
    assert_eq!(told(&rig, "GROUP_GET_SIZE", "orders@g").await.sum, bytes);

    let ack = AckMessageRequest {
        consumer_group: "g".into(),
        topic: "orders".into(),
        extra_info: handle(0, 0).into(),
        ..Default::default()
    };
    rig.done::<AckMessage>(ack, Body::Empty).await;
    let hide = ChangeInvisibleTimeRequest {
        consumer_group: "g".into(),
        topic: "orders".into(),
        extra_info: handle(0, 1).into(),
        offset: 1,
        invisible_time: 60_000,
        ..Default::default()
    };
    rig.done::<ChangeMessageInvisibleTime>(hide, Body::Empty)
        .await;
    let settled = [
        ("GROUP_ACK_NUMS", "orders@g"),
        ("BROKER_ACK_NUMS", "DefaultCluster"),
        ("GROUP_CK_NUMS", "orders@g"),
        ("BROKER_CK_NUMS", "DefaultCluster"),
    ];
    assert_eq!(sums(&rig, settled).await, [2, 2, 2, 2]);

    let peek = PeekMessageRequest {
        consumer_group: "h".into(),
        topic: "orders".into(),
        queue_id: -1,
        max_msg_nums: 32,
        ..Default::default()
    };
    rig.done::<PeekMessage>(peek, Body::Empty).await;
    let peeked = told(&rig, "GROUP_GET_NUMS", "orders@h").await;
    assert_eq!((peeked.sum, peeked.avgpt), (3, 3.0));

    // What is not acknowledged is stored once more, for the group.
    let _hidden = pop(1, 1).await;
    let again = "%RETRY%g_orders";
    wait_for(&rig, [("TOPIC_PUT_NUMS", again)], [1]).await;
    let _again = pop(1, 60_000).await;
    let counters = [
        ("GROUP_GET_NUMS", "%RETRY%g_orders@g"),
        ("GROUP_GET_NUMS", "orders@g"),
        ("BROKER_GET_NUMS", "DefaultCluster"),
        ("BROKER_PUT_NUMS", "DefaultCluster"),
        ("GROUP_CK_NUMS", "orders@g"),
    ];
    assert_eq!(sums(&rig, counters).await, [1, 3, 7, 4, 4]);
}

/// Waits until counters have come to sums.
async fn wait_for<const N: usize>(rig: &Rig, counters: [(&str, &str); N], wanted: [i64; N]) {
    let start = Instant::now();
    loop {
        let now = sums(rig, counters).await;
        if now == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{counters:?} came to {now:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_tell_what_went_to_a_topic_by_a_detour() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    let all = [
        ("TOPIC_PUT_NUMS", names::TRANS_HALF_TOPIC),
        ("TOPIC_PUT_NUMS", names::TIMER_TOPIC),
        ("TOPIC_PUT_NUMS", "orders"),
        ("BROKER_PUT_NUMS", "DefaultCluster"),
        ("BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", "DefaultCluster"),
    ];
    let send = async |properties: &[(&str, &str)]| {
        let header = message("orders", properties);
        rig.done::<SendMessageV2>(header, Body::One("x".into()))
            .await
    };
    let half = [
        (property::TRANSACTION_PREPARED, "true"),
        (property::PRODUCER_GROUP, "p"),
    ];
    let sent = send(&half).await;
    assert_eq!(sums(&rig, all).await, [1, 0, 0, 1, 0]);
    let sent: SendMessageResponse<'_> = sent.header().unwrap();
    let id = OffsetMessageId::decode(&sent.msg_id).unwrap();
    let end = EndTransactionRequest {
        producer_group: "p".into(),
        tran_state_table_offset: sent.queue_offset,
        commit_log_offset: id.offset,
        commit_or_rollback: message_flag::TRANSACTION_COMMIT_TYPE,
        ..Default::default()
    };
    rig.done::<EndTransaction>(end, Body::Empty).await;
    assert_eq!(sums(&rig, all).await, [1, 0, 1, 2, 1]);

    send(&[(property::TIMER_DELAY_MS, "1000")]).await;
    wait_for(&rig, all, [1, 1, 2, 4, 2]).await;

    // A reply counts although nobody is there to take it.
    let reply = SendMessageRequest {
        producer_group: "p".into(),
        topic: "orders".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 1,
        properties: Some("REPLY_TO_CLIENT\u{1}gone\u{2}".into()),
        ..Default::default()
    };
    let answer = rig
        .ask::<SendReplyMessage>(reply, Body::One("x".into()))
        .await;
    refused(&answer, ResponseCode::SystemError, "<gone> not found");
    assert_eq!(sums(&rig, all).await, [1, 1, 3, 5, 3]);
}
