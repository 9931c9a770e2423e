//! The protocol "http2": HTTP on a server's port.
//!
//! HTTP/2 is known by its preface, inside TLS as well (ALPN `h2`); HTTP/1.1 by a method, unless a
//! WebSocket is asked for. Both serve the same:
//!
//! | request | what |
//! |---|---|
//! | `POST /v1/commands/NAME` | one command as JSON, see [`commands`] |
//! | `GET /v1/commands` | what commands there are, with their fields |
//! | `POST /v1/frames` | HTTP/2 only: the bodies of request and answer are remoting frames, one behind the other, for as long as both like |
//! | what an [`HttpService`] serves | the calls of another crate |
//!
//! A command that comes as JSON, or in a frame, goes the way of those on TCP: it is served as a
//! request of a connection that belongs to the HTTP connection.

mod body;
mod commands;
mod frame_stream;
pub(crate) mod head;
mod http1;
mod http2;
mod http_stream;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub use body::RequestBody;
pub(crate) use http2::connect;

use self::commands::Commands;
use crate::endpoint::Endpoint;
use crate::executor::BoxFuture;
use crate::network::{ByteStream, Link};
use crate::protocol::{Detection, Protocol, Refused};
use crate::stack::Stack;
use crate::websocket::detect_upgrade;

/// Where frames are exchanged.
pub(crate) const FRAMES_PATH: &str = "/v1/frames";

/// Where commands are called.
const COMMANDS_PATH: &str = "/v1/commands";

/// The largest body of a request that is JSON: the largest frame in base64, and some.
const MAX_BODY: usize = 24 * 1024 * 1024;

/// All bodies that are being read take no more than this.
const MAX_BODIES: usize = 128 * 1024 * 1024;

/// The body of an answer, its trailers included.
pub type ResponseBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// The two ends of the connection that a request came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpPeer {
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
}

/// Serves HTTP requests of some kind on a server's port, over HTTP/1.1 and HTTP/2 alike, such as
/// the gRPC calls of 5.x clients.
pub trait HttpService: Send + Sync + 'static {
    /// Whether it serves a request with this head. Of several services the first that does gets
    /// the request; all are asked before the port's own paths.
    fn serves(&self, head: &http::request::Parts) -> bool;

    /// Serves a request. When the peer gives it up or leaves, the future and the body of the
    /// answer are dropped. The answer's body is asked for no more than the peer takes.
    fn call(
        &self,
        request: Request<RequestBody>,
        peer: HttpPeer,
    ) -> BoxFuture<'static, Response<ResponseBody>>;
}

/// HTTP/2, and the requests of HTTP/1.1 that are no WebSockets.
#[derive(Clone)]
pub struct Http2 {
    services: Vec<Arc<dyn HttpService>>,
    /// Whether frames and commands are served, too.
    commands: bool,
    /// Bytes of bodies that may still be read.
    bodies: Arc<Semaphore>,
}

impl Http2 {
    /// Serves frames and commands.
    pub fn new() -> Self {
        Self {
            services: Vec::new(),
            commands: true,
            bodies: Arc::new(Semaphore::new(MAX_BODIES)),
        }
    }

    /// Serves nothing but what this service does.
    pub fn only(service: Arc<dyn HttpService>) -> Self {
        Self {
            commands: false,
            ..Self::new().service(service)
        }
    }

    /// Has another crate serve requests.
    #[must_use]
    pub fn service(mut self, service: Arc<dyn HttpService>) -> Self {
        self.services.push(service);
        self
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self::new()
    }
}

impl Protocol for Http2 {
    fn name(&self) -> &'static str {
        "http2"
    }

    fn detect(&self, first: &[u8]) -> Detection {
        const STARTS: [&[u8]; 8] = [
            http2::PREFACE,
            b"POST ",
            b"PUT ",
            b"HEAD ",
            b"DELETE ",
            b"OPTIONS ",
            b"PATCH ",
            b"GET ",
        ];
        match Detection::by_start(first, &STARTS) {
            Detection::Yes => match detect_upgrade(first) {
                Detection::Yes => Detection::No,
                Detection::NeedMore => Detection::NeedMore,
                Detection::No => Detection::Yes,
            },
            other => other,
        }
    }

    fn serve(self: Arc<Self>, link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        let preface = link.received.starts_with(http2::PREFACE);
        let site = Arc::new(Site::new(self, &link, endpoint));
        if preface {
            Box::pin(http2::serve(site, link))
        } else {
            Box::pin(http1::serve(site, link))
        }
    }

    fn refuse(self: Arc<Self>, link: Link, why: Refused) -> BoxFuture<'static, ()> {
        if link.received.starts_with(http2::PREFACE) {
            Box::pin(http2::refuse(link, why))
        } else {
            Box::pin(http1::refuse(link, why))
        }
    }
}

