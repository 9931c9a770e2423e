//! Transactions: half messages wait for their producer's decision (`TransactionalMessageService`).
//!
//! A half message is stored in `RMQ_SYS_TRANS_HALF_TOPIC`, with the topic and queue that it is
//! meant for among its properties. It is settled when it is committed (stored where it is meant
//! for), rolled back, put back at the queue's end to be asked about, or given up after too many
//! questions. What takes its place and the op message that names it ([`op`]) go into the log with
//! one write: either both are there or none. So the half messages that no op message names are
//! the open ones, whatever happens, and all that is kept in memory is found in the two queues.
//!
//! How far the queues were gone through stands among the consumer offsets, as those of the group
//! `CID_RMQ_SYS_TRANS`: all half messages before its offset are settled, and all op messages
//! before its offset name only such. It saves reading the queues from their beginning.

mod check;
mod end;
mod half;
mod op;
mod open_halves;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;
use store::{Append, Appended, Queue, Store, StoreError, TagsCode};
use wire::body::metrics::TransactionMetricsSerializeWrapper;
use wire::message::record::RecordRef;
use wire::message::{names, tags};

pub(crate) use self::check::{resume, run};
pub(crate) use self::end::end;
use self::half::HalfMessage;
pub(crate) use self::half::{place, rewritten};
use self::open_halves::OpenHalves;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::metrics::Metrics;
use crate::offsets::OffsetTable;

/// The queue of half messages, and that of op messages.
const QUEUE_ID: i32 = 0;

/// The half messages and what has become of them.
pub(crate) struct Transactions {
    half: Arc<Queue>,
    op: Arc<Queue>,
    /// Held while half messages are settled, over the append.
    open: Mutex<OpenHalves>,
    /// How many are open, by the topic that they are meant for.
    metrics: Metrics<TransactionMetricsSerializeWrapper>,
    /// Producers of a group are asked in turn.
    turn: AtomicUsize,
}

/// How far the queues were gone through.
struct Progress {
    /// The first open half message.
    half: i64,
    /// The first op message that names an open one, or one behind it.
    op: i64,
    /// What must be on the disk for this to be true after a power failure.
    log_end: i64,
}

/// What becomes of a half message.
struct Outcome<'a> {
    /// Its number, as the producer or the queue names it.
    named: i64,
    /// The number that the producer was told first.
    original: i64,
    /// The topic that it is meant for.
    topic: &'a str,
    /// What is stored in its place.
    message: Option<Append<'a>>,
    /// Whether that is a half message again.
    put_back: bool,
    result: Settled,
}

/// Whether it came to that.
enum Settled {
    /// It was settled before.
    Before,
    /// It is settled now, by a message that is stored there.
    Now(Option<Appended>),
    /// It is still open.
    Failed(StoreError),
}

impl<'a> Outcome<'a> {
    fn of(half: &'a HalfMessage<'_>, message: Option<Append<'a>>) -> Self {
        Self {
            named: half.record.queue_offset(),
            original: half.original(),
            topic: half.topic(),
            message,
            put_back: false,
            result: Settled::Before,
        }
    }
}

impl Transactions {
    /// Finds out which half messages are open.
    pub(crate) fn open(
        store: &Store,
        offsets: &OffsetTable,
        now_millis: i64,
    ) -> Result<Self, BrokerError> {
        let half = store.queue(names::TRANS_HALF_TOPIC, QUEUE_ID)?;
        let op = store.queue(names::TRANS_OP_HALF_TOPIC, QUEUE_ID)?;
        let first = start(offsets, &half);
        let mut open = OpenHalves::from(first);
        let end = half.max_offset();
        for offset in start(offsets, &op)..op.max_offset() {
            for settled in named_by(store, &op, offset)? {
                if settled < end {
                    open.settle(settled);
                }
            }
        }
        let metrics_file = store.settings().config_dir().join("transactionMetrics");
        let metrics: Metrics<_> = Metrics::open(Arc::clone(store.disk()), &metrics_file)?;
        let known = metrics.topics().into_iter().map(|topic| (topic, 0));
        let mut counts: BTreeMap<String, i64> = known.collect();
        let mut offset = open.next_open(first);
        while offset < end {
            let record = store.message_at(&half, offset)?;
            if let Some(message) = record.as_deref().and_then(HalfMessage::parse) {
                if message.original() != offset {
                    open.put_back(message.original(), offset);
                }
                *counts.entry(message.topic().to_owned()).or_default() += 1;
            }
            offset = open.next_open(offset + 1);
        }
        for (topic, count) in counts {
            metrics.set(&topic, count, now_millis);
        }
        Ok(Self {
            half,
            op,
            open: Mutex::new(open),
            metrics,
            turn: AtomicUsize::new(0),
        })
    }

