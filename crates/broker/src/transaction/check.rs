//! Check-back: producers are asked about half messages that stay open
//! (`TransactionalMessageServiceImpl.check`).
//!
//! Now and then the open half messages are gone through. One that has waited long enough is put
//! back at the queue's end, with the number of questions among its properties, and a producer of
//! its group is asked; it answers with END_TRANSACTION. After too many questions, or when it is
//! older than files are kept, it is moved to `TRANS_CHECK_MAX_TIME_TOPIC`, from where
//! RESUME_CHECK_HALF_MESSAGE brings it back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use store::{Appended, Queue, StoreError};
use tracing::{debug, warn};
use transport::Reply;
use wire::command::{CheckTransactionState, Command};
use wire::frame::{Head, SerializeType};
use wire::header::RpcFields;
use wire::header::transaction::{CheckTransactionStateRequest, ResumeCheckHalfMessageRequest};
use wire::message::id::OffsetMessageId;
use wire::message::record::{RecordFields, RecordVersion};
use wire::message::{names, perm, property};

use super::half::HalfMessage;
use super::{Outcome, Progress, Settled, Transactions};
use crate::broker::Broker;
use crate::clients::Client;
use crate::error::BrokerError;
use crate::routes::Call;
use crate::settings::BrokerSettings;

/// Open half messages that are looked at together.
const TOGETHER: usize = 64;

/// The most bytes of them, unless one alone has more.
const BYTES_TOGETHER: usize = 1 << 20;

/// Queues of the topic of messages that were given up (`TCMT_QUEUE_NUMS`).
const GIVEN_UP_QUEUES: i32 = 1;

/// A producer with more unsent bytes than this is not asked.
const BUSY: usize = 1 << 20;

/// Goes through the open half messages from time to time, for ever.
pub(crate) async fn run(broker: &Arc<Broker>) {
    loop {
        let interval = broker.settings().broker.transaction_check_interval;
        tokio::time::sleep(Duration::from_millis(interval)).await;
        let checking = Arc::clone(broker);
        // Reading many half messages is nothing for a connection's thread.
        let checked = tokio::task::spawn_blocking(move || check(&checking)).await;
        let kept = match checked {
            Ok(Ok(progress)) => broker
                .store
                .flushed(progress.log_end)
                .await
                .map(|()| broker.transactions.keep(broker, &progress)),
            Ok(Err(error)) => Err(error),
            Err(_) => continue,
        };
        if let Err(error) = kept {
            warn!("half messages can't be checked, trying again: {error}");
        }
    }
}

/// Goes through the half messages that are open now.
pub(super) fn check(broker: &Broker) -> Result<Progress, StoreError> {
    let transactions = &broker.transactions;
    let settings = broker.settings();
    let started = broker.now_millis();
    let end = transactions.half.max_offset();
    let mut from = transactions.first_kept();
    while let Some(open) = transactions.read_open(broker, from, end)? {
        from = open.next;
        let mut cases: Vec<Case<'_>> = Vec::with_capacity(open.records.len());
        for record in &open.records {
            let Some(half) = HalfMessage::parse(record) else {
                continue;
            };
            match judge(&half, &settings, started, broker.now_millis()) {
                Verdict::Wait => {}
                Verdict::WaitAll => {
                    from = end;
                    break;
                }
                Verdict::Ask(times) => cases.push(Case::ask(transactions, half, times)),
                Verdict::GiveUp => cases.push(Case::give_up(broker, half)?),
            }
        }
        let mut outcomes: Vec<Outcome<'_>> = cases.iter().map(Case::outcome).collect();
        transactions.settle(broker, &mut outcomes);
        for (case, outcome) in cases.iter().zip(outcomes) {
            match outcome.result {
                Settled::Now(Some(copy)) if case.asks => {
                    broker.count_stored(names::TRANS_HALF_TOPIC, copy.size);
                    transactions.ask(broker, case, copy);
                }
                Settled::Failed(error) if error.is_illegal_message() => {
                    let offset = case.half.record.queue_offset();
                    warn!("half message {offset} can't be put back and waits: {error}");
                }
                Settled::Failed(error) => return Err(error),
                Settled::Now(_) | Settled::Before => {}
            }
        }
    }
    transactions.progress(broker)
}

/// What to do with an open half message.
enum Verdict {
    /// Its own time before the first question is not over.
    Wait,
    /// It is too young, and so are all behind it.
    WaitAll,
    /// Ask its producer, for the so manieth time.
    Ask(i32),
    /// It was asked about too often, or is too old.
    GiveUp,
}

