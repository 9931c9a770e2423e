//! Messages in and out of HTTP bodies, as gRPC has them.
//!
//! A body is a row of messages, each behind five bytes: 0 for a message that is not compressed, 1
//! for one that is, as the header `grpc-encoding` says, and its length as four bytes, the highest
//! first. Requests may be compressed by gzip; answers are not. An answer ends with the trailers `grpc-status`
//! and `grpc-message`; one without messages has these among its headers.

use std::fmt::Write;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::read::GzDecoder;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use transport::{RequestBody, ResponseBody};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const APPLICATION_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// How messages are compressed.
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip");

/// Bytes in front of each message.
const PREFIX: usize = 5;

/// Answers of one call that wait for the peer to take them.
const WAITING: usize = 8;

/// Why a call failed as such; what becomes of requests is told in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcCode {
    InvalidArgument = 3,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
}

/// That a call failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrpcError {
    pub(crate) code: GrpcCode,
    pub(crate) message: String,
}

impl GrpcError {
    pub(crate) fn new(code: GrpcCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The trailers that tell it.
    fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        trailers.insert(GRPC_STATUS, HeaderValue::from(self.code as u16));
        if let Ok(message) = HeaderValue::from_str(&percent_encoded(&self.message)) {
            trailers.insert(GRPC_MESSAGE, message);
        }
        trailers
    }

    /// The answer that is nothing but this.
    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let body = http_body_util::Empty::new().map_err(|never| match never {});
        let mut response = response(body.boxed_unsync());
        response.headers_mut().extend(self.trailers());
        response
    }
}

/// A text with everything but printable ASCII as `%` and two digits.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn response(body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, APPLICATION_GRPC);
    headers.insert(GRPC_ACCEPT_ENCODING, ACCEPTED);
    response
}

/// What the messages that come in may take.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    /// Bytes of the largest message, decompressed too.
    pub(crate) message: usize,
    /// Bytes of what has come of all messages and is not whole yet.
    pub(crate) all: Arc<Semaphore>,
}

/// The messages that come in.
pub(crate) struct Requests<M> {
    body: RequestBody,
    received: BytesMut,
    /// As many permits as bytes were received.
    held: Option<OwnedSemaphorePermit>,
    allowance: Allowance,
    /// Whether compressed messages are so by gzip.
    gzip: bool,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Requests<M> {
    /// The messages of a request with these headers.
    pub(crate) fn new(headers: &HeaderMap, body: RequestBody, allowance: Allowance) -> Self {
        Self {
            body,
            received: BytesMut::new(),
            held: None,
            allowance,
            gzip: headers.get(GRPC_ENCODING) == Some(&ACCEPTED),
            message: PhantomData,
        }
    }

    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// The peer broke off, or sent what is no message or too large a one.
    pub(crate) async fn next(&mut self) -> Result<Option<M>, GrpcError> {
        loop {
            if let Some(message) = self.take()? {
                return M::decode(message).map(Some).map_err(|error| {
                    GrpcError::new(
                        GrpcCode::Internal,
                        format!("the message cannot be read: {error}"),
                    )
                });
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.receive(&data)?;
                    }
                }
                Some(Err(error)) => {
                    let broken = format!("the request broke off: {error}");
                    return Err(GrpcError::new(GrpcCode::Internal, broken));
                }
                None if self.received.is_empty() => return Ok(None),
                None => {
                    let half = "the request ends within a message";
                    return Err(GrpcError::new(GrpcCode::Internal, half));
                }
            }
        }
    }

    fn receive(&mut self, data: &[u8]) -> Result<(), GrpcError> {
        let all = Arc::clone(&self.allowance.all);
        let permit = all.try_acquire_many_owned(data.len() as u32).map_err(|_| {
            let full = "the server has no memory for more requests now; send it again";
            GrpcError::new(GrpcCode::ResourceExhausted, full)
        })?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        self.received.extend_from_slice(data);
        Ok(())
    }

    /// Takes the bytes of a message off the front, if it is there whole.
    fn take(&mut self) -> Result<Option<Bytes>, GrpcError> {
        let Some(&[compressed, length @ ..]) = self.received.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if compressed != 0 && !self.gzip {
            let message = "the request is compressed, but not by gzip";
            return Err(GrpcError::new(GrpcCode::Unimplemented, message));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > self.allowance.message {
            return Err(self.too_large());
        }
        if self.received.len() < PREFIX + length {
            return Ok(None);
        }
        self.received.advance(PREFIX);
        let message = self.received.split_to(length).freeze();
        if let Some(held) = &mut self.held {
            drop(held.split(PREFIX + length));
        }
        if compressed == 0 {
            return Ok(Some(message));
        }
        self.decompress(&message).map(Some)
    }

    fn decompress(&self, message: &[u8]) -> Result<Bytes, GrpcError> {
        let limit = self.allowance.message;
        let mut plain = Vec::new();
        let reading = GzDecoder::new(message)
            .take(limit as u64 + 1)
            .read_to_end(&mut plain);
        match reading {
            Ok(length) if length > limit => Err(self.too_large()),
            Ok(_) => Ok(plain.into()),
            Err(error) => Err(GrpcError::new(
                GrpcCode::Internal,
                format!("the message cannot be decompressed: {error}"),
            )),
        }
    }

    fn too_large(&self) -> GrpcError {
        let limit = self.allowance.message;
        GrpcError::new(
            GrpcCode::ResourceExhausted,
            format!("the request exceeds grpcMaxInboundMessageSize = {limit} bytes"),
        )
    }
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(length as u32);
    // There is room for it: a buffer grows.
    let _ = message.encode(&mut bytes);
    bytes.freeze()
}

