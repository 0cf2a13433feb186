//! Arrow arrays from plain values, each in the narrowest form that holds it.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use arrow_array::types::{ArrowDictionaryKeyType, UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, FixedSizeBinaryArray, Int8Array, Int16Array, Int32Array, Int64Array,
    PrimitiveArray, StringArray, UInt8Array, UInt16Array, UInt32Array,
};
use arrow_buffer::{ArrowNativeType as _, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use foldhash::fast::FixedState;

use super::SegmentError;

/// Which of `rows` rows have a value; `None` when all do.
pub(super) fn validity(rows: usize, filled: impl ExactSizeIterator<Item = u32>) -> Option<NullBuffer> {
    (filled.len() < rows).then(|| NullBuffer::new(bits(rows, filled)))
}

/// Bits of which those at the given rows are set.
pub(super) fn bits(rows: usize, set: impl Iterator<Item = u32>) -> BooleanBuffer {
    let mut bytes = vec![0_u8; rows.div_ceil(8)];
    for row in set {
        bytes[row as usize / 8] |= 1 << (row % 8);
    }
    BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows)
}

/// Whole numbers in the narrowest type that holds them all; nulls should be 0.
pub(super) fn ints(values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    let (low, high) = values.iter().fold((0, 0), |(low, high), v| ((*v).min(low), (*v).max(high)));
    macro_rules! narrow {
        ($array:ident, $native:ty) => {{
            let buffer: ScalarBuffer<$native> = values.iter().map(|v| *v as $native).collect::<Vec<_>>().into();
            Arc::new($array::new(buffer, nulls))
        }};
    }
    match (low, high) {
        (0, 0..=0xff) => narrow!(UInt8Array, u8),
        (0, 0..=0xffff) => narrow!(UInt16Array, u16),
        (0, 0..=0xffff_ffff) => narrow!(UInt32Array, u32),
        (-0x80..=0, 0..=0x7f) => narrow!(Int8Array, i8),
        (-0x8000..=0, 0..=0x7fff) => narrow!(Int16Array, i16),
        (-0x8000_0000..=0, 0..=0x7fff_ffff) => narrow!(Int32Array, i32),
        _ => Arc::new(Int64Array::new(values.into(), nulls)),
    }
}

/// Whole numbers split at the 32nd bit: the low halves, and the high ones unless all are 0.
pub(super) fn halves(values: &[i64]) -> (ArrayRef, Option<ArrayRef>) {
    let low: Vec<u32> = values.iter().map(|v| *v as u32).collect();
    let high = values.iter().any(|v| *v >> 32 != 0);
    let high = high.then(|| ints(values.iter().map(|v| *v >> 32).collect(), None));
    (Arc::new(UInt32Array::new(low.into(), None)), high)
}

/// A dictionary with the narrowest index.
pub(super) fn keyed(codes: Vec<u32>, nulls: Option<NullBuffer>, values: ArrayRef) -> Result<ArrayRef, SegmentError> {
    fn dictionary<K: ArrowDictionaryKeyType>(
        codes: ScalarBuffer<K::Native>,
        nulls: Option<NullBuffer>,
        values: ArrayRef,
    ) -> Result<ArrayRef, SegmentError> {
        let keys = PrimitiveArray::<K>::new(codes, nulls);
        let array = DictionaryArray::<K>::try_new(keys, values).map_err(|e| SegmentError::arrow(&e))?;
        Ok(Arc::new(array))
    }
    match values.len() {
        0..=0x100 => dictionary::<UInt8Type>(codes.iter().map(|c| *c as u8).collect::<Vec<_>>().into(), nulls, values),
        0x101..=0x1_0000 => {
            dictionary::<UInt16Type>(codes.iter().map(|c| *c as u16).collect::<Vec<_>>().into(), nulls, values)
        }
        _ => dictionary::<UInt32Type>(codes.into(), nulls, values),
    }
}

/// Offsets and bytes of values that follow each other.
fn joined<'a>(values: impl Iterator<Item = &'a [u8]> + Clone) -> Result<(OffsetBuffer<i32>, Buffer), SegmentError> {
    let (count, total) = values.clone().fold((0, 0), |(count, total), v| (count + 1, total + v.len()));
    if total > i32::MAX as usize {
        return Err(SegmentError::TooLarge(format!("one column would take {total} bytes of at most {}", i32::MAX)));
    }
    let mut offsets = Vec::with_capacity(count + 1);
    let mut bytes = Vec::with_capacity(total);
    offsets.push(0);
    for value in values {
        bytes.extend_from_slice(value);
        offsets.push(i32::usize_as(bytes.len()));
    }
    Ok((OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes)))
}

/// Bytes; rows without are empty when `nulls` says so.
pub(super) fn binary<'a>(
    values: impl Iterator<Item = &'a [u8]> + Clone,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, SegmentError> {
    let (offsets, bytes) = joined(values)?;
    Ok(Arc::new(BinaryArray::try_new(offsets, bytes, nulls).map_err(|e| SegmentError::arrow(&e))?))
}

/// Text; what is no UTF-8 is an error.
fn utf8<'a>(
    values: impl Iterator<Item = &'a [u8]> + Clone,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, SegmentError> {
    let (offsets, bytes) = joined(values)?;
    Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls).map_err(|e| SegmentError::arrow(&e))?))
}

