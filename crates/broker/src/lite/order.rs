//! What of a lite topic a group has received and not consumed yet: a lite topic is received in
//! order, so nothing more of it is handed out until all that was is acknowledged, or visible again
//! (`QueueLevelConsumerManager.OrderInfo`, `MemoryConsumerOrderInfoManager`).
//!
//! It is in memory only: after a restart a group goes on at its committed offset.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

/// A group in the light queue of a lite topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OrderKey {
    pub(crate) group: Arc<str>,
    pub(crate) light_queue: Arc<str>,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq)]
struct Received {
    offset: i64,
    /// How often it was received before.
    times: i32,
    acknowledged: bool,
    /// When it is visible again, in milliseconds since 1970.
    visible_at: i64,
}

/// The last reception of a lite topic by a group.
#[derive(Debug, Default)]
pub(crate) struct Order {
    attempt_id: Option<String>,
    pop_time: i64,
    messages: Vec<Received>,
    /// When the group is looked at again, in milliseconds since 1970.
    due: Option<i64>,
}

/// What became of an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// The group goes on at this offset.
    Next(i64),
    /// It is of an earlier reception, and too late.
    Late,
    /// The message was not received.
    Unknown,
}

impl Order {
    /// Whether nothing may be received now. The attempt that received last may do so again.
    pub(crate) fn is_blocked(&self, attempt_id: Option<&str>, now: i64) -> bool {
        let is_same_attempt = self.attempt_id.is_some() && self.attempt_id.as_deref() == attempt_id;
        !is_same_attempt && self.visible_at().is_some_and(|at| now < at)
    }

    /// When all messages that are not acknowledged are visible again; `None` if there are none.
    fn visible_at(&self) -> Option<i64> {
        let open = self.messages.iter().filter(|message| !message.acknowledged);
        open.map(|message| message.visible_at).max()
    }

    /// Notes the messages of a reception, and tells how often each was received before.
    pub(crate) fn receive(
        &mut self,
        attempt_id: Option<&str>,
        offsets: impl IntoIterator<Item = i64>,
        pop_time: i64,
        invisible_time: i64,
    ) -> Vec<i32> {
        let is_same_attempt = self.attempt_id.is_some() && self.attempt_id.as_deref() == attempt_id;
        let before: HashMap<i64, i32> = self
            .messages
            .iter()
            .map(|message| (message.offset, message.times + i32::from(!is_same_attempt)))
            .collect();
        self.attempt_id = attempt_id.map(str::to_owned);
        self.pop_time = pop_time;
        self.messages = offsets
            .into_iter()
            .map(|offset| Received {
                offset,
                times: before.get(&offset).copied().unwrap_or_default(),
                acknowledged: false,
                visible_at: pop_time.saturating_add(invisible_time),
            })
            .collect();
        self.messages.iter().map(|message| message.times).collect()
    }

    /// A message was consumed. One that is not known of any reception, as after a restart, moves
    /// the group behind it.
    pub(crate) fn acknowledge(&mut self, offset: i64, pop_time: i64) -> Acknowledged {
        if self.messages.is_empty() {
            return Acknowledged::Next(offset.saturating_add(1));
        }
        if pop_time != self.pop_time {
            return Acknowledged::Late;
        }
        let mut messages = self.messages.iter_mut();
        let Some(message) = messages.find(|message| message.offset == offset) else {
            return Acknowledged::Unknown;
        };
        message.acknowledged = true;
        let open = self.messages.iter().find(|message| !message.acknowledged);
        let last = self.messages.last().map_or(offset, |last| last.offset);
        Acknowledged::Next(open.map_or(last + 1, |open| open.offset))
    }

    /// A message of the last reception is visible at another time.
    pub(crate) fn change_visibility(&mut self, offset: i64, pop_time: i64, visible_at: i64) {
        if pop_time == self.pop_time {
            let mut messages = self.messages.iter_mut();
            if let Some(message) = messages.find(|message| message.offset == offset) {
                message.visible_at = visible_at;
            }
        }
    }

    /// All of the last reception is visible at another time, and this reception does not count.
    pub(crate) fn suspend(&mut self, pop_time: i64, visible_at: i64) {
        if pop_time == self.pop_time {
            for message in &mut self.messages {
                message.times = (message.times - 1).max(0);
                message.visible_at = visible_at;
            }
        }
    }

    /// The group starts anew.
    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.attempt_id = None;
    }
}

/// All groups that received something of lite topics.
#[derive(Default)]
pub(crate) struct Orders {
    state: Mutex<OrdersState>,
}

