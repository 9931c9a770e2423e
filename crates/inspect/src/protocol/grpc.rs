//! Messages of gRPC, cut out of a stream's data.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 1: compressed; read where the header `grpc-encoding` says gzip, the one that clients have |
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

    /// The next message, decompressed; `None` while more data is needed. One that cannot be
    /// decompressed is passed over.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        loop {
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
            if let Some(plain) = decompressed(&message) {
                return Some(plain);
            }
        }
    }
}

fn decompressed(message: &[u8]) -> Option<Bytes> {
    let mut plain = Vec::new();
    let limit = MAX_MESSAGE as u64 + 1;
    let read = GzDecoder::new(message).take(limit).read_to_end(&mut plain);
    (read.is_ok() && plain.len() <= MAX_MESSAGE).then(|| plain.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn message(compressed: u8, bytes: &[u8]) -> Vec<u8> {
        [
            &[compressed][..],
            &(bytes.len() as u32).to_be_bytes(),
            bytes,
        ]
        .concat()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn messages_are_decompressed_wherever_their_data_is_cut() {
        let data = [message(1, &gzip(b"packed")), message(0, b"plain")].concat();
        for cut in 0..data.len() {
            let mut messages = Messages::default();
            let mut read = Vec::new();
            for part in [&data[..cut], &data[cut..]] {
                messages.add(&Bytes::copy_from_slice(part));
                read.extend(std::iter::from_fn(|| messages.next()));
            }
            assert_eq!(read, ["packed", "plain"], "cut at {cut}");
            assert_eq!(messages.buffered(), 0);
        }
    }

    #[test]
    fn what_cannot_be_decompressed_or_grows_too_large_is_passed_over() {
        let packed = gzip(b"packed");
        let mut messages = Messages::default();
        for unreadable in [
            &b"no gzip"[..],
            &packed[..packed.len() - 1],
            &gzip(&vec![0; MAX_MESSAGE + 1]),
        ] {
            messages.add(&message(1, unreadable).into());
            messages.add(&message(0, b"next").into());
            assert_eq!(messages.next().unwrap(), "next");
        }
        messages.add(&message(1, &gzip(&vec![0; MAX_MESSAGE])).into());
        assert_eq!(messages.next().unwrap().len(), MAX_MESSAGE);
        // Data that is no message: nothing more is kept of it.
        messages.add(&message(2, b"").into());
        assert_eq!(messages.next(), None);
        messages.add(&message(0, b"more").into());
        assert_eq!((messages.next(), messages.buffered()), (None, 0));
    }
}
