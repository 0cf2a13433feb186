//! What the shop remembers: orders and stock. Both stand for databases that several instances share; they live in this
//! process, and the time a real one would take is simulated around them (see [`crate::database`]).

mod ledger;
mod orders;
mod stock;

pub(crate) use ledger::Ledger;
pub(crate) use orders::{Order, OrderTable};
pub(crate) use stock::{Item, Shelf, StockError};

use std::collections::{HashMap, VecDeque};

/// A map that forgets its oldest entries beyond a number.
#[derive(Debug)]
struct Bounded<V> {
    entries: HashMap<String, V>,
    order: VecDeque<String>,
    most: usize,
}

impl<V> Bounded<V> {
    fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), most }
    }

    /// Adds an entry unless its key is known; says whether it was added.
    fn insert(&mut self, key: &str, value: V) -> bool {
        if self.entries.contains_key(key) {
            return false;
        }
        while self.order.len() >= self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
        self.order.push_back(key.to_owned());
        self.entries.insert(key.to_owned(), value);
        true
    }

    fn get(&self, key: &str) -> Option<&V> {
        self.entries.get(key)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.entries.get_mut(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first_and_known_keys_stay_as_they_are() {
        let mut map = Bounded::new(2);
        assert!(map.insert("a", 1) && map.insert("b", 2));
        assert!(!map.insert("a", 9));
        assert!(map.insert("c", 3));
        assert_eq!((map.get("a"), map.get("b"), map.get("c")), (None, Some(&2), Some(&3)));
        assert_eq!(map.entries.len(), map.order.len());
    }
}
