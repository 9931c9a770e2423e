//! What brokers ask the proxy as a client of theirs, and what it asks its own clients then, on
//! their telemetry streams (`ProxyClientRemotingProcessor`, `GrpcClientChannel`, `ClientActivity`,
//! `LocalProxyRelayService`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use transport::{Executor, HandlerTable, Refusal, Reply};
use wire::body::client::{CMResult, ConsumeMessageDirectlyResult};
use wire::body::json;
use wire::body::running::ConsumerRunningInfo;
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::frame::Frame;
use wire::grpc::{
    Code, Command, NotifyUnsubscribeLiteCommand, PrintThreadStackTraceCommand, TelemetryCommand,
    VerifyMessageCommand,
};
use wire::header::client::{ConsumeMessageDirectlyResultRequest, GetConsumerRunningInfoRequest};
use wire::header::lite::NotifyUnsubscribeLiteRequest;
use wire::message::record::RecordRef;

use crate::error::ok;
use crate::message::{self, Delivery};
use crate::presence;
use crate::proxy::State;
use crate::transactions;

/// Questions of brokers that are passed on at a time, and that may wait.
const CONCURRENT: usize = 64;
const WAITING: usize = 10_000;

/// A client and the number of a question to it (`nonce`).
type Question = (String, String);

/// Questions to clients, until they are answered.
pub(crate) struct Questions {
    waiting: Mutex<HashMap<Question, oneshot::Sender<TelemetryCommand>>>,
    asked: AtomicU64,
    /// How long a client may take.
    patience: Duration,
    /// Where questions of brokers run.
    executor: Arc<Executor>,
}

impl Questions {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            waiting: Mutex::default(),
            asked: AtomicU64::new(0),
            patience,
            executor: Executor::new("brokers' questions", CONCURRENT, WAITING),
        }
    }

    /// Where questions of brokers run.
    pub(crate) fn executor(&self) -> &Arc<Executor> {
        &self.executor
    }

    /// A client answers a question. One that nobody waits for any more is passed over.
    pub(crate) fn answer(&self, client: &str, nonce: &str, answer: TelemetryCommand) {
        let question = (client.to_owned(), nonce.to_owned());
        if let Some(asker) = self.waiting.lock().remove(&question) {
            // Who asked may have given up just now.
            let _ = asker.send(answer);
        }
    }

    /// Asks a client what `ask` makes of the question's number.
    async fn ask(
        &self,
        state: &State,
        client: &str,
        ask: impl FnOnce(String) -> Command,
    ) -> Result<TelemetryCommand, Refusal> {
        let away = || Refusal::new(ResponseCode::ConsumerNotOnline, "the client is not there");
        let telemetry = state.clients.telemetry(client).ok_or_else(away)?;
        let nonce = self.asked.fetch_add(1, Ordering::Relaxed).to_string();
        let question = (client.to_owned(), nonce.clone());
        let (asker, answer) = oneshot::channel();
        self.waiting.lock().insert(question.clone(), asker);
        let asking = async {
            telemetry.send(&telling(ask(nonce))).await.ok()?;
            answer.await.ok()
        };
        let answered = tokio::time::timeout(self.patience, asking).await;
        self.waiting.lock().remove(&question);
        match answered {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(away()),
            Err(_) => Err(Refusal::new(
                ResponseCode::SystemBusy,
                "call remote timeout",
            )),
        }
    }
}

fn telling(command: Command) -> TelemetryCommand {
    TelemetryCommand {
        status: ok(),
        command: Some(command),
    }
}

