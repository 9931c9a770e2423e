//! A disk in memory, for tests and simulations: it forgets, tears and fails on demand.
//!
//! What a process sees is what it wrote. It can be killed in the middle of an operation
//! ([`MemoryDisk::die`]). What a power failure leaves ([`MemoryDisk::power_failure`]) is what was
//! flushed, plus any subset of the rest in pieces of 512 bytes or as
//! [`MemoryDisk::set_piece`] says, plus any subset of the names that were made, changed or
//! removed since their directory was flushed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, Disk, File, Lock, OpenMode, Space};

/// Bytes that take room together, and that reach the disk together or not at all.
const SECTOR: usize = 512;

/// Kinds of operations a [`Fault`] can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`].
    Write,
    /// [`File::sync_data`], [`File::sync_disk`] and [`Disk::sync_dir`].
    Sync,
    /// Opening a file that is not there yet, or making a directory.
    Create,
    /// [`File::set_len`], [`Disk::rename`], [`Disk::remove_file`] and [`Disk::remove_dir`].
    Change,
}

/// An error to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What fails.
    pub operation: Operation,
    /// How many such operations succeed before.
    pub after: u32,
    /// Of a failing write, how many bytes are written all the same.
    pub partial: usize,
    /// The error.
    pub kind: io::ErrorKind,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

/// The end of a process in the middle of what it does.
#[derive(Clone, Copy)]
struct Death {
    after: u32,
    partial: usize,
}

struct State {
    names: BTreeMap<PathBuf, Node>,
    /// The names a power failure cannot take away.
    durable: BTreeMap<PathBuf, Node>,
    locked: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    death: Option<Death>,
    /// The process died: nothing works until it is killed for good.
    dead: bool,
    /// Bytes that reach the disk together or not at all.
    piece: usize,
    /// How many flushes succeeded.
    syncs: u64,
    /// How many bytes were written to files.
    written: u64,
    /// Bytes that fit; `None`: any number.
    capacity: Option<u64>,
    now_millis: i64,
    /// Raised when the machine or process stops: older handles fail.
    boot: u64,
}

impl Default for State {
    fn default() -> State {
        State {
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            locked: BTreeSet::new(),
            faults: Vec::new(),
            death: None,
            dead: false,
            piece: SECTOR,
            syncs: 0,
            written: 0,
            capacity: None,
            now_millis: 0,
            boot: 0,
        }
    }
}

#[derive(Clone)]
enum Node {
    Dir,
    File(Arc<Mutex<Content>>),
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// Which sectors take room.
    used: BTreeSet<usize>,
    flushed: Vec<u8>,
    /// Changes since the flush.
    unflushed: Vec<Change>,
    modified_millis: i64,
    unreadable: bool,
}

enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl MemoryDisk {
    /// An empty disk without limit.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Sets how many bytes fit, in whole sectors; `None`: any number.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.state.lock().capacity = capacity;
    }

    /// Sets the time files get when they are written, in milliseconds since 1970.
    pub fn set_now_millis(&self, now: i64) {
        self.state.lock().now_millis = now;
    }

    /// Lets an operation fail, once.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Takes back the faults and the death that have not happened.
    pub fn clear_faults(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.death = None;
    }

    /// Lets the process die in the middle of an operation, after so many more that change
    /// something. The one it dies in has no effect; a write leaves so many of its bytes. From
    /// then on everything fails, until [`kill`](MemoryDisk::kill) or a power failure.
    pub fn die(&self, after: u32, partial: usize) {
        self.state.lock().death = Some(Death { after, partial });
    }

    /// Whether the process died.
    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    /// Sets how many bytes of a write reach the disk together or not at all when power fails;
    /// with 1 a write can be torn at every byte.
    pub fn set_piece(&self, bytes: usize) {
        self.state.lock().piece = bytes.max(1);
    }

    /// Lets all reads of a file fail, or no longer; nothing happens where there is no file.
    pub fn set_unreadable(&self, path: &Path, unreadable: bool) {
        if let Some(Node::File(content)) = self.state.lock().names.get(path) {
            content.lock().unreadable = unreadable;
        }
    }

    /// How often something was flushed, a file or a directory.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// How many bytes were written to files.
    pub fn written(&self) -> u64 {
        self.state.lock().written
    }

    /// All files, in the order of their paths.
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.state.lock();
        let files = state.names.iter();
        files
            .filter(|(_, node)| matches!(node, Node::File(_)))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// The process is killed: what it wrote stays, its handles and locks are gone.
    pub fn kill(&self) {
        self.state.lock().restart();
    }

    /// The machine loses power. `keep` is asked for each piece that was not flushed whether it
    /// reached the disk all the same.
    pub fn power_failure(&self, mut keep: impl FnMut() -> bool) {
        let mut state = self.state.lock();
        state.restart();
        let mut names = BTreeMap::new();
        let all: BTreeSet<PathBuf> = state
            .names
            .keys()
            .chain(state.durable.keys())
            .cloned()
            .collect();
        for path in all {
            let (now, before) = (state.names.get(&path), state.durable.get(&path));
            let same = match (now, before) {
                (Some(Node::Dir), Some(Node::Dir)) => true,
                (Some(Node::File(a)), Some(Node::File(b))) => Arc::ptr_eq(a, b),
                _ => false,
            };
            let node = if same || keep() { now } else { before };
            // A file whose directory was lost is lost with it.
            let parent = path.parent().is_none_or(|dir| {
                dir.as_os_str().is_empty() || dir == Path::new("/") || names.contains_key(dir)
            });
            if let (Some(node), true) = (node, parent) {
                names.insert(path, node.clone());
            }
        }
        for node in names.values() {
            if let Node::File(content) = node {
                content.lock().lose_power(state.piece, &mut keep);
            }
        }
        state.durable.clone_from(&names);
        state.names = names;
    }

    /// Changes bytes of a file behind everybody's back; nothing happens where there is no file.
    pub fn damage(&self, path: &Path, at: u64, bytes: &[u8]) {
        let state = self.state.lock();
        if let Some(Node::File(content)) = state.names.get(path) {
            let mut content = content.lock();
            content.write(at as usize, bytes);
            content.unflushed.push(Change::Write {
                at: at as usize,
                bytes: bytes.to_vec(),
            });
            content.flush();
        }
    }

    /// The bytes of a file.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        match self.state.lock().names.get(path) {
            Some(Node::File(content)) => Some(content.lock().bytes.clone()),
            _ => None,
        }
    }
}

impl State {
    fn restart(&mut self) {
        self.boot += 1;
        self.locked.clear();
        self.faults.clear();
        self.death = None;
        self.dead = false;
    }

    /// Whether an operation fails, and how.
    fn fail(&mut self, operation: Operation) -> Option<Fault> {
        let dies = match &mut self.death {
            Some(death) if operation != Operation::Read => {
                let partial = (death.after == 0).then_some(death.partial);
                death.after = death.after.saturating_sub(1);
                partial
            }
            _ => None,
        };
        if self.dead || dies.is_some() {
            self.dead = true;
            self.death = None;
            return Some(Fault {
                operation,
                after: 0,
                partial: dies.unwrap_or(0),
                kind: io::ErrorKind::Other,
            });
        }
        let hit = self.faults.iter_mut().position(|fault| {
            if fault.operation != operation {
                return false;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return false;
            }
            true
        })?;
        Some(self.faults.remove(hit))
    }

    /// For operations that fail only with everything else.
    fn check_alive(&self) -> io::Result<()> {
        if self.dead {
            Err(io::Error::other("the process is dead"))
        } else {
            Ok(())
        }
    }

