//! The topics of a broker and their settings (`TopicConfigManager`).
//!
//! They are kept in `config/topics.json`, a `TopicConfigSerializeWrapper`: the table's data
//! version, and the settings by name. A topic that is made for a message is in the file before
//! the message is stored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::Live;
use parking_lot::{Mutex, RwLockWriteGuard};
use serde::{Serialize, Serializer};
use store::{Clock, Disk};
use tokio::sync::Notify;
use wire::body::topic::{TopicConfig, TopicConfigSerializeWrapper};
use wire::body::version::DataVersion;
use wire::message::{attribute, names, perm};

use crate::attributes;
use crate::changes::Changes;
use crate::error::BrokerError;
use crate::settings::BrokerSettings;
use crate::statistics::TopicStatistics;
use crate::versioned_table::{Rows, VersionedTable};

/// Queues of the topic of delayed messages, one a level.
const SCHEDULE_QUEUES: i32 = 18;
/// Queues of the topic of POP check points (`reviveQueueNum`).
pub(crate) const REVIVE_QUEUES: i32 = 8;
/// Queues of the topic for benchmarks.
const BENCHMARK_QUEUES: i32 = 1024;

/// The most queues that a topic may be made with: what there is to say about all of them then fits
/// into a frame.
pub(crate) const MOST_QUEUES: i32 = 1 << 16;

/// A topic as it is now; a change replaces it.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Its settings, with its name.
    pub(crate) config: TopicConfig,
    /// What goes through it.
    pub(crate) statistics: Arc<TopicStatistics>,
    /// Whether the file is known to have it.
    kept: AtomicBool,
}

impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.config.serialize(serializer)
    }
}

impl Topic {
    /// Whether the file is known to have it.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    /// Whether it is for messages of a type (`TopicMessageType`).
    pub(crate) fn is_for(&self, message_type: &str) -> bool {
        let of_topic = self.config.attributes.get(attribute::MESSAGE_TYPE);
        of_topic.is_some_and(|of_topic| of_topic == message_type)
    }
}

/// All topics of the broker.
pub(crate) struct TopicTable {
    table: VersionedTable<Topics>,
    /// The names of the system's topics that depend on this broker's and its cluster's.
    own_system_topics: HashSet<String>,
    /// What the name servers have not heard of.
    unregistered: Mutex<Changes>,
    changed: Notify,
    live: Live<BrokerSettings>,
}

#[derive(Default)]
struct Topics(HashMap<String, Arc<Topic>>);

impl Topics {
    fn put(&mut self, config: TopicConfig) -> Arc<Topic> {
        let known = self.0.get(&config.topic_name);
        let topic = Arc::new(Topic {
            statistics: known.map_or_else(Arc::default, |known| Arc::clone(&known.statistics)),
            config,
            kept: AtomicBool::new(false),
        });
        self.0
            .insert(topic.config.topic_name.clone(), Arc::clone(&topic));
        topic
    }
}

impl Rows for Topics {
    type Content = TopicConfigSerializeWrapper;
    type Row = Topic;

    const MAP: &'static str = "topicConfigTable";

    fn take(&mut self, content: TopicConfigSerializeWrapper) -> DataVersion {
        for (name, config) in content.topic_config_table {
            self.put(TopicConfig {
                topic_name: name,
                ..config
            });
        }
        content.data_version
    }

    fn content(&self, version: DataVersion) -> TopicConfigSerializeWrapper {
        let topics = self.0.iter();
        TopicConfigSerializeWrapper {
            data_version: version,
            topic_config_table: topics
                .map(|(name, topic)| (name.clone(), topic.config.clone()))
                .collect(),
        }
    }

    fn row(&self, topic: &str) -> Option<&Arc<Topic>> {
        self.0.get(topic)
    }

    fn rows(&self) -> impl Iterator<Item = (&String, &Arc<Topic>)> {
        self.0.iter()
    }
}

