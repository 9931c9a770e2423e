//! Random operations against a plain model of what a store is, with kills and power failures at
//! any point.
//!
//! What was promised is found: after a kill all that was appended, after a power failure all
//! that was flushed. What is found is what was appended, in its order, each message once; and by
//! its keys, too.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::common::{Setup, body_of, host};
use kerolox_store::*;
use proptest::prelude::*;
use wire::message::record::RecordRef;
use wire::message::{properties, property, tags};

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A batch of single messages: queue and body length of each.
    Append(Vec<(u8, usize)>),
    /// A client batch: queue, and body length of its messages.
    Batch(u8, Vec<usize>),
    /// Messages of a queue are read from a place in it.
    Read(u8, u8),
    /// Messages of a queue are looked for by key.
    Find(u8),
    Flush,
    Housekeeping,
    /// Time passes, seldom backwards.
    Time(i64),
    /// A fault comes up.
    Fault(Operation, u32, usize),
    Close,
    Kill,
    /// Power fails; a bit for each unflushed piece says whether it is kept, over and over.
    Power(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![4 => 0_usize..60, 1 => 0_usize..1500];
    prop_oneof![
        10 => prop::collection::vec((0_u8..4, size()), 1..8).prop_map(Step::Append),
        3 => (0_u8..4, prop::collection::vec(size(), 1..5)).prop_map(|(queue, sizes)| Step::Batch(queue, sizes)),
        4 => (0_u8..4, any::<u8>()).prop_map(|(queue, at)| Step::Read(queue, at)),
        3 => (0_u8..4).prop_map(Step::Find),
        3 => Just(Step::Flush),
        3 => Just(Step::Housekeeping),
        4 => prop_oneof![9 => 0_i64..40_000, 1 => -100_000_i64..0].prop_map(Step::Time),
        1 => (prop_oneof![Just(Operation::Write), Just(Operation::Create)], 0_u32..6, 0_usize..600)
            .prop_map(|(operation, after, partial)| Step::Fault(operation, after, partial)),
        1 => Just(Step::Close),
        2 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::Power),
    ]
}

/// What a queue should hold.
#[derive(Default)]
struct ModelQueue {
    bodies: Vec<Vec<u8>>,
    /// Messages whose sender was told that they are on the disk.
    flushed: usize,
}

/// The key that a message has for itself: its number.
fn key_of(body: &[u8]) -> String {
    let number = body.first_chunk().copied().map(u64::from_be_bytes);
    format!("k{}", number.unwrap())
}

struct Model {
    setup: Setup,
    store: Arc<Store>,
    queues: BTreeMap<u8, ModelQueue>,
    next: u64,
}

impl Model {
    fn new(ext: bool) -> Model {
        let mut setup = Setup::new();
        // Small enough that files end all the time.
        setup.settings.mapped_file_size_commit_log = 4096;
        setup.settings.mapped_file_size_consume_queue = 160;
        setup.settings.mapper_file_size_batch_consume_queue = 3 * 46;
        setup.settings.enable_consume_queue_ext = ext;
        setup.settings.mapped_file_size_consume_queue_ext = 150;
        setup.settings.max_hash_slot_num = 7;
        setup.settings.max_index_num = 12;
        setup.settings.max_msgs_num_batch = 1000;
        setup.settings.tail_cache_size = 6000;
        setup.settings.flush_consume_queue_thorough_interval = 30_000;
        let mut model = Model {
            store: setup.open(),
            setup,
            queues: BTreeMap::new(),
            next: 0,
        };
        model.store.close().unwrap();
        model.reopen();
        model
    }

    /// The last queue is a batch queue.
    fn queue(&self, id: u8) -> Arc<Queue> {
        let (topic, kind) = match id {
            3 => ("b", QueueKind::Batch),
            _ => ("t", QueueKind::Simple),
        };
        let queue = self
            .store
            .queue_of_kind(topic, i32::from(id), kind)
            .unwrap();
        assert_eq!(queue.kind(), kind);
        queue
    }

    fn body(&mut self, size: usize) -> Vec<u8> {
        self.next += 1;
        let mut body = self.next.to_be_bytes().to_vec();
        body.resize(8 + size, self.next as u8);
        body
    }

