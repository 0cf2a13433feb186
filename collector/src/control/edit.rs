//! Changes of single settings inside a policy document: comments and order stay, and what changed can be told.

use fuseboard_api::command::PolicyEdit;
use fuseboard_policy::document::{Place, rule_name};
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// The settings that stand as tables of their own (`[edge.retry]`); the others are written inline.
const OWN_TABLES: [&str; 4] = ["retry", "breaker", "balance", "outlier"];

/// The keys that say which edges a rule is for.
const MATCH_KEYS: [&str; 3] = ["caller", "service", "operation"];

/// The place that an edit touches.
pub(crate) fn place(edit: &PolicyEdit) -> Place {
    let rule = rule_name(edit.caller.as_deref(), &edit.service, edit.operation.as_deref());
    Place { rule, path: edit.path.clone() }
}

/// The document with the edits written into it.
///
/// # Errors
/// A sentence that names the edit that cannot be made.
pub(crate) fn apply(document: &str, edits: &[PolicyEdit]) -> Result<String, String> {
    let mut doc: DocumentMut = document.parse().map_err(|e| format!("the document is not TOML: {e}"))?;
    for edit in edits {
        apply_one(&mut doc, edit)?;
    }
    Ok(doc.to_string())
}

fn apply_one(doc: &mut DocumentMut, edit: &PolicyEdit) -> Result<(), String> {
    let name = rule_name(edit.caller.as_deref(), &edit.service, edit.operation.as_deref());
    let path: Vec<&str> = edit.path.split('.').collect();
    if path.iter().any(|part| part.is_empty()) || MATCH_KEYS.contains(&edit.path.as_str()) {
        return Err(format!("{:?} is not the path of a setting; write it like timeout.attempt_ms", edit.path));
    }
    let value = edit.value.as_deref().map(|text| parse_value(text, &name, &edit.path)).transpose()?;
    let rules = doc.entry("edge").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let Some(rules) = rules.as_array_of_tables_mut() else {
        return Err(
            "the document writes its rules as an inline list; write them as [[edge]] tables to edit them".into()
        );
    };
    // The last rule of the same name wins when rules are merged, so that is the one to write into.
    let found = rules.iter().enumerate().filter(|(_, rule)| is_rule(rule, edit)).map(|(at, _)| at).last();
    match (found, value) {
        (Some(at), Some(value)) => rules.get_mut(at).map_or(Ok(()), |rule| set(rule, &path, value, &name)),
        (None, Some(value)) => {
            let mut rule = new_rule(edit);
            set(&mut rule, &path, value, &name)?;
            rules.push(rule);
            Ok(())
        }
        (found, None) => {
            let gone = found.is_some_and(|at| rules.get_mut(at).is_some_and(|rule| remove(rule, &path)));
            if !gone {
                return Err(format!("{name} does not set {}, so there is nothing to remove", edit.path));
            }
            if let Some(at) = found
                && rules.get(at).is_some_and(|rule| rule.iter().all(|(key, _)| MATCH_KEYS.contains(&key)))
            {
                rules.remove(at);
            }
            Ok(())
        }
    }
}

fn parse_value(text: &str, rule: &str, path: &str) -> Result<Value, String> {
    text.trim()
        .parse::<Value>()
        .map_err(|_| format!("{text:?} is not a TOML value for {rule} {path}; write 800, true, \"auto\" or {{ … }}"))
}

fn is_rule(rule: &Table, edit: &PolicyEdit) -> bool {
    let text = |key: &str| rule.get(key).and_then(Item::as_str);
    text("caller") == edit.caller.as_deref()
        && text("service") == Some(edit.service.as_str())
        && text("operation") == edit.operation.as_deref()
}

fn new_rule(edit: &PolicyEdit) -> Table {
    let mut rule = Table::new();
    if let Some(caller) = &edit.caller {
        rule.insert("caller", toml_edit::value(caller));
    }
    rule.insert("service", toml_edit::value(&edit.service));
    if let Some(operation) = &edit.operation {
        rule.insert("operation", toml_edit::value(operation));
    }
    rule
}

fn set(table: &mut dyn TableLike, path: &[&str], mut value: Value, rule: &str) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    if !rest.is_empty() {
        let inner = table.entry(first).or_insert_with(|| {
            if OWN_TABLES.contains(first) { Item::Table(Table::new()) } else { Item::Value(InlineTable::new().into()) }
        });
        return match inner.as_table_like_mut() {
            Some(inner) => set(inner, rest, value, rule),
            None => Err(format!("{first} of {rule} is a single value, so {} cannot be set inside it", rest.join("."))),
        };
    }
    match table.get_mut(first) {
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        _ => {
            table.insert(first, Item::Value(value));
        }
    }
    Ok(())
}