/// Byte strings of one length.
pub(super) fn fixed(size: usize, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef, SegmentError> {
    let size = i32::try_from(size).map_err(|_| SegmentError::TooLarge(format!("a text of {size} bytes")))?;
    let array = FixedSizeBinaryArray::try_new(size, Buffer::from_vec(bytes), nulls);
    Ok(Arc::new(array.map_err(|e| SegmentError::arrow(&e))?))
}

/// Texts of one length have no offsets when they are at most this long.
const FIXED: usize = 64;

/// A column of text, and the values for the filter: each once where a dictionary was made.
pub(super) struct Text<'a> {
    pub(super) array: ArrayRef,
    pub(super) values: Vec<&'a [u8]>,
}

/// Text of `count` cells of `rows` rows; `cell` gives the n-th cell's row and value.
pub(super) fn text<'a>(
    rows: usize,
    count: usize,
    cell: impl Fn(usize) -> (u32, &'a [u8]),
) -> Result<Text<'a>, SegmentError> {
    let nulls = validity(rows, (0..count).map(|n| cell(n).0));
    let mut distinct = Distinct::default();
    let mut codes = vec![0_u32; rows];
    let mut differ = false;
    for n in 0..count {
        let (row, value) = cell(n);
        codes[row as usize] = distinct.code(value);
        // What differs three times in four differs to the end, as ids do.
        if n & 0xff == 0xff && distinct.values.len() * 4 > n * 3 {
            differ = true;
            break;
        }
    }
    let seen = distinct.values.len();
    if !differ && (seen < 64 || seen * 2 <= count) {
        let values = utf8(distinct.values.iter().copied(), None)?;
        return Ok(Text { array: keyed(codes, nulls, values)?, values: distinct.values });
    }
    let values: Vec<&[u8]> = (0..count).map(|n| cell(n).1).collect();
    let size = values.first().map_or(0, |v| v.len());
    // Offsets of texts of one length would cost more than they say.
    if (1..=FIXED).contains(&size)
        && values.iter().all(|v| v.len() == size)
        && values.iter().all(|v| std::str::from_utf8(v).is_ok())
    {
        let mut bytes = vec![0; rows * size];
        for n in 0..count {
            let (row, value) = cell(n);
            bytes[row as usize * size..][..size].copy_from_slice(value);
        }
        return Ok(Text { array: fixed(size, bytes, nulls)?, values });
    }
    let mut spread: Vec<&[u8]> = vec![&[]; rows];
    for n in 0..count {
        let (row, value) = cell(n);
        spread[row as usize] = value;
    }
    Ok(Text { array: utf8(spread.into_iter(), nulls)?, values })
}

/// Whether two byte strings are equal. Short ones, as keys and values mostly are, are compared without a call.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        // Two words meet or overlap, or four do.
        8..=16 => words(a) == words(b),
        17..=32 => words(&a[..16]) == words(&b[..16]) && words(&a[a.len() - 16..]) == words(&b[b.len() - 16..]),
        _ => a == b,
    }
}

/// The first and the last eight bytes.
#[inline]
fn words(bytes: &[u8]) -> Option<(u64, u64)> {
    let (first, last) = (bytes.first_chunk()?, bytes.last_chunk()?);
    Some((u64::from_ne_bytes(*first), u64::from_ne_bytes(*last)))
}

/// Numbers byte strings in the order met.
pub(super) struct Distinct<'a> {
    /// Half a hash, and the number plus one; 0 is free. A power of two of them, at most half taken.
    slots: Vec<(u32, u32)>,
    pub(super) values: Vec<&'a [u8]>,
    /// The last one asked for: the spans of a request are much alike.
    last: u32,
    hasher: FixedState,
}

impl Default for Distinct<'_> {
    fn default() -> Self {
        Self { slots: vec![(0, 0); 64], values: Vec::new(), last: 0, hasher: FixedState::default() }
    }
}

impl<'a> Distinct<'a> {
    /// The number of a value.
    #[inline]
    pub(super) fn code(&mut self, value: &'a [u8]) -> u32 {
        if self.values.get(self.last as usize).is_none_or(|last| !same(last, value)) {
            self.last = self.look_up(value);
        }
        self.last
    }

    fn look_up(&mut self, value: &'a [u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(value);
        let hash = hasher.finish();
        let (mut at, half) = (hash as usize, (hash >> 32) as u32);
        let mask = self.slots.len() - 1;
        loop {
            at &= mask;
            match self.slots[at] {
                (_, 0) => break,
                (other, number) if other == half && same(self.values[number as usize - 1], value) => return number - 1,
                _ => at += 1,
            }
        }
        self.values.push(value);
        let number = self.values.len() as u32;
        self.slots[at] = (half, number);
        if self.values.len() * 2 > self.slots.len() {
            self.grow();
        }
        number - 1
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(size, (0, 0));
        for (i, value) in self.values.iter().enumerate() {
            let mut hasher = self.hasher.build_hasher();
            hasher.write(value);
            let hash = hasher.finish();
            let mut at = hash as usize & (size - 1);
            while self.slots[at].1 != 0 {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = ((hash >> 32) as u32, i as u32 + 1);
        }
    }
}

/// Numbers in a dictionary, and each of them once.
pub(super) fn numbers(values: &[i64]) -> Result<(ArrayRef, Vec<i64>), SegmentError> {
    let mut known: std::collections::HashMap<i64, u32, FixedState> = std::collections::HashMap::default();
    let mut distinct = Vec::new();
    let mut last = None;
    let codes = values
        .iter()
        .map(|value| {
            let value = *value;
            if let Some((known, code)) = last
                && known == value
            {
                return code;
            }
            let code = *known.entry(value).or_insert_with(|| {
                distinct.push(value);
                distinct.len() as u32 - 1
            });
            last = Some((value, code));
            code
        })
        .collect();
    let array = keyed(codes, None, Arc::new(Int64Array::new(distinct.clone().into(), None)))?;
    Ok((array, distinct))
}
