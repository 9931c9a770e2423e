//! Clients of all protocols at once, while protocols come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use config::Live;
use kerolox_transport::{ByteStream, RemotingServer, RemotingServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use wire::code::ResponseCode;

use crate::listeners::V2;
use crate::peer::{ECHO, Peer, echo, frame, local, request};
use crate::tls::{any_client, shake_hands};

const CLIENTS: usize = 500;

/// Requests that each way must get answered between two switches.
const ROUND: usize = 100;

/// The ways to speak to the server; those in front stay on all the time.
const WAYS: [&str; 5] = ["remoting", "unix", "tls", "proxy", "proxy/tls"];

/// A connection by one of the ways, if it can be made now.
async fn connect(
    server: &RemotingServer,
    socket: &str,
    way: &str,
) -> Option<Peer<Box<dyn ByteStream>>> {
    if way == "unix" {
        let stream = UnixStream::connect(socket).await.unwrap();
        return Some(Peer::on(Box::new(stream)));
    }
    let mut stream = TcpStream::connect(server.local_addr()).await.ok()?;
    if way.starts_with("proxy") {
        stream.write_all(V2).await.ok()?;
    }
    if way.ends_with("tls") {
        let peer = shake_hands(stream, &any_client()).await.ok()?;
        return Some(Peer::on(Box::new(peer.stream)));
    }
    Some(Peer::on(Box::new(stream)))
}

/// Whether a request was answered with its own body. Only a connection that ends may fail it.
async fn is_echoed(peer: &mut Peer<Box<dyn ByteStream>>) -> bool {
    let bytes = frame(&request(ECHO), b"mixed");
    if peer.stream.write_all(&bytes).await.is_err() || peer.stream.flush().await.is_err() {
        return false;
    }
    match peer.try_receive().await {
        Some(answer) if answer.head.code == 0 => {
            assert_eq!(answer.body, "mixed");
            true
        }
        Some(answer) => {
            // On a connection that drains, or was about to be served.
            let ends = [ResponseCode::GoAway, ResponseCode::ServiceNotAvailable];
            assert!(ends.iter().any(|code| *code as i32 == answer.head.code));
            false
        }
        None => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_go_on_while_protocols_are_switched() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket").display().to_string();
    let live = Live::new(RemotingServerConfig {
        listeners: format!("unix:{socket}"),
        proxy_protocol_from: "127.0.0.1".into(),
        ..local()
    });
    let bound = RemotingServer::bind((*live.load()).clone()).await.unwrap();
    let server = Arc::new(bound.handlers(echo()).follow(&live).unwrap().start());
    let stop = Arc::new(AtomicBool::new(false));
    // By way: requests that were answered, connections that ended under a client.
    let counts: Arc<[[AtomicUsize; 2]; WAYS.len()]> = Arc::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (server, socket) = (Arc::clone(&server), socket.clone());
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            tokio::spawn(async move {
                let way = number % WAYS.len();
                let [echoed, ended] = &counts[way];
                while !stop.load(Ordering::SeqCst) {
                    let Some(mut peer) = connect(&server, &socket, WAYS[way]).await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    while !stop.load(Ordering::SeqCst) && is_echoed(&mut peer).await {
                        echoed.fetch_add(1, Ordering::SeqCst);
                    }
                    ended.fetch_add(usize::from(!stop.load(Ordering::SeqCst)), Ordering::SeqCst);
                }
            })
        })
        .collect();
    let answered = |way: usize| counts[way][0].load(Ordering::SeqCst);
    for list in [
        "all",
        "remoting,proxy",
        "remoting,tls",
        "remoting",
        "all",
        "remoting,tls,proxy",
    ] {
        let change = format!("kerolox.protocols={list}");
        let change = config::properties::parse("update", change.as_bytes()).unwrap();
        live.update(&change).unwrap();
        // All that are on get on.
        for (way, name) in WAYS.iter().enumerate() {
            let on = list == "all" || name.split('/').all(|it| it == "unix" || list.contains(it));
            let before = answered(way);
            while on && answered(way) < before + ROUND {
                tokio::task::yield_now().await;
            }
        }
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    for (way, name) in WAYS.iter().enumerate() {
        let ended = counts[way][1].load(Ordering::SeqCst);
        assert_eq!(ended > 0, way >= 2, "{ended} connections of {name} ended");
    }
    while server.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
}
