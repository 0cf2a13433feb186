//! The format of a block of log records.
//!
//! Little-endian; a *number* is LEB128, a *step* a number with its sign in the lowest bit (zigzag).
//!
//! | bytes | |
//! |---|---|
//! | 0 | `L` |
//! | 1 | version, `1` |
//! | 2..6 | low half of `xxh3_64` of all that follows |
//! | then | for each of the three parts: number of bytes unpacked, number of bytes packed |
//! | then | the three parts, each packed with Zstandard |
//!
//! The first part has the columns, one after the other; rows are sorted by time, then by arrival, then as they were sent:
//!
//! | column | |
//! |---|---|
//! | rows | number |
//! | senders | number of them, then each as a step from the one before, ascending |
//! | arrivals | likewise |
//! | traces | number of them; each 16 bytes, number of its spans, 8 bytes each span |
//! | time | a step from the row before, nanoseconds |
//! | flags | 1 byte: 1 the event's own time was sent, 2 observed time was sent, 4 the body is a text, 8 has trace or span |
//! | severity | 1 byte |
//! | sender, arrival | number, position in the lists above |
//! | observed | a step from the time, of rows with flag 2 |
//! | trace and span | number, position among all spans of all traces above, of rows with flag 8 |
//! | text | number of bytes, of rows with flag 4 |
//! | rest | number of bytes |
//!
//! The second part has the texts, the third the rests: OTLP's `LogRecord` without what has a column.

use std::collections::BTreeMap;

use super::parts::Entry;
use crate::otlp::write::varint;

