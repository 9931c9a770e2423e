//! Brokers come, stay and go.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wire::body::route::{BrokerData, MASTER_ID, QueueData};
use wire::body::topic::{TopicConfig, TopicConfigAndMappingSerializeWrapper};
use wire::message::perm;

use super::{BrokerAddress, BrokerLink, LiveBroker, RouteTable};
use crate::error::NameServerError;

/// What a broker says when it registers.
pub(crate) struct Registration<'a> {
    pub cluster: &'a str,
    pub broker_name: &'a str,
    pub broker_id: i64,
    pub address: &'a str,
    pub ha_address: &'a str,
    pub zone: Option<&'a str>,
    /// The broker counts as gone after this long without a word.
    pub timeout: Duration,
    /// Whether a replica may stand in for the master; `None` from brokers that do not know of it,
    /// whose replicas never register topics.
    pub acting_master: Option<bool>,
    pub topics: TopicConfigAndMappingSerializeWrapper,
    /// `None` leaves them as they were.
    pub filter_servers: Option<Vec<String>>,
    pub link: BrokerLink,
}

/// What comes of a registration.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Registered {
    /// The master of the group, if the broker is not that itself and it lives.
    pub master: Option<Master>,
    /// The broker has the smallest id of its group now.
    pub min_broker_id_change: Option<MinBrokerIdChange>,
}

/// Where replicas find their master.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Master {
    pub address: String,
    pub ha_address: String,
}

/// A broker in its group.
struct Joined {
    /// Whether routes show something else now.
    changed: bool,
    /// Whether nobody had its id.
    is_first: bool,
    /// Whether nobody in the group has a smaller id.
    is_smallest: bool,
    master_address: Option<String>,
    min_broker_id_change: Option<MinBrokerIdChange>,
}

/// A broker that is to be taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Departure {
    pub cluster: String,
    pub broker_name: String,
    pub address: String,
}

/// Who is left in a group.
enum Left {
    Nobody,
    /// Whoever had the smallest id is gone.
    LargerIds,
}

/// Another broker of a group has its smallest id now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MinBrokerIdChange {
    pub broker_name: String,
    pub min_broker_id: i64,
    pub min_broker_address: String,
    /// The broker that had it and is gone.
    pub offline_address: Option<String>,
    /// Where replicas reach the new one, if it is new altogether.
    pub ha_address: Option<String>,
    /// Addresses of the brokers to tell.
    pub notify: Vec<String>,
}

