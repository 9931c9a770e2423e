//! Bloom filters, whose bits stand for consumers (`BloomFilter`, `BloomFilterData`).

use serde::{Deserialize, Serialize};

/// How texts become bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BloomFilter {
    /// Bits that stand for a text.
    hashes: i32,
    /// Bits in all, a multiple of 8.
    bits: i32,
}

/// The bits that stand for a text.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BloomFilterData {
    /// Bits in all.
    pub(super) bit_num: i32,
    /// Their numbers, from 0.
    pub(super) bit_pos: Vec<i32>,
}

impl BloomFilter {
    /// A filter for an expected number of texts, which takes another one for one of them in at most
    /// so many of a hundred cases.
    pub(super) fn new(error_rate: u32, expected: u32) -> Self {
        let log2 = |x: f64| x.ln() / 2_f64.ln();
        let error_rate = f64::from(error_rate) / 100.0;
        let hashes = (error_rate.ln() / 0.5_f64.ln()).ceil() as i32;
        let bits = f64::from(expected) * log2(1.0 / error_rate) * log2(std::f64::consts::E);
        let bits = (8.0 * (bits.ceil() / 8.0).ceil()) as i32;
        Self { hashes, bits }
    }

    /// The bits that stand for a text (`calcBitPositions`).
    pub(super) fn data(self, text: &str) -> BloomFilterData {
        let hash = murmur3(text.as_bytes());
        let (low, high) = (hash as i32, (hash >> 32) as i32);
        let position = |index: i32| {
            let combined = low.wrapping_add(index.wrapping_mul(high));
            (if combined < 0 { !combined } else { combined }) % self.bits
        };
        BloomFilterData {
            bit_num: self.bits,
            bit_pos: (1..=self.hashes).map(position).collect(),
        }
    }

    /// No text's bits.
    pub(super) fn none(self) -> Vec<u8> {
        vec![0; (self.bits / 8).unsigned_abs() as usize]
    }

    /// Whether bits are those of a text in this filter (`isValid`).
    pub(super) fn owns(self, data: &BloomFilterData) -> bool {
        data.bit_num == self.bits && data.bit_pos.len() == self.hashes as usize
    }
}

impl BloomFilterData {
    /// Adds the bits to those of others, the first bit of a byte being its lowest (`hashTo`).
    pub(super) fn add_to(&self, bits: &mut [u8]) {
        for position in &self.bit_pos {
            let at = position.unsigned_abs() as usize;
            if let Some(byte) = bits.get_mut(at / 8) {
                *byte |= 1 << (at % 8);
            }
        }
    }

    /// Whether all of the bits are there; also where they are not of the same filter (`isHit`).
    pub(super) fn may_be_in(&self, bits: &[u8]) -> bool {
        let has = |position: &i32| {
            let at = position.unsigned_abs() as usize;
            bits.get(at / 8)
                .is_none_or(|byte| byte & (1 << (at % 8)) != 0)
        };
        bits.len() * 8 != self.bit_num.unsigned_abs() as usize || self.bit_pos.iter().all(has)
    }
}

/// The first 64 bits of MurmurHash3's 128, for 64-bit machines, with the seed 0.
fn murmur3(bytes: &[u8]) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let last = |mut h: u64| {
        h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^ (h >> 33)
    };
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, rest) = bytes.as_chunks::<8>();
    let (pairs, single) = blocks.as_chunks::<2>();
    for [first, second] in pairs {
        h1 ^= mix1(u64::from_le_bytes(*first));
        h1 = h1.rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(u64::from_le_bytes(*second));
        h2 = h2.rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let rest = rest
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte));
    match single {
        [first, ..] => {
            h1 ^= mix1(u64::from_le_bytes(*first));
            h2 ^= mix2(rest);
        }
        [] => h1 ^= mix1(rest),
    }
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    last(h1).wrapping_add(last(h2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the reference's class answers: error rate, expected texts, text, bits in all, bits.
    #[test]
    fn the_bits_are_the_references() {
        let long = "long-".repeat(40);
        let cases: &[(u32, u32, &str, i32, &[i32])] = &[
            (10, 128, "GID_test#TopicTest", 616, &[424, 414, 404, 221]),
            (10, 128, "", 616, &[0, 0, 0, 0]),
            (10, 128, "a", 616, &[262, 603, 287, 365]),
            (10, 128, "你好", 616, &[201, 123, 570, 32]),
            (10, 128, "CID_🚀", 616, &[327, 187, 390, 593]),
            (10, 128, &long, 616, &[395, 411, 602, 134]),
            (20, 32, "GID_test#TopicTest", 112, &[32, 78, 12]),
            (20, 32, "CID_🚀", 112, &[103, 19, 110]),
            (20, 64, "shipping#orders", 216, &[72, 186, 84]),
        ];
        for (error_rate, expected, text, bits, positions) in cases {
            let filter = BloomFilter::new(*error_rate, *expected);
            let data = filter.data(text);
            assert_eq!(
                (data.bit_num, &*data.bit_pos),
                (*bits, *positions),
                "{text}"
            );
            assert!(filter.owns(&data));
            let mut bits = filter.none();
            assert!(!data.may_be_in(&bits));
            data.add_to(&mut bits);
            assert!(data.may_be_in(&bits));
            let set: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
            assert!(set as usize <= positions.len());
            assert!(!BloomFilter::new(1, 32).owns(&data));
        }
    }
}
