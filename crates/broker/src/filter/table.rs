//! The expressions that groups have told with their heartbeats (`ConsumerFilterManager`).
//!
//! Kept in `config/consumerFilter.json`: by topic and group the expression, its version, the bits
//! that stand for the group in bit maps, and since when it is known (`bornTime`) and no longer used
//! (`deadTime`, of which an earlier one means that it is used). A filter that has not been used for
//! `filterDataCleanTimeSpan` is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use config::Live;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use store::{Clock, Disk};
use wire::body::heartbeat::SubscriptionData;
use wire::body::json;
use wire::message::sql92::{Expression, SQL92};

use super::bloom::{BloomFilter, BloomFilterData};
use super::{is_tag_type, is_true};
use crate::error::BrokerError;
use crate::settings::BrokerSettings;
use crate::table_file::TableFile;

/// What is taken off the time of a start, for the filters that were used until the last stop.
const STOPPED_BEFORE_MILLIS: i64 = 30_000;

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    filter_data_by_topic: BTreeMap<String, TopicContent>,
}

/// The part of it for one topic.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TopicContent {
    group_filter_data: BTreeMap<String, ConsumerFilterData>,
    topic: String,
}

/// The part of it for one group and topic.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConsumerFilterData {
    bloom_filter_data: BloomFilterData,
    /// Milliseconds since 1970, as is `dead_time`.
    born_time: i64,
    client_version: i64,
    consumer_group: String,
    dead: bool,
    dead_time: i64,
    expression: String,
    expression_type: String,
    topic: String,
}

/// What a group wants of a topic.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerFilter {
    data: ConsumerFilterData,
    expression: Arc<Expression>,
}

impl ConsumerFilter {
    /// `None` where the text is no expression.
    fn new(data: ConsumerFilterData) -> Option<Self> {
        if data.expression_type != SQL92 {
            return None;
        }
        match Expression::parse(&data.expression) {
            Ok(expression) => Some(Self {
                data,
                expression: expression.into(),
            }),
            Err(error) => {
                let (group, topic) = (&data.consumer_group, &data.topic);
                tracing::warn!(%group, %topic, %error, "the group's filter cannot be used");
                None
            }
        }
    }

    /// The expression.
    pub(crate) fn expression(&self) -> Arc<Expression> {
        Arc::clone(&self.expression)
    }

    /// Whether it may be true of a message with such bits that was stored at a time: the bits of
    /// messages from before it was known say nothing (`isMsgInLive`).
    pub(super) fn may_pass(&self, bits: &[u8], store_timestamp: i64) -> bool {
        store_timestamp <= self.data.born_time || self.data.bloom_filter_data.may_be_in(bits)
    }

    /// As tools are told.
    pub(crate) fn to_json(&self) -> Bytes {
        json::write_pretty(&self.data)
    }

    /// The version of the subscription that it stands in.
    pub(crate) fn version(&self) -> i64 {
        self.data.client_version
    }

    fn bury(&mut self, now: i64) {
        self.data.dead = true;
        self.data.dead_time = now.max(self.data.born_time);
    }

    fn revive(&mut self) {
        self.data.dead = false;
        self.data.dead_time = 0;
    }
}

/// By topic and group.
type Filters = BTreeMap<String, BTreeMap<String, Arc<ConsumerFilter>>>;

/// The filters of all groups.
pub(crate) struct FilterTable {
    filters: RwLock<Filters>,
    bloom: BloomFilter,
    file: TableFile,
    clock: Arc<dyn Clock>,
    live: Live<BrokerSettings>,
}

