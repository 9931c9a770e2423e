//! Messages with times of their own, through kills and power failures: each one that the disk has
//! is delivered, not before its time, and none that was taken back; through kills also once, and in
//! the order of time.

use std::collections::HashMap;
use std::sync::Arc;

use config::Live;
use proptest::prelude::*;
use store::{Append, Appended, MemoryDisk, StoreError, TagsCode};
use wire::message::record::RecordRef;
use wire::message::{properties, property};

use super::{accept, delete_key};
use crate::broker::Broker;
use crate::settings::BrokerSettings;
use crate::test_clock::TestClock;

const TOPIC: &str = "timed";
/// Moments that the longest delay has beyond the roll window, and more.
const LONGEST_DELAY: i64 = 40_000;

#[derive(Debug, Clone)]
enum Step {
    /// A message that is due in so many milliseconds.
    Send(i64),
    /// The message of so many sends ago is taken back.
    TakeBack(usize),
    Wait(i64),
    Round,
    /// A round in which the process dies, or loses power, with these pieces kept.
    Crash {
        after: u32,
        partial: usize,
        power: Option<u64>,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![1..3000_i64, 1..LONGEST_DELAY].prop_map(Step::Send),
        2 => (0..6_usize).prop_map(Step::TakeBack),
        4 => prop_oneof![0..2500_i64, 0..15_000_i64].prop_map(Step::Wait),
        4 => Just(Step::Round),
        2 => (0..40_u32, 0..100_usize, proptest::option::of(any::<u64>()))
            .prop_map(|(after, partial, power)| Step::Crash { after, partial, power }),
        1 => Just(Step::Restart),
    ]
}

/// A message that was sent.
struct Sent {
    due: i64,
    rounded: i64,
    stored: Appended,
    /// The message that takes it back.
    taken_back: Option<Appended>,
}

struct World {
    disk: MemoryDisk,
    clock: TestClock,
    broker: Option<Broker>,
    sent: Vec<Sent>,
    /// A power failure can take what was stored first and leave what came behind it: then messages
    /// may come out of order, or twice.
    lost_power: bool,
}

fn settings() -> BrokerSettings {
    let mut settings = BrokerSettings::default();
    settings.broker.broker_ip = "127.0.0.1".to_owned();
    let store = &mut settings.store;
    store.store_path_root_dir = "/store".to_owned();
    store.mapped_file_size_commit_log = 1 << 14;
    store.mapped_file_size_consume_queue = 2000;
    store.message_index_enable = false;
    store.mapped_file_size_timer_log = 600;
    store.timer_roll_window_slot = 9;
    settings
}

fn open(disk: &MemoryDisk, clock: &TestClock) -> Broker {
    let (live, disk) = (Live::new(settings()), Arc::new(disk.clone()));
    Broker::open(live, 10911, disk, Arc::new(clock.clone()), false).unwrap()
}

impl World {
    fn new() -> Self {
        let (disk, clock) = (MemoryDisk::new(), TestClock::new());
        Self {
            broker: Some(open(&disk, &clock)),
            disk,
            clock,
            sent: Vec::new(),
            lost_power: false,
        }
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    /// Stores a message with these properties as a producer's would be; `None` if it is refused.
    fn store(&self, text: &str) -> Option<(Appended, i64)> {
        let broker = self.broker();
        let mut added = String::new();
        let timed = accept::place(broker, text, 0, TOPIC, 0, &mut added).ok()??;
        let host = broker.store_host;
        let all = text.to_owned() + &added;
        let mut append = Append::new(&timed.queue, b"body", all.as_bytes(), host, host);
        append.tags_code = TagsCode::Known(0);
        let mut appends = [append];
        broker.store.append(&mut appends);
        let [append] = appends;
        Some((append.outcome.unwrap().unwrap(), timed.due))
    }

    fn send(&mut self, delay: i64) {
        let due = self.broker().now_millis() + delay;
        let text = properties::encode([
            (
                property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
                &*self.sent.len().to_string(),
            ),
            (property::TIMER_DELIVER_MS, &*due.to_string()),
        ]);
        let (stored, rounded) = self.store(&text).unwrap();
        self.sent.push(Sent {
            due,
            rounded,
            stored,
            taken_back: None,
        });
    }

    fn take_back(&mut self, ago: usize) {
        let Some(index) = self.sent.len().checked_sub(ago + 1) else {
            return;
        };
        let text = properties::encode([
            (
                property::TIMER_DEL_UNIQKEY,
                &*delete_key(false, TOPIC, &index.to_string()),
            ),
            (
                property::TIMER_DELIVER_MS,
                &*(self.sent[index].rounded + 1).to_string(),
            ),
        ]);
        if let Some((stored, _)) = self.store(&text) {
            self.sent[index].taken_back.get_or_insert(stored);
        }
    }

    fn round(&self) -> Result<(), StoreError> {
        self.broker().timer.round(self.broker()).map(|_| ())
    }

    fn crash(&mut self, after: u32, partial: usize, power: Option<u64>) {
        self.disk.die(after, partial);
        // Whether the process died in it or after it makes no difference.
        let _ = self.round();
        let flushed = self.broker().store.flushed_position();
        self.broker = None;
        match power {
            None => self.disk.kill(),
            Some(mut random) => {
                self.lost_power = true;
                self.disk.power_failure(|| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    random >> 63 == 0
                });
                let lost = |stored: &Appended| stored.end() > flushed;
                // What was not on the disk may be there, but nobody knows.
                self.sent.iter_mut().for_each(|sent| {
                    if sent.taken_back.as_ref().is_some_and(lost) {
                        sent.stored.size = i32::MAX;
                    }
                    if lost(&sent.stored) {
                        sent.stored.size = i32::MAX;
                    }
                });
            }
        }
        self.broker = Some(open(&self.disk, &self.clock));
    }

