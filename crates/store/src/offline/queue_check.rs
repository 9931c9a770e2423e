//! Queue entries against records, and records against queue entries.
//!
//! Records of a queue come in the order of their numbers, so its entries are read once, forwards.
//! An entry is *confirmed* by the record that gives it. What is passed over without being confirmed
//! is wrong and looked into one by one. A record whose number holds an entry of a later record is
//! passed over itself: it may be from before its topic was deleted and made again; if it is not, its
//! entry will not be confirmed.

use std::collections::{BTreeMap, HashMap, HashSet};

use wire::message::delay_levels::DelayLevels;
use wire::message::names;
use wire::message::record::RecordRef;

use super::queue::OfflineQueue;
use super::verify::Verify;
use super::{Place, Severity};
use crate::consume_queue::QueueUnit;
use crate::dispatch::{Dispatch, dispatches};
use crate::error::StoreError;

/// The check of all simple queues.
pub(super) struct QueueCheck {
    levels: DelayLevels,
    cursors: HashMap<String, HashMap<i32, Cursor>>,
    /// Messages of queues that are not there: how many, and where the first one is.
    strays: BTreeMap<(String, i32), (u64, i64)>,
    known_topics: Option<HashSet<String>>,
    /// Records from here on are entered into the queues by the next start.
    rebuilt_from: i64,
}

/// How far a queue has been compared.
struct Cursor {
    queue: OfflineQueue,
    /// Slot of the first entry not looked at.
    next: i64,
    /// Position that the first entry points to; -1 without one.
    first_position: i64,
    run: Option<Run>,
}

/// Consecutive numbers of a queue with one thing wrong with them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Run {
    fault: Fault,
    /// Slot of the first one's entry.
    slot: i64,
    first: i64,
    last: i64,
    /// Position in the log of the first one's record.
    position: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The message has no entry; the next start may enter it.
    NoEntry { harmless: bool },
    /// The entry points to where no whole record begins.
    NoRecord,
    /// The entry stands for a message that is known to be lost.
    Blank,
    /// Another message has the number.
    Taken,
}

impl QueueCheck {
    pub(super) fn new(verify: &mut Verify<'_>) -> Result<QueueCheck, StoreError> {
        let store = verify.store;
        let mut cursors: HashMap<String, HashMap<i32, Cursor>> = HashMap::new();
        for mut queue in store.queues()? {
            let (len, key) = queue.file_size();
            verify.lengths(queue.files(), len, key, |start| queue.path(start));
            verify.verified.queues += 1;
            let (first, _) = queue.slots();
            let unit = queue.unit(first)?;
            let topic = cursors.entry(queue.topic().to_owned()).or_default();
            topic.insert(
                queue.id(),
                Cursor {
                    next: first,
                    first_position: unit.map_or(-1, |unit| unit.entry.physical_offset),
                    run: None,
                    queue,
                },
            );
        }
        let checkpoint = store.checkpoint()?;
        let rebuilt_from = if verify.killed {
            store.log.rebuild_from(&store.settings, checkpoint)?
        } else {
            i64::MAX
        };
        Ok(QueueCheck {
            levels: store.settings.delay_levels(),
            cursors,
            strays: BTreeMap::new(),
            known_topics: store.known_topics(),
            rebuilt_from,
        })
    }

    /// Compares the next record of the log with its entries.
    pub(super) fn record(
        &mut self,
        verify: &mut Verify<'_>,
        record: &RecordRef<'_>,
        at: i64,
    ) -> Result<(), StoreError> {
        for dispatch in dispatches(record, at, &self.levels) {
            let topic = self.cursors.get_mut(dispatch.topic.as_str());
            match topic.and_then(|queues| queues.get_mut(&dispatch.queue_id)) {
                Some(cursor) => {
                    let harmless = at >= self.rebuilt_from;
                    cursor.compare(verify, &self.levels, &dispatch, harmless)?;
                }
                None => {
                    let queue = (dispatch.topic, dispatch.queue_id);
                    self.strays.entry(queue).or_insert((0, at)).0 += 1;
                }
            }
        }
        Ok(())
    }

    /// The log has ended: what has not been confirmed will not be.
    pub(super) fn finish(mut self, verify: &mut Verify<'_>) -> Result<(), StoreError> {
        let mut cursors: Vec<&mut Cursor> = self
            .cursors
            .values_mut()
            .flat_map(HashMap::values_mut)
            .collect();
        cursors.sort_by(|a, b| {
            let order = a.queue.topic().cmp(b.queue.topic());
            order.then(a.queue.id().cmp(&b.queue.id()))
        });
        for cursor in cursors {
            let (_, end) = cursor.queue.slots();
            cursor.pass_over(verify, &self.levels, end)?;
            cursor.end_run(verify);
        }
        let Some(known) = &self.known_topics else {
            return Ok(());
        };
        for ((topic, id), (count, first)) in self.strays {
            let deleted = !known.contains(&topic) && !names::is_lmq(&topic);
            let what = if deleted {
                format!("{count} messages of a topic that was deleted are still in the log")
            } else {
                format!("the queue has no files, but {count} messages of it are in the log")
            };
            let place = Place {
                queue: Some((topic, id)),
                ..verify.log_place(first)
            };
            let harmless = deleted || first >= self.rebuilt_from;
            verify.found(Verify::unless(harmless), place, what);
        }
        Ok(())
    }
}

