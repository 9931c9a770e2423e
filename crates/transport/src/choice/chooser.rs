//! Connecting as [`Choice`] says, and telling it what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::frame::{Head, SerializeType};
use wire::header::NoHeader;

use super::offer::Offer;
use super::{Choice, Way};
use crate::connection::{Connection, Stage};
use crate::connector::RemotingClientFactory;
use crate::endpoint::Endpoint;
use crate::error::TransportError;
use crate::handler::HandlerTable;
use crate::network::UNIX;
use crate::protocols::Protocols;
use crate::reply::Body;
use crate::settings::ClientProtocol;
use crate::tls;

/// So many servers are known at a time; of more, the one that was asked for longest ago is
/// forgotten.
const MAX_SERVERS: usize = 1024;

/// So many requests measure one connection; the fastest counts.
const MEASURED: usize = 3;

/// Makes the connections of a client by protocols that the address names or the client chooses.
pub(crate) struct Chooser {
    factory: RemotingClientFactory,
    /// The moment that points in time are counted from.
    start: Instant,
    servers: Mutex<HashMap<String, Known>>,
}

/// A server that a protocol was chosen for.
struct Known {
    choice: Arc<Mutex<Choice>>,
    used_at: Duration,
}

/// A connection that answers, and what was found out of it.
struct Greeted {
    unused: Unused,
    offer: Offer,
    connect: Duration,
    round_trip: Duration,
}

/// A connection that is closed unless somebody keeps it.
struct Unused {
    connection: Arc<Connection>,
    kept: bool,
}

impl Drop for Unused {
    fn drop(&mut self) {
        if !self.kept {
            self.connection.close();
        }
    }
}

/// An attempt to connect. It counts as failed if it is given up.
struct Attempt<'a> {
    chooser: &'a Chooser,
    choice: &'a Mutex<Choice>,
    way: &'a Way,
    failed: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.failed {
            self.choice.lock().failed(self.way, self.chooser.now());
        }
    }
}

impl Chooser {
    pub(crate) fn new(factory: RemotingClientFactory) -> Arc<Self> {
        Arc::new(Self {
            factory,
            start: Instant::now(),
            servers: Mutex::default(),
        })
    }

