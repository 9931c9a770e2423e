//! Typed headers: the named string fields that a frame carries, as Rust structs.
//!
//! On the wire a header is a list of name/value pairs of strings (`extFields` of the reference's
//! `RemotingCommand`). A struct with `#[derive(Header)]` declares the fields of one of the
//! reference's header classes; both directions derive from that one declaration.

use std::borrow::Cow;

use bytes::BytesMut;
pub use wire_derive::Header;

use crate::frame::{ExtFields, SerializeType, Slice};
use crate::json;

pub mod auth;
pub mod broker;
pub mod client;
pub mod controller;
pub mod group;
pub mod lite;
pub mod nameserver;
pub mod offset;
pub mod pop;
pub mod pull;
pub mod raft;
mod rpc;
pub mod send;
pub mod topic;
pub mod transaction;

pub use rpc::{RpcFields, TopicRpcFields};

/// What kind of value a header field carries; on the wire all are strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Any text (`java.lang.String`).
    Text,
    /// A 32-bit signed number.
    Int,
    /// A 64-bit signed number.
    Long,
    /// `true` or `false`; every other text reads as `false`, as `Boolean.parseBoolean` does.
    Bool,
    /// One of a fixed set of names.
    Enum,
}

impl FieldKind {
    /// The kind in a word: `text`, `int`, `long`, `bool` or `enum`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "int",
            Self::Long => "long",
            Self::Bool => "bool",
            Self::Enum => "enum",
        }
    }
}

/// One field of a header, as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name on the wire.
    pub name: &'static str,
    /// The kind of value.
    pub kind: FieldKind,
    /// Whether a header without this field is refused (`CFNotNull` of the reference).
    pub required: bool,
}

/// Why a frame's fields do not make up the header that its code asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A required field is not there.
    #[error("the field {field} of {header} is missing")]
    Missing {
        /// The reference's class name of the header.
        header: &'static str,
        /// The field's wire name.
        field: &'static str,
    },
    /// A value is not of the field's kind.
    #[error("the field {field} of {header} must be {wanted}, not \"{value}\"")]
    Invalid {
        /// The reference's class name of the header.
        header: &'static str,
        /// The field's wire name.
        field: &'static str,
        /// What would be accepted.
        wanted: &'static str,
        /// The start of what came.
        value: String,
    },
}

impl HeaderError {
    /// An [`HeaderError::Invalid`] that quotes at most the first 64 characters of `value`.
    pub fn invalid(
        header: &'static str,
        field: &'static str,
        wanted: &'static str,
        value: &[u8],
    ) -> Self {
        let value = text(value).chars().take(64).collect();
        Self::Invalid {
            header,
            field,
            wanted,
            value,
        }
    }
}

/// A header that can be read from a frame's fields. Made by `#[derive(Header)]`.
///
/// `'a` is the frame that strings are borrowed from.
pub trait Header<'a>: Default {
    /// The reference's class name.
    const NAME: &'static str;
    /// The bits that [`Header::set`] returns for the required fields.
    const REQUIRED: u64;

    /// The declared fields, those of embedded headers last.
    fn fields() -> Vec<Field>;

    /// Takes one field, its value not looked at yet. Returns the field's bit, or 0 for an unknown or an embedded field.
    fn set(&mut self, name: &[u8], value: &'a [u8]) -> Result<u64, HeaderError>;

    /// Reads the header out of `ext`. Unknown fields and nulls are passed over; of a name that
    /// stands twice the last value counts.
    fn decode<B: Slice>(ext: &'a ExtFields<B>) -> Result<Self, HeaderError> {
        let mut header = Self::default();
        let mut seen = 0;
        ext.try_each(|name, value| {
            seen |= header.set(name, value)?;
            Ok(())
        })?;
        let missing = Self::REQUIRED & !seen;
        if missing == 0 {
            return Ok(header);
        }
        let index = missing.trailing_zeros() as usize;
        let field = Self::fields().get(index).map_or("?", |field| field.name);
        Err(HeaderError::Missing {
            header: Self::NAME,
            field,
        })
    }
}

/// A header that can be written into a frame. Made by `#[derive(Header)]`.
pub trait EncodeHeader {
    /// Whether there is a field map at all; without one JSON says nothing of `extFields`.
    const PRESENT: bool = true;

    /// Writes every field that has a value.
    fn encode(&self, sink: &mut FieldSink<'_>);
}

impl<T: EncodeHeader + ?Sized> EncodeHeader for &T {
    const PRESENT: bool = T::PRESENT;

    fn encode(&self, sink: &mut FieldSink<'_>) {
        (**self).encode(sink);
    }
}

/// The header of a command that has no fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NoHeader;

impl Header<'_> for NoHeader {
    const NAME: &'static str = "no header";
    const REQUIRED: u64 = 0;

    fn fields() -> Vec<Field> {
        Vec::new()
    }

