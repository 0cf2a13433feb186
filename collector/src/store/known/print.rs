//! Keyed fingerprints of traces and spans.

/// The key of a file's fingerprints: drawn once, so that no sender can choose ids that collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Key([u64; 4]);

/// The fingerprint of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::store) struct TracePrint {
    pub(super) hash: u64,
    pub(super) low: u64,
}

/// The fingerprint of a span, or of a trace among spans: 92 bits in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Print {
    /// Never zero.
    pub(super) main: u64,
    /// 28 bits more.
    pub(super) check: u32,
}

fn wide(a: u64, b: u64) -> (u64, u64) {
    let product = u128::from(a) * u128::from(b);
    (product as u64, (product >> 64) as u64)
}

impl Key {
    /// A key from the system's randomness.
    pub(in crate::store) fn random() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        let draw = RandomState::new();
        Self([1u8, 2, 3, 4].map(|n| draw.hash_one(n)))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: [[u8; 8]; 4] = words.try_into().ok()?;
        rest.is_empty().then(|| Self(words.map(u64::from_le_bytes)))
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// The fingerprint of a trace.
    pub(in crate::store) fn trace(&self, id: &[u8; 16]) -> TracePrint {
        let whole = u128::from_le_bytes(*id);
        let (low, high) = wide(whole as u64 ^ self.0[0], (whole >> 64) as u64 ^ self.0[1]);
        TracePrint { hash: low ^ high, low: low ^ (whole as u64).rotate_left(23) }
    }

    /// The fingerprint of a span on one side of a call.
    pub(in crate::store) fn span(&self, trace: TracePrint, id: &[u8; 8], server: bool) -> Print {
        let id = u64::from_le_bytes(*id);
        let (low, high) = wide(id ^ self.0[2], (trace.hash ^ self.0[3]).wrapping_add(u64::from(server)) | 1 << 63);
        let check = (low ^ trace.low).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Print { main: (low ^ high ^ trace.low.rotate_left(32)).max(1), check: (check >> 36) as u32 }
    }

    /// The fingerprint under which a trace itself stands among spans.
    pub(super) fn own(trace: TracePrint) -> Print {
        let check = trace.low.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Print { main: (trace.hash ^ 0x5bd1_e995_7b93_a6c1).max(1), check: (check >> 36) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn neighbours_have_prints_of_their_own() {
        let key = Key::random();
        assert_eq!(Key::from_bytes(&key.to_bytes()), Some(key));
        let mut all = HashSet::new();
        for trace in 0..100u128 {
            let trace = key.trace(&trace.to_be_bytes());
            all.insert(Key::own(trace).main);
            for span in 1..=100u64 {
                for server in [false, true] {
                    let print = key.span(trace, &span.to_be_bytes(), server);
                    assert!(print.check < 1 << 28);
                    all.insert(print.main);
                }
            }
        }
        assert_eq!(all.len(), 100 * 201);
    }
}
