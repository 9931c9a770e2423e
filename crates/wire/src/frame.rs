//! Frames: how a command travels (`RemotingCommand` of the reference).
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of all that follows, big endian; with these 4 bytes at most 16,777,216 |
//! | 1 | serialization of the header: 0 JSON, 1 ROCKETMQ |
//! | 3 | length of the header |
//! | n | header |
//! | rest | body, opaque to this module |
//!
//! A JSON header is one object with the names `code`, `language`, `version`, `opaque`, `flag`,
//! `remark` and `extFields`. A ROCKETMQ header (`RocketMQSerializable`), all big endian:
//!
//! | bytes | what |
//! |---|---|
//! | 2 | code; larger codes lose their upper bits |
//! | 1 | language |
//! | 2 | version |
//! | 4 | opaque: pairs an answer with its request |
//! | 4 | flag: bit 0 answer, bit 1 one-way |
//! | 4 + n | length and text of the remark |
//! | 4 + n | length and bytes of the fields, each 2 + n name, 4 + n value |
//!
//! An empty remark or value stands for an absent one.

mod ext;

use std::borrow::Cow;
use std::ops::{Deref, Range};

use bytes::{Bytes, BytesMut};

use crate::header::{EncodeHeader, FieldSink, Header, HeaderError};
use crate::json::{self, JsonError, Scanner, Value};
pub use ext::{ExtFields, ExtIter};
use ext::{JsonFields, take_sized, take_text};

/// The largest frame, its length field included, in bytes (`com.rocketmq.remoting.frameMaxLength`).
pub const MAX_FRAME_SIZE: usize = 16_777_216;

/// The version that frames made here carry: the ordinal of `MQVersion.Version.V5_5_0`.
pub const VERSION: i32 = 513;

/// Bytes of the two length words in front of a header.
const PREFIX: usize = 8;

/// Bit of [`Head::flag`]: this is an answer.
const FLAG_RESPONSE: i32 = 1;
/// Bit of [`Head::flag`]: no answer is wanted.
const FLAG_ONEWAY: i32 = 2;

/// How a frame's header is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SerializeType {
    /// A JSON object.
    #[default]
    Json = 0,
    /// The reference's binary form.
    RocketMq = 1,
}

impl SerializeType {
    /// The reference's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::RocketMq => "ROCKETMQ",
        }
    }
}

macro_rules! languages {
    ($($variant:ident = $code:literal $name:literal,)*) => {
        /// What a peer is written in (`LanguageCode` of the reference).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Language { $($variant = $code,)* }

        impl Language {
            /// The reference's name of it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The language of a number in a ROCKETMQ header.
            pub const fn from_code(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The language of a name, in upper or lower case.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => return Some(Self::$variant),)*
                    _ => {}
                }
                [$(($name, Self::$variant),)*]
                    .into_iter()
                    .find(|(known, _)| known.eq_ignore_ascii_case(name))
                    .map(|(_, language)| language)
            }
        }
    };
}

languages! {
    Java = 0 "JAVA",
    Cpp = 1 "CPP",
    DotNet = 2 "DOTNET",
    Python = 3 "PYTHON",
    Delphi = 4 "DELPHI",
    Erlang = 5 "ERLANG",
    Ruby = 6 "RUBY",
    Other = 7 "OTHER",
    Http = 8 "HTTP",
    Go = 9 "GO",
    Php = 10 "PHP",
    Oms = 11 "OMS",
    Rust = 12 "RUST",
    NodeJs = 13 "NODE_JS",
}

/// The fixed part of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How the header is written; an answer is written as its request was.
    pub serialize: SerializeType,
    /// Request code, or response code in an answer.
    pub code: i32,
    /// What the sender is written in, if it is a language that the reference knows.
    pub language: Option<Language>,
    /// The sender's version, an ordinal of the reference's `MQVersion`.
    pub version: i32,
    /// Pairs an answer with its request; chosen by the requester. 0 where a JSON header has none.
    pub opaque: i32,
    /// Bit 0: answer, bit 1: one-way.
    pub flag: i32,
}

impl Head {
    /// A request made here; the connection that sends it chooses `opaque`.
    pub const fn request(code: i32, serialize: SerializeType) -> Self {
        let language = Some(Language::Rust);
        Self {
            serialize,
            code,
            language,
            version: VERSION,
            opaque: 0,
            flag: 0,
        }
    }