/// Who answers brokers.
pub(crate) fn handlers(state: &Weak<State>, executor: &Arc<Executor>) -> HandlerTable {
    let mut table = HandlerTable::new();
    let asked = [RequestCode::CheckTransactionState];
    let held = Weak::clone(state);
    table.spawned_held(&asked, executor, move |responder, frame| {
        let state = held.upgrade();
        async move {
            if let Some(state) = state {
                transactions::check(&state, responder.connection(), &frame).await;
            }
            // A question without an answer: the producer ends the transaction when it knows.
            responder.dismiss();
        }
    });
    let asked = [
        RequestCode::NotifyUnsubscribeLite,
        RequestCode::GetConsumerRunningInfo,
        RequestCode::ConsumeMessageDirectly,
    ];
    let state = Weak::clone(state);
    table.spawned(&asked, executor, move |_, frame| {
        let state = state.upgrade();
        async move {
            let stopped = || Refusal::new(ResponseCode::SystemError, "the proxy has stopped");
            let state = state.ok_or_else(stopped)?;
            match RequestCode::try_from(frame.head.code) {
                Ok(RequestCode::NotifyUnsubscribeLite) => unsubscribed(&state, &frame).await,
                Ok(RequestCode::GetConsumerRunningInfo) => running_info(&state, &frame).await,
                _ => consume_directly(&state, &frame).await,
            }
        }
    });
    table
}

/// A lite topic is no longer a client's.
async fn unsubscribed(state: &State, frame: &Frame) -> Result<Reply, Refusal> {
    let header: NotifyUnsubscribeLiteRequest<'_> = frame.header()?;
    if let Some(telemetry) = state.clients.telemetry(&header.client_id) {
        let command = Command::NotifyUnsubscribeLite(NotifyUnsubscribeLiteCommand {
            lite_topic: header.lite_topic.into_owned(),
        });
        // Who has left needs not know.
        let _ = telemetry.send(&telling(command)).await;
    }
    Ok(Reply::empty())
}

/// How is a client doing?
async fn running_info(state: &State, frame: &Frame) -> Result<Reply, Refusal> {
    let header: GetConsumerRunningInfoRequest<'_> = frame.header()?;
    let client = &header.client_id;
    let mut info = ConsumerRunningInfo {
        subscription_set: state
            .clients
            .with_settings(client, |settings| {
                Some(presence::subscriptions(settings, 0))
            })
            .unwrap_or_default(),
        ..ConsumerRunningInfo::default()
    };
    if header.jstack_enable {
        let ask = |nonce| Command::PrintThreadStackTrace(PrintThreadStackTraceCommand { nonce });
        let answer = state.questions.ask(state, client, ask).await?;
        match (code(&answer), answer.command) {
            (Code::Ok, Some(Command::ThreadStackTrace(trace))) => {
                info.jstack = trace.thread_stack_trace;
            }
            (Code::VerifyFifoMessageUnsupported, _) => {
                let forbidden = "forbidden to verify message";
                return Err(Refusal::new(ResponseCode::NoPermission, forbidden));
            }
            _ => {
                let failed = "verify message failed";
                return Err(Refusal::new(ResponseCode::SystemError, failed));
            }
        }
    }
    Ok(Reply::empty().with_body(json::write(&info)))
}

/// A client shall consume a message.
async fn consume_directly(state: &State, frame: &Frame) -> Result<Reply, Refusal> {
    let header: ConsumeMessageDirectlyResultRequest<'_> = frame.header()?;
    let client = header.client_id.as_deref().unwrap_or_default();
    let unreadable =
        |error: &dyn std::fmt::Display| Refusal::new(ResponseCode::SystemError, error.to_string());
    let record = RecordRef::parse(&frame.body).map_err(|error| unreadable(&error))?;
    let message = message::of_record(&record, &frame.body, &record.topic(), &Delivery::default())
        .map_err(|error| unreadable(&error))?;
    let ask = |nonce| {
        Command::VerifyMessage(Box::new(VerifyMessageCommand {
            nonce,
            message: Some(message),
        }))
    };
    let answer = state.questions.ask(state, client, ask).await?;
    let result = ConsumeMessageDirectlyResult {
        consume_result: match code(&answer) {
            Code::Ok => Some(CMResult::Success),
            Code::FailedToConsumeMessage => Some(CMResult::Later),
            Code::MessageCorrupted => Some(CMResult::ReturnNull),
            _ => None,
        },
        remark: Some("from gRPC client".to_owned()),
        ..ConsumeMessageDirectlyResult::default()
    };
    Ok(Reply::empty().with_body(json::write(&result)))
}

/// What a client says of what it was asked for.
fn code(answer: &TelemetryCommand) -> Code {
    let status = answer.status.as_ref();
    status.map_or(Code::Unspecified, |status| status.code())
}
