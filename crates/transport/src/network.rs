//! Listening and connecting, behind traits so that a simulated network can take TCP's place.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::executor::BoxFuture;

/// Bytes in and out: a socket, or a layer upon one such as TLS.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}

/// A stream with its two ends, and what was read of it to find out its protocol.
pub struct Link {
    /// The stream.
    pub stream: Box<dyn ByteStream>,
    /// The first bytes of the stream, read already.
    pub received: BytesMut,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
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

/// Makes connections, in both roles.
pub trait Network: Send + Sync + 'static {
    /// Connects to `host:port`, trying the addresses of the host one after the other.
    fn connect<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>>;

    /// Listens on `host:port`; port 0 lets the system choose one.
    fn listen<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Listener>>>;
}

/// TCP of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Network for Tcp {
    fn connect<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
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

/// Does something with the addresses of a host until it succeeds; the last error counts.
async fn each_address<T, F>(address: &str, act: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut result = Err(io::Error::new(
        io::ErrorKind::NotFound,
        "the name has no address",
    ));
    for address in tokio::net::lookup_host(address).await? {
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
    Ok(Link {
        stream: Box::new(stream),
        received: BytesMut::new(),
        peer,
        local,
    })
}
