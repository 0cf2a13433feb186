//! An edit before it is sent: which settings, from what to what, in which rule, why.

use std::collections::BTreeMap;

use fuseboard_api::command::{Action, PolicyEdit};
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::policy::{EffectiveEdge, Policies};

use super::fields::{self, Field};
use crate::widgets::format;

/// Which rule of the document the edit goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Scope {
    /// This operation, whoever calls it.
    #[default]
    EveryCaller,
    /// This operation, called by this caller.
    ThisCaller,
    /// Every operation of the service.
    Service,
}

impl Scope {
    /// In the order of the choice.
    pub(crate) const ALL: [Self; 3] = [Self::EveryCaller, Self::ThisCaller, Self::Service];

    /// What it covers, in words.
    pub(crate) fn label(self, key: &EdgeKey) -> String {
        match self {
            Self::EveryCaller => "every caller".to_owned(),
            Self::ThisCaller => format!("only {}", key.caller),
            Self::Service => format!("all of {}", key.callee),
        }
    }

    /// How specific its rule is; see [`weight_of`].
    fn weight(self) -> u8 {
        match self {
            Self::ThisCaller => 5,
            Self::EveryCaller => 4,
            Self::Service => 2,
        }
    }

    /// Whether an edge is covered when the rule is made for `key`.
    fn covers(self, key: &EdgeKey, other: &EdgeKey) -> bool {
        other.callee == key.callee
            && match self {
                Self::EveryCaller => other.operation == key.operation,
                Self::ThisCaller => other.operation == key.operation && other.caller == key.caller,
                Self::Service => true,
            }
    }
}

/// One setting that the edit changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Changed {
    /// Which.
    pub(crate) field: &'static Field,
    /// What is in force, TOML.
    pub(crate) old: Option<String>,
    /// What is wanted, TOML; `None` removes it.
    pub(crate) new: Option<String>,
}

impl Changed {
    /// `timeout.attempt_ms  800 ms → 1,600 ms`, without the path.
    pub(crate) fn sentence(&self) -> String {
        let kind = self.field.kind;
        let new = match &self.new {
            Some(new) => fields::said(kind, Some(new)),
            None => "as inherited".to_owned(),
        };
        format!("{} → {new}", fields::said(kind, self.old.as_deref()))
    }
}

/// An edit of one edge's settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    /// The revision that the operator saw when the edit began.
    pub(crate) base: u64,
    /// The edge.
    pub(crate) key: EdgeKey,
    /// Where it is written.
    pub(crate) scope: Scope,
    /// What stands in fields that were touched, by path.
    pub(crate) typed: BTreeMap<&'static str, String>,
    /// Why.
    pub(crate) reason: String,
}

impl Draft {
    /// An edit of `edge` that changes nothing yet.
    pub(crate) fn of(edge: &EffectiveEdge, revision: u64) -> Self {
        // A rule for this caller beats one for every caller: an edit above it would do nothing.
        let own = format!("{}:", edge.key.caller);
        let scope = if edge.provenance.values().any(|rule| rule.starts_with(&own)) {
            Scope::ThisCaller
        } else {
            Scope::EveryCaller
        };
        Self { base: revision, key: edge.key.clone(), scope, typed: BTreeMap::new(), reason: String::new() }
    }

    /// What a field shows: what was typed, else what is in force.
    pub(crate) fn shown(&self, field: &'static Field, in_force: &[(String, String)]) -> String {
        self.typed.get(field.path).cloned().unwrap_or_else(|| shown_in_force(field, in_force))
    }

    /// Writes into a field; what equals the setting in force is no change.
    pub(crate) fn put(&mut self, field: &'static Field, text: String, in_force: &[(String, String)]) {
        if text.trim() == shown_in_force(field, in_force) {
            self.typed.remove(field.path);
        } else {
            self.typed.insert(field.path, text);
        }
    }

    /// The settings that change, in reading order.
    ///
    /// # Errors
    /// What is wrong with the first field that cannot be read.
    pub(crate) fn changes(&self, in_force: &[(String, String)]) -> Result<Vec<Changed>, String> {
        let touched = fields::GROUPS.iter().flat_map(|g| g.fields).filter(|f| self.typed.contains_key(f.path));
        touched
            .map(|field| {
                let text = self.typed.get(field.path).map_or("", String::as_str);
                let new = fields::from_field(field, text)?;
                Ok(Changed { field, old: value_of(field.path, in_force), new })
            })
            .collect()
    }

