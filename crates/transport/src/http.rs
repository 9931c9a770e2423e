//! HTTP on a server's port: commands as JSON, frames over HTTP/2, and what other crates serve.

mod body;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;

pub use body::RequestBody;

use crate::executor::BoxFuture;

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
