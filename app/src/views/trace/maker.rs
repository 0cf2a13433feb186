//! Who makes traces ready: small ones at once, large ones on a thread beside the frame.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use fuseboard_api::trace::Trace;

use super::built::Built;

/// Traces with more spans than this are made ready beside the frame.
const LARGE: usize = 20_000;

/// Makes traces ready and keeps the last one.
#[derive(Debug, Default)]
pub(crate) struct Maker {
    made: Option<(u64, Arc<Built>)>,
    job: Option<(u64, Receiver<Built>)>,
}

impl Maker {
    /// The picture with this version made ready, or the one before while it is being made.
    pub(crate) fn built(
        &mut self,
        ctx: &egui::Context,
        version: u64,
        answer: &Arc<Option<Trace>>,
    ) -> Option<Arc<Built>> {
        self.collect();
        if self.made.as_ref().is_some_and(|(v, _)| *v == version) {
            return self.last();
        }
        let trace = answer.as_ref().as_ref()?;
        if trace.spans.len() <= LARGE {
            self.job = None;
            self.made = Some((version, Arc::new(Built::new(Arc::new(trace.clone())))));
        } else if self.job.is_none() {
            self.begin(ctx, version, answer.clone());
        }
        self.last()
    }

    /// What was made last.
    pub(crate) fn last(&self) -> Option<Arc<Built>> {
        self.made.as_ref().map(|(_, built)| built.clone())
    }

    fn collect(&mut self) {
        let Some((version, done)) = &self.job else { return };
        match done.try_recv() {
            Ok(built) => {
                self.made = Some((*version, Arc::new(built)));
                self.job = None;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.job = None,
        }
    }

    fn begin(&mut self, ctx: &egui::Context, version: u64, answer: Arc<Option<Trace>>) {
        // One trace and one reader: the channel never fills.
        let (send, done) = sync_channel(1);
        let ctx = ctx.clone();
        let work = move || {
            if let Some(trace) = answer.as_ref() {
                // Nobody waits any more when the view has gone.
                let _ = send.send(Built::new(Arc::new(trace.clone())));
                ctx.request_repaint();
            }
        };
        match std::thread::Builder::new().name("trace-tree".to_owned()).spawn(work) {
            Ok(_) => self.job = Some((version, done)),
            Err(error) => {
                tracing::error!(%error, "no thread to build the trace's tree; it is tried again with the next frame")
            }
        }
    }
}
