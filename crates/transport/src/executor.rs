//! Where requests run that may wait or take long.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::time::Instant;

/// A future that can be kept in a queue.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs the requests of one class: of each protocol at most so many at a time, at most so many
/// waiting, and the rest is turned away at once. So a flood of one class, or of one protocol,
/// never takes another's place. What has waited too long is turned away, too: its client has
/// stopped waiting by then, or soon will.
///
/// Workers are tasks (or threads) that live while there is work; an idle executor costs nothing.
pub struct Executor {
    name: &'static str,
    on_threads: bool,
    plan: RwLock<Plan>,
    /// One for each protocol that had work.
    lanes: RwLock<Vec<Arc<Lane>>>,
}

/// How an executor's lanes are.
struct Plan {
    sizes: Sizes,
    /// Protocols that have sizes of their own.
    own: Vec<(String, Sizes)>,
    max_wait: Arc<MaxWait>,
}

/// How many requests of a protocol run and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    concurrency: usize,
    capacity: usize,
}

impl Plan {
    fn sizes(&self, protocol: &str) -> Sizes {
        let own = self.own.iter().find(|(name, _)| name == protocol);
        own.map_or(self.sizes, |(_, sizes)| *sizes)
    }
}

/// The sizes that a protocol has in a class, as `kerolox.executors` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnSizes {
    protocol: String,
    pub(crate) class: String,
    sizes: Sizes,
}

impl OwnSizes {
    /// Reads a list of `PROTOCOL:CLASS=RUNNING/WAITING`.
    pub(crate) fn parse(list: &str) -> Result<Vec<Self>, String> {
        let items = list.split(',').map(str::trim).filter(|it| !it.is_empty());
        let read = |item: &str| {
            let (name, sizes) = item.split_once('=')?;
            let (protocol, class) = name.split_once(':')?;
            let (running, waiting) = sizes.split_once('/')?;
            let concurrency = running.trim().parse().ok().filter(|it| *it > 0)?;
            let capacity = waiting.trim().parse().ok()?;
            Some(Self {
                protocol: protocol.trim().to_owned(),
                class: class.trim().to_owned(),
                sizes: Sizes {
                    concurrency,
                    capacity,
                },
            })
        };
        let bad = |item| format!("`{item}` is not as in tls/remoting:admin=4/1000");
        items
            .map(|item| read(item).ok_or_else(|| bad(item)))
            .collect()
    }
}

/// The requests of one class that came by one protocol.
struct Lane {
    protocol: String,
    on_threads: bool,
    state: Mutex<State>,
}

/// How long a request may wait for its turn; `None`: as long as it takes.
type MaxWait = dyn Fn() -> Option<Duration> + Send + Sync;

/// How a request that waited in an executor's queue gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is run.
    Run,
    /// It is turned away after so long a time, with so many others left in the queue.
    Late { waited: Duration, queued: usize },
}

/// A request in a queue; called when it is run, or turned away.
type Job = Box<dyn FnOnce(Turn) -> BoxFuture<'static, ()> + Send>;

struct Waiting {
    job: Job,
    since: Instant,
    /// The bytes that it keeps in memory.
    bytes: usize,
}

struct State {
    concurrency: usize,
    capacity: usize,
    /// Workers alive.
    workers: usize,
    queue: VecDeque<Waiting>,
    /// The bytes of all that waits.
    queued_bytes: usize,
    max_wait: Arc<MaxWait>,
    /// Whether somebody turns away what waits too long.
    watched: bool,
}

/// What waits in one lane keeps at most this many bytes of requests in memory.
const MAX_QUEUED_BYTES: usize = 128 * 1024 * 1024;

impl State {
    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.queue.pop_front()?;
        self.queued_bytes -= waiting.bytes;
        Some(waiting)
    }
}

/// There was no room in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overloaded;

