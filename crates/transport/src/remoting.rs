//! The protocol "remoting": frames on a byte stream, as they are.

use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::executor::BoxFuture;
use crate::network::Link;
use crate::protocol::{Detection, Protocol};

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
}
