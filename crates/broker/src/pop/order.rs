//! Orderly pop: nothing more of a queue until what was received before is acknowledged or its time
//! is over (`ConsumerOrderInfoManager`). `config/consumerOrderInfo.json` keeps it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use store::Disk;
use wire::body::json;
use wire::message::pop::{append_offset_order_count, append_queue_order_count};

use crate::error::BrokerError;
use crate::table_file::TableFile;

/// Time after which a queue that nobody consumes any more is forgotten, in milliseconds.
const FORGET_MILLIS: i64 = 24 * 3600 * 1000;

/// What `consumerOrderInfo.json` holds: by `topic@group` and queue.
type Content = BTreeMap<String, BTreeMap<i32, Order>>;

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct OrderFile {
    table: Content,
}

/// What was last received of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Order {
    /// Milliseconds since 1970.
    #[serde(rename = "popTime")]
    pop_time: i64,
    /// Milliseconds from then until it is delivered again; 0 if nobody has said.
    #[serde(rename = "i")]
    invisible_time: i64,
    /// The first message's offset, and how far each further one is from it.
    #[serde(rename = "o")]
    offset_list: Vec<i64>,
    /// When single messages are delivered again, in milliseconds since 1970, by offset.
    #[serde(rename = "ot", skip_serializing_if = "BTreeMap::is_empty")]
    next_visible: BTreeMap<i64, i64>,
    /// How often messages were delivered before, by offset.
    #[serde(rename = "oc", skip_serializing_if = "BTreeMap::is_empty")]
    consumed: BTreeMap<i64, i32>,
    /// Milliseconds since 1970.
    #[serde(rename = "l")]
    last_consumed: i64,
    /// A bit for each message that is acknowledged.
    #[serde(rename = "cm")]
    acknowledged: i64,
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    attempt_id: Option<String>,
    /// When those that wait for the queue shall look again.
    #[serde(skip)]
    wake_at: Option<i64>,
}

/// What an acknowledgement comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The group goes on here.
    Next(i64),
    /// It belongs to an earlier reception, and changes nothing.
    Late,
    /// The message was not received.
    Illegal,
}

impl Order {
    fn offsets(&self) -> impl DoubleEndedIterator<Item = i64> {
        let first = self.offset_list.first().copied().unwrap_or_default();
        let rest = self.offset_list.iter().skip(1);
        let first_one = self.offset_list.first().copied();
        first_one
            .into_iter()
            .chain(rest.map(move |more| first.saturating_add(*more)))
    }

    fn outstanding(&self) -> impl Iterator<Item = i64> {
        let acknowledged = self.acknowledged;
        let numbered = (0_u32..).zip(self.offsets());
        numbered
            .filter(move |(index, _)| {
                acknowledged & 1_i64.checked_shl(*index).unwrap_or_default() == 0
            })
            .map(|(_, offset)| offset)
    }

    /// When something is to be delivered again at the earliest that is still hidden.
    fn hidden_until(&self, now: i64) -> Option<i64> {
        let until = self.pop_time.saturating_add(self.invisible_time);
        self.outstanding()
            .map(|offset| self.next_visible.get(&offset).copied().unwrap_or(until))
            .find(|until| now < *until)
    }
}

/// By `topic@group` and queue.
type Queues = HashMap<String, BTreeMap<i32, Order>>;

/// The orderly consumptions.
pub(super) struct OrderTable {
    queues: Mutex<Queues>,
    file: TableFile,
}

fn key(topic: &str, group: &str) -> String {
    format!("{topic}@{group}")
}

/// One queue, as a group consumes it.
pub(super) struct OrderlyQueue<'a> {
    orders: &'a OrderTable,
    topic: &'a str,
    group: &'a str,
    queue_id: i32,
}

impl OrderTable {
    pub(super) fn open(disk: Arc<dyn Disk>, config_dir: &Path) -> Result<Self, BrokerError> {
        let path = config_dir.join("consumerOrderInfo.json");
        let (file, content) = TableFile::open::<OrderFile>(disk, &path)?;
        let mut table = content.unwrap_or_default().table;
        for order in table.values_mut().flat_map(BTreeMap::values_mut) {
            order.wake_at = Some(order.pop_time);
        }
        Ok(Self {
            queues: Mutex::new(table.into_iter().collect()),
            file,
        })
    }

