//! Which columns a question needs.

/// A group of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Part {
    /// Ids of spans and their parents. (Trace ids are always there.)
    Ids,
    /// Start, end and duration.
    Times,
    /// Kind, status and marks.
    Kinds,
    /// Name.
    Name,
    /// Number of the sender.
    Origin,
    /// Stamp of the commit.
    Arrival,
    /// The other side.
    Peer,
    /// The sender's words about the status.
    StatusMessage,
    /// Trace state, flags, counts of what the sender left out.
    State,
    /// Events.
    Events,
    /// Links.
    Links,
    /// All attributes, in the sender's order.
    Attributes,
}

/// Every part.
const ALL: [Part; 12] = [
    Part::Ids,
    Part::Times,
    Part::Kinds,
    Part::Name,
    Part::Origin,
    Part::Arrival,
    Part::Peer,
    Part::StatusMessage,
    Part::State,
    Part::Events,
    Part::Links,
    Part::Attributes,
];

/// A set of parts, and of attribute keys where not all attributes are needed. Empty by default: trace ids only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Parts {
    set: u16,
    /// Sorted, no key twice; empty when all attributes are in.
    keys: Vec<Box<str>>,
}

impl Parts {
    /// Everything: what whole spans need.
    #[must_use]
    pub fn all() -> Self {
        Self::of(&ALL)
    }

    /// Some parts.
    #[must_use]
    pub fn of(parts: &[Part]) -> Self {
        Self::default().with(parts)
    }

    /// These, too.
    #[must_use]
    pub fn with(mut self, parts: &[Part]) -> Self {
        self.set |= parts.iter().fold(0, |set, part| set | bit(*part));
        if self.has(Part::Attributes) {
            self.keys.clear();
        }
        self
    }

    /// The attributes of this key, too.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        if !self.has(Part::Attributes)
            && let Err(at) = self.keys.binary_search_by(|k| k.as_ref().cmp(key))
        {
            self.keys.insert(at, key.into());
        }
        self
    }

    /// Whether a part is in.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        self.set & bit(part) != 0
    }

    /// Whether the attributes of a key are in.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        self.has(Part::Attributes) || self.keys.binary_search_by(|k| k.as_ref().cmp(key)).is_ok()
    }

    /// The keys asked for one by one.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(AsRef::as_ref)
    }

    /// Whether everything of `other` is in here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.set & other.set == other.set && other.keys.iter().all(|key| self.has_key(key))
    }

    /// Both together.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = Self { set: self.set | other.set, keys: self.keys.clone() };
        both = both.with(&[]);
        other.keys().fold(both, |both, key| both.with_key(key))
    }
}

fn bit(part: Part) -> u16 {
    1 << part as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_keys_are_a_set() {
        let some = Parts::of(&[Part::Name, Part::Times]).with_key("b").with_key("a").with_key("b");
        assert_eq!(some.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(some.has(Part::Name) && !some.has(Part::Ids) && some.has_key("a") && !some.has_key("c"));
        assert!(Parts::all().covers(&some) && !some.covers(&Parts::all()) && some.covers(&Parts::default()));
        let more = some.union(&Parts::of(&[Part::Ids]).with_key("c"));
        assert!(more.covers(&some) && more.has(Part::Ids) && more.has_key("c"));
        let all = some.with(&[Part::Attributes]);
        assert!(all.has_key("anything") && all.keys().count() == 0);
        assert_eq!(all.clone().with_key("a"), all);
    }
}
