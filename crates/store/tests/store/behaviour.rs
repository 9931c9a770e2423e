//! The store as its users meet it, on a disk in memory.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::common::{Setup, WriteAll, bodies, body_of, host, properties};
use kerolox_store::*;
use parking_lot::Mutex;

#[test]
fn an_appended_message_is_readable_at_once() {
    let setup = Setup::new();
    let store = setup.open();
    let queue = store.queue("topic", 3).unwrap();
    let (born, here) = (host(1), host(2));
    let mut batch = [Append::new(&queue, b"hello", b"TAGS\x01a\x02", born, here)];
    batch[0].tags_code = TagsCode::Known(97);
    batch[0].flag = 5;
    batch[0].born_timestamp = 12;
    batch[0].more_properties = b"MORE\x01b\x02";
    let end = store.append(&mut batch);
    let appended = batch[0].outcome.clone().unwrap().unwrap();
    assert_eq!(appended.physical_offset, 0);
    assert_eq!(appended.queue_offset, 0);
    assert_eq!(appended.store_timestamp, setup.clock.now_millis());
    assert_eq!(appended.end(), end);

    let got = store
        .get_messages(&queue, 0, 32, 1 << 20, &AllMessages)
        .unwrap();
    assert_eq!(got.status, GetStatus::Found);
    assert_eq!(
        (
            got.message_count,
            got.next_begin_offset,
            got.min_offset,
            got.max_offset
        ),
        (1, 1, 0, 1)
    );
    let bytes = got.slices.concat();
    let record = wire::message::record::RecordRef::parse(&bytes).unwrap();
    assert_eq!(record.body(), b"hello");
    assert_eq!(record.topic(), "topic");
    assert_eq!(record.queue_id(), 3);
    assert_eq!(record.flag(), 5);
    assert_eq!(record.born_host(), born);
    assert_eq!(record.store_host(), here);
    assert_eq!(record.properties(), "TAGS\x01a\x02MORE\x01b\x02");
    record.check_body_crc().unwrap();
    let entry = store.entry(&queue, 0).unwrap().unwrap();
    assert_eq!(entry.tags_code, 97);
    assert_eq!(store.message(0).unwrap().unwrap(), bytes);
    assert_eq!(store.message(1).unwrap(), None);
}

#[test]
fn statuses_at_the_edges_are_those_of_the_reference() {
    let setup = Setup::new();
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    let get = |offset| {
        let got = store
            .get_messages(&queue, offset, 32, 1 << 20, &AllMessages)
            .unwrap();
        (got.status, got.next_begin_offset)
    };
    assert_eq!(get(0), (GetStatus::NoMessageInQueue, 0));
    assert_eq!(get(7), (GetStatus::NoMessageInQueue, 0));
    setup.fill(&store, "t", 0, 5, 10);
    assert_eq!(get(5), (GetStatus::OffsetOverflowOne, 5));
    assert_eq!(get(6), (GetStatus::OffsetOverflowBadly, 5));
    assert_eq!(get(-1), (GetStatus::OffsetTooSmall, 0));
    assert_eq!(get(4), (GetStatus::Found, 5));
    let none = store
        .get_messages(&queue, 0, 32, 1 << 20, &|_: i64| false)
        .unwrap();
    assert_eq!(
        (none.status, none.next_begin_offset, none.message_count),
        (GetStatus::NoMatchedMessage, 5, 0)
    );
}

