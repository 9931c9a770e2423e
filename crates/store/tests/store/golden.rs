//! Data directories written by the reference, and what it reads from them itself.
//!
//! `data/README.md` tells where they come from. The `.expected.jsonl` beside each holds what the
//! reference answered.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use kerolox_store::*;
use serde_json::Value;
use wire::message::property;
use wire::message::record::RecordRef;
use wire::message::{body, properties};

/// A directory written by the reference and what is expected of it.
pub(crate) struct Golden {
    dir: tempfile::TempDir,
    packed: &'static Packed,
}

/// The files of a directory and the lines that tell what is in them.
struct Packed {
    files: Vec<(PathBuf, Vec<u8>)>,
    expected: Vec<Value>,
}

fn packed(name: &str) -> &'static Packed {
    static SMALL: LazyLock<Packed> = LazyLock::new(|| Packed::read("store-small"));
    static CRASHED: LazyLock<Packed> = LazyLock::new(|| Packed::read("store-crashed"));
    static EXT: LazyLock<Packed> = LazyLock::new(|| Packed::read("store-ext"));
    match name {
        "store-small" => &SMALL,
        "store-ext" => &EXT,
        _ => &CRASHED,
    }
}

impl Packed {
    fn read(name: &str) -> Packed {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let packed = std::fs::File::open(data.join(format!("{name}.tar.zst"))).unwrap();
        let unpacked = ruzstd::decoding::StreamingDecoder::new(packed).unwrap();
        let mut files = Vec::new();
        for entry in tar::Archive::new(unpacked).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().into_owned();
            if entry.header().entry_type().is_file() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                files.push((path, bytes));
            }
        }
        let expected =
            std::fs::read_to_string(data.join(format!("{name}.expected.jsonl"))).unwrap();
        Packed {
            files,
            expected: expected
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        }
    }
}

/// Writes a file without the pages that hold nothing but zeros: one has 37 MB of them.
fn write_sparse(path: &Path, bytes: &[u8]) {
    const PAGE: usize = 4096;
    let file = OsDisk::shared().open(path, OpenMode::Create).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (page, at) in bytes.chunks(PAGE).zip((0..).step_by(PAGE)) {
        if page != &[0; PAGE][..page.len()] {
            file.write_at(page, at).unwrap();
        }
    }
}

impl Golden {
    pub(crate) fn unpack(name: &str) -> Golden {
        let golden = Golden {
            dir: tempfile::tempdir().unwrap(),
            packed: packed(name),
        };
        for (path, bytes) in &golden.packed.files {
            let path = golden.dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_sparse(&path, bytes);
        }
        golden
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn options(&self) -> StoreOptions {
        let mut options = StoreOptions::new(StoreConfig {
            store_path_root_dir: self.root().to_str().unwrap().to_owned(),
            mapped_file_size_commit_log: 1 << 20,
            mapped_file_size_consume_queue: 6000,
            mapper_file_size_batch_consume_queue: 13_800,
            mapped_file_size_consume_queue_ext: 1000,
            max_hash_slot_num: 1000,
            max_index_num: 4000,
            ..StoreConfig::default()
        });
        options.threads = false;
        options
    }

    pub(crate) fn open(&self) -> Arc<Store> {
        Store::open(self.options()).unwrap()
    }

    /// Files of a directory as the reference wrote them, by their names there.
    fn written(&self, dir: &str) -> BTreeMap<&Path, &[u8]> {
        let files = self.packed.files.iter();
        files
            .filter_map(|(path, bytes)| {
                let path = path.strip_prefix(Path::new("store").join(dir)).ok()?;
                Some((path, bytes.as_slice()))
            })
            .collect()
    }

    /// Says that the files of a directory are now as the reference wrote them.
    fn assert_written_alike(&self, dir: &str) {
        let written = self.written(dir);
        assert!(!written.is_empty());
        for (path, bytes) in written {
            let path = self.root().join(dir).join(path);
            assert!(std::fs::read(&path).unwrap() == bytes, "{}", path.display());
        }
    }

    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.packed
            .expected
            .iter()
            .filter(move |line| line["kind"] == kind)
    }

    pub(crate) fn one<'a>(&'a self, kind: &'a str) -> &'a Value {
        self.of_kind(kind).next().unwrap()
    }
}

pub(crate) fn text<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().unwrap()
}

pub(crate) fn number(line: &Value, name: &str) -> i64 {
    line[name]
        .as_i64()
        .unwrap_or_else(|| panic!("{name} in {line}"))
}

