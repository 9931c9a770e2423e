//! Pops, acknowledgements, changes of invisible times, the clock and kills in any order: no message
//! is lost, none comes back that was acknowledged, and none comes while it is hidden.

mod again;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::Live;
use proptest::prelude::*;
use store::{Append, MemoryDisk, StoreError};
use wire::message::body::Records;
use wire::message::pop::ExtraInfo;
use wire::message::pop::revive::{PopAck, PopCheckPoint};
use wire::message::properties;
use wire::message::property;

use super::Consumption;
use super::in_timer::InTimer;
use super::receive::Pop;
use super::revive_log::Entry;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::filter::Filter;
use crate::settings::BrokerSettings;
use crate::test_clock::TestClock;

const TOPIC: &str = "orders";
const GROUP: &str = "g";
const QUEUES: i32 = 2;

/// A broker that can be killed.
struct Rig {
    disk: MemoryDisk,
    clock: TestClock,
    broker: Option<Arc<Broker>>,
}

fn open(disk: &MemoryDisk, clock: &TestClock) -> Arc<Broker> {
    let mut settings = BrokerSettings::default();
    settings.broker.broker_ip = "127.0.0.1".into();
    settings.broker.broker_name = "broker-a".into();
    settings.store.store_path_root_dir = "/store".into();
    settings.store.mapped_file_size_commit_log = 1 << 16;
    settings.store.mapped_file_size_consume_queue = 2000;
    let (disk, clock) = (Arc::new(disk.clone()), Arc::new(clock.clone()));
    let broker = Broker::open(Live::new(settings), 10911, disk, clock, false).unwrap();
    let broker = Arc::new(broker);
    broker.polling.attach(&broker);
    broker.topics.create_on_send_back(TOPIC, QUEUES, 6, None, 0);
    broker.groups.get_or_create(GROUP).unwrap();
    broker
}

/// A message that a consumer has, with its handle.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    number: u32,
    topic: String,
    offset: i64,
    queue_id: i32,
    start_offset: i64,
    pop_time: i64,
    times: i32,
}

impl Rig {
    fn new() -> Self {
        let (disk, clock) = (MemoryDisk::new(), TestClock::new());
        let broker = Some(open(&disk, &clock));
        Self {
            disk,
            clock,
            broker,
        }
    }

    fn broker(&self) -> &Arc<Broker> {
        self.broker.as_ref().unwrap()
    }

    fn kill(&mut self) {
        self.broker = None;
        self.disk.kill();
        self.broker = Some(open(&self.disk, &self.clock));
    }

    /// What an operation came to; nothing, if the broker died of it. Then there is another one.
    fn survive<T>(&mut self, outcome: Result<T, impl std::fmt::Debug>) -> Option<T> {
        if self.disk.is_dead() {
            self.kill();
            return None;
        }
        Some(outcome.unwrap())
    }

    fn send(&self, number: u32) {
        self.try_send(number).unwrap();
    }

    fn try_send(&self, number: u32) -> Result<(), StoreError> {
        let broker = self.broker();
        let queue = broker.queue(TOPIC, number as i32 % QUEUES).unwrap();
        let body = number.to_string();
        let host = broker.store_host;
        let mut appends = [Append::new(&queue, body.as_bytes(), b"", host, host)];
        broker.store.append(&mut appends);
        let [append] = appends;
        append.outcome.unwrap().map(|_| ())
    }

    fn pop(&self, max_count: usize, invisible_time: i64, order: bool) -> Vec<Got> {
        self.try_pop(max_count, invisible_time, order).unwrap()
    }