#[test]
fn an_answer_is_bounded_but_never_empty() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_consume_queue = 6000;
    setup.settings.mapped_file_size_commit_log = 1 << 20;
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    setup.fill(&store, "t", 0, 40, 100);
    let count = |max_count, max_bytes| {
        let got = store
            .get_messages(&queue, 0, max_count, max_bytes, &AllMessages)
            .unwrap();
        assert_eq!(
            got.size,
            got.slices.iter().map(|slice| slice.len()).sum::<usize>()
        );
        assert_eq!(got.next_begin_offset, got.message_count as i64);
        got.message_count
    };
    assert_eq!(count(100, 1 << 20), 32, "maxTransferCountOnMessageInMemory");
    assert_eq!(count(3, 1 << 20), 3);
    assert_eq!(count(32, 1), 1);
    let size = store.entry(&queue, 0).unwrap().unwrap().size as usize;
    assert_eq!(count(32, 3 * size), 3);
    assert_eq!(count(32, 3 * size - 1), 2);

    let mut settings = (*store.settings()).clone();
    settings.access_message_in_memory_max_ratio = 0;
    store.reconfigure(settings);
    assert_eq!(count(32, 1 << 20), 8, "maxTransferCountOnMessageInDisk");
}

#[test]
fn a_client_batch_is_stored_whole_or_not_at_all() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 1024;
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    setup.fill(&store, "t", 0, 4, 100);
    let at = store.max_physical_offset();
    // 4 more of them do not fit into the first file, so all go to the second.
    let body = [7; 100];
    let mut batch: Vec<Append<'_>> = (0..4)
        .map(|index| {
            let mut append = Append::new(&queue, &body, b"", host(1), host(2));
            append.with_previous = index > 0;
            append
        })
        .collect();
    store.append(&mut batch);
    let placed: Vec<Appended> = batch
        .iter()
        .map(|append| append.outcome.clone().unwrap().unwrap())
        .collect();
    assert_eq!(placed[0].physical_offset, 1024);
    assert_eq!(
        placed
            .iter()
            .map(|placed| placed.queue_offset)
            .collect::<Vec<_>>(),
        [4, 5, 6, 7]
    );
    assert!(at < 1024);

    let large = vec![1; 2000];
    let mut batch = vec![
        Append::new(&queue, b"first", b"", host(1), host(2)),
        Append::new(&queue, b"second", b"", host(1), host(2)),
        Append::new(&queue, &large, b"", host(1), host(2)),
        Append::new(&queue, b"alone", b"", host(1), host(2)),
    ];
    batch[1].with_previous = true;
    batch[2].with_previous = true;
    store.append(&mut batch);
    for refused in &batch[..3] {
        assert!(matches!(
            refused.outcome,
            Some(Err(StoreError::MessageTooLarge { .. }))
        ));
    }
    assert_eq!(batch[3].outcome.clone().unwrap().unwrap().queue_offset, 8);
    assert_eq!(bodies(&store, &queue)[8..], [b"alone".to_vec()]);
}

#[test]
fn a_message_that_is_too_large_says_so() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 1 << 20;
    setup.settings.max_message_size = 1000;
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    let body = vec![0; 1001];
    let long = vec![b'x'; 40_000];
    let mut batch = [
        Append::new(&queue, &body, b"", host(1), host(2)),
        Append::new(&queue, b"", &long, host(1), host(2)),
        Append::new(&queue, &body[..1000], b"", host(1), host(2)),
    ];
    store.append(&mut batch);
    let refused = |append: &Append<'_>| append.outcome.clone().unwrap().unwrap_err();
    assert_eq!(
        refused(&batch[0]).to_string(),
        "the message has 1001 bytes, more than the 1000 allowed: send less or raise maxMessageSize"
    );
    assert!(refused(&batch[0]).is_illegal_message());
    assert!(refused(&batch[1]).is_illegal_message());
    assert_eq!(batch[2].outcome.clone().unwrap().unwrap().queue_offset, 0);
}

/// Wants the messages with the body `x`.
struct WithBody;

impl MessageFilter for WithBody {
    fn matches_entry(&self, _: i64) -> bool {
        true
    }

    fn looks_at_records(&self) -> bool {
        true
    }

    fn matches_record(&self, record: &[u8]) -> bool {
        body_of(record) == b"x"
    }
}

