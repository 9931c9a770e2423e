//! The task that owns a connection's stream.
//!
//! One round: take over what others put into the outbox, decode and handle what has been read,
//! write the outbox, read on. A request that comes alone is thus read, handled and answered
//! without another task in between. The task sleeps when it can neither read nor write.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use wire::frame::{Frame, Head};

use crate::connection::{Connection, Stage, clock};
use crate::error::TransportError;
use crate::executor::{BoxFuture, Turn};
use crate::farewell::Farewell;
use crate::handler::{Handler, HandlerTable, going_away, late, not_supported};
use crate::outbox::Outbox;
use crate::reply::Refusal;

/// The least that is made room for before a read.
const MIN_READ: usize = 4 * 1024;

/// The most that is made room for before a read.
const MAX_READ: usize = 256 * 1024;

/// After so many reads in a row that used less than a quarter of their room, less is made.
const SMALL_READS: u8 = 16;

/// Frames up to this size go to executors in memory of their own, so that a queue of small
/// requests does not keep a large read buffer each.
const DETACHED: usize = 16 * 1024;

/// So many bytes are taken from a connection without waiting for a turn.
const FREE: usize = 8 * 1024;

/// So many frames, or [`MAX_READ`] bytes, are taken in a turn.
const MAX_RUN: usize = 256;

/// The state of the task.
pub(crate) struct ConnectionTask<S> {
    stream: S,
    connection: Arc<Connection>,
    handlers: Arc<HandlerTable>,
    /// Bytes read and not yet decoded.
    inbox: BytesMut,
    /// How much room the next read gets.
    read_size: usize,
    small_reads: u8,
    /// Consecutive requests for the inline handler with this number.
    run: Vec<Frame>,
    run_handler: u16,
    outbox: Outbox,
    share: Share,
    /// Bytes read, and frames handled, of the share.
    taken: usize,
    handled: usize,
    /// Bytes were written that the stream may still hold back.
    unflushed: bool,
    /// Too much is unsent, so nothing is read.
    paused: bool,
    /// This side has told that it sends no more.
    finished: bool,
    farewell: Farewell,
    /// The time on [`clock`], asked for once each time the task wakes up.
    now: Option<u64>,
    /// Why the connection is being closed, if not in good order.
    failure: Option<TransportError>,
}

/// How much is taken from the peer before the task lets others go on.
enum Share {
    /// A little.
    Small,
    /// Nothing until the turn comes.
    Awaited(BoxFuture<'static, Option<OwnedSemaphorePermit>>),
    /// What a turn allows.
    Large { _turn: Option<OwnedSemaphorePermit> },
}

/// What a round of decoding came to.
enum Inbox {
    /// No whole frame is left.
    Decoded,
    /// Frames are left because too much is unsent, or has been taken.
    Paused,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ConnectionTask<S> {
    pub(crate) fn new(
        stream: S,
        received: BytesMut,
        connection: Arc<Connection>,
        handlers: Arc<HandlerTable>,
    ) -> Self {
        Self {
            stream,
            connection,
            handlers,
            inbox: received,
            read_size: MIN_READ,
            small_reads: 0,
            run: Vec::new(),
            run_handler: 0,
            outbox: Outbox::default(),
            share: Share::Small,
            taken: 0,
            handled: 0,
            unflushed: false,
            paused: false,
            finished: false,
            farewell: Farewell::default(),
            now: None,
            failure: None,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) -> Result<(), TransportError> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.now = None;
        if matches!(self.share, Share::Small) {
            self.taken = self.inbox.len();
        }
        loop {
            let (stage, trim) = self.connection.exchange(&mut self.outbox);
            if trim {
                self.trim();
            }
            if stage == Stage::Aborted {
                return Poll::Ready(self.failure.take().map_or(Ok(()), Err));
            }
            self.update_paused();
            let has_share = self.has_share(cx);
            let inbox = match stage {
                Stage::Open | Stage::Draining if !self.paused && has_share => self.handle(stage),
                _ => Inbox::Paused,
            };
            if let Err(error) = self.poll_write(cx) {
                return Poll::Ready(Err(self.failure.take().unwrap_or_else(|| self.io(&error))));
            }
            self.update_paused();
            if stage == Stage::Closing && self.outbox.is_empty() {
                match self.poll_finish(cx) {
                    Poll::Ready(()) => {
                        return Poll::Ready(self.failure.take().map_or(Ok(()), Err));
                    }
                    Poll::Pending => {}
                }
            } else if stage == Stage::Draining
                && matches!(inbox, Inbox::Decoded)
                && self.outbox.is_empty()
                && self.connection.unanswered() == 0
            {
                self.connection.advance(Stage::Closing);
                continue;
            } else if stage <= Stage::Draining && !self.paused && has_share {
                if matches!(inbox, Inbox::Paused) {
                    continue;
                }
                match self.poll_read(cx) {
                    Poll::Ready(Ok(0)) => {
                        self.connection.close();
                        continue;
                    }
                    Poll::Ready(Ok(_)) => continue,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(self.io(&error)));
                    }
                    Poll::Pending => {}
                }
            }
            if self.connection.sleep(cx.waker(), self.outbox.len(), stage) {
                if let Share::Large { .. } = self.share {
                    self.share = Share::Small;
                }
                return Poll::Pending;
            }
        }
    }