impl RouteTable {
    /// Takes in a broker and its topics, for the first time or again.
    ///
    /// Topics come from masters, and from a replica that has the smallest id of its group. They
    /// are taken as changed when the broker is new or its data version differs; then they replace
    /// what was known of them, wiped permissions included.
    ///
    /// A broker whose id is held by another address with a newer master epoch is not taken in;
    /// the answer says nothing of it, as in the reference.
    ///
    /// # Errors
    /// A broker that is not known registers a single topic.
    pub(crate) fn register(
        &mut self,
        broker: Registration<'_>,
        delete_missing_topics: bool,
        now: Instant,
    ) -> Result<Registered, NameServerError> {
        let key = BrokerAddress::new(broker.cluster, broker.address);
        let group = self.members.broker_addr_table.get(broker.broker_name);
        let holder = group.and_then(|group| group.broker_addrs.get(&broker.broker_id));
        // A broker has more topics than one from its start: this is a later change of one topic.
        if holder.is_none() && broker.topics.topic_config_table.len() == 1 {
            return Err(NameServerError::SingleTopicFirst);
        }
        let ids = group.and_then(|group| group.broker_addrs.keys().next());
        let is_new_minimum = broker.broker_id < ids.copied().unwrap_or(MASTER_ID);
        let is_rejected = holder.is_some_and(|holder| self.is_ahead(holder, &broker));
        let mut changed =
            self.forget_other_ids(broker.broker_name, broker.broker_id, broker.address);
        if is_rejected {
            tracing::warn!(
                cluster = broker.cluster,
                broker_name = broker.broker_name,
                broker_id = broker.broker_id,
                address = broker.address,
                "a broker was not registered: another one has its id and a newer master epoch"
            );
            self.live.remove(&key);
            self.generation += u64::from(changed);
            return Ok(Registered::default());
        }

        let joined = self.join(&broker, is_new_minimum);
        changed |= joined.changed;
        let data_version = broker.topics.data_version;
        let known = self.live.get(&key);
        let is_changed =
            joined.is_first || known.is_none_or(|known| known.data_version != data_version);
        let stands_in =
            broker.broker_id != MASTER_ID && broker.acting_master.is_some() && joined.is_smallest;
        if broker.broker_id == MASTER_ID || stands_in {
            let read_only = stands_in && broker.acting_master == Some(true);
            changed |= self.take_topics(
                broker.broker_name,
                broker.topics,
                is_changed,
                read_only,
                delete_missing_topics,
            );
        }
        let known = self.live.remove(&key);
        if known.is_none() {
            tracing::info!(
                cluster = broker.cluster,
                broker_name = broker.broker_name,
                broker_id = broker.broker_id,
                address = broker.address,
                ha_address = broker.ha_address,
                "a broker registered"
            );
        }
        let servers_before = known.map(|known| known.filter_servers).unwrap_or_default();
        changed |= broker
            .filter_servers
            .as_ref()
            .is_some_and(|servers| *servers != servers_before);
        let live = LiveBroker {
            broker_name: broker.broker_name.to_owned(),
            heard_at: now,
            timeout: broker.timeout,
            data_version,
            ha_address: broker.ha_address.to_owned(),
            filter_servers: broker.filter_servers.unwrap_or(servers_before),
            link: broker.link,
        };
        self.live.insert(key, live);
        self.generation += u64::from(changed);

        let master = joined
            .master_address
            .filter(|_| broker.broker_id != MASTER_ID)
            .and_then(|address| {
                let live = self
                    .live
                    .get(&BrokerAddress::new(broker.cluster, &address))?;
                let ha_address = live.ha_address.clone();
                Some(Master {
                    address,
                    ha_address,
                })
            });
        Ok(Registered {
            master,
            min_broker_id_change: joined.min_broker_id_change,
        })
    }

    /// Whether who holds the id of a broker has another address and a newer master epoch.
    fn is_ahead(&self, holder: &str, broker: &Registration<'_>) -> bool {
        let epoch = broker.topics.data_version.state_version;
        let live = self.live.get(&BrokerAddress::new(broker.cluster, holder));
        holder != broker.address && live.is_some_and(|live| live.data_version.state_version > epoch)
    }

    /// Enters a broker into its cluster and its group.
    fn join(&mut self, broker: &Registration<'_>, is_new_minimum: bool) -> Joined {
        let clusters = &mut self.members.cluster_addr_table;
        clusters
            .entry(broker.cluster.to_owned())
            .or_default()
            .insert(broker.broker_name.to_owned());
        let groups = &mut self.members.broker_addr_table;
        let group = groups
            .entry(broker.broker_name.to_owned())
            .or_insert_with(|| BrokerData {
                broker_name: broker.broker_name.to_owned(),
                cluster: broker.cluster.to_owned(),
                ..BrokerData::default()
            });
        let allows_acting = broker.acting_master == Some(true);
        let is_other = group.enable_acting_master != allows_acting
            || group.zone_name.as_deref() != broker.zone;
        group.enable_acting_master = allows_acting;
        group.zone_name = broker.zone.map(str::to_owned);
        let addresses = &mut group.broker_addrs;
        let before = addresses.insert(broker.broker_id, broker.address.to_owned());
        Joined {
            changed: is_other || before.as_deref() != Some(broker.address),
            is_first: before.is_none_or(|before| before.is_empty()),
            is_smallest: addresses.keys().next() == Some(&broker.broker_id),
            master_address: addresses.get(&MASTER_ID).cloned(),
            min_broker_id_change: is_new_minimum.then(|| {
                let ha_address = Some(broker.ha_address.to_owned());
                MinBrokerIdChange::of(group, None, ha_address)
            }),
        }
    }

    /// An address has one id only: a replica that became master registers with another one.
    fn forget_other_ids(&mut self, broker_name: &str, broker_id: i64, address: &str) -> bool {
        let Some(group) = self.members.broker_addr_table.get_mut(broker_name) else {
            return false;
        };
        let before = group.broker_addrs.len();
        group
            .broker_addrs
            .retain(|id, known| *id == broker_id || known != address);
        group.broker_addrs.len() != before
    }

