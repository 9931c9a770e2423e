//! A server that connections in memory are made to.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc};
use transport::{
    BoxFuture, HandlerTable, Link, Listener, Network, RemotingServer, RemotingServerConfig, Reply,
    SocketOptions,
};
use wire::command::RequestCode;

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// Connections that this process makes to itself.
struct Pipes(Mutex<mpsc::Receiver<Link>>);

impl Listener for Pipes {
    fn accept(&self) -> BoxFuture<'_, io::Result<Link>> {
        Box::pin(async {
            let link = self.0.lock().await.recv().await;
            link.ok_or_else(|| io::ErrorKind::NotConnected.into())
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(HERE)
    }
}

struct OnePlace(Arc<Pipes>);

impl Network for OnePlace {
    fn connect<'a>(&'a self, _: &'a str, _: SocketOptions) -> BoxFuture<'a, io::Result<Link>> {
        Box::pin(async { Err(io::ErrorKind::NotConnected.into()) })
    }

    fn listen<'a>(
        &'a self,
        _: &'a str,
        _: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Listener>>> {
        Box::pin(async { Ok(Arc::clone(&self.0) as Arc<dyn Listener>) })
    }
}

struct Server {
    runtime: Runtime,
    links: mpsc::Sender<Link>,
    _server: RemotingServer,
}

/// Answers sends with their own bodies.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (links, accepted) = mpsc::channel(1);
    let network = OnePlace(Arc::new(Pipes(Mutex::new(accepted))));
    let config = RemotingServerConfig {
        proxy_protocol_from: "127.0.0.1".into(),
        ..Default::default()
    };
    let mut handlers = HandlerTable::new();
    handlers.inline_each(&[RequestCode::SendMessage], |_, frame| {
        Ok(Reply::empty().with_body(frame.body.clone()))
    });
    let server = runtime.block_on(async {
        let bound = RemotingServer::bind_on(&network, config)
            .await
            .expect("a place");
        bound.handlers(handlers).start()
    });
    Server {
        runtime,
        links,
        _server: server,
    }
});

/// A task that waits for nothing else is done within so many turns of all others.
const TURNS: usize = 64;

/// What a new connection that sends these bytes is answered, until the server closes it.
pub fn answers(sent: &[u8]) -> Vec<u8> {
    SERVER.runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        SERVER
            .links
            .send(Link::new(theirs, HERE, HERE))
            .await
            .expect("a server");
        let (mut reading, mut writing) = tokio::io::split(ours);
        let write = async {
            // The server may have closed the connection already.
            let _ = writing.write_all(sent).await;
            // Exchanges of HTTP/2 end with their connection, answered or not.
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            let _ = writing.shutdown().await;
        };
        let mut answers = Vec::new();
        let _ = tokio::join!(reading.read_to_end(&mut answers), write);
        answers
    })
}
