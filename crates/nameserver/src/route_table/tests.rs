//! The rules of the table, told as stories of brokers.

use std::sync::Weak;
use std::time::{Duration, Instant};

use wire::body::route::{QueueData, TopicRouteData};
use wire::body::static_topic::TopicQueueMappingInfo;
use wire::body::topic::{TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicList};
use wire::body::version::DataVersion;

use super::membership::{Master, Registered};
use super::{BrokerLink, Departure, MinBrokerIdChange, Registration, RouteTable, WritePermission};
use crate::error::NameServerError;

const MINUTE: Duration = Duration::from_secs(60);

/// A broker as a test sets it up: a master with the topics `a` and `b` on connection 1.
#[derive(Clone)]
struct Broker {
    name: &'static str,
    id: i64,
    address: &'static str,
    zone: Option<&'static str>,
    acting_master: Option<bool>,
    version: i64,
    epoch: i64,
    topics: Vec<TopicConfig>,
    mappings: Vec<TopicQueueMappingInfo>,
    filter_servers: Option<Vec<String>>,
    connection: u64,
}

impl Broker {
    fn new(name: &'static str, id: i64, address: &'static str) -> Self {
        Self {
            name,
            id,
            address,
            zone: None,
            acting_master: Some(false),
            version: 1,
            epoch: 0,
            topics: vec![topic("a"), topic("b")],
            mappings: Vec::new(),
            filter_servers: Some(Vec::new()),
            connection: 1,
        }
    }

    fn acting(self) -> Self {
        Self {
            acting_master: Some(true),
            ..self
        }
    }

    fn version(self, version: i64) -> Self {
        Self { version, ..self }
    }

    fn topics(self, topics: impl Into<Vec<TopicConfig>>) -> Self {
        Self {
            topics: topics.into(),
            ..self
        }
    }

    fn on(self, connection: u64) -> Self {
        Self { connection, ..self }
    }

    fn departure(&self) -> Departure {
        Departure {
            cluster: "cluster".into(),
            broker_name: self.name.into(),
            address: self.address.into(),
        }
    }
}

fn topic(name: &str) -> TopicConfig {
    TopicConfig {
        topic_name: name.into(),
        read_queue_nums: 4,
        write_queue_nums: 4,
        ..TopicConfig::default()
    }
}

/// A table and the time.
struct World {
    table: RouteTable,
    now: Instant,
    delete_missing: bool,
}

impl World {
    fn new() -> Self {
        Self {
            table: RouteTable::default(),
            now: Instant::now(),
            delete_missing: false,
        }
    }

    fn try_register(&mut self, broker: &Broker) -> Result<Registered, NameServerError> {
        let broker = broker.clone();
        let named = |topic: TopicConfig| (topic.topic_name.clone(), topic);
        let topics = TopicConfigAndMappingSerializeWrapper {
            data_version: DataVersion {
                counter: broker.version,
                state_version: broker.epoch,
                timestamp: 5,
            },
            topic_config_table: broker.topics.into_iter().map(named).collect(),
            topic_queue_mapping_info_map: broker
                .mappings
                .into_iter()
                .map(|mapping| (mapping.topic.clone(), mapping))
                .collect(),
            ..TopicConfigAndMappingSerializeWrapper::default()
        };
        let registration = Registration {
            cluster: "cluster",
            broker_name: broker.name,
            broker_id: broker.id,
            address: broker.address,
            ha_address: &format!("ha-{}", broker.address),
            zone: broker.zone,
            timeout: 2 * MINUTE,
            acting_master: broker.acting_master,
            topics,
            filter_servers: broker.filter_servers,
            link: BrokerLink {
                id: broker.connection,
                connection: Weak::new(),
            },
        };
        self.table
            .register(registration, self.delete_missing, self.now)
    }

    fn register(&mut self, broker: &Broker) -> Registered {
        self.try_register(broker).unwrap()
    }

    fn unregister(&mut self, broker: &Broker) -> Vec<MinBrokerIdChange> {
        self.table.unregister(&[broker.departure()])
    }

    fn route(&self, topic: &str) -> TopicRouteData {
        self.table.route(topic, false).unwrap()
    }

    /// Broker groups that have a topic, with its permission.
    fn permissions(&self, topic: &str) -> Vec<(String, i32)> {
        let queues = self.route(topic).queue_datas.into_iter();
        queues
            .map(|queue| (queue.broker_name, queue.perm))
            .collect()
    }

    /// Addresses that a topic's route names.
    fn addresses(&self, topic: &str) -> Vec<(i64, String)> {
        let Some(route) = self.table.route(topic, false) else {
            return Vec::new();
        };
        route
            .broker_datas
            .into_iter()
            .flat_map(|group| group.broker_addrs)
            .collect()
    }

