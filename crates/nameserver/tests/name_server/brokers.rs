//! Brokers and clients talk to a name server over sockets.

use crate::world::{
    LONG, World, assert_refused, assert_success, broker, client, settings, text, topics,
};
use config::Live;
use kerolox_nameserver::NameServer;
use tokio::sync::mpsc;
use transport::{Body, HandlerTable, RemotingServer, RemotingServerConfig, Reply, TlsMode};
use wire::body::json;
use wire::body::register::RegisterBrokerBody;
use wire::body::route::{ClusterInfo, GetBrokerMemberGroupResponseBody};
use wire::body::version::DataVersion;
use wire::code::ResponseCode;
use wire::command::{
    AddWritePermOfBroker, BrokerHeartbeat, Command, GetBrokerClusterInfo, GetBrokerMemberGroup,
    QueryDataVersion, RegisterBroker, RequestCode, UnregisterBroker, WipeWritePermOfBroker,
};
use wire::frame::{Head, SerializeType};
use wire::header::NoHeader;
use wire::header::broker::{GetBrokerMemberGroupRequest, NotifyMinBrokerIdChangeRequest};
use wire::header::nameserver::{
    AddWritePermOfBrokerRequest, AddWritePermOfBrokerResponse, BrokerHeartbeatRequest,
    QueryDataVersionRequest, QueryDataVersionResponse, RegisterBrokerRequest,
    RegisterBrokerResponse, UnRegisterBrokerRequest, WipeWritePermOfBrokerRequest,
    WipeWritePermOfBrokerResponse,
};
use wire::message::record::crc32;

#[tokio::test]
async fn a_broker_comes_is_found_and_goes() {
    let world = World::new().await;
    assert_eq!(world.route("a").await, None);
    world.register_broker_a(&world.client).await;
    let route = world.route("a").await.unwrap();
    assert_eq!(
        route.broker_datas[0].broker_addrs,
        [(0, "a:1".to_owned())].into()
    );
    assert_eq!(
        (
            route.queue_datas[0].read_queue_nums,
            route.queue_datas[0].perm
        ),
        (16, 6)
    );

    let answer = world
        .ask::<GetBrokerClusterInfo>(NoHeader, Body::Empty)
        .await;
    assert_eq!(
        text(&answer.body),
        r#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"a:1"},"brokerName":"broker-a","cluster":"cluster","enableActingMaster":true}},"clusterAddrTable":{"cluster":["broker-a"]}}"#
    );
    let asked = GetBrokerMemberGroupRequest {
        cluster_name: "cluster".into(),
        broker_name: "broker-a".into(),
    };
    let answer = world.ask::<GetBrokerMemberGroup>(asked, Body::Empty).await;
    let group: GetBrokerMemberGroupResponseBody = json::read(&answer.body).unwrap();
    assert_eq!(
        group.broker_member_group.broker_addrs,
        [(0, "a:1".to_owned())].into()
    );

    let leave = UnRegisterBrokerRequest {
        broker_name: "broker-a".into(),
        broker_addr: "a:1".into(),
        cluster_name: "cluster".into(),
        broker_id: 0,
    };
    assert_success(&world.ask::<UnregisterBroker>(leave, Body::Empty).await);
    assert_eq!(world.route("a").await, None);
    let answer = world
        .ask::<GetBrokerClusterInfo>(NoHeader, Body::Empty)
        .await;
    assert_eq!(
        json::read::<ClusterInfo>(&answer.body).unwrap(),
        ClusterInfo::default()
    );
    world.server.shutdown().await;
}

#[tokio::test]
async fn a_registration_comes_plain_compressed_or_in_the_old_form() {
    let world = World::new().await;
    let ask = async |version, header: RegisterBrokerRequest<'_>, body| {
        let head = Head {
            version,
            ..Head::request(RegisterBroker::CODE as i32, SerializeType::Json)
        };
        world.send(&world.client, head, &header, body).await
    };
    let body = topics(1).compress();
    let checksum = Some(crc32(&body) as i32);
    let compressed = RegisterBrokerRequest {
        compressed: true,
        body_crc32: checksum,
        ..broker("broker-a", 0, "a:1")
    };
    assert_success(&ask(513, compressed, body).await);
    let old = json::write(&topics(1).topic_config_serialize_wrapper);
    assert_success(&ask(36, broker("broker-b", 0, "b:1"), old).await);
    let none = RegisterBrokerRequest {
        enable_acting_master: None,
        ..broker("broker-c", 0, "c:1")
    };
    assert_success(&ask(513, none, Default::default()).await);
    let groups = world.route("b").await.unwrap().broker_datas;
    assert_eq!(
        groups
            .iter()
            .map(|group| &*group.broker_name)
            .collect::<Vec<_>>(),
        ["broker-a", "broker-b"]
    );
}

