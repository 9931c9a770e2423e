//! The consumer groups of a broker and their settings (`SubscriptionGroupManager`).
//!
//! They are kept in `config/subscriptionGroup.json`, a `SubscriptionGroupWrapper`: the table's
//! data version, the settings by group, and what each group may not do with single topics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use config::Live;
use store::{Clock, Disk};
use wire::body::group::{SubscriptionGroupConfig, SubscriptionGroupWrapper};
use wire::body::json;
use wire::body::version::DataVersion;
use wire::message::{names, perm};

use crate::attributes;
use crate::error::BrokerError;
use crate::settings::BrokerSettings;
use crate::versioned_table::{Rows, VersionedTable};

/// The groups that every broker has (`SubscriptionGroupManager.init`).
const SYSTEM_GROUPS: [&str; 8] = [
    names::TOOLS_CONSUMER_GROUP,
    names::FILTER_SERVER_CONSUMER_GROUP,
    names::SELF_TEST_CONSUMER_GROUP,
    names::ONS_HTTP_PROXY_GROUP,
    names::ONS_API_PULL_GROUP,
    names::ONS_API_PERMISSION_GROUP,
    names::ONS_API_OWNER_GROUP,
    names::TRANS_GROUP,
];

/// All consumer groups of the broker.
pub(crate) struct GroupTable {
    table: VersionedTable<Groups>,
    live: Live<BrokerSettings>,
}

#[derive(Default)]
struct Groups {
    by_name: HashMap<String, Arc<SubscriptionGroupConfig>>,
    /// What is forbidden, as bits of [`perm`], by group and topic.
    forbidden: BTreeMap<String, BTreeMap<String, i32>>,
}

impl Groups {
    fn put(&mut self, config: SubscriptionGroupConfig) -> Arc<SubscriptionGroupConfig> {
        let config = Arc::new(config);
        self.by_name
            .insert(config.group_name.clone(), Arc::clone(&config));
        config
    }
}

impl Rows for Groups {
    type Content = SubscriptionGroupWrapper;
    type Row = SubscriptionGroupConfig;

    const MAP: &'static str = "subscriptionGroupTable";

    fn take(&mut self, content: SubscriptionGroupWrapper) -> DataVersion {
        self.forbidden = content.forbidden_table;
        for (name, config) in content.subscription_group_table {
            self.put(SubscriptionGroupConfig {
                group_name: name,
                ..config
            });
        }
        content.data_version
    }

    fn content(&self, version: DataVersion) -> SubscriptionGroupWrapper {
        let groups = self.by_name.iter();
        SubscriptionGroupWrapper {
            data_version: version,
            subscription_group_table: groups
                .map(|(name, config)| (name.clone(), SubscriptionGroupConfig::clone(config)))
                .collect(),
            forbidden_table: self.forbidden.clone(),
        }
    }

    fn row(&self, group: &str) -> Option<&Arc<SubscriptionGroupConfig>> {
        self.by_name.get(group)
    }

    fn rows(&self) -> impl Iterator<Item = (&String, &Arc<SubscriptionGroupConfig>)> {
        self.by_name.iter()
    }

    fn more_fields(&self) -> String {
        let forbidden = json::write(&self.forbidden);
        format!(
            "\"forbiddenTable\":{},\n",
            String::from_utf8_lossy(&forbidden)
        )
    }
}

