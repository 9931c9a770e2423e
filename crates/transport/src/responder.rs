//! Answering a request later, from anywhere.

use std::sync::Arc;

use wire::code::ResponseCode;
use wire::frame::Head;
use wire::header::EncodeHeader;

use crate::connection::Connection;
use crate::outbox::Outbox;
use crate::reply::{Refusal, Reply};

/// The duty to answer one request: its head and the connection to answer on.
///
/// Dropped without an answer it answers `SYSTEM_ERROR`, so that no peer waits for nothing; a
/// closed connection makes answering do nothing. A graceful shutdown waits for responders.
#[derive(Debug)]
pub struct Responder {
    connection: Arc<Connection>,
    head: Head,
    done: bool,
}

impl Responder {
    pub(crate) fn new(connection: Arc<Connection>, head: Head) -> Self {
        connection.begin_answer();
        Self {
            connection,
            head,
            done: false,
        }
    }

    /// The connection that the request came on.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The head of the request.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Answers with what the handler came to.
    pub fn answer<H: EncodeHeader>(mut self, answer: Result<Reply<H>, Refusal>) {
        self.send(|head, outbox| outbox.answer(head, answer));
    }

    /// Answers the request.
    pub fn reply<H: EncodeHeader>(mut self, reply: Reply<H>) {
        self.send(|head, outbox| outbox.reply(head, reply));
    }

    /// Tells that the request is not carried out, and why.
    pub fn refuse(mut self, refusal: &Refusal) {
        self.send(|head, outbox| outbox.refuse(head, refusal));
    }

    /// Leaves the request without an answer for good.
    pub fn dismiss(mut self) {
        self.done = true;
    }

    fn send(&mut self, write: impl FnOnce(&Head, &mut Outbox)) {
        self.done = true;
        if !self.head.is_oneway() {
            // A closed connection has been told about by its events.
            let _ = self
                .connection
                .with_outbox(|outbox| write(&self.head, outbox));
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.done {
            let refusal = Refusal::new(
                ResponseCode::SystemError,
                "the request was given up before it was answered; send it again",
            );
            self.send(|head, outbox| outbox.refuse(head, &refusal));
        }
        self.connection.end_answer();
    }
}
