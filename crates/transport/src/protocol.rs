//! The protocols that a port speaks, told apart by the first bytes of a connection.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::AsyncReadExt;

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

/// A way to carry frames. To add one: this trait, and one line where a server is built.
pub trait Protocol: Send + Sync + 'static {
    /// The name in settings and logs.
    fn name(&self) -> &'static str;

    /// Whether a connection that starts with these bytes, one at least, speaks this protocol.
    fn detect(&self, first: &[u8]) -> Detection;

    /// Serves a connection to its end. A layer such as TLS wraps the stream and has
    /// [`Protocols::serve`] tell what is inside.
    fn serve(self: Arc<Self>, link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()>;
}

/// The protocols of a server, asked in their order.
#[derive(Clone, Default)]
pub struct Protocols {
    entries: Vec<Arc<dyn Protocol>>,
}

/// No protocol needs more bytes than this to be told.
const MAX_FIRST_BYTES: usize = 4096;

impl Protocols {
    /// Adds a protocol, in the place of one with the same name.
    pub fn add(&mut self, protocol: Arc<dyn Protocol>) {
        match self
            .entries
            .iter_mut()
            .find(|known| known.name() == protocol.name())
        {
            Some(known) => *known = protocol,
            None => self.entries.push(protocol),
        }
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.entries.iter().map(|protocol| protocol.name())
    }

    /// Reads until the protocol is known; `None` when it is none of these or the peer leaves.
    ///
    /// # Errors
    /// Reading failed.
    pub async fn detect(&self, link: &mut Link) -> io::Result<Option<Arc<dyn Protocol>>> {
        loop {
            if !link.received.is_empty() {
                let mut undecided = false;
                for protocol in &self.entries {
                    match protocol.detect(&link.received) {
                        Detection::Yes => return Ok(Some(Arc::clone(protocol))),
                        Detection::No => {}
                        Detection::NeedMore => undecided = true,
                    }
                }
                if !undecided || link.received.len() >= MAX_FIRST_BYTES {
                    return Ok(None);
                }
            }
            link.received.reserve(MAX_FIRST_BYTES);
            if link.stream.read_buf(&mut link.received).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Finds out the protocol of a connection and serves it to its end.
    pub async fn serve(&self, mut link: Link, endpoint: Arc<Endpoint>) {
        let limit = endpoint.handshake_timeout();
        let detected = tokio::select! {
            detected = tokio::time::timeout(limit, self.detect(&mut link)) => detected,
            () = endpoint.closing() => return,
        };
        match detected {
            Ok(Ok(Some(protocol))) => protocol.serve(link, endpoint).await,
            Ok(Ok(None)) if link.received.is_empty() => {}
            Ok(Ok(None)) => {
                tracing::warn!(
                    peer = %link.peer,
                    "a peer speaks none of the protocols {:?}; its connection is closed",
                    self.names().collect::<Vec<_>>()
                );
            }
            Ok(Err(error)) => tracing::debug!(peer = %link.peer, %error, "a connection failed"),
            Err(_) => tracing::debug!(peer = %link.peer, "a silent connection is closed"),
        }
    }
}

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
