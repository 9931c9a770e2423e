//! Messages of gRPC, cut out of a stream's data.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 1: compressed, as the header `grpc-encoding` says |
//! | 4 | length |
//! | n | the message |

use std::io::Read;

use bytes::{Buf, Bytes, BytesMut};
use flate2::read::GzDecoder;

const PREFIX: usize = 5;
/// The longest message that is read, in bytes.
const MAX_MESSAGE: usize = 32 << 20;

/// Cuts the data of one direction of a call into messages.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    buffer: BytesMut,
    /// Whether nothing more can be read.
    broken: bool,
}

impl Messages {
    /// Bytes that wait for the rest of a message.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Adds data; [`next`](Self::next) then has the messages that it completes.
    pub(crate) fn add(&mut self, data: &Bytes) {
        if !self.broken {
            self.buffer.extend_from_slice(data);
        }
    }

    /// The next message, decompressed; `None` while more data is needed.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let &[compressed, l0, l1, l2, l3] = self.buffer.first_chunk::<PREFIX>()?;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_MESSAGE || compressed > 1 {
            self.broken = true;
            self.buffer = BytesMut::new();
            return None;
        }
        if self.buffer.len() < PREFIX + length {
            return None;
        }
        self.buffer.advance(PREFIX);
        let message = self.buffer.split_to(length).freeze();
        if compressed == 0 {
            return Some(message);
        }
        let mut plain = Vec::new();
        let limit = MAX_MESSAGE as u64;
        // What can't be decompressed is a message of which nothing is known.
        let _ = GzDecoder::new(&*message)
            .take(limit)
            .read_to_end(&mut plain);
        Some(plain.into())
    }
}