impl GroupTable {
    /// Reads the table and adds the system's groups that it lacks.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        live: Live<BrokerSettings>,
    ) -> Result<Self, BrokerError> {
        let path = live
            .load()
            .store
            .config_dir()
            .join("subscriptionGroup.json");
        let mut groups = Groups::default();
        for group in SYSTEM_GROUPS {
            groups.put(named(group));
        }
        Ok(Self {
            table: VersionedTable::open(disk, clock, &path, groups)?,
            live,
        })
    }

    /// The settings of a group. Every name of a light queue is one, if there may be light queues
    /// (`LmqSubscriptionGroupManager`).
    pub(crate) fn get(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        if names::is_lmq(group) && self.live.load().store.enable_lmq {
            return Some(Arc::new(named(group)));
        }
        self.table.read().by_name.get(group).cloned()
    }

    /// The settings of a group that shows up. A new one is made, if the broker is set to do so
    /// and its name is legal (`findSubscriptionGroupConfig`).
    pub(crate) fn get_or_create(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        if let Some(known) = self.get(group) {
            return Some(known);
        }
        let allowed =
            self.live.load().broker.auto_create_subscription_group || names::is_system_group(group);
        if !allowed || names::validate_group(group).is_err() {
            return None;
        }
        let mut groups = self.table.write();
        if let Some(known) = groups.by_name.get(group) {
            return Some(Arc::clone(known));
        }
        tracing::info!(group, "a consumer makes a new group");
        let created = groups.put(named(group));
        self.table.advance(groups, [group.to_owned()]);
        // It is written with the next round of all tables: a request waits, and the next one after
        // a kill makes it again.
        Some(created)
    }

    /// Makes groups or changes them, all or none. The attributes are changes, by signed names.
    pub(crate) fn upsert(&self, configs: Vec<SubscriptionGroupConfig>) -> Result<(), BrokerError> {
        let mut groups = self.table.write();
        let mut altered = Vec::with_capacity(configs.len());
        for mut config in configs {
            let current = groups
                .by_name
                .get(&config.group_name)
                .map(|known| &known.attributes);
            config.attributes = attributes::alter(attributes::GROUP, current, &config.attributes)?;
            altered.push(config);
        }
        if altered.is_empty() {
            return Ok(());
        }
        let mut names = Vec::with_capacity(altered.len());
        for config in altered {
            tracing::info!(
                group = config.group_name,
                ?config,
                "group created or changed"
            );
            names.push(config.group_name.clone());
            groups.put(config);
        }
        self.table.advance(groups, names);
        self.persist()
    }

    /// Forgets a group and what is forbidden to it, if it is there.
    pub(crate) fn remove(&self, group: &str) -> Result<(), BrokerError> {
        let mut groups = self.table.write();
        let known = groups.by_name.remove(group).is_some();
        let restricted = groups.forbidden.remove(group).is_some();
        if known || restricted {
            tracing::info!(group, "group deleted");
            self.table.advance_all(groups);
        } else {
            drop(groups);
        }
        self.persist()
    }

    /// Whether a group may not read a topic.
    pub(crate) fn is_read_forbidden(&self, group: &str, topic: &str) -> bool {
        let groups = self.table.read();
        let bits = groups
            .forbidden
            .get(group)
            .and_then(|topics| topics.get(topic));
        bits.is_some_and(|&bits| perm::is_readable(bits))
    }

    /// Forbids a group to read a topic, or allows it again.
    pub(crate) fn set_read_forbidden(
        &self,
        group: &str,
        topic: &str,
        forbidden: bool,
    ) -> Result<(), BrokerError> {
        let mut groups = self.table.write();
        let topics = groups.forbidden.entry(group.into()).or_default();
        let before = topics.get(topic).copied().unwrap_or_default();
        let after = if forbidden {
            before | perm::READ
        } else {
            before & !perm::READ
        };
        if after == 0 {
            topics.remove(topic);
        } else {
            topics.insert(topic.into(), after);
        }
        if topics.is_empty() {
            groups.forbidden.remove(group);
        }
        if before == after {
            return Ok(());
        }
        tracing::info!(group, topic, forbidden, "reading forbidden or allowed");
        self.table.advance_all(groups);
        self.persist()
    }

    /// The names of all groups, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.table.read().by_name.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.table.read().by_name.len()
    }

    /// At most `count` groups behind the first `skip`, in the order of their names, with what is
    /// forbidden to them.
    pub(crate) fn page(&self, skip: usize, count: usize) -> SubscriptionGroupWrapper {
        let groups = self.table.read();
        let sorted: BTreeMap<&String, &Arc<SubscriptionGroupConfig>> =
            groups.by_name.iter().collect();
        let mut page = SubscriptionGroupWrapper {
            data_version: self.table.version(),
            ..SubscriptionGroupWrapper::default()
        };
        for (name, config) in sorted.into_iter().skip(skip).take(count) {
            page.subscription_group_table
                .insert(name.clone(), SubscriptionGroupConfig::clone(config));
            if let Some(topics) = groups.forbidden.get(name) {
                page.forbidden_table.insert(name.clone(), topics.clone());
            }
        }
        page
    }

    /// All groups, as they stand in the file.
    pub(crate) fn wrapper(&self) -> SubscriptionGroupWrapper {
        self.table.content()
    }

    /// The version of the table.
    pub(crate) fn data_version(&self) -> DataVersion {
        self.table.version()
    }

    /// Writes the file, if it is behind.
    pub(crate) fn persist(&self) -> Result<(), BrokerError> {
        self.table.persist()
    }
}

