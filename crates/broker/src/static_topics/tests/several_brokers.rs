//! Logical queues whose parts are queues of several brokers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use transport::Body;
use wire::body::json;
use wire::body::offset::ConsumeStats;
use wire::body::static_topic::TopicQueueMappingDetail;
use wire::code::ResponseCode;
use wire::command::{
    GetConsumeStats, GetEarliestMsgStoreTime, GetMaxOffset, GetMinOffset, QueryConsumerOffset,
    SearchOffsetByTimestamp, UpdateConsumerOffset,
};
use wire::frame::Frame;
use wire::header::group::GetConsumeStatsRequest;
use wire::header::offset::{
    BoundaryType, GetEarliestMsgStoretimeRequest, GetEarliestMsgStoretimeResponse,
    GetMaxOffsetRequest, GetMaxOffsetResponse, GetMinOffsetRequest, GetMinOffsetResponse,
    QueryConsumerOffsetRequest, QueryConsumerOffsetResponse, SearchOffsetRequest,
    SearchOffsetResponse, UpdateConsumerOffsetRequest,
};

use super::cluster::{Cluster, TOPIC};
use crate::static_topics::cleaning;
use crate::test_clock::TestClock;

/// Makes sure that an answer is a refusal.
fn refused(answer: &Frame, code: ResponseCode, remark: &str) {
    assert_eq!(answer.head.code, code as i32, "{:?}", answer.remark);
    let told = answer.remark.as_deref().unwrap_or_default();
    assert!(told.contains(remark), "{told:?} does not tell {remark:?}");
}

fn max(id: i32) -> GetMaxOffsetRequest<'static> {
    GetMaxOffsetRequest {
        topic: TOPIC.into(),
        queue_id: id,
        ..GetMaxOffsetRequest::default()
    }
}

fn min(id: i32) -> GetMinOffsetRequest<'static> {
    GetMinOffsetRequest {
        topic: TOPIC.into(),
        queue_id: id,
        ..GetMinOffsetRequest::default()
    }
}

fn earliest(id: i32) -> GetEarliestMsgStoretimeRequest<'static> {
    GetEarliestMsgStoretimeRequest {
        topic: TOPIC.into(),
        queue_id: id,
        ..GetEarliestMsgStoretimeRequest::default()
    }
}

fn at_time(id: i32, timestamp: i64, boundary: BoundaryType) -> SearchOffsetRequest<'static> {
    SearchOffsetRequest {
        topic: TOPIC.into(),
        queue_id: id,
        timestamp,
        boundary_type: Some(boundary),
        ..SearchOffsetRequest::default()
    }
}

fn committed(id: i32) -> QueryConsumerOffsetRequest<'static> {
    QueryConsumerOffsetRequest {
        consumer_group: "g".into(),
        topic: TOPIC.into(),
        queue_id: id,
        ..QueryConsumerOffsetRequest::default()
    }
}

fn commit(id: i32, offset: i64) -> UpdateConsumerOffsetRequest<'static> {
    UpdateConsumerOffsetRequest {
        consumer_group: "g".into(),
        topic: TOPIC.into(),
        queue_id: id,
        commit_offset: offset,
        ..UpdateConsumerOffsetRequest::default()
    }
}

impl Cluster {
    async fn max(&self, name: &str, id: i32) -> i64 {
        let answer = self.done::<GetMaxOffset>(name, &max(id), Body::Empty).await;
        answer.header::<GetMaxOffsetResponse>().unwrap().offset
    }

    async fn min(&self, name: &str, id: i32) -> i64 {
        let answer = self.done::<GetMinOffset>(name, &min(id), Body::Empty).await;
        answer.header::<GetMinOffsetResponse>().unwrap().offset
    }

    async fn at_time(&self, name: &str, id: i32, time: i64, boundary: BoundaryType) -> i64 {
        let header = at_time(id, time, boundary);
        let answer = self
            .done::<SearchOffsetByTimestamp>(name, &header, Body::Empty)
            .await;
        answer.header::<SearchOffsetResponse>().unwrap().offset
    }

    async fn earliest(&self, name: &str, id: i32) -> i64 {
        let header = earliest(id);
        let answer = self
            .done::<GetEarliestMsgStoreTime>(name, &header, Body::Empty)
            .await;
        answer
            .header::<GetEarliestMsgStoretimeResponse>()
            .unwrap()
            .timestamp
    }

    async fn committed(&self, name: &str, id: i32) -> i64 {
        let answer = self
            .done::<QueryConsumerOffset>(name, &committed(id), Body::Empty)
            .await;
        answer
            .header::<QueryConsumerOffsetResponse>()
            .unwrap()
            .offset
    }

