//! Who makes scenes: small ones at once, large ones on a thread beside the frame, one at a time; until that is done the scene
//! before stays on the screen.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use super::scene::{Key, Scene, Source};
use crate::model::bin;

/// Pictures with more links than this are laid out beside the frame.
const LARGE: usize = 1_000;

/// Makes scenes and keeps the last one.
#[derive(Debug, Default)]
pub(crate) struct Maker {
    scene: Option<Arc<Scene>>,
    job: Option<Job>,
}

#[derive(Debug)]
struct Job {
    key: Key,
    done: Receiver<Scene>,
}

impl Maker {
    /// The scene for `source`, or the one before while it is being made; `None` while there is none at all.
    pub(crate) fn scene(&mut self, ctx: &egui::Context, source: Source) -> Option<Arc<Scene>> {
        self.collect();
        if self.scene.as_ref().is_some_and(|s| s.key == source.key) {
            return self.scene.clone();
        }
        if source.board.edges.len() + source.board.nodes.len() <= LARGE {
            self.job = None;
            self.scene = Some(Arc::new(source.make(self.scene.as_deref())));
        } else if self.job.is_none() {
            self.begin(ctx, source);
        }
        self.scene.clone()
    }

    fn collect(&mut self) {
        let Some(job) = &self.job else { return };
        match job.done.try_recv() {
            Ok(scene) => {
                debug_assert_eq!(scene.key, job.key);
                if let Some(old) = self.scene.replace(Arc::new(scene)) {
                    bin::discard(old);
                }
                self.job = None;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.job = None,
        }
    }

    fn begin(&mut self, ctx: &egui::Context, source: Source) {
        // One scene and one reader: the channel never fills.
        let (send, done) = sync_channel(1);
        let (ctx, old, key) = (ctx.clone(), self.scene.clone(), source.key.clone());
        let work = move || {
            // Nobody waits any more when the view has gone.
            let _ = send.send(source.make(old.as_deref()));
            ctx.request_repaint();
        };
        match std::thread::Builder::new().name("board-layout".to_owned()).spawn(work) {
            Ok(_) => self.job = Some(Job { key, done }),
            Err(error) => {
                tracing::error!(%error, "no thread for the board's layout; it is tried again with the next picture")
            }
        }
    }
}
