//! END_TRANSACTION: a producer commits a half message or rolls it back
//! (`EndTransactionProcessor`).
//!
//! The requests of one read that follow one another are served together: what they commit, and
//! one op message that names all, is one append.

use std::sync::Arc;

use bytes::Bytes;
use store::Queue;
use transport::{Outbox, Reply};
use wire::frame::Frame;
use wire::header::transaction::EndTransactionRequest;
use wire::header::{Header, HeaderError};
use wire::message::sys_flag::message as message_flag;
use wire::message::{properties, property};

use super::half::HalfMessage;
use super::{Outcome, Settled};
use crate::broker::Broker;
use crate::error::BrokerError;

/// The most transactions that end together.
const TOGETHER: usize = 128;

/// The most bytes of half messages that are read before they end, unless one alone has more.
const BYTES_TOGETHER: usize = 1 << 20;

/// Properties of a half message that the committed one does not have.
const GONE: [&str; 2] = [property::REAL_TOPIC, property::REAL_QUEUE_ID];

/// Serves the requests of one read; see the module's page.
pub(crate) fn end(broker: &Broker, run: &[Frame], out: &mut Outbox) {
    let mut frames = run.iter();
    loop {
        let mut requests = Vec::new();
        let mut bytes = 0;
        while requests.len() < TOGETHER && bytes < BYTES_TOGETHER {
            let Some(frame) = frames.next() else {
                break;
            };
            match Request::read(broker, frame) {
                Ok(request) => {
                    bytes += request.half.len();
                    requests.push(request);
                }
                Err(error) => out.refuse(&frame.head, &error.into()),
            }
        }
        if requests.is_empty() {
            return;
        }
        end_together(broker, &requests, out);
    }
}

/// A request and the record that it is about.
struct Request<'a> {
    frame: &'a Frame,
    header: EndTransactionRequest<'a>,
    half: Bytes,
}

/// A request that is in order.
struct Ending<'a> {
    frame: &'a Frame,
    half: HalfMessage<'a>,
    /// Where it is committed to, and with which properties; `None` to roll it back.
    commit: Option<(Arc<Queue>, String)>,
}

impl<'a> Request<'a> {
    fn read(broker: &Broker, frame: &'a Frame) -> Result<Self, BrokerError> {
        let header: EndTransactionRequest<'_> = frame.header()?;
        let half = broker.store.message(header.commit_log_offset)?;
        let half = half.ok_or_else(not_found)?;
        Ok(Self {
            frame,
            header,
            half,
        })
    }

    /// Checks it; `None` if the producer does not know yet what to do, which is not answered.
    fn check<'s>(&'s self, broker: &Broker) -> Result<Option<Ending<'s>>, BrokerError> {
        let is_commit = match self.header.commit_or_rollback {
            message_flag::TRANSACTION_COMMIT_TYPE => true,
            message_flag::TRANSACTION_ROLLBACK_TYPE => false,
            message_flag::TRANSACTION_NOT_TYPE => return Ok(None),
            other => {
                let kinds = "0 for not known yet, 8 for commit or 12 for rollback";
                let value = other.to_string();
                return Err(HeaderError::invalid(
                    EndTransactionRequest::NAME,
                    "commitOrRollback",
                    kinds,
                    value.as_bytes(),
                )
                .into());
            }
        };
        let half = HalfMessage::parse(&self.half).ok_or_else(not_found)?;
        if !self.header.from_transaction_check.unwrap_or_default() && is_late(broker, &half) {
            return Err(BrokerError::IllegalOperation(
                "the producer's decision comes later than CHECK_IMMUNITY_TIME_IN_SECONDS allows; \
                 the broker asks for it"
                    .into(),
            ));
        }
        let wrong = |what: &str| BrokerError::System(format!("The {what} wrong"));
        if half.get(property::PRODUCER_GROUP) != Some(&*self.header.producer_group) {
            return Err(wrong("producer group"));
        }
        if half.record.queue_offset() != self.header.tran_state_table_offset {
            return Err(wrong("transaction state table offset"));
        }
        let (topic, queue_id) = half.destination().ok_or_else(not_found)?;
        let commit = if is_commit {
            let properties = properties::without(&half.properties, &GONE);
            Some((broker.queue(topic, queue_id)?, properties))
        } else {
            None
        };
        Ok(Some(Ending {
            frame: self.frame,
            half,
            commit,
        }))
    }
}

impl Ending<'_> {
    fn outcome(&self) -> Outcome<'_> {
        let record = &self.half.record;
        let message = self.commit.as_ref().map(|(queue, properties)| {
            let mut append = self.half.append(queue, properties);
            append.sys_flag = self.half.committed_flag();
            append.prepared_transaction_offset = record.physical_offset();
            append
        });
        Outcome::of(&self.half, message)
    }
}

fn end_together(broker: &Broker, requests: &[Request<'_>], out: &mut Outbox) {
    let mut endings = Vec::with_capacity(requests.len());
    for request in requests {
        match request.check(broker) {
            Ok(ending) => endings.extend(ending),
            Err(error) => out.refuse(&request.frame.head, &error.into()),
        }
    }
    let mut outcomes: Vec<Outcome<'_>> = endings.iter().map(Ending::outcome).collect();
    broker.transactions.settle(broker, &mut outcomes);
    for (ending, outcome) in endings.iter().zip(outcomes) {
        let head = &ending.frame.head;
        match outcome.result {
            Settled::Now(appended) => {
                if let (Some(stored), Some((queue, _))) = (appended, &ending.commit) {
                    broker.count_stored(queue.topic(), stored.size);
                }
                out.reply(head, Reply::empty());
            }
            Settled::Before => out.refuse(head, &ended_before().into()),
            Settled::Failed(error) => out.refuse(head, &BrokerError::Store(error).into()),
        }
    }
}

/// Whether a message with a time of its own before the first question had it, and the broker asks
/// now (`EndTransactionProcessor.rejectCommitOrRollback`).
fn is_late(broker: &Broker, half: &HalfMessage<'_>) -> bool {
    let Some(seconds) = half.get(property::CHECK_IMMUNITY_TIME_IN_SECONDS) else {
        return false;
    };
    let millis = seconds.parse::<i64>().unwrap_or(0).saturating_mul(1000);
    let immunity = millis.max(broker.settings().broker.transaction_time_out);
    broker
        .now_millis()
        .saturating_sub(half.record.born_timestamp())
        > immunity
}

fn not_found() -> BrokerError {
    BrokerError::System("Find prepared transaction message failed".into())
}

fn ended_before() -> BrokerError {
    BrokerError::System(
        "the transaction was ended before, or given up after too many checks".into(),
    )
}
