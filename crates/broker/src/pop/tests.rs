//! Pops, acknowledgements, changes of invisible times, the clock and kills in any order: no message
//! is lost, none comes back that was acknowledged, and none comes while it is hidden.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::Live;
use proptest::prelude::*;
use store::{Append, MemoryDisk};
use wire::message::pop::ExtraInfo;
use wire::message::properties;
use wire::message::property;

use super::receive::Pop;
use super::{Consumption, revive_log};
use crate::broker::Broker;
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

    fn send(&self, number: u32) {
        let broker = self.broker();
        let queue = broker.queue(TOPIC, number as i32 % QUEUES).unwrap();
        let body = number.to_string();
        let host = broker.store_host;
        let mut appends = [Append::new(&queue, body.as_bytes(), b"", host, host)];
        broker.store.append(&mut appends);
        assert!(matches!(appends[0].outcome, Some(Ok(_))));
    }

    fn pop(&self, max_count: usize, invisible_time: i64, order: bool) -> Vec<Got> {
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
        let received = pop.receive(self.broker()).unwrap();
        let starts = wire::message::pop::parse_start_offset_info(&received.start_offsets).unwrap();
        let records = revive_log::records(&received.slices);
        records
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
                }
            })
            .collect()
    }

    fn ack(&self, got: &Got) {
        let consumption = self.broker().pop.consumption(&got.topic, GROUP);
        let handle = Consumption::handle_of(got.queue_id, got.start_offset, got.pop_time);
        consumption
            .settle(self.broker(), &[(handle, got.offset)])
            .unwrap();
    }

    fn hide(&self, got: &Got, invisible_time: i64) -> Got {
        let consumption = self.broker().pop.consumption(&got.topic, GROUP);
        let handle = Consumption::handle_of(got.queue_id, got.start_offset, got.pop_time);
        let pop_time = consumption
            .hide(self.broker(), &handle, got.offset, invisible_time)
            .unwrap();
        Got {
            start_offset: got.offset,
            pop_time,
            ..got.clone()
        }
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
    Pop { count: usize, invisible: i64 },
    Ack { which: usize },
    AckAgain { which: usize },
    Hide { which: usize, invisible: i64 },
    Advance { millis: i64 },
    Persist,
    Kill,
}

fn action() -> impl Strategy<Value = Action> {
    let invisible = || 1_000..60_000_i64;
    prop_oneof![
        4 => Just(Action::Send),
        4 => (1..8_usize, invisible()).prop_map(|(count, invisible)| Action::Pop { count, invisible }),
        6 => any::<usize>().prop_map(|which| Action::Ack { which }),
        1 => any::<usize>().prop_map(|which| Action::AckAgain { which }),
        2 => (any::<usize>(), invisible()).prop_map(|(which, invisible)| Action::Hide { which, invisible }),
        3 => (1..40_000_i64).prop_map(|millis| Action::Advance { millis }),
        1 => Just(Action::Persist),
        1 => Just(Action::Kill),
    ]
}

/// What a consumer may rely on.
#[derive(Default)]
struct Model {
    sent: u32,
    acknowledged: Vec<u32>,
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
                rig.send(self.sent);
                self.sent += 1;
            }
            Action::Pop { count, invisible } => {
                let all = rig.pop(count, invisible, false);
                assert!(all.len() <= count);
                self.received(rig, all, invisible);
            }
            Action::Ack { which } if !self.held.is_empty() => {
                let got = self.held.remove(which % self.held.len());
                rig.ack(&got);
                // Too late, it counts for nothing.
                if self.hidden[&got.number] > rig.now() {
                    self.acknowledged.push(got.number);
                }
                self.used.push(got);
            }
            Action::AckAgain { which } if !self.used.is_empty() => {
                rig.ack(&self.used[which % self.used.len()]);
            }
            Action::Hide { which, invisible } if !self.held.is_empty() => {
                let at = which % self.held.len();
                let hidden = rig.hide(&self.held[at], invisible);
                let number = hidden.number;
                self.used
                    .push(std::mem::replace(&mut self.held[at], hidden));
                if self.hidden[&number] > rig.now() {
                    self.hidden.insert(number, rig.now() + invisible);
                }
            }
            Action::Advance { millis } => rig.advance(millis),
            Action::Persist => rig.broker().persist(),
            Action::Kill => rig.kill(),
            _ => {}
        }
    }

    /// Everything that was not acknowledged comes, sooner or later.
    fn finish(&mut self, rig: &Rig) {
        rig.advance(120_000);
        loop {
            let all = rig.pop(32, 60_000, false);
            if all.is_empty() {
                break;
            }
            for got in &all {
                rig.ack(got);
            }
            let numbers: Vec<u32> = all.iter().map(|got| got.number).collect();
            self.received(rig, all, 60_000);
            self.acknowledged.extend(numbers);
        }
        self.acknowledged.sort_unstable();
        let sent: Vec<u32> = (0..self.sent).collect();
        assert_eq!(self.acknowledged, sent);
        rig.advance(120_000);
        assert_eq!(rig.pop(32, 1, false), [], "nothing comes twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_message_is_lost_none_comes_twice_and_none_too_early(
        actions in proptest::collection::vec(action(), 1..80)
    ) {
        let mut rig = Rig::new();
        let mut model = Model::default();
        for action in &actions {
            model.act(&mut rig, action);
        }
        model.finish(&rig);
    }
}
