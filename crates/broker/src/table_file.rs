//! The file behind a table that is written as a whole: `config/consumerOffset.json` and its like.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use store::{ConfigFile, Disk, StoreError};
use wire::body::json;

use crate::error::BrokerError;

/// A JSON file that a table is read from when the broker starts, and written to whenever it has
/// changed.
pub(crate) struct TableFile {
    file: ConfigFile,
    /// Changes of the table so far.
    changes: AtomicU64,
    /// How many of them the file has. Held while the file is written, so that an older content
    /// never replaces a newer one.
    saved: Mutex<u64>,
}

impl TableFile {
    /// The file at a path, and what it holds as [`read`] tells it.
    pub(crate) fn open<T: DeserializeOwned>(
        disk: Arc<dyn Disk>,
        path: &Path,
    ) -> Result<(Self, Option<T>), BrokerError> {
        let file = ConfigFile::new(disk, path);
        let content = read(&file)?;
        let table = Self {
            file,
            changes: AtomicU64::new(0),
            saved: Mutex::new(0),
        };
        Ok((table, content))
    }

    /// Notes that the table has been changed. To be called after the change was made, or under
    /// the lock that guards it.
    pub(crate) fn touch(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Writes the table, if the file does not have all of its changes already. Who comes while
    /// it is being written waits, and then mostly finds that the work is done.
    pub(crate) fn save(&self, encode: impl FnOnce() -> Bytes) -> Result<(), StoreError> {
        let mut saved = self.saved.lock();
        // Read before encoding: what comes in between is written once more later.
        let changes = self.changes.load(Ordering::Acquire);
        if *saved != changes {
            self.file.save(&encode())?;
            *saved = changes;
        }
        Ok(())
    }
}

/// What a file holds; `None` where there is none.
///
/// A file that cannot be understood is replaced by its backup, if that one can.
pub(crate) fn read<T: DeserializeOwned>(file: &ConfigFile) -> Result<Option<T>, BrokerError> {
    let Some(content) = file.load()? else {
        return Ok(None);
    };
    let read = json::read(&content).or_else(|error| {
        let backup = file
            .load_backup()?
            .and_then(|backup| json::read(&backup).ok());
        let file = file.path().display();
        match backup {
            Some(_) => tracing::warn!(%file, %error, "damaged, so its backup is used"),
            None => tracing::error!(%file, %error, "damaged, and there is no backup"),
        }
        backup.ok_or_else(|| {
            BrokerError::System(format!(
                "{file} cannot be understood: {error}; repair it or move it away"
            ))
        })
    });
    read.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use store::{MemoryDisk, OpenMode};

    type Table = BTreeMap<String, i32>;

    fn open(disk: &MemoryDisk) -> Result<(TableFile, Option<Table>), BrokerError> {
        TableFile::open(Arc::new(disk.clone()), Path::new("/s/config/topics.json"))
    }

    fn spoil(disk: &MemoryDisk, path: &str) {
        let file = disk.open(Path::new(path), OpenMode::Write).unwrap();
        file.write_at(b"?", 0).unwrap();
    }

    #[test]
    fn only_changes_are_written() {
        let disk = MemoryDisk::new();
        let (file, content) = open(&disk).unwrap();
        assert_eq!(content, None);
        file.save(|| unreachable!("nothing has changed")).unwrap();
        file.touch();
        file.save(|| Bytes::from_static(b"{\"a\":1}")).unwrap();
        file.save(|| unreachable!("nothing has changed since"))
            .unwrap();
        let (_, content) = open(&disk).unwrap();
        assert_eq!(content, Some(Table::from([("a".into(), 1)])));
    }

    #[test]
    fn a_damaged_file_is_replaced_by_its_backup_or_named() {
        let disk = MemoryDisk::new();
        let (file, _) = open(&disk).unwrap();
        for content in ["{\"a\":1}", "{\"a\":2}"] {
            file.touch();
            file.save(|| Bytes::from(content)).unwrap();
        }
        spoil(&disk, "/s/config/topics.json");
        let (_, content) = open(&disk).unwrap();
        assert_eq!(content, Some(Table::from([("a".into(), 1)])));

        spoil(&disk, "/s/config/topics.json.bak");
        let error = open(&disk).err().expect("neither can be read").to_string();
        assert!(error.contains("/s/config/topics.json"), "{error}");
    }
}
