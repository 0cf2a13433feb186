//! How many connections one neighbour has at a door.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections by neighbour. There are never more neighbours than connections.
#[derive(Debug, Clone)]
pub(super) struct Neighbours {
    most: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Neighbours {
    /// So many for each.
    pub(super) fn new(most: usize) -> Self {
        Self { most, counts: Arc::default() }
    }

    /// A place for one more connection, unless its neighbour has all it may have. Programs of this machine are not counted:
    /// behind a proxy on it everybody would be one of them.
    pub(super) fn place(&self, from: IpAddr) -> Option<Place> {
        let from = neighbour(from);
        if from.is_loopback() {
            return Some(Place { from: None, all: self.clone() });
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(from).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { from: Some(from), all: self.clone() })
    }
}

/// A neighbour's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    from: Option<IpAddr>,
    all: Neighbours,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(from) = self.from else { return };
        let mut counts = self.all.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&from);
            }
        }
    }
}

/// What counts as one neighbour: an address of IPv4, or a network of IPv6, of which one household has 2⁶⁴ addresses.
fn neighbour(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        v6 if v6.is_loopback() => v6,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_neighbour_takes_no_more_than_its_places_and_nothing_is_kept_of_those_who_left() {
        let neighbours = Neighbours::new(2);
        let place = |text: &str| neighbours.place(text.parse().expect("an address"));
        let first = place("192.0.2.1");
        let second = place("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some() && place("192.0.2.1").is_none());
        assert!(place("192.0.2.2").is_some(), "others are not harmed");
        let network = [place("2001:db8::1"), place("2001:db8::2")];
        assert!(place("2001:db8::3").is_none() && place("2001:db8:0:1::3").is_some());
        drop((first, second, network));
        assert!(place("192.0.2.1").is_some());
        assert!(neighbours.counts.lock().expect("nobody panicked").is_empty());
        let own: Vec<_> = (0..5).map(|_| place("::1")).collect();
        assert!(own.iter().all(Option::is_some));
    }
}
