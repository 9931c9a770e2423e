//! All consume queues, by topic and number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use wire::message::names;

use crate::consume_queue::{Queue, QueueFiles, QueueKind};
use crate::disk::{DirEntry, Disk};
use crate::error::StoreError;
use crate::files;
use crate::queue_snapshot::SavedQueue;
use crate::sequence::Place;

/// A topic's queues by number, all of one kind.
type Queues = BTreeMap<i32, Arc<Queue>>;

/// The queues of all topics.
pub(crate) struct QueueTable {
    files: QueueFiles,
    topics: RwLock<HashMap<Arc<str>, Queues>>,
    next_number: AtomicU64,
    light: AtomicUsize,
    /// Whether some queues are on another disk than the data directory, by links or mounts.
    other_disks: AtomicBool,
}

impl QueueTable {
    /// No queues.
    pub(crate) fn new(files: QueueFiles) -> QueueTable {
        QueueTable {
            files,
            topics: RwLock::default(),
            // 0 is the log.
            next_number: AtomicU64::new(1),
            light: AtomicUsize::new(0),
            other_disks: AtomicBool::new(false),
        }
    }

    /// Finds the queues on the disk; `rebuild_from` as for [`Queue::load`].
    pub(crate) fn load(&self, rebuild_from: Option<i64>) -> Result<(), StoreError> {
        let mut devices = HashSet::new();
        for kind in [QueueKind::Batch, QueueKind::Simple] {
            for (topic, id) in queue_dirs(self.files.place(kind), &mut devices)? {
                let queue = self.get_or_make(&topic, id, kind)?;
                if queue.kind() == kind {
                    queue.load(rebuild_from)?;
                } else {
                    tracing::warn!(
                        topic,
                        queue = id,
                        "the topic has batch queues, a simple queue of it is ignored"
                    );
                }
            }
        }
        for (topic, id) in queue_dirs(&self.files.ext, &mut devices)? {
            if let Some(queue) = self.get(&topic, id)
                && queue.kind() == QueueKind::Simple
            {
                queue.load_ext(&self.files, rebuild_from.is_some())?;
            }
        }
        self.other_disks.store(devices.len() > 1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the queues as they were at a clean stop.
    pub(crate) fn restore(
        &self,
        queues: Vec<SavedQueue<'_>>,
        other_disks: bool,
    ) -> Result<(), StoreError> {
        for saved in queues {
            let queue = self.get_or_make(saved.topic, saved.id, saved.kind)?;
            queue.restore(&saved.ends, &self.files);
        }
        self.other_disks.store(other_disks, Ordering::Relaxed);
        Ok(())
    }

    /// Where the files of all queues are.
    pub(crate) fn files(&self) -> &QueueFiles {
        &self.files
    }

    /// Whether all queues are on the disk of the data directory.
    pub(crate) fn on_one_disk(&self) -> bool {
        !self.other_disks.load(Ordering::Relaxed)
    }

    /// Whether the directory of simple queues is missing, made now: somebody removed it, or there
    /// never was one.
    pub(crate) fn make_missing_dir(&self) -> Result<bool, StoreError> {
        let place = &self.files.simple;
        let is_missing = place.disk.list(&place.dir).is_err();
        files::create_dir(&*place.disk, &place.dir)?;
        Ok(is_missing)
    }

    pub(crate) fn get(&self, topic: &str, id: i32) -> Option<Arc<Queue>> {
        self.topics.read().get(topic)?.get(&id).cloned()
    }

    /// The queue, made where there is none; then of the kind that the topic's other queues have,
    /// or else of this one. For a simple queue that touches no file; the directory of a batch
    /// queue is made, since it tells the kind after a kill.
    pub(crate) fn get_or_make(
        &self,
        topic: &str,
        id: i32,
        kind: QueueKind,
    ) -> Result<Arc<Queue>, StoreError> {
        if let Some(queue) = self.get(topic, id) {
            return Ok(queue);
        }
        // Both become names of directories.
        if !names_directory(topic) || id < 0 {
            return Err(StoreError::QueueName {
                topic: topic.to_owned(),
                queue_id: id,
            });
        }
        let mut topics = self.topics.write();
        let name = match topics.get_key_value(topic) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(topic),
        };
        let queues = topics.entry(Arc::clone(&name)).or_default();
        if let Some(queue) = queues.get(&id) {
            return Ok(Arc::clone(queue));
        }
        let kind = queues.values().next().map_or(kind, |other| other.kind());
        if kind == QueueKind::Batch {
            let place = &self.files.batch;
            files::create_dir(&*place.disk, &place.queue_dir(topic, id))?;
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(Queue::new(kind, name, id, number, &self.files));
        queues.insert(id, Arc::clone(&queue));
        if names::is_lmq(topic) {
            self.light.fetch_add(1, Ordering::Relaxed);
        }
        Ok(queue)
    }

    /// How many light queues there are.
    pub(crate) fn light(&self) -> usize {
        self.light.load(Ordering::Relaxed)
    }

    /// The topic's queues, in the order of their numbers.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<Arc<Queue>> {
        let topics = self.topics.read();
        topics
            .get(topic)
            .map(|queues| queues.values().cloned().collect())
            .unwrap_or_default()
    }

    /// All queues, in the order they were made: what is done to each is done the same way by
    /// every run of a simulation.
    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        let topics = self.topics.read();
        let mut all: Vec<Arc<Queue>> = topics
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect();
        drop(topics);
        all.sort_unstable_by_key(|queue| queue.number());
        all
    }

