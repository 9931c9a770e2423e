//! Clients ask a name server for topics, values and settings over sockets.

use std::collections::BTreeSet;

use crate::world::{World, assert_refused, assert_success, broker, settings, text, topics};
use config::Live;
use kerolox_nameserver::{NameServer, SERVED};
use transport::Body;
use wire::body::json;
use wire::body::topic::TopicList;
use wire::code::ResponseCode;
use wire::command::{
    Command, DeleteKvConfig, DeleteTopicInNamesrv, GetAllTopicListFromNameServer,
    GetHasUnitSubTopicList, GetHasUnitSubUnUnitTopicList, GetKvConfig, GetKvListByNamespace,
    GetNamesrvConfig, GetRouteInfoByTopic, GetSystemTopicListFromNs, GetTopicsByCluster,
    GetUnitTopicList, PutKvConfig, RegisterTopicInNamesrv, UpdateNamesrvConfig,
};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::NoHeader;
use wire::header::nameserver::{
    DeleteKVConfigRequest, DeleteTopicFromNamesrvRequest, GetKVConfigRequest, GetKVConfigResponse,
    GetKVListByNamespaceRequest, GetRouteInfoRequest, GetTopicsByClusterRequest,
    PutKVConfigRequest, RegisterBrokerRequest, RegisterTopicRequest,
};

