//! What the linter finds when the policy is held against the calls that were observed: each with its numbers, and a
//! proposed fix that opens as a pending edit.

use egui::Ui;
use fuseboard_api::command::PolicyEdit;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::identity::Deed;
use fuseboard_api::lint::{LintFinding, LintSeverity, Lints};
use fuseboard_api::policy::Policies;

use super::State;
use super::draft::{Draft, Scope};
use super::fields;
use crate::command::{Command, Commands};
use crate::model::{Model, PolicyTab};
use crate::views::findings::{place, tone};
use crate::views::names;
use crate::widgets::button::{Button, Kind};
use crate::widgets::card::Card;
use crate::widgets::table::{Column, Table};
use crate::widgets::{banner, button, format, pill, rule, space, text, tokens};

/// Paints the list.
pub(super) fn show(ui: &mut Ui, model: &Model, commands: &mut Commands) {
    let slot = &model.slots.lints;
    let Some(lints) = slot.get() else {
        match slot.error.as_deref() {
            None => banner::empty(ui, "Looking…", "The policy is held against the calls of the last hour.", |_| {}),
            Some(why) => banner::empty(ui, "No answer from the linter", why, |_| {}),
        }
        return;
    };
    if lints.findings.is_empty() {
        return nothing(ui, model, lints);
    }
    text::note(ui, summary(model, lints));
    ui.add_space(space::NEAR);
    let wide = ui.available_width() > 700.0;
    let columns = [
        Column::words("", 14.0),
        Column::words("about", if wide { 250.0 } else { 170.0 }),
        Column::words("finding", 0.0),
    ];
    let here = model.selection.finding.as_ref().and_then(|id| lints.findings.iter().position(|f| f.id == *id));
    let touched = Table::new("findings", &columns, lints.findings.len()).chosen(here).show(
        ui,
        |i| lints.findings.get(i).map_or_else(String::new, |f| format!("{}: {}", f.severity.as_str(), f.text)),
        |ui, i, column| {
            if let Some(f) = lints.findings.get(i) {
                cell(ui, f, column);
            }
        },
    );
    if let Some(f) = touched.chosen.and_then(|i| lints.findings.get(i)) {
        commands.push(Command::SelectFinding(Some(f.id.clone())));
    }
}

/// Nothing was found: because all is well, or because there was too little to look at.
fn nothing(ui: &mut Ui, model: &Model, lints: &Lints) {
    let over = lasting(model);
    if lints.calls == 0 || !lints.gaps.is_empty() {
        let calls = format::plural(lints.calls, "call");
        let first = lints.gaps.first().map(|g| format!(" {}", g.text)).unwrap_or_default();
        let sentence = format!(
            "{calls} over {} {over}: too few to judge every setting by. Nothing was found in what there is.{first}",
            format::plural(u64::from(lints.edges), "edge")
        );
        return banner::empty(ui, "Too little data", &sentence, |_| {});
    }
    let calls = format!("{} calls over {}", format::count(lints.calls), format::plural(u64::from(lints.edges), "edge"));
    let sentence = format!("Timeouts, retries, breakers and budgets fit the {calls}.");
    banner::empty(ui, &format!("Nothing to mend in the calls {over}"), &sentence, |_| {});
}

/// Which calls were looked at, to follow "calls".
fn lasting(model: &Model) -> &'static str {
    if model.time.chosen.is_some() { "of the chosen range" } else { "of the last hour" }
}

fn summary(model: &Model, lints: &Lints) -> String {
    let of = |s| lints.findings.iter().filter(|f| f.severity == s).count() as u64;
    let counts: Vec<String> =
        [(LintSeverity::Error, "error"), (LintSeverity::Warn, "warning"), (LintSeverity::Note, "note")]
            .into_iter()
            .filter(|(s, _)| of(*s) > 0)
            .map(|(s, word)| format::plural(of(s), word))
            .collect();
    let mut out = format!(
        "{} in {} {} over {}",
        counts.join(", "),
        format::plural(lints.calls, "call"),
        lasting(model),
        format::plural(u64::from(lints.edges), "edge")
    );
    if lints.more > 0 {
        out.push_str(&format!(" · {} more not listed", lints.more));
    }
    if !lints.gaps.is_empty() {
        out.push_str(&format!(" · {} with too few calls to judge", format::plural(lints.gaps.len() as u64, "place")));
    }
    out
}