    fn topics(&self) -> Vec<String> {
        sorted(self.table.all_topics())
    }
}

fn sorted(mut list: TopicList) -> Vec<String> {
    list.topic_list.sort();
    list.topic_list
}

fn at(id: i64, address: &str) -> (i64, String) {
    (id, address.to_owned())
}

#[test]
fn a_broker_that_registers_is_found() {
    let mut world = World::new();
    let broker = Broker {
        zone: Some("z"),
        ..Broker::new("broker-a", 0, "a:1")
    };
    assert_eq!(world.register(&broker), Registered::default());
    let route = world.route("a");
    assert_eq!(
        route.queue_datas,
        [QueueData {
            broker_name: "broker-a".into(),
            perm: 6,
            read_queue_nums: 4,
            topic_sys_flag: 0,
            write_queue_nums: 4
        }]
    );
    let group = &route.broker_datas[0];
    assert_eq!(
        (
            &*group.cluster,
            &*group.broker_name,
            group.zone_name.as_deref()
        ),
        ("cluster", "broker-a", Some("z"))
    );
    assert_eq!(world.addresses("a"), [at(0, "a:1")]);
    assert_eq!(world.topics(), ["a", "b"]);
    assert_eq!(sorted(world.table.topics_of_cluster("cluster")), ["a", "b"]);
    assert_eq!(sorted(world.table.topics_of_cluster("other")), [""; 0]);
    let system = world.table.system_topics();
    assert_eq!(
        (system.topic_list, system.broker_addr),
        (
            vec!["cluster".into(), "broker-a".into()],
            Some("a:1".into())
        )
    );
    assert_eq!(
        world.table.member_group("cluster", "broker-a").broker_addrs,
        [at(0, "a:1")].into()
    );
    assert!(
        world
            .table
            .member_group("cluster", "broker-b")
            .broker_addrs
            .is_empty()
    );
    assert_eq!(world.table.route("unknown", false), None);
}

#[test]
fn a_new_data_version_changes_topics_and_an_unchanged_one_keeps_them() {
    let mut world = World::new();
    let broker = Broker::new("broker-a", 0, "a:1");
    world.register(&broker);
    let generation = world.table.generation();
    let wider = TopicConfig {
        read_queue_nums: 8,
        ..topic("a")
    };
    world.register(&broker.clone().topics([wider.clone(), topic("b")]));
    assert_eq!(world.route("a").queue_datas[0].read_queue_nums, 4);
    assert_eq!(
        world.table.generation(),
        generation,
        "routes that did not change are still good"
    );
    world.register(&broker.clone().version(2).topics([wider, topic("b")]));
    assert_eq!(world.route("a").queue_datas[0].read_queue_nums, 8);
    assert_ne!(world.table.generation(), generation);
    // A topic that is not known yet is taken whatever the version.
    world.register(
        &broker
            .version(2)
            .topics([topic("a"), topic("b"), topic("c")]),
    );
    assert_eq!(world.topics(), ["a", "b", "c"]);
    assert_eq!(world.route("a").queue_datas[0].read_queue_nums, 8);
}

#[test]
fn the_data_version_of_a_broker_is_remembered() {
    let mut world = World::new();
    world.register(&Broker::new("broker-a", 0, "a:1").version(7));
    let version = DataVersion {
        counter: 7,
        state_version: 0,
        timestamp: 5,
    };
    assert_eq!(world.table.data_version("cluster", "a:1"), Some(version));
    assert_eq!(world.table.data_version("cluster", "a:2"), None);
    assert_eq!(world.table.data_version("other", "a:1"), None);
}

#[test]
fn two_groups_share_a_topic_until_one_leaves() {
    let mut world = World::new();
    let (a, b) = (
        Broker::new("broker-a", 0, "a:1"),
        Broker::new("broker-b", 0, "b:1"),
    );
    world.register(&a);
    world.register(&b.clone().topics([topic("a"), topic("c")]));
    assert_eq!(
        world.permissions("a"),
        [at_perm("broker-a", 6), at_perm("broker-b", 6)]
    );
    assert_eq!(world.addresses("a"), [at(0, "a:1"), at(0, "b:1")]);
    assert_eq!(world.unregister(&a), []);
    assert_eq!(world.addresses("a"), [at(0, "b:1")]);
    assert_eq!(world.topics(), ["a", "c"]);
    assert_eq!(world.unregister(&b), []);
    assert_eq!(world.topics(), [""; 0]);
    assert_eq!(*world.table.cluster_info(), Default::default());
    assert_eq!(world.unregister(&b), [], "leaving twice does no harm");
}

