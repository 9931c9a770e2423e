//! A client, and the clients of a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use transport::Connection;
use wire::frame::{Head, Language};

/// A client on its connection, in one group.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where it is reached.
    pub(crate) connection: Arc<Connection>,
    /// What it calls itself.
    pub(crate) id: String,
    /// What it is written in.
    pub(crate) language: Option<Language>,
    /// Its version, an ordinal of the reference's `MQVersion`.
    pub(crate) version: i32,
    /// See [`heard`](Self::heard).
    heard: AtomicI64,
}

impl Client {
    /// A client that sends its first heartbeat.
    pub(crate) fn new(connection: &Arc<Connection>, head: &Head, id: &str) -> Self {
        Self {
            connection: Arc::clone(connection),
            id: id.into(),
            language: head.language,
            version: head.version,
            heard: AtomicI64::new(0),
        }
    }

    /// The same for another group.
    pub(super) fn in_group(&self, now: i64) -> Arc<Self> {
        Arc::new(Self {
            connection: Arc::clone(&self.connection),
            id: self.id.clone(),
            language: self.language,
            version: self.version,
            heard: AtomicI64::new(now),
        })
    }

    /// The form that tools show it in.
    pub(crate) fn to_body(&self) -> wire::body::client::Connection {
        wire::body::client::Connection {
            client_addr: self.connection.peer().to_string(),
            client_id: self.id.clone(),
            language: self.language,
            version: self.version,
        }
    }

    pub(super) fn is_on(&self, connection: &Connection) -> bool {
        self.connection.id() == connection.id()
    }

    fn heard_at(&self, now: i64) {
        self.heard.store(now, Ordering::Relaxed);
    }

    /// When it was last heard of, in milliseconds since 1970.
    pub(super) fn heard(&self) -> i64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(super) fn is_silent_since(&self, limit: i64) -> bool {
        self.heard() < limit
    }
}

/// The clients of a group, one a connection, in the order in which they came.
#[derive(Debug, Default, Clone)]
pub(super) struct Members(pub(super) Vec<Arc<Client>>);

impl Members {
    /// Notes a heartbeat. Returns whether there is a new member.
    pub(super) fn enter(&mut self, client: &Client, now: i64) -> bool {
        let on_connection = self
            .0
            .iter_mut()
            .find(|member| member.is_on(&client.connection));
        match on_connection {
            Some(member) if member.id == client.id => {
                member.heard_at(now);
                return false;
            }
            Some(member) => *member = client.in_group(now),
            None => self.0.push(client.in_group(now)),
        }
        true
    }
}