fn cell(ui: &mut Ui, f: &LintFinding, column: usize) {
    let t = tokens(ui);
    match column {
        0 => pill::dot(ui, tone(f.severity), f.severity.as_str()),
        1 => text::styled(ui, place(f), text::body_font(), t.text).on_hover_text(place(f)),
        _ => text::styled(ui, &f.text, text::body_font(), t.text).on_hover_text(&f.text),
    };
}

fn chosen(model: &Model) -> Option<(&LintFinding, u64)> {
    let (lints, id) = (model.slots.lints.get()?, model.selection.finding.as_ref()?);
    lints.findings.iter().find(|f| f.id == *id).map(|f| (f, lints.revision))
}

/// Whether there is something for the inspector to say.
pub(super) fn has_inspector(model: &Model) -> bool {
    chosen(model).is_some()
}

/// Paints what stands beside it: the numbers, what to do, and the fix.
pub(super) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, policies: &Policies) {
    let Some((f, revision)) = chosen(model) else { return };
    text::row(
        ui,
        24.0,
        |ui| text::inspector_title(ui, &place(f)).on_hover_text(place(f)),
        |ui| {
            pill::status(ui, f.severity.as_str(), tone(f.severity));
        },
    );
    text::mono_soft(ui, f.rule.as_str());
    ui.add_space(4.0);
    text::wrapped(ui, f.text.as_str(), text::body_font(), tokens(ui).text);
    ui.add_space(space::NEAR);
    for number in &f.numbers {
        text::pair(ui, &number.name, format!("{} {}", format::value(number.value), number.unit).trim());
    }
    if !f.given_by.is_empty() {
        text::pair(ui, "set by", &f.given_by);
    }
    if f.path.len() > 1 {
        ui.add_space(4.0);
        for key in &f.path {
            text::mono_soft(ui, names::full_name(key)).on_hover_text(key.to_string());
        }
    }
    ui.add_space(space::NEAR);
    text::note(ui, f.advice.as_str());
    text::wrapped(ui, f.source.as_str(), text::label_font(), tokens(ui).text_soft);
    if let [.., edge] = f.path.as_slice()
        && button::link(ui, "Show the edge's settings").clicked()
    {
        open(commands, edge);
    }
    if !f.fix.is_empty() {
        rule(ui);
        fix(ui, model, state, commands, f, draft_of(f, revision, policies));
    }
}

fn open(commands: &mut Commands, edge: &EdgeKey) {
    commands.push(Command::SelectEdge(Some(edge.clone())));
    commands.push(Command::ShowPolicies(PolicyTab::Edges));
}

/// The fix, and the way to make it.
fn fix(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, f: &LintFinding, draft: Option<Draft>) {
    let t = tokens(ui);
    text::section(ui, "Proposed fix");
    ui.add_space(4.0);
    Card::new().show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        for edit in &f.fix {
            let (sign, color) = if edit.value.is_some() { ('+', t.well) } else { ('-', t.failed) };
            let value = edit.value.as_deref().map(|v| format!(" = {v}")).unwrap_or_default();
            text::wrapped(ui, format!("{sign} {} {}{value}", rule_of(edit), edit.path), text::mono_font(11.0), color);
        }
    });
    ui.add_space(space::NEAR);
    let Some(draft) = draft else {
        let line = format!("fuseboard ctl policy lint --fix {} --reason \"…\"", f.id);
        text::note(ui, "The form has no field for this. From the command line:");
        text::wrapped(ui, line.as_str(), text::mono_font(11.0), t.text);
        if button::link(ui, "Copy the command").clicked() {
            commands.push(Command::Copy(line, "the command".to_owned()));
        }
        return;
    };
    let other = state.draft.as_ref().filter(|d| d.key != draft.key || d.typed != draft.typed);
    let barred = model.barred(Deed::Policy).or_else(|| {
        other.map(|d| format!("An edit of {} is pending: send or discard it first.", names::full_name(&d.key)))
    });
    if Button::new("Open as changeset").kind(Kind::Primary).wide().barred(barred.clone()).show(ui).clicked() {
        open(commands, &draft.key);
        state.draft = Some(draft);
    }
    text::label(ui, barred.unwrap_or_else(|| "Nothing is sent yet: it opens as a pending edit.".to_owned()));
}