fn judge(half: &HalfMessage<'_>, settings: &BrokerSettings, started: i64, now: i64) -> Verdict {
    let record = &half.record;
    let times = half.get(property::TRANSACTION_CHECK_TIMES);
    // What is no number counts as in the reference.
    let times = times.map(|times| times.parse().unwrap_or(-1));
    let age = now.saturating_sub(record.born_timestamp());
    let kept = i64::from(settings.store.file_reserved_time) * 3_600_000;
    let max = settings.broker.transaction_check_max;
    if times.is_some_and(|times| times >= max) || age > kept {
        return Verdict::GiveUp;
    }
    if record.store_timestamp() >= started {
        return Verdict::WaitAll;
    }
    let timeout = settings.broker.transaction_time_out;
    match half.get(property::CHECK_IMMUNITY_TIME_IN_SECONDS) {
        Some(seconds) => {
            let immunity = match seconds.parse::<i64>() {
                Ok(seconds) if seconds != -1 => seconds.saturating_mul(1000),
                _ => timeout,
            };
            if age <= immunity {
                return Verdict::Wait;
            }
        }
        None if (0..=timeout).contains(&age) => return Verdict::WaitAll,
        None => {}
    }
    Verdict::Ask(times.unwrap_or(0).saturating_add(1))
}

/// A half message that something is done about.
struct Case<'a> {
    half: HalfMessage<'a>,
    queue: Arc<Queue>,
    properties: String,
    /// Whether it is put back, and its producer asked; otherwise it is given up.
    asks: bool,
}

impl<'a> Case<'a> {
    fn ask(transactions: &Transactions, half: HalfMessage<'a>, times: i32) -> Self {
        Self {
            queue: Arc::clone(&transactions.half),
            properties: half.put_back_properties(times),
            asks: true,
            half,
        }
    }

    fn give_up(broker: &Broker, half: HalfMessage<'a>) -> Result<Self, StoreError> {
        let topic = names::TRANS_CHECK_MAX_TIME_TOPIC;
        let access = perm::READ | perm::WRITE;
        broker
            .topics
            .create_on_send_back(topic, GIVEN_UP_QUEUES, access, None, 0);
        warn!(
            offset = half.record.queue_offset(),
            topic = half.get(property::REAL_TOPIC),
            "a half message stayed open too long and is moved to {topic}"
        );
        Ok(Self {
            queue: broker.queue(topic, 0)?,
            properties: half.properties.clone().into_owned(),
            asks: false,
            half,
        })
    }

    fn outcome(&self) -> Outcome<'_> {
        let message = self.half.append(&self.queue, &self.properties);
        Outcome {
            put_back: self.asks,
            ..Outcome::of(&self.half, Some(message))
        }
    }
}

/// Some of the open half messages.
struct Open {
    records: Vec<Bytes>,
    /// Where to go on.
    next: i64,
}

impl Transactions {
    /// The first half message that is still there. Those that are gone from the disk are settled.
    fn first_kept(&self) -> i64 {
        let mut open = self.open.lock();
        let first = self.half.min_offset();
        loop {
            let offset = open.next_open(0);
            if offset >= first {
                return offset;
            }
            open.settle(offset);
        }
    }

    /// Reads open half messages of some numbers; `None` if there is none.
    fn read_open(&self, broker: &Broker, from: i64, end: i64) -> Result<Option<Open>, StoreError> {
        let mut open = Open {
            records: Vec::new(),
            next: from,
        };
        let mut bytes = 0;
        while open.records.len() < TOGETHER && bytes < BYTES_TOGETHER {
            let offset = self.open.lock().next_open(open.next);
            if offset >= end {
                break;
            }
            open.next = offset + 1;
            match broker.store.message_at(&self.half, offset)? {
                Some(record) => {
                    bytes += record.len();
                    open.records.push(record);
                }
                None => self.open.lock().settle(offset),
            }
        }
        if open.records.is_empty() {
            return Ok(None);
        }
        let (topic, group) = (names::TRANS_HALF_TOPIC, names::TRANS_GROUP);
        broker.count_delivered(topic, group, open.records.len(), bytes);
        Ok(Some(open))
    }

