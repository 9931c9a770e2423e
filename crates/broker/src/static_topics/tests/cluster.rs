//! A name server and several brokers, and an administrator who maps a static topic to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::Live;
use nameserver::{NameServer, NameServerSettings};
use store::MemoryDisk;
use tempfile::TempDir;
use transport::{Body, HandlerTable, RemotingClient, RemotingClientConfig, RemotingServer};
use wire::body::json;
use wire::body::queue::MessageQueue;
use wire::body::route::TopicRouteData;
use wire::body::static_topic::{LogicQueueMappingItem, TopicQueueMappingDetail};
use wire::body::topic::TopicStatsTable;
use wire::code::ResponseCode;
use wire::command::{
    Command, GetRouteInfoByTopic, GetTopicStatsInfo, PullMessage, SendMessageV2,
    UpdateAndCreateStaticTopic,
};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::nameserver::GetRouteInfoRequest;
use wire::header::pull::{PullMessageRequest, PullMessageResponse};
use wire::header::send::{SendMessageRequestV2, SendMessageResponse};
use wire::header::topic::{CreateTopicRequest, GetTopicStatsInfoRequest};
use wire::message::body::Records;
use wire::message::sys_flag::pull as pull_flag;

use crate::broker::Broker;
use crate::settings::BrokerSettings;
use crate::test_clock::TestClock;
use crate::{registration, routes};

/// The static topic of the tests.
pub(super) const TOPIC: &str = "orders";

/// Some time that is never needed, unless a test is about to fail.
const PATIENCE: Duration = Duration::from_secs(20);

/// Distance of the places where an administrator has parts begin.
const BLOCK: i64 = 10_000;

/// A broker of the cluster, with a disk in memory.
pub(super) struct Node {
    pub(super) broker: Arc<Broker>,
    server: RemotingServer,
    address: String,
    disk: MemoryDisk,
}

/// What the administrator tells a broker: how many queues the topic has there, and the parts.
#[derive(Default, Clone)]
struct Plan {
    queues: i32,
    hosted: BTreeMap<i32, Vec<LogicQueueMappingItem>>,
}

pub(super) struct Cluster {
    name_server: NameServer,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) clock: TestClock,
    client: RemotingClient,
    plans: BTreeMap<String, Plan>,
    pub(super) epoch: i64,
    total_queues: i32,
    _dir: TempDir,
}

impl Cluster {
    /// A cluster of brokers with these names.
    pub(super) async fn start(names: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut settings = NameServerSettings::default();
        let path = |name| dir.path().join(name).display().to_string();
        settings.server.bind_address = "127.0.0.1".into();
        settings.server.listen_port = 0;
        settings.namesrv.kv_config_path = path("kvConfig.json");
        settings.namesrv.config_store_path = path("namesrv.properties");
        let mut cluster = Self {
            name_server: NameServer::start(Live::new(settings)).await.unwrap(),
            nodes: BTreeMap::new(),
            clock: TestClock::new(),
            client: RemotingClient::new(RemotingClientConfig::default(), HandlerTable::new()),
            plans: BTreeMap::new(),
            epoch: 0,
            total_queues: 0,
            _dir: dir,
        };
        for name in names {
            cluster.start_node(name, MemoryDisk::new()).await;
        }
        cluster
    }

    /// Starts a broker on a disk.
    pub(super) async fn start_node(&mut self, name: &str, disk: MemoryDisk) {
        let mut settings = BrokerSettings::default();
        settings.broker.broker_name = name.into();
        settings.broker.broker_ip = "127.0.0.1".into();
        settings.broker.namesrv_addr = Some(self.name_server.local_addr().to_string());
        settings.store.store_path_root_dir = "/store".into();
        settings.store.mapped_file_size_commit_log = 64 << 10;
        settings.store.mapped_file_size_consume_queue = 2000;
        settings.store.message_index_enable = false;
        settings.server.bind_address = "127.0.0.1".into();
        settings.server.listen_port = 0;
        let bound = RemotingServer::bind(settings.server.clone()).await.unwrap();
        let (address, port) = (bound.local_addr().to_string(), bound.local_addr().port());
        let client = RemotingClient::new(settings.client.clone(), HandlerTable::new());
        let live = Live::new(settings);
        let clock = Arc::new(self.clock.clone());
        let on = Arc::new(disk.clone());
        let broker = Broker::open(live, port, on, clock, false).unwrap();
        let broker = Arc::new(broker);
        broker.polling.attach(&broker);
        let server = bound.handlers(routes::handlers(&broker)).start();
        assert!(broker.client.set(client.clone()).is_ok());
        registration::register(&broker, &client).await;
        let node = Node {
            broker,
            server,
            address,
            disk,
        };
        self.nodes.insert(name.to_owned(), node);
    }

