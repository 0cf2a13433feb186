//! A revision of the whole policy, and the settings it gives an edge.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::document::{PolicyDocument, Rule, ServiceRule, merged_service};
use crate::merge::{Index, Merged};
use crate::overrides::{Override, OverrideAction};
use crate::settings::{EdgeSettings, Fault, ServiceSettings};

/// One revision of the policy, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    revision: u64,
    rules: Vec<Rule>,
    index: Index,
    services: Vec<ServiceRule>,
}

impl PolicySet {
    /// The set of a document.
    #[must_use]
    pub fn new(revision: u64, document: &PolicyDocument) -> Self {
        let rules = document.rules().to_vec();
        let (index, _) = Index::new(&rules);
        Self { revision, rules, index, services: document.services().to_vec() }
    }

    /// Its number.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The settings of a service's own side. Allocates: keep the answer for as long as the set is in force.
    #[must_use]
    pub fn service(&self, name: &str) -> ServiceSettings {
        // A checked document fits the types.
        Value::Table(merged_service(&self.services, name)).try_into().unwrap_or_default()
    }

    /// The settings in force on an edge, before overrides. Allocates: keep the answer for as long as the set is in force.
    #[must_use]
    pub fn effective(&self, caller: &str, service: &str, operation: &str) -> Effective {
        self.merged(&self.index.matching(Some(caller), service, Some(operation)))
    }

    /// The settings of the rules alone that name the operation, for work to which general rules do not apply.
    #[must_use]
    pub fn effective_named(&self, caller: &str, service: &str, operation: &str) -> Effective {
        let mut rules = self.index.matching(Some(caller), service, Some(operation));
        rules.retain(|at| self.rules.get(*at).is_some_and(|rule| rule.operation.is_some()));
        self.merged(&rules)
    }

    fn merged(&self, rules: &[usize]) -> Effective {
        let merged = Merged::of(&self.rules, rules);
        let provenance = merged.sources.iter().map(|(path, source)| {
            let from = match source.preset {
                Some(preset) => format!("preset {preset}"),
                None => self.rules.get(source.rule).map(Rule::to_string).unwrap_or_default(),
            };
            (path.clone(), from)
        });
        Effective {
            settings: merged.settings(),
            provenance: provenance.collect(),
            fault: None,
            mode_override: None,
            overrides: Vec::new(),
        }
    }
}

/// What is in force on one edge.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effective {
    /// The merged settings.
    pub settings: EdgeSettings,
    /// Setting path (`timeout.attempt_ms`) → the rule, preset or override that it came from (`payments/Charge`, `*`,
    /// `preset rpc-50`, `override 7`).
    pub provenance: BTreeMap<String, String>,
    /// An injected fault; only overrides give one.
    pub fault: Option<Fault>,
    /// The override that gives the breaker's mode.
    pub mode_override: Option<u64>,
    /// All overrides applied, in order.
    pub overrides: Vec<u64>,
}

