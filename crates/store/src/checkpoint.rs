//! `checkpoint`: up to when the log, the queues and the index are known to be on the disk.
//!
//! A file of 4096 bytes; integers are big-endian and signed (`StoreCheckpoint`):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | log: store timestamp of the last record flushed, milliseconds since 1970 |
//! | 8 | 8 | queues: store timestamp of the last record whose queue entry is flushed |
//! | 16 | 8 | index: store timestamp of the last record whose index entries are flushed |
//! | 24 | 8 | master's flushed offset, for replication |
//! | 32 | 8 | confirmed physical offset |
//! | 40 | 8 | position of the last record whose queue entry is flushed; 0: the times alone count. Kept as it is |
//! | 48 | 8 | only here: position in the log before which everything is on the disk, queues included |
//! | 56 | 8 | only here: store timestamp of the last record before the position |
//! | 64 | 8 | only here: CRC-32, without its first bit, of the first two fields and the two before this one |
//! | 72 | 4024 | zero |
//!
//! The position at 48 is good only if its CRC is: the reference neither reads nor writes it, but
//! changes the times with the first message it stores, and a write may have been torn.
//!
//! After a kill, recovery starts at that position, if it is good. If not, as the reference always
//! does, in the newest log file whose first record was stored 3 seconds or more before both the
//! log's and the queues' time. So the queues' time may only be written once their entries are
//! flushed.

use std::path::PathBuf;
use std::sync::Arc;

use wire::message::record::crc32;

use crate::disk::{Disk, OpenMode};
use crate::error::StoreError;
use crate::files;

/// Bytes of the file.
const SIZE: usize = 4096;
/// Bytes of all fields.
const FIELDS: usize = 72;
/// Recovery trusts nothing younger than this before the checkpoint, in milliseconds.
const SLACK: i64 = 3000;

/// What the file `checkpoint` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Store timestamp of the last flushed record of the log, milliseconds since 1970.
    pub log_timestamp: i64,
    /// Store timestamp of the last record whose queue entry is flushed.
    pub queues_timestamp: i64,
    /// Store timestamp of the last record whose index entries are flushed.
    pub index_timestamp: i64,
    /// What the master had flushed, for replication.
    pub master_flushed_offset: i64,
    /// The physical offset that counts as confirmed by the replicas.
    pub confirmed_offset: i64,
    /// Position of the last record whose queue entry the reference has flushed.
    pub queues_offset: i64,
    /// Position in the log before which everything is on the disk; `None` if that is not known.
    pub position: Option<i64>,
    /// Store timestamp of the last record before the position: what follows damaged bytes right
    /// behind it must not be older.
    pub position_timestamp: i64,
}

impl Checkpoint {
    /// The store timestamp up to which queue entries are surely on the disk
    /// (`StoreCheckpoint.getMinTimestamp`).
    pub fn recovery_timestamp(&self) -> i64 {
        (self.log_timestamp.min(self.queues_timestamp) - SLACK).max(0)
    }

    /// What says that a position belongs to the times.
    fn check(&self, position: i64) -> i64 {
        let of = [
            self.log_timestamp,
            self.queues_timestamp,
            position,
            self.position_timestamp,
        ];
        let of: Vec<u8> = of.into_iter().flat_map(i64::to_be_bytes).collect();
        i64::from(crc32(&of))
    }

    /// Reads the fields; those that the bytes do not reach are 0.
    pub fn decode(bytes: &[u8]) -> Checkpoint {
        let mut fields = bytes.chunks_exact(8).map(|field| {
            field
                .iter()
                .fold(0_i64, |value, byte| value << 8 | i64::from(*byte))
        });
        let mut next = || fields.next().unwrap_or(0);
        let mut checkpoint = Checkpoint {
            log_timestamp: next(),
            queues_timestamp: next(),
            index_timestamp: next(),
            master_flushed_offset: next(),
            confirmed_offset: next(),
            queues_offset: next(),
            position: None,
            position_timestamp: 0,
        };
        let position = next();
        checkpoint.position_timestamp = next();
        let is_good = next() == checkpoint.check(position);
        checkpoint.position = (is_good && position > 0).then_some(position);
        checkpoint
    }

