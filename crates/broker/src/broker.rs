//! The broker put together: its state, its tasks, its life.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use config::Live;
use parking_lot::Mutex;
use store::{
    ArrivalListener, Clock, ConfigFile, Disk, OsDisk, Queue, QueueKind, Store, StoreError,
    StoreOptions, SystemClock,
};
use tokio::task::JoinHandle;
use tracing::warn;
use transport::{
    Connection, ConnectionListener, HandlerTable, Protocols, RemotingClient, RemotingServer,
    TransportError,
};
use wire::body::version::DataVersion;
use wire::message::id::UniqueIdGenerator;
use wire::message::{names, properties, property};

use crate::attributes;
use crate::broadcast_offsets::BroadcastOffsets;
use crate::clients::{ClientTable, Subscription};
use crate::cold_data::ColdDataThresholds;
use crate::error::BrokerError;
use crate::filter::FilterTable;
use crate::groups::GroupTable;
use crate::lite::{self, Lite};
use crate::locks::QueueLocks;
use crate::long_polling::LongPolling;
use crate::offsets::OffsetTable;
use crate::other_brokers::OtherBrokers;
use crate::pop::Pop;
use crate::rates::Rates;
use crate::requested::RequestedSubscriptions;
use crate::schedule::Schedule;
use crate::settings::{BrokerConfig, BrokerSettings};
use crate::static_topics::StaticTopics;
use crate::statistics::{GroupStatistics, Statistics, Tally};
use crate::timer::Timer;
use crate::topics::TopicTable;
use crate::transaction::Transactions;
use crate::{compaction, registration, routes, static_topics, transaction};

/// Time between two looks at what is over: held pulls, silent clients.
const SWEEP: Duration = Duration::from_millis(500);

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A table of the broker can't be read or written.
    #[error("{0}")]
    Table(String),
    /// The port can't be listened on.
    #[error(transparent)]
    Listen(#[from] TransportError),
    /// A setting can't be used.
    #[error("{key} can't be used: {reason}")]
    Setting {
        /// The configuration key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<BrokerError> for StartError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Store(error) => Self::Store(error),
            error => Self::Table(error.to_string()),
        }
    }
}

/// Time between two looks at what was popped and is due again.
const POP_SWEEP: Duration = Duration::from_millis(100);

/// The state of a broker, shared by its handlers and tasks.
pub(crate) struct Broker {
    pub(crate) live: Live<BrokerSettings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<Store>,
    pub(crate) topics: Arc<TopicTable>,
    pub(crate) static_topics: StaticTopics,
    pub(crate) groups: GroupTable,
    pub(crate) offsets: OffsetTable,
    pub(crate) broadcast_offsets: BroadcastOffsets,
    pub(crate) clients: ClientTable,
    pub(crate) filters: Arc<FilterTable>,
    pub(crate) requested: RequestedSubscriptions,
    pub(crate) locks: QueueLocks,
    pub(crate) polling: Arc<LongPolling>,
    pub(crate) schedule: Schedule,
    pub(crate) transactions: Transactions,
    pub(crate) lite: Lite,
    pub(crate) pop: Pop,
    /// Asks name servers and other brokers; set when the broker runs.
    pub(crate) client: OnceLock<RemotingClient>,
    pub(crate) others: OtherBrokers,
    pub(crate) timer: Timer,
    pub(crate) rates: Rates,
    pub(crate) statistics: Statistics,
    pub(crate) cold_data: ColdDataThresholds,
    /// Sends whose answers wait for the disk.
    pub(crate) unflushed_sends: AtomicUsize,
    /// Counts the changes of the settings.
    pub(crate) config_version: Mutex<DataVersion>,
    /// When the broker started, in milliseconds since 1970.
    pub(crate) started_millis: i64,
    /// `host:port` that clients reach the broker at.
    pub(crate) address: String,
    /// `host:port` that replicas reach the broker at.
    pub(crate) ha_address: String,
    /// The address that is stored with each message and stands in its id.
    pub(crate) store_host: SocketAddr,
    /// The properties that are added to every message.
    pub(crate) own_properties: String,
    pub(crate) region_id: String,
    pub(crate) trace_on: bool,
    unique_ids: UniqueIdGenerator,
    next_queue: AtomicU32,
}

impl Broker {
    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<BrokerSettings> {
        self.live.load()
    }

    /// The queue of a topic, made where there is none.
    pub(crate) fn queue(&self, topic: &str, queue_id: i32) -> Result<Arc<Queue>, StoreError> {
        if let Some(queue) = self.store.find_queue(topic, queue_id) {
            return Ok(queue);
        }
        if names::is_lmq(topic) && queue_id == names::LMQ_QUEUE_ID {
            return self.store.light_queue(topic);
        }
        let topic_now = self.topics.get(topic);
        let kind = topic_now.map_or(QueueKind::Simple, |topic| {
            attributes::queue_kind(&topic.config.attributes)
        });
        self.store.queue_of_kind(topic, queue_id, kind)
    }

