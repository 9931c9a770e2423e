//! Reading the records of the log one by one until it ends.
//!
//! A record is taken if its lengths agree, its body has its CRC (or the whole of it, if it carries
//! one) and it says itself that it is where it is. The log ends where no record follows. Where
//! records do follow behind damaged bytes, those are left out and the rest is kept.

use wire::message::record::{
    BLANK_MAGIC, LogEntry, PHYSICAL_OFFSET_POSITION, RecordError, RecordRef, RecordVersion,
};

use crate::commit_log::CommitLog;
use crate::disk::File;
use crate::error::StoreError;
use crate::settings::StoreConfig;

/// Why no record counts as being at a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// The bytes are no record, or its parts or a CRC do not agree.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record says that it is somewhere else.
    #[error("the record says that it is at position {0}")]
    Elsewhere(i64),
    /// The properties end in zeros, as a power failure leaves them.
    #[error("the record's end is missing, it is zero")]
    NoEnd,
    /// A blank that does not end with its file.
    #[error("the blank says that {0} bytes are left of the file, which is not so")]
    Blank(u32),
    /// A record that goes beyond its file's end.
    #[error("the record says that it has {0} bytes, more than are left of the file")]
    TooLong(i32),
    /// The bytes are not there: the file is missing or too short.
    #[error("the file is missing or ends before")]
    Missing,
}

/// What a scan comes to.
pub enum LogItem<'a> {
    /// A record and its position.
    Record(RecordRef<'a>, i64),
    /// What is left out, because what is there is at fault.
    Damage {
        /// Position of the first byte left out.
        from: i64,
        /// Position at which the log goes on.
        to: i64,
        /// What is wrong with what stands at `from`.
        fault: LogFault,
    },
}

/// Checks that a record is what was stored, and where it was stored.
pub(crate) fn check(
    record: &RecordRef<'_>,
    at: i64,
    settings: &StoreConfig,
) -> Result<(), LogFault> {
    if record.physical_offset() != at {
        return Err(LogFault::Elsewhere(record.physical_offset()));
    }
    if !settings.check_crc_on_recover {
        return Ok(());
    }
    if settings.force_verify_prop_crc || record.record_crc().is_some() {
        return Ok(record.check_record_crc()?);
    }
    record.check_body_crc()?;
    // No CRC covers the properties. Where a power failure lost the record's end it is zero,
    // which no property ends in.
    match record.properties_bytes().last() {
        Some(0) => Err(LogFault::NoEnd),
        _ => Ok(()),
    }
}

/// Where the log goes on behind damaged bytes at a position, if the record in front of them was
/// stored at a time; `None` if it does not.
pub(crate) fn behind_damage(
    log: &CommitLog,
    settings: &StoreConfig,
    at: i64,
    timestamp: i64,
) -> Result<Option<i64>, StoreError> {
    LogScan::new(log, settings, at)
        .behind_record_of(timestamp)
        .resume(at)
}

/// Reads the records of the log one by one until it ends.
pub struct LogScan<'a> {
    log: &'a CommitLog,
    settings: &'a StoreConfig,
    window: Window,
    /// Position behind the last record taken.
    end: i64,
    /// Store timestamp of that record; 0 before the first.
    timestamp: i64,
}

/// What stands at a position.
enum At {
    Record(usize),
    /// The rest of the file is blank.
    Blank,
    /// Neither.
    Nothing(LogFault),
}

/// A step of a scan.
enum Step {
    Record { at: i64, size: usize },
    Damage { from: i64, fault: LogFault },
    End,
}

