//! One broker's disk: the commit log, the consume queues and what they need to survive.
//!
//! The store keeps messages in the files of Apache RocketMQ 5.5.0 ("the reference"), byte for
//! byte, so that either can go on where the other stopped. It knows files; it does not know
//! requests, connections or consumer groups, and it has no runtime: all calls are plain
//! functions, and [`Store::flushed`] is a future that any runtime can poll.
//!
//! The log is the truth. [`Store::append`] puts a batch of messages into it with one lock and
//! one write and enters them into their queues before it returns, so that a message is readable
//! as soon as its sender knows. Queues can always be rebuilt from the log; recovery does that
//! for what was not flushed. Each format is described at the head of the module that owns it:
//!
//! - [`wire::message::record`]: a message in the log
//! - `commit_log`: the log's files; `files`: what all such files have in common
//! - `consume_queue`: where the messages of a queue are, simple or in batches; `sequence`: how
//!   they get into their files
//! - `index`: where the messages with a key are
//! - `checkpoint`: up to when things are flushed; `recovery`: what happens at the start
//! - `compaction`: the last message of each key, for topics that keep only that
//! - `queue_snapshot`: what a clean stop knew of the queues
//! - `lock` and `abort`, in `store`: who has the directory, and whether it was closed
//! - `timer_wheel`, `timer_log`, `timer_checkpoint`: messages with a time of their own;
//!   [`TimerFiles`] keeps them together
//! - [`ConfigFile`]: the broker's configuration files, replaced as a whole
//!
//! Threads: whoever calls does the work. Three threads of the store flush the log (`flush`), which
//! also keeps the system's memory for it small (`write_behind`), enter what was appended into the
//! index, and write queue entries, make checkpoints and remove old files (`retention`). Locks are
//! taken in the order: log's end, a queue's files, a queue's end, anything else; the index before
//! what it reads of the log.
//!
//! Time and disk can be replaced: [`Clock`], [`Disk`], and [`MemoryDisk`] for tests.

mod append;
mod checkpoint;
mod clock;
mod commit_log;
mod compaction;
mod config_file;
mod consume_queue;
mod disk;
mod dispatch;
mod error;
mod files;
mod flush;
mod get_messages;
mod index;
mod log_scan;
mod lookup;
mod offline;
mod queue_snapshot;
mod queue_table;
mod recovery;
mod retention;
mod sequence;
mod settings;
mod store;
mod tail_cache;
mod time_zone;
mod timer_checkpoint;
mod timer_files;
mod timer_log;
mod timer_wait;
mod timer_wheel;
mod write_behind;

pub use append::{Append, Appended, Arrival, ArrivalListener, FilterBits, TagsCode};
pub use checkpoint::Checkpoint;
pub use clock::{Clock, SystemClock};
pub use config_file::ConfigFile;
pub use consume_queue::{
    BATCH_ENTRY_SIZE, ENTRY_SIZE, ExtUnit, Queue, QueueEntry, QueueKind, QueueUnit,
};
pub use disk::{DirEntry, Disk, Fault, File, Lock, MemoryDisk, OpenMode, Operation, OsDisk, Space};
pub use error::StoreError;
pub use flush::Flushed;
pub use get_messages::{AllMessages, GetMessages, GetStatus, MessageFilter};
pub use index::{Entry as IndexEntry, Header as IndexHeader, Key, Query, QueryResult};
pub use log_scan::{LogFault, LogItem, LogScan};
pub use lookup::Boundary;
pub use offline::{
    Finding, IndexEntries, OfflineIndexFile, OfflineQueue, OfflineStore, Place, Repaired, Report,
    Severity, TimerChain, Verified, layout, repair,
};
pub use settings::{FlushDiskType, StoreConfig};
pub use store::{Store, StoreOptions};
pub use timer_checkpoint::{TIMER_CHECKPOINT_SIZE, TimerCheckpoint};
pub use timer_files::{DueEntry, TimerFiles, Waiting};
pub use timer_log::{TIMER_ENTRY_SIZE, TimerEntry};
pub use timer_wait::TimerWait;
pub use timer_wheel::{TIMER_SLOT_SIZE, TimerSlot};
