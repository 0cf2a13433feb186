//! The policies view: the settings in force on every edge and where they came from, the distribution behind each timeout,
//! edits with their diff, the document, and its history.

mod apply;
mod delivery;
mod detail;
mod diff;
mod document;
mod draft;
mod fields;
mod findings;
mod history;
mod list;
mod overrides;
mod timeout;

use std::collections::BTreeSet;

use egui::Ui;
use fuseboard_api::command::Action;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::policy::{EffectiveEdge, Policies};

use self::draft::Draft;
use crate::command::{Command, Commands};
use crate::model::{Model, PolicyTab};
use crate::views::halves::halves;
use crate::views::progress::{self, Progress};
use crate::views::rollout;
use crate::widgets::{self, banner, button, format, space};

/// A change that was sent.
#[derive(Debug, Clone)]
struct Sent {
    /// The command.
    action: Action,
    /// Why.
    reason: String,
    /// The revision in force when it was sent.
    base: u64,
    /// The edit it came from, to be taken up again when it is not accepted.
    draft: Option<Draft>,
}

impl Sent {
    fn progress(&self, model: &Model) -> Option<Progress> {
        progress::of_policy(&model.pending, model.slots.changes.get(), &self.action, self.base, &self.reason)
    }
}

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    search: String,
    /// The edit that is being prepared.
    draft: Option<Draft>,
    /// The edit that was sent last.
    sent: Option<Sent>,
    /// How the next one is to go out.
    plan: delivery::Plan,
    /// Groups whose unset settings are shown too, by title.
    turned: BTreeSet<&'static str>,
    overrides: overrides::State,
    document: document::State,
    history: history::State,
}

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    widgets::view(ui, |ui| {
        let slot = &model.slots.policies;
        head(ui, model, slot.get(), commands);
        let Some(policies) = slot.get() else {
            match slot.error.as_deref() {
                None => {
                    banner::empty(ui, "Asking for the policies…", "The picture comes with the first answer.", |_| {})
                }
                Some(why) => banner::empty(ui, "No answer about policies", why, |_| {}),
            }
            return;
        };
        if slot.stale || slot.error.is_some() {
            banner::stale(ui, slot.error.as_deref());
            ui.add_space(space::NEAR);
        }
        if model.policy_tab != PolicyTab::Rollout {
            rollout::strip(ui, model, commands);
        }
        match model.policy_tab {
            PolicyTab::Edges => edges(ui, model, state, commands, policies),
            PolicyTab::Rollout => rollout::card(ui, model, commands),
            PolicyTab::Overrides => overrides::show(ui, model, &mut state.overrides, commands),
            PolicyTab::Findings => findings::show(ui, model, commands),
            PolicyTab::Document => document::show(ui, model, &mut state.document, commands, policies),
            PolicyTab::History => history::show(ui, model, &mut state.history, commands, policies),
        }
    });
}

/// Paints what stands beside it.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let Some(policies) = model.slots.policies.get() else { return };
    match model.policy_tab {
        PolicyTab::Edges => apply::show(ui, model, state, commands, policies),
        PolicyTab::Rollout => {}
        PolicyTab::Overrides => overrides::inspector(ui, model, &mut state.overrides),
        PolicyTab::Findings => findings::inspector(ui, model, state, commands, policies),
        PolicyTab::Document => document::inspector(ui, model, &mut state.document, commands, policies),
        PolicyTab::History => history::inspector(ui, model, &mut state.history, commands, policies),
    }
}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(model: &Model, state: &State) -> bool {
    let needed = match model.policy_tab {
        // In a narrow window the edit stands under the settings instead.
        PolicyTab::Edges => !model.narrow,
        PolicyTab::Rollout => false,
        PolicyTab::Overrides => overrides::has_inspector(model, &state.overrides),
        PolicyTab::Findings => findings::has_inspector(model),
        PolicyTab::Document => !model.narrow || state.document.is_edited(),
        PolicyTab::History => !model.narrow || model.selection.revision.is_some(),
    };
    needed && model.slots.policies.get().is_some()
}

fn head(ui: &mut Ui, model: &Model, policies: Option<&Policies>, commands: &mut Commands) {
    let aside = policies.map(summary).unwrap_or_default();
    let aside = if ui.available_width() > 860.0 { aside } else { String::new() };
    widgets::view_head(ui, "Policies", &aside, |ui| {
        let held = match model.overrides().count() {
            0 => "Overrides".to_owned(),
            n => format!("Overrides {n}"),
        };
        let found = match model.slots.lints.get().map_or(0, |l| l.findings.len()) {
            0 => "Findings".to_owned(),
            n => format!("Findings {n}"),
        };
        let mut tabs = vec![
            (PolicyTab::Edges, "Edges"),
            (PolicyTab::Overrides, held.as_str()),
            (PolicyTab::Findings, found.as_str()),
        ];
        if model.policy_tab == PolicyTab::Rollout || rollout::newest(model).is_some() {
            tabs.insert(1, (PolicyTab::Rollout, "Rollout"));
        }
        tabs.extend([(PolicyTab::Document, "Document"), (PolicyTab::History, "History")]);
        let mut tab = model.policy_tab;
        if button::segmented(ui, "Show", &mut tab, &tabs) {
            commands.push(Command::ShowPolicies(tab));
        }
    });
}

fn summary(p: &Policies) -> String {
    let unsteered = p.edges.iter().filter(|e| !e.steered).count();
    let mut out = format!("r{} · {}", p.revision.number, format::plural(p.edges.len() as u64, "edge"));
    if unsteered > 0 {
        out.push_str(&format!(" · {unsteered} not steered"));
    }
    out
}

fn edges(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, policies: &Policies) {
    if policies.edges.is_empty() {
        banner::empty(
            ui,
            "No calls seen yet",
            "Every edge that carries calls is listed here with the settings in force on it. \
             The document can be written before the first call.",
            |ui| {
                if button::button(ui, "Open the document").clicked() {
                    commands.push(Command::ShowPolicies(PolicyTab::Document));
                }
            },
        );
        return;
    }
    let (mut left, mut right) = halves(ui, 312.0);
    list::show(&mut left, model, &mut state.search, commands, policies);
    if let Some(edge) = chosen(model, policies) {
        detail::show(&mut right, model, state, commands, policies, edge);
    }
}

/// The chosen edge, else the one whose timeout cuts most, so that the view never opens on nothing.
fn chosen<'a>(model: &Model, policies: &'a Policies) -> Option<&'a EffectiveEdge> {
    let by_key = |key: &EdgeKey| policies.edges.iter().find(|e| e.key == *key);
    model.selection.edge.as_ref().and_then(by_key).or_else(|| {
        policies.edges.iter().max_by(|a, b| (a.steered, a.cut).cmp(&(b.steered, b.cut)).then(b.key.cmp(&a.key)))
    })
}
