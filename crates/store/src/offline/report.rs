//! What verifying finds.

use std::path::PathBuf;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something is wrong.
    Damage,
    /// Something is as it may be after a kill, a repair or the deletion of a topic.
    Note,
}

/// What a finding is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file or directory, from the data directory.
    pub file: PathBuf,
    /// The byte in the file.
    pub at: Option<u64>,
    /// Topic and number of the queue.
    pub queue: Option<(String, i32)>,
    /// Number of the message in the queue; the first of several.
    pub offset: Option<i64>,
}

/// Something that verifying found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub place: Place,
    /// What is wrong, in one sentence.
    pub what: String,
}

/// Who is told of findings as they are made.
pub trait Report {
    /// Something was found.
    fn found(&mut self, finding: Finding);
    /// So many bytes of the log of so many have been read.
    fn progress(&mut self, done: u64, total: u64);
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Whole records in the log.
    pub records: u64,
    /// Queues.
    pub queues: u64,
    /// Queue entries that fit their records.
    pub queue_entries: u64,
    /// Entries of the index.
    pub index_entries: u64,
    /// Entries of the timer log.
    pub timer_entries: u64,
    /// Configuration files.
    pub config_files: u64,
    /// Findings of damage.
    pub damage: u64,
    /// Findings of no harm.
    pub notes: u64,
}