fn at_perm(name: &str, perm: i32) -> (String, i32) {
    (name.to_owned(), perm)
}

#[test]
fn a_replica_is_told_its_master_and_adds_no_topics() {
    let mut world = World::new();
    let replica = Broker::new("broker-a", 1, "a:2");
    world.register(&Broker::new("broker-a", 0, "a:1"));
    let registered = world.register(&replica.clone().topics([topic("a"), topic("of-replica")]));
    let master = Master {
        address: "a:1".into(),
        ha_address: "ha-a:1".into(),
    };
    assert_eq!(
        registered,
        Registered {
            master: Some(master),
            min_broker_id_change: None
        }
    );
    assert_eq!(world.topics(), ["a", "b"]);
    assert_eq!(world.addresses("a"), [at(0, "a:1"), at(1, "a:2")]);
    world.unregister(&replica);
    assert_eq!(world.addresses("a"), [at(0, "a:1")]);
}

#[test]
fn a_replica_without_master_brings_topics_unless_it_is_too_old_for_that() {
    let mut world = World::new();
    let replica = Broker::new("broker-a", 1, "a:2");
    world.register(&Broker {
        acting_master: None,
        ..replica.clone()
    });
    assert_eq!(world.topics(), [""; 0]);
    world.register(&replica.clone().version(2));
    assert_eq!(world.permissions("a"), [at_perm("broker-a", 6)]);
    world.register(&replica.version(3).acting());
    assert_eq!(
        world.permissions("a"),
        [at_perm("broker-a", 4)],
        "it may be read, not written"
    );
}

#[test]
fn a_single_topic_of_an_unknown_broker_is_refused_without_a_trace() {
    let mut world = World::new();
    let broker = Broker::new("broker-a", 0, "a:1");
    let single = broker.clone().topics([topic("a")]);
    let refusal = world.try_register(&single).unwrap_err().to_string();
    assert_eq!(refusal, "register broker failed");
    assert_eq!(*world.table.cluster_info(), Default::default());
    world.register(&broker);
    world.register(&single.version(2));
    assert_eq!(world.topics(), ["a", "b"]);
}

#[test]
fn silent_brokers_expire() {
    let mut world = World::new();
    let start = world.now;
    world.register(&Broker::new("broker-a", 0, "a:1").on(7));
    world.register(&Broker::new("broker-b", 0, "b:1"));
    world.table.heartbeat("cluster", "b:1", start + MINUTE);
    world
        .table
        .heartbeat("cluster", "unknown:1", start + MINUTE);
    assert!(world.table.expire(start + 2 * MINUTE).0.is_empty());
    let (links, _) = world
        .table
        .expire(start + 2 * MINUTE + Duration::from_millis(1));
    assert_eq!(links.iter().map(|link| link.id).collect::<Vec<_>>(), [7]);
    assert_eq!(world.addresses("a"), [at(0, "b:1")]);
    world.now = start + 3 * MINUTE;
    world.register(&Broker::new("broker-b", 0, "b:1"));
    assert!(
        world.table.expire(start + 5 * MINUTE).0.is_empty(),
        "registering is a sign of life, too"
    );
}

#[test]
fn a_closed_connection_takes_its_brokers_along() {
    let mut world = World::new();
    let a = Broker::new("broker-a", 0, "a:1");
    world.register(&a.clone().on(1));
    world.register(&Broker::new("broker-b", 0, "b:1").on(1));
    world.register(&Broker::new("broker-c", 0, "c:1").on(2));
    assert!(world.table.is_used(1) && !world.table.is_used(3));
    // The broker came again on another connection before the old one was seen to be closed.
    world.register(&a.on(3));
    world.table.disconnected(1);
    assert_eq!(world.addresses("a"), [at(0, "a:1"), at(0, "c:1")]);
    world.table.disconnected(3);
    assert_eq!(world.addresses("a"), [at(0, "c:1")]);
    assert_eq!(world.table.data_version("cluster", "a:1"), None);
}

