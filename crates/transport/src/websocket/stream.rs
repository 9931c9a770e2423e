//! A WebSocket as a stream of remoting frames.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::inbound::{Close, Inbound};
use super::outbound::Outbound;

/// Carries remoting frames, each as one binary message. A connection without traffic holds no
/// buffer here: what comes in is taken apart in the reader's buffer.
///
/// A peer that breaks the rules is read to the end of what was right. Then, when what waited has
/// been written, it is told in a close frame what was wrong.
pub(crate) struct WebSocketStream<S> {
    stream: S,
    inbound: Inbound,
    outbound: Outbound,
    ending: Ending,
    refused: Option<Refused>,
}

/// Called once with why a peer that breaks the rules is sent away.
type Refused = Box<dyn FnOnce(&'static str) + Send>;

/// How far the stream is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Open,
    /// A close frame waits or is written.
    Closed,
    /// Nothing more is sent.
    Finished,
}

impl<S> WebSocketStream<S> {
    /// The server's end, behind the handshake.
    pub(crate) fn server(stream: S, refused: impl FnOnce(&'static str) + Send + 'static) -> Self {
        Self {
            refused: Some(Box::new(refused)),
            ..Self::new(stream, true)
        }
    }

    /// The client's end, behind the handshake.
    pub(crate) fn client(stream: S) -> Self {
        Self::new(stream, false)
    }

    fn new(stream: S, serving: bool) -> Self {
        Self {
            stream,
            inbound: Inbound::new(serving),
            outbound: Outbound::new(!serving),
            ending: Ending::Open,
            refused: None,
        }
    }
}

impl<S> WebSocketStream<S> {
    /// Whether the peer has broken the rules.
    fn is_refused(&self) -> bool {
        self.inbound.over().is_some_and(|close| close.is_refusal())
    }
}

impl<S: AsyncWrite + Unpin> WebSocketStream<S> {
    /// Writes what waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = &mut self.outbound.waiting;
        ready!(pin!(self.stream.write_all_buf(waiting)).poll(cx))?;
        self.outbound.trim();
        Poll::Ready(Ok(()))
    }

    /// Takes what there is room for, and writes it if that can be done at once.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.outbound.has_room() {
            ready!(self.poll_drain(cx))?;
        }
        let mut taken = 0;
        for slice in slices {
            let part = self.outbound.take(slice);
            taken += part;
            if part < slice.len() {
                break;
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ending == Ending::Finished && this.is_refused() {
            // What still comes is nothing, but keeps the peer from reading why.
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        if !this.outbound.waiting.is_empty()
            && let Poll::Ready(Err(error)) = this.poll_drain(cx)
        {
            return Poll::Ready(Err(error));
        }
        while this.inbound.over().is_none() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let raw = &mut buf.filled_mut()[before..];
            if raw.is_empty() {
                break;
            }
            let kept = this.inbound.take(raw);
            buf.set_filled(before + kept);
            if let Some(ping) = this.inbound.take_ping() {
                this.outbound.pong(ping);
                if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
                    return Poll::Ready(Err(error));
                }
            }
            if kept > 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_take(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let close = this.inbound.over().unwrap_or(Close::NORMAL);
        if this.ending == Ending::Open {
            this.outbound.close(close);
            this.ending = Ending::Closed;
            if close.is_refusal()
                && let Some(refused) = this.refused.take()
            {
                refused(close.reason);
            }
        }
        if this.ending == Ending::Closed {
            ready!(this.poll_drain(cx))?;
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.ending = Ending::Finished;
        }
        Poll::Ready(Ok(()))
    }
}
