//! Connecting by the protocol that an address names.
//!
//! | address | what is spoken |
//! |---|---|
//! | `host:port` | remoting on TCP |
//! | `unix:/path` | remoting on a Unix socket |
//! | `ws://host:port` | remoting on a WebSocket |
//! | `h2://host:port` | remoting in an exchange of HTTP/2 |

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::client::RemotingClient;
use crate::events::ConnectionListener;
use crate::executor::BoxFuture;
use crate::handler::HandlerTable;
use crate::network::{Link, Network, SocketOptions, Sockets};
use crate::settings::RemotingClientConfig;
use crate::stack::Stack;
use crate::{http, websocket};

/// Makes connections of one kind that carry frames. To add one: this trait, and one line where a
/// factory of clients is built.
pub trait Connector: Send + Sync + 'static {
    /// What addresses of this kind begin with: `ws` of `ws://host:port`.
    fn scheme(&self) -> &'static str;

    /// The protocols that are spoken, outermost first, by the names that servers have for them.
    fn layers(&self) -> &'static [&'static str];

    /// Makes a connection to `host:port` that is ready for frames.
    fn connect<'a>(
        &'a self,
        network: &'a dyn Network,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>>;
}

/// Remoting on TCP, or whatever the network makes of an address without a scheme.
struct Plain;

impl Connector for Plain {
    fn scheme(&self) -> &'static str {
        "tcp"
    }

    fn layers(&self) -> &'static [&'static str] {
        &["remoting"]
    }

    fn connect<'a>(
        &'a self,
        network: &'a dyn Network,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
        network.connect(address, options)
    }
}

/// Remoting on WebSockets.
struct WebSockets;

impl Connector for WebSockets {
    fn scheme(&self) -> &'static str {
        "ws"
    }

    fn layers(&self) -> &'static [&'static str] {
        &["websocket"]
    }

    fn connect<'a>(
        &'a self,
        network: &'a dyn Network,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
        Box::pin(async move {
            let link = network.connect(address, options).await?;
            websocket::connect(link, address).await
        })
    }
}

/// Remoting in exchanges of HTTP/2.
struct Exchanges;

impl Connector for Exchanges {
    fn scheme(&self) -> &'static str {
        "h2"
    }

    fn layers(&self) -> &'static [&'static str] {
        &["http2"]
    }

    fn connect<'a>(
        &'a self,
        network: &'a dyn Network,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
        Box::pin(async move {
            let link = network.connect(address, options).await?;
            http::connect(link, "http", address).await
        })
    }
}

/// Makes clients, which find a connector by the scheme of an address.
#[derive(Clone)]
pub struct RemotingClientFactory {
    network: Arc<dyn Network>,
    connectors: Vec<Arc<dyn Connector>>,
}

impl RemotingClientFactory {
    /// Clients on the system's network, with the connectors of this crate.
    pub fn new() -> Self {
        Self {
            network: Arc::new(Sockets),
            connectors: vec![Arc::new(Plain), Arc::new(WebSockets), Arc::new(Exchanges)],
        }
    }

    /// On another network than that of the system.
    #[must_use]
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// With another connector, in the place of one with the same scheme.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connectors
            .retain(|known| known.scheme() != connector.scheme());
        self.connectors.push(connector);
        self
    }

    /// A client without connections. `handlers` serve what servers ask; `listener` is told what
    /// happens to connections.
    pub fn client(
        &self,
        config: RemotingClientConfig,
        handlers: HandlerTable,
        listener: Arc<dyn ConnectionListener>,
    ) -> RemotingClient {
        RemotingClient::made_by(self.clone(), config, handlers, listener)
    }

    /// Connects as the address says.
    pub(crate) async fn connect(&self, address: &str, options: SocketOptions) -> io::Result<Link> {
        let (scheme, target) = address.split_once("://").unwrap_or(("tcp", address));
        let known = self.connectors.iter().find(|it| it.scheme() == scheme);
        let Some(connector) = known else {
            let text = format!("{scheme}:// is none of the protocols that are spoken here");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        };
        let link = connector.connect(&*self.network, target, options).await?;
        Ok(Link {
            stack: Stack::of(connector.layers()),
            ..link
        })
    }
}

impl Default for RemotingClientFactory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RemotingClientFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes = self.connectors.iter().map(|it| it.scheme());
        f.debug_set().entries(schemes).finish()
    }
}