    /// Takes in the topics of a broker group; says whether a route changed.
    fn take_topics(
        &mut self,
        broker_name: &str,
        topics: TopicConfigAndMappingSerializeWrapper,
        is_changed: bool,
        read_only: bool,
        delete_missing: bool,
    ) -> bool {
        let mut changed = false;
        let mappings = topics.topic_queue_mapping_info_map;
        // Not with static topics, whose table is not complete on one broker.
        if delete_missing && mappings.is_empty() {
            let named = &topics.topic_config_table;
            changed |= self.retain_queues(|topic, queues| {
                if !named.contains_key(topic) && queues.remove(broker_name).is_some() {
                    tracing::info!(topic, broker_name, "a broker no longer has a topic");
                    return true;
                }
                false
            });
        }
        for (name, topic) in topics.topic_config_table {
            let name = if topic.topic_name.is_empty() {
                name
            } else {
                topic.topic_name.clone()
            };
            let queues = self.topics.get(&name);
            if is_changed || queues.is_none_or(|queues| !queues.contains_key(broker_name)) {
                changed |= self.take_queues(broker_name, name, &topic, read_only);
            }
        }
        if is_changed {
            for (topic, mapping) in mappings {
                let brokers = self.mappings.entry(topic).or_default();
                changed |= brokers.get(&mapping.bname) != Some(&mapping);
                brokers.insert(mapping.bname.clone(), mapping);
            }
        }
        changed
    }

    fn take_queues(
        &mut self,
        broker_name: &str,
        name: String,
        topic: &TopicConfig,
        read_only: bool,
    ) -> bool {
        let writing = if read_only { perm::WRITE } else { 0 };
        let queue = QueueData {
            broker_name: broker_name.to_owned(),
            perm: topic.perm & !writing,
            read_queue_nums: topic.read_queue_nums,
            topic_sys_flag: topic.topic_sys_flag,
            write_queue_nums: topic.write_queue_nums,
        };
        match self
            .topics
            .entry(name)
            .or_default()
            .entry(broker_name.to_owned())
        {
            Entry::Vacant(place) => {
                place.insert(queue);
                true
            }
            Entry::Occupied(mut known) => known.insert(queue.clone()) != queue,
        }
    }

    /// Notes that a broker is alive. One that is not registered stays unknown.
    pub(crate) fn heartbeat(&mut self, cluster: &str, address: &str, now: Instant) {
        if let Some(broker) = self.live.get_mut(&BrokerAddress::new(cluster, address)) {
            broker.heard_at = now;
        }
    }

    /// Takes brokers out, with the topics that no living broker has any more.
    ///
    /// A group that loses its master but keeps replicas that may stand in for it becomes
    /// read-only, and is told when its smallest id changed.
    pub(crate) fn unregister(&mut self, departures: &[Departure]) -> Vec<MinBrokerIdChange> {
        let mut emptied = BTreeSet::new();
        let mut reduced = BTreeMap::new();
        for departure in departures {
            let name = departure.broker_name.as_str();
            match self.leave(departure) {
                Some(Left::Nobody) => {
                    emptied.insert(name);
                }
                Some(Left::LargerIds) => {
                    reduced.insert(name, &departure.address);
                }
                None => {}
            }
        }
        if emptied.is_empty() && reduced.is_empty() {
            // A replica went; routes show its address.
            self.generation += 1;
            return Vec::new();
        }
        for name in &emptied {
            self.members.broker_addr_table.remove(*name);
            self.members.cluster_addr_table.retain(|_, names| {
                names.remove(*name);
                !names.is_empty()
            });
        }
        let groups = &self.members.broker_addr_table;
        let mut changes = Vec::new();
        let mut read_only = BTreeSet::new();
        for (name, offline) in reduced {
            let group = groups.get(name).filter(|group| group.enable_acting_master);
            let Some(group) = group else { continue };
            if group.master().is_none() {
                read_only.insert(name);
            }
            changes.push(MinBrokerIdChange::of(group, Some(offline.clone()), None));
        }
        self.retain_queues(|_, queues| {
            for name in &emptied {
                queues.remove(*name);
            }
            for name in &read_only {
                if let Some(queue) = queues.get_mut(*name) {
                    queue.perm &= !perm::WRITE;
                }
            }
            true
        });
        self.generation += 1;
        changes
    }

