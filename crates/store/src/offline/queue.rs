//! A consume queue whose files may have anything wrong with them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::consume_queue::{ExtUnit, QueueKind, QueueUnit, ext, partition_point};
use crate::disk::{Disk, OpenMode};
use crate::error::StoreError;
use crate::files::{self, Found};
use crate::settings::StoreConfig;

/// Where simple queues are, in the data directory.
pub(super) const SIMPLE_DIR: &str = "consumequeue";
/// Where batch queues are.
pub(super) const BATCH_DIR: &str = "batchconsumequeue";
/// Where the extension of simple queues is.
pub(super) const EXT_DIR: &str = "consumequeue_ext";

/// One queue of a topic, for reading.
pub struct OfflineQueue {
    kind: QueueKind,
    topic: String,
    id: i32,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file_size: i64,
    ext_dir: PathBuf,
    ext_file_size: i64,
    files: Vec<Found>,
    /// Slots of the first entry and behind the last one.
    slots: (i64, i64),
    /// Number of the first message and behind the last one.
    offsets: (i64, i64),
    /// Entries read last, and the slot of the first of them.
    window: Vec<Option<QueueUnit>>,
    window_slot: i64,
    window_len: usize,
}

impl OfflineQueue {
    /// Finds all queues, by topic and number.
    pub(super) fn find_all(
        disk: &Arc<dyn Disk>,
        settings: &StoreConfig,
    ) -> Result<Vec<OfflineQueue>, StoreError> {
        /// Bytes of entries in memory, of all queues together.
        const WINDOWS: usize = 32 << 20;
        let mut queues = Vec::new();
        for kind in [QueueKind::Simple, QueueKind::Batch] {
            OfflineQueue::find(disk, settings, kind, &mut queues)?;
        }
        let entries = WINDOWS / size_of::<Option<QueueUnit>>();
        let window_len = (entries / queues.len().max(1)).clamp(16, 4096);
        for queue in &mut queues {
            queue.window_len = window_len;
            queue.find_ends()?;
        }
        queues.sort_by(|a, b| (&a.topic, a.id).cmp(&(&b.topic, b.id)));
        Ok(queues)
    }

    fn find(
        disk: &Arc<dyn Disk>,
        settings: &StoreConfig,
        kind: QueueKind,
        queues: &mut Vec<OfflineQueue>,
    ) -> Result<(), StoreError> {
        let root = settings.root();
        let (dir, file_size) = match kind {
            QueueKind::Simple => (SIMPLE_DIR, settings.mapped_file_size_consume_queue),
            QueueKind::Batch => (BATCH_DIR, settings.mapper_file_size_batch_consume_queue),
        };
        let dir = root.join(dir);
        for topic in files::entries(&**disk, &dir)?
            .into_iter()
            .filter(|entry| entry.is_dir)
        {
            for queue in files::entries(&**disk, &dir.join(&topic.name))? {
                let id: Option<i32> = queue.name.parse().ok();
                let Some(id) = id.filter(|id| queue.is_dir && queue.name == id.to_string()) else {
                    continue;
                };
                let dir = dir.join(&topic.name).join(&queue.name);
                queues.push(OfflineQueue {
                    kind,
                    topic: topic.name.clone(),
                    id,
                    disk: Arc::clone(disk),
                    files: files::list(&**disk, &dir)?,
                    dir,
                    file_size: file_size as i64,
                    ext_dir: root.join(EXT_DIR).join(&topic.name).join(&queue.name),
                    ext_file_size: settings.mapped_file_size_consume_queue_ext as i64,
                    slots: (0, 0),
                    offsets: (0, 0),
                    window: Vec::new(),
                    window_slot: 0,
                    window_len: 0,
                });
            }
        }
        Ok(())
    }

    /// What its entries stand for.
    pub fn kind(&self) -> QueueKind {
        self.kind
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The queue's number in its topic.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Number of the first message that has an entry; [`end`](OfflineQueue::end) without any.
    pub fn first(&self) -> i64 {
        self.offsets.0
    }

    /// Number behind the last message that has an entry.
    pub fn end(&self) -> i64 {
        self.offsets.1
    }

    /// Slots of the first entry and behind the last one.
    pub(super) fn slots(&self) -> (i64, i64) {
        self.slots
    }

    /// Files of the queue.
    pub(super) fn files(&self) -> &[Found] {
        &self.files
    }

    /// Bytes of a file, and the setting that says so.
    pub(super) fn file_size(&self) -> (i64, &'static str) {
        let key = match self.kind {
            QueueKind::Simple => "mappedFileSizeConsumeQueue",
            QueueKind::Batch => "mapperFileSizeBatchConsumeQueue",
        };
        (self.file_size, key)
    }

    /// The file that begins at a byte of the queue.
    pub(super) fn path(&self, start: i64) -> PathBuf {
        self.dir.join(files::file_name(start))
    }

    /// The file in which the entry of a slot stands, or would, and the byte there.
    pub(super) fn place(&self, slot: i64) -> (PathBuf, u64) {
        let at = slot.saturating_mul(self.kind.entry_size() as i64);
        let in_file = at.rem_euclid(self.file_size);
        (self.path(at - in_file), in_file as u64)
    }

    /// The entry that has a message; `None` where none was written or its file is missing.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn unit_of(&mut self, number: i64) -> Result<Option<QueueUnit>, StoreError> {
        let slot = self.slot_of(number, self.slots.0)?;
        let unit = self.unit(slot)?;
        Ok(unit.filter(|unit| unit.queue_offset <= number && number < unit.end()))
    }

