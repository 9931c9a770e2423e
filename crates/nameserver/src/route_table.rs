//! Which brokers live, and which topics they have (`RouteInfoManager` of the reference).
//!
//! Pure state and rules: no sockets, and the time comes in as an argument. What is here is what
//! living brokers have said; nothing of it outlives the process.

mod membership;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use transport::Connection;
use wire::body::route::{
    BrokerData, BrokerMemberGroup, ClusterInfo, MASTER_ID, QueueData, TopicRouteData,
};
use wire::body::static_topic::TopicQueueMappingInfo;
use wire::body::topic::TopicList;
use wire::body::version::DataVersion;
use wire::message::sys_flag::topic as topic_flag;
use wire::message::{names, perm};

pub(crate) use membership::{Departure, MinBrokerIdChange, Registration};

/// All that is known of brokers and topics.
#[derive(Default)]
pub(crate) struct RouteTable {
    /// Brokers by group and groups by cluster, as clients are told them.
    members: ClusterInfo,
    /// Brokers by cluster and address, as they have reported.
    live: HashMap<BrokerAddress, LiveBroker>,
    /// Queues by topic and broker group.
    topics: HashMap<String, BTreeMap<String, QueueData>>,
    /// Mappings of static topics by topic and broker group. They stay when a broker leaves, since
    /// clients must know of queues that can't be reached now, and go with the topic.
    mappings: HashMap<String, BTreeMap<String, TopicQueueMappingInfo>>,
    /// Rises with every change that can be seen in a route.
    generation: u64,
}

/// A broker, whatever its name and id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct BrokerAddress {
    cluster: String,
    address: String,
}

impl BrokerAddress {
    fn new(cluster: &str, address: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            address: address.to_owned(),
        }
    }
}

/// What a broker has said of itself, and when it was last heard of.
struct LiveBroker {
    broker_name: String,
    heard_at: Instant,
    /// The broker counts as gone after this long without a word.
    timeout: Duration,
    data_version: DataVersion,
    ha_address: String,
    filter_servers: Vec<String>,
    link: BrokerLink,
}

/// The connection that a broker registered on.
#[derive(Debug, Clone)]
pub(crate) struct BrokerLink {
    /// The connection's number.
    pub id: u64,
    /// The connection, to be closed when the broker is given up.
    pub connection: Weak<Connection>,
}

impl BrokerLink {
    /// The link over this connection.
    pub(crate) fn of(connection: &Arc<Connection>) -> Self {
        Self {
            id: connection.id(),
            connection: Arc::downgrade(connection),
        }
    }
}

/// What becomes of a broker group's permission to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WritePermission {
    /// Nobody is to write.
    Wipe,
    /// Clients may read and write.
    Add,
}

impl RouteTable {
    /// A number that changes with everything that can be seen in a route.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Makes everybody see routes anew: something beside this table that they show has changed.
    pub(crate) fn touch(&mut self) {
        self.generation += 1;
    }

    /// All clusters and brokers.
    pub(crate) fn cluster_info(&self) -> &ClusterInfo {
        &self.members
    }

    /// The living brokers of a group.
    pub(crate) fn member_group(&self, cluster: &str, broker_name: &str) -> BrokerMemberGroup {
        let group = self.members.broker_addr_table.get(broker_name);
        BrokerMemberGroup {
            broker_addrs: group
                .map(|group| group.broker_addrs.clone())
                .unwrap_or_default(),
            broker_name: broker_name.to_owned(),
            cluster: cluster.to_owned(),
        }
    }

    /// The version of the topics that a broker has registered.
    pub(crate) fn data_version(&self, cluster: &str, address: &str) -> Option<DataVersion> {
        let broker = self.live.get(&BrokerAddress::new(cluster, address));
        broker.map(|broker| broker.data_version)
    }

    /// Where a topic is. With `acting_master`, a group without a master that allows it and takes
    /// no messages for the topic shows its replica of the smallest id as master, so that clients
    /// read from it. None: no living broker has the topic.
    pub(crate) fn route(&self, topic: &str, acting_master: bool) -> Option<TopicRouteData> {
        let queues = self.topics.get(topic)?;
        let acting_master =
            acting_master && !topic.starts_with(names::SYNC_BROKER_MEMBER_GROUP_PREFIX);
        let mut route = TopicRouteData::default();
        for (broker_name, queue) in queues {
            route.queue_datas.push(queue.clone());
            let Some(group) = self.members.broker_addr_table.get(broker_name) else {
                continue;
            };
            let mut group = group.clone();
            for address in group.broker_addrs.values() {
                let broker = self.live.get(&BrokerAddress::new(&group.cluster, address));
                if let Some(servers) = broker.map(|broker| &broker.filter_servers)
                    && !servers.is_empty()
                {
                    route
                        .filter_server_table
                        .insert(address.clone(), servers.clone());
                }
            }
            if acting_master && group.enable_acting_master && !perm::is_writable(queue.perm) {
                show_acting_master(&mut group);
            }
            route.broker_datas.push(group);
        }
        route.topic_queue_mapping_by_broker = self.mappings.get(topic).cloned();
        (!route.broker_datas.is_empty()).then_some(route)
    }

