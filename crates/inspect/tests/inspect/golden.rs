//! The captures of the reference's clients and servers, beside what they are known to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use kerolox_inspect::view::json;
use kerolox_inspect::{Action, Client, Exchange, Follow, Happening, Options, Outcome, Side};
use serde_json::Value;

use crate::support::{capture, inspect, packets};

/// What tells one exchange from another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    connection: u64,
    from_server: bool,
    opaque: u64,
    code: Option<i64>,
    status: Option<i64>,
    oneway: bool,
    request_len: u64,
    response_len: u64,
}

impl Seen {
    fn of(exchange: &Exchange) -> Self {
        Self {
            connection: exchange.connection,
            from_server: exchange.asked_by == Side::Server,
            opaque: u64::from(exchange.id),
            code: exchange.command.code().map(i64::from),
            status: match exchange.outcome {
                Outcome::Answered(status) => Some(i64::from(status.code)),
                _ => None,
            },
            oneway: exchange.outcome == Outcome::Oneway,
            request_len: exchange.request_len,
            response_len: exchange.response_len,
        }
    }
}

fn lines(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(capture(name)).expect("a golden file");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// The exchanges that the known frames make.
fn known() -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    for frame in lines("remoting.frames.jsonl") {
        let number = |name: &str| frame[name].as_u64().expect(name);
        let from_server = frame["from"] == "server";
        if frame["kind"] == "response" {
            let request = seen.iter_mut().rev().find(|request| {
                request.connection == number("connection")
                    && request.from_server != from_server
                    && request.opaque == number("opaque")
            });
            let request = request.expect("a request before its response");
            request.status = frame["code"].as_i64();
            request.response_len = number("frame_len");
        } else {
            seen.push(Seen {
                connection: number("connection"),
                from_server,
                opaque: number("opaque"),
                code: frame["code"].as_i64(),
                status: None,
                oneway: frame["kind"] == "oneway",
                request_len: number("frame_len"),
                response_len: 0,
            });
        }
    }
    seen.sort();
    seen
}

#[test]
fn every_frame_of_the_remoting_capture_is_in_its_exchange() {
    let outcome = inspect(&packets("remoting.pcap"), Options::default());
    let mut seen: Vec<Seen> = outcome.exchanges.iter().map(Seen::of).collect();
    seen.sort();
    assert_eq!(outcome.inspector.counts().frames, 230);
    assert_eq!(outcome.notices, []);
    assert_eq!(seen, known());
}

#[test]
fn pulls_that_waited_for_messages_are_not_slow() {
    let outcome = inspect(&packets("remoting.pcap"), Options::default());
    let pulls = outcome
        .exchanges
        .iter()
        .filter(|one| one.action == Action::Pull);
    let long: Vec<&Exchange> = pulls
        .filter(|one| one.latency() > Some(Duration::from_secs(2)))
        .collect();
    assert!(!long.is_empty());
    for pull in long {
        assert!(
            pull.effort() < Some(Duration::from_millis(700)),
            "{}",
            json::line(pull)
        );
    }
}

/// A call: its connection, its stream, its method, and what the server said of it.
type Call = (u64, u64, String, Option<String>);

#[test]
fn every_call_of_the_grpc_capture_is_in_its_exchange() {
    let outcome = inspect(&packets("grpc.pcap"), Options::default());
    let mut known: BTreeMap<(u64, u64), Call> = BTreeMap::new();
    let mut telemetry = [0, 0];
    for event in lines("grpc.messages.jsonl") {
        let number = |name: &str| event[name].as_u64().expect(name);
        let key = (number("connection"), number("stream"));
        let path = event["path"].as_str().unwrap_or_default();
        let from_server = event["from"] == "server";
        if path.ends_with("Telemetry") {
            if event["event"] == "message" {
                telemetry[usize::from(from_server)] += 1;
            }
            continue;
        }
        if event["event"] == "headers" && !from_server {
            let method = path.rsplit('/').next().unwrap_or_default().to_owned();
            known.insert(key, (key.0, key.1, method, None));
        }
        let status = event["json"]["status"]["code"].as_str();
        if let (Some(call), Some(status), true) = (known.get_mut(&key), status, from_server) {
            call.3 = Some(status.to_owned());
        }
    }
    let calls = outcome
        .exchanges
        .iter()
        .filter(|one| one.command.to_string() != "Telemetry");
    let mut seen: Vec<Call> = calls
        .map(|one| {
            let status = match one.outcome {
                Outcome::Answered(status) => Some(status.name.to_owned()),
                _ => None,
            };
            (
                one.connection,
                u64::from(one.id),
                one.command.to_string(),
                status,
            )
        })
        .collect();
    seen.sort();
    assert_eq!(outcome.notices, []);
    assert_eq!(seen, known.into_values().collect::<Vec<_>>());
    let settings = outcome
        .exchanges
        .iter()
        .filter(|one| one.detail.as_deref() == Some("settings"));
    assert_eq!(settings.count(), telemetry[0]);
    let sent = outcome
        .exchanges
        .iter()
        .find(|one| one.command.to_string() == "SendMessage");
    let sent = sent.expect("a message was sent");
    let message = &sent.messages[0];
    assert!(sent.topic.is_some() && message.id.is_some() && message.offset.is_some());
}

#[test]
fn a_message_that_a_pull_waited_for_is_sent_before_it_is_delivered() {
    let outcome = inspect(&packets("remoting.pcap"), Options::default());
    let mut follow = Follow::new("20010DB800000000000000000000000A10E118B4AAC2699413920011");
    for exchange in &outcome.exchanges {
        follow.take(exchange);
    }
    let steps = follow.steps();
    let happenings: Vec<Happening> = steps.iter().map(|step| step.happening).collect();
    let expected = [Happening::Sent, Happening::Delivered, Happening::Committed];
    assert_eq!(happenings, expected);
    assert!(steps[1].exchange.timing.request.0 < steps[0].exchange.timing.request.0);
}

#[test]
fn clients_of_the_grpc_capture_are_there_until_they_leave() {
    let outcome = inspect(&packets("grpc.pcap"), Options::default());
    let clients: Vec<&Client> = outcome.inspector.sessions().clients().collect();
    assert_eq!(clients.len(), 4);
    assert_eq!(clients.iter().map(|one| one.heartbeats).sum::<u64>(), 11);
    for client in clients {
        assert!(
            client.left && client.producer_groups.is_empty(),
            "{client:?}"
        );
    }
}

#[test]
fn what_an_acknowledgement_or_a_lock_is_about_is_told() {
    let outcome = inspect(&packets("grpc.pcap"), Options::default());
    let (mut queues, mut topics) = (BTreeSet::new(), BTreeSet::new());
    for exchange in outcome.exchanges {
        if exchange.action == Action::Acknowledge {
            assert_eq!(exchange.queue_id, exchange.messages[0].queue_id);
            queues.insert(exchange.queue_id);
        }
    }
    assert_eq!(queues, BTreeSet::from([Some(0), Some(1)]));
    let outcome = inspect(&packets("remoting.pcap"), Options::default());
    for exchange in outcome.exchanges {
        if exchange.command.to_string().ends_with("LOCK_BATCH_MQ") {
            assert_eq!(exchange.group.as_deref(), Some("cap-g-order"));
            topics.insert(exchange.topic);
        }
    }
    assert_eq!(topics, BTreeSet::from([Some("cap-order".into())]));
}
