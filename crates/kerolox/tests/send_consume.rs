//! `kerolox send` and `kerolox consume` as a user meets them.

mod server;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command as Program, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use server::{Client, Server, TIMEOUT, expect, message, pull};
use tempfile::TempDir;
use transport::HandlerTable;
use wire::body::json;
use wire::body::queue::QueryConsumeQueueResponseBody;
use wire::code::ResponseCode;
use wire::command::{
    ConsumerSendMsgBack, PullMessage, QueryConsumeQueue, QueryConsumerOffset, SendBatchMessage,
    SendMessageV2, UpdateAndCreateTopic, UpdateConsumerOffset,
};
use wire::frame::{Frame, SerializeType};
use wire::header::offset::{QueryConsumerOffsetRequest, UpdateConsumerOffsetRequest};
use wire::header::pull::{PullMessageResponse, QueryConsumeQueueRequest};
use wire::header::send::{ConsumerSendMsgBackRequest, SendMessageRequestV2, SendMessageResponse};
use wire::header::topic::CreateTopicRequest;
use wire::message::body::BatchMessage;
use wire::message::compression::CompressionType;
use wire::message::id::OffsetMessageId;
use wire::message::names::TOOLS_CONSUMER_GROUP;
use wire::message::sys_flag;

/// A server with an empty directory.
struct Cluster {
    dir: TempDir,
    server: Server,
}

impl Cluster {
    fn start() -> Cluster {
        let dir = tempfile::tempdir().expect("a directory");
        let server = Server::cluster(dir.path(), "");
        Cluster { dir, server }
    }

    fn program(&self, arguments: &[&str]) -> Program {
        let mut program = program(arguments);
        program.args(["--name-server", &self.server.name_server]);
        program
    }

