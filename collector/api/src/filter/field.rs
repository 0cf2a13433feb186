//! Fields of a span, by name.

use std::fmt;

use super::print;

/// A field of a span.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// One that the language knows by name.
    Known(Known),
    /// An attribute.
    Attribute(Place, String),
}

/// Where an attribute is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In the span, for `exception.…` then in its events, then in its resource: the first place that has it counts.
    Anywhere,
    /// In the span only.
    Span,
    /// In the resource only.
    Resource,
    /// In the span's events only.
    Event,
}

/// What values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A length of time.
    Duration,
    /// A whole number.
    Number,
    /// Hexadecimal digits, so many.
    Hex(usize),
    /// A caller and a callee.
    Edge,
    /// Any value that an attribute has.
    Any,
}

/// The words of [`Known::Kind`], by OTLP's number.
pub(super) const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
/// The words of [`Known::Status`], by OTLP's number.
pub(super) const STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// Fields known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Known {
    /// `service.name` of who sent it.
    Service,
    /// `service.instance.id`; missing when empty.
    Instance,
    /// `service.version`; missing when empty.
    Version,
    /// The instrumentation scope's name; missing when empty.
    Scope,
    /// The span's name; also called `operation`.
    Name,
    /// Its side of a call.
    Kind,
    /// How it ended.
    Status,
    /// The sender's words about the status; missing when empty.
    Message,
    /// From its start to its end.
    Duration,
    /// The other side of the call, where the span names it.
    Peer,
    /// A call from a caller to a callee: the caller's span that names the callee, the callee's span whose parent is the
    /// caller's (or that has no parent stored, for the caller [`OUTSIDE`](crate::graph::OUTSIDE)), or the callee's span that
    /// takes from the queue named as caller.
    Edge,
    /// Names of its events.
    Event,
    /// Ids of traces that it links to.
    Link,
    /// Id of its parent; missing for a root.
    Parent,
    /// Its own id.
    SpanId,
    /// Its trace's id.
    TraceId,
    /// Service of the trace's root, or of its earliest span while no root is stored.
    RootService,
    /// Name of that span; also called `root.operation`.
    RootName,
    /// From the earliest start to the latest end in the trace.
    TraceDuration,
    /// How many spans of the trace are stored.
    TraceSpans,
    /// How many of them failed.
    TraceErrors,
}

impl Known {
    /// All of them, those looked for most first.
    pub const ALL: [Self; 21] = [
        Self::Service,
        Self::Name,
        Self::Status,
        Self::Duration,
        Self::Kind,
        Self::Message,
        Self::Peer,
        Self::Edge,
        Self::Event,
        Self::Instance,
        Self::Version,
        Self::Scope,
        Self::Link,
        Self::Parent,
        Self::SpanId,
        Self::TraceId,
        Self::RootService,
        Self::RootName,
        Self::TraceDuration,
        Self::TraceSpans,
        Self::TraceErrors,
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Instance => "instance",
            Self::Version => "version",
            Self::Scope => "scope",
            Self::Name => "name",
            Self::Kind => "kind",
            Self::Status => "status",
            Self::Message => "message",
            Self::Duration => "duration",
            Self::Peer => "peer",
            Self::Edge => "edge",
            Self::Event => "event",
            Self::Link => "link",
            Self::Parent => "parent",
            Self::SpanId => "span.id",
            Self::TraceId => "trace.id",
            Self::RootService => "root.service",
            Self::RootName => "root.name",
            Self::TraceDuration => "trace.duration",
            Self::TraceSpans => "trace.spans",
            Self::TraceErrors => "trace.errors",
        }
    }

    /// The field of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "operation" => Some(Self::Name),
            "root.operation" => Some(Self::RootName),
            _ => Self::ALL.into_iter().find(|k| k.name() == name),
        }
    }

    /// What values it has.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Kind => Kind::Words(&KINDS),
            Self::Status => Kind::Words(&STATUSES),
            Self::Duration | Self::TraceDuration => Kind::Duration,
            Self::TraceSpans | Self::TraceErrors => Kind::Number,
            Self::SpanId | Self::Parent => Kind::Hex(16),
            Self::TraceId | Self::Link => Kind::Hex(32),
            Self::Edge => Kind::Edge,
            _ => Kind::Text,
        }
    }
}

impl Field {
    /// The field that a bare word names; `None` when it begins with `trace.` or `root.` without being one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Some(known) = Known::of(name) {
            return Some(Self::Known(known));
        }
        let places = [("span.", Place::Span), ("resource.", Place::Resource), ("event.", Place::Event)];
        for (prefix, place) in places {
            if let Some(key) = name.strip_prefix(prefix).filter(|key| !key.is_empty()) {
                return Some(Self::Attribute(place, key.to_owned()));
            }
        }
        if name.starts_with("trace.") || name.starts_with("root.") {
            return None;
        }
        Some(Self::attribute(name))
    }

    /// An attribute, wherever it is.
    #[must_use]
    pub fn attribute(key: impl Into<String>) -> Self {
        Self::Attribute(Place::Anywhere, key.into())
    }

    /// What values it has.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Known(known) => known.kind(),
            Self::Attribute(..) => Kind::Any,
        }
    }

    /// Whether other spans of the trace decide about it.
    pub(super) fn needs_trace(&self) -> bool {
        use Known::{Edge, RootName, RootService, TraceDuration, TraceErrors, TraceSpans};
        matches!(self, Self::Known(Edge | RootName | RootService | TraceDuration | TraceErrors | TraceSpans))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::field(f, self)
    }
}
