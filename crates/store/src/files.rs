//! Files of one fixed length that together make one long sequence of bytes, and the open ones
//! among all of them.
//!
//! A file is named after the position of its first byte in the sequence, in 20 decimal digits
//! (`UtilAll.offset2FileName`). Each has its full length from the start; what is not written
//! yet is zero and takes no room.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{DirEntry, Disk, File, OpenMode};
use crate::error::StoreError;

/// The name of the file that begins at a position.
pub(crate) fn file_name(start: i64) -> String {
    format!("{start:020}")
}

/// No file begins behind this position, so that sums of positions and lengths are in range, and
/// so are the positions of queue entries whose numbers are no larger.
const LAST_START: i64 = 1 << 58;

/// The position a name stands for; `None` for any other name.
pub(crate) fn file_start(name: &str) -> Option<i64> {
    if name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit()) {
        name.parse().ok().filter(|start| *start <= LAST_START)
    } else {
        None
    }
}

/// A file of a sequence as found on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Position of its first byte.
    pub(crate) start: i64,
    /// Its length.
    pub(crate) len: u64,
}

/// What is in a directory, in no order; nothing where it is missing.
pub(crate) fn entries(disk: &dyn Disk, dir: &Path) -> Result<Vec<DirEntry>, StoreError> {
    match disk.list(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("list", dir, error))
        }
        other => Ok(other.unwrap_or_default()),
    }
}

/// The files of a sequence, in order; a missing directory has none. Other names are ignored.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Found>, StoreError> {
    let mut found: Vec<Found> = entries(disk, dir)?
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| {
            Some(Found {
                start: file_start(&entry.name)?,
                len: entry.len,
            })
        })
        .collect();
    found.sort_unstable_by_key(|found| found.start);
    Ok(found)
}

/// The length that most of the files have, the greatest of several; `None` without files that
/// have one.
pub(crate) fn usual_len(files: &[Found]) -> Option<u64> {
    let mut counts = HashMap::new();
    for file in files.iter().filter(|file| file.len > 0) {
        *counts.entry(file.len).or_insert(0) += 1;
    }
    let usual = counts.into_iter().max_by_key(|(len, count)| (*count, *len));
    usual.map(|(len, _)| len)
}

/// Finds the files of a sequence and brings them to their full length. A file that is too short
/// is extended if a power failure may have cut it, or if its neighbours show that the length is
/// right; any other wrong length is refused, since it cannot change.
pub(crate) fn load(
    disk: &dyn Disk,
    dir: &Path,
    len: i64,
    was_killed: bool,
    key: &'static str,
) -> Result<Vec<i64>, StoreError> {
    let mut found = list(disk, dir)?;
    while let Some(last) = found.last().filter(|last| last.len == 0) {
        remove(disk, &dir.join(file_name(last.start)))?;
        found.pop();
    }
    let is_there = |start: i64| found.iter().any(|other| other.start == start);
    for file in &found {
        let path = dir.join(file_name(file.start));
        let short = file.len < len as u64;
        let proven = was_killed || is_there(file.start - len) || is_there(file.start + len);
        if file.start % len != 0 || file.len > len as u64 || (short && !proven) {
            return Err(StoreError::FileSize {
                path,
                len: file.len,
                expected: len as u64,
                key,
            });
        }
        if short {
            tracing::warn!(file = %path.display(), bytes = file.len, "the file is too short, extending it with zeros");
            create(disk, &path, len as u64)?;
        }
    }
    Ok(found.iter().map(|file| file.start).collect())
}

/// Where the last byte of a file that is not zero ends; `None` where all are.
pub(crate) fn data_end(file: &dyn File) -> io::Result<Option<u64>> {
    let (mut at, mut end) = (0, None);
    let mut bytes = vec![0; 1 << 16];
    while let Some(next) = file.next_data(at)? {
        let count = file.read_at(&mut bytes, next)?;
        let read = bytes.get(..count).unwrap_or_default();
        if let Some(last) = read.iter().rposition(|byte| *byte != 0) {
            end = Some(next + last as u64 + 1);
        }
        if count == 0 {
            break;
        }
        at = next + count as u64;
    }
    Ok(end)
}