impl Executor {
    /// Runs its work on the runtime's own threads: for handlers that wait but never block.
    ///
    /// Of each protocol `concurrency` requests run at a time (at least 1), `capacity` more may
    /// wait, and together these take at most 128 MiB.
    pub fn new(name: &'static str, concurrency: usize, capacity: usize) -> Arc<Self> {
        Self::build(name, concurrency, capacity, false)
    }

    /// Runs its work on threads beside the runtime: for handlers that may block, such as scans of
    /// files. A runtime that is dropped waits for them.
    pub fn on_threads(name: &'static str, concurrency: usize, capacity: usize) -> Arc<Self> {
        Self::build(name, concurrency, capacity, true)
    }

    fn build(
        name: &'static str,
        concurrency: usize,
        capacity: usize,
        on_threads: bool,
    ) -> Arc<Self> {
        let sizes = Sizes {
            concurrency: concurrency.max(1),
            capacity,
        };
        let plan = Plan {
            sizes,
            own: Vec::new(),
            max_wait: Arc::new(|| None),
        };
        Arc::new(Self {
            name,
            on_threads,
            plan: RwLock::new(plan),
            lanes: RwLock::default(),
        })
    }

    /// The name of the class of requests, for logs, metrics and settings.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many requests run.
    pub fn running(&self) -> usize {
        let lanes = self.lanes.read();
        lanes.iter().map(|lane| lane.state.lock().workers).sum()
    }

    /// How many requests wait for their turn.
    pub fn queued(&self) -> usize {
        let lanes = self.lanes.read();
        lanes.iter().map(|lane| lane.state.lock().queue.len()).sum()
    }

    /// Changes how many requests of each protocol run at a time, at least 1, and may wait, where
    /// that is not set for the protocol. What runs or waits already is finished.
    pub fn resize(&self, concurrency: usize, capacity: usize) {
        let concurrency = concurrency.max(1);
        self.change(|plan| {
            plan.sizes = Sizes {
                concurrency,
                capacity,
            };
        });
    }

    /// Changes which protocols have sizes of their own: those in the list that are of this class.
    pub(crate) fn set_own(&self, list: &[OwnSizes]) {
        let own = list.iter().filter(|it| it.class == self.name);
        self.change(|plan| plan.own = own.map(|it| (it.protocol.clone(), it.sizes)).collect());
    }

    /// Limits how long a request may wait for its turn: to what `max_wait` tells whenever that
    /// matters, if that is something.
    pub fn limit_wait(&self, max_wait: impl Fn() -> Option<Duration> + Send + Sync + 'static) {
        self.change(|plan| plan.max_wait = Arc::new(max_wait));
    }

    fn change(&self, change: impl FnOnce(&mut Plan)) {
        let mut plan = self.plan.write();
        change(&mut plan);
        for lane in self.lanes.read().iter() {
            lane.follow(&plan);
        }
    }

    /// Makes a job, which keeps so many bytes in memory, and runs it when its turn comes among
    /// those of its protocol; does not even make it when there is no room.
    pub(crate) fn submit<J>(
        &self,
        protocol: &str,
        bytes: usize,
        make: impl FnOnce() -> J,
    ) -> Result<(), Overloaded>
    where
        J: FnOnce(Turn) -> BoxFuture<'static, ()> + Send + 'static,
    {
        self.lane(protocol).submit(bytes, make)
    }

    fn lane(&self, protocol: &str) -> Arc<Lane> {
        let find = |lanes: &[Arc<Lane>]| {
            let found = lanes.iter().find(|lane| lane.protocol == protocol);
            found.map(Arc::clone)
        };
        if let Some(lane) = find(&self.lanes.read()) {
            return lane;
        }
        let plan = self.plan.read();
        let mut lanes = self.lanes.write();
        find(&lanes).unwrap_or_else(|| {
            let lane = Lane::new(protocol, self.on_threads, &plan);
            lanes.push(Arc::clone(&lane));
            lane
        })
    }
}

