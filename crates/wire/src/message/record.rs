//! A message as it lies in the commit log; a pull or pop answer's body is a run of these.
//!
//! All integers are big-endian and signed. Sizes in bytes; `B` and `S` are the sizes of the two
//! host addresses: 8 (IPv4: 4 bytes address, 4 bytes port) or 20 (IPv6: 16 and 4), chosen by the
//! system flag's bits 0x10 (born host) and 0x20 (store host).
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | total size: of the whole record, this field included |
//! | 4 | 4 | magic: `0xDAA320A7` (V1) or `0xDAA320AB` (V2) |
//! | 8 | 4 | body CRC: CRC-32 of the body as stored & `0x7FFFFFFF`; 0 for an empty body |
//! | 12 | 4 | queue id |
//! | 16 | 4 | flag: the application's own |
//! | 20 | 8 | queue offset: the message's number in its queue |
//! | 28 | 8 | physical offset: of this record's first byte in the commit log |
//! | 36 | 4 | system flag ([`sys_flag::message`](super::sys_flag::message)) |
//! | 40 | 8 | born timestamp: producer's clock, milliseconds since 1970 |
//! | 48 | B | born host: the producer's address |
//! | 48+B | 8 | store timestamp: broker's clock, milliseconds since 1970 |
//! | 56+B | S | store host: the broker's address |
//! | 56+B+S | 4 | reconsume times |
//! | 60+B+S | 8 | prepared transaction offset |
//! | 68+B+S | 4 | body length |
//! | 72+B+S | | body, compressed if the system flag says so |
//! | | 1 or 2 | topic length: one byte (V1, at most 127) or two (V2, at most 32767) |
//! | | | topic, UTF-8 |
//! | | 2 | properties length, at most 32767 |
//! | | | properties, UTF-8 ([`properties`](super::properties)) |
//!
//! With `enabledAppendPropCRC` the last 20 bytes of the properties, and so of the record, are
//! the property `__CRC32#` `0x01` ten decimal digits, the least significant first, `0x02`: the
//! CRC-32 & `0x7FFFFFFF` of all bytes before.
//!
//! Where a record does not fit into the rest of a commit log file, the rest is a *blank*: 4 bytes
//! its size, 4 bytes magic `0xCBD43194`, and bytes of no meaning up to that size.
//!
//! Sources in Apache RocketMQ 5.5.0 ("the reference"): `MessageExtEncoder`, `MessageDecoder`,
//! `MessageVersion`, `CommitLog`.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

mod encode;

pub use encode::{RecordFields, encode_blank};

use super::sys_flag::message::{BORN_HOST_V6, STORE_HOST_V6};

/// Where the total size stands in a record.
pub const TOTAL_SIZE_POSITION: usize = 0;
/// Where the magic stands in a record.
pub const MAGIC_POSITION: usize = 4;
/// Where the body CRC stands in a record.
pub const BODY_CRC_POSITION: usize = 8;
/// Where the queue id stands in a record.
pub const QUEUE_ID_POSITION: usize = 12;
/// Where the flag stands in a record.
pub const FLAG_POSITION: usize = 16;
/// Where the queue offset stands in a record.
pub const QUEUE_OFFSET_POSITION: usize = 20;
/// Where the physical offset stands in a record.
pub const PHYSICAL_OFFSET_POSITION: usize = 28;
/// Where the system flag stands in a record.
pub const SYS_FLAG_POSITION: usize = 36;
/// Where the born timestamp stands in a record.
pub const BORN_TIMESTAMP_POSITION: usize = 40;
/// Where the born host stands in a record; what follows it moves with its size.
pub const BORN_HOST_POSITION: usize = 48;

/// The magic of a blank: the unused rest of a commit log file.
pub const BLANK_MAGIC: i32 = 0xCBD4_3194_u32 as i32;
/// Bytes of a blank that have a meaning; a file keeps at least that much free for it.
pub const BLANK_HEAD_SIZE: usize = 8;

