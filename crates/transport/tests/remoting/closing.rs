//! How connections, servers and clients come to their end, and begin again.

use std::sync::Arc;
use std::time::Duration;

use kerolox_transport::{
    Body, Executor, HandlerTable, RemotingServer, RemotingServerConfig, Reply, TransportError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use wire::command::RequestCode;
use wire::frame::Head;
use wire::header::NoHeader;

use crate::listeners::V2;
use crate::peer::{
    ECHO, Event, Events, LONG, Peer, ask, client, echo, frame, local, request, serve,
};

/// Requests that tell when they run and wait for a permit.
pub(crate) fn gated() -> (HandlerTable, Arc<Semaphore>, mpsc::Receiver<()>) {
    let (started, starts) = mpsc::channel(10);
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let mut table = echo();
    let executor = Executor::new("test", 4, 10);
    table.spawned(&[RequestCode::PullMessage], &executor, move |_, _| {
        let (started, wait) = (started.clone(), Arc::clone(&wait));
        async move {
            started.send(()).await.unwrap();
            wait.acquire().await.unwrap().forget();
            Ok(Reply::empty())
        }
    });
    (table, gate, starts)
}

#[tokio::test]
async fn closing_a_connection_fails_all_who_wait_on_it() {
    let (table, _gate, mut starts) = gated();
    let server = serve(table).await;
    let client = client();
    let connection = client
        .connection(&server.local_addr().to_string())
        .await
        .unwrap();
    let head = request(RequestCode::PullMessage);
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(
            connection
                .start_request(head, &NoHeader, Body::Empty)
                .unwrap(),
        );
        starts.recv().await.unwrap();
    }
    connection.close();
    for answer in waiting {
        let error = answer.wait(LONG).await.unwrap_err();
        assert!(matches!(error, TransportError::Closed { .. }), "{error}");
    }
    let error = connection
        .request(head, &NoHeader, Body::Empty, LONG)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Closed { .. }), "{error}");
    assert_eq!(ask(&client, &server, ECHO).await.unwrap().head.code, 0);
}

#[tokio::test]
async fn a_server_that_goes_away_fails_all_who_wait_for_it() {
    let (table, _gate, mut starts) = gated();
    let server = serve(table).await;
    let client = client();
    let connection = client
        .connection(&server.local_addr().to_string())
        .await
        .unwrap();
    let head = request(RequestCode::PullMessage);
    let answer = connection
        .start_request(head, &NoHeader, Body::Empty)
        .unwrap();
    starts.recv().await.unwrap();
    drop(server);
    let error = answer.wait(LONG).await.unwrap_err();
    assert!(matches!(error, TransportError::Closed { .. }), "{error}");
    assert!(!connection.is_open());
}

#[tokio::test]
async fn a_graceful_shutdown_finishes_what_runs() {
    let (table, gate, mut starts) = gated();
    let server = serve(table).await;
    let address = server.local_addr();
    let mut peer = Peer::connect(address).await;
    let mut silent = Peer::connect(address).await;
    let head = Head {
        opaque: 3,
        ..request(RequestCode::PullMessage)
    };
    peer.send(&frame(&head, b"")).await;
    starts.recv().await.unwrap();

    let stopping = tokio::spawn(server.shutdown(LONG));
    // Once the port is closed the server is on its way.
    while TcpStream::connect(address).await.is_ok() {}
    gate.add_permits(1);
    assert_eq!(peer.receive().await.unwrap().head.opaque, 3);
    assert!(peer.receive().await.is_none());
    assert!(
        silent.receive().await.is_none(),
        "who has sent nothing yet is sent away, too"
    );
    drop(peer);
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_graceful_shutdown_ends_in_time_whatever_still_runs() {
    let (table, _gate, mut starts) = gated();
    let server = serve(table).await;
    let mut peer = Peer::connect(server.local_addr()).await;
    peer.send(&frame(&request(RequestCode::PullMessage), b""))
        .await;
    starts.recv().await.unwrap();
    server.shutdown(Duration::from_millis(50)).await;
    assert!(peer.receive().await.is_none());
}

#[tokio::test]
async fn a_client_connects_again_when_the_server_is_back() {
    let client = client();
    let mut config = local();
    for _ in 0..3 {
        let server = RemotingServer::bind(config.clone())
            .await
            .unwrap()
            .handlers(echo())
            .start();
        config.listen_port = server.local_addr().port();
        assert_eq!(ask(&client, &server, ECHO).await.unwrap().head.code, 0);
        let connection = client
            .connection(&server.local_addr().to_string())
            .await
            .unwrap();
        server.shutdown(LONG).await;
        assert!(!connection.is_open());
    }
}

#[tokio::test]
async fn no_connection_is_told_with_the_address() {
    let free = serve(HandlerTable::new()).await;
    let address = free.local_addr().to_string();
    free.shutdown(LONG).await;
    let client = client();
    // All who wait for the same attempt learn that it failed.
    let (first, second) = tokio::join!(client.connection(&address), client.connection(&address));
    for error in [first.unwrap_err(), second.unwrap_err()] {
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("cannot connect to {address}: ")),
            "{message}"
        );
    }
    let error = client.connection("no port").await.unwrap_err().to_string();
    assert!(error.starts_with("cannot connect to no port: "), "{error}");
}

