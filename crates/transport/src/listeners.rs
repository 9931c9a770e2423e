//! Where a server listens, and the tasks that accept connections there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::addresses::host_and_port;
use crate::endpoint::Endpoint;
use crate::error::TransportError;
use crate::network::{Link, Listener, Network, SocketOptions, UNIX};
use crate::places::Places;

/// How long accepting pauses when the system can't, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One place to listen, and the protocols that its connections speak, outermost first, if these
/// are not to be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: String,
    pub(crate) pins: Vec<String>,
}

/// Reads `kerolox.listeners`: addresses joined by commas, each with the protocols that are
/// spoken there behind `=`, joined by `/`. A port alone is one of `host`.
pub(crate) fn parse(list: &str, host: &str) -> Result<Vec<Place>, String> {
    let items = list.split(',').map(str::trim).filter(|it| !it.is_empty());
    items.map(|item| Place::parse(item, host)).collect()
}

impl Place {
    fn parse(item: &str, host: &str) -> Result<Self, String> {
        let (address, pins) = item.rsplit_once('=').unwrap_or((item, ""));
        let address = address.trim();
        let address = if address
            .strip_prefix(UNIX)
            .is_some_and(|path| !path.is_empty())
        {
            address.to_owned()
        } else if let Ok(port) = address.parse() {
            with_port(host, port)
        } else if host_and_port(address).is_some() {
            address.to_owned()
        } else {
            return Err(format!(
                "`{address}` is no address to listen on: it takes a port, host:port or unix:/path"
            ));
        };
        let pins = pins.split('/').map(str::trim).filter(|it| !it.is_empty());
        Ok(Self {
            address,
            pins: pins.map(str::to_owned).collect(),
        })
    }

    /// Whether it is a Unix socket, which has no port.
    pub(crate) fn is_unix(&self) -> bool {
        self.address.starts_with(UNIX)
    }
}

/// A host that may be an IPv6 address, with a port.
pub(crate) fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A place that is listened on, whose address has the port that the system chose for 0.
pub(crate) struct Bound {
    pub(crate) place: Place,
    pub(crate) local: SocketAddr,
    listener: Arc<dyn Listener>,
}

impl Bound {
    pub(crate) async fn bind(
        network: &dyn Network,
        mut place: Place,
        options: SocketOptions,
    ) -> Result<Self, TransportError> {
        let listening = network.listen(&place.address, options).await;
        let bound = listening.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (local, listener) = bound.map_err(|error| failed(&place.address, &error))?;
        if !place.is_unix() {
            place.address = local.to_string();
        }
        Ok(Self {
            place,
            local,
            listener,
        })
    }

    /// Accepts connections until the endpoint closes, then waits for their ends. Dropped, it cuts
    /// them off.
    pub(crate) async fn accept(self, endpoint: Arc<Endpoint>, places: Arc<Places>) {
        let pins: Option<Arc<[String]>> =
            (!self.place.pins.is_empty()).then(|| self.place.pins.into());
        let mut links = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = links.join_next(), if !links.is_empty() => continue,
                () = endpoint.closing() => break,
            };
            match accepted {
                Ok(link) => match places.take(link.peer.ip()) {
                    Ok(place) => {
                        let link = Link {
                            pins: pins.clone(),
                            place: Some(Arc::clone(&place)),
                            ..link
                        };
                        let serving = Arc::clone(&endpoint).serve(link);
                        links.spawn(async move {
                            serving.await;
                            drop(place);
                        });
                    }
                    Err(full) => endpoint.log_refusal(link.peer, full),
                },
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "connections can't be accepted at the moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        while links.join_next().await.is_some() {}
    }
}

fn failed(address: &str, error: &io::Error) -> TransportError {
    let address = address.to_owned();
    match error.kind() {
        io::ErrorKind::AddrInUse => TransportError::AddressInUse { address },
        _ => TransportError::Bind {
            address,
            reason: error.to_string(),
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_ports_addresses_and_paths() {
        let list = "10921=tls, [::1]:1=tls/remoting,unix:/run/a=b=remoting, host:2";
        let places = parse(list, "::").unwrap();
        let read: Vec<_> = places
            .iter()
            .map(|it| (&*it.address, it.pins.join("/")))
            .collect();
        let pinned = |address, pins: &str| (address, pins.to_owned());
        assert_eq!(
            read,
            [
                pinned("[::]:10921", "tls"),
                pinned("[::1]:1", "tls/remoting"),
                pinned("unix:/run/a=b", "remoting"),
                pinned("host:2", ""),
            ]
        );
        assert_eq!(parse("", "::"), Ok(Vec::new()));
        for bad in ["host", ":1", "unix:", "host:99999", "=tls"] {
            assert!(parse(bad, "::").is_err(), "{bad}");
        }
    }
}
