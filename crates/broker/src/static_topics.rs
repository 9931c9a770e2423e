//! Static topics: their logical queues stay the same while the brokers' queues that hold their
//! messages change (`TopicQueueMappingManager`).
//!
//! A logical queue is a list of parts, oldest first. Each part is a queue of some broker from its
//! start to its end, and begins at an offset of the logical queue. The last part takes the
//! messages: its broker leads the logical queue, and it alone answers for it, with the help of the
//! brokers that have the other parts. The mappings are
//! kept in `config/topicQueueMapping.json`, a `TopicQueueMappingSerializeWrapper`.

pub(crate) mod cleaning;
mod logical_queue;
pub(crate) mod requests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::Live;
use store::{Clock, Disk};
use wire::body::static_topic::{
    LogicQueueMappingItem, TopicQueueMappingDetail, TopicQueueMappingInfo,
    TopicQueueMappingSerializeWrapper,
};
use wire::body::version::DataVersion;
use wire::header::TopicRpcFields;

pub(crate) use self::logical_queue::{LogicalPull, LogicalQueue};
use crate::error::BrokerError;
use crate::settings::BrokerSettings;
use crate::versioned_table::{Rows, VersionedTable};

/// The mappings of all static topics.
pub(crate) struct StaticTopics {
    table: VersionedTable<Mappings>,
    /// Whether there are any, to pass over the lock where there are none.
    any: AtomicBool,
}

/// The mappings by topic.
type Mappings = BTreeMap<String, Arc<TopicQueueMappingDetail>>;

impl Rows for Mappings {
    type Content = TopicQueueMappingSerializeWrapper;
    type Row = TopicQueueMappingDetail;

    const MAP: &'static str = "topicQueueMappingInfoMap";

    fn take(&mut self, content: TopicQueueMappingSerializeWrapper) -> DataVersion {
        let mappings = content.topic_queue_mapping_info_map.into_iter();
        self.extend(mappings.map(|(topic, mapping)| (topic, Arc::new(mapping))));
        content.data_version
    }

    fn content(&self, version: DataVersion) -> TopicQueueMappingSerializeWrapper {
        TopicQueueMappingSerializeWrapper {
            data_version: version,
            topic_queue_mapping_info_map: self
                .iter()
                .map(|(topic, mapping)| (topic.clone(), TopicQueueMappingDetail::clone(mapping)))
                .collect(),
        }
    }

    fn row(&self, topic: &str) -> Option<&Arc<TopicQueueMappingDetail>> {
        self.get(topic)
    }

    fn rows(&self) -> impl Iterator<Item = (&String, &Arc<TopicQueueMappingDetail>)> {
        self.iter()
    }
}

impl StaticTopics {
    /// Reads the table.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        live: &Live<BrokerSettings>,
    ) -> Result<Self, BrokerError> {
        let path = live
            .load()
            .store
            .config_dir()
            .join("topicQueueMapping.json");
        let table = VersionedTable::open(disk, clock, &path, Mappings::new())?;
        let any = AtomicBool::new(!table.read().is_empty());
        Ok(Self { table, any })
    }

    /// The mapping of a topic; `None` for one that is not static.
    pub(crate) fn get(&self, topic: &str) -> Option<Arc<TopicQueueMappingDetail>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.table.read().get(topic).cloned()
    }

    /// The logical queue that a request means; `None` if it means a queue of this broker, since
    /// the topic is not static or the request says so.
    ///
    /// # Errors
    /// This broker does not lead the logical queue.
    pub(crate) fn find(
        &self,
        topic: &str,
        queue_id: i32,
        fields: &TopicRpcFields<'_>,
    ) -> Result<Option<LogicalQueue>, BrokerError> {
        if fields.logical == Some(false) {
            return Ok(None);
        }
        match self.get(topic) {
            Some(mapping) => LogicalQueue::led_here(mapping, queue_id).map(Some),
            None => Ok(None),
        }
    }

    /// The same for a message, which may leave the choice of the queue to the broker by a negative
    /// id.
    pub(crate) fn find_for_message(
        &self,
        topic: &str,
        queue_id: i32,
        fields: &TopicRpcFields<'_>,
    ) -> Result<Option<LogicalQueue>, BrokerError> {
        let first = || {
            let mapping = self.get(topic)?;
            mapping.hosted_queues.keys().next().copied()
        };
        let chosen = (queue_id < 0).then(first).flatten();
        self.find(topic, chosen.unwrap_or(queue_id), fields)
    }

    /// Makes a mapping or changes it. `force` makes it whatever was there, but for queues that
    /// the new one leaves out.
    ///
    /// # Errors
    /// The mapping is another broker's, contradicts itself, or is older than the one there is.
    pub(crate) fn upsert(
        &self,
        mut mapping: TopicQueueMappingDetail,
        broker_name: &str,
        force: bool,
    ) -> Result<(), BrokerError> {
        if mapping.bname != broker_name {
            return refuse(format!(
                "The mapping is for broker {}, and this one is {broker_name}",
                mapping.bname
            ));
        }
        for parts in mapping.hosted_queues.values() {
            check_parts(parts)?;
        }
        let mut mappings = self.table.write();
        if let Some(known) = mappings.get(&mapping.topic) {
            if !force {
                check_successor(known, &mapping)?;
            }
            for (id, parts) in &known.hosted_queues {
                let entry = mapping.hosted_queues.entry(*id);
                entry.or_insert_with(|| parts.clone());
            }
        }
        tracing::info!(topic = mapping.topic, ?mapping, "static topic mapped");
        let topic = mapping.topic.clone();
        mappings.insert(topic.clone(), Arc::new(mapping));
        self.any.store(true, Ordering::Release);
        self.table.advance(mappings, [topic]);
        self.persist()
    }

    /// Forgets the mapping of a topic, if it has one.
    pub(crate) fn remove(&self, topic: &str) -> Result<(), BrokerError> {
        let mut mappings = self.table.write();
        if mappings.remove(topic).is_some() {
            self.table.advance_all(mappings);
        } else {
            drop(mappings);
        }
        self.persist()
    }

    /// All mappings.
    pub(crate) fn all(&self) -> Vec<Arc<TopicQueueMappingDetail>> {
        self.table.read().values().cloned().collect()
    }

    /// Puts a mapping in the place of one that is still in force.
    fn replace(&self, known: &Arc<TopicQueueMappingDetail>, new: TopicQueueMappingDetail) {
        let mut mappings = self.table.write();
        if let Some(current) = mappings.get_mut(&new.topic)
            && Arc::ptr_eq(current, known)
        {
            let topic = new.topic.clone();
            *current = Arc::new(new);
            self.table.advance(mappings, [topic]);
        }
    }

    /// All mappings, as they stand in the file.
    pub(crate) fn wrapper(&self) -> TopicQueueMappingSerializeWrapper {
        self.table.content()
    }

    /// What name servers have to know: which logical queues are led here.
    pub(crate) fn infos(&self) -> BTreeMap<String, TopicQueueMappingInfo> {
        let mappings = self.table.read();
        let infos = mappings.iter();
        infos
            .map(|(topic, mapping)| (topic.clone(), info(mapping)))
            .collect()
    }

    /// Writes the file, if it is behind.
    pub(crate) fn persist(&self) -> Result<(), BrokerError> {
        self.table.persist()
    }
}

