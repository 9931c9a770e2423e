//! HTTP/2 (RFC 9113) as gRPC uses it: frames of many streams on one connection.
//!
//! | bytes | what |
//! |---|---|
//! | 3 | length of the payload |
//! | 1 | type: 0 data, 1 headers, 3 reset, 4 settings, 9 more headers; others are passed over |
//! | 1 | flags: 1 the stream's end, 4 the headers' end, 8 padded, 32 with a priority |
//! | 4 | stream, without the upper bit |
//! | n | payload |

use bytes::{Buf, Bytes, BytesMut};

use super::hpack::{Decoder, Header};
use crate::capture::Timestamp;

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEADER: usize = 9;
/// The longest payload that is believed. Peers take 16 KiB unless they say more.
const MAX_PAYLOAD: usize = 1 << 20;
/// The longest block of headers that is read.
const MAX_BLOCK: usize = 256 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// What a frame says of a stream.
#[derive(Debug)]
pub(crate) enum Said {
    /// Headers, or trailers.
    Headers(Vec<Header>),
    /// Bytes of messages.
    Data(Bytes),
    /// The stream is given up.
    Reset,
}

/// A frame that says something of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) stream: u32,
    /// When its first byte was seen.
    pub(crate) first: Timestamp,
    /// When its last byte was seen.
    pub(crate) last: Timestamp,
    /// Bytes of the frame.
    pub(crate) len: usize,
    /// Whether the direction of the stream ends with it.
    pub(crate) ends: bool,
    pub(crate) said: Said,
}

/// Cuts one direction of a connection into frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: BytesMut,
    first: Timestamp,
    last: Timestamp,
    in_step: bool,
    headers: Decoder,
    /// Headers whose block goes on in the next frame.
    block: Option<(u32, bool, Vec<u8>)>,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    len: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frames {
    /// Bytes that wait for the rest of a frame.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len() + self.block.as_ref().map_or(0, |(_, _, block)| block.len())
    }

    /// Adds bytes; [`next`](Self::next) then has the frames that they complete.
    pub(crate) fn add(&mut self, time: Timestamp, bytes: &[u8]) {
        if self.buffer.is_empty() {
            self.first = time;
        }
        self.last = time;
        self.buffer.extend_from_slice(bytes);
        if !self.in_step {
            // Frames mostly begin where what a process wrote does.
            if !is_frames(bytes) && !bytes.starts_with(PREFACE) {
                self.buffer.clear();
                return;
            }
            self.buffer.advance(self.buffer.len() - bytes.len());
            self.in_step = true;
        }
        if self.buffer.starts_with(PREFACE) {
            self.buffer.advance(PREFACE.len());
        }
    }

    /// Bytes are missing behind those that were added.
    pub(crate) fn miss(&mut self) {
        self.buffer.clear();
        self.block = None;
        self.in_step = false;
        // Entries may have been made in what is missing.
        self.headers = Decoder::default();
    }

    /// The next frame that says something of a stream; `None` while more bytes are needed.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            let head = head(&self.buffer).filter(|_| self.in_step)?;
            if !is_plausible(head) {
                self.miss();
                return None;
            }
            if self.buffer.len() < FRAME_HEADER + head.len {
                return None;
            }
            self.buffer.advance(FRAME_HEADER);
            let payload = self.buffer.split_to(head.len).freeze();
            let first = std::mem::replace(&mut self.first, self.last);
            if let Some((said, ends)) = self.read(head, payload) {
                return Some(Event {
                    stream: head.stream,
                    first,
                    last: self.last,
                    len: FRAME_HEADER + head.len,
                    ends,
                    said,
                });
            }
        }
    }

    fn read(&mut self, head: Head, payload: Bytes) -> Option<(Said, bool)> {
        let ends = head.flags & END_STREAM != 0;
        match head.kind {
            DATA => Some((Said::Data(unpadded(head.flags, payload)?), ends)),
            HEADERS => {
                let mut block = unpadded(head.flags, payload)?;
                if head.flags & PRIORITY != 0 {
                    block.advance(block.len().min(5));
                }
                self.block = Some((head.stream, ends, block.to_vec()));
                self.whole_block(head.flags)
            }
            CONTINUATION => {
                let (stream, _, block) = self.block.as_mut()?;
                if *stream == head.stream && block.len() + payload.len() <= MAX_BLOCK {
                    block.extend_from_slice(&payload);
                }
                self.whole_block(head.flags)
            }
            RESET => Some((Said::Reset, true)),
            _ => None,
        }
    }

    /// The headers whose block is whole with this frame.
    fn whole_block(&mut self, flags: u8) -> Option<(Said, bool)> {
        if flags & END_HEADERS == 0 {
            return None;
        }
        let (_, ends, block) = self.block.take()?;
        Some((Said::Headers(self.headers.decode(&block)), ends))
    }
}

fn unpadded(flags: u8, mut payload: Bytes) -> Option<Bytes> {
    if flags & PADDED != 0 {
        let padding = usize::from(*payload.first()?);
        payload.advance(1);
        payload.truncate(payload.len().checked_sub(padding)?);
    }
    Some(payload)
}

fn head(bytes: &[u8]) -> Option<Head> {
    let &[l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes.first_chunk::<FRAME_HEADER>()?;
    Some(Head {
        len: u32::from_be_bytes([0, l0, l1, l2]) as usize,
        kind,
        flags,
        stream: u32::from_be_bytes([s0, s1, s2, s3]),
    })
}

/// Whether a frame of gRPC can begin so.
fn is_plausible(head: Head) -> bool {
    const WINDOW_UPDATE: u8 = 8;
    let of_stream = head.stream != 0 && head.stream <= i32::MAX as u32;
    head.len <= MAX_PAYLOAD
        && match head.kind {
            DATA => of_stream && head.flags & !(END_STREAM | PADDED) == 0,
            HEADERS => {
                of_stream && head.flags & !(END_STREAM | END_HEADERS | PADDED | PRIORITY) == 0
            }
            2 => of_stream && head.len == 5,
            RESET => of_stream && head.len == 4,
            SETTINGS => head.stream == 0 && head.len.is_multiple_of(6) && head.flags <= 1,
            5 | CONTINUATION => of_stream,
            6 => head.stream == 0 && head.len == 8 && head.flags <= 1,
            7 => head.stream == 0 && head.len >= 8,
            WINDOW_UPDATE => head.len == 4 && head.flags == 0,
            // Extensions, of which there are few.
            _ => head.kind < 0x20,
        }
}

/// Whether bytes are the first that a server sends.
pub(crate) fn is_server_start(bytes: &[u8]) -> bool {
    head(bytes).is_some_and(|head| head.kind == SETTINGS && head.flags == 0 && is_plausible(head))
}

/// Whether bytes in the middle of a connection are whole frames, and no more than that.
pub(crate) fn is_frames(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(head) = head(rest) {
        if head.kind > CONTINUATION || !is_plausible(head) {
            return false;
        }
        let Some(next) = rest.get(FRAME_HEADER + head.len..) else {
            return false;
        };
        rest = next;
    }
    rest.is_empty() && !bytes.is_empty()
}
