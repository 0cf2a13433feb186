//! A filter evaluated over segments and traces.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use fuseboard_api::TraceId;
use fuseboard_api::filter::{Compare, Field, Glob, Known};
use fuseboard_api::graph::OUTSIDE;

use super::compare;
use super::gather::{Brief, Gathered};
use super::leaf;
use super::plan::{Node, Plan, Price};
use super::source::Source;
use super::{GATHERED, Scope};
use crate::store::StoreError;
use crate::store::segment::Columns;

/// Bits for the rows of a segment.
type Bits = Rc<Vec<bool>>;

/// Which rows may fit, and which surely do.
#[derive(Debug, Clone)]
pub(in crate::query) struct Fits {
    pub(in crate::query) may: Vec<bool>,
    pub(in crate::query) must: Vec<bool>,
}

impl Fits {
    fn all(rows: usize, may: bool, must: bool) -> Self {
        Self { may: vec![may; rows], must: vec![must; rows] }
    }

    fn join(&mut self, other: &Self, with: impl Fn(&mut bool, bool)) {
        self.may.iter_mut().zip(&other.may).for_each(|(a, b)| with(a, *b));
        self.must.iter_mut().zip(&other.must).for_each(|(a, b)| with(a, *b));
    }
}

/// What has been made of a segment.
#[derive(Debug, Default)]
struct Sheet {
    cheap: Option<Arc<Columns>>,
    dear: Option<Arc<Columns>>,
    leaves: HashMap<usize, Bits>,
}

/// An evaluation under way.
pub(in crate::query) struct Scan<'a, S> {
    pub(super) source: &'a S,
    pub(super) plan: &'a Plan,
    pub(super) scope: Scope,
    sheets: HashMap<usize, Sheet>,
    /// The trace gathered last: neighbours in a list often ask for the same.
    gathered: Option<Rc<Gathered>>,
    /// Spans read, and what stands for them.
    pub(super) spent: u64,
}

impl<'a, S: Source> Scan<'a, S> {
    /// Nothing evaluated yet.
    pub(in crate::query) fn new(source: &'a S, plan: &'a Plan, scope: Scope) -> Self {
        Self { source, plan, scope, sheets: HashMap::new(), gathered: None, spent: 0 }
    }

    /// Columns of a segment.
    pub(in crate::query) fn columns(&mut self, at: usize, price: Price) -> Result<Arc<Columns>, StoreError> {
        let sheet = self.sheets.entry(at).or_default();
        let place = match price {
            Price::Cheap => &mut sheet.cheap,
            Price::Dear => &mut sheet.dear,
        };
        if let Some(columns) = place {
            return Ok(columns.clone());
        }
        let columns = self.source.columns(at, self.plan.parts(price))?;
        Ok(place.insert(columns).clone())
    }

    /// Forgets the columns of a segment; bits stay where traces may ask for them again.
    pub(in crate::query) fn forget(&mut self, at: usize) {
        if !self.plan.of_trace {
            self.sheets.remove(&at);
        } else if let Some(sheet) = self.sheets.get_mut(&at) {
            (sheet.cheap, sheet.dear) = (None, None);
        }
    }

    fn leaf(&mut self, at: usize, number: usize) -> Result<Bits, StoreError> {
        if let Some(bits) = self.sheets.get(&at).and_then(|sheet| sheet.leaves.get(&number)) {
            return Ok(bits.clone());
        }
        let Some(leaf) = self.plan.leaves.get(number) else { return Ok(Rc::default()) };
        let columns = self.columns(at, leaf.price)?;
        let source = self.source;
        let bits = Rc::new(leaf::rows(&leaf.term, &columns, &|id| source.origin(id))?);
        self.sheets.entry(at).or_default().leaves.insert(number, bits.clone());
        Ok(bits)
    }

    /// Which rows of a segment fit, as far as they can tell.
    pub(in crate::query) fn fits(&mut self, at: usize) -> Result<Fits, StoreError> {
        let rows = self.columns(at, Price::Cheap)?.rows();
        let plan = self.plan;
        self.node(at, rows, &plan.node)
    }

