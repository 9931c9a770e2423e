//! Which code handles which request, and where it runs.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::frame::{Frame, Head, SerializeType};
use wire::header::EncodeHeader;

use crate::connection::Connection;
use crate::executor::{BoxFuture, Executor};
use crate::outbox::Outbox;
use crate::reply::{Refusal, Reply};
use crate::responder::Responder;

/// Handles a run of requests of one read.
pub type InlineRun = dyn Fn(&Arc<Connection>, &[Frame], &mut Outbox) + Send + Sync;
/// Handles one request at once.
pub type InlineEach = dyn Fn(&Arc<Connection>, &Frame, &mut Outbox) + Send + Sync;
/// Handles one request in a future of its own.
pub type Spawned = dyn Fn(Responder, Frame) -> BoxFuture<'static, ()> + Send + Sync;

/// How requests are handled.
///
/// The frames of inline handlers are cut from a read buffer of up to 256 KiB (or their own size)
/// and keep it alive: who answers much later keeps the [`Responder`] and what it needs of the
/// request, or [`Frame::detached`].
#[derive(Clone)]
pub enum Handler {
    /// Runs on the connection's task and must not wait. It gets the consecutive requests of one
    /// read that belong to it, and answers into the outbox or keeps a [`Responder`] for each.
    Inline(Arc<InlineRun>),
    /// The same one by one. Once much is unsent the next request is left unread, so that requests
    /// with large answers can't fill the memory.
    InlineEach(Arc<InlineEach>),
    /// Runs on an executor. When that is overloaded the request gets `SYSTEM_BUSY` at once, and
    /// when it waited too long for its turn, then.
    Spawned(Arc<Executor>, Arc<Spawned>),
}

/// The handlers of a role by request code, made once and then shared by all its connections.
#[derive(Default)]
pub struct HandlerTable {
    handlers: Vec<Handler>,
    /// Index into `handlers` by request code, for the codes below [`DENSE`].
    dense: Vec<Option<u16>>,
    /// The same for the other codes.
    sparse: HashMap<i32, u16>,
    /// The same for the other codes as a ROCKETMQ header cuts them to 16 bits.
    cut: HashMap<i32, u16>,
    otherwise: Option<u16>,
}

/// Request codes below this are looked up without hashing. Those of 200,000 and up are not.
const DENSE: usize = 2048;

impl HandlerTable {
    /// A table without handlers: every request gets `REQUEST_CODE_NOT_SUPPORTED`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has a handler serve these codes. A code that is registered again goes to the new handler.
    pub fn register(&mut self, codes: &[RequestCode], handler: Handler) {
        let index = self.add(handler);
        for code in codes {
            let number = *code as i32;
            match usize::try_from(number) {
                Ok(place) if place < DENSE => {
                    if self.dense.len() <= place {
                        self.dense.resize(place + 1, None);
                    }
                    self.dense[place] = Some(index);
                }
                _ => {
                    self.sparse.insert(number, index);
                    self.cut.insert(i32::from(number as i16), index);
                }
            }
        }
    }

    /// Has a handler serve all codes that are not registered.
    pub fn otherwise(&mut self, handler: Handler) {
        self.otherwise = Some(self.add(handler));
    }

    /// Hot requests, several at a time: see [`Handler::Inline`].
    pub fn inline(
        &mut self,
        codes: &[RequestCode],
        handle: impl Fn(&Arc<Connection>, &[Frame], &mut Outbox) + Send + Sync + 'static,
    ) {
        self.register(codes, Handler::Inline(Arc::new(handle)));
    }

    /// Hot requests one by one, each answered on the spot.
    pub fn inline_each<H: EncodeHeader>(
        &mut self,
        codes: &[RequestCode],
        handle: impl Fn(&Arc<Connection>, &Frame) -> Result<Reply<H>, Refusal> + Send + Sync + 'static,
    ) {
        self.inline_held(codes, move |connection, frame, outbox| {
            outbox.answer(&frame.head, handle(connection, frame));
        });
    }

    /// Hot requests one by one, answered into the outbox or later by a [`Responder`] that
    /// [`Connection::responder`] makes.
    pub fn inline_held(
        &mut self,
        codes: &[RequestCode],
        handle: impl Fn(&Arc<Connection>, &Frame, &mut Outbox) + Send + Sync + 'static,
    ) {
        self.register(codes, Handler::InlineEach(Arc::new(handle)));
    }

    /// Requests that may wait or take long, answered with what the future comes to.
    pub fn spawned<H, F>(
        &mut self,
        codes: &[RequestCode],
        executor: &Arc<Executor>,
        handle: impl Fn(Arc<Connection>, Frame) -> F + Send + Sync + 'static,
    ) where
        H: EncodeHeader,
        F: Future<Output = Result<Reply<H>, Refusal>> + Send + 'static,
    {
        self.spawned_held(codes, executor, move |responder, frame| {
            let answer = handle(Arc::clone(responder.connection()), frame);
            async move { responder.answer(answer.await) }
        });
    }