    /// The same request with no answer wanted.
    #[must_use]
    pub const fn oneway(self) -> Self {
        Self {
            flag: self.flag | FLAG_ONEWAY,
            ..self
        }
    }

    /// The head of an answer to this request.
    #[must_use]
    pub const fn response(&self, code: i32) -> Self {
        Self {
            opaque: self.opaque,
            flag: FLAG_RESPONSE,
            ..Self::request(code, self.serialize)
        }
    }

    /// Whether this is an answer.
    pub const fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// Whether no answer is wanted.
    pub const fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }
}

/// Why bytes are not a frame. The stream can't be trusted any more: close it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length word is out of range.
    #[error("a frame length of {length} bytes is not within 4 to {}", MAX_FRAME_SIZE - 4)]
    Length {
        /// The length word, read without a sign.
        length: u32,
    },
    /// The header is said to be longer than the frame.
    #[error("a header of {header} bytes does not fit a frame of {frame} bytes")]
    HeaderLength {
        /// The header's length as stated.
        header: usize,
        /// What the frame has room for.
        frame: usize,
    },
    /// The serialization byte is neither 0 nor 1.
    #[error("serialization type {0} is unknown; 0 is JSON, 1 is ROCKETMQ")]
    SerializeType(u8),
    /// A JSON header is not UTF-8.
    #[error("the JSON header is not UTF-8 after byte {0}")]
    NotUtf8(usize),
    /// A JSON header does not parse.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A JSON header's number is not a 32-bit number.
    #[error("{name} is not a 32-bit number in the JSON header")]
    Number {
        /// The name of the value.
        name: &'static str,
    },
    /// A JSON header's member has a type that can't be read.
    #[error("{name} has the wrong type in the JSON header")]
    Type {
        /// The name of the value.
        name: &'static str,
    },
    /// A length inside a ROCKETMQ header points out of it.
    #[error("the ROCKETMQ header ends inside its {0}")]
    Truncated(&'static str),
}

/// What frames are read from: bytes of which a part costs no copy.
pub trait Slice: Deref<Target = [u8]> + Clone {
    /// A part of these bytes; empty where the range is not within them.
    #[must_use]
    fn part(&self, range: Range<usize>) -> Self;
}

/// For who answers a frame while it is read from.
impl Slice for &[u8] {
    #[inline]
    fn part(&self, range: Range<usize>) -> Self {
        self.get(range).unwrap_or_default()
    }
}

/// For who hands a frame on.
impl Slice for Bytes {
    #[inline]
    fn part(&self, range: Range<usize>) -> Self {
        if range.start <= range.end && range.end <= self.len() {
            self.slice(range)
        } else {
            Self::new()
        }
    }
}

/// A decoded frame; its parts are slices of what it was read from.
#[derive(Debug, Clone)]
pub struct Frame<B = Bytes> {
    /// The fixed part of the header.
    pub head: Head,
    /// A note in words, mostly with an error code.
    pub remark: Option<String>,
    /// The named fields.
    pub ext: ExtFields<B>,
    /// The body; empty for none.
    pub body: B,
}

impl Frame {
    /// Takes one frame off the front of `buf`; `None` while more bytes are needed.
    ///
    /// A nonsense length is told as soon as it can be read, not when that many bytes have come.
    ///
    /// # Errors
    /// The stream is out of step; nothing behind this point can be understood.
    pub fn decode(buf: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(len) = whole(buf)? else {
            return Ok(None);
        };
        Self::read(&buf.split_to(len).freeze()).map(Some)
    }

    /// The same frame in memory of its own. A decoded frame keeps the whole read buffer alive
    /// that it was cut from; who keeps a small one for long keeps this instead.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            head: self.head,
            remark: self.remark.clone(),
            ext: self.ext.detached(),
            body: Bytes::copy_from_slice(&self.body),
        }
    }
}

impl<B: Slice> Frame<B> {
    /// Reads a frame from its bytes, which [`whole`] found.
    ///
    /// # Errors
    /// They are not a frame.
    pub fn read(bytes: &B) -> Result<Self, FrameError> {
        let Some((frame_length, prefix)) = Prefix::peek(bytes)? else {
            return Err(FrameError::Truncated("lengths"));
        };
        let body = PREFIX + prefix.length;
        let header = bytes.part(PREFIX..body);
        let (head, remark, ext) = match prefix.serialize {
            SerializeType::Json => decode_json(header)?,
            SerializeType::RocketMq => decode_rocketmq(&header)?,
        };
        Ok(Self {
            head,
            remark,
            ext,
            body: bytes.part(body..4 + frame_length),
        })
    }

