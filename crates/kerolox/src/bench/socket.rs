//! A load thread's sockets: TCP and Unix sockets as they are, and other protocols upon them.
//!
//! The load generator waits for many sockets with one system call, and no task of a runtime is
//! woken for any of them. So other protocols are those of `transport`, asked again whenever the
//! socket is ready; their wakers do nothing.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use transport::{
    BoxFuture, ByteStream, Link, Listener, Network, RemotingClientConfig, RemotingClientFactory,
    SocketOptions,
};

/// A protocol upon a socket is to be set up within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// This end of a connection.
pub(super) struct Socket {
    file: Arc<File>,
    /// What is spoken upon the socket, if not remoting alone.
    stream: Option<Box<dyn ByteStream>>,
}

/// The system's socket.
struct File {
    descriptor: OwnedFd,
    /// Whether the system had no room for what was to be written.
    full: AtomicBool,
}

impl Socket {
    /// Connects as an address says: `host:port`, `unix:/path`, or with a scheme as `ws://`. A read
    /// that waits gives up after `tick`.
    pub(super) fn connect(address: &str, tick: Duration) -> io::Result<Self> {
        let (scheme, target) = address.split_once("://").unwrap_or(("tcp", address));
        let descriptor: OwnedFd = if let Some(path) = target.strip_prefix("unix:") {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(tick))?;
            stream.into()
        } else {
            let stream = TcpStream::connect(target)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(tick))?;
            stream.into()
        };
        let full = AtomicBool::new(false);
        let file = Arc::new(File { descriptor, full });
        if scheme == "tcp" {
            return Ok(Self { file, stream: None });
        }
        let made = Made(Mutex::new(Some(Arc::clone(&file))));
        let factory = RemotingClientFactory::new(RemotingClientConfig::default());
        let factory = factory.network(Arc::new(made));
        let link = file.wait_for(factory.connect(address))??;
        let stream = Some(link.stream);
        Ok(Self { file, stream })
    }

    /// Whether the socket alone carries the frames: it can wait, and tells of all that comes.
    pub(super) fn is_plain(&self) -> bool {
        self.stream.is_none()
    }

    /// Whether something waits until the system has room for it.
    pub(super) fn is_full(&self) -> bool {
        self.file.full.load(Ordering::Relaxed)
    }

    /// Writes what can be taken now; `None` if that is nothing.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        match &mut self.stream {
            None => self.file.write(slices),
            Some(stream) => now(|cx| Pin::new(stream).poll_write_vectored(cx, slices)),
        }
    }

    /// Writes what was taken and is held back, as far as there is room.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            None => Ok(()),
            Some(stream) => now(|cx| Pin::new(stream).poll_flush(cx)).map(drop),
        }
    }

    /// Reads what has come, 0 at the end; `None` if nothing has. A plain socket can wait for it.
    pub(super) fn read(&mut self, buffer: &mut [u8], wait: bool) -> io::Result<Option<usize>> {
        let Some(stream) = &mut self.stream else {
            return self.file.read(buffer, wait);
        };
        let mut buffer = ReadBuf::new(buffer);
        let read = now(|cx| Pin::new(stream).poll_read(cx, &mut buffer))?;
        Ok(read.map(|()| buffer.filled().len()))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.descriptor.as_fd()
    }
}

/// Asks once, without being woken later.
fn now<T>(ask: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<Option<T>> {
    match ask(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.map(Some),
        Poll::Pending => Ok(None),
    }
}

impl File {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let written = loop {
            let written = match slices {
                [one] => send(&self.descriptor, one, flags),
                _ => {
                    let mut nothing = SendAncillaryBuffer::default();
                    sendmsg(&self.descriptor, slices, &mut nothing, flags)
                }
            };
            match written {
                Ok(written) => break Some(written),
                Err(Errno::AGAIN) => break None,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        self.full.store(written.is_none(), Ordering::Relaxed);
        Ok(written)
    }

    fn read(&self, buffer: &mut [u8], wait: bool) -> io::Result<Option<usize>> {
        let flags = match wait {
            true => RecvFlags::empty(),
            false => RecvFlags::DONTWAIT,
        };
        match recv(&self.descriptor, buffer, flags) {
            Ok((read, _)) => Ok(Some(read)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for what needs nothing but this socket.
    fn wait_for<F: Future>(&self, future: F) -> io::Result<F::Output> {
        let deadline = Instant::now() + PATIENCE;
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut future = pin!(future);
        loop {
            let mut cx = Context::from_waker(&waker);
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Ok(output);
            }
            if woken.0.swap(false, Ordering::Relaxed) {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let time = Timespec::try_from(left).unwrap_or_default();
            let mut events = PollFlags::IN;
            events.set(PollFlags::OUT, self.full.load(Ordering::Relaxed));
            match poll(&mut [PollFd::new(&self.descriptor, events)], Some(&time)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether a future made itself ready.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The network of one connection, which is made already.
struct Made(Mutex<Option<Arc<File>>>);

impl Network for Made {
    fn connect<'a>(&'a self, _: &'a str, _: SocketOptions) -> BoxFuture<'a, io::Result<Link>> {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let file = self.0.lock().take().ok_or(io::ErrorKind::NotConnected);
        let link = file.map(|file| Link::new(Upon(file), here, here));
        Box::pin(std::future::ready(link.map_err(io::Error::from)))
    }

    fn listen<'a>(
        &'a self,
        _: &'a str,
        _: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Listener>>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }
}

/// The socket below other protocols.
struct Upon(Arc<File>);

impl AsyncRead for Upon {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(at_once(self.0.read(buffer.initialize_unfilled(), false)))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upon {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        at_once(self.0.write(&[IoSlice::new(bytes)]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        at_once(self.0.write(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn at_once<T>(done: io::Result<Option<T>>) -> Poll<io::Result<T>> {
    match done.transpose() {
        Some(done) => Poll::Ready(done),
        None => Poll::Pending,
    }
}