#[test]
fn a_reader_that_looks_at_records_does_not_read_much_in_vain() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 16 << 20;
    setup.settings.mapped_file_size_consume_queue = 2000;
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    setup.fill(&store, "t", 0, 10, 1 << 20);
    setup.fill(&store, "t", 0, 1, 1);
    let read = |offset| {
        let got = store.get_messages(&queue, offset, 32, 1 << 20, &WithBody);
        let got = got.unwrap();
        (got.status, got.message_count, got.next_begin_offset)
    };
    assert_eq!(read(0), (GetStatus::NoMatchedMessage, 0, 4));
    assert_eq!(read(4), (GetStatus::NoMatchedMessage, 0, 8));
    assert_eq!(read(8), (GetStatus::Found, 1, 11));
}

/// Topic, queue, first and next number, tags code.
type Told = (String, i32, i64, i64, Option<i64>);

#[derive(Default)]
struct Heard(Mutex<Vec<Told>>);

impl ArrivalListener for Heard {
    fn arrived(&self, arrival: &Arrival<'_>) {
        // What has arrived can be read.
        assert!(arrival.queue.max_offset() >= arrival.max_offset);
        self.0.lock().push((
            arrival.queue.topic().to_string(),
            arrival.queue.id(),
            arrival.first_offset,
            arrival.max_offset,
            arrival.tags_code,
        ));
    }
}

#[test]
fn the_listener_is_told_once_for_each_queue_of_a_batch() {
    let setup = Setup::new();
    let store = setup.open();
    let heard = Arc::new(Heard::default());
    store.set_listener(Arc::clone(&heard) as Arc<dyn ArrivalListener>);
    let queues: Vec<_> = (0..20).map(|id| store.queue("t", id).unwrap()).collect();
    let mut batch = vec![
        Append::new(&queues[0], b"1", b"", host(1), host(2)),
        Append::new(&queues[1], b"2", b"", host(1), host(2)),
        Append::new(&queues[0], b"3", b"", host(1), host(2)),
        Append::new(&queues[1], b"4", b"", host(1), host(2)),
    ];
    batch[1].tags_code = TagsCode::Known(9);
    store.append(&mut batch);
    assert_eq!(
        std::mem::take(&mut *heard.0.lock()),
        [("t".into(), 0, 0, 2, Some(0)), ("t".into(), 1, 0, 2, None)]
    );
    let mut batch: Vec<_> = queues
        .iter()
        .map(|queue| Append::new(queue, b"x", b"", host(1), host(2)))
        .collect();
    store.append(&mut batch);
    assert_eq!(heard.0.lock().len(), 20);
}

#[test]
fn a_full_disk_refuses_and_writing_goes_on_by_itself() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 64 << 10;
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    setup.fill(&store, "t", 0, 10, 1000);
    setup.disk.set_capacity(Some(20 << 10));
    let body = [1; 1000];
    let mut stored = 10;
    loop {
        let mut batch = [Append::new(&queue, &body, b"", host(1), host(2))];
        store.append(&mut batch);
        match batch[0].outcome.clone().unwrap() {
            Ok(_) => stored += 1,
            Err(error) => {
                assert!(error.is_disk_full(), "{error}");
                assert!(error.to_string().contains("free some space"));
                break;
            }
        }
    }
    assert!(stored > 10);
    assert_eq!(bodies(&store, &queue).len(), stored, "reading goes on");
    setup.disk.set_capacity(None);
    setup.fill(&store, "t", 0, 3, 1000);
    assert_eq!(bodies(&store, &queue).len(), stored + 3);
    setup.disk.kill();
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    assert_eq!(bodies(&store, &queue).len(), stored + 3);
}

#[test]
fn a_write_that_fails_half_way_leaves_nothing() {
    let setup = Setup::new();
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    setup.fill(&store, "t", 0, 2, 10);
    setup.disk.inject(Fault {
        operation: Operation::Write,
        after: 0,
        partial: 150,
        kind: io::ErrorKind::Other,
    });
    let body = [5; 20];
    let mut batch: Vec<_> = (0..3)
        .map(|_| Append::new(&queue, &body, b"", host(1), host(2)))
        .collect();
    store.append(&mut batch);
    assert!(
        batch
            .iter()
            .all(|append| matches!(append.outcome, Some(Err(StoreError::Io { .. }))))
    );
    assert_eq!(queue.max_offset(), 2);
    setup.disk.kill();
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    assert_eq!(queue.max_offset(), 2);
    setup.fill(&store, "t", 0, 1, 10);
    assert_eq!(bodies(&store, &queue).len(), 3);
}

