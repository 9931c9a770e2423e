//! Requests encoded once, before the load begins, and answers understood by a glance.
//!
//! A load generator that shares its cores with the server must cost next to nothing. So each slot
//! (one of a connection's requests in flight) owns a frame that is encoded beforehand, its number
//! in `opaque` included; what differs from one use to the next has a fixed width and is written
//! over in place. Where a request depends on the answer before it, the slot gets a new frame.

use std::ops::Range;

use bytes::BytesMut;
use wire::command::Command;
use wire::frame::{self, Frame, Head, SerializeType};

/// What a slot's number is added to in `opaque`: above what a server counts its own requests
/// with, and ten digits in every case.
const FIRST_OPAQUE: i32 = 1_000_000_000;

/// The two length words of a frame.
const PREFIX: usize = 8;

/// The frames of a connection's slots.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    slots: Vec<Place>,
}

/// Where a slot's frame stands in the bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    start: usize,
    length: usize,
    /// Bytes that no other slot uses.
    room: usize,
}

impl Frames {
    /// Adds the next slot's request.
    pub(super) fn push<C: Command>(
        &mut self,
        serialize: SerializeType,
        header: &C::Request<'_>,
        body: &[u8],
    ) {
        let slot = self.add_slot();
        self.put::<C>(slot, serialize, header, body);
    }

    /// Adds the next slot, its frame still empty.
    pub(super) fn add_slot(&mut self) -> usize {
        self.slots.push(Place::default());
        self.slots.len() - 1
    }

    /// Gives a slot another request.
    pub(super) fn put<C: Command>(
        &mut self,
        slot: usize,
        serialize: SerializeType,
        header: &C::Request<'_>,
        body: &[u8],
    ) {
        let mut head = Head::request(C::CODE as i32, serialize);
        head.opaque = FIRST_OPAQUE + slot as i32;
        let mut out = BytesMut::new();
        frame::encode(&head, None, header, body.len(), &mut out);
        out.extend_from_slice(body);
        self.put_frame(slot, &out);
    }

    /// Gives a slot a frame that another `Frames` has for the same slot.
    pub(super) fn put_frame(&mut self, slot: usize, frame: &[u8]) {
        let place = &mut self.slots[slot];
        if place.room < frame.len() {
            (place.start, place.room) = (self.bytes.len(), frame.len());
            self.bytes.resize(place.start + place.room, 0);
        }
        place.length = frame.len();
        self.frame_mut(slot).copy_from_slice(frame);
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Where a slot's frame stands in [`Self::bytes`].
    pub(super) fn range(&self, slot: usize) -> Range<usize> {
        let place = self.slots[slot];
        place.start..place.start + place.length
    }

    /// All frames.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A slot's frame, to be written over.
    pub(super) fn frame_mut(&mut self, slot: usize) -> &mut [u8] {
        let range = self.range(slot);
        &mut self.bytes[range]
    }

    /// The places of a mark in a slot's frame, counted from the frame's start.
    pub(super) fn find(&self, slot: usize, mark: &[u8]) -> Vec<usize> {
        let frame = &self.bytes[self.range(slot)];
        let starts = frame.windows(mark.len()).enumerate();
        starts
            .filter(|(_, window)| *window == mark)
            .map(|(at, _)| at)
            .collect()
    }
}

/// Writes a number in decimal over all of `digits`, zeros in front.
pub(super) fn write_decimal(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Writes a number in hexadecimal over all of `digits`, zeros in front.
pub(super) fn write_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(number & 15) as usize];
        number >>= 4;
    }
}

/// The length of the frame at the front, its length word included, once that word is there.
pub(super) fn frame_length(input: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*input.first_chunk()?);
    Some(length as usize + 4)
}

/// What an answer says, as far as a load generator must know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// Response code.
    pub(super) code: i32,
    /// The slot that it answers.
    pub(super) slot: usize,
    /// The body.
    pub(super) body: &'a [u8],
    /// The whole frame.
    frame: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads a whole frame, its length word included. `None`: it is no answer to a slot (the
    /// server asks something of its own), or no frame at all.
    pub(super) fn read(frame: &'a [u8]) -> Option<Self> {
        let [kind, high, middle, low] = *frame.get(4..)?.first_chunk()?;
        let header_length = u32::from_be_bytes([0, high, middle, low]) as usize;
        let (header, body) = frame.get(PREFIX..)?.split_at_checked(header_length)?;
        let (code, opaque, flag) = match kind {
            1 => rocketmq_head(header)?,
            _ => json_head(header).or_else(|| decoded_head(frame))?,
        };
        let slot = usize::try_from(opaque.checked_sub(FIRST_OPAQUE)?).ok()?;
        (flag & 1 != 0).then_some(Self {
            code,
            slot,
            body,
            frame,
        })
    }

    /// What it says in words, if anything.
    pub(super) fn remark(&self) -> String {
        self.decode()
            .and_then(|frame| frame.remark)
            .unwrap_or_default()
    }

    /// The whole of it, decoded; `None` if it is damaged.
    pub(super) fn decode(&self) -> Option<Frame> {
        decode(self.frame)
    }
}

