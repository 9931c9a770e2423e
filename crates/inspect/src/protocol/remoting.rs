//! Frames of remoting, cut out of a stream that may have holes.
//!
//! A hole inside a frame's body costs the body alone: where the frame ends is known. Anywhere else
//! the place in the stream is lost, and reading goes on at the next bytes that can be nothing but
//! the head of a frame.

use bytes::{Buf, Bytes, BytesMut};
use wire::frame::{Frame, FrameError, MAX_FRAME_SIZE};

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
pub(crate) struct Framed {
    pub(crate) frame: Frame,
    /// When its first byte was seen.
    pub(crate) first: Timestamp,
    /// When its last byte was seen.
    pub(crate) last: Timestamp,
    /// Bytes of the whole frame.
    pub(crate) len: usize,
    /// Whether the capture has not all of its body.
    pub(crate) torn: bool,
    /// Its first bytes, as many as are kept.
    pub(crate) bytes: Bytes,
}

/// Cuts one direction of a connection into frames, at first one that may be in the middle of
/// anything.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: BytesMut,
    /// When the first byte of the buffer was seen.
    first: Timestamp,
    /// When its last byte was seen.
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

    /// Adds bytes; [`next`](Self::next) then has the frames that they complete.
    pub(crate) fn add(&mut self, time: Timestamp, bytes: &[u8]) {
        if self.buffer.is_empty() {
            self.first = time;
        }
        self.last = time;
        self.buffer.extend_from_slice(bytes);
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

    /// The next frame; `None` while more bytes are needed. The first `keep` bytes of it are kept.
    ///
    /// # Errors
    /// The stream is out of step; the next call looks for the next frame.
    pub(crate) fn next(&mut self, keep: usize) -> Result<Option<Framed>, FrameError> {
        if !self.in_step && !self.find() {
            return Ok(None);
        }
        let bytes = match head(&self.buffer) {
            Some(head) if keep > 0 && self.buffer.len() >= head.frame => {
                Bytes::copy_from_slice(self.buffer.get(..head.frame.min(keep)).unwrap_or_default())
            }
            _ => Bytes::new(),
        };
        let before = self.buffer.len();
        let decoded = Frame::decode(&mut self.buffer);
        let len = before - self.buffer.len();
        if decoded.is_err() {
            // What a frame's header breaks is passed with the frame; a nonsense length is not.
            let passed = if len == 0 { 1 } else { 0 };
            self.buffer.advance(passed.min(before));
            self.skipped += (len + passed) as u64;
            self.in_step = false;
        }
        let Some(frame) = decoded? else {
            return Ok(None);
        };
        let framed = Framed {
            frame,
            first: self.first,
            last: self.last,
            len,
            torn: std::mem::take(&mut self.torn),
            bytes,
        };
        self.first = self.last;
        self.in_step = !std::mem::take(&mut self.lost_behind);
        Ok(Some(framed))
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
            self.buffer.advance(at);
            self.skipped += at as u64;
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
        header.starts_with(b"{") && header.ends_with(b"}") && is_json_head(header)
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
