//! Requests of HTTP/1.1.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::head::MAX_HEAD;
use super::http_stream::HttpStream;
use super::{RequestBody, Site};
use crate::farewell;
use crate::network::Link;
use crate::protocol::Refused;

/// Serves the requests of a connection, one after the other, to its end.
pub(super) async fn serve(site: Arc<Site>, link: Link) {
    let service = service_fn(|request: Request<Incoming>| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request.map(RequestBody::http1)).await) }
    });
    // The time between two requests is limited by this as well.
    let patience = match site.endpoint.idle_limit() {
        Some(idle) => idle.min(site.endpoint.handshake_timeout()),
        None => site.endpoint.handshake_timeout(),
    };
    let (_, stream) = link.split();
    let serving = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.max(Duration::from_secs(1)))
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(HttpStream::new(stream)), service);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = site.endpoint.draining(&site.stack) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(peer = %site.peer.peer, %error, "an HTTP/1.1 connection failed");
    }
}

/// Tells that HTTP is not served.
pub(super) async fn refuse(link: Link, why: Refused) {
    let text = serde_json::json!({ "error": why.to_string() }).to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    farewell::tell(link.stream, answer.as_bytes()).await;
}
