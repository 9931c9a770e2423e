//! A table with a data version, kept in a file of `config`: the topics, the groups, the static
//! topics. By the version brokers and name servers see whether they have the same.
//!
//! The file is the reference's JSON, with the rows one a line and the version behind them:
//!
//! ```text
//! {
//! "forbiddenTable":{},          further fields, if the table has any
//! "subscriptionGroupTable":{
//! "a":{"groupName":"a",...},
//! "b":{"groupName":"b",...}     the rows end here
//! },
//! "dataVersion":{"counter":2,"stateVersion":0,"timestamp":1700000000000}
//! }
//! ```
//!
//! New and changed rows are written where the rows end, and the end of the file once more behind
//! them. So a change costs the same however large the table is, and the file can be read at any
//! time. A changed row then stands there twice, and every reader of JSON takes the last one. The
//! file is written as a whole when rows go, and when it has grown to twice its size.
//!
//! What a power failure tears is the end of the file, behind the rows that were promised: it then is
//! no JSON any more, and the backup counts, or the version is lost, and all who have another one ask.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Clock, ConfigFile, Disk, StoreError};
use wire::body::json;
use wire::body::version::DataVersion;

use crate::changes::Changes;
use crate::error::BrokerError;
use crate::table_file;

/// What is in a table.
pub(crate) trait Rows {
    /// How it stands in the file, and is told to others.
    type Content: DeserializeOwned;

    /// One of the rows.
    type Row: Serialize;

    /// The name of the map of rows in the file.
    const MAP: &'static str;

    /// Takes over what the file has, and tells its version.
    fn take(&mut self, content: Self::Content) -> DataVersion;

    /// All of it.
    fn content(&self, version: DataVersion) -> Self::Content;

    /// The row of a name.
    fn row(&self, name: &str) -> Option<&Arc<Self::Row>>;

    /// All rows with their names.
    fn rows(&self) -> impl Iterator<Item = (&String, &Arc<Self::Row>)>;

    /// Further fields of the file, each with a comma behind it.
    fn more_fields(&self) -> String {
        String::new()
    }
}

/// Rows with their version and their file.
pub(crate) struct VersionedTable<R> {
    rows: RwLock<R>,
    /// Changes under the lock of the rows only.
    version: Mutex<DataVersion>,
    file: ConfigFile,
    /// What the file lacks.
    behind: Mutex<Changes>,
    /// Held while the file is written, so that an older content never replaces a newer one.
    extent: Mutex<Option<Extent>>,
    clock: Arc<dyn Clock>,
}

/// How far a file that can be extended goes.
struct Extent {
    /// Where its rows ended when it was written as a whole.
    whole: u64,
    /// Where they end now.
    rows_end: u64,
}