    /// The typed header that the frame's code asks for.
    ///
    /// # Errors
    /// A required field is missing or a value is not of its field's kind.
    pub fn header<'a, H: Header<'a>>(&'a self) -> Result<H, HeaderError> {
        H::decode(&self.ext)
    }
}

/// How many bytes the frame at the front has; `None` while more bytes are needed.
///
/// # Errors
/// There is no frame at the front.
pub fn whole(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let length = Prefix::peek(bytes)?.map(|(length, _)| 4 + length);
    Ok(length.filter(|length| *length <= bytes.len()))
}

/// The two words in front of a header.
struct Prefix {
    serialize: SerializeType,
    length: usize,
}

impl Prefix {
    /// The frame's length word and, with it, what is known of the header.
    fn peek(buf: &[u8]) -> Result<Option<(usize, Self)>, FrameError> {
        let Some(&length) = buf.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(length);
        let frame_length = length as usize;
        if !(4..=MAX_FRAME_SIZE - 4).contains(&frame_length) {
            return Err(FrameError::Length { length });
        }
        let Some(&[kind, high, middle, low]) = buf[4..].first_chunk::<4>() else {
            return Ok(None);
        };
        let serialize = match kind {
            0 => SerializeType::Json,
            1 => SerializeType::RocketMq,
            other => return Err(FrameError::SerializeType(other)),
        };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > frame_length - 4 {
            return Err(FrameError::HeaderLength {
                header: length,
                frame: frame_length - 4,
            });
        }
        Ok(Some((frame_length, Self { serialize, length })))
    }
}

type Parts<B> = (Head, Option<String>, ExtFields<B>);

fn decode_rocketmq<B: Slice>(header: &B) -> Result<Parts<B>, FrameError> {
    let Some((fixed, mut rest)) = header.split_first_chunk::<13>() else {
        return Err(FrameError::Truncated("fixed part"));
    };
    let [c0, c1, language, v0, v1, o0, o1, o2, o3, f0, f1, f2, f3] = *fixed;
    let head = Head {
        serialize: SerializeType::RocketMq,
        code: i32::from(i16::from_be_bytes([c0, c1])),
        language: Language::from_code(i32::from(language)),
        version: i32::from(i16::from_be_bytes([v0, v1])),
        opaque: i32::from_be_bytes([o0, o1, o2, o3]),
        flag: i32::from_be_bytes([f0, f1, f2, f3]),
    };
    let remark = take_text::<4>(&mut rest).ok_or(FrameError::Truncated("remark"))?;
    let remark = (!remark.is_empty()).then(|| remark.into_owned());
    let Some(length) = rest.first_chunk::<4>() else {
        return Err(FrameError::Truncated("field length"));
    };
    // A negative length means none, as in the reference.
    let entries = if i32::from_be_bytes(*length) <= 0 {
        0..0
    } else {
        let before = header.len() - rest.len() + 4;
        let entries = take_sized::<4>(&mut rest).ok_or(FrameError::Truncated("fields"))?;
        before..before + entries.len()
    };
    let entries = header.part(entries);
    let mut unread = &*entries;
    while !unread.is_empty() {
        take_sized::<2>(&mut unread).ok_or(FrameError::Truncated("field names"))?;
        take_sized::<4>(&mut unread).ok_or(FrameError::Truncated("field values"))?;
    }
    Ok((head, remark, ExtFields::of_entries(entries)))
}

fn decode_json<B: Slice>(header: B) -> Result<Parts<B>, FrameError> {
    let text = str::from_utf8(&header).map_err(|error| FrameError::NotUtf8(error.valid_up_to()))?;
    let mut head = Head {
        serialize: SerializeType::Json,
        code: 0,
        language: Some(Language::Java),
        version: 0,
        opaque: 0,
        flag: 0,
    };
    let mut remark = None;
    let mut fields = JsonFields::default();
    let scanner = &mut Scanner::new(text);
    scanner.begin_object()?;
    let mut first = true;
    while let Some(name) = scanner.next_name(first)? {
        first = false;
        match &*name {
            "code" => head.code = number("code", scanner)?,
            "version" => head.version = number("version", scanner)?,
            "opaque" => head.opaque = number("opaque", scanner)?,
            "flag" => head.flag = number("flag", scanner)?,
            "language" => head.language = language(scanner.value()?),
            "remark" => remark = scanner.value()?.into_text().map(Cow::into_owned),
            "extFields" => fields.read(scanner)?,
            // The reference has a setter for it that takes an array of bytes only.
            "body" => match scanner.value()? {
                Value::Raw(raw) if raw.starts_with('[') => {}
                Value::Null => {}
                _ => return Err(FrameError::Type { name: "body" }),
            },
            _ => scanner.skip_value(0)?,
        }
    }
    scanner.end()?;
    Ok((head, remark, ExtFields::of_json(header, fields)))
}