fn poll(flushed: &mut Flushed) -> Poll<Result<(), StoreError>> {
    Pin::new(flushed).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_is_flushed_survives_a_power_failure() {
    let setup = Setup::new();
    let store = setup.open();
    setup.fill(&store, "t", 0, 5, 10);
    let end = store.max_physical_offset();
    let mut flushed = store.flushed(end);
    assert!(poll(&mut flushed).is_pending());
    store.flush().unwrap();
    assert!(matches!(poll(&mut flushed), Poll::Ready(Ok(()))));
    setup.fill(&store, "t", 0, 5, 10);
    setup.disk.power_failure(|| false);
    drop(store);
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    assert_eq!(queue.max_offset(), 5);
    assert_eq!(store.max_physical_offset(), end);
}

/// Fills many queues, makes a checkpoint that may fail, and pulls the plug.
fn many_queues_after_a_power_failure(fault: Option<Fault>) {
    const QUEUES: i32 = 300;
    let setup = Setup::new();
    let store = setup.open();
    for _ in 0..2 {
        for queue in 0..QUEUES {
            setup.fill(&store, "many", queue, 1, 10);
        }
    }
    store.flush().unwrap();
    setup.clock.advance(60_000);
    fault.into_iter().for_each(|fault| setup.disk.inject(fault));
    store.housekeeping();
    setup.disk.power_failure(|| false);
    drop(store);
    let store = setup.open();
    for queue in 0..QUEUES {
        let queue = store.find_queue("many", queue).unwrap();
        assert_eq!(bodies(&store, &queue).len(), 2);
    }
}

#[test]
fn a_checkpoint_brings_many_queues_to_the_disk() {
    many_queues_after_a_power_failure(None);
}

#[test]
fn a_checkpoint_that_fails_promises_nothing_of_many_queues() {
    many_queues_after_a_power_failure(Some(Fault {
        operation: Operation::Sync,
        after: 0,
        partial: 0,
        kind: std::io::ErrorKind::Other,
    }));
}

#[test]
fn after_a_failed_flush_nothing_is_promised() {
    let setup = Setup::new();
    let store = setup.open();
    setup.fill(&store, "t", 0, 1, 10);
    let mut flushed = store.flushed(store.max_physical_offset());
    setup.disk.inject(Fault {
        operation: Operation::Sync,
        after: 0,
        partial: 0,
        kind: io::ErrorKind::Other,
    });
    assert!(store.flush().is_err());
    assert!(matches!(
        poll(&mut flushed),
        Poll::Ready(Err(StoreError::FlushFailed))
    ));
    assert!(!store.is_writable());
    let queue = store.queue("t", 0).unwrap();
    let mut batch = [Append::new(&queue, b"x", b"", host(1), host(2))];
    store.append(&mut batch);
    assert!(matches!(
        batch[0].outcome,
        Some(Err(StoreError::FlushFailed))
    ));
}

#[test]
fn a_second_store_on_the_directory_is_refused() {
    let setup = Setup::new();
    let store = setup.open();
    let error = Store::open(setup.options()).err().unwrap();
    assert!(matches!(error, StoreError::InUse { .. }));
    assert!(
        error
            .to_string()
            .starts_with("the data directory /store is in use by another process"),
        "{error}"
    );
    store.close().unwrap();
    setup.open();
}

#[test]
fn a_closed_store_is_marked_clean_and_takes_nothing() {
    let setup = Setup::new();
    let store = setup.open();
    let id = std::process::id().to_string();
    assert_eq!(
        setup.disk.content(Path::new("/store/abort")).unwrap(),
        id.as_bytes()
    );
    assert_eq!(
        setup.disk.content(Path::new("/store/lock")).unwrap(),
        b"lock"
    );
    setup.fill(&store, "t", 0, 3, 10);
    store.close().unwrap();
    store.close().unwrap();
    assert!(setup.disk.content(Path::new("/store/abort")).is_none());
    let queue = store.queue("t", 0).unwrap();
    let mut batch = [Append::new(&queue, b"x", b"", host(1), host(2))];
    store.append(&mut batch);
    assert!(matches!(batch[0].outcome, Some(Err(StoreError::Closed))));
    let checkpoint =
        Checkpoint::decode(&setup.disk.content(Path::new("/store/checkpoint")).unwrap());
    assert_eq!(checkpoint.log_timestamp, setup.clock.now_millis());
    assert_eq!(checkpoint.queues_timestamp, setup.clock.now_millis());
}

#[test]
fn deleting_a_topic_that_cannot_be_leaves_all_files_alone() {
    let setup = Setup::new();
    let store = setup.open();
    setup.fill(&store, "keep", 0, 1, 10);
    store.write_all();
    store.close().unwrap();
    let before = setup.disk.files();
    let store = setup.open();
    let long = "x".repeat(256);
    for name in [
        "",
        ".",
        "..",
        "../..",
        "/",
        "/store",
        "../config",
        "a/b",
        "a\0b",
        &long,
    ] {
        store.delete_topic(name).unwrap();
    }
    store.close().unwrap();
    assert_eq!(setup.disk.files(), before);
}

#[test]
fn a_deleted_topic_starts_anew_and_stays_deleted_after_a_clean_stop() {
    let setup = Setup::new();
    let store = setup.open();
    setup.fill(&store, "keep", 0, 1, 10);
    setup.fill(&store, "gone", 0, 3, 10);
    store.write_all();
    let old = store.queue("gone", 0).unwrap();
    store.delete_topic("gone").unwrap();
    assert!(store.queues_of("gone").is_empty());
    assert!(
        setup
            .disk
            .list(Path::new("/store/consumequeue/gone"))
            .is_err()
    );
    let mut batch = [Append::new(&old, b"x", b"", host(1), host(2))];
    store.append(&mut batch);
    assert!(matches!(
        batch[0].outcome,
        Some(Err(StoreError::QueueDeleted { .. }))
    ));
    store.close().unwrap();
    let store = setup.open();
    assert_eq!(store.topics().len(), 1);
    setup.fill(&store, "gone", 0, 1, 10);
    assert_eq!(store.queue("gone", 0).unwrap().max_offset(), 1);
}

#[test]
fn impossible_names_are_refused() {
    let setup = Setup::new();
    let store = setup.open();
    let long = "x".repeat(256);
    for topic in ["", ".", "..", "a/b", "../x", "a\0b", &long] {
        assert!(
            matches!(store.queue(topic, 0), Err(StoreError::QueueName { .. })),
            "{topic:?}"
        );
    }
    assert!(store.queue("t", -1).is_err());
    assert!(store.queue("t", i32::MAX).is_ok());
}

#[test]
fn delayed_messages_carry_their_delivery_time() {
    let setup = Setup::new();
    let store = setup.open();
    let queue = store.queue("SCHEDULE_TOPIC_XXXX", 2).unwrap();
    let delay = properties(&[("DELAY", "3")]);
    let mut batch = [Append::new(
        &queue,
        b"x",
        delay.as_bytes(),
        host(1),
        host(2),
    )];
    batch[0].tags_code = TagsCode::DeliverAfter(10_000);
    store.append(&mut batch);
    let due = setup.clock.now_millis() + 10_000;
    assert_eq!(store.entry(&queue, 0).unwrap().unwrap().tags_code, due);
    setup.disk.kill();
    let store = setup.open();
    let queue = store.queue("SCHEDULE_TOPIC_XXXX", 2).unwrap();
    assert_eq!(
        store.entry(&queue, 0).unwrap().unwrap().tags_code,
        due,
        "recovered"
    );
}

#[test]
fn old_files_go_and_the_queues_follow() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 2048;
    setup.settings.mapped_file_size_consume_queue = 200;
    setup.settings.delete_commit_log_files_interval = 0;
    setup.settings.file_reserved_time = 1;
    let store = setup.open();
    setup.fill(&store, "t", 0, 30, 100);
    setup.fill(&store, "idle", 0, 1, 10);
    store.write_all();
    let old_end = store.max_physical_offset();
    setup.clock.advance(3_600_000);
    setup.disk.set_now_millis(setup.clock.now_millis());
    setup.fill(&store, "t", 0, 30, 100);
    store.write_all();
    let removed = store.delete_expired_files().unwrap();
    assert!(removed > 0);
    let begin = store.min_physical_offset();
    assert_eq!(begin, removed as i64 * 2048);
    assert!(begin <= old_end, "young files stay");
    let queue = store.queue("t", 0).unwrap();
    let min = queue.min_offset();
    assert!(min > 0 && min < 30, "{min}");
    assert!(store.entry(&queue, min).unwrap().unwrap().physical_offset >= begin);
    let got = store
        .get_messages(&queue, 0, 32, 1 << 20, &AllMessages)
        .unwrap();
    assert_eq!(
        (got.status, got.next_begin_offset),
        (GetStatus::OffsetTooSmall, min)
    );
    assert!(
        setup
            .disk
            .content(Path::new("/store/consumequeue/t/0/00000000000000000000"))
            .is_none()
    );

    // After a kill with the queues rebuilt, it is the same.
    setup.disk.kill();
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    assert_eq!((queue.min_offset(), queue.max_offset()), (min, 60));
    assert_eq!(bodies(&store, &queue).len() as i64, 60 - min);
}

