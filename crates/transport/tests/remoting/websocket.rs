//! Frames on WebSockets, by the client of this crate and by one that writes each byte itself.

use std::sync::Arc;

use bytes::Bytes;
use kerolox_transport::{Body, RemotingServer, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::frame::MAX_FRAME_SIZE;
use wire::header::NoHeader;

use crate::peer::{ECHO, LONG, client, echo, frame, local, request};

const KEY: [u8; 4] = [1, 2, 3, 4];
const BINARY: u8 = 2;

async fn serve(origins: &str) -> RemotingServer {
    let server = RemotingServer::bind(local()).await.unwrap();
    let websocket = Arc::new(WebSocket::new(origins));
    server.handlers(echo()).protocol(websocket).start()
}

/// What the answer to a request for a WebSocket with these fields begins with.
async fn ask(server: &RemotingServer, path: &str, fields: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: broker:10911\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(answer).unwrap())
}

const FIELDS: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(crate) async fn open(server: &RemotingServer) -> TcpStream {
    let (stream, answer) = ask(server, "/v1/frames", FIELDS).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    // The example of RFC 6455, section 1.3.
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    stream
}

/// A masked frame.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&KEY);
    let masked = payload.iter().zip(KEY.iter().cycle());
    bytes.extend(masked.map(|(byte, key)| byte ^ key));
    bytes
}

