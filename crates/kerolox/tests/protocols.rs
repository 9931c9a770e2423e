//! Each protocol with each other: what is sent by one is consumed by all.

mod server;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command as Program;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use server::{Client, Server, TIMEOUT, expect, pull};
use wire::code::ResponseCode;
use wire::command::PullMessage;
use wire::header::pull::PullMessageRequest;
use wire::message::sys_flag::pull as pull_flag;

/// What stands in front of `host:port` to have a client speak a protocol.
const SCHEMES: [&str; 6] = ["", "tls://", "ws://", "wss://", "h2://", "h2s://"];

const TOPIC: &str = "between_protocols";

/// What a command of the binary prints.
fn run(arguments: &[&str]) -> String {
    let output = Program::new(env!("CARGO_BIN_EXE_kerolox"))
        .args(arguments)
        .env_remove("NAMESRV_ADDR")
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Posts to a path of the broker by HTTP/1.1; head and body of the answer.
fn post(broker: &str, path: &str, kind: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(broker).expect("a connection");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {broker}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    (head.to_ascii_lowercase(), body.to_owned())
}

/// Calls a command of the broker as JSON; the answer.
fn call(broker: &str, command: &str, call: &Value) -> Value {
    let path = format!("/v1/commands/{command}");
    let (_, body) = post(broker, &path, "application/json", &call.to_string());
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn what_one_protocol_sends_every_protocol_consumes() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let name_server = |scheme| format!("{scheme}{}", server.name_server);

    let mut sent = BTreeSet::new();
    for scheme in SCHEMES {
        let body = format!("by {scheme}");
        run(&["send", "-n", &name_server(scheme), TOPIC, &body]);
        sent.insert(body);
    }
    let send = json!({
        "extFields": {
            "producerGroup": "g", "topic": TOPIC, "defaultTopic": "TBW102",
            "defaultTopicQueueNums": 4, "queueId": 0, "sysFlag": 0, "flag": 0, "bornTimestamp": 0,
        },
        "body": "by JSON",
    });
    let answer = call(&server.broker, "SEND_MESSAGE", &send);
    assert_eq!(answer["name"], "SUCCESS", "{answer}");
    sent.insert("by JSON".to_owned());

    for scheme in SCHEMES {
        let read = run(&[
            "consume",
            "-n",
            &name_server(scheme),
            TOPIC,
            "--output",
            "json",
        ]);
        let body = |line: &str| {
            let message: Value = serde_json::from_str(line).expect("JSON");
            message["body"].as_str().expect("text").to_owned()
        };
        let read: BTreeSet<_> = read.lines().map(body).collect();
        assert_eq!(read, sent, "by {scheme:?}");
    }

    let mut stored = Vec::new();
    for queue in 0..4 {
        let pull = json!({
            "extFields": {
                "consumerGroup": "g", "topic": TOPIC, "queueId": queue, "queueOffset": 0,
                "maxMsgNums": 32, "sysFlag": 4, "commitOffset": 0, "suspendTimeoutMillis": 0,
                "subscription": "*", "subVersion": 0, "expressionType": "TAG",
            },
        });
        let answer = call(&server.broker, "PULL_MESSAGE", &pull);
        let records = answer["bodyBase64"].as_str().unwrap_or_default();
        let records = STANDARD.decode(records);
        stored.extend(records.expect("base64"));
    }
    let stored = String::from_utf8_lossy(&stored);
    assert!(
        sent.iter().all(|body| stored.contains(body.as_str())),
        "{stored}"
    );
}

#[tokio::test]
async fn a_waiting_consumer_of_every_protocol_gets_what_any_sends() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let mut clients = Vec::new();
    for scheme in SCHEMES {
        clients.push(Client::connect(&format!("{scheme}{}", server.broker)).await);
    }
    let mut next = clients[0].send(TOPIC, 0, "the first").await + 1;
    for sending in &clients {
        let hold = PullMessageRequest {
            sys_flag: pull_flag::SUBSCRIPTION | pull_flag::SUSPEND,
            suspend_timeout_millis: TIMEOUT.as_millis() as i64,
            ..pull("g", TOPIC, 0, next)
        };
        let start = |client: &Client| client.start::<PullMessage>(&hold, "").expect("it is open");
        let waiting: Vec<_> = clients.iter().map(start).collect();
        sending.send(TOPIC, 0, "awaited").await;
        for pulled in waiting {
            let pulled = pulled.wait(TIMEOUT).await.expect("an answer");
            expect(&pulled, ResponseCode::Success);
            assert!(pulled.body.windows(7).any(|it| it == b"awaited"));
        }
        next += 1;
    }
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

#[test]
fn the_broker_s_port_serves_the_grpc_api_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let path = "/apache.rocketmq.v2.MessagingService/QueryRoute";
    // One message of no bytes, from a client that does not say who it is.
    let (head, body) = post(&server.broker, path, "application/grpc", "\0\0\0\0\0");
    assert!(head.contains("content-type: application/grpc"), "{head}");
    assert!(body.contains("client id cannot be empty"), "{body}");
}
