//! JSON as the frame header needs it: one object scanned in place, no tree built.
//!
//! What is accepted follows fastjson2 as the reference uses it: single or double quotes, numbers
//! as strings or with a fraction, unknown names; but no bare names, nothing after the object.

use std::borrow::Cow;
use std::num::NonZeroU32;

use bytes::BytesMut;
use memchr::{memchr, memchr2};

/// Nesting beyond this is refused; a header has two levels.
const MAX_DEPTH: usize = 64;

/// Where and why the text is not what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{expected} expected at byte {at} of the JSON header")]
pub struct JsonError {
    /// Offset in the header.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// A value inside the object: strings unescaped, everything else as the text that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    String(Cow<'a, str>),
    /// A number, `true`, `false`, an array or an object.
    Raw(&'a str),
}

impl<'a> Value<'a> {
    /// The value as the text of a header field; null has none.
    pub(crate) fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Null => None,
            Self::String(text) => Some(text),
            Self::Raw(text) => Some(Cow::Borrowed(text)),
        }
    }
}

/// A part of a text, or behind it of what its escapes stand for, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    /// Not 0: what is quoted, a number or a word stands within an object.
    end: NonZeroU32,
}

impl Span {
    /// A frame's header has 24 bits for its length, and no escape is shorter than its character.
    #[inline]
    fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: NonZeroU32::new(end as u32).unwrap_or(NonZeroU32::MIN),
        }
    }

    /// The part of the text that it was made for, or of what was unescaped.
    #[inline]
    pub(crate) fn of<'a>(self, text: &'a [u8], unescaped: &'a str) -> &'a [u8] {
        let (start, end) = (self.start as usize, self.end.get() as usize);
        let part = match start.checked_sub(text.len()) {
            None => text.get(start..end),
            Some(start) => unescaped.as_bytes().get(start..end - text.len()),
        };
        part.unwrap_or_default()
    }
}