#[test]
fn write_permission_is_wiped_until_it_is_added_or_topics_change() {
    let mut world = World::new();
    let broker = Broker::new("broker-a", 0, "a:1");
    world.register(&broker);
    world.register(&Broker::new("broker-b", 0, "b:1"));
    assert_eq!(
        world
            .table
            .change_permission("broker-a", WritePermission::Wipe),
        2
    );
    assert_eq!(
        world
            .table
            .change_permission("broker-x", WritePermission::Wipe),
        0
    );
    assert_eq!(
        world.permissions("a"),
        [at_perm("broker-a", 4), at_perm("broker-b", 6)]
    );
    world.register(&broker);
    assert_eq!(
        world.permissions("b"),
        [at_perm("broker-a", 4), at_perm("broker-b", 6)]
    );
    assert_eq!(
        world
            .table
            .change_permission("broker-a", WritePermission::Add),
        2
    );
    assert_eq!(
        world.permissions("b"),
        [at_perm("broker-a", 6), at_perm("broker-b", 6)]
    );
    world
        .table
        .change_permission("broker-a", WritePermission::Wipe);
    world.register(&broker.version(2));
    assert_eq!(
        world.permissions("b"),
        [at_perm("broker-a", 6), at_perm("broker-b", 6)]
    );
}

#[test]
fn a_replica_stands_in_for_a_master_that_left() {
    let mut world = World::new();
    let master = Broker::new("broker-a", 0, "a:1").acting();
    let replicas = [
        Broker::new("broker-a", 1, "a:2").acting(),
        Broker::new("broker-a", 2, "a:3").acting(),
    ];
    world.register(&master);
    for replica in &replicas {
        assert_eq!(world.register(replica).min_broker_id_change, None);
    }
    let change = MinBrokerIdChange {
        broker_name: "broker-a".into(),
        min_broker_id: 1,
        min_broker_address: "a:2".into(),
        offline_address: Some("a:1".into()),
        ha_address: None,
        notify: vec!["a:2".into(), "a:3".into()],
    };
    assert_eq!(world.unregister(&master), [change]);
    assert_eq!(world.permissions("a"), [at_perm("broker-a", 4)]);
    assert_eq!(
        world.addresses("a"),
        [at(1, "a:2"), at(2, "a:3")],
        "unless told otherwise routes say what is"
    );
    let acting = |world: &World, topic| {
        world.table.route(topic, true).unwrap().broker_datas[0]
            .broker_addrs
            .clone()
    };
    assert_eq!(acting(&world, "a"), [at(0, "a:2"), at(2, "a:3")].into());

    let change = MinBrokerIdChange {
        broker_name: "broker-a".into(),
        min_broker_id: 0,
        min_broker_address: "a:1".into(),
        offline_address: None,
        ha_address: Some("ha-a:1".into()),
        notify: vec!["a:2".into(), "a:3".into()],
    };
    assert_eq!(world.register(&master).min_broker_id_change, Some(change));
    assert_eq!(world.permissions("a"), [at_perm("broker-a", 6)]);
    let all = [at(0, "a:1"), at(1, "a:2"), at(2, "a:3")];
    assert_eq!(acting(&world, "a"), all.into());
}

#[test]
fn no_replica_stands_in_where_the_group_does_not_allow_it() {
    let mut world = World::new();
    let master = Broker::new("broker-a", 0, "a:1");
    world.register(&master);
    world.register(&Broker::new("broker-a", 1, "a:2"));
    assert_eq!(world.unregister(&master), []);
    assert_eq!(world.permissions("a"), [at_perm("broker-a", 6)]);
    let route = world.table.route("a", true).unwrap();
    assert_eq!(route.broker_datas[0].broker_addrs, [at(1, "a:2")].into());
}

#[test]
fn brokers_look_for_their_group_by_a_topic_that_shows_it_as_it_is() {
    let mut world = World::new();
    let name = "rmq_sys_SYNC_BROKER_MEMBER_broker-a";
    let replica = Broker::new("broker-a", 1, "a:2").acting();
    world.register(&replica.topics([topic("a"), topic(name)]));
    let id = |world: &World, topic| {
        *world.table.route(topic, true).unwrap().broker_datas[0]
            .broker_addrs
            .keys()
            .next()
            .unwrap()
    };
    assert_eq!((id(&world, "a"), id(&world, name)), (0, 1));
}

#[test]
fn a_replica_that_becomes_master_keeps_one_id() {
    let mut world = World::new();
    world.register(&Broker::new("broker-a", 1, "a:2"));
    world.register(&Broker::new("broker-a", 0, "a:2").version(2));
    assert_eq!(world.addresses("a"), [at(0, "a:2")]);
}

#[test]
fn the_newer_master_epoch_keeps_the_id() {
    let mut world = World::new();
    let with_epoch = |address, epoch| Broker {
        epoch,
        ..Broker::new("broker-a", 0, address)
    };
    world.register(&with_epoch("a:1", 3));
    assert_eq!(world.register(&with_epoch("a:2", 2)), Registered::default());
    assert_eq!(world.addresses("a"), [at(0, "a:1")]);
    assert_eq!(world.table.data_version("cluster", "a:2"), None);
    world.register(&with_epoch("a:3", 3));
    assert_eq!(world.addresses("a"), [at(0, "a:3")]);
    // The one that was replaced takes nothing along when it goes.
    world.unregister(&with_epoch("a:1", 3));
    assert_eq!(world.addresses("a"), [at(0, "a:3")]);
    assert_eq!(world.table.data_version("cluster", "a:1"), None);
}

