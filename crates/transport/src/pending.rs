//! The requests of one connection that wait for their answers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use wire::frame::Frame;

use crate::connection::Connection;
use crate::error::TransportError;

/// Pairs answers with requests by their opaque numbers. Bounded; emptied when the connection
/// closes, which every waiting request notices at once.
pub(crate) struct PendingTable {
    state: Mutex<State>,
    limit: usize,
}

struct State {
    next_opaque: i32,
    closed: bool,
    waiting: HashMap<i32, oneshot::Sender<Frame>>,
}

/// Why a request can't be registered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unregistered {
    /// The connection is closed.
    Closed,
    /// As many requests as allowed wait already.
    Full,
}

impl PendingTable {
    pub(crate) fn new(limit: usize) -> Self {
        let state = State {
            next_opaque: 1,
            closed: false,
            waiting: HashMap::new(),
        };
        Self {
            state: Mutex::new(state),
            limit,
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A number for a request that nobody answers.
    pub(crate) fn next_opaque(&self) -> i32 {
        let mut state = self.state.lock();
        state.next_opaque = state.next_opaque.wrapping_add(1);
        state.next_opaque
    }

    /// Chooses an opaque number that no waiting request has and waits under it.
    pub(crate) fn register(&self) -> Result<(i32, oneshot::Receiver<Frame>), Unregistered> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Unregistered::Closed);
        }
        if state.waiting.len() >= self.limit {
            return Err(Unregistered::Full);
        }
        loop {
            state.next_opaque = state.next_opaque.wrapping_add(1);
            let opaque = state.next_opaque;
            // After four thousand million requests an old one could still wait here.
            if let Entry::Vacant(place) = state.waiting.entry(opaque) {
                let (sender, receiver) = oneshot::channel();
                place.insert(sender);
                return Ok((opaque, receiver));
            }
        }
    }

    /// Hands an answer to the request it belongs to; false when no such request waits.
    pub(crate) fn resolve(&self, answer: Frame) -> bool {
        let waiting = self.state.lock().waiting.remove(&answer.head.opaque);
        waiting.is_some_and(|sender| sender.send(answer).is_ok())
    }

    /// Forgets a request that waits no longer.
    pub(crate) fn forget(&self, opaque: i32) {
        self.state.lock().waiting.remove(&opaque);
    }

    /// Wakes all that wait, with an error, and lets nobody wait any more.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn trim(&self) {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            state.waiting = HashMap::new();
        }
    }
}

/// Forgets a request when nobody waits for its answer any more.
pub(crate) struct Waiting<'a> {
    connection: &'a Connection,
    opaque: i32,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(connection: &'a Connection, opaque: i32) -> Self {
        Self { connection, opaque }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.connection.forget(self.opaque);
    }
}

/// A request that is on its way. Dropped, its answer is passed over.
#[derive(Debug)]
pub struct PendingAnswer {
    connection: Arc<Connection>,
    code: i32,
    opaque: i32,
    answer: oneshot::Receiver<Frame>,
}

impl PendingAnswer {
    pub(crate) fn new(
        connection: Arc<Connection>,
        code: i32,
        opaque: i32,
        answer: oneshot::Receiver<Frame>,
    ) -> Self {
        Self {
            connection,
            code,
            opaque,
            answer,
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// No answer in time, or the connection closed.
    pub async fn wait(mut self, timeout: Duration) -> Result<Frame, TransportError> {
        match tokio::time::timeout(timeout, &mut self.answer).await {
            Ok(answer) => answer.map_err(|_| self.connection.closed()),
            Err(_) => {
                let (address, code) = (self.connection.address(), self.code);
                Err(TransportError::Timeout {
                    address,
                    code,
                    timeout,
                })
            }
        }
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.connection.forget(self.opaque);
    }
}