    fn try_pop(
        &self,
        max_count: usize,
        invisible_time: i64,
        order: bool,
    ) -> Result<Vec<Got>, BrokerError> {
        let pop = Pop {
            topic: TOPIC.into(),
            group: GROUP.into(),
            queue_id: -1,
            filter: Filter::All,
            max_count,
            invisible_time,
            init_mode: 0,
            order,
            attempt_id: None,
        };
        let received = pop.receive(self.broker())?;
        let starts = wire::message::pop::parse_start_offset_info(&received.start_offsets).unwrap();
        let slices = received.slices.iter();
        let records = slices.flat_map(|slice| Records::new(slice).flatten());
        Ok(records
            .map(|record| {
                let string = record.properties();
                let number = str::from_utf8(record.body()).unwrap().parse().unwrap();
                let (offset, queue_id) = (record.queue_offset(), record.queue_id());
                let handle = properties::get(&string, property::POP_CK)
                    .map(|handle| ExtraInfo::decode(handle).unwrap());
                let key = wire::message::pop::queue_key(TOPIC, queue_id);
                Got {
                    number,
                    topic: handle.map_or(TOPIC.into(), |handle| {
                        handle.topic_kind.real_topic(TOPIC, GROUP).into_owned()
                    }),
                    offset,
                    queue_id,
                    start_offset: handle.map_or_else(|| starts[&key], |handle| handle.start_offset),
                    pop_time: received.pop_time,
                    times: record.reconsume_times(),
                }
            })
            .collect())
    }

    fn ack(&self, got: &Got) -> Result<(), StoreError> {
        let consumption = self.broker().pop.consumption(&got.topic, GROUP);
        let handle = Consumption::handle_of(got.queue_id, got.start_offset, got.pop_time);
        consumption
            .settle(self.broker(), &[(handle, got.offset)])
            .map(|_| ())
    }

    fn hide(&self, got: &Got, invisible_time: i64, suspend: bool) -> Result<Got, StoreError> {
        let consumption = self.broker().pop.consumption(&got.topic, GROUP);
        let handle = Consumption::handle_of(got.queue_id, got.start_offset, got.pop_time);
        let pop_time = consumption.hide(
            self.broker(),
            &handle,
            got.offset,
            invisible_time,
            suspend,
            None,
        )?;
        Ok(Got {
            start_offset: got.offset,
            pop_time,
            ..got.clone()
        })
    }

    fn ack_in_order(&self, got: &Got) {
        let topic = &got.topic;
        let consumption = self.broker().pop.consumption(topic, GROUP);
        consumption
            .settle_in_order(self.broker(), got.queue_id, got.offset, got.pop_time)
            .unwrap();
    }

    fn advance(&self, millis: i64) {
        self.clock.advance(millis);
        self.broker().pop.sweep(self.broker());
    }

    fn now(&self) -> i64 {
        self.broker().now_millis()
    }
}

#[derive(Debug, Clone)]
enum Action {
    Send,
    Pop {
        count: usize,
        invisible: i64,
    },
    Ack {
        which: usize,
    },
    AckAgain {
        which: usize,
    },
    Hide {
        which: usize,
        invisible: i64,
        suspend: bool,
    },
    Advance {
        millis: i64,
    },
    Persist,
    Kill,
    /// The broker dies after so many operations of the disk.
    Die {
        after: u32,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let invisible = || 1_000..60_000_i64;
    prop_oneof![
        4 => Just(Action::Send),
        4 => (1..8_usize, invisible()).prop_map(|(count, invisible)| Action::Pop { count, invisible }),
        6 => any::<usize>().prop_map(|which| Action::Ack { which }),
        1 => any::<usize>().prop_map(|which| Action::AckAgain { which }),
        2 => (any::<usize>(), invisible(), any::<bool>())
            .prop_map(|(which, invisible, suspend)| Action::Hide { which, invisible, suspend }),
        3 => (1..40_000_i64).prop_map(|millis| Action::Advance { millis }),
        1 => Just(Action::Persist),
        1 => Just(Action::Kill),
        1 => (0..30_u32).prop_map(|after| Action::Die { after }),
    ]
}

/// What a consumer may rely on.
#[derive(Default)]
struct Model {
    sent: u32,
    acknowledged: Vec<u32>,
    /// These were sent or acknowledged, or were not: the broker died of it, or it was late.
    unsure: BTreeSet<u32>,
    /// Until when each message is hidden.
    hidden: BTreeMap<u32, i64>,
    /// What consumers hold.
    held: Vec<Got>,
    /// Handles that were used up.
    used: Vec<Got>,
}

impl Model {
    fn received(&mut self, rig: &Rig, all: Vec<Got>, invisible: i64) {
        for got in all {
            let number = got.number;
            assert!(
                !self.acknowledged.contains(&number),
                "{number} was acknowledged"
            );
            let hidden_until = self.hidden.insert(number, rig.now() + invisible);
            assert!(
                hidden_until.is_none_or(|until| until <= rig.now()),
                "{number} was hidden until {hidden_until:?}, it is {}",
                rig.now()
            );
            self.held.retain(|held| held.number != number);
            self.held.push(got);
        }
    }

