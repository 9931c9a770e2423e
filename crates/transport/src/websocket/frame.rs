//! The frames of WebSocket (RFC 6455, section 5.2).
//!
//! | bits | what |
//! |---|---|
//! | 1 | FIN: the last fragment of its message |
//! | 3 | reserved, 0 |
//! | 4 | opcode: 0 continues a message, 1 begins text, 2 binary, 8 close, 9 ping, 10 pong |
//! | 1 | whether the payload is masked: from a client always, from a server never |
//! | 7 | length up to 125; 126: it follows in 16 bits, 127: in 64 |
//! | 16, 64 | the length, big endian, if it does not fit above |
//! | 32 | the key of the mask, if there is one |
//! | rest | payload; byte `n` is xored with byte `n % 4` of the key |

use bytes::{BufMut, BytesMut};

/// The longest header, in bytes.
pub(super) const MAX_HEADER: usize = 14;

/// The longest payload of a close, ping or pong, in bytes.
pub(super) const MAX_CONTROL: usize = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// The key that payload is xored with.
pub(super) type Key = [u8; 4];

/// A frame without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) key: Option<Key>,
    /// Bytes of the payload.
    pub(super) length: u64,
}

/// Bytes that are no header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Header {
    /// Reads a header off the front: the header and its size in bytes; `None` while more bytes are
    /// needed.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(([first, second], rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Malformed("a reserved bit is set"));
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Malformed("an opcode is unknown")),
        };
        let fin = first & 0x80 != 0;
        let short = second & 0x7f;
        let control = opcode as u8 >= Opcode::Close as u8;
        if control && (!fin || usize::from(short) > MAX_CONTROL) {
            return Err(Malformed("a control frame is long or in fragments"));
        }
        let (length, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        let (key, rest) = if second & 0x80 != 0 {
            match rest.split_first_chunk() {
                Some((key, rest)) => (Some(*key), rest),
                None => return Ok(None),
            }
        } else {
            (None, rest)
        };
        let header = Self {
            fin,
            opcode,
            key,
            length,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        let masked = if self.key.is_some() { 0x80 } else { 0 };
        out.put_u8(if self.fin { 0x80 } else { 0 } | self.opcode as u8);
        match self.length {
            length @ 0..126 => out.put_u8(masked | length as u8),
            length @ 126..=0xffff => {
                out.put_u8(masked | 126);
                out.put_u16(length as u16);
            }
            length => {
                out.put_u8(masked | 127);
                out.put_u64(length);
            }
        }
        if let Some(key) = self.key {
            out.put_slice(&key);
        }
    }
}

/// Masks or unmasks what stands at this position of the payload.
pub(super) fn mask(bytes: &mut [u8], key: Key, position: u64) {
    let turn = (position % 4) as usize;
    let key: [u8; 8] = std::array::from_fn(|index| key[(turn + index) % 4]);
    let wide = u64::from_ne_bytes(key);
    let (chunks, rest) = bytes.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opcodes() -> impl Strategy<Value = Opcode> {
        prop_oneof![
            Just(Opcode::Continuation),
            Just(Opcode::Text),
            Just(Opcode::Binary)
        ]
    }

    proptest! {
        #[test]
        fn a_header_comes_back_as_it_was(
            fin: bool, opcode in opcodes(), key: Option<Key>,
            length in prop_oneof![0_u64..200, 65_000_u64..66_000, any::<u64>()],
        ) {
            let header = Header { fin, opcode, key, length };
            let mut bytes = BytesMut::new();
            header.encode(&mut bytes);
            prop_assert!(bytes.len() <= MAX_HEADER);
            prop_assert_eq!(Header::decode(&bytes), Ok(Some((header, bytes.len()))));
            for end in 0..bytes.len() {
                prop_assert_eq!(Header::decode(&bytes[..end]), Ok(None));
            }
        }

        #[test]
        fn masking_in_pieces_is_masking_whole(
            mut bytes: Vec<u8>, key: Key, cut in 0_usize..100,
        ) {
            let plain = bytes.clone();
            let (first, second) = bytes.split_at_mut(cut.min(plain.len()));
            mask(first, key, 0);
            mask(second, key, first.len() as u64);
            for (index, byte) in plain.iter().enumerate() {
                prop_assert_eq!(bytes[index], byte ^ key[index % 4]);
            }
        }
    }
}
