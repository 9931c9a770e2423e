//! How fast messages go into the store and out of it, on a new directory under the system's
//! temporary one: `cargo run --release -p kerolox-store --example append_rate [BODY_BYTES]`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use kerolox_store::*;

const PROPERTIES: &[u8] = b"UNIQ_KEY\x017F0000010000ABCDEF00000000000001\x02WAIT\x01true\x02";
const SECONDS: f64 = 2.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size = match std::env::args().nth(1) {
        Some(size) => size.parse()?,
        None => 128,
    };
    let body = vec![b'x'; size];
    for batch in [1, 8, 64, 256] {
        let root = std::env::temp_dir().join(format!("kerolox-append-rate-{}", std::process::id()));
        let store = Store::open(StoreOptions::new(StoreConfig {
            store_path_root_dir: root.to_string_lossy().into_owned(),
            ..StoreConfig::default()
        }))?;
        let queues = (0..8)
            .map(|id| store.queue("rate", id))
            .collect::<Result<Vec<_>, _>>()?;
        let written = append(&store, &queues, &body, batch);
        let read = pull(&store, &queues)?;
        println!(
            "{size} bytes, batches of {batch}: {written:.0} messages/s in, {read:.0} out in 32s"
        );
        store.close()?;
        drop(store);
        std::fs::remove_dir_all(root)?;
    }
    Ok(())
}

/// Messages appended in a second.
fn append(store: &Store, queues: &[Arc<Queue>], body: &[u8], batch: usize) -> f64 {
    let host: SocketAddr = ([127, 0, 0, 1], 10911).into();
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed().as_secs_f64() < SECONDS {
        for _ in 0..100 {
            let mut appends: Vec<Append<'_>> = queues
                .iter()
                .cycle()
                .take(batch)
                .map(|queue| Append::new(queue, body, PROPERTIES, host, host))
                .collect();
            store.append(&mut appends);
            count += appends
                .iter()
                .filter(|append| matches!(append.outcome, Some(Ok(_))))
                .count();
        }
    }
    count as f64 / start.elapsed().as_secs_f64()
}

/// Messages read in a second, from the first one on.
fn pull(store: &Store, queues: &[Arc<Queue>]) -> Result<f64, StoreError> {
    let start = Instant::now();
    let mut count = 0;
    for queue in queues {
        let mut offset = queue.min_offset();
        while start.elapsed().as_secs_f64() < SECONDS {
            let got = store.get_messages(queue, offset, 32, 1 << 20, &AllMessages)?;
            if got.status != GetStatus::Found {
                break;
            }
            count += got.message_count;
            offset = got.next_begin_offset;
        }
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
