//! One value under the rules.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::rules::{Action, Place, Rule};
use super::{Counts, Redactor};

/// What stands where something was.
const MASK: &str = "***";

/// The rules that concern one place of one service, and what they did.
pub(super) struct Scope<'a> {
    pub(super) redactor: &'a Redactor,
    pub(super) service: &'a str,
    pub(super) counts: &'a mut Counts,
}

/// Whether the attribute stays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
}

impl<'a> Scope<'a> {
    /// The rules with a say about a place, with their positions.
    pub(super) fn of(&self, place: Place) -> Vec<(usize, &'a Rule)> {
        let rules = self.redactor.rules.iter().enumerate();
        rules.filter(|(_, rule)| rule.concerns(place, self.service)).collect()
    }

    /// Attributes of a record, or the entries of a map.
    pub(super) fn attributes(&mut self, rules: &[(usize, &Rule)], list: &mut Vec<KeyValue>) {
        if !rules.is_empty() {
            self.entries(rules, "", list);
        }
    }

    fn entries(&mut self, rules: &[(usize, &Rule)], around: &str, list: &mut Vec<KeyValue>) {
        list.retain_mut(|kv| {
            let path = if around.is_empty() { kv.key.clone() } else { format!("{around}.{}", kv.key) };
            let Some(value) = &mut kv.value else { return true };
            self.value(rules, Some((&kv.key, &path)), value) == Fate::Stays
        });
    }

    /// A log's body: by the keys of its maps, by pattern, or whole.
    pub(super) fn body(&mut self, rules: &[(usize, &Rule)], body: &mut Option<AnyValue>) {
        if let Some(value) = body
            && self.value(rules, None, value) == Fate::Goes
        {
            *body = None;
        }
    }

    /// A text that is no attribute's value: only patterns that want no key.
    pub(super) fn text(&mut self, rules: &[(usize, &Rule)], text: &mut String) {
        if text.is_empty() {
            return;
        }
        for (position, rule) in rules {
            if rule.keys.is_none() && rule.pattern.is_some() && self.search(*position, rule, text) == Fate::Goes {
                text.clear();
            }
        }
    }

