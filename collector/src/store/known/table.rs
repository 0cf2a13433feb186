//! Fingerprints in an open-addressing table.

use super::print::Print;

/// What is remembered of a span besides its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
struct Entry {
    /// Zero: nobody.
    main: u64,
    /// The fingerprint's check in the upper 28 bits, the note in the lower four.
    check: u32,
    who: u32,
}

/// Entries to begin with, and the fewest.
const SMALLEST: usize = 1 << 12;

/// The table. Nothing is ever taken out one by one.
#[derive(Debug)]
pub(super) struct Table {
    entries: Box<[Entry]>,
    len: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { entries: vec![Entry::default(); SMALLEST].into(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the entry is, or where it would go.
    fn place(&self, print: Print) -> (usize, bool) {
        let mask = self.entries.len() - 1;
        let mut at = (print.main >> 20) as usize & mask;
        loop {
            let entry = &self.entries[at];
            if entry.main == print.main && entry.check >> 4 == print.check {
                return (at, true);
            }
            if entry.main == 0 {
                return (at, false);
            }
            at = (at + 1) & mask;
        }
    }

    /// The note and the number kept for a fingerprint.
    pub(super) fn find(&self, print: Print) -> Option<(u8, u32)> {
        let (at, there) = self.place(print);
        let entry = self.entries[at];
        there.then_some(((entry.check & 15) as u8, entry.who))
    }

    /// Adds a fingerprint unless it is there; true when it is new.
    pub(super) fn add(&mut self, print: Print, note: u8, who: u32) -> bool {
        if self.len * 3 >= self.entries.len() * 2 {
            self.grow();
        }
        let (at, there) = self.place(print);
        if there {
            return false;
        }
        self.entries[at] = Entry { main: print.main, check: print.check << 4 | u32::from(note & 15), who };
        self.len += 1;
        true
    }

    /// Adds a fingerprint, or changes the note of the one that is there.
    pub(super) fn put(&mut self, print: Print, note: u8) {
        if !self.add(print, note, 0) {
            let (at, _) = self.place(print);
            self.entries[at].check = print.check << 4 | u32::from(note & 15);
        }
    }

    fn grow(&mut self) {
        let twice = vec![Entry::default(); self.entries.len() * 2].into();
        let before = std::mem::replace(&mut self.entries, twice);
        for entry in before {
            if entry.main != 0 {
                let (at, _) = self.place(Print { main: entry.main, check: entry.check >> 4 });
                self.entries[at] = entry;
            }
        }
    }

    /// Forgets all; the room stays when much of it was used.
    pub(super) fn clear(&mut self) {
        if self.len * 4 < self.entries.len() {
            *self = Self::new();
            return;
        }
        self.entries.fill(Entry::default());
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_also_after_growing() {
        let mut table = Table::new();
        let print = |n: u64| Print { main: n.wrapping_mul(0x9e37_79b9_7f4a_7c15), check: n as u32 & 0xfff };
        for n in 1..20_000 {
            assert!(table.add(print(n), 3, n as u32));
            assert!(!table.add(print(n), 3, n as u32));
        }
        assert!((1..20_000).all(|n| table.find(print(n)) == Some((3, n as u32))));
        assert_eq!(table.find(print(20_000)), None);
        assert_eq!(table.find(Print { check: 9, ..print(1) }), None, "the same place, another span");
        table.put(print(7), 5);
        assert_eq!((table.find(print(7)).map(|e| e.0), table.len()), (Some(5), 19_999));
        table.clear();
        assert_eq!((table.len(), table.find(print(1))), (0, None));
    }
}
