//! A name server, a broker and a proxy in this process, and a client that calls by gRPC.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use broker::{BrokerSettings, RunningBroker};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use config::{Live, Settings as _};
use http::{HeaderMap, Request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nameserver::{NameServer, NameServerSettings};
use prost::Message as _;
use proxy::{Proxy, ProxySettings};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use transport::{
    Body, ByteStream, HandlerTable, Link, RemotingClient, RemotingClientConfig, TlsClient,
};
use wire::body::group::SubscriptionGroupConfig;
use wire::body::stats::BrokerStatsData;
use wire::command::{
    Command, GetMaxOffset, QueryConsumerOffset, UpdateAndCreateSubscriptionGroup,
    UpdateAndCreateTopic, ViewBrokerStatsData,
};
use wire::frame::{Frame, Head, SerializeType};
use wire::grpc::rpc::{QueryRoute, Rpc, SERVICE_PATH, Telemetry};
use wire::grpc::{
    self, Code, Encoding, Message, MessageType, QueryRouteRequest, Resource, Settings, Status,
    StatusOnly, SystemProperties, TelemetryCommand, Timestamp,
};
use wire::header::broker::ViewBrokerStatsDataRequest;
use wire::header::offset::{
    GetMaxOffsetRequest, GetMaxOffsetResponse, QueryConsumerOffsetRequest,
    QueryConsumerOffsetResponse,
};
use wire::header::topic::CreateTopicRequest;

/// The client that tests mostly are.
pub(crate) const CLIENT: &str = "client-1";

/// Time between two looks at what is awaited.
pub(crate) const POLL: Duration = Duration::from_millis(10);

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

type Sender = http2::SendRequest<UnsyncBoxBody<Bytes, Infallible>>;

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
            ("enableLmq", "true".to_owned()),
            ("enableMultiDispatch", "true".to_owned()),
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

    pub(crate) fn broker_address(&self) -> SocketAddr {
        self.broker.as_ref().expect("it runs").local_addr()
    }

    pub(crate) fn proxy_address(&self) -> SocketAddr {
        self.proxy.as_ref().expect("it runs").local_addr()
    }

    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.proxy.as_ref().expect("it runs").metrics_addr()
    }

    /// Calls with a message that is compressed as a header says.
    pub(crate) async fn call_compressed(
        &self,
        name: &str,
        encoding: &str,
        message: &[u8],
    ) -> Answer {
        let mut body = BytesMut::from(&framed(message)[..]);
        body[0] = 1;
        let request = request_of(Some(CLIENT), name).header("grpc-encoding", encoding);
        let body = Full::new(body.freeze()).boxed_unsync();
        self.send(request.body(body).expect("a request")).await
    }

    /// The status of a request that is no call.
    pub(crate) async fn status_of(&self, path: &str) -> u16 {
        let request = Request::post(format!("http://proxy{path}"));
        let request = request.body(Full::default().boxed_unsync());
        let request = request.expect("a request");
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
        // The name server hears of it a moment later.
        let wanted = QueryRouteRequest {
            topic: Some(Resource::named(name)),
            endpoints: None,
        };
        while self.call::<QueryRoute>(&wanted).await.told().0 != Code::Ok as i32 {
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) async fn group(&self, group: SubscriptionGroupConfig) {
        let body = wire::body::json::write(&group);
        self.tell::<UpdateAndCreateSubscriptionGroup>(&Default::default(), body.into())
            .await;
    }

    /// How many messages the first queue of a topic has; `None` if there is no such topic.
    pub(crate) async fn count(&self, topic: &str) -> Option<i64> {
        let header = GetMaxOffsetRequest {
            topic: topic.into(),
            ..GetMaxOffsetRequest::default()
        };
        let answer = self.ask_broker::<GetMaxOffset>(&header, Body::Empty).await;
        let header: GetMaxOffsetResponse = answer.header().ok()?;
        Some(header.offset)
    }

    /// How far a group has come in the first queue of a topic; `None` if it has not begun.
    pub(crate) async fn progress(&self, topic: &str, group: &str) -> Option<i64> {
        let header = QueryConsumerOffsetRequest {
            consumer_group: group.into(),
            topic: topic.into(),
            ..QueryConsumerOffsetRequest::default()
        };
        let answer = self
            .ask_broker::<QueryConsumerOffset>(&header, Body::Empty)
            .await;
        let header: QueryConsumerOffsetResponse = answer.header().ok()?;
        Some(header.offset)
    }

    /// What a counter of the broker has counted.
    pub(crate) async fn counted(&self, counter: &str, key: &str) -> i64 {
        let header = ViewBrokerStatsDataRequest {
            stats_name: counter.into(),
            stats_key: key.into(),
        };
        let answer = self.tell::<ViewBrokerStatsData>(&header, Body::Empty).await;
        let counted: BrokerStatsData = wire::body::json::read(&answer.body).expect("counts");
        counted.stats_day.sum
    }

    /// Tells the broker as an administrator.
    pub(crate) async fn tell<C: Command>(&self, header: &C::Request<'_>, body: Body) -> Frame {
        let answer = self.ask_broker::<C>(header, body).await;
        assert_eq!(answer.head.code, 0, "{:?}", answer.remark);
        answer
    }

    /// What the broker answers to an administrator.
    pub(crate) async fn ask_broker<C: Command>(
        &self,
        header: &C::Request<'_>,
        body: Body,
    ) -> Frame {
        let broker = self.broker_address().to_string();
        let head = Head::request(C::CODE as i32, SerializeType::Json);
        let limit = Duration::from_secs(60);
        let answer = self.admin.request(&broker, head, header, body, limit).await;
        answer.expect("an answer")
    }

    /// Calls with one message, as the client that tests mostly are.
    pub(crate) async fn call<R: Rpc>(&self, request: &R::Request) -> Answer {
        self.call_by::<R>(CLIENT, request).await
    }

    /// Calls with one message as some client.
    pub(crate) async fn call_by<R: Rpc>(&self, client: &str, request: &R::Request) -> Answer {
        self.call_as(Some(client), R::NAME, &request.encode_to_vec())
            .await
    }

    /// Calls with one message and waits no longer than a text of `grpc-timeout` says.
    pub(crate) async fn call_within<R: Rpc>(&self, timeout: &str, request: &R::Request) -> Answer {
        let body = Full::new(framed(&request.encode_to_vec())).boxed_unsync();
        let mut request = request_of(Some(CLIENT), R::NAME).body(body);
        if let (Ok(request), Ok(timeout)) = (&mut request, timeout.parse()) {
            request.headers_mut().insert("grpc-timeout", timeout);
        }
        self.send(request.expect("a request")).await
    }

    /// Calls and reads the one answer.
    pub(crate) async fn ask<R: Rpc>(&self, request: &R::Request) -> R::Response {
        let answer = self.call::<R>(request).await;
        assert_eq!((answer.status, answer.messages.len()), (0, 1));
        R::Response::decode(&*answer.messages[0]).expect("an answer")
    }

    /// Opens the telemetry stream of a client and tells its settings.
    pub(crate) async fn telemetry(&self, client: &str, settings: Settings) -> Stream {
        let (sending, sent) = mpsc::unbounded_channel();
        let stream = Sent(sent).boxed_unsync();
        let request = request_of(Some(client), Telemetry::NAME).body(stream);
        let request = request.expect("a request");
        let told = TelemetryCommand {
            command: Some(grpc::Command::Settings(Box::new(settings))),
            ..TelemetryCommand::default()
        };
        sending.send(framed(&told.encode_to_vec())).expect("open");
        let answer = self.sender.clone().send_request(request).await;
        let (head, body) = answer.expect("an answer").into_parts();
        Stream {
            sending,
            head: head.headers,
            body,
            received: BytesMut::new(),
        }
    }

    /// Calls by any name with any bytes.
    pub(crate) async fn call_as(&self, client: Option<&str>, name: &str, message: &[u8]) -> Answer {
        let body = Full::new(framed(message)).boxed_unsync();
        let request = request_of(client, name).body(body);
        self.send(request.expect("a request")).await
    }

    async fn send(&self, request: Request<UnsyncBoxBody<Bytes, Infallible>>) -> Answer {
        let response = self.sender.clone().send_request(request).await;
        let response = response.expect("an answer");
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

/// A telemetry stream.
pub(crate) struct Stream {
    sending: mpsc::UnboundedSender<Bytes>,
    head: HeaderMap,
    body: Incoming,
    received: BytesMut,
}

impl Stream {
    /// The next command of the server; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<TelemetryCommand> {
        loop {
            let length = self.received.get(1..5).map(|mut length| length.get_u32());
            if let Some(length) = length
                && self.received.len() >= 5 + length as usize
            {
                self.received.advance(5);
                let message = self.received.split_to(length as usize);
                return Some(TelemetryCommand::decode(message).expect("a command"));
            }
            let frame = self.body.frame().await?.expect("the stream is whole");
            self.received.extend_from_slice(&frame.into_data().ok()?);
        }
    }

    /// The status with which the server ends the stream.
    pub(crate) async fn end(self) -> Option<i32> {
        let collected = self.body.collect().await.expect("the stream is whole");
        let trailers = collected.trailers().and_then(status_in);
        trailers.or(status_in(&self.head))
    }

    pub(crate) fn say(&self, code: Code, command: grpc::Command) {
        let told = TelemetryCommand {
            status: Some(Status {
                code: code as i32,
                message: String::new(),
            }),
            command: Some(command),
        };
        let sent = self.sending.send(framed(&told.encode_to_vec()));
        sent.expect("the stream is open");
    }
}

/// The messages of a stream.
struct Sent(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let next = ready!(self.0.poll_recv(cx));
        Poll::Ready(next.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.len() as u32);
    body.put_slice(message);
    body.freeze()
}

fn request_of(client: Option<&str>, name: &str) -> http::request::Builder {
    let request = Request::post(format!("http://proxy{SERVICE_PATH}{name}"))
        .header("content-type", "application/grpc")
        .header("x-mq-client-version", "5.1.0")
        .header("grpc-timeout", TIMEOUT);
    match client {
        Some(client) => request.header("x-mq-client-id", client),
        None => request,
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
