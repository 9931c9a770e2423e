//! The store as a whole: opening, closing and what it knows about itself.

mod housekeeping;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use wire::message::names;

use self::housekeeping::{Alarm, CheckpointState};
use crate::append::{ArrivalListener, FilterBits};
use crate::checkpoint::CheckpointFile;
use crate::clock::{Clock, SystemClock};
use crate::commit_log::CommitLog;
use crate::compaction::{self, Compaction};
use crate::consume_queue::{Queue, QueueEntry, QueueFiles, QueueKind};
use crate::disk::{Disk, Lock, OpenMode, OsDisk};
use crate::error::StoreError;
use crate::files::{self, OpenFiles};
use crate::flush::{Flushed, Flusher};
use crate::index::Index;
use crate::queue_snapshot::{self, SnapshotFile, Surroundings};
use crate::queue_table::{QueueTable, names_directory};
use crate::retention::Retention;
use crate::sequence::Place;
use crate::settings::StoreConfig;

/// Files kept open, of the log and all queues.
const OPEN_FILES: usize = 256;

/// What a store is opened with.
#[derive(Clone)]
pub struct StoreOptions {
    /// The settings.
    pub settings: StoreConfig,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whether threads flush, write and remove what is due. Without them
    /// [`Store::housekeeping`] has to be called and nobody serves [`Store::flushed`] but
    /// [`Store::flush`]: for simulations that decide when things happen.
    pub threads: bool,
}

impl StoreOptions {
    /// The machine's disk and clock.
    pub fn new(settings: StoreConfig) -> StoreOptions {
        StoreOptions {
            settings,
            disk: OsDisk::shared(),
            clock: Arc::new(SystemClock),
            threads: true,
        }
    }
}

/// One broker's messages on one disk.
pub struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: CommitLog,
    pub(crate) queues: QueueTable,
    pub(crate) index: Index,
    pub(crate) retention: Retention,
    pub(crate) compaction: Compaction,
    /// Whether the store was not closed before it was opened.
    pub(crate) was_killed: bool,
    /// Bytes of the machine's memory, of which `accessMessageInMemoryMaxRatio` is a part.
    pub(crate) memory: u64,
    settings: RwLock<Arc<StoreConfig>>,
    pub(crate) flusher: Arc<Flusher>,
    checkpoint_file: CheckpointFile,
    pub(crate) snapshot_file: SnapshotFile,
    checkpoint: Mutex<CheckpointState>,
    listener: OnceLock<Arc<dyn ArrivalListener>>,
    pub(crate) filter_bits: OnceLock<Box<FilterBits>>,
    /// Held by whoever writes or flushes the listed queues: who finds the list empty has to know
    /// that nobody is still at it.
    keeping: Mutex<()>,
    /// Queues with entries to write or files to flush.
    listed: Mutex<Vec<Arc<Queue>>>,
    /// Deleted queues whose files could not be removed.
    leftovers: Mutex<Vec<Arc<Queue>>>,
    /// Space in use in percent, once it is too much; else 0.
    too_full: AtomicU32,
    closed: AtomicBool,
    keeper: Arc<Alarm>,
    indexer: Arc<Alarm>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<Box<dyn Lock>>>,
}

