//! What the connections of one server or client have in common.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use crate::connection::{Connection, Limits, Stage};
use crate::connection_task::ConnectionTask;
use crate::error::TransportError;
use crate::events::ConnectionListener;
use crate::executor::BoxFuture;
use crate::farewell::FAREWELL;
use crate::handler::HandlerTable;
use crate::network::Link;
use crate::protocols::Protocols;
use crate::stack::Stack;

/// Time between two looks at all connections.
const ROUND: Duration = Duration::from_secs(1);

/// A connection that was quiet for so long gives back its buffers.
const QUIET: Duration = Duration::from_secs(2);

/// A peer that takes nothing for so long of what waits for it is cut off, where idle ones are kept.
const STUCK: Duration = Duration::from_secs(120);

/// The connections of a server or client, with the handlers and limits they share. Protocols get
/// it to open connections.
pub struct Endpoint {
    protocols: Protocols,
    handlers: Arc<HandlerTable>,
    listener: Arc<dyn ConnectionListener>,
    limits: Limits,
    handshake_timeout: Duration,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    /// Told when the last connection is gone.
    emptied: Notify,
    /// Whether there are to be no more connections.
    closing: AtomicBool,
    /// Told when `closing` is set.
    closed: Notify,
}

impl Endpoint {
    /// A client needs no protocols: it knows what it speaks.
    pub(crate) fn new(
        protocols: Protocols,
        handlers: HandlerTable,
        listener: Arc<dyn ConnectionListener>,
        limits: Limits,
        handshake_timeout: Duration,
    ) -> Arc<Self> {
        let connections = Mutex::new(HashMap::new());
        let handlers = Arc::new(handlers);
        Arc::new(Self {
            protocols,
            handlers,
            listener,
            limits,
            handshake_timeout,
            connections,
            emptied: Notify::new(),
            closing: AtomicBool::new(false),
            closed: Notify::new(),
        })
    }

    /// How long a peer has to say what protocol it speaks.
    pub fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// When the peer of this connection must have said what it wants, handshakes included.
    pub fn deadline(&self, link: &Link) -> Instant {
        link.deadline
            .unwrap_or_else(|| Instant::now() + self.handshake_timeout)
    }

    /// Logs that a connection is refused, and why, unless that was logged of this peer within
    /// the last minute.
    pub fn log_refusal(&self, peer: SocketAddr, why: impl fmt::Display) {
        self.protocols.refusals().tell(peer.ip(), || {
            tracing::warn!(%peer, "a connection is refused: {why}");
        });
    }

    /// How long a connection may be without traffic; `None` for ever.
    pub(crate) fn idle_limit(&self) -> Option<Duration> {
        self.limits.idle
    }

    /// How long a peer may take nothing of what waits for it.
    pub(crate) fn stuck_limit(&self) -> Duration {
        self.limits.idle.unwrap_or(STUCK)
    }

    /// Finds out what a stream carries and serves it to its end, within what is left of the time
    /// that the connection has to say what it wants: for layers.
    pub async fn serve(self: Arc<Self>, link: Link) {
        let protocols = self.protocols.clone();
        // Layers make this recursive.
        let serving: BoxFuture<'_, ()> = Box::pin(protocols.serve(link, self));
        serving.await;
    }

    /// Waits until connections with this stack are to end: because one of its protocols is
    /// switched off or replaced, or the server stops.
    pub async fn draining(&self, stack: &Stack) {
        tokio::select! {
            () = stack.retired() => {}
            () = self.closing() => {}
        }
    }

    /// The protocols of a server; a client has none here.
    pub(crate) fn protocols(&self) -> &Protocols {
        &self.protocols
    }

    /// Makes a connection of a stream that carries frames. The future serves it to its end.
    pub fn open(
        self: &Arc<Self>,
        link: Link,
    ) -> (Arc<Connection>, impl Future<Output = ()> + Send + 'static) {
        let connection = Connection::new(link.peer, link.local, link.stack, self.limits);
        self.connections
            .lock()
            .insert(connection.id(), Arc::clone(&connection));
        if self.is_closing() {
            connection.advance(Stage::Closing);
        } else if connection.stack().is_retired() {
            connection.advance(Stage::Draining);
        }
        let handlers = Arc::clone(&self.handlers);
        let task = ConnectionTask::new(
            link.stream,
            link.received,
            Arc::clone(&connection),
            handlers,
        );
        connection.stack().opened();
        let open = Open {
            endpoint: Arc::clone(self),
            connection: Arc::clone(&connection),
            told: false,
        };
        (connection, open.run(task.run()))
    }

