//! What comes in on a WebSocket: frames with their headers taken away, in place.

use wire::frame::MAX_FRAME_SIZE;

use super::frame::{Header, Key, MAX_CONTROL, MAX_HEADER, Malformed, Opcode, mask};

/// Why a WebSocket is closed: a status of RFC 6455, section 7.4.1, and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

impl Close {
    /// All is well.
    pub(super) const NORMAL: Self = Self::new(1000, "");
    const UNMASKED: Self = Self::new(1002, "a client masks its frames, a server does not");
    const OUT_OF_ORDER: Self = Self::new(1002, "a fragment is out of order");
    const TEXT: Self = Self::new(1003, "a message is text: send binary");
    const NO_FRAME: Self = Self::new(1007, "a message is not one whole remoting frame");
    const TOO_BIG: Self = Self::new(1009, "a message is longer than 16 MiB");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }

    /// Whether the peer broke the rules.
    pub(super) fn is_refusal(self) -> bool {
        !self.reason.is_empty()
    }
}

impl From<Malformed> for Close {
    fn from(Malformed(reason): Malformed) -> Self {
        Self::new(1002, reason)
    }
}

/// Cuts what comes in into frames, of which it keeps nothing but what is not decided yet.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Whether the peer is a client.
    masked: bool,
    state: State,
    message: Message,
    /// The payload of the last ping, to be sent back.
    ping: Option<Control>,
    /// Why nothing more is taken.
    over: Option<Close>,
}

#[derive(Debug)]
enum State {
    /// Inside a header, of which so many bytes are here.
    Header([u8; MAX_HEADER], usize),
    /// Inside the payload of a message.
    Payload { header: Header, position: u64 },
    Control {
        header: Header,
        payload: Box<Control>,
    },
}

/// The payload of a control frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Control {
    bytes: [u8; MAX_CONTROL],
    length: usize,
}

impl Control {
    pub(super) fn new(payload: &[u8]) -> Self {
        let mut control = Self {
            bytes: [0; MAX_CONTROL],
            length: 0,
        };
        control.take(payload);
        control
    }

    /// Takes as much as there is room for.
    fn take(&mut self, payload: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(payload) {
            *place = *byte;
            self.length += 1;
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The message at hand: it has to be one remoting frame, whose length stands in its first bytes.
#[derive(Debug, Default)]
struct Message {
    /// Whether it goes on after this fragment.
    open: bool,
    received: u64,
    length: [u8; 4],
}

impl Message {
    /// Checks the announcement of a fragment.
    fn begin(&mut self, header: &Header) -> Result<(), Close> {
        match header.opcode {
            Opcode::Text => return Err(Close::TEXT),
            Opcode::Continuation if self.open => {}
            Opcode::Binary if !self.open => *self = Self::default(),
            _ => return Err(Close::OUT_OF_ORDER),
        }
        self.open = !header.fin;
        if self.received.saturating_add(header.length) > MAX_FRAME_SIZE as u64 {
            return Err(Close::TOO_BIG);
        }
        Ok(())
    }

    /// Counts a part of the payload.
    fn take(&mut self, payload: &[u8]) -> Result<(), Close> {
        let known = self.received.min(4) as usize;
        for (place, byte) in self.length.iter_mut().skip(known).zip(payload) {
            *place = *byte;
        }
        self.received += payload.len() as u64;
        if self.received > self.wanted() {
            return Err(Close::NO_FRAME);
        }
        Ok(())
    }

    /// Checks that a message which ends is whole.
    fn end(&self) -> Result<(), Close> {
        if self.received == self.wanted() {
            Ok(())
        } else {
            Err(Close::NO_FRAME)
        }
    }

    /// The length of the remoting frame; what can't be known yet is more than has come.
    fn wanted(&self) -> u64 {
        match self.received {
            0..4 => 4,
            _ => 4 + u64::from(u32::from_be_bytes(self.length)),
        }
    }
}

impl Inbound {
    /// For what comes from a client, whose frames are masked, or from a server.
    pub(super) fn new(masked: bool) -> Self {
        Self {
            masked,
            state: State::Header([0; MAX_HEADER], 0),
            message: Message::default(),
            ping: None,
            over: None,
        }
    }

    /// Why nothing more is taken: the peer said goodbye or broke the rules.
    pub(super) fn over(&self) -> Option<Close> {
        self.over
    }

    /// The payload of the last ping, if it has not been taken yet.
    pub(super) fn take_ping(&mut self) -> Option<Control> {
        self.ping.take()
    }

    /// Moves the payload of messages to the front of what was read, and tells how long it is.
    pub(super) fn take(&mut self, raw: &mut [u8]) -> usize {
        let mut kept = 0;
        let mut at = 0;
        while at < raw.len() && self.over.is_none() {
            match self.step(raw, at, kept) {
                Ok((taken, payload)) => {
                    at += taken;
                    kept += payload;
                }
                Err(close) => self.over = Some(close),
            }
        }
        kept
    }

    /// Takes something at `at`; how much, and how much of it is payload, moved to `kept`.
    fn step(&mut self, raw: &mut [u8], at: usize, kept: usize) -> Result<(usize, usize), Close> {
        let rest = raw.len() - at;
        match &mut self.state {
            State::Header(bytes, known) => {
                let seen = *known;
                let taken = rest.min(MAX_HEADER - seen);
                bytes[seen..seen + taken].copy_from_slice(&raw[at..at + taken]);
                let Some((header, size)) = Header::decode(&bytes[..seen + taken])? else {
                    *known += taken;
                    return Ok((taken, 0));
                };
                self.begin(header)?;
                Ok((size - seen, 0))
            }
            State::Payload { header, position } => {
                let left = header.length - *position;
                let taken = left.min(rest as u64) as usize;
                raw.copy_within(at..at + taken, kept);
                let payload = &mut raw[kept..kept + taken];
                if let Some(key) = header.key {
                    mask(payload, key, *position);
                }
                *position += taken as u64;
                let ended = *position == header.length;
                self.message.take(payload)?;
                if ended {
                    self.end()?;
                }
                Ok((taken, taken))
            }
            State::Control { header, payload } => {
                let left = header.length as usize - payload.length;
                let taken = left.min(rest);
                payload.take(&raw[at..at + taken]);
                if taken == left {
                    self.end()?;
                }
                Ok((taken, 0))
            }
        }
    }

    fn begin(&mut self, header: Header) -> Result<(), Close> {
        if header.key.is_some() != self.masked {
            return Err(Close::UNMASKED);
        }
        self.state = match header.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => State::Control {
                header,
                payload: Box::new(Control::new(&[])),
            },
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                self.message.begin(&header)?;
                State::Payload {
                    header,
                    position: 0,
                }
            }
        };
        if header.length == 0 {
            return self.end();
        }
        Ok(())
    }

    /// The frame at hand has come whole.
    fn end(&mut self) -> Result<(), Close> {
        let header = State::Header([0; MAX_HEADER], 0);
        match std::mem::replace(&mut self.state, header) {
            State::Header(..) => Ok(()),
            State::Payload { header, .. } if header.fin => self.message.end(),
            State::Payload { .. } => Ok(()),
            State::Control {
                header,
                mut payload,
            } => {
                if let Some(key) = header.key {
                    unmask(&mut payload, key);
                }
                match header.opcode {
                    Opcode::Close => Err(Close::NORMAL),
                    Opcode::Ping => {
                        self.ping = Some(*payload);
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

fn unmask(control: &mut Control, key: Key) {
    mask(&mut control.bytes[..control.length], key, 0);
}