    fn act(&mut self, rig: &mut Rig, action: &Action) {
        match *action {
            Action::Send => {
                let sent = rig.try_send(self.sent);
                if rig.survive(sent).is_none() {
                    self.unsure.insert(self.sent);
                }
                self.sent += 1;
            }
            Action::Pop { count, invisible } => {
                let popped = rig.try_pop(count, invisible, false);
                if let Some(all) = rig.survive(popped) {
                    assert!(all.len() <= count);
                    self.received(rig, all, invisible);
                }
            }
            Action::Ack { which } if !self.held.is_empty() => {
                let got = self.held.remove(which % self.held.len());
                let acknowledged = rig.ack(&got);
                let in_time = self.hidden[&got.number] > rig.now();
                if rig.survive(acknowledged).is_some() && in_time {
                    self.acknowledged.push(got.number);
                } else {
                    self.unsure.insert(got.number);
                }
                self.used.push(got);
            }
            Action::AckAgain { which } if !self.used.is_empty() => {
                let got = &self.used[which % self.used.len()];
                let acknowledged = rig.ack(got);
                rig.survive(acknowledged);
            }
            Action::Hide {
                which,
                invisible,
                suspend,
            } if !self.held.is_empty() => {
                let got = self.held.remove(which % self.held.len());
                let hidden = rig.hide(&got, invisible, suspend);
                let until = self.hidden.get_mut(&got.number).unwrap();
                let later = rig.now() + invisible;
                if let Some(hidden) = rig.survive(hidden) {
                    self.held.push(hidden);
                    *until = if *until > rig.now() { later } else { *until };
                    self.used.push(got);
                } else {
                    // The old handle may still be good for an acknowledgement.
                    *until = later.min(*until);
                }
            }
            Action::Advance { millis } => {
                rig.advance(millis);
                rig.survive(Ok::<_, ()>(()));
            }
            Action::Persist => {
                rig.broker().persist();
                rig.survive(Ok::<_, ()>(()));
            }
            Action::Kill => rig.kill(),
            Action::Die { after } => rig.disk.die(after, 0),
            _ => {}
        }
    }

    /// Everything that was not acknowledged comes, sooner or later.
    fn finish(&mut self, rig: &mut Rig) {
        rig.kill();
        rig.advance(120_000);
        loop {
            let all = rig.pop(32, 60_000, false);
            if all.is_empty() {
                break;
            }
            for got in &all {
                rig.ack(got).unwrap();
            }
            let numbers: Vec<u32> = all.iter().map(|got| got.number).collect();
            self.received(rig, all, 60_000);
            self.acknowledged.extend(numbers);
        }
        let came: BTreeSet<u32> = self.acknowledged.iter().copied().collect();
        let lost =
            (0..self.sent).find(|number| !came.contains(number) && !self.unsure.contains(number));
        assert_eq!(lost, None);
        rig.advance(120_000);
        assert_eq!(rig.pop(32, 1, false), [], "nothing comes twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_message_is_lost_none_comes_twice_and_none_too_early(
        actions in proptest::collection::vec(action(), 1..80)
    ) {
        let mut rig = Rig::new();
        let mut model = Model::default();
        for action in &actions {
            model.act(&mut rig, action);
        }
        model.finish(&mut rig);
    }

    #[test]
    fn orderly_pops_keep_the_order(actions in proptest::collection::vec(action(), 1..80)) {
        let mut rig = Rig::new();
        let mut order = OrderModel::default();
        for action in &actions {
            order.act(&mut rig, action);
        }
        order.finish(&rig);
    }
}

/// What a consumer may rely on that consumes in order: for each queue, what it has.
#[derive(Default)]
struct OrderModel {
    sent: u32,
    queues: [Line; QUEUES as usize],
}

#[derive(Default)]
struct Line {
    /// Offset of the first message that was not acknowledged with all before it.
    next: i64,
    /// Those of the last reception, and when each may come again.
    held: Vec<(Got, i64)>,
    /// Which of them were acknowledged.
    acknowledged: Vec<i64>,
}

impl Line {
    fn received(&mut self, all: Vec<Got>, now: i64, invisible: i64, was_killed: bool) {
        for (got, until) in &self.held {
            let is_out = !self.acknowledged.contains(&got.offset);
            assert!(
                !is_out || *until <= now || was_killed,
                "{got:?} is still out"
            );
        }
        let offsets: Vec<i64> = all.iter().map(|got| got.offset).collect();
        let expected: Vec<i64> = (self.next..).take(all.len()).collect();
        assert_eq!(
            offsets, expected,
            "in order, from the first that was not acknowledged"
        );
        self.held = all.into_iter().map(|got| (got, now + invisible)).collect();
        self.acknowledged.clear();
    }

