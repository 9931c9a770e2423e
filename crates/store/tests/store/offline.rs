//! Looking into directories, verifying and repairing them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kerolox_store::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::message::record::RecordRef;

use crate::golden::{Golden, number, patch, text};

/// Keeps what is found.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Report for Findings {
    fn found(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    fn progress(&mut self, done: u64, total: u64) {
        assert!(done <= total);
    }
}

/// The directory, read with the lengths that its files show.
fn offline(golden: &Golden) -> OfflineStore {
    let disk = OsDisk::shared();
    let settings = StoreConfig {
        store_path_root_dir: golden.root().to_str().unwrap().to_owned(),
        ..StoreConfig::default()
    };
    let settings = layout(&*disk, settings).unwrap();
    OfflineStore::open(disk, settings).unwrap()
}

/// The directory, read with the settings of its broker.
fn configured(golden: &Golden) -> OfflineStore {
    OfflineStore::open(OsDisk::shared(), golden.options().settings).unwrap()
}

/// What verifying finds, damage and notes.
fn verify(golden: &Golden) -> (Vec<Finding>, Vec<Finding>, Verified) {
    let mut findings = Findings::default();
    let verified = configured(golden).verify(&mut findings).unwrap();
    let is_damage = |finding: &Finding| finding.severity == Severity::Damage;
    let (damage, notes): (Vec<_>, Vec<_>) = findings.0.into_iter().partition(is_damage);
    assert_eq!(verified.damage, damage.len() as u64);
    assert_eq!(verified.notes, notes.len() as u64);
    (damage, notes, verified)
}

fn repair_golden(golden: &Golden) -> Repaired {
    let settings = golden.options().settings;
    repair(OsDisk::shared(), Arc::new(SystemClock), settings, "test").unwrap()
}

/// All files of a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// All files of a directory with their contents.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    };
    files(dir).into_iter().map(read).collect()
}

#[test]
fn the_reference_s_directories_have_nothing_wrong_with_them() {
    let golden = Golden::unpack("store-small");
    let before = contents(&golden.root());
    let (damage, notes, verified) = verify(&golden);
    assert_eq!(damage, []);
    let places: Vec<_> = notes.iter().map(|note| &note.place.queue).collect();
    // Its messages are in no queue any more.
    let gone = |id| Some(("fx-gone".to_owned(), id));
    assert_eq!(places, [&gone(0), &gone(1)], "{notes:?}");
    assert_eq!(
        verified.records as i64,
        number(golden.one("commitlog"), "records")
    );
    let simple = golden.of_kind("message");
    assert_eq!(verified.queue_entries as usize, simple.count());
    assert_eq!(verified.timer_entries, 76);
    assert!(verified.index_entries > 4000, "{verified:?}");
    assert_eq!(contents(&golden.root()), before, "nothing was changed");

    let golden = Golden::unpack("store-ext");
    let (damage, notes, verified) = verify(&golden);
    assert_eq!((damage, notes), (vec![], vec![]));
    let messages = golden.of_kind("message").count();
    assert_eq!(verified.queue_entries as usize, messages);

    let golden = Golden::unpack("store-crashed");
    let before = contents(&golden.root());
    let (damage, notes, verified) = verify(&golden);
    assert_eq!(damage, []);
    assert_eq!(verified.records, 448);
    // The torn record at the end, and a deleted topic.
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].place.file.ends_with("00000000000020971520"));
    assert!(notes[0].what.contains("unfinished write"));
    assert_eq!(contents(&golden.root()), before, "nothing was changed");
}

#[test]
fn a_damaged_index_entry_is_found_and_mended() {
    // Hash, position, seconds and the entry before, of the second entry; a slot in use.
    let entries = 40 + 4 * 1000 + 20;
    for (field, at) in [
        ("hash", 3),
        ("offset", 11),
        ("seconds", 15),
        ("previous", 18),
    ] {
        let golden = Golden::unpack("store-small");
        let path = files(&golden.root().join("index")).remove(0);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = entries + 20 + at;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (damage, _, _) = verify(&golden);
        let entry = Some(entries as u64 + 20);
        assert!(
            damage.iter().any(|finding| finding.place.at == entry),
            "{field}: {damage:?}"
        );
        repair_golden(&golden);
        let (damage, _, verified) = verify(&golden);
        assert_eq!(damage, [], "{field}");
        assert!(verified.index_entries > 4000);
    }
}

