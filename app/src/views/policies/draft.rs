//! An edit before it is sent: which settings, from what to what, in which rule, why.

use std::collections::BTreeMap;

use fuseboard_api::command::{Action, PolicyEdit};
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::policy::{EffectiveEdge, Policies};
use fuseboard_api::rollout::Delivery;

use super::fields::{self, Field, Group, Variant};
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
        if let Some(group) = fields::group_of(field.path).filter(|g| !g.variants.is_empty()) {
            let cleared = Some(field.path) == group.tag() && self.shown(field, in_force).trim().is_empty();
            if cleared {
                self.typed.retain(|path, _| !group.fields.iter().any(|f| f.path == *path) || *path == field.path);
            } else {
                self.complete(group, in_force);
            }
        }
    }

    /// The kind of a group's table as the edit leaves it; `None` when there will be no such table.
    pub(crate) fn variant(&self, group: &Group, in_force: &[(String, String)]) -> Option<&'static Variant> {
        match group.tag().and_then(fields::by_path) {
            Some(tag) => group.variant(Some(self.shown(tag, in_force).as_str())),
            None => {
                let mut required = group.variants.iter().flat_map(|v| v.parts).filter(|(_, begin)| !begin.is_empty());
                let all = required.all(|(path, _)| match self.typed.get(path) {
                    Some(text) => !text.trim().is_empty(),
                    None => value_of(path, in_force).is_some(),
                });
                if all { group.variant(None) } else { None }
            }
        }
    }

    /// Half of a table is refused: what its kind needs beside what was touched is filled in, what it does not know goes.
    fn complete(&mut self, group: &Group, in_force: &[(String, String)]) {
        let own = |path: &str| group.fields.iter().any(|f| f.path == path);
        if group.tag().is_none() && !self.typed.keys().any(|path| own(path)) {
            return;
        }
        let named = group.tag().and_then(fields::by_path).map(|tag| self.shown(tag, in_force));
        let touched = |v: &&Variant| self.typed.keys().any(|path| v.has(path));
        let usual = || group.variants.iter().find(touched).or(group.variants.first());
        let named = named.filter(|n| !n.is_empty());
        let Some(variant) = (if named.is_some() { group.variant(named.as_deref()) } else { usual() }) else { return };
        if let Some((tag, name)) = variant.tag.filter(|_| named.is_none()) {
            self.typed.insert(tag, name.to_owned());
        }
        for (path, begin) in variant.parts.iter().filter(|(_, begin)| !begin.is_empty()) {
            if let Some(field) = fields::by_path(path)
                && value_of(path, in_force).is_none()
            {
                self.typed.entry(field.path).or_insert_with(|| fields::to_field(field.kind, begin));
            }
        }
        self.typed.retain(|path, _| !own(path) || variant.has(path));
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
    pub(crate) fn action(&self, changes: &[Changed], in_force: &[(String, String)], delivery: Delivery) -> Action {
        let edit = |path: &str, value: Option<String>| PolicyEdit {
            caller: (self.scope == Scope::ThisCaller).then(|| self.key.caller.clone()),
            service: self.key.callee.clone(),
            operation: (self.scope != Scope::Service).then(|| self.key.operation.clone()),
            path: path.to_owned(),
            value,
        };
        let mut edits = Vec::new();
        for group in &fields::GROUPS {
            let own = |c: &&Changed| group.fields.contains(c.field);
            if self.is_whole(group, changes, in_force) {
                edits.push(edit(group.table, self.table(group, changes, in_force)));
            } else {
                edits.extend(changes.iter().filter(own).map(|c| edit(c.field.path, c.new.clone())));
            }
        }
        Action::EditPolicy { base: self.base, edits, delivery }
    }

    /// Whether a group's table is written as a whole: it comes, goes, or becomes one of another kind.
    fn is_whole(&self, group: &Group, changes: &[Changed], in_force: &[(String, String)]) -> bool {
        if group.variants.is_empty() || !changes.iter().any(|c| group.fields.contains(c.field)) {
            return false;
        }
        let comes = !in_force.iter().any(|(path, _)| group.fields.iter().any(|f| f.path == path));
        let turns = changes.iter().any(|c| Some(c.field.path) == group.tag());
        comes || turns || self.variant(group, in_force).is_none()
    }

    /// A group's table as TOML; `None` when it goes.
    fn table(&self, group: &Group, changes: &[Changed], in_force: &[(String, String)]) -> Option<String> {
        let variant = self.variant(group, in_force)?;
        let mut parts: Vec<String> = Vec::new();
        let short = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
        if let Some((tag, name)) = variant.tag {
            parts.push(format!("{} = {name:?}", short(tag)));
        }
        for (path, begin) in variant.parts {
            let value = match changes.iter().find(|c| c.field.path == *path) {
                Some(change) => change.new.clone(),
                None => value_of(path, in_force).or_else(|| (!begin.is_empty()).then(|| (*begin).to_owned())),
            };
            parts.extend(value.map(|value| format!("{} = {value}", short(path))));
        }
        Some(format!("{{ {} }}", parts.join(", ")))
    }

    /// Whom the edit reaches.
    pub(crate) fn reach(&self, policies: &Policies) -> Reach {
        let mut callers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut reach = Reach::default();
        for edge in policies.edges.iter().filter(|e| self.scope.covers(&self.key, &e.key)) {
            if edge.steered {
                let n = callers.entry(edge.key.caller.as_str()).or_default();
                *n = (*n).max(edge.instances);
                reach.edges += 1;
                reach.calls_per_minute += edge.stats.rate() * 60.0;
            } else {
                reach.unsteered += 1;
            }
        }
        reach.services = callers.into_values().collect();
        reach
    }

    /// The rule or override that would keep the edit from acting on its edge: it sets one of the settings more specifically.
    pub(crate) fn shadowed_by<'a>(&self, edge: &'a EffectiveEdge, changes: &[Changed]) -> Option<&'a str> {
        let own = self.scope.weight();
        let from = changes.iter().filter_map(|c| edge.provenance.get(c.field.path));
        from.map(String::as_str).find(|rule| weight_of(rule) > own)
    }

    /// What the button says: `Apply to 2 callers as r42`, `Stage as r42`.
    pub(crate) fn button(&self, policies: &Policies, staged: bool) -> String {
        let next = policies.revision.number + 1;
        if staged {
            return format!("Begin rollout as r{next}");
        }
        let callers = format::plural(u64::from(self.reach(policies).instances()), "caller");
        format!("Apply to {callers} as r{next}")
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
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reach {
    /// Connected instances of each service that calls.
    pub(crate) services: Vec<u32>,
    /// Edges that it acts on.
    pub(crate) edges: u64,
    /// Calls over those, a minute.
    pub(crate) calls_per_minute: f64,
    /// Edges whose caller runs no agent.
    pub(crate) unsteered: usize,
}

impl Reach {
    /// Connected instances of all callers.
    pub(crate) fn instances(&self) -> u32 {
        self.services.iter().sum()
    }

    /// `1 edge · 2 instances of 1 service · 7,860 calls/min`.
    pub(crate) fn sentence(&self) -> String {
        format!(
            "{} · {} of {} · {} calls/min",
            format::plural(self.edges, "edge"),
            format::plural(u64::from(self.instances()), "instance"),
            format::plural(self.services.len() as u64, "service"),
            format::whole(self.calls_per_minute)
        )
    }
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
        let Action::EditPolicy { base, edits, .. } = draft.action(&changes, &in_force, Delivery::default()) else {
            panic!("an edit")
        };
        assert_eq!((base, edits.len()), (41, 1));
        assert_eq!((edits[0].path.as_str(), edits[0].value.as_deref()), ("timeout.attempt_ms", Some("1600")));
        assert_eq!((edits[0].caller.as_deref(), edits[0].operation.as_deref()), (None, Some("Charge")));
        draft.put(attempt(), "800".into(), &in_force);
        assert!(draft.is_empty(), "back where it was");
        draft.put(attempt(), "soon".into(), &in_force);
        assert!(draft.changes(&in_force).is_err());
    }

    #[test]
    fn half_a_table_is_completed_and_sent_as_a_whole() {
        let e = edge("orders", true);
        let in_force = fields::flatten(&e.settings);
        let mut draft = Draft::of(&e, 41);
        let put = |draft: &mut Draft, path: &str, text: &str| {
            draft.put(fields::by_path(path).unwrap(), text.into(), &in_force);
        };
        put(&mut draft, "rate.burst", "50");
        let sent =
            |draft: &Draft| match draft.action(&draft.changes(&in_force).unwrap(), &in_force, Delivery::default()) {
                Action::EditPolicy { edits, .. } => {
                    edits.iter().map(|e| (e.path.clone(), e.value.clone().unwrap_or_default())).collect::<Vec<_>>()
                }
                other => panic!("an edit, not {other:?}"),
            };
        let whole = r#"{ algorithm = "token_bucket", per_sec = 100, burst = 50 }"#;
        assert_eq!(sent(&draft), [("rate".to_owned(), whole.to_owned())]);
        put(&mut draft, "rate.algorithm", "sliding_window");
        let whole = r#"{ algorithm = "sliding_window", limit = 100, window_ms = 1000 }"#;
        assert_eq!(sent(&draft), [("rate".to_owned(), whole.to_owned())]);
        put(&mut draft, "rate.algorithm", "");
        assert!(draft.is_empty(), "off, as it was: {:?}", draft.typed);
    }

    #[test]
    fn the_button_counts_the_instances_that_it_reaches() {
        let policies = Policies {
            revision: fuseboard_api::policy::Revision { number: 41, ..Default::default() },
            edges: vec![edge("orders", true), edge("refunds", true), edge("legacy", false)],
            ..Policies::default()
        };
        let mut draft = Draft::of(&policies.edges[0], 41);
        assert_eq!(draft.button(&policies, false), "Apply to 4 callers as r42");
        draft.scope = Scope::ThisCaller;
        assert_eq!(draft.button(&policies, false), "Apply to 2 callers as r42");
        assert_eq!(draft.reach(&policies).unsteered, 0);
        assert_eq!(draft.button(&policies, true), "Begin rollout as r42");
        assert_eq!(draft.reach(&policies).sentence(), "1 edge · 2 instances of 1 service · 0 calls/min");
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