impl Effective {
    /// Lays overrides over the settings, in order of their ids: the newest wins. The caller has chosen those whose
    /// selector matches this edge.
    #[must_use]
    pub fn with_overrides<'a>(mut self, overrides: impl IntoIterator<Item = &'a Override>) -> Self {
        let mut sorted: Vec<&Override> = overrides.into_iter().collect();
        sorted.sort_by_key(|o| o.id);
        for one in sorted {
            self.apply(one);
        }
        self
    }

    fn apply(&mut self, one: &Override) {
        self.overrides.push(one.id);
        let mut note = |path: &str| self.provenance.insert(path.to_owned(), format!("override {}", one.id));
        match &one.action {
            OverrideAction::Mode(mode) => {
                self.settings.breaker.get_or_insert_default().mode = Some(*mode);
                self.mode_override = Some(one.id);
                note("breaker.mode");
            }
            OverrideAction::Timeout { attempt_ms, overall_ms } => {
                let timeout = self.settings.timeout.get_or_insert_default();
                if attempt_ms.is_some() {
                    timeout.attempt_ms = *attempt_ms;
                    note("timeout.attempt_ms");
                }
                if overall_ms.is_some() {
                    timeout.overall_ms = *overall_ms;
                    note("timeout.overall_ms");
                }
            }
            OverrideAction::Fault(fault) => {
                self.fault = Some(fault.clone());
                note("fault");
            }
        }
    }

    /// The settings as bytes: equal settings give equal bytes, on every machine and in every version that knows the same
    /// names (TOML with sorted names; names of presets left out, because what they fill is in it).
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut table = Table::try_from(&self.settings).unwrap_or_default();
        table.remove("preset");
        for part in ["breaker", "retry"] {
            if let Some(Value::Table(part)) = table.get_mut(part) {
                part.remove("preset");
            }
        }
        table.retain(|_, value| !matches!(value, Value::Table(table) if table.is_empty()));
        if let Some(fault) = self.fault.as_ref().and_then(|fault| Table::try_from(fault).ok()) {
            table.insert("fault".to_owned(), Value::Table(fault));
        }
        toml::to_string(&table).unwrap_or_default().into_bytes()
    }

    /// A hash of [`Self::canonical_bytes`].
    #[must_use]
    pub fn hash(&self) -> [u8; 16] {
        hash_all([self.canonical_bytes()])
    }
}

