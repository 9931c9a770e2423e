//! Starting and stopping a proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::Live;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use transport::{
    Http2, HttpService, RemotingClient, RemotingClientConfig, RemotingServer, TransportError,
};

use crate::clients::Clients;
use crate::cluster::Cluster;
use crate::grpc::Allowance;
use crate::lite::Rate;
use crate::metrics;
use crate::presence::Presences;
use crate::questions::{self, Questions};
use crate::renewal::{self, Renewals};
use crate::routes::MessagingService;
use crate::settings::{ProxyConfig, ProxySettings};
use crate::transactions::{self, Transactions};

/// What is spoken on the proxy's port: gRPC on HTTP/2, as it is or in TLS, behind proxies or not.
const PROTOCOLS: [&str; 3] = ["proxy", "tls", "http2"];

/// Bytes of all requests that are being received, unless a single one may be larger.
const MAX_REQUESTS: usize = 256 * 1024 * 1024;

/// How long a stopping proxy gives messages back for.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(3);

/// What the handlers of all calls share.
pub(crate) struct State {
    pub(crate) config: ProxyConfig,
    pub(crate) cluster: Cluster,
    pub(crate) clients: Clients,
    pub(crate) transactions: Transactions,
    pub(crate) renewals: Renewals,
    pub(crate) questions: Questions,
    pub(crate) presences: Presences,
    /// How often clients may subscribe to lite topics.
    pub(crate) lite_rate: Rate,
    /// What requests may take.
    pub(crate) allowance: Allowance,
    /// Told when brokers shall hear of clients before the period is over.
    pub(crate) heartbeat_due: Notify,
    /// Becomes true when the proxy stops: what waits for something else then ends.
    pub(crate) stopping: watch::Sender<bool>,
}

impl State {
    /// Waits until the proxy stops.
    pub(crate) async fn stopped(&self) {
        // The sender is here, so there is no other end than that.
        let _ = self
            .stopping
            .subscribe()
            .wait_for(|stopping| *stopping)
            .await;
    }
}

impl State {
    fn new(config: ProxyConfig, client: RemotingClientConfig) -> Arc<Self> {
        Arc::new_cyclic(|state| {
            let patience = config.grpc_proxy_relay_request_timeout_in_seconds;
            let questions = Questions::new(Duration::from_secs(patience));
            let handlers = questions::handlers(state, questions.executor());
            let remoting = RemotingClient::new(client.clone(), handlers);
            let transaction_expiry = Duration::from_millis(config.transaction_data_expire_millis);
            Self {
                cluster: Cluster::new(&config, remoting),
                clients: Clients::new(config.client_expiry()),
                transactions: Transactions::new(
                    transaction_expiry,
                    config.transaction_data_max_num,
                ),
                renewals: Renewals::default(),
                questions,
                presences: Presences::new(client),
                lite_rate: Rate::new(config.max_sync_lite_subscription_rate),
                allowance: Allowance {
                    message: config.grpc_max_inbound_message_size,
                    all: Arc::new(Semaphore::new(
                        config.grpc_max_inbound_message_size.max(MAX_REQUESTS),
                    )),
                },
                heartbeat_due: Notify::new(),
                stopping: watch::Sender::new(false),
                config,
            }
        })
    }
}

fn service(state: &Arc<State>) -> Arc<dyn HttpService> {
    Arc::new(MessagingService {
        state: Arc::clone(state),
    })
}

/// A running proxy. Dropped without [`shutdown`](Self::shutdown) it stops at once.
pub struct Proxy {
    state: Arc<State>,
    server: RemotingServer,
    /// Where those are answered who ask for metrics.
    metrics: Option<RemotingServer>,
    shutdown_limit: Duration,
    tasks: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Starts to serve. Name servers and brokers need not be there yet.
    ///
    /// # Errors
    /// The port is in use, the address is not one of this machine, or settings name protocols or
    /// certificates that can't be used.
    pub async fn start(settings: ProxySettings) -> Result<Self, TransportError> {
        let server = settings.server();
        let shutdown_limit = Duration::from_secs(server.shutdown_wait_time_seconds.into());
        let port = RemotingServer::bind(server.clone()).await?;
        let metrics = metrics::serve(&settings).await?;
        let state = State::new(settings.proxy, settings.client);
        let server = port
            .protocol(Arc::new(Http2::only(service(&state))))
            .only(&PROTOCOLS)
            .follow(&Live::new(server))?
            .start();
        let tasks = vec![
            tokio::spawn(transactions::keep_heartbeats(Arc::clone(&state))),
            tokio::spawn(renewal::keep_hidden(Arc::clone(&state))),
        ];
        Ok(Self {
            state,
            server,
            metrics,
            shutdown_limit,
            tasks,
        })
    }

    /// Where the gRPC API is served.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where metrics are served, if they are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(RemotingServer::local_addr)
    }

    /// The gRPC API for another server's port.
    pub fn service(&self) -> Arc<dyn HttpService> {
        service(&self.state)
    }

    /// Stops in good order: gives back what clients hold, ends their calls, and takes its leave
    /// of brokers.
    pub async fn shutdown(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let giving_back = renewal::give_back_all(&self.state);
        if tokio::time::timeout(GIVE_BACK_LIMIT, giving_back)
            .await
            .is_err()
        {
            tracing::warn!("not all messages that clients hold could be given back");
        }
        self.state.stopping.send_replace(true);
        self.server.shutdown(self.shutdown_limit).await;
        if let Some(metrics) = self.metrics {
            metrics.shutdown(Duration::ZERO).await;
        }
        self.state.presences.shutdown().await;
        self.state.cluster.shutdown().await;
    }
}
