//! How many messages wait, by topic: `config/timermetrics` (`TimerMetrics`) and
//! `config/transactionMetrics` (`TransactionMetrics`).

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Disk, StoreError};
use wire::body::json;
use wire::body::metrics::MetricsTable;

use crate::error::BrokerError;
use crate::table_file::TableFile;

/// The numbers and their file.
pub(crate) struct Metrics<T> {
    table: Mutex<T>,
    file: TableFile,
}

impl<T: MetricsTable + Default + Serialize + DeserializeOwned> Metrics<T> {
    /// Reads the numbers.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, BrokerError> {
        let (file, table) = TableFile::open(disk, path)?;
        Ok(Self {
            table: Mutex::new(table.unwrap_or_default()),
            file,
        })
    }

    /// Counts messages of a topic that came or went.
    pub(crate) fn add(&self, topic: &str, count: i64, now: i64) {
        let mut table = self.table.lock();
        let (version, counts) = table.parts();
        version.get_or_insert_default().advance(0, now);
        let metric = match counts.get_mut(topic) {
            Some(metric) => metric,
            None => counts.entry(topic.to_owned()).or_default(),
        };
        metric.count += count;
        metric.time_stamp = now;
        self.file.touch();
    }

    /// Corrects the number of a topic.
    pub(crate) fn set(&self, topic: &str, count: i64, now: i64) {
        let known = self.count(topic);
        if known != count {
            self.add(topic, count - known, now);
        }
    }

    /// How many messages of a topic wait.
    pub(crate) fn count(&self, topic: &str) -> i64 {
        let mut table = self.table.lock();
        let metric = table.parts().1.get(topic);
        metric.map_or(0, |metric| metric.count)
    }

    /// The topics that have a number.
    pub(crate) fn topics(&self) -> Vec<String> {
        self.table.lock().parts().1.keys().cloned().collect()
    }

    /// Forgets a topic.
    pub(crate) fn remove(&self, topic: &str) {
        if self.table.lock().parts().1.remove(topic).is_some() {
            self.file.touch();
        }
    }

    /// The numbers, as they are in the file and in the answer to GET_TIMER_METRICS.
    pub(crate) fn encode(&self) -> Bytes {
        json::write(&*self.table.lock())
    }

    /// Writes the file, if the numbers have changed.
    pub(crate) fn save(&self) -> Result<(), StoreError> {
        self.file.save(|| self.encode())
    }
}
