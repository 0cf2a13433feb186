//! Writing protobuf: what is needed to put messages together again.

/// A number, in as few bytes as it needs.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`varint`] takes for a number.
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// A field that is a number (`int32`, `int64`, `uint32`, `bool`, an enum); negative numbers as two's complement of 64 bits.
pub fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3));
    varint(out, value);
}

/// A field of eight bytes: `fixed64`, or the bits of a `double`.
pub fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3 | 1));
    out.extend_from_slice(&value.to_le_bytes());
}

/// A field of four bytes: `fixed32`.
pub fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    varint(out, u64::from(field << 3 | 5));
    out.extend_from_slice(&value.to_le_bytes());
}

/// A field that is a text, bytes, or a message that is already encoded.
pub fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    header(out, field, value.len());
    out.extend_from_slice(value);
}

/// The beginning of a field of so many bytes, which the caller writes next.
pub fn header(out: &mut Vec<u8>, field: u32, len: usize) {
    varint(out, u64::from(field << 3 | 2));
    varint(out, len as u64);
}

/// Bytes of a field whose content has `len`, with key and length.
#[must_use]
pub const fn bytes_len(field: u32, len: usize) -> usize {
    varint_len((field << 3) as u64) + varint_len(len as u64) + len
}

#[cfg(test)]
mod tests {
    use prost::encoding::encoded_len_varint;

    use super::*;

    #[test]
    fn numbers_take_as_many_bytes_as_announced() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift] {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                varint(&mut ours, value);
                prost::encoding::encode_varint(value, &mut theirs);
                assert_eq!((&ours, ours.len()), (&theirs, varint_len(value)));
                assert_eq!(varint_len(value), encoded_len_varint(value));
            }
        }
        assert_eq!(varint_len(u64::MAX), 10);
    }

    #[test]
    fn fields_are_as_prost_writes_them() {
        use prost::encoding::{fixed32 as p32, fixed64 as p64, int64, string};
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        number(&mut ours, 3, -5_i64 as u64);
        fixed64(&mut ours, 7, 1 << 60);
        fixed32(&mut ours, 16, 0x0101);
        bytes(&mut ours, 100, b"text");
        int64::encode(3, &-5, &mut theirs);
        p64::encode(7, &(1 << 60), &mut theirs);
        p32::encode(16, &0x0101, &mut theirs);
        string::encode(100, &"text".to_owned(), &mut theirs);
        assert_eq!(ours, theirs);
        assert_eq!(bytes_len(100, 4), 7);
    }
}
