//! A store beside what is known of every message that was ever given to it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use kerolox_store::*;
use proptest::prelude::*;
use wire::message::record::RecordRef;
use wire::message::sys_flag::message as sys_flag;
use wire::message::{property, tags};

use super::case::{Case, Crash, Kind, Loss, Message, Step, Trouble};
use crate::common::{Setup, properties};
use crate::filter_bits::give_bits;

/// The queues that messages go to.
const TARGETS: [(&str, i32); 7] = [
    ("a", 0),
    ("a", 1),
    ("b", 0),
    ("b", 7),
    // Longer than a record of version 1 can say.
    (LONG, 0),
    (BATCH, 0),
    (BATCH, 1),
];
/// The topic of batch queues.
const BATCH: &str = "batch";
const LONG: &str = "long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-\
                    long-long-long-long-long-long-long-long-long-long-long-long-long-long";
const DELAYED: &str = "SCHEDULE_TOPIC_XXXX";
pub(super) const LIGHT: &str = "%LMQ%light";

type Checked = Result<(), TestCaseError>;

/// What is known of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    /// It was refused with an error of the disk, or the process died meanwhile: it may be there.
    Unsure,
    /// It was accepted: a kill cannot take it.
    Stored,
    /// It is on the disk: nothing can take it.
    Flushed,
    /// Its topic was deleted: it may come back.
    Deleted,
    /// It is not there, and never will be.
    Gone,
}

/// A message that was given to the store; its number is the front of its body.
pub(super) struct Known {
    pub(super) topic: &'static str,
    pub(super) queue_id: i32,
    pub(super) body: Vec<u8>,
    pub(super) properties: String,
    pub(super) sys_flag: i32,
    pub(super) hosts: (SocketAddr, SocketAddr),
    pub(super) tags_code: TagsCode,
    /// Messages of its inner batch; 0 without one.
    inner_messages: i16,
    /// Whether it names the light queue.
    pub(super) is_light: bool,
    /// Its number in the light queue, as its record in the log says.
    pub(super) light: Option<i64>,
    /// Whether its topic was deleted before.
    pub(super) made_anew: bool,
    pub(super) state: State,
    pub(super) place: Option<Appended>,
}

impl Known {
    pub(super) fn is_queued(&self) -> bool {
        !matches!(
            sys_flag::transaction_type(self.sys_flag),
            sys_flag::TRANSACTION_PREPARED_TYPE | sys_flag::TRANSACTION_ROLLBACK_TYPE
        )
    }

    /// How many numbers it takes in its queue.
    pub(super) fn count(&self) -> i16 {
        self.inner_messages.max(1)
    }

    /// Whether it is found by its key.
    pub(super) fn has_keys(&self) -> bool {
        let kind = sys_flag::transaction_type(self.sys_flag);
        kind != sys_flag::TRANSACTION_ROLLBACK_TYPE
    }
}

/// The key that a message has for itself.
pub(super) fn key_of(number: usize) -> String {
    format!("key{number}")
}

pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) store: Arc<Store>,
    pub(super) known: Vec<Known>,
    /// The furthest that the log ever began: nothing in front of it is promised.
    pub(super) floor: i64,
    /// Faults were made since the store was opened, so that it may refuse.
    excused: bool,
    /// How the process dies, once it does.
    crash: Option<Crash>,
    /// Topics that were deleted at some time.
    deleted: HashSet<&'static str>,
    /// Whether the clock was ever set back.
    pub(super) went_back: bool,
}

impl World {
    pub(super) fn new(case: &Case) -> World {
        let mut setup = Setup::new();
        setup.settings = StoreConfig {
            mapped_file_size_commit_log: case.log_file,
            mapped_file_size_consume_queue: 160,
            mapper_file_size_batch_consume_queue: 3 * 46,
            mapped_file_size_consume_queue_ext: 150,
            enable_consume_queue_ext: case.ext,
            enabled_append_prop_crc: case.crc,
            force_verify_prop_crc: case.crc,
            tail_cache_size: 6000,
            flush_consume_queue_thorough_interval: 30_000,
            max_msgs_num_batch: 1000,
            file_reserved_time: 1,
            delete_commit_log_files_interval: 0,
            enable_lmq: true,
            enable_multi_dispatch: true,
            ..setup.settings
        };
        World {
            store: with_bits(setup.open()),
            setup,
            known: Vec::new(),
            floor: 0,
            excused: false,
            crash: None,
            deleted: HashSet::new(),
            went_back: false,
        }
    }

