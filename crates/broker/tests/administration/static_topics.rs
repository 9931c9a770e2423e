//! Static topics: logical queues over the broker's own.

use transport::Body;
use wire::body::json;
use wire::body::static_topic::{LogicQueueMappingItem, TopicQueueMappingDetail};
use wire::body::topic::{TopicConfigAndMappingSerializeWrapper, TopicConfigAndQueueMapping};
use wire::code::ResponseCode;
use wire::command::*;
use wire::header::TopicRpcFields;
use wire::header::offset::*;
use wire::header::pull::{PullMessageRequest, PullMessageResponse};
use wire::header::send::{SendMessageRequestV2, SendMessageResponse};
use wire::header::topic::GetTopicConfigRequest;
use wire::message::sys_flag::pull as pull_flag;

use crate::rig::*;

/// A part of a logical queue in a queue of `broker-a`, from its start.
fn part(generation: i32, queue_id: i32, logic_offset: i64, end: i64) -> LogicQueueMappingItem {
    LogicQueueMappingItem {
        bname: "broker-a".into(),
        generation,
        queue_id,
        logic_offset,
        end_offset: end,
        ..Default::default()
    }
}

impl Rig {
    async fn map(&self, epoch: i64, parts: &[LogicQueueMappingItem]) {
        let mapping = TopicQueueMappingDetail {
            bname: "broker-a".into(),
            topic: "orders".into(),
            epoch,
            total_queues: 1,
            hosted_queues: [(0, parts.to_vec())].into(),
            ..Default::default()
        };
        let header = topic_request("orders", 4);
        self.done::<UpdateAndCreateStaticTopic>(header, json::write(&mapping))
            .await;
    }

    /// The queue and offset that a sender is told.
    async fn send_to(&self, queue_id: i32) -> (i32, i64) {
        let header = SendMessageRequestV2 {
            producer_group: "p".into(),
            topic: "orders".into(),
            default_topic: "TBW102".into(),
            queue_id,
            ..Default::default()
        };
        let answer = self.done::<SendMessageV2>(header, "body").await;
        let stored: SendMessageResponse<'_> = answer.header().unwrap();
        (stored.queue_id, stored.queue_offset)
    }

    async fn pull_at(&self, offset: i64) -> (ResponseCode, PullMessageResponse) {
        let header = PullMessageRequest {
            consumer_group: "g".into(),
            topic: "orders".into(),
            queue_offset: offset,
            max_msg_nums: 32,
            sys_flag: pull_flag::SUBSCRIPTION,
            subscription: Some("*".into()),
            ..Default::default()
        };
        let answer = self.ask::<PullMessage>(header, Body::Empty).await;
        let code = ResponseCode::try_from(answer.head.code).unwrap();
        (code, answer.header().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logical_queue_goes_on_in_another_queue() {
    let rig = Rig::new().await;
    rig.map(1, &[part(0, 2, 0, -1)]).await;
    for offset in 0..3 {
        assert_eq!(rig.send_to(0).await, (0, offset));
    }
    assert_eq!(rig.send_to(-1).await, (0, 3), "the broker chooses");
    rig.map(2, &[part(0, 2, 0, 4), part(1, 3, 100, -1)]).await;
    assert_eq!(rig.send_to(0).await, (0, 100));

    let rig = rig.restarted().await;
    assert_eq!(rig.send_to(0).await, (0, 101));
    let (code, first) = rig.pull_at(0).await;
    assert_eq!((code, first.next_begin_offset), (ResponseCode::Success, 4));
    assert_eq!(first.offset_delta, Some(0));
    let (code, over) = rig.pull_at(4).await;
    let retry = ResponseCode::PullRetryImmediately;
    assert_eq!((code, over.next_begin_offset), (retry, 100));
    let (code, last) = rig.pull_at(100).await;
    assert_eq!((code, last.next_begin_offset), (ResponseCode::Success, 102));
    assert_eq!((last.max_offset, last.offset_delta), (102, Some(100)));

    let max = |logical, queue_id| GetMaxOffsetRequest {
        topic: "orders".into(),
        queue_id,
        rpc: TopicRpcFields {
            logical,
            ..Default::default()
        },
        ..Default::default()
    };
    for (header, expected) in [
        (max(None, 0), 102),
        (max(Some(false), 0), 0),
        (max(Some(false), 2), 4),
        (max(Some(false), 3), 2),
    ] {
        let answer = rig.done::<GetMaxOffset>(header, Body::Empty).await;
        let max: GetMaxOffsetResponse = answer.header().unwrap();
        assert_eq!(max.offset, expected);
    }

    // Offsets of groups move on from part to part.
    let query = || QueryConsumerOffsetRequest {
        consumer_group: "g".into(),
        topic: "orders".into(),
        ..Default::default()
    };
    let answer = rig.ask::<QueryConsumerOffset>(query(), Body::Empty).await;
    refused(&answer, ResponseCode::QueryNotFound, "Not found");
    for offset in [2, 4, 101] {
        let commit = UpdateConsumerOffsetRequest {
            consumer_group: "g".into(),
            topic: "orders".into(),
            commit_offset: offset,
            ..Default::default()
        };
        rig.done::<UpdateConsumerOffset>(commit, Body::Empty).await;
        let answer = rig.done::<QueryConsumerOffset>(query(), Body::Empty).await;
        let known: QueryConsumerOffsetResponse = answer.header().unwrap();
        assert_eq!(known.offset, offset);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_that_are_led_elsewhere_are_refused_and_mappings_are_told() {
    let rig = Rig::new().await;
    let elsewhere = LogicQueueMappingItem {
        bname: "broker-b".into(),
        ..part(1, 0, 100, -1)
    };
    rig.map(1, &[part(0, 2, 0, 4), elsewhere.clone()]).await;
    let (code, _) = {
        let header = PullMessageRequest {
            consumer_group: "g".into(),
            topic: "orders".into(),
            max_msg_nums: 32,
            sys_flag: pull_flag::SUBSCRIPTION,
            ..Default::default()
        };
        let answer = rig.ask::<PullMessage>(header, Body::Empty).await;
        (answer.head.code, answer.remark)
    };
    assert_eq!(code, ResponseCode::NotLeaderForQueue as i32);

    let get = GetTopicConfigRequest {
        topic: "orders".into(),
        ..Default::default()
    };
    let told: TopicConfigAndQueueMapping = rig.read::<GetTopicConfig, _>(get).await;
    let mapping = told.mapping_detail.unwrap();
    assert_eq!(mapping.hosted_queues[&0][1], elsewhere);
    let all: TopicConfigAndMappingSerializeWrapper =
        rig.read::<GetAllTopicConfig, _>(Default::default()).await;
    assert_eq!(all.topic_queue_mapping_detail_map["orders"], mapping);
    assert_eq!(all.mapping_data_version.counter, 1);

    let foreign = TopicQueueMappingDetail {
        bname: "broker-b".into(),
        ..mapping
    };
    let header = topic_request("orders", 4);
    let answer = rig
        .ask::<UpdateAndCreateStaticTopic>(header, json::write(&foreign))
        .await;
    refused(&answer, ResponseCode::SystemError, "is for broker broker-b");
}
