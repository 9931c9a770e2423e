//! Several protocols on one port, switched and replaced while they are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kerolox_transport::{
    BoxFuture, Connection, Detection, Endpoint, Executor, Link, Protocol, RemotingServer, Reply,
    TransportError,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::code::ResponseCode;
use wire::command::RequestCode;

use crate::peer::{ECHO, LONG, Peer, echo, frame, local, request};

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

/// What clients of others sent, as it was recorded (`conversations.jsonl`), is answered.
#[tokio::test]
async fn clients_of_others_are_understood() {
    let server = RemotingServer::bind(local()).await.unwrap();
    let server = server.handlers(echo()).start();
    for line in include_str!("../data/conversations.jsonl").lines() {
        let recorded: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| recorded[name].as_str().unwrap();
        let mut peer = Peer::connect(server.local_addr()).await;
        peer.send(&STANDARD.decode(text("sent_b64")).unwrap()).await;
        let (wanted, mut answer) = (text("answer").as_bytes(), Vec::new());
        let answered = async {
            while !answer.windows(wanted.len()).any(|it| it == wanted) {
                assert_ne!(peer.stream.read_buf(&mut answer).await.unwrap(), 0);
            }
        };
        let answered = tokio::time::timeout(LONG, answered).await;
        assert!(answered.is_ok(), "{}", text("name"));
    }
}

/// Takes bytes behind a mark, and has the server tell what follows.
struct Marked(u8);

impl Protocol for Marked {
    fn name(&self) -> &'static str {
        "marked"
    }

    fn detect(&self, first: &[u8]) -> Detection {
        match first.first() {
            Some(first) if *first == self.0 => Detection::Yes,
            _ => Detection::No,
        }
    }

    fn serve(self: Arc<Self>, mut link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        let _ = link.received.split_to(1);
        Box::pin(async move {
            let link = link.wrap(|stream| std::future::ready(Ok(stream))).await;
            endpoint.serve(link.unwrap()).await;
        })
    }
}

async fn start() -> RemotingServer {
    let server = RemotingServer::bind(local()).await.unwrap();
    let server = server.handlers(echo()).protocol(Arc::new(Marked(b'!')));
    server.protocol(Arc::new(Greeting)).start()
}

/// Asks for an echo on a new connection, behind a mark if there is one.
async fn asked(server: &RemotingServer, mark: &[u8]) -> Peer {
    let mut peer = Peer::connect(server.local_addr()).await;
    peer.send(mark).await;
    peer.send(&frame(&request(ECHO), b"")).await;
    peer
}

/// The stack of the newest connection.
fn newest(server: &RemotingServer) -> Arc<Connection> {
    let newest = server.connections().into_iter().max_by_key(|it| it.id());
    newest.unwrap()
}

#[tokio::test]
async fn a_connection_knows_its_protocols() {
    let server = start().await;
    let mut plain = asked(&server, b"").await;
    plain.receive().await.unwrap();
    assert_eq!(newest(&server).stack().name(), "remoting");
    let mut twice = asked(&server, b"!!").await;
    twice.receive().await.unwrap();
    assert_eq!(newest(&server).stack().name(), "marked/marked/remoting");
    let status = server.protocols().status();
    let counts: Vec<_> = status.iter().map(|it| (it.name, it.connections)).collect();
    let all = [
        ("proxy", 0),
        ("remoting", 2),
        ("tls", 0),
        ("websocket", 0),
        ("http2", 0),
        ("marked", 1),
        ("greeting", 0),
    ];
    assert_eq!(counts, all);
}

#[tokio::test]
async fn a_protocol_switched_off_ends_its_own_connections_only() {
    let server = start().await;
    let mut plain = asked(&server, b"").await;
    plain.receive().await.unwrap();
    let mut marked = asked(&server, b"!").await;
    marked.receive().await.unwrap();

    server.protocols().switch("remoting, greeting").unwrap();
    assert!(marked.receive().await.is_none());
    plain.send(&frame(&request(ECHO), b"still here")).await;
    assert_eq!(plain.receive().await.unwrap().body, "still here");
    let mut refused = asked(&server, b"!").await;
    assert!(refused.receive().await.is_none());

    server.protocols().switch("all").unwrap();
    let mut marked = asked(&server, b"!").await;
    assert!(marked.receive().await.is_some());

    let error = server.protocols().switch("remoting,gopher").unwrap_err();
    assert!(matches!(error, TransportError::UnknownProtocol { .. }));
    assert!(server.protocols().status().iter().all(|it| it.on));
}

