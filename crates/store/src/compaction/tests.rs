//! Compaction against a model: what was stored, read under the rule of compaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use wire::message::properties;
use wire::message::record::RecordRef;

use crate::*;

const TOPIC: &str = "compacted";
const HOUR: i64 = 3_600_000;

/// A clock that stands until it is moved, at the hour when old files are removed.
#[derive(Clone)]
struct StandingClock(Arc<AtomicI64>);

impl Clock for StandingClock {
    fn now_millis(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn local_hour(&self) -> u32 {
        4
    }
}

/// A message as it was sent.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    key: Option<u8>,
    body: Body,
    /// A power failure took it, and not those behind it.
    lost: bool,
}

/// Which body, of how many bytes.
type Body = (u64, usize);

/// A number and a body.
type Read = (i64, Body);

/// What a body begins with tells it from others.
fn body_of(bytes: &[u8]) -> Body {
    let id = bytes.first_chunk().map_or(0, |id| u64::from_be_bytes(*id));
    (id, bytes.len())
}

struct World {
    disk: MemoryDisk,
    clock: StandingClock,
    kind: QueueKind,
    store: Arc<Store>,
    queue: Arc<Queue>,
    /// All that the queue was given since it was made, by number.
    sent: Vec<Sent>,
    /// How many of these are known to be on the disk.
    flushed: usize,
    bodies: u64,
}

impl World {
    fn new() -> World {
        World::of(QueueKind::Simple)
    }

    fn of(kind: QueueKind) -> World {
        let disk = MemoryDisk::new();
        let clock = StandingClock(Arc::new(AtomicI64::new(1_700_000_000_000)));
        disk.set_now_millis(clock.now_millis());
        let (store, queue) = open(&disk, &clock, kind).unwrap();
        World {
            disk,
            clock,
            kind,
            store,
            queue,
            sent: Vec::new(),
            flushed: 0,
            bodies: 0,
        }
    }

    fn send(&mut self, key: Option<u8>, size: usize) {
        self.bodies += 1;
        let mut body = self.bodies.to_be_bytes().to_vec();
        body.resize(size, b'x');
        let keys = key.map(|key| key.to_string());
        let keys = keys.iter().map(|keys| ("KEYS", keys.as_str()));
        let text = properties::encode(keys);
        let host = ([127, 0, 0, 1], 10911).into();
        let mut batch = [Append::new(&self.queue, &body, text.as_bytes(), host, host)];
        self.store.append(&mut batch);
        let stored = batch[0].outcome.take().unwrap().unwrap();
        assert_eq!(stored.queue_offset, self.sent.len() as i64);
        self.sent.push(Sent {
            key,
            body: body_of(&body),
            lost: false,
        });
    }

    /// Makes the log's files old and removes them, all but the last.
    fn age(&self) {
        self.clock.0.fetch_add(100 * HOUR, Ordering::Relaxed);
        self.disk.set_now_millis(self.clock.now_millis());
        self.store.housekeeping();
    }

    /// Starts again after a kill, or after a power failure that takes some of what was not flushed.
    fn restart(&mut self, lost: Option<u64>) {
        match lost {
            None => self.disk.kill(),
            Some(bits) => {
                let mut turn = bits;
                self.disk.power_failure(|| {
                    turn = turn.rotate_left(1);
                    turn & 1 == 1
                });
            }
        }
        self.disk.clear_faults();
        (self.store, self.queue) = open(&self.disk, &self.clock, self.kind).unwrap();
        let copied = self.queue.compacted().map_or(0, |copy| copy.end()) as usize;
        let kept = self.queue.max_offset() as usize;
        assert!(kept >= copied.max(self.flushed));
        assert!(kept == self.sent.len() || lost.is_some());
        self.sent.truncate(kept);
        for index in copied..kept {
            let message = self.store.message_at(&self.queue, index as i64).unwrap();
            if message.is_none() && !self.sent[index].lost {
                let may_be_lost = index >= self.flushed && lost.is_some();
                assert!(may_be_lost, "message {index} is lost");
                self.sent[index].lost = true;
            }
        }
        self.flushed = kept;
        let dir = super::copy::dir(&self.store.settings(), TOPIC, 0);
        for file in self.disk.files() {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            assert!(!file.starts_with(&dir) || name.starts_with(&files::file_name(copied as i64)));
        }
    }

