//! A disk that nothing can be changed on.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{DirEntry, Disk, File, Lock, OpenMode, Space};

/// A disk seen by somebody who only reads: files are opened for reading, however they are asked
/// for, and everything that would change something is refused. So what is written for a store that
/// is open can look at one that is not to be touched.
pub(super) struct ReadOnlyDisk(pub(super) Arc<dyn Disk>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnlyDisk {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(dir)
    }

    fn open(&self, path: &Path, _mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.0.open(path, OpenMode::Read)
    }

    fn remove_file(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_dir(&self, _dir: &Path) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        refused()
    }

    fn modified_millis(&self, path: &Path) -> io::Result<i64> {
        self.0.modified_millis(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.space(path)
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        refused()
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.0.is_locked(path)
    }
}
