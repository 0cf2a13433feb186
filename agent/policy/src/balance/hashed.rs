//! Consistent hashing: the space of keys is cut into slots, and each slot belongs to the instance that draws the best lot
//! for it (weighted rendezvous hashing). A call looks its slot up; only when the slot's instance may not have it do the
//! others draw. Shares follow the weights to about two per cent, and a change of members moves only the slots it must.

use std::sync::Arc;

use super::endpoint::Endpoint;

/// Slots, as a power of two: 32 KiB of table.
const BITS: u32 = 14;

/// Which instance each slot belongs to.
#[derive(Debug)]
pub(super) struct Table {
    /// Positions in the list it was made of.
    owners: Box<[u16]>,
    lots: Lots,
}

/// How instances draw.
#[derive(Debug, Clone, Copy)]
struct Lots {
    /// Equal weights: the plain number decides, which gives the same order.
    uniform: bool,
}

impl Lots {
    fn of(self, slot: u64, endpoint: &Endpoint) -> f64 {
        // 53 bits, in (0, 1).
        let drawn = mix(endpoint.hash() ^ slot.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 11;
        let drawn = (drawn as f64 + 0.5) / (1u64 << 53) as f64;
        if self.uniform { drawn } else { endpoint.weight() as f64 / -drawn.ln() }
    }

    /// The best of some, with its position. A tie goes by id, so that the order in which they joined does not matter.
    fn best<'a>(
        self,
        slot: u64,
        endpoints: impl Iterator<Item = (usize, &'a Arc<Endpoint>)>,
    ) -> Option<(usize, &'a Arc<Endpoint>)> {
        let drawn = endpoints.map(|(index, endpoint)| (index, endpoint, self.of(slot, endpoint)));
        let best = drawn.max_by(|a, b| a.2.total_cmp(&b.2).then_with(|| a.1.id().cmp(b.1.id())));
        best.map(|(index, endpoint, _)| (index, endpoint))
    }
}

impl Table {
    /// `None` where nobody has a weight.
    pub(super) fn new(endpoints: &[Arc<Endpoint>]) -> Option<Self> {
        let weighty = || endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.weight() > 0);
        let first = weighty().next()?.1.weight();
        let lots = Lots { uniform: weighty().all(|(_, endpoint)| endpoint.weight() == first) };
        let owner = |slot| lots.best(slot, weighty()).map_or(0, |(index, _)| index as u16);
        Some(Self { owners: (0..1u64 << BITS).map(owner).collect(), lots })
    }

    /// The instance for a key. `good` says whether one may have it; where `able` has none that may, the best of them does.
    pub(super) fn pick<'a>(
        &self,
        key: &[u8],
        all: &'a [Arc<Endpoint>],
        able: &'a [Arc<Endpoint>],
        good: impl Fn(&Endpoint) -> bool,
    ) -> Option<&'a Arc<Endpoint>> {
        let slot = hash(key) >> (64 - BITS);
        let owner = self.owners.get(slot as usize).and_then(|owner| all.get(usize::from(*owner)));
        if let Some(owner) = owner.filter(|owner| good(owner)) {
            return Some(owner);
        }
        let weighty = || able.iter().enumerate().filter(|(_, endpoint)| endpoint.weight() > 0);
        let best = self.lots.best(slot, weighty().filter(|(_, endpoint)| good(endpoint)));
        best.or_else(|| self.lots.best(slot, weighty())).map(|(_, endpoint)| endpoint)
    }
}

/// FNV-1a (draft-eastlake-fnv), finished so that every bit depends on every byte.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    mix(bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)))
}

/// The end of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