impl<'a> LogScan<'a> {
    /// Begins at a position where a record begins.
    pub(crate) fn new(log: &'a CommitLog, settings: &'a StoreConfig, from: i64) -> LogScan<'a> {
        LogScan {
            log,
            settings,
            window: Window::default(),
            end: from,
            timestamp: 0,
        }
    }

    /// Has the record in front of where it begins be of this time.
    pub(crate) fn behind_record_of(mut self, timestamp: i64) -> LogScan<'a> {
        self.timestamp = timestamp;
        self
    }

    /// Position behind the last record; the end of the log once there is no next item.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Store timestamp of the last record; 0 before the first.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The next record, or what is left out before it; `None` at the end of the log.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    // The items borrow from the scan, as those of an iterator cannot.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<LogItem<'_>>, StoreError> {
        let (at, size) = match self.step()? {
            Step::Record { at, size } => (at, size),
            Step::Damage { from, fault } => {
                return Ok(Some(LogItem::Damage {
                    from,
                    to: self.end,
                    fault,
                }));
            }
            Step::End => return Ok(None),
        };
        let record = self
            .window
            .get(at, size)
            .and_then(|bytes| RecordRef::parse(bytes).ok());
        Ok(record.map(|record| {
            self.end = at + size as i64;
            self.timestamp = record.store_timestamp();
            LogItem::Record(record, at)
        }))
    }

    fn step(&mut self) -> Result<Step, StoreError> {
        loop {
            let at = self.end;
            match self.look(at)? {
                At::Record(size) => return Ok(Step::Record { at, size }),
                At::Blank => self.end = self.next_file(at),
                At::Nothing(fault) => {
                    return Ok(match self.resume(at)? {
                        Some(position) => {
                            self.end = position;
                            Step::Damage { from: at, fault }
                        }
                        None => Step::End,
                    });
                }
            }
        }
    }

    fn next_file(&self, at: i64) -> i64 {
        self.log.file_start(at) + self.log.file_size()
    }

    /// What is wrong with what stands at a position; `None` if nothing is.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn fault_at(&mut self, at: i64) -> Result<Option<LogFault>, StoreError> {
        Ok(match self.look(at)? {
            At::Nothing(fault) => Some(fault),
            At::Record(_) | At::Blank => None,
        })
    }

    /// Looks at what stands at a position; of a record, all bytes are in the window then.
    fn look(&mut self, at: i64) -> Result<At, StoreError> {
        const HEAD: usize = PHYSICAL_OFFSET_POSITION + 8;
        let rest = (self.next_file(at) - at) as usize;
        if !self.window.load(self.log, at, HEAD.min(rest))? {
            return Ok(At::Nothing(LogFault::Missing));
        }
        let head = self.window.get(at, HEAD.min(rest)).unwrap_or_default();
        let size = match LogEntry::parse(head) {
            Ok(LogEntry::Blank { size }) if size as usize == rest => return Ok(At::Blank),
            Ok(LogEntry::Blank { size }) => return Ok(At::Nothing(LogFault::Blank(size))),
            Err(RecordError::Truncated { needed, .. }) => needed,
            Ok(LogEntry::Record(record)) => record.total_size(),
            Err(fault) => return Ok(At::Nothing(fault.into())),
        };
        // Before so many bytes are read, the record has to say that it is here.
        let position = head
            .get(PHYSICAL_OFFSET_POSITION..)
            .and_then(<[u8]>::first_chunk)
            .map(|bytes| i64::from_be_bytes(*bytes));
        match position {
            Some(position) if position != at => {
                return Ok(At::Nothing(LogFault::Elsewhere(position)));
            }
            Some(_) if size <= rest => {}
            _ => return Ok(At::Nothing(LogFault::TooLong(size as i32))),
        }
        if !self.window.load(self.log, at, size)? {
            return Ok(At::Nothing(LogFault::Missing));
        }
        let bytes = self.window.get(at, size).unwrap_or_default();
        let checked = RecordRef::parse(bytes)
            .map_err(LogFault::from)
            .and_then(|record| check(&record, at, self.settings));
        Ok(match checked {
            Ok(()) => At::Record(size),
            Err(fault) => At::Nothing(fault),
        })
    }

    /// Where the log goes on behind damaged bytes; `None` if this is its end.
    ///
    /// Something that looks like a record may be left from before the log was cut here, so it
    /// has to be younger than the last one taken.
    fn resume(&mut self, at: i64) -> Result<Option<i64>, StoreError> {
        let file_end = self.next_file(at);
        let Some(file) = self.log.file(self.log.file_start(at))? else {
            return self.resume_in_next_file(file_end);
        };
        let mut from = at + 1;
        while let Some(found) = self.find_magic(&*file, from, file_end)? {
            match self.look(found)? {
                At::Record(size) if self.is_younger(found, size) => return Ok(Some(found)),
                // Nothing of this file follows, but whether it ends here tells the next one.
                At::Blank => {
                    return Ok(self.resume_in_next_file(file_end)?.map(|_| found));
                }
                _ => from = found + 1,
            }
        }
        self.resume_in_next_file(file_end)
    }

    fn resume_in_next_file(&mut self, start: i64) -> Result<Option<i64>, StoreError> {
        let next = self.log.files().iter().copied().find(|file| *file >= start);
        let Some(next) = next else {
            return Ok(None);
        };
        match self.look(next)? {
            At::Record(size) if self.is_younger(next, size) => Ok(Some(next)),
            _ => Ok(None),
        }
    }

    fn is_younger(&self, at: i64, size: usize) -> bool {
        let bytes = self.window.get(at, size).unwrap_or_default();
        RecordRef::parse(bytes).is_ok_and(|record| record.store_timestamp() >= self.timestamp)
    }

    /// The next position in the file whose fifth to eighth byte are the magic of a record or a
    /// blank.
    fn find_magic(
        &self,
        file: &dyn File,
        from: i64,
        file_end: i64,
    ) -> Result<Option<i64>, StoreError> {
        const CHUNK: usize = 1 << 18;
        let start = self.log.file_start(from.min(file_end - 1));
        let failed = |error| StoreError::io("read", self.log.path(start), error);
        let mut bytes = vec![0; CHUNK];
        let mut at = from + 4;
        while at < file_end {
            let Some(data) = file.next_data((at - start) as u64).map_err(failed)? else {
                return Ok(None);
            };
            // The magic's first bytes may be in front of the data's beginning only if they are
            // zero, which they are not.
            at = at.max(start + data as i64);
            let count = file
                .read_at(&mut bytes, (at - start) as u64)
                .map_err(failed)?;
            let read = bytes.get(..count).unwrap_or_default();
            let found = read.windows(4).position(|magic| {
                // One comparison rules out nearly everything.
                (magic.starts_with(&[0xDA]) || magic.starts_with(&[0xCB])) && is_magic(magic)
            });
            if let Some(found) = found {
                let position = at + found as i64 - 4;
                return Ok((position >= from).then_some(position));
            }
            if count < 4 {
                return Ok(None);
            }
            at += count as i64 - 3;
        }
        Ok(None)
    }
}

