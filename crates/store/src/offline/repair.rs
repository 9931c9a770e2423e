//! Mending a data directory: what is damaged in the log is put aside, queues are made anew from it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use wire::message::names;
use wire::message::record::{
    BLANK_HEAD_SIZE, MIN_RECORD_SIZE, PROPERTIES_CRC_LEN, RecordFields, RecordVersion, encode_blank,
};
use wire::message::sys_flag::message::TRANSACTION_ROLLBACK_TYPE;

use super::{OfflineStore, queue, relative};
use crate::clock::Clock;
use crate::consume_queue::QueueKind;
use crate::disk::{Disk, File};
use crate::error::StoreError;
use crate::files;
use crate::log_scan::LogItem;
use crate::settings::StoreConfig;
use crate::store::{self, Store, StoreOptions};

/// Topic of the records that take the place of damaged bytes.
const FILLING_TOPIC: &str = "KEROLOX_REPAIRED";
/// Bytes of such a record at most.
const FILLING_SIZE: i64 = 1 << 20;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Stretches of damaged bytes in the log that are passed over now.
    pub stretches: u64,
    /// Bytes of them.
    pub damaged_bytes: u64,
    /// Bytes cut off behind the last whole record.
    pub cut_bytes: u64,
    /// Where what was replaced is now, from the data directory.
    pub backups: Vec<PathBuf>,
    /// Messages in the queues made anew, counted once for each queue they are in.
    pub queue_entries: i64,
}

/// Makes the queues and the index of a directory anew from its log, and lets the log be read to its end: damaged
/// bytes are replaced by records of no queue, what is no record at its end is cut off. All that is
/// replaced is kept, in directories beside the old ones whose names end in `.bak-` and `suffix`.
///
/// A kill in the middle leaves a directory that the next start recovers or that can be repaired
/// once more. Timer and configuration files are not touched.
///
/// # Errors
/// [`StoreError::InUse`] if a broker has the directory; [`StoreError::FileSize`] if the settings do
/// not fit most of its log's files; [`StoreError::Io`] if the disk fails.
pub fn repair(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    mut settings: StoreConfig,
    suffix: &str,
) -> Result<Repaired, StoreError> {
    let root = settings.root();
    settings.check()?;
    let offline = OfflineStore::open(Arc::clone(&disk), settings.clone())?;
    let lock = store::lock(&*disk, &root)?;
    let mut repair = Repair {
        disk: &*disk,
        offline: &offline,
        suffix,
        repaired: Repaired::default(),
    };
    repair.lengths()?;
    repair.log()?;
    let stays = repair.topics_that_stay()?;
    repair.put_aside(queue::SIMPLE_DIR)?;
    settings.enable_consume_queue_ext |= repair.put_aside(queue::EXT_DIR)?;
    repair.put_batch_queues_aside()?;
    if settings.message_index_enable {
        repair.put_aside("index")?;
    }
    let mut repaired = repair.repaired;
    // A broker that starts right now makes the queues anew as well.
    drop(lock);

    let store = Store::open(StoreOptions {
        settings,
        disk,
        clock,
        threads: false,
    })?;
    if let Some(stays) = stays {
        let gone = |topic: &Arc<str>| !stays.contains(&**topic) && !names::is_lmq(topic);
        for topic in store.topics().into_iter().filter(gone) {
            store.delete_topic(&topic)?;
        }
    }
    let count = |queue: Arc<crate::Queue>| queue.max_offset() - queue.min_offset();
    while store.index.follow(&store.log, &store.settings())? {}
    repaired.queue_entries = store.queues().into_iter().map(count).sum();
    store.close()?;
    Ok(repaired)
}

struct Repair<'a> {
    disk: &'a dyn Disk,
    offline: &'a OfflineStore,
    suffix: &'a str,
    repaired: Repaired,
}