    /// Whether anything was touched.
    pub(crate) fn is_empty(&self) -> bool {
        self.typed.is_empty()
    }

    /// What the collector is asked to do.
    pub(crate) fn action(&self, changes: &[Changed]) -> Action {
        let edits = changes
            .iter()
            .map(|c| PolicyEdit {
                caller: (self.scope == Scope::ThisCaller).then(|| self.key.caller.clone()),
                service: self.key.callee.clone(),
                operation: (self.scope != Scope::Service).then(|| self.key.operation.clone()),
                path: c.field.path.to_owned(),
                value: c.new.clone(),
            })
            .collect();
        Action::edit_policy(self.base, edits)
    }

    /// Why, when nobody has typed a reason: the change itself.
    pub(crate) fn reason_or_default(&self, changes: &[Changed]) -> String {
        if !self.reason.trim().is_empty() {
            return self.reason.trim().to_owned();
        }
        let what: Vec<String> = changes.iter().map(|c| format!("{} {}", c.field.path, c.sentence())).collect();
        format!("{} → {}: {}", self.key.caller, self.key.callee, what.join(", "))
    }

    /// Callers that the edit reaches: (services, connected instances, edges that nobody steers).
    pub(crate) fn reach(&self, policies: &Policies) -> Reach {
        let mut callers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut unsteered = 0;
        for edge in policies.edges.iter().filter(|e| self.scope.covers(&self.key, &e.key)) {
            if edge.steered {
                let n = callers.entry(edge.key.caller.as_str()).or_default();
                *n = (*n).max(edge.instances);
            } else {
                unsteered += 1;
            }
        }
        Reach { callers: callers.len(), instances: callers.values().sum(), unsteered }
    }

    /// The rule or override that would keep the edit from acting on its edge: it sets one of the settings more specifically.
    pub(crate) fn shadowed_by<'a>(&self, edge: &'a EffectiveEdge, changes: &[Changed]) -> Option<&'a str> {
        let own = self.scope.weight();
        let from = changes.iter().filter_map(|c| edge.provenance.get(c.field.path));
        from.map(String::as_str).find(|rule| weight_of(rule) > own)
    }

    /// What the button says: `Apply to 2 callers as r42`.
    pub(crate) fn button(&self, policies: &Policies) -> String {
        let reach = self.reach(policies);
        let callers = format::plural(u64::from(reach.instances), "caller");
        format!("Apply to {callers} as r{}", policies.revision.number + 1)
    }

    /// The rule as it would stand in the document, removed and added lines: (sign, text).
    pub(crate) fn toml_lines(&self, changes: &[Changed]) -> Vec<(char, String)> {
        let mut out = vec![(' ', "[[edge]]".to_owned())];
        if self.scope == Scope::ThisCaller {
            out.push((' ', format!("caller = {:?}", self.key.caller)));
        }
        out.push((' ', format!("service = {:?}", self.key.callee)));
        if self.scope != Scope::Service {
            out.push((' ', format!("operation = {:?}", self.key.operation)));
        }
        for c in changes {
            out.extend(c.old.as_ref().map(|old| ('-', format!("{} = {old}", c.field.path))));
            out.extend(c.new.as_ref().map(|new| ('+', format!("{} = {new}", c.field.path))));
        }
        out
    }
}

/// How specific a rule is, by its name in a provenance: an operation beats a service, a service the default, and on each
/// level a rule that names the caller beats one that does not. Overrides beat everything; presets fill what is not set.
fn weight_of(rule: &str) -> u8 {
    if rule.starts_with("override ") {
        return u8::MAX;
    }
    if rule.starts_with("preset ") {
        return 0;
    }
    let service = rule.split_once('/').map_or(rule, |(service, _)| service);
    let (caller, service) = service.split_once(':').map_or((false, service), |(_, service)| (true, service));
    let level = if rule.contains('/') { 2 } else { u8::from(service != "*") };
    2 * level + u8::from(caller)
}

/// Whom an edit reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Services that call.
    pub(crate) callers: usize,
    /// Their connected instances.
    pub(crate) instances: u32,
    /// Edges whose caller runs no agent.
    pub(crate) unsteered: usize,
}

/// The value in force at `path`.
pub(crate) fn value_of(path: &str, in_force: &[(String, String)]) -> Option<String> {
    in_force.iter().find(|(p, _)| p == path).map(|(_, v)| v.clone())
}

