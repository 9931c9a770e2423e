//! Transactions: what is needed to end them, and asking producers about them
//! (`AbstractTransactionService`, `ClusterTransactionService`, `TransactionProcessor`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use transport::Connection;
use wire::body::heartbeat::{HeartbeatData, ProducerData};
use wire::body::json;
use wire::command::{CheckTransactionState, Command as _, EndTransaction, Heartbeat};
use wire::frame::Frame;
use wire::grpc::{
    Code, Command, EndTransactionRequest, EndTransactionResponse, MessageType,
    RecoverOrphanedTransactionCommand, TelemetryCommand, TransactionResolution, TransactionSource,
};
use wire::header::transaction::{
    CheckTransactionStateRequest, EndTransactionRequest as EndRequest,
};
use wire::message::record::RecordRef;
use wire::message::sys_flag::message as flags;
use wire::message::{properties, property};

use crate::call::Call;
use crate::error::{ProxyError, ok};
use crate::proxy::State;
use crate::{message, presence, validate};

/// What the proxy calls itself towards brokers that ask about transactions.
const CLIENT_ID: &str = "rmq-proxy-producer-client";

/// What ends a transaction at its broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HalfMessage {
    /// Address of the broker.
    pub(crate) broker: String,
    /// Number of the half message in its queue.
    pub(crate) queue_offset: i64,
    /// Its place in the log.
    pub(crate) log_offset: i64,
}

/// Topic and transaction id.
type TransactionKey = (String, String);

/// The transactions that can be ended here. Each half message is used once.
pub(crate) struct Transactions {
    table: Mutex<HashMap<TransactionKey, Vec<(Instant, HalfMessage)>>>,
    expiry: Duration,
    /// Most half messages of one id.
    most: usize,
    /// Whose turn it is to be asked.
    turn: AtomicUsize,
}

impl Transactions {
    pub(crate) fn new(expiry: Duration, most: usize) -> Self {
        Self {
            table: Mutex::default(),
            expiry,
            most,
            turn: AtomicUsize::new(0),
        }
    }

    /// Notes a half message. Of too many with one id the oldest is forgotten.
    pub(crate) fn put(&self, topic: &str, transaction_id: &str, half: HalfMessage) {
        let mut table = self.table.lock();
        let halves = table
            .entry((topic.to_owned(), transaction_id.to_owned()))
            .or_default();
        if halves.len() >= self.most {
            halves.remove(0);
        }
        halves.push((Instant::now(), half));
    }

    /// Takes the newest half message of an id, unless it is too old.
    fn take(&self, topic: &str, transaction_id: &str) -> Option<HalfMessage> {
        let mut table = self.table.lock();
        let key = (topic.to_owned(), transaction_id.to_owned());
        let halves = table.get_mut(&key)?;
        let newest = halves.pop();
        if halves.is_empty() {
            table.remove(&key);
        }
        let (noted, half) = newest?;
        (noted.elapsed() < self.expiry).then_some(half)
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&self) {
        self.table.lock().retain(|_, halves| {
            halves.retain(|(noted, _)| noted.elapsed() < self.expiry);
            !halves.is_empty()
        });
    }
}

/// Commits or rolls back.
pub(crate) async fn end(
    call: Call,
    request: EndTransactionRequest,
) -> Result<EndTransactionResponse, ProxyError> {
    let topic = validate::topic(request.topic.as_ref())?;
    if request.transaction_id.trim().is_empty() {
        let missing = "transaction id cannot be empty";
        return Err(ProxyError::new(Code::InvalidTransactionId, missing));
    }
    let state = &call.state;
    let half = state.transactions.take(topic, &request.transaction_id);
    let half = half.ok_or_else(|| {
        ProxyError::new(Code::InternalServerError, "cannot found transaction data")
    })?;
    let header = EndRequest {
        topic: Some(topic.into()),
        producer_group: topic.into(),
        tran_state_table_offset: half.queue_offset,
        commit_log_offset: half.log_offset,
        commit_or_rollback: match request.resolution() {
            TransactionResolution::Commit => flags::TRANSACTION_COMMIT_TYPE,
            TransactionResolution::Rollback => flags::TRANSACTION_ROLLBACK_TYPE,
            TransactionResolution::Unspecified => flags::TRANSACTION_NOT_TYPE,
        },
        from_transaction_check: Some(request.source() == TransactionSource::ServerCheck),
        msg_id: request.message_id.as_str().into(),
        transaction_id: Some(request.transaction_id.as_str().into()),
        ..EndRequest::default()
    };
    state
        .cluster
        .tell::<EndTransaction>(&half.broker, &header, transport::Body::Empty)
        .await?;
    Ok(EndTransactionResponse { status: ok() })
}

