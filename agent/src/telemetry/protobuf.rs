//! Writes protobuf as the wire has it (<https://protobuf.dev/programming-guides/encoding/>), straight into one buffer: no message
//! is made first, and none is measured first. What has its default is left out, as proto3 says.

/// The ways in which a value is written.
const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const DELIMITED: u32 = 2;
const FOUR_BYTES: u32 = 5;
/// Longest varint.
const MOST: usize = 10;

/// Appends fields to a buffer.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    /// Appends what is written already.
    pub(super) fn raw(&mut self, fields: &[u8]) {
        self.0.extend_from_slice(fields);
    }

    /// A string or bytes, none when empty.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.always_bytes(field, value);
        }
    }

    /// A string or bytes, in a field that says by being there that it was set.
    pub(super) fn always_bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, DELIMITED);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A `uint32`, a `uint64` or an enum; none when 0.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.always_number(field, value);
        }
    }

    /// A `bool`, or an `int64` by its bits, in a field that says by being there that it was set.
    pub(super) fn always_number(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// A `fixed64`; none when 0.
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, EIGHT_BYTES);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A `double`, in a field that says by being there that it was set.
    pub(super) fn always_double(&mut self, field: u32, value: f64) {
        self.tag(field, EIGHT_BYTES);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A `fixed32`; none when 0.
    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.tag(field, FOUR_BYTES);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A message within. Its length takes `digits` bytes if the guess is good; else what was written moves.
    pub(super) fn message(&mut self, field: u32, digits: usize, write: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, DELIMITED);
        let at = self.0.len();
        self.0.resize(at + digits, 0);
        write(&mut Writer(self.0));
        let length = self.0.len() - at - digits;
        // Most are short: attributes and their values.
        if let (..0x80, 1, Some(digit)) = (length, digits, self.0.get_mut(at)) {
            *digit = length as u8;
            return;
        }
        let (bytes, needed) = varint(length as u64);
        self.0.splice(at..at + digits, bytes.into_iter().take(needed));
    }

    fn tag(&mut self, field: u32, way: u32) {
        self.varint(u64::from(field << 3 | way));
    }

    fn varint(&mut self, value: u64) {
        // Most are this short: tags, lengths of names.
        if value < 0x80 {
            return self.0.push(value as u8);
        }
        let (bytes, length) = varint(value);
        self.0.extend_from_slice(bytes.get(..length).unwrap_or_default());
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow. With its length.
fn varint(mut value: u64) -> ([u8; MOST], usize) {
    let mut bytes = [0; MOST];
    let mut length = 0;
    for byte in &mut bytes {
        length += 1;
        *byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_are_prosts(value: u64, few in 0_u64..300) {
            for value in [value, few, value >> (few % 64)] {
                let mut model = Vec::new();
                prost::encoding::encode_varint(value, &mut model);
                let (bytes, length) = varint(value);
                prop_assert_eq!(&bytes[..length], &model[..]);
            }
        }

        #[test]
        fn a_message_is_framed_whatever_was_guessed(length in 0_usize..40_000, digits in 0_usize..6, before: u8) {
            let mut buffer = vec![before];
            let inside = vec![7; length];
            Writer(&mut buffer).message(3, digits, |w| w.raw(&inside));
            let mut model = vec![before];
            prost::encoding::bytes::encode(3, &inside, &mut model);
            prop_assert_eq!(&buffer[..], &model[..]);
        }
    }
}
