//! What a segment surely does not hold.
//!
//! Both filters are binary fuse filters ([Graf and Lemire, 2022](https://arxiv.org/abs/2201.01174)) over 64-bit hashes, and
//! are asked as they are stored. Little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 0 | `T` for traces, `V` for values |
//! | 1 | version, `1` |
//! | 2..4 | number of open keys, each a hash of 8 bytes; `0xffff`: the filter says nothing, all may be there |
//! | 4..8 | low half of `xxh3_64` of all that follows |
//! | 8..16 | seed of the fuse filter |
//! | 16..20 | length of a fuse segment, a power of two |
//! | 20..24 | length of all fuse segments but the last two; 0 when nothing is in the filter |
//! | then | the open keys, ascending |
//! | then | fingerprints: `uint16` each for traces, `uint8` for values |
//!
//! A trace's hash is `xxh3_64(trace id)`; a value's `xxh3_64(value as text, seed = xxh3_64(key))`. *Open* is a key with so
//! many values that they are not in the filter.

use std::fmt::{Display, Write as _};

use fuseboard_api::attr::AttrValue;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use prost::Message as _;
use xorf::{BinaryFuse8, BinaryFuse16, Descriptor};

use super::SegmentError;
use super::checksum::{hash, hash_with};
use crate::otlp::words;

/// The key under which names of spans stand in a [`ValueFilter`].
pub const NAME_KEY: &str = "\0name";

/// The key under which peers of spans stand in a [`ValueFilter`].
pub const PEER_KEY: &str = "\0peer";

/// Bytes before the open keys.
const HEADER: usize = 24;

/// Says that a filter says nothing.
const SILENT: u16 = u16::MAX;

/// Values in a filter: at most so many, and two a row.
const VALUES: usize = 4096;

/// Distinct doubles of a key that go into a filter at most.
const DOUBLES: usize = 256;

/// Which traces a segment surely does not hold; of a thousand million others it takes 15 thousand for its own.
#[derive(Debug, Clone, Copy)]
pub struct TraceFilter;

impl TraceFilter {
    /// The filter over distinct traces.
    #[must_use]
    pub fn of(traces: &[[u8; 16]]) -> Vec<u8> {
        self::traces(traces)
    }

    /// Whether the trace may be in the segment; true as well when the filter is damaged.
    #[must_use]
    pub fn contains(bytes: &[u8], trace: &[u8; 16]) -> bool {
        Stored::read(bytes, b'T', 2).is_none_or(|stored| stored.may_have(hash(trace)))
    }

    /// Checks a filter read from the file.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn check(bytes: &[u8]) -> Result<(), SegmentError> {
        check(bytes, b'T', 2)
    }
}

/// Which attribute values, names and peers a segment surely does not hold; it takes one of 256 others for its own.
#[derive(Debug, Clone, Copy)]
pub struct ValueFilter;

impl ValueFilter {
    /// Whether a span of the segment may have the attribute `key` with that value as [`AttrValue`] shows it; for names and
    /// peers see [`NAME_KEY`] and [`PEER_KEY`]. True as well when the filter is damaged.
    #[must_use]
    pub fn may_have(bytes: &[u8], key: &str, value: &str) -> bool {
        let Some(stored) = Stored::read(bytes, b'V', 1) else { return true };
        let key = hash(key.as_bytes());
        stored.is_open(key) || stored.may_have(hash_with(key, value.as_bytes()))
    }

    /// Checks a filter read from the file.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn check(bytes: &[u8]) -> Result<(), SegmentError> {
        check(bytes, b'V', 1)
    }
}

/// A filter where it lies.
struct Stored<'a> {
    open: &'a [u8],
    fuse: Fuse,
    fingerprints: &'a [u8],
    /// Bytes a fingerprint.
    width: usize,
}

impl<'a> Stored<'a> {
    /// `None` when it says nothing or does not fit itself.
    fn read(bytes: &'a [u8], kind: u8, width: usize) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let u32_at = |at: usize| header.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let open = u16::from_le_bytes([*header.get(2)?, *header.get(3)?]);
        if header.first() != Some(&kind) || header.get(1) != Some(&1) || open == SILENT {
            return None;
        }
        let (open, fingerprints) = rest.split_at_checked(usize::from(open) * 8)?;
        let (length, counted) = (u32_at(16)?, u32_at(20)?);
        let fits = length.is_power_of_two()
            && (counted == 0 && fingerprints.is_empty()
                || fingerprints.len() as u64 == (u64::from(counted) + 2 * u64::from(length)) * width as u64);
        let seed = u64::from_le_bytes(header.get(8..16)?.try_into().ok()?);
        let fuse = Fuse { seed, length, counted };
        fits.then_some(Self { open, fuse, fingerprints, width })
    }

