//! Connections of HTTP/2: many exchanges at a time.
//!
//! What a connection may take is bounded: the exchanges at a time, the bytes on the way, the size
//! of heads, and resets. A peer that opens exchanges only to reset them (CVE-2023-44487), or
//! floods the connection with frames, is told `ENHANCE_YOUR_CALM` and its connection is closed. An
//! answer that its peer does not take is given up.
//!
//! A connection without exchanges is closed when it has been idle, and one whose peer does not answer
//! pings: half of it may be gone.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::frame_stream::{FrameStream, broken};
use super::head::MAX_HEAD;
use super::http_stream::HttpStream;
use super::{FRAMES_PATH, RequestBody, ResponseBody, Site};
use crate::farewell::{self, FAREWELL};
use crate::network::Link;
use crate::protocol::Refused;

/// What a connection begins with (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The type of a body of frames.
const FRAMES_TYPE: HeaderValue = HeaderValue::from_static("application/x-rocketmq-frames");

/// Exchanges of a connection at a time. A client of the gRPC API holds one open for each queue that
/// it waits for.
const MAX_STREAMS: u32 = 1024;

/// Bytes that a peer may have on the way: in one exchange, and in all of a connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// The longest frame of HTTP/2 that is taken.
const MAX_FRAME: u32 = 64 * 1024;

/// Bytes of an exchange that wait to be written.
const MAX_UNSENT: usize = 256 * 1024;

/// So many exchanges more than were finished may be reset.
const MAX_RESETS: i64 = 100;

/// So many resets may wait to be noticed here, and so many of the peer's errors may be answered.
const MAX_PENDING_RESETS: usize = 20;
const MAX_ERRORS: usize = 100;

/// With more exchanges at a time than this, each waits for a turn before it is served.
const FREE_EXCHANGES: usize = 16;

/// Serves the exchanges of a connection to its end.
pub(super) async fn serve(site: Arc<Site>, link: Link) {
    let deadline = site.endpoint.deadline(&link);
    let (_, stream) = link.split();
    let flooded = Arc::default();
    let stream = HttpStream::new(stream).watching(Arc::clone(&flooded));
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buffer_size(MAX_UNSENT)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_ERRORS))
        .handshake::<_, Bytes>(stream);
    // In memory of its own, which is free when the handshake is over.
    let shaken = Box::pin(timeout_at(deadline, handshake)).await;
    let served = match shaken.map(|shaken| shaken.map(Box::new)) {
        Ok(Ok(connection)) => accept(&site, connection, &flooded).await,
        Ok(Err(error)) => Err(error),
        Err(_) => return,
    };
    let peer = site.peer.peer;
    match served {
        Ok(()) => {}
        Err(error) if error.is_library() => {
            let text = format_args!("it breaks the rules of HTTP/2: {error}");
            site.endpoint.log_refusal(peer, text);
        }
        Err(error) => tracing::debug!(%peer, %error, "an HTTP/2 connection failed"),
    }
}

/// A connection with its peer.
type Connection = h2::server::Connection<HttpStream, Bytes>;

/// A request, and the way of its answer.
type Begun = (Request<RecvStream>, SendResponse<Bytes>);

/// Waits for the next exchange; `Err` says why the peer gets no more.
fn poll_exchange(
    connection: &mut Connection,
    flooded: &AtomicBool,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Result<Begun, h2::Error>>, &'static str>> {
    match connection.poll_accept(cx) {
        Poll::Pending if flooded.load(Ordering::Relaxed) => {
            Poll::Ready(Err("it floods the connection with frames"))
        }
        accepted => accepted.map(Ok),
    }
}

/// Tells the peer to calm down and ends the connection.
async fn calm_down(connection: &mut Connection) -> Result<(), h2::Error> {
    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    let closed = timeout(FAREWELL, poll_fn(|cx| connection.poll_closed(cx))).await;
    // A peer that takes nothing is left.
    closed.unwrap_or(Ok(()))
}

