//! The body of a pull answer, of a message, and of a batch.
//!
//! A pull or pop answer's body is a run of [records](super::record), one after the other.
//!
//! A batch, as a producer sends it and as the body of an inner batch's record, is a run of
//! messages, all integers big-endian:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | total size: of the whole message, this field included |
//! | 4 | 4 | magic: 0 |
//! | 8 | 4 | body CRC: 0 |
//! | 12 | 4 | flag: the application's own |
//! | 16 | 4 | body length `B` |
//! | 20 | B | body |
//! | 20+B | 2 | properties length `P`, at most 32767 |
//! | 22+B | P | properties, UTF-8 ([`properties`]) |
//!
//! The first three fields are written but not looked at, as in the reference
//! (`MessageDecoder.encodeMessage`, `MessageExtEncoder.encode`).

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::MessageError;
use super::compression::CompressionType;
use super::names::RETRY_GROUP_TOPIC_PREFIX;
use super::record::{MAX_PROPERTIES_LEN, RecordError, RecordRef};
use super::{properties, property, sys_flag};

/// Bytes of a batch's message without its body and properties.
const FIXED_SIZE: usize = 22;
/// Total size, magic and body CRC.
const IGNORED_SIZE: usize = 12;

/// The records of a pull answer's body. After an error there are no more.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Reads the body of a pull or pop answer.
    pub fn new(body: &'a [u8]) -> Records<'a> {
        Records { rest: body }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = RecordRef::parse(self.rest);
        self.rest = match &record {
            Ok(record) => self.rest.get(record.total_size()..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(record)
    }
}

/// A record's body, decompressed if it is compressed.
///
/// # Errors
/// Those of [`CompressionType::decompress`]; `limit` is the largest body in bytes, and does not
/// apply to one that is not compressed.
pub fn plain_body<'a>(record: &RecordRef<'a>, limit: usize) -> Result<Cow<'a, [u8]>, MessageError> {
    let sys_flag = record.sys_flag();
    // The reference does not decompress an empty body either.
    if !sys_flag::message::is_compressed(sys_flag) || record.body().is_empty() {
        return Ok(Cow::Borrowed(record.body()));
    }
    let compression = CompressionType::of_sys_flag(sys_flag)?;
    compression.decompress(record.body(), limit).map(Cow::Owned)
}

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchMessage<'a> {
    /// The application's own flag.
    pub flag: i32,
    /// The body.
    pub body: &'a [u8],
    /// The properties' string.
    pub properties: &'a [u8],
}

impl BatchMessage<'_> {
    /// Bytes of the message in a batch.
    pub fn encoded_len(&self) -> usize {
        FIXED_SIZE + self.body.len() + self.properties.len()
    }

    /// Appends the message to a batch. Nothing is appended on error.
    ///
    /// # Errors
    /// [`RecordError::PropertiesTooLong`] and [`RecordError::TooLarge`], wrapped.
    pub fn encode_into(&self, out: &mut BytesMut) -> Result<(), MessageError> {
        let properties_len = self.properties.len();
        if properties_len > MAX_PROPERTIES_LEN {
            return Err(RecordError::PropertiesTooLong(properties_len).into());
        }
        let size = self.encoded_len();
        let total = i32::try_from(size).map_err(|_| RecordError::TooLarge(size))?;
        out.reserve(size);
        out.put_i32(total);
        out.put_bytes(0, IGNORED_SIZE - 4);
        out.put_i32(self.flag);
        out.put_u32(self.body.len() as u32);
        out.put_slice(self.body);
        out.put_u16(properties_len as u16);
        out.put_slice(self.properties);
        Ok(())
    }
}

/// The messages of a batch. After an error there are no more.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    rest: &'a [u8],
    /// How many messages have been read.
    index: usize,
}

impl<'a> Batch<'a> {
    /// Reads the body of a batch.
    pub fn new(body: &'a [u8]) -> Batch<'a> {
        Batch {
            rest: body,
            index: 0,
        }
    }

    /// Takes one message off the front; `None` if it is not whole.
    fn take(&mut self) -> Option<BatchMessage<'a>> {
        let (_, rest) = self.rest.split_at_checked(IGNORED_SIZE)?;
        let (flag, rest) = rest.split_first_chunk::<4>()?;
        let (body_len, rest) = rest.split_first_chunk::<4>()?;
        let body_len = usize::try_from(i32::from_be_bytes(*body_len)).ok()?;
        let (body, rest) = rest.split_at_checked(body_len)?;
        let (properties_len, rest) = rest.split_first_chunk::<2>()?;
        let properties_len = usize::try_from(i16::from_be_bytes(*properties_len)).ok()?;
        let (properties, rest) = rest.split_at_checked(properties_len)?;
        self.rest = rest;
        self.index += 1;
        Some(BatchMessage {
            flag: i32::from_be_bytes(*flag),
            body,
            properties,
        })
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Result<BatchMessage<'a>, MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.take().ok_or_else(|| {
            self.rest = &[];
            MessageError::Batch { index: self.index }
        }))
    }
}

/// Checks that messages, given by topic and properties, may be sent as one batch
/// (`MessageBatch.generateFromList`).
///
/// # Errors
/// [`MessageError::NotForBatch`] if one is delayed or goes to a retry topic, or if they differ in
/// topic or in whether to wait until stored.
pub fn check_batch<'a>(
    messages: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), MessageError> {
    let mut first: Option<(&str, bool)> = None;
    for (topic, properties) in messages {
        let [wait, delays @ ..] = properties::get_each(
            properties,
            [
                property::WAIT_STORE_MSG_OK,
                property::DELAY_TIME_LEVEL,
                property::TIMER_DELAY_MS,
                property::TIMER_DELAY_SEC,
                property::TIMER_DELIVER_MS,
            ],
        );
        if delays
            .iter()
            .flatten()
            .any(|delay| delay.parse::<i64>().is_ok_and(|delay| delay > 0))
        {
            return Err(MessageError::NotForBatch(
                "Delayed messages are not supported for batching",
            ));
        }
        if topic.starts_with(RETRY_GROUP_TOPIC_PREFIX) {
            return Err(MessageError::NotForBatch(
                "Retry Group is not supported for batching",
            ));
        }
        let wait = wait.is_none_or(|wait| wait.eq_ignore_ascii_case("true"));
        let (first_topic, first_wait) = *first.get_or_insert((topic, wait));
        if first_topic != topic {
            return Err(MessageError::NotForBatch(
                "The topic of the messages in one batch should be the same",
            ));
        }
        if first_wait != wait {
            return Err(MessageError::NotForBatch(
                "The waitStoreMsgOK of the messages in one batch should the same",
            ));
        }
    }
    Ok(())
}
