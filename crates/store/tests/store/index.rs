//! Finding messages by key, as users meet it, on a disk in memory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::common::{Setup, body_of, host, properties};
use kerolox_store::*;
use proptest::prelude::*;

const EVERYTHING: Query<'static> = Query {
    topic: "t",
    key: Key::Text("k"),
    max_count: 64,
    max_bytes: usize::MAX,
    begin: 0,
    end: i64::MAX,
};

fn setup() -> Setup {
    let mut setup = Setup::new();
    setup.settings.max_hash_slot_num = 5;
    setup.settings.max_index_num = 10;
    setup
}

/// Appends a message with the key `k`.
fn send(store: &Store, body: &[u8]) {
    let queue = store.queue("t", 0).unwrap();
    let properties = properties(&[("KEYS", "k")]);
    let mut batch = [Append::new(
        &queue,
        body,
        properties.as_bytes(),
        host(1),
        host(2),
    )];
    store.append(&mut batch);
    batch[0].outcome.clone().unwrap().unwrap();
}

fn find(store: &Store, query: &Query<'_>) -> Vec<String> {
    let messages = store.query(query).unwrap().messages;
    let bodies = messages.iter().map(|bytes| body_of(bytes));
    bodies
        .map(|body| String::from_utf8(body).unwrap())
        .collect()
}

