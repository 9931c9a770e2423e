//! TLS as a stream: the rules are those of `rustls`, the buffers are here.
//!
//! A connection without traffic holds no buffer, and one with much of it reads and writes many
//! records at a time. So `rustls` is used by its unbuffered interface: its other one keeps 4 KiB
//! for each connection and reads no more than that at once.

use std::io;
use std::ops::DerefMut;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedConnectionCommon, UnbufferedStatus,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// So much is read at once.
const READ: usize = 64 * 1024;

/// So many bytes wait to be written before no more are taken.
const ROOM: usize = 64 * 1024;

/// A record has so many bytes of content at most, and so many more around it in every version.
const CONTENT: usize = 16 * 1024;
const AROUND: usize = 64;

/// One side of a TLS connection.
pub(super) trait Session:
    DerefMut<Target = UnbufferedConnectionCommon<Self::Side>> + Send + Unpin + 'static
{
    type Side;

    /// Takes the records that came until there is something to do.
    fn process<'s, 'i>(
        &'s mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'s, 'i, Self::Side>;
}

impl Session for UnbufferedServerConnection {
    type Side = ServerConnectionData;

    fn process<'s, 'i>(
        &'s mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'s, 'i, Self::Side> {
        self.process_tls_records(incoming)
    }
}

impl Session for UnbufferedClientConnection {
    type Side = ClientConnectionData;

    fn process<'s, 'i>(
        &'s mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'s, 'i, Self::Side> {
        self.process_tls_records(incoming)
    }
}

/// The bytes inside of a TLS connection.
pub(super) struct TlsStream<S, C> {
    stream: S,
    session: C,
    /// Records that came and have not been taken, the last one not whole yet.
    incoming: BytesMut,
    /// What was in records and has not been read.
    unread: BytesMut,
    /// Records that wait to be written.
    outgoing: BytesMut,
    /// The peer has said that it sends no more, or what it sent was wrong.
    ended: bool,
    /// This side has said that it sends no more, or why.
    finished: bool,
}

/// What is to be done once the records that came have been taken.
#[derive(Clone, Copy)]
enum Wish<'a> {
    Nothing,
    Send(&'a [u8]),
    /// To say that no more is sent.
    Finish,
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: Session> TlsStream<S, C> {
    /// Sets up TLS.
    ///
    /// # Errors
    /// The stream failed, or the two sides do not agree.
    pub(super) async fn shake_hands(stream: S, session: C) -> io::Result<Self> {
        let mut this = Self {
            stream,
            session,
            incoming: BytesMut::new(),
            unread: BytesMut::new(),
            outgoing: BytesMut::new(),
            ended: false,
            finished: false,
        };
        std::future::poll_fn(|cx| this.poll_handshake(cx)).await?;
        Ok(this)
    }

    /// What was agreed on.
    pub(super) fn session(&self) -> &C {
        &self.session
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Err(error) = self.process(Wish::Nothing) {
                // A peer that does not take the alert is not waited for.
                let _ = self.poll_drain(cx);
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_drain(cx))?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Reads more records.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.reserve(READ);
        match pin!(self.stream.read_buf(&mut self.incoming)).poll(cx) {
            Poll::Ready(Ok(0)) => {
                let text = "the peer closed a connection of TLS without saying so";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)))
            }
            Poll::Ready(read) => Poll::Ready(read.map(drop)),
            Poll::Pending => {
                if self.incoming.is_empty() {
                    self.incoming = BytesMut::new();
                }
                Poll::Pending
            }
        }
    }

    /// Takes all whole records that came, does what they ask for, and then what is wished. Tells
    /// whether that could be done: neither before the handshake has come far enough, nor when both
    /// sides have said that they send no more.
    fn process(&mut self, wish: Wish<'_>) -> io::Result<bool> {
        loop {
            let UnbufferedStatus { mut discard, state } = self.session.process(&mut self.incoming);
            let done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(broken)?;
                        self.unread.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let encoded = fill(&mut self.outgoing, 0, |room| data.encode(room));
                    encoded.map_err(broken)?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It is written with what follows.
                    data.done();
                    None
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let out = &mut self.outgoing;
                    let done = match wish {
                        Wish::Nothing => Ok(()),
                        Wish::Send(content) => {
                            let records = content.len().div_ceil(CONTENT);
                            let most = content.len() + records * AROUND;
                            fill(out, most, |room| traffic.encrypt(content, room))
                        }
                        Wish::Finish => fill(out, AROUND, |room| traffic.queue_close_notify(room)),
                    };
                    done.map_err(broken)?;
                    Some(true)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    None
                }
                Ok(ConnectionState::Closed | ConnectionState::BlockedHandshake) => Some(false),
                Ok(_) => return Err(broken("early data was not offered")),
                Err(error) => {
                    self.incoming.advance(discard);
                    self.tell_of_failure();
                    return Err(broken(error));
                }
            };
            self.incoming.advance(discard);
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }

    /// Readies the alert that a failure asks for. Nothing more is taken from there on.
    fn tell_of_failure(&mut self) {
        while self.session.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(mut alert)) =
                self.session.process(&mut self.incoming).state
        {
            // There is nobody to tell of a second failure.
            let _ = fill(&mut self.outgoing, 0, |room| alert.encode(room));
        }
        (self.ended, self.finished) = (true, true);
    }

    /// Writes what waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(pin!(self.stream.write_all_buf(&mut self.outgoing)).poll(cx))?;
        self.outgoing = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

