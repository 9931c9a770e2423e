//! What has gone through the broker since it started.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of messages and bytes; for the runtime information that tools show.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_out: AtomicU64,
    found: AtomicU64,
    missed: AtomicU64,
}

impl Traffic {
    /// Counts messages stored, with their records' bytes.
    pub(crate) fn stored(&self, messages: u64, bytes: u64) {
        self.messages_in.fetch_add(messages, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts messages that were answered to a pull, with their records' bytes.
    pub(crate) fn delivered(&self, messages: u64, bytes: u64) {
        self.messages_out.fetch_add(messages, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a look into a queue, for messages.
    pub(crate) fn looked(&self, has_found: bool) {
        let counter = match has_found {
            true => &self.found,
            false => &self.missed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How many looks into a queue found messages, and how many did not.
    pub(crate) fn looks(&self) -> (u64, u64) {
        (
            self.found.load(Ordering::Relaxed),
            self.missed.load(Ordering::Relaxed),
        )
    }

    /// Messages and bytes stored.
    pub(crate) fn total_in(&self) -> (u64, u64) {
        (
            self.messages_in.load(Ordering::Relaxed),
            self.bytes_in.load(Ordering::Relaxed),
        )
    }

    /// Messages and bytes delivered.
    pub(crate) fn total_out(&self) -> (u64, u64) {
        (
            self.messages_out.load(Ordering::Relaxed),
            self.bytes_out.load(Ordering::Relaxed),
        )
    }
}