#[tokio::test]
async fn a_registration_that_cannot_be_read_is_refused() {
    let world = World::new().await;
    let mut header = RegisterBrokerRequest {
        body_crc32: Some(1),
        ..broker("broker-a", 0, "a:1")
    };
    let answer = world
        .register(&world.client, header.clone(), &topics(1))
        .await;
    assert_refused(&answer, ResponseCode::SystemError, "crc32 not match");
    header.body_crc32 = None;
    let answer = world
        .ask::<RegisterBroker>(header.clone(), Body::from("{\"topicConfig".to_owned()))
        .await;
    assert_refused(
        &answer,
        ResponseCode::SystemError,
        "Failed to decode RegisterBrokerBody: a closing quote expected at byte 13 of the body",
    );
    header.compressed = true;
    let answer = world
        .ask::<RegisterBroker>(header.clone(), Body::from("not compressed".to_owned()))
        .await;
    assert_refused(
        &answer,
        ResponseCode::SystemError,
        "Failed to decode RegisterBrokerBody: the compressed body ends or breaks inside its data version",
    );
    header.compressed = false;
    let mut single = topics(1);
    single
        .topic_config_serialize_wrapper
        .topic_config_table
        .remove("a");
    let answer = world.register(&world.client, header, &single).await;
    assert_refused(&answer, ResponseCode::SystemError, "register broker failed");
    let head = Head::request(RequestCode::RegisterBroker as i32, SerializeType::Json);
    let answer = world
        .send(&world.client, head, &[("brokerName", "b")][..], Body::Empty)
        .await;
    assert_refused(
        &answer,
        ResponseCode::SystemError,
        "the field brokerAddr of RegisterBrokerRequestHeader is missing",
    );
    assert_eq!(world.route("b").await, None);
}

