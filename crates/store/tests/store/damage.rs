//! One damaged byte anywhere in the files: nothing panics, and the store goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{Setup, WriteAll, host, properties};
use kerolox_store::*;

/// All files of a store, by path.
type Files = Vec<(PathBuf, Vec<u8>)>;

fn setup() -> Setup {
    let mut setup = Setup::new();
    setup.settings.mapped_file_size_commit_log = 1024;
    setup.settings.mapped_file_size_consume_queue = 160;
    setup.settings.tail_cache_size = 0;
    setup.settings.enable_lmq = true;
    setup.settings.enable_multi_dispatch = true;
    setup
}

/// A small store with several files of each kind, closed or killed.
fn small_store(closed: bool) -> Files {
    let setup = setup();
    let store = setup.open();
    let light = properties(&[("INNER_MULTI_DISPATCH", "%LMQ%light")]);
    for number in 0..10 {
        setup.fill(&store, "t", 0, 1, number);
        setup.fill(&store, "t", 1, 1, 30);
    }
    let queue = store.queue("t", 1).unwrap();
    let mut batch = [Append::new(
        &queue,
        b"x",
        light.as_bytes(),
        host(1),
        host(2),
    )];
    store.append(&mut batch);
    if closed {
        store.close().unwrap();
    } else {
        store.write_all();
        store.flush().unwrap();
        setup.disk.kill();
    }
    let files = setup.disk.files().into_iter();
    files
        .map(|path| (path.clone(), setup.disk.content(&path).unwrap()))
        .collect()
}

fn restore(disk: &MemoryDisk, files: &Files) {
    for (path, bytes) in files {
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        let file = disk.open(path, OpenMode::Create).unwrap();
        file.write_at(bytes, 0).unwrap();
    }
}

/// Reads all there is, in every way there is.
fn read_all(store: &Store) {
    for queue in store.queues() {
        let mut offset = queue.min_offset();
        while offset < queue.max_offset() {
            let got = store.get_messages(&queue, offset, 32, 1 << 20, &AllMessages);
            let next = got.unwrap().next_begin_offset;
            assert!(next > offset, "{queue:?} stands at {offset}");
            let _ = store.message_at(&queue, offset).unwrap();
            let _ = store.store_timestamp_at(&queue, offset).unwrap();
            offset = next;
        }
        for boundary in [Boundary::Lower, Boundary::Upper] {
            let _ = store
                .offset_by_time(&queue, 1_700_000_000_000, boundary)
                .unwrap();
        }
    }
    for position in store.min_physical_offset()..store.min_physical_offset() + 200 {
        let _ = store.message(position).unwrap();
    }
}

/// Opens what is there, uses it, and opens it again.
fn live_on(setup: &Setup) {
    let store = setup.open();
    read_all(&store);
    let queue = store.queue("t", 0).unwrap();
    let mut batch = [Append::new(&queue, b"new", b"", host(1), host(2))];
    store.append(&mut batch);
    let appended = batch[0].outcome.clone().unwrap().unwrap();
    let new = |store: &Store| {
        let bytes = store.message(appended.physical_offset).unwrap().unwrap();
        crate::common::body_of(&bytes)
    };
    assert_eq!(new(&store), b"new");
    store.write_all();
    let _ = store.delete_expired_files().unwrap();
    store.close().unwrap();
    let store = setup.open();
    assert_eq!(new(&store), b"new");
    read_all(&store);
}

fn damage_each_byte(closed: bool) {
    let files = small_store(closed);
    for (index, (path, bytes)) in files.iter().enumerate() {
        // Nearly all of the checkpoint is zero and stays so.
        let bytes = bytes.get(..1024).unwrap_or(bytes);
        for (at, byte) in bytes.iter().enumerate() {
            let setup = setup();
            restore(&setup.disk, &files);
            let damaged = byte ^ [0xFF, 0x01, 0x80, 0x7F][(at + index) % 4];
            setup.disk.damage(path, at as u64, &[damaged]);
            println!("{} has {damaged:#04x} at {at}", path.display());
            live_on(&setup);
        }
    }
}

#[test]
fn a_damaged_byte_of_a_closed_store_is_survived() {
    damage_each_byte(true);
}

#[test]
fn a_damaged_byte_of_a_killed_store_is_survived() {
    damage_each_byte(false);
}

#[test]
fn a_damaged_byte_of_the_log_costs_one_message_at_most() {
    let files = small_store(false);
    let logs = files
        .iter()
        .filter(|(path, _)| path.starts_with("/store/commitlog"));
    for (path, bytes) in logs {
        for (at, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            let setup = setup();
            restore(&setup.disk, &files);
            setup.disk.damage(path, at as u64, &[byte ^ 0x10]);
            let store = setup.open();
            let queues: [Arc<Queue>; 2] = [0, 1].map(|id| store.queue("t", id).unwrap());
            let found = queues.iter().flat_map(|queue| {
                let store = &store;
                let all = queue.min_offset()..queue.max_offset();
                all.filter_map(move |offset| store.message_at(queue, offset).unwrap())
            });
            assert!(found.count() >= 20, "{} damaged at {at}", path.display());
        }
    }
}

#[test]
fn files_that_are_no_files_of_a_store_are_told() {
    for (name, len) in [
        ("99999999999999999999", 1024),
        ("00288230376151710720", 1024),
        ("00000000000000000000", 5000),
    ] {
        for dir in ["commitlog", "consumequeue/t/0"] {
            let setup = setup();
            restore(&setup.disk, &small_store(true));
            let path = Path::new("/store").join(dir).join(name);
            let file = setup.disk.open(&path, OpenMode::Create).unwrap();
            file.set_len(len).unwrap();
            // It opens, or says what is wrong.
            if let Err(error) = Store::open(setup.options()) {
                assert!(matches!(error, StoreError::FileSize { .. }), "{error}");
            }
        }
    }
}