    /// The time, in milliseconds since 1970.
    pub(crate) fn now_millis(&self) -> i64 {
        self.clock.now_millis()
    }

    /// One of `queues` queues; they take turns.
    pub(crate) fn random_queue(&self, queues: i32) -> i32 {
        let turn = self.next_queue.fetch_add(1, Ordering::Relaxed);
        (turn % queues.max(1).unsigned_abs()) as i32
    }

    /// A unique id for a message that came without one.
    pub(crate) fn new_unique_id(&self) -> String {
        let mut id = String::new();
        self.unique_ids.next(self.now_millis()).append_to(&mut id);
        id
    }

    /// Opens the store and reads the tables. Blocks while the store recovers. `threads` as in
    /// [`StoreOptions`].
    pub(crate) fn open(
        live: Live<BrokerSettings>,
        port: u16,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        threads: bool,
    ) -> Result<Self, StartError> {
        let settings = live.load();
        let store = Store::open(StoreOptions {
            settings: settings.store.clone(),
            disk: Arc::clone(&disk),
            clock: Arc::clone(&clock),
            threads,
        })?;
        let topics = TopicTable::open(Arc::clone(&disk), Arc::clone(&clock), live.clone())?;
        let topics = Arc::new(topics);
        let known = Arc::clone(&topics);
        store.set_compacted(move |topic| known.is_compacted(topic));
        let filters = FilterTable::open(Arc::clone(&disk), Arc::clone(&clock), live.clone())?;
        let filters = Arc::new(filters);
        let asked = Arc::clone(&filters);
        store.set_filter_bits(Box::new(move |topic, properties| {
            asked.bits(topic, properties)
        }));
        let polling = Arc::new(LongPolling::default());
        store.set_listener(Arc::clone(&polling) as Arc<dyn ArrivalListener>);
        let levels = settings.store.delay_levels();
        let delay_offsets = settings.store.config_dir().join("delayOffset.json");
        let schedule = Schedule::open(levels, ConfigFile::new(Arc::clone(&disk), delay_offsets))?;

        let timer = Timer::open(&store, clock.now_millis())?;

        let ip = &*settings.broker.broker_ip;
        let store_host = store_host(ip, port)?;
        let pid = std::process::id();
        let offsets = OffsetTable::open(Arc::clone(&disk), Arc::clone(&clock), live.clone())?;
        let broker = Self {
            pop: Pop::open(&disk, &settings, clock.now_millis())?,
            client: OnceLock::new(),
            others: OtherBrokers::default(),
            topics,
            static_topics: StaticTopics::open(Arc::clone(&disk), Arc::clone(&clock), &live)?,
            groups: GroupTable::open(Arc::clone(&disk), Arc::clone(&clock), live.clone())?,
            transactions: Transactions::open(&store, &offsets, clock.now_millis())?,
            offsets,
            broadcast_offsets: BroadcastOffsets::default(),
            clients: ClientTable::new(Arc::clone(&clock), live.clone()),
            filters,
            requested: RequestedSubscriptions::default(),
            locks: QueueLocks::new(Arc::clone(&clock)),
            polling,
            schedule,
            lite: Lite::default(),
            timer,
            rates: Rates::default(),
            statistics: Statistics::default(),
            cold_data: ColdDataThresholds::default(),
            unflushed_sends: AtomicUsize::new(0),
            config_version: Mutex::default(),
            started_millis: clock.now_millis(),
            address: format!("{ip}:{port}"),
            ha_address: format!("{ip}:{}", port.wrapping_add(1)),
            store_host,
            own_properties: own_properties(&settings.broker),
            region_id: settings.broker.region_id.clone(),
            trace_on: settings.broker.trace_on,
            unique_ids: UniqueIdGenerator::new(store_host.ip(), pid, pid as i32, 0),
            next_queue: AtomicU32::new(0),
            clock,
            store,
            live,
        };
        broker.pop.recover(&broker)?;
        Ok(broker)
    }

    /// What a group wants of a topic by its clients' heartbeats, or else by its last request.
    pub(crate) fn subscription(&self, group: &str, topic: &str) -> Option<Arc<Subscription>> {
        let told = self.clients.subscription(group, topic);
        told.or_else(|| self.requested.get(group, topic))
    }

    /// Counts a message that was stored in a topic; `bytes` are those of its record.
    pub(crate) fn count_stored(&self, topic: &str, bytes: i32) {
        if let Some(topic) = self.topics.get(topic) {
            self.statistics.stored(&topic, Tally::one(bytes));
        }
    }

