//! Tables that calls read without a lock: what was made once for a set of attributes is found again by their digest.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arc_swap::ArcSwap;
use opentelemetry::{KeyValue, Value};

/// Attributes in parts, in the order of the parts.
pub(crate) type Parts<'a> = [&'a [KeyValue]];

/// Things by digest, up to a limit.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// Replaced, never changed.
    all: ArcSwap<HashMap<u64, Vec<Arc<T>>, BuildHasherDefault<AsIs>>>,
    /// Held while something is added.
    adding: Mutex<()>,
    most: usize,
}

impl<T> Table<T> {
    /// An empty table for `most` things.
    pub(crate) fn new(most: usize) -> Self {
        Self { all: ArcSwap::default(), adding: Mutex::new(()), most }
    }

    /// Does something with the thing of this digest that `is` the right one; it is made if it is new. `None` if it is new and
    /// there is no room.
    pub(crate) fn with<R>(
        &self,
        digest: Digest,
        is: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
        act: impl FnOnce(&Arc<T>) -> R,
    ) -> Option<R> {
        let find = |all: &[Arc<T>]| all.iter().position(|one| is(one));
        if let Some(list) = self.all.load().get(&digest.0)
            && let Some(one) = find(list).and_then(|at| list.get(at))
        {
            return Some(act(one));
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = HashMap::clone(&self.all.load());
        let full = all.values().map(Vec::len).sum::<usize>() >= self.most;
        let list = all.entry(digest.0).or_default();
        // Somebody else may have been quicker.
        if let Some(one) = find(list).and_then(|at| list.get(at)) {
            return Some(act(one));
        }
        if full {
            return None;
        }
        let one = Arc::new(make());
        list.push(one.clone());
        self.all.store(all.into());
        Some(act(&one))
    }
}

/// A digest of what tells things apart. Those that have the same are told apart by comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest(u64);

impl Digest {
    /// Of nothing yet. Others in the process's memory alone know what follows from it.
    pub(crate) fn new() -> Self {
        static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u8));
        Self(*SEED)
    }

    /// With a number.
    pub(crate) fn number(self, number: u64) -> Self {
        let wide = u128::from(self.0 ^ 0x9e37_79b9_7f4a_7c15) * u128::from(number ^ 0xd1b5_4a32_d192_ed03);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
        Self((wide >> 64) as u64 ^ wide as u64)
    }

    /// With a text.
    pub(crate) fn text(self, text: &str) -> Self {
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        let digest = words.iter().fold(self, |digest, word| digest.number(u64::from_le_bytes(*word)));
        digest.number(rest.iter().fold(text.len() as u64, |last, byte| last << 8 | u64::from(*byte)))
    }

    /// With attributes: with their values, for the keys are mostly the same.
    pub(crate) fn attributes(self, parts: &Parts<'_>) -> Self {
        parts.iter().copied().flatten().fold(self, |digest, attribute| match &attribute.value {
            Value::I64(number) => digest.number(number.cast_unsigned()),
            Value::Bool(yes) => digest.number(u64::from(*yes)),
            Value::String(text) => digest.text(text.as_str()),
            other => digest.text(&other.as_str()),
        })
    }
}

/// Takes digests as they are.
#[derive(Debug, Default, Clone, Copy)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |all, byte| all.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

/// Most series of an instrument that one lane keeps bound.
const BOUND: usize = 128;

/// The bound series of one instrument, by the attributes in which they differ. The SDK looks a series up by all its attributes
/// whenever a value is recorded; bound, it is at hand.
#[derive(Debug)]
pub(crate) struct Series<B>(Table<(Vec<KeyValue>, B)>);

impl<B> Default for Series<B> {
    fn default() -> Self {
        Self(Table::new(BOUND))
    }
}

impl<B> Series<B> {
    /// Records with the series of these attributes, bound first if it is new. `None` where there is no room for another: then
    /// the instrument itself must take the value.
    pub(crate) fn record(&self, parts: &Parts<'_>, bind: impl FnOnce() -> B, act: impl FnOnce(&B)) -> Option<()> {
        let is = |one: &(Vec<KeyValue>, B)| one.0.iter().eq(parts.iter().copied().flatten());
        let make = || (parts.concat(), bind());
        self.0.with(Digest::new().attributes(parts), is, make, |one| act(&one.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_table_takes_nothing_new_and_keeps_what_it_has() {
        let table = Table::new(2);
        let get = |n: u64| table.with(Digest::new().number(n), |one| *one == n, || n, |one| **one);
        assert_eq!([get(1), get(2), get(3), get(1), get(2)], [Some(1), Some(2), None, Some(1), Some(2)]);
    }

    #[test]
    fn equal_digests_are_told_apart() {
        let table = Table::new(8);
        let get = |n: u64| table.with(Digest(7), |one| *one == n, || n, |one| **one);
        assert_eq!([get(1), get(2), get(1)], [Some(1), Some(2), Some(1)]);
    }

    proptest! {
        #[test]
        fn texts_that_differ_have_digests_that_differ(one in ".{0,40}", other in ".{0,40}") {
            let digest = |text: &str| Digest::new().text(text).0;
            prop_assert_eq!(digest(&one) == digest(&other), one == other);
        }
    }
}
