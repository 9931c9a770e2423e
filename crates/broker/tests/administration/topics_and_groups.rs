//! Topics and groups: making, changing and deleting them.

use std::collections::BTreeMap;

use bytes::Bytes;
use transport::Body;
use wire::body::group::*;
use wire::body::json;
use wire::body::topic::*;
use wire::code::ResponseCode;
use wire::command::*;
use wire::frame::{Head, SerializeType};
use wire::header::NoHeader;
use wire::header::group::*;
use wire::header::offset::{GetMaxOffsetRequest, GetMaxOffsetResponse};
use wire::header::topic::*;

use crate::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_changed_listed_and_deleted() {
    let rig = Rig::new().await;
    let fifo = CreateTopicRequest {
        attributes: Some("+message.type=FIFO".into()),
        order: true,
        ..topic_request("orders", 3)
    };
    rig.done::<UpdateAndCreateTopic>(fifo, Body::Empty).await;
    let list = CreateTopicListRequestBody {
        topic_config_list: ["bills", "parcels"]
            .map(|name| TopicConfig {
                topic_name: name.into(),
                ..Default::default()
            })
            .into(),
    };
    rig.done::<UpdateAndCreateTopicList>(Default::default(), json::write(&list))
        .await;

    let rig = rig.restarted().await;
    let get = |topic| GetTopicConfigRequest {
        topic,
        ..Default::default()
    };
    let orders: TopicConfigAndQueueMapping =
        rig.read::<GetTopicConfig, _>(get("orders".into())).await;
    assert_eq!(orders.config.read_queue_nums, 3);
    assert!(orders.config.order);
    assert_eq!(orders.config.attributes["message.type"], "FIFO");

    let mut seen = BTreeMap::new();
    let mut version = None;
    loop {
        let header = GetAllTopicConfigRequest {
            topic_seq: seen.len() as i32,
            data_version: Some(version.clone().unwrap_or_default()),
            max_topic_num: Some(5),
        };
        let answer = rig.done::<GetAllTopicConfig>(header, Body::Empty).await;
        let total: GetAllTopicConfigResponse = answer.header().unwrap();
        let page: TopicConfigAndMappingSerializeWrapper = json::read(&answer.body).unwrap();
        assert!(page.topic_config_table.len() <= 5);
        let text = json::write(&page.data_version);
        version = Some(String::from_utf8(text.to_vec()).unwrap().into());
        seen.extend(page.topic_config_table);
        if seen.len() as i32 >= total.total_topic_num.unwrap() {
            break;
        }
    }
    for topic in ["orders", "bills", "parcels", "TBW102", "broker-a"] {
        assert!(seen.contains_key(topic), "{topic}");
    }
    let system: TopicList = rig.read::<GetSystemTopicListFromBroker, _>(NoHeader).await;
    assert!(system.topic_list.contains(&"broker-a".to_owned()));
    assert!(!system.topic_list.contains(&"orders".to_owned()));

    rig.send("orders", 0, "one").await;
    let delete = |topic| DeleteTopicRequest {
        topic,
        ..Default::default()
    };
    rig.done::<DeleteTopicInBroker>(delete("orders".into()), Body::Empty)
        .await;
    let answer = rig
        .ask::<GetTopicConfig>(get("orders".into()), Body::Empty)
        .await;
    refused(&answer, ResponseCode::TopicNotExist, "orders");
    rig.create_topic("orders", 3).await;
    let max = GetMaxOffsetRequest {
        topic: "orders".into(),
        ..Default::default()
    };
    let answer = rig.done::<GetMaxOffset>(max, Body::Empty).await;
    let response: GetMaxOffsetResponse = answer.header().unwrap();
    assert_eq!(response.offset, 0, "its queues went as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_cannot_be_are_refused() {
    let rig = Rig::new().await;
    for (topic, code, remark) in [
        (
            "no good name",
            ResponseCode::InvalidParameter,
            "illegal characters",
        ),
        (
            "TBW102",
            ResponseCode::InvalidParameter,
            "conflict with system topic",
        ),
        (
            "DefaultCluster",
            ResponseCode::InvalidParameter,
            "conflict with system topic",
        ),
    ] {
        let header = topic_request(topic, 1);
        refused(
            &rig.ask::<UpdateAndCreateTopic>(header, Body::Empty).await,
            code,
            remark,
        );
    }
    for (attributes, code, remark) in [
        (
            "+message.type=MIXED",
            ResponseCode::InvalidParameter,
            "MIXED",
        ),
        (
            "+message.type=BLUE",
            ResponseCode::SystemError,
            "value is not in set",
        ),
        (
            "+colour=red",
            ResponseCode::SystemError,
            "unsupported key: colour",
        ),
    ] {
        let header = CreateTopicRequest {
            attributes: Some(attributes.into()),
            ..topic_request("orders", 1)
        };
        refused(
            &rig.ask::<UpdateAndCreateTopic>(header, Body::Empty).await,
            code,
            remark,
        );
    }
    rig.done::<UpdateBrokerConfig>(NoHeader, Bytes::from("enableMixedMessageType=true"))
        .await;
    let mixed = CreateTopicRequest {
        attributes: Some("+message.type=MIXED".into()),
        ..topic_request("orders", 1)
    };
    rig.done::<UpdateAndCreateTopic>(mixed, Body::Empty).await;
    let delete = DeleteTopicRequest {
        topic: "broker-a".into(),
        ..Default::default()
    };
    let answer = rig.ask::<DeleteTopicInBroker>(delete, Body::Empty).await;
    refused(
        &answer,
        ResponseCode::InvalidParameter,
        "conflict with system topic",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_made_changed_restricted_and_deleted() {
    let rig = Rig::new().await;
    let config = SubscriptionGroupConfig {
        group_name: "g".into(),
        retry_max_times: 3,
        ..Default::default()
    };
    rig.done::<UpdateAndCreateSubscriptionGroup>(NoHeader, json::write(&config))
        .await;
    let forbid = |readable| UpdateGroupForbiddenRequest {
        group: "g".into(),
        topic: "orders".into(),
        readable,
        ..Default::default()
    };
    let told: GroupForbidden = rig
        .read::<UpdateAndGetGroupForbidden, _>(forbid(Some(false)))
        .await;
    assert_eq!(told.readable, Some(false));

    let rig = rig.restarted().await;
    let told: GroupForbidden = rig
        .read::<UpdateAndGetGroupForbidden, _>(forbid(None))
        .await;
    assert_eq!(told.readable, Some(false));
    let get = GetSubscriptionGroupConfigRequest {
        group: "g".into(),
        ..Default::default()
    };
    let kept: SubscriptionGroupConfig = rig.read::<GetSubscriptionGroupConfig, _>(get).await;
    assert_eq!(kept, config);
    let all: SubscriptionGroupWrapper = rig
        .read::<GetAllSubscriptionGroupConfig, _>(Default::default())
        .await;
    assert_eq!(all.subscription_group_table["g"], config);
    assert_eq!(all.forbidden_table["g"]["orders"], 4);

    let delete = DeleteSubscriptionGroupRequest {
        group_name: "g".into(),
        ..Default::default()
    };
    rig.done::<DeleteSubscriptionGroup>(delete, Body::Empty)
        .await;
    let all: SubscriptionGroupWrapper = rig
        .read::<GetAllSubscriptionGroupConfig, _>(Default::default())
        .await;
    assert!(!all.subscription_group_table.contains_key("g"));

    // A client of version 4 does not know of pages.
    let head = Head::request(
        GetAllSubscriptionGroupConfig::CODE as i32,
        SerializeType::Json,
    );
    let address = rig.broker.local_addr().to_string();
    let answer = rig
        .client
        .request(&address, head, &NoHeader, Body::Empty, PATIENCE)
        .await
        .unwrap();
    let whole: SubscriptionGroupWrapper = json::read(&answer.body).unwrap();
    assert_eq!(whole, all);

    let wrong = SubscriptionGroupConfig {
        group_name: "g g".into(),
        ..Default::default()
    };
    let answer = rig
        .ask::<UpdateAndCreateSubscriptionGroup>(NoHeader, json::write(&wrong))
        .await;
    refused(
        &answer,
        ResponseCode::InvalidParameter,
        "illegal characters",
    );
    let answer = rig
        .ask::<UpdateAndCreateSubscriptionGroup>(NoHeader, Body::Empty)
        .await;
    assert_eq!(answer.head.code, ResponseCode::SystemError as i32);
}