fn names(answer: &Frame) -> BTreeSet<String> {
    assert_success(answer);
    json::read::<TopicList>(&answer.body)
        .unwrap()
        .topic_list
        .into_iter()
        .collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

async fn put(world: &World, key: &str, value: &str) {
    let header = PutKVConfigRequest {
        namespace: "ORDER_TOPIC_CONFIG".into(),
        key: key.into(),
        value: value.into(),
    };
    assert_success(&world.ask::<PutKvConfig>(header, Body::Empty).await);
}

async fn update(world: &World, properties: &str) -> Frame {
    world
        .ask::<UpdateNamesrvConfig>(NoHeader, properties.to_owned())
        .await
}

#[tokio::test]
async fn a_route_is_in_the_form_that_its_client_reads() {
    let world = World::new().await;
    world.register_broker_a(&world.client).await;
    let ask = async |version, accept_standard_json_only| {
        let header = GetRouteInfoRequest {
            topic: "a".into(),
            accept_standard_json_only,
            ..Default::default()
        };
        let head = Head {
            version,
            ..Head::request(GetRouteInfoByTopic::CODE as i32, SerializeType::RocketMq)
        };
        let answer = world.send(&world.client, head, &header, Body::Empty).await;
        assert_eq!(answer.head.serialize, SerializeType::RocketMq);
        text(&answer.body).to_owned()
    };
    let plain = r#"{"brokerDatas":[{"brokerAddrs":{0:"a:1"},"brokerName":"broker-a","cluster":"cluster","enableActingMaster":true}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":16,"topicSysFlag":0,"writeQueueNums":16}]}"#;
    let standard = plain.replace("{0:", "{\"0\":");
    // Twice, since the second answer is a remembered one.
    for _ in 0..2 {
        assert_eq!(ask(400, None).await, plain);
        assert_eq!(ask(401, None).await, standard);
        assert_eq!(ask(200, Some(true)).await, standard);
        assert_eq!(ask(200, Some(false)).await, plain);
    }
    let answer = world.route_frame("none").await;
    let remark = "No topic route info in name server for the topic: none\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";
    assert_refused(&answer, ResponseCode::TopicNotExist, remark);
}

#[tokio::test]
async fn a_route_can_be_of_one_zone() {
    let world = World::new().await;
    for (name, address, zone) in [("broker-a", "a:1", "z1"), ("broker-b", "b:1", "z2")] {
        let header = RegisterBrokerRequest {
            zone_name: Some(zone.into()),
            ..broker(name, 0, address)
        };
        assert_success(&world.register(&world.client, header, &topics(1)).await);
    }
    let ask = async |zone_mode, zone: &str| {
        let zone_name = Some(zone.to_owned().into());
        let header = GetRouteInfoRequest {
            topic: "a".into(),
            zone_mode,
            zone_name,
            ..Default::default()
        };
        let answer = world.ask::<GetRouteInfoByTopic>(header, Body::Empty).await;
        let route: wire::body::route::TopicRouteData = json::read(&answer.body).unwrap();
        let names = route
            .broker_datas
            .into_iter()
            .map(|group| group.broker_name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(ask(Some(true), "Z2").await, ["broker-b"]);
    assert_eq!(ask(Some(true), " ").await, ["broker-a", "broker-b"]);
    assert_eq!(ask(Some(false), "z2").await, ["broker-a", "broker-b"]);
}

#[tokio::test]
async fn routes_show_order_configurations_when_that_is_switched_on() {
    let world = World::new().await;
    world.register_broker_a(&world.client).await;
    put(&world, "a", "broker-a:16").await;
    let order = async || world.route("a").await.unwrap().order_topic_conf;
    assert_eq!(order().await, None);
    assert_success(&update(&world, "orderMessageEnable=true").await);
    assert_eq!(order().await.as_deref(), Some("broker-a:16"));
    put(&world, "a", "broker-a:8").await;
    assert_eq!(order().await.as_deref(), Some("broker-a:8"));
    let header = DeleteKVConfigRequest {
        namespace: "ORDER_TOPIC_CONFIG".into(),
        key: "a".into(),
    };
    assert_success(&world.ask::<DeleteKvConfig>(header, Body::Empty).await);
    assert_eq!(order().await, None);
}

#[tokio::test]
async fn routes_can_wait_until_brokers_had_time_to_register() {
    let world = World::with(|settings| settings.namesrv.need_wait_for_service = true).await;
    world.register_broker_a(&world.client).await;
    assert_refused(
        &world.route_frame("a").await,
        ResponseCode::SystemError,
        "name server not ready",
    );
    assert_success(&update(&world, "waitSecondsForService=0").await);
    assert!(world.route("a").await.is_some());
}

#[tokio::test]
async fn topics_are_listed() {
    let world = World::new().await;
    let mut body = topics(1);
    let table = &mut body.topic_config_serialize_wrapper.topic_config_table;
    table.get_mut("a").unwrap().topic_sys_flag = 3;
    table.get_mut("b").unwrap().topic_sys_flag = 2;
    world
        .register(&world.client, broker("broker-a", 0, "a:1"), &body)
        .await;
    assert_eq!(
        names(
            &world
                .ask::<GetAllTopicListFromNameServer>(NoHeader, Body::Empty)
                .await
        ),
        set(["a", "b"])
    );
    assert_eq!(
        names(&world.ask::<GetUnitTopicList>(NoHeader, Body::Empty).await),
        set(["a"])
    );
    assert_eq!(
        names(
            &world
                .ask::<GetHasUnitSubTopicList>(NoHeader, Body::Empty)
                .await
        ),
        set(["a", "b"])
    );
    assert_eq!(
        names(
            &world
                .ask::<GetHasUnitSubUnUnitTopicList>(NoHeader, Body::Empty)
                .await
        ),
        set(["b"])
    );
    let system = world
        .ask::<GetSystemTopicListFromNs>(NoHeader, Body::Empty)
        .await;
    assert_eq!(
        text(&system.body),
        r#"{"brokerAddr":"a:1","topicList":["cluster","broker-a"]}"#
    );
    let of_cluster = async |cluster: &str| {
        let header = GetTopicsByClusterRequest {
            cluster: cluster.to_owned().into(),
        };
        world.ask::<GetTopicsByCluster>(header, Body::Empty).await
    };
    assert_eq!(names(&of_cluster("cluster").await), set(["a", "b"]));
    assert_eq!(names(&of_cluster("other").await), set([]));
    assert_success(&update(&world, "enableTopicList=false\nenableAllTopicList=false").await);
    assert_refused(
        &of_cluster("cluster").await,
        ResponseCode::SystemError,
        "disable",
    );
    let all = world
        .ask::<GetAllTopicListFromNameServer>(NoHeader, Body::Empty)
        .await;
    assert_refused(&all, ResponseCode::SystemError, "disable");
}

#[tokio::test]
async fn topics_are_registered_and_deleted() {
    let world = World::new().await;
    world.register_broker_a(&world.client).await;
    let register = async |broker: &str| {
        let header = RegisterTopicRequest {
            topic: "c".into(),
            ..Default::default()
        };
        let body = format!(
            r#"{{"queueDatas":[{{"brokerName":"{broker}","perm":6,"readQueueNums":3,"writeQueueNums":3}}]}}"#
        );
        world.ask::<RegisterTopicInNamesrv>(header, body).await
    };
    let answer = register("broker-x").await;
    assert_eq!(answer.head.code, 0);
    assert_eq!(
        answer.remark.as_deref(),
        Some("topic c was not registered: no broker broker-x is registered here")
    );
    assert_eq!(world.route("c").await, None);
    assert_success(&register("broker-a").await);
    assert_eq!(
        world.route("c").await.unwrap().queue_datas[0].read_queue_nums,
        3
    );
    for (topic, cluster_name) in [
        ("a", None),
        ("b", Some("other".into())),
        ("c", Some("cluster".into())),
    ] {
        let header = DeleteTopicFromNamesrvRequest {
            topic: topic.into(),
            cluster_name,
            ..Default::default()
        };
        assert_success(&world.ask::<DeleteTopicInNamesrv>(header, Body::Empty).await);
    }
    assert_eq!(
        names(
            &world
                .ask::<GetAllTopicListFromNameServer>(NoHeader, Body::Empty)
                .await
        ),
        set(["b"])
    );
}

#[tokio::test]
async fn values_survive_a_restart() {
    let world = World::new().await;
    put(&world, "topic", "broker-a:4").await;
    let get = async |world: &World, key: &str| {
        let header = GetKVConfigRequest {
            namespace: "ORDER_TOPIC_CONFIG".into(),
            key: key.to_owned().into(),
        };
        world.ask::<GetKvConfig>(header, Body::Empty).await
    };
    assert_refused(
        &get(&world, "other").await,
        ResponseCode::QueryNotFound,
        "No config item, Namespace: ORDER_TOPIC_CONFIG Key: other",
    );
    let list = async |namespace: &str| {
        let header = GetKVListByNamespaceRequest {
            namespace: namespace.to_owned().into(),
        };
        world.ask::<GetKvListByNamespace>(header, Body::Empty).await
    };
    assert_eq!(
        text(&list("ORDER_TOPIC_CONFIG").await.body),
        r#"{"table":{"topic":"broker-a:4"}}"#
    );
    assert_refused(
        &list("none").await,
        ResponseCode::QueryNotFound,
        "No config item, Namespace: none",
    );
    let World {
        server,
        directory,
        client,
        ..
    } = world;
    server.shutdown().await;
    let server = NameServer::start(Live::new(settings(&directory, |_| {})))
        .await
        .unwrap();
    let world = World {
        address: server.local_addr().to_string(),
        server,
        directory,
        client,
    };
    let answer = get(&world, "topic").await;
    assert_eq!(
        answer.header(),
        Ok(GetKVConfigResponse {
            value: Some("broker-a:4".into())
        })
    );
}

#[tokio::test]
async fn settings_change_and_are_kept() {
    let world = World::new().await;
    let answer = world.ask::<GetNamesrvConfig>(NoHeader, Body::Empty).await;
    assert!(
        text(&answer.body)
            .lines()
            .any(|line| line == "scanNotActiveBrokerInterval=5000")
    );
    assert_success(&update(&world, "").await);
    assert_success(
        &update(
            &world,
            "scanNotActiveBrokerInterval=1000\nclientRequestThreadPoolNums=9",
        )
        .await,
    );
    let kept = std::fs::read_to_string(world.directory.path().join("namesrv.properties")).unwrap();
    assert!(
        kept.lines()
            .any(|line| line == "scanNotActiveBrokerInterval=1000"),
        "{kept}"
    );
    let answer = world.ask::<GetNamesrvConfig>(NoHeader, Body::Empty).await;
    assert_eq!(text(&answer.body), kept);
}

#[tokio::test]
async fn settings_that_must_not_change_are_refused() {
    let world = World::with(|settings| {
        settings.namesrv.config_black_list = "enableTopicList; orderMessageEnable".into()
    })
    .await;
    for key in [
        "kvConfigPath",
        "configStorePath",
        "configBlackList",
        "rocketmqHome",
        "enableTopicList",
        "orderMessageEnable",
    ] {
        let answer = update(&world, &format!("supportActingMaster=true\n{key}=x")).await;
        assert_refused(
            &answer,
            ResponseCode::NoPermission,
            "Can not update config in black list.",
        );
    }
    let answer = update(
        &world,
        "supportActingMaster=true\nscanNotActiveBrokerInterval=never",
    )
    .await;
    assert_eq!(answer.head.code, ResponseCode::InvalidParameter as i32);
    assert!(
        answer
            .remark
            .unwrap()
            .starts_with("`scanNotActiveBrokerInterval` cannot be `never`")
    );
    let answer = update(&world, "supportActngMaster=true").await;
    assert_refused(
        &answer,
        ResponseCode::InvalidParameter,
        "there is no key `supportActngMaster`; did you mean `supportActingMaster`?",
    );
    let answer = world.ask::<GetNamesrvConfig>(NoHeader, Body::Empty).await;
    assert!(
        text(&answer.body)
            .lines()
            .any(|line| line == "supportActingMaster=false")
    );
}

#[tokio::test]
async fn a_toml_file_is_left_to_its_author() {
    let world = World::with(|settings| {
        settings.namesrv.config_store_path = settings
            .namesrv
            .config_store_path
            .replace(".properties", ".toml")
    })
    .await;
    let answer = update(&world, "supportActingMaster=true").await;
    assert_eq!(answer.head.code, 0);
    assert!(
        answer
            .remark
            .unwrap()
            .starts_with("the change holds until the next start")
    );
    assert!(!world.directory.path().join("namesrv.toml").exists());
}

#[tokio::test]
async fn every_command_of_the_references_name_server_is_served() {
    let mut served: Vec<_> = SERVED.iter().map(|code| *code as i32).collect();
    served.sort_unstable();
    let reference = [
        100, 101, 102, 103, 104, 105, 106, 205, 206, 216, 217, 219, 224, 304, 311, 312, 313, 318,
        319, 322, 327, 901, 904,
    ];
    assert_eq!(served, reference);
    let world = World::new().await;
    let head = Head::request(10, SerializeType::Json);
    let answer = world
        .send(&world.client, head, &NoHeader, Body::Empty)
        .await;
    assert_refused(
        &answer,
        ResponseCode::RequestCodeNotSupported,
        " request type 10 not supported",
    );
}
