//! Frames of remoting, cut out of a stream that may have holes.
//!
//! A hole inside a frame's body costs the body alone: where the frame ends is known. Anywhere else
//! the place in the stream is lost, and reading goes on at the next bytes that can be nothing but
//! the head of a frame.

use bytes::{Buf, BytesMut};
use wire::frame::{self, Frame, FrameError, MAX_FRAME_SIZE};

use crate::capture::Timestamp;

/// Bytes of the two length words in front of a header.
const PREFIX: usize = 8;
/// The longest header that is believed while the place in the stream is not known.
const MAX_HEADER: usize = 64 << 10;
/// The shortest header of each serialization.
const MIN_JSON: usize = 2;
const MIN_ROCKETMQ: usize = 21;

/// A frame, and how it came.
#[derive(Debug)]
pub(crate) struct Framed<'a> {
    pub(crate) frame: Frame<&'a [u8]>,
    /// All of it.
    pub(crate) bytes: &'a [u8],
    pub(crate) arrival: Arrival,
}

impl<'a> Framed<'a> {
    /// Reads a frame from its bytes.
    ///
    /// # Errors
    /// They are no frame.
    pub(crate) fn read(bytes: &'a [u8], arrival: Arrival) -> Result<Self, FrameError> {
        let frame = Frame::read(&bytes)?;
        Ok(Self {
            frame,
            bytes,
            arrival,
        })
    }
}

/// How a frame came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// When its first byte was seen.
    pub(crate) first: Timestamp,
    /// When its last byte was seen.
    pub(crate) last: Timestamp,
    /// Whether the capture has not all of its body.
    pub(crate) torn: bool,
}

/// Cuts one direction of a connection into frames, at first one that may be in the middle of
/// anything. Frames are read where they are; what is kept is the beginning of one that is not
/// whole yet.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: BytesMut,
    /// Bytes at the front of the buffer that were handed over.
    taken: usize,
    /// When the first byte that waits was seen.
    first: Timestamp,
    /// When the last byte was seen.
    last: Timestamp,
    /// Whether a frame begins where the buffer does.
    in_step: bool,
    /// Whether the frame at the front has a hole.
    torn: bool,
    /// Whether the hole goes on behind that frame.
    lost_behind: bool,
    /// Bytes that belong to no frame.
    skipped: u64,
}

impl Frames {
    /// Bytes that belonged to no frame, since this was last asked.
    pub(crate) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// The bytes that wait.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// When the last of them was seen.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// A frame begins so many bytes behind the front.
    pub(crate) fn begin(&mut self, passed: usize) {
        self.buffer.advance(passed.min(self.buffer.len()));
        self.in_step = true;
    }

    /// Keeps bytes until it is known what they are.
    pub(crate) fn add(&mut self, time: Timestamp, bytes: &[u8]) {
        self.see(time);
        self.buffer.extend_from_slice(bytes);
    }

    /// New bytes are seen, which [`next`](Self::next) is given.
    pub(crate) fn see(&mut self, time: Timestamp) {
        if self.buffer.is_empty() {
            self.first = time;
        }
        self.last = time;
    }

    /// So many bytes are missing behind those that were added, whose frames have been taken.
    pub(crate) fn miss(&mut self, count: u64) {
        let Some(rest) = self.rest_of_body() else {
            self.skipped += self.buffer.len() as u64;
            self.buffer.clear();
            self.in_step = false;
            return;
        };
        let hole = usize::try_from(count).map_or(rest, |count| count.min(rest));
        self.torn = true;
        self.lost_behind = count > rest as u64;
        let len = self.buffer.len();
        self.buffer.resize(len + hole, 0);
    }

