//! Bounding the memory that the system spends on the log.
//!
//! What is written stays in the system's page cache. Left alone that grows until memory runs
//! short, and then whoever writes waits for old pages to be written and for free ones to be found
//! among them. On a virtual machine it is worse from the first byte on: memory that was not in
//! use is given to it page by page, which takes many times as long as writing the page.
//!
//! So the log is brought to the disk a step behind its end, long before anybody has to wait for
//! it, and what lies more than `kerolox.pageCacheSize` behind leaves the cache: new messages go
//! into the same few pages again and again. Consumers that far behind read from the disk.

use crate::error::StoreError;
use crate::store::Store;

/// Bytes of messages after which the next step is due.
pub(crate) const STEP: i64 = 8 << 20;

/// How far this has come, in positions of the log.
pub(crate) struct WriteBehind {
    /// Up to here the system has been told to write.
    started: i64,
    /// Up to here it has been told to forget.
    forgotten: i64,
}

impl WriteBehind {
    /// Nothing before the log's present end is touched.
    pub(crate) fn new(end: i64) -> WriteBehind {
        WriteBehind {
            started: end,
            forgotten: end,
        }
    }

    /// Brings the system a step further. What was not on the disk yet when it should be
    /// forgotten stays in memory, where the system looks after it.
    pub(crate) fn step(&mut self, store: &Store) -> Result<(), StoreError> {
        let keep = store.settings().page_cache_size;
        if keep == 0 {
            return Ok(());
        }
        let end = store.log.end();
        // What is on the disk would be forgotten at once.
        let unflushed = self.started.max(store.flushed_position());
        store.log.let_go(unflushed, end)?;
        self.started = end;
        let old = end.saturating_sub_unsigned(keep as u64);
        store.log.let_go(self.forgotten, old)?;
        self.forgotten = self.forgotten.max(old);
        Ok(())
    }
}