/// Reads JSON from the front of a text.
#[derive(Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    pos: usize,
    /// Where the block begins that was looked at last.
    block: usize,
    /// Its bytes that are double quotes or backslashes, a bit each.
    marks: u64,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut scanner = Self {
            text,
            pos: 0,
            block: 0,
            marks: 0,
        };
        scanner.look_at(0);
        scanner
    }

    pub(crate) fn position(&self) -> usize {
        self.pos
    }

    fn error<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError {
            at: self.pos,
            expected,
        })
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    #[inline]
    pub(crate) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.pos += 1;
        }
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        self.skip_space();
        if self.peek() == Some(byte) {
            self.pos += 1;
            return Ok(());
        }
        self.error(expected)
    }

    pub(crate) fn begin_object(&mut self) -> Result<(), JsonError> {
        self.expect(b'{', "'{'")
    }

    /// The next name of the object, its colon passed; `None` at the object's end.
    #[inline]
    pub(crate) fn next_name(&mut self, first: bool) -> Result<Option<Cow<'a, str>>, JsonError> {
        if !self.has_member(first)? {
            return Ok(None);
        }
        let name = self.string()?;
        self.expect(b':', "':'")?;
        Ok(Some(name))
    }

    /// Passes what is in front of a member of the object; `false`: its end, which is passed, too.
    #[inline]
    fn has_member(&mut self, first: bool) -> Result<bool, JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b'}') => {
                self.pos += 1;
                return Ok(false);
            }
            Some(b',') if !first => {
                self.pos += 1;
                self.skip_space();
            }
            _ if first => {}
            _ => return self.error("',' or '}'"),
        }
        Ok(true)
    }

    /// The next member of the object, null without a value; `None` at the object's end.
    /// `unescaped` gets what escapes stand for.
    pub(crate) fn next_member(
        &mut self,
        first: bool,
        unescaped: &mut String,
    ) -> Result<Option<(Span, Option<Span>)>, JsonError> {
        if !self.has_member(first)? {
            return Ok(None);
        }
        let name = self.string_in(unescaped)?;
        self.expect(b':', "':'")?;
        self.skip_space();
        if let Some(b'"' | b'\'') = self.peek() {
            let value = self.string_in(unescaped)?;
            return Ok(Some((name, Some(value))));
        }
        let start = self.pos;
        // The object that it is a member of is one level deep.
        self.skip_value(1)?;
        let is_null = &self.text[start..self.pos] == "null";
        let value = (!is_null).then(|| Span::new(start, self.pos));
        Ok(Some((name, value)))
    }

    /// A quoted string; `unescaped` gets it if it has escapes. Inlined, a name is compared while
    /// its value is searched for.
    #[inline(always)]
    fn string_in(&mut self, unescaped: &mut String) -> Result<Span, JsonError> {
        let quote = self.opening_quote()?;
        let begun = self.pos;
        self.pass_plain(quote);
        if self.peek() == Some(quote) {
            self.pos += 1;
            return Ok(Span::new(begun, self.pos - 1));
        }
        self.unescaped_in(quote, begun, unescaped)
    }

    /// A string with escapes that begins at `begun`.
    fn unescaped_in(
        &mut self,
        quote: u8,
        begun: usize,
        unescaped: &mut String,
    ) -> Result<Span, JsonError> {
        let start = self.text.len() + unescaped.len();
        if unescaped.is_empty() {
            // No escape is shorter than its character.
            unescaped.reserve(self.text.len() - begun);
        }
        unescaped.push_str(&self.text[begun..self.pos]);
        self.unescape(quote, unescaped)?;
        Ok(Span::new(start, self.text.len() + unescaped.len()))
    }

    /// Only white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.pos == self.text.len() {
            Ok(())
        } else {
            self.error("the end")
        }
    }

    pub(crate) fn value(&mut self) -> Result<Value<'a>, JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b'"' | b'\'') => self.string().map(Value::String),
            _ => {
                let start = self.pos;
                self.skip_value(0)?;
                match &self.text[start..self.pos] {
                    "null" => Ok(Value::Null),
                    raw => Ok(Value::Raw(raw)),
                }
            }
        }
    }

    /// A member's number if it has at most nine digits and nothing else, as nearly all have.
    pub(crate) fn digits(&mut self) -> Option<i32> {
        self.skip_space();
        let rest = self.text.as_bytes().get(self.pos..)?;
        let mut number = 0;
        for (length, byte) in rest.iter().take(10).enumerate() {
            match byte {
                b'0'..=b'9' if length < 9 => number = number * 10 + i32::from(byte - b'0'),
                b',' | b'}' if length > 0 => {
                    self.pos += length;
                    return Some(number);
                }
                _ => return None,
            }
        }
        None
    }

    /// Passes a value so many levels deep.
    pub(crate) fn skip_value(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > MAX_DEPTH {
            return self.error("less nesting");
        }
        self.skip_space();
        match self.peek() {
            Some(b'"' | b'\'') => self.skip_string(),
            Some(b'{') => {
                self.pos += 1;
                let mut first = true;
                while self.next_name(first)?.is_some() {
                    first = false;
                    self.skip_value(depth + 1)?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.pos += 1;
                self.skip_space();
                if self.peek() == Some(b']') {
                    self.pos += 1;
                    return Ok(());
                }
                loop {
                    self.skip_value(depth + 1)?;
                    self.skip_space();
                    match self.peek() {
                        Some(b',') => self.pos += 1,
                        Some(b']') => {
                            self.pos += 1;
                            return Ok(());
                        }
                        _ => return self.error("',' or ']'"),
                    }
                }
            }
            Some(b'-' | b'+' | b'0'..=b'9') => self.skip_number(),
            _ => {
                let rest = &self.text[self.pos..];
                match ["null", "true", "false"]
                    .iter()
                    .find(|word| rest.starts_with(**word))
                {
                    Some(word) => {
                        self.pos += word.len();
                        Ok(())
                    }
                    None => self.error("a value"),
                }
            }
        }
    }

    fn skip_number(&mut self) -> Result<(), JsonError> {
        let start = self.pos;
        while matches!(
            self.peek(),
            Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
        ) {
            self.pos += 1;
        }
        let number = &self.text[start..self.pos];
        let digits = number.strip_prefix('-').unwrap_or(number);
        // Nearly all are whole numbers, which need not be computed.
        let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_whole || number.parse::<f64>().is_ok() {
            return Ok(());
        }
        Err(JsonError {
            at: start,
            expected: "a number",
        })
    }

    /// A quoted string; borrowed unless it has escapes.
    #[inline]
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let quote = self.opening_quote()?;
        let start = self.pos;
        self.pass_plain(quote);
        let plain = &self.text[start..self.pos];
        if self.peek() == Some(quote) {
            self.pos += 1;
            return Ok(Cow::Borrowed(plain));
        }
        self.unescaped(quote, plain).map(Cow::Owned)
    }

    /// A string with escapes, what stands before the first passed.
    #[cold]
    fn unescaped(&mut self, quote: u8, plain: &str) -> Result<String, JsonError> {
        // No escape is shorter than its character: room for all, unless a quote is escaped.
        let rest = &self.text.as_bytes()[self.pos..];
        let room = plain.len() + memchr(quote, rest).unwrap_or(rest.len());
        let mut unescaped = String::with_capacity(room);
        unescaped.push_str(plain);
        self.unescape(quote, &mut unescaped)?;
        Ok(unescaped)
    }

    /// Appends what stands from an escape to the closing quote.
    fn unescape(&mut self, quote: u8, out: &mut String) -> Result<(), JsonError> {
        while let Some(character) = self.escaped()? {
            out.push(character);
            let start = self.pos;
            self.pass_plain(quote);
            out.push_str(&self.text[start..self.pos]);
        }
        Ok(())
    }

    fn skip_string(&mut self) -> Result<(), JsonError> {
        let quote = self.opening_quote()?;
        self.pass_plain(quote);
        while self.escaped()?.is_some() {
            self.pass_plain(quote);
        }
        Ok(())
    }

    #[inline]
    fn opening_quote(&mut self) -> Result<u8, JsonError> {
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                self.pos += 1;
                Ok(quote)
            }
            _ => self.error("a quoted string"),
        }
    }

    /// Passes what stands before the next escape or closing quote.
    #[inline(always)]
    fn pass_plain(&mut self, quote: u8) {
        if quote != b'"' {
            let rest = self.text.as_bytes().get(self.pos..).unwrap_or_default();
            self.pos += memchr2(quote, b'\\', rest).unwrap_or(rest.len());
            return;
        }
        let mut block = self.pos - self.pos % BLOCK;
        if block != self.block {
            self.look_at(block);
        }
        let mut marks = self.marks & u64::MAX << (self.pos % BLOCK);
        while marks == 0 {
            block += BLOCK;
            if block >= self.text.len() {
                self.pos = self.text.len();
                return;
            }
            self.look_at(block);
            marks = self.marks;
        }
        self.pos = block + marks.trailing_zeros() as usize;
    }

    /// Finds the marks of a block. Most strings are so short that where one ends is known later
    /// than where the next ones do, if each is searched for by itself.
    fn look_at(&mut self, block: usize) {
        let rest = self.text.as_bytes().get(block..).unwrap_or_default();
        self.block = block;
        self.marks = match rest.first_chunk::<BLOCK>() {
            Some(bytes) => marks(bytes),
            None => {
                let mut bytes = [0; BLOCK];
                for (byte, known) in bytes.iter_mut().zip(rest) {
                    *byte = *known;
                }
                marks(&bytes)
            }
        };
    }

    /// The character of an escape behind plain text; `None` for the closing quote, which is passed.
    #[inline]
    fn escaped(&mut self) -> Result<Option<char>, JsonError> {
        match self.peek() {
            None => self.error("a closing quote"),
            Some(b'\\') => {
                self.pos += 1;
                self.escape().map(Some)
            }
            Some(_) => {
                self.pos += 1;
                Ok(None)
            }
        }
    }

    /// The character behind a backslash.
    #[inline]
    fn escape(&mut self) -> Result<char, JsonError> {
        let Some(byte) = self.peek() else {
            return self.error("an escape");
        };
        self.pos += 1;
        Ok(match byte {
            b'"' | b'\'' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'v' => '\u{b}',
            b'0' => '\0',
            b'u' => {
                let unit = self.hex(4)?;
                if let Ok(ascii) = u8::try_from(unit) {
                    return Ok(char::from(ascii));
                }
                return self.surrogates(unit);
            }
            b'x' => char::from_u32(self.hex(2)?).unwrap_or(char::REPLACEMENT_CHARACTER),
            _ => {
                self.pos -= 1;
                return self.error("an escape");
            }
        })
    }

    /// Joins a surrogate pair; a lone half becomes U+FFFD, since it is no text in UTF-8.
    fn surrogates(&mut self, unit: u32) -> Result<char, JsonError> {
        if (0xD800..0xDC00).contains(&unit) && self.text[self.pos..].starts_with("\\u") {
            let after_first = self.pos;
            self.pos += 2;
            let low = self.hex(4)?;
            if (0xDC00..0xE000).contains(&low) {
                let joined = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.pos = after_first;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    #[inline]
    fn hex(&mut self, digits: usize) -> Result<u32, JsonError> {
        let text = self.text.as_bytes().get(self.pos..self.pos + digits);
        let number = text.and_then(|text| {
            text.iter().try_fold(0, |number, byte| {
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    b'a'..=b'f' => byte - b'a' + 10,
                    b'A'..=b'F' => byte - b'A' + 10,
                    _ => return None,
                };
                Some(number * 16 + u32::from(digit))
            })
        });
        let Some(number) = number else {
            return self.error("hexadecimal digits");
        };
        self.pos += digits;
        Ok(number)
    }
}

/// Bytes of a block, whose marks make a word.
const BLOCK: usize = 64;

/// A bit for each byte that is a double quote or a backslash.
#[inline]
fn marks(bytes: &[u8; BLOCK]) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const BITS: u64 = u64::from_le_bytes([1, 2, 4, 8, 16, 32, 64, 128]);
    let found = bytes.map(|byte| {
        if matches!(byte, b'"' | b'\\') {
            0xFF
        } else {
            0
        }
    });
    let (words, _) = found.as_chunks::<8>();
    words.iter().rev().fold(0, |marks, word| {
        // The uppermost byte of the product is the sum of all.
        let bits = (u64::from_le_bytes(*word) & BITS).wrapping_mul(ONES) >> 56;
        marks << 8 | bits
    })
}

/// Writes `text` in double quotes, control characters escaped.
pub(crate) fn write_string(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.extend_from_slice(b"\"");
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..index]);
        plain = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.extend_from_slice(b"\"");
}