/// What the requests of one HTTP connection have in common.
struct Site {
    http: Arc<Http2>,
    endpoint: Arc<Endpoint>,
    peer: HttpPeer,
    stack: Arc<Stack>,
    commands: Commands,
}

impl Site {
    fn new(http: Arc<Http2>, link: &Link, endpoint: Arc<Endpoint>) -> Self {
        let Link { peer, local, .. } = *link;
        Self {
            http,
            endpoint,
            peer: HttpPeer { peer, local },
            stack: Arc::clone(&link.stack),
            commands: Commands::default(),
        }
    }

    /// A connection inside of this one.
    fn link(&self, stream: impl ByteStream) -> Link {
        Link {
            stack: Arc::clone(&self.stack),
            ..Link::new(stream, self.peer.peer, self.peer.local)
        }
    }

    /// Answers a request.
    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let (head, body) = request.into_parts();
        let service = self.http.services.iter().find(|it| it.serves(&head));
        if let Some(service) = service {
            let request = Request::from_parts(head, body);
            return service.call(request, self.peer).await;
        }
        if !self.http.commands {
            return refuse(StatusCode::NOT_FOUND, "no commands are served on this port");
        }
        let path = head.uri.path();
        let name = path
            .strip_prefix(COMMANDS_PATH)
            .and_then(|rest| rest.strip_prefix('/'));
        match (&head.method, name) {
            (&Method::POST, Some(name)) => self.call(name, &head.headers, body).await,
            (&Method::GET | &Method::HEAD, None) if path == COMMANDS_PATH => {
                json(StatusCode::OK, commands::list())
            }
            (_, Some(_)) => refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "a command is called by POST",
            ),
            (_, None) if path == FRAMES_PATH => refuse(
                StatusCode::UPGRADE_REQUIRED,
                "frames are exchanged by a POST of HTTP/2, or on a WebSocket",
            ),
            _ => refuse(StatusCode::NOT_FOUND, "there is nothing at this path"),
        }
    }

    /// Calls a command.
    async fn call(
        &self,
        name: &str,
        headers: &http::HeaderMap,
        body: RequestBody,
    ) -> Response<ResponseBody> {
        // Pages of other origins can't send this type without being asked.
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if content_type.is_none_or(|it| !it.starts_with(b"application/json")) {
            let text = "a command is JSON: send content-type: application/json";
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        }
        match self.read(body).await {
            Ok((body, _permit)) => self.commands.call(self, name, &body).await,
            Err((status, text)) => refuse(status, text),
        }
    }

    /// Reads the whole body of a request.
    async fn read(
        &self,
        mut body: RequestBody,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), (StatusCode, &'static str)> {
        let mut whole = BytesMut::new();
        let mut permits: Option<OwnedSemaphorePermit> = None;
        let patience = self.endpoint.handshake_timeout();
        while let Some(frame) = timeout(patience, body.frame()).await.map_err(|_| {
            let text = "the body does not come";
            (StatusCode::REQUEST_TIMEOUT, text)
        })? {
            let broken = (StatusCode::BAD_REQUEST, "the body breaks off");
            let Ok(data) = frame.map_err(|_| broken)?.into_data() else {
                continue;
            };
            if whole.len() + data.len() > MAX_BODY {
                let text = "the body is longer than 24 MiB";
                return Err((StatusCode::PAYLOAD_TOO_LARGE, text));
            }
            let bodies = Arc::clone(&self.http.bodies);
            let Ok(permit) = bodies.try_acquire_many_owned(data.len() as u32) else {
                let text = "the server has no memory for more bodies now; send it again";
                return Err((StatusCode::SERVICE_UNAVAILABLE, text));
            };
            match &mut permits {
                Some(permits) => permits.merge(permit),
                None => permits = Some(permit),
            }
            whole.extend_from_slice(&data);
        }
        Ok((whole.freeze(), permits))
    }
}

/// A body that is whole already.
fn whole(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// An answer of JSON.
fn json(status: StatusCode, text: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// An answer that says why a request is not served.
fn refuse(status: StatusCode, why: impl Into<String>) -> Response<ResponseBody> {
    let text = serde_json::json!({ "error": why.into() });
    json(status, text.to_string())
}
