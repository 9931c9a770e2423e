//! Messages of the gRPC API against a session of the Java client 5.0.8 with the reference's proxy.

use std::collections::BTreeSet;
use std::fmt::Debug;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use wire::grpc::rpc::{self, Rpc, SERVICE_PATH};
use wire::grpc::{Command, PubSub, Received, *};

extern crate kerolox_wire as wire;

/// A message of the session.
struct Golden {
    rpc: String,
    from_client: bool,
    kind: String,
    bytes: Vec<u8>,
    json: Value,
}

fn golden() -> Vec<Golden> {
    let text = include_str!("data/grpc.messages.jsonl");
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("golden data is JSON");
        let text = |field: &str| value[field].as_str().expect("a text").to_owned();
        Golden {
            rpc: text("path")
                .strip_prefix(SERVICE_PATH)
                .expect("a call of the service")
                .to_owned(),
            from_client: text("from") == "client",
            kind: text("type"),
            bytes: STANDARD.decode(text("message_b64")).expect("base64"),
            json: value["json"].clone(),
        }
    };
    text.lines().map(line).collect()
}

/// What a message's bytes are when they are written again, which must read as the same.
fn rewrite<M: prost::Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Vec<u8> {
    let message = M::decode(bytes).expect("a message");
    let written = message.encode_to_vec();
    assert_eq!(M::decode(&*written).expect("a message"), message);
    written
}

macro_rules! rewrite_by_name {
    ($golden:expr; $($rpc:ident),*) => {
        match $golden.rpc.as_str() {
            $(
                rpc::$rpc::NAME if $golden.from_client => {
                    rewrite::<<rpc::$rpc as Rpc>::Request>(&$golden.bytes)
                }
                rpc::$rpc::NAME => rewrite::<<rpc::$rpc as Rpc>::Response>(&$golden.bytes),
            )*
            other => panic!("no call is named {other}"),
        }
    };
}

/// A message's bytes whatever the order of its properties, which protobuf leaves open.
fn without_order(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.sort_unstable();
    bytes
}

#[test]
fn every_message_of_the_session_is_written_as_it_was_read() {
    let mut kinds = BTreeSet::new();
    for golden in golden() {
        let written = rewrite_by_name!(golden; QueryRoute, Heartbeat, SendMessage,
            QueryAssignment, ReceiveMessage, AckMessage, EndTransaction, Telemetry,
            NotifyClientTermination, ChangeInvisibleDuration, RecallMessage);
        let (written, read) = (without_order(written), without_order(golden.bytes));
        assert_eq!(written, read, "{}: {}", golden.kind, golden.json);
        kinds.insert(golden.kind);
    }
    assert_eq!(kinds.len(), 21);
}

/// The first message of a kind whose JSON form has a field.
fn first<M: prost::Message + Default>(kind: &str, pointer: &str) -> (M, Value) {
    let found = golden()
        .into_iter()
        .find(|golden| golden.kind == kind && golden.json.pointer(pointer).is_some())
        .expect("the session has such a message");
    let message = M::decode(&*found.bytes).expect("a message");
    (message, found.json)
}

#[test]
fn a_sent_message_has_its_fields() {
    let (request, json) = first::<SendMessageRequest>(
        "SendMessageRequest",
        "/messages/0/systemProperties/messageGroup",
    );
    let [message] = &request.messages[..] else {
        panic!("one message is sent at a time")
    };
    let (json, system) = (&json["messages"][0], message.system_properties.as_ref());
    let system = system.expect("system properties");
    let expected = &json["systemProperties"];
    assert_eq!(message.topic, Some(Resource::named("cap-order")));
    assert_eq!(message.user_properties["p"], "vé");
    assert_eq!(system.tag.as_deref(), expected["tag"].as_str());
    assert_eq!(system.keys, ["go-0"]);
    assert_eq!(system.message_id, expected["messageId"].as_str().unwrap());
    assert_eq!(system.message_type(), MessageType::Fifo);
    assert_eq!(system.body_encoding(), Encoding::Identity);
    assert_eq!(
        system.message_group.as_deref(),
        expected["messageGroup"].as_str()
    );
    assert_eq!(system.born_host, expected["bornHost"].as_str().unwrap());
    assert_eq!(
        STANDARD.encode(&message.body),
        json["body"].as_str().unwrap()
    );
}

