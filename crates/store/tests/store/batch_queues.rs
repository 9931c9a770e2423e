//! Queues whose entries are for batches of messages.

use std::path::Path;
use std::sync::{Arc, Mutex};

use kerolox_store::*;
use proptest::prelude::*;
use wire::message::record::RecordRef;
use wire::message::{properties, property};

use crate::common::{Setup, WriteAll, host};

fn batch_queue(store: &Store) -> Arc<Queue> {
    store.queue_of_kind("b", 0, QueueKind::Batch).unwrap()
}

/// Stores one record of so many messages, or an ordinary message for 0; returns its number.
fn append(store: &Store, queue: &Arc<Queue>, inner_messages: i16, tags_code: i64) -> i64 {
    let mut append = Append::new(queue, b"body", b"", host(1), host(2));
    append.inner_messages = inner_messages;
    append.tags_code = TagsCode::Known(tags_code);
    store.append(std::slice::from_mut(&mut append));
    append.outcome.unwrap().unwrap().queue_offset
}

fn get(store: &Store, queue: &Queue, offset: i64, max_count: usize) -> GetMessages {
    store
        .get_messages(queue, offset, max_count, 1 << 20, &AllMessages)
        .unwrap()
}

fn range(queue: &Queue) -> (i64, i64) {
    (queue.min_offset(), queue.max_offset())
}

#[derive(Default)]
struct Heard(Mutex<Vec<(i64, i64)>>);

impl ArrivalListener for Heard {
    fn arrived(&self, arrival: &Arrival<'_>) {
        let numbers = (arrival.first_offset, arrival.max_offset);
        self.0.lock().unwrap().push(numbers);
    }
}

#[test]
fn a_batch_has_a_number_for_each_message_and_is_read_as_a_whole() {
    let setup = Setup::new();
    let store = setup.open();
    let heard = Arc::new(Heard::default());
    store.set_listener(heard.clone());
    let queue = batch_queue(&store);
    let got = get(&store, &queue, 0, 32);
    assert_eq!(
        (got.status, got.next_begin_offset),
        (GetStatus::NoMessageInQueue, 0)
    );
    let numbers = [3, 0, 5].map(|messages| append(&store, &queue, messages, 0));
    assert_eq!(numbers, [0, 3, 4]);
    assert_eq!(range(&queue), (0, 9));
    assert_eq!(*heard.0.lock().unwrap(), [(0, 3), (3, 4), (4, 9)]);

    let places = |store: &Store| {
        let queue = batch_queue(store);
        assert_eq!(queue.kind(), QueueKind::Batch);
        for (offset, next) in [(0, 3), (1, 3), (2, 3), (3, 4), (4, 9), (8, 9)] {
            let got = get(store, &queue, offset, 1);
            assert_eq!(
                (got.status, got.next_begin_offset),
                (GetStatus::Found, next)
            );
        }
        // A record that would be too much stays for the next answer.
        let got = get(store, &queue, 1, 8);
        assert_eq!((got.message_count, got.next_begin_offset), (4, 4));
        let got = get(store, &queue, 1, 9);
        assert_eq!((got.message_count, got.next_begin_offset), (9, 9));
        for (offset, status, next) in [
            (-1, GetStatus::OffsetTooSmall, 0),
            (9, GetStatus::OffsetOverflowOne, 9),
            (10, GetStatus::OffsetOverflowBadly, 9),
        ] {
            let got = get(store, &queue, offset, 1);
            assert_eq!((got.status, got.next_begin_offset), (status, next));
        }
        let record = store.message_at(&queue, 6).unwrap().unwrap();
        let record = RecordRef::parse(&record).unwrap();
        let text = record.properties();
        let inner = properties::get_each(&text, [property::INNER_BASE, property::INNER_NUM]);
        assert_eq!(inner, [Some("4"), Some("5")]);
        assert_eq!(record.sys_flag(), 0xC0);
    };
    places(&store);
    store.write_all();
    places(&store);
    store.close().unwrap();
    places(&setup.open());
}