/// Accepts exchanges as long as the connection lives.
async fn accept(
    site: &Arc<Site>,
    mut connection: Box<Connection>,
    flooded: &AtomicBool,
) -> Result<(), h2::Error> {
    let allowance = Arc::new(AtomicI64::new(MAX_RESETS));
    let draining = site.endpoint.draining(&site.stack);
    tokio::pin!(draining);
    let mut ending = false;
    let mut pings = connection.ping_pong();
    let mut pinged = false;
    let mut busy_at = Instant::now();
    loop {
        let idle = site.endpoint.idle_limit();
        let accepted = tokio::select! {
            accepted = poll_fn(|cx| poll_exchange(&mut connection, flooded, cx)) => accepted,
            () = &mut draining, if !ending => {
                ending = true;
                busy_at = Instant::now();
                connection.graceful_shutdown();
                continue;
            }
            pong = poll_fn(|cx| poll_pong(&mut pings, cx)), if pinged => {
                pong?;
                pinged = false;
                continue;
            }
            () = sleep_until(busy_at + idle.unwrap_or_default()), if idle.is_some() => {
                busy_at = Instant::now();
                if Arc::strong_count(&allowance) == 1 {
                    if std::mem::replace(&mut ending, true) {
                        return Ok(());
                    }
                    connection.graceful_shutdown();
                } else if std::mem::replace(&mut pinged, true) {
                    tracing::debug!(peer = %site.peer.peer, "a peer answers no pings");
                    return Ok(());
                } else if let Some(pings) = &mut pings {
                    // An exchange may wait for long. Is there still somebody who does?
                    pings.send_ping(Ping::opaque())?;
                }
                continue;
            }
        };
        let why = match accepted {
            Ok(None) => return Ok(()),
            Ok(Some(exchange)) => {
                let exchange = exchange?;
                if allowance.load(Ordering::Relaxed) >= 0 {
                    busy_at = Instant::now();
                    begin(site, &allowance, exchange);
                    continue;
                }
                "it resets what it opens"
            }
            Err(why) => why,
        };
        site.endpoint.log_refusal(site.peer.peer, why);
        return calm_down(&mut connection).await;
    }
}

/// Serves an exchange in a task of its own.
fn begin(site: &Arc<Site>, allowance: &Arc<AtomicI64>, exchange: Begun) {
    let (request, respond) = exchange;
    let exchange = Exchange {
        respond,
        takes_turn: Arc::strong_count(allowance) > FREE_EXCHANGES,
        allowance: Arc::clone(allowance),
        finished: false,
    };
    tokio::spawn(exchange.serve(Arc::clone(site), request));
}

fn poll_pong(pings: &mut Option<PingPong>, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
    match pings {
        Some(pings) => pings.poll_pong(cx).map_ok(drop),
        None => Poll::Pending,
    }
}

/// One request and its answer.
struct Exchange {
    respond: SendResponse<Bytes>,
    takes_turn: bool,
    /// How many resets more the connection is allowed.
    allowance: Arc<AtomicI64>,
    finished: bool,
}

impl Exchange {
    async fn serve(mut self, site: Arc<Site>, request: Request<RecvStream>) {
        let served = self.answer(&site, request).await;
        self.finished = served.is_ok();
        if let Err(error) = served {
            tracing::debug!(peer = %site.peer.peer, %error, "an exchange of HTTP/2 failed");
        }
    }

