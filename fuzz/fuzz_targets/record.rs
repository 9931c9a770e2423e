#![no_main]
//! Stored records and blanks, as they are read from a commit log.

use libfuzzer_sys::fuzz_target;
use wire::message::record::{LogEntry, RecordRef};

fuzz_target!(|bytes: &[u8]| {
    let _ = LogEntry::parse(bytes);
    if let Ok(record) = RecordRef::parse(bytes) {
        let _ = (record.check_body_crc(), record.check_record_crc());
        let _ = (record.topic(), record.properties(), record.born_host(), record.store_host());
        assert!(record.total_size() <= bytes.len());
    }
});