    fn is_open(&self, key: u64) -> bool {
        let keys = self.open.as_chunks::<8>().0;
        keys.binary_search_by_key(&key, |k| u64::from_le_bytes(*k)).is_ok()
    }

    fn may_have(&self, key: u64) -> bool {
        if self.fuse.counted == 0 {
            return false;
        }
        let (hash, [a, b, c]) = self.fuse.places(key);
        let at = |i: u32| match self.width {
            1 => self.fingerprints.get(i as usize).copied().map(u16::from),
            _ => self.fingerprints.as_chunks::<2>().0.get(i as usize).copied().map(u16::from_le_bytes),
        };
        let (Some(a), Some(b), Some(c)) = (at(a), at(b), at(c)) else { return true };
        let own = (hash ^ hash >> 32) as u16;
        let mask = if self.width == 1 { 0xff } else { 0xffff };
        (own ^ a ^ b ^ c) & mask == 0
    }
}

fn check(bytes: &[u8], kind: u8, width: usize) -> Result<(), SegmentError> {
    let damaged = || SegmentError::damaged("its filter is not what was written");
    let sum = bytes.get(4..8).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).ok_or_else(damaged)?;
    let rest = bytes.get(8..).ok_or_else(damaged)?;
    let silent = bytes.get(..4) == Some(&[kind, 1, 0xff, 0xff]);
    if sum != hash(rest) as u32 || !silent && Stored::read(bytes, kind, width).is_none() {
        return Err(damaged());
    }
    Ok(())
}