#[test]
fn a_received_message_has_its_fields() {
    let (response, json) = first::<ReceiveMessageResponse>("ReceiveMessageResponse", "/message");
    let Some(Received::Message(message)) = response.content else {
        panic!("a message is received")
    };
    let system = message.system_properties.expect("system properties");
    let expected = &json["message"]["systemProperties"];
    let digest = system.body_digest.as_ref().expect("a digest");
    assert_eq!(digest.r#type(), DigestType::Md5);
    assert_eq!(
        digest.checksum,
        expected["bodyDigest"]["checksum"].as_str().unwrap()
    );
    assert_eq!(system.store_host, expected["storeHost"].as_str().unwrap());
    assert_eq!(
        system.receipt_handle.as_deref(),
        expected["receiptHandle"].as_str()
    );
    assert_eq!(
        system.queue_id,
        expected["queueId"].as_i64().unwrap_or(0) as i32
    );
    let offset = system.queue_offset.expect("an offset").to_string();
    assert_eq!(offset, expected["queueOffset"].as_str().unwrap());
    assert_eq!(system.delivery_attempt, Some(1));
    let stored = system.store_timestamp.expect("a time").to_millis() % 1000;
    let fraction = expected["storeTimestamp"].as_str().unwrap();
    assert!(
        fraction.contains(&format!(".{stored:03}Z")),
        "{fraction} is not {stored} ms"
    );
}

#[test]
fn settings_have_their_fields() {
    let (command, json) = first::<TelemetryCommand>("TelemetryCommand", "/settings/subscription");
    let Some(Command::Settings(settings)) = command.command else {
        panic!("the command is settings")
    };
    let Some(PubSub::Subscription(subscription)) = &settings.pub_sub else {
        panic!("a consumer subscribes")
    };
    assert_eq!(settings.client_type(), ClientType::SimpleConsumer);
    assert_eq!(subscription.group, Some(Resource::named("cap-g-grpc")));
    let entry = &subscription.subscriptions[0];
    let expression = entry.expression.as_ref().expect("an expression");
    let expected = &json["settings"]["subscription"]["subscriptions"][0];
    assert_eq!(expression.r#type(), FilterType::Tag);
    assert_eq!(
        expression.expression,
        expected["expression"]["expression"].as_str().unwrap()
    );
    let agent = settings.user_agent.as_ref().expect("a user agent");
    assert_eq!(
        (agent.language(), agent.version.as_str()),
        (ClientLanguage::Java, "5.0.8")
    );
}

#[test]
fn a_status_stands_where_every_answer_has_it() {
    let (answer, _) = first::<StatusOnly>("QueryRouteResponse", "/status/message");
    assert_eq!(answer.status.map(|status| status.code()), Some(Code::Ok));
    let (answer, json) = first::<StatusOnly>("ReceiveMessageResponse", "/status");
    let status = answer.status.expect("a status");
    assert_eq!(status.message, json["status"]["message"].as_str().unwrap());
}

#[test]
fn times_are_whole_below_zero_too() {
    let before = Timestamp::from_millis(-1);
    assert_eq!(
        (before.seconds, before.nanos, before.to_millis()),
        (-1, 999_000_000, -1)
    );
    let back = Duration::from_millis(-1500);
    assert_eq!(
        (back.seconds, back.nanos, back.to_millis()),
        (-1, -500_000_000, -1500)
    );
    let far = Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    };
    assert_eq!(far.to_millis(), i64::MAX);
}
