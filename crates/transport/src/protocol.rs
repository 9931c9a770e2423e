//! What a protocol is: a way to carry frames over a stream of bytes.

use std::fmt;
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::executor::BoxFuture;
use crate::network::Link;

/// What the first bytes of a connection say about a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detection {
    /// It is this protocol.
    Yes,
    /// It is another.
    No,
    /// More bytes are needed to tell.
    NeedMore,
}

impl Detection {
    /// Whether a connection whose first bytes are these starts with one of `starts`.
    pub fn by_start(first: &[u8], starts: &[&[u8]]) -> Self {
        if starts.iter().any(|start| first.starts_with(start)) {
            Self::Yes
        } else if starts.iter().any(|start| start.starts_with(first)) {
            Self::NeedMore
        } else {
            Self::No
        }
    }
}

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The protocol is switched off.
    Off,
    /// The server takes encrypted connections only (`tls.server.mode=enforcing`).
    NotEncrypted,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "this protocol is switched off here (kerolox.protocols)",
            Self::NotEncrypted => "only TLS is served here (tls.server.mode=enforcing)",
        })
    }
}

/// A way to carry frames. To add one: this trait, and one line where a server is built.
pub trait Protocol: Send + Sync + 'static {
    /// The name in settings, logs and metrics: lower-case letters and digits.
    fn name(&self) -> &'static str;

    /// Whether a connection that starts with these bytes, one at least, speaks this protocol.
    fn detect(&self, first: &[u8]) -> Detection;

    /// Serves a connection to its end. Who carries frames has [`Endpoint::open`] serve them: the
    /// stream itself, or one end of a pipe that frames are translated for. A layer such as TLS
    /// wraps the stream with [`Link::wrap`] and has [`Endpoint::serve`] tell what is inside.
    ///
    /// A protocol that holds a connection without an open one on it, as between two streams of
    /// HTTP/2, ends it when [`Endpoint::draining`] says so.
    fn serve(self: Arc<Self>, link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()>;

    /// Tells a peer in the protocol's own manner that it is not served. The connection is closed
    /// when the future ends, or after a few seconds; without this it is closed at once.
    fn refuse(self: Arc<Self>, link: Link, why: Refused) -> BoxFuture<'static, ()> {
        let _ = why;
        drop(link);
        Box::pin(std::future::ready(()))
    }
}