#[test]
fn the_filter_passes_over_whole_batches() {
    let setup = Setup::new();
    let store = setup.open();
    let queue = batch_queue(&store);
    for tags_code in [1, 2, 1, 2] {
        append(&store, &queue, 10, tags_code);
    }
    let twos = |offset| {
        store
            .get_messages(&queue, offset, 10, 1 << 20, &|code| code == 2)
            .unwrap()
    };
    let got = twos(0);
    assert_eq!((got.status, got.message_count), (GetStatus::Found, 10));
    assert_eq!(got.next_begin_offset, 20, "the next one is too much");
    let none = store
        .get_messages(&queue, 5, 40, 1 << 20, &|_| false)
        .unwrap();
    assert_eq!(
        (none.status, none.next_begin_offset),
        (GetStatus::NoMatchedMessage, 40)
    );
}

#[test]
fn the_offset_of_a_time_is_the_first_of_a_batch() {
    let setup = Setup::new();
    let store = setup.open();
    let queue = batch_queue(&store);
    let start = setup.clock.now_millis();
    for _ in 0..3 {
        append(&store, &queue, 4, 0);
        setup.clock.advance(100);
    }
    let find = |millis, boundary| {
        let time = start + millis;
        store.offset_by_time(&queue, time, boundary).unwrap()
    };
    for (millis, lower, upper) in [
        (-1, 0, 0),
        (0, 0, 0),
        (50, 4, 0),
        (100, 4, 4),
        (200, 8, 8),
        (201, 8, 8),
    ] {
        assert_eq!(find(millis, Boundary::Lower), lower, "{millis}");
        assert_eq!(find(millis, Boundary::Upper), upper, "{millis}");
    }
    assert_eq!(store.store_timestamp_at(&queue, 6).unwrap(), start + 100);
}

#[test]
fn a_batch_that_is_refused_takes_no_number() {
    let setup = Setup::new();
    let store = setup.open();
    let queue = batch_queue(&store);
    append(&store, &queue, 2, 0);
    let large = vec![0; 4000];
    let mut batch = [
        Append::new(&queue, b"small", b"", host(1), host(2)),
        Append::new(&queue, &large, b"", host(1), host(2)),
    ];
    for append in &mut batch {
        append.inner_messages = 7;
    }
    batch[1].with_previous = true;
    store.append(&mut batch);
    assert!(
        batch
            .iter()
            .all(|append| append.outcome.as_ref().unwrap().is_err())
    );
    setup.disk.inject(Fault {
        operation: Operation::Write,
        after: 0,
        partial: 50,
        kind: std::io::ErrorKind::Other,
    });
    batch[0].outcome = None;
    store.append(&mut batch[..1]);
    assert!(batch[0].outcome.as_ref().unwrap().is_err());
    assert_eq!(append(&store, &queue, 3, 0), 2);
    assert_eq!(range(&queue), (0, 5));
}

#[test]
fn the_kind_of_a_queue_survives_whatever_the_log_says() {
    let setup = Setup::new();
    let store = setup.open();
    // Nothing in the record tells that its topic has batch queues.
    append(&store, &batch_queue(&store), 0, 0);
    store.flush().unwrap();
    setup.disk.power_failure(|| false);
    let store = setup.open();
    let queue = store.find_queue("b", 0).unwrap();
    assert_eq!((queue.kind(), range(&queue)), (QueueKind::Batch, (0, 1)));
    // The topic's other queues are of the same kind, whoever makes them.
    assert_eq!(store.queue("b", 1).unwrap().kind(), QueueKind::Batch);
}

#[test]
fn a_deleted_topic_may_come_back_with_other_queues() {
    let setup = Setup::new();
    let store = setup.open();
    append(&store, &batch_queue(&store), 5, 0);
    store.write_all();
    store.delete_topic("b").unwrap();
    assert!(
        setup
            .disk
            .list(Path::new("/store/batchconsumequeue/b"))
            .is_err()
    );
    setup.fill(&store, "b", 0, 2, 10);
    store.close().unwrap();
    let store = setup.open();
    let queue = store.find_queue("b", 0).unwrap();
    assert_eq!((queue.kind(), range(&queue)), (QueueKind::Simple, (0, 2)));
}