    fn acknowledge(&mut self, which: usize, rig: &Rig) {
        let (got, _) = &self.held[which % self.held.len()];
        rig.ack_in_order(got);
        self.acknowledged.push(got.offset);
        while self.acknowledged.contains(&self.next) {
            self.next += 1;
        }
    }
}

impl OrderModel {
    fn pop(&mut self, rig: &Rig, count: usize, invisible: i64, was_killed: bool) -> bool {
        let all = rig.pop(count, invisible, true);
        let any = !all.is_empty();
        for (id, line) in (0..).zip(&mut self.queues) {
            let of_queue: Vec<Got> = all
                .iter()
                .filter(|got| got.queue_id == id)
                .cloned()
                .collect();
            if !of_queue.is_empty() {
                line.received(of_queue, rig.now(), invisible, was_killed);
            }
        }
        any
    }

    fn act(&mut self, rig: &mut Rig, action: &Action) {
        let queue = |which: usize| which / 7 % QUEUES as usize;
        match *action {
            Action::Send => {
                rig.send(self.sent);
                self.sent += 1;
            }
            Action::Pop { count, invisible } => {
                self.pop(rig, count, invisible, false);
            }
            Action::Ack { which } | Action::AckAgain { which } => {
                let line = &mut self.queues[queue(which)];
                if !line.held.is_empty() {
                    line.acknowledge(which, rig);
                }
            }
            Action::Hide { .. } | Action::Die { .. } => {}
            Action::Advance { millis } => rig.advance(millis),
            Action::Persist => rig.broker().persist(),
            Action::Kill => {
                rig.kill();
                // What is out may come at once: it is written down every few seconds only. But
                // what was acknowledged does not.
                for line in &mut self.queues {
                    line.held.clear();
                    line.acknowledged.clear();
                }
                self.pop(rig, 32, 1000, true);
            }
        }
    }