#[test]
fn topics_that_are_not_named_any_more_go_only_if_that_is_wanted() {
    let mut world = World::new();
    let broker = Broker::new("broker-a", 0, "a:1");
    world.register(&broker);
    world.register(&Broker::new("broker-b", 0, "b:1"));
    let fewer = broker.topics([topic("b"), topic("c")]);
    world.register(&fewer.clone().version(2));
    assert_eq!(world.addresses("a").len(), 2);
    world.delete_missing = true;
    world.register(&fewer.version(3));
    assert_eq!(world.addresses("a"), [at(0, "b:1")]);
    assert_eq!(world.topics(), ["a", "b", "c"]);
}

#[test]
fn topics_are_added_and_deleted_by_hand() {
    let mut world = World::new();
    world.register(&Broker::new("broker-a", 0, "a:1"));
    let queue = |name: &str| QueueData {
        broker_name: name.into(),
        ..QueueData::default()
    };
    assert_eq!(
        world
            .table
            .register_topic("c", vec![queue("broker-a"), queue("broker-x")]),
        Err("broker-x".into())
    );
    assert_eq!(world.table.register_topic("c", Vec::new()), Ok(()));
    assert_eq!(world.topics(), ["a", "b"]);
    assert_eq!(
        world.table.register_topic("c", vec![queue("broker-a")]),
        Ok(())
    );
    assert_eq!(world.topics(), ["a", "b", "c"]);
    world.table.delete_topic("a", Some("other"));
    assert_eq!(world.topics(), ["a", "b", "c"]);
    world.table.delete_topic("a", Some("cluster"));
    world.table.delete_topic("b", None);
    world.table.delete_topic("unknown", None);
    assert_eq!(world.topics(), ["c"]);
}

#[test]
fn topics_of_units_are_told_apart() {
    let mut world = World::new();
    let flagged = |name, topic_sys_flag| TopicConfig {
        topic_sys_flag,
        ..topic(name)
    };
    let topics = [
        topic("none"),
        flagged("unit", 1),
        flagged("subscribed", 2),
        flagged("both", 3),
    ];
    world.register(&Broker::new("broker-a", 0, "a:1").topics(topics));
    assert_eq!(sorted(world.table.unit_topics()), ["both", "unit"]);
    assert_eq!(
        sorted(world.table.topics_with_unit_subscribers()),
        ["both", "subscribed"]
    );
    assert_eq!(
        sorted(world.table.common_topics_with_unit_subscribers()),
        ["subscribed"]
    );
}

#[test]
fn mappings_of_static_topics_stay_as_long_as_the_topic() {
    let mut world = World::new();
    let mapping = |bname: &str| TopicQueueMappingInfo {
        topic: "a".into(),
        bname: bname.into(),
        total_queues: 8,
        ..TopicQueueMappingInfo::default()
    };
    let broker = |name, address| Broker {
        mappings: vec![mapping(name)],
        ..Broker::new(name, 0, address)
    };
    let (a, b) = (broker("broker-a", "a:1"), broker("broker-b", "b:1"));
    world.register(&a);
    world.register(&b);
    let both = ["broker-a", "broker-b"].map(|name| (name.to_owned(), mapping(name)));
    assert_eq!(
        world.route("a").topic_queue_mapping_by_broker,
        Some(both.clone().into())
    );
    assert_eq!(world.route("b").topic_queue_mapping_by_broker, None);
    world.unregister(&a);
    assert_eq!(
        world.route("a").topic_queue_mapping_by_broker,
        Some(both.into())
    );
    world.unregister(&b);
    world.register(&Broker::new("broker-a", 0, "a:1"));
    assert_eq!(world.route("a").topic_queue_mapping_by_broker, None);
}

#[test]
fn filter_servers_are_in_the_routes_of_their_broker() {
    let mut world = World::new();
    let with = |filter_servers| Broker {
        filter_servers,
        ..Broker::new("broker-a", 0, "a:1")
    };
    world.register(&with(Some(vec!["f:1".into()])));
    world.register(&with(None));
    let table = [("a:1".to_owned(), vec!["f:1".to_owned()])];
    assert_eq!(world.route("a").filter_server_table, table.into());
    world.register(&with(Some(Vec::new())));
    assert!(world.route("a").filter_server_table.is_empty());
}
