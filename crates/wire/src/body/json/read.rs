//! Reading: a deserializer over the text, no tree built.

use std::borrow::Cow;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

use super::BodyError;
use crate::json::{Scanner, Value};

/// Nesting beyond this is refused; bodies have about eight levels.
const MAX_DEPTH: usize = 32;

/// Reads values from the front of a text.
pub(super) struct Reader<'de> {
    scanner: Scanner<'de>,
    depth: usize,
}

impl<'de> Reader<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self {
            scanner: Scanner::new(text),
            depth: 0,
        }
    }

    /// Only white space may follow.
    pub(super) fn end(&mut self) -> Result<(), BodyError> {
        Ok(self.scanner.end()?)
    }

    fn error<T>(&self, expected: &'static str) -> Result<T, BodyError> {
        Err(BodyError::Syntax {
            at: self.scanner.position(),
            expected,
        })
    }

    /// The first byte of the next value.
    fn peek(&mut self) -> Option<u8> {
        self.scanner.skip_space();
        self.scanner.peek()
    }

    /// A value that is neither an object nor an array.
    fn scalar(&mut self, expected: &'static str) -> Result<Value<'de>, BodyError> {
        match self.peek() {
            Some(b'{' | b'[') => self.error(expected),
            _ => Ok(self.scanner.value()?),
        }
    }

    /// The text of a scalar; null has none.
    fn text(&mut self, expected: &'static str) -> Result<Option<Cow<'de, str>>, BodyError> {
        Ok(self.scalar(expected)?.into_text())
    }

    /// Whether a null was there; it is passed.
    fn null(&mut self) -> Result<bool, BodyError> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        Ok(self.scalar("null")? == Value::Null)
    }

    /// Reads what stands between brackets, one level deeper.
    fn nested<T>(
        &mut self,
        open: u8,
        expected: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, BodyError>,
    ) -> Result<T, BodyError> {
        self.scanner.expect(open, expected)?;
        if self.depth == MAX_DEPTH {
            return self.error("less nesting");
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Passes the comma between two elements, or the closing bracket. False: that was the end.
    fn more(
        &mut self,
        close: u8,
        first: &mut bool,
        expected: &'static str,
    ) -> Result<bool, BodyError> {
        if self.peek() == Some(close) {
            self.scanner.expect(close, expected)?;
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.scanner.expect(b',', expected)?;
        }
        Ok(true)
    }

    /// Passes a value, each of its bytes once.
    fn skip(&mut self) -> Result<(), BodyError> {
        let mut first = true;
        match self.peek() {
            Some(b'{') => self.nested(b'{', "'{'", |reader| {
                while reader.more(b'}', &mut first, "',' or '}'")? {
                    reader.skip()?;
                    reader.scanner.expect(b':', "':'")?;
                    reader.skip()?;
                }
                Ok(())
            }),
            Some(b'[') => self.nested(b'[', "'['", |reader| {
                while reader.more(b']', &mut first, "',' or ']'")? {
                    reader.skip()?;
                }
                Ok(())
            }),
            _ => self.scalar("a value").map(drop),
        }
    }

    /// A whole number; text and fractions are taken, the fraction is cut off, null is 0.
    fn integer<T: std::str::FromStr + Default>(&mut self) -> Result<T, BodyError> {
        let at = self.scanner.position();
        let expected = "a whole number in range";
        let Some(text) = self.text(expected)? else {
            return Ok(T::default());
        };
        let whole = text.split_once('.').map_or(&*text, |(whole, _)| whole);
        if whole.is_empty() {
            return Ok(T::default());
        }
        whole.parse().or(Err(BodyError::Syntax { at, expected }))
    }
}

macro_rules! integers {
    ($($deserialize:ident $visit:ident $int:ty,)*) => {
        $(
            fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
                visitor.$visit(self.integer::<$int>()?)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = BodyError;

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.peek() {
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            _ => match self.scalar("a value")? {
                Value::Null => visitor.visit_unit(),
                Value::String(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
                Value::String(Cow::Owned(text)) => visitor.visit_string(text),
                Value::Raw("true") => visitor.visit_bool(true),
                Value::Raw("false") => visitor.visit_bool(false),
                Value::Raw(number) => match number.parse::<i64>() {
                    Ok(number) => visitor.visit_i64(number),
                    Err(_) => visitor.visit_f64(number.parse().map_err(BodyError::custom)?),
                },
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        let at = self.scanner.position();
        match self.text("true or false")?.as_deref() {
            Some("true" | "TRUE" | "True" | "1") => visitor.visit_bool(true),
            Some("false" | "FALSE" | "False" | "0" | "") | None => visitor.visit_bool(false),
            Some(_) => Err(BodyError::Syntax {
                at,
                expected: "true or false",
            }),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        let at = self.scanner.position();
        let Some(text) = self.text("a number")? else {
            return visitor.visit_f64(0.0);
        };
        let number = text.parse().or(Err(BodyError::Syntax {
            at,
            expected: "a number",
        }))?;
        visitor.visit_f64(number)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.text("text")? {
            None => visitor.visit_borrowed_str(""),
            Some(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Some(Cow::Owned(text)) => visitor.visit_string(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        if self.null()? {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        if self.null()? {
            return visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<()>()));
        }
        self.nested(b'[', "'['", |reader| {
            visitor.visit_seq(Elements {
                reader,
                first: true,
            })
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        if self.null()? {
            return visitor.visit_map(MapDeserializer::new(std::iter::empty::<((), ())>()));
        }
        self.nested(b'{', "'{'", |reader| {
            visitor.visit_map(Entries {
                reader,
                first: true,
            })
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        let name = self.text("a name")?.unwrap_or_default();
        let by_ordinal = name
            .parse()
            .ok()
            .and_then(|ordinal: usize| variants.get(ordinal));
        let name = by_ordinal.copied().map_or(name, Cow::Borrowed);
        visitor.visit_enum(name.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        self.skip()?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

/// The elements of an array.
struct Elements<'r, 'de> {
    reader: &'r mut Reader<'de>,
    first: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = BodyError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, BodyError> {
        if self.reader.more(b']', &mut self.first, "',' or ']'")? {
            seed.deserialize(&mut *self.reader).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// The entries of an object. Those whose value is null are passed over.
struct Entries<'r, 'de> {
    reader: &'r mut Reader<'de>,
    first: bool,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = BodyError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, BodyError> {
        while self.reader.more(b'}', &mut self.first, "',' or '}'")? {
            let name = self.reader.scanner.clone();
            self.reader.skip()?;
            self.reader.scanner.expect(b':', "':'")?;
            if self.reader.null()? {
                continue;
            }
            self.reader.scanner = name;
            return seed.deserialize(&mut *self.reader).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, BodyError> {
        self.reader.scanner.expect(b':', "':'")?;
        seed.deserialize(&mut *self.reader)
    }
}