fn queue_of(store: &Store, line: &Value) -> Arc<Queue> {
    store
        .find_queue(text(line, "topic"), number(line, "queueId") as i32)
        .unwrap_or_else(|| panic!("no queue for {line}"))
}

/// Compares everything that can be read from an open store.
fn compare(golden: &Golden, store: &Store) {
    compare_queues(golden, store);
    for line in golden.of_kind("message") {
        compare_message(store, line);
    }
    for line in golden.of_kind("get_message") {
        let queue = queue_of(store, line);
        let got = store
            .get_messages(&queue, number(line, "offset"), 32, 1 << 20, &AllMessages)
            .unwrap();
        let status = match text(line, "status") {
            "OFFSET_OVERFLOW_ONE" => GetStatus::OffsetOverflowOne,
            "OFFSET_OVERFLOW_BADLY" => GetStatus::OffsetOverflowBadly,
            "OFFSET_TOO_SMALL" => GetStatus::OffsetTooSmall,
            "NO_MESSAGE_IN_QUEUE" => GetStatus::NoMessageInQueue,
            other => panic!("{other}"),
        };
        assert_eq!(
            (got.status, got.next_begin_offset),
            (status, number(line, "nextBeginOffset")),
            "{line}"
        );
    }
    for line in golden.of_kind("offset_by_time") {
        let queue = queue_of(store, line);
        let find = |boundary| {
            store
                .offset_by_time(&queue, number(line, "timestamp"), boundary)
                .unwrap()
        };
        assert_eq!(find(Boundary::Lower), number(line, "lower"), "{line}");
        assert_eq!(find(Boundary::Upper), number(line, "upper"), "{line}");
    }
    for line in golden.of_kind("unqueued") {
        let bytes = store
            .message(number(line, "commitLogOffset"))
            .unwrap()
            .unwrap();
        let record = RecordRef::parse(&bytes).unwrap();
        assert_eq!(record.topic(), text(line, "topic"));
        assert_eq!(record.queue_offset(), number(line, "queueOffset"));
        assert_eq!(record.total_size() as i64, number(line, "size"));
    }
    compare_keys(golden, store);
    let expected = golden.one("store");
    assert_eq!(
        store.min_physical_offset(),
        number(expected, "minPhyOffset")
    );
    assert_eq!(
        store.max_physical_offset(),
        number(expected, "maxPhyOffset")
    );
}

/// The answers to questions for keys. The reference lost the older keys of the killed store.
fn compare_keys(golden: &Golden, store: &Store) {
    let expected = golden.of_kind("key_query").map(|line| {
        let offsets = line["commitLogOffsets"].as_array().unwrap().iter();
        let offsets: Vec<i64> = offsets.map(|offset| offset.as_i64().unwrap()).collect();
        (line, offsets)
    });
    for (line, expected) in expected {
        let found = find(
            store,
            text(line, "topic"),
            text(line, "key"),
            number(line, "maxNum"),
        );
        if golden.one("store")["abortFilePresent"] == true {
            assert!(
                expected.iter().all(|at| found.contains(at)),
                "{line}: {found:?}"
            );
        } else {
            assert_eq!(found, expected, "{line}");
        }
    }
}

/// Every key of every message is found.
fn compare_all_keys(golden: &Golden, store: &Store) {
    for line in golden.of_kind("message") {
        let topic = line
            .get("recordTopic")
            .unwrap_or(&line["topic"])
            .as_str()
            .unwrap();
        let names = [property::KEYS, property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX];
        let texts = names
            .iter()
            .filter_map(|name| line["properties"][*name].as_str());
        for key in texts
            .flat_map(|text| text.split(' '))
            .filter(|key| !key.is_empty())
        {
            let found = find(store, topic, key, 64);
            assert!(
                found.is_sorted_by(|a, b| a < b),
                "{key} of {topic}: {found:?}"
            );
            // The key may have more messages than one answer.
            let there = found.contains(&number(line, "commitLogOffset")) || found.len() == 64;
            assert!(there, "{key} of {line}: {found:?}");
        }
    }
}

fn find(store: &Store, topic: &str, key: &str, max: i64) -> Vec<i64> {
    find_key(store, topic, Key::Text(key), max as usize)
}

/// Where the messages with a key are.
fn find_key(store: &Store, topic: &str, key: Key<'_>, max_count: usize) -> Vec<i64> {
    let query = Query {
        topic,
        key,
        max_count,
        max_bytes: usize::MAX,
        begin: 0,
        end: i64::MAX,
    };
    let messages = store.query(&query).unwrap().messages;
    let records = messages
        .iter()
        .map(|bytes| RecordRef::parse(bytes).unwrap());
    records.map(|record| record.physical_offset()).collect()
}

