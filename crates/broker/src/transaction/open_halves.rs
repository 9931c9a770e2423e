//! Which half messages are open: neither committed nor rolled back nor put back.

use std::collections::{HashMap, VecDeque};

/// The most copies that are remembered, at some 50 bytes each.
const MAX_COPIES: usize = 1_000_000;

const BITS: i64 = u64::BITS as i64;

/// A bit for each half message from the first open one on, by its number in the half queue.
#[derive(Debug, Default)]
pub(super) struct OpenHalves {
    /// Number of the first bit's message, a multiple of 64. All messages before it are settled.
    base: i64,
    /// Set where the message is settled; open behind the last word.
    settled: VecDeque<u64>,
    /// The open copy of a half message that was put back, by the number that its producer knows.
    copies: HashMap<i64, i64>,
}

impl OpenHalves {
    /// All messages before `first` are settled.
    pub(super) fn from(first: i64) -> Self {
        let base = first.max(0) / BITS * BITS;
        let mut halves = Self {
            base,
            ..Self::default()
        };
        (base..first).for_each(|offset| halves.settle(offset));
        halves
    }

    /// Whether a message is committed, rolled back, put back or given up.
    pub(super) fn is_settled(&self, offset: i64) -> bool {
        let word = |index: usize| self.settled.get(index).copied().unwrap_or(0);
        self.place(offset)
            .is_none_or(|(index, bit)| word(index) & bit != 0)
    }

    /// Closes a message. It takes a bit for each message between the first open one and this one.
    pub(super) fn settle(&mut self, offset: i64) {
        let Some((index, bit)) = self.place(offset) else {
            return;
        };
        if self.settled.len() <= index {
            self.settled.resize(index + 1, 0);
        }
        if let Some(word) = self.settled.get_mut(index) {
            *word |= bit;
        }
        while self.settled.front() == Some(&u64::MAX) {
            self.settled.pop_front();
            self.base += BITS;
        }
    }

    /// The first open message from a number on.
    pub(super) fn next_open(&self, from: i64) -> i64 {
        let mut offset = from.max(self.base);
        while let Some((index, bit)) = self.place(offset) {
            let Some(word) = self.settled.get(index) else {
                break;
            };
            let open = !word & !(bit - 1);
            let start = offset / BITS * BITS;
            if open != 0 {
                return start + i64::from(open.trailing_zeros());
            }
            offset = start + BITS;
        }
        offset
    }

    /// The open message by which to end a transaction: the one that was named, or the copy that
    /// took its place. `original` is the number that the producer was told first.
    pub(super) fn to_end(&self, named: i64, original: i64) -> Option<i64> {
        if !self.is_settled(named) {
            return Some(named);
        }
        self.copies.get(&original).copied()
    }

    /// Takes note of the copy that took a message's place.
    pub(super) fn put_back(&mut self, original: i64, copy: i64) {
        if self.copies.len() < MAX_COPIES || self.copies.contains_key(&original) {
            self.copies.insert(original, copy);
        }
    }

    /// Forgets the copies of a message, whose transaction has ended.
    pub(super) fn forget_copy(&mut self, original: i64) {
        self.copies.remove(&original);
    }

    fn place(&self, offset: i64) -> Option<(usize, u64)> {
        let distance = offset.checked_sub(self.base).filter(|&far| far >= 0)?;
        let index = usize::try_from(distance / BITS).ok()?;
        Some((index, 1 << (distance % BITS)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_knows_what_is_open_like_a_set_of_numbers(
            first in 0..200_i64,
            settled in proptest::collection::vec(0..600_i64, 0..500),
        ) {
            let mut halves = OpenHalves::from(first);
            let mut open: BTreeSet<i64> = (first..1000).collect();
            for offset in settled {
                halves.settle(offset);
                open.remove(&offset);
                prop_assert!(halves.is_settled(offset));
                prop_assert_eq!(Some(halves.next_open(0)), open.first().copied());
            }
            let mut found = Vec::new();
            let mut at = halves.next_open(0);
            while at < 1000 {
                found.push(at);
                at = halves.next_open(at + 1);
            }
            prop_assert_eq!(found, open.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_settled_in_front_takes_no_memory() {
        let mut halves = OpenHalves::from(0);
        (0..1_000_000).for_each(|offset| halves.settle(offset));
        assert!(halves.settled.len() <= 1);
        assert!(halves.settled.capacity() < 64);
    }
}
