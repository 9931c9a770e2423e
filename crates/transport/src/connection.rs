//! One connection, as everybody but its own task sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use wire::frame::{Frame, Head};
use wire::header::EncodeHeader;

use crate::error::TransportError;
use crate::outbox::Outbox;
use crate::pending::{PendingAnswer, PendingTable, Unregistered, Waiting};
use crate::reply::Body;
use crate::responder::Responder;
use crate::stack::Stack;
use crate::tls;

/// What a connection may take of memory and time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// With more unsent bytes than this no more requests are read, and own requests wait.
    pub(crate) high_water: usize,
    /// With at most this many unsent bytes reading goes on.
    pub(crate) low_water: usize,
    /// With more unsent bytes than this the connection is closed.
    pub(crate) max_unsent: usize,
    /// How many own requests may wait for their answers.
    pub(crate) max_pending: usize,
    /// Without a frame for so long the connection is closed; `None`: never.
    pub(crate) idle: Option<Duration>,
    /// Whether this side answers. It stops reading above `high_water`, which the asking side must
    /// not: both could wait for the other to read. And it takes turns.
    pub(crate) serves: bool,
}

/// What to do about a connection that is closed.
const SEND_AGAIN: &str = "send the request again";

/// The same when nothing was ever heard on it.
const TRY_TLS: &str =
    "nothing was heard from the server; if it serves TLS only, connect with TLS: tls://host:port";

/// How far a connection is on its way to the end. The order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Frames go both ways.
    Open,
    /// Requests are no longer taken; those that run are answered.
    Draining,
    /// What waits in the outbox is still written.
    Closing,
    /// Nothing is written any more.
    Aborted,
}

/// A connection between two peers, either of which may ask the other.
///
/// Its socket belongs to a task of its own; everybody else puts bytes into the outbox here.
pub struct Connection {
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    stack: Arc<Stack>,
    limits: Limits,
    shared: Mutex<Shared>,
    pending: PendingTable,
    /// Told when the outbox has room again.
    room: Notify,
    open: AtomicBool,
    /// Whether the last answer is waited for.
    draining: AtomicBool,
    /// Requests of the peer that have a [`Responder`].
    unanswered: AtomicUsize,
    /// Milliseconds on [`clock`] of the last frame in or the last bytes out.
    active_at: AtomicU64,
    /// Milliseconds on [`clock`] of the last bytes in.
    received_at: AtomicU64,
    /// Whether any bytes came in.
    heard: AtomicBool,
    /// Whether the task holds buffers that it could give back.
    holds_buffers: AtomicBool,
}

/// What the connection's task and all others share, under a lock that is held shortly.
struct Shared {
    /// Frames that the task has not yet taken.
    outbox: Outbox,
    /// Bytes that the task has taken and not yet written.
    taken: usize,
    stage: Stage,
    /// The task is to give back what memory it can.
    trim: bool,
    /// Somebody waits for room.
    room_wanted: bool,
    /// Whether the task sleeps and has to be woken.
    asleep: bool,
    waker: Option<Waker>,
}

impl Shared {
    /// Who has to be woken because something changed.
    fn wake(&mut self) -> Option<Waker> {
        if std::mem::take(&mut self.asleep) {
            self.waker.take()
        } else {
            None
        }
    }
}

/// Milliseconds since the first call, on the runtime's clock.
pub(crate) fn clock() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}

