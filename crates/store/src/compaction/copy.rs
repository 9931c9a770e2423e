//! The copy of a compacted queue's messages, in two files of
//! `compacted/TOPIC/QUEUE`. Both are named after the number of the first message that the
//! copy does not cover, in 20 decimal digits. They never change; the next copy replaces them.
//!
//! `NUMBER.log` has the messages' records as the commit log has them, one behind the other.
//! `NUMBER.index` has an entry of 46 bytes for each, as in a queue of batches
//! ([`consume_queue`](crate::consume_queue)):
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | position of the record in `NUMBER.log` |
//! | 8 | 4 | bytes of the record |
//! | 12 | 8 | hash of the tag |
//! | 20 | 8 | when the message was stored, milliseconds since 1970 |
//! | 28 | 8 | number of the record's first message in its queue |
//! | 36 | 2 | messages: 1, or those of an inner batch |
//! | 38 | 4 | -1 |
//! | 42 | 4 | 0 |
//!
//! A new copy is written as `new.log` and `new.index`. Once both are on the disk they get their
//! names, the log last. So what has a log is whole, and everything else is left from a kill.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::message::record::RecordRef;

use crate::consume_queue::{BATCH_ENTRY_SIZE, QueueEntry, QueueKind, QueueUnit, partition_point};
use crate::disk::{DirEntry, Disk, File, OpenMode};
use crate::error::StoreError;
use crate::files;
use crate::settings::StoreConfig;

/// Names of the files of a copy that is not whole yet.
const NEW_LOG: &str = "new.log";
const NEW_INDEX: &str = "new.index";

/// Bytes written at a time.
const BUFFER: usize = 1 << 18;
/// Entries read at a time.
const ENTRIES: usize = 64;

/// Where the copies of all queues are.
fn root(settings: &StoreConfig) -> PathBuf {
    settings.root().join("compacted")
}

/// Where the copy of a queue is.
pub(super) fn dir(settings: &StoreConfig, topic: &str, queue_id: i32) -> PathBuf {
    root(settings).join(topic).join(queue_id.to_string())
}

/// The queues that have a directory here.
pub(super) fn queues(
    disk: &dyn Disk,
    settings: &StoreConfig,
) -> Result<Vec<(String, i32)>, StoreError> {
    let root = root(settings);
    let is_dir = |entry: &DirEntry| entry.is_dir;
    let mut queues = Vec::new();
    let topics = files::entries(disk, &root)?;
    if !topics.is_empty() {
        // A kill may have come before the names were on the disk.
        sync_dir(disk, files::parent(&root))?;
        sync_dir(disk, &root)?;
    }
    for topic in topics.into_iter().filter(is_dir) {
        let dir = root.join(&topic.name);
        sync_dir(disk, &dir)?;
        for queue in files::entries(disk, &dir)?.into_iter().filter(is_dir) {
            if let Ok(id) = queue.name.parse() {
                queues.push((topic.name.clone(), id));
            }
        }
    }
    Ok(queues)
}

/// Removes the copies of a topic's queues.
pub(crate) fn remove_topic(
    disk: &dyn Disk,
    settings: &StoreConfig,
    topic: &str,
) -> Result<(), StoreError> {
    let topic_dir = root(settings).join(topic);
    for queue in files::entries(disk, &topic_dir)? {
        let dir = topic_dir.join(&queue.name);
        for file in files::entries(disk, &dir)? {
            files::remove(disk, &dir.join(&file.name))?;
        }
        sync_dir(disk, &dir)?;
        // One that a pass has written to in the meantime is cleared at the next start.
        let _ = disk.remove_dir(&dir);
    }
    let _ = disk.remove_dir(&topic_dir);
    Ok(())
}

/// Removes what there is of a copy that will not be finished.
pub(super) fn discard_new(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    files::remove(disk, &dir.join(NEW_LOG))?;
    files::remove(disk, &dir.join(NEW_INDEX))
}

fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    disk.sync_dir(dir)
        .map_err(|error| StoreError::io("flush the directory", dir, error))
}

fn log_name(end: i64) -> String {
    format!("{}.log", files::file_name(end))
}

fn index_name(end: i64) -> String {
    format!("{}.index", files::file_name(end))
}

/// A copy that is whole.
#[derive(Debug)]
pub(crate) struct Compacted {
    dir: PathBuf,
    first: i64,
    end: i64,
    units: i64,
    len: i64,
}