    /// Adds a topic's queues to broker groups. All of them must be known, or nothing is done and
    /// the unknown one's name is the error.
    pub(crate) fn register_topic(
        &mut self,
        topic: &str,
        queues: Vec<QueueData>,
    ) -> Result<(), String> {
        let known = |name: &String| self.members.broker_addr_table.contains_key(name);
        if let Some(queue) = queues.iter().find(|queue| !known(&queue.broker_name)) {
            return Err(queue.broker_name.clone());
        }
        if queues.is_empty() {
            return Ok(());
        }
        let table = self.topics.entry(topic.to_owned()).or_default();
        for queue in queues {
            table.insert(queue.broker_name.clone(), queue);
        }
        self.generation += 1;
        Ok(())
    }

    /// Forgets a topic, on the groups of one cluster or everywhere.
    pub(crate) fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        match cluster {
            None => {
                self.topics.remove(topic);
            }
            Some(cluster) => {
                let names = self.members.cluster_addr_table.get(cluster);
                if let (Some(names), Some(queues)) = (names, self.topics.get_mut(topic)) {
                    queues.retain(|name, _| !names.contains(name));
                    if queues.is_empty() {
                        self.topics.remove(topic);
                    }
                }
            }
        }
        if !self.topics.contains_key(topic) {
            self.mappings.remove(topic);
        }
        self.generation += 1;
    }

    /// Changes the permission of all topics of a broker group and says how many there are.
    pub(crate) fn change_permission(&mut self, broker_name: &str, change: WritePermission) -> i32 {
        let mut count = 0;
        for queue in self
            .topics
            .values_mut()
            .filter_map(|queues| queues.get_mut(broker_name))
        {
            match change {
                WritePermission::Wipe => queue.perm &= !perm::WRITE,
                WritePermission::Add => queue.perm = perm::READ | perm::WRITE,
            }
            count += 1;
        }
        self.generation += 1;
        count
    }

    /// All topics.
    pub(crate) fn all_topics(&self) -> TopicList {
        list_of(self.topics.keys())
    }

    /// The topics of a cluster.
    pub(crate) fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let none = BTreeSet::new();
        let names = self
            .members
            .cluster_addr_table
            .get(cluster)
            .unwrap_or(&none);
        let topics = self.topics.iter();
        list_of(
            topics
                .filter(|(_, queues)| names.iter().any(|name| queues.contains_key(name)))
                .map(|(topic, _)| topic),
        )
    }

    /// The names of clusters and broker groups, which are topics as well, and a broker that knows
    /// the other topics of the system.
    pub(crate) fn system_topics(&self) -> TopicList {
        let ClusterInfo {
            broker_addr_table,
            cluster_addr_table,
        } = &self.members;
        let clusters = cluster_addr_table.iter();
        let mut list =
            list_of(clusters.flat_map(|(cluster, names)| std::iter::once(cluster).chain(names)));
        list.broker_addr = broker_addr_table
            .values()
            .find_map(BrokerData::master_or_replica)
            .cloned();
        list
    }

    /// The topics that belong to a unit.
    pub(crate) fn unit_topics(&self) -> TopicList {
        self.topics_with_flag(topic_flag::has_unit)
    }

    /// The topics that units are subscribed to.
    pub(crate) fn topics_with_unit_subscribers(&self) -> TopicList {
        self.topics_with_flag(topic_flag::has_unit_sub)
    }

    /// Those of them that do not belong to a unit.
    pub(crate) fn common_topics_with_unit_subscribers(&self) -> TopicList {
        self.topics_with_flag(|flag| !topic_flag::has_unit(flag) && topic_flag::has_unit_sub(flag))
    }

    /// Topics by the system flag that one of their brokers has said; they agree.
    fn topics_with_flag(&self, wanted: impl Fn(i32) -> bool) -> TopicList {
        let has = |queues: &BTreeMap<String, QueueData>| {
            let queue = queues.values().next();
            queue.is_some_and(|queue| wanted(queue.topic_sys_flag))
        };
        list_of(
            self.topics
                .iter()
                .filter(|(_, queues)| has(queues))
                .map(|(topic, _)| topic),
        )
    }
}

fn list_of<'a>(names: impl Iterator<Item = &'a String>) -> TopicList {
    TopicList {
        broker_addr: None,
        topic_list: names.cloned().collect(),
    }
}

/// Gives the replica of the smallest id the master's id, if there is no master.
fn show_acting_master(group: &mut BrokerData) {
    if group.master().is_none()
        && let Some((_, address)) = group.broker_addrs.pop_first()
    {
        group.broker_addrs.insert(MASTER_ID, address);
    }
}