/// The longest properties a record can carry, in bytes.
pub const MAX_PROPERTIES_LEN: usize = i16::MAX as usize;
/// Bytes of the property that holds the record's CRC.
pub const PROPERTIES_CRC_LEN: usize = 20;
/// The shortest record: V1, two IPv4 hosts, no body, topic or properties.
pub const MIN_RECORD_SIZE: usize = FIXED_SIZE + 2 * IPV4_HOST_SIZE + 1;

const IPV4_HOST_SIZE: usize = 8;
const IPV6_HOST_SIZE: usize = 20;
/// Everything but the hosts, the topic's length and the three texts.
const FIXED_SIZE: usize = 74;
/// From the end of the store host to the first byte of the body.
const BEFORE_BODY: usize = 16;

const PROPERTY_SEPARATOR: u8 = 2;
const CRC_PROPERTY_HEAD: &[u8; 9] = b"__CRC32#\x01";

/// The two layouts of a record (`MessageVersion`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordVersion {
    /// Topic length of one byte.
    #[default]
    V1,
    /// Topic length of two bytes.
    V2,
}

impl RecordVersion {
    /// The layout for a topic of so many bytes: V2 only where V1 cannot hold it.
    pub const fn for_topic_len(len: usize) -> RecordVersion {
        if len > i8::MAX as usize {
            RecordVersion::V2
        } else {
            RecordVersion::V1
        }
    }

    /// The layout a magic stands for; `None` for anything else, a blank included.
    pub const fn of_magic(magic: i32) -> Option<RecordVersion> {
        if magic == RecordVersion::V1.magic() {
            Some(RecordVersion::V1)
        } else if magic == RecordVersion::V2.magic() {
            Some(RecordVersion::V2)
        } else {
            None
        }
    }

    /// The number that marks a record of this layout.
    pub const fn magic(self) -> i32 {
        match self {
            RecordVersion::V1 => 0xDAA3_20A7_u32 as i32,
            RecordVersion::V2 => 0xDAA3_20AB_u32 as i32,
        }
    }

    const fn topic_length_size(self) -> usize {
        match self {
            RecordVersion::V1 => 1,
            RecordVersion::V2 => 2,
        }
    }

    const fn max_topic_len(self) -> usize {
        match self {
            RecordVersion::V1 => i8::MAX as usize,
            RecordVersion::V2 => i16::MAX as usize,
        }
    }
}

/// Why bytes are not a record, or a message cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The buffer ends before the record does.
    #[error("the record needs {needed} bytes, but only {available} are there")]
    Truncated {
        /// Bytes the record takes, or takes at least.
        needed: usize,
        /// Bytes given.
        available: usize,
    },
    /// The space has never been written: size and magic are zero.
    #[error("there is no record here, the space is unwritten")]
    Unwritten,
    /// The magic is not that of a record.
    #[error("0x{0:08x} is not the magic of a message record, so these bytes are no record")]
    Magic(i32),
    /// The total size is not the sum of the parts, or a part's length is impossible.
    #[error(
        "the record says it has {total} bytes, but its {part} does not fit: the record is damaged"
    )]
    Size {
        /// The record's own total size.
        total: i32,
        /// The part that does not fit.
        part: &'static str,
    },
    /// The body is not the one that was stored.
    #[error("the body's CRC is {actual}, but the record says {stored}: the body is damaged")]
    BodyCrc {
        /// CRC in the record.
        stored: u32,
        /// CRC of the bytes found.
        actual: u32,
    },
    /// The record is not the one that was stored.
    #[error(
        "the record's CRC is {actual}, but its property __CRC32# says {stored}: the record is damaged"
    )]
    RecordCrc {
        /// CRC in the record.
        stored: u32,
        /// CRC of the bytes found.
        actual: u32,
    },
    /// The record does not end in the property `__CRC32#`.
    #[error("the record carries no property __CRC32#, so it cannot be checked as a whole")]
    NoRecordCrc,
    /// The properties are too long to be stored.
    #[error("the properties have {0} bytes, more than the 32767 a message can have: shorten them")]
    PropertiesTooLong(usize),
    /// The topic is too long for the record's layout.
    #[error("the topic has {len} bytes, more than the {max} a record of this version can have")]
    TopicTooLong {
        /// Bytes of the topic.
        len: usize,
        /// Bytes the layout allows.
        max: usize,
    },
    /// The body is too long for any record.
    #[error("the record would have {0} bytes, more than 2147483647: send a smaller body")]
    TooLarge(usize),
}