    /// Whether more may be taken from the peer now. Otherwise the task is woken when it may.
    fn has_share(&mut self, cx: &mut Context<'_>) -> bool {
        let over = match self.share {
            Share::Small => self.taken > FREE && self.connection.limits().serves,
            Share::Awaited(_) => false,
            Share::Large { .. } => self.handled >= MAX_RUN || self.taken >= MAX_READ,
        };
        if over {
            // Others go on before this one comes back.
            self.share = Share::Small;
            self.share = Share::Awaited(Box::pin(self.connection.stack().turn()));
        }
        if let Share::Awaited(turn) = &mut self.share {
            match turn.as_mut().poll(cx) {
                Poll::Ready(_turn) => self.share = Share::Large { _turn },
                Poll::Pending => return false,
            }
            (self.taken, self.handled) = (0, 0);
        }
        true
    }

    /// Stops reading above the high water mark, and goes on below the low one.
    fn update_paused(&mut self) {
        let limits = self.connection.limits();
        let mark = if self.paused {
            limits.low_water
        } else {
            limits.high_water
        };
        self.paused = limits.serves && self.outbox.len() > mark;
    }

    /// Decodes and handles all whole frames that have been read, until too much is unsent.
    fn handle(&mut self, stage: Stage) -> Inbox {
        let mut handled = false;
        let outcome = loop {
            let before = self.inbox.len();
            match Frame::decode(&mut self.inbox) {
                Ok(None) => break Inbox::Decoded,
                Ok(Some(frame)) => {
                    handled = true;
                    self.handled += 1;
                    if frame.head.is_response() {
                        self.resolve(frame);
                    } else if stage == Stage::Open {
                        self.dispatch(frame, before - self.inbox.len());
                    } else {
                        self.outbox
                            .refuse(&frame.head, &going_away(frame.head.version));
                    }
                    self.update_paused();
                    let over = self.handled >= MAX_RUN && matches!(self.share, Share::Large { .. });
                    if self.paused || over {
                        break Inbox::Paused;
                    }
                }
                Err(error) => {
                    let address = self.connection.address();
                    self.failure = Some(TransportError::Frame { address, error });
                    break Inbox::Paused;
                }
            }
        };
        self.finish_run();
        if handled {
            let now = self.now();
            self.connection.active(now);
        }
        if self.failure.is_some() {
            // What came in good order before is answered; nothing behind can be understood.
            self.connection.close();
        }
        outcome
    }

    fn resolve(&self, answer: Frame) {
        let Head { code, opaque, .. } = answer.head;
        if !self.connection.resolve(answer) {
            let peer = self.connection.peer();
            tracing::debug!(%peer, code, opaque, "an answer came that nobody waits for");
        }
    }

