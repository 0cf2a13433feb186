//! Protobuf's wire: keys, varints, lengths, and what is skipped.

use super::Slice;

/// How deep messages and groups may lie in each other: prost's limit.
pub(super) const DEPTH: u32 = 100;

/// Wire types, as the lowest three bits of a key.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const GROUP: u32 = 3;
const GROUP_END: u32 = 4;
const FIXED32: u32 = 5;

/// Why bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a field is longer than what holds it")]
    Truncated,
    #[error("a number has more than 64 bits, or breaks off")]
    Varint,
    #[error("a field has a number or a wire type that does not exist")]
    Key,
    #[error("a field has the wire type of another")]
    WireType,
    #[error("a text is not UTF-8")]
    Utf8,
    #[error("messages or groups lie more than 100 deep in each other")]
    Depth,
    #[error("a group ends that did not begin")]
    Group,
    /// Sound, but of a shape that protobuf wants merged: a message that may stand once stands twice.
    #[error("a field stands twice")]
    Twice,
}

/// A place in a message. Offsets count from the beginning of the whole request; the message ends where the bytes do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a stretch of bytes; past their end there is nothing.
    pub(super) fn new(bytes: &'a [u8], at: usize, len: usize) -> Self {
        Self { bytes: bytes.get(..at + len).unwrap_or_default(), at }
    }

    /// Whether the message ends here.
    #[inline(always)]
    pub(super) fn done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// What is left of the message.
    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Where the rest of the message lies.
    #[inline(always)]
    pub(super) fn slice(&self) -> Slice {
        Slice::of_bytes(self.at, self.bytes.len() - self.at)
    }

    /// Whether a key of one byte is next; if so, goes past it.
    #[inline(always)]
    pub(super) fn follows(&mut self, key: u8) -> bool {
        let follows = self.bytes.get(self.at) == Some(&key);
        self.at += usize::from(follows);
        follows
    }

    /// Goes on by so many bytes.
    #[inline(always)]
    pub(super) fn advance(&mut self, by: usize) {
        self.at += by;
    }

    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for (i, &byte) in self.rest().iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                if i == 9 && byte > 1 {
                    break;
                }
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(Fault::Varint)
    }

    /// A field's number and wire type, as they stand in the key; [`Cursor::other`] knows the keys that do not exist.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<u32, Fault> {
        u32::try_from(self.varint()?).map_err(|_| Fault::Key)
    }

    /// A field that has a length: a message, or the place of a text.
    #[inline(always)]
    pub(super) fn inner(&mut self) -> Result<Self, Fault> {
        let len = self.varint()?;
        if len > (self.bytes.len() - self.at) as u64 {
            return Err(Fault::Truncated);
        }
        let end = self.at + len as usize;
        let inner = Self { bytes: self.bytes.get(..end).ok_or(Fault::Truncated)?, at: self.at };
        self.at = end;
        Ok(inner)
    }

    /// A text.
    #[inline(always)]
    pub(super) fn text(&mut self) -> Result<Slice, Fault> {
        let inner = self.inner()?;
        if is_utf8(inner.rest()) { Ok(inner.slice()) } else { Err(Fault::Utf8) }
    }

    #[inline(always)]
    pub(super) fn fixed64(&mut self) -> Result<u64, Fault> {
        let (bytes, _) = self.rest().split_first_chunk().ok_or(Fault::Truncated)?;
        self.at += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    #[inline(always)]
    pub(super) fn fixed32(&mut self) -> Result<u32, Fault> {
        let (bytes, _) = self.rest().split_first_chunk().ok_or(Fault::Truncated)?;
        self.at += 4;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// A field that has no place of its own: skipped when its number is unknown, wrong when it is `known` (a bit for each
    /// number) and only its wire type is not what it should be.
    #[cold]
    pub(super) fn other(&mut self, key: u32, known: u32, depth: u32) -> Result<(), Fault> {
        let number = key >> 3;
        if number < 32 && known >> number & 1 == 1 {
            return Err(Fault::WireType);
        }
        self.skip(key, depth)
    }

    fn skip(&mut self, key: u32, depth: u32) -> Result<(), Fault> {
        let inside = enter(depth)?;
        if key < 8 {
            return Err(Fault::Key);
        }
        match key & 7 {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            BYTES => self.inner().map(drop),
            FIXED32 => self.fixed32().map(drop),
            GROUP => loop {
                let within = self.key()?;
                if within == key + 1 {
                    return Ok(());
                }
                self.skip(within, inside)?;
            },
            GROUP_END => Err(Fault::Group),
            _ => Err(Fault::Key),
        }
    }
}

/// The depth that is left inside a message.
#[inline(always)]
pub(super) fn enter(depth: u32) -> Result<u32, Fault> {
    depth.checked_sub(1).ok_or(Fault::Depth)
}

/// Whether bytes are UTF-8; most text is ASCII, which is seen eight bytes at a time.
#[inline(always)]
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    is_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
}

