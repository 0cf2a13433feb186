//! A bounded table of what is known about many: callers, tokens. When it is full, one that was not asked for lately makes
//! room (second chance, as in the clock algorithm): the work of an insertion is bounded, whoever comes.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

/// Parts with a lock of their own.
const PARTS: usize = 16;
/// Most entries that are looked at for one that may go.
const LOOKS: usize = 32;

/// See the module.
pub(crate) struct Table<K, V> {
    parts: [Mutex<Part<K, V>>; PARTS],
    most: usize,
    hasher: RandomState,
}

struct Part<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// In the order in which they are looked at for one that may go.
    order: VecDeque<K>,
}

struct Entry<V> {
    value: Arc<V>,
    asked: bool,
}

impl<K: Hash + Eq + Clone, V> Table<K, V> {
    /// Holds at least one entry a part, at most about `most`.
    pub(crate) fn new(most: usize) -> Self {
        let part = || Mutex::new(Part { entries: HashMap::new(), order: VecDeque::new() });
        Self { parts: std::array::from_fn(|_| part()), most: most.div_ceil(PARTS).max(1), hasher: RandomState::new() }
    }

    fn part<Q: Hash + ?Sized>(&self, key: &Q) -> &Mutex<Part<K, V>> {
        let index = self.hasher.hash_one(key) % PARTS as u64;
        &self.parts[usize::try_from(index).unwrap_or(0)]
    }

    /// What is known of one.
    #[cfg(any(feature = "jwt", test))]
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut part = self.part(key).lock().unwrap_or_else(PoisonError::into_inner);
        let entry = part.entries.get_mut(key)?;
        entry.asked = true;
        Some(entry.value.clone())
    }

    /// What is known of one, made if nothing is. `None` when the table is full of entries that are in use.
    pub(crate) fn entry<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut part = self.part(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = part.entries.get_mut(key) {
            entry.asked = true;
            return Some(entry.value.clone());
        }
        if part.entries.len() >= self.most && !part.make_room() {
            return None;
        }
        Some(part.insert(key.to_owned(), make()))
    }

    /// Sets what is known of one; nothing, when the table is full of entries that are in use.
    #[cfg(feature = "jwt")]
    pub(crate) fn replace<Q>(&self, key: &Q, make: impl Fn() -> V)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        for<'a> K: From<&'a Q>,
    {
        let mut part = self.part(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = part.entries.get_mut(key) {
            entry.value = Arc::new(make());
        } else if part.entries.len() < self.most || part.make_room() {
            part.insert(K::from(key), make());
        }
    }

    /// How many are known.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap().entries.len()).sum()
    }
}

impl<K: Hash + Eq + Clone, V> Part<K, V> {
    fn insert(&mut self, key: K, value: V) -> Arc<V> {
        let value = Arc::new(value);
        self.order.push_back(key.clone());
        self.entries.insert(key, Entry { value: value.clone(), asked: false });
        value
    }

    /// Lets one go that nobody holds and nobody asked for since it was looked at last.
    fn make_room(&mut self) -> bool {
        for _ in 0..LOOKS {
            let Some(key) = self.order.pop_front() else { return false };
            match self.entries.get_mut(&key) {
                Some(entry) if entry.asked || Arc::strong_count(&entry.value) > 1 => {
                    entry.asked = false;
                    self.order.push_back(key);
                }
                _ => {
                    self.entries.remove(&key);
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bounds_and_keeps_what_is_used() {
        let table: Table<String, u32> = Table::new(64);
        let held = table.entry("held", || 7).unwrap();
        for n in 0..10_000 {
            // In use, or asked for again and again.
            assert_eq!(table.get("held").as_deref(), Some(&7));
            table.entry(&*format!("caller {n}"), || n);
        }
        assert!(table.len() <= 64 + PARTS, "{}", table.len());
        drop(held);
        assert_eq!(table.get("held").as_deref(), Some(&7));
    }

    #[test]
    fn what_is_in_use_is_not_let_go() {
        let table: Table<String, u32> = Table::new(1);
        let held: Vec<_> = (0..1000).filter_map(|n| table.entry(&*n.to_string(), || n)).collect();
        assert_eq!(held.len(), PARTS);
        assert!(table.entry("one more", || 1).is_none());
        drop(held);
        // An entry that was asked for gets one more chance; the second look lets it go.
        assert!(table.entry("one more", || 1).is_some());
    }
}