    /// Requests that may wait or take long, answered by the [`Responder`] at any time.
    pub fn spawned_held<F>(
        &mut self,
        codes: &[RequestCode],
        executor: &Arc<Executor>,
        handle: impl Fn(Responder, Frame) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let boxed = move |responder, frame| Box::pin(handle(responder, frame)) as BoxFuture<_>;
        self.register(
            codes,
            Handler::Spawned(Arc::clone(executor), Arc::new(boxed)),
        );
    }

    /// The request codes that have a handler, ascending.
    pub fn codes(&self) -> Vec<RequestCode> {
        let dense = (0..)
            .zip(&self.dense)
            .filter(|(_, index)| index.is_some())
            .map(|(code, _)| code);
        let mut numbers: Vec<i32> = dense.chain(self.sparse.keys().copied()).collect();
        numbers.sort_unstable();
        numbers
            .into_iter()
            .filter_map(|number| RequestCode::try_from(number).ok())
            .collect()
    }

    /// The executors that handlers run on, each once.
    pub(crate) fn executors(&self) -> Vec<Arc<Executor>> {
        let mut executors: Vec<Arc<Executor>> = Vec::new();
        for handler in &self.handlers {
            if let Handler::Spawned(executor, _) = handler
                && !executors.iter().any(|it| Arc::ptr_eq(it, executor))
            {
                executors.push(Arc::clone(executor));
            }
        }
        executors
    }

    fn add(&mut self, handler: Handler) -> u16 {
        self.handlers.push(handler);
        (self.handlers.len() - 1) as u16
    }

    /// The number of the handler of a request; requests with the same number belong together.
    pub(crate) fn find(&self, head: &Head) -> Option<u16> {
        let place = usize::try_from(head.code).unwrap_or(usize::MAX);
        let known = self.dense.get(place).copied().flatten();
        known.or_else(|| self.find_sparse(head))
    }

    fn find_sparse(&self, head: &Head) -> Option<u16> {
        let whole = self.sparse.get(&head.code);
        let cut = || {
            self.cut
                .get(&head.code)
                .filter(|_| head.serialize == SerializeType::RocketMq)
        };
        whole.or_else(cut).copied().or(self.otherwise)
    }

    pub(crate) fn get(&self, index: u16) -> Option<&Handler> {
        self.handlers.get(usize::from(index))
    }
}

impl fmt::Debug for HandlerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandlerTable").field(&self.codes()).finish()
    }
}

/// The answer to a request that no handler serves, worded as the reference does.
pub(crate) fn not_supported(code: i32) -> Refusal {
    let remark = format!(" request type {code} not supported");
    Refusal::new(ResponseCode::RequestCodeNotSupported, remark)
}

/// The last version whose clients do not know `GO_AWAY`: the ordinal of `V5_3_1`.
const LAST_WITHOUT_GO_AWAY: i32 = 475;

/// The answer to a request on a connection that is about to be closed
/// (`NettyRemotingAbstract.processRequestCommand`): newer clients connect again and repeat it.
pub(crate) fn going_away(version: i32) -> Refusal {
    if version > LAST_WITHOUT_GO_AWAY {
        return Refusal::new(ResponseCode::GoAway, "please go away");
    }
    let remark = "this connection is being closed; send the request again";
    Refusal::new(ResponseCode::ServiceNotAvailable, remark)
}

/// The answer to a request that waited too long for its turn, worded as the reference does.
pub(crate) fn late(waited: Duration, queued: usize) -> Refusal {
    let remark = format!(
        "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: {}ms, \
         size of queue: {queued}",
        waited.as_millis()
    );
    Refusal::new(ResponseCode::SystemBusy, remark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(code: i32, serialize: SerializeType) -> Head {
        Head::request(code, serialize)
    }

    #[test]
    fn a_code_finds_its_handler_in_both_serializations() {
        let mut table = HandlerTable::new();
        table.inline(
            &[RequestCode::SendMessage, RequestCode::SendMessageV2],
            |_, _, _| {},
        );
        table.inline(&[RequestCode::PopMessage], |_, _, _| {});
        let json = |code| table.find(&head(code, SerializeType::Json));
        let rocketmq = |code| table.find(&head(code, SerializeType::RocketMq));
        assert_eq!((json(10), json(310)), (Some(0), Some(0)));
        assert_eq!((json(11), json(-1), json(99_999)), (None, None, None));
        assert_eq!(json(200_050), Some(1));
        assert_eq!((json(3442), rocketmq(3442)), (None, Some(1)));
        let served = [
            RequestCode::SendMessage,
            RequestCode::SendMessageV2,
            RequestCode::PopMessage,
        ];
        assert_eq!(table.codes(), served);
    }

    #[test]
    fn the_last_registration_of_a_code_counts() {
        let mut table = HandlerTable::new();
        table.inline(&[RequestCode::SendMessage], |_, _, _| {});
        table.inline(&[RequestCode::SendMessage], |_, _, _| {});
        assert_eq!(table.find(&head(10, SerializeType::Json)), Some(1));
    }
}
