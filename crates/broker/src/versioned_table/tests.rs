//! What was promised of topics is in a file that the reference reads, whenever the process is
//! killed or the power fails; and a new row costs the same however many there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use config::Live;
use proptest::prelude::*;
use serde::Deserialize;
use store::{Fault, MemoryDisk, Operation};
use wire::body::topic::TopicConfig;

use super::*;
use crate::settings::BrokerSettings;
use crate::test_clock::TestClock;
use crate::topics::TopicTable;

const FILES: [&str; 2] = ["/store/config/topics.json", "/store/config/topics.json.bak"];

#[derive(Debug, Clone)]
enum Step {
    /// Topics of these names get so many queues.
    Upsert(Vec<u8>, i32),
    /// A message makes a topic, or finds it.
    Send(u8),
    Delete(u8),
    /// An operation of the disk fails; of a write some bytes are written.
    Fail(Operation, u32, usize),
    /// The process dies in the middle of an operation, or loses power, with these pieces kept.
    Crash {
        after: u32,
        partial: usize,
        power: Option<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let operation = prop_oneof![
        Just(Operation::Write),
        Just(Operation::Sync),
        Just(Operation::Change)
    ];
    prop_oneof![
        8 => (proptest::collection::vec(0..30_u8, 1..4), 1..9)
            .prop_map(|(names, queues)| Step::Upsert(names, queues)),
        4 => (0..30_u8).prop_map(Step::Send),
        2 => (0..30_u8).prop_map(Step::Delete),
        2 => (operation, 0..6_u32, 0..400_usize)
            .prop_map(|(operation, after, partial)| Step::Fail(operation, after, partial)),
        3 => (0..12_u32, 0..400_usize, proptest::option::of(any::<u64>()))
            .prop_map(|(after, partial, power)| Step::Crash { after, partial, power }),
    ]
}

fn name(number: u8) -> String {
    format!("topic-{number}")
}

fn open(disk: &MemoryDisk) -> TopicTable {
    let mut settings = BrokerSettings::default();
    settings.store.store_path_root_dir = "/store".into();
    let clock = Arc::new(TestClock::new());
    TopicTable::open(Arc::new(disk.clone()), clock, Live::new(settings)).unwrap()
}

/// Queues by topic as the reference finds them: it takes the backup where it can't understand the
/// file.
fn read_by_the_reference(disk: &MemoryDisk) -> BTreeMap<String, i64> {
    let contents = FILES.map(|path| disk.content(Path::new(path)).unwrap_or_default());
    if contents.iter().all(Vec::is_empty) {
        return BTreeMap::new();
    }
    let mut read = contents
        .iter()
        .filter_map(|content| serde_json::from_slice::<serde_json::Value>(content).ok());
    let content = read.next().expect("one of both is whole");
    let table = content["topicConfigTable"].as_object().unwrap();
    let queues = |topic: &serde_json::Value| topic["writeQueueNums"].as_i64().unwrap();
    table
        .iter()
        .filter(|(name, _)| name.starts_with("topic-"))
        .map(|(name, topic)| (name.clone(), queues(topic)))
        .collect()
}

/// How a topic may be: one way where that was promised, several where something failed.
type Model = BTreeMap<String, Vec<Option<i64>>>;

fn note(model: &mut Model, name: String, value: Option<i64>, is_promised: bool) {
    let ways = model.entry(name).or_insert_with(|| vec![None]);
    if is_promised {
        ways.clear();
    }
    ways.push(value);
}

proptest! {
    #[test]
    fn what_was_promised_of_topics_outlives_kills_and_power_failures(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let disk = MemoryDisk::new();
        let mut topics = open(&disk);
        // There are the directories then.
        topics.create_on_send_back("%RETRY%g", 1, 6, None, 0);
        let mut model = Model::new();
        let mut crash = None;
        for step in steps {
            match step {
                Step::Upsert(names, queues) => {
                    let config = |number: &u8| TopicConfig {
                        topic_name: name(*number),
                        read_queue_nums: queues,
                        write_queue_nums: queues,
                        ..TopicConfig::default()
                    };
                    let done = topics.upsert(names.iter().map(config).collect()).is_ok();
                    for number in names {
                        note(&mut model, name(number), Some(i64::from(queues)), done);
                    }
                }
                Step::Send(number) => {
                    let topic = topics.create_on_send(&name(number), "TBW102", 4, 0).unwrap();
                    topics.keep(std::slice::from_ref(&topic));
                    let queues = i64::from(topic.config.write_queue_nums);
                    // A sender does not hear that the file could not be written.
                    let done = topics.persist().is_ok();
                    note(&mut model, name(number), Some(queues), done);
                }
                Step::Delete(number) => {
                    let done = topics.remove([&*name(number)]).is_ok();
                    note(&mut model, name(number), None, done);
                }
                Step::Fail(operation, after, partial) => {
                    let kind = std::io::ErrorKind::Other;
                    disk.inject(Fault { operation, after, partial, kind });
                }
                Step::Crash { after, partial, power } => {
                    disk.clear_faults();
                    disk.die(after, partial);
                    crash = Some(power);
                }
            }
            let Some(power) = crash.filter(|_| disk.is_dead()) else {
                continue;
            };
            crash = None;
            match power {
                None => disk.kill(),
                Some(mut kept) => disk.power_failure(|| {
                    kept = kept.rotate_left(1);
                    kept & 1 == 1
                }),
            }
            let found = read_by_the_reference(&disk);
            topics = open(&disk);
            for (name, ways) in &mut model {
                let is = found.get(name).copied();
                prop_assert!(ways.contains(&is), "{name} is {is:?}, not one of {ways:?}");
                let own = topics.get(name).map(|topic| i64::from(topic.config.write_queue_nums));
                prop_assert_eq!(own, is, "{}", name);
                *ways = vec![is];
            }
        }
    }
}

/// A table of numbers.
type Numbers = BTreeMap<String, Arc<i32>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NumbersContent {
    numbers: BTreeMap<String, i32>,
    data_version: DataVersion,
}

impl Rows for Numbers {
    type Content = NumbersContent;
    type Row = i32;