    /// Counts messages that a group received, as [`Statistics::delivered`].
    pub(crate) fn count_delivered(&self, topic: &str, group: &str, messages: usize, bytes: usize) {
        if let Some(counters) = self.counters(topic, group) {
            self.statistics.delivered(&counters, topic, messages, bytes);
        }
    }

    /// Counts how long a request that brought messages took until now, as
    /// [`Statistics::delivered_after`].
    pub(crate) fn count_delivered_after(
        &self,
        topic: &str,
        group: &str,
        queue_id: i32,
        began_millis: i64,
    ) {
        if let Some(counters) = self.counters(topic, group) {
            let millis = (self.now_millis() - began_millis).max(0);
            self.statistics.delivered_after(&counters, queue_id, millis);
        }
    }

    /// The counters of a group that consumes a topic; `None` if there is no such topic.
    pub(crate) fn counters(&self, topic: &str, group: &str) -> Option<Arc<GroupStatistics>> {
        Some(self.topics.get(topic)?.statistics.group(group))
    }

    /// Writes all tables to disk.
    pub(crate) fn persist(&self) {
        self.pop.note_progress(self);
        self.broadcast_offsets.commit(self);
        // Popped messages whose check points are lost with the power must be handed out again.
        let flush = || {
            if let Err(error) = self.store.flush() {
                warn!("offsets are written that the log may not have come to: {error}");
            }
        };
        let tables = [
            ("topics", self.topics.persist()),
            ("static topics", self.static_topics.persist()),
            ("groups", self.groups.persist()),
            ("offsets", self.offsets.persist(flush)),
            ("orderly pops", self.pop.persist(self.now_millis())),
            (
                "filters",
                self.filters
                    .persist(|group| self.clients.group(group).is_some()),
            ),
            (
                "open transactions",
                self.transactions.persist().map_err(BrokerError::from),
            ),
            (
                "delayed messages",
                self.schedule.persist().map_err(BrokerError::from),
            ),
        ];
        for (what, result) in tables {
            if let Err(error) = result {
                warn!("the table of {what} can't be written: {error}");
            }
        }
    }
}

/// The address that messages are stored with: that of this machine, given by address or by name,
/// IPv4 if it has one.
fn store_host(host: &str, port: u16) -> Result<SocketAddr, StartError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port).to_socket_addrs();
    let found: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
    let chosen = found.iter().find(|address| address.is_ipv4());
    let chosen = chosen.or(found.first()).copied();
    chosen.ok_or_else(|| StartError::Setting {
        key: "brokerIP1",
        reason: format!(
            "\"{host}\" is no address of a machine; set the address that clients reach this one at"
        ),
    })
}

/// What the broker adds to the properties of each message.
fn own_properties(config: &BrokerConfig) -> String {
    let mut properties = String::new();
    let trace_on = if config.trace_on { "true" } else { "false" };
    for (name, value) in [
        (property::MSG_REGION, &*config.region_id),
        (property::TRACE_SWITCH, trace_on),
        (property::CLUSTER, &*config.broker_cluster_name),
    ] {
        properties::put(&mut properties, name, value);
    }
    properties
}

/// Hears of connections that close, so that their clients' groups are told at once.
struct Presence(Arc<Broker>);

impl ConnectionListener for Presence {
    fn connected(&self, _: &Arc<Connection>) {
        self.0.statistics.connected.add(1, 1);
    }

    fn closed(&self, connection: &Arc<Connection>) {
        self.0.statistics.closed.add(1, 1);
        self.0.clients.closed(connection);
    }

    fn idle(&self, _: &Arc<Connection>) {
        self.0.statistics.idle.add(1, 1);
    }
}

/// A running broker.
pub struct RunningBroker {
    broker: Arc<Broker>,
    server: RemotingServer,
    client: RemotingClient,
    tasks: Vec<JoinHandle<()>>,
}

