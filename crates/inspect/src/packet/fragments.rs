//! Fragments of IP packets, kept until all of a packet are there.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::ip::{Fragment, Network};
use crate::capture::Timestamp;

/// Packets whose fragments are kept at a time.
const MAX_PACKETS: usize = 256;
/// The largest payload of an IP packet.
const MAX_PAYLOAD: usize = 65_535;
/// For how long fragments are kept; a later one with the same numbers is of another packet.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    protocol: u8,
}

#[derive(Debug, Default)]
struct Parts {
    first_seen: Timestamp,
    parts: BTreeMap<usize, Vec<u8>>,
    /// Where the last part ends.
    end: Option<usize>,
}

impl Parts {
    /// The whole payload, if all of it is there.
    fn whole(&self) -> Option<Vec<u8>> {
        let end = self.end?;
        let mut whole: Vec<u8> = Vec::with_capacity(end);
        for (offset, part) in &self.parts {
            let known = whole.len().checked_sub(*offset)?;
            whole.extend_from_slice(part.get(known..).unwrap_or_default());
        }
        whole.truncate(end);
        (whole.len() == end).then_some(whole)
    }
}

#[derive(Debug, Default)]
pub(super) struct Fragments {
    packets: HashMap<Key, Parts>,
}

impl Fragments {
    /// Adds a fragment; the payload of its packet when that is whole.
    pub(super) fn add(
        &mut self,
        time: Timestamp,
        network: &Network<'_>,
        fragment: Fragment,
    ) -> Option<Vec<u8>> {
        let end = fragment.offset + network.payload.len();
        if network.cut > 0 || end > MAX_PAYLOAD {
            return None;
        }
        let key = Key {
            source: network.source,
            destination: network.destination,
            identification: fragment.identification,
            protocol: network.protocol,
        };
        if self.packets.len() >= MAX_PACKETS && !self.packets.contains_key(&key) {
            let oldest = self
                .packets
                .iter()
                .min_by_key(|(_, parts)| parts.first_seen);
            let oldest = oldest.map(|(key, _)| *key)?;
            self.packets.remove(&oldest);
        }
        let parts = self.packets.entry(key).or_default();
        if parts.parts.is_empty() || parts.first_seen.until(time) > PATIENCE {
            *parts = Parts::default();
            parts.first_seen = time;
        }
        // A part may come twice, and longer the second time.
        let part = parts.parts.entry(fragment.offset).or_default();
        if part.len() < network.payload.len() {
            network.payload.clone_into(part);
        }
        if fragment.last {
            parts.end = Some(end);
        }
        let whole = parts.whole()?;
        self.packets.remove(&key);
        Some(whole)
    }
}