/// Code, opaque and flag of a ROCKETMQ header.
fn rocketmq_head(header: &[u8]) -> Option<(i32, i32, i32)> {
    let [c0, c1, _, _, _, o0, o1, o2, o3, f0, f1, f2, f3] = *header.first_chunk()?;
    Some((
        i32::from(i16::from_be_bytes([c0, c1])),
        i32::from_be_bytes([o0, o1, o2, o3]),
        i32::from_be_bytes([f0, f1, f2, f3]),
    ))
}

/// Code, opaque and flag of a JSON header written in the usual order and without blanks:
/// `{"code":…,…,"flag":…,"language":…,"opaque":…,…}`. `None`: look closer.
fn json_head(header: &[u8]) -> Option<(i32, i32, i32)> {
    let code = number(header.strip_prefix(b"{\"code\":")?)?;
    // From the end: the fields, which may be many, stand in front.
    let opaque_at = rfind(header, b"\"opaque\":")?;
    let opaque = number(&header[opaque_at + 9..])?;
    let flag_at = rfind(&header[..opaque_at], b"\"flag\":")?;
    let flag = number(&header[flag_at + 7..])?;
    Some((code, opaque, flag))
}

fn rfind(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .rposition(|window| window == wanted)
}

/// The number at the front; `None` if it is not followed by a comma or a brace.
fn number(text: &[u8]) -> Option<i32> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ended = matches!(text.get(digits), Some(b',' | b'}'));
    if digits == 0 || digits > 10 || !ended {
        return None;
    }
    let value = text[..digits]
        .iter()
        .fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    i32::try_from(if negative { -value } else { value }).ok()
}

fn decoded_head(frame: &[u8]) -> Option<(i32, i32, i32)> {
    let head = decode(frame)?.head;
    Some((head.code, head.opaque, head.flag))
}

fn decode(frame: &[u8]) -> Option<Frame> {
    Frame::decode(&mut BytesMut::from(frame)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use wire::command::PullMessage;
    use wire::header::pull::PullMessageResponse;

    use super::*;

    fn answer(serialize: SerializeType, opaque: i32, remark: Option<&str>) -> Vec<u8> {
        let mut request = Head::request(11, serialize);
        request.opaque = opaque;
        let header = PullMessageResponse {
            next_begin_offset: 7,
            ..Default::default()
        };
        let mut out = BytesMut::new();
        frame::encode(&request.response(19), remark, &header, 3, &mut out);
        out.extend_from_slice(b"abc");
        out.to_vec()
    }

    #[test]
    fn both_serializations_are_read() {
        for serialize in [SerializeType::Json, SerializeType::RocketMq] {
            let frame = answer(serialize, FIRST_OPAQUE + 42, Some("say \"opaque\":1,"));
            let answer = Answer::read(&frame).expect("an answer");
            assert_eq!(
                (answer.code, answer.slot, answer.body),
                (19, 42, &b"abc"[..])
            );
            let decoded = answer.decode().expect("whole");
            let header: PullMessageResponse = decoded.header().expect("typed");
            assert_eq!(header.next_begin_offset, 7);
        }
    }

    #[test]
    fn json_in_an_unusual_order_is_read_as_well() {
        let header = br#"{ "opaque" : 1000000003, "flag":1, "code" : 2}"#;
        let mut frame = ((header.len() + 4) as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
        frame.extend_from_slice(header);
        let answer = Answer::read(&frame).expect("an answer");
        assert_eq!((answer.code, answer.slot), (2, 3));
    }

    #[test]
    fn what_the_server_asks_is_no_answer() {
        for serialize in [SerializeType::Json, SerializeType::RocketMq] {
            assert_eq!(Answer::read(&answer(serialize, 5, None)), None);
            let mut frames = Frames::default();
            let header = wire::header::pull::PullMessageRequest::default();
            frames.push::<PullMessage>(serialize, &header, b"");
            assert_eq!(Answer::read(frames.bytes()), None);
        }
    }

    #[test]
    fn numbers_are_written_over_in_full_width() {
        let mut digits = *b"xxxxxx";
        write_decimal(&mut digits, 1203);
        assert_eq!(&digits, b"001203");
        write_hex(&mut digits, 0xBEEF);
        assert_eq!(&digits, b"00BEEF");
    }
}
