//! The stream below a connection of HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http2::PREFACE;
use crate::farewell::Farewell;
use crate::network::ByteStream;

/// Frames that are no part of an exchange, such as PING, that may come within [`PERIOD`].
const MAX_CONTROL: u32 = 10_000;
const PERIOD: Duration = Duration::from_secs(10);

/// So many of them each frame of an exchange makes up for: clients measure a connection by pings
/// while much passes.
const MADE_UP: u32 = 10;

/// Bytes of a frame's head: length, kind, flags, stream.
const HEAD: usize = 9;

/// DATA, HEADERS, WINDOW_UPDATE and CONTINUATION, which belong to exchanges.
const OF_EXCHANGES: [u8; 4] = [0, 1, 8, 9];

/// A stream whose peer gets what it is told last, and that may watch for floods of frames.
pub(super) struct HttpStream {
    stream: Box<dyn ByteStream>,
    finished: bool,
    farewell: Farewell,
    watch: Option<FrameWatch>,
}

impl HttpStream {
    pub(super) fn new(stream: Box<dyn ByteStream>) -> Self {
        Self {
            stream,
            finished: false,
            farewell: Farewell::default(),
            watch: None,
        }
    }

    /// Sets `flooded`, and reads no more, when a peer of HTTP/2 floods the connection.
    pub(super) fn watching(mut self, flooded: Arc<AtomicBool>) -> Self {
        self.watch = Some(FrameWatch {
            skip: PREFACE.len(),
            head: [0; HEAD],
            have: 0,
            since: Instant::now(),
            count: 0,
            flooded,
        });
        self
    }
}

/// Counts frames that are no part of an exchange.
struct FrameWatch {
    /// Bytes to come before the next head.
    skip: usize,
    /// The part of a head that has come.
    head: [u8; HEAD],
    have: usize,
    /// So many frames came since then.
    count: u32,
    since: Instant,
    flooded: Arc<AtomicBool>,
}

impl FrameWatch {
    fn take(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let part = bytes.len().min(HEAD - self.have);
            if part == 0 {
                return;
            }
            self.head[self.have..][..part].copy_from_slice(&bytes[..part]);
            self.have += part;
            bytes = &bytes[part..];
            if self.have == HEAD {
                let [a, b, c, kind, ..] = self.head;
                self.have = 0;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                match OF_EXCHANGES.contains(&kind) {
                    true => self.count = self.count.saturating_sub(MADE_UP),
                    false => self.count(),
                }
            }
        }
    }

    fn count(&mut self) {
        self.count += 1;
        if self.count > MAX_CONTROL {
            if self.since.elapsed() < PERIOD {
                self.flooded.store(true, Ordering::Relaxed);
            }
            (self.count, self.since) = (0, Instant::now());
        }
    }

    fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.watch.as_ref().is_some_and(FrameWatch::is_flooded) {
            // Whoever reads sees that by itself.
            return Poll::Pending;
        }
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(watch) = &mut this.watch {
            watch.take(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.finished {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.finished = true;
        }
        this.farewell.poll(&mut this.stream, cx).map(Ok)
    }
}
