#![no_main]
//! A store of which one file holds anything. The first byte chooses the file, the second whether
//! the store was closed, two say where the damage begins, and the others are the damage: what
//! each byte of the file is changed by.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use store::{
    AllMessages, Append, Clock, ConfigFile, Disk, MemoryDisk, OpenMode, Store, StoreConfig,
    StoreOptions,
};

struct NoTime;

impl Clock for NoTime {
    fn now_millis(&self) -> i64 {
        1_700_000_000_000
    }

    fn local_hour(&self) -> u32 {
        4
    }
}

fn options(disk: &MemoryDisk) -> StoreOptions {
    StoreOptions {
        settings: StoreConfig {
            store_path_root_dir: "/store".into(),
            mapped_file_size_commit_log: 2048,
            mapped_file_size_consume_queue: 200,
            tail_cache_size: 0,
            // Index files that cost little.
            max_hash_slot_num: 7,
            max_index_num: 20,
            ..StoreConfig::default()
        },
        disk: Arc::new(disk.clone()),
        clock: Arc::new(NoTime),
        threads: false,
    }
}

/// Appends ten messages.
fn append(store: &Store) {
    let queue = store.queue("topic", 0).expect("a queue");
    let host = ([127, 0, 0, 1], 10911).into();
    let mut batch: Vec<_> = (0..10)
        .map(|_| Append::new(&queue, b"body", b"TAGS\x01a\x02", host, host))
        .collect();
    store.append(&mut batch);
}

fn write(disk: &MemoryDisk, path: &Path, bytes: &[u8]) {
    disk.create_dir_all(path.parent().expect("a directory")).expect("memory");
    let file = disk.open(path, OpenMode::Create).expect("memory");
    file.set_len(0).and_then(|()| file.write_at(bytes, 0)).expect("memory");
}

/// The files of a small store.
static FILES: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let disk = MemoryDisk::new();
    let store = Store::open(options(&disk)).expect("an empty directory");
    append(&store);
    append(&store);
    store.close().expect("memory");
    write(&disk, Path::new("/store/abort"), b"1");
    write(&disk, Path::new("/store/config/topics.json"), b"{}");
    let files = disk.files().into_iter();
    files.map(|path| (path.clone(), disk.content(&path).expect("it is there"))).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let [chosen, closed, high, low, damage @ ..] = bytes else { return };
    let at = usize::from(u16::from_be_bytes([*high, *low]));
    let Some((chosen, _)) = FILES.get(usize::from(*chosen)) else { return };
    let disk = MemoryDisk::new();
    for (path, whole) in FILES.iter() {
        if closed % 2 == 1 && path.ends_with("abort") {
            continue;
        }
        let mut file = whole.clone();
        if path == chosen {
            // Any other length is refused.
            for (byte, damage) in file.iter_mut().skip(at).zip(damage) {
                *byte ^= damage;
            }
        }
        write(&disk, path, &file);
    }
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let _ = ConfigFile::new(shared, "/store/config/topics.json").load();
    for _ in 0..2 {
        let store = Store::open(options(&disk)).expect("a store with damaged content opens");
        for queue in store.queues() {
            let mut offset = queue.min_offset();
            while offset < queue.max_offset() {
                let got = store.get_messages(&queue, offset, 32, 1 << 20, &AllMessages);
                let next = got.expect("memory").next_begin_offset;
                assert!(next > offset, "reading goes on");
                offset = next;
            }
        }
        append(&store);
        store.housekeeping();
        store.close().expect("memory");
    }
});
