//! Writing JSON objects, field after field.

use std::fmt::Display;
use std::io::Write as _;

/// An object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

/// Writes an object.
pub(super) fn object(out: &mut Vec<u8>, fields: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fields(&mut Object { out, first: true });
    out.push(b'}');
}

fn quoted(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

fn double(out: &mut Vec<u8>, value: f64) {
    let _ = match value {
        v if v.is_finite() => serde_json::to_writer(out, &v).map_err(std::io::Error::from),
        v if v.is_nan() => out.write_all(b"\"NaN\""),
        v => out.write_all(if v > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" }),
    };
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        quoted(self.out, key);
        self.out.push(b':');
    }

    /// Text, unless it is empty.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.given_text(key, text);
        }
    }

    /// Text, also when it is empty.
    pub(super) fn given_text(&mut self, key: &str, text: &str) {
        self.key(key);
        quoted(self.out, text);
    }

    /// An id in hex, unless it is empty.
    pub(super) fn hex(&mut self, key: &str, id: &[u8]) {
        if id.is_empty() {
            return;
        }
        self.key(key);
        self.out.push(b'"');
        for byte in id {
            let _ = write!(self.out, "{byte:02x}");
        }
        self.out.push(b'"');
    }

    /// A number or a truth value.
    pub(super) fn given(&mut self, key: &str, value: impl Display) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    /// A number of 64 bits: more than JSON's readers keep exact.
    pub(super) fn given_long(&mut self, key: &str, value: impl Display) {
        self.key(key);
        let _ = write!(self.out, "\"{value}\"");
    }

    /// A number of at most 32 bits, unless it is 0.
    pub(super) fn number<T: Display + Default + PartialEq>(&mut self, key: &str, value: T) {
        if value != T::default() {
            self.given(key, value);
        }
    }

    /// A number of 64 bits, unless it is 0.
    pub(super) fn long<T: Display + Default + PartialEq>(&mut self, key: &str, value: T) {
        if value != T::default() {
            self.given_long(key, value);
        }
    }

    /// True, or nothing.
    pub(super) fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.given(key, value);
        }
    }

    /// A double, also when it is 0.
    pub(super) fn given_double(&mut self, key: &str, value: f64) {
        self.key(key);
        double(self.out, value);
    }

    /// A double that was given.
    pub(super) fn maybe_double(&mut self, key: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.given_double(key, value);
        }
    }

    /// An object inside.
    pub(super) fn object(&mut self, key: &str, fields: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        object(self.out, fields);
    }

    /// A list of objects, unless it is empty.
    pub(super) fn list<T>(&mut self, key: &str, items: &[T], each: impl Fn(&mut Object<'_>, &T)) {
        self.items(key, items, |out, item| object(out, |o| each(o, item)));
    }

    /// A list of texts, unless it is empty.
    pub(super) fn texts(&mut self, key: &str, items: &[String]) {
        self.items(key, items, |out, text| quoted(out, text));
    }

    /// A list of 64-bit numbers, unless it is empty.
    pub(super) fn longs(&mut self, key: &str, items: &[u64]) {
        self.items(key, items, |out, n| {
            let _ = write!(out, "\"{n}\"");
        });
    }

    /// A list of doubles, unless it is empty.
    pub(super) fn doubles(&mut self, key: &str, items: &[f64]) {
        self.items(key, items, |out, d| double(out, *d));
    }

    fn items<T>(&mut self, key: &str, items: &[T], each: impl Fn(&mut Vec<u8>, &T)) {
        if items.is_empty() {
            return;
        }
        self.key(key);
        for (i, item) in items.iter().enumerate() {
            self.out.push(if i == 0 { b'[' } else { b',' });
            each(self.out, item);
        }
        self.out.push(b']');
    }
}
