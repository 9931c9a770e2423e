//! Comparing everything in a data directory with everything.
//!
//! The log is read once from its begin to its end, each queue alongside it: memory and time do not
//! depend on how the messages are spread.

use std::path::Path;

use wire::body::json;

use super::index_check::IndexCheck;
use super::queue_check::QueueCheck;
use super::{Finding, OfflineStore, Place, Report, Severity, Verified, relative};
use crate::config_file::ConfigFile;
use crate::disk::OpenMode;
use crate::error::StoreError;
use crate::files::{self, Found, has_data};
use crate::log_scan::{LogFault, LogItem};

/// The least of the file `checkpoint` that says something, in bytes.
const CHECKPOINT_FIELDS: u64 = 40;

impl OfflineStore {
    /// Compares records, queue entries, index entries, timer, checkpoint and configuration files with themselves
    /// and each other, and reports what does not fit.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if a broker has the directory or takes it meanwhile, since what is
    /// found then need not be so; [`StoreError::Io`] if the disk fails.
    pub fn verify(&self, report: &mut dyn Report) -> Result<Verified, StoreError> {
        self.check_unused()?;
        let mut verify = Verify {
            store: self,
            killed: self.was_killed(),
            report,
            verified: Verified::default(),
        };
        let newest = verify.log_and_queues()?;
        verify.checkpoint(newest)?;
        verify.timer()?;
        verify.config()?;
        let verified = verify.verified;
        self.check_unused()?;
        Ok(verified)
    }

    fn check_unused(&self) -> Result<(), StoreError> {
        if self.is_in_use()? {
            return Err(StoreError::InUse {
                root: self.settings.root(),
            });
        }
        Ok(())
    }
}

/// A verification under way.
pub(super) struct Verify<'a> {
    pub(super) store: &'a OfflineStore,
    /// The store was not closed: what the next start makes good is no damage.
    pub(super) killed: bool,
    report: &'a mut dyn Report,
    pub(super) verified: Verified,
}

