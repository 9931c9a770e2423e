//! A peer that reads and writes frames by itself, and what most tests need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kerolox_transport::{
    Body, ByteStream, Connection, ConnectionListener, HandlerTable, RemotingClient,
    RemotingClientConfig, RemotingServer, RemotingServerConfig, Reply, TransportError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use wire::command::RequestCode;
use wire::frame::{Frame, Head, SerializeType, encode};
use wire::header::NoHeader;

/// Far longer than anything here takes; only a failing test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The code that the tests' handlers mostly serve.
pub(crate) const ECHO: RequestCode = RequestCode::SendMessage;

/// Settings for a port that the system chooses.
pub(crate) fn local() -> RemotingServerConfig {
    RemotingServerConfig {
        bind_address: "127.0.0.1".to_owned(),
        ..Default::default()
    }
}

/// Starts a server with these handlers.
pub(crate) async fn serve(handlers: HandlerTable) -> RemotingServer {
    RemotingServer::bind(local())
        .await
        .unwrap()
        .handlers(handlers)
        .start()
}

/// Answers each request with its own body.
pub(crate) fn echo() -> HandlerTable {
    let mut table = HandlerTable::new();
    table.inline(&[ECHO], |_, run, outbox| {
        for frame in run {
            outbox.reply(&frame.head, Reply::empty().with_body(frame.body.clone()));
        }
    });
    table
}

/// A client without handlers.
pub(crate) fn client() -> RemotingClient {
    RemotingClient::new(RemotingClientConfig::default(), HandlerTable::new())
}

/// The head of a JSON request.
pub(crate) fn request(code: RequestCode) -> Head {
    Head::request(code as i32, SerializeType::Json)
}

/// A frame's bytes.
pub(crate) fn frame(head: &Head, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(head, None, &NoHeader, body.len(), &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

/// The answer to an empty request of this code.
pub(crate) async fn ask(
    client: &RemotingClient,
    server: &RemotingServer,
    code: RequestCode,
) -> Result<Frame, TransportError> {
    let address = server.local_addr().to_string();
    client
        .request(&address, request(code), &NoHeader, Body::Empty, LONG)
        .await
}

/// A stream and what was read of it.
pub(crate) struct Peer<S = TcpStream> {
    pub(crate) stream: S,
    received: BytesMut,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::on(stream)
    }
}

impl<S: ByteStream> Peer<S> {
    pub(crate) fn on(stream: S) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
        }
    }

    /// Asks for an echo of these bytes; `None` when the connection is closed instead.
    pub(crate) async fn echo(&mut self, body: &'static str) -> Option<Frame> {
        // Writing may fail when the connection is closed already.
        let _ = self
            .stream
            .write_all(&frame(&request(ECHO), body.as_bytes()))
            .await;
        let _ = self.stream.flush().await;
        let answer = self.receive().await?;
        assert_eq!(answer.body, body);
        Some(answer)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` when the connection is closed.
    pub(crate) async fn receive(&mut self) -> Option<Frame> {
        tokio::time::timeout(LONG, self.try_receive())
            .await
            .expect("neither a frame nor the end of the stream")
    }

    /// The same, however long it takes.
    pub(crate) async fn try_receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.received).unwrap() {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// What happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Connected(u64),
    Closed(u64),
    Idle(u64),
    Failed(u64, String),
}

/// A listener that passes everything on to a test.
pub(crate) struct Events(mpsc::UnboundedSender<Event>);

impl Events {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self(sender)), receiver)
    }

    fn tell(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

impl ConnectionListener for Events {
    fn connected(&self, connection: &Arc<Connection>) {
        self.tell(Event::Connected(connection.id()));
    }

    fn closed(&self, connection: &Arc<Connection>) {
        self.tell(Event::Closed(connection.id()));
    }

    fn idle(&self, connection: &Arc<Connection>) {
        self.tell(Event::Idle(connection.id()));
    }

    fn failed(&self, connection: &Arc<Connection>, error: &TransportError) {
        self.tell(Event::Failed(connection.id(), error.to_string()));
    }
}