    /// The bytes that carry the fields; the rest of the file is zero.
    pub fn encode(&self) -> [u8; FIELDS] {
        let fields = [
            self.log_timestamp,
            self.queues_timestamp,
            self.index_timestamp,
            self.master_flushed_offset,
            self.confirmed_offset,
            self.queues_offset,
            self.position.unwrap_or(0),
            self.position_timestamp,
            self.check(self.position.unwrap_or(0)),
        ];
        let mut bytes = [0; FIELDS];
        for (field, value) in bytes.chunks_exact_mut(8).zip(fields) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }
}

/// The file.
pub(crate) struct CheckpointFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl CheckpointFile {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> CheckpointFile {
        CheckpointFile { disk, path }
    }

    /// What the file says; all 0 where it is missing, which lets recovery look at everything.
    pub(crate) fn load(&self) -> Result<Checkpoint, StoreError> {
        let Some(file) = files::open(&*self.disk, &self.path, OpenMode::Read)? else {
            return Ok(Checkpoint::default());
        };
        let mut bytes = [0; FIELDS];
        let count = file
            .read_at(&mut bytes, 0)
            .map_err(|error| StoreError::io("read", &self.path, error))?;
        Ok(Checkpoint::decode(bytes.get(..count).unwrap_or_default()))
    }

    /// Writes and flushes it.
    pub(crate) fn save(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let file = files::create(&*self.disk, &self.path, SIZE as u64)?;
        file.write_at(&checkpoint.encode(), 0)
            .and_then(|()| file.sync_data())
            .map_err(|error| StoreError::io("write", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use std::path::Path;

    #[test]
    fn the_file_is_a_page_of_fields() {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/s")).unwrap();
        let file = CheckpointFile::new(Arc::new(disk.clone()), PathBuf::from("/s/checkpoint"));
        assert_eq!(file.load().unwrap(), Checkpoint::default());
        let checkpoint = Checkpoint {
            log_timestamp: 1_795_260_017_414,
            queues_timestamp: 2,
            index_timestamp: 3,
            master_flushed_offset: 4,
            confirmed_offset: -1,
            queues_offset: 5,
            position: Some(6),
            position_timestamp: 7,
        };
        file.save(&checkpoint).unwrap();
        assert_eq!(file.load().unwrap(), checkpoint);
        let bytes = disk.content(Path::new("/s/checkpoint")).unwrap();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(bytes[8..16], [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(bytes[32..40], [255; 8]);
    }

    #[test]
    fn the_position_is_not_trusted_once_another_broker_has_stored_messages() {
        let checkpoint = Checkpoint {
            log_timestamp: 7,
            queues_timestamp: 6,
            position: Some(1000),
            ..Checkpoint::default()
        };
        let mut bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), checkpoint);
        bytes[7] += 1;
        assert_eq!(Checkpoint::decode(&bytes).position, None);
    }

    #[test]
    fn a_position_of_which_only_a_part_was_written_is_not_trusted() {
        let [old, new] = [0x2111, 0x2373].map(|position| Checkpoint {
            log_timestamp: 7,
            queues_timestamp: 7,
            position: Some(position),
            position_timestamp: position,
            ..Checkpoint::default()
        });
        for torn in 0..=FIELDS {
            let mut bytes = old.encode();
            bytes[..torn].copy_from_slice(&new.encode()[..torn]);
            let read = Checkpoint::decode(&bytes).position;
            assert!(
                [old.position, new.position, None].contains(&read),
                "{torn}: {read:?}"
            );
        }
    }

    #[test]
    fn recovery_goes_back_three_seconds_before_the_older_time() {
        let mut checkpoint = Checkpoint {
            log_timestamp: 10_000,
            queues_timestamp: 9_000,
            ..Checkpoint::default()
        };
        assert_eq!(checkpoint.recovery_timestamp(), 6_000);
        checkpoint.queues_timestamp = 0;
        assert_eq!(checkpoint.recovery_timestamp(), 0);
    }
}
