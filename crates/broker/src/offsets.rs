//! How far each group has come in each queue (`ConsumerOffsetManager`).
//!
//! Kept in `config/consumerOffset.json`, a `ConsumerOffsetSerializeWrapper`: the table's data
//! version, and the offsets by `topic@group` and queue. With `enableLmq` they are kept in
//! `lmqConsumerOffset.json` instead, where the groups of light queues have a table of their own
//! (`LmqConsumerOffsetManager`). Where the one file is missing, the other one is read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use config::Live;
use parking_lot::{Mutex, RwLock};
use store::{Clock, Disk};
use wire::body::json;
use wire::body::offset::ConsumerOffsetSerializeWrapper;
use wire::body::version::DataVersion;
use wire::message::names;

use crate::error::BrokerError;
use crate::settings::BrokerSettings;
use crate::table_file::TableFile;

/// Stands between topic and group in the file.
const TOPIC_GROUP_SEPARATOR: char = '@';

/// Commits that make up one new data version (`consumerOffsetUpdateVersionStep`).
const COMMITS_A_VERSION: u64 = 500;

/// Offsets by queue.
pub(crate) type QueueOffsets = BTreeMap<i32, i64>;

/// The offsets of one group in one topic.
#[derive(Default)]
struct Offsets {
    /// The next message to consume.
    committed: QueueOffsets,
    /// The next message to hand out, where that is known better than by `committed`.
    pulled: QueueOffsets,
    /// Where an administrator wants the consumers to go on; until one of them has heard of it
    /// their commits do not count.
    reset: QueueOffsets,
}

/// By group and topic. A group's or topic's entry stays until it is removed.
type Groups = HashMap<String, HashMap<String, Mutex<Offsets>>>;

/// All consumer offsets of the broker.
pub(crate) struct OffsetTable {
    /// Locked before an entry's own lock.
    groups: RwLock<Groups>,
    data_version: Mutex<DataVersion>,
    commits: AtomicU64,
    file: TableFile,
    clock: Arc<dyn Clock>,
    live: Live<BrokerSettings>,
}