#[test]
fn the_index_is_read_with_the_sizes_that_its_files_show() {
    let golden = Golden::unpack("store-small");
    let mut wanted = BTreeSet::new();
    for query in golden.of_kind("key_query") {
        let hash = Key::Text(text(query, "key")).hash(text(query, "topic"));
        let positions = query["commitLogOffsets"].as_array().unwrap();
        wanted.extend(positions.iter().map(|at| (at.as_i64().unwrap(), hash)));
    }
    assert!(wanted.len() > 100, "{}", wanted.len());
    for file in offline(&golden).index_files().unwrap() {
        let file = file.unwrap();
        let header = file.header().unwrap();
        let entries: Vec<_> = file.entries().map(Result::unwrap).collect();
        assert_eq!(entries.len() as i32, header.count - 1);
        assert_eq!(entries.first().unwrap().1.offset, header.begin_offset);
        assert_eq!(entries.last().unwrap().1.offset, header.end_offset);
        for (_, entry) in entries {
            wanted.remove(&(entry.offset, entry.hash));
        }
    }
    assert_eq!(wanted, BTreeSet::new(), "every key has an entry");

    // The last file, which is not full, shows them as well.
    let mut files = files(&golden.root().join("index"));
    files.pop();
    for file in files {
        std::fs::remove_file(file).unwrap();
        let (found, said) = (offline(&golden), configured(&golden));
        let sizes = |store: &OfflineStore| {
            let settings = store.settings();
            (settings.max_hash_slot_num, settings.max_index_num)
        };
        assert_eq!(sizes(&found), sizes(&said));
    }
}

#[test]
fn every_queue_and_message_can_be_read_offline() {
    let golden = Golden::unpack("store-small");
    let store = offline(&golden);
    let found = store.settings();
    assert_eq!(found.mapped_file_size_commit_log, 1 << 20);
    assert_eq!(found.mapped_file_size_consume_queue, 6000);
    assert_eq!(found.mapper_file_size_batch_consume_queue, 13_800);
    let mut queues = store.queues().unwrap();
    let ends: Vec<Value> = queues
        .iter()
        .map(|queue| json!([queue.topic(), queue.id(), queue.first(), queue.end()]))
        .collect();
    let mut expected: Vec<Value> = golden
        .of_kind("queue")
        .map(|line| {
            json!([
                line["topic"],
                line["queueId"],
                line["minOffset"],
                line["maxOffset"]
            ])
        })
        .collect();
    expected.sort_by_key(|line| (line[0].to_string(), line[1].as_i64()));
    assert_eq!(ends, expected);
    for line in golden.of_kind("message") {
        let queue = queues
            .iter_mut()
            .find(|queue| {
                queue.topic() == text(line, "topic")
                    && i64::from(queue.id()) == number(line, "queueId")
            })
            .unwrap();
        let unit = queue.unit_of(number(line, "queueOffset")).unwrap().unwrap();
        let position = unit.entry.physical_offset;
        assert_eq!(position, number(line, "commitLogOffset"));
        let bytes = store.record(position).unwrap().unwrap();
        assert_eq!(bytes.len() as i64, number(line, "size"));
    }
}