fn compare_queues(golden: &Golden, store: &Store) {
    for line in golden.of_kind("queue") {
        let queue = queue_of(store, line);
        assert_eq!(queue.min_offset(), number(line, "minOffset"), "{line}");
        assert_eq!(queue.max_offset(), number(line, "maxOffset"), "{line}");
        assert_eq!(
            store.earliest_message_time(&queue).unwrap(),
            number(line, "earliestStoreTime")
        );
        let last = store
            .entry(&queue, queue.max_offset() - 1)
            .unwrap()
            .unwrap();
        let end = match text(line, "type") {
            "BatchCQ" => last.physical_offset,
            _ => last.physical_offset + i64::from(last.size),
        };
        assert_eq!(end, number(line, "maxPhysicOffset"), "{line}");
    }
}

fn compare_message(store: &Store, line: &Value) {
    let queue = queue_of(store, line);
    let offset = number(line, "queueOffset");
    let unit = store.unit(&queue, offset).unwrap().unwrap();
    let entry = unit.entry;
    let expected = QueueUnit {
        queue_offset: offset,
        count: line.get("batchNum").map_or(1, |_| number(line, "batchNum")) as i16,
        entry: QueueEntry {
            physical_offset: number(line, "commitLogOffset"),
            size: number(line, "size") as i32,
            tags_code: number(line, "tagsCode"),
        },
    };
    assert_eq!(unit, expected, "{line}");
    assert_eq!(
        store.store_timestamp_at(&queue, offset).unwrap(),
        number(line, "storeTimestamp")
    );

    let bytes = store.message(entry.physical_offset).unwrap().unwrap();
    // Of a batch, each number gives the whole.
    for offset in offset..unit.end() {
        let got = store
            .get_messages(&queue, offset, 1, 1 << 20, &AllMessages)
            .unwrap();
        assert_eq!(
            (got.status, got.next_begin_offset, got.message_count),
            (GetStatus::Found, unit.end(), unit.count as usize),
            "{line}"
        );
        assert_eq!(got.slices.concat(), bytes);
    }
    let record = RecordRef::parse(&bytes).unwrap();
    record.check_body_crc().unwrap();
    assert_eq!(i64::from(record.body_crc()), number(line, "bodyCrc"));
    let decompressed = body::plain_body(&record, 1 << 22).unwrap();
    assert_eq!(decompressed.len() as i64, number(line, "bodyLen"), "{line}");
    assert_eq!(record.sys_flag(), number(line, "sysFlag") as i32);
    assert_eq!(record.born_host().to_string(), text(line, "bornHost"));
    let own = |name, otherwise| line.get(name).unwrap_or(&line[otherwise]);
    assert_eq!(
        record.topic(),
        own("recordTopic", "topic").as_str().unwrap()
    );
    assert_eq!(
        i64::from(record.queue_id()),
        own("recordQueueId", "queueId").as_i64().unwrap()
    );
    assert_eq!(
        record.queue_offset(),
        own("recordQueueOffset", "queueOffset").as_i64().unwrap()
    );
    assert_eq!(
        all_properties(&record.properties()),
        expected_properties(line),
        "{line}"
    );
    let Some(inner) = line.get("inner").and_then(Value::as_array) else {
        return;
    };
    assert_eq!(unit.count as usize, inner.len());
    for ((message, line), number_of) in body::Batch::new(&decompressed).zip(inner).zip(offset..) {
        assert_eq!(number_of, number(line, "queueOffset"));
        let text = std::str::from_utf8(message.unwrap().properties).unwrap();
        assert_eq!(all_properties(text), expected_properties(line), "{line}");
    }
    assert_eq!(body::Batch::new(&decompressed).count(), inner.len());
}

