//! A configuration file that is replaced as a whole and never lost: `config/topics.json` and its
//! like (`ConfigManager`, `MixAll.string2File`).
//!
//! The previous content stays beside it under the same name with `.bak` behind; the new one is
//! first written under the name with `.tmp` behind. At any instant at least one of file and
//! backup is whole.
//!
//! A file that grows has the same content in both, and is extended in place: the backup first, then
//! the file, so that who finds the one torn reads the other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, OpenMode};
use crate::error::StoreError;

/// A small file that is read and written as a whole.
pub struct ConfigFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl ConfigFile {
    /// The file at a path; nothing is touched yet.
    pub fn new(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> ConfigFile {
        ConfigFile {
            disk,
            path: path.into(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content, or the previous one where the file is missing or empty; `None` where neither
    /// is there.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a file is there and cannot be read.
    pub fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.read(&self.path)? {
            Some(content) => Ok(Some(content)),
            None => self.load_backup(),
        }
    }

    /// The previous content, for when the present one cannot be understood.
    ///
    /// # Errors
    /// As [`ConfigFile::load`].
    pub fn load_backup(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(&self.beside(".bak"))
    }

    /// Brings the content to the disk, which a process may have written and was killed before it did.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn flush(&self) -> Result<(), StoreError> {
        match self.disk.open(&self.path, OpenMode::Read) {
            Ok(file) => {
                let flushed = file.sync_data();
                flushed.map_err(|error| StoreError::io("flush", &self.path, error))?;
                self.sync_dir()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io("open", &self.path, error)),
        }
    }

    /// Replaces the content; the one before becomes the backup.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the file then has its old content.
    pub fn save(&self, content: &[u8]) -> Result<(), StoreError> {
        let new = self.write_new(content)?;
        if self.disk.open(&self.path, OpenMode::Read).is_ok() {
            self.rename(&self.path, &self.beside(".bak"))?;
        }
        self.rename(&new, &self.path)?;
        self.sync_dir()
    }

    /// Replaces the content and leaves the backup as it is, which may be torn.
    ///
    /// # Errors
    /// As [`ConfigFile::save`].
    pub fn replace(&self, content: &[u8]) -> Result<(), StoreError> {
        self.put(&self.path, content)
    }

    /// Replaces the content and the backup by the same, so that [`ConfigFile::extend`] can be used.
    /// One of both may be torn.
    ///
    /// # Errors
    /// As [`ConfigFile::save`].
    pub fn replace_both(&self, content: &[u8]) -> Result<(), StoreError> {
        self.put(&self.path, content)?;
        self.put(&self.beside(".bak"), content)
    }

    /// Writes over the end of the content and of the backup, which are the same: what is behind
    /// `at`, and no longer than the bytes to write.
    ///
    /// # Errors
    /// [`StoreError::Io`]; one of both then has the old or the new content, the other one may be
    /// torn until it is replaced.
    pub fn extend(&self, bytes: &[u8], at: u64) -> Result<(), StoreError> {
        for path in [&self.beside(".bak"), &self.path] {
            let failed = |error| StoreError::io("write", path, error);
            let file = self.disk.open(path, OpenMode::Write).map_err(failed)?;
            file.write_at(bytes, at).map_err(failed)?;
            file.sync_data().map_err(failed)?;
        }
        Ok(())
    }

    /// Puts a file in the place of another one, or where there is none.
    fn put(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let new = self.write_new(content)?;
        self.rename(&new, path)?;
        self.sync_dir()
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        let failed = |error| StoreError::io("read", path, error);
        let file = match self.disk.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut content = vec![0; file.len().map_err(failed)? as usize];
        let count = file.read_at(&mut content, 0).map_err(failed)?;
        content.truncate(count);
        Ok(Some(content).filter(|content| !content.is_empty()))
    }

    /// Writes the content under the name with `.tmp` behind, and tells that name.
    fn write_new(&self, content: &[u8]) -> Result<PathBuf, StoreError> {
        crate::files::create_dir(&*self.disk, crate::files::parent(&self.path))?;
        let new = self.beside(".tmp");
        let failed = |error| StoreError::io("write", &new, error);
        let file = self.disk.open(&new, OpenMode::Create).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        file.write_at(content, 0).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        Ok(new)
    }

    fn sync_dir(&self) -> Result<(), StoreError> {
        let dir = crate::files::parent(&self.path);
        self.disk
            .sync_dir(dir)
            .map_err(|error| StoreError::io("flush the directory", dir, error))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.disk
            .rename(from, to)
            .map_err(|error| StoreError::io("rename", from, error))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use proptest::prelude::*;

    fn config_file(disk: &MemoryDisk) -> ConfigFile {
        ConfigFile::new(Arc::new(disk.clone()), "/s/config/topics.json")
    }

    #[test]
    fn the_previous_content_is_the_backup() {
        let disk = MemoryDisk::new();
        let file = config_file(&disk);
        assert_eq!(file.load().unwrap(), None);
        file.save(b"1").unwrap();
        file.save(b"two").unwrap();
        assert_eq!(file.load().unwrap().unwrap(), b"two");
        assert_eq!(file.load_backup().unwrap().unwrap(), b"1");
    }

    #[test]
    fn an_empty_file_counts_as_missing() {
        let disk = MemoryDisk::new();
        let file = config_file(&disk);
        file.save(b"1").unwrap();
        file.save(b"2").unwrap();
        let path = Path::new("/s/config/topics.json");
        disk.open(path, OpenMode::Write)
            .unwrap()
            .set_len(0)
            .unwrap();
        assert_eq!(file.load().unwrap().unwrap(), b"1");
    }

    #[test]
    fn a_full_disk_leaves_the_old_content() {
        let disk = MemoryDisk::new();
        let file = config_file(&disk);
        file.save(b"old").unwrap();
        disk.set_capacity(Some(512));
        let error = file.save(b"new").unwrap_err();
        assert!(error.is_disk_full(), "{error}");
        assert_eq!(file.load().unwrap().unwrap(), b"old");
    }

    proptest! {
        #[test]
        fn a_power_failure_leaves_a_saved_content(keeps in proptest::collection::vec(any::<bool>(), 40), fail_at in 0_u32..4) {
            let disk = MemoryDisk::new();
            let file = config_file(&disk);
            file.save(b"one").unwrap();
            disk.inject(crate::disk::Fault { operation: crate::disk::Operation::Sync, after: fail_at, partial: 0, kind: io::ErrorKind::Other });
            let saved = file.save(b"two").is_ok();
            let mut keeps = keeps.into_iter();
            disk.power_failure(|| keeps.next().unwrap_or(false));
            let content = file.load().unwrap().unwrap();
            if saved {
                prop_assert_eq!(content, b"two");
            } else {
                prop_assert!(content == b"one" || content == b"two");
            }
        }
    }
}
