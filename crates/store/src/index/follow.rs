//! Entering what was appended to the log.

use bytes::Bytes;
use wire::message::record::{BLANK_HEAD_SIZE, LogEntry, RecordError, RecordRef};

use super::{Index, State, keys};
use crate::commit_log::CommitLog;
use crate::error::StoreError;
use crate::log_scan;
use crate::settings::StoreConfig;

/// Bytes read from a file of the log at a time.
const AHEAD: usize = 1 << 20;

impl Index {
    /// Bytes of the log that are entered under one lock.
    pub(super) const STEP: i64 = 1 << 20;

    /// Enters the next records of the log; `true` if there are more. What cannot be written is
    /// told once, and tried again by the next call.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub(crate) fn follow(
        &self,
        log: &CommitLog,
        settings: &StoreConfig,
    ) -> Result<bool, StoreError> {
        let mut state = self.state.lock();
        let followed = self.step(&mut state, log, settings);
        match (&followed, state.failing) {
            (Err(error), false) => {
                tracing::error!(%error, "the index by key cannot go on, messages are stored all the same; it is tried again");
            }
            (Ok(_), true) => tracing::info!("the index by key goes on"),
            _ => {}
        }
        state.failing = followed.is_err();
        followed
    }

    fn step(
        &self,
        state: &mut State,
        log: &CommitLog,
        settings: &StoreConfig,
    ) -> Result<bool, StoreError> {
        if !state.recovered {
            self.recover(state, log, settings)?;
            state.recovered = true;
        }
        if !self.enabled {
            return Ok(false);
        }
        // Of an attempt that failed.
        self.write_entries(state)?;
        if state.position < log.begin() {
            state.position = log.begin();
            state.entered = 0;
        }
        let end = log.end();
        let stop = end.min(state.position + Self::STEP);
        let mut reader = std::mem::take(&mut state.reader);
        reader.trusted_from = state.trusted_from;
        while state.position < stop {
            let at = state.position;
            let (record, next) = reader.next(log, settings, at, end)?;
            if let Some(record) = record {
                self.enter(state, &record, at)?;
            }
            state.position = next;
            state.entered = 0;
        }
        self.write_entries(state)?;
        let behind = state.position < end;
        if behind {
            state.reader = reader;
        }
        Ok(behind)
    }

    /// Enters the keys of a record, but for those that are entered already.
    fn enter(&self, state: &mut State, record: &RecordRef<'_>, at: i64) -> Result<(), StoreError> {
        let timestamp = record.store_timestamp();
        let mut skip = state.entered;
        keys::each_hash(record, |hash| {
            if skip > 0 {
                skip -= 1;
                return Ok(());
            }
            self.add(state, hash, at, timestamp)?;
            state.entered += 1;
            Ok(())
        })
    }

    pub(super) fn write_entries(&self, state: &mut State) -> Result<(), StoreError> {
        match (state.files.last(), &mut state.tail) {
            (Some(last), Some(tail)) => tail.write_entries(&last.header),
            _ => Ok(()),
        }
    }
}

/// Reads the log record by record, from memory or from its files.
pub(super) struct Reader {
    /// Records in front of this position count only if recovery takes them, too.
    trusted_from: i64,
    start: i64,
    bytes: Bytes,
    /// Store timestamp of the last record.
    timestamp: i64,
}

/// A reader that trusts no record.
impl Default for Reader {
    fn default() -> Self {
        Self {
            trusted_from: i64::MAX,
            start: 0,
            bytes: Bytes::new(),
            timestamp: 0,
        }
    }
}

impl Reader {
    /// The record at a position in front of `end`, if one is there, and where to go on.
    pub(super) fn next(
        &mut self,
        log: &CommitLog,
        settings: &StoreConfig,
        at: i64,
        end: i64,
    ) -> Result<(Option<RecordRef<'_>>, i64), StoreError> {
        let next_file = log.file_start(at) + log.file_size();
        let room = (next_file.min(end) - at) as usize;
        if self.rest(at).len() < BLANK_HEAD_SIZE.min(room) {
            self.fill(log, at, AHEAD.min(room))?;
        }
        // Of a blank its head is enough: it may be nearly as long as its file.
        if let Err(RecordError::Truncated { needed, .. }) = LogEntry::parse(self.rest(at)) {
            self.fill(log, at, needed.max(AHEAD).min(room))?;
        }
        let (size, timestamp) = match LogEntry::parse(self.rest(at)) {
            Ok(LogEntry::Record(record))
                if record.physical_offset() == at
                    && (at >= self.trusted_from
                        || log_scan::check(&record, at, settings).is_ok()) =>
            {
                (record.total_size(), record.store_timestamp())
            }
            Ok(LogEntry::Blank { size }) if i64::from(size) == next_file - at => {
                return Ok((None, next_file));
            }
            _ => {
                let next = log_scan::behind_damage(log, settings, at, self.timestamp)?;
                return Ok((None, next.unwrap_or(end)));
            }
        };
        self.timestamp = timestamp;
        Ok((RecordRef::parse(self.rest(at)).ok(), at + size as i64))
    }

    /// The bytes at hand from a position on.
    fn rest(&self, at: i64) -> &[u8] {
        let from = usize::try_from(at - self.start).ok();
        from.and_then(|from| self.bytes.get(from..))
            .unwrap_or_default()
    }

    fn fill(&mut self, log: &CommitLog, at: i64, len: usize) -> Result<(), StoreError> {
        let piece = log.cache().rest(at);
        self.bytes = match piece {
            Some(piece) => piece,
            None => log.read_file(at, len)?.unwrap_or_default().freeze(),
        };
        self.start = at;
        Ok(())
    }
}
