//! The protocol "websocket": remoting frames on a WebSocket (RFC 6455), for browsers and all that
//! may speak HTTP alone.
//!
//! A client asks for `GET /v1/frames` (or `/`) of HTTP/1.1 with `Upgrade: websocket`. Then each
//! binary message is one remoting frame, as it is on TCP, its length word included, both ways. A
//! message may come in fragments. Pings are answered; idle connections are closed as on TCP.
//!
//! | closed with | why |
//! |---|---|
//! | 1000 | the connection was closed in good order |
//! | 1002 | the peer broke the rules of WebSocket |
//! | 1003 | a message was text |
//! | 1007 | a message was not one whole remoting frame |
//! | 1009 | a message was longer than 16 MiB |
//!
//! Browsers say which page asks (`Origin`) and let any page ask anywhere. So pages of this machine
//! and of the host that is asked are served, others when `kerolox.webSocketOrigins` names them.

mod frame;
mod inbound;
mod outbound;
mod stream;

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout_at;

use crate::endpoint::Endpoint;
use crate::executor::BoxFuture;
use crate::farewell;
use crate::http::{FRAMES_PATH, head};
use crate::network::Link;
use crate::protocol::{Detection, Protocol, Refused};

pub(crate) use stream::WebSocketStream;

/// The subprotocol that a client may ask for.
const SUBPROTOCOL: &str = "remoting";

/// What a key is followed by before it is hashed (RFC 6455, section 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request to upgrade whose head is longer than this is told by its first line alone.
const LONG_HEAD: usize = 2048;

/// Frames on WebSockets.
#[derive(Debug, Clone)]
pub struct WebSocket {
    /// Other pages than those of this machine that may connect; `*` stands for all.
    origins: Vec<String>,
}

impl WebSocket {
    /// Serves programs, the pages of this machine, and those of these origins, joined by commas.
    pub fn new(origins: &str) -> Self {
        let origins = origins.split(',').map(str::trim);
        Self {
            origins: origins
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    async fn accept(&self, link: &mut Link) -> io::Result<Result<(), Refusal>> {
        let request = match head::read(&mut link.stream, &mut link.received, head::request).await {
            Ok(request) => request,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(Err(Refusal::new(400, error.to_string())));
            }
            Err(error) => return Err(error),
        };
        let answer = match self.check(&request) {
            Ok(key) => format!(
                "HTTP/1.1 101 Switching Protocols\r\n{UPGRADE}: websocket\r\n{CONNECTION}: Upgrade\r\n{}{SEC_WEBSOCKET_ACCEPT}: {}\r\n\r\n",
                chosen_subprotocol(request.headers()),
                accept_of(key.as_bytes()),
            ),
            Err(refusal) => return Ok(Err(refusal)),
        };
        link.stream.write_all(answer.as_bytes()).await?;
        link.stream.flush().await?;
        Ok(Ok(()))
    }

    /// Checks the request for a WebSocket; its key.
    fn check<'a>(&self, request: &'a Request<()>) -> Result<&'a HeaderValue, Refusal> {
        let headers = request.headers();
        let upgrade = head::names(headers, UPGRADE, "websocket");
        if request.method() != Method::GET || !upgrade {
            let text = format!("ask with GET and {UPGRADE}: websocket");
            return Err(Refusal::new(426, text));
        }
        if !matches!(request.uri().path(), "/" | FRAMES_PATH) {
            let text = format!("WebSockets are served at {FRAMES_PATH}");
            return Err(Refusal::new(404, text));
        }
        if headers
            .get(SEC_WEBSOCKET_VERSION)
            .is_none_or(|it| it != "13")
        {
            return Err(Refusal::new(426, "version 13 of WebSocket is served"));
        }
        if !self.is_welcome(headers) {
            let text = "pages of this origin are not served; add it to kerolox.webSocketOrigins";
            return Err(Refusal::new(403, text));
        }
        let missing = || Refusal::new(400, format!("{SEC_WEBSOCKET_KEY} is missing"));
        headers.get(SEC_WEBSOCKET_KEY).ok_or_else(missing)
    }

    /// Whether the page that asks may connect. Programs that are no browsers tell no page.
    fn is_welcome(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        if self
            .origins
            .iter()
            .any(|known| known == "*" || known == origin)
        {
            return true;
        }
        let uri: Uri = origin.parse().unwrap_or_default();
        let asked = headers.get(HOST).and_then(|host| host.to_str().ok());
        uri.authority().is_some_and(|authority| {
            matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]")
                || asked == Some(authority.as_str())
        })
    }
}

