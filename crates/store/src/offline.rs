//! A data directory that no broker has open: looking into it, verifying it, repairing it.
//!
//! [`OfflineStore`] only reads, through a disk that refuses everything else, and takes nothing for
//! granted: files may be too short, missing or full of anything. It takes part in nothing: it
//! neither holds the directory's lock nor waits for it. [`OfflineStore::verify`] compares everything
//! with everything; [`repair`] mends what can be mended.

mod index_check;
mod index_file;
mod layout;
mod queue;
mod queue_check;
mod read_only;
mod repair;
mod report;
mod timer_check;
mod verify;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use wire::body::json;
use wire::body::topic::TopicConfigSerializeWrapper;
use wire::message::record::RecordRef;

use self::read_only::ReadOnlyDisk;
use crate::checkpoint::{Checkpoint, CheckpointFile};
use crate::commit_log::CommitLog;
use crate::config_file::ConfigFile;
use crate::disk::{Disk, OpenMode};
use crate::error::StoreError;
use crate::files::{self, Found, OpenFiles};
use crate::index;
use crate::log_scan::LogScan;
use crate::settings::StoreConfig;
use crate::timer_checkpoint::{TimerCheckpoint, TimerCheckpointFile};
use crate::timer_log::{TimerEntry, TimerLog};
use crate::timer_wheel::{self, TimerSlot};

pub use index_file::{IndexEntries, OfflineIndexFile};
pub use layout::layout;
pub use queue::OfflineQueue;
pub use repair::{Repaired, repair};
pub use report::{Finding, Place, Report, Severity, Verified};

/// Files kept open, of the log and all queues.
const OPEN_FILES: usize = 256;

/// A data directory, for reading.
pub struct OfflineStore {
    disk: Arc<dyn Disk>,
    settings: StoreConfig,
    log: CommitLog,
    log_files: Vec<Found>,
}

/// A slot of the timer wheel with its place in the file and the entries of its chain, the last one
/// first, with their positions in the timer log. A chain ends where an entry is missing or damaged.
pub type TimerChain = (u64, TimerSlot, Vec<(i64, TimerEntry)>);

