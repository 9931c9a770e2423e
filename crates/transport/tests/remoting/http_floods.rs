//! Peers of HTTP/2 that write each frame by themselves: floods, slow readers, and those that are
//! silent. Another client is served beside each.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kerolox_transport::{
    BoxFuture, Http2, HttpPeer, HttpService, RemotingServer, RemotingServerConfig, RequestBody,
    ResponseBody,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::http::{call, connect, serve};
use crate::peer::{self, ECHO, LONG, echo, local, request};

/// Never answers, and does not read.
struct Silent;

impl HttpService for Silent {
    fn serves(&self, head: &http::request::Parts) -> bool {
        head.uri.path() == "/v1/waiting"
    }

    fn call(
        &self,
        request: Request<RequestBody>,
        _: HttpPeer,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        Box::pin(async {
            let _unread = request;
            std::future::pending().await
        })
    }
}

/// Answers everything with this many bytes.
struct Large(usize);

impl HttpService for Large {
    fn serves(&self, head: &http::request::Parts) -> bool {
        head.uri.path() == "/v1/largest"
    }

    fn call(
        &self,
        _: Request<RequestBody>,
        _: HttpPeer,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        let body = Full::new(Bytes::from(vec![0; self.0]));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        Box::pin(std::future::ready(Response::new(body)))
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// More than a peer may have on the way, and the system keeps in its buffers.
const MUCH: usize = 64 * 1024 * 1024;

/// The head of a POST to a path of eleven bytes.
fn head(path: &[u8; 11]) -> Vec<u8> {
    [&[0x83, 0x86, 0x44, 11], &path[..]].concat()
}

/// The kind, flags and payload of the next frame; `None` at the end.
async fn next_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], payload))
}

/// All frames that are left, up to the end.
async fn frames(stream: &mut TcpStream) -> Vec<(u8, u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let reading = async {
        while let Some(frame) = next_frame(stream).await {
            frames.push(frame);
        }
    };
    let ended = tokio::time::timeout(LONG, reading).await;
    ended.expect("the connection ends");
    frames
}

/// Why the last GOAWAY was sent.
fn why(frames: &[(u8, u8, Vec<u8>)]) -> Option<u32> {
    let goaway = frames.iter().rfind(|(kind, ..)| *kind == GOAWAY);
    // The last stream stands before.
    goaway.map(|(.., payload)| u32::from_be_bytes(*payload[4..].first_chunk().unwrap()))
}

const CALM: u32 = 0xb;

/// Begins a connection, and writes what `flood` makes of a number that grows until the server
/// closes the connection; what the server wrote meanwhile. Another client is served.
async fn flood(
    server: &RemotingServer,
    begin: &[u8],
    flood: impl Fn(u32) -> Vec<u8>,
) -> Vec<(u8, u8, Vec<u8>)> {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let start = [PREFACE, &frame(SETTINGS, 0, 0, b""), begin].concat();
    stream.write_all(&start).await.unwrap();
    let other = connect(server).await;
    assert_eq!(call(&other, "SEND_MESSAGE", "{}").await.0, 200);
    let (mut reading, mut writing) = stream.split();
    let mut received = Vec::new();
    let write = async {
        for number in 0.. {
            if writing.write_all(&flood(number)).await.is_err() {
                return;
            }
        }
    };
    let exchange = async {
        let mut read = pin!(reading.read_to_end(&mut received));
        // A connection that is reset has ended as well.
        tokio::select! {
            _ = &mut read => {}
            () = write => drop(read.await),
        }
    };
    let exchange = tokio::time::timeout(LONG, exchange);
    let (ended, (status, _)) = tokio::join!(exchange, call(&other, "SEND_MESSAGE", "{}"));
    ended.expect("the connection ends");
    assert_eq!(status, 200);
    let mut frames = Vec::new();
    let mut rest = &received[..];
    while let [a, b, c, kind, flags, _, _, _, _, ..] = *rest {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let Some(payload) = rest.get(9..9 + length) else {
            break;
        };
        frames.push((kind, flags, payload.to_vec()));
        rest = &rest[9 + length..];
    }
    frames
}

#[tokio::test]
async fn a_peer_that_resets_what_it_opens_is_told_to_calm_down() {
    let server = serve().await;
    let told = flood(&server, b"", reset).await;
    assert_eq!(why(&told), Some(CALM), "{told:?}");
}