/// Makes a directory, so that it survives a power failure from now on.
pub(crate) fn create_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    let mut made = Vec::new();
    for ancestor in dir.ancestors() {
        if ancestor.as_os_str().is_empty() || disk.list(ancestor).is_ok() {
            break;
        }
        made.push(ancestor);
    }
    disk.create_dir_all(dir)
        .map_err(|error| StoreError::io("create the directory", dir, error))?;
    for dir in made {
        let above = parent(dir);
        disk.sync_dir(above)
            .map_err(|error| StoreError::io("flush the directory", above, error))?;
    }
    Ok(())
}

/// The directory a path is in; the present one for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a file of a sequence at its full length, or opens the one that is there.
pub(crate) fn create(disk: &dyn Disk, path: &Path, len: u64) -> Result<Arc<dyn File>, StoreError> {
    let file = disk
        .open(path, OpenMode::Create)
        .map_err(|error| StoreError::io("create", path, error))?;
    let have = file
        .len()
        .map_err(|error| StoreError::io("look at", path, error))?;
    if have < len {
        file.set_len(len)
            .map_err(|error| StoreError::io("extend", path, error))?;
    }
    Ok(file)
}

/// Makes a file at its full length, so that its name survives a power failure from now on, or opens
/// the one that is there.
pub(crate) fn create_named(
    disk: &dyn Disk,
    path: &Path,
    len: u64,
) -> Result<Arc<dyn File>, StoreError> {
    let is_there = open(disk, path, OpenMode::Read)?.is_some();
    let dir = parent(path);
    create_dir(disk, dir)?;
    let file = create(disk, path, len)?;
    if !is_there {
        disk.sync_dir(dir)
            .map_err(|error| StoreError::io("flush the directory", dir, error))?;
    }
    Ok(file)
}

/// Opens a file; `None` where it is missing.
pub(crate) fn open(
    disk: &dyn Disk,
    path: &Path,
    mode: OpenMode,
) -> Result<Option<Arc<dyn File>>, StoreError> {
    match disk.open(path, mode) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("open", path, error)),
    }
}

/// Removes a file; one that is gone already is no error.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Whether a file holds anything but zeros from a position on.
pub(crate) fn has_data(file: &dyn File, from: u64) -> std::io::Result<bool> {
    // Mostly there is nothing behind the block that `from` is in: what the system reads ahead in
    // 100,000 empty files is no small matter.
    const BLOCK: u64 = 4096;
    let mut at = from;
    let mut bytes = vec![0; 16 * BLOCK as usize];
    while let Some(next) = file.next_data(at)? {
        let wanted = match next % BLOCK {
            0 => bytes.len() as u64,
            into => BLOCK - into,
        };
        let buffer = bytes.get_mut(..wanted as usize).unwrap_or_default();
        let count = file.read_at(buffer, next)?;
        let read = buffer.get(..count).unwrap_or_default();
        if read.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        if count == 0 {
            break;
        }
        at = next + count as u64;
    }
    Ok(false)
}

/// Which file of which sequence.
pub(crate) type FileKey = (u64, i64);

/// Files kept open because they were used lately, of all queues and the log together: with
/// 100,000 queues not every file can be open.
pub(crate) struct OpenFiles {
    disk: Arc<dyn Disk>,
    half: usize,
    generations: Mutex<Generations>,
}

/// Files used since the last turn, and those used in the turn before: an approximation of
/// "least recently used" that costs no order.
#[derive(Default)]
struct Generations {
    young: HashMap<FileKey, Arc<dyn File>>,
    old: HashMap<FileKey, Arc<dyn File>>,
}

