//! What no client should send: each gets an answer that says why, or its connection closed, and
//! nobody else notices.

mod random;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use random::Random;
use rustix::process::Signal;
use serde::Deserialize;
use server::{Client, Server, TIMEOUT, expect, message, pull};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use transport::{Body, HandlerTable};
use wire::code::ResponseCode;
use wire::command::{Heartbeat, PullMessage, RequestCode, SendMessageV2, ViewMessageById};
use wire::frame::{Frame, Head, MAX_FRAME_SIZE, SerializeType, encode};
use wire::header::NoHeader;
use wire::header::client::HeartbeatRequest;
use wire::header::pull::ViewMessageRequest;
use wire::message::body::Records;

/// Malformed streams, with what the reference made of them (`frames-bad.jsonl` of the wire
/// crate).
const BAD_STREAMS: &str = include_str!("../../wire/tests/data/frames-bad.jsonl");
/// Frames that the reference wrote.
const GOOD_FRAMES: &str = include_str!("../../wire/tests/data/frames.jsonl");

/// A server with an empty directory.
fn start(configuration: &str) -> (TempDir, Server) {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), configuration);
    (dir, server)
}

/// Somebody who does nothing wrong, and sends message after message meanwhile.
struct Bystander {
    stop: Arc<AtomicBool>,
    task: JoinHandle<i64>,
    address: String,
}

impl Bystander {
    async fn start(server: &Server) -> Bystander {
        let client = Client::connect(&server.broker).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                assert_eq!(client.send("bystander", 0, "all is well").await, count);
                count += 1;
            }
            count
        });
        Bystander {
            stop,
            task,
            address: server.broker.clone(),
        }
    }

    /// Asserts that all was answered, and is there.
    async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.task.await.expect("every message is answered");
        assert!(count > 0);
        let client = Client::connect(&self.address).await;
        let last = client
            .ask::<PullMessage>(&pull("g", "bystander", 0, count - 1), "")
            .await;
        expect(&last, ResponseCode::Success);
        assert_eq!(Records::new(&last.body).count(), 1);
    }
}

/// Everything that a server answers until it closes the connection. After so many answers it is
/// told that nothing more comes; without a number it has to close by itself.
async fn answers(stream: &mut TcpStream, wanted: Option<usize>) -> Vec<Frame> {
    let mut bytes = BytesMut::new();
    let mut frames = Vec::new();
    let mut is_open = true;
    let read = async {
        loop {
            while let Some(frame) = Frame::decode(&mut bytes).expect("whole frames") {
                frames.push(frame);
            }
            if is_open && wanted.is_some_and(|wanted| frames.len() >= wanted) {
                is_open = false;
                // It may have closed already.
                let _ = stream.shutdown().await;
            }
            // Nor does a server that closes have to read on, so this may be a reset.
            if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                break;
            }
        }
    };
    let closed = timeout(TIMEOUT, read).await;
    assert!(closed.is_ok(), "it does not close, after {frames:?}");
    assert!(bytes.is_empty(), "half a frame is left");
    frames
}

async fn connect(address: &str) -> TcpStream {
    TcpStream::connect(address).await.expect("a connection")
}

/// A request with these fields and whatever body.
fn frame(head: Head, fields: &[(&str, &str)], body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    encode(&head, None, fields, body.len(), &mut bytes);
    bytes.extend_from_slice(body);
    bytes.freeze()
}

