//! A model of the transactions: whatever producers do and however often the broker dies, each
//! half message ends once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use config::Live;
use proptest::prelude::*;
use store::{Append, Disk, MemoryDisk, OpenMode, Queue};
use transport::Outbox;
use wire::command::RequestCode;
use wire::frame::{Frame, Head, SerializeType, encode};
use wire::header::transaction::EndTransactionRequest;
use wire::message::record::RecordRef;
use wire::message::{names, properties, property};

use super::half::HalfMessage;
use super::*;
use crate::settings::BrokerSettings;
use crate::test_clock::TestClock;

const TIMEOUT: i64 = 6000;
const CHECK_MAX: i32 = 2;
const COMMIT: i32 = 8;
const ROLLBACK: i32 = 12;

/// Which transactions end, how, and whether by the copy that the producer was asked about.
type Ends = Vec<(prop::sample::Index, i32, bool)>;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    /// A producer sends so many half messages, with a time of its own before the first question
    /// or not.
    Half { count: usize, immunity: bool },
    /// Producers end transactions, together in one read. Each by the message that they sent, or
    /// by the copy that they were asked about.
    End(Ends),
    /// Time goes by, in milliseconds.
    Wait(i64),
    /// The half messages are gone through.
    Check,
    /// The broker is stopped and started.
    Restart,
    /// It is killed and started.
    Kill,
    /// It dies in the middle of ending a transaction or going through the half messages.
    Die { after: u32, ends: Option<Ends> },
    /// The machine loses power.
    PowerFailure(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = || {
        let wish = prop::sample::select(vec![COMMIT, ROLLBACK, 0]);
        prop::collection::vec((any::<prop::sample::Index>(), wish, any::<bool>()), 1..6)
    };
    let half = (1..5_usize, prop::bool::weighted(0.3));
    let wait = prop::sample::select(vec![1_i64, 500, TIMEOUT + 1]);
    let step = prop_oneof![
        4 => half.prop_map(|(count, immunity)| Step::Half { count, immunity }),
        5 => end().prop_map(Step::End),
        3 => wait.prop_map(Step::Wait),
        4 => Just(Step::Check),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        1 => (0..4_u32, prop::option::of(end())).prop_map(|(after, ends)| Step::Die { after, ends }),
        1 => any::<u64>().prop_map(Step::PowerFailure),
    ];
    prop::collection::vec(step, 1..40)
}

/// What must have become of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    RolledBack,
    GivenUp,
}

struct World {
    disk: MemoryDisk,
    clock: TestClock,
    broker: Broker,
    /// How many half messages were sent.
    sent: usize,
    /// By unique id; without those that a power failure took.
    fates: BTreeMap<String, Fate>,
}

fn open(disk: &MemoryDisk, clock: &TestClock) -> Broker {
    let mut settings = BrokerSettings::default();
    settings.store.store_path_root_dir = "/store".into();
    settings.store.mapped_file_size_commit_log = 64 << 10;
    settings.store.mapped_file_size_consume_queue = 20 * 100;
    settings.store.message_index_enable = false;
    settings.broker.broker_ip = "127.0.0.1".into();
    settings.broker.transaction_time_out = TIMEOUT;
    settings.broker.transaction_check_max = CHECK_MAX;
    let (disk, clock) = (Arc::new(disk.clone()), Arc::new(clock.clone()));
    Broker::open(Live::new(settings), 10911, disk, clock, false).unwrap()
}

fn records(broker: &Broker, queue: &Queue) -> Vec<Vec<u8>> {
    let all = queue.min_offset()..queue.max_offset();
    let record = |offset| broker.store.message_at(queue, offset).unwrap();
    all.filter_map(record).map(|bytes| bytes.to_vec()).collect()
}

