//! Columns as they are read: Arrow's arrays behind the few forms that the format has.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float64Array, StringArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::SegmentError;

/// Indexes into a dictionary.
#[derive(Debug, Clone)]
pub enum Codes {
    /// At most 256 entries.
    U8(ScalarBuffer<u8>),
    /// At most 65,536.
    U16(ScalarBuffer<u16>),
    /// More.
    U32(ScalarBuffer<u32>),
}

impl Codes {
    /// A row's index; `None` beyond the last row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<usize> {
        match self {
            Self::U8(codes) => codes.get(row).map(|c| usize::from(*c)),
            Self::U16(codes) => codes.get(row).map(|c| usize::from(*c)),
            Self::U32(codes) => codes.get(row).map(|c| *c as usize),
        }
    }

    /// The indexes, nulls and values of a dictionary.
    pub(super) fn of(array: &ArrayRef) -> Result<(Self, Option<NullBuffer>, ArrayRef), SegmentError> {
        if let Some(a) = array.as_dictionary_opt::<UInt8Type>() {
            return Ok((Self::U8(a.keys().values().clone()), a.keys().nulls().cloned(), a.values().clone()));
        }
        if let Some(a) = array.as_dictionary_opt::<UInt16Type>() {
            return Ok((Self::U16(a.keys().values().clone()), a.keys().nulls().cloned(), a.values().clone()));
        }
        if let Some(a) = array.as_dictionary_opt::<UInt32Type>() {
            return Ok((Self::U32(a.keys().values().clone()), a.keys().nulls().cloned(), a.values().clone()));
        }
        Err(unexpected(array))
    }
}

fn unexpected(array: &ArrayRef) -> SegmentError {
    SegmentError::damaged(format!("a column is of the unexpected type {}", array.data_type()))
}

/// Whole numbers of any width.
#[derive(Debug, Clone)]
pub struct Ints {
    values: Width,
    nulls: Option<NullBuffer>,
}

#[derive(Debug, Clone)]
enum Width {
    U8(ScalarBuffer<u8>),
    U16(ScalarBuffer<u16>),
    U32(ScalarBuffer<u32>),
    I8(ScalarBuffer<i8>),
    I16(ScalarBuffer<i16>),
    I32(ScalarBuffer<i32>),
    I64(ScalarBuffer<i64>),
}

impl Ints {
    /// A row's number; `None` where there is none.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<i64> {
        if self.nulls.as_ref().is_some_and(|nulls| row < nulls.len() && nulls.is_null(row)) {
            return None;
        }
        match &self.values {
            Width::U8(v) => v.get(row).map(|v| i64::from(*v)),
            Width::U16(v) => v.get(row).map(|v| i64::from(*v)),
            Width::U32(v) => v.get(row).map(|v| i64::from(*v)),
            Width::I8(v) => v.get(row).map(|v| i64::from(*v)),
            Width::I16(v) => v.get(row).map(|v| i64::from(*v)),
            Width::I32(v) => v.get(row).map(|v| i64::from(*v)),
            Width::I64(v) => v.get(row).copied(),
        }
    }

    pub(super) fn of(array: &ArrayRef) -> Result<Self, SegmentError> {
        fn values<T: ArrowPrimitiveType>(array: &ArrayRef) -> ScalarBuffer<T::Native> {
            array.as_primitive::<T>().values().clone()
        }
        let values = match array.data_type() {
            DataType::UInt8 => Width::U8(values::<UInt8Type>(array)),
            DataType::UInt16 => Width::U16(values::<UInt16Type>(array)),
            DataType::UInt32 => Width::U32(values::<UInt32Type>(array)),
            DataType::Int8 => Width::I8(values::<Int8Type>(array)),
            DataType::Int16 => Width::I16(values::<Int16Type>(array)),
            DataType::Int32 => Width::I32(values::<Int32Type>(array)),
            DataType::Int64 => Width::I64(values::<Int64Type>(array)),
            _ => return Err(unexpected(array)),
        };
        Ok(Self { values, nulls: array.nulls().cloned() })
    }
}

