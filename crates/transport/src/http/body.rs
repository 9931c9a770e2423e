//! The bodies of requests.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// The body of a request, read as it comes: what is not read holds the peer back. Fails when the
/// peer breaks it off.
pub struct RequestBody(Inner);

enum Inner {
    Http1(Incoming),
    Http2 {
        stream: RecvStream,
        /// Whether only trailers may follow.
        data_ended: bool,
    },
}

impl RequestBody {
    pub(super) fn http1(incoming: Incoming) -> Self {
        Self(Inner::Http1(incoming))
    }

    pub(super) fn http2(stream: RecvStream) -> Self {
        Self(Inner::Http2 {
            stream,
            data_ended: false,
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Inner::Http1(incoming) => Pin::new(incoming).poll_frame(cx).map_err(io::Error::other),
            Inner::Http2 { stream, data_ended } => {
                if !*data_ended {
                    if let Some(data) = ready!(stream.poll_data(cx)) {
                        let data = data.map_err(io::Error::other)?;
                        // The peer may send as much again.
                        stream
                            .flow_control()
                            .release_capacity(data.len())
                            .map_err(io::Error::other)?;
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    *data_ended = true;
                }
                let trailers = ready!(stream.poll_trailers(cx)).map_err(io::Error::other)?;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Http1(incoming) => incoming.is_end_stream(),
            Inner::Http2 { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Http1(incoming) => incoming.size_hint(),
            Inner::Http2 { .. } => SizeHint::default(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody")
    }
}
