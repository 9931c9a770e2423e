//! The reference's dialect of JSON (fastjson).
//!
//! It differs from the standard in the names of a map: numbers stand without quotes
//! (`{0:"127.0.0.1:10911"}`) and objects stand as they are
//! (`{{"brokerName":"a","queueId":0,"topic":"t"}:10}`). A field without a value is left out.
//!
//! Reading takes both forms, and more that clients in other languages send: single quotes, numbers
//! as text and text as numbers, a name or an ordinal for an enum, `null` for an absent field.

mod read;
mod write;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use self::read::Reader;
use self::write::{Form, Writer};
use super::BodyError;

/// Reads a JSON body.
///
/// # Errors
/// The bytes are not UTF-8, not JSON even in this dialect, or a value is not of its field's kind.
pub fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, BodyError> {
    let text = str::from_utf8(body).map_err(|error| BodyError::NotUtf8(error.valid_up_to()))?;
    let mut reader = Reader::new(text);
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Checks that a JSON body can be read, whatever is in it.
///
/// # Errors
/// The bytes are not UTF-8 or not JSON even in this dialect.
pub fn check(body: &[u8]) -> Result<(), BodyError> {
    read::<IgnoredAny>(body).map(drop)
}

/// Writes a JSON body as the reference does by default.
pub fn write<T: Serialize>(value: &T) -> Bytes {
    Writer::write(value, Form::Plain)
}

/// Writes a JSON body with quotes around numbers that are names, as standard JSON wants it; the
/// reference does so in routes for clients that ask for it or are of version 4.9.4 or later.
pub fn write_standard<T: Serialize>(value: &T) -> Bytes {
    Writer::write(value, Form::Standard)
}

/// Writes as the reference writes its configuration files: one value on a line, indented by tabs.
pub fn write_pretty<T: Serialize>(value: &T) -> Bytes {
    Writer::write(value, Form::Pretty)
}