    /// All that a consumer gets.
    fn read(&self) -> Vec<Read> {
        let (mut all, mut offset): (Vec<Read>, i64) = (Vec::new(), 0);
        loop {
            let got = self
                .store
                .get_messages(&self.queue, offset, 3, 1 << 20, &AllMessages)
                .unwrap();
            let bytes = got.slices.concat();
            let (mut rest, mut count) = (bytes.as_slice(), 0);
            while !rest.is_empty() {
                let record = RecordRef::parse(rest).unwrap();
                record.check_body_crc().unwrap();
                all.push((record.queue_offset(), body_of(record.body())));
                rest = &rest[record.total_size()..];
                count += 1;
            }
            assert_eq!((got.message_count, got.size), (count, bytes.len()));
            if got.next_begin_offset <= offset {
                assert_eq!(offset, self.queue.max_offset(), "{got:?}");
                return all;
            }
            offset = got.next_begin_offset;
        }
    }

    /// What a consumer is to get: of the messages that the copy covers the last one of each key,
    /// if it has a body, then all others.
    fn expected(&self) -> Vec<Read> {
        let end = self.queue.compacted().map_or(0, |copy| copy.end()) as usize;
        let (covered, young) = self.sent.split_at(end);
        let is_last = |index: usize, sent: &Sent| {
            let later = &covered[index + 1..];
            sent.body.1 > 0
                && sent.key.is_some()
                && !later
                    .iter()
                    .any(|later| later.key == sent.key && !later.lost)
        };
        let kept = covered
            .iter()
            .enumerate()
            .filter(|(index, sent)| is_last(*index, sent));
        let all = kept.chain((end..).zip(young));
        all.filter(|(_, sent)| !sent.lost)
            .map(|(index, sent)| (index as i64, sent.body))
            .collect()
    }

    fn check(&self) {
        assert_eq!(self.read(), self.expected());
    }
}

fn settings() -> StoreConfig {
    StoreConfig {
        store_path_root_dir: "/store".to_owned(),
        mapped_file_size_commit_log: 4096,
        mapped_file_size_consume_queue: 200,
        mapper_file_size_batch_consume_queue: 10 * BATCH_ENTRY_SIZE,
        max_hash_slot_num: 7,
        max_index_num: 100,
        delete_commit_log_files_interval: 0,
        delete_file_batch_max: 1000,
        // Five messages, or 1380 bytes.
        compaction_cq_mapped_file_size: 6 * BATCH_ENTRY_SIZE,
        compaction_mapped_file_size: 1,
        // As few keys as possible.
        max_offset_map_size: 1,
        ..StoreConfig::default()
    }
}

fn open(
    disk: &MemoryDisk,
    clock: &StandingClock,
    kind: QueueKind,
) -> Result<(Arc<Store>, Arc<Queue>), StoreError> {
    let store = Store::open(StoreOptions {
        settings: settings(),
        disk: Arc::new(disk.clone()),
        clock: Arc::new(clock.clone()),
        threads: false,
    })?;
    store.set_compacted(|topic| topic == TOPIC);
    let queue = store.queue_of_kind(TOPIC, 0, kind)?;
    Ok((store, queue))
}

