//! Bytes appended to files of one length, such as a queue's entries: readable at once from
//! memory, written to the files in batches.
//!
//! The files stand in `DIRECTORY/TOPIC/QUEUE` and are named as `files` says. A kill loses what
//! was not written; recovery takes it from the commit log again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::disk::{Disk, File};
use crate::error::StoreError;
use crate::files::{self, OpenFiles};

/// Bytes that keep their room in memory once they are written.
const KEPT: usize = 80;

/// What the sequences of all queues share.
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) open: Arc<OpenFiles>,
    /// `consumequeue` in the data directory, for example.
    pub(crate) dir: PathBuf,
    /// Bytes of a file.
    pub(crate) file_size: i64,
    /// The setting that says so.
    pub(crate) key: &'static str,
    /// Fills the front of the first file, over and over, where a sequence begins inside it.
    pub(crate) filler: Vec<u8>,
}

impl Place {
    /// The directory of a queue.
    pub(crate) fn queue_dir(&self, topic: &str, id: i32) -> PathBuf {
        let mut path = self.dir.join(topic);
        path.push(id.to_string());
        path
    }
}

/// One queue's sequence.
pub(crate) struct Sequence {
    place: Arc<Place>,
    topic: Arc<str>,
    id: i32,
    /// Distinguishes its open files.
    number: u64,
    /// Position of the first byte that is not in the files yet.
    written: AtomicI64,
    /// Position behind the last byte.
    end: AtomicI64,
    tail: Mutex<Tail>,
    /// Held by whoever writes to the files. Locked before `tail`.
    writing: Mutex<()>,
}

/// What is not in the files yet, and which files there are.
#[derive(Default)]
struct Tail {
    pending: Vec<u8>,
    /// First byte of the first and last file; `None` without files.
    span: Option<(i64, i64)>,
    unflushed: Unflushed,
}

/// What a power failure can take.
#[derive(Default)]
pub(crate) struct Unflushed {
    /// First bytes of the files written to.
    starts: Vec<i64>,
    /// Files or directories were made or removed.
    names: bool,
}

impl Unflushed {
    fn add(&mut self, start: i64) {
        if !self.starts.contains(&start) {
            self.starts.push(start);
        }
    }
}

impl Sequence {
    /// A sequence without bytes, which touches no file.
    pub(crate) fn new(place: Arc<Place>, topic: Arc<str>, id: i32, number: u64) -> Sequence {
        Sequence {
            place,
            topic,
            id,
            number,
            written: AtomicI64::new(0),
            end: AtomicI64::new(0),
            tail: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// What distinguishes its open files.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of a file.
    pub(crate) fn file_size(&self) -> i64 {
        self.place.file_size
    }

    /// First byte of the file that holds a position.
    pub(crate) fn file_start(&self, position: i64) -> i64 {
        position - position.rem_euclid(self.place.file_size)
    }

    /// First byte of the first and the last file; `None` without files.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        self.tail.lock().span
    }

    /// Position behind the last byte.
    pub(crate) fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> i64 {
        self.end.load(Ordering::Relaxed) - self.written.load(Ordering::Relaxed)
    }

    /// Appends bytes; by one thread at a time.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut tail = self.tail.lock();
        tail.pending.extend_from_slice(bytes);
        let end = self.end.load(Ordering::Relaxed) + bytes.len() as i64;
        self.end.store(end, Ordering::Release);
    }

    /// Reads up to `len` bytes from a position on, fewer at the end of its file and where the
    /// sequence ends. They are appended to `out`.
    pub(crate) fn read(&self, at: i64, len: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
        if at < 0 {
            return Ok(());
        }
        let start = self.file_start(at);
        let len = (len as i64).min(start + self.place.file_size - at);
        let written = {
            let tail = self.tail.lock();
            let written = self.written.load(Ordering::Relaxed);
            if at >= written {
                let from = (at - written) as usize;
                let pending = tail.pending.get(from..).unwrap_or_default();
                let len = pending.len().min(len as usize);
                out.extend_from_slice(pending.get(..len).unwrap_or_default());
                return Ok(());
            }
            written
        };
        let len = len.min(written - at) as usize;
        let Some(file) = self.open_file(start)? else {
            return Ok(());
        };
        let before = out.len();
        out.resize(before + len, 0);
        let buffer = out.get_mut(before..).unwrap_or_default();
        let read = file
            .read_at(buffer, (at - start) as u64)
            .map_err(|error| StoreError::io("read", self.path(start), error))?;
        out.truncate(before + read);
        Ok(())
    }