/// A filter as it is stored; `None` for one that says nothing.
fn store(kind: u8, open: &[u64], fuse: Option<(Fuse, Vec<u8>)>) -> Vec<u8> {
    let keys = if fuse.is_some() { u16::try_from(open.len()).unwrap_or(SILENT) } else { SILENT };
    let (fuse, fingerprints) = fuse.filter(|_| keys != SILENT).unwrap_or((NOTHING, Vec::new()));
    let mut bytes = Vec::with_capacity(HEADER + open.len() * 8 + fingerprints.len());
    bytes.extend_from_slice(&[kind, 1]);
    bytes.extend_from_slice(&keys.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&fuse.seed.to_le_bytes());
    bytes.extend_from_slice(&fuse.length.to_le_bytes());
    bytes.extend_from_slice(&fuse.counted.to_le_bytes());
    if keys != SILENT {
        open.iter().for_each(|key| bytes.extend_from_slice(&key.to_le_bytes()));
    }
    bytes.extend_from_slice(&fingerprints);
    let sum = hash(&bytes[8..]) as u32;
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The shape of a fuse filter.
#[derive(Debug, Clone, Copy)]
struct Fuse {
    seed: u64,
    /// Of a segment.
    length: u32,
    /// Of all segments but the last two.
    counted: u32,
}

/// The fuse filter of no keys.
const NOTHING: Fuse = Fuse { seed: 0, length: 1, counted: 0 };

impl Fuse {
    /// The key's hash under the seed (MurmurHash3's finalizer), and the places of its three fingerprints: in neighbouring
    /// segments, so that they are near in memory.
    fn places(self, key: u64) -> (u64, [u32; 3]) {
        let mut hash = key.wrapping_add(self.seed);
        hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 33;
        let mask = self.length.wrapping_sub(1);
        let first = ((u128::from(hash) * u128::from(self.counted)) >> 64) as u32;
        let second = (first + self.length) ^ ((hash >> 18) as u32 & mask);
        let third = (first + 2 * self.length) ^ (hash as u32 & mask);
        (hash, [first, second, third])
    }
}

impl From<&Descriptor> for Fuse {
    fn from(d: &Descriptor) -> Self {
        Self { seed: d.seed, length: d.segment_length, counted: d.segment_count_length }
    }
}

/// The filter over distinct traces.
pub(super) fn traces(ids: &[[u8; 16]]) -> Vec<u8> {
    let mut hashes: Vec<u64> = ids.iter().map(|id| hash(id)).collect();
    // Two of 2^64 hardly ever meet; when they do, one speaks for both.
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.is_empty() {
        return store(b'T', &[], Some((NOTHING, Vec::new())));
    }
    let fuse = BinaryFuse16::try_from(&hashes).ok();
    let fuse = fuse.map(|f| (Fuse::from(&f.descriptor), f.fingerprints.iter().flat_map(|p| p.to_le_bytes()).collect()));
    store(b'T', &[], fuse)
}

/// The filter over the values of a segment of so many rows.
pub(super) fn values(mut of_keys: Vec<ValueHashes>, rows: usize) -> Vec<u8> {
    let room = rows * 2 + VALUES;
    of_keys.sort_by_key(|key| key.hashes.len());
    let (mut hashes, mut open) = (Vec::new(), Vec::new());
    for key in of_keys {
        if !key.open && hashes.len() + key.hashes.len() <= room {
            hashes.extend(key.hashes);
        } else {
            open.push(key.key);
        }
    }
    open.sort_unstable();
    open.dedup();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.is_empty() {
        return store(b'V', &open, Some((NOTHING, Vec::new())));
    }
    let fuse = BinaryFuse8::try_from(&hashes).ok();
    store(b'V', &open, fuse.map(|f| (Fuse::from(&f.descriptor), f.fingerprints.into_vec())))
}

/// The hashes of a key's values.
#[derive(Debug)]
pub(super) struct ValueHashes {
    key: u64,
    hashes: Vec<u64>,
    /// Whether there are too many to go into the filter.
    open: bool,
    /// Room for a value's text.
    text: String,
}

impl ValueHashes {
    /// None yet.
    pub(super) fn of(key: &[u8]) -> Self {
        Self { key: hash(key), hashes: Vec::new(), open: false, text: String::new() }
    }

    /// A text.
    pub(super) fn text(&mut self, value: &[u8]) {
        self.hashes.push(hash_with(self.key, value));
    }

    /// What is shown the way [`AttrValue`] shows it.
    pub(super) fn shown(&mut self, value: impl Display) {
        self.text.clear();
        // Writing to a string does not fail.
        if write!(self.text, "{value}").is_ok() {
            self.hashes.push(hash_with(self.key, self.text.as_bytes()));
        }
    }

    /// Whole numbers, each once.
    pub(super) fn ints(&mut self, values: impl Iterator<Item = i64> + Clone) {
        let (low, high) = values.clone().fold((i64::MAX, i64::MIN), |(low, high), v| (v.min(low), v.max(high)));
        if high.checked_sub(low).is_some_and(|range| range < 1 << 16) {
            let mut met = vec![false; (high - low) as usize + 1];
            values.for_each(|v| met[(v - low) as usize] = true);
            (low..=high).zip(met).filter(|(_, met)| *met).for_each(|(v, _)| self.shown(v));
        } else {
            let mut distinct: Vec<i64> = values.collect();
            distinct.sort_unstable();
            distinct.dedup();
            distinct.into_iter().for_each(|v| self.shown(v));
        }
    }

    /// Doubles as bits, each once. Of measurements there are many, and nobody looks for one that is exactly so much.
    pub(super) fn doubles(&mut self, values: impl Iterator<Item = u64>) {
        let mut distinct: Vec<u64> = values.collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() > DOUBLES {
            self.open = true;
            return;
        }
        distinct.into_iter().for_each(|v| self.shown(f64::from_bits(v)));
    }

    /// Truth values.
    pub(super) fn bools(&mut self, values: impl Iterator<Item = bool>) {
        let (mut no, mut yes) = (false, false);
        values.for_each(|v| if v { yes = true } else { no = true });
        [(no, false), (yes, true)].into_iter().filter(|(met, _)| *met).for_each(|(_, v)| self.shown(v));
    }

    /// Bytes, which are shown in hexadecimal.
    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.shown(AttrValue::Bytes(value.to_vec()));
    }

    /// The value of an encoded `KeyValue`.
    pub(super) fn encoded(&mut self, key_value: &[u8]) {
        if let Ok(attribute) = KeyValue::decode(key_value) {
            self.shown(words::value(attribute.value));
        }
    }
}