/// Removes a setting, and tables that it leaves empty; whether it was there.
fn remove(table: &mut dyn TableLike, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    if rest.is_empty() {
        return table.remove(first).is_some();
    }
    let Some(inner) = table.get_mut(first).and_then(Item::as_table_like_mut) else { return false };
    let gone = remove(inner, rest);
    if gone && inner.is_empty() {
        table.remove(first);
    }
    gone
}

#[cfg(test)]
mod tests {
    use fuseboard_policy::document::settings;

    use super::*;

    const DOCUMENT: &str = r#"# The shop's policy.
[[edge]]
service = "*" # everyone
timeout = { attempt_ms = 500, overall_ms = 2000 } # agreed with the gateway

# Cards are slow.
[[edge]]
service = "payments"
operation = "Charge"

[edge.breaker]
preset = "rpc-50" # see the runbook
open_ms = 5000
"#;

    fn edit(service: &str, operation: Option<&str>, path: &str, value: Option<&str>) -> PolicyEdit {
        PolicyEdit {
            caller: None,
            service: service.into(),
            operation: operation.map(Into::into),
            path: path.into(),
            value: value.map(Into::into),
        }
    }

    #[test]
    fn a_value_changes_and_every_comment_stays() {
        let after = apply(DOCUMENT, &[edit("*", None, "timeout.attempt_ms", Some("800"))]).unwrap();
        assert_eq!(after, DOCUMENT.replace("attempt_ms = 500", "attempt_ms = 800"));
    }

    #[test]
    fn a_value_in_a_table_keeps_its_remark() {
        let after =
            apply(DOCUMENT, &[edit("payments", Some("Charge"), "breaker.preset", Some("\"count-20\""))]).unwrap();
        assert!(after.contains("preset = \"count-20\" # see the runbook"), "{after}");
    }

    #[test]
    fn a_new_setting_goes_into_its_rule_and_a_new_rule_to_the_end() {
        let edits = [
            edit("payments", Some("Charge"), "timeout.attempt_ms", Some("900")),
            edit("payments", Some("Charge"), "breaker.open_backoff.multiplier", Some("2.0")),
            edit("bank", None, "retry.max_attempts", Some("2")),
        ];
        let after = apply(DOCUMENT, &edits).unwrap();
        let all = settings(&after).unwrap();
        let at = |rule: &str, path: &str| all.get(&Place { rule: rule.to_owned(), path: path.to_owned() }).cloned();
        assert_eq!(at("payments/Charge", "timeout.attempt_ms").as_deref(), Some("900"));
        assert_eq!(at("payments/Charge", "breaker.open_backoff.multiplier").as_deref(), Some("2.0"));
        assert_eq!(at("bank", "retry.max_attempts").as_deref(), Some("2"));
        assert_eq!(at("*", "timeout.attempt_ms").as_deref(), Some("500"));
    }

    #[test]
    fn an_empty_document_gets_its_first_rule() {
        let after = apply("", &[edit("payments", None, "timeout.attempt_ms", Some("800"))]).unwrap();
        assert_eq!(settings(&after).unwrap().len(), 1);
    }

    #[test]
    fn removing_the_last_setting_removes_the_rule() {
        let edits = [
            edit("payments", Some("Charge"), "breaker.preset", None),
            edit("payments", Some("Charge"), "breaker.open_ms", None),
        ];
        let after = apply(DOCUMENT, &edits).unwrap();
        assert!(!after.contains("payments"), "{after}");
        let again = apply(&after, &edits).unwrap_err();
        assert!(again.contains("payments/Charge does not set breaker.preset"), "{again}");
    }

    #[test]
    fn a_bad_value_or_path_is_named() {
        let bad = apply(DOCUMENT, &[edit("*", None, "timeout.attempt_ms", Some("fast"))]).unwrap_err();
        assert!(bad.contains("fast") && bad.contains("timeout.attempt_ms"), "{bad}");
        assert!(apply(DOCUMENT, &[edit("*", None, "service", Some("\"x\""))]).is_err());
        assert!(apply(DOCUMENT, &[edit("*", None, "timeout..x", Some("1"))]).is_err());
    }
}