fn files(setup: &Setup) -> Vec<String> {
    let entries = setup
        .disk
        .list(Path::new("/store/index"))
        .unwrap_or_default();
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

#[test]
fn a_store_without_keys_has_no_index_files() {
    let setup = setup();
    let store = setup.open();
    setup.fill(&store, "t", 0, 20, 10);
    assert!(find(&store, &EVERYTHING).is_empty());
    store.close().unwrap();
    assert!(files(&setup).is_empty());
}

#[test]
fn the_time_and_the_limits_of_a_question_are_kept() {
    let setup = setup();
    let store = setup.open();
    let start = setup.clock.now_millis();
    for number in 0..30_u8 {
        send(&store, format!("{number}").as_bytes());
        setup.clock.advance(700);
    }
    let between = |begin, end| {
        let (begin, end) = (start + begin, start + end);
        find(
            &store,
            &Query {
                begin,
                end,
                ..EVERYTHING
            },
        )
    };
    assert_eq!(between(0, 0), ["0"]);
    assert_eq!(between(700, 1400), ["1", "2"]);
    assert_eq!(between(1, 699), [""; 0]);
    assert_eq!(
        between(9 * 700, 11 * 700),
        ["9", "10", "11"],
        "in two files"
    );
    assert_eq!(between(29 * 700, i64::MAX / 2), ["29"]);

    let newest = |max_count| {
        find(
            &store,
            &Query {
                max_count,
                ..EVERYTHING
            },
        )
    };
    assert_eq!(newest(2), ["28", "29"]);
    assert_eq!(newest(64).len(), 30);
    assert_eq!(newest(0), [""; 0]);
    let size = store
        .query(&Query {
            max_count: 1,
            ..EVERYTHING
        })
        .unwrap()
        .messages[0]
        .len();
    let within = |max_bytes| {
        find(
            &store,
            &Query {
                max_bytes,
                ..EVERYTHING
            },
        )
    };
    assert_eq!(within(2 * size), ["28", "29"]);
    assert_eq!(within(1), ["29"]);
    let found = store.query(&EVERYTHING).unwrap();
    assert_eq!(found.last_timestamp, start + 29 * 700);
    assert!(store.message(found.last_offset).unwrap().is_some());
}

#[test]
fn messages_stored_without_an_index_are_entered_later() {
    let mut setup = setup();
    setup.settings.message_index_enable = false;
    let store = setup.open();
    (0..30).for_each(|_| send(&store, b"before"));
    assert!(find(&store, &EVERYTHING).is_empty());
    store.close().unwrap();
    drop(store);
    assert!(files(&setup).is_empty());

    setup.settings.message_index_enable = true;
    let store = setup.open();
    send(&store, b"after");
    assert_eq!(find(&store, &EVERYTHING).len(), 31);
    store.close().unwrap();
    drop(store);

    // With files that do not fit the settings, too, and with some that are missing.
    setup.settings.max_hash_slot_num = 6;
    let store = setup.open();
    assert_eq!(find(&store, &EVERYTHING).len(), 31);
    store.close().unwrap();
    drop(store);
    for gone in [0, 2] {
        let name = &files(&setup)[gone];
        setup
            .disk
            .remove_file(&Path::new("/store/index").join(name))
            .unwrap();
        let store = setup.open();
        assert_eq!(find(&store, &EVERYTHING).len(), 31);
        store.close().unwrap();
    }
}

#[test]
fn a_failing_disk_does_not_stop_sending_and_the_index_catches_up() {
    let setup = setup();
    let store = setup.open();
    send(&store, b"first");
    assert_eq!(find(&store, &EVERYTHING), ["first"]);
    for _ in 0..50 {
        send(&store, b"more");
        // Only the index writes anything now.
        for operation in [Operation::Write, Operation::Create, Operation::Sync] {
            setup.disk.inject(Fault {
                operation,
                after: 0,
                partial: 7,
                kind: io::ErrorKind::StorageFull,
            });
        }
        assert!(!find(&store, &EVERYTHING).is_empty());
        setup.disk.clear_faults();
    }
    assert_eq!(find(&store, &EVERYTHING).len(), 51);
    store.close().unwrap();
    drop(store);
    assert_eq!(find(&setup.open(), &EVERYTHING).len(), 51);
}

#[test]
fn index_files_go_with_the_log() {
    let mut setup = setup();
    setup.settings.file_reserved_time = 0;
    setup.settings.delete_commit_log_files_interval = 0;
    let store = setup.open();
    let body = [b'x'; 500];
    (0..60).for_each(|_| send(&store, &body));
    assert_eq!(find(&store, &EVERYTHING).len(), 60);
    let before = files(&setup);
    setup.clock.advance(1);
    store.delete_expired_files().unwrap();
    let after = files(&setup);
    assert!(
        after.len() < before.len() && before.ends_with(&after),
        "{after:?}"
    );
    let count = find(&store, &EVERYTHING).len();
    assert!((1..60).contains(&count), "{count} are left");
    store.close().unwrap();
    drop(store);
    assert_eq!(find(&setup.open(), &EVERYTHING).len(), count);
}

#[test]
fn the_thread_follows_the_log() {
    let setup = setup();
    let mut options = setup.options();
    options.threads = true;
    let store = Store::open(options).unwrap();
    send(&store, b"m");
    // Without a question, the file comes by itself.
    while files(&setup).is_empty() {
        std::thread::yield_now();
    }
    let found = Arc::clone(&store);
    assert_eq!(find(&found, &EVERYTHING), ["m"]);
    store.close().unwrap();
}

/// Bytes that are somewhat like a file: small numbers, seldom others.
fn file_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![6 => Just(0_u8), 3 => 0_u8..12, 1 => any::<u8>()];
    prop::collection::vec(byte, 0..300)
}

proptest! {
    #[test]
    fn no_bytes_in_an_index_file_hide_a_message_after_a_kill(bytes in file_bytes(), killed in any::<bool>()) {
        let setup = setup();
        let store = setup.open();
        for body in [b"1", b"2", b"3"] {
            send(&store, body);
        }
        store.close().unwrap();
        drop(store);
        let dir = Path::new("/store/index");
        let len = 40 + 4 * 5 + 20 * 10;
        for name in files(&setup) {
            setup.disk.remove_file(&dir.join(name)).unwrap();
        }
        let file = setup.disk.open(&dir.join("20260101000000000"), OpenMode::Create).unwrap();
        file.write_at(&bytes, 0).unwrap();
        file.set_len(len).unwrap();
        if killed {
            setup.disk.open(Path::new("/store/abort"), OpenMode::Create).unwrap();
        }
        let store = setup.open();
        let found = find(&store, &EVERYTHING);
        prop_assert!(found.is_sorted_by(|a, b| a < b));
        prop_assert!(found == ["1", "2", "3"] || !killed, "{:?}", found);
        store.close().unwrap();
    }
}