#[derive(Default)]
struct OrdersState {
    orders: HashMap<OrderKey, Arc<Mutex<Order>>>,
    /// When to look at which again, in milliseconds since 1970.
    due: BTreeMap<i64, Vec<OrderKey>>,
}

impl Orders {
    /// The order of a group in a lite topic, made where there is none.
    pub(crate) fn get(&self, key: &OrderKey) -> Arc<Mutex<Order>> {
        let mut state = self.state.lock();
        if let Some(order) = state.orders.get(key) {
            return Arc::clone(order);
        }
        let order = Arc::<Mutex<Order>>::default();
        state.orders.insert(key.clone(), Arc::clone(&order));
        order
    }

    /// Sees to it that the group is looked at when what it received is visible again.
    pub(crate) fn watch(&self, key: &OrderKey, order: &mut Order) {
        let Some(at) = order.visible_at() else {
            return;
        };
        if order.due.is_none_or(|due| at < due) {
            order.due = Some(at);
            let mut state = self.state.lock();
            state.due.entry(at).or_default().push(key.clone());
        }
    }

    /// The groups that may receive again since what they received is visible.
    pub(crate) fn free(&self, now: i64) -> Vec<OrderKey> {
        let mut due = Vec::new();
        {
            let mut state = self.state.lock();
            while let Some(first) = state.due.first_entry().filter(|first| *first.key() <= now) {
                due.extend(first.remove());
            }
        }
        due.retain(|key| {
            let order = self.state.lock().orders.get(key).cloned();
            let Some(order) = order else {
                return false;
            };
            let mut order = order.lock();
            order.due = None;
            let is_free = order.visible_at().is_some_and(|at| at <= now);
            if !is_free {
                self.watch(key, &mut order);
            }
            is_free
        });
        due
    }

    /// Forgets a group in a lite topic.
    pub(crate) fn remove(&self, key: &OrderKey) {
        self.state.lock().orders.remove(key);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().orders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_more_comes_until_all_is_acknowledged_or_visible_again() {
        let mut order = Order::default();
        assert!(!order.is_blocked(None, 0));
        assert_eq!(order.receive(Some("a"), [3, 4, 5], 100, 50), [0, 0, 0]);
        assert!(order.is_blocked(None, 149) && order.is_blocked(Some("b"), 149));
        assert!(!order.is_blocked(Some("a"), 149));
        assert!(!order.is_blocked(None, 150));

        assert_eq!(order.acknowledge(4, 100), Acknowledged::Next(3));
        assert_eq!(order.acknowledge(9, 100), Acknowledged::Unknown);
        assert_eq!(order.acknowledge(3, 99), Acknowledged::Late);
        assert_eq!(order.acknowledge(3, 100), Acknowledged::Next(5));
        assert!(order.is_blocked(None, 149));
        assert_eq!(order.acknowledge(5, 100), Acknowledged::Next(6));
        assert!(!order.is_blocked(None, 101));
    }

    #[test]
    fn messages_that_come_again_are_counted() {
        let mut order = Order::default();
        order.receive(Some("a"), [3, 4], 100, 50);
        assert_eq!(order.receive(Some("a"), [3, 4], 101, 50), [0, 0]);
        assert_eq!(order.receive(Some("b"), [3, 4, 5], 200, 50), [1, 1, 0]);
        order.suspend(200, 230);
        assert!(order.is_blocked(None, 229) && !order.is_blocked(None, 230));
        assert_eq!(order.receive(None, [3, 4, 5], 300, 50), [1, 1, 1]);
        order.change_visibility(3, 300, 1000);
        assert!(order.is_blocked(None, 999) && !order.is_blocked(None, 1000));
        order.clear();
        assert_eq!(order.acknowledge(7, 1), Acknowledged::Next(8));
    }

    #[test]
    fn a_group_is_told_free_once_when_its_messages_are_visible() {
        let orders = Orders::default();
        let key = OrderKey {
            group: "g".into(),
            light_queue: "%LMQ%$t$a".into(),
        };
        let order = orders.get(&key);
        let mut held = order.lock();
        held.receive(None, [0], 100, 50);
        orders.watch(&key, &mut held);
        held.change_visibility(0, 100, 300);
        orders.watch(&key, &mut held);
        drop(held);
        assert_eq!(orders.free(299), []);
        assert_eq!(orders.free(300), std::slice::from_ref(&key));
        assert_eq!(orders.free(400), []);
        orders.remove(&key);
        assert_eq!(orders.len(), 0);
    }
}