impl Store {
    /// Opens the data directory, made where it is missing, and recovers what is in it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it; [`StoreError::FileSize`] or
    /// [`StoreError::Setting`] if the settings do not fit; [`StoreError::Io`] if the disk fails.
    pub fn open(options: StoreOptions) -> Result<Arc<Store>, StoreError> {
        let StoreOptions {
            settings,
            disk,
            clock,
            threads,
        } = options;
        settings.check()?;
        let root = settings.root();
        files::create_dir(&*disk, &root)?;
        let lock = lock(&*disk, &root)?;
        files::create_dir(&*disk, &settings.commit_log_dir())?;

        let open = Arc::new(OpenFiles::new(Arc::clone(&disk), OPEN_FILES));
        let log = CommitLog::new(
            Arc::clone(&disk),
            Arc::clone(&open),
            settings.commit_log_dir(),
            settings.mapped_file_size_commit_log,
            settings.tail_cache_size,
        );
        let index = Index::new(
            Arc::clone(&disk),
            Arc::clone(&open),
            Arc::clone(&clock),
            &settings,
        );
        let place = |dir, key, file_size, filler| {
            Arc::new(Place {
                disk: Arc::clone(&disk),
                open: Arc::clone(&open),
                dir: root.join(dir),
                file_size: file_size as i64,
                key,
                filler,
            })
        };
        let queue_files = QueueFiles {
            simple: place(
                "consumequeue",
                "mappedFileSizeConsumeQueue",
                settings.mapped_file_size_consume_queue,
                QueueEntry::BLANK.encode().to_vec(),
            ),
            batch: place(
                "batchconsumequeue",
                "mapperFileSizeBatchConsumeQueue",
                settings.mapper_file_size_batch_consume_queue,
                Vec::new(),
            ),
            ext: place(
                "consumequeue_ext",
                "mappedFileSizeConsumeQueueExt",
                settings.mapped_file_size_consume_queue_ext,
                Vec::new(),
            ),
            writes_ext: settings.enable_consume_queue_ext,
        };
        let checkpoint_file = CheckpointFile::new(Arc::clone(&disk), root.join("checkpoint"));
        let saved = checkpoint_file.load()?;
        let abort = root.join("abort");
        let was_killed = disk.open(&abort, OpenMode::Read).is_ok();

        let store = Store {
            queues: QueueTable::new(queue_files),
            log,
            index,
            retention: Retention::default(),
            compaction: Compaction::default(),
            was_killed,
            memory: machine_memory(),
            flusher: Arc::new(Flusher::new()),
            checkpoint_file,
            snapshot_file: SnapshotFile::new(Arc::clone(&disk), &settings.config_dir()),
            checkpoint: Mutex::new(CheckpointState::new(saved, clock.now_millis())),
            listener: OnceLock::new(),
            filter_bits: OnceLock::new(),
            keeping: Mutex::default(),
            listed: Mutex::default(),
            leftovers: Mutex::default(),
            too_full: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            keeper: Arc::default(),
            indexer: Arc::default(),
            threads: Mutex::default(),
            lock: Mutex::new(Some(lock)),
            settings: RwLock::new(Arc::new(settings)),
            disk,
            clock,
        };
        store.recover(saved)?;
        store.load_copies()?;
        let log = store.log.position();
        store.index.load(log, saved.index_timestamp, was_killed)?;
        // From here on the directory is not closed cleanly until `close`. The log and the queues
        // are flushed before, so that a reader that trusts the last clean stop can.
        store.flush()?;
        if was_killed {
            // What the process before made or cut, and nothing is written to now, it may have left
            // unflushed. The log may stand on another disk than the directory.
            store.sync_disk()?;
            store.log.sync(store.log.begin(), store.log.end())?;
        }
        store.make_checkpoint()?;
        store.write_abort(&abort)?;

        let store = Arc::new(store);
        if threads {
            store.start_threads();
        }
        Ok(store)
    }