/// Opens an exchange and resets it.
fn reset(number: u32) -> Vec<u8> {
    let stream = number * 2 + 1;
    let open = frame(HEADERS, END_HEADERS, stream, &head(b"/v1/frames/"));
    [open, frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
}

#[tokio::test]
async fn a_flood_of_frames_ends_its_connection_in_the_manner_of_http_2() {
    let server = RemotingServer::bind(local()).await.unwrap();
    let silent = Arc::new(Http2::new().service(Arc::new(Silent)));
    let server = server.handlers(echo()).protocol(silent).start();
    let post = head(b"/v1/frames/");
    let open = frame(HEADERS, END_HEADERS, 1, &post);
    // An exchange of frames stays open.
    let path = [&[0x83, 0x86, 0x44, 10][..], b"/v1/frames"].concat();
    let frames_open = frame(HEADERS, END_HEADERS, 1, &path);
    let many = |one: Vec<u8>| one.repeat(1000);
    let dependency = [0, 0, 0, 0, 15];
    const PROTOCOL: u32 = 1;
    const FLOW: u32 = 3;
    const SIZE: u32 = 6;
    let floods: [(_, Vec<u8>, Vec<u8>, &[u32]); 14] = [
        (
            "settings",
            vec![],
            many(frame(SETTINGS, 0, 0, b"")),
            &[CALM],
        ),
        ("pings", vec![], many(frame(PING, 0, 0, &[0; 8])), &[CALM]),
        ("pongs", vec![], many(frame(PING, ACK, 0, &[0; 8])), &[CALM]),
        (
            "priorities",
            vec![],
            many(frame(PRIORITY, 0, 3, &dependency)),
            &[CALM],
        ),
        (
            "unknown frames",
            vec![],
            many(frame(99, 0, 0, b"?")),
            &[CALM],
        ),
        (
            "resets of what is over",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &post),
            many(frame(RESET, 0, 1, &[0, 0, 0, 8])),
            &[CALM],
        ),
        (
            "an endless head",
            frame(HEADERS, 0, 1, &post),
            frame(CONTINUATION, 0, 1, &[0x90; 1000]),
            &[CALM],
        ),
        (
            "heads of nothing",
            frame(HEADERS, 0, 1, &post),
            frame(CONTINUATION, 0, 1, b""),
            &[CALM],
        ),
        (
            "empty data",
            frames_open.clone(),
            frame(DATA, 0, 1, b""),
            &[CALM],
        ),
        (
            "more data than the window",
            frame(HEADERS, END_HEADERS, 1, &head(b"/v1/waiting")),
            frame(DATA, 0, 1, &[0; 16_384]),
            &[CALM, FLOW],
        ),
        (
            "a frame that is too long",
            vec![],
            frame(DATA, 0, 1, &[0; 100_000]),
            &[SIZE],
        ),
        (
            "windows of no size",
            open.clone(),
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            &[PROTOCOL],
        ),
        (
            "windows beyond all bounds",
            open,
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            &[FLOW],
        ),
        (
            "a reset of nothing",
            vec![],
            frame(RESET, 0, 1, &[0; 4]),
            &[PROTOCOL],
        ),
    ];
    for (name, begin, repeat, wanted) in floods {
        let told = flood(&server, &begin, |_| repeat.clone()).await;
        let why = why(&told);
        assert!(
            why.is_some_and(|it| wanted.contains(&it)),
            "{name}: {told:?}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_floods_and_reads_late_still_reads_why() {
    let server = serve().await;
    let socket = TcpSocket::new_v4().unwrap();
    // So little that the last words wait on the server's side.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.local_addr()).await.unwrap();
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(1000);
    let resets: Vec<u8> = (0..1000).flat_map(reset).collect();
    let start = [PREFACE, &frame(SETTINGS, 0, 0, b""), &pings, &resets].concat();
    stream.write_all(&start).await.unwrap();
    // The server has ended it when it serves another.
    let other = connect(&server).await;
    assert_eq!(call(&other, "SEND_MESSAGE", "{}").await.0, 200);
    assert_eq!(why(&frames(&mut stream).await), Some(CALM));
}

#[tokio::test]
async fn a_flood_whose_peer_does_not_read_is_not_read_either_and_ends() {
    let server = serve().await;
    let other = connect(&server).await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let start = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    stream.write_all(&start).await.unwrap();
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(1000);
    let mut written = 0;
    let writing = async {
        while stream.write_all(&pings).await.is_ok() {
            written += pings.len();
        }
    };
    let (ended, (status, _)) = tokio::join!(
        tokio::time::timeout(LONG, writing),
        call(&other, "SEND_MESSAGE", "{}")
    );
    ended.expect("the connection ends");
    assert_eq!(status, 200);
    assert!(written < 2 * MUCH, "{written} bytes were taken");
}

/// A server that keeps its peers waiting for one second only.
async fn impatient(service: Arc<dyn HttpService>) -> RemotingServer {
    let config = RemotingServerConfig {
        server_channel_max_idle_time_seconds: 1,
        ..local()
    };
    let server = RemotingServer::bind(config).await.unwrap();
    let http = Arc::new(Http2::new().service(service));
    server.handlers(echo()).protocol(http).start()
}

#[tokio::test]
async fn what_a_peer_does_not_take_is_given_up_and_meanwhile_bounded() {
    let server = impatient(Arc::new(Large(1024 * 1024))).await;
    // SETTINGS_INITIAL_WINDOW_SIZE
    for window in [0, 100_u32] {
        let window = [&[0, 4][..], &window.to_be_bytes()].concat();
        let asked = peer::frame(&request(ECHO), &[0; 10_000]);
        let path = [&[0x83, 0x86, 0x44, 10][..], b"/v1/frames"].concat();
        let largest = head(b"/v1/largest");
        for (open, data) in [
            (frame(HEADERS, END_HEADERS, 1, &path), Some(asked)),
            (frame(HEADERS, END_HEADERS | END_STREAM, 1, &largest), None),
        ] {
            let stream = TcpStream::connect(server.local_addr()).await.unwrap();
            let (mut reading, mut writing) = stream.into_split();
            let known = frame(SETTINGS, ACK, 0, b"");
            let start = [PREFACE, &frame(SETTINGS, 0, 0, &window), &known, &open].concat();
            writing.write_all(&start).await.unwrap();
            let mut written = 0;
            // As much as the server gives a window for, and no more.
            if let Some(asked) = data {
                let asked = frame(DATA, 0, 1, &asked);
                while written + asked.len() < 1024 * 1024 {
                    writing.write_all(&asked).await.unwrap();
                    written += asked.len();
                }
            }
            let mut windows = 0;
            let waiting = async {
                while let Some((kind, flags, payload)) = next_frame(&mut reading).await {
                    match kind {
                        RESET => break,
                        PING if flags == 0 => {
                            let pong = frame(PING, ACK, 0, &payload);
                            writing.write_all(&pong).await.unwrap();
                        }
                        WINDOW_UPDATE => {
                            windows += u32::from_be_bytes(*payload.first_chunk().unwrap()) as usize;
                        }
                        _ => {}
                    }
                }
            };
            let waiting = tokio::time::timeout(LONG, waiting);
            let other = connect(&server).await;
            let (ended, (status, _)) = tokio::join!(waiting, call(&other, "SEND_MESSAGE", "{}"));
            ended.expect("the exchange is reset");
            assert_eq!(status, 200);
            assert!(windows < MUCH, "a window of {windows} bytes more");
        }
    }
}

#[tokio::test]
async fn a_peer_that_is_gone_is_found_out_by_pings_and_an_idle_one_is_sent_away() {
    let server = impatient(Arc::new(Silent)).await;
    let open = frame(HEADERS, END_HEADERS, 1, &head(b"/v1/waiting"));
    for (exchange, wanted) in [(&open[..], PING), (b"", GOAWAY)] {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let start = [PREFACE, &frame(SETTINGS, 0, 0, b""), exchange].concat();
        stream.write_all(&start).await.unwrap();
        let mut told = Vec::new();
        let reading = async {
            while let Some((kind, flags, payload)) = next_frame(&mut stream).await {
                told.push(kind);
                // Three times it is still there.
                if (kind, flags) == (PING, 0) && told.iter().filter(|it| **it == PING).count() <= 3
                {
                    let pong = frame(PING, ACK, 0, &payload);
                    stream.write_all(&pong).await.unwrap();
                }
            }
        };
        tokio::time::timeout(LONG, reading).await.unwrap();
        assert!(told.contains(&wanted), "{told:?}");
        let pings = told.iter().filter(|it| **it == PING).count();
        assert!(wanted == GOAWAY || pings == 4, "{told:?}");
    }
}