    /// Writes what waits to the files, which then hold all up to the present end.
    pub(crate) fn write_pending(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock();
        let (first, bytes) = {
            let tail = self.tail.lock();
            (self.written.load(Ordering::Relaxed), tail.pending.clone())
        };
        let mut at = first;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let start = self.file_start(at);
            let room = (start + self.place.file_size - at) as usize;
            let (piece, more) = rest.split_at(rest.len().min(room));
            let file = self.file_to_write(start, at)?;
            file.write_at(piece, (at - start) as u64)
                .map_err(|error| StoreError::io("write", self.path(start), error))?;
            at += piece.len() as i64;
            rest = more;
        }
        let mut tail = self.tail.lock();
        let written = bytes.len().min(tail.pending.len());
        tail.pending.drain(..written);
        self.written.fetch_add(written as i64, Ordering::Relaxed);
        if tail.pending.is_empty() {
            // 100,000 queues: none keeps room for a burst that is over.
            tail.pending.shrink_to(KEPT);
        }
        Ok(())
    }

    /// Removes the files of another sequence that had the name, if there are no own ones yet. None
    /// of them may come back beside new ones.
    pub(crate) fn remove_leftovers(&self) -> Result<(), StoreError> {
        let dir = self.dir();
        if self.span().is_some() || self.remove_all_in(&dir)? == 0 {
            return Ok(());
        }
        let flushed = self.place.disk.sync_dir(&dir);
        flushed.map_err(|error| StoreError::io("flush the directory", dir, error))
    }

    /// The file to write to at a position; made where it is not there, with the place before the
    /// sequence's beginning filled.
    fn file_to_write(&self, start: i64, at: i64) -> Result<Arc<dyn File>, StoreError> {
        let span = self.span();
        let exists = span.is_some_and(|(first, last)| first <= start && start <= last);
        let open = if exists { self.open_file(start)? } else { None };
        let file = match open {
            Some(file) => file,
            None => {
                let dir = self.dir();
                let made = self.place.disk.create_dir_all(&dir);
                made.map_err(|error| StoreError::io("create the directory", &dir, error))?;
                let path = dir.join(files::file_name(start));
                let file = files::create(&*self.place.disk, &path, self.place.file_size as u64)?;
                let filler = &self.place.filler;
                if span.is_none() && at > start && !filler.is_empty() {
                    let front = filler.repeat((at - start) as usize / filler.len());
                    file.write_at(&front, 0)
                        .map_err(|error| StoreError::io("write", &path, error))?;
                }
                self.place.open.put((self.number, start), Arc::clone(&file));
                self.tail.lock().unflushed.names = true;
                file
            }
        };
        let mut tail = self.tail.lock();
        let (first, last) = tail.span.unwrap_or((start, start));
        tail.span = Some((first.min(start), last.max(start)));
        tail.unflushed.add(start);
        Ok(file)
    }

    /// Flushes what was written since the last time; what waits is not written.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let unflushed = self.take_unflushed();
        let result = self.flush_files(&unflushed);
        if result.is_err() {
            self.put_back(unflushed);
        }
        result
    }

    fn flush_files(&self, unflushed: &Unflushed) -> Result<(), StoreError> {
        for start in &unflushed.starts {
            if let Some(file) = self.open_file(*start)? {
                file.sync_data()
                    .map_err(|error| StoreError::io("flush", self.path(*start), error))?;
            }
        }
        if !unflushed.names {
            return Ok(());
        }
        // The directory may be new, and that of the topic, too.
        for dir in self.dir().ancestors().take(3) {
            match self.place.disk.sync_dir(dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::io("flush the directory", dir, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What has to be flushed, for whoever flushes many sequences together.
    pub(crate) fn take_unflushed(&self) -> Unflushed {
        std::mem::take(&mut self.tail.lock().unflushed)
    }

    /// It could not be flushed.
    pub(crate) fn put_back(&self, unflushed: Unflushed) {
        let mut tail = self.tail.lock();
        for start in unflushed.starts {
            tail.unflushed.add(start);
        }
        tail.unflushed.names |= unflushed.names;
    }

    /// Whether something is to be written or flushed.
    pub(crate) fn has_work(&self) -> bool {
        let tail = self.tail.lock();
        let unflushed = !tail.unflushed.starts.is_empty() || tail.unflushed.names;
        !tail.pending.is_empty() || unflushed
    }

    /// Removes the files that end at a position or before it. The last one stays, so that
    /// positions go on.
    pub(crate) fn drop_before(&self, position: i64) -> Result<(), StoreError> {
        let _writing = self.writing.lock();
        while let Some((first, last)) = self.span() {
            let next = first + self.place.file_size;
            // Nor one that bytes still have to be written to.
            let position = position.min(self.written.load(Ordering::Relaxed));
            if first >= last || next > position {
                break;
            }
            self.remove_file(first)?;
            let mut tail = self.tail.lock();
            tail.span = Some((next, last));
            tail.unflushed.starts.retain(|start| *start != first);
            tail.unflushed.names = true;
        }
        Ok(())
    }

    /// Removes the files and the directory.
    pub(crate) fn remove_files(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock();
        let dir = self.dir();
        self.remove_all_in(&dir)?;
        *self.tail.lock() = Tail::default();
        self.end_at(0);
        let topic_dir = files::parent(&dir);
        let removed = self.place.disk.remove_dir(&dir);
        match removed.and_then(|()| self.place.disk.sync_dir(topic_dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove the directory", dir, error))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of the files.
    pub(crate) fn file_bytes(&self) -> i64 {
        match self.span() {
            Some((first, last)) => last + self.place.file_size - first,
            None => 0,
        }
    }

    fn dir(&self) -> PathBuf {
        self.place.queue_dir(&self.topic, self.id)
    }

    fn path(&self, start: i64) -> PathBuf {
        self.dir().join(files::file_name(start))
    }

    fn open_file(&self, start: i64) -> Result<Option<Arc<dyn File>>, StoreError> {
        self.place
            .open
            .get((self.number, start), || self.path(start))
    }

    /// Removes the files; returns how many there were.
    fn remove_all_in(&self, dir: &Path) -> Result<usize, StoreError> {
        let found = files::list(&*self.place.disk, dir)?;
        for file in &found {
            self.remove_file(file.start)?;
        }
        Ok(found.len())
    }

    fn remove_file(&self, start: i64) -> Result<(), StoreError> {
        self.place.open.forget((self.number, start));
        files::remove(&*self.place.disk, &self.path(start))
    }
}

/// At the start, when nobody else uses the sequence.
impl Sequence {
    /// Finds the files, and takes them for filled. After a kill those behind a missing file are
    /// removed, unless `is_needed` of their first one.
    pub(crate) fn load(
        &self,
        was_killed: bool,
        is_needed: impl Fn(i64) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let size = self.place.file_size;
        let mut starts = files::load(
            &*self.place.disk,
            &self.dir(),
            size,
            was_killed,
            self.place.key,
        )?;
        self.end_at(starts.last().map_or(0, |last| last + size));
        let last_run = |starts: &[i64]| {
            let files = starts
                .windows(2)
                .rposition(|pair| matches!(pair, [one, next] if *next != one + size));
            files.map_or(0, |gap| gap + 1)
        };
        // A power failure can take a new file and leave the one behind it.
        while let (true, run @ 1..) = (was_killed, last_run(&starts)) {
            if is_needed(starts.get(run).copied().unwrap_or_default())? {
                break;
            }
            for start in starts.split_off(run) {
                self.remove_file(start)?;
            }
        }
        let run = last_run(&starts);
        if run > 0 {
            tracing::warn!(dir = %self.dir().display(), "a file of the queue is missing, those before it are ignored");
        }
        let (Some(first), Some(last)) = (starts.get(run).copied(), starts.last().copied()) else {
            return Ok(());
        };
        let mut tail = self.tail.lock();
        tail.span = Some((first, last));
        // Whoever made them may have been killed before the directory was flushed.
        tail.unflushed.names = was_killed;
        drop(tail);
        self.end_at(last + size);
        Ok(())
    }

    /// Takes the files as they are known to be.
    pub(crate) fn restore(&self, span: Option<(i64, i64)>) {
        self.tail.lock().span = span;
    }

    /// Ends the sequence at a position, with nothing waiting. What stands behind it stays in the
    /// files until [`Sequence::clear_behind_end`].
    pub(crate) fn end_at(&self, position: i64) {
        self.tail.lock().pending.clear();
        self.written.store(position, Ordering::Release);
        self.end.store(position, Ordering::Release);
    }

    /// Removes from the files what stands behind the end. Everything up to the end has been
    /// written.
    pub(crate) fn clear_behind_end(&self) -> Result<(), StoreError> {
        let Some((first, last)) = self.span() else {
            return Ok(());
        };
        let (end, size) = (self.end(), self.place.file_size);
        let mut start = last;
        // The first file stays, it says where the sequence goes on.
        while start > first && start >= end {
            self.remove_file(start)?;
            start -= size;
            let mut tail = self.tail.lock();
            tail.span = Some((first, start));
            tail.unflushed.names = true;
        }
        let Some(file) = self.open_file(start)? else {
            return Ok(());
        };
        let at = (end - start).clamp(0, size) as u64;
        let failed = |error| StoreError::io("clear", self.path(start), error);
        if at == size as u64 || !files::has_data(&*file, at).map_err(failed)? {
            return Ok(());
        }
        file.set_len(at)
            .and_then(|()| file.set_len(size as u64))
            .map_err(failed)?;
        let mut tail = self.tail.lock();
        tail.unflushed.add(start);
        Ok(())
    }
}