    /// Stores nothing more, flushes everything and gives the directory free. Closing twice does
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError::Io`] if something could not be flushed; the next start recovers it then.
    pub fn close(&self) -> Result<(), StoreError> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.compaction.wait_for_end();
        // Whoever appends now has the lock; the next one sees that it is closed.
        let cleared = self.log.clear_behind(&mut self.log.lock());
        self.keeper.stop();
        self.indexer.stop();
        let closing = cleared
            .and_then(|()| self.flush())
            .and_then(|_| self.make_checkpoint())
            .and_then(|()| self.remove_leftovers())
            .and_then(|()| self.close_index());
        self.flusher.end(StoreError::Closed);
        let this = std::thread::current().id();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.thread().id() != this && thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        let closed = closing.and_then(|()| {
            let root = self.settings().root();
            files::remove(&*self.disk, &root.join("abort"))?;
            self.disk
                .sync_dir(&root)
                .map_err(|error| StoreError::io("flush the directory", &root, error))?;
            self.save_snapshot();
            Ok(())
        });
        *self.lock.lock() = None;
        closed
    }

    /// Writes down the queues for the next start, which can do without.
    fn save_snapshot(&self) {
        let log = (self.log.begin(), self.log.end());
        let saved = self.clean_queues().and_then(|()| {
            let surroundings = self.surroundings(log);
            self.snapshot_file.save(&surroundings, &self.queues)
        });
        if let Err(error) = saved {
            tracing::warn!(%error, "the next start looks at the files of all queues");
        }
    }

    /// How the data directory looks, for a log with this begin and end.
    pub(crate) fn surroundings(&self, log: (i64, i64)) -> Surroundings {
        let root = self.settings().root();
        queue_snapshot::surroundings(&*self.disk, &root, self.queues.files(), log)
    }

    /// Names who is told of messages that arrive; once, before the first append.
    pub fn set_listener(&self, listener: Arc<dyn ArrivalListener>) {
        if self.listener.set(listener).is_err() {
            tracing::error!(
                "the store already has a listener, the second one is not told anything"
            );
        }
    }

    /// Names who knows which filters a message passes; once. It is asked for messages that get a
    /// unit in the extension of their queue.
    pub fn set_filter_bits(&self, ask: Box<FilterBits>) {
        if self.filter_bits.set(ask).is_err() {
            tracing::error!("the store already knows who tells which filters a message passes");
        }
    }

    pub(crate) fn listener(&self) -> Option<&dyn ArrivalListener> {
        self.listener.get().map(|listener| &**listener)
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<StoreConfig> {
        Arc::clone(&self.settings.read())
    }

    /// Changes the settings. Those that say how files are laid out stay as they were.
    pub fn reconfigure(&self, settings: StoreConfig) {
        let mut current = self.settings.write();
        *current = Arc::new(StoreConfig {
            store_path_root_dir: current.store_path_root_dir.clone(),
            store_path_commit_log: current.store_path_commit_log.clone(),
            mapped_file_size_commit_log: current.mapped_file_size_commit_log,
            mapped_file_size_consume_queue: current.mapped_file_size_consume_queue,
            mapper_file_size_batch_consume_queue: current.mapper_file_size_batch_consume_queue,
            mapped_file_size_consume_queue_ext: current.mapped_file_size_consume_queue_ext,
            message_index_enable: current.message_index_enable,
            max_hash_slot_num: current.max_hash_slot_num,
            max_index_num: current.max_index_num,
            timer_precision_ms: current.timer_precision_ms,
            timer_roll_window_slot: current.timer_roll_window_slot,
            mapped_file_size_timer_log: current.mapped_file_size_timer_log,
            ..settings
        });
    }

    /// The disk, for the other files of the broker.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Position of the first byte of the log.
    pub fn min_physical_offset(&self) -> i64 {
        self.log.begin()
    }

    /// Position behind the last message.
    pub fn max_physical_offset(&self) -> i64 {
        self.log.end()
    }

    /// Position up to which the log is on the disk.
    pub fn flushed_position(&self) -> i64 {
        self.flusher.flushed()
    }

    /// Bytes of all files of the log and the queues, as laid out.
    pub fn file_bytes(&self) -> i64 {
        let log = self.log.files().len() as i64 * self.log.file_size();
        log + self
            .queues
            .all()
            .iter()
            .map(|queue| queue.file_bytes())
            .sum::<i64>()
    }
}

/// Queues.
impl Store {
    /// The queue, made where there is none, as a simple one unless the topic has batch queues.
    /// That touches no file before the first message.
    ///
    /// # Errors
    /// [`StoreError::QueueName`] for what cannot be a directory.
    pub fn queue(&self, topic: &str, queue_id: i32) -> Result<Arc<Queue>, StoreError> {
        self.queue_of_kind(topic, queue_id, QueueKind::Simple)
    }

    /// The queue, made where there is none: of the kind that the topic's queues have, or of this
    /// kind if it is the topic's first one.
    ///
    /// # Errors
    /// [`StoreError::QueueName`] for what cannot be a directory; [`StoreError::Io`] if the
    /// directory of a batch queue, by which it is known, cannot be made.
    pub fn queue_of_kind(
        &self,
        topic: &str,
        queue_id: i32,
        kind: QueueKind,
    ) -> Result<Arc<Queue>, StoreError> {
        self.queues.get_or_make(topic, queue_id, kind)
    }

    /// The light queue of a name, made where there is none.
    ///
    /// # Errors
    /// [`StoreError::LightQueues`] if it would be one too many; [`StoreError::QueueName`] for what
    /// is no name of a light queue.
    pub fn light_queue(&self, name: &str) -> Result<Arc<Queue>, StoreError> {
        if !names::is_lmq(name) {
            return Err(StoreError::QueueName {
                topic: name.to_owned(),
                queue_id: names::LMQ_QUEUE_ID,
            });
        }
        if let Some(queue) = self.find_queue(name, names::LMQ_QUEUE_ID) {
            return Ok(queue);
        }
        let settings = self.settings();
        let max = settings.max_lmq_consume_queue_num;
        if settings.enable_lmq_quota && self.light_queues() >= max {
            return Err(StoreError::LightQueues {
                name: name.to_owned(),
                max,
            });
        }
        self.queue(name, names::LMQ_QUEUE_ID)
    }

    /// How many light queues there are.
    pub fn light_queues(&self) -> usize {
        self.queues.light()
    }

    /// The queue, if it is there.
    pub fn find_queue(&self, topic: &str, queue_id: i32) -> Option<Arc<Queue>> {
        self.queues.get(topic, queue_id)
    }

    /// A topic's queues, in the order of their numbers.
    pub fn queues_of(&self, topic: &str) -> Vec<Arc<Queue>> {
        self.queues.of_topic(topic)
    }

    /// All queues, in the order they were made.
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues.all()
    }

    /// All topics that have queues, in order.
    pub fn topics(&self) -> Vec<Arc<str>> {
        self.queues.topics()
    }

    /// Removes a topic's queues; its messages stay in the log until they are too old. Who still
    /// holds one of the queues gets [`StoreError::QueueDeleted`] for what it appends there.
    ///
    /// # Errors
    /// [`StoreError::Io`] if files could not be removed; the queues are gone all the same.
    pub fn delete_topic(&self, topic: &str) -> Result<(), StoreError> {
        if !names_directory(topic) {
            // It has no queues, and its "directories" would be somebody else's.
            return Ok(());
        }
        // Under the log's lock: no message is on its way to them, nor to a queue of the same
        // name whose files would be removed with theirs.
        let _tail = self.log.lock();
        let queues = self.queues.take(topic);
        queues.iter().for_each(|queue| queue.mark_deleted());
        // The copies first: without them a queue can be made anew, and not the other way round.
        let mut result = compaction::copy::remove_topic(&*self.disk, &self.settings(), topic);
        for queue in queues {
            let removed = queue.remove_files();
            if removed.is_err() {
                self.leftovers.lock().push(queue);
            }
            result = result.and(removed);
        }
        self.queues.remove_topic_dirs(topic);
        result
    }

    /// Removes what is left of deleted queues, which the next start would take for theirs.
    fn remove_leftovers(&self) -> Result<(), StoreError> {
        for queue in std::mem::take(&mut *self.leftovers.lock()) {
            // One of the same name that has messages has removed them before its first write.
            let anew = self.find_queue(queue.topic(), queue.id());
            if anew.is_none_or(|anew| anew.max_offset() == 0) {
                queue.remove_files()?;
            }
        }
        Ok(())
    }

    /// Notes that the queue has something to write.
    pub(crate) fn list(&self, queue: &Arc<Queue>) {
        self.listed.lock().push(Arc::clone(queue));
    }
}

/// Promises.
impl Store {
    /// Waits until the log is on the disk up to a position.
    pub fn flushed(&self, position: i64) -> Flushed {
        self.flusher.wait_for(position)
    }

    /// Recovery knows up to where the log was on the disk before.
    pub(crate) fn set_flushed(&self, position: i64) {
        self.flusher.advance(position);
    }

    /// Flushes the log now; the position up to which it is on the disk then.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails; nothing can be promised from then on, so that
    /// appending is refused as well.
    pub fn flush(&self) -> Result<i64, StoreError> {
        if let Some(StoreError::FlushFailed) = self.flusher.ended() {
            return Err(StoreError::FlushFailed);
        }
        let (end, _) = self.log.position();
        let from = self.flusher.flushed();
        if let Err(error) = self.log.sync(from, end) {
            // The system may have dropped what it could not write, and a second flush would
            // succeed without it.
            tracing::error!(%error, "the log could not be flushed, nothing more is accepted");
            self.flusher.end(StoreError::FlushFailed);
            return Err(error);
        }
        self.flusher.advance(end);
        Ok(end)
    }

    /// Whether messages are accepted at present.
    pub fn is_writable(&self) -> bool {
        self.check_writable().is_ok()
    }

    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(StoreError::Closed),
            false => Ok(()),
        }
    }

    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        self.check_open()?;
        match self.too_full.load(Ordering::Acquire) {
            0 => {}
            used => return Err(StoreError::DiskFull { used }),
        }
        match self.flusher.ended() {
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }

    /// Notes how full the disk is: `Some` percent refuses messages.
    pub(crate) fn set_too_full(&self, used: Option<u32>) {
        let before = self.too_full.swap(used.unwrap_or(0), Ordering::AcqRel);
        match (before, used) {
            (0, Some(used)) => tracing::error!(used, "the disk is too full, messages are refused"),
            (1.., None) => tracing::info!("there is room on the disk again, messages are accepted"),
            _ => {}
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.keeper.stop();
        self.indexer.stop();
        self.flusher.end(StoreError::Closed);
    }
}

/// Takes the data directory (`DefaultMessageStore.start`).
pub(crate) fn lock(disk: &dyn Disk, root: &std::path::Path) -> Result<Box<dyn Lock>, StoreError> {
    let path = root.join("lock");
    let failed = |error| StoreError::io("lock", &path, error);
    let Some(lock) = disk.lock(&path).map_err(failed)? else {
        return Err(StoreError::InUse {
            root: root.to_path_buf(),
        });
    };
    lock.file().write_at(b"lock", 0).map_err(failed)?;
    Ok(lock)
}

impl Store {
    /// Marks the directory as not closed (`abort`: the process id in decimal digits).
    fn write_abort(&self, path: &PathBuf) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("write", path, error);
        let file = self.disk.open(path, OpenMode::Create).map_err(failed)?;
        let id = std::process::id().to_string();
        file.write_at(id.as_bytes(), 0).map_err(failed)?;
        file.set_len(id.len() as u64).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        let root = self.settings().root();
        self.disk
            .sync_dir(&root)
            .map_err(|error| StoreError::io("flush the directory", root, error))
    }
}

/// Bytes of the machine's memory.
fn machine_memory() -> u64 {
    #[cfg(target_os = "linux")]
    {
        let system = rustix::system::sysinfo();
        system.totalram as u64 * u64::from(system.mem_unit)
    }
    #[cfg(not(target_os = "linux"))]
    {
        8 << 30
    }
}