#[tokio::test]
async fn a_client_that_is_shut_down_connects_no_more() {
    let server = serve(echo()).await;
    let client = client();
    let connection = client
        .connection(&server.local_addr().to_string())
        .await
        .unwrap();
    client.shutdown().await;
    assert!(!connection.is_open());
    assert_eq!(client.connection_count(), 0);
    let error = ask(&client, &server, ECHO).await.unwrap_err();
    assert_eq!(error, TransportError::ShutDown);
}

#[tokio::test]
async fn a_port_in_use_is_told_with_what_to_do() {
    let server = serve(HandlerTable::new()).await;
    let port = server.local_addr().port();
    let config = RemotingServerConfig {
        listen_port: port,
        ..local()
    };
    let error = RemotingServer::bind(config).await.err().unwrap();
    let expected = format!(
        "cannot listen on 127.0.0.1:{port}: the port is in use by another process; stop that process or set listenPort to another port"
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_listener_is_told_of_everything_in_order() {
    let (listener, mut events) = Events::new();
    let server = RemotingServer::bind(local()).await.unwrap();
    let server = server.handlers(echo()).listener(listener).start();
    let mut peer = Peer::connect(server.local_addr()).await;
    peer.send(&frame(&request(ECHO), b"")).await;
    peer.receive().await.unwrap();
    let id = server.connections()[0].id();
    drop(peer);
    assert_eq!(events.recv().await, Some(Event::Connected(id)));
    assert_eq!(events.recv().await, Some(Event::Closed(id)));

    let mut peer = Peer::connect(server.local_addr()).await;
    peer.send(&[0; 12]).await;
    assert!(peer.receive().await.is_none());
    let address = peer.stream.local_addr().unwrap();
    let problem = "a frame length of 0 bytes is not within 4 to 16777212";
    let failure =
        format!("{address} sent what is not a frame: {problem}; the connection is closed");
    drop(peer);
    assert_eq!(events.recv().await, Some(Event::Connected(id + 1)));
    assert_eq!(events.recv().await, Some(Event::Failed(id + 1, failure)));
    assert_eq!(events.recv().await, Some(Event::Closed(id + 1)));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (listener, mut events) = Events::new();
    let config = RemotingServerConfig {
        server_channel_max_idle_time_seconds: 1,
        ..local()
    };
    let server = RemotingServer::bind(config).await.unwrap();
    let server = server.handlers(echo()).listener(listener).start();
    let mut peer = Peer::connect(server.local_addr()).await;
    let bytes = frame(&request(ECHO), b"");
    peer.send(&bytes).await;
    peer.receive().await.unwrap();
    let id = server.connections()[0].id();
    // Bytes of a frame that never becomes whole don't count.
    peer.send(&bytes[..20]).await;
    assert!(peer.receive().await.is_none());
    drop(peer);
    assert_eq!(events.recv().await, Some(Event::Connected(id)));
    assert_eq!(events.recv().await, Some(Event::Idle(id)));
    assert_eq!(events.recv().await, Some(Event::Closed(id)));
}

#[tokio::test]
async fn a_connection_that_does_not_say_what_it_wants_is_closed() {
    let config = RemotingServerConfig {
        server_handshake_timeout_seconds: 1,
        server_channel_max_idle_time_seconds: 1,
        proxy_protocol_from: "127.0.0.1".into(),
        ..local()
    };
    let server = RemotingServer::bind(config).await.unwrap();
    let server = server.handlers(echo()).start();
    let mut silent = Vec::new();
    for start in [
        &b""[..],
        // Frames, TLS, a proxy's header and nothing behind it, WebSocket, HTTP/1.1, HTTP/2 before
        // and behind its preface.
        &[0, 0, 0],
        &[0x16, 3, 1, 1, 0, 1],
        b"PROXY TCP4 1",
        V2,
        b"GET / HTTP/1.1\r\nupgrade: websocket\r\n",
        b"POST /v1/commands/SEND_MESSAGE HTTP/1.1\r\nhost",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(start).await.unwrap();
        silent.push((start, stream));
    }
    for (start, mut stream) in silent {
        let mut told = Vec::new();
        let end = tokio::time::timeout(LONG, stream.read_to_end(&mut told));
        // It may be reset.
        let ended = end.await.map(drop);
        assert!(ended.is_ok(), "behind \"{}\"", start.escape_ascii());
    }
}