    /// The next frame of what waits and the `fresh` bytes behind it; `None` when more bytes are
    /// needed, the fresh ones being kept.
    ///
    /// # Errors
    /// The stream is out of step; the next call looks for the next frame.
    pub(crate) fn next<'a, 'f: 'a>(
        &'a mut self,
        fresh: &mut &'f [u8],
    ) -> Result<Option<Framed<'a>>, FrameError> {
        self.buffer.advance(std::mem::take(&mut self.taken));
        if !self.in_step {
            self.keep(fresh, usize::MAX);
            if !self.find() {
                return Ok(None);
            }
        }
        let in_place = self.buffer.is_empty();
        if !in_place {
            self.complete(fresh);
        }
        let len = match frame::whole(if in_place { fresh } else { &self.buffer }) {
            Ok(Some(len)) => len,
            Ok(None) => {
                self.keep(fresh, usize::MAX);
                return Ok(None);
            }
            Err(error) => {
                // The next frame is anywhere but here.
                self.keep(fresh, usize::MAX);
                self.pass(1);
                self.in_step = false;
                return Err(error);
            }
        };
        let arrival = Arrival {
            first: self.first,
            last: self.last,
            torn: std::mem::take(&mut self.torn),
        };
        self.first = self.last;
        self.in_step = !std::mem::take(&mut self.lost_behind);
        let bytes: &'a [u8] = if in_place {
            let (bytes, rest) = fresh.split_at(len);
            *fresh = rest;
            bytes
        } else {
            self.taken = len;
            self.buffer.get(..len).unwrap_or_default()
        };
        let framed = Framed::read(bytes, arrival);
        if framed.is_err() {
            self.skipped += len as u64;
            self.in_step = false;
        }
        framed.map(Some)
    }

    /// Keeps the first of the fresh bytes.
    fn keep(&mut self, fresh: &mut &[u8], count: usize) {
        let (kept, rest) = fresh.split_at(count.min(fresh.len()));
        self.buffer.extend_from_slice(kept);
        *fresh = rest;
    }

    /// Keeps what the frame at the front lacks of the fresh bytes.
    fn complete(&mut self, fresh: &mut &[u8]) {
        self.keep(fresh, PREFIX.saturating_sub(self.buffer.len()));
        if let Some(head) = head(&self.buffer) {
            self.keep(fresh, head.frame.saturating_sub(self.buffer.len()));
        }
    }

    /// Passes bytes that belong to no frame.
    fn pass(&mut self, count: usize) {
        let count = count.min(self.buffer.len());
        self.buffer.advance(count);
        self.skipped += count as u64;
    }

    /// How many bytes the frame at the front lacks, if all of its header is there.
    fn rest_of_body(&self) -> Option<usize> {
        let head = head(&self.buffer).filter(|_| self.in_step)?;
        let there = self.buffer.len();
        let in_body = there >= PREFIX + head.header && there < head.frame;
        in_body.then(|| head.frame - there)
    }

    /// Looks for the next frame, and passes what comes before it.
    pub(crate) fn find(&mut self) -> bool {
        let at = (0..self.buffer.len()).find_map(|at| {
            match likeness(self.buffer.get(at..).unwrap_or_default()) {
                Likeness::None => None,
                Likeness::Frame => Some((at, true)),
                Likeness::Unknown => Some((at, false)),
            }
        });
        let (at, found) = at.unwrap_or((self.buffer.len(), false));
        if at > 0 {
            self.pass(at);
            self.first = self.last;
        }
        self.in_step = found;
        found
    }
}

/// The lengths in front of a frame, both within it.
struct Head {
    /// Of the whole frame.
    frame: usize,
    header: usize,
    json: bool,
}

/// The lengths at the front of some bytes, if they can be those of a frame.
fn head(bytes: &[u8]) -> Option<Head> {
    let &[l0, l1, l2, l3, kind, h0, h1, h2] = bytes.first_chunk::<PREFIX>()?;
    let frame = 4 + u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let header = u32::from_be_bytes([0, h0, h1, h2]) as usize;
    let fits = kind <= 1 && frame <= MAX_FRAME_SIZE && PREFIX + header <= frame;
    fits.then_some(Head {
        frame,
        header,
        json: kind == 0,
    })
}

/// Whether bytes are the beginning of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// They are not.
    None,
    /// More bytes will tell.
    Unknown,
    /// They can hardly be anything else.
    Frame,
}

/// Whether bytes are the beginning of a frame, its header whole. Any bytes may come.
pub(crate) fn likeness(bytes: &[u8]) -> Likeness {
    // Nearly all places are told by these two bytes.
    match bytes {
        [1..=255, ..] => return Likeness::None,
        [_, _, _, _, 2..=255, ..] => return Likeness::None,
        _ if bytes.len() < PREFIX => return Likeness::Unknown,
        _ => {}
    }
    let Some(head) = head(bytes) else {
        return Likeness::None;
    };
    let shortest = if head.json { MIN_JSON } else { MIN_ROCKETMQ };
    if !(shortest..=MAX_HEADER).contains(&head.header) {
        return Likeness::None;
    }
    let Some(header) = bytes.get(PREFIX..PREFIX + head.header) else {
        let opens = !head.json || bytes.get(PREFIX).is_none_or(|first| *first == b'{');
        return if opens {
            Likeness::Unknown
        } else {
            Likeness::None
        };
    };
    let fits = if head.json {
        // The C++ client has a line's end behind the object.
        let object = header.trim_ascii_end();
        object.starts_with(b"{") && object.ends_with(b"}") && is_json_head(object)
    } else {
        is_rocketmq_head(header)
    };
    if fits {
        Likeness::Frame
    } else {
        Likeness::None
    }
}

/// Whether a JSON object names what every header does.
fn is_json_head(header: &[u8]) -> bool {
    [&b"\"code\""[..], b"\"opaque\""]
        .iter()
        .all(|name| memchr::memmem::find(header, name).is_some())
}

/// Whether the lengths within a ROCKETMQ header make up its own, and its flags are known ones.
fn is_rocketmq_head(header: &[u8]) -> bool {
    const MAX_LANGUAGE: u8 = 13;
    let Some((fixed, rest)) = header.split_first_chunk::<13>() else {
        return false;
    };
    let [_, _, language, _, _, _, _, _, _, f0, f1, f2, flag] = *fixed;
    let sized = |rest: &[u8]| -> Option<usize> {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        (length <= MAX_HEADER).then_some(4 + length)
    };
    let remark = sized(rest);
    let fields = remark.and_then(|remark| Some(remark + sized(rest.get(remark..)?)?));
    language <= MAX_LANGUAGE && [f0, f1, f2] == [0; 3] && flag <= 3 && fields == Some(rest.len())
}
