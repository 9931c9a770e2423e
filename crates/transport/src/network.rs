//! Listening and connecting, behind traits so that a simulated network can take the place of
//! sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

use crate::executor::BoxFuture;
use crate::places::Place;
use crate::stack::Stack;

/// Bytes in and out: a socket, or a layer upon one such as TLS.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}

/// A stream with its two ends, and what is known of it before it carries frames.
pub struct Link {
    /// The stream.
    pub stream: Box<dyn ByteStream>,
    /// The first bytes of the stream, read already.
    pub received: BytesMut,
    /// The other end. Peers on a Unix socket are this machine's address with port 0.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// The protocols that were found so far.
    pub stack: Arc<Stack>,
    /// When it must be known what the peer wants; `None` before that was asked.
    pub(crate) deadline: Option<Instant>,
    /// The protocols that are spoken here, outermost first, where they need not be found out.
    pub(crate) pins: Option<Arc<[String]>>,
    /// Its place among the server's connections.
    pub(crate) place: Option<Arc<Place>>,
}

impl Link {
    /// A stream that nothing is known of yet.
    pub fn new(stream: impl ByteStream, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            stream: Box::new(stream),
            received: BytesMut::new(),
            peer,
            local,
            stack: Arc::default(),
            deadline: None,
            pins: None,
            place: None,
        }
    }

    /// The same connection by another stream: one of many that are inside.
    pub fn inner(&self, stream: impl ByteStream) -> Self {
        Self {
            stream: Box::new(stream),
            received: BytesMut::new(),
            stack: Arc::clone(&self.stack),
            pins: self.pins.clone(),
            place: self.place.clone(),
            ..*self
        }
    }

    /// The same connection with its stream inside of another one, which a handshake may precede.
    /// What was read of the stream already comes first of what the new one reads.
    ///
    /// # Errors
    /// Those of `wrap`.
    pub async fn wrap<S: ByteStream, F>(
        self,
        wrap: impl FnOnce(Box<dyn ByteStream>) -> F,
    ) -> io::Result<Self>
    where
        F: Future<Output = io::Result<S>>,
    {
        let (ends, stream) = self.split();
        Ok(Self {
            stream: Box::new(wrap(stream).await?),
            ..ends
        })
    }

    /// The connection without its stream, and the stream with what was read of it in front.
    pub fn split(self) -> (Self, Box<dyn ByteStream>) {
        let Self {
            stream, received, ..
        } = self;
        let stream: Box<dyn ByteStream> = if received.is_empty() {
            stream
        } else {
            Box::new(Replayed { received, stream })
        };
        let ends = Self {
            stream: Box::new(tokio::io::empty()),
            received: BytesMut::new(),
            ..self
        };
        (ends, stream)
    }

    /// Whether the peer is on this machine by the nature of the stream.
    pub(crate) fn is_local(&self) -> bool {
        self.local == HERE
    }
}

/// Accepts connections.
pub trait Listener: Send + Sync + 'static {
    /// Waits for the next connection.
    fn accept(&self) -> BoxFuture<'_, io::Result<Link>>;

    /// Where it listens, with the port that the system chose if none was asked for.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// What is set on sockets.
#[derive(Debug, Clone, Copy, Default)]
pub struct SocketOptions {
    /// Size of the system's send buffer in bytes; `None`: the system decides.
    pub send_buffer: Option<u32>,
    /// Size of the system's receive buffer in bytes; `None`: the system decides.
    pub receive_buffer: Option<u32>,
    /// How many connections may wait to be accepted.
    pub backlog: u32,
}

/// Makes connections, in both roles. Addresses are `host:port` or `unix:/path`.
pub trait Network: Send + Sync + 'static {
    /// Connects to an address, trying those of a host one after the other.
    fn connect<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>>;

    /// Listens on an address; port 0 lets the system choose one.
    fn listen<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Listener>>>;
}

/// Sockets of the operating system: TCP and Unix.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sockets;

/// What the address of a Unix socket begins with.
pub(crate) const UNIX: &str = "unix:";

/// The address that the ends of a Unix socket have.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Network for Sockets {
    fn connect<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
        if let Some(path) = address.strip_prefix(UNIX) {
            return Box::pin(async move {
                let stream = UnixStream::connect(path).await?;
                Ok(Link::new(stream, HERE, HERE))
            });
        }
        Box::pin(each_address(address, move |address| async move {
            let stream = socket(address, options)?.connect(address).await?;
            link(stream, address)
        }))
    }

    fn listen<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Listener>>> {
        if let Some(path) = address.strip_prefix(UNIX) {
            return Box::pin(async move {
                let listener = UnixPath::listen(path.into()).await?;
                Ok(Arc::new(listener) as Arc<dyn Listener>)
            });
        }
        Box::pin(each_address(address, move |address| async move {
            let socket = socket(address, options)?;
            // Connections of an earlier process that are still being closed don't matter.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(Arc::new(socket.listen(options.backlog)?) as Arc<dyn Listener>)
        }))
    }
}

impl Listener for TcpListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Link>> {
        Box::pin(async {
            let (stream, peer) = TcpListener::accept(self).await?;
            link(stream, peer)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

/// A Unix socket, whose file is removed with it.
struct UnixPath {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixPath {
    /// Takes the place of a socket that an earlier process left; one that somebody listens on, or
    /// another kind of file, stays.
    async fn listen(path: PathBuf) -> io::Result<Self> {
        if let Ok(file) = std::fs::symlink_metadata(&path) {
            if !file.file_type().is_socket() {
                return Err(io::Error::other("there is a file that is no socket"));
            }
            if UnixStream::connect(&path).await.is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        Ok(Self { listener, path })
    }
}

impl Listener for UnixPath {
    fn accept(&self) -> BoxFuture<'_, io::Result<Link>> {
        Box::pin(async {
            let (stream, _) = self.listener.accept().await?;
            Ok(Link::new(stream, HERE, HERE))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(HERE)
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        // A file that is gone already is as well.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A stream of which some bytes were read already, which are read again first.
struct Replayed {
    received: BytesMut,
    stream: Box<dyn ByteStream>,
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received[..length]);
        self.received.advance(length);
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Does something with the addresses of a host until it succeeds; the last error counts.
async fn each_address<T, F>(address: &str, act: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut result = Err(io::Error::new(
        io::ErrorKind::NotFound,
        "the name has no address",
    ));
    let found = tokio::net::lookup_host(address).await;
    let found = found.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => {
            io::Error::new(error.kind(), "it is not of the form host:port")
        }
        _ => error,
    })?;
    for address in found {
        result = act(address).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

fn socket(address: SocketAddr, options: SocketOptions) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    Ok(socket)
}

fn link(stream: TcpStream, peer: SocketAddr) -> io::Result<Link> {
    // Frames are written whole; holding them back only costs time.
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok(Link::new(stream, peer, local))
}
