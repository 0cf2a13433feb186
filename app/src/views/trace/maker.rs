//! Who makes traces ready: small ones at once, large ones on a thread beside the frame.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use fuseboard_api::trace::Trace;

use super::built::Built;
use crate::model::bin;

/// Traces with more spans than this are made ready beside the frame.
const LARGE: usize = 20_000;

/// Makes traces ready and keeps the last one.
#[derive(Debug, Default)]
pub(crate) struct Maker {
    made: Option<Arc<Built>>,
    job: Option<Receiver<Built>>,
}

impl Maker {
    /// The picture with this version made ready, or the one before while it is being made.
    pub(crate) fn built(&mut self, ctx: &egui::Context, version: u64, trace: &Arc<Trace>) -> Option<Arc<Built>> {
        self.collect();
        if self.made.as_ref().is_some_and(|b| b.version == version) {
            return self.last();
        }
        if trace.spans.len() <= LARGE {
            self.job = None;
            self.keep(Built { version, ..Built::new(trace.clone()) });
        } else if self.job.is_none() {
            self.begin(ctx, version, trace.clone());
        }
        self.last()
    }

    /// What was made last.
    pub(crate) fn last(&self) -> Option<Arc<Built>> {
        self.made.clone()
    }

    fn collect(&mut self) {
        let Some(done) = &self.job else { return };
        match done.try_recv() {
            Ok(built) => {
                self.job = None;
                self.keep(built);
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.job = None,
        }
    }

    fn keep(&mut self, built: Built) {
        if let Some(old) = self.made.replace(Arc::new(built)) {
            bin::discard(old);
        }
    }

    fn begin(&mut self, ctx: &egui::Context, version: u64, trace: Arc<Trace>) {
        // One trace and one reader: the channel never fills.
        let (send, done) = sync_channel(1);
        let ctx = ctx.clone();
        let work = move || {
            // Nobody waits any more when the view has gone.
            let _ = send.send(Built { version, ..Built::new(trace) });
            ctx.request_repaint();
        };
        match std::thread::Builder::new().name("trace-tree".to_owned()).spawn(work) {
            Ok(_) => self.job = Some(done),
            Err(error) => {
                tracing::error!(%error, "no thread to build the trace's tree; it is tried again with the next frame")
            }
        }
    }
}
