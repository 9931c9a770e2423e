//! HPACK (RFC 7541): the headers of HTTP/2, read where a connection may have begun unseen.
//!
//! A library's decoder gives up when a header names an entry of the dynamic table that it has not
//! seen made. Here that header alone is left out.

use std::collections::VecDeque;

/// Bytes of the dynamic table, as a connection begins, and the most that are believed.
const TABLE_SIZE: usize = 4_096;
const MAX_TABLE_SIZE: usize = 64 << 10;
/// What an entry counts beside its texts.
const ENTRY_SIZE: usize = 32;
/// Bytes of a text that is read.
const MAX_TEXT: usize = 64 << 10;

/// The static table: names with values, from index 1 on.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Bits of the code of each byte. The codes follow from them: the shorter come first, and of one
/// length those of the smaller bytes.
const CODE_LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
/// Bits of the longest code.
const LONGEST_CODE: usize = 30;

/// A header's name and value.
pub(crate) type Header = (Box<str>, Box<str>);

/// Reads the header blocks of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The newest first.
    dynamic: VecDeque<Header>,
    size: usize,
    max_size: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            dynamic: VecDeque::new(),
            size: 0,
            max_size: TABLE_SIZE,
        }
    }
}

impl Decoder {
    /// The headers of a block as far as they can be read. Those that name an entry of the dynamic
    /// table which was not seen made are left out.
    pub(crate) fn decode(&mut self, mut block: &[u8]) -> Vec<Header> {
        let mut headers = Vec::new();
        while !block.is_empty() && self.field(&mut block, &mut headers).is_some() {}
        headers
    }

    /// Reads a field; `None` if the block breaks off in it.
    fn field(&mut self, block: &mut &[u8], headers: &mut Vec<Header>) -> Option<()> {
        let first = *block.first()?;
        if first & 0x80 != 0 {
            let index = integer(block, 7)?;
            headers.extend(self.entry(index));
            return Some(());
        }
        if first & 0xe0 == 0x20 {
            self.max_size = integer(block, 5)?.min(MAX_TABLE_SIZE);
            self.evict();
            return Some(());
        }
        let indexed = first & 0x40 != 0;
        let index = integer(block, if indexed { 6 } else { 4 })?;
        let name = match index {
            0 => Some(text(block)?),
            index => self.entry(index).map(|(name, _)| name),
        };
        let value = text(block)?;
        // A name that is not known makes an entry all the same, so that the others keep their
        // places.
        let header = (name.unwrap_or_default(), value);
        if indexed {
            self.size += header.0.len() + header.1.len() + ENTRY_SIZE;
            self.dynamic.push_front(header.clone());
            self.evict();
        }
        if !header.0.is_empty() {
            headers.push(header);
        }
        Some(())
    }

    fn entry(&self, index: usize) -> Option<Header> {
        let index = index.checked_sub(1)?;
        match STATIC.get(index) {
            Some((name, value)) => Some(((*name).into(), (*value).into())),
            None => self.dynamic.get(index - STATIC.len()).cloned(),
        }
    }

    fn evict(&mut self) {
        while self.size > self.max_size
            && let Some((name, value)) = self.dynamic.pop_back()
        {
            self.size -= name.len() + value.len() + ENTRY_SIZE;
        }
    }
}

/// An integer whose first bits are the lower `bits` of the first byte (section 5.1).
fn integer(block: &mut &[u8], bits: u32) -> Option<usize> {
    let mut take = || {
        let (first, rest) = block.split_first()?;
        *block = rest;
        Some(usize::from(*first))
    };
    let most = (1 << bits) - 1;
    let mut value = take()? & most;
    if value < most {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = take()?;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A text, plain or coded (section 5.2).
fn text(block: &mut &[u8]) -> Option<Box<str>> {
    let coded = block.first()? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length)?;
    *block = rest;
    if bytes.len() > MAX_TEXT {
        return Some(Box::default());
    }
    if !coded {
        return Some(String::from_utf8_lossy(bytes).into());
    }
    Some(String::from_utf8_lossy(&uncoded(bytes)).into())
}

/// Undoes the Huffman code; what is no code ends the text.
fn uncoded(bytes: &[u8]) -> Vec<u8> {
    let codes = codes();
    let mut plain = Vec::with_capacity(bytes.len() * 2);
    let (mut code, mut length) = (0_u32, 0_usize);
    for byte in bytes {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            let Some(group) = codes.get(length) else {
                return plain;
            };
            if let Some(index) = code.checked_sub(group.first)
                && let Some(symbol) = group.symbols.get(index as usize)
            {
                plain.push(*symbol);
                (code, length) = (0, 0);
            }
        }
    }
    plain
}

/// The codes of one length.
#[derive(Debug, Default)]
struct Group {
    /// The first code.
    first: u32,
    /// What it and the following ones stand for.
    symbols: Vec<u8>,
}

fn codes() -> &'static [Group] {
    static CODES: std::sync::LazyLock<Vec<Group>> = std::sync::LazyLock::new(|| {
        let mut groups: Vec<Group> = Vec::new();
        let mut next = 0;
        for length in 0..=LONGEST_CODE {
            next <<= 1;
            let symbols = (0..=u8::MAX).zip(CODE_LENGTHS);
            let symbols = symbols.filter(|(_, bits)| usize::from(*bits) == length);
            let symbols: Vec<u8> = symbols.map(|(symbol, _)| symbol).collect();
            let count = symbols.len() as u32;
            groups.push(Group {
                first: next,
                symbols,
            });
            next += count;
        }
        groups
    });
    &CODES
}
