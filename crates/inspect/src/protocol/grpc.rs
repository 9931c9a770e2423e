//! Messages of gRPC, cut out of a stream's data.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 1: compressed, as the header `grpc-encoding` says: by gzip, which RocketMQ's clients have, or deflate; what others say is named |
//! | 4 | length |
//! | n | the message |

use std::io::Read;

use bytes::{Buf, Bytes, BytesMut};
use flate2::read::{GzDecoder, ZlibDecoder};

const PREFIX: usize = 5;
/// The longest message that is read, in bytes.
const MAX_MESSAGE: usize = 32 << 20;

/// Most letters of an encoding's name that are kept.
const MAX_NAME: usize = 32;

/// How the messages of one direction are compressed, those that are.
#[derive(Debug, Default)]
enum Encoding {
    /// As is assumed where the header was not seen.
    #[default]
    Gzip,
    Deflate,
    /// One that is not read.
    Other(Box<str>),
}

/// Cuts the data of one direction of a call into messages.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    buffer: BytesMut,
    encoding: Encoding,
    /// Whether nothing more can be read.
    broken: bool,
}

impl Messages {
    /// Bytes that wait for the rest of a message.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Takes the value of the header `grpc-encoding`.
    pub(crate) fn are_encoded(&mut self, name: &str) {
        self.encoding = match name {
            "gzip" => Encoding::Gzip,
            "deflate" => Encoding::Deflate,
            // A name is short and has nothing that would move a terminal's cursor.
            other => {
                let letters = other.chars().filter(char::is_ascii_graphic);
                Encoding::Other(letters.take(MAX_NAME).collect())
            }
        };
    }

    /// Adds data; [`next`](Self::next) then has the messages that it completes.
    pub(crate) fn add(&mut self, data: &Bytes) {
        if !self.broken {
            self.buffer.extend_from_slice(data);
        }
    }

    /// The next message, decompressed, or what it is that cannot be read; `None` while more data is
    /// needed.
    pub(crate) fn next(&mut self) -> Option<Result<Bytes, String>> {
        let &[compressed, l0, l1, l2, l3] = self.buffer.first_chunk::<PREFIX>()?;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_MESSAGE || compressed > 1 {
            self.broken = true;
            self.buffer = BytesMut::new();
            return Some(Err("no message, or one of more than 32 MB".to_owned()));
        }
        if self.buffer.len() < PREFIX + length {
            return None;
        }
        self.buffer.advance(PREFIX);
        let message = self.buffer.split_to(length).freeze();
        Some(match compressed {
            0 => Ok(message),
            _ => self.encoding.decompressed(&message),
        })
    }
}

impl Encoding {
    fn decompressed(&self, message: &[u8]) -> Result<Bytes, String> {
        let reader: &mut dyn Read = match self {
            Self::Gzip => &mut GzDecoder::new(message),
            Self::Deflate => &mut ZlibDecoder::new(message),
            Self::Other(name) => return Err(format!("compressed by {name}, which is not read")),
        };
        let mut plain = Vec::new();
        let read = reader.take(MAX_MESSAGE as u64 + 1).read_to_end(&mut plain);
        if read.is_ok() && plain.len() <= MAX_MESSAGE {
            Ok(plain.into())
        } else {
            Err("compressed, but damaged or more than 32 MB".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

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
                read.extend(std::iter::from_fn(|| messages.next()).map(Result::unwrap));
            }
            assert_eq!(read, ["packed", "plain"], "cut at {cut}");
            assert_eq!(messages.buffered(), 0);
        }
    }

    #[test]
    fn what_cannot_be_decompressed_or_grows_too_large_is_named_and_the_next_is_read() {
        let packed = gzip(b"packed");
        let mut messages = Messages::default();
        for unreadable in [
            &b"no gzip"[..],
            &packed[..packed.len() - 1],
            &gzip(&vec![0; MAX_MESSAGE + 1]),
        ] {
            messages.add(&message(1, unreadable).into());
            messages.add(&message(0, b"next").into());
            let why = messages.next().unwrap().unwrap_err();
            assert_eq!(why, "compressed, but damaged or more than 32 MB");
            assert_eq!(messages.next().unwrap().unwrap(), "next");
        }
        messages.add(&message(1, &gzip(&vec![0; MAX_MESSAGE])).into());
        assert_eq!(messages.next().unwrap().unwrap().len(), MAX_MESSAGE);
        // Data that is no message: nothing more is kept of it.
        messages.add(&message(2, b"").into());
        assert!(messages.next().unwrap().is_err());
        messages.add(&message(0, b"more").into());
        assert_eq!((messages.next(), messages.buffered()), (None, 0));
    }

    #[test]
    fn messages_are_decompressed_as_the_header_says_or_what_it_says_is_named() {
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(b"packed").unwrap();
        let deflate = deflate.finish().unwrap();
        let mut messages = Messages::default();
        messages.are_encoded("deflate");
        messages.add(&message(1, &deflate).into());
        assert_eq!(messages.next().unwrap().unwrap(), "packed");
        messages.are_encoded("snappy");
        messages.add(&message(1, &deflate).into());
        let why = messages.next().unwrap().unwrap_err();
        assert_eq!(why, "compressed by snappy, which is not read");
        messages.add(&message(0, b"plain").into());
        assert_eq!(messages.next().unwrap().unwrap(), "plain");
    }
}
