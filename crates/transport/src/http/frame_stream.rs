//! Remoting frames in the bodies of one HTTP/2 exchange.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::network::ByteStream;

/// The most that is given to HTTP/2 in one piece.
const MAX_PIECE: usize = 64 * 1024;

/// The stream of bytes that an exchange carries. What is not read is not acknowledged, so that
/// the peer stops sending.
pub(super) struct FrameStream {
    incoming: RecvStream,
    outgoing: SendStream<Bytes>,
    /// What came and has not been read.
    unread: Bytes,
    ended: bool,
    finished: bool,
    /// The connection of HTTP/2, where nobody else looks after it.
    connection: Option<Connection>,
}

/// A client's connection of HTTP/2.
type Connection = h2::client::Connection<Box<dyn ByteStream>, Bytes>;

impl FrameStream {
    pub(super) fn new(incoming: RecvStream, outgoing: SendStream<Bytes>) -> Self {
        Self {
            incoming,
            outgoing,
            unread: Bytes::new(),
            ended: false,
            finished: false,
            connection: None,
        }
    }

    /// The only exchange of a connection, which reads and writes whenever this does.
    pub(super) fn driving(mut self, connection: Connection) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Has the connection read and write what it can.
    fn drive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(ended) = Pin::new(connection).poll(cx)
        {
            self.connection = None;
            ended.map_err(broken)?;
        }
        Ok(())
    }
}

impl AsyncRead for FrameStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.drive(cx)?;
        let before = buf.filled().len();
        while buf.remaining() > 0 && !this.ended {
            if this.unread.is_empty() {
                match this.incoming.poll_data(cx) {
                    Poll::Ready(Some(data)) => this.unread = data.map_err(broken)?,
                    Poll::Ready(None) => this.ended = true,
                    Poll::Pending if buf.filled().len() > before => break,
                    Poll::Pending => return Poll::Pending,
                }
                continue;
            }
            let taken = this.unread.len().min(buf.remaining());
            buf.put_slice(&this.unread[..taken]);
            this.unread.advance(taken);
            let window = this.incoming.flow_control();
            window.release_capacity(taken).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FrameStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing.capacity() == 0 {
            // There may be room that the peer has told of.
            this.drive(cx)?;
        }
        let outgoing = &mut this.outgoing;
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let wanted = length.min(MAX_PIECE);
        outgoing.reserve_capacity(wanted);
        while outgoing.capacity() == 0 {
            match ready!(outgoing.poll_capacity(cx)) {
                Some(granted) => granted.map_err(broken)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let room = outgoing.capacity().min(wanted);
        let mut piece = BytesMut::with_capacity(room);
        for slice in slices {
            let left = room - piece.len();
            piece.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        outgoing.send_data(piece.freeze(), false).map_err(broken)?;
        Poll::Ready(Ok(room))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What the connection has no room for yet it writes by itself, or when this is read.
        Poll::Ready(self.get_mut().drive(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.finished, true) {
            this.outgoing
                .send_data(Bytes::new(), true)
                .map_err(broken)?;
        }
        Poll::Ready(this.drive(cx))
    }
}

impl Drop for FrameStream {
    fn drop(&mut self) {
        if !self.finished {
            self.outgoing.send_reset(Reason::CANCEL);
        }
    }
}

pub(super) fn broken(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()),
        false => io::Error::new(io::ErrorKind::ConnectionReset, error),
    }
}
