//! How often something may happen: buckets that fill again with time, one a name, within a bound.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// A bucket of `burst` drops; one comes back every `every`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) burst: u32,
    pub(super) every: Duration,
}

/// Buckets by name. When there are too many, those that are full again go first, then the fullest.
#[derive(Debug)]
pub(super) struct Quota<K> {
    rate: Rate,
    most: usize,
    /// When each bucket will be full again; who is not here has a full one.
    full: HashMap<K, Instant>,
}

impl<K: Eq + Hash + Clone> Quota<K> {
    pub(super) fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, full: HashMap::new() }
    }

    /// Takes a drop.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn take(&mut self, name: &K, now: Instant) -> Result<(), Duration> {
        let full = self.full.get(name).copied().unwrap_or(now).max(now) + self.rate.every;
        let over = full.duration_since(now).saturating_sub(self.rate.every * self.rate.burst);
        if !over.is_zero() {
            return Err(over);
        }
        if self.full.len() >= self.most && !self.full.contains_key(name) {
            self.tidy(now);
        }
        self.full.insert(name.clone(), full);
        Ok(())
    }

    /// Gives a drop back that was taken for what turned out well.
    pub(super) fn give_back(&mut self, name: &K) {
        if let Some(full) = self.full.get_mut(name) {
            *full = full.checked_sub(self.rate.every).unwrap_or(*full);
        }
    }

    fn tidy(&mut self, now: Instant) {
        self.full.retain(|_, full| *full > now);
        while self.full.len() >= self.most {
            let fullest = self.full.iter().min_by_key(|(_, full)| **full).map(|(name, _)| name.clone());
            match fullest {
                Some(name) => self.full.remove(&name),
                None => return,
            };
        }
    }
}

/// What counts as one neighbour: an address of IPv4, or a network of IPv6, of which one household has 2⁶⁴ addresses.
pub(super) fn neighbour(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(10) };

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let (mut quota, start) = (Quota::new(RATE, 9), Instant::now());
        for _ in 0..3 {
            assert_eq!(quota.take(&"a", start), Ok(()));
        }
        assert_eq!(quota.take(&"a", start), Err(Duration::from_secs(10)));
        assert_eq!(quota.take(&"b", start), Ok(()), "another has its own");
        assert_eq!(quota.take(&"a", start + Duration::from_secs(10)), Ok(()));
        assert_eq!(quota.take(&"a", start + Duration::from_secs(10)), Err(Duration::from_secs(10)));
        quota.give_back(&"a");
        assert_eq!(quota.take(&"a", start + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn there_are_never_more_buckets_than_allowed_and_the_emptiest_stay() {
        let (mut quota, start) = (Quota::new(RATE, 4), Instant::now());
        for _ in 0..3 {
            quota.take(&999, start).unwrap();
        }
        for name in 0..100 {
            quota.take(&name, start).unwrap();
            assert!(quota.full.len() <= 4);
        }
        assert!(quota.take(&999, start).is_err(), "who was stopped stays so");
    }

    #[test]
    fn a_network_of_ipv6_is_one_neighbour() {
        let of = |text: &str| neighbour(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