    /// Runs a command that must succeed, with this standard input; the lines it prints.
    fn lines(&self, arguments: &[&str], input: &[u8]) -> Vec<String> {
        let mut child = self
            .program(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
        text(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// The same with JSON lines.
    fn json(&self, arguments: &[&str], input: &[u8]) -> Vec<Value> {
        let arguments = [arguments, &["--output", "json"]].concat();
        let lines = self.lines(&arguments, input).into_iter();
        lines
            .map(|line| serde_json::from_str(&line).expect("JSON"))
            .collect()
    }

    /// The bodies that `kerolox consume` shows.
    fn bodies(&self, arguments: &[&str]) -> Vec<String> {
        let messages = self.json(&[&["consume"], arguments].concat(), b"");
        messages
            .iter()
            .map(|message| string(message, "body"))
            .collect()
    }
}

fn program(arguments: &[&str]) -> Program {
    let mut program = Program::new(env!("CARGO_BIN_EXE_kerolox"));
    program.args(arguments).env_remove("NAMESRV_ADDR");
    program
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn string(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} of {value}"))
        .to_owned()
}

#[test]
fn a_message_is_shown_as_it_was_sent() {
    let cluster = Cluster::start();
    let sent = cluster.json(
        &[
            "send",
            "shop",
            "Grüße",
            "--tag",
            "A",
            "--key",
            "k1",
            "--key",
            "k2",
            "--property",
            "colour=red=1",
        ],
        b"",
    );
    let [sent] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(sent["status"], "SEND_OK");
    let shown = cluster.json(&["consume", "shop"], b"");
    let [shown] = &shown[..] else {
        panic!("{shown:?}")
    };
    for same in [
        "topic",
        "brokerName",
        "queueId",
        "queueOffset",
        "msgId",
        "offsetMsgId",
    ] {
        assert_eq!(shown[same], sent[same], "{same}");
    }
    assert_eq!(shown["body"], "Grüße");
    assert_eq!(shown["tag"], "A");
    assert_eq!(shown["keys"], "k1 k2");
    assert_eq!(shown["properties"]["colour"], "red=1");

    let lines = cluster.lines(&["consume", "shop"], b"");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].ends_with("tag A  keys k1 k2  Grüße"), "{lines:?}");
}

#[test]
fn each_line_of_standard_input_is_a_message() {
    let cluster = Cluster::start();
    let sent = cluster.lines(&["send", "lines", "-"], b"one\r\n\ntwo\n\xff\x00");
    assert_eq!(sent.len(), 3);
    let shown = cluster.json(&["consume", "lines"], b"");
    let bodies: BTreeSet<_> = shown
        .iter()
        .map(|message| (message["body"].as_str(), message["bodyBase64"].as_str()))
        .collect();
    let wanted = [
        (Some("one"), None),
        (Some("two"), None),
        (None, Some("/wA=")),
    ];
    assert_eq!(bodies, BTreeSet::from(wanted));
}

#[test]
fn messages_are_spread_over_the_queues_and_shown_in_the_order_of_storing() {
    let cluster = Cluster::start();
    let input: String = (0..200)
        .map(|number| format!("message {number:03}\n"))
        .collect();
    let sent = cluster.json(&["send", "spread"], input.as_bytes());
    let queues: BTreeSet<_> = sent.iter().map(|sent| sent["queueId"].as_i64()).collect();
    assert_eq!(queues.len(), 4);
    let shown = cluster.json(&["consume", "spread"], b"");
    assert_eq!(shown.len(), 200);
    let times: Vec<_> = shown
        .iter()
        .map(|message| message["storeTimestamp"].as_i64())
        .collect();
    assert!(times.is_sorted());
}

#[test]
fn what_is_shown_can_be_chosen() {
    let cluster = Cluster::start();
    cluster.lines(&["send", "chosen", "a", "--tag", "A"], b"");
    cluster.lines(&["send", "chosen", "b", "--tag", "B"], b"");
    cluster.lines(&["send", "chosen", "plain", "--count", "3"], b"");
    assert_eq!(cluster.bodies(&["chosen", "--tag", "B"]), ["b"]);
    assert_eq!(
        cluster.bodies(&["chosen", "--tag", "A || B || C"]),
        ["a", "b"]
    );
    assert_eq!(cluster.bodies(&["chosen", "--count", "2"]), ["a", "b"]);
    assert_eq!(cluster.bodies(&["chosen", "--from", "last"]), [""; 0]);
    assert_eq!(cluster.bodies(&["chosen", "--from", "2000-01-01"]).len(), 5);
    assert_eq!(cluster.bodies(&["chosen", "--from", "2099-01-01"]), [""; 0]);
}

#[tokio::test]
async fn compressed_bodies_are_shown_plain() {
    let cluster = Cluster::start();
    let client = Client::connect(&cluster.server.broker).await;
    let body = "compress me, ".repeat(1000);
    for (queue, compression) in [
        CompressionType::Zlib,
        CompressionType::Lz4,
        CompressionType::Zstd,
    ]
    .into_iter()
    .enumerate()
    {
        let header = SendMessageRequestV2 {
            sys_flag: sys_flag::message::COMPRESSED | compression.sys_flag_bits(),
            ..message("packed", queue as i32, "")
        };
        let packed = compression
            .compress(body.as_bytes(), 5)
            .expect("it compresses");
        expect(
            &client.ask::<SendMessageV2>(&header, packed).await,
            ResponseCode::Success,
        );
    }
    assert_eq!(cluster.bodies(&["packed"]), [&body[..]; 3]);
}

#[tokio::test]
async fn reading_without_a_group_leaves_no_trace() {
    let cluster = Cluster::start();
    let client = Client::with(
        &cluster.server.broker,
        SerializeType::RocketMq,
        HandlerTable::new(),
    )
    .await;
    for queue in 0..4 {
        client.send("untouched", queue, "body").await;
    }
    assert_eq!(cluster.bodies(&["untouched"]).len(), 4);
    let request = QueryConsumerOffsetRequest {
        consumer_group: Cow::Borrowed(TOOLS_CONSUMER_GROUP),
        topic: Cow::Borrowed("untouched"),
        queue_id: 0,
        set_zero_if_not_found: Some(false),
        ..QueryConsumerOffsetRequest::default()
    };
    let answer = client.ask::<QueryConsumerOffset>(&request, "").await;
    expect(&answer, ResponseCode::QueryNotFound);
}

#[test]
fn a_group_goes_on_where_it_was() {
    let cluster = Cluster::start();
    cluster.lines(&["send", "work", "first", "--count", "10"], b"");
    assert_eq!(cluster.bodies(&["work", "--group", "workers"]).len(), 10);
    assert_eq!(cluster.bodies(&["work", "--group", "workers"]), [""; 0]);
    cluster.lines(&["send", "work", "second"], b"");
    assert_eq!(cluster.bodies(&["work", "--group", "workers"]), ["second"]);
    // Another group has its own place, and what is not shown is not consumed.
    assert_eq!(
        cluster
            .bodies(&["work", "--group", "others", "--count", "4"])
            .len(),
        4
    );
    assert_eq!(cluster.bodies(&["work", "--group", "others"]).len(), 7);
    // Where it has never been it begins as it is told.
    assert_eq!(
        cluster.bodies(&["work", "--group", "late", "--from", "last"]),
        [""; 0]
    );
    cluster.lines(&["send", "work", "third"], b"");
    assert_eq!(cluster.bodies(&["work", "--group", "late"]), ["third"]);
}

#[tokio::test]
async fn a_group_goes_on_where_it_was_after_a_restart_of_the_server() {
    let cluster = Cluster::start();
    cluster.lines(&["send", "kept", "before", "--count", "5"], b"");
    assert_eq!(cluster.bodies(&["kept", "--group", "keepers"]).len(), 5);
    assert_eq!(cluster.server.end(Signal::TERM).await, Some(0));
    let server = Server::cluster(cluster.dir.path(), "");
    let cluster = Cluster {
        dir: cluster.dir,
        server,
    };
    cluster.lines(&["send", "kept", "after"], b"");
    assert_eq!(cluster.bodies(&["kept", "--group", "keepers"]), ["after"]);
    assert_eq!(cluster.bodies(&["kept"]).len(), 6);
}

/// An offset that an administrator has set is respected, and the offsets that are committed are
/// those of the messages shown.
#[tokio::test]
async fn a_group_begins_at_its_offset() {
    let cluster = Cluster::start();
    let client = Client::connect(&cluster.server.broker).await;
    let topic = CreateTopicRequest {
        topic: Cow::Borrowed("single"),
        default_topic: Cow::Borrowed("TBW102"),
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: 6,
        topic_filter_type: Cow::Borrowed("SINGLE_TAG"),
        ..CreateTopicRequest::default()
    };
    expect(
        &client.ask::<UpdateAndCreateTopic>(&topic, "").await,
        ResponseCode::Success,
    );
    for body in ["zero", "one", "two"] {
        client.send("single", 0, body).await;
    }
    // The group is known once it has pulled.
    expect(
        &client
            .ask::<PullMessage>(&pull("set", "single", 0, 0), "")
            .await,
        ResponseCode::Success,
    );
    let offset = UpdateConsumerOffsetRequest {
        consumer_group: Cow::Borrowed("set"),
        topic: Cow::Borrowed("single"),
        commit_offset: 1,
        ..UpdateConsumerOffsetRequest::default()
    };
    expect(
        &client.ask::<UpdateConsumerOffset>(&offset, "").await,
        ResponseCode::Success,
    );
    assert_eq!(
        cluster.bodies(&["single", "--group", "set", "--count", "1"]),
        ["one"]
    );
    assert_eq!(cluster.bodies(&["single", "--group", "set"]), ["two"]);
}

/// A running `kerolox consume --follow`; killed when dropped.
struct Follower {
    child: Child,
    messages: mpsc::Receiver<Value>,
}

impl Follower {
    fn start(cluster: &Cluster, arguments: &[&str]) -> Follower {
        let arguments = [&["consume", "--follow", "--output", "json"], arguments].concat();
        let mut child = cluster
            .program(&arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (into, messages) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines() {
                let message = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
                if into.send(message).is_err() {
                    break;
                }
            }
        });
        Follower { child, messages }
    }

