//! Compaction: of the messages of a topic with `cleanup.policy=COMPACTION` only the last one of
//! each key is kept, however old it is (`CompactionStore`, `CompactionLog`).
//!
//! A pass makes a new [copy](copy) of a queue's older messages: those of the copy before, and
//! those that have come since, without those that a later one of the same key replaces or takes
//! back: a message without a body takes its key's messages back. Numbers stay as they are. The
//! youngest messages stay out of it until there are enough for a file of the reference, so that a
//! consumer that keeps up sees every message; or until their file of the commit log is to be
//! removed. Consumers read the copy first, then the queue ([`Store::get_messages`]).
//!
//! A record of a batch queue that holds several messages stays: each has a key of its own, and none
//! has the record. The broker stores such messages one by one where a topic is compacted.
//!
//! A pass knows the last number of each key that is new to it. If that is more than
//! `maxOffsetMapSize` allows, it ends there and another one goes on.

pub(crate) mod copy;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use wire::message::record::RecordRef;
use wire::message::{properties, property};

use self::copy::{Compacted, CopyWriter};
use crate::consume_queue::{BATCH_ENTRY_SIZE, Queue, QueueUnit};
use crate::error::StoreError;
use crate::settings::StoreConfig;
use crate::store::Store;

/// Bytes that a key takes in memory, its share of what the map has free included.
const BYTES_A_KEY: usize = 64;
/// So many keys a pass knows at least (`CompactionLog.OffsetMap`).
const FEWEST_KEYS: usize = 100;
/// What ends a file of the compaction log: length and mark.
const END_OF_FILE: i64 = 8;

/// Tells whether a topic is compacted.
type IsCompacted = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// What the store knows about compaction.
#[derive(Default)]
pub(crate) struct Compaction {
    is_compacted: OnceLock<IsCompacted>,
    /// Held during a pass: there is memory for the keys of one.
    working: Mutex<()>,
}

impl Compaction {
    /// Waits until the pass under way has noticed that the store is closed.
    pub(crate) fn wait_for_end(&self) {
        drop(self.working.lock());
    }
}

/// The last number of each key of a few messages. Keys are known by 128 bits of hash, which
/// nobody outside can aim at.
struct LastOffsets {
    hashers: [RandomState; 2],
    offsets: HashMap<[u64; 2], i64>,
    most: usize,
}

impl LastOffsets {
    fn new(most: usize) -> LastOffsets {
        LastOffsets {
            hashers: [RandomState::new(), RandomState::new()],
            offsets: HashMap::new(),
            most,
        }
    }

    fn hash(&self, key: &str) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    /// Notes a message; `false` if there is no room for its key.
    fn put(&mut self, key: &str, offset: i64) -> bool {
        let hash = self.hash(key);
        let has_room = self.offsets.len() < self.most || self.offsets.contains_key(&hash);
        if has_room {
            self.offsets.insert(hash, offset);
        }
        has_room
    }

    /// Whether a record with so many messages stays (`CompactionLog.shouldRetainMsg`).
    fn retain(&self, record: &RecordRef<'_>, count: i16) -> bool {
        if count > 1 {
            return true;
        }
        let text = record.properties();
        let Some(key) = key(&text) else {
            return false;
        };
        let last = self.offsets.get(&self.hash(key));
        !record.body().is_empty() && last.is_none_or(|last| record.queue_offset() >= *last)
    }
}

/// The key of a message by its properties: all its keys together.
fn key(properties: &str) -> Option<&str> {
    properties::get(properties, property::KEYS).filter(|keys| !keys.trim().is_empty())
}

/// Bytes of records and of entries in a file of the reference
/// (`CompactionLog.getCompactionLogSize`).
fn file_sizes(settings: &StoreConfig) -> (i64, i64) {
    let entry = BATCH_ENTRY_SIZE as i64;
    let entries = settings.compaction_cq_mapped_file_size as i64 / entry * entry;
    let asked = settings.compaction_mapped_file_size as i64;
    let (whole, rest) = (asked / entries, asked % entries);
    let times = match whole {
        ..5 => 5,
        _ if rest > 0 && rest < entries / 2 => whole,
        _ => whole + 1,
    };
    (times * entries, entries)
}

impl Store {
    /// Names who knows which topics are compacted; once, before anything can be removed.
    pub fn set_compacted(&self, is_compacted: impl Fn(&str) -> bool + Send + Sync + 'static) {
        if self
            .compaction
            .is_compacted
            .set(Box::new(is_compacted))
            .is_err()
        {
            tracing::error!("the store already knows which topics are compacted");
        }
    }

    /// Makes new copies of all queues that have enough new messages; returns how many. A queue
    /// that fails does not keep it from the others.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the disk fails; the copies before stay.
    pub fn compact(&self) -> Result<usize, StoreError> {
        self.compact_before(0)
    }

    /// The same, and takes all messages whose records are in front of a position of the log.
    pub(crate) fn compact_before(&self, position: i64) -> Result<usize, StoreError> {
        let Some(is_compacted) = self.compaction.is_compacted.get() else {
            return Ok(0);
        };
        if !self.settings().enable_compaction {
            return Ok(0);
        }
        let mut result = Ok(0);
        for queue in self.queues.all() {
            if is_compacted(queue.topic()) {
                let compacted = self.compact_queue(&queue, position);
                result = result.and_then(|count| Ok(count + usize::from(compacted?)));
            }
        }
        result
    }

