//! The youngest bytes of the log, in memory.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// What was appended last, as the pieces it was appended in, without gaps.
pub(crate) struct TailCache {
    pieces: VecDeque<Piece>,
    /// Bytes in `pieces`.
    size: usize,
    limit: usize,
}

struct Piece {
    start: i64,
    bytes: Bytes,
}

impl Piece {
    fn end(&self) -> i64 {
        self.start + self.bytes.len() as i64
    }
}

impl TailCache {
    /// Keeps at most `limit` bytes; 0 keeps none.
    pub(crate) fn new(limit: usize) -> TailCache {
        TailCache {
            pieces: VecDeque::new(),
            size: 0,
            limit,
        }
    }

    /// Adds what was just appended at a position and forgets what is too much. Returns memory
    /// that nobody uses any more, so that what is appended next can go there: new memory costs
    /// the system more than filling it.
    pub(crate) fn push(&mut self, start: i64, bytes: Bytes) -> Option<BytesMut> {
        // Behind the rest of a file that was left blank nothing is contiguous; that needs no
        // special care, since nobody asks for those bytes.
        self.size += bytes.len();
        self.pieces.push_back(Piece { start, bytes });
        let mut unused = None;
        while self.size > self.limit {
            let Some(oldest) = self.pieces.pop_front() else {
                break;
            };
            self.size -= oldest.bytes.len();
            unused = oldest.bytes.try_into_mut().ok().or(unused);
        }
        unused
    }

    /// The bytes from a position on, if they are in one piece, as a record always is.
    pub(crate) fn get(&self, start: i64, len: usize) -> Option<Bytes> {
        let piece = self.find(start)?;
        let at = usize::try_from(start - piece.start).ok()?;
        let end = at.checked_add(len)?;
        (end <= piece.bytes.len()).then(|| piece.bytes.slice(at..end))
    }

    /// The bytes from a position to the end of the piece they are in.
    pub(crate) fn rest(&self, start: i64) -> Option<Bytes> {
        let piece = self.find(start)?;
        let at = usize::try_from(start - piece.start).ok()?;
        Some(piece.bytes.slice(at..))
    }

    /// As [`get`](TailCache::get), without sharing them.
    pub(crate) fn peek(&self, start: i64, len: usize) -> Option<&[u8]> {
        let piece = self.find(start)?;
        let at = usize::try_from(start - piece.start).ok()?;
        piece.bytes.get(at..at.checked_add(len)?)
    }

    fn find(&self, position: i64) -> Option<&Piece> {
        // Most readers are at the very end.
        let last = self.pieces.back()?;
        if position >= last.start {
            return (position < last.end()).then_some(last);
        }
        let behind = self.pieces.partition_point(|piece| piece.end() <= position);
        self.pieces
            .get(behind)
            .filter(|piece| piece.start <= position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_the_oldest_goes() {
        let mut cache = TailCache::new(10);
        cache.push(0, Bytes::from_static(b"aaaa"));
        cache.push(4, Bytes::from_static(b"bbbb"));
        assert_eq!(cache.get(0, 4).unwrap(), "aaaa");
        cache.push(100, Bytes::from_static(b"cdef"));
        assert_eq!(cache.get(0, 4), None);
        assert_eq!(cache.get(4, 4).unwrap(), "bbbb");
        assert_eq!(cache.peek(101, 2).unwrap(), b"de");
        assert_eq!(cache.get(101, 4), None, "not all of it");
        assert_eq!(cache.get(8, 1), None, "a blank");
        assert_eq!(cache.get(104, 1), None);
    }

    #[test]
    fn a_piece_larger_than_the_limit_is_not_kept() {
        let mut cache = TailCache::new(3);
        cache.push(0, Bytes::from_static(b"aaaa"));
        assert_eq!(cache.get(0, 1), None);
    }
}