impl OpenFiles {
    /// Keeps at most so many files open.
    pub(crate) fn new(disk: Arc<dyn Disk>, limit: usize) -> OpenFiles {
        OpenFiles {
            disk,
            half: (limit / 2).max(1),
            generations: Mutex::default(),
        }
    }

    /// The open file, opened now if it is not; `None` where it is gone from the disk.
    pub(crate) fn get(
        &self,
        key: FileKey,
        path: impl FnOnce() -> PathBuf,
    ) -> Result<Option<Arc<dyn File>>, StoreError> {
        if let Some(file) = self.find(key) {
            return Ok(Some(file));
        }
        let file = open(&*self.disk, &path(), OpenMode::Write)?;
        if let Some(file) = &file {
            self.put(key, Arc::clone(file));
        }
        Ok(file)
    }

    fn find(&self, key: FileKey) -> Option<Arc<dyn File>> {
        let mut generations = self.generations.lock();
        if let Some(file) = generations.young.get(&key) {
            return Some(Arc::clone(file));
        }
        let file = generations.old.remove(&key)?;
        self.insert(&mut generations, key, Arc::clone(&file));
        Some(file)
    }

    /// Keeps a file that was just opened.
    pub(crate) fn put(&self, key: FileKey, file: Arc<dyn File>) {
        self.insert(&mut self.generations.lock(), key, file);
    }

    fn insert(&self, generations: &mut Generations, key: FileKey, file: Arc<dyn File>) {
        if generations.young.len() >= self.half {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, file);
    }

    /// Forgets a file that is removed or replaced.
    pub(crate) fn forget(&self, key: FileKey) {
        let mut generations = self.generations.lock();
        generations.young.remove(&key);
        generations.old.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn names_are_twenty_digits() {
        assert_eq!(file_name(1_073_741_824), "00000000001073741824");
        assert_eq!(file_start("00000000001073741824"), Some(1_073_741_824));
        for other in [
            "",
            "1",
            "0000000000107374182x",
            "99999999999999999999",
            "09223372036854775807",
            "+0000000000000000001",
        ] {
            assert_eq!(file_start(other), None, "{other}");
        }
    }

    #[test]
    fn a_listing_is_in_order_and_leaves_other_names_out() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/store/commitlog");
        assert!(list(&disk, dir).unwrap().is_empty());
        create_dir(&disk, dir).unwrap();
        for start in [200, 0, 100] {
            create(&disk, &dir.join(file_name(start)), 100).unwrap();
        }
        create(&disk, &dir.join("note.txt"), 1).unwrap();
        let starts: Vec<i64> = list(&disk, dir)
            .unwrap()
            .iter()
            .map(|found| found.start)
            .collect();
        assert_eq!(starts, [0, 100, 200]);
    }

    #[test]
    fn a_directory_made_here_survives_a_power_failure() {
        let disk = MemoryDisk::new();
        create_dir(&disk, Path::new("/a/b/c")).unwrap();
        disk.power_failure(|| false);
        assert!(disk.list(Path::new("/a/b/c")).is_ok());
    }

    #[test]
    fn files_in_use_stay_open_and_few_do() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/q");
        create_dir(&disk, dir).unwrap();
        for start in 0..10 {
            create(&disk, &dir.join(file_name(start)), 1).unwrap();
        }
        let files = OpenFiles::new(Arc::new(disk.clone()), 4);
        let get = |start: i64| {
            files
                .get((1, start), || dir.join(file_name(start)))
                .unwrap()
        };
        let first = get(0).unwrap();
        for start in 1..10 {
            get(start).unwrap();
            assert!(
                Arc::ptr_eq(&first, &get(0).unwrap()),
                "file 0 is used all the time"
            );
        }
        let generations = files.generations.lock();
        assert!(generations.young.len() + generations.old.len() <= 4);
        drop(generations);
        assert!(get(99).is_none());
    }
}
