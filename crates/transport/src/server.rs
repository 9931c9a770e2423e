//! Listening for connections and serving them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::connection::{Connection, Stage};
use crate::endpoint::Endpoint;
use crate::error::TransportError;
use crate::events::ConnectionListener;
use crate::handler::HandlerTable;
use crate::network::{Link, Listener, Network, Sockets};
use crate::protocol::Protocol;
use crate::protocols::Protocols;
use crate::remoting::Remoting;
use crate::settings::RemotingServerConfig;

/// How long accepting pauses when the system can't, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that holds its port and has not started yet.
pub struct RemotingServerBuilder {
    listener: Arc<dyn Listener>,
    local: SocketAddr,
    config: RemotingServerConfig,
    handlers: HandlerTable,
    events: Arc<dyn ConnectionListener>,
    protocols: Protocols,
}

impl RemotingServerBuilder {
    /// Where the server is going to listen, with the port that the system chose for 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Who handles the requests.
    #[must_use]
    pub fn handlers(mut self, handlers: HandlerTable) -> Self {
        self.handlers = handlers;
        self
    }

    /// Who is told what happens to connections.
    #[must_use]
    pub fn listener(mut self, listener: Arc<dyn ConnectionListener>) -> Self {
        self.events = listener;
        self
    }

    /// Another protocol to be spoken on the port; "remoting" is there from the start.
    #[must_use]
    pub fn protocol(self, protocol: Arc<dyn Protocol>) -> Self {
        self.protocols.add(protocol);
        self
    }

    /// Starts to accept connections. Needs the runtime that is to run them.
    pub fn start(self) -> RemotingServer {
        let (limits, timeout) = (self.config.limits(), self.config.handshake_timeout());
        let endpoint = Endpoint::new(self.protocols, self.handlers, self.events, limits, timeout);
        let accepting = Accepting {
            listener: self.listener,
            endpoint: Arc::clone(&endpoint),
            limit: self.config.server_max_connections,
        };
        tracing::info!(address = %self.local, "listening");
        RemotingServer {
            local: self.local,
            accepting: tokio::spawn(accepting.run()),
            housekeeping: tokio::spawn(Endpoint::housekeeping(Arc::downgrade(&endpoint))),
            endpoint,
        }
    }
}

/// A server for all protocols of one port. Dropped without [`shutdown`](Self::shutdown) it closes
/// its connections at once.
pub struct RemotingServer {
    local: SocketAddr,
    endpoint: Arc<Endpoint>,
    accepting: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
}

impl RemotingServer {
    /// Takes the address and port of the settings, so that they are known before anything starts.
    ///
    /// # Errors
    /// The port is in use, or the address is not one of this machine.
    pub async fn bind(
        config: RemotingServerConfig,
    ) -> Result<RemotingServerBuilder, TransportError> {
        Self::bind_on(&Sockets, config).await
    }

    /// The same on another network than that of the system.
    ///
    /// # Errors
    /// Those of [`bind`](Self::bind).
    pub async fn bind_on(
        network: &dyn Network,
        config: RemotingServerConfig,
    ) -> Result<RemotingServerBuilder, TransportError> {
        let host = &config.bind_address;
        let colons = host.contains(':') && !host.starts_with('[');
        let address = match config.listen_port {
            port if colons => format!("[{host}]:{port}"),
            port => format!("{host}:{port}"),
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => TransportError::AddressInUse {
                address: address.clone(),
            },
            _ => TransportError::Bind {
                address: address.clone(),
                reason: error.to_string(),
            },
        };
        let listener = network
            .listen(&address, config.socket_options())
            .await
            .map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let protocols = Protocols::default();
        protocols.add(Arc::new(Remoting));
        let (handlers, events) = (HandlerTable::new(), Arc::new(()));
        Ok(RemotingServerBuilder {
            listener,
            local,
            config,
            handlers,
            events,
            protocols,
        })
    }

    /// Where the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The protocols, to be switched and replaced.
    pub fn protocols(&self) -> &Protocols {
        self.endpoint.protocols()
    }

    /// All connections that carry frames.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.endpoint.connections()
    }

    /// How many connections carry frames.
    pub fn connection_count(&self) -> usize {
        self.endpoint.connection_count()
    }

    /// Stops in good order: accepts nothing more, finishes the requests that run, writes the
    /// answers and closes. What is not done within `limit` is cut off. Requests that are held
    /// back for later answers count as running: answer or drop their responders first.
    pub async fn shutdown(mut self, limit: Duration) {
        self.accepting.abort();
        // The port is free once the task is gone; its end is always that it was cancelled.
        let _ = (&mut self.accepting).await;
        self.endpoint.shutdown(limit).await;
        tracing::info!(address = %self.local, "stopped listening");
    }
}

impl Drop for RemotingServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.housekeeping.abort();
        self.endpoint.close(Stage::Aborted);
    }
}

/// The task that accepts connections.
struct Accepting {
    listener: Arc<dyn Listener>,
    endpoint: Arc<Endpoint>,
    limit: usize,
}

impl Accepting {
    async fn run(self) {
        // Counts those that have not said yet what they speak, too.
        let places = Arc::new(tokio::sync::Semaphore::new(
            self.limit.min(tokio::sync::Semaphore::MAX_PERMITS),
        ));
        let mut refused = 0_u64;
        loop {
            let link = match self.listener.accept().await {
                Ok(link) => link,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, "connections can't be accepted at the moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    refused = 0;
                    self.serve(link, place);
                }
                Err(_) => {
                    refused += 1;
                    if refused.is_power_of_two() {
                        tracing::warn!(
                            peer = %link.peer,
                            refused,
                            "kerolox.serverMaxConnections = {} is reached; the connection is closed",
                            self.limit
                        );
                    }
                }
            }
        }
    }

    fn serve(&self, link: Link, place: tokio::sync::OwnedSemaphorePermit) {
        let serving = Arc::clone(&self.endpoint).serve(link);
        tokio::spawn(async move {
            serving.await;
            drop(place);
        });
    }
}

/// Whether only the connection that was to be accepted failed, as when its peer left at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}