/// Why a block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block of log records is damaged: {0}")]
pub(crate) struct Damaged(&'static str);

const TIMED: u8 = 1;
const OBSERVED: u8 = 2;
const TEXT: u8 = 4;
const CONTEXT: u8 = 8;

/// A trace and a span of it; all zeros for none.
type Context = ([u8; 16], [u8; 8]);

/// Bytes that a part may have unpacked: far more than a commit takes.
const MOST: u64 = 1 << 30;

/// How hard a block of so many rows is packed: what is merged again soon, lightly.
fn level(rows: usize) -> i32 {
    if rows < 1_000 { 1 } else { 3 }
}

fn step(from: i64, to: i64) -> u64 {
    let by = to.wrapping_sub(from);
    ((by << 1) ^ (by >> 63)) as u64
}

fn unstep(from: i64, step: u64) -> i64 {
    from.wrapping_add((step >> 1) as i64 ^ -((step & 1) as i64))
}

/// The distinct of some numbers, ascending.
fn distinct(of: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut all: Vec<i64> = of.collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn write_list(out: &mut Vec<u8>, list: &[i64]) {
    varint(out, list.len() as u64);
    let mut last = 0;
    for n in list {
        varint(out, step(last, *n));
        last = *n;
    }
}

/// Makes a block of records, in any order.
pub(crate) fn encode(entries: &[Entry<'_>]) -> std::io::Result<Vec<u8>> {
    let mut rows: Vec<&Entry<'_>> = entries.iter().collect();
    rows.sort_by_key(|e| (e.time, e.arrival));
    let mut head = Vec::with_capacity(rows.len() * 16);
    varint(&mut head, rows.len() as u64);
    let origins = distinct(rows.iter().map(|e| e.origin));
    let arrivals = distinct(rows.iter().map(|e| e.arrival));
    write_list(&mut head, &origins);
    write_list(&mut head, &arrivals);
    let contexts = write_contexts(&mut head, &rows);
    let mut last = 0;
    for e in &rows {
        varint(&mut head, step(last, e.time));
        last = e.time;
    }
    let has_context = |e: &Entry<'_>| e.context != ([0; 16], [0; 8]);
    head.extend(rows.iter().map(|e| {
        let flag = |is: bool, bit: u8| if is { bit } else { 0 };
        flag(e.timed, TIMED)
            | flag(e.observed.is_some(), OBSERVED)
            | flag(e.text.is_some(), TEXT)
            | flag(has_context(e), CONTEXT)
    }));
    head.extend(rows.iter().map(|e| e.severity));
    let place = |list: &[i64], n: i64| list.binary_search(&n).unwrap_or(0) as u64;
    rows.iter().for_each(|e| varint(&mut head, place(&origins, e.origin)));
    rows.iter().for_each(|e| varint(&mut head, place(&arrivals, e.arrival)));
    for e in &rows {
        if let Some(observed) = e.observed {
            varint(&mut head, step(e.time, observed as i64));
        }
    }
    for e in rows.iter().filter(|e| has_context(e)) {
        varint(&mut head, contexts.get(&e.context).copied().unwrap_or(0));
    }
    rows.iter().filter_map(|e| e.text).for_each(|text| varint(&mut head, text.len() as u64));
    rows.iter().for_each(|e| varint(&mut head, e.rest.len() as u64));
    let texts: Vec<u8> = rows.iter().filter_map(|e| e.text).flatten().copied().collect();
    let rests: Vec<u8> = rows.iter().flat_map(|e| e.rest).copied().collect();
    seal(&[head, texts, rests], level(rows.len()))
}

/// Writes the traces with their spans; gives the position of each pair.
fn write_contexts(head: &mut Vec<u8>, rows: &[&Entry<'_>]) -> BTreeMap<Context, u64> {
    let mut contexts: BTreeMap<Context, u64> = rows.iter().map(|e| (e.context, 0)).collect();
    contexts.remove(&([0; 16], [0; 8]));
    contexts.values_mut().enumerate().for_each(|(i, place)| *place = i as u64);
    let all: Vec<_> = contexts.keys().collect();
    let traces = || all.chunk_by(|a, b| a.0 == b.0);
    varint(head, traces().count() as u64);
    for spans in traces() {
        head.extend_from_slice(&spans[0].0);
        varint(head, spans.len() as u64);
        spans.iter().for_each(|(_, span)| head.extend_from_slice(span));
    }
    contexts
}

fn seal(parts: &[Vec<u8>; 3], level: i32) -> std::io::Result<Vec<u8>> {
    let mut out = vec![b'L', 1, 0, 0, 0, 0];
    let mut packed = Vec::with_capacity(3);
    for part in parts {
        let bytes = zstd::bulk::compress(part, level)?;
        varint(&mut out, part.len() as u64);
        varint(&mut out, bytes.len() as u64);
        packed.push(bytes);
    }
    packed.iter().for_each(|bytes| out.extend_from_slice(bytes));
    let sum = twox_hash::XxHash3_64::oneshot(&out[6..]) as u32;
    out[2..6].copy_from_slice(&sum.to_le_bytes());
    Ok(out)
}

/// Takes from bytes what a block is made of.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Damaged("it ends within a number"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged("a number is too long"))
    }

    /// How many of something follow, of which each takes `width` bytes at least.
    fn count(&mut self, width: usize) -> Result<usize, Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged("a count is too large"))?;
        if count.saturating_mul(width) > self.0.len() {
            return Err(Damaged("a count is too large"));
        }
        Ok(count)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Damaged("it is too short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn id<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.bytes(N)?.try_into().map_err(|_| Damaged("it is too short"))
    }

    fn list(&mut self) -> Result<Vec<i64>, Damaged> {
        let mut last = 0;
        let count = self.count(1)?;
        let mut next = || {
            last = unstep(last, self.number()?);
            Ok(last)
        };
        (0..count).map(|_| next()).collect()
    }
}

/// What stands in the columns of one row.
#[derive(Debug, Clone, Copy)]
struct Row {
    time: i64,
    flags: u8,
    severity: u8,
    origin: i64,
    arrival: i64,
    observed: u64,
    context: u32,
    /// How many rows before it have the same time and arrival.
    nth: u32,
    text: (u32, u32),
    rest: (u32, u32),
}

/// A block whose columns have been read.
#[derive(Debug)]
pub(crate) struct Block {
    rows: Vec<Row>,
    contexts: Vec<Context>,
    /// Packed, with their length unpacked.
    texts: (Vec<u8>, u64),
    rests: (Vec<u8>, u64),
}

impl Block {
    /// Reads the columns.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (header, rest) = bytes.split_at_checked(6).ok_or(Damaged("it is too short"))?;
        if header[..2] != *b"L\x01" {
            return Err(Damaged("it is of another format; a newer version may have written it"));
        }
        if header[2..] != (twox_hash::XxHash3_64::oneshot(rest) as u32).to_le_bytes() {
            return Err(Damaged("it is not what was written"));
        }
        let mut read = Reader(rest);
        let mut sizes = [(0, 0); 3];
        for size in &mut sizes {
            *size = (read.number()?, read.count(0)?);
        }
        let [head, texts, rests] = sizes;
        let columns = unpack(read.bytes(head.1)?, head.0)?;
        let texts = (read.bytes(texts.1)?.to_vec(), texts.0);
        let rests = (read.bytes(rests.1)?.to_vec(), rests.0);
        let mut read = Reader(&columns);
        let count = read.count(6)?;
        let (origins, arrivals) = (read.list()?, read.list()?);
        let contexts = read_contexts(&mut read)?;
        let rows = read_rows(&mut read, count, &origins, &arrivals, &contexts)?;
        Ok(Self { rows, contexts, texts, rests })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn time(&self, at: usize) -> i64 {
        self.rows[at].time
    }

    pub(crate) fn arrival(&self, at: usize) -> i64 {
        self.rows[at].arrival
    }

    pub(crate) fn origin(&self, at: usize) -> i64 {
        self.rows[at].origin
    }

    pub(crate) fn severity(&self, at: usize) -> u8 {
        self.rows[at].severity
    }

    /// Its trace and span; all zeros for none.
    pub(crate) fn context(&self, at: usize) -> Context {
        let row = &self.rows[at];
        match row.flags & CONTEXT {
            0 => ([0; 16], [0; 8]),
            _ => self.contexts.get(row.context as usize).copied().unwrap_or_default(),
        }
    }

    /// How many rows before it have the same time and arrival.
    pub(crate) fn nth(&self, at: usize) -> u32 {
        self.rows[at].nth
    }

    /// Unpacks the texts and the rests.
    pub(crate) fn texts(&self) -> Result<Texts, Damaged> {
        Ok(Texts { texts: unpack(&self.texts.0, self.texts.1)?, rests: unpack(&self.rests.0, self.rests.1)? })
    }

    /// A whole record, with the block's texts.
    pub(crate) fn entry<'a>(&self, texts: &'a Texts, at: usize) -> Entry<'a> {
        let row = &self.rows[at];
        let part = |bytes: &'a [u8], (from, len): (u32, u32)| {
            let from = from as usize;
            bytes.get(from..from.saturating_add(len as usize)).unwrap_or_default()
        };
        Entry {
            time: row.time,
            timed: row.flags & TIMED != 0,
            observed: (row.flags & OBSERVED != 0).then_some(row.observed),
            severity: row.severity,
            origin: row.origin,
            arrival: row.arrival,
            context: self.context(at),
            text: (row.flags & TEXT != 0).then(|| part(&texts.texts, row.text)),
            rest: part(&texts.rests, row.rest),
        }
    }

    /// All records, with the block's texts.
    pub(crate) fn entries<'a>(&'a self, texts: &'a Texts) -> impl Iterator<Item = Entry<'a>> {
        (0..self.len()).map(|at| self.entry(texts, at))
    }
}

