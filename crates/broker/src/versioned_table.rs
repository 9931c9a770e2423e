//! A table with a data version, kept in a file of `config`: the topics, the groups, the static
//! topics. By the version brokers and name servers see whether they have the same.

use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Clock, Disk};
use wire::body::json;
use wire::body::version::DataVersion;

use crate::error::BrokerError;
use crate::table_file::TableFile;

/// What is in a table.
pub(crate) trait Rows {
    /// How it stands in the file.
    type Content: DeserializeOwned + Serialize;

    /// Takes over what the file has, and tells its version.
    fn take(&mut self, content: Self::Content) -> DataVersion;

    /// What the file shall have.
    fn content(&self, version: DataVersion) -> Self::Content;
}

/// Rows with their version and their file.
pub(crate) struct VersionedTable<R> {
    rows: RwLock<R>,
    /// Changes under the lock of the rows only.
    version: Mutex<DataVersion>,
    file: TableFile,
    clock: Arc<dyn Clock>,
}

impl<R: Rows> VersionedTable<R> {
    /// Reads the file over the rows that every broker has.
    ///
    /// # Errors
    /// The file cannot be read or understood, nor can its backup.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        path: &Path,
        mut rows: R,
    ) -> Result<Self, BrokerError> {
        let (file, content) = TableFile::open(disk, path)?;
        let new = DataVersion {
            timestamp: clock.now_millis(),
            ..DataVersion::default()
        };
        let version = content.map_or(new, |content| rows.take(content));
        Ok(Self {
            rows: RwLock::new(rows),
            version: Mutex::new(version),
            file,
            clock,
        })
    }

    /// The rows, for reading.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, R> {
        self.rows.read()
    }

    /// The rows, for a change that [`advance`](Self::advance) has to hear of.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, R> {
        self.rows.write()
    }

    /// Counts a change that was made to the rows, and lets go of them.
    pub(crate) fn advance(&self, changed: RwLockWriteGuard<'_, R>) {
        self.version.lock().advance(0, self.clock.now_millis());
        self.file.touch();
        drop(changed);
    }

    /// The version; that of rows which the caller holds.
    pub(crate) fn version(&self) -> DataVersion {
        *self.version.lock()
    }

    /// All of it, as it stands in the file.
    pub(crate) fn content(&self) -> R::Content {
        let rows = self.read();
        rows.content(self.version())
    }

    /// Writes the file, if it is behind.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn persist(&self) -> Result<(), BrokerError> {
        Ok(self.file.save(|| json::write_pretty(&self.content()))?)
    }

    /// The same for changes that stand also without the file ([`TableFile::save_or_warn`]).
    pub(crate) fn persist_or_warn(&self) {
        self.file
            .save_or_warn(|| json::write_pretty(&self.content()));
    }
}
