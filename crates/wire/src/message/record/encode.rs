//! Making records.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};

use super::super::sys_flag::message::{BORN_HOST_V6, STORE_HOST_V6};
use super::{
    BLANK_MAGIC, CRC_PROPERTY_HEAD, FIXED_SIZE, IPV6_HOST_SIZE, MAX_PROPERTIES_LEN,
    PROPERTIES_CRC_LEN, PROPERTY_SEPARATOR, RecordError, RecordVersion, crc32, host_size,
};

const CRC_DIGITS: usize = 10;
/// Up to the body, with two IPv6 hosts.
const MAX_HEAD_SIZE: usize = 72 + 2 * IPV6_HOST_SIZE;

/// Appends the head of a blank of `size` bytes, itself included; what follows it has no meaning.
pub fn encode_blank(size: u32, out: &mut BytesMut) {
    out.put_u32(size);
    out.put_i32(BLANK_MAGIC);
}

/// The parts of a message from which a record is made.
///
/// The body CRC is computed, and the bits of the system flag that tell the hosts' address
/// families are set from the hosts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordFields<'a> {
    /// The layout.
    pub version: RecordVersion,
    /// Queue the message goes to.
    pub queue_id: i32,
    /// The application's own flag.
    pub flag: i32,
    /// Number in the queue.
    pub queue_offset: i64,
    /// Place in the commit log.
    pub physical_offset: i64,
    /// Bits of [`sys_flag::message`](crate::message::sys_flag::message).
    pub sys_flag: i32,
    /// Producer's clock, milliseconds since 1970.
    pub born_timestamp: i64,
    /// Producer's address; an IPv4 address mapped into IPv6 should be given as IPv4.
    pub born_host: SocketAddr,
    /// Broker's clock, milliseconds since 1970.
    pub store_timestamp: i64,
    /// Broker's address.
    pub store_host: SocketAddr,
    /// How often the message was sent back by consumers.
    pub reconsume_times: i32,
    /// Physical offset of the half message, for a commit or rollback.
    pub prepared_transaction_offset: i64,
    /// The body, compressed if `sys_flag` says so.
    pub body: &'a [u8],
    /// The topic.
    pub topic: &'a str,
    /// The properties' string, as the producer sent it.
    pub properties: &'a [u8],
    /// More properties (the broker's own), written behind the others without joining the two
    /// first; a separator is put between where `properties` does not end in one.
    pub more_properties: &'a [u8],
    /// Whether the property `__CRC32#` ends the record.
    pub append_record_crc: bool,
}

