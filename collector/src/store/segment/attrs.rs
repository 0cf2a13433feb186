//! Attributes into columns.
//!
//! Most spans of a service carry the same keys in the same order. So the keys of a span are followed along a tree whose
//! paths are the orders met so far: a key is compared with the one that came here before, and hardly ever looked up. The
//! end of the path is the span's shape.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array};
use foldhash::fast::FixedState;

use super::filter::ValueHashes;
use super::order::{Order, Row};
use super::{SegmentError, arrays, name};
use crate::otlp::{FlatAttr, Slice, SpanTape, Tag, write};

/// Attribute columns of a segment at most.
const COLUMNS: usize = 200;

/// Segments of fewer rows give every key a column, as far as [`COLUMNS`] reach.
const SMALL: usize = 2048;

/// In larger ones a key gets a column when one row in so many has it.
const RARE: usize = 64;

/// Attributes of a span that may get into columns; further ones go verbatim. SDKs send 128 unless told otherwise.
const LONG: usize = 256;

/// As many children of a node are compared one by one; further ones are looked up.
const NEAR: usize = 8;

/// Keys listed as standing in `more` at most.
const MORE_KEYS: usize = 256;

/// The root of the tree; also "none" where a child or sibling is meant.
const ROOT: u32 = 0;

/// Set when the value cannot be put into a column and taken out the same.
const ODD: u8 = u8::MAX;

/// A value on its way into a column.
#[derive(Clone, Copy)]
struct Cell {
    row: u32,
    value: u64,
}

/// A key and a type, which may become a column.
struct Candidate<'a> {
    key: &'a [u8],
    /// A [`Tag`], or [`ODD`].
    kind: u8,
    tag: Tag,
    cells: Vec<Cell>,
    /// Its number among attribute columns, from 1; 0 when it gets none.
    column: u32,
}

/// A step on the path of a shape.
struct Node {
    parent: u32,
    candidate: u32,
    /// The key came earlier on the path: this one goes verbatim.
    again: bool,
    first_child: u32,
    sibling: u32,
}

/// What becomes of the attributes of all rows.
pub(super) struct Attrs {
    /// Names and columns, in the order that shapes count.
    pub(super) columns: Vec<(String, ArrayRef)>,
    /// `None` when no row has attributes.
    pub(super) shape: Option<ArrayRef>,
    /// `None` when all attributes have a column.
    pub(super) more: Option<ArrayRef>,
    /// The keys in `more`; `None` when there are too many to list.
    pub(super) more_keys: Option<BTreeSet<String>>,
    /// What the filter learns.
    pub(super) values: Vec<ValueHashes>,
}

struct Sorter<'a> {
    candidates: Vec<Candidate<'a>>,
    by_key: HashMap<(&'a [u8], u8), u32, FixedState>,
    nodes: Vec<Node>,
    edges: HashMap<(u32, u32), u32, FixedState>,
    /// Where each row's path ends.
    ends: Vec<u32>,
}

/// Sorts the attributes of all rows into columns.
pub(super) fn sort(order: &Order<'_>) -> Result<Attrs, SegmentError> {
    let mut sorter = Sorter::new(order.len());
    for (row, span) in order.given() {
        sorter.follow(row, span);
    }
    sorter.choose();
    let shapes = sorter.shapes();
    let mut values = Vec::with_capacity(sorter.candidates.len());
    let mut columns = Vec::new();
    for candidate in sorter.candidates.iter().filter(|c| c.column > 0) {
        let (array, hashes) = candidate.column(order)?;
        let key = std::str::from_utf8(candidate.key).unwrap_or_default();
        columns.push((format!("{}:{key}", name::prefix(candidate.tag).unwrap_or_default()), array));
        values.push(hashes);
    }
    let (more, more_keys) = sorter.more(order, &shapes, &mut values)?;
    let some = shapes.texts.iter().any(|shape| !shape.is_empty());
    let texts = arrays::binary(shapes.texts.iter().map(Vec::as_slice), None)?;
    let shape = if some { Some(arrays::keyed(shapes.codes, None, texts)?) } else { None };
    Ok(Attrs { columns, shape, more, more_keys, values })
}

/// The shapes of all rows.
struct Shapes {
    codes: Vec<u32>,
    texts: Vec<Vec<u8>>,
    /// Whether a shape has attributes without a column.
    odd: Vec<bool>,
}

impl<'a> Sorter<'a> {
    fn new(rows: usize) -> Self {
        let root = Node { parent: ROOT, candidate: 0, again: false, first_child: ROOT, sibling: ROOT };
        Self {
            candidates: Vec::new(),
            by_key: HashMap::default(),
            nodes: vec![root],
            edges: HashMap::default(),
            ends: vec![ROOT; rows],
        }
    }