    /// One queue, as a group consumes it.
    pub(super) fn queue<'a>(
        &'a self,
        topic: &'a str,
        group: &'a str,
        queue_id: i32,
    ) -> OrderlyQueue<'a> {
        OrderlyQueue {
            orders: self,
            topic,
            group,
            queue_id,
        }
    }

    /// The queues, with topic and group, that may be received again since a time is over.
    pub(super) fn take_released(&self, now: i64) -> Vec<(String, String, i32)> {
        let mut released = Vec::new();
        for (key, queues) in &mut *self.queues.lock() {
            for (queue_id, order) in queues {
                if order.wake_at.is_none_or(|at| at > now) {
                    continue;
                }
                order.wake_at = order.hidden_until(now);
                if let Some((topic, group)) = key.split_once('@') {
                    released.push((topic.to_owned(), group.to_owned(), *queue_id));
                }
            }
        }
        released
    }

    /// Writes the file, if it is behind.
    pub(super) fn persist(&self, now: i64) -> Result<(), BrokerError> {
        Ok(self.file.save(|| {
            let mut queues = self.queues.lock();
            queues.retain(|_, queues| {
                queues.retain(|_, order| now - order.last_consumed <= FORGET_MILLIS);
                !queues.is_empty()
            });
            let table = queues.clone().into_iter().collect();
            json::write_pretty(&OrderFile { table })
        })?)
    }
}