    pub(super) fn live(&mut self, steps: &[Step]) -> Checked {
        for step in steps {
            self.step(step)?;
            self.note();
            if self.setup.disk.is_dead()
                && let Some(crash) = self.crash.take()
            {
                self.crash(&crash)?;
                self.note();
            }
        }
        self.setup.disk.clear_faults();
        self.setup.disk.set_capacity(None);
        self.close()
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Append(messages) => self.append(messages, false)?,
            Step::Batch(messages) => self.append(messages, true)?,
            Step::Read(queue, at) => {
                let (topic, id) = TARGETS[usize::from(*queue) % TARGETS.len()];
                if let Some(queue) = self.store.find_queue(topic, id) {
                    let (min, max) = (queue.min_offset(), queue.max_offset());
                    self.read_from(&queue, min + i64::from(*at) % (max - min + 1))?;
                }
            }
            Step::Flush => {
                let flushed = self.store.flush();
                self.excuse(flushed)?;
            }
            Step::Housekeeping => self.store.housekeeping(),
            Step::Time(millis) => {
                self.went_back |= *millis < 0;
                self.pass(*millis);
            }
            Step::Expire => {
                self.pass(2 * 3_600_000);
                let removed = self.store.delete_expired_files();
                self.excuse(removed)?;
            }
            Step::DeleteTopic(topic) => {
                let (topic, _) = TARGETS[usize::from(*topic) % TARGETS.len()];
                for known in &mut self.known {
                    if known.topic == topic && known.state != State::Gone {
                        known.state = State::Deleted;
                    }
                }
                self.deleted.insert(topic);
                let deleted = self.store.delete_topic(topic);
                self.excuse(deleted)?;
                prop_assert!(self.store.queues_of(topic).is_empty());
            }
            Step::Full(room) => {
                let space = self.setup.disk.space(Path::new("/")).unwrap();
                let used = space.total - space.free;
                self.setup.disk.set_capacity(Some(used + room));
                self.excused = true;
            }
            Step::Room => self.setup.disk.set_capacity(None),
            Step::Fault(trouble) => self.inject(trouble),
            Step::Close => self.close()?,
            Step::Crash(crash) => self.crash(crash)?,
            Step::Die(after, partial, crash) => {
                self.setup.disk.die(*after, *partial);
                self.excused = true;
                self.crash = Some(crash.clone());
            }
        }
        Ok(())
    }

    fn pass(&self, millis: i64) {
        self.setup.clock.advance(millis);
        self.setup
            .disk
            .set_now_millis(self.setup.clock.now_millis());
    }

    fn inject(&mut self, trouble: &Trouble) {
        self.excused = true;
        self.setup.disk.inject(Fault {
            operation: trouble.operation,
            after: trouble.after,
            partial: trouble.partial,
            kind: std::io::ErrorKind::Other,
        });
    }

    /// An error counts only if nothing was done to the disk.
    fn excuse<T>(&self, result: Result<T, StoreError>) -> Result<Option<T>, TestCaseError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(_) if self.excused => Ok(None),
            Err(error) => Err(TestCaseError::fail(format!("without a fault: {error}"))),
        }
    }

    /// Notes what is promised after a step.
    fn note(&mut self) {
        let flushed = self.store.flushed_position();
        for known in &mut self.known {
            let end = known.place.map_or(i64::MAX, |place| place.end());
            if known.state == State::Stored && end <= flushed {
                known.state = State::Flushed;
            }
        }
        self.floor = self.floor.max(self.store.min_physical_offset());
    }

    fn make(&mut self, message: &Message) -> Known {
        let number = self.known.len();
        let (mut topic, mut queue_id) = TARGETS[usize::from(message.queue) % TARGETS.len()];
        let mut body = (number as u64).to_be_bytes().to_vec();
        body.resize(8 + message.size, number as u8);
        let key = key_of(number);
        let mut pairs = vec![(property::KEYS, key.as_str())];
        let mut flag = 0;
        let mut tags_code = TagsCode::Known(0);
        let text;
        match message.kind {
            Kind::Plain => {}
            Kind::Tagged => {
                pairs.push((property::TAGS, "tag"));
                tags_code = TagsCode::Known(tags::tags_code(Some("tag")));
            }
            Kind::Delayed(level) => {
                (topic, queue_id) = (DELAYED, i32::from(level) - 1);
                text = level.to_string();
                pairs.push((property::DELAY_TIME_LEVEL, &text));
                let levels = self.setup.settings.delay_levels();
                tags_code = TagsCode::DeliverAfter(levels.delay_millis(i32::from(level)));
            }
            Kind::Half => flag = sys_flag::TRANSACTION_PREPARED_TYPE,
            Kind::Commit => flag = sys_flag::TRANSACTION_COMMIT_TYPE,
            Kind::Rollback => flag = sys_flag::TRANSACTION_ROLLBACK_TYPE,
            Kind::Light => pairs.push((property::INNER_MULTI_DISPATCH, LIGHT)),
        }
        let host = |v6: bool, last: u8| -> SocketAddr {
            match v6 {
                true => ([0xFD00, 0, 0, 0, 0, 0, 0, u16::from(last)], 10911).into(),
                false => ([10, 0, 0, last], 10911).into(),
            }
        };
        Known {
            topic,
            queue_id,
            body,
            properties: properties(&pairs),
            sys_flag: flag,
            hosts: (host(message.v6.0, 1), host(message.v6.1, 2)),
            tags_code,
            inner_messages: if topic == BATCH { message.inner } else { 0 },
            is_light: matches!(message.kind, Kind::Light) && topic != BATCH,
            light: None,
            made_anew: self.deleted.contains(topic),
            state: State::Unsure,
            place: None,
        }
    }

    /// The queue of a message. The directory of a batch queue is made with it, which may fail.
    fn queue_of(&self, known: &Known) -> Result<Arc<Queue>, StoreError> {
        let kind = match known.topic {
            BATCH => QueueKind::Batch,
            _ => QueueKind::Simple,
        };
        self.store.queue_of_kind(known.topic, known.queue_id, kind)
    }

    fn append(&mut self, messages: &[Message], batch: bool) -> Checked {
        let from = self.known.len();
        for message in messages {
            let known = self.make(message);
            self.known.push(known);
        }
        let queues = self.known[from..].iter().map(|known| self.queue_of(known));
        let queues: Result<Vec<Arc<Queue>>, StoreError> = queues.collect();
        let Some(queues) = self.excuse(queues)? else {
            // None of them was given to the store.
            self.known.truncate(from);
            return Ok(());
        };
        let new = &self.known[from..];
        let mut next: Vec<(Arc<Queue>, i64)> = Vec::new();
        let mut appends: Vec<Append<'_>> = Vec::new();
        for (known, queue) in new.iter().zip(&queues) {
            let properties = known.properties.as_bytes();
            let mut append =
                Append::new(queue, &known.body, properties, known.hosts.0, known.hosts.1);
            append.tags_code = known.tags_code;
            append.sys_flag = known.sys_flag;
            append.inner_messages = known.inner_messages;
            append.with_previous = batch && !appends.is_empty();
            appends.push(append);
            if !next.iter().any(|(other, _)| Arc::ptr_eq(other, queue)) {
                next.push((Arc::clone(queue), queue.max_offset()));
            }
        }
        let light_queue = self.store.light_queue(LIGHT).unwrap();
        next.push((Arc::clone(&light_queue), light_queue.max_offset()));
        let end = self.store.append(&mut appends);
        let outcomes: Vec<Result<Appended, StoreError>> = appends
            .into_iter()
            .map(|append| append.outcome.unwrap())
            .collect();
        if batch {
            let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            prop_assert!(stored == 0 || stored == messages.len(), "half a batch");
        }
        for (number, outcome) in (from..).zip(outcomes) {
            match outcome {
                Ok(place) => {
                    prop_assert!(place.end() <= end);
                    // What was refused before can only have been in the way.
                    for earlier in &mut self.known[..number] {
                        if earlier.state == State::Unsure {
                            earlier.state = State::Gone;
                        }
                    }
                    let known = &mut self.known[number];
                    known.state = State::Stored;
                    known.place = Some(place);
                    let queue = &queues[number - from];
                    if let (true, Some((_, next))) = (known.is_light, next.last_mut()) {
                        *next += 1;
                    }
                    let next = next.iter_mut().find(|(other, _)| Arc::ptr_eq(other, queue));
                    if let (true, Some((_, next))) = (known.is_queued(), next) {
                        prop_assert_eq!(place.queue_offset, *next);
                        *next += i64::from(known.count());
                    }
                }
                Err(StoreError::Io { .. }) if self.excused => {}
                Err(error) => {
                    prop_assert!(self.excused || error.is_illegal_message(), "{}", error);
                    self.known[number].state = State::Gone;
                }
            }
        }
        for (queue, next) in next {
            prop_assert_eq!(queue.max_offset(), next);
        }
        Ok(())
    }

    /// Reads a queue as a consumer does, and compares what comes.
    pub(super) fn read_from(&self, queue: &Arc<Queue>, from: i64) -> Checked {
        let mut offset = from;
        while offset < queue.max_offset() {
            let got = self
                .store
                .get_messages(queue, offset, 32, 3000, &AllMessages);
            let Some(got) = self.excuse(got)? else {
                return Ok(());
            };
            prop_assert!(
                got.next_begin_offset > offset,
                "{queue:?} stands at {offset}: {got:?}"
            );
            let bytes = got.slices.concat();
            let (mut rest, mut count) = (bytes.as_slice(), 0);
            while !rest.is_empty() {
                let record = RecordRef::parse(rest).unwrap();
                let known = self.recognise(&record)?;
                if &**queue.topic() == LIGHT {
                    count += 1;
                } else {
                    prop_assert_eq!(
                        (known.topic, known.queue_id),
                        (&**queue.topic(), queue.id())
                    );
                    // Reading may begin inside of a batch, which comes as a whole.
                    let messages = i64::from(known.count());
                    prop_assert!(record.queue_offset() + messages > offset);
                    offset = record.queue_offset() + messages;
                    count += messages as usize;
                }
                rest = &rest[record.total_size()..];
            }
            prop_assert_eq!(got.message_count, count);
            prop_assert!(got.next_begin_offset >= offset);
            offset = got.next_begin_offset;
        }
        Ok(())
    }

    /// The message that a record is, which must be as it was given.
    pub(super) fn recognise(&self, record: &RecordRef<'_>) -> Result<&Known, TestCaseError> {
        let number = record.body().first_chunk().copied().map(u64::from_be_bytes);
        let known = number.and_then(|number| self.known.get(number as usize));
        let Some(known) = known else {
            return Err(TestCaseError::fail(format!("nobody sent {record:?}")));
        };
        prop_assert_eq!(record.body(), known.body.as_slice());
        prop_assert_eq!(record.topic(), known.topic);
        prop_assert_eq!(record.queue_id(), known.queue_id);
        prop_assert!(record.properties().starts_with(&known.properties));
        prop_assert_eq!((record.born_host(), record.store_host()), known.hosts);
        prop_assert!(known.state != State::Gone, "message {number:?} came back");
        Ok(known)
    }

    fn close(&mut self) -> Checked {
        let closed = self.store.close();
        let closed = self.excuse(closed)?.is_some();
        if self.setup.disk.is_dead() {
            return Ok(());
        }
        let abort = self.setup.disk.content(Path::new("/store/abort"));
        prop_assert!(!closed || abort.is_none());
        self.open_again(None)?;
        self.check(false)
    }

    fn crash(&mut self, crash: &Crash) -> Checked {
        self.stop(crash.power);
        if let Some((after, partial)) = crash.while_opening {
            self.setup.disk.set_capacity(None);
            self.setup.disk.die(after, partial);
            if let Err(error) = Store::open(self.setup.options()) {
                prop_assert!(self.setup.disk.is_dead(), "{}", error);
            }
            self.stop(crash.power);
        }
        self.open_again(crash.fault.as_ref())?;
        self.check(crash.power.is_some())
    }

    fn stop(&self, power: Option<Loss>) {
        let disk = &self.setup.disk;
        let crc = self.setup.settings.enabled_append_prop_crc;
        disk.set_piece(512);
        match power {
            None => disk.kill(),
            Some(Loss::Sectors(bits)) => disk.power_failure(turning(bits)),
            Some(Loss::Bytes(bits)) if !crc => disk.power_failure(turning(bits)),
            Some(Loss::Behind(mut left)) => {
                disk.set_piece(1);
                disk.power_failure(|| {
                    left = left.saturating_sub(1);
                    left > 0
                });
            }
            Some(Loss::Bytes(bits)) => {
                disk.set_piece(1);
                let mut next = turning(bits);
                let mut run = (0_u32, true);
                disk.power_failure(|| {
                    if run.0 == 0 {
                        let length = (0..7).fold(0, |sum, _| sum << 1 | u32::from(next()));
                        run = (length + 1, next());
                    }
                    run.0 -= 1;
                    run.1
                });
            }
        }
    }

    fn open_again(&mut self, fault: Option<&Trouble>) -> Checked {
        self.setup.disk.clear_faults();
        self.setup.disk.set_capacity(None);
        self.crash = None;
        self.excused = false;
        if let Some(trouble) = fault {
            self.inject(trouble);
            let opened = Store::open(self.setup.options());
            self.setup.disk.clear_faults();
            if let Ok(store) = opened {
                self.store = with_bits(store);
                return Ok(());
            }
            self.excused = false;
        }
        match Store::open(self.setup.options()) {
            Ok(store) => self.store = with_bits(store),
            Err(error) => return Err(TestCaseError::fail(format!("cannot open: {error}"))),
        }
        Ok(())
    }
}

/// A store that gives messages bits of filters.
fn with_bits(store: Arc<Store>) -> Arc<Store> {
    give_bits(&store);
    store
}

/// The bits, over and over.
fn turning(mut bits: u64) -> impl FnMut() -> bool {
    move || {
        bits = bits.rotate_left(1);
        bits & 1 == 1
    }
}
