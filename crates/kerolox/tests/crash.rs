//! Nothing that was acknowledged is lost when the server is killed: it is found again exactly
//! where the sender was told, whole, in queues without gaps. What was not acknowledged is sent
//! again, and nothing else is found twice.
//!
//! `KEROLOX_ROUNDS` says how often the server is killed: `cargo xtask crash --black-box`.

mod random;
mod server;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use random::Random;
use rustix::process::{Pid, Signal, kill_process};
use server::{Client, Server, TIMEOUT, expect, message, pull};
use wire::body::json;
use wire::body::route::TopicRouteData;
use wire::body::topic::TopicConfigAndQueueMapping;
use wire::code::ResponseCode;
use wire::command::{
    GetMaxOffset, GetMinOffset, GetRouteInfoByTopic, GetTopicConfig, PullMessage, SendBatchMessage,
    SendMessageV2, ViewMessageById,
};
use wire::header::nameserver::GetRouteInfoRequest;
use wire::header::offset::{
    GetMaxOffsetRequest, GetMaxOffsetResponse, GetMinOffsetRequest, GetMinOffsetResponse,
};
use wire::header::pull::ViewMessageRequest;
use wire::header::send::SendMessageResponse;
use wire::header::topic::GetTopicConfigRequest;
use wire::message::body::{BatchMessage, Records};

/// Queues of every topic here.
const QUEUES: i32 = 4;
/// Requests that a sender has under way.
const WINDOW: usize = 64;
/// Small files, so that many are begun and left behind.
const FILES: &str = "mappedFileSizeCommitLog = 262144\nmappedFileSizeConsumeQueue = 2000\n";

/// Topic and queue id.
type Queue = (String, i32);

/// The body of message number `number`: nobody else's, and of a length of its own.
fn body(number: u64) -> Bytes {
    let mut random = Random::seeded(number);
    let length = random.below(3000);
    [&number.to_be_bytes()[..], &random.bytes(length)]
        .concat()
        .into()
}

/// The number of the message with this body; it must be whole.
fn number(body_found: &[u8]) -> u64 {
    let first = body_found.first_chunk().expect("the message is whole");
    let number = u64::from_be_bytes(*first);
    assert_eq!(body_found, body(number), "message {number} is whole");
    number
}

/// A request: where its messages go, the first one's number, and how many they are.
type Request = (Queue, u64, u64);

/// What the senders know.
#[derive(Default)]
struct Sent {
    /// The next message's number.
    next: u64,
    /// Requests that were not acknowledged before the server died.
    unanswered: Vec<Request>,
    /// Numbers of the messages that were sent again for that.
    again: HashSet<u64>,
    /// Acknowledged messages by queue and offset.
    acknowledged: BTreeMap<Queue, BTreeMap<i64, u64>>,
    /// Acknowledgements until the server is killed.
    left: usize,
}

impl Sent {
    /// What to send next: what nobody acknowledged, then something new.
    fn choose(&mut self, random: &mut Random, topics: &[String; 2]) -> Request {
        if let Some(request) = self.unanswered.pop() {
            self.again.extend(request.1..request.1 + request.2);
            return request;
        }
        let topic = topics[random.below(2)].clone();
        let queue_id = random.below(QUEUES as usize) as i32;
        let count = if random.below(10) == 0 { 3 } else { 1 };
        self.next += count;
        ((topic, queue_id), self.next - count, count)
    }
}

/// Sends without end, `WINDOW` requests at a time, and notes what is acknowledged, until the
/// server dies. Whoever gets the last acknowledgement wanted kills it.
async fn send_until_killed(
    client: Client,
    process: Pid,
    sent: Arc<Mutex<Sent>>,
    mut random: Random,
    topics: [String; 2],
) {
    let mut under_way = VecDeque::new();
    loop {
        while under_way.len() < WINDOW {
            let (queue, first, count) = sent.lock().choose(&mut random, &topics);
            let mut header = message(&queue.0, queue.1, "");
            let started = if count == 1 {
                client.start::<SendMessageV2>(&header, body(first))
            } else {
                let mut batch = BytesMut::new();
                for number in first..first + count {
                    let body = &body(number)[..];
                    let message = BatchMessage {
                        body,
                        ..BatchMessage::default()
                    };
                    message.encode_into(&mut batch).expect("a short message");
                }
                header.batch = Some(true);
                client.start::<SendBatchMessage>(&header, batch.freeze())
            };
            match started {
                Ok(pending) => under_way.push_back(((queue, first, count), pending)),
                Err(_) => {
                    sent.lock().unanswered.push((queue, first, count));
                    break;
                }
            }
        }
        let Some(((queue, first, count), pending)) = under_way.pop_front() else {
            return;
        };
        let Ok(answer) = pending.wait(TIMEOUT).await else {
            sent.lock().unanswered.push((queue, first, count));
            continue;
        };
        expect(&answer, ResponseCode::Success);
        let stored: SendMessageResponse<'_> = answer.header().expect("a header");
        assert_eq!(stored.queue_id, queue.1);
        let mut sent = sent.lock();
        let offsets = sent.acknowledged.entry(queue).or_default();
        for (offset, number) in (stored.queue_offset..).zip(first..first + count) {
            let before = offsets.insert(offset, number);
            assert_eq!(before, None, "two messages are told the same offset");
        }
        if sent.left > 0 {
            sent.left -= 1;
            if sent.left == 0 {
                kill_process(process, Signal::KILL).expect("it runs");
            }
        }
    }
}