    /// Hands a request of so many bytes to its handler, or collects it for a run.
    fn dispatch(&mut self, frame: Frame, size: usize) {
        let Some(index) = self.handlers.find(&frame.head) else {
            self.finish_run();
            self.outbox
                .refuse(&frame.head, &not_supported(frame.head.code));
            return;
        };
        if !self.run.is_empty() && (index != self.run_handler || self.run.len() >= MAX_RUN) {
            self.finish_run();
        }
        match self.handlers.get(index) {
            Some(Handler::Inline(_)) => {
                self.run_handler = index;
                self.run.push(frame);
            }
            Some(Handler::InlineEach(handle)) => handle(&self.connection, &frame, &mut self.outbox),
            Some(Handler::Spawned(executor, handle)) => {
                let head = frame.head;
                let connection = &self.connection;
                // A frame that is not copied keeps a buffer of at least the largest read.
                let kept = if size <= DETACHED {
                    size
                } else {
                    size.max(MAX_READ)
                };
                let job = || {
                    let frame = if size <= DETACHED {
                        frame.detached()
                    } else {
                        frame
                    };
                    let (handle, responder) = (Arc::clone(handle), connection.responder(&head));
                    move |turn| match turn {
                        Turn::Run => handle(responder, frame),
                        Turn::Late { waited, queued } => {
                            responder.refuse(&late(waited, queued));
                            Box::pin(async {}) as BoxFuture<'_, ()>
                        }
                    }
                };
                let protocol = connection.stack().name();
                if executor.submit(protocol, kept, job).is_err() {
                    self.outbox.refuse(&head, &Refusal::OVERLOADED);
                }
            }
            None => {}
        }
    }

    /// Hands over the requests collected for an inline handler.
    fn finish_run(&mut self) {
        if self.run.is_empty() {
            return;
        }
        if let Some(Handler::Inline(handle)) = self.handlers.get(self.run_handler) {
            handle(&self.connection, &self.run, &mut self.outbox);
        }
        self.run.clear();
    }