    fn check(&mut self, operation: Operation) -> io::Result<()> {
        match self.fail(operation) {
            Some(fault) => Err(fault.kind.into()),
            None => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        let sectors: usize = self
            .names
            .values()
            .map(|node| match node {
                Node::Dir => 0,
                Node::File(content) => content.lock().used.len(),
            })
            .sum();
        (sectors * SECTOR) as u64
    }
}

impl Content {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(target) = self.bytes.get_mut(at..end) {
            target.copy_from_slice(bytes);
        }
        self.used.extend(at / SECTOR..end.div_ceil(SECTOR));
    }

    fn set_len(&mut self, len: usize) {
        self.bytes.resize(len, 0);
        drop(self.used.split_off(&len.div_ceil(SECTOR)));
    }

    /// Copies what was changed only: some files are large and hold little.
    fn flush(&mut self) {
        for change in std::mem::take(&mut self.unflushed) {
            match change {
                Change::SetLen(len) => self.flushed.resize(len, 0),
                Change::Write { at, bytes } => {
                    let end = at + bytes.len();
                    if self.flushed.len() < end {
                        self.flushed.resize(end, 0);
                    }
                    if let Some(target) = self.flushed.get_mut(at..end) {
                        target.copy_from_slice(&bytes);
                    }
                }
            }
        }
    }

    fn lose_power(&mut self, piece: usize, keep: &mut impl FnMut() -> bool) {
        let changes = std::mem::take(&mut self.unflushed);
        self.bytes = std::mem::take(&mut self.flushed);
        for change in changes {
            match change {
                Change::SetLen(len) => {
                    if keep() {
                        self.bytes.resize(len, 0);
                    }
                }
                Change::Write { at, bytes } => {
                    let mut at = at;
                    let mut rest = bytes.as_slice();
                    while !rest.is_empty() {
                        let (front, more) = rest.split_at(rest.len().min(piece - at % piece));
                        if keep() {
                            self.write(at, front);
                        }
                        at += front.len();
                        rest = more;
                    }
                }
            }
        }
        let sectors = (0..).zip(self.bytes.chunks(SECTOR));
        let used = sectors.filter(|(_, bytes)| ![0; SECTOR].starts_with(bytes));
        self.used = used.map(|(sector, _)| sector).collect();
        self.flushed.clone_from(&self.bytes);
    }
}

