//! Tables of settings, read into messages and written from them.

use toml::{Table, Value};

/// Reads the values of a table.
pub(super) struct Reader<'a>(pub(super) Option<&'a Table>);

impl<'a> Reader<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.and_then(|table| table.get(name))
    }

    pub(super) fn whole(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(Value::as_integer).and_then(|n| u64::try_from(n).ok())
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(|value| value.as_float().or_else(|| value.as_integer().map(|n| n as f64)))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(Value::as_bool)
    }

    pub(super) fn table(&self, name: &str) -> Self {
        Self(self.get(name).and_then(Value::as_table))
    }

    /// An enumeration by its generated name, e.g. `MODE_` and `auto`.
    pub(super) fn word(&self, name: &str, prefix: &str, number: impl Fn(&str) -> Option<i32>) -> i32 {
        let word = self.text(name).map(|word| format!("{prefix}{}", word.to_ascii_uppercase()));
        word.as_deref().and_then(number).unwrap_or(0)
    }

    /// The message made of a table that is there.
    pub(super) fn map<T>(self, make: impl FnOnce(Self) -> T) -> Option<T> {
        self.0.is_some().then(|| make(self))
    }
}

/// Writes the values of a table; what is absent is left out.
#[derive(Default)]
pub(super) struct Writer(pub(super) Table);

impl Writer {
    pub(super) fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    /// Too large a number becomes the largest, which the document's check refuses by name.
    pub(super) fn whole(&mut self, name: &str, value: Option<u64>) {
        self.put(name, value.map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
    }

    /// An enumeration; 0 is absent, and an unknown number stays visible so that the check refuses it by name.
    pub(super) fn word(&mut self, name: &str, prefix: &str, number: i32, known: Option<&'static str>) {
        let word = known.and_then(|known| known.strip_prefix(prefix)).map(str::to_ascii_lowercase);
        self.put(name, (number != 0).then(|| word.unwrap_or_else(|| format!("number {number}"))));
    }
}
