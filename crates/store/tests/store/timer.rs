//! The timer's files go on where the reference stopped.

use kerolox_store::*;
use serde_json::Value;

use crate::golden::{Golden, number};

/// Compares the moments that are still to be delivered with what the reference says of them.
fn check(golden: &Golden, files: &mut TimerFiles) {
    let read = number(golden.one("timer_check"), "lastReadTimeMs") / 1000;
    let waiting = |slot: &&Value| number(slot, "timeRaw") >= read;
    let mut slots = 0;
    for slot in golden.of_kind("timer_slot").filter(waiting) {
        let moment = number(slot, "timeRaw");
        assert_eq!(i64::from(files.count(moment).unwrap()), number(slot, "num"));
        let entries = files.entries(moment).unwrap();
        assert_eq!(
            entries.last().unwrap().physical_offset,
            number(&slot["entries"][0], "commitLogOffset")
        );
        for (entry, expected) in entries
            .iter()
            .rev()
            .zip(slot["entries"].as_array().unwrap())
        {
            assert_eq!(
                entry.physical_offset,
                number(expected, "commitLogOffset"),
                "at {moment}"
            );
            assert_eq!(i64::from(entry.magic), number(expected, "magic"));
        }
        slots += 1;
    }
    assert!(slots > 4, "only {slots} moments");
}

#[test]
fn messages_that_wait_in_files_of_the_reference_are_found() {
    for name in ["store-small", "store-crashed"] {
        let golden = Golden::unpack(name);
        let store = golden.open();
        let mut files = TimerFiles::open(&store).unwrap();
        check(&golden, &mut files);
        let expected = golden.one("timer_check");
        let queue_offset = number(expected, "lastTimerQueueOffset");
        assert_eq!(files.checkpoint().queue_offset, queue_offset);
        // The files as they are written now say the same.
        let read = number(expected, "lastReadTimeMs") / 1000;
        let end = store.max_physical_offset();
        files
            .make_checkpoint(&store, read, queue_offset, end)
            .unwrap();
        let mut files = TimerFiles::open(&store).unwrap();
        check(&golden, &mut files);
    }
}

#[test]
fn a_wheel_that_is_lost_is_made_anew_from_the_queue() {
    let golden = Golden::unpack("store-small");
    std::fs::remove_file(golden.root().join("timerwheel")).unwrap();
    let store = golden.open();
    let mut files = TimerFiles::open(&store).unwrap();
    check(&golden, &mut files);
}
