//! Connections inside of a server, for protocols that have no frames: what such a peer asks goes
//! the way of all requests, through the same handlers, limits and logs.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::io::DuplexStream;

use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::handler::HandlerTable;
use crate::network::Link;
use crate::protocols::Protocols;
use crate::settings::RemotingClientConfig;

/// Bytes on the way between the two ends of a connection.
const PIPE: usize = 64 * 1024;

/// The asking ends of all connections. Nothing shakes hands here.
static ASKING: LazyLock<Arc<Endpoint>> = LazyLock::new(|| {
    let limits = RemotingClientConfig::default().limits();
    let handlers = HandlerTable::new();
    let (protocols, listener) = (Protocols::default(), Arc::new(()));
    Endpoint::new(protocols, handlers, listener, limits, Duration::ZERO)
});

impl Endpoint {
    /// The asking end of a connection whose other end the server serves. `link` tells what the
    /// server sees of it: see [`Link::inner`]. What the server asks its client there is not passed
    /// on. Close it when the peer has left.
    pub fn inside(self: &Arc<Self>, link: impl Fn(DuplexStream) -> Link) -> Arc<Connection> {
        let (asking, serving) = tokio::io::duplex(PIPE);
        let (_, driver) = self.open(link(serving));
        tokio::spawn(driver);
        let (asking, driver) = ASKING.open(link(asking));
        tokio::spawn(driver);
        asking
    }
}