    async fn commit(&self, name: &str, id: i32, offset: i64) {
        let header = commit(id, offset);
        self.done::<UpdateConsumerOffset>(name, &header, Body::Empty)
            .await;
    }

    /// The group's offsets in a broker's own queues, as tools are told.
    async fn progress(&self, name: &str) -> Vec<i64> {
        let header = GetConsumeStatsRequest {
            consumer_group: "g".into(),
            topic: Some(TOPIC.into()),
            ..GetConsumeStatsRequest::default()
        };
        let answer = self
            .done::<GetConsumeStats>(name, &header, Body::Empty)
            .await;
        let stats: ConsumeStats = json::read(&answer.body).unwrap();
        let queues = stats.offset_table.into_values();
        queues.map(|queue| queue.consumer_offset).collect()
    }

    /// Whose queues lead which logical queues, as the route says.
    async fn led(&self) -> BTreeMap<String, Vec<i32>> {
        let route = self.route().await;
        let mappings = route.topic_queue_mapping_by_broker.unwrap().into_iter();
        mappings
            .map(|(name, info)| (name, info.curr_id_map.into_keys().collect()))
            .collect()
    }

    /// The generations of the parts that a broker knows of each queue.
    fn generations(&self, name: &str) -> Vec<(i32, Vec<i32>)> {
        let mapping = self.nodes[name].broker.static_topics.get(TOPIC).unwrap();
        let hosted = mapping.hosted_queues.iter();
        hosted
            .map(|(id, parts)| (*id, parts.iter().map(|part| part.generation).collect()))
            .collect()
    }

    async fn clean(&self) {
        for node in self.nodes.values() {
            cleaning::clean(&node.broker).await;
        }
    }
}

