//! Putting a name server together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::Live;
use parking_lot::RwLock;
use tokio::task::JoinSet;
use transport::{Connection, ConnectionListener, HandlerTable, RemotingClient, RemotingServer};

use crate::error::NameServerError;
use crate::kv_config::KvConfig;
use crate::notices::{self, Notices};
use crate::route_answers::RouteAnswers;
use crate::route_table::RouteTable;
use crate::routes;
use crate::settings::NameServerSettings;
use crate::state::{self, State};

/// A running name server. Dropped without [`shutdown`](Self::shutdown) it stops at once.
pub struct NameServer {
    server: RemotingServer,
    client: RemotingClient,
    /// Looks for silent brokers, and tells brokers of changes; ends when it is dropped.
    tasks: JoinSet<()>,
    shutdown_limit: Duration,
}

impl NameServer {
    /// Reads the key-value configuration and starts to listen. `settings` are followed while the
    /// server runs, and changed by `UPDATE_NAMESRV_CONFIG`.
    ///
    /// # Errors
    /// The key-value configuration can't be read, or the port not be used.
    pub async fn start(settings: Live<NameServerSettings>) -> Result<Self, NameServerError> {
        let now = settings.load();
        let kv = KvConfig::load(PathBuf::from(&now.namesrv.kv_config_path))?;
        let bound = RemotingServer::bind(now.server.clone()).await?;
        let server_settings = settings.part(|settings| &settings.server);
        let (notices, changes) = Notices::channel();
        let state = Arc::new(State {
            settings,
            routes: RwLock::new(RouteTable::default()),
            kv,
            answers: RouteAnswers::default(),
            notices,
            started: state::now(),
        });
        let client = RemotingClient::new(now.client.clone(), HandlerTable::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&state).keep_house());
        tasks.spawn(notices::tell(changes, client.clone()));
        let server = bound
            .handlers(routes::handler_table(&state))
            .listener(Arc::new(BrokerHousekeeping(state)))
            .follow(&server_settings)?
            .start();
        Ok(Self {
            server,
            client,
            tasks,
            shutdown_limit: Duration::from_secs(now.server.shutdown_wait_time_seconds.into()),
        })
    }

    /// Where the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops: answers what has been asked, then closes the connections.
    pub async fn shutdown(mut self) {
        // Brokers are not told of changes that are only due to the end of their connections.
        self.tasks.shutdown().await;
        self.server.shutdown(self.shutdown_limit).await;
        self.client.shutdown().await;
    }
}

/// Takes brokers out when their connections close (`BrokerHousekeepingService`).
struct BrokerHousekeeping(Arc<State>);

impl ConnectionListener for BrokerHousekeeping {
    fn closed(&self, connection: &Arc<Connection>) {
        self.0.disconnected(connection);
    }
}
