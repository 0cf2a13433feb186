//! Attribute keys and samples of their values, for completion.
//!
//! The tables are touched only when something new is seen. Most spans look like the one before, so a key is compared with
//! the one that stood in its place there; values are looked at in a part of a large commit's spans only.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use fuseboard_api::attr::AttrValue;
use rusqlite::{Connection, params};

use super::insert::Taken;
use crate::otlp::{FlatAttr, SpanTape, Tag};

/// Keys kept.
const KEYS: usize = 2_000;

/// Values kept of each.
const VALUES: usize = 20;

/// The longest key or value kept, in bytes.
const LONGEST: usize = 200;

/// Spans of a commit whose values are looked at, about.
const LOOKED_AT: usize = 512;

#[derive(Debug)]
struct Key {
    text: Box<[u8]>,
    values: Vec<Box<str>>,
}

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    numbers: HashMap<Box<[u8]>, usize, FixedState>,
    keys: Vec<Key>,
    /// The numbers of the keys of the span before.
    before: Vec<usize>,
    /// Keys and values that the tables do not have yet.
    fresh: Vec<(usize, Option<Box<str>>)>,
}

impl Catalog {
    /// What the tables hold.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut catalog = Self::default();
        let mut read = conn.prepare("SELECT key FROM attribute_keys ORDER BY arrival, key LIMIT ?1")?;
        let keys = read.query_map([KEYS as i64], |r| r.get::<_, String>(0))?;
        for key in keys {
            catalog.key(key?.as_bytes());
        }
        let mut read = conn.prepare("SELECT key, value FROM attribute_values ORDER BY arrival")?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(number) = catalog.key(row.get_ref(0)?.as_str().unwrap_or_default().as_bytes()) {
                catalog.value(number, row.get_ref(1)?.as_str().unwrap_or_default());
            }
        }
        catalog.fresh.clear();
        Ok(catalog)
    }

    /// Whether something was seen that is not written yet.
    pub(super) fn is_ahead(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Looks at a commit's spans.
    pub(super) fn note(&mut self, taken: &[Taken]) {
        let spans: usize = taken.iter().map(|t| t.spans.len()).sum();
        let step = (spans / LOOKED_AT).max(1);
        let all = taken.iter().flat_map(|t| t.spans.iter().map(|at| (&t.tape, *at)));
        for (i, (tape, at)) in all.enumerate() {
            let Some(span) = tape.spans.get(at as usize) else { continue };
            let values = i % step == 0;
            for (place, attr) in tape.attrs_of(span).iter().enumerate() {
                let number = self.key_at(place, tape.get(attr.key));
                if values && let Some(number) = number {
                    self.sample(number, tape, attr);
                }
            }
        }
    }

    fn key_at(&mut self, place: usize, text: &[u8]) -> Option<usize> {
        let before = self.before.get(place).copied();
        if let Some(key) = before.and_then(|n| self.keys.get(n))
            && *key.text == *text
        {
            return before;
        }
        let number = self.key(text)?;
        if place == self.before.len() {
            self.before.push(number);
        } else if let Some(before) = self.before.get_mut(place) {
            *before = number;
        }
        Some(number)
    }

    /// The number of a key; `None` when there is no room for it.
    fn key(&mut self, text: &[u8]) -> Option<usize> {
        if let Some(number) = self.numbers.get(text) {
            return Some(*number);
        }
        if self.keys.len() >= KEYS || text.is_empty() || text.len() > LONGEST {
            return None;
        }
        let number = self.keys.len();
        self.numbers.insert(text.into(), number);
        self.keys.push(Key { text: text.into(), values: Vec::new() });
        self.fresh.push((number, None));
        Some(number)
    }

    fn sample(&mut self, number: usize, tape: &SpanTape, attr: &FlatAttr) {
        if self.keys.get(number).is_none_or(|k| k.values.len() >= VALUES) {
            return;
        }
        let value = match attr.tag {
            Tag::Str => return self.value(number, tape.text(attr.slice())),
            Tag::Bool => AttrValue::Bool(attr.value != 0),
            Tag::Int => AttrValue::Int(attr.value as i64),
            Tag::Double => AttrValue::Double(f64::from_bits(attr.value)),
            Tag::Empty | Tag::Bytes | Tag::Nested => return,
        };
        self.value(number, &value.to_string());
    }

    fn value(&mut self, number: usize, value: &str) {
        let Some(key) = self.keys.get_mut(number) else { return };
        let fits = !value.is_empty() && value.len() <= LONGEST && key.values.len() < VALUES;
        if fits && !key.values.iter().any(|v| **v == *value) {
            key.values.push(value.into());
            self.fresh.push((number, Some(value.into())));
        }
    }

    /// Writes what is new.
    pub(super) fn write(&mut self, conn: &Connection, stamp: i64) -> rusqlite::Result<()> {
        for (number, value) in self.fresh.drain(..) {
            let text = self.keys.get(number).map(|k| &*k.text).unwrap_or_default();
            let key = std::str::from_utf8(text).unwrap_or_default();
            match value {
                None => conn
                    .prepare_cached("INSERT OR IGNORE INTO attribute_keys (key, arrival) VALUES (?1, ?2)")?
                    .execute(params![key, stamp])?,
                Some(value) => conn
                    .prepare_cached("INSERT OR IGNORE INTO attribute_values (key, value, arrival) VALUES (?1, ?2, ?3)")?
                    .execute(params![key, &*value, stamp])?,
            };
        }
        Ok(())
    }
}