impl OfflineStore {
    /// Looks at what is in the directory that the settings name. [`layout`] finds settings that
    /// fit.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`] if there is no store; [`StoreError::Io`] if something cannot be
    /// read.
    pub fn open(disk: Arc<dyn Disk>, settings: StoreConfig) -> Result<OfflineStore, StoreError> {
        let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk(disk));
        let root = settings.root();
        let dir = settings.commit_log_dir();
        check_is_store(&*disk, &root, &dir)?;
        let open = Arc::new(OpenFiles::new(Arc::clone(&disk), OPEN_FILES));
        let log = CommitLog::new(
            Arc::clone(&disk),
            open,
            dir.clone(),
            settings.mapped_file_size_commit_log,
            0,
        );
        let log_files = files::list(&*disk, &dir)?;
        let starts = filled(&log_files).iter().map(|file| file.start);
        let is_aligned = |start: &i64| *start == log.file_start(*start);
        log.look_at(starts.filter(is_aligned).collect());
        Ok(OfflineStore {
            disk,
            settings,
            log,
            log_files,
        })
    }

    /// The settings it is read with.
    pub fn settings(&self) -> &StoreConfig {
        &self.settings
    }

    /// Whether a broker has the directory now, of the reference or of ours.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the system does not tell.
    pub fn is_in_use(&self) -> Result<bool, StoreError> {
        let path = self.settings.root().join("lock");
        self.disk
            .is_locked(&path)
            .map_err(|error| StoreError::io("look at the lock of", path, error))
    }

    /// Whether the directory was not closed: its broker was killed, or has it now.
    pub fn was_killed(&self) -> bool {
        let path = self.settings.root().join("abort");
        self.disk.open(&path, OpenMode::Read).is_ok()
    }

    /// What the file `checkpoint` says; all 0 where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be read.
    pub fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let path = self.settings.root().join("checkpoint");
        CheckpointFile::new(Arc::clone(&self.disk), path).load()
    }

    /// Position and length of each file of the log, in order.
    pub fn log_files(&self) -> impl Iterator<Item = (i64, u64)> {
        self.log_files.iter().map(|file| (file.start, file.len))
    }

    /// Position of the first byte of the log.
    pub fn log_begin(&self) -> i64 {
        self.log.begin()
    }

    /// Reads the log from a position on at which a record begins.
    pub fn scan(&self, from: i64) -> LogScan<'_> {
        LogScan::new(&self.log, &self.settings, from)
    }

    /// All queues, by topic and number.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a queue cannot be read.
    pub fn queues(&self) -> Result<Vec<OfflineQueue>, StoreError> {
        OfflineQueue::find_all(&self.disk, &self.settings)
    }

    /// The files of the index, in the order in which they were made.
    ///
    /// # Errors
    /// [`StoreError::Io`] if one cannot be read.
    pub fn index_files(
        &self,
    ) -> Result<impl Iterator<Item = Result<OfflineIndexFile, StoreError>>, StoreError> {
        let names = index::names(&*self.disk, &self.index_dir())?;
        let open = |name| OfflineIndexFile::open(self, name).transpose();
        Ok(names.into_iter().filter_map(open))
    }

    fn index_dir(&self) -> PathBuf {
        self.settings.root().join("index")
    }

    /// The whole record at a position; `None` where none begins or it is damaged.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn record(&self, position: i64) -> Result<Option<Bytes>, StoreError> {
        let Some(bytes) = self.log.message(position)? else {
            return Ok(None);
        };
        let whole = RecordRef::parse(&bytes)
            .is_ok_and(|record| crate::log_scan::check(&record, position, &self.settings).is_ok());
        Ok(whole.then_some(bytes))
    }

    /// Names of the broker's configuration files, sorted.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be read.
    pub fn config_files(&self) -> Result<Vec<String>, StoreError> {
        let dir = self.settings.config_dir();
        let mut names: Vec<String> = files::entries(&*self.disk, &dir)?
            .into_iter()
            .filter(|entry| !entry.is_dir)
            .map(|entry| entry.name)
            .collect();
        names.sort();
        Ok(names)
    }

    /// What the timer's checkpoint says; `None` where it is missing or too short.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be read.
    pub fn timer_checkpoint(&self) -> Result<Option<TimerCheckpoint>, StoreError> {
        let path = self.settings.config_dir().join("timercheck");
        let file = TimerCheckpointFile::new(Arc::clone(&self.disk), path);
        Ok(file.load()?.map(|(checkpoint, _)| checkpoint))
    }

    /// The slots of the timer wheel that were used.
    ///
    /// # Errors
    /// Ends with a [`StoreError::Io`] if the disk fails.
    pub fn timer_slots(
        &self,
    ) -> Result<impl Iterator<Item = Result<TimerChain, StoreError>>, StoreError> {
        let path = self.settings.root().join("timerwheel");
        let mut log = self.timer_log()?;
        let slots = files::open(&*self.disk, &path, OpenMode::Read)?.map(timer_wheel::used_slots);
        Ok(slots.into_iter().flatten().map(move |slot| {
            let (index, slot) = slot.map_err(|error| StoreError::io("read", &path, error))?;
            let mut entries = Vec::new();
            for entry in log.chain(slot.last) {
                entries.extend(entry?.ok());
            }
            Ok((index, slot, entries))
        }))
    }

    fn timer_log(&self) -> Result<TimerLog, StoreError> {
        let dir = self.settings.root().join("timerlog");
        TimerLog::open(Arc::clone(&self.disk), dir)
    }

    /// Topics that `config/topics.json` or its backup knows; `None` where neither can be read.
    fn known_topics(&self) -> Option<HashSet<String>> {
        let path = self.settings.config_dir().join("topics.json");
        let file = ConfigFile::new(Arc::clone(&self.disk), path);
        let topics = |content: Option<Vec<u8>>| {
            let table: TopicConfigSerializeWrapper = json::read(&content?).ok()?;
            Some(table.topic_config_table.into_keys().collect())
        };
        topics(file.load().ok()?).or_else(|| topics(file.load_backup().ok()?))
    }
}

/// Refuses a directory without a store.
fn check_is_store(disk: &dyn Disk, root: &Path, log: &Path) -> Result<(), StoreError> {
    let is_store = |root: &Path| disk.list(&root.join("commitlog")).is_ok();
    for dir in [root, log] {
        disk.list(dir).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::NotAStore {
                root: root.to_path_buf(),
                inside: is_store(&root.join("store")),
            },
            _ => StoreError::io("list", dir, error),
        })?;
    }
    Ok(())
}

/// The files of a sequence without the last ones that are empty: those were only made.
fn filled(files: &[Found]) -> &[Found] {
    let last = files.iter().rposition(|file| file.len > 0);
    let count = last.map_or(0, |last| last + 1);
    files.get(..count).unwrap_or_default()
}

/// A path as seen from the data directory.
fn relative(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_path_buf()
}
