//! Finding messages by key.

use std::sync::Arc;

use bytes::Bytes;
use wire::message::record::RecordRef;

use super::file::{ENTRY_SIZE, Entry, i32_at};
use super::keys::Key;
use super::{Index, IndexFile, IndexFiles, State};
use crate::disk::File;
use crate::error::StoreError;
use crate::log_scan;
use crate::settings::StoreConfig;
use crate::store::Store;

/// Entries read at a time: those of a key that many messages have lie close together.
const AT_A_TIME: usize = 64;
/// Bytes of the log that a question enters into the index itself, at most; so that it is answered
/// in time when the index is being made anew.
const CATCH_UP: i64 = 256 << 20;

/// A question for messages with a key.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Their topic.
    pub topic: &'a str,
    /// Their key.
    pub key: Key<'a>,
    /// Most messages wanted; `maxMsgsNumBatch` limits them, too.
    pub max_count: usize,
    /// Most bytes of all messages together; the first is given however large it is.
    pub max_bytes: usize,
    /// Earliest store time, in milliseconds since 1970.
    pub begin: i64,
    /// Latest store time.
    pub end: i64,
}

/// The messages found, and how far the index was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryResult {
    /// Records, in the order of the log: the newest of all that match.
    pub messages: Vec<Bytes>,
    /// Store timestamp of the last message in the index; 0 without any.
    pub last_timestamp: i64,
    /// Physical offset of the last message in the index; 0 without any.
    pub last_offset: i64,
}

impl Store {
    /// Finds the newest messages with a key (`DefaultMessageStore.queryMessage`), those appended
    /// just now included. Messages whose key has the same hash only are left out.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails.
    pub fn query(&self, query: &Query<'_>) -> Result<QueryResult, StoreError> {
        let settings = self.settings();
        let (mut left, mut entered) = (CATCH_UP, true);
        while left > 0 && entered {
            // If it cannot go on, the answer is from what is there.
            entered = self.index.follow(&self.log, &settings).unwrap_or(false);
            left -= Index::STEP;
        }
        let mut result = self.find(query, &settings)?;
        if result.is_none() {
            tracing::warn!("an index file is damaged, it is made anew");
            let _ = self.index.follow(&self.log, &settings);
            result = self.find(query, &settings)?;
        }
        Ok(result.unwrap_or(QueryResult {
            messages: Vec::new(),
            last_timestamp: 0,
            last_offset: 0,
        }))
    }

    /// The answer, or `None` if damage showed.
    fn find(
        &self,
        query: &Query<'_>,
        settings: &StoreConfig,
    ) -> Result<Option<QueryResult>, StoreError> {
        let max_count = query.max_count.min(settings.max_msgs_num_batch);
        let mut messages = Vec::new();
        let (mut bytes, mut seen) = (0, None);
        let visit = |offset| {
            // A message may have the same key twice.
            if messages.len() >= max_count || seen.replace(offset) == Some(offset) {
                return Ok(messages.len() < max_count);
            }
            let Some(message) = self.message(offset)? else {
                return Ok(true);
            };
            let matches = RecordRef::parse(&message).is_ok_and(|record| {
                record.topic() == query.topic
                    && log_scan::check(&record, offset, settings).is_ok()
                    && (query.begin..=query.end).contains(&record.store_timestamp())
                    && query.key.is_of(&record)
            });
            if matches {
                bytes += message.len();
                if bytes > query.max_bytes && !messages.is_empty() {
                    return Ok(false);
                }
                messages.push(message);
            }
            Ok(messages.len() < max_count)
        };
        let hash = query.key.hash(query.topic);
        let Some((last_timestamp, last_offset)) =
            self.index.select(hash, query.begin, query.end, visit)?
        else {
            return Ok(None);
        };
        messages.reverse();
        Ok(Some(QueryResult {
            messages,
            last_timestamp,
            last_offset,
        }))
    }
}

/// How the walk through a file ended.
enum Walk {
    /// All was seen.
    End,
    /// Nothing more is wanted.
    Enough,
    /// The file contradicts itself.
    Damaged,
}

impl Index {
    /// Gives the places of messages whose key may have this hash and that may be of the time,
    /// newest first, while they are wanted (`IndexService.queryOffset`). Returns timestamp and
    /// offset of the last message in the index; `None` if a file contradicts itself, which is
    /// repaired by the next step then.
    fn select(
        &self,
        hash: i32,
        begin: i64,
        end: i64,
        mut visit: impl FnMut(i64) -> Result<bool, StoreError>,
    ) -> Result<Option<(i64, i64)>, StoreError> {
        let mut state = self.state.lock();
        let last = state.files.last().map(|last| last.header);
        for at in (0..state.files.len()).rev() {
            let Some(file) = state.files.get(at) else {
                break;
            };
            let walk = if file.header.overlaps(begin, end) {
                self.walk(&state, file, hash, begin, end, &mut visit)?
            } else {
                Walk::End
            };
            match walk {
                Walk::Damaged => {
                    self.distrust(&mut state, at)?;
                    return Ok(None);
                }
                Walk::End if file.header.begin_timestamp >= begin => {}
                Walk::End | Walk::Enough => break,
            }
        }
        Ok(Some(last.map_or((0, 0), |last| {
            (last.end_timestamp, last.end_offset)
        })))
    }