#[tokio::test]
async fn a_replica_is_told_its_master_and_all_order_configurations() {
    let world = World::new().await;
    world.register_broker_a(&world.client).await;
    let header = wire::header::nameserver::PutKVConfigRequest {
        namespace: "ORDER_TOPIC_CONFIG".into(),
        key: "a".into(),
        value: "broker-a:16".into(),
    };
    assert_success(
        &world
            .ask::<wire::command::PutKvConfig>(header, Body::Empty)
            .await,
    );
    let answer = world
        .register(&world.client, broker("broker-a", 1, "a:2"), &topics(1))
        .await;
    assert_success(&answer);
    let told: RegisterBrokerResponse<'_> = answer.header().unwrap();
    assert_eq!(
        (told.master_addr.as_deref(), told.ha_server_addr.as_deref()),
        (Some("a:1"), Some("ha-a:1"))
    );
    assert_eq!(text(&answer.body), r#"{"table":{"a":"broker-a:16"}}"#);
}

#[tokio::test]
async fn a_broker_learns_whether_it_must_register_again() {
    let world = World::new().await;
    world
        .register(&world.client, broker("broker-a", 0, "a:1"), &topics(5))
        .await;
    let ask = async |address: &str, counter| {
        let header = QueryDataVersionRequest {
            broker_name: "broker-a".into(),
            broker_addr: address.to_owned().into(),
            cluster_name: "cluster".into(),
            broker_id: 0,
        };
        let body = json::write(&DataVersion {
            counter,
            ..DataVersion::default()
        });
        let answer = world.ask::<QueryDataVersion>(header, body).await;
        assert_success(&answer);
        let changed = answer.header::<QueryDataVersionResponse>().unwrap().changed;
        (changed, text(&answer.body).to_owned())
    };
    let known = r#"{"counter":5,"stateVersion":0,"timestamp":0}"#.to_owned();
    assert_eq!(ask("a:1", 5).await, (false, known.clone()));
    assert_eq!(ask("a:1", 6).await, (true, known));
    assert_eq!(ask("x:1", 5).await, (true, String::new()));
}

#[tokio::test]
async fn write_permission_is_wiped_and_added() {
    let world = World::new().await;
    world.register_broker_a(&world.client).await;
    let permission = async || world.route("a").await.unwrap().queue_datas[0].perm;
    let header = WipeWritePermOfBrokerRequest {
        broker_name: "broker-a".into(),
    };
    let answer = world
        .ask::<WipeWritePermOfBroker>(header, Body::Empty)
        .await;
    assert_eq!(
        answer.header(),
        Ok(WipeWritePermOfBrokerResponse {
            wipe_topic_count: 2
        })
    );
    assert_eq!(permission().await, 4);
    let header = AddWritePermOfBrokerRequest {
        broker_name: "broker-a".into(),
    };
    let answer = world.ask::<AddWritePermOfBroker>(header, Body::Empty).await;
    assert_eq!(
        answer.header(),
        Ok(AddWritePermOfBrokerResponse { add_topic_count: 2 })
    );
    assert_eq!(permission().await, 6);
}

#[tokio::test]
async fn a_broker_is_gone_once_its_connection_is() {
    let world = World::new().await;
    let broker = client();
    world.register_broker_a(&broker).await;
    assert!(world.route("a").await.is_some());
    broker.connection(&world.address).await.unwrap().close();
    world.until_gone("a").await;
}

#[tokio::test]
async fn a_silent_broker_is_given_up_and_its_connection_closed() {
    let world = World::with(|settings| settings.namesrv.scan_not_active_broker_interval = 10).await;
    let silent = client();
    let header = RegisterBrokerRequest {
        heartbeat_timeout_millis: Some(50),
        ..broker("broker-a", 0, "a:1")
    };
    world.register(&silent, header, &topics(1)).await;
    let connection = silent.connection(&world.address).await.unwrap();
    // Somebody else's sign of life is not this broker's.
    let other = BrokerHeartbeatRequest {
        cluster_name: "cluster".into(),
        broker_addr: "b:1".into(),
        broker_name: "broker-b".into(),
        ..Default::default()
    };
    assert_success(&world.ask::<BrokerHeartbeat>(other, Body::Empty).await);
    world.until_gone("a").await;
    let closed = async {
        while connection.is_open() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(LONG, closed).await.unwrap();
}

#[tokio::test]
async fn brokers_are_told_when_the_smallest_id_changes() {
    let (sender, mut notices) = mpsc::unbounded_channel();
    let mut handlers = HandlerTable::new();
    handlers.inline_each(&[RequestCode::NotifyMinBrokerIdChange], move |_, frame| {
        let header: NotifyMinBrokerIdChangeRequest<'_> = frame.header()?;
        let own = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned());
        assert!(frame.head.is_oneway());
        let _ = sender.send((
            header.min_broker_id,
            own(header.min_broker_addr),
            own(header.offline_broker_addr),
            own(header.ha_broker_addr),
        ));
        Ok(Reply::empty())
    });
    let replica = RemotingServerConfig {
        bind_address: "127.0.0.1".into(),
        tls_server_mode: TlsMode::Enforcing,
        ..Default::default()
    };
    let replica = RemotingServer::bind(replica)
        .await
        .unwrap()
        .handlers(handlers)
        .start();
    let replica_address = replica.local_addr().to_string();

    let world = World::with(|settings| {
        settings.namesrv.notify_min_broker_id_changed = true;
        settings.client.tls_enable = true;
    })
    .await;
    let (master, replica_client) = (client(), client());
    world
        .register(
            &replica_client,
            broker("broker-a", 1, &replica_address),
            &topics(1),
        )
        .await;
    world.register_broker_a(&master).await;
    let notice = tokio::time::timeout(LONG, notices.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        notice,
        (Some(0), Some("a:1".into()), None, Some("ha-a:1".into()))
    );
    master.connection(&world.address).await.unwrap().close();
    let notice = tokio::time::timeout(LONG, notices.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        notice,
        (Some(1), Some(replica_address), Some("a:1".into()), None)
    );
    assert_eq!(world.route("a").await.unwrap().queue_datas[0].perm, 4);
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let world = World::new().await;
    let taken = world.server.local_addr().port();
    let settings = settings(&world.directory, |settings| {
        settings.server.listen_port = taken
    });
    let error = NameServer::start(Live::new(settings))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains(&world.address) && error.contains("set listenPort to another port"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stopped_name_server_leaves_its_port() {
    let world = World::new().await;
    let port = world.server.local_addr().port();
    world
        .register(
            &world.client,
            broker("broker-a", 0, "a:1"),
            &RegisterBrokerBody::default(),
        )
        .await;
    world.server.shutdown().await;
    let settings = settings(&world.directory, |settings| {
        settings.server.listen_port = port
    });
    NameServer::start(Live::new(settings))
        .await
        .unwrap()
        .shutdown()
        .await;
}