/// Has something written behind what waits, which takes no more than `most` bytes, or else says
/// how much it takes.
fn fill<E: Insufficient>(
    outgoing: &mut BytesMut,
    most: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let start = outgoing.len();
    outgoing.resize(start + most, 0);
    let mut written = write(&mut outgoing[start..]);
    if let Err(Some(size)) = written.as_ref().map_err(E::required) {
        outgoing.resize(start + size, 0);
        written = write(&mut outgoing[start..]);
    }
    outgoing.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(drop)
}

/// An error that may say how much room was wanted.
trait Insufficient {
    fn required(&self) -> Option<usize>;
}

impl Insufficient for EncodeError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(size) => Some(size.required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl Insufficient for EncryptError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(size) => Some(size.required_size),
            Self::EncryptExhausted => None,
        }
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: Session> AsyncRead for TlsStream<S, C> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() && !this.ended {
            let processed = this.process(Wish::Nothing);
            // Records may ask for an answer.
            if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
                return Poll::Ready(Err(error));
            }
            processed?;
            if this.unread.is_empty() && !this.ended {
                ready!(this.poll_receive(cx))?;
            }
        }
        let length = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread[..length]);
        this.unread.advance(length);
        if this.unread.is_empty() {
            this.unread = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: Session> AsyncWrite for TlsStream<S, C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.outgoing.len() >= ROOM {
            ready!(this.poll_drain(cx))?;
        }
        let mut taken = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            let room = ROOM.saturating_sub(this.outgoing.len());
            let content = &slice[..slice.len().min(room)];
            if content.is_empty() {
                break;
            }
            if !this.process(Wish::Send(content))? {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            taken += content.len();
            if content.len() < slice.len() {
                break;
            }
        }
        if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
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
        if !std::mem::replace(&mut this.finished, true) {
            this.process(Wish::Finish)?;
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::settings::{RemotingClientConfig, RemotingServerConfig};
    use crate::tls::{check, client};

    type Server = TlsStream<DuplexStream, UnbufferedServerConnection>;
    type Client = TlsStream<DuplexStream, UnbufferedClientConnection>;

    /// The ends of a connection on which so many bytes have room.
    async fn connect(room: usize) -> (Server, Client) {
        let server = Arc::new(check(&RemotingServerConfig::default()).unwrap());
        let server = UnbufferedServerConnection::new(server).unwrap();
        let client = Arc::new(client::config(&RemotingClientConfig::default()).unwrap());
        let name = ServerName::try_from("localhost").unwrap();
        let client = UnbufferedClientConnection::new(client, name).unwrap();
        let (ours, theirs) = duplex(room);
        let (server, client) = tokio::join!(
            TlsStream::shake_hands(ours, server),
            TlsStream::shake_hands(theirs, client),
        );
        (server.unwrap(), client.unwrap())
    }

    #[tokio::test]
    async fn content_of_any_size_passes_both_ways_whatever_the_stream_takes() {
        for room in [2000, 1_000_000] {
            let (mut server, mut client) = connect(room).await;
            for size in [1, CONTENT, CONTENT + 1, 3 * ROOM + 7] {
                let content: Vec<u8> = (0..size).map(|at| at as u8).collect();
                let echo = async {
                    let mut received = vec![0; size];
                    server.read_exact(&mut received).await.unwrap();
                    server.write_all(&received).await.unwrap();
                    server.flush().await.unwrap();
                };
                let ask = async {
                    client.write_all(&content).await.unwrap();
                    client.flush().await.unwrap();
                    let mut received = vec![0; size];
                    client.read_exact(&mut received).await.unwrap();
                    received
                };
                let ((), received) = tokio::join!(echo, ask);
                assert!(received == content, "{size} bytes, {room} at a time");
            }
        }
    }

    #[tokio::test]
    async fn an_idle_stream_holds_no_buffer() {
        let (mut server, mut client) = connect(1_000_000).await;
        client.write_all(&[1; 50_000]).await.unwrap();
        client.flush().await.unwrap();
        let mut received = [0; 50_000];
        server.read_exact(&mut received).await.unwrap();
        let mut more = [0; 10];
        let nothing = std::future::poll_fn(|cx| {
            let mut more = ReadBuf::new(&mut more);
            Poll::Ready(Pin::new(&mut server).poll_read(cx, &mut more).is_pending())
        });
        assert!(nothing.await);
        let buffers = [&server.incoming, &server.unread, &server.outgoing];
        assert_eq!(buffers.map(BytesMut::capacity), [0; 3]);
    }

    #[tokio::test]
    async fn an_end_that_was_announced_is_told_from_one_that_was_not() {
        let mut byte = [0];
        let (mut server, mut client) = connect(1000).await;
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut byte).await.unwrap(), 0);
        let (mut server, client) = connect(1000).await;
        drop(client);
        let error = server.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
