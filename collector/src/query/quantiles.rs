//! How long calls took, in groups.

use std::collections::HashMap;
use std::sync::Arc;

use fuseboard_api::UnixNanos;
use fuseboard_api::filter::{self, Expr, Field, Known, Mistake};
use fuseboard_api::quantile::{GroupBy, QuantileGroup, QuantileQuery, Quantiles};
use fuseboard_api::stats::Stats;
use rusqlite::Connection;

use super::find::{self, Cancel, Candidate, Ended, Plan, Price, Scan, Scope, Source, Step, Walk, Wanted};
use super::rollups::{self, Series};
use super::stored::Stored;
use crate::otlp::Marks;
use crate::store::rollup::Delta;
use crate::store::segment::{Columns, Part, Parts};
use crate::store::{Snapshot, StoreError};

/// Groups given when a question does not say how many.
const DEFAULT_LIMIT: u32 = 100;
/// Groups given at most.
const MAX_LIMIT: u32 = 10_000;
/// Groups counted apart at most: what comes after is counted with the others.
const GROUPS: usize = 100_000;
/// Spans read for one answer.
const BUDGET: u64 = 5_000_000;

/// Sums of groups while they add up.
#[derive(Default)]
struct Groups {
    sums: HashMap<Vec<String>, Delta>,
    others: Delta,
}

impl Groups {
    fn of(&mut self, key: Vec<String>) -> &mut Delta {
        if self.sums.len() >= GROUPS && !self.sums.contains_key(&key) {
            return &mut self.others;
        }
        self.sums.entry(key).or_default()
    }

    fn finish(mut self, query: &QuantileQuery) -> (Vec<QuantileGroup>, Stats) {
        let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) } as usize;
        let mut sums: Vec<(Vec<String>, Delta)> = self.sums.into_iter().collect();
        sums.sort_by(|(a, x), (b, y)| y.calls.cmp(&x.calls).then_with(|| a.cmp(b)));
        for (_, beyond) in sums.drain(limit.min(sums.len())..) {
            self.others.merge(&beyond);
        }
        let stats = |sum| rollups::stats(sum, query.range);
        let groups = sums.into_iter().map(|(key, sum)| QuantileGroup { key, stats: stats(sum) }).collect();
        (groups, stats(self.others))
    }
}

/// Answers from rollups, or from spans where only these can tell.
pub(super) fn quantiles(
    read: &Snapshot<'_>,
    query: &QuantileQuery,
    as_of: UnixNanos,
    cancel: &Cancel,
) -> Result<Quantiles, StoreError> {
    let parsed = filter::parse(&query.filter)?;
    let mut out = match (&parsed.expr, key_of_series(&query.group_by)) {
        (Expr::Any, Some(key)) => from_rollups(read, query, as_of, key)?,
        (expr, _) => from_spans(&Stored::new(read, as_of)?, expr, query, as_of, cancel)?,
    };
    out.hints = parsed.hints;
    Ok(out)
}

/// What of a series makes its group; `None` for those that count elsewhere.
type KeyOf = fn(&Series) -> Option<Vec<String>>;

/// `None` when rollups do not tell the groups apart.
fn key_of_series(group: &GroupBy) -> Option<KeyOf> {
    Some(match group {
        GroupBy::Service => |s| s.inbound.then(|| vec![s.key.callee.clone()]),
        GroupBy::Operation => |s| s.inbound.then(|| vec![s.key.callee.clone(), s.key.operation.clone()]),
        GroupBy::Instance => |s| s.inbound.then(|| vec![s.key.callee.clone(), s.instance.clone()]),
        GroupBy::Version => |s| s.inbound.then(|| vec![s.key.callee.clone(), s.version.clone()]),
        GroupBy::Edge => |s| {
            let key = || vec![s.key.caller.clone(), s.key.callee.clone(), s.key.operation.clone()];
            (!s.inbound).then(key)
        },
        GroupBy::Field(_) => return None,
    })
}

