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
//! | 56 | 4040 | zero |

use bytes::{Buf, BufMut};

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