fn language(value: Value<'_>) -> Option<Language> {
    let text = value.into_text()?;
    let code = || text.parse().ok().and_then(Language::from_code);
    Language::from_name(&text).or_else(code)
}

/// A 32-bit number; a fraction is cut off, null is 0.
fn number(name: &'static str, scanner: &mut Scanner<'_>) -> Result<i32, FrameError> {
    if let Some(number) = scanner.digits() {
        return Ok(number);
    }
    let Some(text) = scanner.value()?.into_text() else {
        return Ok(0);
    };
    let whole = || text.split_once('.')?.0.parse().ok();
    let number = text.parse().ok().or_else(whole);
    number.ok_or(FrameError::Number { name })
}

/// Appends a frame to `out`, all but its body of `body_len` bytes, which the caller sends next.
///
/// The caller keeps the whole within [`MAX_FRAME_SIZE`]; a peer closes the connection otherwise.
pub fn encode<H: EncodeHeader + ?Sized>(
    head: &Head,
    remark: Option<&str>,
    header: &H,
    body_len: usize,
    out: &mut BytesMut,
) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    match head.serialize {
        SerializeType::Json => encode_json(head, remark, header, out),
        SerializeType::RocketMq => encode_rocketmq(head, remark, header, out),
    }
    let header_len = out.len() - start - PREFIX;
    let frame_len = (4 + header_len + body_len) as u32;
    let header_word = (head.serialize as u32) << 24 | header_len as u32;
    out[start..start + 4].copy_from_slice(&frame_len.to_be_bytes());
    out[start + 4..start + PREFIX].copy_from_slice(&header_word.to_be_bytes());
}

fn encode_rocketmq<H: EncodeHeader + ?Sized>(
    head: &Head,
    remark: Option<&str>,
    header: &H,
    out: &mut BytesMut,
) {
    let remark = remark.unwrap_or_default();
    let language = head.language.unwrap_or(Language::Other) as u8;
    out.reserve(21 + remark.len() + 64);
    out.extend_from_slice(&(head.code as i16).to_be_bytes());
    out.extend_from_slice(&[language]);
    out.extend_from_slice(&(head.version as i16).to_be_bytes());
    out.extend_from_slice(&head.opaque.to_be_bytes());
    out.extend_from_slice(&head.flag.to_be_bytes());
    out.extend_from_slice(&(remark.len() as u32).to_be_bytes());
    out.extend_from_slice(remark.as_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    header.encode(&mut FieldSink::new(out, SerializeType::RocketMq));
    let length = (out.len() - length_at - 4) as u32;
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}

fn encode_json<H: EncodeHeader + ?Sized>(
    head: &Head,
    remark: Option<&str>,
    header: &H,
    out: &mut BytesMut,
) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b"{\"code\":");
    out.extend_from_slice(number.format(head.code).as_bytes());
    if H::PRESENT {
        out.extend_from_slice(b",\"extFields\":{");
        header.encode(&mut FieldSink::new(out, SerializeType::Json));
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b",\"flag\":");
    out.extend_from_slice(number.format(head.flag).as_bytes());
    if let Some(language) = head.language {
        out.extend_from_slice(b",\"language\":\"");
        out.extend_from_slice(language.name().as_bytes());
        out.extend_from_slice(b"\"");
    }
    out.extend_from_slice(b",\"opaque\":");
    out.extend_from_slice(number.format(head.opaque).as_bytes());
    if let Some(remark) = remark {
        out.extend_from_slice(b",\"remark\":");
        json::write_string(out, remark);
    }
    out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    out.extend_from_slice(number.format(head.version).as_bytes());
    out.extend_from_slice(b"}");
}
