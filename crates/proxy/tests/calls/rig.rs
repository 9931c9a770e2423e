//! A name server, a broker and a proxy in this process, and a client that calls by gRPC.

use std::net::SocketAddr;
use std::time::Duration;

use broker::{BrokerSettings, RunningBroker};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use config::{Live, Settings as _};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nameserver::{NameServer, NameServerSettings};
use prost::Message as _;
use proxy::{Proxy, ProxySettings};
use tempfile::TempDir;
use tokio::net::TcpStream;
use transport::{
    Body, ByteStream, HandlerTable, Link, RemotingClient, RemotingClientConfig, TlsClient,
};
use wire::body::group::SubscriptionGroupConfig;
use wire::command::{
    Command, GetMaxOffset, UpdateAndCreateSubscriptionGroup, UpdateAndCreateTopic,
};
use wire::frame::{Frame, Head, SerializeType};
use wire::grpc::rpc::{Rpc, SERVICE_PATH};
use wire::grpc::{
    Encoding, Message, MessageType, Resource, StatusOnly, SystemProperties, Timestamp,
};
use wire::header::offset::{GetMaxOffsetRequest, GetMaxOffsetResponse};
use wire::header::topic::CreateTopicRequest;

/// How long a call may take.
const TIMEOUT: &str = "20S";

pub(crate) struct Rig {
    proxy: Option<Proxy>,
    broker: Option<RunningBroker>,
    name_server: Option<NameServer>,
    sender: Sender,
    admin: RemotingClient,
    _dir: TempDir,
}

/// What came of a call.
pub(crate) struct Answer {
    /// The bytes of each message.
    pub(crate) messages: Vec<Bytes>,
    /// `grpc-status`.
    pub(crate) status: i32,
}

impl Answer {
    /// The code and words that the first message has where all have them.
    pub(crate) fn told(&self) -> (i32, String) {
        let first = self.messages.first().expect("an answer");
        let status = StatusOnly::decode(&**first).expect("a status").status;
        status
            .map(|status| (status.code, status.message))
            .unwrap_or_default()
    }
}

type Sender = http2::SendRequest<Full<Bytes>>;