    /// Counts a message that was stored in a queue, if it is a half message.
    pub(crate) fn stored(&self, broker: &Broker, queue: &Arc<Queue>, topic: &str) {
        if Arc::ptr_eq(queue, &self.half) {
            self.metrics.add(topic, 1, broker.now_millis());
        }
    }

    /// Writes the numbers of open half messages to disk.
    pub(crate) fn persist(&self) -> Result<(), StoreError> {
        self.metrics.save()
    }

    /// Settles half messages as far as they are open. Those that fail stay open.
    fn settle(&self, broker: &Broker, outcomes: &mut [Outcome<'_>]) {
        let mut open = self.open.lock();
        let mut now: Vec<(i64, &mut Outcome<'_>)> = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            if let Some(half) = open.to_end(outcome.named, outcome.original)
                && !now.iter().any(|(other, _)| *other == half)
            {
                now.push((half, outcome));
            }
        }
        if !now.is_empty() {
            self.append(broker, &mut open, &mut now);
        }
    }

    /// Appends what takes the messages' places, and the op message that names them.
    fn append(
        &self,
        broker: &Broker,
        open: &mut OpenHalves,
        outcomes: &mut [(i64, &mut Outcome<'_>)],
    ) {
        let body = op::body(outcomes.iter().map(|(half, _)| *half));
        let here = broker.store_host;
        let (body, properties) = (body.as_bytes(), op::PROPERTIES.as_bytes());
        let mut op = Append::new(&self.op, body, properties, here, here);
        op.tags_code = TagsCode::Known(tags::tags_code(Some(op::TAG)));
        op.born_timestamp = broker.now_millis();
        let messages = outcomes
            .iter()
            .filter_map(|(_, outcome)| outcome.message.clone());
        let mut appends: Vec<Append<'_>> = messages.chain([op]).collect();
        appends
            .iter_mut()
            .skip(1)
            .for_each(|append| append.with_previous = true);
        broker.store.append(&mut appends);

        // The messages of a batch all fare alike.
        let fate = appends.last().and_then(|op| op.outcome.clone());
        if let Some(Err(error)) = fate {
            let count = outcomes.len();
            if count > 1 {
                // Only those that are to blame should stay open.
                let (front, back) = outcomes.split_at_mut(count / 2);
                self.append(broker, open, front);
                self.append(broker, open, back);
                return;
            }
            for (_, outcome) in outcomes {
                outcome.result = Settled::Failed(error.clone());
            }
            return;
        }
        let mut stored = appends
            .iter()
            .filter_map(|append| append.outcome.clone()?.ok());
        for (half, outcome) in outcomes {
            open.settle(*half);
            let appended = outcome.message.as_ref().and_then(|_| stored.next());
            match appended {
                Some(copy) if outcome.put_back => {
                    open.put_back(outcome.original, copy.queue_offset);
                }
                _ => {
                    open.forget_copy(outcome.original);
                    self.metrics.add(outcome.topic, -1, broker.now_millis());
                }
            }
            outcome.result = Settled::Now(appended);
        }
    }

    /// How far the queues are gone through now.
    fn progress(&self, broker: &Broker) -> Result<Progress, StoreError> {
        let half = self.open.lock().next_open(0).min(self.half.max_offset());
        let mut op = start(&broker.offsets, &self.op);
        while op < self.op.max_offset() {
            let mut named = named_by(&broker.store, &self.op, op)?.into_iter();
            if named.any(|offset| (half..self.half.max_offset()).contains(&offset)) {
                break;
            }
            op += 1;
        }
        let log_end = broker.store.max_physical_offset();
        Ok(Progress { half, op, log_end })
    }

    /// Takes note of the progress.
    fn keep(&self, broker: &Broker, progress: &Progress) {
        for (queue, offset) in [(&self.half, progress.half), (&self.op, progress.op)] {
            let (group, topic) = (names::TRANS_GROUP, queue.topic());
            if broker.offsets.query(group, topic, QUEUE_ID) != Some(offset) {
                broker.offsets.commit(group, topic, QUEUE_ID, offset);
            }
        }
    }
}

/// Where to begin with a queue.
fn start(offsets: &OffsetTable, queue: &Queue) -> i64 {
    let kept = offsets.query(names::TRANS_GROUP, queue.topic(), QUEUE_ID);
    let (first, end) = (queue.min_offset(), queue.max_offset());
    kept.map_or(first, |kept| kept.clamp(first, end))
}

/// The half messages that an op message names.
fn named_by(store: &Store, op: &Queue, offset: i64) -> Result<Vec<i64>, StoreError> {
    let message = store.message_at(op, offset)?;
    let record = message
        .as_deref()
        .and_then(|bytes| RecordRef::parse(bytes).ok());
    Ok(record.map_or_else(Vec::new, |record| op::offsets(record.body()).collect()))
}