    fn restart(&mut self) {
        let broker = self.broker.take().unwrap();
        broker.timer.stop(&broker).unwrap();
        broker.store.close().unwrap();
        drop(broker);
        self.broker = Some(open(&self.disk, &self.clock));
    }

    /// What was delivered: index, when it was due by its properties, when it was stored.
    fn delivered(&self) -> Vec<(usize, i64, i64)> {
        let store = &self.broker().store;
        let Some(queue) = store.find_queue(TOPIC, 0) else {
            return Vec::new();
        };
        let records = queue.min_offset()..queue.max_offset();
        // A power failure leaves numbers without a message.
        let records = records.filter_map(|offset| {
            let message = store.message_at(&queue, offset).unwrap()?;
            let record = RecordRef::parse(&message).unwrap();
            let text = record.properties();
            let [id, due] = properties::get_each(
                &text,
                [
                    property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
                    property::TIMER_OUT_MS,
                ],
            );
            let number = |text: Option<&str>| text.unwrap().parse::<i64>().unwrap();
            Some((number(id) as usize, number(due), record.store_timestamp()))
        });
        records.collect()
    }

    fn check(&self, at_end: bool) -> Result<(), TestCaseError> {
        let delivered = self.delivered();
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for (index, _, stored) in &delivered {
            *counts.entry(*index).or_default() += 1;
            let due = self.sent[*index].due;
            prop_assert!(*stored >= due, "{index} came {} ms early", due - stored);
        }
        prop_assert!(
            self.lost_power || delivered.is_sorted_by_key(|(_, due, _)| *due),
            "not in the order of time: {delivered:?}"
        );
        for (index, sent) in self.sent.iter().enumerate() {
            let count = counts.get(&index).copied().unwrap_or(0);
            let is_promised = sent.stored.size != i32::MAX;
            prop_assert!(count <= 1 || self.lost_power, "{index} came {count} times");
            if is_promised && sent.taken_back.is_some() {
                prop_assert_eq!(count, 0, "{} was taken back", index);
            } else if is_promised && at_end {
                prop_assert_eq!(count, 1, "{} is missing", index);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_timed_message_comes_once_and_in_time(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Send(delay) => world.send(delay),
                Step::TakeBack(ago) => world.take_back(ago),
                Step::Wait(millis) => world.clock.advance(millis),
                Step::Round => world.round().unwrap(),
                Step::Crash { after, partial, power } => world.crash(after, partial, power),
                Step::Restart => world.restart(),
            }
            world.check(false)?;
        }
        for _ in 0..8 {
            world.clock.advance(LONGEST_DELAY / 4);
            world.round().unwrap();
        }
        world.check(true)?;
    }
}

#[test]
fn fifty_thousand_messages_half_of_them_due_together_come_in_the_order_of_time() {
    let mut world = World::new();
    for number in 0..50_000_i64 {
        world.send(if number % 2 == 0 {
            5000
        } else {
            1000 + number * 617 % 7000
        });
    }
    world.clock.advance(10_000);
    world.round().unwrap();
    world.check(true).unwrap();
}