    /// Stops a broker, and gives back its disk. The name server finds out by the closed connection.
    pub(super) async fn stop_node(&mut self, name: &str) -> MemoryDisk {
        let node = self.nodes.remove(name).unwrap();
        node.server.shutdown(PATIENCE).await;
        node.broker.client.get().unwrap().shutdown().await;
        node.broker.persist();
        node.broker.store.close().unwrap();
        node.disk
    }

    async fn ask_at<C: Command>(
        &self,
        address: &str,
        header: &C::Request<'_>,
        body: impl Into<Body>,
    ) -> Frame {
        let head = Head::request(C::CODE as i32, SerializeType::Json);
        let asked = self
            .client
            .request(address, head, header, body.into(), PATIENCE);
        asked.await.unwrap()
    }

    /// Asks a broker something.
    pub(super) async fn ask<C: Command>(
        &self,
        name: &str,
        header: &C::Request<'_>,
        body: impl Into<Body>,
    ) -> Frame {
        self.ask_at::<C>(&self.nodes[name].address, header, body)
            .await
    }

    /// The same, when it has to succeed.
    pub(super) async fn done<C: Command>(
        &self,
        name: &str,
        header: &C::Request<'_>,
        body: impl Into<Body>,
    ) -> Frame {
        let answer = self.ask::<C>(name, header, body).await;
        assert_eq!(answer.head.code, 0, "{:?}: {:?}", C::CODE, answer.remark);
        answer
    }

    /// Maps one more logical queue to a broker (`TopicQueueMappingUtils.createTopicConfigMapping`).
    pub(super) async fn add_queue(&mut self, name: &str) -> i32 {
        self.look_up();
        let id = self.total_queues;
        self.total_queues += 1;
        let part = self.new_part(name, 0, 0);
        let plan = self.plans.get_mut(name).unwrap();
        plan.hosted.insert(id, vec![part]);
        self.epoch += 1;
        let all: Vec<String> = self.plans.keys().cloned().collect();
        for name in all {
            self.map(&name).await;
        }
        id
    }

    /// Takes the mappings that the brokers have into the plan.
    fn look_up(&mut self) {
        for (name, node) in &self.nodes {
            if let Some(mapping) = node.broker.static_topics.get(TOPIC) {
                let plan = self.plans.entry(name.clone()).or_default();
                plan.hosted = mapping.hosted_queues.clone();
            }
        }
    }

    /// A part in a new queue of a broker.
    fn new_part(
        &mut self,
        name: &str,
        generation: i32,
        logic_offset: i64,
    ) -> LogicQueueMappingItem {
        let plan = self.plans.entry(name.to_owned()).or_default();
        plan.queues += 1;
        LogicQueueMappingItem {
            bname: name.into(),
            generation,
            queue_id: plan.queues - 1,
            logic_offset,
            ..LogicQueueMappingItem::default()
        }
    }

    /// Who leads a queue by the administrator's plan, and all its parts.
    pub(super) fn leader(&self, id: i32) -> (String, Vec<LogicQueueMappingItem>) {
        let parts = self.plans.values().filter_map(|plan| plan.hosted.get(&id));
        let newest = parts
            .max_by_key(|parts| parts.last().unwrap().generation)
            .unwrap();
        (newest.last().unwrap().bname.clone(), newest.clone())
    }

    /// Begins to move a queue to another broker: that one takes its messages from now on
    /// (`MQAdminUtils.remappingStaticTopic`).
    pub(super) async fn begin_move(&mut self, id: i32, to: &str) {
        self.look_up();
        let (from, mut parts) = self.leader(id);
        let generation = parts.last().unwrap().generation + 1;
        parts.push(self.new_part(to, generation, -1));
        self.epoch += 1;
        self.set_parts(id, [to, &from], &parts).await;
    }

    /// Decides where the queue goes on there.
    pub(super) async fn end_move(&mut self, id: i32) {
        self.look_up();
        let (to, mut parts) = self.leader(id);
        let [.., old, new] = &mut *parts else {
            panic!("nothing was begun")
        };
        let header = GetTopicStatsInfoRequest {
            topic: TOPIC.into(),
            ..GetTopicStatsInfoRequest::default()
        };
        let answer = self
            .done::<GetTopicStatsInfo>(&old.bname, &header, Body::Empty)
            .await;
        let stats: TopicStatsTable = json::read(&answer.body).unwrap();
        let queue = MessageQueue {
            broker_name: old.bname.clone(),
            queue_id: old.queue_id,
            topic: TOPIC.into(),
        };
        let end = old.logic_offset + stats.offset_table[&queue].max_offset;
        new.logic_offset = (end / BLOCK + 1) * BLOCK;
        let from = old.bname.clone();
        self.set_parts(id, [&to, &from], &parts).await;
        for name in self.plans.keys().cloned().collect::<Vec<_>>() {
            if ![&to, &from].contains(&&name) {
                self.map(&name).await;
            }
        }
    }

    /// Moves a queue to another broker.
    pub(super) async fn move_queue(&mut self, id: i32, to: &str) {
        self.begin_move(id, to).await;
        self.end_move(id).await;
    }

