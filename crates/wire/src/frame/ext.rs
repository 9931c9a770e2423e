//! The named fields of a frame.

use std::borrow::Cow;
use std::slice;

use bytes::Bytes;

use super::{FrameError, Slice};
use crate::header::{EncodeHeader, FieldSink, text};
use crate::json::{Scanner, Span, Value};

/// Room for the fields of nearly all headers.
const USUAL_FIELDS: usize = 16;

/// The named fields of a frame. Well formed by construction.
#[derive(Debug, Clone)]
pub struct ExtFields<B = Bytes>(Form<B>);

#[derive(Debug, Clone)]
enum Form<B> {
    /// The entries as they stand on the wire; empty: no fields.
    RocketMq(B),
    /// The header, which is scanned once, and where its fields are.
    Json(B, JsonFields),
}

/// Where the fields of a JSON header are.
#[derive(Debug, Clone, Default)]
pub(super) struct JsonFields {
    /// Whether there is a field map.
    present: bool,
    /// What strings with escapes stand for.
    unescaped: String,
    /// Names and values, parts of the header or of what is unescaped.
    fields: Vec<(Span, Option<Span>)>,
}

impl JsonFields {
    /// Reads the value of `extFields`; null and the empty string mean none. Of several, the last
    /// counts.
    pub(super) fn read(&mut self, scanner: &mut Scanner<'_>) -> Result<(), FrameError> {
        self.fields.clear();
        scanner.skip_space();
        self.present = scanner.peek() == Some(b'{');
        if !self.present {
            return match scanner.value()? {
                Value::Null => Ok(()),
                Value::String(empty) if empty.is_empty() => Ok(()),
                _ => Err(FrameError::Type { name: "extFields" }),
            };
        }
        self.fields.reserve(USUAL_FIELDS);
        scanner.begin_object()?;
        while let Some(field) = scanner.next_member(self.fields.is_empty(), &mut self.unescaped)? {
            self.fields.push(field);
        }
        Ok(())
    }
}

impl ExtFields {
    /// The same fields in memory of their own.
    pub(super) fn detached(&self) -> Self {
        Self(match &self.0 {
            Form::RocketMq(entries) => Form::RocketMq(Bytes::copy_from_slice(entries)),
            Form::Json(header, fields) => {
                Form::Json(Bytes::copy_from_slice(header), fields.clone())
            }
        })
    }
}

impl<B: Slice> ExtFields<B> {
    /// The fields of a ROCKETMQ header by their entries.
    pub(super) fn of_entries(entries: B) -> Self {
        Self(Form::RocketMq(entries))
    }

    /// The fields that a JSON header has.
    pub(super) fn of_json(header: B, fields: JsonFields) -> Self {
        Self(Form::Json(header, fields))
    }

    /// Whether there is no field map.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Form::RocketMq(entries) => entries.is_empty(),
            Form::Json(_, fields) => !fields.present,
        }
    }

    /// The fields in the order of the wire. A null value is `None`; a null name is empty.
    pub fn iter(&self) -> ExtIter<'_> {
        ExtIter(match &self.0 {
            Form::RocketMq(entries) => Unread::RocketMq(entries),
            Form::Json(header, fields) => {
                Unread::Json(header, &fields.unescaped, fields.fields.iter())
            }
        })
    }

    /// Hands over the fields that have a value, as [`iter`](ExtFields::iter) has them, but not
    /// looked at as text: a header is read for every request.
    pub(crate) fn try_each<'a, E>(
        &'a self,
        mut take: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.0 {
            Form::RocketMq(entries) => {
                let mut rest = &entries[..];
                while let Some(name) = take_sized::<2>(&mut rest)
                    && let Some(value) = take_sized::<4>(&mut rest)
                {
                    if !value.is_empty() {
                        take(name, value)?;
                    }
                }
            }
            Form::Json(
                header,
                JsonFields {
                    unescaped, fields, ..
                },
            ) => {
                for (name, value) in fields {
                    if let Some(value) = value {
                        take(name.of(header, unescaped), value.of(header, unescaped))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The value of one field.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter()
            .filter(|(known, _)| known == name)
            .last()
            .and_then(|(_, value)| value)
    }
}

impl<B: Slice> EncodeHeader for ExtFields<B> {
    fn encode(&self, sink: &mut FieldSink<'_>) {
        for (name, value) in self.iter() {
            if let Some(value) = value {
                sink.text(&name, &value);
            }
        }
    }
}

/// Iterates over [`ExtFields`].
pub struct ExtIter<'a>(Unread<'a>);

/// What an [`ExtIter`] has still to read.
enum Unread<'a> {
    RocketMq(&'a [u8]),
    /// The header, what is unescaped, and where the fields are in them.
    Json(&'a [u8], &'a str, slice::Iter<'a, (Span, Option<Span>)>),
}

impl<'a> Iterator for ExtIter<'a> {
    type Item = (Cow<'a, str>, Option<Cow<'a, str>>);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Unread::RocketMq(rest) => {
                if rest.is_empty() {
                    return None;
                }
                let name = take_text::<2>(rest)?;
                let value = take_text::<4>(rest)?;
                Some((name, (!value.is_empty()).then_some(value)))
            }
            Unread::Json(header, unescaped, fields) => {
                let (name, value) = fields.next()?;
                let part = |span: &Span| text(span.of(header, unescaped));
                Some((part(name), value.as_ref().map(part)))
            }
        }
    }
}

/// Takes bytes behind a big-endian length of `WIDTH` bytes off the front.
#[inline]
pub(super) fn take_sized<'a, const WIDTH: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<WIDTH>()?;
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (bytes, tail) = tail.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

#[inline]
pub(super) fn take_text<'a, const WIDTH: usize>(rest: &mut &'a [u8]) -> Option<Cow<'a, str>> {
    take_sized::<WIDTH>(rest).map(text)
}