impl RecordFields<'_> {
    /// Bytes of the record.
    pub fn encoded_len(&self) -> usize {
        FIXED_SIZE
            + host_size(self.encoded_sys_flag(), BORN_HOST_V6)
            + host_size(self.encoded_sys_flag(), STORE_HOST_V6)
            + self.body.len()
            + self.version.topic_length_size()
            + self.topic.len()
            + self.properties_len()
    }

    /// Bytes of the properties in the record.
    fn properties_len(&self) -> usize {
        let crc = if self.append_record_crc {
            PROPERTIES_CRC_LEN
        } else {
            0
        };
        self.properties.len()
            + usize::from(self.separates_properties())
            + self.more_properties.len()
            + usize::from(self.separates_crc())
            + crc
    }

    fn separates_properties(&self) -> bool {
        !self.more_properties.is_empty() && lacks_separator(self.properties)
    }

    fn separates_crc(&self) -> bool {
        let last = if self.more_properties.is_empty() {
            self.properties
        } else {
            self.more_properties
        };
        self.append_record_crc && lacks_separator(last)
    }

    fn encoded_sys_flag(&self) -> i32 {
        let born = if self.born_host.is_ipv6() {
            BORN_HOST_V6
        } else {
            0
        };
        let store = if self.store_host.is_ipv6() {
            STORE_HOST_V6
        } else {
            0
        };
        (self.sys_flag & !(BORN_HOST_V6 | STORE_HOST_V6)) | born | store
    }

    /// Appends the record to `out` and returns its size in bytes. Nothing is appended on error.
    ///
    /// # Errors
    /// [`RecordError::PropertiesTooLong`], [`RecordError::TopicTooLong`] or
    /// [`RecordError::TooLarge`] if the record cannot hold the message.
    pub fn encode_into(&self, out: &mut BytesMut) -> Result<usize, RecordError> {
        let properties_len = self.properties_len();
        if properties_len > MAX_PROPERTIES_LEN {
            return Err(RecordError::PropertiesTooLong(properties_len));
        }
        let max = self.version.max_topic_len();
        if self.topic.len() > max {
            return Err(RecordError::TopicTooLong {
                len: self.topic.len(),
                max,
            });
        }
        let size = self.encoded_len();
        let total = i32::try_from(size).map_err(|_| RecordError::TooLarge(size))?;

        let mut head = Head::new();
        head.put(total.to_be_bytes());
        head.put(self.version.magic().to_be_bytes());
        head.put(crc32(self.body).to_be_bytes());
        head.put(self.queue_id.to_be_bytes());
        head.put(self.flag.to_be_bytes());
        head.put(self.queue_offset.to_be_bytes());
        head.put(self.physical_offset.to_be_bytes());
        head.put(self.encoded_sys_flag().to_be_bytes());
        head.put(self.born_timestamp.to_be_bytes());
        head.put_host(self.born_host);
        head.put(self.store_timestamp.to_be_bytes());
        head.put_host(self.store_host);
        head.put(self.reconsume_times.to_be_bytes());
        head.put(self.prepared_transaction_offset.to_be_bytes());
        head.put((self.body.len() as u32).to_be_bytes());

        out.reserve(size);
        let start = out.len();
        out.put_slice(head.as_bytes());
        out.put_slice(self.body);
        match self.version {
            RecordVersion::V1 => out.put_u8(self.topic.len() as u8),
            RecordVersion::V2 => out.put_u16(self.topic.len() as u16),
        }
        out.put_slice(self.topic.as_bytes());
        out.put_u16(properties_len as u16);
        out.put_slice(self.properties);
        if self.separates_properties() {
            out.put_u8(PROPERTY_SEPARATOR);
        }
        out.put_slice(self.more_properties);
        if self.separates_crc() {
            out.put_u8(PROPERTY_SEPARATOR);
        }
        if self.append_record_crc {
            let crc = crc32(out.get(start..).unwrap_or_default());
            out.put_slice(&crc_property(crc));
        }
        Ok(size)
    }
}

fn lacks_separator(properties: &[u8]) -> bool {
    properties
        .last()
        .is_some_and(|last| *last != PROPERTY_SEPARATOR)
}

fn crc_property(mut crc: u32) -> [u8; PROPERTIES_CRC_LEN] {
    let mut property = [PROPERTY_SEPARATOR; PROPERTIES_CRC_LEN];
    let (head, digits) = property.split_at_mut(CRC_PROPERTY_HEAD.len());
    head.copy_from_slice(CRC_PROPERTY_HEAD);
    for digit in digits.iter_mut().take(CRC_DIGITS) {
        *digit = b'0' + (crc % 10) as u8;
        crc /= 10;
    }
    property
}

/// Everything before the body, put together on the stack: one append to the buffer instead of
/// fifteen, each of which would look for room.
struct Head {
    bytes: [u8; MAX_HEAD_SIZE],
    len: usize,
}

impl Head {
    fn new() -> Head {
        Head {
            bytes: [0; MAX_HEAD_SIZE],
            len: 0,
        }
    }

    fn put<const N: usize>(&mut self, value: [u8; N]) {
        if let Some(place) = self
            .bytes
            .get_mut(self.len..)
            .and_then(<[u8]>::first_chunk_mut)
        {
            *place = value;
            self.len += N;
        }
    }

    fn put_host(&mut self, host: SocketAddr) {
        match host.ip() {
            IpAddr::V4(ip) => self.put(ip.octets()),
            IpAddr::V6(ip) => self.put(ip.octets()),
        }
        self.put(u32::from(host.port()).to_be_bytes());
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
