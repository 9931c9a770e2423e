//! Each protocol with each other: what is sent by one is consumed by all. And which of them a client
//! speaks.

mod server;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command as Program, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use server::{Client, Server, TIMEOUT, expect, pull};
use wire::code::ResponseCode;
use wire::command::PullMessage;
use wire::grpc::{
    Encoding, Message, MessageType, Resource, SendMessageRequest, SystemProperties, Timestamp,
};
use wire::header::pull::PullMessageRequest;
use wire::message::sys_flag::pull as pull_flag;

/// What stands in front of `host:port` to have a client speak a protocol.
const SCHEMES: [&str; 6] = ["", "tls://", "ws://", "wss://", "h2://", "h2s://"];

const TOPIC: &str = "between_protocols";

/// The binary with these arguments.
fn program(arguments: &[&str]) -> Program {
    let mut program = Program::new(env!("CARGO_BIN_EXE_kerolox"));
    program
        .args(arguments)
        .env_remove("NAMESRV_ADDR")
        .env_remove("KEROLOX_CLIENT_CONFIG");
    program
}

/// What came of a command of the binary.
fn outcome(arguments: &[&str]) -> Output {
    program(arguments).output().expect("the binary runs")
}

/// What a command of the binary prints.
fn run(arguments: &[&str]) -> String {
    let output = outcome(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What it tells on standard error, and whether it succeeds.
fn told(arguments: &[&str]) -> (bool, String) {
    let output = outcome(arguments);
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    (output.status.success(), told)
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

/// How a command of a broker is called as JSON: its address, the command's name, the call.
type Call = fn(&str, &str, &Value) -> Value;

/// Calls a command of the broker as JSON; the answer.
fn call(broker: &str, command: &str, call: &Value) -> Value {
    let path = format!("/v1/commands/{command}");
    let (_, body) = post(broker, &path, "application/json", &call.to_string());
    serde_json::from_str(&body).expect("JSON")
}

/// Posts to a path of a server as hyper's client does, over HTTP/2; the body of the answer.
#[tokio::main(flavor = "current_thread")]
async fn post_by_hyper(server: &str, path: &str, kind: &str, body: Vec<u8>) -> Bytes {
    let stream = tokio::net::TcpStream::connect(server);
    let stream = TokioIo::new(stream.await.expect("a connection"));
    let handshake = http2::handshake(TokioExecutor::new(), stream);
    let (mut client, connection) = handshake.await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::post(format!("http://{server}{path}"))
        .header("content-type", kind)
        .header("x-mq-client-id", "hyper")
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let answer = client.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.expect("a whole body");
    body.to_bytes()
}

/// The same as `call`, by hyper's client.
fn call_by_hyper(broker: &str, command: &str, call: &Value) -> Value {
    let path = format!("/v1/commands/{command}");
    let body = post_by_hyper(broker, &path, "application/json", call.to_string().into());
    serde_json::from_slice(&body).expect("JSON")
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
    let by_http: [(_, Call); 2] = [("by JSON", call), ("by hyper", call_by_hyper)];
    for (body, call) in by_http {
        let send = json!({
            "extFields": {
                "producerGroup": "g", "topic": TOPIC, "defaultTopic": "TBW102",
                "defaultTopicQueueNums": 4, "queueId": 0, "sysFlag": 0, "flag": 0,
                "bornTimestamp": 0,
            },
            "body": body,
        });
        let answer = call(&server.broker, "SEND_MESSAGE", &send);
        assert_eq!(answer["name"], "SUCCESS", "{answer}");
        sent.insert(body.to_owned());
    }

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

    for (_, call) in by_http {
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
}

#[tokio::test]
async fn a_waiting_consumer_of_every_protocol_gets_what_any_sends() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = format!("unix:{}", dir.path().join("broker.sock").display());
    let server = Server::cluster(dir.path(), &format!("kerolox.listeners={socket}\n"));
    let mut clients = vec![Client::connect(&socket).await];
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

/// A role of the binary that takes a free port of this machine and has this configuration.
fn role(dir: &Path, name: &str, configuration: &str) -> Server {
    let file = dir.join(name).with_extension("conf");
    let port = "bindAddress=127.0.0.1\nlistenPort=0\n";
    fs::write(&file, format!("{port}{configuration}")).expect("a configuration file");
    Server::run(&[name, "-c", &file.to_string_lossy()], dir)
}

/// A name server and a broker that take nothing but TLS and Unix sockets, and find each other by
/// `name_server`, an address that begins with a scheme, or the socket.
fn guarded_cluster(dir: &Path, scheme: &str) -> (Server, Server, String) {
    let socket = dir.join("name_server.sock");
    let name_server = role(
        dir,
        "nameserver",
        &format!(
            "tls.server.mode=enforcing\nkerolox.listeners=unix:{}\nkvConfigPath={}\n",
            socket.display(),
            dir.join("kv.json").display()
        ),
    );
    let address = match scheme {
        "unix:" => format!("unix:{}", socket.display()),
        scheme => format!("{scheme}{}", name_server.name_server),
    };
    let broker = role(
        dir,
        "broker",
        &format!(
            "tls.server.mode=enforcing\nbrokerIP1=127.0.0.1\nnamesrvAddr={address}\nstorePathRootDir={}\n",
            dir.join("store").display()
        ),
    );
    (name_server, broker, address)
}

/// Sends by a proxy's gRPC API.
fn send_by_grpc(proxy: &str, topic: &str, body: &str) {
    let message = Message {
        topic: Some(Resource::named(topic)),
        system_properties: Some(SystemProperties {
            message_id: "0123".to_owned(),
            body_encoding: Encoding::Identity as i32,
            message_type: MessageType::Normal as i32,
            born_timestamp: Some(Timestamp::from_millis(1000)),
            ..SystemProperties::default()
        }),
        body: body.to_owned().into(),
        ..Message::default()
    };
    let request = SendMessageRequest {
        messages: vec![message],
    };
    let mut framed = vec![0; 5];
    request.encode(&mut framed).expect("room");
    framed[4] = u8::try_from(framed.len() - 5).expect("a short message");
    let path = "/apache.rocketmq.v2.MessagingService/SendMessage";
    let answer = post_by_hyper(proxy, path, "application/grpc", framed);
    assert!(answer.windows(2).any(|it| it == b"OK"), "{answer:?}");
}

#[test]
fn a_whole_cluster_speaks_what_its_addresses_name() {
    for scheme in ["tls://", "wss://", "h2s://"] {
        let dir = tempfile::tempdir().expect("a directory");
        let (_name_server, _broker, address) = guarded_cluster(dir.path(), scheme);
        run(&["send", "-n", &address, TOPIC, "by the command line"]);
        let proxy = role(
            dir.path(),
            "proxy",
            &format!("grpcServerPort=0\nnamesrvAddr={address}\n"),
        );
        send_by_grpc(&proxy.name_server, TOPIC, "by the proxy");
        let read = run(&["consume", "-n", &address, TOPIC]);
        assert!(read.contains("by the command line"), "{scheme}: {read}");
        assert!(read.contains("by the proxy"), "{scheme}: {read}");
    }
}

#[test]
fn a_name_server_is_found_by_its_unix_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_name_server, _broker, address) = guarded_cluster(dir.path(), "unix:");
    // The broker's address has no scheme.
    let (well, told) = told(&["send", "-n", &address, TOPIC, "in clear"]);
    assert!(!well && told.contains("is closed"), "{told}");
    let encrypted = ["-n", &address, "--set", "tls.enable=true"];
    run(&[&["send", TOPIC, "encrypted"], &encrypted[..]].concat());
    let read = run(&[&["consume", TOPIC], &encrypted[..]].concat());
    assert!(read.contains("encrypted"), "{read}");
}

#[test]
fn the_settings_of_a_broker_s_clients_are_those_of_the_whole_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = "tls.server.mode=enforcing\ntls.enable=true\nbrokerName=b\n";
    let server = Server::cluster(dir.path(), settings);
    let file = dir.path().join("client.properties");
    fs::write(&file, "tls.enable=true\n").expect("a file");
    let send = ["send", "-n", &server.name_server, TOPIC, "encrypted"];
    let (well, told) = told(&send);
    assert!(!well && told.contains("is closed"), "{told}");
    let sent = program(&send).env("KEROLOX_CLIENT_CONFIG", &file).status();
    assert!(sent.expect("the binary runs").success());
}

#[test]
fn a_client_that_falls_back_says_why_and_is_never_plain_behind_tls() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = "kerolox.protocols=remoting,http2\ntls.server.mode=disabled\n";
    let server = Server::cluster(dir.path(), settings);
    let send = |scheme: &str, settings: &[&str]| {
        let name_server = format!("{scheme}{}", server.name_server);
        let mut arguments = vec!["send", "-n", &name_server, TOPIC, "whatever it takes"];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        told(&arguments)
    };
    let downgrade = "kerolox.clientProtocol=downgrade";
    let protocols = "kerolox.clientProtocols=ws,tls,h2s,tcp";

    let (well, told) = send("ws://", &[]);
    assert!(!well, "{told}");
    let (well, told) = send("ws://", &[downgrade, "kerolox.clientProtocols=ws,tcp"]);
    assert!(well, "{told}");
    for words in ["WARN", "falls back", "protocol=\"tcp\"", "ws://127.0.0.1"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    for scheme in ["tls://", "ws://"] {
        let (well, told) = send(scheme, &[downgrade, protocols]);
        assert!(!well && !told.contains("falls back"), "{scheme}: {told}");
    }
    let plain = [downgrade, protocols, "kerolox.clientMayGoPlain=true"];
    let (well, told) = send("tls://", &plain);
    assert!(well && told.contains("protocol=\"tcp\""), "{told}");
}

#[test]
fn wrong_settings_of_a_client_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("client.properties");
    fs::write(&file, "tls.enable=maybe\n").expect("a file");
    let file = file.to_string_lossy();
    let wrong: [(&[&str], &str); 4] = [
        (&["--set", "tls.enabled=true"], "did you mean `tls.enable`?"),
        (&["--set", "tls.enable"], "write it as KEY=VALUE"),
        (&["--client-config", &file], "client.properties"),
        (&["--client-config", "/nowhere"], "/nowhere"),
    ];
    for (options, words) in wrong {
        let output = outcome(&[&["consume", TOPIC], options].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(words), "{options:?}: {told}");
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
}
