//! A filter over the ids of traces: answers "never seen" for certain, "seen" but for a few in a hundred.

/// Words of 64 bits in a block: one line of the processor's cache.
const WORDS: usize = 8;

/// Blocks of a filter; a quarter of a mebibyte in all.
const BLOCKS: usize = 1 << 12;

/// Bits set for a trace, all in one block.
const BITS: u32 = 6;

/// How many traces a filter is made for: with nine bits each, two in a hundred strangers are taken for known.
pub(super) const TRACES: usize = 230_000;

/// Which traces were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(Box<[u64]>);

impl Filter {
    pub(super) fn new() -> Self {
        Self(vec![0; BLOCKS * WORDS].into())
    }

    /// A filter as it was written; `None` when it was not.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Box<[u64]> = words.iter().map(|w| u64::from_le_bytes(*w)).collect();
        (rest.is_empty() && words.len() == BLOCKS * WORDS).then_some(Self(words))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// Adds the trace with this keyed hash.
    pub(super) fn add(&mut self, hash: u64) {
        let at = block(hash);
        if let Some(block) = self.0.get_mut(at..at + WORDS) {
            for bit in bits(hash) {
                block[bit >> 6 & (WORDS - 1)] |= 1 << (bit & 63);
            }
        }
    }

    /// Whether it may have been added.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let at = block(hash);
        self.0
            .get(at..at + WORDS)
            .is_some_and(|block| bits(hash).all(|bit| block[bit >> 6 & (WORDS - 1)] & 1 << (bit & 63) != 0))
    }

    /// Adds everything of another.
    pub(super) fn add_all(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }
}

fn block(hash: u64) -> usize {
    (hash as usize & (BLOCKS - 1)) * WORDS
}

/// Positions in the block, nine bits each.
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = (hash >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..BITS).map(move |i| (mixed >> (10 + 9 * i)) as usize & 511)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        let wide = u128::from(n ^ 0x5851_f42d_4c95_7f2d) * 0xda94_2042_e4dd_58b5_u128;
        (wide as u64 ^ (wide >> 64) as u64).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ n << 40
    }

    #[test]
    fn what_was_added_is_found_and_strangers_seldom() {
        let mut filter = Filter::new();
        let many = TRACES as u64;
        (0..many).for_each(|n| filter.add(hash(n)));
        assert!((0..many).all(|n| filter.may_have(hash(n))));
        let strangers = (many..2 * many).filter(|n| filter.may_have(hash(*n))).count();
        assert!(strangers < TRACES / 20, "{strangers}");
        assert_eq!(Filter::from_bytes(&filter.to_bytes()), Some(filter));
        assert_eq!(Filter::from_bytes(&[1, 2, 3]), None);
    }
}