#[test]
fn the_timer_s_files_read_as_the_reference_reads_them() {
    let golden = Golden::unpack("store-small");
    let store = offline(&golden);
    let slots: Vec<Value> = store
        .timer_slots()
        .unwrap()
        .map(|slot| {
            let (index, slot, entries) = slot.unwrap();
            let entries: Vec<Value> = entries
                .iter()
                .map(|(position, entry)| {
                    json!({
                        "timerLogPos": position, "size": TIMER_ENTRY_SIZE,
                        "prevPos": entry.previous, "magic": entry.magic,
                        "enqueueTime": entry.written, "delayed": entry.delay,
                        "commitLogOffset": entry.physical_offset,
                        "recordSize": entry.size, "topicHash": entry.topic_hash,
                    })
                })
                .collect();
            json!({
                "kind": "timer_slot", "index": index, "timeRaw": slot.time,
                "firstPos": slot.first, "lastPos": slot.last, "num": slot.count,
                "magic": slot.magic, "entries": entries,
            })
        })
        .collect();
    let expected: Vec<&Value> = golden.of_kind("timer_slot").collect();
    assert_eq!(slots.len(), expected.len());
    for (mut slot, expected) in slots.into_iter().zip(expected) {
        // What lists them stops after as many entries as the slot has messages.
        let listed = expected["entries"].as_array().unwrap().len();
        slot["entries"].as_array_mut().unwrap().truncate(listed);
        assert_eq!(slot, *expected);
    }

    let checkpoint = store.timer_checkpoint().unwrap().unwrap();
    let expected = golden.one("timer_check");
    assert_eq!(
        checkpoint.read_timestamp,
        number(expected, "lastReadTimeMs")
    );
    assert_eq!(checkpoint.flushed, number(expected, "lastTimerLogFlushPos"));
    assert_eq!(
        checkpoint.queue_offset,
        number(expected, "lastTimerQueueOffset")
    );
    assert_eq!(
        checkpoint.master_queue_offset,
        number(expected, "masterTimerQueueOffset")
    );
}

#[test]
fn the_timer_s_files_are_written_as_the_reference_writes_them() {
    let golden = Golden::unpack("store-small");
    let store = offline(&golden);
    let wheel = std::fs::read(golden.root().join("timerwheel")).unwrap();
    let log = std::fs::read(golden.root().join("timerlog/00000000000000000000")).unwrap();
    for slot in store.timer_slots().unwrap() {
        let (index, slot, entries) = slot.unwrap();
        let at = index as usize * TIMER_SLOT_SIZE;
        assert_eq!(slot.encode(), wheel[at..at + TIMER_SLOT_SIZE]);
        for (position, entry) in entries {
            let at = position as usize;
            assert_eq!(entry.encode(), log[at..at + TIMER_ENTRY_SIZE]);
        }
    }
    let check = std::fs::read(golden.root().join("config/timercheck")).unwrap();
    let checkpoint = store.timer_checkpoint().unwrap().unwrap();
    assert_eq!(checkpoint.encode(), check[..TIMER_CHECKPOINT_SIZE]);
}

#[test]
fn a_directory_in_use_is_neither_verified_nor_repaired() {
    let golden = Golden::unpack("store-small");
    let store = golden.open();
    let offline = offline(&golden);
    assert!(offline.is_in_use().unwrap());
    let queues = golden.of_kind("queue").count();
    assert_eq!(
        offline.queues().unwrap().len(),
        queues,
        "but it can be looked at"
    );
    let error = offline.verify(&mut Findings::default()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    let settings = offline.settings().clone();
    let error = repair(OsDisk::shared(), Arc::new(SystemClock), settings, "test").unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    store.close().unwrap();
    assert!(!offline.is_in_use().unwrap());
    assert_eq!(verify(&golden).0, []);
}

#[test]
fn a_directory_without_a_store_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let settings = StoreConfig {
            store_path_root_dir: dir.path().to_str().unwrap().to_owned(),
            ..StoreConfig::default()
        };
        let error = OfflineStore::open(OsDisk::shared(), settings)
            .err()
            .unwrap();
        error.to_string()
    };
    assert!(open().ends_with("with `commitlog` in it"), "{}", open());
    std::fs::create_dir_all(dir.path().join("store/commitlog")).unwrap();
    assert!(open().ends_with("here its directory `store`"), "{}", open());
}

#[test]
fn a_repair_leaves_nothing_to_find() {
    for name in ["store-small", "store-crashed"] {
        let variants: Vec<Value> = Golden::unpack(name).of_kind("variant").cloned().collect();
        for variant in variants {
            let golden = Golden::unpack(name);
            patch(&golden, &variant);
            verify(&golden);
            repair_golden(&golden);
            let (damage, _, _) = verify(&golden);
            let damage: Vec<_> = damage.iter().filter(|finding| is_mended(finding)).collect();
            assert!(damage.is_empty(), "{name} {}: {damage:?}", variant["name"]);
        }
    }
}

