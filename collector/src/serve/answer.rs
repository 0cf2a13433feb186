//! The desk: who answers which question, and who carries out commands.

use std::path::PathBuf;
use std::sync::Arc;

use fuseboard_api::ask::{Answered, Ask, Question, Refusal};
use fuseboard_api::command::{Command, Receipt};
use fuseboard_api::{TimeRange, UnixNanos};

use crate::control::Control;
use crate::control::refusal::{internal, opened_file};
use crate::store::Store;
use crate::{incident, query};

/// Answers questions as of an instant, and passes commands on.
#[derive(Debug)]
pub(crate) struct Desk {
    store: Store,
    /// Nobody, when the source is an opened file.
    control: Option<Arc<Control>>,
}

impl Desk {
    /// A desk over a store; without `control` nothing can be changed.
    pub(crate) fn new(store: Store, control: Option<Arc<Control>>) -> Self {
        Self { store, control }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn control(&self) -> Option<&Arc<Control>> {
        self.control.as_ref()
    }

    /// Answers a question.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answered, Refusal> {
        query::ask(&self.store, within_reason(ask, self.store.reach())).await
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) async fn command(&self, command: Command) -> Result<Receipt, Refusal> {
        match &self.control {
            Some(control) => control.execute(command).await,
            None => Err(opened_file()),
        }
    }

    /// An incident's file, ready to be sent, and a name for it. It is gone from the disk's names already.
    ///
    /// # Errors
    /// `not_found` when there is no such incident, else why the file could not be made.
    pub(crate) async fn incident_file(&self, id: u64) -> Result<(String, std::fs::File), Refusal> {
        let path = temporary(&self.store, id);
        let exported = incident::export(&self.store, id, &path).await;
        let opened = match exported {
            Ok(name) => std::fs::File::open(&path)
                .map(|file| (name, file))
                .map_err(|e| internal(format!("the incident's file cannot be read back: {e}"))),
            Err(refusal) => Err(refusal),
        };
        // On Unix what is open stays readable; elsewhere the file stays until the next start of the system's cleaner.
        if let Err(e) = std::fs::remove_file(&path)
            && opened.is_ok()
        {
            tracing::warn!("{} could not be removed: {e}", path.display());
        }
        opened
    }
}

fn temporary(store: &Store, id: u64) -> PathBuf {
    let mut name = store.path().as_os_str().to_owned();
    name.push(format!(".incident-{id}-{}", UnixNanos::now()));
    PathBuf::from(name)
}

/// The same question with its range cut to what could hold anything: a range over all of time costs as much as it spans.
fn within_reason(mut ask: Ask, reach: TimeRange) -> Ask {
    let range = match &mut ask.question {
        Question::Strip { range, .. }
        | Question::Board { range }
        | Question::Breakers { range }
        | Question::Policies { range }
        | Question::Lint { range, .. }
        | Question::Effective { range, .. }
        | Question::Changes { range }
        | Question::Fleet { range } => range,
        Question::Traces(query) => &mut query.range,
        Question::Spans(query) => &mut query.range,
        Question::Quantiles(query) => &mut query.range,
        Question::Logs(query) => &mut query.range,
        Question::Metrics(query) => &mut query.range,
        _ => return ask,
    };
    range.from = range.from.max(reach.from);
    range.to = range.to.min(reach.to).max(range.from);
    ask
}
