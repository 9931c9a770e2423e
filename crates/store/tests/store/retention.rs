//! Which files are removed when.

use std::path::Path;

use crate::common::{Setup, WriteAll};
use kerolox_store::*;

/// A store of 20 full log files, each an hour older than the next.
fn hourly(setup: &mut Setup) -> std::sync::Arc<Store> {
    setup.settings.mapped_file_size_commit_log = 1 << 20;
    setup.settings.delete_commit_log_files_interval = 0;
    let store = setup.open();
    for _ in 0..21 {
        setup.fill(&store, "t", 0, 2, 400 << 10);
        setup.clock.advance(3_600_000);
        setup.disk.set_now_millis(setup.clock.now_millis());
    }
    store
}

/// How many files went with one round of housekeeping.
fn removed(store: &Store, setup: &Setup) -> i64 {
    setup.clock.advance(10_000);
    let before = store.min_physical_offset();
    store.write_all();
    (store.min_physical_offset() - before) >> 20
}

/// Makes the disk so full, in percent.
fn fill_up(setup: &Setup, percent: u64) {
    setup.disk.set_capacity(None);
    let space = setup.disk.space(Path::new("/store")).unwrap();
    let used = space.total - space.free;
    setup.disk.set_capacity(Some(used * 100 / percent));
}

#[test]
fn old_files_go_at_their_hour_and_few_at_a_time() {
    let mut setup = Setup::new();
    setup.settings.file_reserved_time = 6;
    setup.settings.delete_file_batch_max = 4;
    let store = hourly(&mut setup);
    assert_eq!(removed(&store, &setup), 0, "at noon");
    setup.clock.set_hour(4);
    let rounds: Vec<i64> = (0..6).map(|_| removed(&store, &setup)).collect();
    assert_eq!(rounds, [4, 4, 4, 3, 0, 0]);
}

#[test]
fn a_disk_that_fills_up_loses_old_files_then_young_ones_then_refuses() {
    let mut setup = Setup::new();
    setup.settings.file_reserved_time = 19;
    setup.settings.delete_file_batch_max = 1;
    let store = hourly(&mut setup);
    fill_up(&setup, 74);
    assert_eq!(removed(&store, &setup), 0);
    fill_up(&setup, 77);
    assert_eq!((removed(&store, &setup), store.is_writable()), (1, true));
    fill_up(&setup, 77);
    assert_eq!(removed(&store, &setup), 1);
    fill_up(&setup, 77);
    assert_eq!(removed(&store, &setup), 0, "the others are young");
    fill_up(&setup, 87);
    assert_eq!((removed(&store, &setup), store.is_writable()), (1, true));
    fill_up(&setup, 92);
    assert_eq!((removed(&store, &setup), store.is_writable()), (1, false));
    let settings = StoreConfig {
        clean_file_forcibly_enable: false,
        ..setup.settings.clone()
    };
    store.reconfigure(settings);
    fill_up(&setup, 92);
    assert_eq!((removed(&store, &setup), store.is_writable()), (0, false));
    fill_up(&setup, 60);
    assert_eq!((removed(&store, &setup), store.is_writable()), (0, true));
}
