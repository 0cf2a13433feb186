//! The hash that guards blobs and feeds filters: XXH3, 64 bits, which is the same on every machine.

use twox_hash::XxHash3_64;

/// The hash of some bytes.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// The hash of some bytes under a seed.
pub(super) fn hash_with(seed: u64, bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, bytes)
}
