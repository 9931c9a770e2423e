//! What must hold of a store that was opened again.

use std::collections::BTreeMap;

use kerolox_store::*;
use proptest::prelude::*;
use wire::message::record::{LogEntry, RecordRef};
use wire::message::{properties, property};

use super::world::{Known, LIGHT, State, World, key_of};

/// The numbers of the messages in the log, by the positions of their records.
type Found = BTreeMap<i64, usize>;

impl World {
    /// Compares the log with what is promised, and the queues with the log.
    pub(super) fn check(&mut self, power_failed: bool) -> Result<(), TestCaseError> {
        let found = self.walk()?;
        self.check_promises(&found, power_failed)?;
        self.check_queues(&found, power_failed)?;
        self.check_keys(&found)?;
        for queue in self.store.queues() {
            self.read_from(&queue, queue.min_offset())?;
        }
        Ok(())
    }

    /// Goes through the log as it lies in its files.
    fn walk(&mut self) -> Result<Found, TestCaseError> {
        let size = self.setup.settings.mapped_file_size_commit_log;
        let dir = self.setup.settings.commit_log_dir();
        let crc = self.setup.settings.enabled_append_prop_crc;
        let (begin, end) = (
            self.store.min_physical_offset(),
            self.store.max_physical_offset(),
        );
        let mut found = Found::new();
        let mut seen = vec![false; self.known.len()];
        for start in (begin..end).step_by(size) {
            let path = dir.join(format!("{start:020}"));
            let Some(bytes) = self.setup.disk.content(&path) else {
                continue;
            };
            prop_assert_eq!(bytes.len(), size);
            let mut at = 0;
            while at < size {
                let rest = &bytes[at..];
                let position = start + at as i64;
                match LogEntry::parse(rest) {
                    Ok(LogEntry::Blank { size: blank }) if blank as usize == rest.len() => break,
                    Ok(LogEntry::Record(record)) if is_whole(&record, position, crc) => {
                        prop_assert!(position < end, "a record is left behind the end");
                        let known = self.recognise(&record)?;
                        let place = place_of(&record);
                        if let Some(told) = known.place {
                            prop_assert_eq!(place, told);
                        }
                        let number = number_of(&record);
                        prop_assert!(!std::mem::replace(&mut seen[number], true), "twice");
                        let message = self.store.message(position).unwrap();
                        prop_assert_eq!(message.as_deref(), Some(record.as_bytes()));
                        found.insert(position, number);
                        at += record.total_size();
                        let known = &mut self.known[number];
                        known.place = Some(place);
                        let light = properties::get(
                            &record.properties(),
                            property::INNER_MULTI_QUEUE_OFFSET,
                        )
                        .map(|offset| offset.parse().unwrap());
                        prop_assert_eq!(light.is_some(), known.is_light);
                        known.light = light;
                        if known.state == State::Unsure {
                            known.state = State::Stored;
                        }
                    }
                    // Damaged or unwritten.
                    _ => at += 1,
                }
            }
        }
        Ok(found)
    }

    /// Everything that was promised is there; what is not is gone for ever.
    fn check_promises(&mut self, found: &Found, power_failed: bool) -> Result<(), TestCaseError> {
        let floor = self.floor;
        for (number, known) in self.known.iter_mut().enumerate() {
            let at = known.place.map_or(i64::MAX, |place| place.physical_offset);
            if at < floor || found.get(&at) == Some(&number) {
                continue;
            }
            let promised = match known.state {
                State::Stored => !power_failed,
                State::Flushed => true,
                State::Unsure | State::Deleted | State::Gone => false,
            };
            prop_assert!(!promised, "message {number} at {at} is lost");
            if known.state != State::Deleted {
                known.state = State::Gone;
            }
        }
        Ok(())
    }

