//! The local time zone, from the system's zone file (TZif, RFC 8536).

use std::path::{Path, PathBuf};

/// Seconds that local time is ahead of UTC at a time in seconds since 1970; 0 where the zone is
/// not known.
pub(crate) fn utc_offset_seconds(at: i64) -> i32 {
    zone_file()
        .and_then(|path| std::fs::read(path).ok())
        .and_then(|bytes| offset_in(&bytes, at))
        .unwrap_or(0)
}

/// The file of the zone in the variable `TZ` or else of the system.
fn zone_file() -> Option<PathBuf> {
    match std::env::var("TZ") {
        Ok(name) => {
            let name = name.trim_start_matches(':');
            if name.is_empty() {
                return None;
            }
            // An absolute name stays as it is.
            Some(Path::new("/usr/share/zoneinfo").join(name))
        }
        Err(_) => Some(PathBuf::from("/etc/localtime")),
    }
}

/// The offset in force at a time. After the table's last transition its offset stays: the rules
/// that may follow the table are not read, so that summer time can be missed there.
fn offset_in(bytes: &[u8], at: i64) -> Option<i32> {
    let (header, body) = split(bytes)?;
    if bytes.get(4) == Some(&0) {
        return header.offset(body, at, 4);
    }
    // Version 2 and later repeat everything with 8-byte times.
    let (header, body) = split(body.get(header.size(4)..)?)?;
    header.offset(body, at, 8)
}

struct Header {
    utc_indicators: usize,
    standard_indicators: usize,
    leaps: usize,
    times: usize,
    types: usize,
    characters: usize,
}

fn split(bytes: &[u8]) -> Option<(Header, &[u8])> {
    if !bytes.starts_with(b"TZif") {
        return None;
    }
    let count = |at: usize| {
        let bytes = bytes.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_be_bytes(*bytes)).ok()
    };
    let header = Header {
        utc_indicators: count(20)?,
        standard_indicators: count(24)?,
        leaps: count(28)?,
        times: count(32)?,
        types: count(36)?,
        characters: count(40)?,
    };
    Some((header, bytes.get(44..)?))
}

impl Header {
    fn size(&self, time: usize) -> usize {
        self.times * (time + 1)
            + self.types * 6
            + self.characters
            + self.leaps * (time + 4)
            + self.standard_indicators
            + self.utc_indicators
    }

    fn offset(&self, body: &[u8], at: i64, time: usize) -> Option<i32> {
        let times = body.get(..self.times * time)?;
        let before = times
            .chunks_exact(time)
            .take_while(|bytes| {
                let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
                let start = if negative { -1 } else { 0 };
                bytes
                    .iter()
                    .fold(start, |value: i64, byte| value << 8 | i64::from(*byte))
                    <= at
            })
            .count();
        let kind = match before.checked_sub(1) {
            Some(last) => usize::from(*body.get(self.times * time + last)?),
            None => 0,
        };
        let record = body.get(self.times * (time + 1) + kind * 6..)?;
        Some(i32::from_be_bytes(*record.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zone of two kinds of time: +1 h, and +2 h between the seconds 1000 and 2000.
    fn zone(time: usize) -> Vec<u8> {
        let mut body = Vec::new();
        for at in [1000_i64, 2000] {
            body.extend_from_slice(&at.to_be_bytes()[8 - time..]);
        }
        body.extend_from_slice(&[1, 0]);
        for offset in [3600_i32, 7200] {
            body.extend_from_slice(&offset.to_be_bytes());
            body.extend_from_slice(&[0, 0]);
        }
        body.extend_from_slice(b"XY\0");
        body
    }

    fn header(version: u8) -> Vec<u8> {
        let mut bytes = b"TZif".to_vec();
        bytes.push(version);
        bytes.extend_from_slice(&[0; 15]);
        for count in [0_u32, 0, 0, 2, 2, 3] {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn the_offset_follows_the_transitions() {
        let old = [header(0), zone(4)].concat();
        let new = [header(b'2'), zone(4), header(b'2'), zone(8)].concat();
        for bytes in [old, new] {
            for (at, offset) in [
                (-5, 3600),
                (999, 3600),
                (1000, 7200),
                (1999, 7200),
                (2000, 3600),
            ] {
                assert_eq!(offset_in(&bytes, at), Some(offset), "{at}");
            }
            for cut in 0..bytes.len() {
                // A damaged file gives some answer or none.
                let _ = offset_in(&bytes[..cut], 5000);
            }
        }
    }
}
