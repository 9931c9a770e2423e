//! The protocols that a connection speaks, one inside the other.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

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
