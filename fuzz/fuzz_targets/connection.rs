#![no_main]
//! A connection to a server: what it speaks, a PROXY header, the start of TLS, frames.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc};
use transport::{
    BoxFuture, Link, Listener, Network, RemotingServer, RemotingServerConfig, SocketOptions,
};

/// What the bytes of an input come behind, so that each subject is reached at once.
const STARTS: [&[u8]; 4] = [
    b"",
    b"PROXY TCP4 ",
    &[13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21],
    &[0x16, 3, 1],
];

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

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (links, accepted) = mpsc::channel(1);
    let network = OnePlace(Arc::new(Pipes(Mutex::new(accepted))));
    let config = RemotingServerConfig {
        proxy_protocol_from: "127.0.0.1".into(),
        ..Default::default()
    };
    let server = runtime.block_on(async {
        let bound = RemotingServer::bind_on(&network, config).await.expect("a place");
        bound.start()
    });
    Server { runtime, links, _server: server }
});

fuzz_target!(|bytes: &[u8]| {
    let Some((start, rest)) = bytes.split_first() else {
        return;
    };
    let start = STARTS[usize::from(*start) % STARTS.len()];
    SERVER.runtime.block_on(async {
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        SERVER.links.send(Link::new(theirs, HERE, HERE)).await.expect("a server");
        // The server may have closed the connection already.
        let _ = ours.write_all(&[start, rest].concat()).await;
        let _ = ours.shutdown().await;
        let mut answers = Vec::new();
        let _ = ours.read_to_end(&mut answers).await;
    });
});
