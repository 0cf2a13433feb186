//! The agent's own spans. They do what the SDK's do, cheaper: what all spans of a kind have in common is shared until export,
//! the clock that is read is the monotonic one, and nothing is made into wire or wall-clock form before the exporter's task
//! gets it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use opentelemetry::trace::{self, Event, Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SpanEvents, SpanLimits, SpanLinks};
use tokio::time::Instant;

use super::pack::Row;
use super::queue::{Queue, Told};

/// As many attributes of its own as a span usually has.
const USUAL: usize = 12;

/// What all spans of one kind have in common.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// Their name.
    pub(crate) name: Arc<str>,
    /// Attributes of each.
    pub(crate) attributes: Vec<KeyValue>,
}

impl Common {
    /// Nothing but a name.
    pub(crate) fn named(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.into(), attributes: Vec::new() })
    }
}

/// When something happened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    /// By the monotonic clock.
    Read(Instant),
    /// As the application says.
    Said(SystemTime),
}

/// Both clocks, read together: places what the monotonic clock said on the wall clock as it goes now, so that neither a step of
/// the wall clock bends a duration nor an old step stays in what is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    read: Instant,
    wall: SystemTime,
}

impl Now {
    /// Reads both.
    pub(super) fn read() -> Self {
        Self { read: Instant::now(), wall: SystemTime::now() }
    }

    fn wall(&self, at: At) -> SystemTime {
        match at {
            At::Said(at) => at,
            At::Read(at) if at <= self.read => self.wall.checked_sub(self.read - at).unwrap_or(SystemTime::UNIX_EPOCH),
            At::Read(at) => self.wall.checked_add(at - self.read).unwrap_or(self.wall),
        }
    }
}

/// What a span has to tell.
#[derive(Debug)]
pub(crate) struct Record {
    ids: SpanContext,
    parent: SpanId,
    parent_is_remote: bool,
    kind: SpanKind,
    common: Arc<Common>,
    /// A later name.
    renamed: Option<Cow<'static, str>>,
    start: At,
    end: At,
    attributes: Vec<KeyValue>,
    dropped_attributes: u32,
    events: SpanEvents,
    links: SpanLinks,
    status: Status,
    limits: SpanLimits,
}

impl Record {
    /// Adds an attribute; one too many is counted.
    pub(crate) fn attribute(&mut self, attribute: KeyValue) {
        if self.common.attributes.len() + self.attributes.len() < self.limits.max_attributes_per_span as usize {
            self.attributes.push(attribute);
        } else {
            self.dropped_attributes += 1;
        }
    }

    /// Adds attributes.
    pub(crate) fn attributes(&mut self, attributes: impl IntoIterator<Item = KeyValue>) {
        attributes.into_iter().for_each(|one| self.attribute(one));
    }

    /// Sets the status; `Ok` beats `Error`, which beats `Unset`.
    pub(crate) fn status(&mut self, status: Status) {
        if status > self.status {
            self.status = status;
        }
    }

    /// Adds an event; one too many is counted.
    pub(crate) fn event(&mut self, name: Cow<'static, str>, at: SystemTime, mut attributes: Vec<KeyValue>) {
        if self.events.events.len() < self.limits.max_events_per_span as usize {
            let dropped = cut(&mut attributes, self.limits.max_attributes_per_event);
            self.events.events.push(Event::new(name, at, attributes, dropped));
        } else {
            self.events.dropped_count += 1;
        }
    }

    fn link(&mut self, to: SpanContext, mut attributes: Vec<KeyValue>) {
        if self.links.links.len() < self.limits.max_links_per_span as usize {
            let dropped = cut(&mut attributes, self.limits.max_attributes_per_link);
            self.links.links.push(Link::new(to, attributes, dropped));
        } else {
            self.links.dropped_count += 1;
        }
    }

    /// What a builder brings along.
    pub(super) fn built(&mut self, builder: trace::SpanBuilder) {
        self.attributes(builder.attributes.unwrap_or_default());
        for event in builder.events.unwrap_or_default() {
            self.event(event.name, event.timestamp, event.attributes);
        }
        for link in builder.links.unwrap_or_default() {
            self.link(link.span_context, link.attributes);
        }
    }

    /// As it is packed.
    pub(super) fn row(&self, now: Now) -> Row<'_> {
        Row {
            ids: &self.ids,
            parent: self.parent,
            parent_is_remote: self.parent_is_remote,
            kind: &self.kind,
            name: self.renamed.as_deref().unwrap_or(&self.common.name),
            start: now.wall(self.start),
            end: now.wall(self.end),
            attributes: [&self.common.attributes, &self.attributes],
            dropped_attributes: self.dropped_attributes,
            events: &self.events,
            links: &self.links,
            status: &self.status,
        }
    }
}

