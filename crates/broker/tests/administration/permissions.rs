//! What may be sent and pulled, by broker, topic and group.

use bytes::Bytes;
use transport::{Body, HandlerTable};
use wire::body::group::SubscriptionGroupConfig;
use wire::body::heartbeat::{ConsumerData, HeartbeatData, MessageModel, SubscriptionData};
use wire::body::json;
use wire::code::ResponseCode;
use wire::command::*;
use wire::header::NoHeader;
use wire::header::client::HeartbeatRequest;
use wire::header::group::UpdateGroupForbiddenRequest;
use wire::header::pull::PullMessageRequest;
use wire::header::send::SendMessageRequestV2;
use wire::header::topic::CreateTopicRequest;
use wire::message::sys_flag::pull as pull_flag;

use crate::rig::*;

/// What a consumer that carries its subscription asks for.
fn pull<'a>(group: &'a str, topic: &'a str) -> PullMessageRequest<'a> {
    PullMessageRequest {
        consumer_group: group.into(),
        topic: topic.into(),
        max_msg_nums: 32,
        sys_flag: pull_flag::SUBSCRIPTION,
        subscription: Some("*".into()),
        ..Default::default()
    }
}

/// The same by what its heartbeat said.
fn pull_as_subscribed<'a>(group: &'a str, topic: &'a str) -> PullMessageRequest<'a> {
    PullMessageRequest {
        sys_flag: 0,
        subscription: None,
        ..pull(group, topic)
    }
}

impl Rig {
    async fn set(&self, line: &'static str) {
        self.done::<UpdateBrokerConfig>(NoHeader, Bytes::from_static(line.as_bytes()))
            .await;
    }

    async fn set_group(&self, config: SubscriptionGroupConfig) {
        let config = SubscriptionGroupConfig {
            group_name: "g".into(),
            ..config
        };
        self.done::<UpdateAndCreateSubscriptionGroup>(NoHeader, json::write(&config))
            .await;
    }

    async fn pull_refused(&self, pull: PullMessageRequest<'_>, code: ResponseCode, remark: &str) {
        let answer = self.ask::<PullMessage>(pull, Body::Empty).await;
        refused(&answer, code, remark);
    }

