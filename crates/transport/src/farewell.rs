//! The end of a connection whose peer is told something last.
//!
//! A socket that is dropped with unread bytes resets its connection, which takes from the peer
//! what it has not read yet: the very words that say why. So what the peer still sends is read,
//! and dropped, until it closes its end; for a while, and not without end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::network::ByteStream;

/// A peer has so long to close its end once this one is closed.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// What a peer may send after it was told to stop: more than systems keep on the way.
const MOST: usize = 64 * 1024 * 1024;

/// Reads what comes after the end.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    read: usize,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Farewell {
    /// Reads until the peer has closed its end, or was given the time and the bytes to.
    pub(crate) fn poll(
        &mut self,
        mut stream: impl AsyncRead + Unpin,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut unread = [0; 4096];
        while self.read < MOST {
            let mut unread = ReadBuf::new(&mut unread);
            match Pin::new(&mut stream).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {
                    self.read += unread.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let deadline = || Box::pin(sleep(FAREWELL));
                    return self.deadline.get_or_insert_with(deadline).as_mut().poll(cx);
                }
            }
        }
        Poll::Ready(())
    }
}

/// Tells a peer the last that it is told. One that does not want to know is left.
pub(crate) async fn tell(mut stream: impl ByteStream, last: &[u8]) {
    if stream.write_all(last).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut farewell = Farewell::default();
        std::future::poll_fn(|cx| farewell.poll(&mut stream, cx)).await;
    }
}