impl Lane {
    fn new(protocol: &str, on_threads: bool, plan: &Plan) -> Arc<Self> {
        let Sizes {
            concurrency,
            capacity,
        } = plan.sizes(protocol);
        let state = State {
            concurrency,
            capacity,
            workers: 0,
            queued_bytes: 0,
            queue: VecDeque::new(),
            max_wait: Arc::clone(&plan.max_wait),
            watched: false,
        };
        Arc::new(Self {
            protocol: protocol.to_owned(),
            on_threads,
            state: Mutex::new(state),
        })
    }

    /// Takes over what is planned, and starts what may run now.
    fn follow(self: &Arc<Self>, plan: &Plan) {
        let sizes = plan.sizes(&self.protocol);
        let mut state = self.state.lock();
        state.max_wait = Arc::clone(&plan.max_wait);
        state.capacity = sizes.capacity;
        state.concurrency = sizes.concurrency;
        let idle = state.concurrency.saturating_sub(state.workers);
        for _ in 0..idle {
            let Some(waiting) = state.pop() else {
                break;
            };
            state.workers += 1;
            self.start((waiting.job)(Turn::Run));
        }
    }

    fn submit<J>(self: &Arc<Self>, bytes: usize, make: impl FnOnce() -> J) -> Result<(), Overloaded>
    where
        J: FnOnce(Turn) -> BoxFuture<'static, ()> + Send + 'static,
    {
        let mut state = self.state.lock();
        if state.workers < state.concurrency {
            state.workers += 1;
            drop(state);
            self.start(make()(Turn::Run));
            return Ok(());
        }
        let full = state.queue.len() >= state.capacity;
        if full || state.queued_bytes + bytes > MAX_QUEUED_BYTES {
            return Err(Overloaded);
        }
        state.queued_bytes += bytes;
        state.queue.push_back(Waiting {
            job: Box::new(make()),
            since: Instant::now(),
            bytes,
        });
        if !state.watched && (state.max_wait)().is_some() {
            state.watched = true;
            tokio::spawn(Arc::clone(self).turn_away());
        }
        Ok(())
    }

    /// Turns away what waits too long, until nothing waits (`BrokerFastFailure`).
    async fn turn_away(self: Arc<Self>) {
        while let Some(until) = self.next_late() {
            tokio::time::sleep_until(until).await;
            while let Some(late) = self.pop_late() {
                late.await;
            }
        }
    }

    /// When the next of what waits is late; `None`, and it is not watched any more, if there is
    /// none.
    fn next_late(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        let first = state.queue.front().map(|waiting| waiting.since);
        let until = first.and_then(|since| Some(since + (state.max_wait)()?));
        state.watched = until.is_some();
        until
    }

    /// The refusal of the first that waits, if that is late.
    fn pop_late(&self) -> Option<BoxFuture<'static, ()>> {
        let mut state = self.state.lock();
        let waited = state.queue.front()?.since.elapsed();
        if waited < (state.max_wait)()? {
            return None;
        }
        let late = state.pop()?;
        let queued = state.queue.len();
        drop(state);
        Some((late.job)(Turn::Late { waited, queued }))
    }

    /// Starts a worker, counted already, with its first job.
    fn start(self: &Arc<Self>, job: BoxFuture<'static, ()>) {
        let worker = Worker {
            lane: Some(Arc::clone(self)),
        };
        if self.on_threads {
            let runtime = Handle::current();
            tokio::task::spawn_blocking(move || runtime.block_on(worker.run(job)));
        } else {
            tokio::spawn(worker.run(job));
        }
    }

    /// The next job for a worker, which is no longer counted when there is none for it.
    fn next(&self) -> Option<BoxFuture<'static, ()>> {
        let mut state = self.state.lock();
        if state.workers <= state.concurrency
            && let Some(waiting) = state.pop()
        {
            drop(state);
            return Some((waiting.job)(Turn::Run));
        }
        state.workers -= 1;
        None
    }
}

