//! What may come next in the line.

use egui::Suggestion;
use fuseboard_api::ask::Names;
use fuseboard_api::filter::{Expected, Field, Kind, Known, Op, Place, expected, written_key, written_value};

/// Offers at most.
const MOST: usize = 40;

/// What may replace the word that ends at the cursor, the `cursor`th character.
pub(super) fn offers(text: &str, word: &str, cursor: usize, names: Option<&Names>) -> Vec<Suggestion> {
    let end = text.char_indices().nth(cursor).map_or(text.len(), |(at, _)| at);
    let begin = end.saturating_sub(word.len());
    // What of the word stays, and what is typed of what comes.
    let parts = |from: usize| Some((text.get(begin..from)?, text.get(from..end)?));
    let offered = match expected(text, end) {
        Expected::Field { typed } => parts(typed.start).map(|(kept, typed)| fields(kept, typed, names)),
        Expected::Op { field, at } => parts(at).map(|(kept, _)| ops(kept, &field)),
        Expected::Value { field, op, typed } => {
            parts(typed.start).map(|(kept, typed)| values(kept, typed, &field, op, text, names))
        }
        Expected::Nothing => None,
    };
    let mut offered = offered.unwrap_or_default();
    offered.truncate(MOST);
    offered
}

/// Names that hold what is typed, those that begin with it first; none that is there already.
fn fitting<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let typed = typed.to_lowercase();
    let mut out: Vec<(bool, &str)> = names
        .filter_map(|name| {
            let lower = name.to_lowercase();
            (lower.contains(&typed) && lower != typed).then(|| (!lower.starts_with(&typed), name))
        })
        .collect();
    out.sort_by_key(|(inside, _)| *inside);
    out.dedup_by_key(|(_, name)| *name);
    out.into_iter().map(|(_, name)| name).collect()
}

fn fields(kept: &str, typed: &str, names: Option<&Names>) -> Vec<Suggestion> {
    let after_has = kept.ends_with([':', '=']);
    let known = fitting(typed, Known::ALL.into_iter().map(Known::name));
    let keys = names.into_iter().flat_map(|n| n.attribute_keys.iter().map(String::as_str));
    let keys = if typed.is_empty() { Vec::new() } else { fitting(typed, keys) };
    let known = known.into_iter().map(|name| {
        let sign = match Known::of(name).map(Known::kind) {
            _ if after_has => "",
            Some(Kind::Duration | Kind::Number) => ">",
            _ => "=",
        };
        Suggestion::new(format!("{kept}{name}{sign}")).content(name.to_owned()).description(what(name))
    });
    let keys = keys.into_iter().map(|key| {
        let sign = if after_has { "" } else { "=" };
        Suggestion::new(format!("{kept}{}{sign}", written_key(key))).content(key.to_owned()).description("attribute")
    });
    known.chain(keys).collect()
}

/// What a field holds, in a few words.
fn what(name: &str) -> &'static str {
    match Known::of(name) {
        Some(Known::Service) => "who sent it",
        Some(Known::Name) => "the operation",
        Some(Known::Status) => "ok, error or unset",
        Some(Known::Duration) => "250ms, 2s",
        Some(Known::Kind) => "server, client…",
        Some(Known::Message) => "words about the status",
        Some(Known::Peer) => "the other side",
        Some(Known::Edge) => "caller>callee",
        Some(Known::Event) => "name of an event",
        Some(Known::TraceDuration) => "of the whole trace",
        Some(Known::TraceSpans | Known::TraceErrors) => "how many in the trace",
        Some(Known::RootService | Known::RootName) => "of the root span",
        _ => "",
    }
}

fn ops(kept: &str, field: &Field) -> Vec<Suggestion> {
    let offered: &[Op] = match field.kind() {
        Kind::Duration | Kind::Number => &[Op::Above, Op::AtLeast, Op::Below, Op::AtMost, Op::Equal],
        Kind::Edge => &[Op::Equal],
        Kind::Words(_) | Kind::Hex(_) => &[Op::Equal, Op::Differs],
        Kind::Text => &[Op::Equal, Op::Differs, Op::Matches, Op::Misses],
        Kind::Any => &[Op::Equal, Op::Differs, Op::Above, Op::Below, Op::Matches, Op::Misses],
    };
    offered.iter().map(|op| Suggestion::new(format!("{kept}{op}")).content(op.sign().to_owned())).collect()
}

