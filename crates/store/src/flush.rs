//! Group commit: one flush of the log serves everybody who waits for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::error::StoreError;
use crate::write_behind::STEP;

/// How far the log is on the disk, and who waits for it.
pub(crate) struct Flusher {
    flushed: AtomicI64,
    /// End of the log at which [`Due::WriteBehind`] is due.
    next_step: AtomicI64,
    state: Mutex<FlushState>,
    wanted: Condvar,
    next_waiter: AtomicU64,
}

#[derive(Default)]
struct FlushState {
    /// By position and then arrival.
    waiting: BTreeMap<(i64, u64), Waker>,
    wanted: bool,
    /// Much was appended since [`Due::WriteBehind`].
    much: bool,
    /// Nothing is promised any more, for this reason.
    ended: Option<StoreError>,
}

/// What the flushing thread has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Somebody waits for the disk, or it is time.
    Flush,
    /// Much was appended.
    WriteBehind,
}

impl Flusher {
    pub(crate) fn new() -> Flusher {
        Flusher {
            flushed: AtomicI64::new(0),
            next_step: AtomicI64::new(0),
            state: Mutex::default(),
            wanted: Condvar::new(),
            next_waiter: AtomicU64::new(0),
        }
    }

    /// Position up to which the log is on the disk.
    pub(crate) fn flushed(&self) -> i64 {
        self.flushed.load(Ordering::Acquire)
    }

    /// Why nothing can be promised any more, if so.
    pub(crate) fn ended(&self) -> Option<StoreError> {
        self.state.lock().ended.clone()
    }

    /// The log is on the disk up to a position: wakes those who waited for it.
    pub(crate) fn advance(&self, position: i64) {
        self.flushed.fetch_max(position, Ordering::AcqRel);
        let done = {
            let mut state = self.state.lock();
            let still_waiting = state.waiting.split_off(&(position, u64::MAX));
            std::mem::replace(&mut state.waiting, still_waiting)
        };
        done.into_values().for_each(Waker::wake);
    }

    /// Nothing will be flushed any more: everybody who waits is told why.
    pub(crate) fn end(&self, reason: StoreError) {
        let waiting = {
            let mut state = self.state.lock();
            state.ended.get_or_insert(reason);
            std::mem::take(&mut state.waiting)
        };
        self.wanted.notify_all();
        waiting.into_values().for_each(Waker::wake);
    }

    /// Tells how far the log goes now.
    pub(crate) fn appended(&self, end: i64) {
        let due = self.next_step.load(Ordering::Relaxed);
        if end >= due {
            // Who else comes before the thread has looked finds the next step far away.
            self.next_step.store(end + STEP, Ordering::Relaxed);
            self.state.lock().much = true;
            self.wanted.notify_one();
        }
    }

    /// Waits until there is something to do, a flush at `time`; `None` once it is the end.
    pub(crate) fn wait(&self, time: Instant) -> Option<Due> {
        let mut state = self.state.lock();
        loop {
            if state.ended.is_some() {
                return None;
            }
            if std::mem::take(&mut state.wanted) {
                return Some(Due::Flush);
            }
            if std::mem::take(&mut state.much) {
                return Some(Due::WriteBehind);
            }
            if self.wanted.wait_until(&mut state, time).timed_out() {
                return state.ended.is_none().then_some(Due::Flush);
            }
        }
    }

    /// Waits for a position.
    pub(crate) fn wait_for(self: &Arc<Flusher>, position: i64) -> Flushed {
        Flushed {
            flusher: Arc::clone(self),
            position,
            waiter: None,
        }
    }
}

/// Resolves when the log is on the disk up to a position.
///
/// It has no time limit of its own: `syncFlushTimeout` is for whoever waits. Dropping it is how
/// to stop waiting.
#[must_use = "nothing is awaited until this is polled"]
pub struct Flushed {
    flusher: Arc<Flusher>,
    position: i64,
    waiter: Option<u64>,
}

impl Future for Flushed {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let flusher = Arc::clone(&self.flusher);
        if flusher.flushed() >= self.position {
            return Poll::Ready(Ok(()));
        }
        let mut state = flusher.state.lock();
        // Asked again under the lock, so that no wake-up falls between.
        if flusher.flushed() >= self.position {
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = &state.ended {
            return Poll::Ready(Err(reason.clone()));
        }
        let waiter = *self
            .waiter
            .get_or_insert_with(|| flusher.next_waiter.fetch_add(1, Ordering::Relaxed));
        state
            .waiting
            .insert((self.position, waiter), context.waker().clone());
        if !std::mem::replace(&mut state.wanted, true) {
            flusher.wanted.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            let mut state = self.flusher.state.lock();
            state.waiting.remove(&(self.position, waiter));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn one_flush_wakes_all_it_covers() {
        let flusher = Arc::new(Flusher::new());
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let mut waiting: Vec<Flushed> = [10, 20, 30].map(|at| flusher.wait_for(at)).into();
        for flushed in &mut waiting {
            assert!(Pin::new(flushed).poll(&mut context).is_pending());
        }
        let now = Instant::now();
        assert_eq!(flusher.wait(now), Some(Due::Flush));
        flusher.advance(20);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        let ready =
            |flushed: &mut Flushed, context: &mut Context<'_>| Pin::new(flushed).poll(context);
        assert!(matches!(
            ready(&mut waiting[0], &mut context),
            Poll::Ready(Ok(()))
        ));
        assert!(matches!(
            ready(&mut waiting[1], &mut context),
            Poll::Ready(Ok(()))
        ));
        assert!(ready(&mut waiting[2], &mut context).is_pending());

        flusher.end(StoreError::Closed);
        assert!(matches!(
            ready(&mut waiting[2], &mut context),
            Poll::Ready(Err(StoreError::Closed))
        ));
        assert_eq!(flusher.wait(now), None);
    }

    #[test]
    fn who_stops_waiting_leaves_nothing_behind() {
        let flusher = Arc::new(Flusher::new());
        let waker = Waker::noop();
        let mut flushed = flusher.wait_for(1);
        assert!(
            Pin::new(&mut flushed)
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
        drop(flushed);
        assert!(flusher.state.lock().waiting.is_empty());
    }
}