    async fn set_perm(&self, topic: &str, perm: i32, order: bool) {
        let header = CreateTopicRequest {
            perm,
            order,
            ..topic_request(topic, 2)
        };
        self.done::<UpdateAndCreateTopic>(header, Body::Empty).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_need_the_permission_of_broker_topic_and_group() {
    let rig = Rig::new().await;
    rig.create_topic("orders", 2).await;
    rig.send("orders", 0, "body").await;
    let forbidden = ResponseCode::NoPermission;

    rig.set("brokerPermission=2").await;
    let remark = "the broker[127.0.0.1] pulling message is forbidden";
    rig.pull_refused(pull("g", "orders"), forbidden, remark)
        .await;
    rig.set("brokerPermission=6").await;

    rig.set("litePullMessageEnable=false").await;
    let answer = rig
        .ask::<LitePullMessage>(pull("g", "orders"), Body::Empty)
        .await;
    let remark = "the broker[127.0.0.1] for lite pull consumer is forbidden";
    refused(&answer, forbidden, remark);

    rig.set("autoCreateSubscriptionGroup=false").await;
    let remark = "subscription group [g] does not exist";
    let unknown = ResponseCode::SubscriptionGroupNotExist;
    rig.pull_refused(pull("g", "orders"), unknown, remark).await;

    rig.set_group(SubscriptionGroupConfig {
        consume_enable: false,
        ..Default::default()
    })
    .await;
    let remark = "subscription group no permission, g";
    rig.pull_refused(pull("g", "orders"), forbidden, remark)
        .await;
    rig.set_group(SubscriptionGroupConfig::default()).await;

    let remark = "topic[bills] not exist, apply first please!";
    let unknown = ResponseCode::TopicNotExist;
    rig.pull_refused(pull("g", "bills"), unknown, remark).await;

    rig.set_perm("orders", 2, false).await;
    let remark = "the topic[orders] pulling message is forbidden";
    rig.pull_refused(pull("g", "orders"), forbidden, remark)
        .await;
    rig.set_perm("orders", 6, false).await;

    let elsewhere = PullMessageRequest {
        queue_id: 2,
        ..pull("g", "orders")
    };
    let remark = "queueId[2] is illegal, topic:[orders]";
    let illegal = ResponseCode::InvalidParameter;
    rig.pull_refused(elsewhere, illegal, remark).await;

    rig.done::<PullMessage>(pull("g", "orders"), Body::Empty)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_may_be_kept_from_a_topic_and_from_broadcasting() {
    let rig = Rig::new().await;
    for topic in ["orders", "bills"] {
        rig.create_topic(topic, 1).await;
        rig.send(topic, 0, "body").await;
    }
    let remark = "the consumer's group info not exist";
    let unknown = ResponseCode::SubscriptionNotExist;
    rig.pull_refused(pull_as_subscribed("g", "orders"), unknown, remark)
        .await;

    let consumer = client(HandlerTable::new());
    let subscribed = HeartbeatData {
        client_id: "broadcaster".into(),
        consumer_data_set: vec![ConsumerData {
            group_name: "g".into(),
            message_model: MessageModel::Broadcasting,
            subscription_data_set: ["orders", "bills"]
                .map(|topic| SubscriptionData {
                    topic: topic.into(),
                    sub_string: "*".into(),
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = rig
        .ask_as::<Heartbeat>(
            &consumer,
            HeartbeatRequest::default(),
            json::write(&subscribed),
        )
        .await;
    assert_eq!(answer.head.code, 0, "{:?}", answer.remark);
    rig.set_group(SubscriptionGroupConfig {
        consume_broadcast_enable: false,
        ..Default::default()
    })
    .await;
    let forbidden = ResponseCode::NoPermission;
    let remark = "the consumer group[g] can not consume by broadcast way";
    rig.pull_refused(pull_as_subscribed("g", "orders"), forbidden, remark)
        .await;
    rig.set_group(SubscriptionGroupConfig::default()).await;

    let forbid = |readable| UpdateGroupForbiddenRequest {
        group: "g".into(),
        topic: "orders".into(),
        readable: Some(readable),
        ..Default::default()
    };
    rig.done::<UpdateAndGetGroupForbidden>(forbid(false), Body::Empty)
        .await;
    let remark = "the consumer group[g] is forbidden for topic[orders]";
    rig.pull_refused(pull_as_subscribed("g", "orders"), forbidden, remark)
        .await;
    rig.done::<PullMessage>(pull_as_subscribed("g", "bills"), Body::Empty)
        .await;
    rig.done::<UpdateAndGetGroupForbidden>(forbid(true), Body::Empty)
        .await;
    rig.done::<PullMessage>(pull_as_subscribed("g", "orders"), Body::Empty)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_must_not_be_written_to_refuses_ordered_topics_and_retries() {
    let rig = Rig::new().await;
    rig.set_perm("orders", 6, true).await;
    rig.set_perm("bills", 6, false).await;
    rig.send("bills", 0, "body").await;
    rig.set("brokerPermission=4").await;
    let remark = "the broker[127.0.0.1] sending message is forbidden";
    let send = SendMessageRequestV2 {
        producer_group: "p".into(),
        topic: "orders".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        ..Default::default()
    };
    let answer = rig
        .ask::<SendMessageV2>(send, Bytes::from_static(b"body"))
        .await;
    refused(&answer, ResponseCode::NoPermission, remark);
    let back = wire::header::send::ConsumerSendMsgBackRequest {
        group: "g".into(),
        ..Default::default()
    };
    let answer = rig.ask::<ConsumerSendMsgBack>(back, Body::Empty).await;
    refused(&answer, ResponseCode::NoPermission, remark);
    // Name servers keep producers away from other topics; what comes all the same is stored.
    rig.send("bills", 0, "body").await;
}
