//! Message ids: the offset message id the broker answers with, and the unique id the client
//! makes. Both are upper-case hexadecimal texts of a few big-endian numbers.
//!
//! | offset message id | bytes | | unique id | bytes |
//! |---|---|---|---|---|
//! | store host's address | 4 or 16 | | client's address | 4 or 16 |
//! | store host's port | 4 | | process id, the lower half | 2 |
//! | physical offset | 8 | | hash of the client's class loader | 4 |
//! | | | | milliseconds since the month began | 4 |
//! | | | | counter | 2 |
//!
//! So both have 32 digits with an IPv4 address and 56 with an IPv6 one. The month is that of the
//! client's own time zone. Sources in the reference: `MessageDecoder.createMessageId`,
//! `MessageClientIDSetter`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use super::MessageError;
use crate::calendar;

/// Bytes behind the address, in both ids.
const AFTER_ADDRESS: usize = 12;
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
const DAY_MS: i64 = 86_400_000;

/// Where a message lies: the id the broker gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OffsetMessageId {
    /// The broker that stored the message.
    pub host: SocketAddr,
    /// Where the record starts in its commit log.
    pub offset: i64,
}

impl OffsetMessageId {
    /// Reads an id; lower-case digits are fine.
    ///
    /// # Errors
    /// [`MessageError::Id`] if it has not 32 or 56 hexadecimal digits, or if the port is above
    /// 65535.
    pub fn decode(id: &str) -> Result<OffsetMessageId, MessageError> {
        let (ip, [p0, p1, p2, p3, offset @ ..]) = decode_hex(id)?;
        let port = u16::try_from(u32::from_be_bytes([p0, p1, p2, p3]))
            .map_err(|_| MessageError::Id(id.into()))?;
        Ok(OffsetMessageId {
            host: SocketAddr::new(ip, port),
            offset: i64::from_be_bytes(offset),
        })
    }

    /// Appends the id to a text.
    pub fn append_to(&self, out: &mut String) {
        out.reserve(if self.host.is_ipv4() { 32 } else { 56 });
        append_ip(self.host.ip(), out);
        append_hex(&u32::from(self.host.port()).to_be_bytes(), out);
        append_hex(&self.offset.to_be_bytes(), out);
    }
}

impl fmt::Display for OffsetMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut id = String::new();
        self.append_to(&mut id);
        f.write_str(&id)
    }
}

/// Who sent a message, when, and the how-manieth it was: the id a client gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UniqueId {
    /// The client's address.
    pub ip: IpAddr,
    /// The lower half of the client's process id.
    pub pid: u16,
    /// A number that tells apart clients of one process.
    pub loader_hash: i32,
    /// Milliseconds since the month began where the client was. A long month does not fit into
    /// the reference's signed number, which then wraps to the same bits.
    pub since_month_start: u32,
    /// Counts the client's messages.
    pub counter: u16,
}

impl UniqueId {
    /// Reads an id; lower-case digits are fine.
    ///
    /// # Errors
    /// [`MessageError::Id`] if it has not 32 or 56 hexadecimal digits.
    pub fn decode(id: &str) -> Result<UniqueId, MessageError> {
        let (ip, [p0, p1, l0, l1, l2, l3, t0, t1, t2, t3, c0, c1]) = decode_hex(id)?;
        Ok(UniqueId {
            ip,
            pid: u16::from_be_bytes([p0, p1]),
            loader_hash: i32::from_be_bytes([l0, l1, l2, l3]),
            since_month_start: u32::from_be_bytes([t0, t1, t2, t3]),
            counter: u16::from_be_bytes([c0, c1]),
        })
    }

    /// When the id was made, milliseconds since 1970: the latest time before `now_ms` that it
    /// can stand for. `utc_offset_ms` is the client's time zone, milliseconds east of UTC.
    pub fn made_at(&self, now_ms: i64, utc_offset_ms: i64) -> i64 {
        let since = i64::from(self.since_month_start);
        let this_month = month_start(now_ms, utc_offset_ms);
        if this_month.saturating_add(since) < now_ms {
            this_month + since
        } else {
            month_start(this_month.saturating_sub(1), utc_offset_ms).saturating_add(since)
        }
    }

