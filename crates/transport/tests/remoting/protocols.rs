//! Another protocol on the same port.

use std::sync::Arc;

use kerolox_transport::{BoxFuture, Detection, Endpoint, Link, Protocol, RemotingServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peer::{ECHO, Peer, echo, frame, local, request};

/// Greets whoever starts with "HELLO" and closes.
struct Greeting;

impl Protocol for Greeting {
    fn name(&self) -> &'static str {
        "greeting"
    }

    fn detect(&self, first: &[u8]) -> Detection {
        let known = b"HELLO";
        let compared = first.len().min(known.len());
        match first[..compared] == known[..compared] {
            false => Detection::No,
            true if compared == known.len() => Detection::Yes,
            true => Detection::NeedMore,
        }
    }

    fn serve(self: Arc<Self>, mut link: Link, _: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            link.stream.write_all(b"hello to you\n").await.unwrap();
        })
    }
}

#[tokio::test]
async fn protocols_are_told_apart_by_their_first_bytes() {
    let server = RemotingServer::bind(local()).await.unwrap();
    let server = server.handlers(echo()).protocol(Arc::new(Greeting)).start();

    let mut greeter = Peer::connect(server.local_addr()).await;
    for byte in b"HELLO" {
        greeter.send(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    greeter.stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello to you\n");

    let mut peer = Peer::connect(server.local_addr()).await;
    peer.send(&frame(&request(ECHO), b"frames")).await;
    assert_eq!(peer.receive().await.unwrap().body, "frames");

    let mut stranger = Peer::connect(server.local_addr()).await;
    stranger.send(b"HELP").await;
    assert!(stranger.receive().await.is_none());
}