impl Disk for MemoryDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut missing: Vec<&Path> = Vec::new();
        for dir in dir.ancestors() {
            match state.names.get(dir) {
                Some(Node::Dir) => break,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => missing.push(dir),
            }
        }
        if !missing.is_empty() {
            state.check(Operation::Create)?;
        }
        for dir in missing {
            state.names.insert(dir.to_path_buf(), Node::Dir);
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        state.check_alive()?;
        if !matches!(state.names.get(dir), Some(Node::Dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let children = state
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir));
        Ok(children
            .filter_map(|(path, node)| {
                let name = path.file_name()?.to_str()?.to_owned();
                Some(match node {
                    Node::Dir => DirEntry {
                        name,
                        is_dir: true,
                        len: 0,
                        device: 0,
                    },
                    Node::File(content) => DirEntry {
                        name,
                        is_dir: false,
                        len: content.lock().bytes.len() as u64,
                        device: 0,
                    },
                })
            })
            .collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.check_alive()?;
        let content = match state.names.get(path) {
            Some(Node::File(content)) => Arc::clone(content),
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            None => {
                let parent = path.parent().and_then(|dir| state.names.get(dir));
                if mode != OpenMode::Create || !matches!(parent, Some(Node::Dir)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                state.check(Operation::Create)?;
                let content = Arc::new(Mutex::new(Content {
                    modified_millis: state.now_millis,
                    ..Content::default()
                }));
                state
                    .names
                    .insert(path.to_path_buf(), Node::File(Arc::clone(&content)));
                content
            }
        };
        Ok(Arc::new(MemoryFile {
            disk: Arc::clone(&self.state),
            content,
            boot: state.boot,
        }))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.names.get(path) {
            Some(Node::File(_)) => {
                state.check(Operation::Change)?;
                state.names.remove(path);
                Ok(())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !matches!(state.names.get(dir), Some(Node::Dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if state.names.keys().any(|path| path.parent() == Some(dir)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.check(Operation::Change)?;
        state.names.remove(dir);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(Operation::Change)?;
        let Some(node) = state.names.remove(from) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        state.names.insert(to.to_path_buf(), node);
        // What is in a directory goes with it.
        let names = std::mem::take(&mut state.names);
        let renamed = |path: PathBuf| match path.strip_prefix(from) {
            Ok(rest) => to.join(rest),
            Err(_) => path,
        };
        state.names = names
            .into_iter()
            .map(|(path, node)| (renamed(path), node))
            .collect();
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(Operation::Sync)?;
        let inside = |path: &Path| path == dir || path.parent() == Some(dir);
        let names: Vec<_> = state
            .names
            .iter()
            .filter(|(path, _)| inside(path))
            .map(|(path, node)| (path.clone(), node.clone()))
            .collect();
        // A directory made again under an old name does not have what was in the old one.
        let stays = |path: &Path| {
            let inside = |name: &Path| name != dir && path.starts_with(name);
            names.iter().any(|(name, _)| inside(name))
        };
        let below = |path: &Path| path.starts_with(dir);
        state
            .durable
            .retain(|path, _| !below(path) || (!inside(path) && stays(path)));
        state.durable.extend(names);
        state.syncs += 1;
        Ok(())
    }

    fn modified_millis(&self, path: &Path) -> io::Result<i64> {
        let state = self.state.lock();
        state.check_alive()?;
        match state.names.get(path) {
            Some(Node::File(content)) => Ok(content.lock().modified_millis),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.state.lock();
        let used = state.used();
        let total = state.capacity.unwrap_or(1 << 40);
        Ok(Space {
            total,
            free: total.saturating_sub(used),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = self.open(path, OpenMode::Create)?;
        let mut state = self.state.lock();
        if !state.locked.insert(path.to_path_buf()) {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock {
            disk: Arc::clone(&self.state),
            path: path.to_path_buf(),
            boot: state.boot,
            file,
        })))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state.lock().locked.contains(path))
    }
}

struct MemoryFile {
    disk: Arc<Mutex<State>>,
    content: Arc<Mutex<Content>>,
    boot: u64,
}

impl MemoryFile {
    fn check(&self, state: &State) -> io::Result<()> {
        if state.boot != self.boot {
            return Err(io::Error::other("the process that opened the file is gone"));
        }
        state.check_alive()
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        self.check(&state)?;
        state.check(Operation::Read)?;
        let content = self.content.lock();
        if content.unreadable {
            return Err(io::Error::other("the file cannot be read"));
        }
        let from = content.bytes.get(at as usize..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        for (target, byte) in buffer.iter_mut().zip(from) {
            *target = *byte;
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        self.check(&state)?;
        let fault = state.fail(Operation::Write);
        let at = at as usize;
        let mut count = fault.map_or(bytes.len(), |fault| fault.partial.min(bytes.len()));
        let mut result = fault.map_or(Ok(()), |fault| Err(io::Error::from(fault.kind)));
        if let Some(capacity) = state.capacity {
            let room = capacity.saturating_sub(state.used()) as usize / SECTOR;
            let content = self.content.lock();
            let new = (at / SECTOR..(at + count).div_ceil(SECTOR))
                .filter(|sector| !content.used.contains(sector));
            if let Some(sector) = new.clone().nth(room) {
                count = (sector * SECTOR).saturating_sub(at);
                result = Err(io::ErrorKind::StorageFull.into());
            }
        }
        let bytes = bytes.get(..count).unwrap_or(bytes);
        state.written += bytes.len() as u64;
        let mut content = self.content.lock();
        content.write(at, bytes);
        content.modified_millis = state.now_millis;
        content.unflushed.push(Change::Write {
            at,
            bytes: bytes.to_vec(),
        });
        result
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        self.check(&state)?;
        state.check(Operation::Sync)?;
        self.content.lock().flush();
        state.syncs += 1;
        Ok(())
    }

    fn sync_disk(&self) -> io::Result<bool> {
        let mut state = self.disk.lock();
        self.check(&state)?;
        state.check(Operation::Sync)?;
        for node in state.names.values() {
            if let Node::File(content) = node {
                content.lock().flush();
            }
        }
        state.durable = state.names.clone();
        state.syncs += 1;
        Ok(true)
    }

    fn len(&self) -> io::Result<u64> {
        self.check(&self.disk.lock())?;
        Ok(self.content.lock().bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        self.check(&state)?;
        state.check(Operation::Change)?;
        let mut content = self.content.lock();
        content.set_len(len as usize);
        content.modified_millis = state.now_millis;
        content.unflushed.push(Change::SetLen(len as usize));
        Ok(())
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        self.check(&self.disk.lock())?;
        let content = self.content.lock();
        let sector = at as usize / SECTOR;
        Ok(content
            .used
            .range(sector..)
            .next()
            .map(|used| at.max((used * SECTOR) as u64)))
    }
}

struct MemoryLock {
    disk: Arc<Mutex<State>>,
    path: PathBuf,
    boot: u64,
    file: Arc<dyn File>,
}

impl Lock for MemoryLock {
    fn file(&self) -> &dyn File {
        &*self.file
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if state.boot == self.boot {
            state.locked.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(disk: &MemoryDisk, path: &str) -> Arc<dyn File> {
        let path = Path::new(path);
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        disk.open(path, OpenMode::Create).unwrap()
    }

    #[test]
    fn a_kill_keeps_what_was_written_and_ends_handles_and_locks() {
        let disk = MemoryDisk::new();
        let written = file(&disk, "/d/f");
        written.write_at(b"abc", 1).unwrap();
        let lock = disk.lock(Path::new("/d/lock")).unwrap();
        assert!(disk.lock(Path::new("/d/lock")).unwrap().is_none());
        disk.kill();
        assert!(written.write_at(b"x", 0).is_err());
        assert_eq!(disk.content(Path::new("/d/f")).unwrap(), b"\0abc");
        assert!(disk.lock(Path::new("/d/lock")).unwrap().is_some());
        drop(lock);
    }

    #[test]
    fn a_power_failure_keeps_what_was_flushed() {
        let disk = MemoryDisk::new();
        let flushed = file(&disk, "/d/f");
        flushed.write_at(b"abc", 0).unwrap();
        flushed.sync_data().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        flushed.write_at(b"x", 0).unwrap();
        file(&disk, "/d/lost").sync_data().unwrap();
        disk.power_failure(|| false);
        assert_eq!(disk.content(Path::new("/d/f")).unwrap(), b"abc");
        assert!(disk.content(Path::new("/d/lost")).is_none());
    }

    #[test]
    fn a_full_disk_takes_a_part_and_room_returns() {
        let disk = MemoryDisk::new();
        disk.set_capacity(Some(2 * SECTOR as u64));
        let full = file(&disk, "/d/f");
        full.set_len(100 * SECTOR as u64).unwrap();
        let error = full.write_at(&[1; 3 * SECTOR], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(full.next_data(2 * SECTOR as u64).unwrap(), None);
        full.set_len(0).unwrap();
        full.write_at(&[1; SECTOR], 0).unwrap();
    }

    #[test]
    fn a_fault_hits_the_operation_it_counts() {
        let disk = MemoryDisk::new();
        let target = file(&disk, "/d/f");
        disk.inject(Fault {
            operation: Operation::Write,
            after: 1,
            partial: 1,
            kind: io::ErrorKind::Other,
        });
        target.write_at(b"ab", 0).unwrap();
        target.write_at(b"cd", 2).unwrap_err();
        target.write_at(b"e", 3).unwrap();
        assert_eq!(disk.content(Path::new("/d/f")).unwrap(), b"abce");
    }
}
