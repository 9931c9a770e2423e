//! What the disk allows a broker that flushes before it answers.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::process::{Result, told};

/// Messages that one flush serves at best: one of each connection of the workload.
const SENDERS: usize = 64;
/// Bytes of a record in the log, about.
const RECORD: usize = 300;
/// How long the disk is measured.
const TIME: Duration = Duration::from_secs(5);

/// Messages a second if nothing but the disk took time: `fdatasync` after each write of a
/// message from every sender, at the end of a file that has its length already.
pub(super) fn limit(folder: &Path) -> Result<f64> {
    let path = folder.join("fdatasync");
    let measured = measure(&path).map_err(|error| told(&path, &error));
    let _ = fs::remove_file(&path);
    measured
}

fn measure(path: &Path) -> std::io::Result<f64> {
    let file = File::create(path)?;
    file.set_len(1 << 30)?;
    file.sync_all()?;
    let records = vec![b'x'; SENDERS * RECORD];
    let (begun, mut flushes) = (Instant::now(), 0);
    while begun.elapsed() < TIME {
        file.write_all_at(&records, flushes * records.len() as u64)?;
        file.sync_data()?;
        flushes += 1;
    }
    Ok((flushes * SENDERS as u64) as f64 / begun.elapsed().as_secs_f64())
}
