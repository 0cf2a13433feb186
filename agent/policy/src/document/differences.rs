//! What two documents differ in, setting by setting.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::{Table, Value};

/// The keys that say which edges a rule is for.
const MATCH_KEYS: [&str; 3] = ["caller", "service", "operation"];

/// Where a setting stands in a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The rule: `*`, `payments`, `orders:payments/Charge`, `service orders` for a callee's own side.
    pub rule: String,
    /// The setting inside it: `timeout.attempt_ms`.
    pub path: String,
}

impl Place {
    /// Whether one of the two stands at or above the other: whoever changes both may not do so at once.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let covers = |a: &str, b: &str| b.strip_prefix(a).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.rule == other.rule && (covers(&self.path, &other.path) || covers(&other.path, &self.path))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{} {}", self.rule, self.path).trim_start())
    }
}

/// A setting that differs, each value as TOML; `None` where the setting does not stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub place: Place,
    /// In the first document.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
}

impl fmt::Display for Difference {
    /// `payments/Charge timeout.attempt_ms: 800 → 600`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |v: &Option<String>| v.clone().unwrap_or_else(|| "unset".to_owned());
        write!(f, "{}: {} → {}", self.place, value(&self.before), value(&self.after))
    }
}

/// How rules are named: `*`, `payments`, `payments/Charge`, `orders:payments/Charge`.
#[must_use]
pub fn rule_name(caller: Option<&str>, service: &str, operation: Option<&str>) -> String {
    let caller = caller.map(|c| format!("{c}:")).unwrap_or_default();
    let operation = operation.map(|o| format!("/{o}")).unwrap_or_default();
    format!("{caller}{service}{operation}")
}

/// Every setting of a document, as TOML. Rules of one name that stand twice count as one, the later wins, as in force.
///
/// # Errors
/// A sentence when the text is not TOML. What the settings mean is not looked at.
pub fn settings(document: &str) -> Result<BTreeMap<Place, String>, String> {
    let parsed: Table = document.parse().map_err(|e| format!("the document is not TOML: {e}"))?;
    let mut all = BTreeMap::new();
    for (section, value) in &parsed {
        let Some(rules) = value.as_array() else {
            all.insert(Place { rule: String::new(), path: section.clone() }, value.to_string());
            continue;
        };
        for rule in rules.iter().filter_map(Value::as_table) {
            let text = |key: &str| rule.get(key).and_then(Value::as_str);
            let (name, keys) = if section == "edge" {
                (rule_name(text("caller"), text("service").unwrap_or("*"), text("operation")), MATCH_KEYS.as_slice())
            } else {
                (format!("{section} {}", text("name").unwrap_or_default()), ["name"].as_slice())
            };
            for (key, value) in rule.iter().filter(|(key, _)| !keys.contains(&key.as_str())) {
                flatten(&name, key.clone(), value, &mut all);
            }
        }
    }
    Ok(all)
}

fn flatten(rule: &str, path: String, value: &Value, all: &mut BTreeMap<Place, String>) {
    match value.as_table() {
        Some(table) => {
            for (key, inner) in table {
                flatten(rule, format!("{path}.{key}"), inner, all);
            }
        }
        None => {
            all.insert(Place { rule: rule.to_owned(), path }, value.to_string());
        }
    }
}

/// What two documents differ in, by rule and setting. Order and comments make no difference.
///
/// # Errors
/// A sentence when either text is not TOML.
pub fn differences(before: &str, after: &str) -> Result<Vec<Difference>, String> {
    let (before, after) = (settings(before)?, settings(after)?);
    let places: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
    Ok(places
        .into_iter()
        .filter(|k| before.get(*k) != after.get(*k))
        .map(|k| Difference { place: k.clone(), before: before.get(k).cloned(), after: after.get(k).cloned() })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_count() {
        let before = "# old\n[[edge]]\nservice = \"*\"\ntimeout = { attempt_ms = 500, overall_ms = 2000 }\n\
                      [[service]]\nname = \"a\"\nslo = { success = 0.9 }\n";
        let after = "[[service]]\nname = \"a\"\nslo = { success = 0.99 }\n\
                     [[edge]]\nservice = \"*\"\n[edge.timeout]\noverall_ms = 2000\n";
        let told: Vec<String> = differences(before, after).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["* timeout.attempt_ms: 500 → unset", "service a slo.success: 0.9 → 0.99"]);
        assert!(differences(before, before).unwrap().is_empty());
        assert!(differences("x", before).unwrap_err().contains("not TOML"));
    }

    #[test]
    fn places_collide_at_above_and_below_a_setting() {
        let place = |rule: &str, path: &str| Place { rule: rule.into(), path: path.into() };
        let timeout = place("*", "timeout");
        assert!(timeout.collides(&timeout));
        assert!(timeout.collides(&place("*", "timeout.attempt_ms")));
        assert!(place("*", "timeout.attempt_ms").collides(&timeout));
        assert!(!timeout.collides(&place("*", "timeout_x")));
        assert!(!timeout.collides(&place("bank", "timeout")));
    }
}