    /// Everything comes, in order.
    fn finish(&mut self, rig: &Rig) {
        rig.advance(120_000);
        while self.pop(rig, 32, 1000, false) {
            for line in &mut self.queues {
                for which in 0..line.held.len() {
                    line.acknowledge(which, rig);
                }
                line.held.clear();
            }
        }
        let all: i64 = self.queues.iter().map(|line| line.next).sum();
        assert_eq!(all, i64::from(self.sent));
    }
}

#[test]
fn a_reset_outlives_a_kill() {
    let mut rig = Rig::new();
    for number in 0..10 {
        rig.send(number);
    }
    let first = rig.pop(32, 60_000, false);
    assert_eq!(first.len(), 10);
    for queue_id in 0..QUEUES {
        rig.broker().offsets.assign_reset(GROUP, TOPIC, queue_id, 3);
    }
    let again = rig.pop(32, 60_000, false);
    assert_eq!(
        again.len(),
        4,
        "both queues go back to their fourth message"
    );
    for queue_id in 0..QUEUES {
        rig.broker().offsets.assign_reset(GROUP, TOPIC, queue_id, 4);
    }
    assert_eq!(rig.pop(1, 60_000, false).len(), 1);
    rig.kill();
    assert_eq!(
        rig.pop(32, 60_000, false).len(),
        1,
        "the other queue's last message"
    );
}

#[test]
fn what_the_timer_brings_for_the_reference_is_taken_in() {
    let rig = Rig::new();
    rig.send(0);
    rig.send(2);
    let broker = rig.broker();
    let check_point = PopCheckPoint {
        num: 2,
        queue_offset_diff: vec![0, 1],
        pop_time: rig.now() - 1000,
        invisible_time: 2000,
        topic: TOPIC.into(),
        group: GROUP.into(),
        ..PopCheckPoint::default()
    };
    let ack = PopAck {
        ack_offset: 1,
        pop_time: check_point.pop_time,
        topic: TOPIC.into(),
        group: GROUP.into(),
        ..PopAck::default()
    };
    for entry in [
        Entry::check_point(broker, 5, &check_point),
        Entry::ack(broker, 5, &ack),
    ] {
        broker.store.append(&mut [entry.unwrap().append(broker)]);
    }
    assert_eq!(rig.pop(32, 60_000, false), [], "both are out");
    rig.advance(1000);
    let numbers: Vec<u32> = rig
        .pop(32, 60_000, false)
        .iter()
        .map(|got| got.number)
        .collect();
    assert_eq!(numbers, [0]);
}

#[test]
fn what_the_reference_has_left_in_the_timer_is_not_delivered_if_acknowledged() {
    let mut rig = Rig::new();
    for number in [0, 2, 4, 6] {
        rig.send(number);
    }
    let (pop_time, invisible_time) = (rig.now(), 5000);
    let check_point = PopCheckPoint {
        num: 4,
        queue_offset_diff: vec![0, 1, 2, 3],
        pop_time,
        invisible_time,
        topic: TOPIC.into(),
        group: GROUP.into(),
        ..PopCheckPoint::default()
    };
    let ack = |ack_offset| PopAck {
        ack_offset,
        pop_time,
        topic: TOPIC.into(),
        group: GROUP.into(),
        ..PopAck::default()
    };
    let broker = rig.broker();
    let due = check_point.revive_time();
    // `PopBufferMergeService.putCkToStore`, `AckMessageProcessor.appendAck`
    let left = [
        Entry::check_point(broker, 5, &check_point).map(|entry| entry.timed(broker, due - 1000)),
        Entry::ack(broker, 5, &ack(0)).map(|entry| entry.timed(broker, due)),
    ];
    for entry in left {
        let entry = entry.unwrap().unwrap();
        broker.store.append(&mut [entry.append(broker)]);
    }
    broker.offsets.commit(GROUP, TOPIC, 0, 4);
    broker.persist();
    rig.clock.advance(1);
    rig.kill();

    let broker = rig.broker();
    let handle = Consumption::handle_of(0, 0, pop_time);
    let reception = InTimer::of(broker, &handle, invisible_time, 5);
    let entry = reception.unwrap().ack(broker, &ack(1)).unwrap().unwrap();
    broker.store.append(&mut [entry.append(broker)]);
    let consumption = broker.pop.consumption(TOPIC, GROUP);
    consumption
        .hide(broker, &handle, 2, 60_000, false, reception)
        .unwrap();
    let mut come = Vec::new();
    while rig.now() < due + 70_000 {
        for got in rig.pop(32, 600_000, false) {
            come.push((got.number, rig.now()));
        }
        broker.timer.round(broker).unwrap();
        rig.advance(100);
    }
    let [(6, first), (4, second)] = *come else {
        panic!("{come:?}");
    };
    assert!((due..due + 2000).contains(&first), "{first}, not {due}");
    assert!(second >= pop_time + 60_000);
}

#[test]
fn a_topic_that_was_deleted_starts_anew() {
    let mut rig = Rig::new();
    for number in 0..10 {
        rig.send(number);
    }
    assert_eq!(rig.pop(32, 60_000, false).len(), 10);
    let broker = rig.broker();
    broker.topics.remove([TOPIC]).unwrap();
    broker.pop.forget_topic(broker, TOPIC).unwrap();
    broker.offsets.remove_topic(TOPIC);
    broker.store.delete_topic(TOPIC).unwrap();
    broker.topics.create_on_send_back(TOPIC, QUEUES, 6, None, 0);
    for number in 70..72 {
        rig.send(number);
    }
    rig.kill();
    let numbers: Vec<u32> = rig
        .pop(32, 1000, false)
        .iter()
        .map(|got| got.number)
        .collect();
    assert_eq!(BTreeSet::from_iter(numbers), BTreeSet::from([70, 71]));
    rig.advance(1000);
    let again: Vec<u32> = rig
        .pop(32, 1000, false)
        .iter()
        .map(|got| got.number)
        .collect();
    assert_eq!(
        BTreeSet::from_iter(again),
        BTreeSet::from([70, 71]),
        "nothing of the deleted topic"
    );
}
