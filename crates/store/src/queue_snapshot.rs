//! `config/queues.snapshot`: what the last clean stop knew of each queue, so that a start does not
//! have to look at the files of 100,000 of them.
//!
//! Integers are big-endian and signed; a position of -1 stands for "none":
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | `KLXQUEUE` |
//! | 8 | 4 | CRC-32, without its first bit, of all behind |
//! | 12 | 8 × 3 | bytes of a file of simple queues, of batch queues and of extensions |
//! | 36 | 8 × 4 | when the data directory, `consumequeue`, `batchconsumequeue` and `consumequeue_ext` were last changed, milliseconds since 1970; -1 where there is none |
//! | 68 | 8 × 2 | positions of the first byte of the log and behind the last one |
//! | 84 | 1 | 1 if some queues are on another disk than the data directory |
//! | 85 | | the queues |
//!
//! A queue:
//!
//! | size | field |
//! |---|---|
//! | 1 | bytes of the topic's name |
//! | | the name |
//! | 4 | number in the topic |
//! | 1 | 0 simple, 1 batch |
//! | 8 × 4 | slots of the first entry and behind the last one; numbers of the first message and behind the last one |
//! | 8 × 2 | positions of the first and the last file |
//! | 8 × 3 | positions of the first and the last file of the extension, and behind its last unit |
//!
//! It counts for one start: each removes it before anything else. Another broker that had the
//! directory in between has made and removed `abort`, which changes the data directory's time.

use std::path::Path;
use std::sync::Arc;

use wire::message::record::crc32;

use crate::config_file::ConfigFile;
use crate::consume_queue::{QueueEnds, QueueFiles, QueueKind};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::files;
use crate::queue_table::QueueTable;

const MAGIC: &[u8; 8] = b"KLXQUEUE";

/// The snapshot of a data directory.
pub(crate) struct SnapshotFile {
    disk: Arc<dyn Disk>,
    file: ConfigFile,
}

/// What has to be as it was, in the order of the file.
pub(crate) type Surroundings = [i64; 9];

/// A queue as it was.
pub(crate) struct SavedQueue<'a> {
    pub(crate) topic: &'a str,
    pub(crate) id: i32,
    pub(crate) kind: QueueKind,
    pub(crate) ends: QueueEnds,
}

/// How a data directory looks. `log` is where its log begins and ends.
pub(crate) fn surroundings(
    disk: &dyn Disk,
    root: &Path,
    files: &QueueFiles,
    log: (i64, i64),
) -> Surroundings {
    let [simple, batch, ext] = [&files.simple, &files.batch, &files.ext];
    let changed = |dir| disk.modified_millis(dir).unwrap_or(-1);
    [
        simple.file_size,
        batch.file_size,
        ext.file_size,
        changed(root),
        changed(&simple.dir),
        changed(&batch.dir),
        changed(&ext.dir),
        log.0,
        log.1,
    ]
}

impl SnapshotFile {
    pub(crate) fn new(disk: Arc<dyn Disk>, config_dir: &Path) -> Self {
        let file = ConfigFile::new(Arc::clone(&disk), config_dir.join("queues.snapshot"));
        Self { disk, file }
    }

    /// Writes down all queues.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the next start looks at each of them then.
    pub(crate) fn save(
        &self,
        surroundings: &Surroundings,
        queues: &QueueTable,
    ) -> Result<(), StoreError> {
        let mut bytes: Vec<u8> = surroundings
            .iter()
            .flat_map(|at| at.to_be_bytes())
            .collect();
        bytes.push(u8::from(!queues.on_one_disk()));
        for queue in queues.all() {
            // A topic's name is a directory's, which has 255 bytes at most.
            let topic = queue.topic().as_bytes();
            bytes.push(topic.len() as u8);
            bytes.extend_from_slice(topic);
            bytes.extend_from_slice(&queue.id().to_be_bytes());
            bytes.push(u8::from(queue.kind() == QueueKind::Batch));
            bytes.extend(queue.ends().iter().flat_map(|at| at.to_be_bytes()));
        }
        let crc = crc32(&bytes).to_be_bytes();
        self.file.save(&[MAGIC, &crc[..], &bytes].concat())
    }

    /// Takes the queues as they were at a clean stop; `false` if that is not known, or does not
    /// count any more. The snapshot is gone then in any case.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be read or removed.
    pub(crate) fn restore(
        &self,
        surroundings: &Surroundings,
        queues: &QueueTable,
    ) -> Result<bool, StoreError> {
        let Some(bytes) = self.file.load()? else {
            return Ok(false);
        };
        let dir = files::parent(self.file.path());
        files::remove(&*self.disk, self.file.path())?;
        self.disk
            .sync_dir(dir)
            .map_err(|error| StoreError::io("flush the directory", dir, error))?;
        let Some((_, other_disks, saved)) =
            decode(&bytes).filter(|(found, ..)| found == surroundings)
        else {
            return Ok(false);
        };
        queues.restore(saved, other_disks)?;
        Ok(true)
    }
}

/// Reads a snapshot; `None` if it is damaged.
fn decode(bytes: &[u8]) -> Option<(Surroundings, bool, Vec<SavedQueue<'_>>)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (crc, rest) = rest.split_first_chunk()?;
    if u32::from_be_bytes(*crc) != crc32(rest) {
        return None;
    }
    let (surroundings, rest) = positions(rest)?;
    let (other_disks, mut rest) = rest.split_first()?;
    let mut queues = Vec::new();
    while let Some((len, more)) = rest.split_first() {
        let (topic, more) = more.split_at_checked(usize::from(*len))?;
        let (id, more) = more.split_first_chunk()?;
        let (kind, more) = more.split_first()?;
        let (ends, more) = positions(more)?;
        rest = more;
        queues.push(SavedQueue {
            topic: str::from_utf8(topic).ok()?,
            id: i32::from_be_bytes(*id),
            kind: match kind {
                0 => QueueKind::Simple,
                _ => QueueKind::Batch,
            },
            ends,
        });
    }
    Some((surroundings, *other_disks != 0, queues))
}

fn positions<const N: usize>(bytes: &[u8]) -> Option<([i64; N], &[u8])> {
    let (front, rest) = bytes.split_at_checked(N * 8)?;
    let (chunks, _) = front.as_chunks();
    let positions: Vec<i64> = chunks
        .iter()
        .map(|chunk| i64::from_be_bytes(*chunk))
        .collect();
    Some((positions.try_into().ok()?, rest))
}
