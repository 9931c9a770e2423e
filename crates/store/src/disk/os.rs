//! The machine's own disk.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::UNIX_EPOCH;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, SeekFrom};
use rustix::process::{Flock, FlockType};

use super::{DirEntry, Disk, File, Lock, OpenMode, Space};

/// The files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl OsDisk {
    /// The machine's disk, ready to be shared.
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(OsDisk)
    }
}

impl Disk for OsDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Follows links: a queue's directory may be one.
            let meta = match fs::metadata(entry.path()) {
                Ok(meta) => meta,
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = meta.is_dir();
            let len = if is_dir { 0 } else { meta.len() };
            entries.push(DirEntry {
                name,
                is_dir,
                len,
                device: meta.dev(),
            });
        }
        Ok(entries)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile(open(path, mode)?)))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn modified_millis(&self, path: &Path) -> io::Result<i64> {
        let modified = fs::metadata(path)?.modified()?;
        Ok(match modified.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(_) => 0,
        })
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        // What the file system keeps for the superuser is neither in use nor to be had.
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        let total = used.saturating_add(stat.f_bavail);
        Ok(Space {
            total: total.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let name = lock_name(path)?;
        // The system's record locks belong to the process: it would grant them again to
        // another store in this one, and closing a second handle would release them. So this
        // is asked before the file is opened.
        if !HELD.lock().insert(name.clone()) {
            return Ok(None);
        }
        let held = Held(name);
        let lock = OsLock {
            file: OsFile(open(path, OpenMode::Create)?),
            _held: held,
        };
        // The lock of a Java `FileChannel` is this same POSIX record lock, so a broker of the
        // reference and this one exclude each other.
        match rustix::fs::fcntl_lock(&lock.file.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(lock))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        // Before the file is opened: closing it would release the lock.
        if HELD.lock().contains(&lock_name(path)?) {
            return Ok(true);
        }
        let file = match open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let whole = Flock::from(FlockType::WriteLock);
        Ok(rustix::process::fcntl_getlk(&file, &whole)?.is_some())
    }
}

/// The name by which this process knows a lock.
fn lock_name(path: &Path) -> io::Result<PathBuf> {
    let dir = fs::canonicalize(crate::files::parent(path))?;
    Ok(dir.join(path.file_name().unwrap_or_default()))
}

fn open(path: &Path, mode: OpenMode) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    match mode {
        OpenMode::Read => {}
        OpenMode::Write => {
            options.write(true);
        }
        OpenMode::Create => {
            options.write(true).create(true).truncate(false);
        }
    }
    options.open(path)
}

struct OsFile(fs::File);

impl File for OsFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn sync_disk(&self) -> io::Result<bool> {
        rustix::fs::syncfs(&self.0)?;
        Ok(true)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.0, SeekFrom::Data(at)) {
            Ok(found) => Ok(Some(found.max(at))),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            // Not every file system can tell.
            Err(_) => Ok(Some(at)),
        }
    }

    #[cfg(target_os = "linux")]
    fn let_go(&self, at: u64, len: u64) {
        let len = std::num::NonZeroU64::new(len);
        // A system that does not take the hint keeps more than it has to.
        let _ = rustix::fs::fadvise(&self.0, at, len, rustix::fs::Advice::DontNeed);
    }
}

/// Locks this process holds.
static HELD: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// An entry of [`HELD`].
struct Held(PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        HELD.lock().remove(&self.0);
    }
}

struct OsLock {
    // Closed first, which releases the system's lock.
    file: OsFile,
    _held: Held,
}

impl Lock for OsLock {
    fn file(&self) -> &dyn File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_a_second_store_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = OsDisk.lock(&path).unwrap();
        assert!(first.is_some());
        assert!(OsDisk.lock(&path).unwrap().is_none());
        assert!(OsDisk.is_locked(&path).unwrap());
        drop(first);
        assert!(!OsDisk.is_locked(&path).unwrap());
        assert!(OsDisk.lock(&path).unwrap().is_some());
    }

    #[test]
    fn holes_are_skipped_and_read_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsDisk
            .open(&dir.path().join("sparse"), OpenMode::Create)
            .unwrap();
        file.set_len(4 << 20).unwrap();
        file.write_at(b"end", 3 << 20).unwrap();
        let next = file.next_data(0).unwrap().unwrap();
        assert!(next <= 3 << 20);
        let mut bytes = [9; 4];
        assert_eq!(file.read_at(&mut bytes, 100).unwrap(), 4);
        assert_eq!(bytes, [0; 4]);
        assert_eq!(file.read_at(&mut bytes, (4 << 20) - 2).unwrap(), 2);
    }
}