impl Verify<'_> {
    /// Reports a finding.
    pub(super) fn found(&mut self, severity: Severity, place: Place, what: impl Into<String>) {
        match severity {
            Severity::Damage => self.verified.damage += 1,
            Severity::Note => self.verified.notes += 1,
        }
        self.report.found(Finding {
            severity,
            place,
            what: what.into(),
        });
    }

    /// Damage, or a note where the next start makes it good.
    pub(super) fn unless(harmless: bool) -> Severity {
        if harmless {
            Severity::Note
        } else {
            Severity::Damage
        }
    }

    /// A byte of a file, or all of it.
    pub(super) fn file(&self, path: &Path, at: Option<u64>) -> Place {
        Place {
            file: relative(&self.store.settings.root(), path),
            at,
            ..Place::default()
        }
    }

    /// A position of the log.
    pub(super) fn log_place(&self, position: i64) -> Place {
        let start = self.store.log.file_start(position);
        self.file(&self.store.log.path(start), Some((position - start) as u64))
    }

    /// The log and the queues; the store timestamp of the newest record, 0 without one.
    fn log_and_queues(&mut self) -> Result<i64, StoreError> {
        let store = self.store;
        let key = "mappedFileSizeCommitLog";
        self.lengths(&store.log_files, store.log.file_size(), key, |start| {
            store.log.path(start)
        });
        let mut queues = QueueCheck::new(self)?;
        let mut index = IndexCheck::new(self)?;
        let begin = store.log.begin();
        let total = store.log.end() - begin;
        let mut scan = store.scan(begin);
        let (mut newest, mut told) = (0, begin);
        while let Some(item) = scan.next()? {
            match item {
                LogItem::Record(record, at) => {
                    self.verified.records += 1;
                    newest = newest.max(record.store_timestamp());
                    queues.record(self, &record, at)?;
                    index.record(self, &record, at)?;
                    if at - told >= 1 << 22 {
                        told = at;
                        self.report.progress((at - begin) as u64, total as u64);
                    }
                }
                LogItem::Damage { from, to, fault } => {
                    let what = format!("{} bytes of the log are damaged: {fault}", to - from);
                    self.found(Severity::Damage, self.log_place(from), what);
                }
            }
        }
        let end = scan.end();
        let fault = scan.fault_at(end)?;
        self.behind_end(end, fault)?;
        queues.finish(self)?;
        index.finish(self)?;
        self.report.progress(total as u64, total as u64);
        Ok(newest)
    }

    /// Bytes that stand behind the end of the log.
    fn behind_end(&mut self, end: i64, fault: Option<LogFault>) -> Result<(), StoreError> {
        let log = &self.store.log;
        let first = log.file_start(end);
        let starts: Vec<i64> = log.files().clone();
        for start in starts.into_iter().filter(|start| *start >= first) {
            let path = log.path(start);
            let from = (end - start).max(0);
            let Some(file) = log.file(start)? else {
                continue;
            };
            let data = has_data(&*file, from as u64)
                .map_err(|error| StoreError::io("read", &path, error))?;
            if !data {
                continue;
            }
            let fault = fault
                .as_ref()
                .filter(|fault| start == first && **fault != LogFault::Missing);
            let fault = fault.map_or_else(String::new, |fault| format!(" ({fault})"));
            let what = if self.killed {
                format!(
                    "bytes of an unfinished write stand behind the end of the log{fault}; the next start clears them"
                )
            } else {
                format!("the log ends here, but there are bytes behind its end{fault}")
            };
            let place = self.file(&path, Some(from as u64));
            self.found(Self::unless(self.killed), place, what);
            break;
        }
        Ok(())
    }

    /// The lengths and names of the files of a sequence.
    pub(super) fn lengths(
        &mut self,
        files: &[Found],
        len: i64,
        key: &str,
        path: impl Fn(i64) -> std::path::PathBuf,
    ) {
        let files = super::filled(files);
        for file in files {
            let place = self.file(&path(file.start), None);
            if file.start % len != 0 {
                let what = format!("the name is no multiple of {len}, the length of such files");
                self.found(Severity::Damage, place, what);
            } else if file.len != len as u64 {
                let harmless = self.killed && file.len < len as u64 && Some(file) == files.last();
                let what = format!(
                    "the file is {} bytes long instead of {len} ({key})",
                    file.len
                );
                self.found(Self::unless(harmless), place, what);
            }
        }
    }

    fn checkpoint(&mut self, newest: i64) -> Result<(), StoreError> {
        let store = self.store;
        let path = store.settings.root().join("checkpoint");
        let place = self.file(&path, None);
        let Some(file) = files::open(&*store.disk, &path, OpenMode::Read)? else {
            if newest > 0 {
                let what = "the file is missing; after a kill everything is read again";
                self.found(Severity::Note, place, what);
            }
            return Ok(());
        };
        let failed = |error| StoreError::io("read", &path, error);
        let len = file.len().map_err(failed)?;
        if len < CHECKPOINT_FIELDS {
            let what = format!("the file is {len} bytes long instead of 4096");
            self.found(Severity::Damage, place, what);
            return Ok(());
        }
        let checkpoint = store.checkpoint()?;
        let times = [
            ("the log", checkpoint.log_timestamp),
            ("the queues", checkpoint.queues_timestamp),
        ];
        for ((name, time), at) in times.into_iter().zip([0, 8]) {
            if time < 0 || (newest > 0 && time > newest) {
                let what = format!(
                    "it says that {name} is on the disk up to time {time}, but the newest message is of {newest}"
                );
                self.found(Severity::Damage, self.file(&path, Some(at)), what);
            }
        }
        Ok(())
    }

    /// Whether the configuration files can be read.
    fn config(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let names = store.config_files()?;
        for name in &names {
            let of = name.strip_suffix(".bak").unwrap_or(name);
            if !of.ends_with(".json") && !matches!(of, "timermetrics" | "transactionMetrics") {
                continue;
            }
            self.verified.config_files += 1;
            let path = store.settings.config_dir().join(name);
            let is_backup = of != name;
            let file = ConfigFile::new(store.disk.clone(), &path);
            // An empty file counts as missing, its backup is read instead.
            let Some(content) = file.load()? else {
                continue;
            };
            if let Err(error) = json::check(&content) {
                let what = format!("it cannot be understood: {error}");
                self.found(Self::unless(is_backup), self.file(&path, None), what);
            }
        }
        Ok(())
    }
}