    /// The slot of the entry that has a message, or of the next one; looked for first where it is
    /// likely.
    pub(super) fn slot_of(&mut self, number: i64, likely: i64) -> Result<i64, StoreError> {
        if self.kind == QueueKind::Simple {
            return Ok(number);
        }
        if self
            .unit(likely)?
            .is_some_and(|unit| unit.queue_offset == number)
        {
            return Ok(likely);
        }
        let (first, end) = self.slots;
        partition_point(first, end, |slot| {
            Ok(self.unit(slot)?.is_none_or(|unit| unit.end() <= number))
        })
    }

    /// The entry in a slot; `None` where none was written or its file is missing.
    pub(super) fn unit(&mut self, slot: i64) -> Result<Option<QueueUnit>, StoreError> {
        if !(self.slots.0..self.slots.1).contains(&slot) {
            return Ok(None);
        }
        let in_window = usize::try_from(slot - self.window_slot)
            .ok()
            .and_then(|at| self.window.get(at));
        if let Some(unit) = in_window {
            return Ok(*unit);
        }
        let (path, at) = self.place(slot);
        self.window.clear();
        self.window_slot = slot;
        if let Some(file) = files::open(&*self.disk, &path, OpenMode::Read)? {
            let size = self.kind.entry_size();
            let rest = self.file_size as usize - at as usize;
            let mut bytes = vec![0; rest.min(self.window_len * size)];
            let count = file
                .read_at(&mut bytes, at)
                .map_err(|error| StoreError::io("read", path, error))?;
            let entries = bytes.get(..count).unwrap_or_default().chunks_exact(size);
            let units = entries.zip(slot..);
            let kind = self.kind;
            self.window
                .extend(units.map(|(bytes, slot)| QueueUnit::decode(kind, slot, bytes)));
        }
        Ok(self.window.first().copied().flatten())
    }

    /// What an entry says of its message's tag, if necessary through the extension; `None` if that
    /// is lost.
    pub(super) fn tags_code(&self, unit: &QueueUnit) -> Result<Option<i64>, StoreError> {
        let Some(position) = ext::position(unit.entry.tags_code) else {
            return Ok(Some(unit.entry.tags_code));
        };
        let at = position.rem_euclid(self.ext_file_size);
        let path = self.ext_dir.join(files::file_name(position - at));
        let Some(file) = files::open(&*self.disk, &path, OpenMode::Read)? else {
            return Ok(None);
        };
        let mut bytes = [0; ext::UNIT_SIZE];
        file.read_at(&mut bytes, at as u64)
            .map_err(|error| StoreError::io("read", path, error))?;
        Ok(ExtUnit::decode_head(&bytes).map(|(unit, _)| unit.tags_code))
    }

    /// Finds the first and the last entry. Between them there may be some missing.
    fn find_ends(&mut self) -> Result<(), StoreError> {
        let size = self.kind.entry_size() as i64;
        let Some(first) = self.files.first() else {
            return Ok(());
        };
        let first = first.start / size;
        self.slots = (first, first);
        for found in self.files.iter().rev() {
            let path = self.path(found.start);
            let failed = |error| StoreError::io("read", &path, error);
            if let Some(file) = files::open(&*self.disk, &path, OpenMode::Read)?
                && let Some(data) = files::data_end(&*file).map_err(failed)?
            {
                let end = found.start + (data as i64).min(self.file_size);
                self.slots.1 = (end + size - 1) / size;
                break;
            }
        }
        // What only fills the first file up to the first message.
        while self
            .unit(self.slots.0)?
            .is_some_and(|unit| unit.entry.is_blank())
        {
            self.slots.0 += 1;
        }
        let (first, end) = self.slots;
        self.offsets = match self.kind {
            QueueKind::Simple => self.slots,
            QueueKind::Batch => (
                self.unit(first)?.map_or(0, |unit| unit.queue_offset),
                self.unit(end - 1)?.map_or(0, |unit| unit.end()),
            ),
        };
        // Nobody else reads it before all are found.
        self.window = Vec::new();
        Ok(())
    }
}