    /// All topics, in order.
    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<Arc<str>> = self.topics.read().keys().cloned().collect();
        topics.sort_unstable();
        topics
    }

    /// Takes a topic's queues out of the table.
    pub(crate) fn take(&self, topic: &str) -> Vec<Arc<Queue>> {
        let queues = self.topics.write().remove(topic).unwrap_or_default();
        if names::is_lmq(topic) {
            self.light.fetch_sub(queues.len(), Ordering::Relaxed);
        }
        queues.into_values().collect()
    }

    /// Removes the directories of a topic whose queues are gone, where they are empty.
    pub(crate) fn remove_topic_dirs(&self, topic: &str) {
        let files = &self.files;
        for place in [&files.simple, &files.batch, &files.ext] {
            let _ = place.disk.remove_dir(&place.dir.join(topic));
        }
    }
}

/// Whether a topic's name can be that of a directory, which is then the topic's own.
pub(crate) fn names_directory(topic: &str) -> bool {
    let length = 1..=255;
    length.contains(&topic.len()) && !topic.contains(['/', '\0']) && !matches!(topic, "." | "..")
}

/// The queues that have a directory. Adds the disks of all directories on the way, and that of
/// the data directory.
fn queue_dirs(place: &Place, devices: &mut HashSet<u64>) -> Result<Vec<(String, i32)>, StoreError> {
    let mut queues = Vec::new();
    let disk = &*place.disk;
    let root = files::parent(&place.dir);
    let mut above = match disk.list(root) {
        Ok(entries) => entries,
        Err(error) => return Err(StoreError::io("list", root, error)),
    };
    let name = place.dir.file_name().and_then(OsStr::to_str);
    above.retain(|entry| !entry.is_dir || Some(&*entry.name) == name);
    devices.extend(above.iter().map(|entry| entry.device));
    for topic in directories(disk, &place.dir)? {
        devices.insert(topic.device);
        for queue in directories(disk, &place.dir.join(&topic.name))? {
            devices.insert(queue.device);
            match queue.name.parse() {
                Ok(id) if queue.name == i32::to_string(&id) => {
                    queues.push((topic.name.clone(), id));
                }
                _ => {}
            }
        }
    }
    Ok(queues)
}

/// The directories in a directory; none where it is missing.
fn directories(disk: &dyn Disk, dir: &Path) -> Result<Vec<DirEntry>, StoreError> {
    let mut entries = files::entries(disk, dir)?;
    entries.retain(|entry| entry.is_dir);
    Ok(entries)
}