    fn node(&mut self, at: usize, rows: usize, node: &Node) -> Result<Fits, StoreError> {
        Ok(match node {
            Node::Any => Fits::all(rows, true, true),
            Node::Leaf(number) => {
                let bits = self.leaf(at, *number)?;
                Fits { may: bits.to_vec(), must: bits.to_vec() }
            }
            Node::Not(inner) => {
                let Fits { mut may, mut must } = self.node(at, rows, inner)?;
                may.iter_mut().chain(&mut must).for_each(|bit| *bit = !*bit);
                // What surely fits inside surely does not outside.
                Fits { may: must, must: may }
            }
            Node::All(parts) => {
                let mut out = Fits::all(rows, true, true);
                for part in parts {
                    let fits = self.node(at, rows, part)?;
                    out.join(&fits, |a, b| *a &= b);
                    if !out.may.contains(&true) {
                        break;
                    }
                }
                out
            }
            Node::Either(parts) => {
                let mut out = Fits::all(rows, false, false);
                for part in parts {
                    let fits = self.node(at, rows, part)?;
                    out.join(&fits, |a, b| *a |= b);
                }
                out
            }
            Node::Somewhere(_) | Node::Trace(_) => Fits::all(rows, true, false),
            Node::Edge(caller, callee) => self.edge_bits(at, caller, callee)?,
        })
    }

    /// A caller names its callee, a callee may name the queue; whose child a callee's span is, its row does not tell.
    fn edge_bits(&mut self, at: usize, caller: &Glob, callee: &Glob) -> Result<Fits, StoreError> {
        let columns = self.columns(at, Price::Cheap)?;
        let mut services = Vec::new();
        for id in columns.origins() {
            let origin = self.source.origin(id)?;
            services.push((caller.matches(&origin.service), callee.matches(&origin.service)));
        }
        let peer = |glob: &Glob, row| columns.peer(row).is_some_and(|peer| glob.matches(peer));
        let mut out = Fits::all(columns.rows(), false, false);
        for (row, (may, must)) in out.may.iter_mut().zip(&mut out.must).enumerate() {
            let (calls, answers) = services.get(columns.origin_code(row)).copied().unwrap_or_default();
            let answers = answers && matches!(columns.kind(row), 2 | 5);
            *must = calls && peer(callee, row) || answers && peer(caller, row);
            *may = *must || answers;
        }
        Ok(out)
    }

    /// All spans of a trace.
    pub(super) fn gather(&mut self, id: TraceId) -> Result<Rc<Gathered>, StoreError> {
        if let Some(gathered) = self.gathered.as_ref().filter(|g| g.id == id) {
            return Ok(gathered.clone());
        }
        self.spent += GATHERED;
        let gathered = Rc::new(Gathered::new(self.source, id, self.scope.as_of)?);
        self.gathered = Some(gathered.clone());
        Ok(gathered)
    }

    /// Whether a span of a trace fits.
    pub(super) fn holds(&mut self, trace: &Gathered, span: &Brief) -> Result<bool, StoreError> {
        let plan = self.plan;
        self.holds_node(&plan.node, trace, span)
    }

    fn holds_node(&mut self, node: &Node, trace: &Gathered, span: &Brief) -> Result<bool, StoreError> {
        Ok(match node {
            Node::Any => true,
            Node::Leaf(number) => self.leaf(span.at, *number)?.get(span.row).copied().unwrap_or(false),
            Node::Not(inner) => !self.holds_node(inner, trace, span)?,
            Node::All(parts) => {
                for part in parts {
                    if !self.holds_node(part, trace, span)? {
                        return Ok(false);
                    }
                }
                true
            }
            Node::Either(parts) => {
                for part in parts {
                    if self.holds_node(part, trace, span)? {
                        return Ok(true);
                    }
                }
                false
            }
            Node::Somewhere(inner) => {
                for other in &trace.spans {
                    if self.holds_node(inner, trace, other)? {
                        return Ok(true);
                    }
                }
                false
            }
            Node::Trace(c) => of_trace(c, trace),
            Node::Edge(caller, callee) => crosses(trace, span, caller, callee),
        })
    }
}

/// A figure of a trace.
fn of_trace(c: &Compare, trace: &Gathered) -> bool {
    let Field::Known(known) = c.field else { return false };
    match known {
        Known::RootService => trace.root().is_some_and(|r| compare::text(c, &r.origin.service)),
        Known::RootName => trace.root().is_some_and(|r| compare::text(c, &r.name)),
        Known::TraceDuration => compare::nanos(c, trace.nanos),
        Known::TraceSpans => compare::count(c, trace.spans.len()),
        Known::TraceErrors => compare::count(c, trace.errors),
        _ => false,
    }
}

/// Whether a span is a side of a call from `caller` to `callee`.
fn crosses(trace: &Gathered, span: &Brief, caller: &Glob, callee: &Glob) -> bool {
    let peer = |glob: &Glob| span.peer.as_ref().is_some_and(|peer| glob.matches(peer));
    let service = &span.origin.service;
    if caller.matches(service) && peer(callee) {
        return true;
    }
    let called = || trace.caller(span).map_or(OUTSIDE, |s| s.origin.service.as_str());
    span.answers && callee.matches(service) && (peer(caller) || caller.matches(called()))
}
