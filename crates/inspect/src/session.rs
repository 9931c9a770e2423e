//! Sessions: who is there, what they produce and consume, and how far they have come.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wire::body::heartbeat::{ConsumeFromWhere, ConsumeType, HeartbeatData, MessageModel};
use wire::frame::Language;

use crate::capture::{Process, Timestamp};
use crate::exchange::{Action, Exchange, Outcome, Protocol, Side};
use crate::message::News;

/// Within this time a broker tells all members of a group that one came or left.
const ONE_REBALANCE: Duration = Duration::from_millis(200);

/// Connections remembered; beyond, the first ones are forgotten.
const MAX_CONNECTIONS: usize = 65_536;
/// Clients, groups, and members and subscriptions of a group that are remembered; more are not.
const MAX_NAMED: usize = 16_384;
/// Queues that are remembered; beyond, all begin anew.
const MAX_QUEUES: usize = 262_144;

type Hasher = foldhash::fast::RandomState;

/// Who is there, as far as the traffic tells.
#[derive(Debug, Default)]
pub struct Sessions {
    connections: VecDeque<Connection>,
    clients: BTreeMap<Arc<str>, Client>,
    groups: BTreeMap<Arc<str>, Group>,
    queues: HashMap<QueueKey, Progress, Hasher>,
    /// The offset behind the last message of a queue: by broker, topic and queue.
    ends: HashMap<(SocketAddr, Arc<str>, i32), i64, Hasher>,
}

impl Sessions {
    /// A connection, by [`Exchange::connection`](crate::Exchange::connection).
    pub fn connection(&self, number: u64) -> Option<&Connection> {
        self.connections.get(self.index(number)?)
    }

    pub(crate) fn connection_mut(&mut self, number: u64) -> Option<&mut Connection> {
        let index = self.index(number)?;
        self.connections.get_mut(index)
    }

    fn index(&self, number: u64) -> Option<usize> {
        let first = self.connections.front()?.number;
        usize::try_from(number.checked_sub(first)?).ok()
    }

    /// The connections that RocketMQ is spoken on, in the order in which they were first seen.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter()
    }

    /// The clients that said who they are, by their ids.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values()
    }

    /// The consumer groups, by their names.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// How far groups have come in queues, in no order.
    pub fn progress(&self) -> impl Iterator<Item = (&QueueKey, &Progress)> {
        self.queues.iter()
    }
}

/// What the traffic says.
impl Sessions {
    /// Adds a connection, and gives its number.
    pub(crate) fn open(&mut self, mut connection: Connection) -> u64 {
        let number = self.connections.back().map_or(1, |last| last.number + 1);
        connection.number = number;
        if self.connections.len() >= MAX_CONNECTIONS {
            self.connections.pop_front();
        }
        self.connections.push_back(connection);
        number
    }

    /// Whether the queue that a request reads from has messages for it, as far as is known.
    pub(crate) fn has_something(&self, exchange: &Exchange) -> bool {
        let (Some(topic), Some(queue_id), Some(offset)) =
            (&exchange.topic, exchange.queue_id, exchange.offset)
        else {
            return false;
        };
        let key = (exchange.server, Arc::clone(topic), queue_id);
        self.ends.get(&key).is_some_and(|end| *end > offset)
    }

    /// Hears what is said about clients.
    pub(crate) fn hear(
        &mut self,
        exchange: &Exchange,
        language: Option<Language>,
        version: i32,
        news: News,
    ) {
        let time = exchange.timing.request.0;
        match news {
            News::Heartbeat(heartbeat) => {
                self.presence(exchange, language, version, &heartbeat);
                self.heartbeat(exchange);
            }
            News::Presence(presence) => self.presence(exchange, language, version, &presence),
            News::Alive => self.heartbeat(exchange),
            News::Left {
                producer_group,
                consumer_group,
            } => {
                let id = &exchange.client_id;
                if let Some(client) = self.clients.get_mut(id) {
                    producer_group.map(|group| client.producer_groups.remove(&*group));
                    if let Some(group) = &consumer_group {
                        client.consumer_groups.remove(&**group);
                    }
                    client.left =
                        client.producer_groups.is_empty() && client.consumer_groups.is_empty();
                }
                let group = consumer_group.and_then(|group| self.groups.get_mut(&*group));
                if let Some(group) = group {
                    group.members.remove(id);
                }
            }
            News::MembersChanged => {
                if let Some(group) = self.group_of(exchange) {
                    // A broker tells each member, which is one change.
                    let known = group.last_rebalance;
                    if known.is_none_or(|known| known.until(time) > ONE_REBALANCE) {
                        group.rebalances += 1;
                    }
                    group.last_rebalance = Some(time);
                }
            }
            News::Members(members) => {
                if let Some(group) = self.group_of(exchange) {
                    let members = members.iter().take(MAX_NAMED).map(|id| id.as_str().into());
                    group.members = members.collect();
                }
            }
            News::Locks => {
                if let Some(group) = self.group_of(exchange) {
                    group.ordered = true;
                }
            }
        }
    }