/// What of a block is in no column.
#[derive(Debug)]
pub(crate) struct Texts {
    texts: Vec<u8>,
    rests: Vec<u8>,
}

fn unpack(bytes: &[u8], length: u64) -> Result<Vec<u8>, Damaged> {
    let length = usize::try_from(length.min(MOST)).unwrap_or(0);
    let out = zstd::bulk::decompress(bytes, length).map_err(|_| Damaged("a part cannot be unpacked"))?;
    if out.len() == length { Ok(out) } else { Err(Damaged("a part has another length")) }
}

fn read_contexts(read: &mut Reader<'_>) -> Result<Vec<Context>, Damaged> {
    let mut contexts = Vec::new();
    for _ in 0..read.count(17)? {
        let trace = read.id()?;
        for _ in 0..read.count(8)? {
            contexts.push((trace, read.id()?));
        }
    }
    Ok(contexts)
}

fn read_rows(
    read: &mut Reader<'_>,
    count: usize,
    origins: &[i64],
    arrivals: &[i64],
    contexts: &[Context],
) -> Result<Vec<Row>, Damaged> {
    let mut rows = Vec::with_capacity(count);
    let mut time = 0;
    for _ in 0..count {
        time = unstep(time, read.number()?);
        let zero = Row {
            time,
            flags: 0,
            severity: 0,
            origin: 0,
            arrival: 0,
            observed: 0,
            context: 0,
            nth: 0,
            text: (0, 0),
            rest: (0, 0),
        };
        rows.push(zero);
    }
    for (row, flags) in rows.iter_mut().zip(read.bytes(count)?) {
        row.flags = *flags;
    }
    for (row, severity) in rows.iter_mut().zip(read.bytes(count)?) {
        row.severity = *severity;
    }
    let of = |list: &[i64], at: u64| {
        let found = usize::try_from(at).ok().and_then(|at| list.get(at));
        found.copied().ok_or(Damaged("a row points beyond a list"))
    };
    for row in &mut rows {
        row.origin = of(origins, read.number()?)?;
    }
    for row in &mut rows {
        row.arrival = of(arrivals, read.number()?)?;
    }
    let mut before = None;
    let mut nth = 0;
    for row in &mut rows {
        let place = (row.time, row.arrival);
        nth = if before.replace(place) == Some(place) { nth + 1 } else { 0 };
        row.nth = nth;
    }
    for row in rows.iter_mut().filter(|r| r.flags & OBSERVED != 0) {
        row.observed = unstep(row.time, read.number()?) as u64;
    }
    for row in rows.iter_mut().filter(|r| r.flags & CONTEXT != 0) {
        let at = u32::try_from(read.number()?).ok().filter(|at| (*at as usize) < contexts.len());
        row.context = at.ok_or(Damaged("a row points beyond a list"))?;
    }
    let too_long = Damaged("a part is too long");
    let stretch = |from: &mut u32, len: u64| {
        let stretch = (*from, u32::try_from(len).map_err(|_| too_long)?);
        *from = from.checked_add(stretch.1).ok_or(too_long)?;
        Ok(stretch)
    };
    let mut from = 0;
    for row in rows.iter_mut().filter(|r| r.flags & TEXT != 0) {
        row.text = stretch(&mut from, read.number()?)?;
    }
    let mut from = 0;
    for row in &mut rows {
        row.rest = stretch(&mut from, read.number()?)?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::store::logs::LogParts;

    fn record() -> impl Strategy<Value = (LogParts, i64, i64)> {
        let context = prop_oneof![Just(([0; 16], [0; 8])), (0..4_u8, 0..3_u8).prop_map(|(t, s)| ([t; 16], [s; 8]))];
        let text = proptest::option::of("[a-zü ]{0,20}");
        let rest = proptest::collection::vec(any::<u8>(), 0..20);
        let time = prop_oneof![any::<i64>(), 0..5_i64];
        let parts = (time, any::<bool>(), proptest::option::of(any::<u64>()), 0..=24_u8, context, text, rest);
        let parts = parts.prop_map(|(time, timed, observed, severity, context, text, rest)| LogParts {
            time,
            timed,
            observed,
            severity,
            context,
            text,
            rest,
        });
        (parts, any::<i64>(), 0..3_i64)
    }

    proptest! {
        #[test]
        fn blocks_come_back_sorted_and_damage_is_found(
            records in proptest::collection::vec(record(), 0..40), bit in any::<usize>(),
        ) {
            let mut entries: Vec<Entry<'_>> = records.iter().map(|(p, o, a)| Entry::of(p, *o, *a)).collect();
            let mut bytes = encode(&entries).expect("packed");
            let block = Block::decode(&bytes).expect("sound");
            let texts = block.texts().expect("sound");
            entries.sort_by_key(|e| (e.time, e.arrival));
            prop_assert_eq!(block.entries(&texts).collect::<Vec<_>>(), entries.clone());
            for (i, e) in entries.iter().enumerate() {
                prop_assert_eq!((block.time(i), block.arrival(i), block.origin(i)), (e.time, e.arrival, e.origin));
                prop_assert_eq!((block.severity(i), block.context(i)), (e.severity, e.context));
                let same = entries[..i].iter().filter(|o| (o.time, o.arrival) == (e.time, e.arrival)).count();
                prop_assert_eq!(block.nth(i) as usize, same);
            }
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Block::decode(&bytes).is_err());
            bytes.truncate(bit / 8);
            prop_assert!(Block::decode(&bytes).is_err());
        }
    }

    #[test]
    fn ordinary_records_take_a_sixth_of_what_a_row_each_takes() {
        let any = |s: &str| Some(AnyValue { value: Some(Value::StringValue(s.to_owned())) });
        let attribute = |key: &str, value: &str| KeyValue { key: key.into(), value: any(value), key_strindex: 0 };
        let id = |i: i64| *blake3::hash(&i.to_le_bytes()).as_bytes();
        let records: Vec<LogParts> = (0..8_192_i64)
            .map(|i| {
                let time = 1_700_000_000_000_000_000 + i * 1_234_567;
                let body = format!("charged card of customer {} for order {}", i * 7919 % 1000, i * 104_729 % 100_000);
                let record = LogRecord {
                    time_unix_nano: time as u64,
                    observed_time_unix_nano: time as u64 + 4_321,
                    severity_number: [9, 9, 9, 13, 17][i as usize % 5],
                    severity_text: "INFO".into(),
                    body: any(&body),
                    attributes: vec![
                        attribute("thread.name", &format!("worker-{}", i % 7)),
                        attribute("code.file.path", "src/charge.rs"),
                    ],
                    trace_id: id(i / 3)[..16].to_vec(),
                    span_id: id(-i / 2)[..8].to_vec(),
                    ..LogRecord::default()
                };
                LogParts::of(record, time)
            })
            .collect();
        let entries: Vec<Entry<'_>> = records.iter().map(|p| Entry::of(p, 3, 5)).collect();
        let bytes = encode(&entries).expect("packed").len() / records.len();
        // The whole record, its columns, and a line in an index by time and in one by trace.
        let rows: usize = entries.iter().map(|e| e.whole().expect("whole").encoded_len() + 50 + 12 + 21).sum();
        let row = rows / records.len();
        assert!(bytes * 6 <= row, "{bytes} bytes a record against {row}");
    }
}
