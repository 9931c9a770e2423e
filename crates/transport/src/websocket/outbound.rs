//! What goes out on a WebSocket: each remoting frame as one binary message.

use bytes::BytesMut;
use ring::rand::{SecureRandom, SystemRandom};

use super::frame::{Header, Key, MAX_HEADER, Opcode, mask};
use super::inbound::{Close, Control};

/// So many bytes wait to be written before no more are taken.
const ROOM: usize = 64 * 1024;

/// A buffer larger than this is given back once it is empty.
const KEPT: usize = 2 * 1024;

/// Puts the headers of WebSocket between remoting frames, whose lengths stand at their front.
#[derive(Debug)]
pub(super) struct Outbound {
    /// A client's keys.
    keys: Option<Box<Keys>>,
    /// What waits to be written.
    pub(super) waiting: BytesMut,
    /// The length word of the next frame, as far as it is known.
    length: [u8; 4],
    known: usize,
    /// Bytes of the message at hand that have not been given yet, its key, and where it is.
    left: u64,
    key: Option<Key>,
    position: u64,
    /// A pong that waits for the end of the message at hand.
    pong: Option<Control>,
}

impl Outbound {
    /// For what goes to a server, where frames have to be masked, or to a client.
    pub(super) fn new(masked: bool) -> Self {
        Self {
            keys: masked.then(Box::default),
            waiting: BytesMut::new(),
            length: [0; 4],
            known: 0,
            left: 0,
            key: None,
            position: 0,
            pong: None,
        }
    }

    /// Whether there is room for a byte more, with a header in front of it.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() + MAX_HEADER < ROOM
    }

    /// Takes bytes of remoting frames, as many as there is room for.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.waiting.len() < ROOM {
            if self.left == 0 {
                if let (0, Some(length)) = (self.known, rest.first_chunk()) {
                    self.begin(*length);
                    continue;
                }
                let needed = rest.len().min(4 - self.known);
                let (word, behind) = rest.split_at(needed);
                self.length[self.known..self.known + needed].copy_from_slice(word);
                self.known += needed;
                rest = behind;
                if self.known == 4 {
                    let word = self.length;
                    self.known = 0;
                    self.begin(word);
                    self.payload(&word);
                }
            } else {
                let room = (ROOM - self.waiting.len()) as u64;
                let taken = self.left.min(room).min(rest.len() as u64) as usize;
                let (payload, behind) = rest.split_at(taken);
                self.payload(payload);
                rest = behind;
            }
        }
        bytes.len() - rest.len()
    }

    /// Begins a message with this length word in front.
    fn begin(&mut self, length: [u8; 4]) {
        let length = 4 + u64::from(u32::from_be_bytes(length));
        self.key = self.keys.as_mut().map(|keys| keys.next());
        self.position = 0;
        self.left = length;
        // Room for all of a small message at once.
        self.waiting
            .reserve(MAX_HEADER + length.min(KEPT as u64) as usize);
        let header = Header {
            fin: true,
            opcode: Opcode::Binary,
            key: self.key,
            length,
        };
        header.encode(&mut self.waiting);
    }

    fn payload(&mut self, payload: &[u8]) {
        let start = self.waiting.len();
        self.waiting.extend_from_slice(payload);
        if let Some(key) = self.key {
            mask(&mut self.waiting[start..], key, self.position);
        }
        self.position += payload.len() as u64;
        self.left -= payload.len() as u64;
        if self.left == 0
            && let Some(pong) = self.pong.take()
        {
            self.control(Opcode::Pong, &pong);
        }
    }

    /// Answers a ping, between two messages. An earlier pong that still waits gives way.
    pub(super) fn pong(&mut self, ping: Control) {
        if self.left == 0 && self.has_room() {
            self.control(Opcode::Pong, &ping);
        } else {
            self.pong = Some(ping);
        }
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, close: Close) {
        let code = close.code.to_be_bytes();
        let payload = Control::new(&[&code, close.reason.as_bytes()].concat());
        self.control(Opcode::Close, &payload);
    }

    fn control(&mut self, opcode: Opcode, control: &Control) {
        let payload = control.payload();
        let key = self.keys.as_mut().map(|keys| keys.next());
        let header = Header {
            fin: true,
            opcode,
            key,
            length: payload.len() as u64,
        };
        header.encode(&mut self.waiting);
        let start = self.waiting.len();
        self.waiting.extend_from_slice(payload);
        if let Some(key) = key {
            mask(&mut self.waiting[start..], key, 0);
        }
    }

    /// Gives back a large buffer that is empty.
    pub(super) fn trim(&mut self) {
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = BytesMut::new();
        }
    }
}

/// Random keys, asked from the system some at a time.
#[derive(Debug)]
struct Keys {
    random: [Key; 64],
    left: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            random: [[0; 4]; 64],
            left: 0,
        }
    }
}

impl Keys {
    fn next(&mut self) -> Key {
        if self.left == 0 {
            // A mask keeps no secret: it stops pages from choosing the bytes that proxies see.
            // Without the system's randomness the old keys serve once more.
            let _ = SystemRandom::new().fill(self.random.as_flattened_mut());
            self.left = self.random.len();
        }
        self.left -= 1;
        self.random[self.left]
    }
}
