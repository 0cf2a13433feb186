//! Countdowns: the instant they run against, and the frames they need.

use std::time::Duration;

use egui::Ui;
use fuseboard_api::UnixNanos;

use crate::model::{Model, SourceKind};

/// The instant that countdowns run against: the clock's while the newest is followed and not old, else the one shown.
pub(crate) fn instant(model: &Model) -> UnixNanos {
    let shown = model.time.position();
    let live = model.time.cursor.is_following() && model.source_kind != SourceKind::File;
    if live && model.time.now.since(shown) < Duration::from_secs(30) { model.time.now.max(shown) } else { shown }
}

/// A countdown is the one reason to paint without new data: ten times a second in the last ten seconds, else once.
pub(crate) fn repaint(ui: &Ui, model: &Model, ends: impl Iterator<Item = UnixNanos>) {
    let now = instant(model);
    if !model.time.cursor.is_following() || model.source_kind == SourceKind::File {
        return;
    }
    match ends.filter(|t| *t > now).map(|t| t.since(now)).min() {
        Some(left) if left < Duration::from_secs(10) => ui.request_repaint_after(Duration::from_millis(100)),
        Some(_) => ui.request_repaint_after(Duration::from_secs(1)),
        None => {}
    }
}
