//! What a peer can take of the server's memory and places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use kerolox_transport::{
    Body, HandlerTable, RemotingClient, RemotingClientConfig, RemotingServer, RemotingServerConfig,
    Reply, TransportError,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::command::RequestCode;
use wire::frame::{Frame, Head};
use wire::header::NoHeader;

use crate::peer::{ECHO, Event, Events, LONG, Peer, client, echo, frame, local, request, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_is_not_read_from() {
    const HIGH_WATER: usize = 512 * 1024;
    const ANSWER: usize = 64 * 1024;
    const COUNT: i32 = 2000;
    let (most, handled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (unsent, count) = (Arc::clone(&most), Arc::clone(&handled));
    let mut table = HandlerTable::new();
    let answer = Bytes::from(vec![1; ANSWER]);
    table.inline_held(&[RequestCode::PullMessage], move |_, frame, outbox| {
        outbox.reply(&frame.head, Reply::empty().with_body(answer.clone()));
        unsent.fetch_max(outbox.len(), Ordering::SeqCst);
        count.fetch_add(1, Ordering::SeqCst);
    });
    let config = RemotingServerConfig {
        write_buffer_high_water_mark: HIGH_WATER,
        ..local()
    };
    let server = RemotingServer::bind(config)
        .await
        .unwrap()
        .handlers(table)
        .start();
    let peer = Peer::connect(server.local_addr()).await;
    let (mut read, mut write) = peer.stream.into_split();
    let writing = tokio::spawn(async move {
        let mut requests = Vec::new();
        for opaque in 1..=COUNT {
            let head = Head {
                opaque,
                ..request(RequestCode::PullMessage)
            };
            requests.extend_from_slice(&frame(&head, b""));
        }
        write.write_all(&requests).await.unwrap();
        write
    });
    // Once the socket takes no more, reading goes on only below the low water mark, one half.
    while server
        .connections()
        .first()
        .is_none_or(|it| it.unsent() <= HIGH_WATER / 2)
    {
        tokio::task::yield_now().await;
    }
    assert!(handled.load(Ordering::SeqCst) < COUNT as usize);

    let mut received = bytes::BytesMut::new();
    for opaque in 1..=COUNT {
        let answer = loop {
            if let Some(frame) = Frame::decode(&mut received).unwrap() {
                break frame;
            }
            assert_ne!(read.read_buf(&mut received).await.unwrap(), 0);
        };
        assert_eq!((answer.head.opaque, answer.body.len()), (opaque, ANSWER));
    }
    drop(writing.await.unwrap());
    let most = most.load(Ordering::SeqCst);
    assert!(
        most <= HIGH_WATER + ANSWER + 1024,
        "{most} bytes were unsent"
    );
}

#[tokio::test]
async fn late_answers_that_pile_up_close_the_connection() {
    const LIMIT: usize = 2 * 1024 * 1024;
    const HELD: usize = 100;
    let held: Arc<Mutex<Vec<_>>> = Arc::default();
    let keep = Arc::clone(&held);
    let mut table = echo();
    table.inline_held(
        &[RequestCode::PullMessage],
        move |connection, frame, outbox| {
            keep.lock().push(connection.responder(&frame.head));
            if keep.lock().len() == HELD {
                outbox.reply(&frame.head, Reply::empty());
            }
        },
    );
    let (listener, mut events) = Events::new();
    let config = RemotingServerConfig {
        max_unsent_bytes: LIMIT,
        ..local()
    };
    let server = RemotingServer::bind(config).await.unwrap();
    let server = server.handlers(table).listener(listener).start();
    let mut peer = Peer::connect(server.local_addr()).await;
    for _ in 0..HELD {
        peer.send(&frame(&request(RequestCode::PullMessage), b""))
            .await;
    }
    // An answer to the last request shows that all have come. Nothing more is read.
    peer.receive().await.unwrap();
    let connection = Arc::clone(&server.connections()[0]);
    let body = Bytes::from(vec![0; 256 * 1024]);
    let mut most = 0;
    let responders = std::mem::take(&mut *held.lock());
    for responder in responders {
        responder.reply(Reply::empty().with_body(body.clone()));
        most = most.max(connection.unsent());
        tokio::task::yield_now().await;
    }
    assert!(!connection.is_open());
    assert!(most <= LIMIT, "{most} bytes were unsent");
    let error = connection.with_outbox(|_| ()).unwrap_err();
    assert!(matches!(error, TransportError::Closed { .. }), "{error}");
    assert_eq!(events.recv().await, Some(Event::Connected(connection.id())));
    assert_eq!(events.recv().await, Some(Event::Closed(connection.id())));

    let mut other = Peer::connect(server.local_addr()).await;
    other.send(&frame(&request(ECHO), b"well")).await;
    assert_eq!(other.receive().await.unwrap().body, "well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_while_much_is_unsent() {
    const HIGH_WATER: usize = 256 * 1024;
    let server = serve(echo()).await;
    let config = RemotingClientConfig {
        write_buffer_high_water_mark: HIGH_WATER,
        ..Default::default()
    };
    let client = RemotingClient::new(config, HandlerTable::new());
    let address = server.local_addr().to_string();
    let connection = client.connection(&address).await.unwrap();
    let body = Bytes::from(vec![7; 64 * 1024]);
    let asking: Vec<_> = (0..500)
        .map(|_| {
            let (connection, body) = (Arc::clone(&connection), body.clone());
            tokio::spawn(async move {
                let answer = connection
                    .request(request(ECHO), &NoHeader, Body::One(body), LONG)
                    .await;
                (answer.unwrap().body.len(), connection.unsent())
            })
        })
        .collect();
    for task in asking {
        let (len, unsent) = task.await.unwrap();
        assert_eq!(len, 64 * 1024);
        // Several may see the same room at a time, not hundreds.
        assert!(
            unsent < HIGH_WATER + 10 * 65 * 1024,
            "{unsent} bytes were unsent"
        );
    }
}

#[tokio::test]
async fn more_connections_than_allowed_are_sent_away() {
    let config = RemotingServerConfig {
        server_max_connections: 2,
        ..local()
    };
    let server = RemotingServer::bind(config)
        .await
        .unwrap()
        .handlers(echo())
        .start();
    let bytes = frame(&request(ECHO), b"");
    let mut first = Peer::connect(server.local_addr()).await;
    let mut second = Peer::connect(server.local_addr()).await;
    for peer in [&mut first, &mut second] {
        peer.send(&bytes).await;
        peer.receive().await.unwrap();
    }
    let mut third = Peer::connect(server.local_addr()).await;
    assert!(third.receive().await.is_none());
    drop(first);
    while server.connection_count() > 1 {
        tokio::task::yield_now().await;
    }
    // The place is free a moment after the connection is gone.
    loop {
        let mut fourth = Peer::connect(server.local_addr()).await;
        if fourth.stream.write_all(&bytes).await.is_ok() && fourth.receive().await.is_some() {
            break;
        }
    }
    second.send(&bytes).await;
    second.receive().await.unwrap();
}

#[tokio::test]
async fn a_claimed_length_takes_no_memory() {
    let server = serve(echo()).await;
    let mut claims = Vec::new();
    for _ in 0..200 {
        let mut peer = Peer::connect(server.local_addr()).await;
        // 200 times 16 MiB are announced, and 12 bytes sent.
        peer.send(&[0, 0xff, 0xff, 0xfc, 0, 0, 0, 100, b'{', b' ', b' ', b' '])
            .await;
        claims.push(peer);
    }
    while server.connection_count() < 200 {
        tokio::task::yield_now().await;
    }
    let client = client();
    let answer = crate::peer::ask(&client, &server, ECHO).await.unwrap();
    assert_eq!(answer.head.code, 0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    if let Some(kilobytes) = resident.and_then(|text| text.trim().split(' ').next()) {
        let kilobytes: usize = kilobytes.parse().unwrap();
        assert!(kilobytes < 1_000_000, "{kilobytes} KiB are resident");
    }
}