    fn set(&mut self, _: &[u8], _: &[u8]) -> Result<u64, HeaderError> {
        Ok(0)
    }
}

impl EncodeHeader for NoHeader {
    const PRESENT: bool = false;

    fn encode(&self, _: &mut FieldSink<'_>) {}
}

/// Plain name/value pairs, for commands whose fields are not fixed.
impl<N: AsRef<str>, V: AsRef<str>> EncodeHeader for [(N, V)] {
    fn encode(&self, sink: &mut FieldSink<'_>) {
        for (name, value) in self {
            sink.text(name.as_ref(), value.as_ref());
        }
    }
}

/// Where the fields of a header are written to, in the frame's serialization.
pub struct FieldSink<'o> {
    out: &'o mut BytesMut,
    serialize: SerializeType,
    first: bool,
}

impl<'o> FieldSink<'o> {
    pub(crate) fn new(out: &'o mut BytesMut, serialize: SerializeType) -> Self {
        Self {
            out,
            serialize,
            first: true,
        }
    }

    /// Writes one field with a text value.
    ///
    /// In the ROCKETMQ form a name is at most 32,767 bytes; names are declared in code and short.
    pub fn text(&mut self, name: &str, value: &str) {
        match self.serialize {
            SerializeType::Json => {
                self.json_name(name);
                json::write_string(self.out, value);
            }
            SerializeType::RocketMq => {
                self.out
                    .extend_from_slice(&(name.len() as u16).to_be_bytes());
                self.out.extend_from_slice(name.as_bytes());
                self.out
                    .extend_from_slice(&(value.len() as u32).to_be_bytes());
                self.out.extend_from_slice(value.as_bytes());
            }
        }
    }

    /// Writes one field with a number, in decimal.
    pub fn number(&mut self, name: &str, value: impl itoa::Integer) {
        self.text(name, itoa::Buffer::new().format(value));
    }

    fn json_name(&mut self, name: &str) {
        if !self.first {
            self.out.extend_from_slice(b",");
        }
        self.first = false;
        json::write_string(self.out, name);
        self.out.extend_from_slice(b":");
    }
}

/// Bytes of a frame as text; what is not UTF-8 is replaced.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    // The lossy conversion alone looks at each byte, which is most of the cost of a header.
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// A whole number as `str::parse` takes it, without the bytes being made text first.
#[inline]
fn number(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        let tens = number.checked_mul(10)?;
        tens.checked_add(sign * i64::from(digit))
    })
}

/// A type that a header field can have.
pub trait FieldValue<'a>: Sized {
    /// The kind it is declared as.
    const KIND: FieldKind;
    /// What is accepted, for the error message: "a 32-bit number".
    const WANTED: &'static str;

    /// Reads the value; `None` if it is nothing that is accepted.
    fn parse(value: &'a [u8]) -> Option<Self>;

    /// Writes the value, or nothing for an absent one.
    fn put(&self, name: &str, sink: &mut FieldSink<'_>);
}

impl<'a> FieldValue<'a> for Cow<'a, str> {
    const KIND: FieldKind = FieldKind::Text;
    const WANTED: &'static str = "text";

    fn parse(value: &'a [u8]) -> Option<Self> {
        Some(text(value))
    }

    fn put(&self, name: &str, sink: &mut FieldSink<'_>) {
        sink.text(name, self);
    }
}

impl<'a> FieldValue<'a> for i32 {
    const KIND: FieldKind = FieldKind::Int;
    const WANTED: &'static str = "a 32-bit number";

    fn parse(value: &'a [u8]) -> Option<Self> {
        Self::try_from(number(value)?).ok()
    }

    fn put(&self, name: &str, sink: &mut FieldSink<'_>) {
        sink.number(name, *self);
    }
}

impl<'a> FieldValue<'a> for i64 {
    const KIND: FieldKind = FieldKind::Long;
    const WANTED: &'static str = "a 64-bit number";

    fn parse(value: &'a [u8]) -> Option<Self> {
        number(value)
    }

    fn put(&self, name: &str, sink: &mut FieldSink<'_>) {
        sink.number(name, *self);
    }
}

impl<'a> FieldValue<'a> for bool {
    const KIND: FieldKind = FieldKind::Bool;
    const WANTED: &'static str = "true or false";

    fn parse(value: &'a [u8]) -> Option<Self> {
        Some(value.eq_ignore_ascii_case(b"true"))
    }

    fn put(&self, name: &str, sink: &mut FieldSink<'_>) {
        sink.text(name, if *self { "true" } else { "false" });
    }
}

impl<'a, T: FieldValue<'a>> FieldValue<'a> for Option<T> {
    const KIND: FieldKind = T::KIND;
    const WANTED: &'static str = T::WANTED;

    fn parse(value: &'a [u8]) -> Option<Self> {
        T::parse(value).map(Some)
    }

    fn put(&self, name: &str, sink: &mut FieldSink<'_>) {
        if let Some(value) = self {
            value.put(name, sink);
        }
    }
}