#[test]
fn a_repair_keeps_what_it_replaces_and_what_was_deleted() {
    let golden = Golden::unpack("store-small");
    let queues = golden.root().join("consumequeue");
    let before: Vec<Vec<u8>> = contents(&queues).into_values().collect();
    let log = golden.root().join("commitlog/00000000000000000000");
    let (line, at) = {
        let line = golden.of_kind("message").nth(700).unwrap().clone();
        let at = number(&line, "commitLogOffset") as usize;
        (line, at)
    };
    let mut bytes = std::fs::read(&log).unwrap();
    let size = number(&line, "size") as usize;
    bytes[at + 100] ^= 1;
    std::fs::write(&log, &bytes).unwrap();

    let repaired = repair_golden(&golden);
    assert_eq!(
        (repaired.stretches, repaired.damaged_bytes),
        (1, size as u64)
    );
    let kept = golden
        .root()
        .join("commitlog.bak-test/00000000000000000000");
    assert_eq!(
        std::fs::read(kept).unwrap()[at..at + size],
        bytes[at..at + size]
    );
    let kept: Vec<Vec<u8>> = contents(&golden.root().join("consumequeue.bak-test"))
        .into_values()
        .collect();
    assert!(kept == before, "the queues were renamed");
    assert!(
        !queues.join("fx-gone").exists(),
        "a deleted topic stays deleted"
    );
    let (damage, notes, _) = verify(&golden);
    assert_eq!(damage, []);
    assert!(
        notes.iter().any(|note| note.what.contains("lost")),
        "{notes:?}"
    );
}

/// Findings that a repair leaves nothing of: those about the log, the queues, the index and the
/// checkpoint.
fn is_mended(finding: &Finding) -> bool {
    let top = finding.place.file.iter().next().unwrap();
    [
        "commitlog",
        "consumequeue",
        "batchconsumequeue",
        "checkpoint",
        "index",
    ]
    .iter()
    .any(|name| top == *name)
}

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip { bit: u8 },
    Truncate,
    Delete,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is found, and a repair mends all but the message hit.
    Mended,
    /// It is found, but a repair cannot know what was there.
    Found,
    /// It need not be found.
    Nothing,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        8 => (0..8_u8).prop_map(|bit| Harm::Flip { bit }),
        1 => Just(Harm::Truncate),
        1 => Just(Harm::Delete),
    ]
}

/// What must become of a byte of a record when it changes.
fn record_outcome(record: &RecordRef<'_>, in_record: usize, is_queued: bool) -> Outcome {
    let size = record.total_size();
    let properties_at = size - record.properties_bytes().len();
    let topic_at = properties_at - 2 - record.topic_bytes().len();
    let body_at = topic_at - 1 - record.body().len();
    match in_record {
        0..8 | 28..36 => Outcome::Mended,
        8..12 if !record.body().is_empty() => Outcome::Mended,
        // Queue id, queue offset, topic: the message is another one now.
        12..16 | 20..28 if is_queued => Outcome::Found,
        at if at >= topic_at && at < topic_at + record.topic_bytes().len() && is_queued => {
            Outcome::Found
        }
        // The lengths of body, topic and properties, and the body.
        at if at >= body_at - 4 && at < topic_at => Outcome::Mended,
        at if at >= properties_at - 2 && at < properties_at => Outcome::Mended,
        _ => Outcome::Nothing,
    }
}

