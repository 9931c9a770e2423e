//! Connecting to servers and asking them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wire::frame::{Frame, Head};
use wire::header::EncodeHeader;

use crate::choice::chooser::Chooser;
use crate::connection::{Connection, Stage};
use crate::connector::RemotingClientFactory;
use crate::endpoint::Endpoint;
use crate::error::TransportError;
use crate::events::ConnectionListener;
use crate::handler::HandlerTable;
use crate::protocols::Protocols;
use crate::reply::Body;
use crate::settings::RemotingClientConfig;

/// Connections to servers, one for each address, made when they are needed and made again when
/// they were closed. Clones share them.
#[derive(Clone)]
pub struct RemotingClient {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Arc<Endpoint>,
    chooser: Arc<Chooser>,
    config: RemotingClientConfig,
    servers: Mutex<HashMap<String, Arc<Server>>>,
    housekeeping: Once,
}

/// The connection to one address.
#[derive(Default)]
struct Server {
    connection: Mutex<Option<Arc<Connection>>>,
    /// Held by the one who connects; what the last attempt failed with.
    failure: tokio::sync::Mutex<Option<TransportError>>,
    /// How many attempts have ended, so that those who waited for one that failed don't try
    /// again one after the other.
    attempts: AtomicU64,
}

impl RemotingClient {
    /// A client without connections. `handlers` serve what servers ask.
    pub fn new(config: RemotingClientConfig, handlers: HandlerTable) -> Self {
        RemotingClientFactory::new(config).client(handlers, Arc::new(()))
    }

    pub(crate) fn made_by(
        factory: RemotingClientFactory,
        handlers: HandlerTable,
        listener: Arc<dyn ConnectionListener>,
    ) -> Self {
        let config = factory.config().clone();
        let timeout = config.connect_timeout();
        let endpoint = Endpoint::new(
            Protocols::default(),
            handlers,
            listener,
            config.limits(),
            timeout,
        );
        let inner = Inner {
            endpoint,
            chooser: Chooser::new(factory),
            config,
            servers: Mutex::new(HashMap::new()),
            housekeeping: Once::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Sends a request to an address such as `host:port` and waits for the answer; `timeout` includes connecting.
    ///
    /// # Errors
    /// No connection, no answer in time, the connection closed meanwhile, or too many requests
    /// waiting already.
    pub async fn request<H: EncodeHeader + ?Sized>(
        &self,
        address: &str,
        head: Head,
        header: &H,
        body: Body,
        timeout: Duration,
    ) -> Result<Frame, TransportError> {
        let start = Instant::now();
        let too_late = |_| TransportError::Timeout {
            address: address.to_owned(),
            code: head.code,
            timeout,
        };
        let connection = match self.open_connection(address) {
            Some(connection) => connection,
            None => tokio::time::timeout(timeout, self.connection(address))
                .await
                .map_err(too_late)??,
        };
        let left = timeout.saturating_sub(start.elapsed());
        let answer = connection.request(head, header, body, left).await;
        match answer {
            Err(TransportError::Timeout { .. }) => {
                let silent = !connection.received_within(left);
                if self.inner.config.client_close_socket_if_timeout && silent {
                    tracing::warn!(
                        address,
                        "nothing comes from a server; its connection is closed"
                    );
                    connection.close();
                }
                let address = address.to_owned();
                Err(TransportError::Timeout {
                    address,
                    code: head.code,
                    timeout,
                })
            }
            other => other,
        }
    }

    /// Sends a request to an address that wants no answer. Returns when it is in the outbox.
    ///
    /// # Errors
    /// No connection, or too much is unsent.
    pub async fn oneway<H: EncodeHeader + ?Sized>(
        &self,
        address: &str,
        head: Head,
        header: &H,
        body: Body,
    ) -> Result<(), TransportError> {
        let connection = self.connection(address).await?;
        connection.room().await?;
        connection.oneway(head, header, body)
    }

    /// The connection to an address, made now if there is none.
    ///
    /// # Errors
    /// No connection could be made within `connectTimeoutMillis`, or the client is shut down.
    pub async fn connection(&self, address: &str) -> Result<Arc<Connection>, TransportError> {
        if let Some(connection) = self.open_connection(address) {
            return Ok(connection);
        }
        let server = {
            let mut servers = self.inner.servers.lock();
            servers.retain(|_, server| Arc::strong_count(server) > 1 || server.open().is_some());
            Arc::clone(servers.entry(address.to_owned()).or_default())
        };
        let seen = server.attempts.load(Ordering::Acquire);
        let mut last_failure = server.failure.lock().await;
        if let Some(connection) = server.open() {
            return Ok(connection);
        }
        if server.attempts.load(Ordering::Acquire) != seen
            && let Some(failure) = &*last_failure
        {
            return Err(failure.clone());
        }
        let result = self.connect(address).await;
        server.attempts.fetch_add(1, Ordering::Release);
        *last_failure = result.as_ref().err().cloned();
        let connection = result?;
        *server.connection.lock() = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.inner.endpoint.connection_count()
    }

    /// Writes what waits, closes all connections and makes no more. Requests that wait fail.
    pub async fn shutdown(&self) {
        self.inner.endpoint.close(Stage::Closing);
        self.inner
            .endpoint
            .shutdown(self.inner.config.connect_timeout())
            .await;
    }

    fn open_connection(&self, address: &str) -> Option<Arc<Connection>> {
        self.inner.servers.lock().get(address)?.open()
    }

    async fn connect(&self, address: &str) -> Result<Arc<Connection>, TransportError> {
        let inner = &self.inner;
        if inner.endpoint.is_closing() {
            return Err(TransportError::ShutDown);
        }
        inner.housekeeping.call_once(|| {
            tokio::spawn(Endpoint::housekeeping(Arc::downgrade(&inner.endpoint)));
        });
        inner.chooser.connect(address, &inner.endpoint).await
    }
}

impl Server {
    fn open(&self) -> Option<Arc<Connection>> {
        self.connection
            .lock()
            .clone()
            .filter(|connection| connection.is_open())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.endpoint.close(Stage::Closing);
    }
}