    /// Asks a producer about a message that was put back (`sendCheckMessage`).
    fn ask(&self, broker: &Broker, case: &Case<'_>, copy: Appended) {
        let half = &case.half;
        let group = half.get(property::PRODUCER_GROUP).unwrap_or_default();
        let Some(producer) = self.producer(broker, group) else {
            warn!(
                group,
                "no producer of the group can be asked about its half message"
            );
            return;
        };
        let Some((topic, queue_id)) = half.destination() else {
            return;
        };
        let record = &half.record;
        let mut body = BytesMut::new();
        let encoded = RecordFields {
            version: RecordVersion::for_topic_len(topic.len()),
            queue_id,
            flag: record.flag(),
            queue_offset: copy.queue_offset,
            physical_offset: copy.physical_offset,
            sys_flag: record.sys_flag(),
            born_timestamp: record.born_timestamp(),
            born_host: record.born_host(),
            store_timestamp: copy.store_timestamp,
            store_host: record.store_host(),
            reconsume_times: record.reconsume_times(),
            prepared_transaction_offset: 0,
            body: record.body(),
            topic,
            properties: case.properties.as_bytes(),
            more_properties: &[],
            append_record_crc: false,
        }
        .encode_into(&mut body);
        let unique_id = half.get(property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
        let mut offset_id = String::new();
        OffsetMessageId {
            host: record.store_host(),
            offset: copy.physical_offset,
        }
        .append_to(&mut offset_id);
        let settings = broker.settings();
        let header = CheckTransactionStateRequest {
            topic: Some(names::TRANS_HALF_TOPIC.into()),
            tran_state_table_offset: copy.queue_offset,
            commit_log_offset: copy.physical_offset,
            msg_id: unique_id.map(Into::into),
            transaction_id: unique_id.map(Into::into),
            offset_msg_id: Some(offset_id.into()),
            rpc: RpcFields {
                broker_name: Some(settings.broker.broker_name.as_str().into()),
                ..RpcFields::default()
            },
        };
        let head = Head::request(CheckTransactionState::CODE as i32, SerializeType::Json);
        let asked = match encoded {
            Ok(_) => producer
                .connection
                .oneway(head, &header, body.freeze().into()),
            Err(error) => return warn!(group, %error, "the half message can't be shown"),
        };
        if let Err(error) = asked {
            debug!(group, client = producer.id, %error, "a producer was not asked");
        }
    }

    /// The producer of a group whose turn it is, among those that read what they are sent.
    fn producer(&self, broker: &Broker, group: &str) -> Option<Arc<Client>> {
        let producers = broker.clients.producers(group)?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = turn.checked_rem(producers.len())?;
        let ready = |client: &&Arc<Client>| {
            client.connection.is_open() && client.connection.unsent() < BUSY
        };
        let mut in_turn = producers.iter().cycle().skip(first).take(producers.len());
        in_turn.find(ready).cloned()
    }
}

/// RESUME_CHECK_HALF_MESSAGE: a message that was given up becomes a half message again, as if
/// its producer had never been asked (`AdminBrokerProcessor.resumeCheckHalfMessage`).
pub(crate) async fn resume(
    broker: &Arc<Broker>,
    _: &Call,
    header: ResumeCheckHalfMessageRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let id = OffsetMessageId::decode(header.msg_id.as_deref().unwrap_or_default());
    let failed = |problem: &str| {
        BrokerError::System(format!(
            "Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed: {problem}"
        ))
    };
    let id = id.map_err(|error| failed(&error.to_string()))?;
    let message = broker.store.message(id.offset)?;
    let message = message.ok_or_else(|| failed("there is no message with this id"))?;
    let transactions = &broker.transactions;
    if let Some(half) = HalfMessage::parse(&message) {
        let case = Case::ask(transactions, half, 0);
        let mut outcomes = [case.outcome()];
        transactions.settle(broker, &mut outcomes);
        let [outcome] = outcomes;
        return match outcome.result {
            Settled::Now(_) => Ok(Reply::empty()),
            Settled::Before => Err(failed("its transaction has ended")),
            Settled::Failed(error) => Err(error.into()),
        };
    }
    let given_up = HalfMessage::parse_given_up(&message)
        .ok_or_else(|| failed("it is no message of a transaction"))?;
    let properties = given_up.resumed_properties();
    let mut copies = [given_up.append(&transactions.half, &properties)];
    broker.store.append(&mut copies);
    let [copy] = copies;
    match copy.outcome {
        Some(Err(error)) => Err(error.into()),
        _ => {
            transactions.stored(broker, &transactions.half, given_up.topic());
            Ok(Reply::empty())
        }
    }
}