impl Compacted {
    /// The copy in a directory; all else in it is removed, and so is a copy of messages that a
    /// queue with this end does not have.
    pub(super) fn load(
        disk: &dyn Disk,
        dir: &Path,
        max_offset: i64,
    ) -> Result<Option<Compacted>, StoreError> {
        let entries = files::entries(disk, dir)?;
        let ends = entries
            .iter()
            .filter_map(|entry| files::file_start(entry.name.strip_suffix(".log")?));
        let end = ends.clone().filter(|end| *end <= max_offset).max();
        if let Some(beyond) = ends.max().filter(|end| *end > max_offset) {
            let dir = dir.display();
            tracing::warn!(%dir, beyond, max_offset, "a copy of messages that are not there is removed");
        }
        if !entries.is_empty() {
            // A kill may have come before the names were on the disk, and others go now.
            sync_dir(disk, dir)?;
        }
        let keep = end.map(|end| [log_name(end), index_name(end)]);
        let is_kept = |name: &String| keep.as_ref().is_some_and(|keep| keep.contains(name));
        for entry in entries.iter().filter(|entry| !is_kept(&entry.name)) {
            files::remove(disk, &dir.join(&entry.name))?;
        }
        end.map(|end| Compacted::open(disk, dir.to_path_buf(), end))
            .transpose()
    }

    fn open(disk: &dyn Disk, dir: PathBuf, end: i64) -> Result<Compacted, StoreError> {
        let len = |name: String| {
            let path = dir.join(name);
            let file = files::open(disk, &path, OpenMode::Read)?;
            file.map_or(Ok(0), |file| file.len())
                .map_err(|error| StoreError::io("look at", &path, error))
        };
        let (log_len, index_len) = (len(log_name(end))?, len(index_name(end))?);
        let mut copy = Compacted {
            dir,
            first: end,
            end,
            units: index_len as i64 / BATCH_ENTRY_SIZE as i64,
            len: log_len as i64,
        };
        if let Some(reader) = copy.reader(disk)?
            && let Some(unit) = reader.units(0, 1)?.first()
        {
            copy.first = unit.queue_offset;
        }
        Ok(copy)
    }

    /// Number of the first message; [`end`](Compacted::end) without any.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    /// Number of the first message that it does not cover.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Bytes of its records.
    pub(crate) fn len(&self) -> i64 {
        self.len
    }

    /// Opens it for reading; `None` once another copy has replaced it.
    pub(crate) fn reader(&self, disk: &dyn Disk) -> Result<Option<CopyReader>, StoreError> {
        let open = |name| files::open(disk, &self.dir.join(name), OpenMode::Read);
        let (log, index) = (open(log_name(self.end))?, open(index_name(self.end))?);
        Ok(log.zip(index).map(|(log, index)| CopyReader {
            log,
            index,
            units: self.units,
            len: self.len,
            dir: self.dir.clone(),
        }))
    }

    /// Shows all records with their entries.
    pub(super) fn each(
        &self,
        disk: &dyn Disk,
        mut show: impl FnMut(QueueUnit, RecordRef<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(reader) = self.reader(disk)? else {
            return Ok(());
        };
        let mut slot = 0;
        while slot < self.units {
            let units = reader.units(slot, ENTRIES)?;
            if units.is_empty() {
                break;
            }
            slot += units.len() as i64;
            for unit in units {
                let record = reader.record(&unit)?;
                if let Some(Ok(record)) = record.as_deref().map(RecordRef::parse) {
                    show(unit, record)?;
                }
            }
        }
        Ok(())
    }

    /// Removes its files, first the one that says that it is whole.
    pub(super) fn remove(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        files::remove(disk, &self.dir.join(log_name(self.end)))?;
        files::remove(disk, &self.dir.join(index_name(self.end)))
    }
}

/// The open files of a copy.
pub(crate) struct CopyReader {
    log: Arc<dyn File>,
    index: Arc<dyn File>,
    units: i64,
    len: i64,
    dir: PathBuf,
}

impl CopyReader {
    /// The slot of the first message with this number or a later one.
    pub(crate) fn slot_from(&self, offset: i64) -> Result<i64, StoreError> {
        partition_point(0, self.units, |slot| {
            let units = self.units(slot, 1)?;
            Ok(units.first().is_some_and(|unit| unit.end() <= offset))
        })
    }