#[tokio::test]
async fn remoting_switched_off_answers_that_it_is() {
    let server = start().await;
    server.protocols().switch("marked").unwrap();
    let mut peer = asked(&server, b"").await;
    let answer = peer.receive().await.unwrap();
    assert_eq!(answer.head.code, ResponseCode::ServiceNotAvailable as i32);
    assert_eq!(
        answer.remark.as_deref(),
        Some("this protocol is switched off here (kerolox.protocols)")
    );
    assert!(peer.receive().await.is_none());
}

#[tokio::test]
async fn what_runs_on_a_replaced_protocol_is_finished() {
    let held: Arc<Mutex<Vec<_>>> = Arc::default();
    let keep = Arc::clone(&held);
    let mut table = echo();
    table.inline_held(&[RequestCode::PullMessage], move |connection, frame, _| {
        keep.lock().push(connection.responder(&frame.head));
    });
    let server = RemotingServer::bind(local()).await.unwrap();
    let server = server.handlers(table).protocol(Arc::new(Marked(b'!')));
    let server = server.start();
    let mut old = Peer::connect(server.local_addr()).await;
    old.send(b"!").await;
    let pull = frame(&request(RequestCode::PullMessage), b"");
    old.send(&pull).await;
    while held.lock().is_empty() {
        tokio::task::yield_now().await;
    }

    server.protocols().add(Arc::new(Marked(b'?')));
    let mut new = asked(&server, b"?").await;
    assert_eq!(new.receive().await.unwrap().head.code, 0);
    let mut refused = asked(&server, b"!").await;
    assert!(refused.receive().await.is_none());
    old.send(&frame(&request(ECHO), b"")).await;
    let sent_away = old.receive().await.unwrap();
    assert_eq!(sent_away.head.code, ResponseCode::GoAway as i32);
    let held = std::mem::take(&mut *held.lock());
    for responder in held {
        responder.reply(Reply::empty().with_body("done"));
    }
    assert_eq!(old.receive().await.unwrap().body, "done");
    assert!(old.receive().await.is_none());
    new.send(&frame(&request(ECHO), b"goes on")).await;
    assert_eq!(new.receive().await.unwrap().body, "goes on");
}

/// What counts is how many requests of the flood are served first, not time: that is the same on
/// every machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_by_one_protocol_leaves_the_others_their_pace() {
    let executor = Executor::new("slow", 2, 1000);
    let served: Arc<AtomicUsize> = Arc::default();
    let mut table = echo();
    let count = Arc::clone(&served);
    table.spawned(&[RequestCode::PullMessage], &executor, move |_, _| {
        let count = Arc::clone(&count);
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Reply::empty())
        }
    });
    let server = RemotingServer::bind(local()).await.unwrap();
    let server = server.handlers(table).protocol(Arc::new(Marked(b'!')));
    let server = server.start();
    let mut plain = Peer::connect(server.local_addr()).await;
    let mut flood = Peer::connect(server.local_addr()).await;
    flood.send(b"!").await;
    let pull = frame(&request(RequestCode::PullMessage), b"");
    flood.send(&pull.repeat(3000)).await;
    while executor.queued() < 900 {
        tokio::task::yield_now().await;
    }
    let mut before_each = Vec::new();
    for _ in 0..15 {
        let before = served.load(Ordering::SeqCst);
        plain.send(&pull).await;
        assert_eq!(plain.receive().await.unwrap().head.code, 0);
        before_each.push(served.load(Ordering::SeqCst) - before - 1);
    }
    before_each.sort_unstable();
    assert!(executor.queued() > 0, "the flood is over");
    assert!(before_each[7] <= 8, "{before_each:?}");
}