fn id_of(record: &[u8]) -> String {
    let record = RecordRef::parse(record).unwrap();
    let text = record.properties();
    let id = properties::get(&text, property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
    id.unwrap().to_owned()
}

impl World {
    fn new() -> Self {
        let (disk, clock) = (MemoryDisk::new(), TestClock::new());
        let broker = open(&disk, &clock);
        Self {
            disk,
            clock,
            broker,
            sent: 0,
            fates: BTreeMap::new(),
        }
    }

    fn send(&mut self, count: usize, immunity: bool) {
        for _ in 0..count {
            let id = format!("id{}", self.sent);
            self.sent += 1;
            let mut text = String::new();
            properties::put(&mut text, property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &id);
            properties::put(&mut text, property::PRODUCER_GROUP, "p");
            properties::put(&mut text, property::TAGS, "TagA");
            if immunity {
                properties::put(&mut text, property::CHECK_IMMUNITY_TIME_IN_SECONDS, "10");
            }
            let queue = place(&self.broker, "orders", 1, Some(&id), &mut text);
            let host = self.broker.store_host;
            let mut append = Append::new(&queue, id.as_bytes(), text.as_bytes(), host, host);
            append.born_timestamp = self.broker.now_millis();
            let mut appends = [append];
            self.broker.store.append(&mut appends);
            let [append] = appends;
            append.outcome.unwrap().unwrap();
            self.broker
                .transactions
                .stored(&self.broker, &queue, "orders");
            self.fates.insert(id, Fate::Open);
        }
    }

    /// All copies of a half message, in their order.
    fn copies(&self, id: &str) -> Vec<(i64, i64)> {
        let queue = &self.broker.transactions.half;
        let mine = |record: &Vec<u8>| id_of(record) == id;
        let place = |record: Vec<u8>| {
            let record = RecordRef::parse(&record).unwrap();
            (record.queue_offset(), record.physical_offset())
        };
        let all = records(&self.broker, queue).into_iter();
        all.filter(mine).map(place).collect()
    }

    fn request(&self, id: &str, commit_or_rollback: i32, by_copy: bool) -> Option<Frame> {
        let copies = self.copies(id);
        let place = if by_copy {
            copies.last()
        } else {
            copies.first()
        };
        let (tran_state_table_offset, commit_log_offset) = *place?;
        let header = EndTransactionRequest {
            producer_group: "p".into(),
            tran_state_table_offset,
            commit_log_offset,
            commit_or_rollback,
            from_transaction_check: Some(by_copy),
            msg_id: id.into(),
            ..Default::default()
        };
        let head = Head::request(RequestCode::EndTransaction as i32, SerializeType::Json);
        let mut bytes = BytesMut::new();
        encode(&head, None, &header, 0, &mut bytes);
        Frame::decode(&mut bytes).unwrap()
    }

    fn end(&mut self, wishes: &Ends) {
        let ids: Vec<String> = self.fates.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let mut run = Vec::new();
        let mut wished = Vec::new();
        for (index, wish, by_copy) in wishes {
            let id = index.get(&ids);
            if let Some(frame) = self.request(id, *wish, *by_copy) {
                run.push(frame);
                wished.push((id.clone(), *wish, *by_copy));
            }
        }
        let late: Vec<bool> = wished
            .iter()
            .map(|(id, _, by_copy)| !by_copy && self.is_late(id))
            .collect();
        super::end(&self.broker, &run, &mut Outbox::default());
        if self.disk.is_dead() {
            return;
        }
        for ((id, wish, _), late) in wished.into_iter().zip(late) {
            let fate = self.fates.get_mut(&id).unwrap();
            match wish {
                COMMIT if *fate == Fate::Open && !late => *fate = Fate::Committed,
                ROLLBACK if *fate == Fate::Open && !late => *fate = Fate::RolledBack,
                _ => {}
            }
        }
    }

    /// Whether its producer must wait to be asked.
    fn is_late(&self, id: &str) -> bool {
        let queue = &self.broker.transactions.half;
        let half = records(&self.broker, queue)
            .into_iter()
            .find(|record| id_of(record) == id);
        half.is_some_and(|half| {
            let half = HalfMessage::parse(&half).unwrap();
            let age = self.broker.now_millis() - half.record.born_timestamp();
            half.get(property::CHECK_IMMUNITY_TIME_IN_SECONDS).is_some() && age > 10_000
        })
    }

    fn check(&mut self) {
        let before: BTreeMap<String, Vec<(i64, i64)>> = self
            .fates
            .keys()
            .map(|id| (id.clone(), self.copies(id)))
            .collect();
        let checked = super::check::check(&self.broker);
        if let (Ok(progress), Ok(_)) = (&checked, self.broker.store.flush()) {
            self.broker.transactions.keep(&self.broker, progress);
            // When this fails the disk is dead.
            let _ = self.broker.offsets.persist(|| {});
        }
        if self.disk.is_dead() {
            return;
        }
        assert!(checked.is_ok());
        for (id, fate) in &mut self.fates {
            // A pass asks about an open one once at most, and about no other.
            let asked = self.broker.transactions.half.clone();
            let copies = records(&self.broker, &asked)
                .iter()
                .filter(|record| id_of(record) == *id)
                .count();
            let more = copies - before.get(id).map_or(0, Vec::len);
            assert!(
                more <= usize::from(*fate == Fate::Open),
                "{id} was asked about {more} times"
            );
            if *fate == Fate::Open && copies as i32 > CHECK_MAX && more == 0 {
                let given_up = given_up(&self.broker)
                    .iter()
                    .any(|record| id_of(record) == *id);
                if given_up {
                    *fate = Fate::GivenUp;
                }
            }
        }
    }

    /// The broker starts again. What it did last when it died has either happened or not.
    fn start(&mut self, is_power_failure: bool) {
        self.broker = open(&self.disk, &self.clock);
        let delivered = self.delivered();
        let given_up: Vec<String> = given_up(&self.broker)
            .iter()
            .map(|record| id_of(record))
            .collect();
        let fates = std::mem::take(&mut self.fates);
        for (id, fate) in fates {
            let open = self.open_copies(&id);
            let now = match (open, delivered.get(&id), given_up.contains(&id)) {
                (1.., _, _) => Fate::Open,
                (0, Some(_), _) => Fate::Committed,
                (0, None, true) => Fate::GivenUp,
                (0, None, false) => Fate::RolledBack,
            };
            if is_power_failure {
                // What was not on the disk is gone: the whole, or what came last of it.
                let is_whole =
                    !self.copies(&id).is_empty() && (open == 1) != delivered.contains_key(&id);
                if is_whole && now == fate {
                    self.fates.insert(id, fate);
                }
                continue;
            }
            // Nothing ends by itself, and what has ended stays so.
            assert!(
                fate == Fate::Open || fate == now,
                "{id} was {fate:?} and is {now:?}"
            );
            self.fates.insert(id, now);
        }
    }

    fn open_copies(&self, id: &str) -> usize {
        let open = self.broker.transactions.open.lock();
        self.copies(id)
            .iter()
            .filter(|(offset, _)| !open.is_settled(*offset))
            .count()
    }

    /// How often each message reached its topic.
    fn delivered(&self) -> BTreeMap<String, usize> {
        let mut delivered = BTreeMap::new();
        if let Some(queue) = self.broker.store.find_queue("orders", 1) {
            for record in records(&self.broker, &queue) {
                *delivered.entry(id_of(&record)).or_default() += 1;
                let record = RecordRef::parse(&record).unwrap();
                assert_eq!(record.body(), id_of(record.as_bytes()).as_bytes());
                assert_eq!(
                    properties::get(&record.properties(), property::REAL_TOPIC),
                    None
                );
            }
        }
        delivered
    }

    fn verify(&self) {
        let delivered = self.delivered();
        for (id, fate) in &self.fates {
            let times = delivered.get(id).copied().unwrap_or(0);
            assert_eq!(
                times,
                usize::from(*fate == Fate::Committed),
                "{id} {fate:?} was delivered"
            );
            let open = self.open_copies(id);
            assert_eq!(
                open,
                usize::from(*fate == Fate::Open),
                "{id} {fate:?} is open"
            );
        }
        // Those that a power failure left half done are not among the fates.
        let (store, queue) = (&self.broker.store, &self.broker.transactions.half);
        let open = self.broker.transactions.open.lock();
        let all = queue.min_offset()..queue.max_offset();
        let is_there = |offset: &i64| store.message_at(queue, *offset).unwrap().is_some();
        let count = all
            .filter(|offset| !open.is_settled(*offset))
            .filter(is_there)
            .count();
        let counted = self.broker.transactions.metrics.count("orders");
        assert_eq!(counted, count as i64, "open ones are counted");
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Half { count, immunity } => self.send(*count, *immunity),
            Step::End(wishes) => self.end(wishes),
            Step::Wait(millis) => self.clock.advance(*millis),
            Step::Check => self.check(),
            Step::Restart => {
                self.broker.offsets.persist(|| {}).unwrap();
                self.broker.store.close().unwrap();
                self.start(false);
            }
            Step::Kill => {
                self.disk.kill();
                self.start(false);
            }
            Step::Die { after, ends } => {
                self.disk.die(*after, 0);
                match ends {
                    Some(ends) => self.end(ends),
                    None => self.check(),
                }
                self.disk.kill();
                self.disk.clear_faults();
                self.start(false);
            }
            Step::PowerFailure(seed) => {
                let mut bits = *seed;
                self.disk.power_failure(|| {
                    bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    bits >> 63 == 1
                });
                self.start(true);
            }
        }
    }
}

