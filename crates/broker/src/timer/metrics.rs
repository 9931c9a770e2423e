//! How many messages wait, by topic: `config/timermetrics` (`TimerMetrics`).

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use store::{Disk, StoreError};
use wire::body::json;
use wire::body::timer::TimerMetricsSerializeWrapper;

use crate::error::BrokerError;
use crate::table_file::TableFile;

/// The numbers and their file.
pub(super) struct Metrics {
    table: Mutex<TimerMetricsSerializeWrapper>,
    file: TableFile,
}

impl Metrics {
    /// Reads the numbers.
    pub(super) fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, BrokerError> {
        let (file, table) = TableFile::open(disk, path)?;
        Ok(Self {
            table: Mutex::new(table.unwrap_or_default()),
            file,
        })
    }

    /// Counts messages of a topic that came or went.
    pub(super) fn add(&self, topic: &str, count: i64, now: i64) {
        let mut table = self.table.lock();
        table.data_version.get_or_insert_default().advance(0, now);
        let metric = match table.timing_count.get_mut(topic) {
            Some(metric) => metric,
            None => table.timing_count.entry(topic.to_owned()).or_default(),
        };
        metric.count += count;
        metric.time_stamp = now;
        self.file.touch();
    }

    /// Forgets a topic.
    pub(super) fn remove(&self, topic: &str) {
        if self.table.lock().timing_count.remove(topic).is_some() {
            self.file.touch();
        }
    }

    /// The numbers, as they are in the file and in the answer to GET_TIMER_METRICS.
    pub(super) fn encode(&self) -> Bytes {
        json::write(&*self.table.lock())
    }

    /// Writes the file, if the numbers have changed.
    pub(super) fn save(&self) -> Result<(), StoreError> {
        self.file.save(|| self.encode())
    }
}