impl FilterTable {
    /// Reads the table. All filters count as no longer used until their groups come back; if the
    /// settings give other bits to groups than the file has, it starts empty.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        live: Live<BrokerSettings>,
    ) -> Result<Self, BrokerError> {
        let settings = live.load();
        let path = settings.store.config_dir().join("consumerFilter.json");
        let (file, content) = TableFile::open::<Content>(disk, &path)?;
        let bloom = BloomFilter::new(
            settings.broker.max_error_rate_of_bloom_filter,
            settings.broker.expect_consumer_num_use_filter,
        );
        let stopped = clock.now_millis() - STOPPED_BEFORE_MILLIS;
        let mut topics = content.unwrap_or_default().filter_data_by_topic;
        let mut all = topics
            .values()
            .flat_map(|topic| topic.group_filter_data.values());
        if !all.all(|data| bloom.owns(&data.bloom_filter_data)) {
            let path = path.display();
            tracing::info!("{path} was written with other bloom filters and is not used");
            topics.clear();
        }
        let mut filters = Filters::new();
        for (topic, content) in topics {
            for (group, data) in content.group_filter_data {
                if let Some(mut filter) = ConsumerFilter::new(data) {
                    if filter.data.dead_time == 0 {
                        filter.bury(stopped);
                    }
                    let groups = filters.entry(topic.clone()).or_default();
                    groups.insert(group, filter.into());
                }
            }
        }
        Ok(Self {
            filters: RwLock::new(filters),
            bloom,
            file,
            clock,
            live,
        })
    }

    /// What a group wants of a topic, if it selects by an expression.
    pub(crate) fn get(&self, topic: &str, group: &str) -> Option<Arc<ConsumerFilter>> {
        self.filters.read().get(topic)?.get(group).cloned()
    }

    /// The bits of the groups that want a message of a topic with such properties; `None` if no
    /// group filters the topic, or the bits are not wanted (`CommitLogDispatcherCalcBitMap`).
    pub(crate) fn bits(&self, topic: &str, properties: [&[u8]; 2]) -> Option<Vec<u8>> {
        if !self.live.load().broker.enable_calc_filter_bit_map {
            return None;
        }
        let texts = properties.map(|text| str::from_utf8(text).unwrap_or_default());
        let filters = self.filters.read();
        let groups = filters.get(topic).filter(|groups| !groups.is_empty())?;
        let mut bits = self.bloom.none();
        let wanting = groups
            .values()
            .filter(|filter| is_true(&filter.expression, &texts));
        wanting.for_each(|filter| filter.data.bloom_filter_data.add_to(&mut bits));
        Some(bits)
    }

    /// Takes over what a group subscribes to.
    pub(crate) fn register(&self, group: &str, subscriptions: &[SubscriptionData]) {
        let mut filters = self.filters.write();
        // Read under the lock: what is stored later has its bits by what is known now.
        let now = self.clock.now_millis();
        let mut changed = false;
        for wanted in subscriptions {
            if is_tag_type(&wanted.expression_type) || wanted.sub_string.is_empty() {
                continue;
            }
            let known = filters
                .get(&wanted.topic)
                .and_then(|topic| topic.get(group));
            let Some(next) = self.next(known.map(|known| &**known), group, wanted, now) else {
                continue;
            };
            changed = true;
            let topic = filters.entry(wanted.topic.clone()).or_default();
            match next {
                Some(filter) => topic.insert(group.into(), filter.into()),
                // The group would get what it does not want: its pulls are refused.
                None => topic.remove(group),
            };
        }
        let wants = |topic: &str| subscriptions.iter().any(|wanted| wanted.topic == topic);
        for (topic, groups) in filters.iter_mut().filter(|(topic, _)| !wants(topic)) {
            if let Some(filter) = groups.get_mut(group).filter(|filter| !filter.data.dead) {
                tracing::info!(group, topic, "the group no longer filters this topic");
                Arc::make_mut(filter).bury(now);
                changed = true;
            }
        }
        if changed {
            self.file.touch();
        }
    }

    /// What becomes of a group's filter with a subscription; `None`: it stays, `Some(None)`: it
    /// goes, since the new one is none.
    fn next(
        &self,
        known: Option<&ConsumerFilter>,
        group: &str,
        wanted: &SubscriptionData,
        now: i64,
    ) -> Option<Option<ConsumerFilter>> {
        let bloom_filter_data = self.bloom.data(&format!("{group}#{}", wanted.topic));
        if let Some(known) = known {
            let same = known.data.expression == wanted.sub_string
                && known.data.expression_type == wanted.expression_type
                && known.data.bloom_filter_data == bloom_filter_data;
            if wanted.sub_version < known.version() {
                return None;
            }
            if wanted.sub_version == known.version() && !known.data.dead {
                return None;
            }
            if same || wanted.sub_version == known.version() {
                let mut filter = known.clone();
                filter.data.client_version = wanted.sub_version;
                filter.revive();
                return Some(Some(filter));
            }
        }
        let filter = ConsumerFilter::new(ConsumerFilterData {
            bloom_filter_data,
            born_time: now,
            client_version: wanted.sub_version,
            consumer_group: group.into(),
            dead: false,
            dead_time: 0,
            expression: wanted.sub_string.clone(),
            expression_type: wanted.expression_type.clone(),
            topic: wanted.topic.clone(),
        });
        match (&filter, known) {
            (None, None) => None,
            _ => Some(filter),
        }
    }

    /// Notes which groups have gone, forgets what was not used for long, and writes the table.
    pub(crate) fn persist(&self, is_online: impl Fn(&str) -> bool) -> Result<(), BrokerError> {
        let now = self.clock.now_millis();
        let kept_for = self.live.load().broker.filter_data_clean_time_span;
        let mut filters = self.filters.write();
        let mut changed = false;
        filters.retain(|_, groups| {
            groups.retain(|group, filter| {
                if !filter.data.dead && !is_online(group) {
                    Arc::make_mut(filter).bury(now);
                    changed = true;
                }
                let keep = !filter.data.dead || now - filter.data.dead_time < kept_for;
                changed |= !keep;
                keep
            });
            !groups.is_empty()
        });
        drop(filters);
        if changed {
            self.file.touch();
        }
        Ok(self.file.save(|| json::write_pretty(&self.content()))?)
    }

    fn content(&self) -> Content {
        let filters = self.filters.read();
        let topics = filters.iter().map(|(topic, groups)| {
            let groups = groups.iter();
            let content = TopicContent {
                group_filter_data: groups
                    .map(|(group, filter)| (group.clone(), filter.data.clone()))
                    .collect(),
                topic: topic.clone(),
            };
            (topic.clone(), content)
        });
        Content {
            filter_data_by_topic: topics.collect(),
        }
    }
}