    /// Every entry points to its record, and every record that should has its entry.
    fn check_queues(&mut self, found: &Found, power_failed: bool) -> Result<(), TestCaseError> {
        let begin = self.store.min_physical_offset();
        let mut entered = vec![false; self.known.len()];
        let mut in_light = vec![false; self.known.len()];
        for queue in self.store.queues() {
            let mut next = queue.min_offset();
            while next < queue.max_offset() {
                let Some(unit) = self.store.unit(&queue, next).unwrap() else {
                    // Nothing fills the place of a lost batch.
                    if queue.kind() == QueueKind::Batch {
                        next += 1;
                        continue;
                    }
                    return Err(TestCaseError::fail(format!("{queue:?} ends at {next}")));
                };
                let (offset, entry) = (unit.queue_offset, unit.entry);
                prop_assert_eq!(offset, next);
                next = unit.end();
                if entry.is_blank() {
                    continue;
                }
                let at = entry.physical_offset;
                prop_assert!(at >= begin, "{queue:?} {offset} points in front of the log");
                let Some(number) = found.get(&at).copied() else {
                    return Err(TestCaseError::fail(format!(
                        "{queue:?} {offset} points to {at}, where no record is"
                    )));
                };
                let known = &self.known[number];
                let place = known.place.unwrap();
                prop_assert_eq!(entry.size, place.size);
                prop_assert_eq!(
                    entry.tags_code,
                    tags_code(known, &place),
                    "{:?} {} of the record at {}",
                    queue,
                    offset,
                    at
                );
                if &**queue.topic() == LIGHT {
                    prop_assert_eq!((known.light, unit.count), (Some(offset), 1));
                    in_light[number] = true;
                    continue;
                }
                prop_assert!(known.is_queued());
                prop_assert_eq!(
                    (known.topic, known.queue_id),
                    (&**queue.topic(), queue.id())
                );
                prop_assert_eq!((place.queue_offset, known.count()), (offset, unit.count));
                prop_assert!(!std::mem::replace(&mut entered[number], true), "twice");
            }
        }
        for (at, number) in found.range(self.floor..) {
            prop_assert!(
                !entered[*number] || in_light[*number] == self.known[*number].is_light,
                "message {number} at {at} is in one of its queues only"
            );
            let known = &mut self.known[*number];
            if entered[*number] || !known.is_queued() || known.state == State::Deleted {
                continue;
            }
            // Behind lost bytes some messages that nobody promised cannot be told from others:
            // of a topic made anew, if its first one is lost, from those of the one deleted;
            // stored after the clock went back, from what was cut off.
            let doubtful = known.made_anew || self.went_back;
            let optional = power_failed && doubtful && known.state == State::Stored;
            prop_assert!(
                optional,
                "message {number} at {at} is in no queue: {:?} of {} {}",
                known.place,
                known.topic,
                known.queue_id
            );
            known.state = State::Deleted;
        }
        Ok(())
    }

    /// Every message in the log is found by its key, once, and no other.
    fn check_keys(&mut self, found: &Found) -> Result<(), TestCaseError> {
        let mut places = vec![None; self.known.len()];
        for (at, number) in found {
            places[*number] = Some(*at).filter(|_| self.known[*number].has_keys());
        }
        for (number, (known, place)) in self.known.iter_mut().zip(places).enumerate() {
            let query = Query {
                topic: known.topic,
                key: Key::Text(&key_of(number)),
                max_count: usize::MAX,
                max_bytes: usize::MAX,
                begin: 0,
                end: i64::MAX,
            };
            let messages = self.store.query(&query).unwrap().messages;
            let positions = messages
                .iter()
                .map(|message| RecordRef::parse(message).unwrap().physical_offset());
            let positions: Vec<i64> = positions.collect();
            // As in the queues: what a power failure left behind a hole may be left out.
            if positions.is_empty() && self.went_back && known.state != State::Flushed {
                // It stays in the hole, so that later flushes promise nothing of it.
                known.state = State::Deleted;
                continue;
            }
            prop_assert_eq!(
                positions,
                Vec::from_iter(place),
                "message {} of {} by its key",
                number,
                known.topic
            );
        }
        Ok(())
    }
}

fn is_whole(record: &RecordRef<'_>, at: i64, crc: bool) -> bool {
    let whole = match crc {
        true => record.check_record_crc(),
        false => record.check_body_crc(),
    };
    record.physical_offset() == at && whole.is_ok() && record.properties_bytes().last() == Some(&2)
}

fn number_of(record: &RecordRef<'_>) -> usize {
    let number = record.body().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(number) as usize
}

fn place_of(record: &RecordRef<'_>) -> Appended {
    Appended {
        physical_offset: record.physical_offset(),
        size: record.total_size() as i32,
        queue_offset: record.queue_offset(),
        store_timestamp: record.store_timestamp(),
    }
}

fn tags_code(known: &Known, place: &Appended) -> i64 {
    match known.tags_code {
        TagsCode::Known(code) => code,
        TagsCode::DeliverAfter(millis) => place.store_timestamp + millis,
    }
}
