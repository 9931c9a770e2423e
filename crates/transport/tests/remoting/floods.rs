//! Floods by one protocol, and how long clients of others wait beside them. What counts is how
//! many requests of the flood are served first, not time: that is the same on every machine.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use kerolox_transport::{Body, HandlerTable, RemotingServer, Reply};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wire::command::RequestCode;
use wire::header::NoHeader;

use crate::http::{self, post, try_call};
use crate::peer::{ECHO, LONG, client, frame, local, request};
use crate::websocket::{masked, open};

const CONNECTIONS: usize = 50;

/// The most requests of one connection that are served in one go.
const TURN: usize = 256;

/// Requests of the one client beside the flood.
const REQUESTS: usize = 30;

/// What one connection of a flood sends again and again: many requests that want no answer.
fn many(wrap: impl Fn(&[u8]) -> Vec<u8>) -> Bytes {
    let one = frame(&request(ECHO).oneway(), b"flood");
    wrap(&one).repeat(500).into()
}

async fn write_on(mut stream: TcpStream, many: Bytes) {
    while stream.write_all(&many).await.is_ok() {}
}

async fn send_on(client: http::Client, many: Bytes) {
    let mut client = client.ready().await.unwrap();
    let (_answer, mut sending) = client.send_request(post("/v1/frames", ""), false).unwrap();
    let mut rest = Bytes::new();
    loop {
        if rest.is_empty() {
            rest = many.clone();
        }
        sending.reserve_capacity(rest.len());
        let Some(Ok(room)) = poll_fn(|cx| sending.poll_capacity(cx)).await else {
            return;
        };
        let piece = rest.split_to(room.min(rest.len()));
        sending.send_data(piece, false).unwrap();
    }
}

/// Asks by this address while `flood` goes on; the most requests of the flood that were served
/// between a request of this client and its answer.
async fn most_served_between(scheme: &str, flood: &str) -> usize {
    let served = Arc::new(AtomicUsize::new(0));
    let mut handlers = HandlerTable::new();
    let count = Arc::clone(&served);
    handlers.inline(&[ECHO], move |_, run, outbox| {
        count.fetch_add(run.len(), Ordering::SeqCst);
        for frame in run {
            outbox.reply(&frame.head, Reply::empty());
        }
    });
    let seen = Arc::clone(&served);
    handlers.inline_each(&[RequestCode::PullMessage], move |_, _| {
        let seen = seen.load(Ordering::SeqCst).to_string();
        Ok(Reply::empty().with_body(seen))
    });
    let server = RemotingServer::bind(local()).await.unwrap();
    let server = Arc::new(server.handlers(handlers).start());
    let mut floods = JoinSet::new();
    for _ in 0..CONNECTIONS {
        match flood {
            "remoting" => {
                let stream = TcpStream::connect(server.local_addr()).await.unwrap();
                floods.spawn(write_on(stream, many(<[u8]>::to_vec)));
            }
            "websocket" => {
                let stream = open(&server).await;
                floods.spawn(write_on(stream, many(|one| masked(0x82, one))));
            }
            "http2" => {
                let client = http::connect(&server).await;
                floods.spawn(send_on(client, many(<[u8]>::to_vec)));
            }
            _ => {
                let client = http::connect(&server).await;
                for _ in 0..100 {
                    let client = client.clone();
                    floods.spawn(async move {
                        while try_call(&client, "SEND_MESSAGE", "{}").await.is_ok() {}
                    });
                }
            }
        }
    }
    while served.load(Ordering::SeqCst) < CONNECTIONS * TURN {
        tokio::task::yield_now().await;
    }
    let client = client();
    let address = format!("{scheme}{}", server.local_addr());
    let connection = client.connection(&address).await.unwrap();
    let mut most = 0;
    for _ in 0..REQUESTS {
        let before = served.load(Ordering::SeqCst);
        let head = request(RequestCode::PullMessage);
        let asked = connection.request(head, &NoHeader, Body::Empty, LONG);
        let seen = asked.await.unwrap().body;
        let seen: usize = std::str::from_utf8(&seen).unwrap().parse().unwrap();
        most = most.max(seen - before);
    }
    assert!(served.load(Ordering::SeqCst) > CONNECTIONS * TURN + REQUESTS);
    most
}

#[tokio::test]
async fn a_flood_keeps_clients_of_other_protocols_waiting_for_few_turns_only() {
    for (scheme, flood) in [
        ("ws://", "remoting"),
        ("tcp://", "websocket"),
        ("tcp://", "http2"),
        ("tcp://", "JSON"),
    ] {
        let most = most_served_between(scheme, flood).await;
        assert!(most <= 3 * TURN, "{most} of {flood} before one of {scheme}");
    }
}