    fn heartbeat(&mut self, exchange: &Exchange) {
        if let Some(client) = self.clients.get_mut(&exchange.client_id) {
            client.heartbeats += 1;
            client.last_heartbeat = Some(exchange.timing.request.0);
        }
    }

    fn presence(
        &mut self,
        exchange: &Exchange,
        language: Option<Language>,
        version: i32,
        heartbeat: &HeartbeatData,
    ) {
        let id = &exchange.client_id;
        if let Some(connection) = self.connection_mut(exchange.connection) {
            connection.client_id = Some(Arc::clone(id));
            connection.language = language;
            connection.version = version;
        }
        if self.clients.len() >= MAX_NAMED && !self.clients.contains_key(id) {
            return;
        }
        let client = self
            .clients
            .entry(Arc::clone(id))
            .or_insert_with(|| Client {
                id: Arc::clone(id),
                address: exchange.client.ip(),
                language,
                version,
                heartbeats: 0,
                last_heartbeat: None,
                left: false,
                producer_groups: BTreeSet::new(),
                consumer_groups: BTreeSet::new(),
            });
        client.left = false;
        let groups = heartbeat
            .producer_data_set
            .iter()
            .map(|one| one.group_name.as_str());
        client.producer_groups = groups.take(MAX_NAMED).map(Arc::from).collect();
        let groups = heartbeat
            .consumer_data_set
            .iter()
            .map(|one| one.group_name.as_str());
        client.consumer_groups = groups.take(MAX_NAMED).map(Arc::from).collect();
        for data in &heartbeat.consumer_data_set {
            let Some(group) = self.group(&Arc::from(data.group_name.as_str())) else {
                continue;
            };
            group.consume_type = Some(data.consume_type);
            group.message_model = Some(data.message_model);
            group.from = Some(data.consume_from_where);
            group.members.insert(Arc::clone(id));
            for subscription in &data.subscription_data_set {
                if group.subscriptions.len() < MAX_NAMED {
                    let topic = subscription.topic.as_str().into();
                    group
                        .subscriptions
                        .insert(topic, subscription.sub_string.as_str().into());
                }
            }
        }
    }

    fn group(&mut self, name: &Arc<str>) -> Option<&mut Group> {
        if self.groups.len() >= MAX_NAMED && !self.groups.contains_key(name) {
            return None;
        }
        let group = self.groups.entry(Arc::clone(name)).or_default();
        group.name = Arc::clone(name);
        Some(group)
    }

    fn group_of(&mut self, exchange: &Exchange) -> Option<&mut Group> {
        self.group(exchange.group.as_ref()?)
    }

    /// Counts an exchange that has ended.
    pub(crate) fn take(&mut self, exchange: &Exchange) {
        if let Some(connection) = self.connection_mut(exchange.connection) {
            connection.exchanges += 1;
            connection.errors += u64::from(exchange.is_error());
        }
        self.learn_end(exchange);
        let count = exchange.messages.len() as u64;
        let done = matches!(exchange.outcome, Outcome::Answered(status) if !status.is_error());
        match exchange.action {
            Action::Pull | Action::Commit => {
                if let Some(group) = self.group_of(exchange).filter(|_| done) {
                    group.delivered += count;
                }
                self.progress_of(exchange);
            }
            Action::Pop if done => {
                if let Some(group) = self.group_of(exchange) {
                    group.delivered += count;
                }
            }
            Action::SendBack => {
                if let Some(group) = self.group_of(exchange) {
                    group.sent_back += count;
                }
            }
            Action::Acknowledge if done => {
                if let Some(group) = self.group_of(exchange) {
                    group.acknowledged += count;
                }
            }
            _ => {}
        }
    }

    fn learn_end(&mut self, exchange: &Exchange) {
        let (Some(topic), Some(queue_id), Some(end)) =
            (&exchange.topic, exchange.queue_id, exchange.max_offset)
        else {
            return;
        };
        if self.ends.len() >= MAX_QUEUES {
            self.ends.clear();
        }
        let key = (exchange.server, Arc::clone(topic), queue_id);
        let known = self.ends.entry(key).or_default();
        *known = end.max(*known);
    }

