//! Requests that wait for their responses, and responses that came before their requests.

use std::collections::HashMap;
use std::time::Duration;

use wire::command::RequestCode;

use crate::capture::Timestamp;
use crate::exchange::{Exchange, Timing};
use crate::protocol::remoting::{Arrival, Framed};

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

/// A response that waits for its request.
#[derive(Debug)]
pub(crate) struct Orphan {
    /// Since when it waits.
    since: Timestamp,
    bytes: Box<[u8]>,
    arrival: Arrival,
}

impl Orphan {
    /// The response; it could be read before.
    pub(crate) fn framed(&self) -> Option<Framed<'_>> {
        Framed::read(&self.bytes, self.arrival).ok()
    }
}

/// What became of a response whose request has not been seen.
#[derive(Debug)]
pub(crate) enum Kept {
    /// It waits.
    New,
    /// It waits, in place of an older one with its number.
    InPlaceOf(Orphan),
    /// It can't wait.
    Not,
}

/// Those of one side of a connection.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    requests: HashMap<u32, Waiting, foldhash::fast::RandomState>,
    /// None of the requests is older.
    oldest: Timestamp,
    /// Responses to this side, whose requests have not been seen.
    orphans: HashMap<u32, Orphan, foldhash::fast::RandomState>,
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
                .map(|orphan| orphan.bytes.len())
                .sum::<usize>()
    }

    /// Adds a response whose request has not been seen.
    pub(crate) fn add_orphan(&mut self, id: u32, now: Timestamp, framed: &Framed<'_>) -> Kept {
        if self.orphans.len() >= MAX_ORPHANS || framed.frame.body.len() > MAX_ORPHAN_BODY {
            return Kept::Not;
        }
        let orphan = Orphan {
            since: now,
            bytes: framed.bytes.into(),
            arrival: framed.arrival,
        };
        let before = self.orphans.insert(id, orphan);
        before.map_or(Kept::New, Kept::InPlaceOf)
    }

    /// The response that came before its request.
    pub(crate) fn take_orphan(&mut self, id: u32) -> Option<Orphan> {
        if self.orphans.is_empty() {
            return None;
        }
        self.orphans.remove(&id)
    }

    /// The responses whose requests are not waited for any more, and the requests that waited
    /// longer than `patience` for a response, oldest first.
    pub(crate) fn expired(
        &mut self,
        now: Timestamp,
        patience: Duration,
    ) -> (Vec<Orphan>, Vec<Waiting>) {
        let orphans = self
            .orphans
            .extract_if(|_, orphan| orphan.since.until(now) >= ORPHAN_PATIENCE);
        let mut orphans: Vec<Orphan> = orphans.map(|(_, orphan)| orphan).collect();
        orphans.sort_by_key(|orphan| orphan.arrival.last);
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