fn named(group: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        group_name: group.into(),
        ..SubscriptionGroupConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{MemoryDisk, OpenMode, SystemClock};
    use wire::body::json;

    fn settings() -> BrokerSettings {
        let mut settings = BrokerSettings::default();
        settings.store.store_path_root_dir = "/store".into();
        settings
    }

    fn open(disk: &MemoryDisk, settings: BrokerSettings) -> GroupTable {
        GroupTable::open(
            Arc::new(disk.clone()),
            Arc::new(SystemClock),
            Live::new(settings),
        )
        .unwrap()
    }

    #[test]
    fn a_new_group_outlives_a_restart() {
        let disk = MemoryDisk::new();
        let groups = open(&disk, settings());
        let created = groups.get_or_create("g").unwrap();
        assert_eq!(created.retry_max_times, 16);
        assert!(created.consume_enable && created.consume_broadcast_enable);
        assert_eq!(
            open(&disk, settings()).get("g"),
            None,
            "nobody waits for it"
        );
        groups.persist().unwrap();
        let again = open(&disk, settings());
        assert_eq!(again.get("g"), Some(created));
        assert_eq!(again.data_version(), groups.data_version());
    }

    #[test]
    fn groups_are_not_made_by_illegal_names_or_when_that_is_switched_off() {
        let groups = open(&MemoryDisk::new(), settings());
        assert!(groups.get_or_create("no good name").is_none());
        assert!(groups.get_or_create(&"g".repeat(121)).is_none());
        let mut off = settings();
        off.broker.auto_create_subscription_group = false;
        let groups = open(&MemoryDisk::new(), off);
        assert!(groups.get_or_create("g").is_none());
        assert!(
            groups.get_or_create("CID_RMQ_SYS_x").is_some(),
            "the system's own always are"
        );
        assert!(groups.get_or_create("TOOLS_CONSUMER").is_some());
    }

    #[test]
    fn reading_is_forbidden_by_topic() {
        let disk = MemoryDisk::new();
        let groups = open(&disk, settings());
        groups.set_read_forbidden("g", "orders", true).unwrap();
        groups.set_read_forbidden("g", "bills", true).unwrap();
        groups.set_read_forbidden("g", "orders", false).unwrap();
        for groups in [&groups, &open(&disk, settings())] {
            assert!(groups.is_read_forbidden("g", "bills"));
            assert!(!groups.is_read_forbidden("g", "orders"));
            assert!(!groups.is_read_forbidden("h", "bills"));
        }
        let version = groups.data_version();
        groups.set_read_forbidden("g", "bills", true).unwrap();
        assert_eq!(groups.data_version(), version, "that was so before");
        groups.remove("g").unwrap();
        assert!(!groups.is_read_forbidden("g", "bills"));
    }

    #[test]
    fn one_wrong_group_of_a_list_changes_none() {
        let groups = open(&MemoryDisk::new(), settings());
        let mut wrong = named("b");
        wrong.attributes.insert("+colour".into(), "red".into());
        assert!(groups.upsert(vec![named("a"), wrong]).is_err());
        assert!(groups.get("a").is_none());
        groups.upsert(vec![named("a"), named("b")]).unwrap();
        assert!(groups.get("b").is_some());
    }

    #[test]
    fn a_table_of_the_reference_is_read_and_written_back() {
        let disk = MemoryDisk::new();
        let path = settings().store.config_dir().join("subscriptionGroup.json");
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        let golden = include_bytes!("../tests/data/subscriptionGroup.json");
        disk.open(&path, OpenMode::Create)
            .unwrap()
            .write_at(golden, 0)
            .unwrap();

        let groups = open(&disk, settings());
        assert!(!groups.get("fx-g-off").unwrap().consume_enable);
        assert_eq!(groups.get("fx-g-retry").unwrap().retry_max_times, 3);
        assert!(groups.is_read_forbidden("fx-g-order", "fx-normal"));
        let golden: serde_json::Value = serde_json::from_slice(golden).unwrap();
        let written = json::write(&groups.wrapper());
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(written, golden);
    }
}