    /// Appends the id to a text.
    pub fn append_to(&self, out: &mut String) {
        out.reserve(56);
        append_ip(self.ip, out);
        append_hex(&self.pid.to_be_bytes(), out);
        append_hex(&self.loader_hash.to_be_bytes(), out);
        append_hex(&self.since_month_start.to_be_bytes(), out);
        append_hex(&self.counter.to_be_bytes(), out);
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut id = String::new();
        self.append_to(&mut id);
        f.write_str(&id)
    }
}

/// Makes unique ids; may be shared between threads.
#[derive(Debug)]
pub struct UniqueIdGenerator {
    ip: IpAddr,
    pid: u16,
    loader_hash: i32,
    utc_offset_ms: i64,
    counter: AtomicU16,
}

impl UniqueIdGenerator {
    /// A generator that starts counting at 0.
    ///
    /// `loader_hash` tells apart several generators of one process: any number that the others
    /// do not have. `utc_offset_ms` is the time zone, milliseconds east of UTC; only who reads
    /// the time back from an id needs to know it.
    pub fn new(ip: IpAddr, pid: u32, loader_hash: i32, utc_offset_ms: i64) -> UniqueIdGenerator {
        let counter = AtomicU16::new(0);
        UniqueIdGenerator {
            ip,
            pid: pid as u16,
            loader_hash,
            utc_offset_ms,
            counter,
        }
    }

    /// The next id, at `now_ms` milliseconds since 1970. Ids of one millisecond differ as long
    /// as there are no more than 65536.
    pub fn next(&self, now_ms: i64) -> UniqueId {
        let since = now_ms.saturating_sub(month_start(now_ms, self.utc_offset_ms));
        UniqueId {
            ip: self.ip,
            pid: self.pid,
            loader_hash: self.loader_hash,
            since_month_start: since as u32,
            counter: self.counter.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// When the month of a time began in a time zone, both milliseconds since 1970.
fn month_start(at_ms: i64, utc_offset_ms: i64) -> i64 {
    let local = at_ms.saturating_add(utc_offset_ms);
    let days = local.div_euclid(DAY_MS);
    (days + 1 - calendar::date(days).2)
        .saturating_mul(DAY_MS)
        .saturating_sub(utc_offset_ms)
}

fn append_ip(ip: IpAddr, out: &mut String) {
    match ip {
        IpAddr::V4(ip) => append_hex(&ip.octets(), out),
        IpAddr::V6(ip) => append_hex(&ip.octets(), out),
    }
}

fn append_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 0xF)]));
    }
}

/// The address and what follows it.
fn decode_hex(id: &str) -> Result<(IpAddr, [u8; AFTER_ADDRESS]), MessageError> {
    let mut bytes = [0_u8; 16 + AFTER_ADDRESS];
    let error = || MessageError::Id(id.into());
    let len = match id.len() {
        32 => 16,
        56 => 28,
        _ => return Err(error()),
    };
    for (byte, digits) in bytes.iter_mut().zip(id.as_bytes().chunks_exact(2)) {
        for digit in digits {
            let value = char::from(*digit).to_digit(16).ok_or_else(error)?;
            *byte = *byte << 4 | value as u8;
        }
    }
    let (address, rest) = bytes
        .get(..len)
        .and_then(<[u8]>::split_last_chunk::<AFTER_ADDRESS>)
        .ok_or_else(error)?;
    let ip = match <[u8; 4]>::try_from(address) {
        Ok(octets) => IpAddr::V4(Ipv4Addr::from(octets)),
        Err(_) => {
            let octets = <[u8; 16]>::try_from(address).map_err(|_| error())?;
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    };
    Ok((ip, *rest))
}
