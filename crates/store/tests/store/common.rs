//! What the store's tests share.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use kerolox_store::*;
use wire::message::record::RecordRef;

/// A clock that stands until it is moved.
#[derive(Clone)]
pub(crate) struct ManualClock {
    now: Arc<AtomicI64>,
    hour: Arc<AtomicU32>,
}

impl ManualClock {
    pub(crate) fn now_millis(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }

    pub(crate) fn set_hour(&self, hour: u32) {
        self.hour.store(hour, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_millis(&self) -> i64 {
        self.now_millis()
    }

    fn local_hour(&self) -> u32 {
        self.hour.load(Ordering::Relaxed)
    }
}

/// A store on a disk in memory without threads.
pub(crate) struct Setup {
    pub(crate) disk: MemoryDisk,
    pub(crate) clock: ManualClock,
    pub(crate) settings: StoreConfig,
}

impl Setup {
    pub(crate) fn new() -> Setup {
        let setup = Setup {
            disk: MemoryDisk::new(),
            clock: ManualClock {
                now: Arc::new(AtomicI64::new(1_700_000_000_000)),
                hour: Arc::new(AtomicU32::new(12)),
            },
            settings: StoreConfig {
                store_path_root_dir: "/store".to_owned(),
                mapped_file_size_commit_log: 4096,
                mapped_file_size_consume_queue: 200,
                // Files that cost little and are full soon.
                max_hash_slot_num: 7,
                max_index_num: 100,
                ..StoreConfig::default()
            },
        };
        setup.disk.set_now_millis(setup.clock.now_millis());
        setup
    }

    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions {
            settings: self.settings.clone(),
            disk: Arc::new(self.disk.clone()),
            clock: Arc::new(self.clock.clone()),
            threads: false,
        }
    }

    pub(crate) fn open(&self) -> Arc<Store> {
        Store::open(self.options()).unwrap()
    }

    /// Appends messages with bodies of so many bytes.
    pub(crate) fn fill(
        &self,
        store: &Store,
        topic: &str,
        queue_id: i32,
        count: usize,
        size: usize,
    ) {
        let queue = store.queue(topic, queue_id).unwrap();
        let body = vec![b'x'; size];
        for _ in 0..count {
            let mut batch = [Append::new(&queue, &body, b"", host(1), host(2))];
            store.append(&mut batch);
            batch[0].outcome.clone().unwrap().unwrap();
        }
    }
}

/// Writing everything to the files, as housekeeping does in time.
pub(crate) trait WriteAll {
    fn write_all(&self);
}

impl WriteAll for Store {
    fn write_all(&self) {
        self.housekeeping();
    }
}

pub(crate) fn host(last: u8) -> SocketAddr {
    ([127, 0, 0, last], 10911).into()
}

pub(crate) fn properties(pairs: &[(&str, &str)]) -> String {
    wire::message::properties::encode(pairs.iter().copied())
}

pub(crate) fn body_of(record: &[u8]) -> Vec<u8> {
    RecordRef::parse(record).unwrap().body().to_vec()
}

/// The bodies of all messages of a queue, in order, read as a consumer does.
pub(crate) fn bodies(store: &Store, queue: &Queue) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut offset = queue.min_offset();
    loop {
        let got = store
            .get_messages(queue, offset, 32, 1 << 20, &AllMessages)
            .unwrap();
        let bytes = got.slices.concat();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let record = RecordRef::parse(rest).unwrap();
            record.check_body_crc().unwrap();
            all.push(record.body().to_vec());
            rest = &rest[record.total_size()..];
        }
        if got.next_begin_offset <= offset {
            assert_eq!(offset, queue.max_offset(), "{got:?}");
            return all;
        }
        offset = got.next_begin_offset;
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