fn info(mapping: &TopicQueueMappingDetail) -> TopicQueueMappingInfo {
    let leaders = mapping.hosted_queues.iter();
    TopicQueueMappingInfo {
        bname: mapping.bname.clone(),
        curr_id_map: leaders
            .filter_map(|(id, parts)| Some((*id, parts.last()?)))
            .filter(|(_, leader)| leader.bname == mapping.bname)
            .map(|(id, leader)| (id, leader.queue_id))
            .collect(),
        dirty: mapping.dirty,
        epoch: mapping.epoch,
        scope: mapping.scope.clone(),
        topic: mapping.topic.clone(),
        total_queues: mapping.total_queues,
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, BrokerError> {
    Err(BrokerError::System(why.into()))
}

/// Whether parts follow each other (`TopicQueueMappingUtils.checkLogicQueueMappingItemOffset`).
fn check_parts(parts: &[LogicQueueMappingItem]) -> Result<(), BrokerError> {
    for part in parts {
        if part.start_offset < 0 || part.generation < 0 || part.queue_id < 0 {
            return refuse("The field is illegal, should not be negative");
        }
        if part.end_offset != -1 && part.end_offset < part.start_offset {
            return refuse("The endOffset is smaller than the start offset");
        }
    }
    for (part, next) in parts.iter().zip(parts.iter().skip(1)) {
        if part.logic_offset < 0 {
            return refuse("The non-latest item has negative logic offset");
        }
        if part.generation >= next.generation {
            return refuse("The gen does not increase monotonically");
        }
        if next.logic_offset == -1 {
            continue;
        }
        if part.logic_offset >= next.logic_offset {
            return refuse("The base logic offset does not increase monotonically");
        }
        if logical_queue::end(part) >= next.logic_offset {
            return refuse("The max logic offset does not increase monotonically");
        }
    }
    Ok(())
}

/// Whether a mapping may replace another (`updateTopicQueueMapping`).
fn check_successor(
    known: &TopicQueueMappingDetail,
    new: &TopicQueueMappingDetail,
) -> Result<(), BrokerError> {
    if new.epoch < known.epoch {
        return refuse(format!(
            "Can't accept data with small epoch {} < {}",
            new.epoch, known.epoch
        ));
    }
    if new.scope != known.scope {
        return refuse(format!(
            "Can't accept data with unmatched scope {} != {}",
            new.scope, known.scope
        ));
    }
    for (id, known_parts) in &known.hosted_queues {
        let Some(parts) = new.hosted_queues.get(id) else {
            if new.epoch == known.epoch {
                return refuse("Cannot accept equal epoch with null data");
            }
            continue;
        };
        if known_parts.is_empty() {
            continue;
        }
        if parts.is_empty() {
            return refuse("The new item list is null or empty");
        }
        let leader = |parts: &[LogicQueueMappingItem]| {
            let leader = parts.last()?;
            let (generation, start) = (leader.generation, leader.start_offset);
            Some((generation, leader.bname.clone(), leader.queue_id, start))
        };
        if new.epoch == known.epoch && leader(parts) != leader(known_parts) {
            return refuse("The new leader is different but epoch equal");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