    fn append(&mut self, messages: &[(u8, usize)], batch: bool) -> Result<(), TestCaseError> {
        let bodies: Vec<Vec<u8>> = messages.iter().map(|(_, size)| self.body(*size)).collect();
        let queues: Vec<Arc<Queue>> = messages
            .iter()
            .map(|(queue, _)| self.queue(*queue))
            .collect();
        let properties: Vec<String> = bodies
            .iter()
            .zip(messages)
            .map(|(body, (queue, _))| {
                let keys = format!("{} q{queue}", key_of(body));
                let pairs = [(property::TAGS, &*tag(body)), (property::KEYS, &keys)];
                crate::common::properties(&pairs)
            })
            .collect();
        let mut appends: Vec<Append<'_>> = queues
            .iter()
            .zip(bodies.iter().zip(&properties))
            .enumerate()
            .map(|(index, (queue, (body, properties)))| {
                let properties = properties.as_bytes();
                let mut append = Append::new(queue, body, properties, host(1), host(2));
                append.with_previous = batch && index > 0;
                append.tags_code = TagsCode::Known(tags_code(body));
                if queue.kind() == QueueKind::Batch {
                    append.inner_messages = (body.len() % 4) as i16;
                }
                append
            })
            .collect();
        let end = self.store.append(&mut appends);
        let outcomes: Vec<_> = appends
            .iter()
            .map(|append| append.outcome.clone().unwrap())
            .collect();
        if batch {
            let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            prop_assert!(stored == 0 || stored == messages.len());
        }
        for ((outcome, (queue, _)), body) in outcomes.into_iter().zip(messages).zip(bodies) {
            if let Ok(appended) = outcome {
                let model = self.queues.entry(*queue).or_default();
                prop_assert_eq!(appended.queue_offset, model.bodies.len() as i64);
                prop_assert!(appended.end() <= end);
                // Each message of an inner batch has the whole for its record.
                let messages = if *queue == 3 { body.len() % 4 } else { 1 };
                model
                    .bodies
                    .resize(model.bodies.len() + messages.max(1), body);
            }
        }
        Ok(())
    }

    fn read(&self, queue: u8, at: u8) -> Result<(), TestCaseError> {
        let Some(model) = self.queues.get(&queue) else {
            return Ok(());
        };
        let handle = self.queue(queue);
        let mut offset = usize::from(at) % (model.bodies.len() + 1);
        if let Some(unit) = self.store.unit(&handle, offset as i64).unwrap() {
            prop_assert!((unit.queue_offset..unit.end()).contains(&(offset as i64)));
            offset = unit.queue_offset as usize;
        }
        while offset < model.bodies.len() {
            let got = self
                .store
                .get_messages(&handle, offset as i64, 32, 3000, &AllMessages)
                .unwrap();
            prop_assert_eq!(got.status, GetStatus::Found);
            let bytes = got.slices.concat();
            let mut rest = bytes.as_slice();
            let first = offset;
            while !rest.is_empty() {
                let record = RecordRef::parse(rest).unwrap();
                prop_assert_eq!(record.queue_offset(), offset as i64);
                let entry = self.store.entry(&handle, offset as i64).unwrap();
                prop_assert_eq!(entry.unwrap().tags_code, tags_code(record.body()));
                let messages = inner_messages(&record).max(1);
                for body in &model.bodies[offset..offset + messages] {
                    prop_assert_eq!(record.body(), body.as_slice());
                }
                rest = &rest[record.total_size()..];
                offset += messages;
            }
            prop_assert_eq!(got.message_count, offset - first);
            prop_assert_eq!(got.next_begin_offset, offset as i64);
        }
        Ok(())
    }

    /// The bodies of the messages with a key.
    fn find(&self, key: &str) -> Vec<Vec<u8>> {
        let query = Query {
            topic: "t",
            key: Key::Text(key),
            max_count: 1000,
            max_bytes: usize::MAX,
            begin: 0,
            end: i64::MAX,
        };
        let messages = self.store.query(&query).unwrap().messages;
        messages.iter().map(|bytes| body_of(bytes)).collect()
    }

    /// Looks for the messages of a queue that are there, by the key that all of them have and by
    /// the one that each has for itself.
    fn check_keys(&self, id: u8) -> Result<(), TestCaseError> {
        let Some(model) = self.queues.get(&id) else {
            return Ok(());
        };
        let queue = self.store.queue("t", i32::from(id)).unwrap();
        let mut there = Vec::new();
        for (offset, body) in model.bodies.iter().enumerate() {
            let message = self.store.message_at(&queue, offset as i64).unwrap();
            let expected: Vec<Vec<u8>> = message.iter().map(|bytes| body_of(bytes)).collect();
            prop_assert_eq!(&self.find(&key_of(body)), &expected);
            there.extend(expected);
        }
        prop_assert_eq!(self.find(&format!("q{id}")), there);
        Ok(())
    }

    fn flush(&mut self) {
        // Without an error, that is a promise.
        if self.store.flush().is_ok() {
            for model in self.queues.values_mut() {
                model.flushed = model.bodies.len();
            }
        }
    }

    fn reopen(&mut self) {
        self.setup.disk.clear_faults();
        self.store = self.setup.open();
        // Its directory is made while nothing fails.
        self.queue(3);
    }