/// What must become of a change of the golden directory, and which messages are hit by it.
fn outcome(golden: &Golden, path: &Path, harm: Harm, at: u64) -> (Outcome, std::ops::Range<i64>) {
    let relative = path.strip_prefix(golden.root()).unwrap();
    let top = relative.iter().next().unwrap().to_str().unwrap().to_owned();
    let start: i64 = relative
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap_or(0);
    let position = start + at as i64;
    match (top.as_str(), harm) {
        // As if it had been too old.
        ("commitlog", Harm::Delete) if start == 0 => (Outcome::Nothing, 0..1 << 20),
        ("commitlog", Harm::Delete) => (Outcome::Found, start..i64::MAX),
        ("commitlog", Harm::Truncate) => (Outcome::Mended, position..start + (1 << 20)),
        ("commitlog", Harm::Flip { .. }) => {
            let store = offline(golden);
            let mut scan = store.scan(0);
            while let Some(item) = scan.next().unwrap() {
                let LogItem::Record(record, begin) = item else {
                    panic!("the golden log is whole");
                };
                let end = begin + record.total_size() as i64;
                if (begin..end).contains(&position) {
                    // A batch has its number in a property.
                    let is_queued = record.topic() != "fx-gone" && record.topic() != "fx-bcq";
                    let outcome = record_outcome(&record, (position - begin) as usize, is_queued);
                    return (outcome, begin..end);
                }
            }
            let blank = golden.one("commitlog_blank");
            let end = scan.end();
            let outcome = if position >= end
                || (0..8).contains(&(position - number(blank, "commitLogOffset")))
            {
                Outcome::Mended
            } else {
                Outcome::Nothing
            };
            (outcome, 0..0)
        }
        ("consumequeue", Harm::Flip { .. }) => {
            let bytes = std::fs::read(path).unwrap();
            let entry = &bytes[at as usize / 20 * 20..][..20];
            let is_entry = entry.iter().any(|byte| *byte != 0);
            (
                if is_entry {
                    Outcome::Mended
                } else {
                    Outcome::Nothing
                },
                0..0,
            )
        }
        ("batchconsumequeue", Harm::Flip { .. }) => {
            let bytes = std::fs::read(path).unwrap();
            let entry = &bytes[at as usize / BATCH_ENTRY_SIZE * BATCH_ENTRY_SIZE..];
            let is_entry = entry[..BATCH_ENTRY_SIZE].iter().any(|byte| *byte != 0);
            // The store timestamp and what is reserved is not looked at.
            let outcome = match at as usize % BATCH_ENTRY_SIZE {
                0..20 | 28..38 if is_entry => Outcome::Mended,
                _ => Outcome::Nothing,
            };
            (outcome, 0..0)
        }
        ("consumequeue" | "batchconsumequeue", Harm::Truncate | Harm::Delete) => {
            (Outcome::Mended, 0..0)
        }
        ("timerlog", Harm::Delete) => (Outcome::Found, 0..0),
        _ => (Outcome::Nothing, 0..0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn damage_is_found_and_mended(
        kind in prop_oneof![5 => Just("commitlog"), 4 => Just("consumequeue"), 2 => Just("batchconsumequeue"), 2 => Just("")],
        file in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        harm in harm(),
    ) {
        let golden = Golden::unpack("store-small");
        let root = golden.root();
        let files: Vec<PathBuf> = files(&root.join(kind))
            .into_iter()
            .filter(|path| !path.ends_with("timerwheel") && !path.ends_with("lock"))
            .collect();
        let path = file.get(&files).clone();
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.is_empty() {
            return Ok(());
        }
        // Most of a file is empty.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let at = place.index((used + 100).min(bytes.len()));
        let (outcome, hit) = outcome(&golden, &path, harm, at as u64);
        match harm {
            Harm::Flip { bit } => {
                bytes[at] ^= 1 << bit;
                std::fs::write(&path, &bytes).unwrap();
            }
            Harm::Truncate => std::fs::write(&path, &bytes[..at]).unwrap(),
            Harm::Delete => std::fs::remove_file(&path).unwrap(),
        }

        let (damage, _, _) = verify(&golden);
        let said = format!("{harm:?} of byte {at} of {}", path.display());
        if outcome != Outcome::Nothing {
            prop_assert!(!damage.is_empty(), "{} is not found", said);
        }
        repair_golden(&golden);
        let (damage, _, _) = verify(&golden);
        let left: Vec<_> = damage.iter().filter(|finding| is_mended(finding)).collect();
        if outcome == Outcome::Mended {
            prop_assert!(left.is_empty(), "{} leaves {:?}", said, left);
        }
        let store = golden.open();
        for line in golden.of_kind("message") {
            let physical = number(line, "commitLogOffset");
            let end = physical + number(line, "size");
            if (physical < hit.end && end > hit.start) || outcome == Outcome::Found {
                continue;
            }
            let queue = store.find_queue(text(line, "topic"), number(line, "queueId") as i32).unwrap();
            let entry = store.entry(&queue, number(line, "queueOffset")).unwrap();
            prop_assert_eq!(entry.map(|entry| entry.physical_offset), Some(physical), "{}: {}", said, line);
        }
        store.close().unwrap();
    }
}
