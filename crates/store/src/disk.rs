//! The disk, replaceable so that a simulated one can fail, tear writes and lose what was not
//! flushed.
//!
//! Everything the store does to files goes through [`Disk`] and [`File`]: positioned reads and
//! writes only, no mappings, so that a full or failing disk is an error value.

mod memory;
mod os;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use memory::{Fault, MemoryDisk, Operation};
pub use os::OsDisk;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading; the file exists.
    Read,
    /// Reading and writing; the file exists.
    Write,
    /// Reading and writing; an empty file is made where there is none.
    Create,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name; names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
    /// Bytes of the file; 0 for a directory.
    pub len: u64,
    /// Tells the disks apart that hold what is named, where names are links or mounts.
    pub device: u64,
}

/// Room on the disk that holds a path, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What is in use and what is free; without what nobody but the superuser may use.
    pub total: u64,
    /// What this process may still use.
    pub free: u64,
}

impl Space {
    /// The part in use, from 0 to 1; 0 for a disk of no size
    /// (`UtilAll.getDiskPartitionSpaceUsedPercent`).
    pub fn used_ratio(&self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        self.total.saturating_sub(self.free) as f64 / self.total as f64
    }
}

/// Directories and files.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and those above it, where they are missing.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// What is in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file another name, replacing a file that had it; or a directory one that is free.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory survive a power failure.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// When the file was last written, in milliseconds since 1970.
    fn modified_millis(&self, path: &Path) -> io::Result<i64>;
    /// Room on the disk that holds the path, which exists.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes the exclusive lock of a file, which is made where it is missing. `None`: another
    /// holds it. Dropping the lock releases it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
    /// Whether somebody holds the lock of a file; that there is no such file means no. Nothing is
    /// made or taken.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
}

/// An open file. Reads and writes may come from several threads.
pub trait File: Send + Sync {
    /// Reads from a position until the buffer is full or the file ends; returns how many bytes.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all bytes at a position, growing the file where needed. After an error any part
    /// of them may have been written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes the content survive a power failure.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes everything on the file's disk survive a power failure, names included, and tells
    /// what could not be written there since the file was opened. `false`: the system cannot.
    fn sync_disk(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// Bytes of the file.
    fn len(&self) -> io::Result<u64>;
    /// Cuts the file or extends it with zeros that take no room.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The first position from `at` on that may hold something else than zeros; `None` when only
    /// zeros follow. Returning `at` is always right.
    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        Ok(Some(at))
    }
    /// Tells the system that it need not keep these bytes in memory: it begins to write those
    /// that are not on the disk yet, and forgets the others. Only a hint; reading them stays
    /// possible and gets slower.
    fn let_go(&self, at: u64, len: u64) {
        let _ = (at, len);
    }
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Holds a file's lock until it is dropped.
pub trait Lock: Send + Sync {
    /// The locked file.
    fn file(&self) -> &dyn File;
}