impl Repair<'_> {
    /// Brings the log's files to their length, if most of them have it.
    fn lengths(&self) -> Result<(), StoreError> {
        let found = &self.offline.log_files;
        let len = self.offline.log.file_size() as u64;
        if files::usual_len(found) == Some(len) {
            for file in found.iter().filter(|file| file.len < len) {
                let path = self.offline.log.path(file.start);
                files::create(self.disk, &path, len)?;
            }
        }
        // Refuses what is left.
        files::load(
            self.disk,
            self.offline.log.dir(),
            self.offline.log.file_size(),
            false,
            "mappedFileSizeCommitLog",
        )
        .map(drop)
    }

    /// Lets the log be read from its begin to its end.
    fn log(&mut self) -> Result<(), StoreError> {
        let log = &self.offline.log;
        let mut scan = self.offline.scan(log.begin());
        let mut damaged = Vec::new();
        let mut timestamp = 0;
        while let Some(item) = scan.next()? {
            match item {
                LogItem::Record(record, _) => timestamp = record.store_timestamp(),
                LogItem::Damage { from, to, .. } => damaged.push((from, to, timestamp)),
            }
        }
        let end = scan.end();
        for (from, to, timestamp) in damaged {
            self.repaired.stretches += 1;
            self.repaired.damaged_bytes += (to - from) as u64;
            self.keep(from, to)?;
            self.fill(from, to, timestamp)?;
        }
        self.repaired.cut_bytes = self.keep(end, log.end())?;
        Ok(())
    }

    /// Copies a stretch of the log to the same places of files beside the log. Returns how many
    /// bytes those are up to the last that is not zero.
    fn keep(&mut self, from: i64, to: i64) -> Result<u64, StoreError> {
        let log = &self.offline.log;
        let backup = self.beside(log.dir());
        let mut bytes = vec![0; 1 << 16];
        let (mut at, mut kept) = (from, 0);
        while at < to {
            let start = log.file_start(at);
            let end = to.min(start + log.file_size());
            let failed = |error| StoreError::io("read", log.path(start), error);
            let data = match log.file(start)? {
                Some(file) => file
                    .next_data((at - start) as u64)
                    .map_err(failed)?
                    .map(|data| (file, start + data as i64)),
                None => None,
            };
            let Some((file, data)) = data.filter(|(_, data)| *data < end) else {
                at = end;
                continue;
            };
            let wanted = (end - data).min(bytes.len() as i64) as usize;
            let piece = bytes.get_mut(..wanted).unwrap_or_default();
            let count = file.read_at(piece, (data - start) as u64).map_err(failed)?;
            let piece = piece.get(..count).unwrap_or_default();
            if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
                kept = (data + last as i64 + 1 - from) as u64;
                files::create_dir(self.disk, &backup)?;
                let copy = backup.join(files::file_name(start));
                self.write(&copy, |file| file.write_at(piece, (data - start) as u64))?;
                self.note_backup(&backup);
            }
            at = if count == 0 { end } else { data + count as i64 };
        }
        Ok(kept)
    }

    /// Puts blanks and records of no queue where damaged bytes are, if there are enough of them.
    fn fill(&self, from: i64, to: i64, timestamp: i64) -> Result<(), StoreError> {
        let log = &self.offline.log;
        let mut at = from;
        while at < to {
            let start = log.file_start(at);
            let end = start + log.file_size();
            let mut bytes = BytesMut::new();
            let rest = to.min(end) - at;
            let least = if to >= end {
                BLANK_HEAD_SIZE
            } else {
                MIN_RECORD_SIZE
            };
            if rest < least as i64 {
                return Ok(());
            }
            let len = if to >= end {
                encode_blank(rest as u32, &mut bytes);
                rest
            } else {
                let most = FILLING_SIZE.min(rest - MIN_RECORD_SIZE as i64 * 2);
                let len = if rest <= FILLING_SIZE { rest } else { most };
                let with_crc = self.offline.settings.force_verify_prop_crc;
                filling(at, len as usize, timestamp, with_crc, &mut bytes)?;
                len
            };
            let path = log.path(start);
            files::create(self.disk, &path, log.file_size() as u64)?;
            self.write(&path, |file| file.write_at(&bytes, (at - start) as u64))?;
            at += len;
        }
        Ok(())
    }

    /// Topics that the queues made anew may have: those that are known or have queues. `None`: that
    /// cannot be told.
    fn topics_that_stay(&self) -> Result<Option<HashSet<String>>, StoreError> {
        let Some(mut topics) = self.offline.known_topics() else {
            return Ok(None);
        };
        for dir in [queue::SIMPLE_DIR, queue::BATCH_DIR] {
            let dir = self.offline.settings.root().join(dir);
            topics.extend(
                files::entries(self.disk, &dir)?
                    .into_iter()
                    .map(|entry| entry.name),
            );
        }
        Ok(Some(topics))
    }

    /// Gives a directory in the data directory another name; whether there was one.
    fn put_aside(&mut self, dir: &str) -> Result<bool, StoreError> {
        let root = self.offline.settings.root();
        let dir = root.join(dir);
        let backup = self.beside(&dir);
        match self.disk.rename(&dir, &backup) {
            Ok(()) => self.note_backup(&backup),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::io("rename", dir, error)),
        }
        self.disk
            .sync_dir(&root)
            .map_err(|error| StoreError::io("flush the directory", root, error))?;
        Ok(true)
    }

    /// Puts the batch queues aside, but for their directories: these tell that a topic has such.
    fn put_batch_queues_aside(&mut self) -> Result<(), StoreError> {
        let queues = self.offline.queues()?;
        if !self.put_aside(queue::BATCH_DIR)? {
            return Ok(());
        }
        let dir = self.offline.settings.root().join(queue::BATCH_DIR);
        for queue in queues
            .iter()
            .filter(|queue| queue.kind() == QueueKind::Batch)
        {
            let dir = dir.join(queue.topic()).join(queue.id().to_string());
            files::create_dir(self.disk, &dir)?;
        }
        Ok(())
    }

    fn note_backup(&mut self, path: &Path) {
        let path = relative(&self.offline.settings.root(), path);
        if self.repaired.backups.last() != Some(&path) {
            self.repaired.backups.push(path);
        }
    }

    fn beside(&self, dir: &Path) -> PathBuf {
        let mut name = dir.as_os_str().to_owned();
        name.push(".bak-");
        name.push(self.suffix);
        name.into()
    }

    /// Changes a file, made where it is missing, and flushes it.
    fn write(
        &self,
        path: &Path,
        change: impl FnOnce(&dyn File) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        let file = files::create(self.disk, path, 0)?;
        change(&*file)
            .and_then(|()| file.sync_data())
            .map_err(|error| StoreError::io("write", path, error))
    }
}

/// A record that no broker enters into a queue or an index (`TRANSACTION_ROLLBACK_TYPE`), with a
/// CRC of the whole of it where that is asked for and fits.
fn filling(
    at: i64,
    len: usize,
    timestamp: i64,
    with_crc: bool,
    out: &mut BytesMut,
) -> Result<(), StoreError> {
    let room = len.saturating_sub(MIN_RECORD_SIZE);
    let append_record_crc = with_crc && room >= PROPERTIES_CRC_LEN;
    let room = room
        - if append_record_crc {
            PROPERTIES_CRC_LEN
        } else {
            0
        };
    let topic = FILLING_TOPIC.get(..room).unwrap_or(FILLING_TOPIC);
    let host = ([127, 0, 0, 1], 0).into();
    let record = RecordFields {
        version: RecordVersion::V1,
        queue_id: 0,
        flag: 0,
        queue_offset: 0,
        physical_offset: at,
        sys_flag: TRANSACTION_ROLLBACK_TYPE,
        born_timestamp: timestamp,
        born_host: host,
        store_timestamp: timestamp,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &vec![0; room - topic.len()],
        topic,
        properties: b"",
        more_properties: &[],
        append_record_crc,
    };
    record.encode_into(out)?;
    Ok(())
}
