//! Connecting by the protocol that an address names.
//!
//! | address | what is spoken |
//! |---|---|
//! | `host:port` | remoting on TCP; in TLS if `tls.enable` is set |
//! | `tcp://host:port` | remoting on TCP |
//! | `unix:/path` | remoting on a Unix socket |
//! | `tls://host:port` | remoting in TLS |
//! | `ws://host:port`, `wss://host:port` | remoting on a WebSocket, in TLS |
//! | `h2://host:port`, `h2s://host:port` | remoting in an exchange of HTTP/2, in TLS |

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use crate::client::RemotingClient;
use crate::error::TransportError;
use crate::events::ConnectionListener;
use crate::executor::BoxFuture;
use crate::handler::HandlerTable;
use crate::network::{Link, Network, SocketOptions, Sockets, UNIX};
use crate::settings::RemotingClientConfig;
use crate::stack::Stack;
use crate::tls::{self, TlsClient};
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

/// The protocols of this crate.
struct Known {
    scheme: &'static str,
    layers: &'static [&'static str],
    carrier: Carrier,
    /// TLS comes first, if it does.
    tls: Option<Arc<LazyTls>>,
}

/// What carries the frames.
#[derive(Clone, Copy)]
enum Carrier {
    Stream,
    WebSocket,
    Http2,
}

/// TLS as the settings have it, whose files are read when it is needed.
struct LazyTls {
    config: RemotingClientConfig,
    client: OnceLock<Result<TlsClient, TransportError>>,
}

impl LazyTls {
    fn client(&self) -> io::Result<TlsClient> {
        let made = self.client.get_or_init(|| TlsClient::new(&self.config));
        made.clone().map_err(io::Error::other)
    }
}

impl Connector for Known {
    fn scheme(&self) -> &'static str {
        self.scheme
    }

    fn layers(&self) -> &'static [&'static str] {
        self.layers
    }

    fn connect<'a>(
        &'a self,
        network: &'a dyn Network,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
        Box::pin(async move {
            let mut link = network.connect(address, options).await?;
            if let Some(tls) = &self.tls {
                let client = match self.carrier {
                    Carrier::Stream => tls.client()?,
                    Carrier::WebSocket => tls.client()?.speaking("http/1.1"),
                    Carrier::Http2 => tls.client()?.speaking("h2"),
                };
                link = client.connect(link, address).await?;
            }
            let web = if self.tls.is_some() { "https" } else { "http" };
            match self.carrier {
                Carrier::Stream => Ok(link),
                Carrier::WebSocket => websocket::connect(link, address).await,
                Carrier::Http2 => http::connect(link, web, address).await,
            }
        })
    }
}

/// Makes clients, which find a connector by the scheme of an address.
#[derive(Clone)]
pub struct RemotingClientFactory {
    network: Arc<dyn Network>,
    config: RemotingClientConfig,
    connectors: Vec<Arc<dyn Connector>>,
}

impl RemotingClientFactory {
    /// Clients on the system's network, with the connectors of this crate.
    pub fn new(config: RemotingClientConfig) -> Self {
        let tls = Arc::new(LazyTls {
            config: config.clone(),
            client: OnceLock::new(),
        });
        let known: [(_, &[_], _, bool); 6] = [
            ("tcp", &["remoting"], Carrier::Stream, false),
            ("tls", &["tls", "remoting"], Carrier::Stream, true),
            ("ws", &["websocket"], Carrier::WebSocket, false),
            ("wss", &["tls", "websocket"], Carrier::WebSocket, true),
            ("h2", &["http2"], Carrier::Http2, false),
            ("h2s", &["tls", "http2"], Carrier::Http2, true),
        ];
        let connector = |(scheme, layers, carrier, encrypted): (_, _, _, bool)| {
            let tls = encrypted.then(|| Arc::clone(&tls));
            let known = Known {
                scheme,
                layers,
                carrier,
                tls,
            };
            Arc::new(known) as Arc<dyn Connector>
        };
        Self {
            network: Arc::new(Sockets),
            connectors: known.map(connector).into(),
            config,
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
        handlers: HandlerTable,
        listener: Arc<dyn ConnectionListener>,
    ) -> RemotingClient {
        RemotingClient::made_by(self.clone(), handlers, listener)
    }

    /// The settings of its clients.
    pub(crate) fn config(&self) -> &RemotingClientConfig {
        &self.config
    }

    /// The scheme of an address and what stands behind it.
    pub(crate) fn parts<'a>(&self, address: &'a str) -> (&'a str, &'a str) {
        let encrypted = self.config.tls_enable && !address.starts_with(UNIX);
        let unsaid = if encrypted { tls::NAME } else { "tcp" };
        address.split_once("://").unwrap_or((unsaid, address))
    }

    /// The protocols that a scheme stands for.
    pub(crate) fn layers(&self, scheme: &str) -> io::Result<&'static [&'static str]> {
        Ok(self.find(scheme)?.layers())
    }

    /// Connects as the address says, for those who carry frames by themselves.
    ///
    /// # Errors
    /// The scheme is not known, or no connection could be made.
    pub async fn connect(&self, address: &str) -> io::Result<Link> {
        let (scheme, target) = self.parts(address);
        let connector = self.find(scheme)?;
        let options = self.config.socket_options();
        let link = connector.connect(&*self.network, target, options).await?;
        Ok(Link {
            stack: Stack::of(connector.layers()),
            ..link
        })
    }

    fn find(&self, scheme: &str) -> io::Result<&dyn Connector> {
        let known = self.connectors.iter().find(|it| it.scheme() == scheme);
        known.map(|it| &**it).ok_or_else(|| {
            let text = format!("{scheme}:// is none of the protocols that are spoken here");
            io::Error::new(io::ErrorKind::Unsupported, text)
        })
    }
}

impl fmt::Debug for RemotingClientFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes = self.connectors.iter().map(|it| it.scheme());
        f.debug_set().entries(schemes).finish()
    }
}