impl OrderlyQueue<'_> {
    fn find<'q>(&self, queues: &'q mut Queues) -> Option<&'q mut Order> {
        let queues = queues.get_mut(&key(self.topic, self.group))?;
        queues.get_mut(&self.queue_id)
    }

    /// Whether a pop has to leave the queue alone. One that is a repeated attempt gets what it got
    /// before.
    pub(super) fn is_blocked(
        &self,
        attempt_id: Option<&str>,
        invisible_time: i64,
        now: i64,
    ) -> bool {
        let mut queues = self.orders.queues.lock();
        let order = self.find(&mut queues);
        let Some(order) = order else {
            return false;
        };
        if attempt_id.is_some() && order.attempt_id.as_deref() == attempt_id {
            return false;
        }
        if order.invisible_time <= 0 {
            order.invisible_time = invisible_time;
        }
        let hidden_until = order.hidden_until(now);
        order.wake_at = hidden_until;
        hidden_until.is_some()
    }

    /// Notes what was received, by pop time and invisible time, and appends how often each message
    /// was received before to `counts`.
    pub(super) fn take(
        &self,
        attempt_id: Option<String>,
        (pop_time, invisible_time): (i64, i64),
        offsets: &[i64],
        counts: &mut String,
    ) {
        let Some(&first) = offsets.first() else {
            return;
        };
        let mut queues = self.orders.queues.lock();
        let queues = queues.entry(key(self.topic, self.group)).or_default();
        let before = queues.remove(&self.queue_id).unwrap_or_default();
        let is_repeated = before.attempt_id.is_some() && before.attempt_id == attempt_id;
        let consumed = if is_repeated {
            before.consumed.clone()
        } else {
            let again = before.offsets().filter(|offset| offsets.contains(offset));
            let count = |offset| before.consumed.get(&offset).map_or(1, |count| count + 1);
            again.map(|offset| (offset, count(offset))).collect()
        };
        for (offset, count) in &consumed {
            append_offset_order_count(counts, self.topic, self.queue_id, *offset, *count);
        }
        // Old clients know the counts of whole queues only.
        let has_all = consumed.len() == offsets.len();
        let least = consumed.values().min().filter(|_| has_all);
        append_queue_order_count(
            counts,
            self.topic,
            self.queue_id,
            least.copied().unwrap_or(0),
        );
        let rest = offsets.iter().skip(1).map(|offset| offset - first);
        let order = Order {
            pop_time,
            invisible_time,
            offset_list: [first].into_iter().chain(rest).collect(),
            consumed,
            last_consumed: pop_time,
            attempt_id,
            wake_at: Some(pop_time.saturating_add(invisible_time)),
            ..Order::default()
        };
        queues.insert(self.queue_id, order);
        self.orders.file.touch();
    }

    /// Strikes off a message (`commitAndNext`).
    pub(super) fn acknowledge(&self, offset: i64, pop_time: i64) -> Step {
        let mut queues = self.orders.queues.lock();
        let order = self.find(&mut queues);
        let Some(order) = order else {
            return Step::Next(offset + 1);
        };
        if !order.offset_list.is_empty() && order.pop_time != pop_time {
            return Step::Late;
        }
        let index = order.offsets().position(|known| known == offset);
        let bit = index.and_then(|index| 1_i64.checked_shl(u32::try_from(index).ok()?));
        let Some(bit) = bit else {
            return Step::Illegal;
        };
        order.acknowledged |= bit;
        self.orders.file.touch();
        let first_left = order.outstanding().next();
        let behind = order.offsets().next_back().map_or(offset, |last| last + 1);
        Step::Next(first_left.unwrap_or(behind))
    }

    /// Hides a message until some time, in milliseconds since 1970.
    pub(super) fn hide_until(&self, offset: i64, pop_time: i64, until: i64) {
        let mut queues = self.orders.queues.lock();
        let order = self
            .find(&mut queues)
            .filter(|order| order.pop_time == pop_time);
        if let Some(order) = order {
            order.next_visible.insert(offset, until);
            order.wake_at = Some(order.wake_at.map_or(until, |at| at.min(until)));
            self.orders.file.touch();
        }
    }

    /// Forgets what was received of a queue, so that the group can start anew.
    pub(super) fn clear(&self) {
        let mut queues = self.orders.queues.lock();
        if let Some(queues) = queues.get_mut(&key(self.topic, self.group)) {
            queues.remove(&self.queue_id);
            self.orders.file.touch();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::MemoryDisk;

    fn open(disk: &MemoryDisk) -> OrderTable {
        OrderTable::open(Arc::new(disk.clone()), Path::new("/s/config")).unwrap()
    }

    fn queue(orders: &OrderTable) -> OrderlyQueue<'_> {
        orders.queue("t", "g", 1)
    }

    fn take(orders: &OrderTable, offsets: &[i64], at: i64) -> String {
        let mut counts = String::new();
        queue(orders).take(None, (at, 100), offsets, &mut counts);
        counts
    }

    #[test]
    fn a_queue_is_blocked_until_all_is_acknowledged_or_its_time_is_over() {
        let orders = open(&MemoryDisk::new());
        let blocked = |at| queue(&orders).is_blocked(None, 100, at);
        assert!(!blocked(0));
        assert_eq!(take(&orders, &[5, 6, 8], 0), "0 1 0");
        assert!(blocked(99) && !blocked(100));
        let ack = |offset, at| queue(&orders).acknowledge(offset, at);
        assert_eq!(ack(6, 0), Step::Next(5));
        assert_eq!(ack(5, 0), Step::Next(8));
        assert_eq!(ack(7, 0), Step::Illegal);
        assert_eq!(ack(8, 1), Step::Late);
        queue(&orders).hide_until(8, 0, 200);
        assert!(blocked(199) && !blocked(200));
        assert_eq!(take(&orders, &[8, 9], 200), "0 qo1%8 1;0 1 0");
        assert_eq!(ack(8, 200), Step::Next(9));
        assert_eq!(ack(9, 200), Step::Next(10));
        assert!(!blocked(200));
    }

    #[test]
    fn a_repeated_attempt_gets_the_same_messages() {
        let orders = open(&MemoryDisk::new());
        let attempt = |name: &str| Some(name.to_owned());
        let mut counts = String::new();
        queue(&orders).take(attempt("a"), (0, 100), &[5], &mut counts);
        let blocked = |name| queue(&orders).is_blocked(Some(name), 100, 1);
        assert!(!blocked("a") && blocked("b"));
        counts.clear();
        queue(&orders).take(attempt("a"), (1, 100), &[5], &mut counts);
        assert_eq!(counts, "0 1 0", "it does not count as another delivery");
    }

    #[test]
    fn the_file_is_the_references() {
        let disk = MemoryDisk::new();
        let orders = open(&disk);
        take(&orders, &[5, 6], 7);
        queue(&orders).hide_until(6, 7, 300);
        orders.persist(8).unwrap();
        let text = disk.content(Path::new("/s/config/consumerOrderInfo.json"));
        let text: String = String::from_utf8(text.unwrap()).unwrap();
        let dense: String = text.split_whitespace().collect();
        assert_eq!(
            dense,
            r#"{"table":{"t@g":{1:{"popTime":7,"i":100,"o":[5,1],"ot":{6:300},"l":7,"cm":0}}}}"#
        );
        assert!(queue(&open(&disk)).is_blocked(None, 100, 299));
        orders.persist(8 + FORGET_MILLIS).unwrap();
    }

    #[test]
    fn who_waits_is_told_when_a_queue_is_free() {
        let orders = open(&MemoryDisk::new());
        take(&orders, &[5], 0);
        assert_eq!(orders.take_released(99), []);
        assert_eq!(orders.take_released(100), [("t".into(), "g".into(), 1)]);
        assert_eq!(orders.take_released(101), []);
    }
}
