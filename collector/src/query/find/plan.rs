//! A filter made ready to be evaluated.

use fuseboard_api::filter::{Compare, Expr, Field, Glob, Known, Place, Term, Value};

use crate::store::segment::{Part, Parts};

/// A condition, its leaves numbered.
#[derive(Debug)]
pub(in crate::query) enum Node {
    /// Every span fits.
    Any,
    /// A leaf of [`Plan::leaves`].
    Leaf(usize),
    /// What is inside does not hold.
    Not(Box<Self>),
    /// All hold.
    All(Vec<Self>),
    /// At least one holds.
    Either(Vec<Self>),
    /// Some span of the trace fits.
    Somewhere(Box<Self>),
    /// A figure of the trace.
    Trace(Compare),
    /// A call from a caller to a callee.
    Edge(Glob, Glob),
}

/// What of a segment a leaf looks at: two sets of columns, so that the dear ones are read only where the cheap ones leave
/// rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::query) enum Price {
    /// Columns that are small.
    Cheap,
    /// Attributes and events.
    Dear,
}

/// A condition that a span and its sender decide.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) term: Term,
    pub(super) price: Price,
}

/// A filter made ready.
#[derive(Debug)]
pub(in crate::query) struct Plan {
    pub(super) node: Node,
    pub(super) leaves: Vec<Leaf>,
    cheap: Parts,
    dear: Parts,
    /// Whether other spans of the trace decide about some rows.
    pub(super) of_trace: bool,
}

impl Plan {
    /// Makes a filter ready.
    pub(in crate::query) fn new(expr: &Expr) -> Self {
        let cheap = Parts::of(&[Part::Times, Part::Arrival]);
        let mut plan =
            Self { node: Node::Any, leaves: Vec::new(), cheap, dear: Parts::default(), of_trace: expr.needs_trace() };
        plan.node = plan.node(expr);
        plan
    }

    /// The columns of a price.
    pub(super) fn parts(&self, price: Price) -> &Parts {
        match price {
            Price::Cheap => &self.cheap,
            Price::Dear => &self.dear,
        }
    }

    /// Columns that are looked at besides.
    pub(in crate::query) fn with(mut self, price: Price, parts: &Parts) -> Self {
        match price {
            Price::Cheap => self.cheap = self.cheap.union(parts),
            Price::Dear => self.dear = self.dear.union(parts),
        }
        self
    }

    fn node(&mut self, expr: &Expr) -> Node {
        match expr {
            Expr::Any => Node::Any,
            Expr::Term(Term::Compare(c)) if is_of_trace(&c.field) => match &c.value {
                Value::Edge(caller, callee) => {
                    let parts = Parts::of(&[Part::Origin, Part::Peer, Part::Kinds]);
                    self.cheap = self.cheap.union(&parts);
                    Node::Edge(caller.clone(), callee.clone())
                }
                _ => Node::Trace(c.clone()),
            },
            // Every trace has these.
            Expr::Term(Term::Has(field)) if is_of_trace(field) => Node::Any,
            Expr::Term(term) => self.leaf(term),
            Expr::Not(inner) => Node::Not(Box::new(self.node(inner))),
            Expr::All(parts) => {
                let mut nodes: Vec<Node> = parts.iter().map(|p| self.node(p)).collect();
                nodes.sort_by_key(|node| self.price(node));
                Node::All(nodes)
            }
            Expr::Either(parts) => Node::Either(parts.iter().map(|p| self.node(p)).collect()),
            Expr::Somewhere(inner) => Node::Somewhere(Box::new(self.node(inner))),
        }
    }

    fn leaf(&mut self, term: &Term) -> Node {
        let (price, parts) = needs(term);
        match price {
            Price::Cheap => self.cheap = self.cheap.union(&parts),
            Price::Dear => self.dear = self.dear.union(&parts),
        }
        self.leaves.push(Leaf { term: term.clone(), price });
        Node::Leaf(self.leaves.len() - 1)
    }

    /// What is cheap is asked first.
    fn price(&self, node: &Node) -> Price {
        match node {
            Node::Leaf(leaf) => self.leaves.get(*leaf).map_or(Price::Cheap, |l| l.price),
            Node::Not(inner) => self.price(inner),
            Node::All(parts) | Node::Either(parts) => parts.iter().map(|p| self.price(p)).max().unwrap_or(Price::Cheap),
            Node::Any | Node::Edge(..) => Price::Cheap,
            // These decide nothing about single rows.
            Node::Somewhere(_) | Node::Trace(_) => Price::Dear,
        }
    }
}

fn is_of_trace(field: &Field) -> bool {
    use Known::{Edge, RootName, RootService, TraceDuration, TraceErrors, TraceSpans};
    matches!(field, Field::Known(Edge | RootName | RootService | TraceDuration | TraceErrors | TraceSpans))
}

/// The columns that a term looks at.
fn needs(term: &Term) -> (Price, Parts) {
    match term {
        Term::Text(_) => {
            let parts = [Part::Name, Part::StatusMessage, Part::Attributes, Part::Events];
            (Price::Dear, Parts::of(&parts))
        }
        Term::Has(field) | Term::Compare(Compare { field, .. }) => columns_of(field),
    }
}

/// The columns in which a field lies.
pub(in crate::query) fn columns_of(field: &Field) -> (Price, Parts) {
    let known = match field {
        Field::Attribute(Place::Resource, _) => return (Price::Cheap, Parts::of(&[Part::Origin])),
        Field::Attribute(Place::Event, _) => return (Price::Dear, Parts::of(&[Part::Events])),
        Field::Attribute(Place::Span, key) => return (Price::Dear, Parts::default().with_key(key)),
        Field::Attribute(Place::Anywhere, key) => {
            let parts = Parts::of(&[Part::Origin]).with_key(key);
            return (Price::Dear, if in_events(key) { parts.with(&[Part::Events]) } else { parts });
        }
        Field::Known(known) => known,
    };
    let part = match known {
        Known::Service | Known::Instance | Known::Version | Known::Scope => Part::Origin,
        Known::Name => Part::Name,
        Known::Kind | Known::Status => Part::Kinds,
        Known::Message => Part::StatusMessage,
        Known::Duration => Part::Times,
        Known::Peer => Part::Peer,
        Known::Event => return (Price::Dear, Parts::of(&[Part::Events])),
        Known::Link => return (Price::Dear, Parts::of(&[Part::Links])),
        Known::Parent | Known::SpanId => Part::Ids,
        Known::TraceId => return (Price::Cheap, Parts::default()),
        Known::Edge
        | Known::RootService
        | Known::RootName
        | Known::TraceDuration
        | Known::TraceSpans
        | Known::TraceErrors => return (Price::Cheap, Parts::default()),
    };
    (Price::Cheap, Parts::of(&[part]))
}

/// Whether an attribute is looked for in events, too: exceptions are noted there.
pub(super) fn in_events(key: &str) -> bool {
    key.starts_with("exception.")
}
