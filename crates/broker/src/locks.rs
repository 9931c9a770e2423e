//! Which client of a group has which queue to itself: ordered consumers lock the queues they
//! consume (`RebalanceLockManager`).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use store::Clock;
use wire::body::queue::MessageQueue;

/// Time after which a lock that was not renewed falls, in milliseconds. Clients renew theirs
/// every 20 seconds.
const LOCK_MILLIS: i64 = 60_000;

/// The locks of all groups.
pub(crate) struct QueueLocks {
    groups: Mutex<HashMap<String, HashMap<MessageQueue, Lock>>>,
    clock: Arc<dyn Clock>,
}

struct Lock {
    client_id: String,
    /// When it was taken or renewed, in milliseconds since 1970.
    renewed: i64,
}

impl Lock {
    fn holds(&self, now: i64) -> bool {
        now - self.renewed <= LOCK_MILLIS
    }
}

impl QueueLocks {
    /// No locks.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            groups: Mutex::default(),
            clock,
        }
    }

    /// Locks queues for a client or renews its locks. Returns those that it has now; the others
    /// belong to another client of the group.
    pub(crate) fn lock(
        &self,
        group: &str,
        queues: Vec<MessageQueue>,
        client_id: &str,
    ) -> Vec<MessageQueue> {
        let now = self.clock.now_millis();
        let mut groups = self.groups.lock();
        if !groups.contains_key(group) {
            groups.insert(group.into(), HashMap::new());
        }
        let Some(locks) = groups.get_mut(group) else {
            return Vec::new();
        };
        let mut mine = Vec::with_capacity(queues.len());
        for queue in queues {
            match locks.get_mut(&queue) {
                Some(lock) if lock.client_id == client_id => lock.renewed = now,
                Some(lock) if lock.holds(now) => continue,
                _ => {
                    tracing::debug!(group, client_id, ?queue, "locked");
                    let lock = Lock {
                        client_id: client_id.into(),
                        renewed: now,
                    };
                    locks.insert(queue.clone(), lock);
                }
            }
            mine.push(queue);
        }
        mine
    }

    /// Gives up those of the queues that the client has.
    pub(crate) fn unlock(&self, group: &str, queues: &[MessageQueue], client_id: &str) {
        let mut groups = self.groups.lock();
        let Some(locks) = groups.get_mut(group) else {
            return;
        };
        for queue in queues {
            if locks
                .get(queue)
                .is_some_and(|lock| lock.client_id == client_id)
            {
                locks.remove(queue);
            }
        }
        if locks.is_empty() {
            groups.remove(group);
        }
    }

    /// Whether a client of the group holds a queue: its consumers are ordered ones.
    pub(crate) fn has_locks(&self, group: &str) -> bool {
        let now = self.clock.now_millis();
        let groups = self.groups.lock();
        groups
            .get(group)
            .is_some_and(|locks| locks.values().any(|lock| lock.holds(now)))
    }

    /// Forgets the locks that were not renewed; to be called now and then.
    pub(crate) fn expire(&self) {
        let now = self.clock.now_millis();
        self.groups.lock().retain(|_, locks| {
            locks.retain(|_, lock| lock.holds(now));
            !locks.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::TestClock;

    fn queues(ids: impl IntoIterator<Item = i32>) -> Vec<MessageQueue> {
        let queue = |queue_id| MessageQueue {
            topic: "orders".into(),
            broker_name: "a".into(),
            queue_id,
        };
        ids.into_iter().map(queue).collect()
    }

    #[test]
    fn a_queue_belongs_to_one_client_of_a_group() {
        let locks = QueueLocks::new(Arc::new(TestClock::new()));
        assert_eq!(locks.lock("g", queues(0..2), "first"), queues(0..2));
        assert_eq!(locks.lock("g", queues(0..4), "second"), queues(2..4));
        assert_eq!(
            locks.lock("h", queues(0..4), "second"),
            queues(0..4),
            "groups do not meet"
        );
        locks.unlock("g", &queues(0..4), "first");
        assert_eq!(locks.lock("g", queues(0..4), "third"), queues(0..2));
    }

    #[test]
    fn a_lock_falls_unless_it_is_renewed() {
        let clock = TestClock::new();
        let locks = QueueLocks::new(Arc::new(clock.clone()));
        locks.lock("g", queues(0..2), "first");
        clock.advance(LOCK_MILLIS);
        locks.lock("g", queues([1]), "first");
        clock.advance(1);
        locks.expire();
        assert_eq!(locks.lock("g", queues(0..2), "second"), queues([0]));
        clock.advance(LOCK_MILLIS + 1);
        assert_eq!(
            locks.lock("g", queues(0..2), "third"),
            queues(0..2),
            "without expire as well"
        );
    }
}
