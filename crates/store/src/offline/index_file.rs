//! A file of the index, for reading.

use std::path::PathBuf;
use std::sync::Arc;

use super::OfflineStore;
use crate::disk::{File, OpenMode};
use crate::error::StoreError;
use crate::files;
use crate::index::{ENTRY_SIZE, Entry, Header, Layout, file_name};

/// Bytes of entries read at a time.
const AHEAD: usize = ENTRY_SIZE << 12;

/// A file of the index.
pub struct OfflineIndexFile {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    pub(super) layout: Layout,
    len: u64,
    header: Option<Header>,
}

impl OfflineIndexFile {
    /// The file of a name; `None` where it is gone.
    pub(super) fn open(store: &OfflineStore, name: i64) -> Result<Option<Self>, StoreError> {
        let path = store.index_dir().join(file_name(name));
        let Some(file) = files::open(&*store.disk, &path, OpenMode::Read)? else {
            return Ok(None);
        };
        let layout = store.settings.index_layout();
        let failed = |error| StoreError::io("read", &path, error);
        let len = file.len().map_err(failed)?;
        let header = Header::read(&*file).map_err(failed)?;
        Ok(Some(OfflineIndexFile {
            header: header.filter(|header| len == layout.len() && header.fits(&layout)),
            path,
            file,
            layout,
            len,
        }))
    }

    /// Its name: the local time at which it was made, as `yyyyMMddHHmmssSSS`.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Its bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it begins with; `None` where the file has another length than the settings say, or its
    /// header cannot be so.
    pub fn header(&self) -> Option<Header> {
        self.header
    }

    /// The slot that entries with a hash are in; `None` of a negative one, which no key has.
    pub fn slot_of(&self, hash: i32) -> Option<usize> {
        (hash >= 0).then(|| self.layout.slot_of(hash))
    }

    /// Its entries in order, from number 1 on; none without a header.
    pub fn entries(&self) -> IndexEntries {
        IndexEntries {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
            layout: self.layout,
            end: self.header.map_or(1, |header| header.count),
            next: 1,
            bytes: Vec::new(),
            first: 1,
        }
    }
}

/// The entries of an index file with their numbers. Ends after a [`StoreError::Io`].
pub struct IndexEntries {
    path: PathBuf,
    file: Arc<dyn File>,
    layout: Layout,
    /// Behind the number of the last entry.
    end: i32,
    /// Number of the next entry.
    next: i32,
    bytes: Vec<u8>,
    /// Number of the entry that the bytes begin with.
    first: i32,
}

impl IndexEntries {
    fn read(&mut self) -> Result<Option<Entry>, StoreError> {
        let at = (self.next - self.first) as usize * ENTRY_SIZE;
        if let Some(bytes) = self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            return Ok(Some(Entry::decode(bytes)));
        }
        self.bytes.resize(AHEAD, 0);
        let read = self
            .file
            .read_at(&mut self.bytes, self.layout.entry_at(self.next))
            .map_err(|error| StoreError::io("read", &self.path, error))?;
        self.bytes.truncate(read);
        self.first = self.next;
        Ok(self.bytes.first_chunk().map(Entry::decode))
    }
}

impl Iterator for IndexEntries {
    type Item = Result<(i32, Entry), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let entry = self.read().transpose();
        let number = self.next;
        self.next = match entry {
            Some(Ok(_)) => number + 1,
            _ => self.end,
        };
        entry.map(|entry| entry.map(|entry| (number, entry)))
    }
}