/// All messages by queue, in their order.
type Content = BTreeMap<Queue, Vec<u64>>;

/// Reads everything, and asserts that it is in order, and that only messages sent `again` are
/// there twice.
async fn read_all(server: &Server, topics: &[String], again: &HashSet<u64>) -> Content {
    let client = Client::connect(&server.broker).await;
    let mut content = Content::new();
    let mut seen = HashSet::new();
    for (topic, queue_id) in topics.iter().flat_map(|t| (0..QUEUES).map(move |q| (t, q))) {
        let min = GetMinOffsetRequest {
            topic: Cow::Borrowed(topic),
            queue_id,
            ..GetMinOffsetRequest::default()
        };
        let max = GetMaxOffsetRequest {
            topic: Cow::Borrowed(topic),
            queue_id,
            ..GetMaxOffsetRequest::default()
        };
        let min = client.ask::<GetMinOffset>(&min, "").await;
        let max = client.ask::<GetMaxOffset>(&max, "").await;
        let min: GetMinOffsetResponse = min.header().expect("a header");
        let max: GetMaxOffsetResponse = max.header().expect("a header");
        assert_eq!(min.offset, 0, "{topic} {queue_id}");
        let mut numbers = Vec::new();
        let mut last = None;
        while (numbers.len() as i64) < max.offset {
            let request = pull("checker", topic, queue_id, numbers.len() as i64);
            let answer = client.ask::<PullMessage>(&request, "").await;
            expect(&answer, ResponseCode::Success);
            for record in Records::new(&answer.body) {
                let record = record.expect("a whole record");
                record.check_body_crc().expect("a whole body");
                assert_eq!(record.topic(), topic.as_str());
                assert_eq!(record.queue_id(), queue_id);
                assert_eq!(
                    record.queue_offset(),
                    numbers.len() as i64,
                    "{topic} {queue_id} has a gap"
                );
                let number = number(record.body());
                assert!(
                    seen.insert(number) || again.contains(&number),
                    "message {number} is there twice"
                );
                numbers.push(number);
                last = Some((
                    record.physical_offset(),
                    answer.body.slice_ref(record.as_bytes()),
                ));
            }
        }
        assert_eq!(numbers.len() as i64, max.offset, "{topic} {queue_id}");
        if let Some((offset, record)) = last {
            let view = ViewMessageRequest {
                topic: None,
                offset,
            };
            let viewed = client.ask::<ViewMessageById>(&view, "").await;
            assert_eq!(viewed.body, record);
        }
        content.insert((topic.clone(), queue_id), numbers);
    }
    content
}

/// Asserts that the topics are known to the broker, and to the name server if there is one.
async fn check_topics(server: &Server, topics: impl Iterator<Item = &String>) {
    let broker = Client::connect(&server.broker).await;
    let names = Client::connect(&server.name_server).await;
    for topic in topics {
        let request = GetTopicConfigRequest {
            topic: Cow::Borrowed(topic),
            ..GetTopicConfigRequest::default()
        };
        let answer = broker.ask::<GetTopicConfig>(&request, "").await;
        expect(&answer, ResponseCode::Success);
        let found: TopicConfigAndQueueMapping = json::read(&answer.body).expect("JSON");
        assert_eq!(found.config.write_queue_nums, QUEUES);
        if server.name_server == server.broker {
            continue;
        }
        let request = GetRouteInfoRequest {
            topic: Cow::Borrowed(topic),
            ..GetRouteInfoRequest::default()
        };
        let answer = names.ask::<GetRouteInfoByTopic>(&request, "").await;
        expect(&answer, ResponseCode::Success);
        let route: TopicRouteData = json::read(&answer.body).expect("JSON");
        assert_eq!(route.queue_datas[0].write_queue_nums, QUEUES);
    }
}