/// Why no WebSocket is opened, as a status of HTTP and words.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn new(status: u16, text: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        let text = text.into();
        Self { status, text }
    }

    /// Tells the peer.
    async fn tell(&self, link: Link) {
        let Self { status, text } = self;
        let length = text.len() + 1;
        let answer = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\n{UPGRADE}: websocket\r\n{SEC_WEBSOCKET_VERSION}: 13\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{text}\n"
        );
        farewell::tell(link.stream, answer.as_bytes()).await;
    }
}

/// The field that says yes to the subprotocol, if the client asks for it.
fn chosen_subprotocol(headers: &HeaderMap) -> String {
    match head::names(headers, SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        true => format!("{SEC_WEBSOCKET_PROTOCOL}: {SUBPROTOCOL}\r\n"),
        false => String::new(),
    }
}

/// What a server answers to a client's key.
fn accept_of(key: &[u8]) -> String {
    let text = [key, KEY_SUFFIX.as_bytes()].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// Whether a connection that begins like this asks for a WebSocket.
pub(crate) fn detect_upgrade(first: &[u8]) -> Detection {
    const GET: &[u8] = b"GET ";
    let compared = first.len().min(GET.len());
    if first[..compared] != GET[..compared] {
        return Detection::No;
    }
    match head::request(first) {
        Ok(Some((request, _))) if !head::names(request.headers(), UPGRADE, "websocket") => {
            Detection::No
        }
        Ok(None) if first.len() < LONG_HEAD => Detection::NeedMore,
        _ => Detection::Yes,
    }
}

impl Protocol for WebSocket {
    fn name(&self) -> &'static str {
        "websocket"
    }

    fn detect(&self, first: &[u8]) -> Detection {
        detect_upgrade(first)
    }

    fn serve(self: Arc<Self>, mut link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let (peer, deadline) = (link.peer, endpoint.deadline(&link));
            match timeout_at(deadline, self.accept(&mut link)).await {
                Ok(Ok(Ok(()))) => {
                    let (ends, stream) = link.split();
                    let site = Arc::clone(&endpoint);
                    let refused = move |why| site.log_refusal(peer, why);
                    let stream = WebSocketStream::server(stream, refused);
                    let (_, driver) = endpoint.open(ends.inner(stream));
                    driver.await;
                }
                Ok(Ok(Err(refusal))) => {
                    endpoint.log_refusal(peer, &refusal.text);
                    // Whoever does not read why has had the time to.
                    let _ = timeout_at(deadline, refusal.tell(link)).await;
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no WebSocket was opened"),
                Err(_) => tracing::debug!(%peer, "a handshake took too long"),
            }
        })
    }

    fn refuse(self: Arc<Self>, link: Link, why: Refused) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            Refusal::new(503, why.to_string()).tell(link).await;
        })
    }
}

/// Opens a WebSocket on a connection that was made to `host`, a host with or without a port.
///
/// # Errors
/// The stream failed or the server opens none.
pub(crate) async fn connect(mut link: Link, host: &str) -> io::Result<Link> {
    let mut key = [0; 16];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| io::Error::other("the system has no random numbers"))?;
    let key = STANDARD.encode(key);
    let request = format!(
        "GET {FRAMES_PATH} HTTP/1.1\r\n{HOST}: {host}\r\n{UPGRADE}: websocket\r\n{CONNECTION}: Upgrade\r\n{SEC_WEBSOCKET_KEY}: {key}\r\n{SEC_WEBSOCKET_VERSION}: 13\r\n\r\n"
    );
    link.stream.write_all(request.as_bytes()).await?;
    link.stream.flush().await?;
    let response = head::read(&mut link.stream, &mut link.received, head::response).await?;
    let wanted = accept_of(key.as_bytes());
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS
        || accepted.is_none_or(|accept| accept.as_bytes() != wanted.as_bytes())
    {
        let text = format!("the server opens no WebSocket: {}", response.status());
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
    }
    let (ends, stream) = link.split();
    Ok(ends.inner(WebSocketStream::client(stream)))
}
