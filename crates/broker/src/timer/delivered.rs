//! What was delivered although no checkpoint says so.
//!
//! The broker was killed after it had delivered these messages, and before it could save that.
//! They are counted by what makes the properties of one delivery unlike those of another, since
//! a producer that tries again sends two messages with one id.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use store::{Store, StoreError};
use wire::message::record::RecordRef;
use wire::message::{names, properties, property};

/// Deliveries that are not to be made once more.
#[derive(Default)]
pub(super) struct Delivered {
    counts: HashMap<u128, u32>,
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
        *self.counts.entry(hash(text, topic)).or_default() += 1;
    }

    /// Whether this delivery was made before; then it is not known any more. So was that of a
    /// message that went on waiting before: what it waits as comes in its stead.
    pub(super) fn take(&mut self, text: &str, topic: &str) -> bool {
        if self.counts.is_empty() {
            return false;
        }
        if topic != names::TIMER_TOPIC {
            let mut waiting = text.to_owned();
            super::count_roll(&mut waiting);
            if self.take_one(hash(&waiting, names::TIMER_TOPIC)) {
                return true;
            }
        }
        self.take_one(hash(text, topic))
    }

    fn take_one(&mut self, hash: u128) -> bool {
        let Some(count) = self.counts.get_mut(&hash) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&hash);
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

/// Stands for a delivery, in so many bits that no two have the same. A message that goes on waiting
/// is another one each time; where it was meant to go it comes once, however often it waited.
fn hash(text: &str, topic: &str) -> u128 {
    let [id, real_topic, due, times] = properties::get_each(
        text,
        [
            property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
            property::REAL_TOPIC,
            property::TIMER_OUT_MS,
            property::TIMER_ROLL_TIMES,
        ],
    );
    let waits = (topic == names::TIMER_TOPIC).then_some(times);
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, id, real_topic, due, waits).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}