#[test]
fn a_disk_over_the_warning_level_refuses_until_there_is_room() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 2048;
    setup.settings.delete_commit_log_files_interval = 0;
    let store = setup.open();
    setup.fill(&store, "t", 0, 100, 100);
    setup.disk.set_capacity(Some(20 << 10));
    setup.clock.advance(60_000);
    store.housekeeping();
    assert!(!store.is_writable(), "too full when it was looked at");
    assert!(
        store.min_physical_offset() > 0,
        "files were removed however young"
    );
    setup.disk.set_capacity(Some(1 << 20));
    setup.clock.advance(60_000);
    store.housekeeping();
    assert!(store.is_writable());
}

#[test]
fn the_offset_of_a_time_is_found_at_both_ends() {
    let setup = Setup::new();
    let store = setup.open();
    let start = setup.clock.now_millis();
    for (millis, count) in [(0, 3), (10, 1), (20, 2)] {
        setup.clock.set(start + millis);
        setup.fill(&store, "t", 0, count, 10);
    }
    let queue = store.queue("t", 0).unwrap();
    let find = |millis| {
        [Boundary::Lower, Boundary::Upper].map(|boundary| {
            store
                .offset_by_time(&queue, start + millis, boundary)
                .unwrap()
        })
    };
    assert_eq!(find(-1), [0, 0]);
    assert_eq!(find(0), [0, 2]);
    assert_eq!(find(5), [3, 2]);
    assert_eq!(find(10), [3, 3]);
    assert_eq!(find(20), [4, 5]);
    assert_eq!(find(21), [6, 5]);
    assert_eq!(store.store_timestamp_at(&queue, 4).unwrap(), start + 20);
    assert_eq!(store.store_timestamp_at(&queue, 6).unwrap(), -1);
    assert_eq!(store.earliest_time().unwrap(), start);
}