/// Kills the server round by round at a random moment under load, at the latest after `most`
/// acknowledgements, and checks what it has then; at last it is stopped in good order.
///
/// The binary with these `arguments` also begins to start and is killed meanwhile.
async fn survive(start: impl Fn() -> Server, arguments: &[&str], rounds: usize, most: usize) {
    let wanted = std::env::var("KEROLOX_ROUNDS").ok();
    let rounds = wanted.map_or(rounds, |rounds| rounds.parse().expect("a number"));
    let mut random = Random::printed();
    let sent = Arc::new(Mutex::new(Sent::default()));
    let mut server = start();
    for round in 0..rounds {
        sent.lock().left = 1 + random.below(most);
        let senders = [0, 1].map(|_| {
            let topics = ["every-round".to_owned(), format!("round-{round}")];
            let random = Random::seeded(random.below(1 << 30) as u64);
            let (process, sent) = (server.process(), Arc::clone(&sent));
            let address = server.broker.clone();
            tokio::spawn(async move {
                let client = Client::connect(&address).await;
                send_until_killed(client, process, sent, random, topics).await;
            })
        });
        for sender in senders {
            sender.await.expect("no sender fails");
        }
        assert_eq!(server.end(Signal::KILL).await, None);
        for _ in 0..random.below(3) {
            kill_while_starting(arguments, Duration::from_millis(random.below(50) as u64));
        }

        server = start();
        let (acknowledged, again) = {
            let sent = sent.lock();
            (sent.acknowledged.clone(), sent.again.clone())
        };
        let mut topics: Vec<String> = acknowledged
            .keys()
            .map(|(topic, _)| topic.clone())
            .collect();
        topics.dedup();
        check_topics(&server, topics.iter()).await;
        let content = read_all(&server, &topics, &again).await;
        for (queue, offsets) in &acknowledged {
            for (&offset, &number) in offsets {
                let found = content[queue].get(offset as usize);
                assert_eq!(found, Some(&number), "round {round}: {queue:?} at {offset}");
            }
        }
        // Killed again right away, and stopped in good order, it has the same.
        let signal = if random.below(2) == 0 {
            Signal::KILL
        } else {
            Signal::TERM
        };
        server.end(signal).await;
        server = start();
        let unchanged = read_all(&server, &topics, &again).await;
        assert_eq!(unchanged, content, "{signal:?}");
        let promised: usize = acknowledged.values().map(BTreeMap::len).sum();
        let found: Vec<u64> = content.into_values().flatten().collect();
        let different = found.iter().collect::<HashSet<_>>().len();
        println!(
            "killed {} of {rounds} times: {promised} acknowledged and found, {} more found, of \
             them {} sent twice and found twice",
            round + 1,
            found.len() - promised,
            found.len() - different
        );
    }
    let client = Client::connect(&server.broker).await;
    assert_eq!(client.send("after", 0, "alive").await, 0);
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

fn kill_while_starting(arguments: &[&str], moment: Duration) {
    let mut child = Program::new(env!("CARGO_BIN_EXE_kerolox"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    std::thread::sleep(moment);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

#[tokio::test]
async fn a_killed_server_has_all_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let file = dir.path().join("broker.conf");
    let (data, file) = (data.to_str().unwrap(), file.to_str().unwrap());
    let ports = ["--nameserver-port=0", "--broker-port=0", "--grpc-port=0"];
    let arguments = [&["start", "--data", data, "-c", file], &ports[..]].concat();
    survive(|| Server::cluster(dir.path(), FILES), &arguments, 6, 1000).await;
}

#[tokio::test]
async fn a_killed_broker_that_waits_for_the_disk_has_all_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let root: &Path = dir.path();
    let file = root.join("broker.conf");
    let configuration = format!(
        "{FILES}brokerName = b\nbindAddress = 127.0.0.1\nbrokerIP1 = 127.0.0.1\nlistenPort = 0\n\
         storePathRootDir = {}\nflushDiskType = SYNC_FLUSH\n",
        root.join("store").display()
    );
    fs::write(&file, configuration).unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["broker", "-c", file];
    survive(|| Server::run(&arguments, root), &arguments, 4, 300).await;
}