    /// Looks at everything; after a power failure, unflushed messages may be gone from the ends.
    fn check(&mut self, power_failed: bool) -> Result<(), TestCaseError> {
        let handles: Vec<Arc<Queue>> = self.queues.keys().map(|id| self.queue(*id)).collect();
        for ((id, model), queue) in self.queues.iter_mut().zip(handles) {
            prop_assert!(power_failed || queue.min_offset() == 0);
            let max = queue.max_offset() as usize;
            if power_failed {
                prop_assert!(
                    max >= model.flushed,
                    "queue {} has {} of {} promised",
                    id,
                    max,
                    model.flushed
                );
                prop_assert!(
                    max <= model.bodies.len(),
                    "queue {} has {} of {}",
                    id,
                    max,
                    model.bodies.len()
                );
                for (offset, body) in model.bodies.iter().enumerate().take(max) {
                    let found = self.store.message_at(&queue, offset as i64).unwrap();
                    match found {
                        Some(bytes) => {
                            let record = RecordRef::parse(&bytes).unwrap();
                            prop_assert_eq!(record.body(), body.as_slice());
                            let entry = self.store.entry(&queue, offset as i64).unwrap();
                            prop_assert_eq!(entry.unwrap().tags_code, tags_code(body));
                            let first = record.queue_offset() as usize;
                            let numbers = first..first + inner_messages(&record).max(1);
                            prop_assert!(numbers.contains(&offset));
                            record.check_body_crc().unwrap();
                        }
                        None => {
                            prop_assert!(offset >= model.flushed, "message {} was promised", offset)
                        }
                    }
                }
                // The model goes on with what is there; numbers that were lost stay empty, which
                // it does not know, so it starts anew then.
                model.bodies.truncate(max);
                model.flushed = model.flushed.min(max);
            } else {
                prop_assert_eq!(max, model.bodies.len());
            }
        }
        (0..4).try_for_each(|id| self.check_keys(id))
    }

    /// Whether every message of the model is there: a power failure can leave holes.
    fn has_holes(&self) -> bool {
        self.queues.iter().any(|(id, model)| {
            let queue = self.queue(*id);
            (0..model.bodies.len()).any(|offset| {
                self.store
                    .message_at(&queue, offset as i64)
                    .unwrap()
                    .is_none()
            })
        })
    }

    fn run(&mut self, step: &Step) -> Result<bool, TestCaseError> {
        match step {
            Step::Append(messages) => self.append(messages, false)?,
            Step::Batch(queue, sizes) => {
                let messages: Vec<(u8, usize)> = sizes.iter().map(|size| (*queue, *size)).collect();
                self.append(&messages, true)?;
            }
            Step::Read(queue, at) => self.read(*queue, *at)?,
            Step::Find(queue) => {
                self.setup.disk.clear_faults();
                self.check_keys(*queue)?;
            }
            Step::Flush => self.flush(),
            Step::Housekeeping => self.store.housekeeping(),
            Step::Time(millis) => self.setup.clock.advance(*millis),
            Step::Fault(operation, after, partial) => self.setup.disk.inject(Fault {
                operation: *operation,
                after: *after,
                partial: *partial,
                kind: io::ErrorKind::Other,
            }),
            Step::Close => {
                self.setup.disk.clear_faults();
                self.store.close().unwrap();
                self.setup.settings.enable_consume_queue_ext ^= true;
                self.reopen();
                self.check(false)?;
                self.flush();
            }
            Step::Kill => {
                self.setup.disk.kill();
                self.reopen();
                self.check(false)?;
                self.flush();
            }
            Step::Power(keep) => {
                let mut bits = *keep;
                self.setup.disk.power_failure(|| {
                    bits = bits.rotate_left(1);
                    bits & 1 == 1
                });
                self.reopen();
                self.check(true)?;
                if self.has_holes() {
                    return Ok(false);
                }
                self.flush();
            }
        }
        Ok(true)
    }
}

/// Each body has a tag of its own.
fn tag(body: &[u8]) -> String {
    i64::from_be_bytes(*body.first_chunk().unwrap()).to_string()
}

fn tags_code(body: &[u8]) -> i64 {
    tags::tags_code(Some(&tag(body)))
}

fn inner_messages(record: &RecordRef<'_>) -> usize {
    let text = record.properties();
    properties::get(&text, property::INNER_NUM).map_or(0, |count| count.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 5000, ..ProptestConfig::default() })]

    #[test]
    fn the_store_keeps_its_promises(ext: bool, steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new(ext);
        for step in &steps {
            if !model.run(step)? {
                return Ok(());
            }
        }
        for queue in 0..4 {
            model.read(queue, 0)?;
        }
        model.setup.disk.clear_faults();
        model.store.close().unwrap();
        model.reopen();
        model.check(false)?;
    }
}
