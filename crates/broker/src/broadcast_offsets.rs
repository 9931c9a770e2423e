//! How far the members of broadcasting groups have come (`BroadcastOffsetManager`).
//!
//! Such a member keeps its offsets itself, while it pulls directly. A proxy that pulls for it
//! keeps none. So the broker remembers what each member has asked for, for as long as the member
//! is there, and tells it where to go on when it changes between the two ways, or a proxy asks
//! with -1. How far the slowest member has come is committed in the name of `GROUP@broadcast`,
//! and is where members begin that are not known.
//!
//! The reference remembers for each member, not for each of its queues, which way it pulls.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use store::Queue;
use transport::Connection;
use wire::header::pull::PullMessageRequest;

use crate::broker::Broker;
use crate::clients::ConsumerGroup;
use crate::error::BrokerError;

/// A pull's source (`RequestSource`): a proxy, for a member of a broadcasting group.
const PROXY_FOR_BROADCAST: i32 = 1;

/// Queues of members that are remembered at most; further ones are not.
const MAX_QUEUES: usize = 1_000_000;

/// What follows a group's name when it has broadcast offsets.
const GROUP_SUFFIX: &str = "@broadcast";

/// A queue of a member.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    group: String,
    client: String,
    topic: String,
    queue_id: i32,
}

/// What a member does in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    /// The highest offset that it has asked for.
    offset: i64,
    by_proxy: bool,
    /// When it asked last, in milliseconds since 1970.
    asked_millis: i64,
}

/// Who pulls a queue in broadcast, and how.
pub(crate) struct Member {
    place: Place,
    by_proxy: bool,
}

impl Member {
    /// The member that a pull of `queue` comes from, if it does from one whose offsets are kept.
    pub(crate) fn of_pull(
        broker: &Broker,
        connection: &Connection,
        header: &PullMessageRequest<'_>,
        queue: &Queue,
    ) -> Option<Self> {
        if !broker.settings().broker.enable_broadcast_offset_store {
            return None;
        }
        let group = &*header.consumer_group;
        let by_proxy = header.request_source == Some(PROXY_FOR_BROADCAST);
        let client = match by_proxy {
            true => header.proxy_forward_client_id.as_deref()?.to_owned(),
            false => broker.clients.broadcaster(group, connection)?,
        };
        let place = Place {
            group: group.into(),
            client,
            topic: queue.topic().to_string(),
            queue_id: queue.id(),
        };
        Some(Self { place, by_proxy })
    }
}

/// How long a member is remembered after it asked last, in milliseconds: one that is gone, and
/// one that is online.
#[derive(Debug, Clone, Copy)]
struct Expiry {
    gone_millis: i64,
    online_millis: i64,
}

/// The offsets of all members.
#[derive(Default)]
pub(crate) struct BroadcastOffsets(Mutex<HashMap<Place, Progress>>);

impl BroadcastOffsets {
    /// Where a member has to go on that asks for `asked`, if not there (`queryInitOffset`).
    pub(crate) fn moved(
        &self,
        broker: &Broker,
        member: &Member,
        asked: i64,
        queue: &Queue,
    ) -> Result<Option<i64>, BrokerError> {
        let known = self.0.lock().get(&member.place).copied();
        let was_by_proxy = known.map_or(member.by_proxy, |known| known.by_proxy);
        if was_by_proxy == member.by_proxy && !(member.by_proxy && asked < 0) {
            return Ok(None);
        }
        let place = &member.place;
        let known = known.map(|known| known.offset).or_else(|| {
            let group = format!("{}{GROUP_SUFFIX}", place.group);
            broker.offsets.query(&group, &place.topic, place.queue_id)
        });
        Ok(Some(match known {
            Some(offset) => offset,
            None if broker.store.is_in_memory(queue, 0)? => 0,
            None => queue.max_offset(),
        }))
    }

    /// Takes note of what a member has asked for, or was told to ask for.
    pub(crate) fn note(&self, member: &Member, offset: i64, now_millis: i64) {
        let mut members = self.0.lock();
        let known = members.get(&member.place).map(|known| known.offset);
        if known.is_some() || members.len() < MAX_QUEUES {
            let progress = Progress {
                offset: known.map_or(offset, |known| known.max(offset)),
                by_proxy: member.by_proxy,
                asked_millis: now_millis,
            };
            members.insert(member.place.clone(), progress);
        }
    }

    /// Commits how far the slowest members have come, and forgets those that are gone
    /// (`scanOffsetData`).
    pub(crate) fn commit(&self, broker: &Broker) {
        let groups: BTreeSet<String> = {
            let members = self.0.lock();
            members.keys().map(|place| place.group.clone()).collect()
        };
        let groups: BTreeMap<String, Arc<ConsumerGroup>> = groups
            .into_iter()
            .filter_map(|name| broker.clients.group(&name).map(|group| (name, group)))
            .collect();
        let settings = broker.settings();
        let expiry = Expiry {
            gone_millis: settings.broker.broadcast_offset_expire_second * 1000,
            online_millis: settings.broker.broadcast_offset_expire_max_second * 1000,
        };
        let slowest = self.sweep(expiry, broker.now_millis(), |place| {
            let group = groups.get(&place.group);
            group.is_some_and(|group| group.client(&place.client).is_some())
        });
        for ((group, topic, queue_id), offset) in slowest {
            let group = format!("{group}{GROUP_SUFFIX}");
            broker.offsets.commit(&group, &topic, queue_id, offset);
        }
    }

    /// Forgets the members whose time is over. Returns how far the slowest have come, by group,
    /// topic and queue; those that are online count even if they are forgotten now.
    fn sweep(
        &self,
        expiry: Expiry,
        now_millis: i64,
        is_online: impl Fn(&Place) -> bool,
    ) -> BTreeMap<(String, String, i32), i64> {
        let mut slowest = BTreeMap::new();
        self.0.lock().retain(|place, progress| {
            let silent_for = now_millis - progress.asked_millis;
            let (counts, stays) = match is_online(place) {
                true => (true, silent_for < expiry.online_millis),
                false => (
                    silent_for < expiry.gone_millis,
                    silent_for < expiry.gone_millis,
                ),
            };
            if counts {
                let queue = (place.group.clone(), place.topic.clone(), place.queue_id);
                let offset = slowest.entry(queue).or_insert(progress.offset);
                *offset = progress.offset.min(*offset);
            }
            stays
        });
        slowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRY: Expiry = Expiry {
        gone_millis: 120,
        online_millis: 300,
    };

    fn member(client: &str) -> Member {
        let place = Place {
            group: "g".into(),
            client: client.into(),
            topic: "orders".into(),
            queue_id: 0,
        };
        Member {
            place,
            by_proxy: true,
        }
    }

    #[test]
    fn the_slowest_member_counts_until_its_time_is_over() {
        let offsets = BroadcastOffsets::default();
        offsets.note(&member("online"), 5, 0);
        offsets.note(&member("gone"), 3, 0);
        offsets.note(&member("active"), 9, 1000);
        offsets.note(&member("active"), 8, 1000);
        let slowest = |now| {
            let slowest = offsets.sweep(EXPIRY, now, |place| place.client == "online");
            slowest.into_values().next()
        };
        assert_eq!(slowest(119), Some(3));
        assert_eq!(slowest(120), Some(5), "who is gone is forgotten sooner");
        assert_eq!(slowest(300), Some(5), "who is online counts once more");
        assert_eq!(slowest(301), Some(9), "and a member never goes back");
        assert_eq!(slowest(1120), None);
    }
}
