//! What was delivered although no checkpoint says so.
//!
//! The broker was killed after it had delivered these messages, and before it could save that.

use std::collections::HashMap;

use store::{Store, StoreError, TimerWait};
use wire::message::record::RecordRef;
use wire::message::{names, properties, property};

/// Deliveries that are not to be made once more.
#[derive(Default)]
pub(super) struct Delivered {
    counts: HashMap<TimerWait, u32>,
    /// When the last of them was made, milliseconds since 1970.
    last_millis: i64,
    /// Number in the queue up to which they came from there.
    queue_end: i64,
}

impl Delivered {
    /// Finds the deliveries behind a position of the commit log.
    pub(super) fn since(store: &Store, position: i64, queue_end: i64) -> Result<Self, StoreError> {
        let mut found = Self {
            queue_end,
            ..Self::default()
        };
        let begin = position.max(store.min_physical_offset());
        store.records_from(begin, |record| found.see(record))?;
        Ok(found)
    }

    fn see(&mut self, record: &RecordRef<'_>) {
        let text = record.properties();
        let [left, topic] =
            properties::get_each(&text, [property::TIMER_DEQUEUE_MS, property::REAL_TOPIC]);
        let stands_in = record.topic();
        // What a consumer sends back has these properties, too, but stands elsewhere.
        if left.is_some() && (topic == Some(&*stands_in) || stands_in == names::TIMER_TOPIC) {
            self.add(&text, &stands_in);
        }
    }

    /// Counts a delivery to a topic of a message with these properties.
    pub(super) fn add(&mut self, text: &str, topic: &str) {
        let left = properties::get(text, property::TIMER_DEQUEUE_MS);
        let left = left.and_then(|left| left.parse().ok()).unwrap_or(0);
        self.last_millis = self.last_millis.max(left);
        *self.counts.entry(wait(text, topic)).or_default() += 1;
    }

    /// Whether this delivery was made before; then it is not known any more.
    pub(super) fn take(&mut self, text: &str, topic: &str) -> bool {
        !self.counts.is_empty() && self.take_one(wait(text, topic))
    }

    /// Whether a message with these properties went on waiting before, as another one that stands
    /// in its stead; then that is not known any more.
    pub(super) fn take_rolled(&mut self, text: &str) -> bool {
        !self.counts.is_empty() && self.take_one(TimerWait::of(text).next())
    }

    fn take_one(&mut self, wait: TimerWait) -> bool {
        let Some(count) = self.counts.get_mut(&wait) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&wait);
        }
        true
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Forgets them once all in front of a time was delivered, and all in front of a number in the
    /// queue was taken over, if they cannot come any more.
    pub(super) fn forget(&mut self, read_millis: i64, queue_offset: i64) {
        if read_millis > self.last_millis && queue_offset >= self.queue_end {
            self.counts = HashMap::new();
        }
    }
}

/// What a message with these properties that was stored for a topic stands for.
fn wait(text: &str, topic: &str) -> TimerWait {
    let wait = TimerWait::of(text);
    if topic == names::TIMER_TOPIC {
        wait
    } else {
        wait.end()
    }
}
