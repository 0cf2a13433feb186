//! Text that a tape needs beyond what was sent.

use super::Slice;

/// Bytes that a name may have: names stand in every answer, so a sender must not make them as long as it likes.
const MAX_NAME: usize = 1024;

/// The name of a service that says none. Its beginning is what a callee is called of which nothing is known.
const UNKNOWN_SERVICE: &str = "unknown_service";
const UNKNOWN: usize = "unknown".len();

/// The made text of a tape while it is read.
pub(super) struct Made<'a> {
    bytes: &'a [u8],
    text: &'a mut String,
    stock: Slice,
}

impl<'a> Made<'a> {
    /// Of a tape's bytes and text.
    pub(super) fn new(bytes: &'a [u8], text: &'a mut String) -> Self {
        let at = if text.starts_with(UNKNOWN_SERVICE) { 0 } else { text.len() };
        if at == text.len() {
            text.push_str(UNKNOWN_SERVICE);
        }
        Self { bytes, text, stock: Slice::of_made(at, UNKNOWN_SERVICE.len()) }
    }

    /// What a callee is called of which nothing is known.
    pub(super) fn unknown(&self) -> Slice {
        self.stock.part(0, UNKNOWN)
    }

    /// The name of a service that says none.
    pub(super) fn unknown_service(&self) -> Slice {
        self.stock
    }

    /// A name, cut where it is too long; the dots say so. What was made is cut already.
    #[inline]
    pub(super) fn short(&mut self, name: Slice) -> Slice {
        if name.len() <= MAX_NAME { name } else { self.cut(name) }
    }

    #[cold]
    fn cut(&mut self, name: Slice) -> Slice {
        if name.is_made() {
            return name;
        }
        let text = std::str::from_utf8(name.of(self.bytes)).unwrap_or_default();
        self.join([text])
    }

    /// A name put together, cut where it is too long.
    pub(super) fn join<const N: usize>(&mut self, parts: [&str; N]) -> Slice {
        let at = self.text.len();
        for part in parts {
            self.text.push_str(part);
        }
        if self.text.len() - at > MAX_NAME {
            self.text.truncate(self.text.floor_char_boundary(at + MAX_NAME));
            self.text.push('…');
        }
        Slice::of_made(at, self.text.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        let bytes = "ü".repeat(600).into_bytes();
        let mut text = String::new();
        let mut made = Made::new(&bytes, &mut text);
        let whole = Slice::of_bytes(0, 1024);
        assert_eq!(made.short(whole), whole);
        let cut = made.short(Slice::of_bytes(0, 1200));
        assert_eq!((cut.len(), made.short(cut)), (1024 + '…'.len_utf8(), cut));
        let odd = made.join(["a", &"ü".repeat(600)]);
        assert_eq!(odd.len(), 1023 + '…'.len_utf8());
        assert!(text.ends_with("ü…"));
    }

    #[test]
    fn the_stock_is_written_once() {
        let mut text = String::new();
        for _ in 0..2 {
            let made = Made::new(b"", &mut text);
            assert_eq!((made.unknown(), made.unknown_service()), (Slice::of_made(0, 7), Slice::of_made(0, 15)));
        }
        assert_eq!(text, "unknown_service");
        let mut other = "x".to_owned();
        assert_eq!(Made::new(b"", &mut other).unknown(), Slice::of_made(1, 7));
    }
}
