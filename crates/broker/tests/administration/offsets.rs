//! Offsets of groups and queues, and what is in the queues.

use std::collections::BTreeMap;

use transport::Body;
use wire::body::group::GroupList;
use wire::body::offset::*;
use wire::body::queue::{MessageQueue, QueryConsumeQueueResponseBody};
use wire::body::topic::{TopicList, TopicStatsTable};
use wire::code::ResponseCode;
use wire::command::*;
use wire::header::NoHeader;
use wire::header::group::{DeleteSubscriptionGroupRequest, GetConsumeStatsRequest};
use wire::header::offset::*;
use wire::header::pull::{
    PullMessageRequest, PullMessageResponse, QueryConsumeQueueRequest, ViewMessageRequest,
};
use wire::header::topic::*;
use wire::message::record::RecordRef;

use crate::rig::*;

fn commit(
    group: &'static str,
    queue_id: i32,
    commit_offset: i64,
) -> UpdateConsumerOffsetRequest<'static> {
    UpdateConsumerOffsetRequest {
        consumer_group: group.into(),
        topic: "orders".into(),
        queue_id,
        commit_offset,
        ..Default::default()
    }
}

fn query(group: &'static str, queue_id: i32) -> QueryConsumerOffsetRequest<'static> {
    QueryConsumerOffsetRequest {
        consumer_group: group.into(),
        topic: "orders".into(),
        queue_id,
        ..Default::default()
    }
}

async fn committed(rig: &Rig) -> i64 {
    let answer = rig.done::<QueryConsumerOffset>(query("g", 0), Body::Empty);
    let answer = answer.await;
    let header: QueryConsumerOffsetResponse = answer.header().unwrap();
    header.offset
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_kept_per_group_and_start_at_the_first_message() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 2).await;
    let answer = rig
        .ask::<UpdateConsumerOffset>(commit("g", 0, 1), Body::Empty)
        .await;
    refused(&answer, ResponseCode::SubscriptionGroupNotExist, "g");
    rig.heartbeat(&rig.client, "c").await;
    let lost = UpdateConsumerOffsetRequest {
        topic: "no-topic".into(),
        ..commit("g", 0, 1)
    };
    let answer = rig.ask::<UpdateConsumerOffset>(lost, Body::Empty).await;
    refused(&answer, ResponseCode::TopicNotExist, "no-topic");

    let answer = rig
        .ask::<QueryConsumerOffset>(query("g", 0), Body::Empty)
        .await;
    refused(&answer, ResponseCode::QueryNotFound, "Not found");
    rig.send("orders", 0, "one").await;
    rig.send("orders", 0, "two").await;
    assert_eq!(committed(&rig).await, 0);
    let strict = QueryConsumerOffsetRequest {
        set_zero_if_not_found: Some(false),
        ..query("g", 0)
    };
    let answer = rig.ask::<QueryConsumerOffset>(strict, Body::Empty).await;
    refused(&answer, ResponseCode::QueryNotFound, "do not set to zero");

    rig.done::<UpdateConsumerOffset>(commit("g", 0, 1), Body::Empty)
        .await;
    let rig = rig.restarted().await;
    assert_eq!(committed(&rig).await, 1);

    let stats = GetConsumeStatsRequest {
        consumer_group: "g".into(),
        ..Default::default()
    };
    let stats: ConsumeStats = rig.read::<GetConsumeStats, _>(stats).await;
    let queue = |queue_id| MessageQueue {
        topic: "orders".into(),
        broker_name: "broker-a".into(),
        queue_id,
    };
    assert_eq!(stats.offset_table[&queue(0)].broker_offset, 2);
    assert_eq!(stats.offset_table[&queue(0)].consumer_offset, 1);
    assert!(stats.offset_table[&queue(0)].last_timestamp > 0);
    assert_eq!(stats.offset_table[&queue(1)].broker_offset, 0);
    let all: ConsumeStatsList = rig
        .read::<GetBrokerConsumeStats, _>(Default::default())
        .await;
    assert_eq!(all.total_diff, 1);
    let all: ConsumerOffsetSerializeWrapper = rig.read::<GetAllConsumerOffset, _>(NoHeader).await;
    assert_eq!(all.offset_table["orders@g"], BTreeMap::from([(0, 1)]));

    let clone = CloneGroupOffsetRequest {
        src_group: "g".into(),
        dest_group: "h".into(),
        ..Default::default()
    };
    rig.done::<CloneGroupOffset>(clone, Body::Empty).await;
    let who = QueryTopicConsumeByWhoRequest {
        topic: "orders".into(),
        ..Default::default()
    };
    let groups: GroupList = rig.read::<QueryTopicConsumeByWho, _>(who).await;
    assert_eq!(groups.group_list, ["g", "h"]);
    let whose = QueryTopicsByConsumerRequest {
        group: "h".into(),
        ..Default::default()
    };
    let topics: TopicList = rig.read::<QueryTopicsByConsumer, _>(whose).await;
    assert_eq!(topics.topic_list, ["orders"]);

    let delete = DeleteSubscriptionGroupRequest {
        group_name: "h".into(),
        clean_offset: true,
        ..Default::default()
    };
    rig.done::<DeleteSubscriptionGroup>(delete, Body::Empty)
        .await;
    let answer = rig.ask::<QueryConsumerOffset>(
        QueryConsumerOffsetRequest {
            set_zero_if_not_found: Some(false),
            ..query("h", 0)
        },
        Body::Empty,
    );
    assert_eq!(answer.await.head.code, ResponseCode::QueryNotFound as i32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_holds_until_a_consumer_pulls() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    rig.heartbeat(&rig.client, "c").await;
    for body in ["one", "two", "three"] {
        rig.send("orders", 0, body).await;
    }
    rig.done::<UpdateConsumerOffset>(commit("g", 0, 3), Body::Empty)
        .await;
    let reset = ResetOffsetRequest {
        group: "g".into(),
        topic: "orders".into(),
        timestamp: 0,
        is_force: true,
        ..Default::default()
    };
    let told: ResetOffsetBody = rig
        .read::<InvokeBrokerToResetOffset, _>(reset.clone())
        .await;
    assert_eq!(told.offset_table.into_values().collect::<Vec<_>>(), [0]);
    // The consumer does not know yet.
    let answer = rig
        .done::<UpdateConsumerOffset>(commit("g", 0, 3), Body::Empty)
        .await;
    assert!(answer.remark.unwrap().contains("reset"));
    let pull = PullMessageRequest {
        consumer_group: "g".into(),
        topic: "orders".into(),
        queue_offset: 3,
        max_msg_nums: 32,
        ..Default::default()
    };
    let answer = rig.ask::<PullMessage>(pull, Body::Empty).await;
    assert_eq!(answer.head.code, ResponseCode::PullOffsetMoved as i32);
    assert_eq!(
        answer
            .header::<PullMessageResponse>()
            .unwrap()
            .next_begin_offset,
        0
    );
    rig.done::<UpdateConsumerOffset>(commit("g", 0, 1), Body::Empty)
        .await;
    assert_eq!(committed(&rig).await, 1);

    let far = ResetOffsetRequest {
        queue_id: 0,
        offset: Some(99),
        ..reset.clone()
    };
    let answer = rig.ask::<InvokeBrokerToResetOffset>(far, Body::Empty).await;
    refused(
        &answer,
        ResponseCode::SystemError,
        "not in consume queue range [0-3]",
    );
    let end = ResetOffsetRequest {
        timestamp: -1,
        ..reset
    };
    let told: ResetOffsetBody = rig.read::<InvokeBrokerToResetOffset, _>(end).await;
    assert_eq!(told.offset_table.into_values().collect::<Vec<_>>(), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_and_messages_can_be_looked_at() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 1).await;
    let earliest = GetEarliestMsgStoretimeRequest {
        topic: "orders".into(),
        ..Default::default()
    };
    let answer = rig
        .done::<GetEarliestMsgStoreTime>(earliest.clone(), Body::Empty)
        .await;
    assert_eq!(
        answer
            .header::<GetEarliestMsgStoretimeResponse>()
            .unwrap()
            .timestamp,
        -1
    );
    rig.send("orders", 0, "one").await;
    rig.send("orders", 0, "two").await;
    let answer = rig
        .done::<GetEarliestMsgStoreTime>(earliest, Body::Empty)
        .await;
    let stored = answer
        .header::<GetEarliestMsgStoretimeResponse>()
        .unwrap()
        .timestamp;
    assert!(stored > 0);
    let search = |timestamp| SearchOffsetRequest {
        topic: "orders".into(),
        timestamp,
        ..Default::default()
    };
    for (timestamp, offset) in [(0, 0), (stored, 0), (i64::MAX / 2, 2)] {
        let answer = rig
            .done::<SearchOffsetByTimestamp>(search(timestamp), Body::Empty)
            .await;
        assert_eq!(
            answer.header::<SearchOffsetResponse>().unwrap().offset,
            offset
        );
    }
    let stats = GetTopicStatsInfoRequest {
        topic: "orders".into(),
        ..Default::default()
    };
    let stats: TopicStatsTable = rig.read::<GetTopicStatsInfo, _>(stats).await;
    let (_, queue) = stats.offset_table.iter().next().unwrap();
    assert_eq!((queue.min_offset, queue.max_offset), (0, 2));
    assert!(queue.last_update_timestamp >= stored);
    let span = QueryConsumeTimeSpanRequest {
        topic: "orders".into(),
        group: "g".into(),
        ..Default::default()
    };
    let spans: QueryConsumeTimeSpanBody = rig.read::<QueryConsumeTimeSpan, _>(span).await;
    assert_eq!(spans.consume_time_span_set[0].min_time_stamp, stored);

    let entries = QueryConsumeQueueRequest {
        topic: Some("orders".into()),
        index: 1,
        count: 5,
        ..Default::default()
    };
    let entries: QueryConsumeQueueResponseBody = rig.read::<QueryConsumeQueue, _>(entries).await;
    assert_eq!((entries.min_queue_index, entries.max_queue_index), (0, 2));
    let [entry] = &entries.queue_data[..] else {
        panic!("{entries:?}")
    };
    let view = |offset| ViewMessageRequest {
        offset,
        ..Default::default()
    };
    let answer = rig
        .done::<ViewMessageById>(view(entry.physic_offset), Body::Empty)
        .await;
    assert_eq!(answer.body.len() as i32, entry.physic_size);
    assert_eq!(RecordRef::parse(&answer.body).unwrap().body(), b"two");
    let answer = rig
        .ask::<ViewMessageById>(view(entry.physic_offset + 1), Body::Empty)
        .await;
    refused(
        &answer,
        ResponseCode::SystemError,
        "can not find message by the offset",
    );
    let nowhere = QueryConsumeQueueRequest {
        topic: Some("orders".into()),
        queue_id: 7,
        ..Default::default()
    };
    let answer = rig.ask::<QueryConsumeQueue>(nowhere, Body::Empty).await;
    refused(&answer, ResponseCode::SystemError, "7@orders is not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_behind_a_proxy_are_told_where_they_were() {
    let rig = Rig::with(|settings| settings.broker.flush_consumer_offset_interval = 100).await;
    rig.create_topic("orders", 1).await;
    for _ in 0..3 {
        rig.send("orders", 0, "m").await;
    }
    let pull = async |member: &'static str, queue_offset| {
        let header = PullMessageRequest {
            consumer_group: "g".into(),
            topic: "orders".into(),
            queue_offset,
            max_msg_nums: 32,
            // The subscription comes along.
            sys_flag: 4,
            subscription: Some("*".into()),
            request_source: Some(1),
            proxy_forward_client_id: Some(member.into()),
            ..Default::default()
        };
        let answer = rig.ask::<PullMessage>(header, Body::Empty).await;
        let header: PullMessageResponse = answer.header().unwrap();
        (
            ResponseCode::try_from(answer.head.code).unwrap(),
            header.next_begin_offset,
        )
    };
    let told = |offset| (ResponseCode::PullOffsetMoved, offset);
    assert_eq!(pull("fast", -1).await, told(0), "the queue is young");
    assert_eq!(pull("fast", 3).await, (ResponseCode::PullNotFound, 3));
    assert_eq!(pull("slow", 1).await, (ResponseCode::Success, 3));
    assert_eq!(pull("fast", -1).await, told(3));
    assert_eq!(pull("slow", -1).await, told(1));
    let committed = async || {
        let request = QueryConsumerOffsetRequest {
            set_zero_if_not_found: Some(false),
            ..query("g@broadcast", 0)
        };
        let answer = rig.ask::<QueryConsumerOffset>(request, Body::Empty).await;
        let header = answer.header::<QueryConsumerOffsetResponse>();
        header.map(|header| header.offset).ok()
    };
    while committed().await != Some(1) {
        tokio::task::yield_now().await;
    }
    assert_eq!(pull("new", -1).await, told(1), "with the slowest");
}