    fn distrust(&self, state: &mut State, at: usize) -> Result<(), StoreError> {
        self.write_entries(state)?;
        state.tail = None;
        for file in state.files.iter_mut().skip(at) {
            file.sound = false;
        }
        state.recovered = false;
        Ok(())
    }

    fn walk(
        &self,
        state: &State,
        file: &IndexFile,
        hash: i32,
        begin: i64,
        end: i64,
        visit: &mut impl FnMut(i64) -> Result<bool, StoreError>,
    ) -> Result<Walk, StoreError> {
        let layout = &self.files.layout;
        let slot = layout.slot_of(hash);
        let mut entries = self.entries(state, file)?;
        let mut number = entries.slot(slot)?;
        // Numbers only go down, so this ends whatever stands in the file.
        let mut limit = file.header.count;
        while number != 0 {
            if !(1..limit).contains(&number) {
                return Ok(Walk::Damaged);
            }
            let Some(entry) = entries.get(number)? else {
                return Ok(Walk::Damaged);
            };
            if entry.hash < 0 || entry.seconds < 0 || layout.slot_of(entry.hash) != slot {
                return Ok(Walk::Damaged);
            }
            let time = file.header.begin_timestamp + i64::from(entry.seconds) * 1000;
            // The first entry counts from another time, and a time before the first is 0.
            let too_young = time > end && number > 1 && entry.seconds > 0;
            if entry.hash == hash && !too_young && !visit(entry.offset)? {
                return Ok(Walk::Enough);
            }
            if time + 1000 <= begin {
                break;
            }
            limit = number;
            number = entry.previous;
        }
        Ok(Walk::End)
    }

    /// The entries of a file, for reading.
    pub(super) fn entries<'a>(
        &'a self,
        state: &'a State,
        file: &IndexFile,
    ) -> Result<Entries<'a>, StoreError> {
        let is_last = state
            .files
            .last()
            .is_some_and(|last| last.name == file.name);
        Ok(Entries {
            files: &self.files,
            tail: state.tail.as_ref().filter(|_| is_last),
            name: file.name,
            file: self.files.open(file.name)?,
            first: 0,
            buffer: Vec::new(),
        })
    }
}

/// Reads slots and entries of a file, those not written yet included.
pub(super) struct Entries<'a> {
    files: &'a IndexFiles,
    tail: Option<&'a super::Tail>,
    name: i64,
    file: Option<Arc<dyn File>>,
    /// Number of the first entry in the buffer.
    first: i32,
    buffer: Vec<u8>,
}

impl Entries<'_> {
    fn slot(&self, slot: usize) -> Result<i32, StoreError> {
        if let Some(tail) = self.tail {
            return Ok(tail.slot(slot));
        }
        let mut bytes = [0; 4];
        self.read(&mut bytes, self.files.layout.slot_at(slot))?;
        Ok(i32_at(&bytes, 0))
    }

    /// The entry of a number; `None` where the file is gone.
    pub(super) fn get(&mut self, number: i32) -> Result<Option<Entry>, StoreError> {
        if let Some(entry) = self.tail.and_then(|tail| tail.pending(number)) {
            return Ok(Some(entry));
        }
        if !(self.first..self.first + (self.buffer.len() / ENTRY_SIZE) as i32).contains(&number) {
            // Chains go towards the front.
            self.first = (number + 1 - AT_A_TIME as i32).max(0);
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.resize((number + 1 - self.first) as usize * ENTRY_SIZE, 0);
            let read = self.read(&mut buffer, self.files.layout.entry_at(self.first))?;
            buffer.truncate(read);
            self.buffer = buffer;
        }
        let at = (number - self.first) as usize * ENTRY_SIZE;
        let bytes = self.buffer.get(at..).and_then(<[u8]>::first_chunk);
        Ok(bytes.map(Entry::decode))
    }

    fn read(&self, buffer: &mut [u8], at: u64) -> Result<usize, StoreError> {
        let Some(file) = &self.file else {
            return Ok(0);
        };
        file.read_at(buffer, at)
            .map_err(|error| StoreError::io("read", self.files.path(self.name), error))
    }
}