/// What stands at a place of the commit log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LogEntry<'a> {
    /// A message.
    Record(RecordRef<'a>),
    /// The unused rest of the file, of so many bytes.
    Blank {
        /// Bytes from the blank's first to the file's end.
        size: u32,
    },
}

impl<'a> LogEntry<'a> {
    /// Reads the record or blank at the front of `bytes`.
    ///
    /// # Errors
    /// As [`RecordRef::parse`]; a blank smaller than its own head is a [`RecordError::Size`].
    pub fn parse(bytes: &'a [u8]) -> Result<LogEntry<'a>, RecordError> {
        let (total, magic) = size_and_magic(bytes)?;
        if magic == BLANK_MAGIC {
            return match u32::try_from(total) {
                Ok(size) if size as usize >= BLANK_HEAD_SIZE => Ok(LogEntry::Blank { size }),
                _ => Err(RecordError::Size {
                    total,
                    part: "head",
                }),
            };
        }
        RecordRef::parse(bytes).map(LogEntry::Record)
    }
}

/// CRC-32 & `0x7FFFFFFF`, as stored for bodies and records (`UtilAll.crc32`).
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes) & 0x7FFF_FFFF
}

/// Where the store timestamp stands in a record with this system flag.
pub const fn store_timestamp_position(sys_flag: i32) -> usize {
    BORN_HOST_POSITION + host_size(sys_flag, BORN_HOST_V6)
}

const fn host_size(sys_flag: i32, v6: i32) -> usize {
    if sys_flag & v6 == 0 {
        IPV4_HOST_SIZE
    } else {
        IPV6_HOST_SIZE
    }
}

fn size_and_magic(bytes: &[u8]) -> Result<(i32, i32), RecordError> {
    if bytes.len() < BLANK_HEAD_SIZE {
        return Err(RecordError::Truncated {
            needed: BLANK_HEAD_SIZE,
            available: bytes.len(),
        });
    }
    Ok((
        i32_at(bytes, TOTAL_SIZE_POSITION),
        i32_at(bytes, MAGIC_POSITION),
    ))
}

/// The integer at a place known to lie inside; 0 where it does not.
fn i32_at(bytes: &[u8], at: usize) -> i32 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => i32::from_be_bytes(*chunk),
        None => 0,
    }
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => i64::from_be_bytes(*chunk),
        None => 0,
    }
}

/// The text in bytes that nearly always are UTF-8, which is found out faster than what to replace.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

fn host_at(bytes: &[u8], at: usize, v6: bool) -> SocketAddr {
    let host = bytes.get(at..).unwrap_or_default();
    let (ip, port_at) = if v6 {
        let octets = host.first_chunk::<16>().copied().unwrap_or_default();
        (IpAddr::V6(Ipv6Addr::from(octets)), at + 16)
    } else {
        let octets = host.first_chunk::<4>().copied().unwrap_or_default();
        (IpAddr::V4(Ipv4Addr::from(octets)), at + 4)
    };
    SocketAddr::new(ip, i32_at(bytes, port_at) as u16)
}