impl OffsetTable {
    /// Reads the table.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        live: Live<BrokerSettings>,
    ) -> Result<Self, BrokerError> {
        type Content = ConsumerOffsetSerializeWrapper;
        let dir = live.load().store.config_dir();
        let mut files = ["consumerOffset.json", "lmqConsumerOffset.json"];
        if live.load().store.enable_lmq {
            files.reverse();
        }
        let [path, other] = files.map(|name| dir.join(name));
        let (file, mut content) = TableFile::open::<Content>(Arc::clone(&disk), &path)?;
        if content.is_none() {
            content = TableFile::open(disk, &other)?.1;
            if content.is_some() {
                let (path, other) = (path.display(), other.display());
                tracing::info!("offsets are taken over from {other} into {path}");
                file.touch();
            }
        }
        let content = content.unwrap_or_default();
        let light = content.lmq_offset_table.into_iter();
        let light =
            light.map(|(key, offset)| (key, QueueOffsets::from([(names::LMQ_QUEUE_ID, offset)])));
        let mut groups = Groups::new();
        for (key, committed) in content.offset_table.into_iter().chain(light) {
            // No topic can have the separator in its name.
            let Some((topic, group)) = key.split_once(TOPIC_GROUP_SEPARATOR) else {
                tracing::warn!(key, "offsets that are of no topic and group are dropped");
                continue;
            };
            let offsets = Mutex::new(Offsets {
                committed,
                ..Offsets::default()
            });
            groups
                .entry(group.into())
                .or_default()
                .insert(topic.into(), offsets);
        }
        let timestamp = clock.now_millis();
        let data_version = content.data_version.unwrap_or(DataVersion {
            timestamp,
            ..DataVersion::default()
        });
        Ok(Self {
            groups: RwLock::new(groups),
            data_version: Mutex::new(data_version),
            commits: AtomicU64::new(0),
            file,
            clock,
            live,
        })
    }

    /// Takes note of how far a group has come. Like every broker of RocketMQ it trusts the
    /// client, also if that goes back.
    pub(crate) fn commit(&self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        let before = self.change(group, topic, |offsets| {
            offsets.committed.insert(queue_id, offset)
        });
        if let Some(before) = before.filter(|&before| before > offset) {
            tracing::debug!(
                group,
                topic,
                queue_id,
                before,
                offset,
                "a consumer goes back"
            );
        }
        if self.commits.fetch_add(1, Ordering::Relaxed) % COMMITS_A_VERSION == COMMITS_A_VERSION - 1
        {
            self.data_version.lock().advance(0, self.clock.now_millis());
        }
        if before != Some(offset) {
            self.file.touch();
        }
    }

    /// Where a group goes on in a queue; where an administrator has reset it to, if anywhere.
    pub(crate) fn query(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        let server_side_reset = self.live.load().broker.use_server_side_reset_offset;
        self.look(group, topic, |offsets| {
            let reset = offsets.reset.get(&queue_id).filter(|_| server_side_reset);
            reset.or_else(|| offsets.committed.get(&queue_id)).copied()
        })
        .flatten()
    }

    /// What a group has been handed out up to; where it goes on, if that is not known.
    pub(crate) fn query_pulled(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.look(group, topic, |offsets| {
            offsets.pulled.get(&queue_id).copied()
        })
        .flatten()
        .or_else(|| self.query(group, topic, queue_id))
    }

    /// All committed offsets of a group in a topic.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> QueueOffsets {
        self.look(group, topic, |offsets| offsets.committed.clone())
            .unwrap_or_default()
    }

    /// Sets where a group goes on, whatever its consumers commit until one of them has heard of
    /// it (`assignResetOffset`).
    pub(crate) fn assign_reset(&self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        self.change(group, topic, |offsets| {
            offsets.reset.insert(queue_id, offset);
            offsets.committed.insert(queue_id, offset);
        });
        self.file.touch();
    }

    /// Whether a reset waits for a consumer to hear of it.
    pub(crate) fn has_reset(&self, group: &str, topic: &str, queue_id: i32) -> bool {
        self.look(group, topic, |offsets| {
            offsets.reset.contains_key(&queue_id)
        })
        .unwrap_or_default()
    }

    /// The reset that waits for a consumer to hear of it, which now happens.
    pub(crate) fn take_reset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.look(group, topic, |offsets| offsets.reset.remove(&queue_id))
            .flatten()
    }

    /// The topics that a group has offsets in, in order.
    pub(crate) fn topics_of(&self, group: &str) -> Vec<String> {
        let groups = self.groups.read();
        let Some(topics) = groups.get(group) else {
            return Vec::new();
        };
        let committed = topics
            .iter()
            .filter(|(_, offsets)| !offsets.lock().committed.is_empty());
        let mut topics: Vec<String> = committed.map(|(topic, _)| topic.clone()).collect();
        topics.sort_unstable();
        topics
    }

    /// The groups that have offsets in a topic. What members of broadcasting groups have come to is
    /// kept under a name that is no group's, and does not count.
    pub(crate) fn groups_of(&self, topic: &str) -> BTreeSet<String> {
        let groups = self.groups.read();
        let of_topic = groups.iter().filter(|(_, topics)| {
            topics
                .get(topic)
                .is_some_and(|offsets| !offsets.lock().committed.is_empty())
        });
        let names = of_topic.map(|(group, _)| group);
        let names = names.filter(|group| !group.contains(TOPIC_GROUP_SEPARATOR));
        names.cloned().collect()
    }

    /// How many topics of groups have offsets.
    pub(crate) fn len(&self) -> usize {
        self.groups.read().values().map(|topics| topics.len()).sum()
    }

    /// Forgets all of a group.
    pub(crate) fn remove_group(&self, group: &str) {
        if self.groups.write().remove(group).is_some() {
            self.file.touch();
        }
    }

    /// Forgets a topic in all groups.
    pub(crate) fn remove_topic(&self, topic: &str) {
        let mut any = false;
        self.groups.write().retain(|_, topics| {
            any |= topics.remove(topic).is_some();
            !topics.is_empty()
        });
        if any {
            self.file.touch();
        }
    }

    /// Gives `to` the offsets that `from` has in a topic, if it has any.
    pub(crate) fn clone_group(&self, from: &str, to: &str, topic: &str) {
        let committed = self.committed(from, topic);
        if !committed.is_empty() {
            self.change(to, topic, |offsets| offsets.committed = committed);
            self.file.touch();
        }
    }

    /// The table as the file has it; also what a replica is given.
    pub(crate) fn encode(&self) -> Bytes {
        let has_light = self.live.load().store.enable_lmq;
        let mut offset_table = BTreeMap::new();
        let mut lmq_offset_table = BTreeMap::new();
        for (group, topics) in &*self.groups.read() {
            for (topic, offsets) in topics {
                let committed = &offsets.lock().committed;
                let key = format!("{topic}{TOPIC_GROUP_SEPARATOR}{group}");
                if has_light && names::is_lmq(group) {
                    let offset = committed.get(&names::LMQ_QUEUE_ID);
                    lmq_offset_table.extend(offset.map(|offset| (key, *offset)));
                } else if !committed.is_empty() {
                    offset_table.insert(key, committed.clone());
                }
            }
        }
        let data_version = Some(*self.data_version.lock());
        json::write_pretty(&ConsumerOffsetSerializeWrapper {
            data_version,
            lmq_offset_table,
            offset_table,
        })
    }

    /// Writes the file, if it is behind. What the offsets count on is brought to the disk before
    /// them by `flush`.
    pub(crate) fn persist(&self, flush: impl FnOnce()) -> Result<(), BrokerError> {
        let encode = || {
            let content = self.encode();
            flush();
            content
        };
        Ok(self.file.save(encode)?)
    }

    fn look<T>(&self, group: &str, topic: &str, see: impl FnOnce(&mut Offsets) -> T) -> Option<T> {
        let groups = self.groups.read();
        let offsets = groups.get(group)?.get(topic)?;
        Some(see(&mut offsets.lock()))
    }

    fn change<T>(&self, group: &str, topic: &str, change: impl FnOnce(&mut Offsets) -> T) -> T {
        if let Some(offsets) = self
            .groups
            .read()
            .get(group)
            .and_then(|topics| topics.get(topic))
        {
            return change(&mut offsets.lock());
        }
        let mut groups = self.groups.write();
        let topics = groups.entry(group.into()).or_default();
        change(topics.entry(topic.into()).or_default().get_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;
    use store::{MemoryDisk, OpenMode, SystemClock};

    fn open(disk: &MemoryDisk) -> OffsetTable {
        open_with(disk, BrokerSettings::default())
    }

    fn open_with(disk: &MemoryDisk, mut settings: BrokerSettings) -> OffsetTable {
        settings.store.store_path_root_dir = "/store".into();
        OffsetTable::open(
            Arc::new(disk.clone()),
            Arc::new(SystemClock),
            Live::new(settings),
        )
        .unwrap()
    }

    fn put(disk: &MemoryDisk, name: &str, content: &[u8]) {
        let dir = Path::new("/store/config");
        disk.create_dir_all(dir).unwrap();
        disk.open(&dir.join(name), OpenMode::Create)
            .unwrap()
            .write_at(content, 0)
            .unwrap();
    }

    #[test]
    fn commits_outlive_a_restart() {
        let disk = MemoryDisk::new();
        let offsets = open(&disk);
        assert_eq!(offsets.query("g", "orders", 0), None);
        offsets.commit("g", "orders", 0, 7);
        offsets.commit("g", "orders", 1, 9);
        offsets.commit("g", "orders", 0, 5);
        offsets.persist(|| {}).unwrap();
        offsets.commit("g", "orders", 0, 6);
        let again = open(&disk);
        assert_eq!(again.query("g", "orders", 0), Some(5));
        assert_eq!(again.query("g", "orders", 1), Some(9));
        assert_eq!(again.query("h", "orders", 1), None);
    }

    #[test]
    fn a_reset_counts_until_a_consumer_hears_of_it() {
        let offsets = open(&MemoryDisk::new());
        offsets.commit("g", "orders", 0, 7);
        offsets.assign_reset("g", "orders", 0, 2);
        assert!(offsets.has_reset("g", "orders", 0));
        assert_eq!(offsets.query("g", "orders", 0), Some(2));
        assert_eq!(offsets.take_reset("g", "orders", 0), Some(2));
        assert_eq!(offsets.take_reset("g", "orders", 0), None);
        assert_eq!(
            offsets.query("g", "orders", 0),
            Some(2),
            "the group goes on from there"
        );
        offsets.commit("g", "orders", 0, 3);
        assert_eq!(offsets.query("g", "orders", 0), Some(3));
    }

    #[test]
    fn groups_and_topics_find_each_other_and_go() {
        let offsets = open(&MemoryDisk::new());
        for (group, topic) in [("g", "orders"), ("g", "bills"), ("h", "orders")] {
            offsets.commit(group, topic, 0, 1);
        }
        assert_eq!(offsets.topics_of("g"), ["bills", "orders"]);
        assert_eq!(
            offsets.groups_of("orders"),
            BTreeSet::from(["g".into(), "h".into()])
        );
        offsets.clone_group("g", "i", "bills");
        assert_eq!(
            offsets.committed("i", "bills"),
            QueueOffsets::from([(0, 1)])
        );
        offsets.remove_topic("orders");
        assert!(offsets.groups_of("orders").is_empty());
        assert_eq!(offsets.topics_of("g"), ["bills"]);
        offsets.remove_group("g");
        assert_eq!(offsets.query("g", "bills", 0), None);
    }

    #[test]
    fn tables_of_the_reference_are_read_and_written_back() {
        let golden = include_bytes!("../tests/data/consumerOffset.json");
        let disk = MemoryDisk::new();
        put(&disk, "consumerOffset.json", golden);
        let offsets = open(&disk);
        assert_eq!(offsets.query("cr-g", "cr-a", 3), Some(35));
        let wrapper: ConsumerOffsetSerializeWrapper = json::read(golden).unwrap();
        assert_eq!(
            json::read::<ConsumerOffsetSerializeWrapper>(&offsets.encode()).unwrap(),
            wrapper
        );

        let disk = MemoryDisk::new();
        put(
            &disk,
            "lmqConsumerOffset.json",
            include_bytes!("../tests/data/lmqConsumerOffset.json"),
        );
        let offsets = open(&disk);
        assert_eq!(offsets.query("fx-g-order", "fx-order", 0), Some(120));
        assert_eq!(offsets.query("fx-g-retry", "%RETRY%fx-g-retry", 0), Some(3));
    }

    #[test]
    fn with_light_queues_the_other_file_is_kept() {
        let disk = MemoryDisk::new();
        let golden = br#"{"lmqOffsetTable":{"%LMQ%a@%LMQ%g":7},"offsetTable":{"orders@g":{1:5}}}"#;
        put(&disk, "lmqConsumerOffset.json", golden);
        put(
            &disk,
            "consumerOffset.json",
            br#"{"offsetTable":{"orders@g":{1:2}}}"#,
        );
        let light = || {
            let mut settings = BrokerSettings::default();
            settings.store.enable_lmq = true;
            open_with(&disk, settings)
        };
        let offsets = light();
        assert_eq!(offsets.query("%LMQ%g", "%LMQ%a", 0), Some(7));
        assert_eq!(offsets.query("g", "orders", 1), Some(5));
        offsets.commit("%LMQ%g", "%LMQ%a", 0, 8);
        offsets.persist(|| {}).unwrap();

        let written: ConsumerOffsetSerializeWrapper = json::read(&light().encode()).unwrap();
        assert_eq!(written.lmq_offset_table["%LMQ%a@%LMQ%g"], 8);
        assert_eq!(
            written.offset_table["orders@g"],
            QueueOffsets::from([(1, 5)])
        );
        assert_eq!(
            open(&disk).query("g", "orders", 1),
            Some(2),
            "the plain file is as it was"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            commits in proptest::collection::vec(("[a-c]{1,2}", "[%A-C]{1,2}", 0..4_i32, any::<i64>()), 0..40)
        ) {
            let disk = MemoryDisk::new();
            let offsets = open(&disk);
            let mut model = BTreeMap::new();
            for (group, topic, queue, offset) in commits {
                offsets.commit(&group, &topic, queue, offset);
                model.insert((group, topic, queue), offset);
            }
            offsets.persist(|| {}).unwrap();
            let again = open(&disk);
            for ((group, topic, queue), offset) in model {
                prop_assert_eq!(again.query(&group, &topic, queue), Some(offset));
            }
        }
    }
}
