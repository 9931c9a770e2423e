//! A store with a long history that takes hardly any room on the disk: commit log files of 1 GB
//! with a few records each, the rest of them holes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use wire::message::record::{RecordFields, RecordVersion, encode_blank};

use crate::process::{Result, told};

/// Bytes of a file of the log.
const LOG_FILE: u64 = 1 << 30;
/// Bytes of a file of a queue.
const QUEUE_FILE: u64 = 6_000_000;
/// Queues that the records go to in turn.
pub(super) const QUEUES: usize = 8;
/// Records of a file of the log, a multiple of the queues.
const RECORDS: usize = 800;
/// The topic.
pub(super) const TOPIC: &str = "history";

/// Makes the store, which looks as if it had been closed.
pub(super) fn write(store: &Path, files: u64) -> Result<()> {
    let mut queues = vec![Vec::new(); QUEUES];
    for number in 0..files {
        let last = number + 1 == files;
        let path = store.join(format!("commitlog/{:020}", number * LOG_FILE));
        let records = records(number, last, &mut queues)?;
        put(&path, &records, LOG_FILE).map_err(|error| told(&path, &error))?;
    }
    for (number, entries) in queues.iter().enumerate() {
        let path = store.join(format!("consumequeue/{TOPIC}/{number}/{:020}", 0));
        put(&path, entries, QUEUE_FILE).map_err(|error| told(&path, &error))?;
    }
    Ok(())
}

/// The records of a file, and a blank behind them unless it is the last one.
fn records(number: u64, last: bool, queues: &mut [Vec<u8>]) -> Result<BytesMut> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_millis() as i64;
    let host = ([127, 0, 0, 1], 10911).into();
    let mut bytes = BytesMut::new();
    for record in 0..RECORDS {
        let at = bytes.len();
        let queue = record % QUEUES;
        let physical_offset = (number * LOG_FILE) as i64 + at as i64;
        let fields = RecordFields {
            version: RecordVersion::V1,
            queue_id: queue as i32,
            flag: 0,
            queue_offset: (queues[queue].len() / 20) as i64,
            physical_offset,
            sys_flag: 0,
            born_timestamp: now,
            born_host: host,
            store_timestamp: now,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &[b'x'; 128],
            topic: TOPIC,
            properties: b"",
            more_properties: &[],
            append_record_crc: false,
        };
        let size = fields.encode_into(&mut bytes);
        let size = size.map_err(|error| error.to_string())? as i32;
        queues[queue].extend_from_slice(&physical_offset.to_be_bytes());
        queues[queue].extend_from_slice(&size.to_be_bytes());
        queues[queue].extend_from_slice(&0i64.to_be_bytes());
    }
    if !last {
        let rest = LOG_FILE - bytes.len() as u64;
        encode_blank(rest as u32, &mut bytes);
    }
    Ok(bytes)
}

fn put(path: &Path, bytes: &[u8], len: u64) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::create(path)?;
    file.set_len(len)?;
    file.write_all_at(bytes, 0)
}