    fn progress_of(&mut self, exchange: &Exchange) {
        let (Some(topic), Some(group), Some(queue_id)) =
            (&exchange.topic, &exchange.group, exchange.queue_id)
        else {
            return;
        };
        if self.queues.len() >= MAX_QUEUES {
            self.queues.clear();
        }
        let key = (exchange.server, Arc::clone(topic), queue_id);
        let end = self.ends.get(&key).copied();
        let progress = self.queues.entry(QueueKey {
            group: Arc::clone(group),
            topic: Arc::clone(topic),
            broker: exchange.server,
            queue_id,
        });
        let progress = progress.or_default();
        progress.max_offset = end.unwrap_or(0).max(progress.max_offset);
        if let Some(asked) = exchange.offset {
            // The queue may begin later, and messages may be left out.
            let offsets = exchange.messages.iter().filter_map(|one| one.offset);
            progress.delivered = offsets.map(|at| at.saturating_add(1)).fold(asked, i64::max);
        }
        progress.committed = exchange.committed.or(progress.committed);
        progress.last = exchange.timing.request.0;
    }
}

/// A connection that RocketMQ is spoken on.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Counts the connections from 1, in the order in which they were first seen.
    pub number: u64,
    /// The end that opened it.
    pub client: SocketAddr,
    /// The end that accepted it.
    pub server: SocketAddr,
    /// The process at this machine's end, if the source tells it.
    pub process: Option<Arc<Process>>,
    /// How requests travel.
    pub protocol: Protocol,
    /// The client's id, if it said it.
    pub client_id: Option<Arc<str>>,
    /// What the client is written in.
    pub language: Option<Language>,
    /// The client's version, an ordinal of the reference's `MQVersion`; 0 if it is not known.
    pub version: i32,
    /// When it was first seen.
    pub first: Timestamp,
    /// When it was last seen.
    pub last: Timestamp,
    /// Whether its opening was seen.
    pub opened: bool,
    /// Whether its end was seen.
    pub closed: bool,
    /// What each side sent, the client first.
    pub sent: [Sent; 2],
    /// Exchanges that ended.
    pub exchanges: u64,
    /// Those that went wrong.
    pub errors: u64,
    /// There and back from the place of the capture to the server.
    pub server_round_trip: Option<Duration>,
    /// There and back from the place of the capture to the client.
    pub client_round_trip: Option<Duration>,
}

impl Connection {
    /// What a side sent.
    pub fn sent(&self, side: Side) -> &Sent {
        &self.sent[side as usize]
    }
}

/// What one side of a connection sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// Bytes of the stream.
    pub bytes: u64,
    /// Frames or messages.
    pub frames: u64,
    /// Packets that it sent again.
    pub retransmissions: u64,
    /// Packets that came out of their order.
    pub reordered: u64,
    /// Bytes of the stream that the capture does not have.
    pub missing: u64,
}

/// A client that said who it is.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its id.
    pub id: Arc<str>,
    /// Its address without the port.
    pub address: std::net::IpAddr,
    /// What it is written in.
    pub language: Option<Language>,
    /// Its version, an ordinal of the reference's `MQVersion`; 0 if it is not known.
    pub version: i32,
    /// Heartbeats seen.
    pub heartbeats: u64,
    /// When the last one was seen.
    pub last_heartbeat: Option<Timestamp>,
    /// Whether it left its groups.
    pub left: bool,
    /// The groups that it produces in.
    pub producer_groups: BTreeSet<Arc<str>>,
    /// The groups that it consumes in.
    pub consumer_groups: BTreeSet<Arc<str>>,
}

/// A consumer group.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// How its clients get their messages.
    pub consume_type: Option<ConsumeType>,
    /// Who gets a message.
    pub message_model: Option<MessageModel>,
    /// Where it starts when it has no offset.
    pub from: Option<ConsumeFromWhere>,
    /// Whether its clients lock queues, as those do that consume in order.
    pub ordered: bool,
    /// The expression for each topic; `*` is all.
    pub subscriptions: BTreeMap<Arc<str>, Box<str>>,
    /// The ids of its clients.
    pub members: BTreeSet<Arc<str>>,
    /// How often its members changed, as the broker told them or its own list showed.
    pub rebalances: u64,
    /// When they last changed.
    pub last_rebalance: Option<Timestamp>,
    /// Messages delivered to it.
    pub delivered: u64,
    /// Messages that it gave back for a retry or the dead letter queue.
    pub sent_back: u64,
    /// Messages that it acknowledged one by one.
    pub acknowledged: u64,
}

/// A queue of a topic as a group reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueKey {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The broker's address.
    pub broker: SocketAddr,
    /// The queue.
    pub queue_id: i32,
}

/// How far a group has come in a queue, as seen on the wire.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// The offset behind the last message of the queue.
    pub max_offset: i64,
    /// The offset behind the last message delivered.
    pub delivered: i64,
    /// The offset below which the group said that it is done.
    pub committed: Option<i64>,
    /// When this was last heard of.
    pub last: Timestamp,
}

impl Progress {
    /// How many messages the group is behind: by what it committed, else by what was delivered.
    pub fn lag(&self) -> i64 {
        let done = self.committed.unwrap_or(self.delivered);
        self.max_offset.saturating_sub(done).max(0)
    }
}
