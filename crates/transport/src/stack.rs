//! The protocols that a connection speaks, one inside the other.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The protocols that a connection speaks, outermost first, such as `tls/remoting`. Connections
/// that speak the same share one.
#[derive(Debug, Default)]
pub struct Stack {
    name: String,
    layers: Vec<&'static str>,
    connections: AtomicUsize,
    retired: AtomicBool,
    /// Told when `retired` is set.
    told: Notify,
    /// One for each thread.
    turns: OnceLock<Arc<Semaphore>>,
}

impl Stack {
    /// A stack of no registry, for connections made from here.
    pub fn of(layers: &[&'static str]) -> Arc<Self> {
        Arc::new(Self {
            name: layers.join("/"),
            layers: layers.to_vec(),
            ..Self::default()
        })
    }

    /// This stack with another protocol inside.
    pub(crate) fn with(&self, name: &'static str) -> Self {
        let layers = [&*self.layers, &[name]].concat();
        Self {
            name: layers.join("/"),
            layers,
            ..Self::default()
        }
    }

    /// The names of the protocols, outermost first, joined by slashes: the label in logs and
    /// metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the protocols, outermost first.
    pub fn layers(&self) -> &[&'static str] {
        &self.layers
    }

    /// Whether it has this protocol.
    pub fn has(&self, name: &str) -> bool {
        self.layers.contains(&name)
    }

    /// Whether it is `below` with `name` inside.
    pub(crate) fn is(&self, below: &Self, name: &str) -> bool {
        self.layers
            .split_last()
            .is_some_and(|(last, rest)| *last == name && *rest == *below.layers)
    }

    /// How many open connections have it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Waits for a turn among the connections of this stack that have much to be taken, one after
    /// the other, as many at a time as there are threads. So a flood, by however many connections,
    /// keeps those of other stacks waiting for one turn only: before each the runtime looks at what
    /// else has become ready. Dropping what is given ends the turn.
    pub(crate) fn turn(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<> {
        let threads = || Arc::new(Semaphore::new(Handle::current().metrics().num_workers()));
        let turns = Arc::clone(self.turns.get_or_init(threads));
        async move {
            let turn = turns.acquire_owned().await;
            tokio::task::yield_now().await;
            turn.ok()
        }
    }

    /// Whether one of its protocols was switched off or replaced.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Waits until one of its protocols is switched off or replaced.
    pub(crate) async fn retired(&self) {
        let mut told = std::pin::pin!(self.told.notified());
        told.as_mut().enable();
        if !self.is_retired() {
            told.await;
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
