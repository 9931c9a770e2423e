//! All consume queues, by topic and number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::consume_queue::{Queue, QueueFiles};
use crate::error::StoreError;

/// A topic's queues by number.
type Queues = BTreeMap<i32, Arc<Queue>>;

/// The queues of all topics.
pub(crate) struct QueueTable {
    files: Arc<QueueFiles>,
    topics: RwLock<HashMap<Arc<str>, Queues>>,
    /// Topics with batch consume queues: their messages are not for simple queues.
    batch_topics: HashSet<Arc<str>>,
    next_number: AtomicU64,
}

impl QueueTable {
    /// No queues; `batch_topics` are those that have batch consume queues.
    pub(crate) fn new(files: QueueFiles, batch_topics: HashSet<Arc<str>>) -> QueueTable {
        QueueTable {
            files: Arc::new(files),
            topics: RwLock::default(),
            batch_topics,
            // 0 is the log.
            next_number: AtomicU64::new(1),
        }
    }

    /// Finds the queues on the disk; `rebuild_from` as for [`Queue::load`].
    pub(crate) fn load(&self, rebuild_from: Option<i64>) -> Result<(), StoreError> {
        for topic in directories(&self.files, &self.files.dir)? {
            for name in directories(&self.files, &self.files.dir.join(&topic))? {
                match name.parse() {
                    Ok(id) if name == i32::to_string(&id) => {
                        self.get_or_make(&topic, id)?.load(rebuild_from)?
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether the topic has batch consume queues.
    pub(crate) fn is_batch_topic(&self, topic: &str) -> bool {
        self.batch_topics.contains(topic)
    }

    /// Entries of a queue's file.
    pub(crate) fn entries_per_file(&self) -> i64 {
        self.files.entries_per_file()
    }

    pub(crate) fn get(&self, topic: &str, id: i32) -> Option<Arc<Queue>> {
        self.topics.read().get(topic)?.get(&id).cloned()
    }

    /// The queue, made where there is none; that touches no file.
    pub(crate) fn get_or_make(&self, topic: &str, id: i32) -> Result<Arc<Queue>, StoreError> {
        if let Some(queue) = self.get(topic, id) {
            return Ok(queue);
        }
        // Both become names of directories.
        let impossible = topic.is_empty()
            || topic.len() > 255
            || topic.contains(['/', '\0'])
            || matches!(topic, "." | "..");
        if impossible || id < 0 {
            return Err(StoreError::QueueName {
                topic: topic.to_owned(),
                queue_id: id,
            });
        }
        if self.is_batch_topic(topic) {
            return Err(StoreError::BatchQueue {
                topic: Arc::from(topic),
            });
        }
        let mut topics = self.topics.write();
        let name = match topics.get_key_value(topic) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(topic),
        };
        let queue = topics
            .entry(Arc::clone(&name))
            .or_default()
            .entry(id)
            .or_insert_with(|| {
                let number = self.next_number.fetch_add(1, Ordering::Relaxed);
                Arc::new(Queue::new(name, id, number, Arc::clone(&self.files)))
            });
        Ok(Arc::clone(queue))
    }

    /// The topic's queues, in the order of their numbers.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<Arc<Queue>> {
        let topics = self.topics.read();
        topics
            .get(topic)
            .map(|queues| queues.values().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        let topics = self.topics.read();
        topics
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        self.topics.read().keys().cloned().collect()
    }

    /// Takes a topic's queues out of the table.
    pub(crate) fn take(&self, topic: &str) -> Vec<Arc<Queue>> {
        let queues = self.topics.write().remove(topic);
        queues
            .map(|queues| queues.into_values().collect())
            .unwrap_or_default()
    }

    /// Removes the directory of a topic whose queues are gone, if it is empty.
    pub(crate) fn remove_topic_dir(&self, topic: &str) {
        let _ = self.files.disk.remove_dir(&self.files.dir.join(topic));
    }
}

/// Names of the directories in a directory; none where it is missing.
fn directories(files: &QueueFiles, dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match files.disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", dir, error)),
    };
    Ok(entries
        .into_iter()
        .filter(|entry| entry.is_dir)
        .map(|entry| entry.name)
        .collect())
}
