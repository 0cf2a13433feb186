//! What the linter finds, for every view that shows an edge: how bad, about what, and which of it is about one edge.

use std::collections::HashMap;

use fuseboard_api::graph::EdgeKey;
use fuseboard_api::lint::{LintFinding, LintSeverity};

use egui::Ui;

use crate::command::{Command, Commands};
use crate::model::{Model, PolicyTab};
use crate::views::names;
use crate::widgets::button::link;
use crate::widgets::{Tone, format, pill, text, tokens};

/// How many findings stand beside an edge; the rest is counted.
const BESIDE: usize = 3;

/// How a severity looks.
pub(crate) fn tone(severity: LintSeverity) -> Tone {
    match severity {
        LintSeverity::Note => Tone::Neutral,
        LintSeverity::Warn => Tone::AtRisk,
        LintSeverity::Error => Tone::Failed,
    }
}

/// What a finding is about: an edge, or a path of edges, or a rule that matches nothing.
pub(crate) fn place(finding: &LintFinding) -> String {
    match finding.path.as_slice() {
        [] => finding.given_by.clone(),
        [one] => names::full_name(one),
        [first, .., last] => format!("{} → … → {}", first.caller, last.callee),
    }
}

/// The worst that is found on each edge, without mere notes: for marks, which are for what should be mended.
pub(crate) fn worst(model: &Model) -> HashMap<&EdgeKey, LintSeverity> {
    let mut out = HashMap::new();
    let all = model.slots.lints.get().map(|l| l.findings.as_slice()).unwrap_or_default();
    for finding in all.iter().filter(|f| f.severity >= LintSeverity::Warn) {
        for key in &finding.path {
            let worst = out.entry(key).or_insert(finding.severity);
            *worst = finding.severity.max(*worst);
        }
    }
    out
}

/// What is found on an edge and the paths over it, as a section beside it; the first few.
pub(crate) fn beside(ui: &mut Ui, found: &[&LintFinding], commands: &mut Commands) {
    text::section_with(ui, "Findings", |ui| {
        if link(ui, "All findings").clicked() {
            commands.push(Command::ShowPolicies(PolicyTab::Findings));
        }
    });
    for finding in found.iter().take(BESIDE) {
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = 6.0;
            pill::dot(ui, tone(finding.severity), finding.severity.as_str());
            text::wrapped(ui, &finding.text, text::secondary_font(), tokens(ui).text);
        });
        if link(ui, "Mend").accessible_name(format!("Mend: {}", finding.text)).clicked() {
            commands.push(Command::SelectFinding(Some(finding.id.clone())));
            commands.push(Command::ShowPolicies(PolicyTab::Findings));
        }
    }
    if let Some(more) = found.len().checked_sub(BESIDE).filter(|n| *n > 0) {
        text::note(ui, format!("and {} more", format::count(more as u64)));
    }
}

/// What is found on an edge and the paths over it, the worst first.
pub(crate) fn of<'a>(model: &'a Model, key: &EdgeKey) -> Vec<&'a LintFinding> {
    let all = model.slots.lints.get().map(|l| l.findings.as_slice()).unwrap_or_default();
    all.iter().filter(|f| f.path.contains(key)).collect()
}
