//! Writing: a serializer that puts the text straight into a buffer.

use std::fmt::Display;

use bytes::{Bytes, BytesMut};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::json::write_string;

/// How names and lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Numbers as names without quotes, all on one line.
    Plain,
    /// Numbers as names in quotes, all on one line.
    Standard,
    /// Numbers as names without quotes, one value on a line.
    Pretty,
}

/// Can't be: body types do not refuse to be written, and any value can be a name.
#[derive(Debug)]
pub(super) enum Never {}

impl Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl serde::ser::Error for Never {
    fn custom<T: Display>(message: T) -> Self {
        panic!("a body type refuses to be written: {message}")
    }
}

/// Whether what was written is null, so that its name is taken back.
type IsNull = bool;

/// Appends values to a buffer.
pub(super) struct Writer {
    out: BytesMut,
    form: Form,
    depth: usize,
    /// Whether the next value is a name.
    in_name: bool,
}

impl Writer {
    pub(super) fn write<T: Serialize>(value: &T, form: Form) -> Bytes {
        let mut writer = Self {
            out: BytesMut::new(),
            form,
            depth: 0,
            in_name: false,
        };
        match value.serialize(&mut writer) {
            Ok(_) => writer.out.freeze(),
            Err(never) => match never {},
        }
    }

    fn put(&mut self, text: &str) -> Result<IsNull, Never> {
        self.out.extend_from_slice(text.as_bytes());
        Ok(false)
    }

    fn null(&mut self) -> Result<IsNull, Never> {
        self.out.extend_from_slice(b"null");
        Ok(true)
    }

    fn integer(&mut self, number: impl itoa::Integer) -> Result<IsNull, Never> {
        let quotes = self.in_name && self.form == Form::Standard;
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        if quotes {
            self.out.extend_from_slice(b"\"");
        }
        self.out.extend_from_slice(digits);
        if quotes {
            self.out.extend_from_slice(b"\"");
        }
        Ok(false)
    }

    fn line(&mut self) {
        if self.form == Form::Pretty {
            self.out.extend_from_slice(b"\n");
            for _ in 0..self.depth {
                self.out.extend_from_slice(b"\t");
            }
        }
    }

    fn open(&mut self, open: &'static [u8], close: &'static [u8]) -> Open<'_> {
        self.out.extend_from_slice(open);
        self.in_name = false;
        self.depth += 1;
        Open {
            writer: self,
            close,
            empty: true,
            inline: false,
            before: 0,
        }
    }
}

/// An array or an object that is being written.
pub(super) struct Open<'w> {
    writer: &'w mut Writer,
    close: &'static [u8],
    empty: bool,
    /// Whether the elements stand on one line, as numbers do.
    inline: bool,
    /// Where the entry being written starts, its comma included.
    before: usize,
}

impl Open<'_> {
    /// Goes to where the next element or entry is written.
    fn next(&mut self) {
        self.before = self.writer.out.len();
        if !self.empty {
            self.writer.out.extend_from_slice(b",");
        }
        if !self.inline {
            self.writer.line();
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        self.next();
        let start = self.writer.out.len();
        value.serialize(&mut *self.writer)?;
        if self.empty && self.writer.out[start..].first().is_some_and(is_number) {
            let number = self.writer.out.split_off(start);
            self.writer.out.truncate(self.before);
            self.writer.out.unsplit(number);
            self.inline = true;
        }
        self.empty = false;
        Ok(())
    }

    fn name<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Never> {
        self.next();
        self.writer.in_name = true;
        name.serialize(&mut *self.writer)?;
        self.writer.in_name = false;
        self.writer.out.extend_from_slice(b":");
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        if value.serialize(&mut *self.writer)? {
            self.writer.out.truncate(self.before);
        } else {
            self.empty = false;
        }
        Ok(())
    }

    fn close(self) -> Result<IsNull, Never> {
        self.writer.depth -= 1;
        if !self.empty && !self.inline {
            self.writer.line();
        }
        self.writer.out.extend_from_slice(self.close);
        Ok(false)
    }
}

fn is_number(byte: &u8) -> bool {
    matches!(byte, b'-' | b'0'..=b'9')
}

macro_rules! integers {
    ($($serialize:ident $int:ty,)*) => {
        $(
            fn $serialize(self, number: $int) -> Result<IsNull, Never> {
                self.integer(number)
            }
        )*
    };
}

impl<'w> Serializer for &'w mut Writer {
    type Ok = IsNull;
    type Error = Never;
    type SerializeSeq = Open<'w>;
    type SerializeTuple = Open<'w>;
    type SerializeTupleStruct = Open<'w>;
    type SerializeTupleVariant = Open<'w>;
    type SerializeMap = Open<'w>;
    type SerializeStruct = Open<'w>;
    type SerializeStructVariant = Open<'w>;

    integers! {
        serialize_i8 i8,
        serialize_i16 i16,
        serialize_i32 i32,
        serialize_i64 i64,
        serialize_u8 u8,
        serialize_u16 u16,
        serialize_u32 u32,
        serialize_u64 u64,
    }

    fn serialize_bool(self, value: bool) -> Result<IsNull, Never> {
        self.put(if value { "true" } else { "false" })
    }

    fn serialize_f32(self, number: f32) -> Result<IsNull, Never> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<IsNull, Never> {
        if number.is_finite() {
            self.put(&format!("{number:?}"))
        } else {
            self.null()
        }
    }

    fn serialize_char(self, character: char) -> Result<IsNull, Never> {
        self.serialize_str(character.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<IsNull, Never> {
        write_string(&mut self.out, text);
        Ok(false)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<IsNull, Never> {
        bytes.serialize(self)
    }

    fn serialize_none(self) -> Result<IsNull, Never> {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<IsNull, Never> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<IsNull, Never> {
        self.null()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<IsNull, Never> {
        self.null()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<IsNull, Never> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<IsNull, Never> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<IsNull, Never> {
        let mut object = self.open(b"{", b"}");
        object.name(variant)?;
        object.value(value)?;
        object.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'w>, Never> {
        Ok(self.open(b"[", b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Open<'w>, Never> {
        Ok(self.open(b"[", b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Open<'w>, Never> {
        Ok(self.open(b"[", b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Open<'w>, Never> {
        Ok(self.open(b"[", b"]"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Open<'w>, Never> {
        Ok(self.open(b"{", b"}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Open<'w>, Never> {
        Ok(self.open(b"{", b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Open<'w>, Never> {
        Ok(self.open(b"{", b"}"))
    }
}

macro_rules! arrays {
    ($($array:ident $element:ident,)*) => {
        $(
            impl $array for Open<'_> {
                type Ok = IsNull;
                type Error = Never;

                fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
                    self.element(value)
                }

                fn end(self) -> Result<IsNull, Never> {
                    self.close()
                }
            }
        )*
    };
}

arrays! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! objects {
    ($($object:ident)*) => {
        $(
            impl $object for Open<'_> {
                type Ok = IsNull;
                type Error = Never;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), Never> {
                    self.name(name)?;
                    self.value(value)
                }

                fn end(self) -> Result<IsNull, Never> {
                    self.close()
                }
            }
        )*
    };
}

objects! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Open<'_> {
    type Ok = IsNull;
    type Error = Never;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Never> {
        self.name(name)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        self.value(value)
    }

    fn end(self) -> Result<IsNull, Never> {
        self.close()
    }
}
