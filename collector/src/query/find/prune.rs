//! Which segments surely hold nothing that fits.

use fuseboard_api::TraceId;
use fuseboard_api::attr;
use fuseboard_api::filter::{Compare, Field, Glob, Known, Op, Place, Term, Value};

use super::compare;
use super::plan::{Leaf, Node, Plan, in_events};
use super::source::Source;
use crate::store::segment::{NAME_KEY, PEER_KEY};
use crate::store::{SegmentRow, StoreError};

/// A segment that is judged by its figures and filters.
pub(super) struct Judged<'a, S> {
    pub(super) source: &'a S,
    pub(super) at: usize,
    pub(super) meta: &'a SegmentRow,
}

impl<S: Source> Judged<'_, S> {
    /// Whether some row may fit.
    pub(super) fn may_fit(&self, plan: &Plan) -> Result<bool, StoreError> {
        self.node(plan, &plan.node)
    }

    fn node(&self, plan: &Plan, node: &Node) -> Result<bool, StoreError> {
        Ok(match node {
            Node::Any | Node::Not(_) | Node::Somewhere(_) | Node::Trace(_) => true,
            Node::Leaf(leaf) => match plan.leaves.get(*leaf) {
                Some(leaf) => self.leaf(leaf)?,
                None => true,
            },
            Node::All(parts) => {
                for part in parts {
                    if !self.node(plan, part)? {
                        return Ok(false);
                    }
                }
                true
            }
            Node::Either(parts) => {
                for part in parts {
                    if self.node(plan, part)? {
                        return Ok(true);
                    }
                }
                false
            }
            Node::Edge(caller, callee) => self.edge(caller, callee)?,
        })
    }

    fn leaf(&self, leaf: &Leaf) -> Result<bool, StoreError> {
        let Term::Compare(c) = &leaf.term else { return Ok(true) };
        match &c.field {
            Field::Known(known) => self.known(*known, c),
            Field::Attribute(Place::Span, key) => self.value(key, c),
            Field::Attribute(Place::Resource, key) => self.resource(key, c),
            Field::Attribute(Place::Anywhere, key) => {
                // What stands in events is in no filter.
                Ok(in_events(key) || self.value(key, c)? || self.resource(key, c)?)
            }
            Field::Attribute(Place::Event, _) => Ok(true),
        }
    }

    fn known(&self, known: Known, c: &Compare) -> Result<bool, StoreError> {
        let of = |origin: &fuseboard_api::span::Origin| match known {
            Known::Service => compare::text(c, &origin.service),
            Known::Instance => compare::text(c, &origin.instance),
            Known::Version => compare::text(c, &origin.version),
            _ => compare::text(c, &origin.scope),
        };
        match known {
            Known::Service | Known::Instance | Known::Version | Known::Scope => self.some_origin(of),
            Known::Name => self.value(NAME_KEY, c),
            Known::Peer => self.value(PEER_KEY, c),
            Known::Status => {
                let only_errors = c.op == Op::Equal && matches!(&c.value, Value::Text(word) if word == "error");
                Ok(!only_errors || self.meta.errors > 0)
            }
            Known::Duration => {
                let nanos = |n: i64| u64::try_from(n).unwrap_or(0);
                Ok(compare::some_between(c, nanos(self.meta.min_duration), nanos(self.meta.max_duration)))
            }
            Known::TraceId => match (&c.op, &c.value) {
                (Op::Equal, Value::Text(id)) => match id.parse::<TraceId>() {
                    Ok(id) => self.source.may_have_trace(self.at, id),
                    Err(_) => Ok(true),
                },
                _ => Ok(true),
            },
            _ => Ok(true),
        }
    }

    fn value(&self, key: &str, c: &Compare) -> Result<bool, StoreError> {
        let Some(texts) = compare::equal_texts(c) else { return Ok(true) };
        for text in texts {
            if self.source.may_have_value(self.at, key, &text)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn resource(&self, key: &str, c: &Compare) -> Result<bool, StoreError> {
        self.some_origin(|origin| attr::get(&origin.resource, key).is_some_and(|v| compare::attr(c, v)))
    }

    fn some_origin(&self, fits: impl Fn(&fuseboard_api::span::Origin) -> bool) -> Result<bool, StoreError> {
        for id in &self.meta.origins {
            if fits(&*self.source.origin(*id)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A call is told of by its caller or by its callee.
    fn edge(&self, caller: &Glob, callee: &Glob) -> Result<bool, StoreError> {
        self.some_origin(|origin| caller.matches(&origin.service) || callee.matches(&origin.service))
    }
}