fn given_up(broker: &Broker) -> Vec<Vec<u8>> {
    let queue = broker
        .store
        .find_queue(names::TRANS_CHECK_MAX_TIME_TOPIC, 0);
    queue.map_or_else(Vec::new, |queue| records(broker, &queue))
}

#[test]
fn the_reference_reads_how_many_are_open() {
    let mut world = World::new();
    world.send(2, false);
    world.broker.transactions.persist().unwrap();
    let path = Path::new("/store/config/transactionMetrics");
    let read = || {
        let file = world.disk.open(path, OpenMode::Read).unwrap();
        let mut text = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut text, 0).unwrap();
        String::from_utf8(text).unwrap()
    };
    let now = world.broker.now_millis();
    assert_eq!(
        read(),
        format!(
            "{{\"dataVersion\":{{\"counter\":2,\"stateVersion\":0,\"timestamp\":{now}}},\
             \"transactionCount\":{{\"orders\":{{\"count\":2,\"timeStamp\":{now}}}}}}}"
        )
    );
    // The reference may have counted otherwise; what is open is counted anew.
    let wrong = read().replace("\"count\":2", "\"count\":7");
    let file = world.disk.open(path, OpenMode::Write).unwrap();
    file.write_at(wrong.as_bytes(), 0).unwrap();
    world.disk.kill();
    world.start(false);
    assert_eq!(world.broker.transactions.metrics.count("orders"), 2);
    // Who looks at them counts as a group.
    world.clock.advance(TIMEOUT + 1);
    world.check();
    let broker = &world.broker;
    let key = "RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS";
    let counter = ("GROUP_GET_NUMS", key);
    let told = broker
        .statistics
        .view(&broker.topics, "", counter, broker.now_millis());
    assert_eq!(told.unwrap().stats_day.sum, 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn each_transaction_ends_once_however_often_the_broker_dies(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.verify();
        }
        // Whoever is not answered is asked so often, and then given up.
        for _ in 0..=2 * CHECK_MAX + 2 {
            world.clock.advance(2 * TIMEOUT);
            world.check();
            world.verify();
        }
        prop_assert!(world.fates.values().all(|fate| *fate != Fate::Open));
        let given_up: Vec<String> = given_up(&world.broker).iter().map(|record| id_of(record)).collect();
        for (id, fate) in &world.fates {
            let times = given_up.iter().filter(|other| *other == id).count();
            prop_assert_eq!(times, usize::from(*fate == Fate::GivenUp));
        }
    }
}