fn now(clock: &TestClock) -> i64 {
    store::Clock::now_millis(clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_moves_to_another_broker_stays_one_queue() {
    let mut cluster = Cluster::start(&["a", "b"]).await;
    let start = now(&cluster.clock);
    let queue = cluster.add_queue("a").await;
    let other = cluster.add_queue("b").await;
    let led = |a: &[i32], b: &[i32]| {
        BTreeMap::from([("a".to_owned(), a.to_vec()), ("b".to_owned(), b.to_vec())])
    };
    assert_eq!(cluster.led().await, led(&[queue], &[other]));
    for (offset, body) in ["0", "1", "2"].into_iter().enumerate() {
        assert_eq!(cluster.send("a", queue, body).await, offset as i64);
        cluster.clock.advance(1000);
    }
    assert_eq!(cluster.read(queue, 0).await.len(), 3);
    cluster.commit("a", queue, 2).await;

    // The new leader takes messages before it is decided where they are in the logical queue.
    cluster.begin_move(queue, "b").await;
    assert_eq!(cluster.led().await, led(&[], &[queue, other]));
    assert_eq!(cluster.send("b", queue, "3").await, -1);
    assert_eq!(cluster.max("b", queue).await, 3);
    let not_leader = cluster.try_send("a", queue, "lost").await;
    refused(
        &not_leader,
        ResponseCode::NotLeaderForQueue,
        "does not exit",
    );
    let before = ["0", "1", "2"].map(str::to_owned);
    let read = cluster.read(queue, 0).await;
    assert_eq!(read, [0, 1, 2].into_iter().zip(before).collect::<Vec<_>>());
    cluster.clock.advance(1000);

    cluster.end_move(queue).await;
    assert_eq!(cluster.send("b", queue, "4").await, 10_001);
    let read = cluster.read(queue, 0).await;
    let offsets: Vec<i64> = read.iter().map(|(offset, _)| *offset).collect();
    let bodies: Vec<&str> = read.iter().map(|(_, body)| &**body).collect();
    assert_eq!(offsets, [0, 1, 2, 10_000, 10_001]);
    assert_eq!(bodies, ["0", "1", "2", "3", "4"]);
    // A reader in the hole between the parts goes on behind it.
    assert_eq!(cluster.read(queue, 77).await, read[3..]);

    assert_eq!(cluster.min("b", queue).await, 0);
    assert_eq!(cluster.max("b", queue).await, 10_002);
    assert_eq!(cluster.earliest("b", queue).await, start);
    for (time, lower, upper) in [
        (start - 1, 0, 0),
        (start, 0, 0),
        (start + 1000, 1, 1),
        (start + 1500, 2, 1),
        (start + 3000, 10_000, 10_000),
        (start + 3500, 10_001, 10_000),
        (start + 4000, 10_001, 10_001),
        (start + 9000, 10_002, 10_001),
    ] {
        let found = cluster.at_time("b", queue, time, BoundaryType::Lower).await;
        assert_eq!(found, lower, "at {} ms or later", time - start);
        let found = cluster.at_time("b", queue, time, BoundaryType::Upper).await;
        assert_eq!(found, upper, "at {} ms or before", time - start);
    }

    assert_eq!(cluster.committed("b", queue).await, 2);
    cluster.commit("b", queue, 3).await;
    assert_eq!(
        cluster.nodes["a"].broker.offsets.query("g", TOPIC, 0),
        Some(3)
    );
    assert_eq!(cluster.committed("b", queue).await, 3);
    cluster.commit("b", queue, 10_001).await;
    assert_eq!(cluster.committed("b", queue).await, 10_001);
    // Tools take the last part with an offset for the group's place.
    assert_eq!(cluster.progress("a").await, [3]);
    assert_eq!(cluster.progress("b").await, [-1, 1]);
    // The broker that has led it answers for it no more.
    for answer in [
        cluster
            .ask::<GetMaxOffset>("a", &max(queue), Body::Empty)
            .await,
        cluster
            .ask::<QueryConsumerOffset>("a", &committed(queue), Body::Empty)
            .await,
        cluster.pull("a", queue, 0).await,
    ] {
        refused(&answer, ResponseCode::NotLeaderForQueue, "current broker a");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mappings_that_go_back_and_queues_that_are_not_there_are_refused() {
    let mut cluster = Cluster::start(&["a", "b"]).await;
    let queue = cluster.add_queue("a").await;
    cluster.move_queue(queue, "b").await;
    for (name, change, remark) in [
        (
            "b",
            (|it| it.epoch -= 1) as fn(&mut TopicQueueMappingDetail),
            "small epoch",
        ),
        ("a", |it| it.bname = "b".into(), "is for broker b"),
        (
            "b",
            |it| it.hosted_queues.clear(),
            "equal epoch with null data",
        ),
        (
            "b",
            |it| drop(it.hosted_queues.get_mut(&0).unwrap().pop()),
            "new leader is different",
        ),
    ] {
        let mut wrong = cluster.mapping(name);
        change(&mut wrong);
        let answer = cluster.try_map(name, &wrong).await;
        refused(&answer, ResponseCode::SystemError, remark);
    }
    for unknown in [queue + 1, i32::MAX, -7] {
        let answer = cluster.pull("b", unknown, 0).await;
        refused(&answer, ResponseCode::NotLeaderForQueue, "current broker b");
        let answer = cluster
            .ask::<GetMaxOffset>("b", &max(unknown), Body::Empty)
            .await;
        refused(&answer, ResponseCode::NotLeaderForQueue, "current broker b");
    }
    assert_eq!(cluster.send("b", queue, "0").await, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_other_broker_the_new_part_works_alone() {
    let mut cluster = Cluster::start(&["a", "b"]).await;
    let queue = cluster.add_queue("a").await;
    cluster.send("a", queue, "0").await;
    let then = now(&cluster.clock);
    cluster.clock.advance(1000);
    cluster.move_queue(queue, "b").await;
    assert_eq!(cluster.send("b", queue, "1").await, 10_000);
    assert_eq!(cluster.read(queue, 0).await.len(), 2);
    let disk = cluster.stop_node("a").await;

    let lower = BoundaryType::Lower;
    for answer in [
        cluster.pull("b", queue, 0).await,
        cluster
            .ask::<GetMinOffset>("b", &min(queue), Body::Empty)
            .await,
        cluster
            .ask::<GetEarliestMsgStoreTime>("b", &earliest(queue), Body::Empty)
            .await,
        cluster
            .ask::<SearchOffsetByTimestamp>("b", &at_time(queue, then, lower), Body::Empty)
            .await,
        cluster
            .ask::<QueryConsumerOffset>("b", &committed(queue), Body::Empty)
            .await,
        cluster
            .ask::<UpdateConsumerOffset>("b", &commit(queue, 1), Body::Empty)
            .await,
    ] {
        assert_eq!(
            answer.head.code,
            ResponseCode::SystemError as i32,
            "{answer:?}"
        );
        let remark = answer.remark.unwrap();
        let is_told = remark.contains("broker a") || remark.contains("127.0.0.1");
        assert!(is_told, "{remark:?} does not tell who is missing");
    }
    assert_eq!(cluster.send("b", queue, "2").await, 10_001);
    assert_eq!(cluster.max("b", queue).await, 10_002);
    assert_eq!(
        cluster
            .at_time("b", queue, now(&cluster.clock), lower)
            .await,
        10_000
    );
    assert_eq!(cluster.read(queue, 10_000).await.len(), 2);
    cluster.commit("b", queue, 10_001).await;
    assert_eq!(cluster.committed("b", queue).await, 10_001);

    // It comes back at another port.
    cluster.start_node("a", disk).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.pull("b", queue, 0).await.head.code != ResponseCode::Success as i32 {
        assert!(Instant::now() < deadline, "the broker is not found again");
    }
    assert_eq!(cluster.read(queue, 0).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_needs_goes_at_the_hour_for_it() {
    let mut cluster = Cluster::start(&["a", "b", "c"]).await;
    let unused = cluster.add_queue("a").await;
    let used = cluster.add_queue("a").await;
    cluster.send("a", used, "0").await;
    cluster.move_queue(unused, "b").await;
    cluster.move_queue(used, "b").await;
    let both = [(unused, vec![0, 1]), (used, vec![0, 1])];
    cluster.clean().await;
    assert_eq!(cluster.generations("b"), both, "it is the wrong hour");

    cluster.clock.advance(6 * 3_600_000);
    let disk = cluster.stop_node("a").await;
    cluster.clean().await;
    assert_eq!(cluster.generations("b"), both, "nobody knows what is there");

    cluster.start_node("a", disk).await;
    cluster.clean().await;
    assert_eq!(
        cluster.generations("a"),
        both,
        "they are led by the next one"
    );
    let without_unused = [(unused, vec![1]), (used, vec![0, 1])];
    assert_eq!(cluster.generations("b"), without_unused);
    assert_eq!(cluster.min("b", unused).await, 10_000);

    cluster.begin_move(unused, "c").await;
    cluster.clean().await;
    let undecided = "it is not decided where the other part begins";
    assert_eq!(
        cluster.generations("c"),
        [(unused, vec![1, 2])],
        "{undecided}"
    );
    cluster.end_move(unused).await;
    cluster.clean().await;
    assert_eq!(cluster.generations("c"), [(unused, vec![2])]);
    assert_eq!(
        cluster.generations("b"),
        [(unused, vec![1, 2]), (used, vec![0, 1])]
    );
    assert_eq!(
        cluster.generations("a"),
        [(used, vec![0, 1])],
        "it was passed on twice"
    );

    // So it stays when brokers start again.
    let disk = cluster.stop_node("c").await;
    cluster.start_node("c", disk).await;
    assert_eq!(cluster.generations("c"), [(unused, vec![2])]);
    assert_eq!(cluster.send("c", unused, "1").await, 20_000);
    assert_eq!(cluster.read(unused, 0).await, [(20_000, "1".to_owned())]);
    assert_eq!(cluster.read(used, 0).await, [(0, "0".to_owned())]);
}

/// What may happen to a queue.
#[derive(Debug, Clone)]
enum Step {
    Send(i32),
    /// To another broker, with so many messages before it is decided where the new part begins.
    Move(i32, usize, u8),
    Clean,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2).prop_map(Step::Send),
        2 => (0..2, 0..3usize, 0..3u8).prop_map(|(id, to, sends)| Step::Move(id, to, sends)),
        1 => Just(Step::Clean),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn wherever_a_queue_goes_its_messages_are_read_in_order(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(wander(steps));
    }
}

async fn wander(steps: Vec<Step>) {
    let names = ["a", "b", "c"];
    let mut cluster = Cluster::start(&names).await;
    cluster.clock.advance(6 * 3_600_000);
    let mut sent: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for name in &names[..2] {
        sent.insert(cluster.add_queue(name).await, Vec::new());
    }
    let mut count = 0;
    for step in steps {
        let (id, sends) = match step {
            Step::Send(id) => (id, 1),
            Step::Move(id, to, sends) if cluster.leader(id).0 != names[to] => {
                cluster.begin_move(id, names[to]).await;
                (id, sends)
            }
            Step::Move(..) => continue,
            Step::Clean => {
                cluster.clean().await;
                continue;
            }
        };
        let (leader, _) = cluster.leader(id);
        for _ in 0..sends {
            count += 1;
            cluster.send(&leader, id, &count.to_string()).await;
            sent.get_mut(&id).unwrap().push(count.to_string());
        }
        if matches!(step, Step::Move(..)) {
            cluster.end_move(id).await;
        }
    }
    for (id, sent) in sent {
        let read = cluster.read(id, 0).await;
        let (offsets, bodies): (Vec<i64>, Vec<String>) = read.into_iter().unzip();
        assert_eq!(bodies, sent, "queue {id}");
        assert!(offsets.is_sorted(), "queue {id}: {offsets:?}");
        let (leader, _) = cluster.leader(id);
        let end = cluster.max(&leader, id).await;
        assert!(
            offsets.last().is_none_or(|last| *last < end),
            "{offsets:?} to {end}"
        );
    }
}