    /// The body of the next message.
    fn next(&self) -> String {
        let message = self.messages.recv_timeout(TIMEOUT).expect("a message");
        string(&message, "body")
    }

    /// Ends it in good order; the bodies that it has shown since the last look.
    fn end(mut self, signal: Signal) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        assert!(self.child.wait().expect("it ends").success());
        self.messages
            .iter()
            .map(|message| string(&message, "body"))
            .collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn following_shows_what_comes_until_a_signal() {
    let cluster = Cluster::start();
    for (signal, options) in [
        (Signal::INT, &["live"][..]),
        (Signal::TERM, &["busy", "--group", "followers"]),
    ] {
        cluster.lines(&["send", options[0], "before"], b"");
        let follower = Follower::start(&cluster, options);
        assert_eq!(follower.next(), "before");
        cluster.lines(&["send", options[0], "after"], b"");
        assert_eq!(follower.next(), "after");
        assert_eq!(follower.end(signal), [""; 0]);
    }
    // What was shown was committed on leaving.
    cluster.lines(&["send", "busy", "later"], b"");
    assert_eq!(cluster.bodies(&["busy", "--group", "followers"]), ["later"]);
}

#[test]
fn following_ends_when_nobody_reads_on() {
    let cluster = Cluster::start();
    cluster.lines(&["send", "pipe", "one"], b"");
    let mut child = cluster
        .program(&["consume", "pipe", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut String::new()).expect("a message");
    drop(out);
    let deadline = Instant::now() + TIMEOUT;
    let status = loop {
        cluster.lines(&["send", "pipe", "more"], b"");
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break status;
        }
        assert!(Instant::now() < deadline, "it goes on and on");
    };
    assert!(status.success());
}

/// A batch of messages with keys of their own.
fn batch(count: usize) -> Bytes {
    let mut batch = BytesMut::new();
    for number in 0..count {
        let body = format!("inner {number}");
        let properties = format!("KEYS\u{1}key{number}\u{2}");
        let message = BatchMessage {
            flag: 0,
            body: body.as_bytes(),
            properties: properties.as_bytes(),
        };
        message.encode_into(&mut batch).expect("a batch");
    }
    batch.freeze()
}

/// Makes the topic `batches`, and sends it a batch of three with an id; the answer.
async fn send_batch_to(client: &Client, attributes: &str) -> Frame {
    let topic = CreateTopicRequest {
        topic: Cow::Borrowed("batches"),
        default_topic: Cow::Borrowed("TBW102"),
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: 6,
        topic_filter_type: Cow::Borrowed("SINGLE_TAG"),
        attributes: Some(Cow::Borrowed(attributes)),
        ..CreateTopicRequest::default()
    };
    let created = client.ask::<UpdateAndCreateTopic>(&topic, "").await;
    expect(&created, ResponseCode::Success);
    let with_id = message("batches", 0, "UNIQ_KEY\u{1}id\u{2}");
    let answer = client.ask::<SendBatchMessage>(&with_id, batch(3)).await;
    expect(&answer, ResponseCode::Success);
    answer
}

/// Where the last message of each key is kept, each message of a batch has a record of its own.
#[tokio::test]
async fn a_batch_for_a_compacted_topic_is_taken_apart() {
    let cluster = Cluster::start();
    let client = Client::connect(&cluster.server.broker).await;
    let answer = send_batch_to(&client, "+queue.type=BatchCQ,+cleanup.policy=COMPACTION").await;
    let stored: SendMessageResponse<'_> = answer.header().expect("a header");
    assert_eq!((stored.queue_offset, &stored.batch_uniq_id), (0, &None));
    assert_eq!(stored.msg_id.split(',').count(), 3);
}

/// Batches of a topic with batch queues are one record each, and messages to everybody.
#[tokio::test]
async fn a_batch_kept_as_one_record_is_shown_message_by_message() {
    let cluster = Cluster::start();
    let client = Client::connect(&cluster.server.broker).await;
    let answer = send_batch_to(&client, "+queue.type=BatchCQ").await;
    let stored: SendMessageResponse<'_> = answer.header().expect("a header");
    assert_eq!(
        (stored.queue_offset, stored.batch_uniq_id.as_deref()),
        (0, Some("id"))
    );
    let first = OffsetMessageId::decode(&stored.msg_id).expect("one id");
    assert_eq!(client.send("batches", 0, "alone").await, 3);
    // Clients that give a batch no id do not unwrap one either.
    let without_id = message("batches", 0, "");
    let answer = client.ask::<SendBatchMessage>(&without_id, batch(2)).await;
    let stored: SendMessageResponse<'_> = answer.header().expect("a header");
    assert_eq!((stored.queue_offset, &stored.batch_uniq_id), (4, &None));
    assert_eq!(stored.msg_id.split(',').count(), 2);

    // Only a batch may say that it is one.
    let forged = message("batches", 0, "INNER_NUM\u{1}9\u{2}");
    let answer = client.ask::<SendMessageV2>(&forged, "body").await;
    expect(&answer, ResponseCode::MessageIllegal);
    let mut flagged = message("elsewhere", 0, "INNER_NUM\u{1}2\u{2}");
    flagged.sys_flag = sys_flag::message::INNER_BATCH;
    let answer = client.ask::<SendMessageV2>(&flagged, batch(2)).await;
    expect(&answer, ResponseCode::MessageIllegal);
    // One message of a batch does not come back as the whole of it.
    let back = ConsumerSendMsgBackRequest {
        offset: first.offset,
        group: Cow::Borrowed("team"),
        delay_level: 1,
        ..ConsumerSendMsgBackRequest::default()
    };
    let answer = client.ask::<ConsumerSendMsgBack>(&back, "").await;
    expect(&answer, ResponseCode::SystemError);

    // Who waits for the next message gets the batch that brings it.
    let mut next = pull("team", "batches", 0, 6);
    next.sys_flag |= sys_flag::pull::SUSPEND;
    next.suspend_timeout_millis = TIMEOUT.as_millis() as i64;
    let waiting = client
        .start::<PullMessage>(&next, "")
        .expect("a connection");
    let with_id = message("batches", 0, "UNIQ_KEY\u{1}id\u{2}");
    let answer = client.ask::<SendBatchMessage>(&with_id, batch(4)).await;
    expect(&answer, ResponseCode::Success);
    let got = waiting.wait(TIMEOUT).await.expect("an answer");
    expect(&got, ResponseCode::Success);
    let header: PullMessageResponse = got.header().expect("a header");
    assert_eq!((header.next_begin_offset, header.max_offset), (10, 10));

    let entries = QueryConsumeQueueRequest {
        topic: Some(Cow::Borrowed("batches")),
        count: 100,
        ..QueryConsumeQueueRequest::default()
    };
    let answer = client.ask::<QueryConsumeQueue>(&entries, "").await;
    let answer: QueryConsumeQueueResponseBody = json::read(&answer.body).expect("JSON");
    assert_eq!((answer.max_queue_index, answer.queue_data.len()), (10, 5));

    let shown = cluster.json(&["consume", "batches"], b"");
    let shown: Vec<(i64, String)> = shown
        .iter()
        .map(|message| {
            let offset = message["queueOffset"].as_i64().expect("an offset");
            (offset, string(message, "body"))
        })
        .collect();
    let bodies = [
        "inner 0", "inner 1", "inner 2", "alone", "inner 0", "inner 1", "inner 0", "inner 1",
        "inner 2", "inner 3",
    ];
    let expected: Vec<(i64, String)> = (0..).zip(bodies.map(str::to_owned)).collect();
    assert_eq!(shown, expected);
}

/// Two members get messages; when one leaves the other one gets them all; none is lost.
#[test]
fn the_members_of_a_group_share_its_queues() {
    let cluster = Cluster::start();
    let mut sent = BTreeSet::new();
    let mut send = |body: String| {
        cluster.lines(&["send", "shared", &body], b"");
        sent.insert(body);
    };
    send("begin".to_owned());
    let first = Follower::start(&cluster, &["shared", "--group", "team"]);
    let mut shown = BTreeSet::from([first.next()]);
    let second = Follower::start(&cluster, &["shared", "--group", "team"]);
    let deadline = Instant::now() + TIMEOUT;
    let mut of_second = 0;
    for number in 0.. {
        assert!(Instant::now() < deadline, "the queues are never shared");
        send(format!("message {number}"));
        shown.extend(
            first
                .messages
                .try_iter()
                .map(|message| string(&message, "body")),
        );
        for message in second.messages.try_iter() {
            shown.insert(string(&message, "body"));
            of_second += 1;
        }
        if of_second >= 4 {
            break;
        }
    }
    shown.extend(second.end(Signal::INT));
    for number in 0..8 {
        send(format!("after {number}"));
    }
    let mut left = 8;
    while left > 0 {
        let body = first.next();
        left -= usize::from(body.starts_with("after ") && shown.insert(body.clone()));
        shown.insert(body);
    }
    shown.extend(first.end(Signal::INT));
    assert_eq!(shown, sent);
}

#[test]
fn errors_are_one_clear_sentence() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its number");
    let nowhere = format!("--name-server={closed}");
    let failed = |arguments: &[&str], code: i32| -> String {
        let Output { status, stderr, .. } = program(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        assert_eq!(
            status.code(),
            Some(code),
            "{arguments:?}: {}",
            text(&stderr)
        );
        text(&stderr).to_owned()
    };
    for command in [
        &["send", "t", "body"][..],
        &["consume", "t"],
        &["consume", "t", "-g", "g"],
    ] {
        let error = failed(&[command, &[&nowhere]].concat(), 1);
        let wanted = format!("kerolox: the name server at {closed} cannot be reached");
        assert!(
            error.starts_with(&wanted) && error.contains("is it running?"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for (arguments, named) in [
        (&["send", "no topic", "body"][..], "no topic"),
        (&["send", "t", "body", "--property", "KEYS=1"], "KEYS"),
        (&["send", "t", "body", "--property", "colour"], "NAME=VALUE"),
        (&["send", "t", "--count", "2"], "--count"),
        (&["send", "t", ""], "empty"),
        (&["consume", "t", "--group", "no group"], "no group"),
        (&["consume", "t", "--from", "yesterday"], "yesterday"),
        (&["consume", "t", "--tag", "||"], "||"),
        (&["consume", "t", "--count", "0"], "--count"),
    ] {
        let error = failed(arguments, 2);
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
    let cluster = Cluster::start();
    let there = format!("--name-server={}", cluster.server.name_server);
    let error = failed(&["consume", "absent", &there], 1);
    assert!(error.contains("no broker has the topic absent"), "{error}");
    for (address, wrong) in [
        (&*cluster.server.broker, "is no name server"),
        ("nowhere", "is not of the form host:port"),
    ] {
        let error = failed(&["consume", "t", "--name-server", address], 1);
        assert!(error.contains(wrong), "{error}");
    }
}
