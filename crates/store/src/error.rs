//! What can go wrong on the disk, in words for the one who runs the broker.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::message::record::RecordError;

/// Why the store did not do what it was asked to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The system refused an operation on a file or directory.
    #[error("cannot {action} {}: {error}; {}", path.display(), advice(error))]
    Io {
        /// What was tried, as a verb: "read", "create".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        error: Arc<io::Error>,
    },
    /// Another process has the data directory.
    #[error(
        "the data directory {} is in use by another process, which holds its file `lock`: stop that broker or set another storePathRootDir",
        root.display()
    )]
    InUse {
        /// The data directory.
        root: PathBuf,
    },
    /// There is no store in a directory.
    #[error(
        "{} is no store directory: give the one that storePathRootDir names, with `commitlog` in it{}",
        root.display(),
        if *inside { ", here its directory `store`" } else { "" }
    )]
    NotAStore {
        /// The directory.
        root: PathBuf,
        /// Whether there is one in its directory `store`.
        inside: bool,
    },
    /// A file of the log or of a queue has a length its settings do not allow.
    #[error(
        "{} is {len} bytes long, but {key} is {expected}: set {key} to the value the directory was written with",
        path.display()
    )]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The length configured, in bytes.
        expected: u64,
        /// The key that configures it.
        key: &'static str,
    },
    /// A setting that the store cannot work with.
    #[error("{key} cannot be `{value}`: {reason}")]
    Setting {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong and what to do.
        reason: &'static str,
    },
    /// The message's body or the whole record is larger than allowed.
    #[error(
        "the message has {size} bytes, more than the {max} allowed: send less or raise maxMessageSize"
    )]
    MessageTooLarge {
        /// Bytes of the body, or of the record where that is the limit.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The message cannot become a record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The topic was deleted; the queue takes nothing any more.
    #[error("queue {queue_id} of {topic} was deleted: send again to make it anew")]
    QueueDeleted {
        /// The topic.
        topic: Arc<str>,
        /// The queue.
        queue_id: i32,
    },
    /// A queue id or topic that cannot be the name of a directory.
    #[error(
        "{topic:?} with queue {queue_id} cannot be stored: a topic is a directory name and a queue id is not negative"
    )]
    QueueName {
        /// The topic.
        topic: String,
        /// The queue.
        queue_id: i32,
    },
    /// There are as many light queues as may be.
    #[error(
        "{name} would be one light queue more than the {max} of maxLmqConsumeQueueNum: raise it, or delete light queues"
    )]
    LightQueues {
        /// The light queue that is not there.
        name: String,
        /// The limit.
        max: usize,
    },
    /// The disk is fuller than `diskSpaceWarningLevelRatio`.
    #[error(
        "the disk is {used} % full, over diskSpaceWarningLevelRatio: free some space, writing goes on by itself"
    )]
    DiskFull {
        /// Space in use, in percent.
        used: u32,
    },
    /// The disk has kept an append waiting for so long that others are not let in.
    #[error(
        "[PCBUSY_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: {millis}ms, size of queue: 0"
    )]
    Busy {
        /// How long, in milliseconds.
        millis: i64,
    },
    /// A flush failed, so it is unknown what of the log is on the disk.
    #[error(
        "an earlier flush of the log failed, so nothing more can be promised: check the disk, then restart the broker"
    )]
    FlushFailed,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// An error of the system with what was tried on what.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, error: io::Error) -> StoreError {
        StoreError::Io {
            action,
            path: path.as_ref().to_path_buf(),
            error: Arc::new(error),
        }
    }

    /// Whether there is no room on the disk, which passes when some is made.
    pub fn is_disk_full(&self) -> bool {
        match self {
            StoreError::DiskFull { .. } => true,
            StoreError::Io { error, .. } => is_full(error),
            _ => false,
        }
    }

    /// Whether the message itself is at fault, so that sending it again cannot help.
    pub fn is_illegal_message(&self) -> bool {
        matches!(
            self,
            StoreError::MessageTooLarge { .. } | StoreError::Record(_)
        )
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, writing goes on by itself"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "give the user of this process access to it"
        }
        io::ErrorKind::NotFound => "see whether somebody removed it",
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "a file stands in its way: move it away or name another directory"
        }
        _ => "check the disk",
    }
}