    async fn set_parts(&mut self, id: i32, names: [&str; 2], parts: &[LogicQueueMappingItem]) {
        for name in names {
            let plan = self.plans.get_mut(name).unwrap();
            plan.hosted.insert(id, parts.to_vec());
            self.map(name).await;
        }
    }

    /// What a broker is told by the plan.
    pub(super) fn mapping(&self, name: &str) -> TopicQueueMappingDetail {
        TopicQueueMappingDetail {
            bname: name.into(),
            topic: TOPIC.into(),
            epoch: self.epoch,
            total_queues: self.total_queues,
            hosted_queues: self.plans[name].hosted.clone(),
            ..TopicQueueMappingDetail::default()
        }
    }

    async fn map(&self, name: &str) {
        let answer = self.try_map(name, &self.mapping(name)).await;
        assert_eq!(answer.head.code, 0, "{:?}", answer.remark);
        // The task that tells the name servers does not run.
        let broker = &self.nodes[name].broker;
        registration::register(broker, broker.client.get().unwrap()).await;
    }

    /// UPDATE_AND_CREATE_STATIC_TOPIC, to a broker that may refuse it.
    pub(super) async fn try_map(&self, name: &str, mapping: &TopicQueueMappingDetail) -> Frame {
        let queues = self.plans[name].queues;
        let header = CreateTopicRequest {
            topic: TOPIC.into(),
            default_topic: TOPIC.into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: 6,
            topic_filter_type: "SINGLE_TAG".into(),
            ..CreateTopicRequest::default()
        };
        self.ask::<UpdateAndCreateStaticTopic>(name, &header, json::write(mapping))
            .await
    }

    /// The topic's route.
    pub(super) async fn route(&self) -> TopicRouteData {
        let header = GetRouteInfoRequest {
            topic: TOPIC.into(),
            ..GetRouteInfoRequest::default()
        };
        let address = self.name_server.local_addr().to_string();
        let answer = self
            .ask_at::<GetRouteInfoByTopic>(&address, &header, Body::Empty)
            .await;
        json::read(&answer.body).unwrap()
    }

    /// Sends a message to a logical queue by a broker.
    pub(super) async fn try_send(&self, name: &str, id: i32, body: &str) -> Frame {
        let header = SendMessageRequestV2 {
            producer_group: "p".into(),
            topic: TOPIC.into(),
            default_topic: "TBW102".into(),
            queue_id: id,
            ..SendMessageRequestV2::default()
        };
        self.ask::<SendMessageV2>(name, &header, body.as_bytes().to_vec())
            .await
    }

    /// The offset that the sender is told, when the broker has to take the message.
    pub(super) async fn send(&self, name: &str, id: i32, body: &str) -> i64 {
        let answer = self.try_send(name, id, body).await;
        assert_eq!(answer.head.code, 0, "{:?}", answer.remark);
        let stored: SendMessageResponse<'_> = answer.header().unwrap();
        assert_eq!(stored.queue_id, id);
        stored.queue_offset
    }

    /// Pulls from an offset of a logical queue by a broker.
    pub(super) async fn pull(&self, name: &str, id: i32, offset: i64) -> Frame {
        let header = PullMessageRequest {
            consumer_group: "g".into(),
            topic: TOPIC.into(),
            queue_id: id,
            queue_offset: offset,
            max_msg_nums: 2,
            sys_flag: pull_flag::SUBSCRIPTION,
            subscription: Some("*".into()),
            ..PullMessageRequest::default()
        };
        self.ask::<PullMessage>(name, &header, Body::Empty).await
    }

    /// All messages of a logical queue from an offset on with their offsets, as a client of the
    /// broker that leads it sees them.
    pub(super) async fn read(&self, id: i32, mut offset: i64) -> Vec<(i64, String)> {
        let (leader, _) = self.leader(id);
        let mut read = Vec::new();
        for _ in 0..1000 {
            let answer = self.pull(&leader, id, offset).await;
            let code = ResponseCode::try_from(answer.head.code).unwrap();
            let told: PullMessageResponse = match code {
                ResponseCode::PullNotFound => return read,
                ResponseCode::Success
                | ResponseCode::PullRetryImmediately
                | ResponseCode::PullOffsetMoved => answer.header().unwrap(),
                code => panic!("{code:?}: {:?}", answer.remark),
            };
            for record in Records::new(&answer.body) {
                let record = record.unwrap();
                let offset = record.queue_offset() + told.offset_delta.unwrap();
                read.push((offset, String::from_utf8(record.body().to_vec()).unwrap()));
            }
            assert!(
                told.next_begin_offset > offset || code == ResponseCode::PullOffsetMoved,
                "{code:?} keeps the reader at {offset}: {told:?}"
            );
            offset = told.next_begin_offset;
        }
        panic!("queue {id} has no end")
    }
}