#[test]
fn the_old_part_of_the_log_reads_like_the_young_one() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 64 << 10;
    setup.settings.tail_cache_size = 10_000;
    let store = setup.open();
    for round in 0..50 {
        for queue in 0..3 {
            setup.fill(&store, "t", queue, 1, 37 * round);
        }
        setup.fill(&store, "big", 0, 1, 5000);
    }
    store.write_all();
    for queue in store.queues() {
        let all = bodies(&store, &queue);
        assert_eq!(all.len(), 50);
        for (offset, body) in all.iter().enumerate() {
            let record = store.message_at(&queue, offset as i64).unwrap().unwrap();
            assert_eq!(&body_of(&record), body);
        }
    }
}

#[test]
fn a_clock_that_goes_back_does_not_lose_messages() {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 1024;
    let store = setup.open();
    setup.fill(&store, "t", 0, 10, 100);
    setup.clock.advance(100_000);
    store.housekeeping();
    setup.clock.advance(-3_600_000);
    setup.fill(&store, "t", 0, 30, 100);
    setup.disk.kill();
    let store = setup.open();
    let queue = store.queue("t", 0).unwrap();
    assert_eq!(bodies(&store, &queue).len(), 40);
}

#[test]
fn the_threads_flush_write_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreConfig {
        store_path_root_dir: dir.path().to_str().unwrap().to_owned(),
        mapped_file_size_commit_log: 1 << 20,
        flush_disk_type: FlushDiskType::SyncFlush,
        ..StoreConfig::default()
    };
    let store = Store::open(StoreOptions::new(settings.clone())).unwrap();
    let queue = store.queue("t", 0).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let mut batch = [Append::new(&queue, b"body", b"", host(1), host(2))];
                    let end = store.append(&mut batch);
                    crate::common::block_on(store.flushed(end)).unwrap();
                    assert!(store.flushed_position() >= end);
                }
            });
        }
    });
    assert_eq!(bodies(&store, &queue).len(), 80);
    store.close().unwrap();
    let store = Store::open(StoreOptions::new(settings)).unwrap();
    assert_eq!(store.queue("t", 0).unwrap().max_offset(), 80);
}