impl RunningBroker {
    /// Opens the store, recovers what a crash left, listens, and registers with the name servers
    /// that `namesrvAddr` names. Clients are served when this returns.
    ///
    /// # Errors
    /// The data directory is in use or damaged, the port is in use, or a setting can't be used.
    pub async fn start(live: Live<BrokerSettings>) -> Result<Self, StartError> {
        let settings = live.load();
        let bound = RemotingServer::bind(settings.server.clone()).await?;
        let port = bound.local_addr().port();
        let opening = live.clone();
        let broker = tokio::task::spawn_blocking(move || {
            Broker::open(opening, port, OsDisk::shared(), Arc::new(SystemClock), true)
        })
        .await
        .map_err(|error| StartError::Setting {
            key: "store",
            reason: error.to_string(),
        })??;
        let broker = Arc::new(broker);
        broker.polling.attach(&broker);
        let server = bound
            .handlers(routes::handlers(&broker))
            .listener(Arc::new(Presence(Arc::clone(&broker))))
            .follow(&live.part(|settings| &settings.server))?
            .start();
        let client = RemotingClient::new(settings.client.clone(), HandlerTable::new());
        // Nobody has set it before.
        let _ = broker.client.set(client.clone());
        registration::register(&broker, &client).await;
        let mut running = Self {
            broker,
            server,
            client,
            tasks: Vec::new(),
        };
        running.spawn_tasks(&settings);
        Ok(running)
    }

    fn spawn_tasks(&mut self, settings: &BrokerSettings) {
        let broker = Arc::clone(&self.broker);
        self.tasks
            .push(tokio::spawn(registration::run(broker, self.client.clone())));
        let broker = Arc::clone(&self.broker);
        self.tasks.push(tokio::spawn(
            async move { broker.schedule.run(&broker).await },
        ));
        let broker = Arc::clone(&self.broker);
        self.tasks
            .push(tokio::spawn(async move { transaction::run(&broker).await }));
        let broker = Arc::clone(&self.broker);
        self.tasks.push(tokio::spawn(Timer::run(broker)));
        let broker = Arc::clone(&self.broker);
        self.tasks.push(tokio::spawn(async move {
            let mut interval = tokio::time::interval(SWEEP);
            loop {
                interval.tick().await;
                broker.polling.expire(broker.now_millis());
                broker.lite.sweep(&broker);
                broker.clients.expire();
                broker.locks.expire();
                let (now, hour) = (broker.now_millis(), broker.clock.local_hour());
                let statistics = &broker.statistics;
                broker.rates.sample(now, hour, &statistics.traffic);
                statistics.sample(&broker.topics, now);
            }
        }));
        let broker = Arc::clone(&self.broker);
        let period = Duration::from_millis(settings.broker.lite_ttl_check_interval);
        self.tasks.push(tokio::spawn(async move {
            let mut interval = tokio::time::interval(period);
            loop {
                interval.tick().await;
                let broker = Arc::clone(&broker);
                let _ = tokio::task::spawn_blocking(move || lite::expiry::expire(&broker)).await;
            }
        }));
        let broker = Arc::clone(&self.broker);
        self.tasks.push(tokio::spawn(async move {
            let mut interval = tokio::time::interval(POP_SWEEP);
            loop {
                interval.tick().await;
                let broker = Arc::clone(&broker);
                // It may read much from disk.
                let _ = tokio::task::spawn_blocking(move || broker.pop.sweep(&broker)).await;
            }
        }));
        let broker = Arc::clone(&self.broker);
        self.tasks.push(tokio::spawn(compaction::run(broker)));
        let broker = Arc::clone(&self.broker);
        self.tasks
            .push(tokio::spawn(static_topics::cleaning::run(broker)));
        let broker = Arc::clone(&self.broker);
        let period = Duration::from_millis(settings.broker.flush_consumer_offset_interval);
        self.tasks.push(tokio::spawn(async move {
            let mut interval = tokio::time::interval(period);
            loop {
                interval.tick().await;
                let broker = Arc::clone(&broker);
                // Writing a file and waiting for the disk is nothing for a connection's thread.
                let _ = tokio::task::spawn_blocking(move || broker.persist()).await;
            }
        }));
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// What its port speaks, to be added to, switched and replaced.
    pub fn protocols(&self) -> &Protocols {
        self.server.protocols()
    }

    /// `host:port` that it tells clients to connect to.
    pub fn address(&self) -> &str {
        &self.broker.address
    }

    /// Leaves the name servers, answers what is under way, and writes everything to disk.
    ///
    /// # Errors
    /// What could not be written.
    pub async fn shutdown(self) -> Result<(), StoreError> {
        registration::unregister(&self.broker, &self.client).await;
        for task in &self.tasks {
            task.abort();
        }
        self.broker.polling.release();
        self.broker.lite.release();
        self.broker.pop.release(&self.broker);
        let limit = self.broker.settings().server.shutdown_wait_time_seconds;
        self.server
            .shutdown(Duration::from_secs(u64::from(limit)))
            .await;
        self.client.shutdown().await;
        let broker = self.broker;
        let closed = tokio::task::spawn_blocking(move || {
            if let Err(error) = broker.timer.stop(&broker) {
                warn!("how far the timer came can't be written: {error}");
            }
            broker.persist();
            broker.store.close()
        });
        closed.await.unwrap_or(Ok(()))
    }
}