/// A record read in place.
///
/// All lengths have been checked when it was made; the CRCs have not.
#[derive(Clone, Copy, PartialEq)]
pub struct RecordRef<'a> {
    /// Exactly the record.
    bytes: &'a [u8],
    version: RecordVersion,
    sys_flag: i32,
    body: &'a [u8],
    topic: &'a [u8],
    properties: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// Reads the record at the front of `bytes`, which may go on behind it.
    ///
    /// # Errors
    /// [`RecordError::Truncated`] if more bytes are needed, [`RecordError::Unwritten`] in zeroed
    /// space, [`RecordError::Magic`] for anything else that is no record (a blank included; see
    /// [`LogEntry`]), [`RecordError::Size`] if the lengths do not agree.
    pub fn parse(bytes: &'a [u8]) -> Result<RecordRef<'a>, RecordError> {
        let (total, magic) = size_and_magic(bytes)?;
        let Some(version) = RecordVersion::of_magic(magic) else {
            return Err(if total == 0 && magic == 0 {
                RecordError::Unwritten
            } else {
                RecordError::Magic(magic)
            });
        };
        let damaged = |part| RecordError::Size { total, part };
        let size = usize::try_from(total).map_err(|_| damaged("head"))?;
        if size < MIN_RECORD_SIZE {
            return Err(damaged("head"));
        }
        let available = bytes.len();
        let bytes = bytes.get(..size).ok_or(RecordError::Truncated {
            needed: size,
            available,
        })?;

        let sys_flag = i32_at(bytes, SYS_FLAG_POSITION);
        let body_at = body_position(sys_flag);
        let rest = bytes.get(body_at - 4..).ok_or(damaged("head"))?;
        let (body_len, rest) = rest.split_first_chunk::<4>().ok_or(damaged("head"))?;
        let body_len = usize::try_from(i32::from_be_bytes(*body_len));
        let (body, rest) = body_len
            .ok()
            .and_then(|len| rest.split_at_checked(len))
            .ok_or(damaged("body"))?;
        let (topic_len, rest) = match version {
            RecordVersion::V1 => {
                let (len, rest) = rest.split_first_chunk::<1>().ok_or(damaged("topic"))?;
                (i16::from(i8::from_be_bytes(*len)), rest)
            }
            RecordVersion::V2 => {
                let (len, rest) = rest.split_first_chunk::<2>().ok_or(damaged("topic"))?;
                (i16::from_be_bytes(*len), rest)
            }
        };
        let (topic, rest) = usize::try_from(topic_len)
            .ok()
            .and_then(|len| rest.split_at_checked(len))
            .ok_or(damaged("topic"))?;
        let (properties_len, properties) =
            rest.split_first_chunk::<2>().ok_or(damaged("properties"))?;
        if i64::from(i16::from_be_bytes(*properties_len)) != properties.len() as i64 {
            return Err(damaged("properties"));
        }
        Ok(RecordRef {
            bytes,
            version,
            sys_flag,
            body,
            topic,
            properties,
        })
    }

    /// The record itself.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the whole record.
    pub fn total_size(&self) -> usize {
        self.bytes.len()
    }

    /// The record's layout.
    pub fn version(&self) -> RecordVersion {
        self.version
    }

    /// CRC-32 & `0x7FFFFFFF` of the body, as stored.
    pub fn body_crc(&self) -> u32 {
        i32_at(self.bytes, BODY_CRC_POSITION) as u32
    }

    /// The queue the message was stored for.
    pub fn queue_id(&self) -> i32 {
        i32_at(self.bytes, QUEUE_ID_POSITION)
    }

    /// The application's own flag.
    pub fn flag(&self) -> i32 {
        i32_at(self.bytes, FLAG_POSITION)
    }

    /// The message's number in its queue.
    pub fn queue_offset(&self) -> i64 {
        i64_at(self.bytes, QUEUE_OFFSET_POSITION)
    }

    /// Where the record says it starts in the commit log.
    pub fn physical_offset(&self) -> i64 {
        i64_at(self.bytes, PHYSICAL_OFFSET_POSITION)
    }

    /// Bits of [`sys_flag::message`](super::sys_flag::message).
    pub fn sys_flag(&self) -> i32 {
        self.sys_flag
    }

    /// The producer's clock, milliseconds since 1970.
    pub fn born_timestamp(&self) -> i64 {
        i64_at(self.bytes, BORN_TIMESTAMP_POSITION)
    }

    /// The producer's address. Of the port's four bytes the lower two count.
    pub fn born_host(&self) -> SocketAddr {
        host_at(
            self.bytes,
            BORN_HOST_POSITION,
            self.sys_flag & BORN_HOST_V6 != 0,
        )
    }

    /// The broker's clock when it stored the message, milliseconds since 1970.
    pub fn store_timestamp(&self) -> i64 {
        i64_at(self.bytes, store_timestamp_position(self.sys_flag))
    }

    /// The broker's address. Of the port's four bytes the lower two count.
    pub fn store_host(&self) -> SocketAddr {
        let at = store_timestamp_position(self.sys_flag) + 8;
        host_at(self.bytes, at, self.sys_flag & STORE_HOST_V6 != 0)
    }

    /// How often the message was sent back by consumers.
    pub fn reconsume_times(&self) -> i32 {
        i32_at(self.bytes, body_position(self.sys_flag) - BEFORE_BODY)
    }

    /// The physical offset of the half message a commit or rollback belongs to, else 0.
    pub fn prepared_transaction_offset(&self) -> i64 {
        i64_at(self.bytes, body_position(self.sys_flag) - BEFORE_BODY + 4)
    }

    /// The body as stored, so perhaps compressed ([`body`](super::body) undoes that).
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The topic; bytes that are not UTF-8 become U+FFFD.
    pub fn topic(&self) -> Cow<'a, str> {
        text(self.topic)
    }

    /// The topic's bytes.
    pub fn topic_bytes(&self) -> &'a [u8] {
        self.topic
    }

    /// The properties' string; bytes that are not UTF-8 become U+FFFD.
    pub fn properties(&self) -> Cow<'a, str> {
        text(self.properties)
    }

    /// The bytes of the properties' string.
    pub fn properties_bytes(&self) -> &'a [u8] {
        self.properties
    }

    /// Compares the body with its CRC.
    ///
    /// # Errors
    /// [`RecordError::BodyCrc`] if they differ.
    pub fn check_body_crc(&self) -> Result<(), RecordError> {
        // The reference looks at no CRC where there is no body.
        if self.body.is_empty() {
            return Ok(());
        }
        let (stored, actual) = (self.body_crc(), crc32(self.body));
        if stored == actual {
            Ok(())
        } else {
            Err(RecordError::BodyCrc { stored, actual })
        }
    }

    /// The CRC of the whole record from its property `__CRC32#`, if the record ends in one.
    pub fn record_crc(&self) -> Option<u32> {
        let (_, tail) = self.properties.split_last_chunk::<PROPERTIES_CRC_LEN>()?;
        let digits = tail
            .strip_prefix(CRC_PROPERTY_HEAD)?
            .strip_suffix(&[PROPERTY_SEPARATOR])?;
        let mut crc: u64 = 0;
        for digit in digits.iter().rev() {
            crc = crc * 10 + u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
        u32::try_from(crc).ok()
    }

    /// Compares the whole record with its property `__CRC32#`.
    ///
    /// # Errors
    /// [`RecordError::NoRecordCrc`] if it has none, [`RecordError::RecordCrc`] if they differ.
    pub fn check_record_crc(&self) -> Result<(), RecordError> {
        let stored = self.record_crc().ok_or(RecordError::NoRecordCrc)?;
        let checked = self.bytes.len() - PROPERTIES_CRC_LEN;
        let actual = crc32(self.bytes.get(..checked).unwrap_or_default());
        if stored == actual {
            Ok(())
        } else {
            Err(RecordError::RecordCrc { stored, actual })
        }
    }
}

impl std::fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordRef")
            .field("topic", &self.topic())
            .field("queue_id", &self.queue_id())
            .field("queue_offset", &self.queue_offset())
            .field("physical_offset", &self.physical_offset())
            .field("total_size", &self.total_size())
            .finish_non_exhaustive()
    }
}

const fn body_position(sys_flag: i32) -> usize {
    store_timestamp_position(sys_flag) + 8 + host_size(sys_flag, STORE_HOST_V6) + BEFORE_BODY
}