impl TopicTable {
    /// Reads the table and adds the system's topics that it lacks.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        live: Live<BrokerSettings>,
    ) -> Result<Self, BrokerError> {
        let settings = live.load();
        let path = settings.store.config_dir().join("topics.json");
        let system_topics = system_topics(&settings);
        let own_system_topics = system_topics
            .iter()
            .map(|config| config.topic_name.clone())
            .collect();
        let mut topics = Topics::default();
        for config in system_topics {
            topics.put(config);
        }
        Ok(Self {
            table: VersionedTable::open(disk, clock, &path, topics)?,
            own_system_topics,
            unregistered: Mutex::default(),
            changed: Notify::new(),
            live,
        })
    }

    /// The topic of a name. Every name of a light queue is one, if there may be light queues
    /// (`LmqTopicConfigManager`).
    pub(crate) fn get(&self, topic: &str) -> Option<Arc<Topic>> {
        if names::is_lmq(topic) && self.live.load().store.enable_lmq {
            let config = TopicConfig {
                topic_name: topic.into(),
                read_queue_nums: 1,
                write_queue_nums: 1,
                ..TopicConfig::default()
            };
            let kept = AtomicBool::new(true);
            return Some(Arc::new(Topic {
                config,
                statistics: Arc::default(),
                kept,
            }));
        }
        self.table.read().0.get(topic).cloned()
    }

    /// Whether a topic keeps the last message of each key only.
    pub(crate) fn is_compacted(&self, topic: &str) -> bool {
        let topics = self.table.read();
        let topic = topics.0.get(topic);
        topic.is_some_and(|topic| attributes::is_compacted(&topic.config.attributes))
    }

    /// Brings topics that messages are about to be stored in into the file, where they are not there
    /// yet, so that a message never outlives its topic's settings.
    pub(crate) fn keep(&self, topics: &[Arc<Topic>]) {
        if topics.iter().all(|topic| topic.is_kept()) {
            return;
        }
        self.table.persist_or_warn();
        for topic in topics {
            topic.kept.store(true, Ordering::Release);
        }
    }

    /// The topic that a message goes to, made after the model of `default_topic` if it is new:
    /// with as many queues as the client wants, but no more than the model has. `None` if there
    /// is no such model, or none that may be inherited from
    /// (`createTopicInSendMessageMethod`). It has to be [kept](Self::keep) before the message is.
    pub(crate) fn create_on_send(
        &self,
        topic: &str,
        default_topic: &str,
        queue_nums: i32,
        sys_flag: i32,
    ) -> Option<Arc<Topic>> {
        if let Some(known) = self.get(topic) {
            return Some(known);
        }
        if default_topic == names::AUTO_CREATE_TOPIC_KEY_TOPIC
            && !self.live.load().broker.auto_create_topic_enable
        {
            return None;
        }
        let mut topics = self.table.write();
        if let Some(known) = topics.0.get(topic) {
            return Some(Arc::clone(known));
        }
        let model = &topics.0.get(default_topic)?.config;
        if !perm::is_inherited(model.perm) {
            return None;
        }
        let queue_nums = queue_nums.min(model.write_queue_nums).max(0);
        let config = TopicConfig {
            topic_name: topic.into(),
            read_queue_nums: queue_nums,
            write_queue_nums: queue_nums,
            perm: model.perm & !perm::INHERIT,
            topic_sys_flag: sys_flag,
            topic_filter_type: model.topic_filter_type,
            ..TopicConfig::default()
        };
        tracing::info!(
            topic,
            queues = queue_nums,
            default_topic,
            "a message makes a new topic"
        );
        let created = topics.put(config);
        self.advance(topics, vec![topic.to_owned()]);
        Some(created)
    }

    /// The retry or dead letter topic of a group, made if it is new. `order` says whether it
    /// shall be an ordered one, if that is known (`createTopicInSendMessageBackMethod`).
    pub(crate) fn create_on_send_back(
        &self,
        topic: &str,
        queue_nums: i32,
        perm: i32,
        order: Option<bool>,
        sys_flag: i32,
    ) -> Arc<Topic> {
        let is_as_wanted = |known: &Topic| order.is_none_or(|order| known.config.order == order);
        if let Some(known) = self.get(topic).filter(|known| is_as_wanted(known)) {
            return known;
        }
        let mut topics = self.table.write();
        let config = match topics.0.get(topic) {
            Some(known) if is_as_wanted(known) => return Arc::clone(known),
            Some(known) => TopicConfig {
                order: order.unwrap_or_default(),
                ..known.config.clone()
            },
            None => TopicConfig {
                topic_name: topic.into(),
                read_queue_nums: queue_nums,
                write_queue_nums: queue_nums,
                perm,
                order: order.unwrap_or_default(),
                topic_sys_flag: sys_flag,
                ..TopicConfig::default()
            },
        };
        let created = topics.put(config);
        self.advance(topics, vec![topic.to_owned()]);
        self.table.persist_or_warn();
        created
    }

    /// Makes topics or changes them, all or none. The attributes are changes, by signed names.
    pub(crate) fn upsert(&self, configs: Vec<TopicConfig>) -> Result<(), BrokerError> {
        let mut topics = self.table.write();
        let mut changed = Vec::new();
        for mut config in configs {
            let known = topics.0.get(&config.topic_name).map(|topic| &topic.config);
            let current = known.map(|known| &known.attributes);
            config.attributes = attributes::alter(attributes::TOPIC, current, &config.attributes)?;
            if known != Some(&config) {
                changed.push(config);
            }
        }
        if changed.is_empty() {
            // It may be so since a time when the file could not be written.
            drop(topics);
            return self.persist();
        }
        let mut names = Vec::with_capacity(changed.len());
        for config in changed {
            tracing::info!(
                topic = config.topic_name,
                ?config,
                "topic created or changed"
            );
            names.push(config.topic_name.clone());
            topics.put(config);
        }
        self.advance(topics, names);
        self.persist()
    }

    /// Marks topics as ordered, since the name servers say so (`updateOrderTopicConfig`).
    pub(crate) fn set_ordered<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut topics = self.table.write();
        let mut changed = Vec::new();
        for name in names {
            let config = match topics.0.get(name) {
                Some(known) if !known.config.order => TopicConfig {
                    order: true,
                    ..known.config.clone()
                },
                _ => continue,
            };
            topics.put(config);
            changed.push(name.to_owned());
        }
        if !changed.is_empty() {
            self.advance(topics, changed);
            self.table.persist_or_warn();
        }
    }

    /// Forgets topics, those that are there.
    pub(crate) fn remove<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), BrokerError> {
        let mut topics = self.table.write();
        let before = topics.0.len();
        for topic in names {
            if topics.0.remove(topic).is_some() {
                tracing::info!(topic, "topic deleted");
            }
        }
        if topics.0.len() < before {
            self.advance_all(topics);
        } else {
            drop(topics);
        }
        self.persist()
    }

    /// Does something with every topic, under the table's lock.
    pub(crate) fn for_each(&self, act: impl FnMut(&Arc<Topic>)) {
        self.table.read().0.values().for_each(act);
    }

    /// How many topics there are.
    pub(crate) fn len(&self) -> usize {
        self.table.read().0.len()
    }

    /// All topics, as they stand in the file.
    pub(crate) fn wrapper(&self) -> TopicConfigSerializeWrapper {
        self.table.content()
    }

    /// At most `count` topics behind the first `skip`, in the order of their names.
    pub(crate) fn page(&self, skip: usize, count: usize) -> TopicConfigSerializeWrapper {
        let topics = self.table.read();
        let sorted: BTreeMap<&String, &Arc<Topic>> = topics.0.iter().collect();
        let page = sorted.into_iter().skip(skip).take(count);
        TopicConfigSerializeWrapper {
            data_version: self.table.version(),
            topic_config_table: page
                .map(|(name, topic)| (name.clone(), topic.config.clone()))
                .collect(),
        }
    }

    /// The version of the table.
    pub(crate) fn data_version(&self) -> DataVersion {
        self.table.version()
    }

    /// Whether a topic is the system's own.
    pub(crate) fn is_system(&self, topic: &str) -> bool {
        names::is_system_topic(topic) || self.own_system_topics.contains(topic)
    }

    /// The names of the system's topics, in order.
    pub(crate) fn system_topics(&self) -> Vec<String> {
        let own = self.own_system_topics.iter().cloned();
        let mut topics: Vec<String> = own.chain(names::SYSTEM_TOPICS.map(str::to_owned)).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Takes note of a change elsewhere that name servers have to hear of, such as that of the
    /// broker's permission.
    pub(crate) fn mark_changed(&self) {
        self.advance_all(self.table.write());
    }

    /// Takes what the name servers have not heard of.
    pub(crate) fn take_unregistered(&self) -> Changes {
        self.unregistered.lock().take()
    }

    /// Has a permit after every change: it is time to register with the name servers.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Writes the file, if it is behind.
    pub(crate) fn persist(&self) -> Result<(), BrokerError> {
        self.table.persist()
    }

    /// Counts that topics are new or changed, and lets go of the table.
    fn advance(&self, changed: RwLockWriteGuard<'_, Topics>, names: Vec<String>) {
        self.unregistered.lock().add(names.iter().cloned());
        self.table.advance(changed, names);
        self.changed.notify_one();
    }

    /// Counts any other change of the topics, and lets go of the table.
    fn advance_all(&self, changed: RwLockWriteGuard<'_, Topics>) {
        *self.unregistered.lock() = Changes::All;
        self.table.advance_all(changed);
        self.changed.notify_one();
    }
}