impl Connection {
    pub(crate) fn new(
        peer: SocketAddr,
        local: SocketAddr,
        stack: Arc<Stack>,
        limits: Limits,
    ) -> Arc<Self> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let now = clock();
        Arc::new(Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            peer,
            local,
            stack,
            limits,
            shared: Mutex::new(Shared {
                outbox: Outbox::default(),
                taken: 0,
                stage: Stage::Open,
                trim: false,
                room_wanted: false,
                asleep: false,
                waker: None,
            }),
            pending: PendingTable::new(limits.max_pending),
            room: Notify::new(),
            open: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            unanswered: AtomicUsize::new(0),
            active_at: AtomicU64::new(now),
            received_at: AtomicU64::new(now),
            heard: AtomicBool::new(false),
            holds_buffers: AtomicBool::new(true),
        })
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This end.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The protocols that it speaks.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Whether requests still go both ways.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Closes the connection. Requests that wait for an answer fail at once; what is in the
    /// outbox is still written.
    pub fn close(&self) {
        self.advance(Stage::Closing);
    }

    /// Time since the last whole frame came in or bytes went out.
    pub(crate) fn idle_for(&self) -> Duration {
        Duration::from_millis(clock().saturating_sub(self.active_at.load(Ordering::Relaxed)))
    }

    /// Bytes that wait to be written.
    pub fn unsent(&self) -> usize {
        let shared = self.shared.lock();
        shared.outbox.len() + shared.taken
    }

    /// The duty to answer this request, for those who answer later.
    pub fn responder(self: &Arc<Self>, request: &Head) -> Responder {
        Responder::new(Arc::clone(self), *request)
    }

    /// Writes answers into the outbox: many of them for one lock and one wake-up. `write` must be
    /// short, and must not use this connection otherwise.
    ///
    /// A peer that lets more pile up than allowed does not read: its connection is closed.
    ///
    /// # Errors
    /// The connection is closed, or is closed now because of what piled up.
    pub fn with_outbox(&self, write: impl FnOnce(&mut Outbox)) -> Result<(), TransportError> {
        let mut shared = self.shared.lock();
        if shared.stage >= Stage::Closing {
            return Err(self.closed());
        }
        write(&mut shared.outbox);
        let unsent = shared.outbox.len() + shared.taken;
        if unsent > self.limits.max_unsent {
            shared.outbox.clear();
            drop(shared);
            self.advance(Stage::Aborted);
            return Err(TransportError::Backlog {
                address: self.address(),
                unsent,
            });
        }
        let waker = shared.wake();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Sends a request and waits for its answer. While much is unsent it first waits for room.
    ///
    /// `head.opaque` is chosen here.
    ///
    /// # Errors
    /// No answer in time, the connection closed, or too many requests waiting already.
    pub async fn request<H: EncodeHeader + ?Sized>(
        &self,
        head: Head,
        header: &H,
        body: Body,
        timeout: Duration,
    ) -> Result<Frame, TransportError> {
        let deadline = Instant::now() + timeout;
        let too_late = |_| TransportError::Timeout {
            address: self.address(),
            code: head.code,
            timeout,
        };
        if !self.has_room() {
            tokio::time::timeout_at(deadline, self.room())
                .await
                .map_err(too_late)??;
        }
        let (opaque, answer) = self.send_request(head, header, body)?;
        let _waiting = Waiting::new(self, opaque);
        let answer = tokio::time::timeout_at(deadline, answer)
            .await
            .map_err(too_late)?;
        answer.map_err(|_| self.closed())
    }

    /// Puts a request into the outbox without waiting for anything; requests leave in the order
    /// of these calls. [`PendingAnswer::wait`] then waits for the answer.
    ///
    /// # Errors
    /// The connection is closed, or too much waits already.
    pub fn start_request<H: EncodeHeader + ?Sized>(
        self: &Arc<Self>,
        head: Head,
        header: &H,
        body: Body,
    ) -> Result<PendingAnswer, TransportError> {
        let (opaque, answer) = self.send_request(head, header, body)?;
        Ok(PendingAnswer::new(
            Arc::clone(self),
            head.code,
            opaque,
            answer,
        ))
    }

    /// Puts a request that wants no answer into the outbox.
    ///
    /// # Errors
    /// The connection is closed, or too many bytes are unsent.
    pub fn oneway<H: EncodeHeader + ?Sized>(
        &self,
        head: Head,
        header: &H,
        body: Body,
    ) -> Result<(), TransportError> {
        let head = Head {
            opaque: self.pending.next_opaque(),
            ..head.oneway()
        };
        self.send(&head, header, body)
    }

    /// Waits until less is unsent.
    pub(crate) async fn room(&self) -> Result<(), TransportError> {
        loop {
            let mut told = std::pin::pin!(self.room.notified());
            told.as_mut().enable();
            {
                let mut shared = self.shared.lock();
                if shared.stage >= Stage::Closing {
                    return Err(self.closed());
                }
                if shared.outbox.len() + shared.taken <= self.limits.high_water {
                    return Ok(());
                }
                shared.room_wanted = true;
            }
            told.await;
        }
    }

    fn has_room(&self) -> bool {
        self.unsent() <= self.limits.high_water
    }

    fn send_request<H: EncodeHeader + ?Sized>(
        &self,
        head: Head,
        header: &H,
        body: Body,
    ) -> Result<(i32, oneshot::Receiver<Frame>), TransportError> {
        let (opaque, answer) = self.pending.register().map_err(|why| match why {
            Unregistered::Closed => self.closed(),
            Unregistered::Full => {
                let limit = self.pending.limit();
                TransportError::TooManyRequests {
                    address: self.address(),
                    limit,
                }
            }
        })?;
        self.send(&Head { opaque, ..head }, header, body)
            .inspect_err(|_| self.pending.forget(opaque))?;
        Ok((opaque, answer))
    }

    /// Puts a frame of our own into the outbox, if there is room.
    fn send<H: EncodeHeader + ?Sized>(
        &self,
        head: &Head,
        header: &H,
        body: Body,
    ) -> Result<(), TransportError> {
        let mut shared = self.shared.lock();
        if shared.stage >= Stage::Closing {
            return Err(self.closed());
        }
        let unsent = shared.outbox.len() + shared.taken;
        if unsent + body.len() > self.limits.max_unsent {
            return Err(TransportError::Backlog {
                address: self.address(),
                unsent,
            });
        }
        shared.outbox.frame(head, None, header, body);
        let waker = shared.wake();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Goes on to a later stage; earlier ones are passed over.
    pub(crate) fn advance(&self, stage: Stage) {
        let mut shared = self.shared.lock();
        if shared.stage >= stage {
            return;
        }
        shared.stage = stage;
        self.draining
            .store(stage == Stage::Draining, Ordering::SeqCst);
        let waker = shared.wake();
        drop(shared);
        if stage >= Stage::Closing {
            self.open.store(false, Ordering::Release);
            self.pending.close();
            self.room.notify_waiters();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Has the task give back memory, if it holds any that is not needed.
    pub(crate) fn trim(&self) {
        if self.holds_buffers.swap(false, Ordering::Relaxed) {
            self.pending.trim();
            let mut shared = self.shared.lock();
            shared.trim = true;
            let waker = shared.wake();
            drop(shared);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// For the task: takes over what others put into the outbox, and tells what stage it is.
    pub(crate) fn exchange(&self, outbox: &mut Outbox) -> (Stage, bool) {
        let mut shared = self.shared.lock();
        shared.asleep = false;
        if !shared.outbox.is_empty() {
            outbox.take_over(&mut shared.outbox);
        }
        shared.taken = outbox.len();
        let trim = std::mem::take(&mut shared.trim);
        if trim {
            shared.outbox.trim();
        }
        (shared.stage, trim)
    }

    /// For the task: falls asleep with `unsent` bytes not yet written, unless there is something
    /// new since [`exchange`](Self::exchange) told `stage`.
    pub(crate) fn sleep(&self, waker: &Waker, unsent: usize, stage: Stage) -> bool {
        let mut shared = self.shared.lock();
        if !shared.outbox.is_empty() || shared.stage != stage || shared.trim {
            return false;
        }
        shared.taken = unsent;
        shared.asleep = true;
        if !shared
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            shared.waker = Some(waker.clone());
        }
        let told = shared.room_wanted && unsent <= self.limits.low_water;
        if told {
            shared.room_wanted = false;
        }
        drop(shared);
        if told {
            self.room.notify_waiters();
        }
        true
    }

    /// For the task: bytes came in, at this time on [`clock`].
    pub(crate) fn received(&self, now: u64) {
        self.received_at.store(now, Ordering::Relaxed);
        if !self.heard.load(Ordering::Relaxed) {
            self.heard.store(true, Ordering::Relaxed);
        }
    }

    /// For the task: whole frames came in, or bytes went out, at this time on [`clock`].
    pub(crate) fn active(&self, now: u64) {
        self.active_at.store(now, Ordering::Relaxed);
        if !self.holds_buffers.load(Ordering::Relaxed) {
            self.holds_buffers.store(true, Ordering::Relaxed);
        }
    }

    /// Whether any byte came in during the last `time`.
    pub(crate) fn received_within(&self, time: Duration) -> bool {
        let since = clock().saturating_sub(self.received_at.load(Ordering::Relaxed));
        u128::from(since) < time.as_millis()
    }

    /// Forgets a request that nobody waits for any more.
    pub(crate) fn forget(&self, opaque: i32) {
        self.pending.forget(opaque);
    }

    /// For the task: hands an answer to the request it belongs to.
    pub(crate) fn resolve(&self, answer: Frame) -> bool {
        self.pending.resolve(answer)
    }

    pub(crate) fn begin_answer(&self) {
        self.unanswered.fetch_add(1, Ordering::SeqCst);
    }

    /// One request less to answer. Whoever answers the last one of a draining connection wakes
    /// its task; the order of `unanswered` and `draining` here and in [`advance`](Self::advance)
    /// and the task makes sure that one of the two sees the other.
    pub(crate) fn end_answer(&self) {
        let last = self.unanswered.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.draining.load(Ordering::SeqCst) {
            let waker = self.shared.lock().wake();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// How many requests of the peer have a [`Responder`].
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::SeqCst)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The peer, for messages.
    pub(crate) fn address(&self) -> String {
        self.peer.to_string()
    }

    pub(crate) fn closed(&self) -> TransportError {
        // Servers that want TLS close plain connections without a word, as the reference does.
        let plain = !self.limits.serves && !self.stack.has(tls::NAME);
        TransportError::Closed {
            address: self.address(),
            advice: match plain && !self.heard.load(Ordering::Relaxed) {
                true => TRY_TLS,
                false => SEND_AGAIN,
            },
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .field("stack", &self.stack.name())
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}
