//! Listening for connections and serving them.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use config::Live;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

use crate::choice::offer::{self, Port};
use crate::connection::{Connection, Stage};
use crate::endpoint::Endpoint;
use crate::error::TransportError;
use crate::events::ConnectionListener;
use crate::executor::{Executor, OwnSizes};
use crate::handler::HandlerTable;
use crate::http::Http2;
use crate::listeners::{self, Bound};
use crate::network::{Network, Sockets};
use crate::places::Places;
use crate::protocol::Protocol;
use crate::protocols::Protocols;
use crate::proxy_protocol::ProxyProtocol;
use crate::remoting::Remoting;
use crate::settings::{RemotingServerConfig, TlsMode};
use crate::tls::{self, Tls};
use crate::websocket::WebSocket;

/// Time between two looks at the files of certificates.
const FILES_WATCH: Duration = Duration::from_secs(1);

/// A server that holds its ports and has not started yet.
pub struct RemotingServerBuilder {
    listeners: Vec<Bound>,
    live: Live<RemotingServerConfig>,
    handlers: HandlerTable,
    events: Arc<dyn ConnectionListener>,
    speech: Speech,
}

/// What a server speaks and to whom, as the settings have it.
struct Speech {
    protocols: Protocols,
    tls: Arc<Tls>,
    proxy: Arc<ProxyProtocol>,
    places: Arc<Places>,
    /// Those that the handlers run on.
    executors: Vec<Arc<Executor>>,
}

impl Speech {
    fn new(settings: &RemotingServerConfig) -> Self {
        let speech = Self {
            protocols: Protocols::default(),
            tls: Arc::default(),
            proxy: Arc::default(),
            places: Arc::default(),
            executors: Vec::new(),
        };
        speech
            .protocols
            .add(Arc::clone(&speech.proxy) as Arc<dyn Protocol>);
        speech.protocols.add(Arc::new(Remoting));
        speech
            .protocols
            .add(Arc::clone(&speech.tls) as Arc<dyn Protocol>);
        let websocket = WebSocket::new(&settings.web_socket_origins);
        speech.protocols.add(Arc::new(websocket));
        speech.protocols.add(Arc::new(Http2::new()));
        speech
    }