/// The topics that every broker has (`TopicConfigManager.init`).
fn system_topics(settings: &BrokerSettings) -> Vec<TopicConfig> {
    let broker = &settings.broker;
    let topic = |name: &str, queues: i32| TopicConfig {
        topic_name: name.into(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        ..TopicConfig::default()
    };
    let with_perm = |config: TopicConfig, perm: i32| TopicConfig { perm, ..config };
    let inherited = |usable: bool| match usable {
        true => perm::INHERIT | perm::READ | perm::WRITE,
        false => perm::INHERIT,
    };
    let cluster = &broker.broker_cluster_name;
    let member_group = format!(
        "{}{}",
        names::SYNC_BROKER_MEMBER_GROUP_PREFIX,
        broker.broker_name
    );
    let mut topics = vec![
        topic(names::SELF_TEST_TOPIC, 1),
        topic(names::BENCHMARK_TOPIC, BENCHMARK_QUEUES),
        with_perm(
            TopicConfig {
                topic_name: cluster.clone(),
                ..TopicConfig::default()
            },
            inherited(broker.cluster_topic_enable),
        ),
        with_perm(
            topic(&broker.broker_name, 1),
            inherited(broker.broker_topic_enable),
        ),
        topic(names::OFFSET_MOVED_EVENT, 1),
        topic(names::SCHEDULE_TOPIC, SCHEDULE_QUEUES),
        topic(&names::reply_topic(cluster), 1),
        topic(&names::revive_topic(cluster), REVIVE_QUEUES),
        with_perm(topic(&member_group, 1), perm::INHERIT),
        topic(names::TRANS_HALF_TOPIC, 1),
        topic(names::TRANS_OP_HALF_TOPIC, 1),
        topic(names::TIMER_TOPIC, 1),
    ];
    if broker.auto_create_topic_enable {
        let model = topic(
            names::AUTO_CREATE_TOPIC_KEY_TOPIC,
            broker.default_topic_queue_nums,
        );
        topics.push(with_perm(model, inherited(true)));
    }
    if broker.trace_topic_enable {
        topics.push(topic(&broker.msg_trace_topic_name, 1));
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::BrokerConfig;
    use store::{MemoryDisk, OpenMode, SystemClock};
    use wire::body::json;

    fn settings() -> BrokerSettings {
        let broker = BrokerConfig {
            broker_name: "broker-a".into(),
            broker_cluster_name: "cluster-a".into(),
            ..BrokerConfig::default()
        };
        let store = store::StoreConfig {
            store_path_root_dir: "/store".into(),
            ..store::StoreConfig::default()
        };
        BrokerSettings {
            broker,
            store,
            ..BrokerSettings::default()
        }
    }

    fn open(disk: &MemoryDisk, settings: BrokerSettings) -> TopicTable {
        TopicTable::open(
            Arc::new(disk.clone()),
            Arc::new(SystemClock),
            Live::new(settings),
        )
        .unwrap()
    }

    fn config(name: &str, attributes: &[(&str, &str)]) -> TopicConfig {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        TopicConfig {
            topic_name: name.into(),
            attributes,
            ..TopicConfig::default()
        }
    }

    #[test]
    fn a_new_topic_takes_after_its_model_and_outlives_a_restart() {
        let disk = MemoryDisk::new();
        let topics = open(&disk, settings());
        let before = topics.data_version();
        let created = topics.create_on_send("orders", "TBW102", 20, 1).unwrap();
        assert_eq!(
            created.config.write_queue_nums, 8,
            "no more than TBW102 has"
        );
        assert_eq!(created.config.read_queue_nums, 8);
        assert_eq!(created.config.perm, perm::READ | perm::WRITE);
        assert_eq!(created.config.topic_sys_flag, 1);
        assert_eq!(topics.data_version().counter, before.counter + 1);
        let few = topics.create_on_send("few", "TBW102", 4, 0).unwrap();
        topics.keep(&[created.clone(), few.clone()]);
        assert_eq!(few.config.write_queue_nums, 4);

        let again = open(&disk, settings());
        assert_eq!(again.get("orders").unwrap().config, created.config);
        assert_eq!(again.data_version(), topics.data_version());
    }

    #[test]
    fn a_topic_is_not_made_without_a_model_to_inherit_from() {
        let topics = open(&MemoryDisk::new(), settings());
        assert!(
            topics
                .create_on_send("orders", "no such topic", 4, 0)
                .is_none()
        );
        assert!(
            topics
                .create_on_send("orders", names::SELF_TEST_TOPIC, 4, 0)
                .is_none()
        );
        assert!(topics.create_on_send("orders", "cluster-a", 4, 0).is_some());
    }

    #[test]
    fn topics_are_not_made_by_themselves_when_that_is_switched_off() {
        let disk = MemoryDisk::new();
        let topics = open(&disk, settings());
        let orders = topics.create_on_send("orders", "TBW102", 4, 0).unwrap();
        topics.keep(&[orders]);
        let mut off = settings();
        off.broker.auto_create_topic_enable = false;
        let topics = open(&disk, off);
        assert!(topics.create_on_send("bills", "TBW102", 4, 0).is_none());
        assert!(
            topics.create_on_send("orders", "TBW102", 4, 0).is_some(),
            "known already"
        );
    }

    #[test]
    fn retry_topics_become_ordered_with_their_group() {
        let topics = open(&MemoryDisk::new(), settings());
        let create = |order| topics.create_on_send_back("%RETRY%g", 1, 6, order, 0);
        assert!(!create(None).config.order);
        assert!(create(Some(true)).config.order);
        let version = topics.data_version();
        assert!(create(None).config.order, "who does not know leaves it");
        assert!(create(Some(true)).config.order);
        assert_eq!(topics.data_version(), version);
        assert!(!create(Some(false)).config.order);
    }

    #[tokio::test]
    async fn changes_are_announced_and_repetitions_are_none() {
        let topics = open(&MemoryDisk::new(), settings());
        topics
            .upsert(vec![config("orders", &[("+message.type", "FIFO")])])
            .unwrap();
        topics.changed().notified().await;
        let version = topics.data_version();
        topics
            .upsert(vec![config("orders", &[("+message.type", "FIFO")])])
            .unwrap();
        assert_eq!(topics.data_version(), version);
        topics
            .upsert(vec![config("orders", &[("-message.type", "")])])
            .unwrap();
        assert!(topics.get("orders").unwrap().config.attributes.is_empty());
        topics.remove(["orders"]).unwrap();
        assert!(topics.get("orders").is_none());
        topics.changed().notified().await;
    }

    #[test]
    fn one_wrong_topic_of_a_list_changes_none() {
        let topics = open(&MemoryDisk::new(), settings());
        let list = vec![
            config("orders", &[]),
            config("bills", &[("+colour", "red")]),
        ];
        assert!(topics.upsert(list).is_err());
        assert!(topics.get("orders").is_none());
    }

    #[test]
    fn pages_are_in_the_order_of_names() {
        let topics = open(&MemoryDisk::new(), settings());
        let all: Vec<String> = topics.wrapper().topic_config_table.into_keys().collect();
        let mut paged = Vec::new();
        while paged.len() < topics.len() {
            paged.extend(topics.page(paged.len(), 3).topic_config_table.into_keys());
        }
        assert_eq!(paged, all);
    }

    #[test]
    fn a_table_of_the_reference_is_read_and_written_back() {
        let disk = MemoryDisk::new();
        let path = settings().store.config_dir().join("topics.json");
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        let golden = include_bytes!("../tests/data/topics.json");
        disk.open(&path, OpenMode::Create)
            .unwrap()
            .write_at(golden, 0)
            .unwrap();

        let topics = open(&disk, settings());
        let order = topics.get("fx-order").unwrap();
        assert!(order.config.order);
        assert_eq!(order.config.attributes["message.type"], "FIFO");
        assert_eq!(topics.get("fx-readonly").unwrap().config.perm, perm::READ);
        assert_eq!(topics.data_version().counter, 17);
        let golden: serde_json::Value = serde_json::from_slice(golden).unwrap();
        let written = json::write(&topics.wrapper());
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(written["dataVersion"], golden["dataVersion"]);
        let table = golden["topicConfigTable"].as_object().unwrap();
        for (name, config) in table {
            assert_eq!(&written["topicConfigTable"][name], config, "{name}");
        }
    }

    #[test]
    fn the_system_knows_its_own_topics() {
        let topics = open(&MemoryDisk::new(), settings());
        for name in [
            "TBW102",
            "cluster-a",
            "broker-a",
            "cluster-a_REPLY_TOPIC",
            "rmq_sys_x",
        ] {
            assert!(topics.is_system(name), "{name}");
        }
        assert!(!topics.is_system("orders"));
        assert!(
            topics
                .system_topics()
                .contains(&"SCHEDULE_TOPIC_XXXX".to_owned())
        );
    }
}