/// Whether bytes are ASCII.
#[inline(always)]
pub(super) fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut any = words.iter().fold(0, |any, word| any | u64::from_ne_bytes(*word));
    if let Some(last) = bytes.last_chunk::<8>() {
        any |= u64::from_ne_bytes(*last);
    } else {
        any |= u64::from(rest.iter().fold(0, |any, byte| any | byte));
    }
    any & HIGH == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(bytes: &[u8]) -> Cursor<'_> {
        Cursor::new(bytes, 0, bytes.len())
    }

    #[test]
    fn numbers_have_up_to_64_bits() {
        assert_eq!(cursor(&[0x96, 0x01]).varint(), Ok(150));
        // More bytes than needed are fine.
        assert_eq!(cursor(&[0x81, 0x80, 0x00]).varint(), Ok(1));
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(cursor(&most).varint(), Ok(u64::MAX));
        most[9] = 2;
        assert_eq!(cursor(&most).varint(), Err(Fault::Varint));
        assert_eq!(cursor(&[0x80; 11]).varint(), Err(Fault::Varint));
        assert_eq!(cursor(&[0x80]).varint(), Err(Fault::Varint));
        assert_eq!(cursor(&[]).varint(), Err(Fault::Varint));
    }

    #[test]
    fn keys_have_a_number_and_a_wire_type() {
        assert_eq!(cursor(&[0x0a]).key(), Ok(10));
        assert_eq!(cursor(&[0xff, 0xff, 0xff, 0xff, 0x1f]).key(), Err(Fault::Key));
        for bad in [0x02, 0x0e, 0x0f] {
            assert_eq!(cursor(&[0]).other(bad, 0, DEPTH), Err(Fault::Key), "{bad}");
        }
    }

    #[test]
    fn a_message_ends_where_its_bytes_do() {
        let mut outer = cursor(&[2, 8, 1, 9]);
        let mut inner = outer.inner().expect("a message");
        assert_eq!((inner.rest(), inner.slice()), (&[8, 1][..], Slice::of_bytes(1, 2)));
        assert_eq!((inner.key(), inner.varint(), inner.done()), (Ok(8), Ok(1), true));
        assert_eq!(outer.varint(), Ok(9));
        assert_eq!(cursor(&[3, 8, 1]).inner().expect_err("too long"), Fault::Truncated);
        assert_eq!(cursor(&[1; 8]).fixed64(), Ok(0x0101_0101_0101_0101));
        assert_eq!(cursor(&[1; 7]).fixed64(), Err(Fault::Truncated));
    }

    #[test]
    fn groups_are_skipped_to_their_own_end() {
        // Field 5 as a group that holds field 6 as a group and a number.
        let whole = [0x2b, 0x33, 0x34, 0x08, 0x01, 0x2c];
        let mut c = cursor(&whole);
        let key = c.key().expect("a key");
        assert_eq!((c.other(key, 0, DEPTH), c.done()), (Ok(()), true));
        for (bytes, fault) in [
            (&[0x2b, 0x34][..], Fault::Group),
            (&[0x2c], Fault::Group),
            (&[0x2b, 0x33, 0x34], Fault::Varint),
            (&[0x2b; 101], Fault::Depth),
        ] {
            let mut c = cursor(bytes);
            let key = c.key().expect("a key");
            assert_eq!(c.other(key, 0, DEPTH), Err(fault), "{bytes:?}");
        }
        let mut c = cursor(&[0x08, 0x01]);
        let key = c.key().expect("a key");
        assert_eq!(c.other(key, 1 << 1, DEPTH), Err(Fault::WireType));
    }

    #[test]
    fn text_is_utf8_at_every_length() {
        for len in 0..40 {
            let ascii = vec![b'a'; len];
            assert!(is_utf8(&ascii));
            for at in 0..len {
                let mut bytes = ascii.clone();
                bytes[at] = 0xff;
                assert!(!is_utf8(&bytes), "{at} of {len}");
                if at + 1 < len {
                    bytes[at..at + 2].copy_from_slice("ü".as_bytes());
                    assert!(is_utf8(&bytes), "{at} of {len}");
                }
            }
        }
    }
}
