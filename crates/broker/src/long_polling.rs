//! Long polling: pulls that found nothing wait here for a message (`PullRequestHoldService`).
//!
//! A held pull is answered by whoever stores a message that it asked for, on that task, and
//! otherwise when its time is over. Nothing polls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use store::{Arrival, ArrivalListener, Queue};

use crate::broker::Broker;
use crate::pull::HeldPull;

/// The most pulls that wait, at some 200 bytes each; further ones are answered at once.
const MAX_HELD: usize = 1_000_000;

/// The pulls that wait, by queue.
#[derive(Default)]
pub(crate) struct LongPolling {
    /// Keyed by the queue's address: every held pull keeps its queue alive.
    held: Mutex<HashMap<usize, Vec<HeldPull>>>,
    /// How many wait in all, to pass over the lock when none does.
    count: AtomicUsize,
    broker: OnceLock<Weak<Broker>>,
}

fn key(queue: &Arc<Queue>) -> usize {
    Arc::as_ptr(queue) as usize
}

impl LongPolling {
    /// Gives it the broker that answers.
    pub(crate) fn attach(&self, broker: &Arc<Broker>) {
        // Only ever called once, when the broker is put together.
        let _ = self.broker.set(Arc::downgrade(broker));
    }

    /// Whether no more pulls can wait.
    pub(crate) fn is_full(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= MAX_HELD
    }

    /// Holds a pull until there is a message for it or its time is over.
    pub(crate) fn hold(&self, broker: &Broker, pull: HeldPull) {
        let queue = Arc::clone(pull.queue());
        let offset = pull.offset();
        self.put(key(&queue), vec![pull]);
        // A message stored between the look that found nothing and now woke nobody.
        if queue.max_offset() > offset {
            self.wake(broker, &queue, None);
        }
    }

    fn put(&self, key: usize, pulls: Vec<HeldPull>) {
        if pulls.is_empty() {
            return;
        }
        self.count.fetch_add(pulls.len(), Ordering::SeqCst);
        self.held.lock().entry(key).or_default().extend(pulls);
    }

    fn take(&self, key: usize) -> Vec<HeldPull> {
        let pulls = self.held.lock().remove(&key).unwrap_or_default();
        self.count.fetch_sub(pulls.len(), Ordering::SeqCst);
        pulls
    }

    /// Answers the pulls that wait for this queue as far as there is something for them.
    fn wake(&self, broker: &Broker, queue: &Arc<Queue>, mut arrival: Option<&Arrival<'_>>) {
        loop {
            let max_offset = queue.max_offset();
            let still_waiting: Vec<HeldPull> = self
                .take(key(queue))
                .into_iter()
                .filter_map(|pull| pull.try_answer(broker, arrival))
                .collect();
            self.put(key(queue), still_waiting);
            // A message stored while the pulls were taken out has found none to answer.
            if queue.max_offset() == max_offset {
                return;
            }
            arrival = None;
        }
    }

    /// Answers all whose time is over, and forgets those whose client has gone.
    pub(crate) fn expire(&self, now_millis: i64) {
        self.give_up(|pull| pull.deadline_millis <= now_millis || !pull.is_wanted());
    }

    /// Answers those of a group, whose consumers then ask by what they want now.
    pub(crate) fn ask_anew(&self, group: &str) {
        self.give_up(|pull| pull.group() == group);
    }

    fn give_up(&self, is_over: impl Fn(&HeldPull) -> bool) {
        let mut over = Vec::new();
        self.held.lock().retain(|_, pulls| {
            over.extend(pulls.extract_if(.., |pull| is_over(pull)));
            !pulls.is_empty()
        });
        self.count.fetch_sub(over.len(), Ordering::SeqCst);
        for pull in over {
            pull.give_up();
        }
    }

    /// Answers all at once; for the shutdown.
    pub(crate) fn release(&self) {
        self.expire(i64::MAX);
    }
}

impl ArrivalListener for LongPolling {
    fn arrived(&self, arrival: &Arrival<'_>) {
        let Some(broker) = self.broker.get().and_then(Weak::upgrade) else {
            return;
        };
        // Pairs with the re-check in `hold`: a pull that is not counted yet looks again itself.
        if self.count.load(Ordering::SeqCst) > 0 {
            self.wake(&broker, arrival.queue, Some(arrival));
        }
        broker.schedule.arrived(arrival);
        broker.lite.arrived(&broker, arrival);
        broker.pop.arrived(&broker, arrival);
        broker.timer.arrived(arrival);
    }
}