/// One of the places where a lane's jobs run.
struct Worker {
    /// `None` once the worker is no longer counted.
    lane: Option<Arc<Lane>>,
}

impl Worker {
    async fn run(mut self, mut job: BoxFuture<'static, ()>) {
        loop {
            job.await;
            let next = self.lane.as_ref().and_then(|lane| lane.next());
            let Some(next) = next else {
                self.lane = None;
                return;
            };
            job = next;
        }
    }
}

/// A worker that ends in the middle of a job, by a panic, hands its place on.
impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(lane) = self.lane.take()
            && let Some(job) = lane.next()
        {
            lane.start(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Semaphore, mpsc};

    use super::*;

    /// A gate that jobs wait at, and a count of those that got there.
    struct Gate {
        open: Semaphore,
        arrived: mpsc::Sender<()>,
        most: AtomicUsize,
        inside: AtomicUsize,
    }

    fn gate() -> (Arc<Gate>, mpsc::Receiver<()>) {
        let (arrived, arrivals) = mpsc::channel(100);
        let zero = || AtomicUsize::new(0);
        (
            Arc::new(Gate {
                open: Semaphore::new(0),
                arrived,
                most: zero(),
                inside: zero(),
            }),
            arrivals,
        )
    }

    fn submit(executor: &Arc<Executor>, gate: &Arc<Gate>) -> Result<(), Overloaded> {
        submit_large(executor, gate, 100)
    }

    fn submit_large(
        executor: &Arc<Executor>,
        gate: &Arc<Gate>,
        bytes: usize,
    ) -> Result<(), Overloaded> {
        let gate = Arc::clone(gate);
        executor.submit("tcp", bytes, || {
            move |_| -> BoxFuture<'static, ()> {
                Box::pin(async move {
                    let inside = gate.inside.fetch_add(1, Ordering::SeqCst) + 1;
                    gate.most.fetch_max(inside, Ordering::SeqCst);
                    gate.arrived.send(()).await.unwrap();
                    gate.open.acquire().await.unwrap().forget();
                    gate.inside.fetch_sub(1, Ordering::SeqCst);
                })
            }
        })
    }

    async fn runs_two_holds_three(executor: Arc<Executor>) {
        let (gate, mut arrivals) = gate();
        let accepted = (0..8).filter(|_| submit(&executor, &gate).is_ok()).count();
        assert_eq!(accepted, 5, "two run, three wait, three are turned away");
        assert_eq!(executor.queued(), 3);
        for arrived in 1..=5 {
            arrivals.recv().await.unwrap();
            if arrived >= 2 {
                gate.open.add_permits(1);
            }
        }
        gate.open.add_permits(1);
        assert_eq!(gate.most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn concurrency_and_queue_are_bounded() {
        runs_two_holds_three(Executor::new("test", 2, 3)).await;
    }

    #[tokio::test]
    async fn concurrency_and_queue_are_bounded_on_threads() {
        runs_two_holds_three(Executor::on_threads("test", 2, 3)).await;
    }

    #[tokio::test]
    async fn more_concurrency_starts_what_waits() {
        let executor = Executor::new("test", 1, 10);
        let (gate, mut arrivals) = gate();
        for _ in 0..4 {
            submit(&executor, &gate).unwrap();
        }
        arrivals.recv().await.unwrap();
        assert_eq!(executor.queued(), 3);
        executor.resize(3, 10);
        arrivals.recv().await.unwrap();
        arrivals.recv().await.unwrap();
        assert_eq!(executor.queued(), 1);
    }

    #[tokio::test]
    async fn less_concurrency_counts_from_the_next_request_on() {
        let executor = Executor::new("test", 3, 10);
        let (gate, mut arrivals) = gate();
        for _ in 0..6 {
            submit(&executor, &gate).unwrap();
        }
        for _ in 0..3 {
            arrivals.recv().await.unwrap();
        }
        executor.resize(1, 10);
        gate.open.add_permits(2);
        while executor.running() > 1 {
            tokio::task::yield_now().await;
        }
        gate.open.add_permits(4);
        for _ in 0..3 {
            arrivals.recv().await.unwrap();
        }
        while executor.running() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(executor.queued(), 0);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let executor = Executor::new("test", 1, 1000);
        let (gate, mut arrivals) = gate();
        let frame = 16 * 1024 * 1024;
        let accepted = (0..100)
            .filter(|_| submit_large(&executor, &gate, frame).is_ok())
            .count();
        assert_eq!(accepted, 1 + MAX_QUEUED_BYTES / frame);
        gate.open.add_permits(accepted);
        for _ in 0..accepted {
            arrivals.recv().await.unwrap();
        }
        while executor.running() > 0 {
            tokio::task::yield_now().await;
        }
        submit_large(&executor, &gate, frame).unwrap();
    }

    #[tokio::test]
    async fn a_job_that_panics_leaves_its_place_to_the_next() {
        let executor = Executor::new("test", 1, 10);
        let (gate, mut arrivals) = gate();
        let panicking: fn(Turn) -> BoxFuture<'static, ()> =
            |_| Box::pin(async { panic!("on purpose") });
        executor.submit("tcp", 0, || panicking).unwrap();
        submit(&executor, &gate).unwrap();
        arrivals.recv().await.unwrap();
    }

    #[tokio::test]
    async fn what_waits_too_long_is_turned_away_even_if_nothing_else_happens() {
        let short = Duration::from_millis(1);
        let limit = Arc::new(Mutex::new(short));
        let executor = Executor::new("test", 1, 10);
        let now = Arc::clone(&limit);
        executor.limit_wait(move || Some(*now.lock()));
        let (gate, mut arrivals) = gate();
        submit(&executor, &gate).unwrap();
        arrivals.recv().await.unwrap();
        let (turns, mut heard) = mpsc::unbounded_channel();
        let queue = || {
            let turns = turns.clone();
            let job = move |turn| -> BoxFuture<'static, ()> {
                turns.send(turn).unwrap();
                Box::pin(async {})
            };
            executor.submit("tcp", 0, || job).unwrap();
        };
        for _ in 0..2 {
            queue();
            queue();
            for left in [1, 0] {
                match heard.recv().await.unwrap() {
                    Turn::Late { waited, queued } => assert!(waited >= short && queued == left),
                    Turn::Run => panic!("its place was taken"),
                }
            }
        }
        *limit.lock() = Duration::from_secs(3600);
        queue();
        gate.open.add_permits(1);
        assert_eq!(heard.recv().await.unwrap(), Turn::Run);
    }

    #[tokio::test]
    async fn each_protocol_has_places_and_sizes_of_its_own() {
        let executor = Executor::new("test", 1, 2);
        let (gate, mut arrivals) = gate();
        let submit = |protocol| {
            let gate = Arc::clone(&gate);
            executor.submit(protocol, 1, || {
                move |_| {
                    Box::pin(async move {
                        gate.arrived.send(()).await.unwrap();
                        gate.open.acquire().await.unwrap().forget();
                    }) as BoxFuture<'static, ()>
                }
            })
        };
        let accepted = (0..10).filter(|_| submit("one").is_ok()).count();
        assert_eq!(accepted, 3);
        submit("other").unwrap();
        for _ in ["one", "other"] {
            arrivals.recv().await.unwrap();
        }
        let own = OwnSizes::parse("one:test=2/2, other:admin=9/9").unwrap();
        executor.set_own(&own);
        arrivals.recv().await.unwrap();
        assert_eq!((executor.running(), executor.queued()), (3, 1));
        let accepted = (0..10).filter(|_| submit("other").is_ok()).count();
        assert_eq!(accepted, 2);
        for bad in ["tls=1/1", "tls:admin=1", "tls:admin=0/1", "tls:admin=x/1"] {
            assert!(OwnSizes::parse(bad).is_err(), "{bad}");
        }
    }
}