/// Memory that a process uses, in bytes, where the system tells.
fn resident(server: &Server) -> Option<usize> {
    let path = format!("/proc/{}/status", server.process().as_raw_nonzero());
    let status = std::fs::read_to_string(path).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Asserts that a server uses not more than it should after whatever it went through.
#[track_caller]
fn assert_memory_below(server: &Server, limit: usize) {
    if let Some(used) = resident(server) {
        assert!(used < limit, "{used} bytes are in use, more than {limit}");
    }
}

#[derive(Deserialize)]
struct BadStream {
    name: String,
    frame_b64: String,
    broker: Outcome,
}

/// What the reference's broker did.
#[derive(Deserialize)]
struct Outcome {
    answers: Vec<Answer>,
    #[serde(default)]
    connection: String,
}

#[derive(Deserialize)]
struct Answer {
    code: i32,
    opaque: i32,
}

#[tokio::test]
async fn every_malformed_stream_is_answered_or_closed() {
    let (_dir, server) = start("");
    let bystander = Bystander::start(&server).await;
    for line in BAD_STREAMS.lines() {
        let bad: BadStream = serde_json::from_str(line).unwrap();
        let name = &bad.name;
        if name == "http_get" {
            continue; // The reference closes such a connection; here HTTP is spoken.
        }
        let bytes = STANDARD.decode(&bad.frame_b64).unwrap();
        for address in [&server.broker, &server.name_server] {
            let mut stream = connect(address).await;
            stream.write_all(&bytes).await.unwrap();
            let waits = bad.broker.connection != "closed";
            let got = answers(&mut stream, waits.then_some(bad.broker.answers.len())).await;
            if name == "good_then_bad_then_good" {
                // What came before the bad one may be answered.
                assert!(got.len() <= 1, "{got:?}");
                continue;
            }
            assert_eq!(got.len(), bad.broker.answers.len(), "{name}: {got:?}");
            for (ours, reference) in got.iter().zip(&bad.broker.answers) {
                assert!(ours.head.is_response());
                if name == "json_duplicate_names" && address == &server.broker {
                    // The reference takes UNREGISTER_CLIENT without the client's id.
                    expect(ours, ResponseCode::SystemError);
                } else if address == &server.broker {
                    assert_eq!(ours.head.code, reference.code, "{name}: {:?}", ours.remark);
                } else {
                    expect(ours, ResponseCode::RequestCodeNotSupported);
                }
                // Without a number in the request any will do.
                if !["json_missing_opaque", "json_names_other_case"].contains(&&**name) {
                    assert_eq!(ours.head.opaque, reference.opaque, "{name}");
                }
            }
        }
    }
    bystander.finish().await;
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

/// Sends a request with these fields; code and remark of the answer.
async fn refusal(
    client: &Client,
    code: RequestCode,
    fields: &[(&str, &str)],
    body: impl Into<Body>,
) -> (i32, String) {
    let head = Head::request(code as i32, SerializeType::Json);
    let answer = client
        .connection
        .request(head, fields, body.into(), TIMEOUT);
    let answer = answer.await.expect("an answer");
    (answer.head.code, answer.remark.unwrap_or_default())
}

#[tokio::test]
async fn an_unknown_code_is_told() {
    let (_dir, server) = start("");
    for address in [&server.broker, &server.name_server] {
        for serialize in [SerializeType::Json, SerializeType::RocketMq] {
            let client = Client::with(address, serialize, HandlerTable::new()).await;
            let head = Head::request(9999, serialize);
            let answer = client
                .connection
                .request(head, &NoHeader, "body".into(), TIMEOUT)
                .await
                .unwrap();
            expect(&answer, ResponseCode::RequestCodeNotSupported);
            assert_eq!(
                answer.remark.as_deref(),
                Some(" request type 9999 not supported")
            );
        }
    }
}

#[tokio::test]
async fn a_field_that_is_missing_or_wrong_is_named() {
    let (_dir, server) = start("");
    let broker = Client::connect(&server.broker).await;
    let names = Client::connect(&server.name_server).await;
    use RequestCode::{
        GetMaxOffset, GetRouteInfoByTopic, PullMessage, QueryConsumerOffset, RegisterBroker,
        SendMessage, SendMessageV2, UpdateAndCreateTopic,
    };
    let send = [
        ("a", "producers"),
        ("b", "t"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "0"),
        ("h", "0"),
    ];
    for left_out in 0..send.len() {
        let mut fields = send.to_vec();
        let (name, _) = fields.remove(left_out);
        let (code, remark) = refusal(&broker, SendMessageV2, &fields, "body").await;
        assert_eq!(code, ResponseCode::SystemError as i32);
        assert!(remark.contains(&format!(" field {name} ")), "{remark}");
    }
    for (client, code, fields, named) in [
        (&broker, SendMessage, &[("producerGroup", "p")][..], "topic"),
        (&broker, PullMessage, &[], "consumerGroup"),
        (
            &broker,
            QueryConsumerOffset,
            &[("consumerGroup", "g")],
            "topic",
        ),
        (
            &broker,
            GetMaxOffset,
            &[("topic", "t"), ("queueId", "two")],
            "queueId",
        ),
        (
            &broker,
            GetMaxOffset,
            &[("topic", "t"), ("queueId", "99999999999")],
            "queueId",
        ),
        (
            &broker,
            UpdateAndCreateTopic,
            &[("topic", "t")],
            "defaultTopic",
        ),
        (&names, GetRouteInfoByTopic, &[], "topic"),
        (&names, RegisterBroker, &[("brokerName", "b")], "brokerAddr"),
    ] {
        let (answer, remark) = refusal(client, code, fields, "").await;
        assert_eq!(answer, ResponseCode::SystemError as i32, "{remark}");
        assert!(remark.contains(named), "{remark}");
    }
    // The connections are as good as before.
    broker.send("t", 0, "body").await;
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_is_refused() {
    let (_dir, server) = start("");
    let client = Client::connect(&server.broker).await;
    client.send("t", 0, "makes the topic").await;
    let long = "n".repeat(128);
    let refused = [
        (
            "no topic!",
            0,
            ResponseCode::InvalidParameter,
            "The specified topic: no topic!, contains illegal characters, allowing only \
             ^[%|a-zA-Z0-9_-]+$"
                .to_owned(),
        ),
        (
            &long,
            0,
            ResponseCode::InvalidParameter,
            format!("The specified topic: {long}, is longer than topic max length: 127"),
        ),
        (
            " ",
            0,
            ResponseCode::InvalidParameter,
            "The specified topic is blank.".to_owned(),
        ),
        (
            "t",
            4,
            ResponseCode::InvalidParameter,
            format!(
                "request queueId[4] is illegal, topic[t] has 4 queues, Producer: {}",
                client.connection.local()
            ),
        ),
    ];
    for (topic, queue_id, code, remark) in refused {
        let header = message(topic, queue_id, "");
        let answer = client.ask::<SendMessageV2>(&header, "body").await;
        assert_eq!(answer.remark, Some(remark));
        expect(&answer, code);
    }
    for topic in [
        "SCHEDULE_TOPIC_XXXX",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
    ] {
        let header = message(topic, 0, "");
        let answer = client.ask::<SendMessageV2>(&header, "body").await;
        expect(&answer, ResponseCode::NoPermission);
        let remark = format!("Sending message to topic[{topic}] is forbidden.");
        assert_eq!(answer.remark, Some(remark));
    }

    let largest = Bytes::from(vec![b'x'; 4 << 20]);
    let header = message("t", 0, "");
    let answer = client.ask::<SendMessageV2>(&header, largest.clone()).await;
    expect(&answer, ResponseCode::Success);
    let larger = [&largest[..], b"x"].concat();
    let answer = client.ask::<SendMessageV2>(&header, larger).await;
    expect(&answer, ResponseCode::MessageIllegal);
    let long = format!("long\u{1}{}\u{2}", "v".repeat(32767));
    let answer = client
        .ask::<SendMessageV2>(&message("t", 0, &long), "body")
        .await;
    expect(&answer, ResponseCode::MessageIllegal);
    let answer = client.ask::<SendMessageV2>(&header, "").await;
    expect(&answer, ResponseCode::SystemError);
    let mut batch = message("t", 0, "");
    batch.batch = Some(true);
    let answer = client.ask::<SendMessageV2>(&batch, "not a batch").await;
    expect(&answer, ResponseCode::MessageIllegal);

    // None of them left a trace: the first message, the large one, and this.
    assert_eq!(client.send("t", 0, "body").await, 2);
}

#[tokio::test]
async fn an_unknown_topic_is_told_where_none_is_made() {
    let (_dir, server) = start("autoCreateTopicEnable = false\n");
    let client = Client::connect(&server.broker).await;
    let answer = client
        .ask::<SendMessageV2>(&message("nowhere", 0, ""), "body")
        .await;
    expect(&answer, ResponseCode::TopicNotExist);
    let remark = answer.remark.unwrap_or_default();
    assert!(
        remark.starts_with("topic[nowhere] not exist, apply first please!"),
        "{remark}"
    );
    let answer = client
        .ask::<PullMessage>(&pull("g", "nowhere", 0, 0), "")
        .await;
    expect(&answer, ResponseCode::TopicNotExist);
}

#[tokio::test]
async fn a_request_of_a_consumer_that_makes_no_sense_is_refused() {
    let (_dir, server) = start("");
    let client = Client::connect(&server.broker).await;
    client.send("t", 0, "body").await;
    for queue_id in [-1, 4, i32::MAX, i32::MIN] {
        let answer = client
            .ask::<PullMessage>(&pull("g", "t", queue_id, 0), "")
            .await;
        expect(&answer, ResponseCode::InvalidParameter);
    }
    let answer = client
        .ask::<PullMessage>(&pull("no group!", "t", 0, 0), "")
        .await;
    expect(&answer, ResponseCode::SubscriptionGroupNotExist);
    let mut request = pull("g", "t", 0, 0);
    request.subscription = Some("||".into());
    let answer = client.ask::<PullMessage>(&request, "").await;
    expect(&answer, ResponseCode::SubscriptionParseFailed);
    request.sys_flag = 0;
    let answer = client.ask::<PullMessage>(&request, "").await;
    expect(&answer, ResponseCode::SubscriptionNotExist);
    // However many are wanted, an answer has its bounds.
    for count in [0, -1, i32::MAX, i32::MIN] {
        let mut request = pull("g", "t", 0, 0);
        request.max_msg_nums = count;
        let answer = client.ask::<PullMessage>(&request, "").await;
        assert!(Records::new(&answer.body).count() <= 1);
    }
    for offset in [-1, 1, 1 << 20, i64::MAX, i64::MIN] {
        let request = ViewMessageRequest {
            topic: None,
            offset,
        };
        let answer = client.ask::<ViewMessageById>(&request, "").await;
        expect(&answer, ResponseCode::SystemError);
    }
    for body in ["", "{", "[]", "{\"clientID\":[]}", "{}{}", "\u{0}"] {
        let header = HeartbeatRequest::default();
        let answer = client.ask::<Heartbeat>(&header, body).await;
        assert_eq!(
            answer.head.code,
            ResponseCode::SystemError as i32,
            "{body:?}"
        );
    }
    assert_eq!(client.send("t", 0, "body").await, 1);
}

#[tokio::test]
async fn a_frame_too_large_closes_its_connection_only() {
    let (_dir, server) = start("");
    let bystander = Bystander::start(&server).await;
    let head = Head::request(RequestCode::Heartbeat as i32, SerializeType::Json);
    let empty = frame(head, &[], b"").len();
    let largest = frame(head, &[], &vec![b'x'; MAX_FRAME_SIZE - empty]);
    assert_eq!(largest.len(), MAX_FRAME_SIZE);
    let larger = frame(head, &[], &vec![b'x'; MAX_FRAME_SIZE - empty + 1]);
    for address in [&server.broker, &server.name_server] {
        let mut stream = connect(address).await;
        stream.write_all(&largest).await.unwrap();
        assert_eq!(answers(&mut stream, Some(1)).await.len(), 1);

        let mut stream = connect(address).await;
        // The server need not take all of it.
        let _ = stream.write_all(&larger).await;
        assert_eq!(answers(&mut stream, None).await.len(), 0);
    }
    bystander.finish().await;
}

#[tokio::test]
async fn who_sends_slowly_or_not_at_all_disturbs_nobody() {
    let (_dir, server) = start("");
    let bystander = Bystander::start(&server).await;
    // Each announces a frame of 16 MiB, and sends a little of it.
    let mut idle = Vec::new();
    for _ in 0..100 {
        for address in [&server.broker, &server.name_server] {
            let mut stream = connect(address).await;
            let length = (MAX_FRAME_SIZE as u32 - 4).to_be_bytes();
            let start = [&length[..], &[0, 0, 0, 100], &[b'{'; 100]].concat();
            stream.write_all(&start).await.unwrap();
            idle.push(stream);
        }
    }
    // One that sends byte by byte is answered in the end.
    let mut slow = connect(&server.broker).await;
    slow.set_nodelay(true).unwrap();
    let head = Head::request(RequestCode::GetMaxOffset as i32, SerializeType::Json);
    for byte in frame(head, &[("topic", "t"), ("queueId", "0")], b"") {
        slow.write_all(&[byte]).await.unwrap();
    }
    let got = answers(&mut slow, Some(1)).await;
    assert_eq!(got.len(), 1);
    expect(&got[0], ResponseCode::Success);
    assert_memory_below(&server, 100 << 20);
    // Gone in the middle of a frame.
    drop(idle);
    bystander.finish().await;
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn who_does_not_read_answers_fills_no_memory() {
    let (_dir, server) = start("");
    let client = Client::connect(&server.broker).await;
    let body: &'static str = Box::leak("x".repeat(256 << 10).into_boxed_str());
    client.send("large", 0, body).await;
    let bystander = Bystander::start(&server).await;
    // Asks for 10 GB.
    let head = Head::request(RequestCode::PullMessage as i32, SerializeType::Json);
    let fields = [
        ("consumerGroup", "g"),
        ("topic", "large"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "1"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
    ];
    let requests = frame(head, &fields, b"").repeat(40_000);
    let mut deaf = connect(&server.broker).await;
    // Not taken to its end: the server reads no more of one who reads nothing.
    let written = timeout(Duration::from_secs(2), deaf.write_all(&requests)).await;
    assert!(written.is_err(), "{written:?}");
    assert_memory_below(&server, 150 << 20);
    bystander.finish().await;
    drop(deaf);
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

/// A frame with something changed. Mostly its length is made right again, so that the change is
/// not only seen by who checks lengths.
fn mutated(random: &mut Random, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = frames[random.below(frames.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(frame.len());
        match random.below(7) {
            0 => frame[at] = random.below(256) as u8,
            1 => frame[at] ^= 1 << random.below(8),
            2 => frame.truncate(at.max(1)),
            3 => {
                let count = random.below(40);
                frame.splice(at..at, random.bytes(count));
            }
            4 => {
                let end = (at + random.below(20)).min(frame.len());
                frame.drain(at..end);
                frame.push(0);
            }
            5 => {
                let other = &frames[random.below(frames.len())];
                frame.truncate(at.max(1));
                frame.extend_from_slice(&other[random.below(other.len())..]);
            }
            _ => {
                // Digits are where numbers are.
                let digits = frame.iter_mut().filter(|byte| byte.is_ascii_digit());
                for digit in digits {
                    if random.below(10) == 0 {
                        *digit = b"0189-."[random.below(6)];
                    }
                }
            }
        }
    }
    if frame.len() >= 8 && random.below(10) > 0 {
        let length = (frame.len() as u32 - 4).to_be_bytes();
        frame[..4].copy_from_slice(&length);
    }
    frame
}

#[tokio::test]
async fn random_frames_do_no_harm() {
    #[derive(Deserialize)]
    struct Golden {
        kind: String,
        frame_b64: String,
    }
    let frames: Vec<Vec<u8>> = GOOD_FRAMES
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|golden: &Golden| golden.kind != "response")
        .map(|golden| STANDARD.decode(&golden.frame_b64).unwrap())
        .collect();
    let mut random = Random::printed();
    let (_dir, server) = start("");
    let bystander = Bystander::start(&server).await;
    for round in 0..600 {
        let address = if round % 3 == 0 {
            &server.name_server
        } else {
            &server.broker
        };
        let mut stream = connect(address).await;
        for _ in 0..10 {
            let frame = mutated(&mut random, &frames);
            // Behind a frame that can't be understood the connection is closed.
            if stream.write_all(&frame).await.is_err() {
                break;
            }
        }
        answers(&mut stream, Some(0)).await;
    }
    bystander.finish().await;
    assert_memory_below(&server, 200 << 20);
    let names = Client::connect(&server.name_server).await;
    let head = Head::request(
        RequestCode::GetBrokerClusterInfo as i32,
        SerializeType::Json,
    );
    let answer = names
        .connection
        .request(head, &NoHeader, Body::Empty, TIMEOUT);
    expect(&answer.await.unwrap(), ResponseCode::Success);
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

/// A peer opens a WebSocket and sends a message of text, twice.
#[tokio::test]
async fn a_refusal_is_logged_once_a_peer_and_minute() {
    let (dir, server) = start("");
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&server.broker).await.expect("a port");
        let upgrade = "GET /v1/frames HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
            connection: Upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            sec-websocket-version: 13\r\n\r\n";
        let text = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
        let sent = [upgrade.as_bytes(), &text].concat();
        stream.write_all(&sent).await.expect("it is taken");
        let mut told = Vec::new();
        let reading = async {
            while !told.ends_with(b"send binary") {
                let read = stream.read_buf(&mut told).await.expect("an answer");
                assert_ne!(read, 0, "{}", told.escape_ascii());
            }
        };
        timeout(TIMEOUT, reading).await.expect("it is refused");
    }
    assert_eq!(server.end(Signal::TERM).await, Some(0));
    let log = std::fs::read_to_string(dir.path().join("log")).expect("a log");
    let refusals = log.lines().filter(|line| line.contains("is refused"));
    let refusals: Vec<_> = refusals.collect();
    assert_eq!(refusals.len(), 1, "{log}");
    assert!(
        refusals[0].contains("a message is text: send binary"),
        "{log}"
    );
}