fn from_rollups(
    conn: &Connection,
    query: &QuantileQuery,
    as_of: UnixNanos,
    key: KeyOf,
) -> Result<Quantiles, StoreError> {
    let known = rollups::series(conn, as_of)?;
    let mut groups = Groups::default();
    for (id, sum) in rollups::sums(conn, query.range, as_of)? {
        if let Some(key) = known.get(&id).and_then(key) {
            groups.of(key).merge(&sum);
        }
    }
    let (groups, others) = groups.finish(query);
    Ok(Quantiles { groups, others, complete: true, ..Quantiles::default() })
}

/// The fields that make the group of a span.
fn fields(group: &GroupBy) -> Result<Vec<Field>, StoreError> {
    let known = |known: &[Known]| known.iter().copied().map(Field::Known).collect();
    Ok(match group {
        GroupBy::Service => known(&[Known::Service]),
        GroupBy::Operation => known(&[Known::Service, Known::Name]),
        GroupBy::Instance => known(&[Known::Service, Known::Instance]),
        GroupBy::Version => known(&[Known::Service, Known::Version]),
        GroupBy::Edge => known(&[Known::Service, Known::Peer, Known::Name]),
        GroupBy::Field(name) => {
            let field = Field::named(name).filter(find::is_single);
            vec![field.ok_or_else(|| no_group(name))?]
        }
    })
}

fn no_group(name: &str) -> Mistake {
    let advice = "; group by service, operation, instance, version, edge, name, kind, status, peer or an attribute";
    Mistake {
        from: 0,
        to: name.len(),
        character: 1,
        what: format!("`{name}` is no field that spans can be grouped by,"),
        advice: advice.to_owned(),
    }
}

fn from_spans(
    source: &impl Source,
    expr: &Expr,
    query: &QuantileQuery,
    as_of: UnixNanos,
    cancel: &Cancel,
) -> Result<Quantiles, StoreError> {
    let fields = fields(&query.group_by)?;
    let plan = Plan::new(expr).with(Price::Cheap, &find::walk_parts());
    let scope = Scope { budget: BUDGET, ..Scope::new(query.range, as_of) };
    let mut walk = Walk::new(Scan::new(source, &plan, scope), Wanted::Spans, cancel);
    let parts = fields.iter().fold(Parts::of(&[Part::Times, Part::Kinds]), |parts, f| parts.union(&find::parts_of(f)));
    let mut count = Count { source, fields, parts, needs_all: query.group_by == GroupBy::Edge, read: HashMap::new() };
    let mut groups = Groups::default();
    let ended = loop {
        match walk.next()? {
            Step::Done => break Ended::Done,
            Step::Paused => break Ended::Paused,
            Step::Found(candidate) => {
                if find::fits(&mut walk, candidate)? {
                    count.count(candidate, &mut groups)?;
                }
            }
        }
    };
    let (searched, next) = walk.searched(&ended);
    // Rates are those of what was counted.
    let range = if next.is_some() { searched.range } else { query.range };
    let counted = QuantileQuery { range, ..query.clone() };
    let (groups, others) = groups.finish(&counted);
    Ok(Quantiles { groups, others, complete: next.is_none(), searched, ..Quantiles::default() })
}

/// Counts rows into groups.
struct Count<'a, S> {
    source: &'a S,
    fields: Vec<Field>,
    parts: Parts,
    /// Spans that lack a field are not counted.
    needs_all: bool,
    read: HashMap<usize, Arc<Columns>>,
}

impl<S: Source> Count<'_, S> {
    fn count(&mut self, candidate: Candidate, groups: &mut Groups) -> Result<(), StoreError> {
        let Candidate { at, row, .. } = candidate;
        let columns = match self.read.get(&at) {
            Some(columns) => columns.clone(),
            None => {
                let columns = self.source.columns(at, &self.parts)?;
                self.read.insert(at, columns.clone());
                columns
            }
        };
        let mut key = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            match find::shown(field, &columns, row, self.source)? {
                None if self.needs_all => return Ok(()),
                shown => key.push(shown.unwrap_or_default()),
            }
        }
        let sum = groups.of(key);
        sum.calls += 1;
        sum.errors += u64::from(columns.status(row) == 2);
        sum.refused += u64::from(columns.marks(row).has(Marks::REFUSED));
        sum.latency.record(u64::try_from(columns.duration(row)).unwrap_or(0));
        Ok(())
    }
}
