//! `config/timercheck`: how far the timer had come.
//!
//! A file of 4096 bytes; integers are big-endian and signed (`TimerCheckpoint`):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | read: moment up to which messages were delivered, milliseconds since 1970 |
//! | 8 | 8 | flushed: position up to which the timer log is on the disk |
//! | 16 | 8 | queue offset: number in the timer's queue up to which messages were taken over |
//! | 24 | 8 | master's queue offset, for replication |
//! | 32 | 8 | state version |
//! | 40 | 8 | time of the last change, milliseconds since 1970 |
//! | 48 | 8 | number of changes |
//! | 56 | 8 | Kerolox's own: position in the commit log; what was delivered in front of it, the fields above know |
//! | 64 | 8 | CRC-32 of the 64 bytes before; wrong once the reference has written |
//! | 72 | 1976 | zero |
//! | 2048 | 72 | Kerolox's own: the same 72 bytes, written before those in front |
//! | 2120 | 1976 | zero |

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use wire::message::record::crc32;

use crate::disk::{Disk, OpenMode};
use crate::error::StoreError;
use crate::files;

/// Bytes of the file.
const SIZE: u64 = 4096;
/// Where the second copy is.
const COPY: u64 = 2048;

/// Bytes that carry the fields.
pub const TIMER_CHECKPOINT_SIZE: usize = 56;

/// What the file `config/timercheck` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimerCheckpoint {
    /// The moment up to which messages were delivered, milliseconds since 1970.
    pub read_timestamp: i64,
    /// Position up to which the timer log is on the disk.
    pub flushed: i64,
    /// Number in the timer's queue up to which messages were taken over.
    pub queue_offset: i64,
    /// The same of the master, for replication.
    pub master_queue_offset: i64,
    /// State version of the last change.
    pub state_version: i64,
    /// Time of the last change, milliseconds since 1970.
    pub changed_timestamp: i64,
    /// Number of changes.
    pub changes: i64,
}

impl TimerCheckpoint {
    /// Reads the fields.
    pub fn decode(bytes: &[u8; TIMER_CHECKPOINT_SIZE]) -> TimerCheckpoint {
        let mut rest = bytes.as_slice();
        TimerCheckpoint {
            read_timestamp: rest.get_i64(),
            flushed: rest.get_i64(),
            queue_offset: rest.get_i64(),
            master_queue_offset: rest.get_i64(),
            state_version: rest.get_i64(),
            changed_timestamp: rest.get_i64(),
            changes: rest.get_i64(),
        }
    }

    /// The bytes that carry the fields; the rest of the file is zero.
    pub fn encode(&self) -> [u8; TIMER_CHECKPOINT_SIZE] {
        let mut bytes = [0; TIMER_CHECKPOINT_SIZE];
        let mut rest = bytes.as_mut_slice();
        rest.put_i64(self.read_timestamp);
        rest.put_i64(self.flushed);
        rest.put_i64(self.queue_offset);
        rest.put_i64(self.master_queue_offset);
        rest.put_i64(self.state_version);
        rest.put_i64(self.changed_timestamp);
        rest.put_i64(self.changes);
        bytes
    }
}

/// The file.
pub(crate) struct TimerCheckpointFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl TimerCheckpointFile {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> TimerCheckpointFile {
        TimerCheckpointFile { disk, path }
    }

    /// What the file says, and the position in the commit log behind which there may be deliveries
    /// that it does not know of, if Kerolox wrote it last. `None` where the file is missing or too
    /// short.
    pub(crate) fn load(&self) -> Result<Option<(TimerCheckpoint, Option<i64>)>, StoreError> {
        let Some(file) = files::open(&*self.disk, &self.path, OpenMode::Read)? else {
            return Ok(None);
        };
        let read = |at| -> Result<Option<Fields>, StoreError> {
            let mut bytes: Fields = [0; _];
            let count = file
                .read_at(&mut bytes, at)
                .map_err(|error| StoreError::io("read", &self.path, error))?;
            Ok((count >= TIMER_CHECKPOINT_SIZE).then_some(bytes))
        };
        let Some(front) = read(0)? else {
            return Ok(None);
        };
        let (checkpoint, position) = decode(&front);
        if position.is_none()
            && let Some(copy) = read(COPY)?
            && let (copied, Some(position)) = decode(&copy)
            // The reference counts on; what has not been counted was cut off in the middle.
            && checkpoint.changes <= copied.changes
        {
            return Ok(Some((copied, Some(position))));
        }
        Ok(Some((checkpoint, position)))
    }

    /// Writes and flushes it, with the position of [`TimerCheckpointFile::load`].
    pub(crate) fn save(
        &self,
        checkpoint: &TimerCheckpoint,
        position: i64,
    ) -> Result<(), StoreError> {
        let file = files::create_named(&*self.disk, &self.path, SIZE)?;
        let bytes = encode(checkpoint, position);
        file.write_at(&bytes, COPY)
            .and_then(|()| file.write_at(&bytes, 0))
            .and_then(|()| file.sync_data())
            .map_err(|error| StoreError::io("write", &self.path, error))
    }
}

/// The fields and what is Kerolox's own.
type Fields = [u8; TIMER_CHECKPOINT_SIZE + 16];

fn encode(checkpoint: &TimerCheckpoint, position: i64) -> Vec<u8> {
    let mut bytes = checkpoint.encode().to_vec();
    bytes.put_i64(position);
    bytes.put_i64(i64::from(crc32(&bytes)));
    bytes
}

/// The fields, and the position if the CRC is right.
fn decode(bytes: &Fields) -> (TimerCheckpoint, Option<i64>) {
    let mut rest = bytes.as_slice();
    let fields = rest.first_chunk().map(TimerCheckpoint::decode);
    rest.advance(TIMER_CHECKPOINT_SIZE);
    let (position, said) = (rest.get_i64(), rest.get_i64());
    let (covered, _) = bytes.split_at(TIMER_CHECKPOINT_SIZE + 8);
    let is_own = said == i64::from(crc32(covered));
    (fields.unwrap_or_default(), is_own.then_some(position))
}