/// The answer with one message.
pub(crate) fn unary(message: &impl Message) -> Response<ResponseBody> {
    response(
        AnswerBody {
            messages: Messages::One(Some(framed(message))),
            ended: false,
        }
        .boxed_unsync(),
    )
}

/// The way out for the messages of a call. Dropped, it ends the call.
pub(crate) struct Answers<M> {
    sender: mpsc::Sender<Result<Bytes, GrpcError>>,
    message: PhantomData<fn(M)>,
}

impl<M> Clone for Answers<M> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            message: PhantomData,
        }
    }
}

/// The peer takes no more answers: it has given the call up, or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenUp;

impl<M: Message> Answers<M> {
    /// The answer, and the way to its messages.
    pub(crate) fn stream() -> (Self, Response<ResponseBody>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let body = AnswerBody {
            messages: Messages::Many(receiver),
            ended: false,
        };
        let answers = Self {
            sender,
            message: PhantomData,
        };
        (answers, response(body.boxed_unsync()))
    }

    /// Sends a message once there is room for it.
    pub(crate) async fn send(&self, message: &M) -> Result<(), GivenUp> {
        let sent = self.sender.send(Ok(framed(message))).await;
        sent.map_err(|_| GivenUp)
    }

    /// Ends the call as failed.
    pub(crate) async fn fail(self, error: GrpcError) {
        // Who has given up hears nothing of it.
        let _ = self.sender.send(Err(error)).await;
    }

    /// Whether both lead to the same call.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.sender.same_channel(&other.sender)
    }

    /// Waits until the peer takes no more answers.
    pub(crate) async fn given_up(&self) {
        self.sender.closed().await;
    }
}

/// Messages, then trailers.
struct AnswerBody {
    messages: Messages,
    ended: bool,
}

enum Messages {
    One(Option<Bytes>),
    Many(mpsc::Receiver<Result<Bytes, GrpcError>>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match &mut self.messages {
            Messages::One(message) => message.take().map(Ok),
            Messages::Many(receiver) => std::task::ready!(receiver.poll_recv(cx)),
        };
        let trailers = match next {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Err(error)) => error.trailers(),
            None => HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]),
        };
        self.ended = true;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use wire::grpc::StatusOnly;

    use super::*;
    use crate::error::ok;

    #[tokio::test]
    async fn an_answer_is_its_messages_and_then_the_status() {
        let message = StatusOnly { status: ok() };
        let (answers, response) = Answers::stream();
        answers.send(&message).await.unwrap();
        answers
            .fail(GrpcError::new(GrpcCode::Internal, "100 % lost\n"))
            .await;
        let collected = response.into_body().collect().await.unwrap();
        let trailers = collected.trailers().unwrap().clone();
        assert_eq!(collected.to_bytes(), framed(&message));
        assert_eq!(trailers[GRPC_STATUS], "13");
        assert_eq!(trailers[GRPC_MESSAGE], "100 %25 lost%0A");
    }

    #[tokio::test]
    async fn who_has_given_up_is_noticed() {
        let (answers, response) = Answers::<StatusOnly>::stream();
        drop(response);
        answers.given_up().await;
        assert_eq!(answers.send(&StatusOnly::default()).await, Err(GivenUp));
    }
}