fn shown_in_force(field: &Field, in_force: &[(String, String)]) -> String {
    in_force.iter().find(|(p, _)| p == field.path).map_or_else(String::new, |(_, v)| fields::to_field(field.kind, v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_policy::settings::{EdgeSettings, Timeout};

    fn edge(caller: &str, steered: bool) -> EffectiveEdge {
        EffectiveEdge {
            key: EdgeKey::new(caller, "payments", "Charge"),
            settings: EdgeSettings {
                timeout: Some(Timeout { attempt_ms: Some(800), overall_ms: Some(2000) }),
                ..EdgeSettings::default()
            },
            steered,
            instances: 2,
            ..EffectiveEdge::default()
        }
    }

    fn attempt() -> &'static Field {
        fields::by_path("timeout.attempt_ms").unwrap()
    }

    #[test]
    fn an_edit_is_what_differs_from_what_is_in_force() {
        let e = edge("orders", true);
        let in_force = fields::flatten(&e.settings);
        let mut draft = Draft::of(&e, 41);
        draft.put(attempt(), "1600".into(), &in_force);
        let changes = draft.changes(&in_force).unwrap();
        assert_eq!(changes[0].sentence(), "800 ms → 1,600 ms");
        let Action::EditPolicy { base, edits, .. } = draft.action(&changes) else { panic!("an edit") };
        assert_eq!((base, edits.len()), (41, 1));
        assert_eq!((edits[0].path.as_str(), edits[0].value.as_deref()), ("timeout.attempt_ms", Some("1600")));
        assert_eq!((edits[0].caller.as_deref(), edits[0].operation.as_deref()), (None, Some("Charge")));
        draft.put(attempt(), "800".into(), &in_force);
        assert!(draft.is_empty(), "back where it was");
        draft.put(attempt(), "soon".into(), &in_force);
        assert!(draft.changes(&in_force).is_err());
    }

    #[test]
    fn the_button_counts_the_instances_that_it_reaches() {
        let policies = Policies {
            revision: fuseboard_api::policy::Revision { number: 41, ..Default::default() },
            edges: vec![edge("orders", true), edge("refunds", true), edge("legacy", false)],
            ..Policies::default()
        };
        let mut draft = Draft::of(&policies.edges[0], 41);
        assert_eq!(draft.button(&policies), "Apply to 4 callers as r42");
        draft.scope = Scope::ThisCaller;
        assert_eq!(draft.button(&policies), "Apply to 2 callers as r42");
        assert_eq!(draft.reach(&policies).unsteered, 0);
    }

    #[test]
    fn a_rule_for_this_caller_is_edited_where_it_stands() {
        let mut e = edge("orders", true);
        e.provenance.insert("timeout.attempt_ms".into(), "orders:payments/Charge".into());
        assert_eq!(Draft::of(&e, 41).scope, Scope::ThisCaller);
    }

    #[test]
    fn an_edit_that_would_not_act_is_told() {
        let mut e = edge("orders", true);
        let in_force = fields::flatten(&e.settings);
        let mut draft = Draft::of(&e, 41);
        draft.put(attempt(), "1600".into(), &in_force);
        let changes = draft.changes(&in_force).unwrap();
        let mut shadow = |rule: &str, scope: Scope| {
            e.provenance.insert("timeout.attempt_ms".into(), rule.into());
            draft.scope = scope;
            draft.shadowed_by(&e, &changes).is_some()
        };
        assert!(!shadow("*", Scope::Service));
        assert!(!shadow("orders:payments", Scope::EveryCaller), "the operation is more specific");
        assert!(shadow("orders:payments", Scope::Service));
        assert!(shadow("orders:payments/Charge", Scope::EveryCaller));
        assert!(!shadow("orders:payments/Charge", Scope::ThisCaller));
        assert!(shadow("override 7", Scope::ThisCaller));
        assert!(!shadow("preset rpc-50", Scope::Service));
    }

    #[test]
    fn the_rule_is_shown_as_toml() {
        let e = edge("orders", true);
        let in_force = fields::flatten(&e.settings);
        let mut draft = Draft::of(&e, 41);
        draft.put(attempt(), "1600".into(), &in_force);
        let lines = draft.toml_lines(&draft.changes(&in_force).unwrap());
        let text: Vec<String> = lines.iter().map(|(sign, l)| format!("{sign} {l}")).collect();
        assert_eq!(text[3..], ["- timeout.attempt_ms = 800", "+ timeout.attempt_ms = 1600"]);
    }
}