/// Text, mostly through a dictionary.
#[derive(Debug, Clone)]
pub struct Texts {
    codes: Option<Codes>,
    nulls: Option<NullBuffer>,
    values: Stored,
}

#[derive(Debug, Clone)]
enum Stored {
    Utf8(StringArray),
    Fixed(FixedSizeBinaryArray),
}

impl Stored {
    fn get(&self, at: usize) -> Option<&str> {
        match self {
            Self::Utf8(values) => (at < values.len()).then(|| values.value(at)),
            Self::Fixed(values) if at < values.len() => std::str::from_utf8(values.value(at)).ok(),
            Self::Fixed(_) => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Utf8(values) => values.len(),
            Self::Fixed(values) => values.len(),
        }
    }
}

impl Texts {
    /// A row's text; `None` where there is none.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        let at = self.code(row)?;
        self.values.get(at)
    }

    /// Where a row's text stands among [`Texts::stored`]; `None` where there is none.
    #[must_use]
    pub fn code(&self, row: usize) -> Option<usize> {
        if self.nulls.as_ref().is_some_and(|nulls| row < nulls.len() && nulls.is_null(row)) {
            return None;
        }
        self.codes.as_ref().map_or(Some(row), |codes| codes.get(row))
    }

    /// Whether equal texts are stored once, so that testing [`Texts::stored`] is cheaper than testing rows.
    #[must_use]
    pub fn is_dictionary(&self) -> bool {
        self.codes.is_some()
    }

    /// The texts as they are stored: each once where there is a dictionary; else one a row, empty where there is none.
    pub fn stored(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.values.len()).map(|at| self.values.get(at).unwrap_or_default())
    }

    /// For each of `rows` rows whether it has a text that passes; equal texts are mostly tested once.
    #[must_use]
    pub fn test(&self, rows: usize, passes: impl FnMut(&str) -> bool) -> Vec<bool> {
        let passed: Vec<bool> = self.stored().map(passes).collect();
        (0..rows).map(|row| self.code(row).and_then(|code| passed.get(code).copied()).unwrap_or(false)).collect()
    }

    pub(super) fn of(array: &ArrayRef) -> Result<Self, SegmentError> {
        let (codes, nulls, values) = match array.data_type() {
            DataType::Dictionary(_, _) => {
                let (codes, nulls, values) = Codes::of(array)?;
                (Some(codes), nulls, values)
            }
            _ => (None, array.nulls().cloned(), array.clone()),
        };
        let values = if let Some(values) = values.as_string_opt::<i32>() {
            Stored::Utf8(values.clone())
        } else if let Some(values) = values.as_fixed_size_binary_opt() {
            Stored::Fixed(values.clone())
        } else {
            return Err(unexpected(array));
        };
        Ok(Self { codes, nulls, values })
    }
}

/// The values of an attribute column.
#[derive(Debug, Clone)]
pub enum Cells {
    /// Text.
    Text(Texts),
    /// Whole numbers.
    Int(Ints),
    /// Doubles.
    Double(Float64Array),
    /// Truth values.
    Bool(BooleanArray),
    /// Bytes.
    Bytes(BinaryArray),
}

/// A column of bytes.
pub(super) fn binary(array: &ArrayRef) -> Result<BinaryArray, SegmentError> {
    array.as_binary_opt::<i32>().cloned().ok_or_else(|| unexpected(array))
}

/// A column of ids.
pub(super) fn fixed(array: &ArrayRef, size: i32) -> Result<FixedSizeBinaryArray, SegmentError> {
    let ids = array.as_fixed_size_binary_opt().filter(|ids| ids.value_length() == size);
    ids.cloned().ok_or_else(|| unexpected(array))
}

/// A column of doubles.
pub(super) fn doubles(array: &ArrayRef) -> Result<Float64Array, SegmentError> {
    array.as_primitive_opt().cloned().ok_or_else(|| unexpected(array))
}

/// A column of truth values.
pub(super) fn bools(array: &ArrayRef) -> Result<BooleanArray, SegmentError> {
    array.as_boolean_opt().cloned().ok_or_else(|| unexpected(array))
}