    /// Up to `count` entries from a slot on.
    pub(crate) fn units(&self, slot: i64, count: usize) -> Result<Vec<QueueUnit>, StoreError> {
        let mut bytes = vec![0; count * BATCH_ENTRY_SIZE];
        let at = slot.unsigned_abs() * BATCH_ENTRY_SIZE as u64;
        let read = self.index.read_at(&mut bytes, at);
        bytes.truncate(read.map_err(|error| self.failed(error))?);
        let entries = bytes.chunks_exact(BATCH_ENTRY_SIZE);
        Ok(entries
            .map_while(|bytes| QueueUnit::decode(QueueKind::Batch, slot, bytes))
            .collect())
    }

    /// The record of an entry; `None` if there is something else in its place.
    pub(crate) fn record(&self, unit: &QueueUnit) -> Result<Option<Vec<u8>>, StoreError> {
        let QueueEntry {
            physical_offset: at,
            size,
            ..
        } = unit.entry;
        let mut bytes = Vec::new();
        if at.saturating_add(i64::from(size)) <= self.len {
            bytes.resize(size as usize, 0);
            let read = self.log.read_at(&mut bytes, at.unsigned_abs());
            bytes.truncate(read.map_err(|error| self.failed(error))?);
        }
        let is_whole = RecordRef::parse(&bytes).is_ok_and(|record| {
            record.queue_offset() == unit.queue_offset && record.total_size() == bytes.len()
        });
        if !is_whole {
            let (dir, offset) = (self.dir.display(), unit.queue_offset);
            tracing::warn!(%dir, offset, "a message of the copy is damaged and left out");
        }
        Ok(is_whole.then_some(bytes))
    }

    fn failed(&self, error: std::io::Error) -> StoreError {
        StoreError::io("read", &self.dir, error)
    }
}

/// A copy being made.
pub(super) struct CopyWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    end: i64,
    log: Output,
    index: Output,
}

impl CopyWriter {
    /// Begins a copy in a directory that covers messages up to a number.
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        end: i64,
    ) -> Result<CopyWriter, StoreError> {
        files::create_dir(&*disk, &dir)?;
        Ok(CopyWriter {
            log: Output::create(&*disk, dir.join(NEW_LOG))?,
            index: Output::create(&*disk, dir.join(NEW_INDEX))?,
            disk,
            dir,
            end,
        })
    }

    /// Adds a record with so many messages, and the hash of its tag.
    pub(super) fn put(
        &mut self,
        tags_code: i64,
        record: &RecordRef<'_>,
        count: i16,
    ) -> Result<(), StoreError> {
        let unit = QueueUnit {
            queue_offset: record.queue_offset(),
            count,
            entry: QueueEntry {
                physical_offset: self.log.len(),
                size: record.total_size() as i32,
                tags_code,
            },
        };
        self.log.put(record.as_bytes())?;
        self.index.put(&unit.encode_batch(record.store_timestamp()))
    }

    /// Makes the copy whole.
    pub(super) fn finish(mut self) -> Result<Compacted, StoreError> {
        let named = [
            (&mut self.index, index_name(self.end)),
            (&mut self.log, log_name(self.end)),
        ];
        for (output, name) in named {
            output.sync()?;
            self.disk
                .rename(&output.path, &self.dir.join(name))
                .map_err(|error| StoreError::io("rename", &output.path, error))?;
            sync_dir(&*self.disk, &self.dir)?;
        }
        Compacted::open(&*self.disk, self.dir, self.end)
    }
}

/// A file that is written from its begin to its end.
struct Output {
    path: PathBuf,
    file: Arc<dyn File>,
    written: u64,
    buffer: Vec<u8>,
}

impl Output {
    fn create(disk: &dyn Disk, path: PathBuf) -> Result<Output, StoreError> {
        let failed = |error| StoreError::io("create", &path, error);
        let file = disk.open(&path, OpenMode::Create).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        Ok(Output {
            path,
            file,
            written: 0,
            buffer: Vec::new(),
        })
    }

    fn len(&self) -> i64 {
        self.written as i64 + self.buffer.len() as i64
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.file
            .write_at(&self.buffer, self.written)
            .map_err(|error| StoreError::io("write", &self.path, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.write()?;
        self.file
            .sync_data()
            .map_err(|error| StoreError::io("flush", &self.path, error))
    }
}
