//! Networks that do to the streams of another one what the world may do to them.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kerolox_transport::{BoxFuture, ByteStream, Link, Listener, Network, SocketOptions, Sockets};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::listeners::V2;

/// Connections that a proxy forwards.
pub(crate) struct Proxied<N>(pub(crate) N);

impl<N: Network> Network for Proxied<N> {
    fn connect<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
        Box::pin(async move {
            let mut link = self.0.connect(address, options).await?;
            link.stream.write_all(V2).await?;
            Ok(link)
        })
    }

    fn listen<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Listener>>> {
        self.0.listen(address, options)
    }
}

/// Sockets whose streams give and take one byte at a time, and take a rest after each.
pub(crate) struct Dripping;

impl Network for Dripping {
    fn connect<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
        Box::pin(async move { drip(Sockets.connect(address, options).await?).await })
    }

    fn listen<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Listener>>> {
        Box::pin(async move {
            let listener = Sockets.listen(address, options).await?;
            Ok(Arc::new(DripListener(listener)) as Arc<dyn Listener>)
        })
    }
}

struct DripListener(Arc<dyn Listener>);

impl Listener for DripListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Link>> {
        Box::pin(async { drip(self.0.accept().await?).await })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn drip(link: Link) -> io::Result<Link> {
    let wrap = |stream| {
        ready(Ok(Drip {
            stream,
            rests: false,
        }))
    };
    link.wrap(wrap).await
}

struct Drip<S> {
    stream: S,
    rests: bool,
}

impl<S: ByteStream> AsyncRead for Drip<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.rests = !self.rests;
        if self.rests {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut byte);
        buffer.put_slice(byte.filled());
        read
    }
}

impl<S: ByteStream> AsyncWrite for Drip<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let first = &bytes[..bytes.len().min(1)];
        Pin::new(&mut self.stream).poll_write(cx, first)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
