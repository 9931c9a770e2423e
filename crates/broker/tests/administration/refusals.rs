//! Requests whose values make no sense.

use bytes::Bytes;
use transport::Body;
use wire::body::group::SubscriptionGroupConfig;
use wire::body::json;
use wire::code::ResponseCode;
use wire::command::*;
use wire::header::NoHeader;
use wire::header::lite::GetLiteClientInfoRequest;
use wire::header::pop::{NotificationRequest, PopMessageRequest};
use wire::header::send::SendMessageRequestV2;
use wire::header::topic::CreateTopicRequest;
use wire::header::transaction::EndTransactionRequest;

use crate::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_a_field_does_not_have_is_named() {
    let rig = Rig::new().await;
    rig.send("orders", 0, "body").await;
    for wrong in [-1, 1, 4, i32::MAX] {
        let end = EndTransactionRequest {
            commit_or_rollback: wrong,
            ..Default::default()
        };
        let answer = rig.ask::<EndTransaction>(end, Body::Empty).await;
        refused(&answer, ResponseCode::SystemError, "commitOrRollback");
    }
    let odd = CreateTopicRequest {
        topic_filter_type: "NO_TAG".into(),
        ..topic_request("odd", 1)
    };
    let answer = rig.ask::<UpdateAndCreateTopic>(odd, Body::Empty).await;
    refused(&answer, ResponseCode::SystemError, "topicFilterType");
    for max_count in [0, -1, i32::MIN] {
        let of_client = GetLiteClientInfoRequest {
            max_count: Some(max_count),
            ..Default::default()
        };
        let answer = rig.ask::<GetLiteClientInfo>(of_client, Body::Empty).await;
        refused(&answer, ResponseCode::SystemError, "maxCount");
    }
    let answer = rig
        .ask::<SwitchTimerEngine>(Default::default(), Body::Empty)
        .await;
    refused(&answer, ResponseCode::InvalidParameter, "param error");
    let batch = SendMessageRequestV2 {
        topic: "orders".into(),
        sys_flag: -1,
        ..Default::default()
    };
    let message = Bytes::from_static(b"\0\0\0\x17\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01x\0\0");
    let answer = rig.ask::<SendBatchMessage>(batch, message).await;
    refused(&answer, ResponseCode::MessageIllegal, "inner batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_of_a_pop_that_cannot_be_read_is_refused() {
    let rig = Rig::new().await;
    rig.send("orders", 0, "body").await;
    for (expression_type, expression, code) in [
        ("SQL92", "a >", ResponseCode::SubscriptionParseFailed),
        ("GREP", "a", ResponseCode::SubscriptionParseFailed),
        // Pops by SQL92 are served whatever enablePropertyFilter says.
        ("SQL92", "a > 1", ResponseCode::PollingTimeout),
    ] {
        let pop = PopMessageRequest {
            consumer_group: "g".into(),
            topic: "orders".into(),
            max_msg_nums: 8,
            expression_type: Some(expression_type.into()),
            expression: Some(expression.into()),
            ..Default::default()
        };
        let answer = rig.ask::<PopMessage>(pop, Body::Empty).await;
        refused(&answer, code, "");
        let notification = NotificationRequest {
            consumer_group: "g".into(),
            topic: "orders".into(),
            expression_type: Some(expression_type.into()),
            expression: Some(expression.into()),
            ..Default::default()
        };
        let answer = rig.ask::<Notification>(notification, Body::Empty).await;
        let is_refused = answer.head.code == ResponseCode::SubscriptionParseFailed as i32;
        assert_eq!(is_refused, code == ResponseCode::SubscriptionParseFailed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_has_a_number_of_queues_that_can_be_told() {
    let rig = Rig::new().await;
    rig.create_topic("wide", 65_536).await;
    for queues in [-1, 65_537, i32::MAX, i32::MIN] {
        let topic = topic_request("wider", queues);
        let answer = rig.ask::<UpdateAndCreateTopic>(topic, Body::Empty).await;
        refused(&answer, ResponseCode::InvalidParameter, "0 to 65536");
    }
    let group = SubscriptionGroupConfig {
        group_name: "g".into(),
        retry_queue_nums: i32::MAX,
        ..Default::default()
    };
    let answer = rig
        .ask::<UpdateAndCreateSubscriptionGroup>(NoHeader, json::write(&group))
        .await;
    refused(&answer, ResponseCode::InvalidParameter, "up to 65536");
}