fn all_properties(text: &str) -> BTreeMap<String, Value> {
    properties::iter(text)
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

fn expected_properties(line: &Value) -> BTreeMap<String, Value> {
    let properties = line["properties"].as_object();
    properties
        .cloned()
        .unwrap_or_default()
        .into_iter()
        .collect()
}

#[test]
fn a_cleanly_stopped_store_reads_as_the_reference_reads_it() {
    let golden = Golden::unpack("store-small");
    let checkpoint = Checkpoint::decode(&std::fs::read(golden.root().join("checkpoint")).unwrap());
    let expected = golden.one("checkpoint");
    assert_eq!(
        checkpoint.log_timestamp,
        number(expected, "physicMsgTimestamp")
    );
    assert_eq!(
        checkpoint.queues_timestamp,
        number(expected, "logicsMsgTimestamp")
    );
    assert_eq!(
        checkpoint.index_timestamp,
        number(expected, "indexMsgTimestamp")
    );

    let store = golden.open();
    compare(&golden, &store);
    assert!(
        store.queues_of("fx-gone").is_empty(),
        "a deleted topic stays deleted"
    );
    assert_eq!(
        store.max_physical_offset(),
        number(golden.one("commitlog"), "end")
    );
    store.close().unwrap();
    // Opened and closed, nothing of it has changed.
    compare(&golden, &golden.open());
}

#[test]
fn a_killed_store_is_recovered_as_the_reference_recovers_it() {
    let golden = Golden::unpack("store-crashed");
    let store = golden.open();
    compare(&golden, &store);
    for line in golden.of_kind("acked") {
        let queue = queue_of(&store, line);
        for (index, id) in text(line, "offsetMsgId").split(',').enumerate() {
            let entry = store
                .entry(&queue, number(line, "queueOffset") + index as i64)
                .unwrap()
                .unwrap();
            let physical = i64::from_str_radix(&id[16..], 16).unwrap();
            assert_eq!(entry.physical_offset, physical, "{line}");
        }
    }
    store.close().unwrap();
    compare(&golden, &golden.open());
}

#[test]
fn queues_can_be_rebuilt_from_the_log_alone() {
    for name in ["store-small", "store-crashed"] {
        let golden = Golden::unpack(name);
        std::fs::remove_dir_all(golden.root().join("consumequeue")).unwrap();
        compare(&golden, &golden.open());
    }
}

#[test]
fn an_aborted_store_without_a_checkpoint_is_rebuilt_from_the_log() {
    let golden = Golden::unpack("store-small");
    std::fs::write(golden.root().join("abort"), "").unwrap();
    std::fs::remove_file(golden.root().join("checkpoint")).unwrap();
    let store = golden.open();
    compare(&golden, &store);
    assert!(
        !store.queues_of("fx-gone").is_empty(),
        "that it was deleted is not in the log"
    );
}

#[test]
fn entries_of_batch_queues_are_written_as_the_reference_writes_them() {
    let golden = Golden::unpack("store-small");
    let dir = "batchconsumequeue/fx-bcq/0";
    for path in golden.written(dir).keys() {
        std::fs::remove_file(golden.root().join(dir).join(path)).unwrap();
    }
    std::fs::write(golden.root().join("abort"), "").unwrap();
    std::fs::remove_file(golden.root().join("checkpoint")).unwrap();
    compare(&golden, &golden.open());
    golden.assert_written_alike(dir);
}

#[test]
fn extensions_of_entries_are_read_whether_they_are_written_or_not() {
    for writes in [false, true] {
        let golden = Golden::unpack("store-ext");
        let mut options = golden.options();
        options.settings.enable_consume_queue_ext = writes;
        for _ in 0..2 {
            let store = Store::open(options.clone()).unwrap();
            compare(&golden, &store);
            store.close().unwrap();
            golden.assert_written_alike("consumequeue");
            golden.assert_written_alike("consumequeue_ext");
        }
        // What follows gets its own units, or none, and what was there keeps its.
        for round in 0..120 {
            let store = Store::open(options.clone()).unwrap();
            let queue = store.queue("fx-ext-bits", 0).unwrap();
            let mut append = Append::new(
                &queue,
                b"new",
                b"",
                crate::common::host(1),
                crate::common::host(2),
            );
            append.tags_code = TagsCode::Known(round);
            store.append(std::slice::from_mut(&mut append));
            let offset = append.outcome.unwrap().unwrap().queue_offset;
            assert_eq!(offset, 40 + round);
            store.close().unwrap();
        }
        let store = Store::open(options).unwrap();
        for line in golden.of_kind("message") {
            compare_message(&store, line);
        }
        let queue = store.queue("fx-ext-bits", 0).unwrap();
        for round in 0..120 {
            let entry = store.entry(&queue, 40 + round).unwrap().unwrap();
            assert_eq!(entry.tags_code, round);
        }
    }
}

#[test]
fn extensions_of_entries_are_written_as_the_reference_writes_them() {
    let golden = Golden::unpack("store-ext");
    for dir in ["consumequeue", "consumequeue_ext"] {
        std::fs::remove_dir_all(golden.root().join(dir)).unwrap();
    }
    let mut options = golden.options();
    options.settings.enable_consume_queue_ext = true;
    compare(&golden, &Store::open(options).unwrap());
    for dir in ["consumequeue/fx-ext", "consumequeue_ext/fx-ext"] {
        golden.assert_written_alike(dir);
    }
}

#[test]
fn a_lost_extension_costs_the_filter_and_nothing_else() {
    let golden = Golden::unpack("store-ext");
    std::fs::remove_dir_all(golden.root().join("consumequeue_ext")).unwrap();
    let mut options = golden.options();
    options.settings.enable_consume_queue_ext = true;
    let store = Store::open(options).unwrap();
    let queue = store.find_queue("fx-ext", 0).unwrap();
    let first_of = |tags_code: i64, offset| {
        let got = store
            .get_messages(&queue, offset, 1, 1 << 20, &|code| code == tags_code)
            .unwrap();
        (got.status, got.message_count)
    };
    assert_eq!(first_of(-1, 0), (GetStatus::Found, 1), "it may be wanted");
    let mut append = Append::new(
        &queue,
        b"new",
        b"",
        crate::common::host(1),
        crate::common::host(2),
    );
    append.tags_code = TagsCode::Known(7);
    store.append(std::slice::from_mut(&mut append));
    let offset = append.outcome.unwrap().unwrap().queue_offset;
    assert_eq!(first_of(7, offset), (GetStatus::Found, 1));
    assert_eq!(first_of(-1, offset), (GetStatus::NoMatchedMessage, 0));
    assert_eq!(first_of(-1, 0), (GetStatus::Found, 1), "it has no other's");
}

/// Damages a directory as a variant of the expected data says.
pub(crate) fn patch(golden: &Golden, variant: &Value) {
    for patch in variant["patch"].as_array().unwrap() {
        let path = |name: &str| golden.root().join(text(patch, name));
        if patch.get("delete").is_some() {
            let path = path("delete");
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        } else if patch.get("create").is_some() {
            std::fs::write(path("create"), "").unwrap();
        } else if patch.get("truncate").is_some() {
            let file = std::fs::File::options()
                .write(true)
                .open(path("truncate"))
                .unwrap();
            file.set_len(number(patch, "size") as u64).unwrap();
        } else {
            let hex = text(patch, "hex");
            let bytes: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            let disk = OsDisk::shared();
            let file = disk.open(&path("file"), OpenMode::Write).unwrap();
            file.write_at(&bytes, number(patch, "offset") as u64)
                .unwrap();
        }
    }
}

/// Every message that the undamaged directory has and the damaged one gives.
fn readable(store: &Store, golden: &Golden) -> usize {
    let mut count = 0;
    for line in golden.of_kind("message") {
        let Some(queue) = store.find_queue(text(line, "topic"), number(line, "queueId") as i32)
        else {
            continue;
        };
        let offset = number(line, "queueOffset");
        let Some(entry) = store.entry(&queue, offset).unwrap() else {
            continue;
        };
        let whole = store
            .message_at(&queue, offset)
            .unwrap()
            .is_some_and(|bytes| {
                RecordRef::parse(&bytes).is_ok_and(|record| record.check_body_crc().is_ok())
            });
        if entry.physical_offset == number(line, "commitLogOffset") && whole {
            count += 1;
        }
    }
    count
}

#[test]
fn damage_costs_no_more_than_what_it_hit() {
    for name in ["store-small", "store-crashed"] {
        let variants: Vec<Value> = Golden::unpack(name).of_kind("variant").cloned().collect();
        for variant in variants {
            let golden = Golden::unpack(name);
            patch(&golden, &variant);
            let whole = golden.of_kind("message").count();
            let store = golden.open();
            let lost = whole - readable(&store, &golden);
            let most = match text(&variant, "name") {
                name if name.contains("body_flipped") || name.starts_with("last_record_") => 1,
                "consume_queue_last_three_zeroed" => 3,
                "first_commitlog_file_deleted" | "last_commitlog_file_deleted" => whole,
                "last_commitlog_file_short" => 100,
                _ => 0,
            };
            assert!(
                lost <= most,
                "{name}: {} lost {lost} messages",
                variant["name"]
            );

            // It goes on, and nothing gets the number of another.
            let queue = store.queue("new", 0).unwrap();
            let mut batch = [Append::new(
                &queue,
                b"new",
                b"",
                crate::common::host(1),
                crate::common::host(2),
            )];
            let before = store.max_physical_offset();
            store.append(&mut batch);
            assert!(batch[0].outcome.clone().unwrap().unwrap().physical_offset >= before);
            store.close().unwrap();
            let store = golden.open();
            assert_eq!(
                whole - readable(&store, &golden),
                lost,
                "{name}: {}",
                variant["name"]
            );
            assert_eq!(store.find_queue("new", 0).unwrap().max_offset(), 1);
        }
    }
}

#[test]
fn a_file_size_that_does_not_fit_is_named() {
    let golden = Golden::unpack("store-small");
    let mut options = golden.options();
    options.settings.mapped_file_size_commit_log = 1 << 21;
    let error = Store::open(options).err().unwrap().to_string();
    assert!(
        error.contains("mappedFileSizeCommitLog is 2097152"),
        "{error}"
    );
    let mut options = golden.options();
    options.settings.mapped_file_size_consume_queue = 4000;
    let error = Store::open(options).err().unwrap().to_string();
    assert!(
        error.contains("mappedFileSizeConsumeQueue is 4000"),
        "{error}"
    );
}

/// The index files of a directory, in order.
fn index_files(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join("index")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn the_index_made_from_the_log_is_that_of_the_reference() {
    for name in ["store-small", "store-crashed"] {
        let golden = Golden::unpack(name);
        let contents = |root: &Path| {
            let files = index_files(root);
            let contents = files.iter().map(|path| std::fs::read(path).unwrap());
            contents.collect::<Vec<Vec<u8>>>()
        };
        let theirs = contents(&golden.root());
        std::fs::remove_dir_all(golden.root().join("index")).unwrap();
        let store = golden.open();
        compare(&golden, &store);
        compare_all_keys(&golden, &store);
        store.close().unwrap();
        let ours = contents(&golden.root());
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let differs = ours.iter().zip(theirs).position(|(a, b)| a != b);
            assert_eq!(
                (differs, ours.len()),
                (None, theirs.len()),
                "file {at} of {name}"
            );
        }
    }
}

#[test]
fn tags_are_found_too() {
    let golden = Golden::unpack("store-small");
    let store = golden.open();
    let line = golden
        .of_kind("message")
        .find(|line| line["topic"] == "fx-order" && line.get("tags").is_some());
    let line = line.unwrap();
    let found = find_key(&store, "fx-order", Key::Tag(text(line, "tags")), 64);
    assert!(!found.is_empty());
}

/// Opens a directory again as it was packed, but for changes to the index files.
fn open_with_index(golden: &Golden, change: impl Fn(&std::fs::File)) -> Arc<Store> {
    let root = golden.root();
    let _ = std::fs::remove_dir_all(root.join("index"));
    std::fs::create_dir(root.join("index")).unwrap();
    for (path, bytes) in &golden.packed.files {
        let path = golden.dir.path().join(path);
        let in_index = path.starts_with(root.join("index"));
        // The others are not changed by a store that only reads.
        if in_index || path.parent() == Some(&root) {
            std::fs::write(&path, bytes).unwrap();
        }
        if in_index {
            change(&std::fs::File::options().write(true).open(&path).unwrap());
        }
    }
    golden.open()
}

#[test]
fn a_damaged_index_is_made_anew() {
    let header = [(0, 4), (8, 4), (16, 4), (24, 4), (32, 4), (36, 4)];
    let others = [
        (40, 1000),
        (2000, 4),
        (4040, 20),
        (4060, 30),
        (9000, 4),
        (30_000, 1000),
    ];
    for name in ["store-small", "store-crashed"] {
        let golden = Golden::unpack(name);
        for (at, len) in header.into_iter().chain(others) {
            for fill in [0, 0x7F] {
                let change =
                    |file: &std::fs::File| file.write_all_at(&vec![fill; len], at).unwrap();
                let store = open_with_index(&golden, change);
                // Slots and entries of a store that was closed are trusted until they contradict
                // themselves.
                if name == "store-crashed" || at < 40 {
                    compare_keys(&golden, &store);
                }
                for line in golden.of_kind("key_query") {
                    let found = find(&store, text(line, "topic"), text(line, "key"), 64);
                    assert!(found.is_sorted_by(|a, b| a < b));
                }
            }
        }
        for len in [0, 39, 40, 5000, 84_039, 84_041] {
            let store = open_with_index(&golden, |file| file.set_len(len).unwrap());
            compare_keys(&golden, &store);
        }
    }
}