/// A hash over several byte strings in order, for the hash of all edges of an instance: feed name and
/// [`Effective::hash`] of each edge, sorted. 128-bit FNV-1a (draft-eastlake-fnv): stable and small, not cryptographic.
#[must_use]
pub fn hash_all<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> [u8; 16] {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = BASIS;
    let mut feed = |byte: u8| hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    for part in parts {
        let part = part.as_ref();
        // The length first, so that no two lists of parts run together.
        (part.len() as u64).to_be_bytes().into_iter().for_each(&mut feed);
        part.iter().copied().for_each(&mut feed);
    }
    hash.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{BreakerMode, Window};

    fn set(text: &str) -> PolicySet {
        PolicySet::new(1, &PolicyDocument::parse(text).unwrap())
    }

    #[test]
    fn the_most_specific_wins_key_by_key() {
        let set = set(r#"
            [[edge]]
            service = "*"
            timeout = { attempt_ms = 100, overall_ms = 1000 }
            [[edge]]
            service = "payments"
            timeout = { attempt_ms = 200 }
            [[edge]]
            caller = "orders"
            service = "payments"
            timeout = { attempt_ms = 300 }
            [[edge]]
            service = "payments"
            operation = "Pay/Charge"
            timeout = { attempt_ms = 400 }
        "#);
        let attempt = |caller, service, operation| {
            let effective = set.effective(caller, service, operation);
            let timeout = effective.settings.timeout.unwrap();
            assert_eq!(timeout.overall_ms, Some(1000));
            assert_eq!(effective.provenance["timeout.overall_ms"], "*");
            (timeout.attempt_ms.unwrap(), effective.provenance["timeout.attempt_ms"].clone())
        };
        assert_eq!(attempt("web", "stock", "Get"), (100, "*".to_owned()));
        assert_eq!(attempt("web", "payments", "Get"), (200, "payments".to_owned()));
        assert_eq!(attempt("orders", "payments", "Get"), (300, "orders:payments".to_owned()));
        assert_eq!(attempt("orders", "payments", "Pay/Charge"), (400, "payments/Pay/Charge".to_owned()));
    }

    #[test]
    fn rules_that_do_not_name_the_operation_can_be_left_out() {
        let set = set(r#"
            [[edge]]
            service = "*"
            timeout = { attempt_ms = 100, overall_ms = 1000 }
            [[edge]]
            caller = "mailer"
            service = "mails"
            operation = "process"
            timeout = { attempt_ms = 400 }
        "#);
        let attempt = |caller| set.effective_named(caller, "mails", "process").settings.timeout;
        let timeout = attempt("mailer").unwrap();
        assert_eq!((timeout.attempt_ms, timeout.overall_ms), (Some(400), None));
        assert_eq!(attempt("archive"), None);
    }

    #[test]
    fn another_kind_replaces_the_table_and_the_same_kind_merges() {
        let set = set(r#"
            [[edge]]
            service = "*"
            breaker = { window = { kind = "time", ms = 10000, buckets = 10 }, failure_ratio = 0.5 }
            retry = { max_attempts = 2, budget = { ratio = 0.2, min_per_sec = 1, ttl_ms = 10000 } }
            [[edge]]
            service = "a"
            breaker = { window = { kind = "count", size = 50 } }
            retry = { budget = { max_tokens = 10, token_ratio = 0.1 } }
            [[edge]]
            service = "b"
            breaker = { window = { kind = "time", ms = 20000 } }
            retry = { budget = { ratio = 0.5 } }
        "#);
        let a = set.effective("x", "a", "y").settings;
        assert_eq!(a.breaker.unwrap().window, Some(Window::Count { size: 50 }));
        assert!(matches!(a.retry.unwrap().budget, Some(crate::settings::RetryBudget::Tokens { max_tokens: 10, .. })));
        let b = set.effective("x", "b", "y").settings;
        assert_eq!(b.breaker.unwrap().window, Some(Window::Time { ms: 20_000, buckets: 10 }));
        let wanted = crate::settings::RetryBudget::Ratio { ratio: 0.5, min_per_sec: 1.0, ttl_ms: 10_000 };
        assert_eq!(b.retry.unwrap().budget, Some(wanted));
    }

    #[test]
    fn a_preset_fills_before_the_keys_beside_it() {
        let set = set(r#"
            [[edge]]
            service = "*"
            preset = "rpc-50"
            breaker = { mode = "shadow", open_ms = 1000 }
            [[edge]]
            service = "a"
            breaker = { preset = "count-20", failure_count = 7 }
        "#);
        let all = set.effective("x", "z", "y");
        let breaker = all.settings.breaker.unwrap();
        assert_eq!((breaker.failure_ratio, breaker.open_ms), (Some(0.5), Some(1000)));
        assert_eq!(all.provenance["breaker.failure_ratio"], "preset rpc-50");
        let a = set.effective("x", "a", "y").settings.breaker.unwrap();
        assert_eq!((a.failure_count, a.failure_ratio, a.open_ms), (Some(7), None, Some(60_000)));
        assert_eq!(a.mode, Some(BreakerMode::Shadow), "a preset does not change what the breaker is told to do");
    }

    #[test]
    fn overrides_win_and_change_the_hash() {
        let set = set("[[edge]]\nservice = \"*\"\ntimeout = { attempt_ms = 100 }\n");
        let plain = set.effective("a", "b", "c");
        let one = |id, action| Override { id, action, ..Override::default() };
        let overrides = [
            one(9, OverrideAction::Mode(BreakerMode::ForcedOpen)),
            one(4, OverrideAction::Mode(BreakerMode::ForcedClosed)),
            one(5, OverrideAction::Timeout { attempt_ms: Some(5), overall_ms: None }),
        ];
        let changed = plain.clone().with_overrides(&overrides);
        assert_eq!(changed.settings.breaker.as_ref().unwrap().mode, Some(BreakerMode::ForcedOpen));
        assert_eq!(changed.mode_override, Some(9));
        assert_eq!(changed.provenance["timeout.attempt_ms"], "override 5");
        assert_ne!(plain.hash(), changed.hash());
        assert_eq!(plain.hash(), set.effective("other", "b", "c").hash());
    }

    #[test]
    fn the_hash_does_not_change_between_versions() {
        let set = set("[[edge]]\nservice = \"*\"\ntimeout = { attempt_ms = 100 }\n");
        let bytes = set.effective("a", "b", "c").canonical_bytes();
        assert_eq!(String::from_utf8(bytes).unwrap(), "[timeout]\nattempt_ms = 100\n");
        assert_eq!(hash_all::<&[u8]>([]), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128.to_be_bytes());
    }
}
