#![no_main]
//! Files of both kinds of queues and of the extension, of any content, found by a store that was
//! closed or killed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use store::{
    AllMessages, Append, Boundary, Disk, MemoryDisk, OpenMode, QueueKind, Store, StoreConfig,
    StoreOptions,
};

const ENTRIES: usize = 6;
const DIRS: [(&str, usize); 3] = [
    ("/store/consumequeue/t/0", ENTRIES * 20),
    ("/store/batchconsumequeue/b/0", ENTRIES * 46),
    ("/store/consumequeue_ext/t/0", 128),
];

fn options(disk: &MemoryDisk) -> StoreOptions {
    let [(_, simple), (_, batch), (_, ext)] = DIRS;
    let mut options = StoreOptions::new(StoreConfig {
        store_path_root_dir: "/store".into(),
        mapped_file_size_commit_log: 4096,
        mapped_file_size_consume_queue: simple,
        mapper_file_size_batch_consume_queue: batch,
        mapped_file_size_consume_queue_ext: ext,
        enable_consume_queue_ext: true,
        // Index files that cost little.
        max_hash_slot_num: 7,
        max_index_num: 20,
        ..StoreConfig::default()
    });
    options.disk = Arc::new(disk.clone());
    options.threads = false;
    options
}

fn append(store: &Store) {
    let host: SocketAddr = ([127, 0, 0, 1], 1).into();
    let simple = store.queue("t", 0).unwrap();
    let batch = store.queue_of_kind("b", 0, QueueKind::Batch).unwrap();
    for count in 0..4 {
        let mut inner = Append::new(&batch, b"body", b"", host, host);
        inner.inner_messages = count;
        store.append(&mut [Append::new(&simple, b"body", b"", host, host), inner]);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else {
        return;
    };
    let disk = MemoryDisk::new();
    let store = Store::open(options(&disk)).unwrap();
    append(&store);
    store.close().unwrap();
    drop(store);
    let mut rest = bytes;
    for (dir, size) in DIRS {
        let content;
        (content, rest) = rest.split_at(rest.len().min(size));
        let path = Path::new(dir).join("00000000000000000000");
        let file = disk.open(&path, OpenMode::Write).unwrap();
        file.write_at(content, 0).unwrap();
    }
    if how & 1 == 1 {
        disk.open(Path::new("/store/abort"), OpenMode::Create).unwrap();
    }
    let store = Store::open(options(&disk)).unwrap();
    for queue in store.queues() {
        let (min, max) = (queue.min_offset(), queue.max_offset());
        assert!(min <= max);
        let mut offset = min;
        for _ in 0..100 {
            let got = store.get_messages(&queue, offset, 4, 4096, &AllMessages).unwrap();
            store.unit(&queue, offset).unwrap();
            if got.next_begin_offset <= offset {
                break;
            }
            offset = got.next_begin_offset;
        }
        for boundary in [Boundary::Lower, Boundary::Upper] {
            store.offset_by_time(&queue, 0, boundary).unwrap();
        }
    }
    append(&store);
    store.close().unwrap();
});
