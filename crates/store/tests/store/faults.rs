//! Faults of the disk: what is promised holds, and what can go on does.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use crate::common::{Setup, WriteAll, bodies, host};
use kerolox_store::*;
use parking_lot::Mutex;

/// Appends one message; what became of it.
fn append(store: &Store, queue: &Arc<Queue>, body: &[u8]) -> Result<Appended, StoreError> {
    let mut batch = [Append::new(queue, body, b"", host(1), host(2))];
    store.append(&mut batch);
    let [append] = batch;
    append.outcome.unwrap()
}

fn fault(operation: Operation, after: u32) -> Fault {
    Fault {
        operation,
        after,
        partial: 0,
        kind: io::ErrorKind::Other,
    }
}

#[test]
fn a_topic_made_anew_keeps_its_messages_through_a_kill() {
    let setup = Setup::new();
    let store = setup.open();
    setup.fill(&store, "t", 0, 5, 10);
    store.write_all();
    store.delete_topic("t").unwrap();
    let queue = store.queue("t", 0).unwrap();
    append(&store, &queue, b"first").unwrap();
    append(&store, &queue, b"second").unwrap();
    setup.disk.kill();
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    assert_eq!(
        bodies(&store, &queue),
        [b"first".to_vec(), b"second".to_vec()]
    );
}

#[test]
fn a_topic_made_anew_does_not_meet_what_its_removal_left() {
    let setup = Setup::new();
    let store = setup.open();
    setup.fill(&store, "t", 0, 25, 10);
    store.write_all();
    setup.disk.inject(fault(Operation::Change, 1));
    store.delete_topic("t").unwrap_err();
    setup.fill(&store, "t", 0, 1, 10);
    store.close().unwrap();
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    assert_eq!(bodies(&store, &queue).len(), 1);
}

#[test]
fn what_was_refused_does_not_come_back_after_a_clean_stop() {
    let setup = Setup::new();
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    setup.fill(&store, "t", 0, 1, 10);
    let end = store.max_physical_offset();
    setup.disk.inject(Fault {
        partial: 1000,
        ..fault(Operation::Write, 0)
    });
    setup.disk.inject(fault(Operation::Change, 0));
    append(&store, &queue, b"refused").unwrap_err();
    store.close().unwrap();
    let store = setup.open();
    assert_eq!(store.max_physical_offset(), end);
}

#[test]
fn a_torn_queue_entry_costs_no_message_and_leaves_no_garbage() {
    let setup = Setup::new();
    let store = setup.open();
    setup.fill(&store, "t", 0, 3, 1500);
    setup.clock.advance(10_000);
    setup.fill(&store, "t", 0, 1, 10);
    setup.clock.advance(100_000);
    // With a checkpoint: what follows is entered again from the second file of the log on.
    store.write_all();
    setup.fill(&store, "t", 0, 2, 10);
    store.write_all();
    setup.disk.kill();
    // The physical offset of message 4 was not written, so that its entry seems to point in
    // front of what is entered again.
    let file = Path::new("/store/consumequeue/t/0/00000000000000000000");
    setup.disk.damage(file, 4 * 20, &[0; 8]);
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    assert_eq!(bodies(&store, &queue).len(), 6);
}

#[test]
fn a_file_that_cannot_be_read_does_not_keep_others_from_being_read() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 2048;
    setup.settings.tail_cache_size = 0;
    let store = setup.open();
    setup.fill(&store, "t", 0, 40, 100);
    let queue = store.queue("t", 0).unwrap();
    let bad = Path::new("/store/commitlog/00000000000000002048");
    setup.disk.set_unreadable(bad, true);
    let mut unreadable = 0;
    for offset in 0..40 {
        let at = store
            .entry(&queue, offset)
            .unwrap()
            .unwrap()
            .physical_offset;
        match store.get_messages(&queue, offset, 1, 1 << 20, &AllMessages) {
            Ok(got) => assert_eq!(got.message_count, 1),
            Err(error) => {
                unreadable += 1;
                assert!((2048..4096).contains(&at), "{at}");
                assert_eq!(
                    error.to_string(),
                    "cannot read /store/commitlog/00000000000000002048: the file cannot be read; \
                     check the disk"
                );
            }
        }
    }
    assert!(unreadable > 5);
    append(&store, &queue, b"goes on").unwrap();
    setup.disk.set_unreadable(bad, false);
    assert_eq!(bodies(&store, &queue).len(), 41);
}

#[test]
fn one_flush_serves_all_that_wait_for_it() {
    let setup = Setup::new();
    let store = setup.open();
    setup.fill(&store, "t", 0, 1, 10);
    store.flush().unwrap();
    let mut waiting: Vec<Flushed> = Vec::new();
    for _ in 0..20 {
        setup.fill(&store, "t", 0, 1, 10);
        waiting.push(store.flushed(store.max_physical_offset()));
    }
    let poll =
        |flushed: &mut Flushed| Pin::new(flushed).poll(&mut Context::from_waker(Waker::noop()));
    assert!(waiting.iter_mut().all(|flushed| poll(flushed).is_pending()));
    let before = setup.disk.syncs();
    store.flush().unwrap();
    assert_eq!(setup.disk.syncs() - before, 1);
    let done = |flushed: &mut Flushed| matches!(poll(flushed), Poll::Ready(Ok(())));
    assert!(waiting.iter_mut().all(done));
}

/// A disk on which the removal of a commit log file takes until it is told to go on.
struct SlowRemoval {
    disk: MemoryDisk,
    asked: mpsc::Sender<PathBuf>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Disk for SlowRemoval {
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if path.starts_with("/store/commitlog") {
            let _ = self.asked.send(path.to_path_buf());
            // Ends with the sender.
            let _ = self.go_on.lock().recv();
        }
        self.disk.remove_file(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(dir)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.disk.open(path, mode)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.remove_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn modified_millis(&self, path: &Path) -> io::Result<i64> {
        self.disk.modified_millis(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_locked(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(path)
    }
}

#[test]
fn nobody_waits_for_the_removal_of_old_files() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 2048;
    setup.settings.file_reserved_time = 1;
    setup.settings.tail_cache_size = 0;
    let (asked, removal) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let store = Store::open(StoreOptions {
        disk: Arc::new(SlowRemoval {
            disk: setup.disk.clone(),
            asked,
            go_on: Mutex::new(told),
        }),
        ..setup.options()
    })
    .unwrap();
    setup.fill(&store, "t", 0, 40, 100);
    store.write_all();
    setup.clock.advance(2 * 3_600_000);
    let queue = store.queue("t", 0).unwrap();
    std::thread::scope(|scope| {
        // Dropped at the end, also if something fails here.
        let go_on = go_on;
        let cleaning = scope.spawn(|| store.delete_expired_files());
        let first = removal.recv().unwrap();
        assert!(first.ends_with("00000000000000000000"));
        // Everything goes on meanwhile, in this thread and with no time limit: it would hang.
        setup.fill(&store, "t", 0, 40, 100);
        store.flush().unwrap();
        assert!(store.message_at(&queue, 79).unwrap().is_some());
        let read = store.get_messages(&queue, 40, 32, 1 << 20, &AllMessages);
        assert!(read.unwrap().message_count > 0);
        drop(go_on);
        assert!(cleaning.join().unwrap().unwrap() > 1);
    });
    assert!(store.min_physical_offset() > 0);
}
