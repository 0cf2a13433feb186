//! Conditions on traces that need their spans whole: attributes and text.

use fuseboard_api::attr::{self, Attributes};
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TraceId, UnixNanos};

use crate::store::segment::{Part, Parts};
use crate::store::{Snapshot, StoreError};

/// What is looked for.
pub(super) struct Search {
    /// One span must have all of these, values as text.
    attributes: Vec<(String, String)>,
    /// Any span must hold this, in lower case.
    text: Option<String>,
}

impl Search {
    /// `None` when the query has no such condition.
    pub(super) fn of(query: &TraceQuery) -> Option<Self> {
        let text = query.text.as_ref().filter(|t| !t.is_empty()).map(|t| t.to_lowercase());
        if query.attributes.is_empty() && text.is_none() {
            return None;
        }
        Some(Self { attributes: query.attributes.clone(), text })
    }

    /// Whether a trace has what is looked for.
    pub(super) fn finds(&self, read: &Snapshot<'_>, trace: TraceId, as_of: UnixNanos) -> Result<bool, StoreError> {
        let (mut attributes, mut found) = (self.attributes.is_empty(), self.text.is_none());
        let parts = Parts::of(&[Part::Name, Part::StatusMessage, Part::Attributes]);
        for (columns, rows) in read.trace(trace, as_of, &parts)? {
            for row in rows {
                let all = columns.all_attrs(row);
                attributes = attributes || self.attributes_in(&all);
                found = found || self.text_in(columns.name(row), columns.status_message(row), &all);
                if attributes && found {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn attributes_in(&self, all: &Attributes) -> bool {
        self.attributes.iter().all(|(key, wanted)| attr::get(all, key).is_some_and(|v| v.to_string() == *wanted))
    }

    fn text_in(&self, name: &str, status: &str, all: &Attributes) -> bool {
        let Some(text) = &self.text else { return true };
        let holds = |t: &str| t.to_lowercase().contains(text);
        holds(name) || holds(status) || all.iter().any(|(_, value)| holds(&value.to_string()))
    }
}