/// Cuts a list to a limit and says how many did not fit.
fn cut(attributes: &mut Vec<KeyValue>, most: u32) -> u32 {
    let over = attributes.len().saturating_sub(most as usize);
    attributes.truncate(most as usize);
    u32::try_from(over).unwrap_or(u32::MAX)
}

/// A span that is under way, and where it goes when it ends. The last handle that is dropped ends it, if nobody did.
#[derive(Debug)]
struct Open {
    record: Mutex<Option<Record>>,
    out: Arc<Queue<Told>>,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let record = self.record.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut record) = record.take() {
            record.end = At::Read(Instant::now());
            self.out.push(Told::Ours(record));
        }
    }
}

/// A handle of a span: the layers keep one, another is in the [`Context`] that the application sees.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    ids: SpanContext,
    /// `None` where nothing is recorded.
    open: Option<Arc<Open>>,
}

impl Span {
    /// A span that says nothing; its ids travel all the same.
    pub(super) fn silent(ids: SpanContext) -> Self {
        Self { ids, open: None }
    }

    /// Its ids.
    pub(crate) fn ids(&self) -> &SpanContext {
        &self.ids
    }

    /// A context with it in its parent's place.
    pub(crate) fn within(&self, parent: &Context) -> Context {
        match self.open {
            Some(_) => parent.with_span(self.clone()),
            None => parent.with_remote_span_context(self.ids.clone()),
        }
    }

    /// Adds to what it tells, if it still tells anything.
    pub(crate) fn write(&self, write: impl FnOnce(&mut Record)) {
        let Some(open) = &self.open else { return };
        if let Some(record) = open.lock().as_mut() {
            write(record);
        }
    }

    /// Ends it with a last word.
    pub(crate) fn end(&self, at: At, write: impl FnOnce(&mut Record)) {
        let Some(open) = &self.open else { return };
        let taken = open.lock().take();
        if let Some(mut record) = taken {
            write(&mut record);
            record.end = at;
            open.out.push(Told::Ours(record));
        }
    }
}

/// For the application, through [`Context::span`].
impl trace::Span for Span {
    fn add_event_with_timestamp<T: Into<Cow<'static, str>>>(
        &mut self,
        name: T,
        timestamp: SystemTime,
        attributes: Vec<KeyValue>,
    ) {
        self.write(|record| record.event(name.into(), timestamp, attributes));
    }

    fn span_context(&self) -> &SpanContext {
        &self.ids
    }

    fn is_recording(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.lock().is_some())
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        self.write(|record| record.attribute(attribute));
    }

    fn set_status(&mut self, status: Status) {
        self.write(|record| record.status(status));
    }

    fn update_name<T: Into<Cow<'static, str>>>(&mut self, new_name: T) {
        self.write(|record| record.renamed = Some(new_name.into()));
    }

    fn add_link(&mut self, span_context: SpanContext, attributes: Vec<KeyValue>) {
        self.write(|record| record.link(span_context, attributes));
    }

    fn end(&mut self) {
        Span::end(self, At::Read(Instant::now()), |_| {});
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        Span::end(self, At::Said(timestamp), |_| {});
    }
}

/// A span to be recorded.
pub(super) struct Begun {
    pub(super) ids: SpanContext,
    /// The parent's ids; `None` for a root.
    pub(super) parent: Option<(SpanId, bool)>,
    pub(super) kind: SpanKind,
    pub(super) common: Arc<Common>,
    pub(super) start: At,
    pub(super) limits: SpanLimits,
}

impl Begun {
    /// Starts it with what it tells from the start.
    pub(super) fn record(self, out: &Arc<Queue<Told>>, write: impl FnOnce(&mut Record)) -> Span {
        let (parent, parent_is_remote) = self.parent.unwrap_or((SpanId::INVALID, false));
        let mut record = Record {
            ids: self.ids.clone(),
            parent,
            parent_is_remote,
            kind: self.kind,
            common: self.common,
            renamed: None,
            start: self.start,
            end: self.start,
            attributes: Vec::with_capacity(USUAL),
            dropped_attributes: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            limits: self.limits,
        };
        write(&mut record);
        Span { ids: self.ids, open: Some(Arc::new(Open { record: Mutex::new(Some(record)), out: out.clone() })) }
    }
}
