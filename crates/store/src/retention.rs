//! Removing what is too old, or what the disk has no room for (`CleanCommitLogService`,
//! `CleanConsumeQueueService`).
//!
//! The log is removed file by file from its front, never the file being written. Files older
//! than `fileReservedTime` go at the hours of `deleteWhen`, or at any hour once the disk is
//! fuller than `diskMaxUsedSpaceRatio`; over `diskSpaceCleanForciblyRatio` files go however
//! young they are. Over `diskSpaceWarningLevelRatio` messages are refused as well. What points
//! to removed messages follows.

use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::StoreError;
use crate::settings::StoreConfig;
use crate::store::Store;

/// What retention remembers.
#[derive(Default)]
pub(crate) struct Retention {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it last looked, milliseconds since 1970.
    looked_at: i64,
    /// Where the log began when the queues were last cleaned.
    queues_begin: i64,
}

impl Retention {
    /// The queues are known to have nothing in front of the log's begin.
    pub(crate) fn queues_begin_at(&self, begin: i64) {
        self.state.lock().queues_begin = begin;
    }
}

impl Store {
    /// Part of the disk of the commit log in use, 0 to 1.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the system does not tell.
    pub fn disk_ratio(&self) -> Result<f64, StoreError> {
        self.used_ratio(self.log.dir())
    }

    /// The same of the disk of the log or that of everything else, whichever is fuller.
    fn fullest_ratio(&self) -> Result<f64, StoreError> {
        let root = self.settings().root();
        Ok(self.disk_ratio()?.max(self.used_ratio(&root)?))
    }

    fn used_ratio(&self, dir: &Path) -> Result<f64, StoreError> {
        match self.disk.space(dir) {
            Ok(space) => Ok(space.used_ratio()),
            Err(error) => Err(StoreError::io("measure the disk of", dir, error)),
        }
    }

    /// Removes what is due now whatever the hour, as an administrator can ask for; returns how
    /// many commit log files went.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn delete_expired_files(&self) -> Result<usize, StoreError> {
        let settings = self.settings();
        let now = self.clock.now_millis();
        let used = self.fullest_ratio()?;
        let removed = self.remove_log_files(&settings, now, used)?;
        self.clean_queues()?;
        Ok(removed)
    }

    /// Looks whether something is to be removed, at most once in `cleanResourceInterval`.
    pub(crate) fn clean(&self, settings: &StoreConfig, now: i64) {
        {
            let mut state = self.retention.state.lock();
            let passed = now - state.looked_at;
            if (0..i64::from(settings.clean_resource_interval)).contains(&passed) {
                return;
            }
            state.looked_at = now;
        }
        if let Err(error) = self.clean_now(settings, now) {
            tracing::error!(%error, "old files could not be removed");
        }
    }

    fn clean_now(&self, settings: &StoreConfig, now: i64) -> Result<(), StoreError> {
        let used = self.fullest_ratio()?;
        let percent = (used * 100.0) as u32;
        self.set_too_full((used > settings.warning_level()).then_some(percent));
        let over = used > settings.clean_level();
        let due = over
            || used > settings.clean_forcibly_level()
            || settings.deletes_at(self.clock.local_hour());
        if due {
            let removed = self.remove_log_files(settings, now, used)?;
            if removed == 0 && over {
                tracing::warn!(
                    percent,
                    "the disk is filling up, but no commit log file may be removed"
                );
            }
        }
        self.clean_queues()
    }

    fn remove_log_files(
        &self,
        settings: &StoreConfig,
        now: i64,
        used: f64,
    ) -> Result<usize, StoreError> {
        let however_young =
            settings.clean_file_forcibly_enable && used > settings.clean_forcibly_level();
        let reserved = i64::from(settings.file_reserved_time) * 60 * 60 * 1000;
        let pause = Duration::from_millis(u64::from(settings.delete_commit_log_files_interval));
        let mut removed = 0;
        while removed < settings.delete_file_batch_max {
            let (start, end) = match self.log.files().as_slice() {
                [first, second, ..] => (*first, *second),
                _ => break,
            };
            let path = self.log.path(start);
            if !however_young {
                let modified = self
                    .disk
                    .modified_millis(&path)
                    .map_err(|error| StoreError::io("look at", &path, error))?;
                if now < modified + reserved {
                    break;
                }
            }
            // What a compacted topic keeps for longer is copied before.
            self.compact_before(end)?;
            // One by one, with a pause: removing a large file keeps the disk busy.
            if removed > 0 && !pause.is_zero() {
                std::thread::sleep(pause);
            }
            if self.log.remove_first()?.is_none() {
                break;
            }
            tracing::info!(file = %path.display(), however_young, "removed a commit log file");
            removed += 1;
        }
        Ok(removed)
    }

    /// Lets the queues follow the log: what points to removed messages goes.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn clean_queues(&self) -> Result<(), StoreError> {
        let begin = self.log.begin();
        if begin <= self.retention.state.lock().queues_begin {
            return Ok(());
        }
        // A file whose removal could not be flushed may come back, and its messages with it.
        self.log.flush_names()?;
        let mut result = self.index.forget_before(begin);
        for queue in self.queues.all() {
            result = result.and(queue.forget_before(begin));
        }
        if result.is_ok() {
            self.retention.queues_begin_at(begin);
        }
        result
    }
}