fn values(kept: &str, typed: &str, field: &Field, op: Op, text: &str, names: Option<&Names>) -> Vec<Suggestion> {
    if matches!(op, Op::Matches | Op::Misses) {
        return Vec::new();
    }
    let bare = typed.trim_start_matches(['"', '\'']);
    let offer = |value: &str| Suggestion::new(format!("{kept}{} ", written_value(value))).content(value.to_owned());
    let services = || names.into_iter().flat_map(|n| n.services.iter());
    let found: Vec<&str> = match field {
        Field::Known(Known::Service | Known::RootService | Known::Peer) => {
            fitting(bare, services().map(|(service, _)| service.as_str()))
        }
        Field::Known(Known::Name | Known::RootName) => {
            let wanted = service_named(text);
            let of = services().filter(|(service, _)| wanted.is_none_or(|w| w == service));
            fitting(bare, of.flat_map(|(_, operations)| operations.iter().map(String::as_str)))
        }
        Field::Known(Known::Duration | Known::TraceDuration) => {
            fitting(bare, ["10ms", "100ms", "250ms", "500ms", "1s", "5s"].into_iter())
        }
        Field::Known(known) => match known.kind() {
            Kind::Words(words) => fitting(bare, words.iter().copied()),
            _ => Vec::new(),
        },
        Field::Attribute(Place::Event, _) => Vec::new(),
        Field::Attribute(_, key) => {
            let of = names.into_iter().flat_map(|n| n.attribute_values.iter()).filter(|(k, _)| k == key);
            fitting(bare, of.flat_map(|(_, values)| values.iter().map(String::as_str)))
        }
    };
    found.into_iter().map(offer).collect()
}

/// The service that the line asks for, as far as a glance tells: its operations are offered then.
fn service_named(text: &str) -> Option<&str> {
    let value = text.split_whitespace().find_map(|word| word.strip_prefix("service="))?;
    (!value.is_empty() && !value.contains(['*', '"', '\''])).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            services: vec![
                ("orders".to_owned(), vec!["POST /orders".to_owned()]),
                ("payments".to_owned(), vec!["Charge".to_owned()]),
            ],
            attribute_keys: vec!["order.id".to_owned(), "db.system".to_owned()],
            attribute_values: vec![("db.system".to_owned(), vec!["mysql".to_owned(), "post gres".to_owned()])],
        }
    }

    fn inserts(text: &str) -> Vec<String> {
        let word = text.rsplit([' ', '(', '{']).next().unwrap_or_default();
        offers(text, word, text.chars().count(), Some(&names())).into_iter().map(|s| s.insert).collect()
    }

    #[test]
    fn fields_operators_and_values_are_offered_where_they_belong() {
        assert_eq!(inserts("dura"), ["duration>", "trace.duration>"]);
        assert_eq!(inserts("service=a -ord"), ["-order.id="]);
        assert_eq!(inserts("has:db"), ["has:db.system"]);
        assert_eq!(inserts("service=pa"), ["service=payments "]);
        assert_eq!(inserts("(kind=cl"), ["kind=client "]);
        assert_eq!(inserts("service=orders name="), ["name=\"POST /orders\" "]);
        assert_eq!(inserts("ü db.system=post"), ["db.system=\"post gres\" "]);
        assert_eq!(inserts("name~or"), [""; 0], "patterns are written by hand");
        assert!(inserts("").contains(&"service=".to_owned()), "an empty line shows what there is");
        assert_eq!(inserts("\"odd\""), ["\"odd\"=", "\"odd\"!=", "\"odd\">", "\"odd\"<", "\"odd\"~", "\"odd\"!~"]);
    }
}
