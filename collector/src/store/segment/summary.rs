//! What is said of a segment beside its blob.

/// Figures by which a question passes over a segment without reading it. Times are Unix nanoseconds; of an empty segment
/// all least values are `i64::MAX` and all greatest `i64::MIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Spans in it.
    pub rows: u32,
    /// Traces that have a span in it.
    pub traces: u32,
    /// Earliest start of a span.
    pub min_start: i64,
    /// Latest start of a span.
    pub max_start: i64,
    /// Latest end of a span.
    pub max_end: i64,
    /// Shortest duration of a span, nanoseconds; may be negative.
    pub min_duration: i64,
    /// Longest duration of a span, nanoseconds.
    pub max_duration: i64,
    /// Spans with status error.
    pub errors: u32,
    /// Stamp of the first commit in it.
    pub min_arrival: i64,
    /// Stamp of the last commit in it.
    pub max_arrival: i64,
    /// The senders, ascending.
    pub origins: Vec<i64>,
    /// The names of spans, sorted; `None` when there are more than [`Summary::NAMES`].
    pub names: Option<Vec<String>>,
}

impl Summary {
    /// As many names are listed at most.
    pub const NAMES: usize = 1_000;

    /// Of no span.
    pub(super) fn empty() -> Self {
        Self {
            rows: 0,
            traces: 0,
            min_start: i64::MAX,
            max_start: i64::MIN,
            max_end: i64::MIN,
            min_duration: i64::MAX,
            max_duration: i64::MIN,
            errors: 0,
            min_arrival: i64::MAX,
            max_arrival: i64::MIN,
            origins: Vec::new(),
            names: Some(Vec::new()),
        }
    }
}