/// The first byte of the next frame that the server sends, and its payload.
async fn receive(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let read = async {
        let first = stream.read_u8().await.unwrap();
        let length = match stream.read_u8().await.unwrap() {
            126 => stream.read_u16().await.unwrap().into(),
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        (first, payload)
    };
    tokio::time::timeout(LONG, read).await.unwrap()
}

#[tokio::test]
async fn frames_of_all_sizes_go_both_ways() {
    let server = serve("").await;
    let client = client();
    let address = format!("ws://{}", server.local_addr());
    let connection = client.connection(&address).await.unwrap();
    assert_eq!(connection.stack().name(), "websocket");
    let sizes = [0, 1, 90, 125, 126, 5000, 65_000, 70_000, 3_000_000];
    let body = |size: usize| Bytes::from((0..size).map(|it| it as u8).collect::<Vec<_>>());
    let sent = sizes.map(|size| {
        let body = Body::from(body(size));
        connection
            .start_request(request(ECHO), &NoHeader, body)
            .unwrap()
    });
    for (size, answer) in sizes.into_iter().zip(sent) {
        assert_eq!(answer.wait(LONG).await.unwrap().body, body(size));
    }
    client.shutdown().await;
    server.shutdown(LONG).await;
}

#[tokio::test]
async fn a_message_may_come_byte_by_byte_in_fragments_with_pings_between() {
    let server = serve("").await;
    let mut stream = open(&server).await;
    stream.set_nodelay(true).unwrap();
    let request = frame(&request(ECHO), b"in pieces");
    let (first, second) = request.split_at(3);
    let bytes = [
        masked(BINARY, first),
        masked(0x80 | 9, b"are you there"),
        masked(0, second),
        masked(0x80, b""),
    ];
    for byte in bytes.concat() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(
        receive(&mut stream).await,
        (0x80 | 10, b"are you there".to_vec())
    );
    let (kind, answer) = receive(&mut stream).await;
    assert_eq!(kind, 0x80 | BINARY, "one message, unmasked");
    assert!(answer.ends_with(b"in pieces"));
    let length = u32::from_be_bytes(answer[..4].try_into().unwrap());
    assert_eq!(length as usize, answer.len() - 4);

    stream
        .write_all(&masked(0x80 | 8, &1001_u16.to_be_bytes()))
        .await
        .unwrap();
    assert_eq!(receive(&mut stream).await.0, 0x80 | 8);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_breaks_the_rules_is_told_which_and_others_go_on() {
    let server = serve("").await;
    let good = client();
    let address = format!("ws://{}", server.local_addr());
    let whole = frame(&request(ECHO), b"");
    let announced = |length: u64| {
        let mut bytes = vec![0x80 | BINARY, 0x80 | 127];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&KEY);
        bytes
    };
    let mut unmasked = vec![0x80 | BINARY, whole.len() as u8];
    unmasked.extend_from_slice(&whole);
    let two_frames = [&whole[..], &whole[..]].concat();
    for (status, bytes) in [
        (1002, unmasked),
        (1002, masked(0xc0 | BINARY, &whole)),
        (1002, masked(0x83, &whole)),
        (1002, masked(0x80, &whole)),
        (1002, masked(9, b"a ping in fragments")),
        (1003, masked(0x81, b"text")),
        (1007, masked(0x80 | BINARY, &whole[..whole.len() - 1])),
        (1007, masked(0x80 | BINARY, &two_frames)),
        (1007, masked(0x80 | BINARY, b"")),
        (1009, announced(MAX_FRAME_SIZE as u64 + 1)),
        (1009, announced(u64::MAX)),
    ] {
        let mut stream = open(&server).await;
        // What is right and comes before is answered first.
        stream
            .write_all(&masked(0x80 | BINARY, &whole))
            .await
            .unwrap();
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(receive(&mut stream).await.0, 0x80 | BINARY);
        let (kind, payload) = receive(&mut stream).await;
        let told = u16::from_be_bytes(payload[..2].try_into().unwrap());
        assert_eq!((kind, told), (0x88, status), "{bytes:02x?}");
        drop(stream);
        let answer = good.request(&address, request(ECHO), &NoHeader, Body::from("on"), LONG);
        assert_eq!(answer.await.unwrap().body, "on");
    }
}

#[tokio::test]
async fn a_flood_of_pings_is_answered_with_few_pongs() {
    let server = serve("").await;
    let stream = open(&server).await;
    let (mut reading, mut writing) = stream.into_split();
    let flood = tokio::spawn(async move {
        let pings = masked(0x80 | 9, &[b'x'; 125]).repeat(500);
        for _ in 0..200 {
            writing.write_all(&pings).await.unwrap();
        }
        let last = frame(&request(ECHO), b"last");
        writing
            .write_all(&masked(0x80 | BINARY, &last))
            .await
            .unwrap();
        writing
    });
    let mut received = Vec::new();
    let answered = async {
        while !received.ends_with(b"last") {
            reading.read_buf(&mut received).await.unwrap();
        }
    };
    tokio::time::timeout(LONG, answered).await.unwrap();
    assert!(received.len() < 200 * 500 * 127 / 2, "{}", received.len());
    drop(flood.await.unwrap());
}

#[tokio::test]
async fn only_welcome_requests_get_a_websocket() {
    let server = serve("https://shop.example, http://other.example:81").await;
    for (status, path, fields) in [
        (101, "/v1/frames", ""),
        (101, "/", ""),
        (404, "/elsewhere", ""),
        (101, "/", "Origin: http://localhost:8000\r\n"),
        (101, "/", "Origin: http://broker:10911\r\n"),
        (101, "/", "Origin: https://shop.example\r\n"),
        (403, "/", "Origin: http://broker:80\r\n"),
        (403, "/", "Origin: http://localhost.example\r\n"),
        (403, "/", "Origin: null\r\n"),
    ] {
        let (_stream, answer) = ask(&server, path, &format!("{FIELDS}{fields}")).await;
        let start = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&start), "{path} {fields}: {answer}");
    }
    let (_stream, answer) = ask(&server, "/", "Sec-WebSocket-Version: 8\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    let (_stream, answer) = ask(&server, "/", "Sec-WebSocket-Version: 13\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n")
        .await
        .unwrap();
    let flood = [b"x-more: and more\r\n".repeat(1000), b"\r\n".to_vec()].concat();
    // The server may leave before all of it is written.
    let _ = stream.write_all(&flood).await;
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
}

#[tokio::test]
async fn a_websocket_that_is_switched_off_is_refused_in_http() {
    let server = serve("").await;
    server.protocols().switch("remoting").unwrap();
    let (_stream, answer) = ask(&server, "/", FIELDS).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let error = client()
        .connection(&format!("ws://{}", server.local_addr()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
}