    /// Writes as much of the outbox as the stream takes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut wrote = false;
        while !self.outbox.is_empty() {
            let stream = Pin::new(&mut self.stream);
            let written = match self.outbox.contiguous() {
                Some(bytes) => stream.poll_write(cx, bytes),
                None => {
                    let (slices, used) = self.outbox.slices();
                    stream.poll_write_vectored(cx, &slices[..used])
                }
            };
            match written {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.outbox.advance(written);
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if wrote {
            self.unflushed = true;
            let now = self.now();
            self.connection.active(now);
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.unflushed = false;
                }
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Reads what has come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.read_size.max(self.missing().min(MAX_READ));
        if !self.inbox.try_reclaim(room) {
            self.inbox.reserve(room);
        }
        let offered = self.inbox.capacity() - self.inbox.len();
        let read = match pin!(self.stream.read_buf(&mut self.inbox)).poll(cx) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                // Who reads little at a time holds no buffer while it waits.
                if self.read_size == MIN_READ && self.inbox.is_empty() {
                    self.inbox = BytesMut::new();
                }
                return Poll::Pending;
            }
        };
        self.taken += read;
        if read > 0 {
            let now = self.now();
            self.connection.received(now);
        }
        // A layer such as TLS or WebSocket fills less than all of the room.
        if read > offered / 2 {
            self.read_size = (self.read_size * 2).min(MAX_READ);
            self.small_reads = 0;
        } else if read < self.read_size / 4 {
            self.small_reads += 1;
            if self.small_reads >= SMALL_READS {
                self.read_size = (self.read_size / 2).max(MIN_READ);
                self.small_reads = 0;
            }
        } else {
            self.small_reads = 0;
        }
        Poll::Ready(Ok(read))
    }

    /// How many bytes of the frame at hand have not come yet.
    fn missing(&self) -> usize {
        match self.inbox.first_chunk::<4>() {
            Some(length) => {
                let length = u32::from_be_bytes(*length) as usize;
                (4 + length).saturating_sub(self.inbox.len())
            }
            None => 0,
        }
    }

    /// Tells the peer that nothing more is sent, and waits until it does the same.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.finished {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.finished = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.farewell.poll(&mut self.stream, cx)
    }

    /// Gives back what an idle connection does not need.
    fn trim(&mut self) {
        self.read_size = MIN_READ;
        self.run = Vec::new();
        self.outbox.trim();
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
    }

    fn now(&mut self) -> u64 {
        *self.now.get_or_insert_with(clock)
    }

    fn io(&self, error: &io::Error) -> TransportError {
        TransportError::Io {
            address: self.connection.address(),
            reason: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use wire::code::ResponseCode;
    use wire::command::RequestCode;
    use wire::frame::{SerializeType, encode};
    use wire::header::NoHeader;

    use super::*;
    use crate::reply::Reply;
    use crate::settings::RemotingServerConfig;

    fn connect(handlers: HandlerTable) -> (Arc<Connection>, DuplexStream) {
        let any = ([127, 0, 0, 1], 0).into();
        let connection = Connection::new(
            any,
            any,
            Arc::default(),
            RemotingServerConfig::default().limits(),
        );
        let (ours, theirs) = duplex(64 * 1024);
        let (handlers, received) = (Arc::new(handlers), BytesMut::new());
        let task = ConnectionTask::new(ours, received, Arc::clone(&connection), handlers);
        tokio::spawn(task.run());
        (connection, theirs)
    }

    async fn ask(peer: &mut DuplexStream) -> Frame {
        let mut bytes = BytesMut::new();
        let code = RequestCode::Heartbeat as i32;
        encode(
            &Head::request(code, SerializeType::Json),
            None,
            &NoHeader,
            0,
            &mut bytes,
        );
        peer.write_all(&bytes).await.unwrap();
        read(peer).await
    }

    async fn read(peer: &mut DuplexStream) -> Frame {
        let mut bytes = BytesMut::new();
        loop {
            assert_ne!(peer.read_buf(&mut bytes).await.unwrap(), 0);
            if let Some(frame) = Frame::decode(&mut bytes).unwrap() {
                return frame;
            }
        }
    }

    fn heartbeats() -> HandlerTable {
        let mut table = HandlerTable::new();
        table.inline_each(&[RequestCode::Heartbeat], |_, _| Ok(Reply::empty()));
        table
    }

    #[tokio::test]
    async fn a_connection_that_gave_back_its_buffers_goes_on() {
        let (connection, mut peer) = connect(heartbeats());
        for _ in 0..3 {
            assert_eq!(ask(&mut peer).await.head.code, 0);
            connection.trim();
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_drained_waits_for_answers_and_sends_requests_away() {
        let mut table = heartbeats();
        let held = Arc::new(parking_lot::Mutex::new(None));
        let keep = Arc::clone(&held);
        table.inline_held(&[RequestCode::Heartbeat], move |connection, frame, _| {
            *keep.lock() = Some(connection.responder(&frame.head));
        });
        let (connection, mut peer) = connect(table);
        let mut bytes = BytesMut::new();
        let head = Head::request(RequestCode::Heartbeat as i32, SerializeType::Json);
        encode(&head, None, &NoHeader, 0, &mut bytes);
        peer.write_all(&bytes).await.unwrap();
        while connection.unanswered() == 0 {
            tokio::task::yield_now().await;
        }
        connection.advance(Stage::Draining);
        peer.write_all(&bytes).await.unwrap();
        assert_eq!(read(&mut peer).await.head.code, ResponseCode::GoAway as i32);
        assert!(connection.is_open());
        let responder = held.lock().take().unwrap();
        responder.dismiss();
        let end = tokio::time::timeout(Duration::from_secs(30), peer.read_buf(&mut bytes)).await;
        assert_eq!(end.unwrap().unwrap(), 0);
    }
}