    fn compact_queue(&self, queue: &Queue, position: i64) -> Result<bool, StoreError> {
        let _working = self.compaction.working.lock();
        self.check_open()?;
        let settings = self.settings();
        let most_keys = (settings.max_offset_map_size / BYTES_A_KEY).max(FEWEST_KEYS);
        let begin = queue.compacted().map_or(0, |copy| copy.end());
        let mut from = begin.max(queue.min_offset());
        let until = self.compacts_until(queue, from, position, &settings)?;
        let has_work = from < until;
        while from < until && !queue.is_deleted() {
            let mut last = LastOffsets::new(most_keys);
            let end = self.note_keys(queue, from, until, &mut last)?;
            if end == from {
                break;
            }
            let dir = copy::dir(&settings, queue.topic(), queue.id());
            let copied = self.copy_queue(queue, &dir, (from, end), &last);
            copy::discard_new(&*self.disk, &dir)?;
            copied?;
            from = end;
        }
        Ok(has_work)
    }

    /// Where the messages end that fill files of the reference, or are in front of a position of
    /// the log.
    fn compacts_until(
        &self,
        queue: &Queue,
        from: i64,
        position: i64,
        settings: &StoreConfig,
    ) -> Result<i64, StoreError> {
        let (most_bytes, most_entries) = file_sizes(settings);
        let (mut bytes, mut entries, mut until) = (0, 0, from);
        self.each_unit(queue, from, queue.max_offset(), |unit| {
            let size = match unit.entry.is_blank() {
                true => 0,
                false => i64::from(unit.entry.size),
            };
            if bytes + size + END_OF_FILE > most_bytes
                || entries + BATCH_ENTRY_SIZE as i64 >= most_entries
            {
                (bytes, entries) = (0, 0);
                until = unit.queue_offset;
            }
            bytes += size;
            entries += BATCH_ENTRY_SIZE as i64;
            if unit.entry.physical_offset < position {
                until = unit.end();
            }
            Ok(true)
        })?;
        Ok(until)
    }

    /// Notes the keys of messages; returns where the first one is for which there is no room.
    fn note_keys(
        &self,
        queue: &Queue,
        from: i64,
        until: i64,
        last: &mut LastOffsets,
    ) -> Result<i64, StoreError> {
        let mut end = from;
        self.each_unit(queue, from, until, |unit| {
            let record = self.record(&unit)?;
            let record = record.as_deref().map(RecordRef::parse);
            if let Some(Ok(record)) = record {
                let text = record.properties();
                if !key(&text).is_none_or(|key| last.put(key, unit.queue_offset)) {
                    return Ok(false);
                }
            }
            end = unit.end();
            Ok(true)
        })?;
        Ok(end)
    }

    /// Makes a new copy of the one before and these messages.
    fn copy_queue(
        &self,
        queue: &Queue,
        dir: &Path,
        (from, end): (i64, i64),
        last: &LastOffsets,
    ) -> Result<(), StoreError> {
        let mut writer = CopyWriter::create(Arc::clone(&self.disk), dir.to_path_buf(), end)?;
        let before = queue.compacted();
        if let Some(before) = &before {
            before.each(&*self.disk, |unit, record| {
                self.check_open()?;
                if last.retain(&record, unit.count) {
                    writer.put(unit.entry.tags_code, &record, unit.count)?;
                }
                Ok(())
            })?;
        }
        self.each_unit(queue, from, end, |unit| {
            let record = self.record(&unit)?;
            if let Some(Ok(record)) = record.as_deref().map(RecordRef::parse)
                && last.retain(&record, unit.count)
            {
                let tags_code = queue.tags_code(&unit.entry)?;
                let tags_code = tags_code.unwrap_or(unit.entry.tags_code);
                writer.put(tags_code, &record, unit.count)?;
            }
            Ok(true)
        })?;
        // The copy may not know messages whose numbers others get after a power failure.
        self.flush()?;
        if queue.publish(|| writer.finish())?
            && let Some(before) = before
        {
            before.remove(&*self.disk)?;
        }
        Ok(())
    }

    fn record(&self, unit: &QueueUnit) -> Result<Option<bytes::Bytes>, StoreError> {
        let entry = &unit.entry;
        if entry.is_blank() {
            return Ok(None);
        }
        self.log.read(entry.physical_offset, entry.size as usize)
    }

    /// Shows the entries of messages, until one is answered with `false`.
    fn each_unit(
        &self,
        queue: &Queue,
        from: i64,
        until: i64,
        mut show: impl FnMut(QueueUnit) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        const ENTRIES: i64 = 512;
        // An entry has a message at least.
        let (begin, most) = (queue.slot_of(from)?, until - from);
        let mut bytes = Vec::new();
        let mut seen = 0;
        while seen < most {
            self.check_open()?;
            bytes.clear();
            let slot = begin + seen;
            queue.read(slot, (most - seen).min(ENTRIES) as usize, &mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            for unit in queue.units(slot, &bytes) {
                seen += 1;
                // Damage can leave a place without an entry.
                if let Some(unit) = unit
                    && (unit.queue_offset >= until || !show(unit)?)
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Finds the copies of an earlier run; what is no whole copy is thrown away.
    pub(crate) fn load_copies(&self) -> Result<(), StoreError> {
        let settings = self.settings();
        if !settings.enable_compaction {
            return Ok(());
        }
        for (topic, queue_id) in copy::queues(&*self.disk, &settings)? {
            let dir = copy::dir(&settings, &topic, queue_id);
            let queue = self.find_queue(&topic, queue_id);
            let max = queue.as_ref().map_or(0, |queue| queue.max_offset());
            let copy = Compacted::load(&*self.disk, &dir, max)?;
            if let (Some(queue), Some(copy)) = (queue, copy) {
                queue.publish(|| Ok(copy))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
