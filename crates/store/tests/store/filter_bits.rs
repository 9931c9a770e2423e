//! Bits of filters beside the entries of a queue.

use std::sync::Arc;

use kerolox_store::*;

use crate::common::{Setup, host};

/// Gives each message with properties a bit for each of their bytes.
pub(crate) fn give_bits(store: &Store) {
    store.set_filter_bits(Box::new(|_, [properties, _]| {
        (!properties.is_empty()).then(|| properties.to_vec())
    }));
}

/// Wants messages without bits, and those whose bits these are.
struct Wanted(&'static [u8]);

impl MessageFilter for Wanted {
    fn matches_entry(&self, tags_code: i64) -> bool {
        tags_code < 1_000
    }

    fn matches_bits(&self, filter_bits: &[u8], store_timestamp: i64) -> bool {
        filter_bits == self.0 && store_timestamp > 0
    }

    fn looks_at_bits(&self) -> bool {
        true
    }
}

fn append(store: &Store, queue: &Arc<Queue>, properties: &str) {
    let mut append = Append::new(queue, b"body", properties.as_bytes(), host(1), host(2));
    append.tags_code = TagsCode::Known(7);
    store.append(std::slice::from_mut(&mut append));
    append.outcome.unwrap().unwrap();
}

fn wanted(store: &Store, bits: &'static [u8]) -> Vec<i64> {
    let queue = store.find_queue("t", 0).unwrap();
    let got = store.get_messages(&queue, 0, 100, 1 << 20, &Wanted(bits));
    let records = got.unwrap();
    records
        .records()
        .map(|record| record.queue_offset())
        .collect()
}

#[test]
fn messages_are_chosen_by_their_bits() {
    let mut setup = Setup::new();
    setup.settings.enable_consume_queue_ext = true;
    setup.settings.mapped_file_size_consume_queue_ext = 100;
    let long = "c\u{1}".to_owned() + &"c".repeat(60) + "\u{2}";
    let too_long = "d\u{1}".to_owned() + &"d".repeat(100) + "\u{2}";
    let check = |store: &Store| {
        assert_eq!(wanted(store, b"a\x01a\x02"), [0, 1, 3, 5]);
        assert_eq!(wanted(store, b"b\x01b\x02"), [0, 2, 5]);
        let queue = store.find_queue("t", 0).unwrap();
        let unit = |offset| store.ext_unit(&queue, offset).unwrap().unwrap();
        assert_eq!(
            (unit(4).tags_code, unit(4).filter_bits),
            (7, long.clone().into_bytes())
        );
        assert!(unit(0).filter_bits.is_empty());
        assert!(unit(5).filter_bits.is_empty(), "there is no room");
        let all = store.get_messages(&queue, 0, 100, 1 << 20, &AllMessages);
        assert_eq!(all.unwrap().message_count, 6);
    };
    let store = setup.open();
    give_bits(&store);
    let queue = store.queue("t", 0).unwrap();
    for properties in [
        "",
        "a\x01a\x02",
        "b\x01b\x02",
        "a\x01a\x02",
        &long,
        &too_long,
    ] {
        append(&store, &queue, properties);
    }
    check(&store);
    store.close().unwrap();
    drop((store, queue));
    check(&setup.open());
}