    /// Takes a span's attributes.
    fn follow(&mut self, row: u32, at: &Row<'a>) {
        let mut node = ROOT;
        for attr in at.tape.attrs_of(at.span).iter().take(LONG) {
            node = self.step(node, at.tape.get(attr.key), kind(attr), attr.tag);
            let step = &self.nodes[node as usize];
            let candidate = &mut self.candidates[step.candidate as usize];
            if !step.again && candidate.kind != ODD {
                candidate.cells.push(Cell { row, value: attr.value });
            }
        }
        self.ends[row as usize] = node;
    }

    /// The node that a key leads to.
    fn step(&mut self, from: u32, key: &'a [u8], kind: u8, tag: Tag) -> u32 {
        let mut child = self.nodes[from as usize].first_child;
        let mut near = 0;
        while child != ROOT {
            let node = &self.nodes[child as usize];
            let candidate = &self.candidates[node.candidate as usize];
            if candidate.kind == kind && arrays::same(candidate.key, key) {
                return child;
            }
            child = node.sibling;
            near += 1;
        }
        let candidate = *self.by_key.entry((key, kind)).or_insert_with(|| {
            self.candidates.push(Candidate { key, kind, tag, cells: Vec::new(), column: 0 });
            self.candidates.len() as u32 - 1
        });
        if near == NEAR
            && let Some(known) = self.edges.get(&(from, candidate))
        {
            return *known;
        }
        self.branch(from, candidate, near < NEAR)
    }

    /// A new node.
    fn branch(&mut self, from: u32, candidate: u32, near: bool) -> u32 {
        let new = self.nodes.len() as u32;
        let key = self.candidates[candidate as usize].key;
        let again =
            self.path(from).any(|node| self.candidates[self.nodes[node as usize].candidate as usize].key == key);
        let mut node = Node { parent: from, candidate, again, first_child: ROOT, sibling: ROOT };
        if near {
            node.sibling = std::mem::replace(&mut self.nodes[from as usize].first_child, new);
        } else {
            self.edges.insert((from, candidate), new);
        }
        self.nodes.push(node);
        new
    }

    /// From a node to the root, which is left out.
    fn path(&self, from: u32) -> impl Iterator<Item = u32> {
        let own = (from != ROOT).then_some(from);
        std::iter::successors(own, |node| Some(self.nodes[*node as usize].parent).filter(|parent| *parent != ROOT))
    }

    /// Chooses the candidates that get a column, and numbers them.
    fn choose(&mut self) {
        let rows = self.ends.len();
        let enough = |count: usize| count > 0 && (rows < SMALL || count * RARE >= rows);
        let mut chosen: Vec<usize> = (0..self.candidates.len())
            .filter(|c| {
                let candidate = &self.candidates[*c];
                enough(candidate.cells.len()) && std::str::from_utf8(candidate.key).is_ok()
            })
            .collect();
        if chosen.len() > COLUMNS {
            chosen.sort_by_key(|c| std::cmp::Reverse(self.candidates[*c].cells.len()));
            chosen.truncate(COLUMNS);
            chosen.sort_unstable();
        }
        for (number, c) in chosen.into_iter().enumerate() {
            self.candidates[c].column = number as u32 + 1;
        }
    }

    /// The column that a node's attribute is in; 0 when it goes verbatim.
    fn column_of(&self, node: u32) -> u32 {
        let node = &self.nodes[node as usize];
        if node.again { 0 } else { self.candidates[node.candidate as usize].column }
    }

    fn shapes(&self) -> Shapes {
        let mut known: HashMap<Vec<u8>, u32, FixedState> = HashMap::default();
        let mut of_end = vec![u32::MAX; self.nodes.len()];
        let mut shapes = Shapes { codes: Vec::with_capacity(self.ends.len()), texts: Vec::new(), odd: Vec::new() };
        let mut columns = Vec::new();
        for end in &self.ends {
            let code = &mut of_end[*end as usize];
            if *code == u32::MAX {
                columns.clear();
                columns.extend(self.path(*end).map(|node| self.column_of(node)));
                let mut text = Vec::with_capacity(columns.len());
                columns.iter().rev().for_each(|column| write::varint(&mut text, u64::from(*column)));
                *code = *known.entry(text).or_insert_with_key(|text| {
                    shapes.texts.push(text.clone());
                    shapes.odd.push(columns.contains(&0));
                    shapes.texts.len() as u32 - 1
                });
            }
            shapes.codes.push(*code);
        }
        shapes
    }