#[derive(Debug, Clone)]
enum Step {
    Send {
        key: Option<u8>,
        size: usize,
    },
    Compact,
    Age,
    /// The process dies at one of the writes of a pass, or of the removal of old files.
    Die {
        flushed: bool,
        compacting: bool,
        after: u32,
        partial: usize,
        lost: Option<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop_oneof![9 => (0_u8..5).prop_map(Some), 1 => Just(None)];
    let size = prop_oneof![8 => 8_usize..60, 1 => Just(0), 1 => 300_usize..900];
    prop_oneof![
        30 => (key, size).prop_map(|(key, size)| Step::Send { key, size }),
        3 => Just(Step::Compact),
        1 => Just(Step::Age),
        3 => (any::<[bool; 2]>(), 0_u32..40, 0_usize..100, any::<Option<u64>>()).prop_map(
            |([flushed, compacting], after, partial, lost)| Step::Die { flushed, compacting, after, partial, lost }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_last_message_of_each_key_survives_whatever_happens(
        steps in prop::collection::vec(step(), 1..160),
        kind in prop::sample::select(vec![QueueKind::Simple, QueueKind::Batch]),
    ) {
        let mut world = World::of(kind);
        for step in steps {
            match step {
                Step::Send { key, size } => world.send(key, size),
                Step::Compact => {
                    world.store.compact().unwrap();
                    let end = world.queue.compacted().map_or(0, |copy| copy.end());
                    let begin = end.max(world.queue.min_offset()) as usize;
                    let young = world.sent[begin..].iter().filter(|sent| !sent.lost).count();
                    prop_assert!(young <= 5, "{young} messages are not compacted");
                }
                Step::Age => world.age(),
                Step::Die { flushed, compacting, after, partial, lost } => {
                    if flushed {
                        world.store.flush().unwrap();
                        world.flushed = world.sent.len();
                    }
                    world.disk.die(after, partial);
                    if compacting {
                        // It may or may not come to its end.
                        let _ = world.store.compact();
                    } else {
                        world.age();
                    }
                    world.restart(lost);
                }
            }
            world.check();
        }
    }
}

#[test]
fn more_keys_than_there_is_memory_for_are_compacted_one_after_the_other() {
    let mut world = World::new();
    for round in 0..3 {
        for key in 0..=250 {
            world.send(Some(key), 8 + round);
        }
    }
    for key in 0..5 {
        world.send(Some(key), 8);
    }
    world.store.compact().unwrap();
    world.check();
    assert_eq!(
        world.read().len(),
        251 + 3,
        "three messages are too few to be compacted"
    );
}

#[test]
fn what_the_log_has_lost_is_in_the_copy() {
    let mut world = World::new();
    world.send(Some(100), 30);
    for number in 0..400 {
        world.send(Some((number % 7) as u8), 30);
    }
    world.age();
    assert!(world.store.min_physical_offset() > 0);
    assert!(world.queue.min_offset() > 300);
    world.check();
    let read = world.read();
    assert!(read.len() < 60, "{}", read.len());
    world.restart(None);
    assert_eq!(world.read(), read);
    assert_eq!(read[0].0, 0);
    assert_eq!(world.store.first_offset(&world.queue), 0);
    for offset in 0..world.queue.min_offset() {
        let found = world.store.message_at(&world.queue, offset).unwrap();
        let is_left = read.iter().any(|(left, _)| *left == offset);
        assert_eq!(found.is_some(), is_left, "{offset}");
    }
}

#[test]
fn a_record_with_several_messages_stays() {
    let mut world = World::of(QueueKind::Batch);
    world.send(Some(1), 30);
    let host = ([127, 0, 0, 1], 10911).into();
    let mut batch = [Append::new(&world.queue, b"three in one", b"", host, host)];
    batch[0].inner_messages = 3;
    world.store.append(&mut batch);
    for _ in 0..12 {
        let mut single = [Append::new(
            &world.queue,
            b"one",
            b"KEYS\x011\x02",
            host,
            host,
        )];
        world.store.append(&mut single);
    }
    world.store.compact().unwrap();
    assert!(world.queue.compacted().is_some_and(|copy| copy.end() > 4));
    world.disk.kill();
    (world.store, world.queue) = open(&world.disk, &world.clock, world.kind).unwrap();
    for offset in 1..=3 {
        let got = world
            .store
            .get_messages(&world.queue, offset, 1, 1 << 20, &AllMessages)
            .unwrap();
        assert_eq!((got.status, got.message_count), (GetStatus::Found, 3));
        assert_eq!(got.next_begin_offset, 4);
        let record = world.store.message_at(&world.queue, offset).unwrap();
        let record = record.unwrap();
        assert_eq!(RecordRef::parse(&record).unwrap().body(), b"three in one");
    }
}

#[test]
fn a_damaged_message_of_the_copy_is_left_out() {
    let mut world = World::new();
    for key in 0..20 {
        world.send(Some(key), 30);
    }
    world.store.compact().unwrap();
    let mut expected = world.expected();
    let file = world.disk.files().into_iter().find(|file| {
        file.starts_with("/store/compacted") && file.extension().is_some_and(|ext| ext == "log")
    });
    world.disk.damage(&file.unwrap(), 0, &[0xff; 4]);
    expected.remove(0);
    assert_eq!(world.read(), expected);
}

#[test]
fn a_consumer_s_filter_counts_in_the_copy() {
    let mut world = World::new();
    for key in 0..20 {
        world.send(Some(key), 30);
    }
    world.store.compact().unwrap();
    let nothing = |_: i64| false;
    let got = world
        .store
        .get_messages(&world.queue, 0, 32, 1 << 20, &nothing);
    let got = got.unwrap();
    assert_eq!(
        (got.status, got.message_count),
        (GetStatus::NoMatchedMessage, 0)
    );
    assert_eq!((got.min_offset, got.max_offset), (0, 20));
    assert_eq!(got.next_begin_offset, 20);
}

#[test]
fn a_deleted_topic_leaves_no_copy() {
    let mut world = World::new();
    for key in 0..20 {
        world.send(Some(key), 30);
    }
    world.store.compact().unwrap();
    world.store.delete_topic(TOPIC).unwrap();
    let files = world.disk.files();
    assert!(
        !files
            .iter()
            .any(|file| file.starts_with("/store/compacted"))
    );
    world.queue = world.store.queue(TOPIC, 0).unwrap();
    world.sent.clear();
    world.send(Some(1), 30);
    world.check();
}

#[test]
fn a_closed_store_makes_no_copies() {
    let mut world = World::new();
    for key in 0..20 {
        world.send(Some(key), 30);
    }
    world.store.close().unwrap();
    assert!(matches!(world.store.compact(), Err(StoreError::Closed)));
    assert!(world.queue.compacted().is_none());
}