    /// Takes a broker out of its group; says who is left, if that changes more than one address.
    fn leave(&mut self, departure: &Departure) -> Option<Left> {
        let Departure {
            cluster,
            broker_name,
            address,
        } = departure;
        let live = self.live.remove(&BrokerAddress::new(cluster, address));
        let mut was_member = false;
        let mut left = None;
        if let Some(group) = self.members.broker_addr_table.get_mut(broker_name) {
            let addresses = &mut group.broker_addrs;
            let was_smallest = addresses.values().next() == Some(address);
            let before = addresses.len();
            addresses.retain(|_, known| known != address);
            was_member = addresses.len() != before;
            left = match was_member {
                true if addresses.is_empty() => Some(Left::Nobody),
                true if was_smallest => Some(Left::LargerIds),
                _ => None,
            };
        }
        tracing::info!(
            cluster,
            broker_name,
            address,
            was_live = live.is_some(),
            was_member,
            "a broker was taken out"
        );
        left
    }

    /// Has `change` at the queues of every topic, and forgets topics that have none left. Says
    /// whether `change` did so of any.
    fn retain_queues(
        &mut self,
        mut change: impl FnMut(&str, &mut BTreeMap<String, QueueData>) -> bool,
    ) -> bool {
        let mut changed = false;
        let mappings = &mut self.mappings;
        self.topics.retain(|topic, queues| {
            changed |= change(topic, queues);
            if queues.is_empty() {
                mappings.remove(topic);
            }
            !queues.is_empty()
        });
        changed
    }

    /// Whether brokers are registered on a connection.
    pub(crate) fn is_used(&self, connection: u64) -> bool {
        self.live
            .values()
            .any(|broker| broker.link.id == connection)
    }

    /// Takes out the brokers that registered on a connection, now closed.
    pub(crate) fn disconnected(&mut self, connection: u64) -> Vec<MinBrokerIdChange> {
        let gone = self.departures(|broker| broker.link.id == connection);
        self.unregister(&gone)
    }

    /// Takes out the brokers that have been silent for longer than they said, and returns the
    /// connections they were on.
    pub(crate) fn expire(&mut self, now: Instant) -> (Vec<BrokerLink>, Vec<MinBrokerIdChange>) {
        let is_silent =
            |broker: &LiveBroker| now.saturating_duration_since(broker.heard_at) > broker.timeout;
        let silent = self.live.values().filter(|broker| is_silent(broker));
        let links: Vec<_> = silent.map(|broker| broker.link.clone()).collect();
        if links.is_empty() {
            return Default::default();
        }
        let gone = self.departures(is_silent);
        (links, self.unregister(&gone))
    }

    fn departures(&self, leaves: impl Fn(&LiveBroker) -> bool) -> Vec<Departure> {
        let leaving = self.live.iter().filter(|(_, broker)| leaves(broker));
        let departure = |(key, broker): (&BrokerAddress, &LiveBroker)| Departure {
            cluster: key.cluster.clone(),
            broker_name: broker.broker_name.clone(),
            address: key.address.clone(),
        };
        leaving.map(departure).collect()
    }
}

impl MinBrokerIdChange {
    /// What a group is told: after a departure all that are left, after an arrival the others,
    /// unless there are none.
    fn of(group: &BrokerData, offline_address: Option<String>, ha_address: Option<String>) -> Self {
        let mut notify: Vec<_> = group.broker_addrs.values().cloned().collect();
        let first = group.broker_addrs.first_key_value();
        let (id, address) = first.map_or((MASTER_ID, ""), |(id, address)| (*id, address));
        if offline_address.is_none() && notify.len() > 1 {
            notify.remove(0);
        }
        Self {
            broker_name: group.broker_name.clone(),
            min_broker_id: id,
            min_broker_address: address.to_owned(),
            offline_address,
            ha_address,
            notify,
        }
    }
}