    /// What stands against these settings.
    fn check(&self, settings: &RemotingServerConfig) -> Result<(), TransportError> {
        self.protocols.check(&settings.protocols)?;
        if settings.tls_server_mode != TlsMode::Disabled && self.tls.has_news(settings) {
            tls::check(settings)?;
        }
        // The list was checked when it was set.
        for own in OwnSizes::parse(&settings.executors).unwrap_or_default() {
            if !self.executors.iter().any(|it| it.name() == own.class) {
                let names: Vec<_> = self.executors.iter().map(|it| it.name()).collect();
                return Err(TransportError::UnknownClass {
                    name: own.class,
                    known: names.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Does as these settings say. What can't be done is logged; the rest is.
    fn apply(&self, settings: &RemotingServerConfig) {
        let limit = settings.server_max_connections;
        self.places
            .set_limits(limit, settings.server_max_connections_per_address);
        self.proxy.allow(&settings.proxy_protocol_from);
        let own = OwnSizes::parse(&settings.executors).unwrap_or_default();
        for executor in &self.executors {
            executor.set_own(&own);
        }
        self.refresh_tls(settings);
        self.protocols.set_tls_mode(settings.tls_server_mode);
        if let Err(error) = self.protocols.switch(&settings.protocols) {
            tracing::error!(%error, "all protocols stay as they are");
        }
    }

    fn refresh_tls(&self, settings: &RemotingServerConfig) {
        if settings.tls_server_mode != TlsMode::Disabled
            && let Err(error) = self.tls.refresh(settings)
        {
            tracing::error!(%error, "certificates stay as they are");
        }
    }

    /// Reads certificates anew when their files change.
    async fn watch_files(speech: Weak<Self>, live: Live<RemotingServerConfig>) {
        let mut rounds = tokio::time::interval(FILES_WATCH);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let Some(speech) = speech.upgrade() else {
                return;
            };
            let settings = live.load();
            // Files may be far away.
            let looking = tokio::task::spawn_blocking(move || speech.refresh_tls(&settings));
            if let Err(error) = looking.await {
                tracing::error!(%error, "the files of certificates can't be looked at");
            }
        }
    }
}

impl RemotingServerBuilder {
    /// Where the server is going to listen, with the port that the system chose for 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.listeners[0].local
    }

    /// Who handles the requests.
    #[must_use]
    pub fn handlers(mut self, handlers: HandlerTable) -> Self {
        self.speech.executors = handlers.executors();
        self.handlers = handlers;
        self
    }

    /// Who is told what happens to connections.
    #[must_use]
    pub fn listener(mut self, listener: Arc<dyn ConnectionListener>) -> Self {
        self.events = listener;
        self
    }

    /// Another protocol to be spoken on the ports, or in the place of one with the same name;
    /// "proxy", "remoting", "tls", "websocket" and "http2" are there from the start.
    #[must_use]
    pub fn protocol(self, protocol: Arc<dyn Protocol>) -> Self {
        self.speech.protocols.add(protocol);
        self
    }

    /// Only these of the protocols are spoken on the ports, whatever settings say. A name that no
    /// protocol has adds none.
    #[must_use]
    pub fn only(self, names: &[&str]) -> Self {
        self.speech.protocols.keep(names);
        self
    }

    /// Has the server do as these settings say, whenever they change. Call it when all protocols
    /// and handlers are there.
    ///
    /// # Errors
    /// The settings name a protocol that there is not, or certificates that can't be used; an
    /// update to such settings is refused.
    pub fn follow(mut self, live: &Live<RemotingServerConfig>) -> Result<Self, TransportError> {
        let now = live.load();
        self.speech.check(&now)?;
        for pin in self.listeners.iter().flat_map(|it| &it.place.pins) {
            self.speech.protocols.check(pin)?;
        }
        self.live = live.clone();
        Ok(self)
    }

    /// Starts to accept connections. Needs the runtime that is to run them.
    pub fn start(mut self) -> RemotingServer {
        let ports = self.listeners.iter().filter(|it| !it.place.is_unix());
        let ports = ports.map(|bound| Port {
            address: bound.local,
            protocols: bound.place.pins.clone(),
        });
        offer::serve(&mut self.handlers, &self.speech.protocols, ports.collect());
        let (live, speech) = (self.live, Arc::new(self.speech));
        let guarding = Arc::downgrade(&speech);
        live.guard(move |after| match guarding.upgrade() {
            Some(speech) => speech.check(after).map_err(|error| error.to_string()),
            None => Ok(()),
        });
        let settings = live.load();
        let endpoint = Endpoint::new(
            speech.protocols.clone(),
            self.handlers,
            self.events,
            settings.limits(),
            settings.handshake_timeout(),
        );
        let followed = Arc::downgrade(&speech);
        live.watch(move |now| {
            if let Some(speech) = followed.upgrade() {
                speech.apply(now);
            }
        });
        let locals = self.listeners.iter().map(|it| it.local).collect();
        let accepting = self.listeners.into_iter().map(|bound| {
            tracing::info!(address = %bound.place.address, "listening");
            let (endpoint, places) = (Arc::clone(&endpoint), Arc::clone(&speech.places));
            tokio::spawn(bound.accept(endpoint, places))
        });
        RemotingServer {
            locals,
            accepting: accepting.collect(),
            housekeeping: [
                tokio::spawn(Endpoint::housekeeping(Arc::downgrade(&endpoint))),
                tokio::spawn(Speech::watch_files(Arc::downgrade(&speech), live)),
            ],
            endpoint,
            _speech: speech,
        }
    }
}

/// A server for all protocols of its ports. Dropped without [`shutdown`](Self::shutdown) it closes
/// its connections at once.
pub struct RemotingServer {
    locals: Vec<SocketAddr>,
    endpoint: Arc<Endpoint>,
    accepting: Vec<JoinHandle<()>>,
    housekeeping: [JoinHandle<()>; 2],
    /// Follows the settings as long as the server lives.
    _speech: Arc<Speech>,
}

impl RemotingServer {
    /// Takes the addresses and ports of the settings, so that they are known before anything
    /// starts.
    ///
    /// # Errors
    /// A port is in use, or an address is not one of this machine.
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
        let mut places = vec![listeners::Place {
            address: listeners::with_port(host, config.listen_port),
            pins: Vec::new(),
        }];
        // It was checked when it was set.
        places.extend(listeners::parse(&config.listeners, host).unwrap_or_default());
        let mut listeners = Vec::new();
        for place in places {
            listeners.push(Bound::bind(network, place, config.socket_options()).await?);
        }
        Ok(RemotingServerBuilder {
            listeners,
            handlers: HandlerTable::new(),
            events: Arc::new(()),
            speech: Speech::new(&config),
            live: Live::new(config),
        })
    }

    /// Where the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.locals[0]
    }

    /// Where it listens: [`local_addr`](Self::local_addr), then `kerolox.listeners`.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.locals
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
        let deadline = Instant::now() + limit;
        self.endpoint.shutdown(limit).await;
        for accepting in &mut self.accepting {
            if timeout_at(deadline, &mut *accepting).await.is_err() {
                accepting.abort();
                // Its end is always that it was cancelled.
                let _ = accepting.await;
            }
        }
        tracing::info!(address = %self.locals[0], "stopped listening");
    }
}

impl Drop for RemotingServer {
    fn drop(&mut self) {
        for task in self.accepting.iter().chain(&self.housekeeping) {
            task.abort();
        }
        self.endpoint.close(Stage::Aborted);
    }
}