#[test]
fn what_a_stop_knew_of_the_queues_counts_only_if_nothing_changed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreConfig {
        store_path_root_dir: dir.path().display().to_string(),
        mapped_file_size_commit_log: 1 << 20,
        ..StoreConfig::default()
    };
    let snapshot = dir.path().join("config/queues.snapshot");
    let open = || Store::open(StoreOptions::new(settings.clone())).unwrap();
    let max_of = |store: &Store, topic| store.find_queue(topic, 3).map(|queue| queue.max_offset());
    let store = open();
    for topic in ["gone", "there"] {
        let queue = store.queue(topic, 3).unwrap();
        store.append(&mut [Append::new(&queue, b"body", b"", host(1), host(2))]);
    }
    store.close().unwrap();
    assert!(snapshot.exists());

    let store = open();
    assert!(!snapshot.exists(), "it counts for one start");
    assert_eq!(max_of(&store, "gone"), Some(1));
    assert_eq!(max_of(&store, "there"), Some(1));
    store.close().unwrap();

    // A damaged one is none.
    let mut bytes = std::fs::read(&snapshot).unwrap();
    let behind_last = bytes.len() - 8 * 5 - 1;
    bytes[behind_last] ^= 2;
    std::fs::write(&snapshot, bytes).unwrap();
    let store = open();
    assert_eq!(max_of(&store, "there"), Some(1));
    store.close().unwrap();

    // Another broker deleted a topic: it made and removed its file meanwhile.
    let changed = || std::fs::metadata(dir.path()).unwrap().modified().unwrap();
    let before = changed();
    while changed().duration_since(before).unwrap_or_default() < Duration::from_millis(2) {
        let abort = dir.path().join("abort");
        std::fs::write(&abort, "").unwrap();
        std::fs::remove_file(abort).unwrap();
    }
    std::fs::remove_dir_all(dir.path().join("consumequeue/gone")).unwrap();
    let store = open();
    assert_eq!(max_of(&store, "gone"), None);
    assert_eq!(max_of(&store, "there"), Some(1));
    store.close().unwrap();
}
