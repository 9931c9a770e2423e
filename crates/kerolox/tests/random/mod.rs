//! Random choices that can be repeated.

use std::time::UNIX_EPOCH;

/// A generator of random numbers (xorshift64*).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// One with a seed of its own, which it prints; `KEROLOX_SEED` sets it, to repeat a test.
    pub(crate) fn printed() -> Random {
        let set = std::env::var("KEROLOX_SEED").ok();
        let set = set.and_then(|seed| seed.parse().ok());
        let now = || UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
        let seed = set.unwrap_or_else(now);
        println!("KEROLOX_SEED={seed} repeats the random choices");
        Random::seeded(seed)
    }

    /// The same choices for the same seed.
    pub(crate) fn seeded(seed: u64) -> Random {
        // Neighbouring seeds give different choices; the state must not be 0.
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        number as usize % end
    }

    /// So many random bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 4);
        while bytes.len() < count {
            let four = self.below(1 << 32) as u32;
            bytes.extend_from_slice(&four.to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