    /// The column `more`, and the keys in it.
    fn more(
        &self,
        order: &Order<'_>,
        shapes: &Shapes,
        values: &mut Vec<ValueHashes>,
    ) -> Result<(Option<ArrayRef>, Option<BTreeSet<String>>), SegmentError> {
        let (mut bytes, mut bounds) = (Vec::new(), Vec::with_capacity(order.len() + 1));
        let mut keys = BTreeSet::new();
        let mut columns = Vec::new();
        let mut learnt = MoreValues::default();
        for ((row, end), shape) in order.rows().zip(&self.ends).zip(&shapes.codes) {
            bounds.push(bytes.len());
            let attrs = row.tape.attrs_of(row.span);
            if !shapes.odd[*shape as usize] && attrs.len() <= LONG {
                continue;
            }
            columns.clear();
            columns.extend(self.path(*end).map(|node| self.column_of(node)));
            columns.reverse();
            for (i, attr) in attrs.iter().enumerate() {
                if columns.get(i).is_none_or(|column| *column == 0) {
                    let whole = row.tape.get(attr.whole);
                    write::bytes(&mut bytes, 9, whole);
                    let key = row.tape.text(attr.key);
                    if keys.len() <= MORE_KEYS && !keys.contains(key) {
                        keys.insert(key.to_owned());
                    }
                    learnt.add(key, row.tape, attr);
                }
            }
        }
        bounds.push(bytes.len());
        if bytes.is_empty() {
            return Ok((None, Some(keys)));
        }
        values.extend(learnt.0.into_values());
        let column = arrays::binary(bounds.windows(2).map(|b| &bytes[b[0]..b[1]]), None)?;
        Ok((Some(column), Some(keys).filter(|keys| keys.len() <= MORE_KEYS)))
    }
}

/// What the filter learns of `more`, by key.
#[derive(Default)]
struct MoreValues(HashMap<String, ValueHashes, FixedState>);

impl MoreValues {
    fn add(&mut self, key: &str, tape: &SpanTape, attr: &FlatAttr) {
        if !self.0.contains_key(key) {
            self.0.insert(key.to_owned(), ValueHashes::of(key.as_bytes()));
        }
        let Some(values) = self.0.get_mut(key) else { return };
        match attr.tag {
            Tag::Str => values.text(tape.get(attr.slice())),
            Tag::Int => values.shown(attr.value as i64),
            Tag::Bool => values.shown(attr.value != 0),
            Tag::Double => values.shown(f64::from_bits(attr.value)),
            Tag::Empty | Tag::Bytes | Tag::Nested => values.encoded(tape.get(attr.whole)),
        }
    }
}

impl Candidate<'_> {
    /// The column, and what the filter learns of it.
    fn column(&self, order: &Order<'_>) -> Result<(ArrayRef, ValueHashes), SegmentError> {
        let (cells, rows) = (&self.cells, order.len());
        let mut hashes = ValueHashes::of(self.key);
        let nulls = arrays::validity(rows, cells.iter().map(|c| c.row));
        let spread = || {
            let mut values = vec![0_u64; rows];
            cells.iter().for_each(|c| values[c.row as usize] = c.value);
            values
        };
        let slice = |cell: &Cell| order.row(cell.row).tape.get(slice_of(cell.value));
        let array: ArrayRef = match self.tag {
            Tag::Str => {
                let text = arrays::text(rows, cells.len(), |n| (cells[n].row, slice(&cells[n])))?;
                text.values.iter().for_each(|value| hashes.text(value));
                text.array
            }
            Tag::Int => {
                hashes.ints(cells.iter().map(|c| c.value as i64));
                arrays::ints(spread().into_iter().map(|v| v as i64).collect(), nulls)
            }
            Tag::Double => {
                hashes.doubles(cells.iter().map(|c| c.value));
                let values: Vec<f64> = spread().into_iter().map(f64::from_bits).collect();
                Arc::new(Float64Array::new(values.into(), nulls))
            }
            Tag::Bool => {
                hashes.bools(cells.iter().map(|c| c.value != 0));
                let set = cells.iter().filter(|c| c.value != 0).map(|c| c.row);
                Arc::new(BooleanArray::new(arrays::bits(rows, set), nulls))
            }
            Tag::Bytes | Tag::Empty | Tag::Nested => {
                let mut values: Vec<&[u8]> = vec![&[]; rows];
                for cell in cells {
                    values[cell.row as usize] = slice(cell);
                    hashes.bytes(slice(cell));
                }
                arrays::binary(values.into_iter(), nulls)?
            }
        };
        Ok((array, hashes))
    }
}

/// The slice that a text's or bytes' bits are.
fn slice_of(value: u64) -> Slice {
    FlatAttr { key: Slice::EMPTY, tag: Tag::Str, value, whole: Slice::EMPTY }.slice()
}

/// The type of an attribute's column; [`ODD`] when it can only be kept verbatim.
fn kind(attr: &FlatAttr) -> u8 {
    let field = |len| write::bytes_len(1, len);
    let value = match attr.tag {
        Tag::Str | Tag::Bytes => field(attr.slice().len()),
        Tag::Bool => 2,
        Tag::Int => 1 + write::varint_len(attr.value),
        Tag::Double => 9,
        Tag::Empty | Tag::Nested => return ODD,
    };
    let key = if attr.key.is_empty() { 0 } else { field(attr.key.len()) };
    // What encodes to another length than it came with holds something that a column would lose.
    if key + field(value) == attr.whole.len() { attr.tag as u8 } else { ODD }
}
