//! What is logged of refused connections: once a peer a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A peer is told about once in so long.
const PERIOD: Duration = Duration::from_secs(60);

/// So many peers are known at a time; refusals of more go unlogged until one is forgotten.
const MAX_PEERS: usize = 1024;

/// When which peer was told about last.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    told: Mutex<HashMap<IpAddr, Instant>>,
}

impl Refusals {
    /// Calls `log` unless it was called for this peer within the last minute.
    pub(crate) fn tell(&self, peer: IpAddr, log: impl FnOnce()) {
        if self.is_due(peer, Instant::now()) {
            log();
        }
    }

    fn is_due(&self, peer: IpAddr, now: Instant) -> bool {
        let mut told = self.told.lock();
        let recent = |at: &Instant| now.duration_since(*at) < PERIOD;
        if told.get(&peer).is_some_and(recent) {
            return false;
        }
        if told.len() >= MAX_PEERS {
            told.retain(|_, at| recent(at));
        }
        let due = told.len() < MAX_PEERS;
        if due {
            told.insert(peer, now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_told_about_once_a_minute_and_the_table_is_bounded() {
        let refusals = Refusals::default();
        let peer = |number: u32| IpAddr::V4(number.into());
        let start = Instant::now();
        let due =
            |number, seconds| refusals.is_due(peer(number), start + Duration::from_secs(seconds));
        assert!(due(1, 0) && !due(1, 59) && due(1, 60));
        let logged = (0..10_000).filter(|number| due(*number, 61)).count();
        assert_eq!(logged, MAX_PEERS - 1, "the first peer is there already");
        assert!(!due(20_000, 62) && due(20_000, 121));
        assert_eq!(refusals.told.lock().len(), 1);
    }
}
