//! A name server with its own files and port, and a client that asks it.

use std::time::Duration;

use bytes::Bytes;
use config::Live;
use kerolox_nameserver::{NameServer, NameServerSettings};
use tempfile::TempDir;
use transport::{Body, HandlerTable, RemotingClient, RemotingClientConfig};
use wire::body::json;
use wire::body::register::RegisterBrokerBody;
use wire::body::route::TopicRouteData;
use wire::body::topic::TopicConfig;
use wire::code::ResponseCode;
use wire::command::{Command, GetRouteInfoByTopic, RegisterBroker};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::EncodeHeader;
use wire::header::nameserver::{GetRouteInfoRequest, RegisterBrokerRequest};

/// What every wait in these tests ends with; it is never reached.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A name server of its own and a client of it.
pub(crate) struct World {
    pub(crate) server: NameServer,
    pub(crate) address: String,
    pub(crate) client: RemotingClient,
    pub(crate) directory: TempDir,
}

pub(crate) fn client() -> RemotingClient {
    RemotingClient::new(RemotingClientConfig::default(), HandlerTable::new())
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With other settings than the defaults.
    pub(crate) async fn with(change: impl FnOnce(&mut NameServerSettings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(&directory, change);
        let server = NameServer::start(Live::new(settings)).await.unwrap();
        let address = server.local_addr().to_string();
        Self {
            server,
            address,
            client: client(),
            directory,
        }
    }

    /// Asks with a command and a body, on the client's connection.
    pub(crate) async fn ask<C: Command>(
        &self,
        header: C::Request<'_>,
        body: impl Into<Body>,
    ) -> Frame {
        let head = Head::request(C::CODE as i32, SerializeType::Json);
        self.send(&self.client, head, &header, body).await
    }

    pub(crate) async fn send(
        &self,
        client: &RemotingClient,
        head: Head,
        header: &(impl EncodeHeader + ?Sized),
        body: impl Into<Body>,
    ) -> Frame {
        client
            .request(&self.address, head, header, body.into(), LONG)
            .await
            .unwrap()
    }

    /// Registers a broker on a client's connection.
    pub(crate) async fn register(
        &self,
        client: &RemotingClient,
        header: RegisterBrokerRequest<'_>,
        body: &RegisterBrokerBody,
    ) -> Frame {
        let head = Head::request(RegisterBroker::CODE as i32, SerializeType::RocketMq);
        self.send(client, head, &header, json::write(body)).await
    }

    /// Registers the master `broker-a` with topics `a` and `b`.
    pub(crate) async fn register_broker_a(&self, client: &RemotingClient) {
        let answer = self
            .register(client, broker("broker-a", 0, "a:1"), &topics(1))
            .await;
        assert_success(&answer);
    }

    pub(crate) async fn route_frame(&self, topic: &str) -> Frame {
        let header = GetRouteInfoRequest {
            topic: topic.into(),
            ..Default::default()
        };
        self.ask::<GetRouteInfoByTopic>(header, Body::Empty).await
    }

    /// The route of a topic; none when there is no such topic.
    pub(crate) async fn route(&self, topic: &str) -> Option<TopicRouteData> {
        let answer = self.route_frame(topic).await;
        if answer.head.code == ResponseCode::TopicNotExist as i32 {
            return None;
        }
        assert_success(&answer);
        Some(json::read(&answer.body).unwrap())
    }

    /// Asks for the route again and again until there is none.
    pub(crate) async fn until_gone(&self, topic: &str) {
        let gone = async { while self.route(topic).await.is_some() {} };
        tokio::time::timeout(LONG, gone).await.unwrap();
    }
}

pub(crate) fn settings(
    directory: &TempDir,
    change: impl FnOnce(&mut NameServerSettings),
) -> NameServerSettings {
    let mut settings = NameServerSettings::default();
    let path = |name| directory.path().join(name).to_str().unwrap().to_owned();
    settings.server.bind_address = "127.0.0.1".into();
    settings.server.listen_port = 0;
    settings.namesrv.kv_config_path = path("kvConfig.json");
    settings.namesrv.config_store_path = path("namesrv.properties");
    change(&mut settings);
    settings
}

pub(crate) fn broker<'a>(name: &'a str, id: i64, address: &'a str) -> RegisterBrokerRequest<'a> {
    RegisterBrokerRequest {
        broker_name: name.into(),
        broker_addr: address.into(),
        cluster_name: "cluster".into(),
        ha_server_addr: format!("ha-{address}").into(),
        broker_id: id,
        enable_acting_master: Some(true),
        ..RegisterBrokerRequest::default()
    }
}

/// The topics `a` and `b` under a data version.
pub(crate) fn topics(version: i64) -> RegisterBrokerBody {
    let mut body = RegisterBrokerBody::default();
    let wrapper = &mut body.topic_config_serialize_wrapper;
    wrapper.data_version.counter = version;
    for name in ["a", "b"] {
        let topic = TopicConfig {
            topic_name: name.into(),
            ..TopicConfig::default()
        };
        wrapper.topic_config_table.insert(name.into(), topic);
    }
    body
}

pub(crate) fn assert_success(answer: &Frame) {
    assert_eq!((answer.head.code, answer.remark.as_deref()), (0, None));
}

#[track_caller]
pub(crate) fn assert_refused(answer: &Frame, code: ResponseCode, remark: &str) {
    assert_eq!(
        (answer.head.code, answer.remark.as_deref()),
        (code as i32, Some(remark))
    );
}

pub(crate) fn text(body: &Bytes) -> &str {
    std::str::from_utf8(body).unwrap()
}