/// A broker asks what became of a transaction: a producer of the topic is asked in turn.
pub(crate) async fn check(state: &State, connection: &Connection, request: &Frame) {
    if let Err(error) = ask_producer(state, connection, request).await {
        tracing::warn!(
            command = CheckTransactionState::CODE.name(),
            peer = %connection.peer(),
            %error,
            "a broker's question cannot be understood"
        );
    }
}

async fn ask_producer(
    state: &State,
    connection: &Connection,
    request: &Frame,
) -> Result<(), ProxyError> {
    let header: CheckTransactionStateRequest<'_> = request.header()?;
    let record = RecordRef::parse(&request.body)?;
    let text = record.properties();
    let [unique_id, group] = properties::get_each(
        &text,
        [
            property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
            property::PRODUCER_GROUP,
        ],
    );
    // The group is the topic, as it was when the message was sent.
    let (Some(transaction_id), Some(topic)) = (unique_id, group) else {
        return Ok(());
    };
    let turn = state.transactions.turn.fetch_add(1, Ordering::Relaxed);
    let Some(producer) = state.clients.producer(topic, turn) else {
        tracing::debug!(
            topic,
            "no producer is there to be asked about a transaction"
        );
        return Ok(());
    };
    let half = HalfMessage {
        broker: connection.peer().to_string(),
        queue_offset: header.tran_state_table_offset,
        log_offset: header.commit_log_offset,
    };
    state.transactions.put(topic, transaction_id, half);
    let message = message::of_record(&record, &request.body, topic, &message::Delivery::default())?;
    let question = TelemetryCommand {
        status: ok(),
        command: Some(Command::RecoverOrphanedTransaction(Box::new(
            RecoverOrphanedTransactionCommand {
                message: Some(message),
                transaction_id: transaction_id.to_owned(),
            },
        ))),
    };
    if producer.send(&question).await.is_err() {
        // It has just left: the broker asks again.
        let _ = state.transactions.take(topic, transaction_id);
    }
    Ok(())
}

/// Tells the brokers of every topic for transactions that its producers can be asked here.
pub(crate) async fn send_heartbeats(state: &State) {
    let mut groups: BTreeMap<String, Vec<ProducerData>> = BTreeMap::new();
    for topic in state.clients.published_topics() {
        let kind = state.cluster.topic_type(&topic).await;
        if kind.check(MessageType::Transaction).is_err() {
            continue;
        }
        let Ok(route) = state.cluster.route(&topic).await else {
            continue;
        };
        let mut brokers: Vec<&String> = route.writable.iter().map(|queue| &queue.address).collect();
        brokers.dedup();
        for broker in brokers {
            let group = ProducerData {
                group_name: topic.clone(),
            };
            groups.entry(broker.clone()).or_default().push(group);
        }
    }
    for (broker, producer_data_set) in groups {
        let heartbeat = HeartbeatData {
            client_id: CLIENT_ID.to_owned(),
            producer_data_set,
            ..HeartbeatData::default()
        };
        let body = json::write(&heartbeat);
        let told = state
            .cluster
            .tell::<Heartbeat>(&broker, &Default::default(), body)
            .await;
        if let Err(error) = told {
            tracing::warn!(%error, "a broker cannot be told of producers of transactions");
        }
    }
}

/// The task that sends heartbeats: when a client comes or goes, and after each period.
pub(crate) async fn keep_heartbeats(state: Arc<State>) {
    let period = Duration::from_secs(state.config.transaction_heartbeat_period_second);
    loop {
        tokio::select! {
            () = state.heartbeat_due.notified() => {}
            () = tokio::time::sleep(period) => {}
        }
        send_heartbeats(&state).await;
        presence::send_heartbeats(&state).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(queue_offset: i64) -> HalfMessage {
        HalfMessage {
            broker: "b:1".into(),
            queue_offset,
            log_offset: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_message_is_used_once_and_not_when_it_is_old() {
        let transactions = Transactions::new(Duration::from_secs(30), 2);
        for offset in 1..=3 {
            transactions.put("t", "x", half(offset));
        }
        assert_eq!(transactions.take("other", "x"), None);
        assert_eq!(transactions.take("t", "x"), Some(half(3)));
        assert_eq!(transactions.take("t", "x"), Some(half(2)));
        assert_eq!(transactions.take("t", "x"), None);
        transactions.put("t", "x", half(4));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(transactions.take("t", "x"), None);
        transactions.put("t", "y", half(5));
        tokio::time::advance(Duration::from_secs(31)).await;
        transactions.expire();
        assert!(transactions.table.lock().is_empty());
    }
}
