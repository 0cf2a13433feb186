//! The settings that the console edits one by one: their names, units, and what may be written into them.

mod groups;

use fuseboard_policy::settings::EdgeSettings;

pub(crate) use groups::{Field, GROUPS, Group, Variant, by_path, group_of};

/// What a setting may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole milliseconds.
    Millis,
    /// A whole number.
    Count,
    /// A share, 0…1, written and read in per cent.
    Share,
    /// Any number.
    Number,
    /// Yes or no.
    Flag,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// One word or name.
    Text,
    /// Words with commas between.
    Words,
}

/// The settings in force as (path, TOML value), by path. Tables are walked, everything else is a value.
#[must_use]
pub(crate) fn flatten(settings: &EdgeSettings) -> Vec<(String, String)> {
    let mut out = Vec::new();
    if let Ok(toml::Value::Table(table)) = toml::Value::try_from(settings) {
        walk(&table, "", &mut out);
    }
    out
}

fn walk(table: &toml::Table, prefix: &str, out: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => walk(inner, &path, out),
            other => out.push((path, other.to_string())),
        }
    }
}

/// A TOML value as it stands in the field: `0.5` → `50` (of a share), `["reset"]` → `reset`, `"full"` → `full`.
#[must_use]
pub(crate) fn to_field(kind: Kind, toml: &str) -> String {
    let parsed = parse(toml);
    match (kind, parsed) {
        (Kind::Share, Some(v)) => number(&v).map_or_else(|| toml.to_owned(), |x| trimmed(x * 100.0)),
        (Kind::Words, Some(toml::Value::Array(items))) => {
            items.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect::<Vec<_>>().join(", ")
        }
        (_, Some(toml::Value::String(s))) => s,
        (Kind::Number, Some(v)) => number(&v).map_or_else(|| toml.to_owned(), trimmed),
        _ => toml.to_owned(),
    }
}

/// The TOML value of what stands in a field; `None` removes the setting.
///
/// # Errors
/// What would be accepted, as a sentence.
pub(crate) fn from_field(field: &Field, text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let whole = |unit: &str| {
        text.replace([',', ' '], "")
            .parse::<u64>()
            .map(|n| Some(n.to_string()))
            .map_err(|_| format!("{}: a whole number{unit} is needed, not {text:?}", field.label))
    };
    match field.kind {
        Kind::Millis => whole(" of milliseconds"),
        Kind::Count => whole(""),
        Kind::Share => match text.trim_end_matches('%').trim().parse::<f64>() {
            Ok(p) if (0.0..=100.0).contains(&p) => Ok(Some(float(p / 100.0))),
            _ => Err(format!("{}: per cent between 0 and 100 are needed, not {text:?}", field.label)),
        },
        Kind::Number => match text.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(Some(float(x))),
            _ => Err(format!("{}: a number is needed, not {text:?}", field.label)),
        },
        Kind::Flag => match text {
            "yes" | "true" => Ok(Some("true".to_owned())),
            "no" | "false" => Ok(Some("false".to_owned())),
            _ => Err(format!("{}: yes or no is needed, not {text:?}", field.label)),
        },
        Kind::Choice(_) | Kind::Text => Ok(Some(quoted(text))),
        Kind::Words => {
            let words = text.split(',').map(str::trim).filter(|w| !w.is_empty()).map(quoted).collect::<Vec<_>>();
            Ok(Some(format!("[{}]", words.join(", "))))
        }
    }
}

/// A value for people: `800 ms`, `50%`, `yes`, `unavailable, reset`; `off` when it is not set.
#[must_use]
pub(crate) fn said(kind: Kind, toml: Option<&str>) -> String {
    let Some(toml) = toml else { return "off".to_owned() };
    let text = to_field(kind, toml);
    match kind {
        Kind::Millis => {
            text.parse().map_or_else(|_| text.clone(), |n| format!("{} ms", crate::widgets::format::count(n)))
        }
        Kind::Share => format!("{text}%"),
        Kind::Flag => if text == "true" { "yes" } else { "no" }.to_owned(),
        Kind::Count | Kind::Number | Kind::Choice(_) | Kind::Text | Kind::Words => text,
    }
}

fn parse(value: &str) -> Option<toml::Value> {
    toml::from_str::<toml::Table>(&format!("v = {value}")).ok()?.remove("v")
}

fn number(v: &toml::Value) -> Option<f64> {
    v.as_float().or_else(|| v.as_integer().map(|i| i as f64))
}

fn trimmed(x: f64) -> String {
    // Three decimals: binary fractions of per cents (0.07 × 100) must not show.
    let text = format!("{x:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn float(x: f64) -> String {
    let text = format!("{x:.6}");
    let text = text.trim_end_matches('0');
    if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
}

fn quoted(word: &str) -> String {
    toml::Value::String(word.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_policy::settings::{Breaker, Retry, Timeout, Window};

    #[test]
    fn settings_become_paths_and_values() {
        let settings = EdgeSettings {
            timeout: Some(Timeout { attempt_ms: Some(800), overall_ms: None }),
            breaker: Some(Breaker {
                failure_ratio: Some(0.5),
                window: Some(Window::Count { size: 100 }),
                ..Breaker::default()
            }),
            retry: Some(Retry { on: Some(vec!["reset".into(), "503".into()]), ..Retry::default() }),
            ..EdgeSettings::default()
        };
        let flat = flatten(&settings);
        let get = |p: &str| flat.iter().find(|(path, _)| path == p).map(|(_, v)| v.as_str());
        assert_eq!(get("timeout.attempt_ms"), Some("800"));
        assert_eq!(get("timeout.overall_ms"), None);
        assert_eq!(get("breaker.window.size"), Some("100"));
        assert_eq!(to_field(Kind::Words, get("retry.on").unwrap()), "reset, 503");
        assert_eq!(said(Kind::Share, get("breaker.failure_ratio")), "50%");
    }

    #[test]
    fn fields_read_back_what_they_show() {
        for (path, toml, shown) in [
            ("timeout.attempt_ms", "1600", "1600"),
            ("breaker.failure_ratio", "0.07", "7"),
            ("retry.backoff.multiplier", "2.0", "2"),
            ("retry.backoff.jitter", "\"full\"", "full"),
            ("retry.on", "[\"unavailable\", \"reset\"]", "unavailable, reset"),
        ] {
            let field = by_path(path).expect(path);
            assert_eq!(to_field(field.kind, toml), shown);
            assert_eq!(from_field(field, shown), Ok(Some(toml.to_owned())), "{path}");
            assert_eq!(from_field(field, " "), Ok(None));
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_is_needed() {
        let timeout = by_path("timeout.attempt_ms").unwrap();
        assert_eq!(
            from_field(timeout, "soon"),
            Err("attempt: a whole number of milliseconds is needed, not \"soon\"".into())
        );
        assert_eq!(from_field(timeout, "1,600"), Ok(Some("1600".into())));
        let ratio = by_path("breaker.failure_ratio").unwrap();
        assert!(from_field(ratio, "120").is_err());
    }
}
