//! Sessions: who is there, what they produce and consume, and how far they have come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wire::body::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel};
use wire::frame::Language;

use crate::capture::{Process, Timestamp};
use crate::exchange::{Protocol, Side};

/// Who is there, as far as the traffic tells.
#[derive(Debug, Default)]
pub struct Sessions {
    connections: BTreeMap<u64, Connection>,
    clients: BTreeMap<Arc<str>, Client>,
    groups: BTreeMap<Arc<str>, Group>,
    queues: HashMap<QueueKey, Progress>,
}

impl Sessions {
    /// A connection, by [`Exchange::connection`](crate::Exchange::connection).
    pub fn connection(&self, number: u64) -> Option<&Connection> {
        self.connections.get(&number)
    }

    /// The connections that RocketMQ is spoken on, in the order in which they were first seen.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values()
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
        (self.max_offset - done).max(0)
    }
}
