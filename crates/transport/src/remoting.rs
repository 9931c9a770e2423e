//! The protocol "remoting": frames on a byte stream, as they are.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use wire::code::ResponseCode;
use wire::frame::{Frame, Head, encode};
use wire::header::NoHeader;

use crate::endpoint::Endpoint;
use crate::executor::BoxFuture;
use crate::farewell;
use crate::network::Link;
use crate::protocol::{Detection, Protocol, Refused};

/// Frames on a byte stream. A frame's length is below 2^24, so its first byte is 0, which no
/// other protocol starts with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Remoting;

/// The reference decodes nothing of a stream that is shorter, since it looks for a proxy's
/// signature of this length first.
const SHORTEST_STREAM: usize = 12;

impl Protocol for Remoting {
    fn name(&self) -> &'static str {
        "remoting"
    }

    fn detect(&self, first: &[u8]) -> Detection {
        match first.first() {
            Some(0) if first.len() >= SHORTEST_STREAM => Detection::Yes,
            Some(0) | None => Detection::NeedMore,
            Some(_) => Detection::No,
        }
    }

    fn serve(self: Arc<Self>, link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        let (_, driver) = endpoint.open(link);
        Box::pin(driver)
    }

    /// Answers the first request with `SERVICE_NOT_AVAILABLE`. Where encryption is wanted nothing
    /// is answered in clear, as in the reference.
    fn refuse(self: Arc<Self>, mut link: Link, why: Refused) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if why == Refused::NotEncrypted {
                return;
            }
            loop {
                match Frame::decode(&mut link.received) {
                    Ok(Some(request)) => {
                        return farewell::tell(link.stream, &refusal(&request.head, why)).await;
                    }
                    Ok(None) if link.received.len() < LONGEST_REFUSED => {}
                    _ => return,
                }
                match link.stream.read_buf(&mut link.received).await {
                    Ok(1..) => {}
                    _ => return,
                }
            }
        })
    }
}

/// A request that is longer is refused by closing the connection.
const LONGEST_REFUSED: usize = 64 * 1024;

fn refusal(request: &Head, why: Refused) -> BytesMut {
    let mut bytes = BytesMut::new();
    let code = ResponseCode::ServiceNotAvailable as i32;
    let (head, remark) = (request.response(code), why.to_string());
    encode(&head, Some(&remark), &NoHeader, 0, &mut bytes);
    bytes
}