    async fn answer(
        &mut self,
        site: &Arc<Site>,
        request: Request<RecvStream>,
    ) -> Result<(), h2::Error> {
        if self.takes_turn {
            tokio::select! {
                turn = site.stack.turn() => drop(turn),
                reset = poll_fn(|cx| self.respond.poll_reset(cx)) => return Err(reset?.into()),
            }
        }
        let asks_for_frames =
            request.method() == Method::POST && request.uri().path() == FRAMES_PATH;
        if asks_for_frames && site.http.commands {
            let mut response = Response::new(());
            response.headers_mut().insert(CONTENT_TYPE, FRAMES_TYPE);
            let outgoing = self.respond.send_response(response, false)?;
            let stream = FrameStream::new(request.into_body(), outgoing);
            let (_, driver) = site.endpoint.open(site.link(stream));
            driver.await;
            return Ok(());
        }
        // In memory of its own: an exchange of frames does not need it.
        let answer = Box::pin(site.answer(request.map(RequestBody::http2)));
        let response = tokio::select! {
            response = answer => response,
            reset = poll_fn(|cx| self.respond.poll_reset(cx)) => return Err(reset?.into()),
        };
        let (head, body) = response.into_parts();
        let ended = body.is_end_stream();
        let head = Response::from_parts(head, ());
        let outgoing = self.respond.send_response(head, ended)?;
        if ended {
            return Ok(());
        }
        send(body, outgoing, site.endpoint.stuck_limit()).await
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.finished {
            let earned = |allowed: i64| (allowed < MAX_RESETS).then_some(allowed + 1);
            // At the most there is nothing to earn.
            let _ = self
                .allowance
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
        } else {
            self.allowance.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Sends the body of an answer as fast as the peer takes it, unless it takes nothing for so long.
async fn send(
    mut body: ResponseBody,
    mut outgoing: SendStream<Bytes>,
    patience: Duration,
) -> Result<(), h2::Error> {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            reset = poll_fn(|cx| outgoing.poll_reset(cx)) => return Err(reset?.into()),
        };
        let Some(frame) = frame else {
            return outgoing.send_data(Bytes::new(), true);
        };
        let Ok(frame) = frame else {
            outgoing.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    outgoing.reserve_capacity(data.len());
                    let granted = timeout(patience, poll_fn(|cx| outgoing.poll_capacity(cx)));
                    let Ok(granted) = granted.await else {
                        outgoing.send_reset(Reason::CANCEL);
                        return Err(Reason::CANCEL.into());
                    };
                    let room = granted.unwrap_or(Err(Reason::STREAM_CLOSED.into()))?;
                    let piece = data.split_to(room.min(data.len()));
                    let last = data.is_empty() && body.is_end_stream();
                    outgoing.send_data(piece, last)?;
                    if last {
                        return Ok(());
                    }
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return outgoing.send_trailers(trailers);
                }
            }
        }
    }
}

/// Tells that HTTP/2 is not served: SETTINGS, then GOAWAY with the reason in words.
pub(super) async fn refuse(link: Link, why: Refused) {
    let code = match why {
        Refused::Off => Reason::NO_ERROR,
        Refused::NotEncrypted => Reason::INADEQUATE_SECURITY,
    };
    let text = why.to_string();
    let mut answer = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    answer.extend_from_slice(&(text.len() as u32 + 8).to_be_bytes()[1..]);
    answer.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    answer.extend_from_slice(&u32::from(code).to_be_bytes());
    answer.extend_from_slice(text.as_bytes());
    farewell::tell(link.stream, &answer).await;
}

/// Begins an exchange of frames on a connection that was made to `host`, a host with or without
/// a port.
///
/// # Errors
/// The stream failed, or the server does not speak HTTP/2 or exchange frames.
pub(crate) async fn connect(link: Link, scheme: &str, host: &str) -> io::Result<Link> {
    let (ends, stream) = link.split();
    let (client, mut connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buffer_size(MAX_UNSENT)
        .enable_push(false)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(broken)?;
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(host)
        .path_and_query(FRAMES_PATH);
    let mut request = Request::new(());
    *request.uri_mut() = uri.build().map_err(io::Error::other)?;
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().insert(CONTENT_TYPE, FRAMES_TYPE);
    let begin = async {
        let mut client = client.ready().await?;
        let (response, outgoing) = client.send_request(request, false)?;
        Ok((response.await?, outgoing))
    };
    let begun = tokio::select! {
        begun = begin => begun,
        closed = &mut connection => Err(closed.err().unwrap_or(Reason::NO_ERROR.into())),
    };
    let (response, outgoing) = begun.map_err(broken)?;
    if response.status() != StatusCode::OK {
        let text = format!("the server exchanges no frames: {}", response.status());
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
    }
    let stream = FrameStream::new(response.into_body(), outgoing);
    Ok(ends.inner(stream.driving(connection)))
}
