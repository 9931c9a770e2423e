//! What all handlers share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Live;
use parking_lot::RwLock;
use transport::Connection;

use crate::kv_config::KvConfig;
use crate::notices::Notices;
use crate::route_answers::RouteAnswers;
use crate::route_table::{MinBrokerIdChange, RouteTable};
use crate::settings::NameServerSettings;

/// The time by the runtime's clock, which tests and simulations can hold and turn.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A name server without its sockets.
///
/// Locks are taken in the order of the fields.
pub(crate) struct State {
    pub settings: Live<NameServerSettings>,
    pub routes: RwLock<RouteTable>,
    pub kv: KvConfig,
    pub answers: RouteAnswers,
    pub notices: Notices,
    pub started: Instant,
}

impl State {
    /// Takes out what registered on a connection that is closed.
    pub(crate) fn disconnected(&self, connection: &Arc<Connection>) {
        // Most connections are clients'; they leave without stopping everybody else.
        if self.routes.read().is_used(connection.id()) {
            tracing::info!(peer = %connection.peer(), "a broker's connection is closed");
            let changes = self.routes.write().disconnected(connection.id());
            self.notify(changes);
        }
    }

    /// Takes out the brokers that have fallen silent and closes their connections.
    pub(crate) fn expire(&self, now: Instant) {
        let (links, changes) = self.routes.write().expire(now);
        for connection in links.iter().filter_map(|link| link.connection.upgrade()) {
            tracing::warn!(peer = %connection.peer(), "a broker has been silent for too long; its connection is closed");
            connection.close();
        }
        self.notify(changes);
    }

    /// Has brokers told of changes in their groups, if that is wanted.
    pub(crate) fn notify(&self, changes: impl IntoIterator<Item = MinBrokerIdChange>) {
        if self.settings.load().namesrv.notify_min_broker_id_changed {
            for change in changes {
                self.notices.send(change);
            }
        }
    }

    /// Looks for silent brokers for ever.
    pub(crate) async fn keep_house(self: Arc<Self>) {
        loop {
            let interval = self.settings.load().namesrv.scan_not_active_broker_interval;
            tokio::time::sleep(Duration::from_millis(interval)).await;
            self.expire(now());
        }
    }
}