impl Cursor {
    fn compare(
        &mut self,
        verify: &mut Verify<'_>,
        levels: &DelayLevels,
        dispatch: &Dispatch,
        harmless: bool,
    ) -> Result<(), StoreError> {
        let number = dispatch.unit.queue_offset;
        let position = dispatch.unit.entry.physical_offset;
        let slot = self.queue.slot_of(number, self.next)?;
        let unit = self.queue.unit(slot)?;
        match unit.filter(|unit| unit.queue_offset <= number) {
            Some(unit) if slot >= self.next && self.fits(&unit, dispatch)? => {
                self.pass_over(verify, levels, slot)?;
                self.next = slot + 1;
                verify.verified.queue_entries += 1;
            }
            Some(unit) if !unit.entry.is_blank() => {
                if slot < self.next && unit.entry.physical_offset < position {
                    self.add(verify, Fault::Taken, slot, number, position);
                }
            }
            // From before the topic was deleted and made again.
            _ if number >= self.queue.first() && position < self.first_position => {}
            _ => self.add(verify, Fault::NoEntry { harmless }, slot, number, position),
        }
        Ok(())
    }

    /// Whether an entry is the one that a record gives.
    fn fits(&self, unit: &QueueUnit, dispatch: &Dispatch) -> Result<bool, StoreError> {
        if *unit == dispatch.unit {
            return Ok(true);
        }
        let tags_code = self.queue.tags_code(unit)?;
        let mut unit = *unit;
        unit.entry.tags_code = tags_code.unwrap_or(unit.entry.tags_code);
        Ok(unit == dispatch.unit)
    }

    /// Looks into the entries up to a slot, none of which has been confirmed.
    fn pass_over(
        &mut self,
        verify: &mut Verify<'_>,
        levels: &DelayLevels,
        to: i64,
    ) -> Result<(), StoreError> {
        while self.next < to {
            let slot = self.next;
            self.next += 1;
            let Some(unit) = self.queue.unit(slot)? else {
                continue;
            };
            let (number, position) = (unit.queue_offset, unit.entry.physical_offset);
            if unit.entry.is_blank() {
                self.add(verify, Fault::Blank, slot, number, position);
            } else if position >= verify.store.log.begin() {
                let record = verify.store.record(position)?;
                let record = record
                    .as_deref()
                    .and_then(|bytes| RecordRef::parse(bytes).ok());
                match record {
                    None => self.add(verify, Fault::NoRecord, slot, number, position),
                    Some(record) => {
                        let all = dispatches(&record, position, levels);
                        let what = self.difference(&unit, &record, &all);
                        self.end_run(verify);
                        verify.found(Severity::Damage, self.place(verify, slot, number), what);
                    }
                }
            }
        }
        Ok(())
    }

    /// How an entry differs from the record that it points to.
    fn difference(&self, unit: &QueueUnit, record: &RecordRef<'_>, all: &[Dispatch]) -> String {
        let position = unit.entry.physical_offset;
        let own = all.iter().find(|dispatch| {
            dispatch.topic == self.queue.topic() && dispatch.queue_id == self.queue.id()
        });
        let Some(own) = own.map(|own| &own.unit) else {
            return format!(
                "the entry points to position {position}, where message {} of queue {} of {} is",
                record.queue_offset(),
                record.queue_id(),
                record.topic()
            );
        };
        if own.queue_offset != unit.queue_offset {
            return format!(
                "the entry points to position {position}, where message {} of the queue is",
                own.queue_offset
            );
        }
        let (entry, own_entry) = (&unit.entry, &own.entry);
        let (says, has, name) = if own.count != unit.count {
            (unit.count.into(), own.count.into(), "messages")
        } else if own_entry.size != entry.size {
            (entry.size.into(), own_entry.size.into(), "bytes")
        } else {
            (entry.tags_code, own_entry.tags_code, "as tags code")
        };
        format!("the entry says {says} {name}, but the record at position {position} has {has}")
    }

    /// Something wrong with a number; consecutive ones with the same are told together.
    fn add(
        &mut self,
        verify: &mut Verify<'_>,
        fault: Fault,
        slot: i64,
        number: i64,
        position: i64,
    ) {
        match &mut self.run {
            Some(run) if run.fault == fault && run.last + 1 == number => run.last = number,
            _ => {
                self.end_run(verify);
                self.run = Some(Run {
                    fault,
                    slot,
                    first: number,
                    last: number,
                    position,
                });
            }
        }
    }

    fn end_run(&mut self, verify: &mut Verify<'_>) {
        let Some(run) = self.run.take() else {
            return;
        };
        let Run { first, last, .. } = run;
        let (one, entry) = if first == last {
            ("the message".to_owned(), "the entry".to_owned())
        } else {
            (
                format!("each of the messages {first} to {last}"),
                format!("each of the entries {first} to {last}"),
            )
        };
        let position = run.position;
        let (severity, what) = match run.fault {
            Fault::NoEntry { harmless: true } => (
                Severity::Note,
                format!("{one} has no entry yet, the next start makes it (position {position})"),
            ),
            Fault::NoEntry { harmless: false } => (
                Severity::Damage,
                format!("{one} has no entry, its record is in the log (position {position})"),
            ),
            Fault::NoRecord => (
                Severity::Damage,
                format!("{entry} points to where no whole record is (position {position})"),
            ),
            Fault::Blank => (
                Severity::Note,
                format!("{entry} stands for a message that was lost"),
            ),
            Fault::Taken => (
                Severity::Damage,
                format!("another message has the number of the record at position {position}"),
            ),
        };
        verify.found(severity, self.place(verify, run.slot, first), what);
    }

    /// Where the entry of a message stands, or would.
    fn place(&self, verify: &Verify<'_>, slot: i64, number: i64) -> Place {
        let (path, at) = self.queue.place(slot);
        Place {
            queue: Some((self.queue.topic().to_owned(), self.queue.id())),
            offset: Some(number),
            ..verify.file(&path, Some(at))
        }
    }
}