#[test]
fn old_files_go_and_the_numbers_stay() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 2048;
    setup.settings.mapped_file_size_consume_queue = 100;
    setup.settings.mapper_file_size_batch_consume_queue = 5 * 46;
    setup.settings.mapped_file_size_consume_queue_ext = 100;
    setup.settings.enable_consume_queue_ext = true;
    setup.settings.delete_commit_log_files_interval = 0;
    setup.settings.file_reserved_time = 1;
    let store = setup.open();
    let queue = batch_queue(&store);
    let fill = |store: &Store| {
        for _ in 0..30 {
            append(store, &batch_queue(store), 3, 0);
            setup.fill(store, "t", 0, 1, 10);
        }
        store.write_all();
    };
    fill(&store);
    setup.clock.advance(3_600_000);
    setup.disk.set_now_millis(setup.clock.now_millis());
    fill(&store);
    assert!(store.delete_expired_files().unwrap() > 0);
    let begin = store.min_physical_offset();
    let (min, max) = range(&queue);
    assert!(
        min > 0 && min < 90 && min % 3 == 0 && max == 180,
        "{min} {max}"
    );
    let first = store.entry(&queue, min).unwrap().unwrap();
    assert!(first.physical_offset >= begin);
    assert_eq!(store.entry(&queue, min - 1).unwrap(), None);
    let got = get(&store, &queue, min - 1, 32);
    assert_eq!(
        (got.status, got.next_begin_offset),
        (GetStatus::OffsetTooSmall, min)
    );
    for dir in ["batchconsumequeue/b/0", "consumequeue_ext/t/0"] {
        let first = Path::new("/store").join(dir).join("00000000000000000000");
        assert!(setup.disk.content(&first).is_none(), "{dir}");
    }

    // After a kill, and also if the queue has to be made from what is left of the log.
    setup.disk.kill();
    assert_eq!(range(&batch_queue(&setup.open())), (min, max));
    setup.disk.kill();
    let dir = Path::new("/store/batchconsumequeue/b/0");
    for file in setup.disk.list(dir).unwrap() {
        setup.disk.remove_file(&dir.join(file.name)).unwrap();
    }
    setup
        .disk
        .remove_file(Path::new("/store/checkpoint"))
        .unwrap();
    let store = setup.open();
    let queue = batch_queue(&store);
    assert_eq!(range(&queue), (min, max));
    assert_eq!(get(&store, &queue, min + 1, 1).next_begin_offset, min + 3);
    assert_eq!(append(&store, &queue, 2, 0), max);
}

/// A byte of a file is changed: which file, where, and to what.
fn damage() -> impl Strategy<Value = (usize, usize, u8)> {
    (0_usize..3, 0_usize..150, any::<u8>())
}

proptest! {
    #[test]
    fn damaged_entries_are_survived(
        killed: bool,
        damages in prop::collection::vec(damage(), 1..30),
    ) {
        let mut setup = Setup::new();
        setup.settings.mapper_file_size_batch_consume_queue = 3 * 46;
        setup.settings.mapped_file_size_consume_queue = 140;
        setup.settings.mapped_file_size_consume_queue_ext = 140;
        setup.settings.enable_consume_queue_ext = true;
        let store = setup.open();
        for messages in 0..5 {
            append(&store, &batch_queue(&store), messages, 0);
            setup.fill(&store, "t", 0, 1, 10);
        }
        store.close().unwrap();
        let dirs = ["batchconsumequeue/b/0", "consumequeue/t/0", "consumequeue_ext/t/0"];
        for (dir, at, byte) in damages {
            let path = Path::new("/store").join(dirs[dir]).join("00000000000000000000");
            let file = setup.disk.open(&path, OpenMode::Write).unwrap();
            file.write_at(&[byte], (at % 138) as u64).unwrap();
        }
        if killed {
            let abort = Path::new("/store/abort");
            setup.disk.open(abort, OpenMode::Create).unwrap();
        }
        let store = setup.open();
        for queue in store.queues() {
            let (min, max) = range(&queue);
            let mut offset = min;
            // A damaged number may be far away.
            for _ in 0..100 {
                let got = get(&store, &queue, offset, 4);
                store.unit(&queue, offset).unwrap();
                if got.next_begin_offset <= offset {
                    break;
                }
                offset = got.next_begin_offset;
            }
            for boundary in [Boundary::Lower, Boundary::Upper] {
                let found = store.offset_by_time(&queue, setup.clock.now_millis(), boundary);
                prop_assert!(found.is_ok());
            }
            prop_assert!(min <= max);
        }
        append(&store, &batch_queue(&store), 2, 0);
        setup.fill(&store, "t", 0, 1, 10);
        store.close().unwrap();
    }
}
