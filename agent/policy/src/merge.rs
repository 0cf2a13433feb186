//! Merging of rules: from `*` to the most specific, table by table and key by key.

use std::collections::{BTreeMap, HashMap};

use toml::{Table, Value};

use crate::document::Rule;
use crate::presets;
use crate::settings::EdgeSettings;

/// Where a setting came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    /// Index of the rule.
    pub(crate) rule: usize,
    /// Position in the order of merging; greater is more specific.
    pub(crate) order: usize,
    /// The preset that the rule named, where that gave the value.
    pub(crate) preset: Option<&'static str>,
}

/// Rules by what they match.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index(HashMap<(Option<String>, String, Option<String>), usize>);

impl Index {
    /// The index, and the pairs (first, again) of rules that match exactly the same edges.
    pub(crate) fn new(rules: &[Rule]) -> (Self, Vec<(usize, usize)>) {
        let mut index = HashMap::with_capacity(rules.len());
        let mut twice = Vec::new();
        for (i, rule) in rules.iter().enumerate() {
            let key = (rule.caller.clone(), rule.service.clone(), rule.operation.clone());
            let first = *index.entry(key).or_insert(i);
            if first != i {
                twice.push((first, i));
            }
        }
        (Self(index), twice)
    }

    /// The rules that match an edge, the most general first. On one level a rule that names the caller is more specific than
    /// one that does not.
    pub(crate) fn matching(&self, caller: Option<&str>, service: &str, operation: Option<&str>) -> Vec<usize> {
        let mut levels = vec![("*", None)];
        if service != "*" {
            levels.push((service, None));
            levels.extend(operation.map(|operation| (service, Some(operation))));
        }
        let mut found = Vec::new();
        for (service, operation) in levels {
            let key =
                |caller: Option<&str>| (caller.map(str::to_owned), service.to_owned(), operation.map(str::to_owned));
            found.extend(self.0.get(&key(None)).copied());
            if caller.is_some() {
                found.extend(self.0.get(&key(caller)).copied());
            }
        }
        found
    }
}

/// Settings merged so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Merged {
    pub(crate) table: Table,
    pub(crate) sources: BTreeMap<String, Source>,
    applied: usize,
}

impl Merged {
    pub(crate) fn of(rules: &[Rule], matching: &[usize]) -> Self {
        let mut merged = Self::default();
        for &index in matching {
            if let Some(rule) = rules.get(index) {
                merged.apply(index, rule);
            }
        }
        merged
    }

    fn apply(&mut self, rule: usize, from: &Rule) {
        let source = Source { rule, order: self.applied, preset: None };
        self.applied += 1;
        let named = |table: &Table| table.get("preset").and_then(Value::as_str).and_then(presets::find);
        // A preset fills before the keys beside it: first the edge's, then the tables', then the rule's own keys.
        if let Some(preset) = named(&from.table) {
            for part in preset.table().keys() {
                self.fill(part, preset, source);
            }
        }
        for part in ["breaker", "retry"] {
            if let Some(preset) = from.table.get(part).and_then(Value::as_table).and_then(named) {
                self.fill(part, preset, source);
            }
        }
        merge(&mut self.table, &from.table, "", source, &mut self.sources);
    }

    /// A preset's table replaces what was inherited, as a table of another kind does: `count-20` over `rpc-50` is `count-20`.
    /// What says nothing about the preset's subject stays: a breaker's mode, what retries look at, their budget.
    fn fill(&mut self, part: &str, preset: &'static presets::Preset, source: Source) {
        let mut filling = preset.table();
        let Some(Value::Table(values)) = filling.remove(part) else { return };
        if let Some(Value::Table(inherited)) = self.table.get_mut(part) {
            let stays = |name: &str| matches!(name, "mode" | "on" | "non_idempotent" | "budget");
            inherited.retain(|name, _| stays(name));
            let prefix = format!("{part}.");
            self.sources.retain(|path, _| {
                path.strip_prefix(&prefix).is_none_or(|rest| rest.split('.').next().is_some_and(stays))
            });
        }
        let filling = Table::from_iter([(part.to_owned(), Value::Table(values))]);
        let source = Source { preset: Some(preset.name), ..source };
        merge(&mut self.table, &filling, "", source, &mut self.sources);
    }

    /// The settings in their types; a table that does not fit them (which a checked document has not) counts as empty.
    pub(crate) fn settings(&self) -> EdgeSettings {
        Value::Table(self.table.clone()).try_into().unwrap_or_default()
    }
}

/// Lays one table of settings over another, key by key; a table of another kind replaces the one below it whole.
pub(crate) fn lay(over: &Table, into: &mut Table) {
    merge(into, over, "", Source { rule: 0, order: 0, preset: None }, &mut BTreeMap::new());
}

fn merge(into: &mut Table, from: &Table, above: &str, source: Source, sources: &mut BTreeMap<String, Source>) {
    for (name, value) in from {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match (into.get_mut(name), value) {
            (Some(Value::Table(old)), Value::Table(new)) if same_kind(&path, old, new) => {
                merge(old, new, &path, source, sources);
            }
            (_, Value::Table(new)) => {
                let prefix = format!("{path}.");
                sources.retain(|path, _| !path.starts_with(&prefix));
                let mut whole = Table::new();
                merge(&mut whole, new, &path, source, sources);
                into.insert(name.clone(), Value::Table(whole));
            }
            (_, value) => {
                into.insert(name.clone(), value.clone());
                sources.insert(path, source);
            }
        }
    }
}

/// Whether two tables are of one kind. A budget and a hedge have no key that names it: their keys do.
fn same_kind(path: &str, old: &Table, new: &Table) -> bool {
    let kind = |table: &Table| match path {
        "hedge" => ["after_ms", "after_quantile"]
            .into_iter()
            .find(|name| table.contains_key(*name))
            .map(|name| Value::String(name.to_owned())),
        "retry.budget" if table.contains_key("max_tokens") || table.contains_key("token_ratio") => {
            Some(Value::String("tokens".to_owned()))
        }
        "retry.budget" if !table.is_empty() => Some(Value::String("ratio".to_owned())),
        _ => table.get("kind").or_else(|| table.get("algorithm")).cloned(),
    };
    match (kind(old), kind(new)) {
        (Some(old), Some(new)) => old == new,
        _ => true,
    }
}