    /// Makes a connection of `endpoint` to an address.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        address: &str,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Arc<Connection>, TransportError> {
        let failed = |reason| TransportError::Connect {
            address: address.to_owned(),
            reason,
        };
        let strategy = self.factory.config().client_protocol;
        if strategy == ClientProtocol::Explicit || address.starts_with(UNIX) {
            return self.open(address, endpoint).await.map_err(failed);
        }
        let choice = self.choice(address).map_err(failed)?;
        let ways = choice.lock().order(self.now());
        let mut failures = Vec::new();
        for way in &ways {
            let mut attempt = Attempt {
                chooser: self,
                choice: &choice,
                way,
                failed: true,
            };
            match self.greet(way, endpoint).await {
                Ok(mut greeted) => {
                    attempt.failed = false;
                    greeted.unused.kept = true;
                    let connection = Arc::clone(&greeted.unused.connection);
                    choice.lock().connected(way);
                    if !failures.is_empty() {
                        let reason = failures.join("; ");
                        tracing::warn!(address, protocol = way.scheme, reason, "falls back");
                    }
                    if strategy == ClientProtocol::Auto {
                        choice.lock().learn(&greeted.offer);
                        self.keep_measuring(&choice, address, &connection);
                    }
                    return Ok(connection);
                }
                Err(reason) => failures.push(format!("{way}: {reason}")),
            }
        }
        Err(failed(if ways.is_empty() {
            "kerolox.clientProtocols leaves no encrypted protocol for it".to_owned()
        } else {
            failures.join("; ")
        }))
    }

    /// Makes a connection by what an address names.
    async fn open(
        &self,
        address: &str,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Arc<Connection>, String> {
        let limit = self.factory.config().connect_timeout();
        let link = timeout(limit, self.factory.connect(address))
            .await
            .map_err(|_| format!("no connection within {} ms", limit.as_millis()))?
            .map_err(|error| error.to_string())?;
        let (connection, driver) = endpoint.open(link);
        tokio::spawn(driver);
        Ok(connection)
    }

    /// Makes a connection and asks what the server offers: one whose protocol is not served fails
    /// only then.
    async fn greet(&self, way: &Way, endpoint: &Arc<Endpoint>) -> Result<Greeted, String> {
        let start = Instant::now();
        let unused = Unused {
            connection: self.open(&way.to_string(), endpoint).await?,
            kept: false,
        };
        let connect = start.elapsed();
        let offer = self.ask(&unused.connection).await?;
        Ok(Greeted {
            offer,
            connect,
            round_trip: start.elapsed().saturating_sub(connect),
            unused,
        })
    }

    async fn ask(&self, connection: &Connection) -> Result<Offer, String> {
        let head = Head::request(RequestCode::GetClientConfig as i32, SerializeType::Json);
        let limit = self.factory.config().connect_timeout();
        let asked = connection.request(head, &NoHeader, Body::Empty, limit);
        let answer = asked.await.map_err(|error| error.to_string())?;
        match ResponseCode::try_from(answer.head.code) {
            Ok(ResponseCode::Success) => serde_json::from_slice(&answer.body)
                .map_err(|error| format!("what it offers cannot be read: {error}")),
            Ok(ResponseCode::ServiceNotAvailable | ResponseCode::GoAway) => {
                Err(answer.remark.unwrap_or_default())
            }
            _ => Ok(Offer::untold()),
        }
    }

    /// What is known of a server.
    fn choice(&self, address: &str) -> Result<Arc<Mutex<Choice>>, String> {
        let mut servers = self.servers.lock();
        let now = self.now();
        if let Some(known) = servers.get_mut(address) {
            known.used_at = now;
            return Ok(Arc::clone(&known.choice));
        }
        let choice = Arc::new(Mutex::new(self.new_choice(address)?));
        if servers.len() >= MAX_SERVERS {
            let oldest = servers.iter().min_by_key(|(_, known)| known.used_at);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                servers.remove(&oldest);
            }
        }
        let known = Known {
            choice: Arc::clone(&choice),
            used_at: now,
        };
        servers.insert(address.to_owned(), known);
        Ok(choice)
    }

    fn new_choice(&self, address: &str) -> Result<Choice, String> {
        let (named, target) = self.factory.parts(address);
        let list = self
            .factory
            .config()
            .client_protocols
            .split(',')
            .map(str::trim);
        let mut schemes: Vec<&str> = list.filter(|scheme| !scheme.is_empty()).collect();
        if self.factory.config().client_protocol == ClientProtocol::Downgrade {
            let better = schemes.iter().position(|scheme| *scheme == named);
            schemes.drain(..better.map_or(0, |better| better + 1));
            schemes.insert(0, named);
        }
        let layers = |scheme| self.factory.layers(scheme).map_err(|it| it.to_string());
        let encrypted = layers(named)?.contains(&tls::NAME);
        let ways = schemes.iter().map(|scheme| Ok((*scheme, layers(scheme)?)));
        let ways: Result<Vec<_>, String> = ways.collect();
        let may_go_plain = self.factory.config().client_may_go_plain;
        Ok(Choice::new(target, &ways?, encrypted, may_go_plain))
    }

    /// Measures the ways to a server from time to time while a connection to it is open.
    fn keep_measuring(
        self: &Arc<Self>,
        choice: &Arc<Mutex<Choice>>,
        address: &str,
        connection: &Arc<Connection>,
    ) {
        let period = Duration::from_secs(self.factory.config().client_measure_seconds.into());
        if period.is_zero() {
            return;
        }
        let (chooser, choice) = (Arc::clone(self), Arc::clone(choice));
        let (address, connection) = (address.to_owned(), Arc::clone(connection));
        tokio::spawn(async move {
            while connection.is_open() {
                if choice.lock().begin_round(chooser.now(), period) {
                    chooser.measure(&choice).await;
                    if let Some(way) = choice.lock().end_round(chooser.now()) {
                        tracing::info!(
                            address,
                            protocol = way.scheme,
                            "faster for new connections"
                        );
                    }
                }
                tokio::time::sleep(period).await;
            }
        });
    }

    /// Measures all ways to a server that are ready, by connections of their own.
    async fn measure(&self, choice: &Mutex<Choice>) {
        let limits = self.factory.config().limits();
        let limit = self.factory.config().connect_timeout();
        let (protocols, handlers) = (Protocols::default(), HandlerTable::new());
        let endpoint = Endpoint::new(protocols, handlers, Arc::new(()), limits, limit);
        let ways = choice.lock().ready(self.now());
        for way in ways {
            match self.measure_way(&way, &endpoint).await {
                Ok((connect, round_trip, offer)) => {
                    let mut choice = choice.lock();
                    choice.measured(&way, connect, round_trip);
                    choice.learn(&offer);
                }
                Err(reason) => {
                    tracing::debug!(%way, reason, "can't be measured");
                    choice.lock().failed(&way, self.now());
                }
            }
        }
        endpoint.close(Stage::Aborted);
    }

    async fn measure_way(
        &self,
        way: &Way,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(Duration, Duration, Offer), String> {
        let Greeted {
            unused,
            mut offer,
            connect,
            mut round_trip,
        } = self.greet(way, endpoint).await?;
        for _ in 1..MEASURED {
            let start = Instant::now();
            offer = self.ask(&unused.connection).await?;
            round_trip = round_trip.min(start.elapsed());
        }
        Ok((connect, round_trip, offer))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