impl std::fmt::Debug for FilterTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterTable")
            .field("filters", &self.filters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use store::{ConfigFile, MemoryDisk};

    use crate::test_clock::TestClock;

    const DAY: i64 = 86_400_000;

    /// A table on a disk of its own.
    struct Bench {
        disk: MemoryDisk,
        clock: TestClock,
        live: Live<BrokerSettings>,
    }

    impl Bench {
        fn new() -> Self {
            let mut settings = BrokerSettings::default();
            settings.store.store_path_root_dir = "/s".into();
            settings.broker.expect_consumer_num_use_filter = 64;
            Self {
                disk: MemoryDisk::new(),
                clock: TestClock::new(),
                live: Live::new(settings),
            }
        }

        fn file(&self) -> ConfigFile {
            let disk = Arc::new(self.disk.clone());
            ConfigFile::new(disk, Path::new("/s/config/consumerFilter.json"))
        }

        fn open(&self) -> FilterTable {
            let (disk, clock) = (self.disk.clone(), self.clock.clone());
            FilterTable::open(Arc::new(disk), Arc::new(clock), self.live.clone()).unwrap()
        }

        fn content(&self) -> serde_json::Value {
            serde_json::from_slice(&self.file().load().unwrap().unwrap()).unwrap()
        }
    }

    fn wants(topic: &str, expression: &str, version: i64) -> SubscriptionData {
        SubscriptionData {
            topic: topic.into(),
            sub_string: expression.into(),
            expression_type: SQL92.into(),
            sub_version: version,
            ..SubscriptionData::default()
        }
    }

    #[test]
    fn the_references_file_is_read_and_written() {
        let bench = Bench::new();
        let golden = include_str!("../../tests/data/consumerFilter.json");
        bench.file().save(golden.as_bytes()).unwrap();
        let mut expected: serde_json::Value = serde_json::from_str(golden).unwrap();
        // As if it had stopped after all that is in the file.
        bench
            .clock
            .advance(1_795_766_945_384 - bench.clock.now_millis());
        let table = bench.open();
        let shipping = table.get("orders", "shipping").unwrap();
        assert_eq!(shipping.version(), 1_700_000_000_001);
        assert!(table.get("orders", "nobody").is_none());

        // All has to be written anew, once something has changed.
        table.register(
            "shipping",
            &[wants(
                "orders",
                &shipping.data.expression,
                1_700_000_000_009,
            )],
        );
        table.persist(|_| true).unwrap();
        let data = &mut expected["filterDataByTopic"]["orders"]["groupFilterData"]["shipping"];
        data["clientVersion"] = 1_700_000_000_009_i64.into();
        assert_eq!(bench.content(), expected);
    }

    #[test]
    fn groups_that_have_gone_keep_their_filters_for_a_day() {
        let bench = Bench::new();
        let table = bench.open();
        table.register(
            "g",
            &[wants("orders", "a = 1", 1), wants("bills", "a = 1", 1)],
        );
        let dead = || {
            let content = bench.content();
            let topics = content["filterDataByTopic"].as_object().unwrap().clone();
            let dead = |data: &serde_json::Value| data["groupFilterData"]["g"]["dead"].as_bool();
            let told = topics
                .iter()
                .map(|(topic, data)| (topic.clone(), dead(data).unwrap()));
            told.collect::<Vec<_>>()
        };
        table.persist(|group| group == "g").unwrap();
        assert_eq!(dead(), [("bills".into(), false), ("orders".into(), false)]);
        table.register("g", &[wants("orders", "a = 1", 2)]);
        table.persist(|_| true).unwrap();
        assert_eq!(dead(), [("bills".into(), true), ("orders".into(), false)]);
        bench.clock.advance(DAY / 2);
        table.persist(|_| false).unwrap();
        assert_eq!(dead(), [("bills".into(), true), ("orders".into(), true)]);
        bench.clock.advance(DAY / 2);
        table.persist(|_| false).unwrap();
        assert_eq!(dead(), [("orders".into(), true)]);
        table.register("g", &[wants("orders", "a = 1", 3)]);
        bench.clock.advance(DAY);
        table.persist(|_| true).unwrap();
        assert_eq!(dead(), [("orders".into(), false)]);
        table.persist(|_| false).unwrap();

        // Whoever was there when the broker stopped has time to come back.
        let again = bench.open();
        bench.clock.advance(DAY - 1);
        again.persist(|_| false).unwrap();
        assert!(again.get("orders", "g").is_some());
        bench.clock.advance(1);
        again.persist(|_| false).unwrap();
        assert!(again.get("orders", "g").is_none());
    }

    #[test]
    fn newer_expressions_replace_older_ones() {
        let bench = Bench::new();
        let table = bench.open();
        let register = |expression: &str, version| {
            table.register("g", &[wants("orders", expression, version)]);
            let known = table.get("orders", "g");
            known.map(|known| (known.data.expression.clone(), known.version()))
        };
        assert_eq!(register("a >", 1), None, "it is none");
        assert_eq!(register("a = 1", 2), Some(("a = 1".into(), 2)));
        assert_eq!(register("a = 2", 2), Some(("a = 1".into(), 2)));
        assert_eq!(register("a = 2", 1), Some(("a = 1".into(), 2)));
        assert_eq!(register("a = 2", 3), Some(("a = 2".into(), 3)));
        assert_eq!(register("a >", 4), None, "it would select the wrong ones");
    }

    #[test]
    fn other_bloom_filters_make_the_file_useless() {
        let mut bench = Bench::new();
        let table = bench.open();
        table.register("g", &[wants("orders", "a = 1", 1)]);
        table.persist(|_| true).unwrap();
        assert!(bench.open().get("orders", "g").is_some());
        let mut settings = BrokerSettings::clone(&bench.live.load());
        settings.broker.max_error_rate_of_bloom_filter = 10;
        bench.live = Live::new(settings);
        assert!(bench.open().get("orders", "g").is_none());
    }
}
