//! What the index costs: the processor's time to enter messages that were appended before, on a
//! new directory under the system's temporary one (Linux only):
//! `cargo run --release -p kerolox-store --example index_rate [BODY_BYTES]`.

use std::net::SocketAddr;
use std::sync::Arc;

use kerolox_store::*;

const MESSAGES: usize = 1_000_000;
const BATCHES: [usize; 3] = [1, 16, 256];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size = match std::env::args().nth(1) {
        Some(size) => size.parse()?,
        None => 128,
    };
    let body = vec![b'x'; size];
    for (batch, in_memory) in BATCHES
        .into_iter()
        .flat_map(|batch| [(batch, true), (batch, false)])
    {
        let root = std::env::temp_dir().join(format!("kerolox-index-rate-{}", std::process::id()));
        let mut options = StoreOptions::new(StoreConfig {
            store_path_root_dir: root.to_string_lossy().into_owned(),
            tail_cache_size: if in_memory { 4 << 30 } else { 0 },
            ..StoreConfig::default()
        });
        options.threads = false;
        let store = Store::open(options)?;
        let queue = store.queue("rate", 0)?;
        for first in (0..MESSAGES).step_by(batch) {
            append(&store, &queue, &body, first, batch);
        }
        let start = processor_nanos()?;
        let query = Query {
            topic: "rate",
            key: Key::Text("order-77"),
            max_count: 1,
            max_bytes: usize::MAX,
            begin: 0,
            end: i64::MAX,
        };
        // A question has at most 256 MiB entered.
        while store.query(&query)?.last_offset < store.max_physical_offset() - 2 * size as i64 - 400
        {
        }
        let nanos = (processor_nanos()? - start) / MESSAGES as u64;
        let from = if in_memory { "memory" } else { "files" };
        println!("{size} bytes, batches of {batch}, from {from}: {nanos} ns a message");
        store.close()?;
        drop(store);
        std::fs::remove_dir_all(root)?;
    }
    Ok(())
}

/// The time that this process has run on a processor.
fn processor_nanos() -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

/// Appends messages with a unique id, a key and a tag each.
fn append(store: &Store, queue: &Arc<Queue>, body: &[u8], first: usize, batch: usize) {
    let host: SocketAddr = ([127, 0, 0, 1], 10911).into();
    let properties: Vec<String> = (first..first + batch)
        .map(|number| {
            format!(
                "KEYS\u{1}order-{number}\u{2}TAGS\u{1}TagA\u{2}UNIQ_KEY\u{1}7F0000010000ABCDEF000000{number:08X}\u{2}WAIT\u{1}true\u{2}"
            )
        })
        .collect();
    let mut appends: Vec<Append<'_>> = properties
        .iter()
        .map(|properties| Append::new(queue, body, properties.as_bytes(), host, host))
        .collect();
    store.append(&mut appends);
}