async fn speak_http2(stream: impl ByteStream) -> Sender {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn in_tls(address: SocketAddr) -> Sender {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let tls = TlsClient::new(&RemotingClientConfig::default()).expect("it trusts everybody");
    let link = Link::new(stream, address, address);
    let shaken = tls.speaking("h2").connect(link, &address.to_string()).await;
    speak_http2(shaken.expect("TLS").stream).await
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts with these settings of the proxy besides those that all tests have.
    pub(crate) async fn with(own: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let mut settings = NameServerSettings::default();
        for (key, value) in [
            ("bindAddress", "127.0.0.1".to_owned()),
            ("kvConfigPath", path("kvConfig.json")),
            ("configStorePath", path("namesrv.properties")),
            ("listenPort", "0".to_owned()),
        ] {
            settings.set(key, &value).expect("a good value");
        }
        let name_server = NameServer::start(Live::new(settings))
            .await
            .expect("it starts");
        let name_server_at = name_server.local_addr().to_string();

        let mut settings = BrokerSettings::default();
        for (key, value) in [
            ("bindAddress", "127.0.0.1".to_owned()),
            ("brokerIP1", "127.0.0.1".to_owned()),
            ("brokerName", "broker-a".to_owned()),
            ("listenPort", "0".to_owned()),
            ("namesrvAddr", name_server_at.clone()),
            ("storePathRootDir", path("store")),
            ("mappedFileSizeCommitLog", "16777216".to_owned()),
        ] {
            settings.set(key, &value).expect("a good value");
        }
        let broker = RunningBroker::start(Live::new(settings))
            .await
            .expect("it starts");

        let mut settings = ProxySettings::default();
        for (key, value) in [
            ("bindAddress", "127.0.0.1"),
            ("grpcServerPort", "0"),
            ("namesrvAddr", &name_server_at),
            ("grpcMaxInboundMessageSize", "100000"),
            ("maxMessageSize", "50000"),
            ("grpcClientConsumerMinLongPollingTimeoutMillis", "100"),
            ("subscriptionGroupConfigCacheRefreshSeconds", "0"),
        ]
        .iter()
        .chain(own)
        {
            settings.set(key, value).expect("a good value");
        }
        let proxy = Proxy::start(settings).await.expect("it starts");
        let sender = in_tls(proxy.local_addr()).await;
        let admin = RemotingClient::new(RemotingClientConfig::default(), HandlerTable::new());
        Self {
            proxy: Some(proxy),
            broker: Some(broker),
            name_server: Some(name_server),
            sender,
            admin,
            _dir: dir,
        }
    }

    /// Has a client of its own connect without TLS.
    pub(crate) async fn go_plain(&mut self) {
        let stream = TcpStream::connect(self.proxy_address()).await;
        self.sender = speak_http2(stream.expect("a connection")).await;
    }

    pub(crate) fn proxy_address(&self) -> SocketAddr {
        self.proxy.as_ref().expect("it runs").local_addr()
    }

    /// The status of a request that is no call.
    pub(crate) async fn status_of(&self, path: &str) -> u16 {
        let request = Request::post(format!("http://proxy{path}"));
        let request = request.body(Full::default()).expect("a request");
        let answer = self.sender.clone().send_request(request).await;
        answer.expect("an answer").status().as_u16()
    }

    pub(crate) async fn stop(mut self) {
        drop(self.sender);
        if let Some(proxy) = self.proxy.take() {
            proxy.shutdown().await;
        }
        if let Some(broker) = self.broker.take() {
            broker.shutdown().await.expect("it stops");
        }
        if let Some(name_server) = self.name_server.take() {
            name_server.shutdown().await;
        }
    }

    /// A topic of one queue for messages of a kind.
    pub(crate) async fn topic(&self, name: &str, kind: MessageType) {
        let header = CreateTopicRequest {
            topic: name.into(),
            default_topic: name.into(),
            read_queue_nums: 1,
            write_queue_nums: 1,
            perm: 6,
            topic_filter_type: "SINGLE_TAG".into(),
            attributes: Some(format!("+message.type={}", kind.name()).into()),
            ..CreateTopicRequest::default()
        };
        self.tell::<UpdateAndCreateTopic>(&header, Body::Empty)
            .await;
    }

    pub(crate) async fn group(&self, group: SubscriptionGroupConfig) {
        let body = wire::body::json::write(&group);
        self.tell::<UpdateAndCreateSubscriptionGroup>(&Default::default(), body.into())
            .await;
    }

    /// How many messages the first queue of a topic has.
    pub(crate) async fn count(&self, topic: &str) -> i64 {
        let header = GetMaxOffsetRequest {
            topic: topic.into(),
            ..GetMaxOffsetRequest::default()
        };
        let answer = self.tell::<GetMaxOffset>(&header, Body::Empty).await;
        let header: GetMaxOffsetResponse = answer.header().expect("a header");
        header.offset
    }

    async fn tell<C: Command>(&self, header: &C::Request<'_>, body: Body) -> Frame {
        let broker = self
            .broker
            .as_ref()
            .expect("it runs")
            .local_addr()
            .to_string();
        let head = Head::request(C::CODE as i32, SerializeType::Json);
        let limit = Duration::from_secs(10);
        let answer = self.admin.request(&broker, head, header, body, limit).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.head.code, 0, "{:?}", answer.remark);
        answer
    }

    /// Calls with one message.
    pub(crate) async fn call<R: Rpc>(&self, request: &R::Request) -> Answer {
        self.call_as(Some("client-1"), R::NAME, &request.encode_to_vec())
            .await
    }

    /// Calls and reads the one answer.
    pub(crate) async fn ask<R: Rpc>(&self, request: &R::Request) -> R::Response {
        let answer = self.call::<R>(request).await;
        assert_eq!((answer.status, answer.messages.len()), (0, 1));
        R::Response::decode(&*answer.messages[0]).expect("an answer")
    }

    /// Calls by any name with any bytes.
    pub(crate) async fn call_as(&self, client: Option<&str>, name: &str, message: &[u8]) -> Answer {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(message.len() as u32);
        body.put_slice(message);
        let mut request = Request::post(format!("http://proxy{SERVICE_PATH}{name}"))
            .header("content-type", "application/grpc")
            .header("x-mq-client-version", "5.1.0")
            .header("grpc-timeout", TIMEOUT);
        if let Some(client) = client {
            request = request.header("x-mq-client-id", client);
        }
        let request = request.body(Full::new(body.freeze())).expect("a request");
        let response = self
            .sender
            .clone()
            .send_request(request)
            .await
            .expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body");
        let trailers = body.trailers().cloned().unwrap_or_default();
        Answer {
            status: status_in(&trailers)
                .or(status_in(&head.headers))
                .expect("a status"),
            messages: split(body.to_bytes()),
        }
    }
}

fn status_in(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn split(mut body: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while body.has_remaining() {
        assert_eq!(body.get_u8(), 0, "not compressed");
        let length = body.get_u32() as usize;
        messages.push(body.split_to(length));
    }
    messages
}

/// A message that a client might send.
pub(crate) fn message(topic: &str, id: &str, body: &str) -> Message {
    Message {
        topic: Some(Resource::named(topic)),
        system_properties: Some(SystemProperties {
            message_id: id.to_owned(),
            body_encoding: Encoding::Identity as i32,
            message_type: MessageType::Normal as i32,
            born_timestamp: Some(Timestamp::from_millis(1)),
            ..SystemProperties::default()
        }),
        body: Bytes::copy_from_slice(body.as_bytes()),
        ..Message::default()
    }
}
