//! The built binary as a server on free ports, and a client that speaks to it over the wire.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command as Program, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use transport::{
    Body, Connection, HandlerTable, PendingAnswer, RemotingClient, RemotingClientConfig,
    TransportError,
};
use wire::code::ResponseCode;
use wire::command::{Command, SendMessageV2};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::pull::PullMessageRequest;
use wire::header::send::SendMessageRequestV2;
use wire::message::names::AUTO_CREATE_TOPIC_KEY_TOPIC;
use wire::message::sys_flag::pull as pull_flag;

/// How long an answer may take before a test counts as failed.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Kept open, so that the server can print.
    _out: BufReader<ChildStdout>,
    /// Where it writes its log.
    log: PathBuf,
    /// `host:port` of its name server, or of its broker if that is all there is.
    pub(crate) name_server: String,
    /// `host:port` of its broker.
    pub(crate) broker: String,
}

impl Server {
    /// `kerolox start` with everything it keeps in `dir` and these lines of broker configuration.
    /// Started again on the same directory it goes on with what is there.
    pub(crate) fn cluster(dir: &Path, configuration: &str) -> Server {
        let file = dir.join("broker.conf");
        fs::write(&file, configuration).expect("a configuration file");
        let (data, file) = (dir.join("data"), file.to_string_lossy().into_owned());
        let data = data.to_string_lossy();
        let ports = ["--nameserver-port=0", "--broker-port=0", "--grpc-port=0"];
        Server::run(
            &[&["start", "--data", &data, "-c", &file], &ports[..]].concat(),
            dir,
        )
    }

    /// The binary with these arguments, once it is ready; its log goes to a file in `dir`.
    pub(crate) fn run(arguments: &[&str], dir: &Path) -> Server {
        let log = dir.join("log");
        let errors = File::options().create(true).append(true).open(&log);
        let mut child = Program::new(env!("CARGO_BIN_EXE_kerolox"))
            .args(arguments)
            .env_remove("NAMESRV_ADDR")
            .stdout(Stdio::piped())
            .stderr(errors.expect("a log file"))
            .spawn()
            .expect("the binary runs");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut greeting = String::new();
        while !greeting.contains("ready in") {
            let read = out.read_line(&mut greeting).expect("UTF-8");
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert_ne!(read, 0, "it ended instead of being ready: {}", log());
        }
        let words = greeting.split(|c: char| c.is_whitespace() || "[],".contains(c));
        let mut addresses = words.filter(|word| word.parse::<std::net::SocketAddr>().is_ok());
        let first = addresses.next().expect("an address").to_owned();
        let broker = addresses.next().unwrap_or(&first).to_owned();
        Server {
            child,
            _out: out,
            log,
            name_server: first,
            broker,
        }
    }

    /// The server's process.
    pub(crate) fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal and waits for the end, while clients go on. The exit code; none if the
    /// signal killed it.
    pub(crate) async fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(self.process(), signal).expect("it runs");
        let ended = tokio::task::spawn_blocking(move || {
            let status = self.child.wait().expect("it ends");
            let log = fs::read_to_string(&self.log).expect("a log");
            assert!(!log.contains("panicked"), "{log}");
            status.code()
        });
        ended.await.expect("nothing in its log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection to a server.
pub(crate) struct Client {
    pub(crate) connection: Arc<Connection>,
    serialize: SerializeType,
    /// Closes the connection when dropped.
    _remoting: RemotingClient,
}

impl Client {
    /// A connection on which requests have JSON headers.
    pub(crate) async fn connect(address: &str) -> Client {
        Client::with(address, SerializeType::Json, HandlerTable::new()).await
    }

    /// The same with headers of a chosen kind, and handlers for what the server asks.
    pub(crate) async fn with(
        address: &str,
        serialize: SerializeType,
        handlers: HandlerTable,
    ) -> Client {
        let remoting = RemotingClient::new(RemotingClientConfig::default(), handlers);
        let connection = remoting.connection(address).await.expect("a connection");
        Client {
            connection,
            serialize,
            _remoting: remoting,
        }
    }

    /// Sends a request without waiting for the answer; requests arrive in the order of the calls.
    pub(crate) fn start<C: Command>(
        &self,
        header: &C::Request<'_>,
        body: impl Into<Body>,
    ) -> Result<PendingAnswer, TransportError> {
        let head = Head::request(C::CODE as i32, self.serialize);
        self.connection.start_request(head, header, body.into())
    }

    /// Sends a request and waits for the answer, whatever it says.
    pub(crate) async fn ask<C: Command>(
        &self,
        header: &C::Request<'_>,
        body: impl Into<Body>,
    ) -> Frame {
        let pending = self.start::<C>(header, body).expect("an open connection");
        pending.wait(TIMEOUT).await.expect("an answer")
    }

    /// Stores a message without properties; its number in the queue.
    pub(crate) async fn send(&self, topic: &str, queue_id: i32, body: &'static str) -> i64 {
        let header = message(topic, queue_id, "");
        let answer = self.ask::<SendMessageV2>(&header, body).await;
        expect(&answer, ResponseCode::Success);
        let stored: <SendMessageV2 as Command>::Response<'_> = answer.header().expect("a header");
        stored.queue_offset
    }
}

/// What a producer asks to store a message in one of four queues.
pub(crate) fn message<'a>(
    topic: &'a str,
    queue_id: i32,
    properties: &'a str,
) -> SendMessageRequestV2<'a> {
    SendMessageRequestV2 {
        producer_group: Cow::Borrowed("producers"),
        topic: Cow::Borrowed(topic),
        default_topic: Cow::Borrowed(AUTO_CREATE_TOPIC_KEY_TOPIC),
        default_topic_queue_nums: 4,
        queue_id,
        born_timestamp: 1_700_000_000_000,
        properties: Some(Cow::Borrowed(properties)),
        ..SendMessageRequestV2::default()
    }
}

/// What a consumer asks to get the messages of a queue, all tags, without waiting.
pub(crate) fn pull<'a>(
    group: &'a str,
    topic: &'a str,
    queue_id: i32,
    offset: i64,
) -> PullMessageRequest<'a> {
    PullMessageRequest {
        consumer_group: Cow::Borrowed(group),
        topic: Cow::Borrowed(topic),
        queue_id,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: pull_flag::SUBSCRIPTION,
        subscription: Some(Cow::Borrowed("*")),
        ..PullMessageRequest::default()
    }
}

/// Asserts what an answer says.
#[track_caller]
pub(crate) fn expect(answer: &Frame, code: ResponseCode) {
    let remark = &answer.remark;
    assert_eq!(answer.head.code, code as i32, "{remark:?}");
}
