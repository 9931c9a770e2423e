//! Sockets to frames: servers, clients, and where requests run.
//!
//! A [`RemotingServer`] listens, a [`RemotingClient`] connects; both make [`Connection`]s, on
//! which either side may ask the other. A role gives them a [`HandlerTable`]: which code handles
//! which request, on the connection's own task or on an [`Executor`] of its class. This crate
//! knows nothing of what a command means, but for the one that asks what a server speaks
//! ([`SERVED`]).
//!
//! | module | what |
//! |---|---|
//! | `server`, `client` | listening and connecting |
//! | `protocol`, `remoting` | what a protocol is; frames as they are |
//! | `protocols`, `stack`, `refusals` | what a port speaks, told by the first bytes, changed while it runs; the protocols of one connection; who is turned away |
//! | `tls`, `proxy_protocol` | layers around other protocols |
//! | `listeners`, `places` | where a server listens; how many connections it takes |
//! | `websocket`, `http` | frames on WebSockets; HTTP/2, with frames, commands as JSON, and other crates' services |
//! | `addresses`, `connector` | where name servers are; connecting by the protocol that an address names |
//! | `choice` | which protocol a client speaks with a server; what a server offers |
//! | `network` | TCP and Unix sockets, behind a trait that a simulated network can take the place of |
//! | `connection`, `pending`, `responder` | a connection as everybody sees it; asking; answering later |
//! | `connection_task` | the task that owns a connection's stream |
//! | `outbox` | what waits to be written |
//! | `endpoint`, `events` | the connections of one server or client, looked after; who is told |
//! | `farewell` | what a peer is told last reaches it |
//! | `inside` | connections inside of a server, for protocols without frames |
//! | `handler`, `executor`, `reply` | which code serves a request, where it runs, what it answers |
//! | `settings` | the configuration keys |
//!
//! Every connection is bounded: a peer that does not read is not read from any more, and is
//! closed when still more has to be sent to it; requests that wait for answers, executors'
//! queues and connections have limits.
//!
//! ```
//! use kerolox_transport::{
//!     Body, HandlerTable, RemotingClient, RemotingClientConfig, RemotingServer,
//!     RemotingServerConfig, Reply, TransportError,
//! };
//! use wire::command::RequestCode;
//! use wire::frame::{Head, SerializeType};
//! use wire::header::NoHeader;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), TransportError> {
//! let mut handlers = HandlerTable::new();
//! handlers.inline_each(&[RequestCode::Heartbeat], |connection, request| {
//!     let note = format!("{} said {:?}", connection.peer(), request.body);
//!     Ok(Reply::empty().with_body(note))
//! });
//! let config = RemotingServerConfig { bind_address: "127.0.0.1".into(), ..Default::default() };
//! let server = RemotingServer::bind(config).await?.handlers(handlers).start();
//!
//! let client = RemotingClient::new(RemotingClientConfig::default(), HandlerTable::new());
//! let address = server.local_addr().to_string();
//! let head = Head::request(RequestCode::Heartbeat as i32, SerializeType::Json);
//! let time = std::time::Duration::from_secs(3);
//! let answer = client.request(&address, head, &NoHeader, Body::from("hello"), time).await?;
//! assert!(answer.body.ends_with(b"said b\"hello\""));
//! # Ok(())
//! # }
//! ```

mod addresses;
mod choice;
mod client;
mod connection;
mod connection_task;
mod connector;
mod endpoint;
mod error;
mod events;
mod executor;
mod farewell;
mod handler;
mod http;
mod inside;
mod listeners;
mod network;
mod outbox;
mod pending;
mod places;
mod protocol;
mod protocols;
mod proxy_protocol;
mod refusals;
mod remoting;
mod reply;
mod responder;
mod server;
mod settings;
mod stack;
mod tls;
mod websocket;

pub use addresses::{Addresses, host_and_port};
pub use choice::offer::SERVED;
pub use client::RemotingClient;
pub use connection::Connection;
pub use connector::{Connector, RemotingClientFactory};
pub use endpoint::Endpoint;
pub use error::TransportError;
pub use events::ConnectionListener;
pub use executor::{BoxFuture, Executor};
pub use handler::{Handler, HandlerTable, InlineEach, InlineRun, Spawned};
pub use http::{Http2, HttpPeer, HttpService, RequestBody, ResponseBody};
pub use network::{ByteStream, Link, Listener, Network, SocketOptions, Sockets};
pub use outbox::Outbox;
pub use pending::PendingAnswer;
pub use protocol::{Detection, Protocol, Refused};
pub use protocols::{ProtocolStatus, Protocols};
pub use remoting::Remoting;
pub use reply::{Body, Refusal, Reply};
pub use responder::Responder;
pub use server::{RemotingServer, RemotingServerBuilder};
pub use settings::{
    ClientAuth, ClientProtocol, RemotingClientConfig, RemotingServerConfig, TlsMode,
};
pub use stack::Stack;
pub use tls::TlsClient;
pub use websocket::WebSocket;
