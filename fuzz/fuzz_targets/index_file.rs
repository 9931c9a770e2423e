#![no_main]
//! An index file of any content, found by a store that was closed or killed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use store::{
    Append, Disk, Key, MemoryDisk, OpenMode, Query, Store, StoreConfig, StoreOptions,
};

/// Bytes of a file with 8 slots and room for 19 entries.
const FILE_SIZE: usize = 40 + 8 * 4 + 20 * 20;
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn options(disk: &MemoryDisk) -> StoreOptions {
    let mut options = StoreOptions::new(StoreConfig {
        store_path_root_dir: "/store".into(),
        mapped_file_size_commit_log: 4096,
        mapped_file_size_consume_queue: 200,
        max_hash_slot_num: 8,
        max_index_num: 20,
        ..StoreConfig::default()
    });
    options.disk = Arc::new(disk.clone());
    options.threads = false;
    options
}

fn find(store: &Store, key: &str) -> usize {
    let query = Query {
        topic: "t",
        key: Key::Text(key),
        max_count: 64,
        max_bytes: usize::MAX,
        begin: 0,
        end: i64::MAX,
    };
    store.query(&query).unwrap().messages.len()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else {
        return;
    };
    let disk = MemoryDisk::new();
    let store = Store::open(options(&disk)).unwrap();
    let queue = store.queue("t", 0).unwrap();
    let host: SocketAddr = ([127, 0, 0, 1], 1).into();
    for key in KEYS {
        let properties = format!("KEYS\u{1}{key}\u{2}");
        store.append(&mut [Append::new(&queue, b"body", properties.as_bytes(), host, host)]);
    }
    store.close().unwrap();
    drop(store);
    // Of all files, the one made by this store goes.
    let dir = Path::new("/store/index");
    for entry in disk.list(dir).unwrap() {
        disk.remove_file(&dir.join(entry.name)).unwrap();
    }
    let mut content = bytes.to_vec();
    content.resize(FILE_SIZE, 0);
    let file = disk.open(&dir.join("20260101000000000"), OpenMode::Create).unwrap();
    file.write_at(&content, 0).unwrap();
    let was_killed = how & 1 == 1;
    if was_killed {
        disk.open(Path::new("/store/abort"), OpenMode::Create).unwrap();
    }
    let store = Store::open(options(&disk)).unwrap();
    for key in KEYS {
        let found = find(&store, key);
        assert!(found <= 1, "{key} is found {found} times");
        assert!(found == 1 || !was_killed, "{key} is lost");
    }
    store.close().unwrap();
});