    /// All connections.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().values().cloned().collect()
    }

    /// How many connections there are.
    pub(crate) fn connection_count(&self) -> usize {
        self.connections.lock().len()
    }

    /// Whether there are to be no more connections.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Waits until there are to be no more connections.
    pub(crate) async fn closing(&self) {
        let mut told = std::pin::pin!(self.closed.notified());
        told.as_mut().enable();
        if !self.is_closing() {
            told.await;
        }
    }

    /// Takes all connections, and those still to be made, to a stage of their end.
    pub(crate) fn close(&self, stage: Stage) {
        self.closing.store(true, Ordering::SeqCst);
        self.closed.notify_waiters();
        for connection in self.connections() {
            connection.advance(stage);
        }
    }

    /// Finishes what runs, writes what waits and closes all connections; what is not done within
    /// `limit` is cut off.
    pub(crate) async fn shutdown(&self, limit: Duration) {
        self.close(Stage::Draining);
        if tokio::time::timeout(limit, self.empty()).await.is_err() {
            tracing::warn!(
                connections = self.connection_count(),
                "connections had not finished within {} ms and are cut off",
                limit.as_millis()
            );
            self.close(Stage::Aborted);
            self.empty().await;
        }
    }

    /// Waits until there are no connections.
    async fn empty(&self) {
        loop {
            let mut told = std::pin::pin!(self.emptied.notified());
            told.as_mut().enable();
            if self.connections.lock().is_empty() {
                return;
            }
            told.await;
        }
    }

    /// Looks after all connections as long as there is an endpoint: closes those that are idle or
    /// don't come to an end, and has quiet ones give back memory. This needs no timer and no
    /// task for a connection.
    pub(crate) async fn housekeeping(endpoint: Weak<Self>) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Some(mut retirements) = endpoint.upgrade().map(|it| it.protocols.retirements()) else {
            return;
        };
        loop {
            let look: fn(&Self, &Arc<Connection>) = tokio::select! {
                _ = rounds.tick() => Self::look_after,
                Ok(()) = retirements.changed() => Self::drain_retired,
            };
            let Some(endpoint) = endpoint.upgrade() else {
                return;
            };
            for connection in endpoint.connections() {
                look(&endpoint, &connection);
            }
        }
    }

    fn drain_retired(&self, connection: &Arc<Connection>) {
        if connection.stack().is_retired() {
            connection.advance(Stage::Draining);
        }
    }

    fn look_after(&self, connection: &Arc<Connection>) {
        let quiet = connection.idle_for();
        if !connection.is_open() {
            if quiet >= self.stuck_limit() || (quiet >= FAREWELL && connection.unsent() == 0) {
                connection.advance(Stage::Aborted);
            }
        } else if self.limits.idle.is_some_and(|idle| quiet >= idle) {
            tracing::debug!(peer = %connection.peer(), "an idle connection is closed");
            self.listener.idle(connection);
            connection.close();
        } else if quiet >= QUIET {
            connection.trim();
        }
    }
}

/// A connection in the table of its endpoint; taken out however its task ends.
struct Open {
    endpoint: Arc<Endpoint>,
    connection: Arc<Connection>,
    /// Whether the listener knows of the connection.
    told: bool,
}

impl Open {
    async fn run(mut self, task: impl Future<Output = Result<(), TransportError>>) {
        let listener = Arc::clone(&self.endpoint.listener);
        tracing::debug!(peer = %self.connection.peer(), protocol = %self.connection.stack(), "connected");
        self.told = true;
        listener.connected(&self.connection);
        if let Err(error) = task.await {
            tracing::debug!(%error, "a connection failed");
            listener.failed(&self.connection, &error);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connection.advance(Stage::Aborted);
        self.connection.stack().closed();
        let mut connections = self.endpoint.connections.lock();
        connections.remove(&self.connection.id());
        let empty = connections.is_empty();
        drop(connections);
        if self.told {
            tracing::debug!(peer = %self.connection.peer(), "closed");
            self.endpoint.listener.closed(&self.connection);
        }
        if empty {
            self.endpoint.emptied.notify_waiters();
        }
    }
}