fn is_magic(bytes: &[u8]) -> bool {
    i32_at(bytes, 0)
        .is_some_and(|magic| magic == BLANK_MAGIC || RecordVersion::of_magic(magic).is_some())
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(i32::from_be_bytes(*bytes))
}

/// A stretch of the log in memory.
#[derive(Default)]
struct Window {
    start: i64,
    bytes: Vec<u8>,
}

impl Window {
    /// Bytes read ahead at least.
    const AHEAD: usize = 1 << 20;

    /// Brings bytes of one file into the window; `false` where the log does not have them.
    fn load(&mut self, log: &CommitLog, at: i64, len: usize) -> Result<bool, StoreError> {
        if self.get(at, len).is_some() {
            return Ok(true);
        }
        if !log.contains(at, len) {
            return Ok(false);
        }
        let start = log.file_start(at);
        let Some(file) = log.file(start)? else {
            return Ok(false);
        };
        let rest = (start + log.file_size() - at) as usize;
        self.start = at;
        self.bytes.resize(len.max(Self::AHEAD).min(rest), 0);
        let count = file
            .read_at(&mut self.bytes, (at - start) as u64)
            .map_err(|error| StoreError::io("read", log.path(start), error))?;
        self.bytes.truncate(count);
        Ok(count >= len)
    }

    fn get(&self, at: i64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(at - self.start).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}