/// A fix as a pending edit; `None` when the form cannot hold it: settings without a field, or more than one rule.
fn draft_of(f: &LintFinding, base: u64, policies: &Policies) -> Option<Draft> {
    let first = f.fix.first()?;
    let scope = match (&first.caller, &first.operation) {
        (Some(_), Some(_)) => Scope::ThisCaller,
        (None, Some(_)) => Scope::EveryCaller,
        (None, None) => Scope::Service,
        (Some(_), None) => return None,
    };
    let fits = |key: &EdgeKey| {
        key.callee == first.service
            && first.caller.as_ref().is_none_or(|c| *c == key.caller)
            && first.operation.as_ref().is_none_or(|o| *o == key.operation)
    };
    let edge = policies.edges.iter().filter(|e| fits(&e.key)).max_by_key(|e| f.path.contains(&e.key))?;
    let in_force = fields::flatten(&edge.settings);
    let mut draft = Draft { scope, reason: f.text.clone(), ..Draft::of(edge, base) };
    for edit in &f.fix {
        let same = (&edit.caller, &edit.service, &edit.operation) == (&first.caller, &first.service, &first.operation);
        let field = fields::by_path(&edit.path).filter(|_| same)?;
        let text = edit.value.as_deref().map_or_else(String::new, |v| fields::to_field(field.kind, v));
        draft.put(field, text, &in_force);
    }
    (!draft.is_empty()).then_some(draft)
}

/// The rule that an edit goes into: `orders:payments/Charge`.
fn rule_of(edit: &PolicyEdit) -> String {
    let caller = edit.caller.as_deref().map(|c| format!("{c}:")).unwrap_or_default();
    let operation = edit.operation.as_deref().map(|o| format!("/{o}")).unwrap_or_default();
    format!("{caller}{}{operation}", edit.service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_api::policy::EffectiveEdge;

    fn policies() -> Policies {
        let edge = |caller: &str| EffectiveEdge {
            key: EdgeKey::new(caller, "payments", "Charge"),
            steered: true,
            ..EffectiveEdge::default()
        };
        Policies { edges: vec![edge("gateway"), edge("orders")], ..Policies::default() }
    }

    fn finding(fix: Vec<PolicyEdit>) -> LintFinding {
        LintFinding {
            path: vec![EdgeKey::new("gateway", "payments", "Charge")],
            text: "cuts 12 % of good calls".to_owned(),
            fix,
            ..LintFinding::default()
        }
    }

    fn edit(caller: Option<&str>, operation: Option<&str>, path: &str) -> PolicyEdit {
        PolicyEdit {
            caller: caller.map(str::to_owned),
            service: "payments".to_owned(),
            operation: operation.map(str::to_owned),
            path: path.to_owned(),
            value: Some("1600".to_owned()),
        }
    }

    #[test]
    fn a_fix_becomes_the_edit_that_it_proposes_and_nothing_else() {
        let fix = edit(None, Some("Charge"), "timeout.attempt_ms");
        let draft = draft_of(&finding(vec![fix.clone()]), 41, &policies()).unwrap();
        assert_eq!((draft.base, draft.scope, draft.key.caller.as_str()), (41, Scope::EveryCaller, "gateway"));
        assert_eq!(draft.reason, "cuts 12 % of good calls");
        let changes = draft.changes(&[]).unwrap();
        let action = draft.action(&changes, &[], fuseboard_api::rollout::Delivery::default());
        assert_eq!(action, fuseboard_api::command::Action::edit_policy(41, vec![fix]));
    }

    #[test]
    fn what_the_form_cannot_hold_is_no_edit_of_it() {
        let other = |fix| draft_of(&finding(fix), 41, &policies()).is_none();
        assert!(other(vec![edit(Some("orders"), None, "timeout.attempt_ms")]), "a caller without an operation");
        assert!(other(vec![edit(None, Some("Charge"), "no.such.setting")]));
        assert!(other(vec![edit(None, Some("Refund"), "timeout.attempt_ms")]), "an edge that is not seen");
        let (one, two) = (edit(None, Some("Charge"), "timeout.attempt_ms"), edit(None, None, "timeout.overall_ms"));
        assert!(other(vec![one, two]), "two rules");
    }
}