    /// `key`: the value's own key, and the same with the keys around it; `None` for a body.
    fn value(&mut self, rules: &[(usize, &Rule)], key: Option<(&str, &str)>, value: &mut AnyValue) -> Fate {
        for (position, rule) in rules {
            let named = match (&rule.keys, key) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(keys), Some((own, path))) => keys.has(own) || (own != path && keys.has(path)),
            };
            if !named {
                continue;
            }
            if rule.pattern.is_some() {
                if self.find(*position, rule, value) == Fate::Goes {
                    return Fate::Goes;
                }
            } else if rule.keys.is_some() || key.is_none() {
                self.count(*position);
                return self.whole(rule.action, value);
            }
        }
        // Keys inside it may be named, too.
        let path = key.map_or("", |(_, path)| path);
        match &mut value.value {
            Some(Value::KvlistValue(list)) => self.entries(rules, path, &mut list.values),
            Some(Value::ArrayValue(array)) => {
                for item in &mut array.values {
                    self.maps(rules, path, item);
                }
            }
            _ => {}
        }
        Fate::Stays
    }

    /// The maps inside a list; what its own key says has been seen to.
    fn maps(&mut self, rules: &[(usize, &Rule)], path: &str, value: &mut AnyValue) {
        match &mut value.value {
            Some(Value::KvlistValue(list)) => self.entries(rules, path, &mut list.values),
            Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(|v| self.maps(rules, path, v)),
            _ => {}
        }
    }

    /// Does to a whole value what the action says.
    fn whole(&mut self, action: Action, value: &mut AnyValue) -> Fate {
        let redactor = self.redactor;
        let Some(inner) = &mut value.value else {
            return if action == Action::Drop { Fate::Goes } else { Fate::Stays };
        };
        let text = match (action, &mut *inner) {
            (Action::Drop, _) => return Fate::Goes,
            (Action::Mask, _) => MASK.to_owned(),
            // Item by item, so that each can still be searched for.
            (_, Value::ArrayValue(array)) => {
                array.values.iter_mut().for_each(|v| {
                    self.whole(action, v);
                });
                return Fate::Stays;
            }
            (_, Value::KvlistValue(list)) => {
                list.values.iter_mut().filter_map(|kv| kv.value.as_mut()).for_each(|v| {
                    self.whole(action, v);
                });
                return Fate::Stays;
            }
            (_, Value::BytesValue(bytes)) => match action {
                Action::Hash => redactor.hash(bytes),
                _ => MASK.to_owned(),
            },
            (_, scalar) => redactor.instead(action, &words(scalar).unwrap_or_default()),
        };
        *inner = Value::StringValue(text);
        Fate::Stays
    }

    /// Looks for the rule's pattern in every text of a value.
    fn find(&mut self, position: usize, rule: &Rule, value: &mut AnyValue) -> Fate {
        match &mut value.value {
            Some(Value::StringValue(text)) => self.search(position, rule, text),
            Some(Value::ArrayValue(array)) => any_goes(array.values.iter_mut().map(|v| self.find(position, rule, v))),
            // Without a key every entry of a map is looked at by itself.
            Some(Value::KvlistValue(list)) if rule.keys.is_some() => {
                let values = list.values.iter_mut().filter_map(|kv| kv.value.as_mut());
                any_goes(values.map(|v| self.find(position, rule, v)))
            }
            Some(Value::BytesValue(bytes)) => {
                let mut text = String::from_utf8_lossy(bytes).into_owned();
                let before = self.counts.0.get(position).copied();
                let fate = self.search(position, rule, &mut text);
                if before != self.counts.0.get(position).copied() {
                    value.value = Some(Value::StringValue(text));
                }
                fate
            }
            Some(number @ (Value::IntValue(_) | Value::DoubleValue(_))) => {
                let Some(mut text) = words(number) else { return Fate::Stays };
                let before = self.counts.0.get(position).copied();
                let fate = self.search(position, rule, &mut text);
                if before != self.counts.0.get(position).copied() {
                    *number = Value::StringValue(text);
                }
                fate
            }
            _ => Fate::Stays,
        }
    }

    /// Does to every match what the action says.
    fn search(&mut self, position: usize, rule: &Rule, text: &mut String) -> Fate {
        let Some(pattern) = &rule.pattern else { return Fate::Stays };
        if text.len() > self.redactor.longest {
            // Not searched, so it may hold anything.
            self.count(position);
            MASK.clone_into(text);
            return if rule.action == Action::Drop { Fate::Goes } else { Fate::Stays };
        }
        let found = pattern.find(text);
        if found.is_empty() {
            return Fate::Stays;
        }
        self.count(position);
        if rule.action == Action::Drop {
            return Fate::Goes;
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for range in found {
            out.push_str(text.get(at..range.start).unwrap_or_default());
            out.push_str(&self.redactor.instead(rule.action, text.get(range.clone()).unwrap_or_default()));
            at = range.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        *text = out;
        Fate::Stays
    }

    fn count(&mut self, position: usize) {
        if let Some(count) = self.counts.0.get_mut(position) {
            *count += 1;
        }
    }
}

fn any_goes(fates: impl Iterator<Item = Fate>) -> Fate {
    // All of them are seen to, also after the first that goes.
    fates.fold(Fate::Stays, |all, one| if one == Fate::Goes { one } else { all })
}

/// A single value as text.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::StringValue(s) => Some(s.clone()),
        Value::BoolValue(b) => Some(b.to_string()),
        Value::IntValue(i) => Some(i.to_string()),
        Value::DoubleValue(d) => Some(d.to_string()),
        _ => None,
    }
}

impl Redactor {
    /// What stands in the place of a text.
    fn instead(&self, action: Action, text: &str) -> String {
        match action {
            Action::Drop => String::new(),
            Action::Mask => MASK.to_owned(),
            Action::Hash => self.hash(text.as_bytes()),
            // A text that is not longer would be shown whole.
            Action::Keep(first) => match text.char_indices().nth(first) {
                Some((end, _)) => format!("{}{MASK}", text.get(..end).unwrap_or_default()),
                None => MASK.to_owned(),
            },
        }
    }

    /// 128 bits of a keyed BLAKE3, in hexadecimal digits: the same for the same text, as long as the key is the same.
    fn hash(&self, bytes: &[u8]) -> String {
        let hash = blake3::keyed_hash(&self.key.0, bytes).to_hex();
        format!("hash:{}", hash.get(..32).unwrap_or_default())
    }
}