    const MAP: &'static str = "numbers";

    fn take(&mut self, content: NumbersContent) -> DataVersion {
        let numbers = content.numbers.into_iter();
        self.extend(numbers.map(|(name, number)| (name, Arc::new(number))));
        content.data_version
    }

    fn content(&self, data_version: DataVersion) -> NumbersContent {
        let numbers = self.iter();
        NumbersContent {
            numbers: numbers
                .map(|(name, number)| (name.clone(), **number))
                .collect(),
            data_version,
        }
    }

    fn row(&self, name: &str) -> Option<&Arc<i32>> {
        self.get(name)
    }

    fn rows(&self) -> impl Iterator<Item = (&String, &Arc<i32>)> {
        self.iter()
    }
}

fn numbers(disk: &MemoryDisk) -> VersionedTable<Numbers> {
    let (disk, clock) = (Arc::new(disk.clone()), Arc::new(TestClock::new()));
    VersionedTable::open(
        disk,
        clock,
        Path::new("/s/config/numbers.json"),
        Numbers::new(),
    )
    .unwrap()
}

fn put(table: &VersionedTable<Numbers>, name: &str, number: i32) {
    let mut rows = table.write();
    rows.insert(name.into(), Arc::new(number));
    table.advance(rows, [name.to_owned()]);
}

#[test]
fn a_new_row_costs_the_same_however_many_there_are() {
    let disk = MemoryDisk::new();
    let table = numbers(&disk);
    for number in 0..3_000 {
        put(&table, &format!("number-{number}"), number);
        table.persist().unwrap();
    }
    let content = disk.content(Path::new("/s/config/numbers.json")).unwrap();
    // File and backup, each row with the end of the file behind it, and the whole ones between.
    let most = 30 * content.len() as u64;
    assert!(
        disk.written() < most,
        "{} bytes for {}",
        disk.written(),
        content.len()
    );
    assert_eq!(numbers(&disk).read().len(), 3_000);
}

#[test]
fn rows_that_change_again_and_again_do_not_fill_the_file() {
    let disk = MemoryDisk::new();
    let table = numbers(&disk);
    for number in 0..1_000 {
        put(&table, "the only one", number);
        table.persist().unwrap();
        let content = disk.content(Path::new("/s/config/numbers.json")).unwrap();
        assert!(content.len() < 300, "{} bytes", content.len());
    }
    assert_eq!(*numbers(&disk).read()["the only one"], 999);
}

#[test]
fn all_that_wait_at_the_same_time_share_one_write() {
    let disk = MemoryDisk::new();
    let table = numbers(&disk);
    put(&table, "first", 0);
    table.persist().unwrap();
    let before = disk.syncs();
    std::thread::scope(|scope| {
        // As long as this is held, a write is under way.
        let writing = table.extent.lock();
        for number in 0..50 {
            let table = &table;
            scope.spawn(move || {
                put(table, &format!("number-{number}"), number);
                table.persist().unwrap();
            });
        }
        while table.read().len() < 51 {
            std::thread::yield_now();
        }
        drop(writing);
    });
    assert!(disk.syncs() - before <= 4, "one file and its backup");
    assert_eq!(numbers(&disk).read().len(), 51);
}