/// Names and rows as they were at one time.
type Snapshot<R> = Vec<(String, Arc<<R as Rows>::Row>)>;

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
        let file = ConfigFile::new(disk, path);
        let new = DataVersion {
            timestamp: clock.now_millis(),
            ..DataVersion::default()
        };
        let version = table_file::read(&file)?.map_or(new, |content| rows.take(content));
        // What is known is not written again, so it has to be on the disk.
        file.flush()?;
        Ok(Self {
            rows: RwLock::new(rows),
            version: Mutex::new(version),
            file,
            behind: Mutex::default(),
            extent: Mutex::new(None),
            clock,
        })
    }

    /// The rows, for reading.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, R> {
        self.rows.read()
    }

    /// The rows, for a change that [`advance`](Self::advance) or
    /// [`advance_all`](Self::advance_all) has to hear of.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, R> {
        self.rows.write()
    }

    /// Counts a change of rows that are there now, and lets go of the table.
    pub(crate) fn advance(
        &self,
        changed: RwLockWriteGuard<'_, R>,
        names: impl IntoIterator<Item = String>,
    ) {
        self.version.lock().advance(0, self.clock.now_millis());
        self.behind.lock().add(names);
        drop(changed);
    }

    /// Counts a change of any kind, and lets go of the table.
    pub(crate) fn advance_all(&self, changed: RwLockWriteGuard<'_, R>) {
        self.version.lock().advance(0, self.clock.now_millis());
        *self.behind.lock() = Changes::All;
        drop(changed);
    }

    /// The version; that of rows which the caller holds.
    pub(crate) fn version(&self) -> DataVersion {
        *self.version.lock()
    }

    /// All of it.
    pub(crate) fn content(&self) -> R::Content {
        let rows = self.read();
        rows.content(self.version())
    }

    /// Writes the file, if it is behind. Who comes while it is being written waits, and then
    /// mostly finds that the work is done: all that wait at the same time share one write.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn persist(&self) -> Result<(), BrokerError> {
        let mut extent = self.extent.lock();
        // Taken before the rows are looked at: what comes in between is written once more later.
        let behind = self.behind.lock().take();
        let grown = extent.take_if(|extent| extent.rows_end <= 2 * extent.whole);
        let written = match (behind, grown) {
            (Changes::None, grown) => Ok(grown),
            (Changes::Rows(names), Some(extent)) => self.extend(&names, extent).map(Some),
            (Changes::Rows(_), None) => {
                let (content, extent) = self.encode();
                self.file.replace_both(&content).map(|()| extent)
            }
            // There may be more of these soon, so the backup is left as it is.
            (Changes::All, _) => self.file.replace(&self.encode().0).map(|()| None),
        };
        *extent = written.inspect_err(|_| *self.behind.lock() = Changes::All)?;
        Ok(())
    }

    /// The same for changes that stand also without the file, since they are made on the way of
    /// a message: a failure is told in the log, and tried again with the next one.
    pub(crate) fn persist_or_warn(&self) {
        if let Err(error) = self.persist() {
            tracing::error!(%error, "the broker's configuration is not saved; tried again later");
        }
    }

    /// Writes rows where those of the file end.
    fn extend(&self, names: &BTreeSet<String>, extent: Extent) -> Result<Extent, StoreError> {
        let table = self.rows.read();
        let row = |name: &String| Some((name.clone(), Arc::clone(table.row(name)?)));
        let rows: Snapshot<R> = names.iter().filter_map(row).collect();
        let version = self.version();
        drop(table);
        // Those that have gone meanwhile are why the whole table is behind again.
        if rows.is_empty() {
            return Ok(extent);
        }
        let mut text = Vec::new();
        for (name, row) in &rows {
            text.push(b',');
            put_row(&mut text, name, &**row);
        }
        let rows_end = extent.rows_end + text.len() as u64;
        put_end(&mut text, version);
        self.file.extend(&text, extent.rows_end)?;
        Ok(Extent { rows_end, ..extent })
    }

    /// The whole file, and how it can be extended: not where there is no row to stand behind.
    fn encode(&self) -> (Vec<u8>, Option<Extent>) {
        let table = self.rows.read();
        let rows = table.rows();
        let mut rows: Snapshot<R> = rows
            .map(|(name, row)| (name.clone(), Arc::clone(row)))
            .collect();
        let more_fields = table.more_fields();
        let version = self.version();
        drop(table);
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut text = format!("{{\n{more_fields}\"{}\":{{", R::MAP).into_bytes();
        for (index, (name, row)) in rows.iter().enumerate() {
            text.extend((index > 0).then_some(b','));
            put_row(&mut text, name, &**row);
        }
        let rows_end = text.len() as u64;
        put_end(&mut text, version);
        let extent = (!rows.is_empty()).then_some(Extent {
            whole: rows_end,
            rows_end,
        });
        (text, extent)
    }
}

fn put_row(text: &mut Vec<u8>, name: &str, row: &impl Serialize) {
    text.push(b'\n');
    text.extend_from_slice(&json::write(&name));
    text.push(b':');
    text.extend_from_slice(&json::write(row));
}

fn put_end(text: &mut Vec<u8>, version: DataVersion) {
    text.extend_from_slice(b"\n},\n\"dataVersion\":");
    text.extend_from_slice(&json::write(&version));
    text.extend_from_slice(b"\n}");
}
