//! Several places to listen, proxies in front, and how many connections there may be.

use std::net::SocketAddr;

use config::Live;
use kerolox_transport::{RemotingServer, RemotingServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::peer::{ECHO, Peer, echo, frame, local, request};

pub(crate) async fn serve(
    config: RemotingServerConfig,
) -> (RemotingServer, Live<RemotingServerConfig>) {
    let live = Live::new(config);
    let bound = RemotingServer::bind((*live.load()).clone()).await.unwrap();
    let server = bound.handlers(echo()).follow(&live).unwrap().start();
    (server, live)
}

pub(crate) fn set(live: &Live<RemotingServerConfig>, text: &str) {
    let changes = config::properties::parse("update", text.as_bytes()).unwrap();
    live.update(&changes).unwrap();
}

/// What the server knows of the peer of its only connection.
fn peer_of(server: &RemotingServer) -> SocketAddr {
    server.connections()[0].peer()
}

#[tokio::test]
async fn a_port_may_speak_one_protocol_only() {
    let config = RemotingServerConfig {
        listeners: "0=tls, 127.0.0.1:0=remoting".into(),
        ..local()
    };
    let (server, _live) = serve(config).await;
    let [any, tls, remoting] = server.local_addrs() else {
        panic!("three places");
    };
    for address in [any, remoting] {
        let mut peer = Peer::connect(*address).await;
        peer.echo("plain").await.unwrap();
    }
    let mut peer = Peer::connect(*tls).await;
    peer.send(&frame(&request(ECHO), b"")).await;
    let mut alert = Vec::new();
    peer.stream.read_to_end(&mut alert).await.unwrap();
    assert_eq!(alert[..2], [0x15, 3]);
}

#[tokio::test]
async fn a_unix_socket_is_taken_from_nobody_and_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let config = RemotingServerConfig {
        listeners: format!("unix:{}=remoting", path.display()),
        ..local()
    };
    let (server, _live) = serve(config.clone()).await;
    let mut peer = Peer::on(UnixStream::connect(&path).await.unwrap());
    peer.echo("by a file").await.unwrap();
    assert_eq!(peer_of(&server).to_string(), "127.0.0.1:0");
    let error = RemotingServer::bind(config.clone()).await.err().unwrap();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(peer);
    server.shutdown(crate::peer::LONG).await;
    assert!(!path.exists());

    // As a process that was killed leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (_server, _live) = serve(config.clone()).await;
    let mut peer = Peer::on(UnixStream::connect(&path).await.unwrap());
    peer.echo("by a file").await.unwrap();

    let file = directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let config = RemotingServerConfig {
        listeners: format!("unix:{}", file.display()),
        ..local()
    };
    assert!(RemotingServer::bind(config).await.is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

/// A client of 203.0.113.7, port 4711.
const V1: &[u8] = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 10911\r\n";

/// The same as version 2 has it.
pub(crate) const V2: &[u8] = &[
    13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, 0, 12, 203, 0, 113, 7, 127, 0, 0, 1,
    0x12, 0x67, 0, 80,
];

#[tokio::test]
async fn a_proxy_that_is_trusted_tells_whom_it_forwards() {
    let config = RemotingServerConfig {
        proxy_protocol_from: "127.0.0.0/8".into(),
        ..local()
    };
    let (server, live) = serve(config).await;
    for header in [V1, V2] {
        let mut peer = Peer::connect(server.local_addr()).await;
        for byte in header {
            peer.send(&[*byte]).await;
            tokio::task::yield_now().await;
        }
        peer.echo("forwarded").await.unwrap();
        assert_eq!(peer_of(&server).to_string(), "203.0.113.7:4711");
        drop(peer);
        while server.connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut direct = Peer::connect(server.local_addr()).await;
    direct.echo("no proxy").await.unwrap();

    set(&live, "kerolox.proxyProtocolFrom=10.0.0.0/8");
    let mut stranger = Peer::connect(server.local_addr()).await;
    stranger.send(V1).await;
    assert!(stranger.echo("pretends").await.is_none());
}

#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let config = RemotingServerConfig {
        server_max_connections_per_address: 2,
        proxy_protocol_from: "127.0.0.1".into(),
        ..local()
    };
    let (server, live) = serve(config).await;
    let connect = async |header: &'static [u8]| {
        let mut peer = Peer::connect(server.local_addr()).await;
        let bytes = [header, &frame(&request(ECHO), b"")].concat();
        let _ = peer.stream.write_all(&bytes).await;
        peer.receive().await.map(|_| peer)
    };
    let first = connect(V1).await.unwrap();
    let _second = connect(V1).await.unwrap();
    assert!(connect(V1).await.is_none());
    let _third = connect(b"").await.unwrap();
    let _fourth = connect(b"").await.unwrap();
    assert!(connect(b"").await.is_none());

    set(&live, "kerolox.serverMaxConnectionsPerAddress=3");
    assert!(connect(b"").await.is_some());
    drop(first);
    set(&live, "kerolox.serverMaxConnections=1");
    assert!(connect(b"").await.is_none());
    set(&live, "kerolox.serverMaxConnections=100");
    assert!(connect(b"").await.is_some());
}
