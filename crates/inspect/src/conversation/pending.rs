//! Requests that wait for their responses, and responses that came before their requests.

use std::collections::HashMap;
use std::time::Duration;

use wire::command::RequestCode;

use crate::capture::Timestamp;
use crate::exchange::{Exchange, Timing};
use crate::protocol::remoting::Framed;

/// How long a response waits for its request: the two directions are not read at the same pace.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(3);
/// Responses that wait for their requests, in each direction.
const MAX_ORPHANS: usize = 256;
/// The largest body that such a response keeps, in bytes.
const MAX_ORPHAN_BODY: usize = 256 << 10;

/// A request that waits for its response.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) exchange: Exchange,
    pub(crate) code: Option<RequestCode>,
    /// Whether the server may hold it until there is something to give.
    pub(crate) may_be_held: bool,
    /// Whether there was something to give when it came, as far as is known.
    pub(crate) had_something: bool,
    /// Packets that had been sent again on the connection before.
    pub(crate) retransmissions: u64,
}

/// Those of one side of a connection.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    requests: HashMap<u32, Waiting, foldhash::fast::RandomState>,
    /// None of the requests is older.
    oldest: Timestamp,
    /// Responses to this side, whose requests have not been seen.
    orphans: HashMap<u32, (Timestamp, Framed), foldhash::fast::RandomState>,
}

impl Pending {
    /// Adds a request; `None`, or the one that had its number.
    pub(crate) fn add(&mut self, id: u32, waiting: Waiting) -> Option<Waiting> {
        let time = waiting.exchange.timing.request.0;
        if self.requests.is_empty() || time < self.oldest {
            self.oldest = time;
        }
        self.requests.insert(id, waiting)
    }

    /// The request that a response belongs to.
    pub(crate) fn take(&mut self, id: u32) -> Option<Waiting> {
        self.requests.remove(&id)
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.orphans.is_empty()
    }

    /// Bytes kept.
    pub(crate) fn buffered(&self) -> usize {
        self.requests.len() * size_of::<Waiting>()
            + self
                .orphans
                .values()
                .map(|(_, framed)| framed.frame.body.len())
                .sum::<usize>()
    }

    /// Adds a response whose request has not been seen; it comes back if it can't wait.
    pub(crate) fn add_orphan(&mut self, id: u32, now: Timestamp, framed: Framed) -> Option<Framed> {
        if self.orphans.len() >= MAX_ORPHANS || framed.frame.body.len() > MAX_ORPHAN_BODY {
            return Some(framed);
        }
        let frame = framed.frame.detached();
        let kept = self.orphans.insert(id, (now, Framed { frame, ..framed }));
        kept.map(|(_, framed)| framed)
    }

    /// The response that came before its request.
    pub(crate) fn take_orphan(&mut self, id: u32) -> Option<Framed> {
        if self.orphans.is_empty() {
            return None;
        }
        self.orphans.remove(&id).map(|(_, framed)| framed)
    }

    /// The responses whose requests are not waited for any more, and the requests that waited
    /// longer than `patience` for a response, oldest first.
    pub(crate) fn expired(
        &mut self,
        now: Timestamp,
        patience: Duration,
    ) -> (Vec<Framed>, Vec<Waiting>) {
        let orphans = self
            .orphans
            .extract_if(|_, (since, _)| since.until(now) >= ORPHAN_PATIENCE);
        let mut orphans: Vec<Framed> = orphans.map(|(_, (_, framed))| framed).collect();
        orphans.sort_by_key(|framed| framed.last);
        if self.requests.is_empty() || self.oldest.until(now) < patience {
            return (orphans, Vec::new());
        }
        let old = |timing: &Timing| timing.request.0.until(now) >= patience;
        let requests = self
            .requests
            .extract_if(|_, waiting| old(&waiting.exchange.timing));
        let mut requests: Vec<Waiting> = requests.map(|(_, waiting)| waiting).collect();
        requests.sort_by_key(|waiting| waiting.exchange.timing.request.0);
        let left = self
            .requests
            .values()
            .map(|waiting| waiting.exchange.timing.request.0);
        self.oldest = left.min().unwrap_or_default();
        (orphans, requests)
    }
}
