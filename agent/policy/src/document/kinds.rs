//! Tables that come in kinds: which keys each kind has, and that all those it needs are there.

use toml::{Table, Value};

/// One kind of a table.
struct Variant {
    word: &'static str,
    needs: &'static [&'static str],
    may_have: &'static [&'static str],
}

/// A table that comes in kinds.
pub(super) struct Kinds {
    /// Its path in a rule.
    pub(super) path: &'static str,
    /// The key that names the kind.
    tag: &'static str,
    variants: &'static [Variant],
}

/// Those of an edge, but for those inside `breaker` and `retry`.
pub(super) const KINDS: [Kinds; 5] = [
    Kinds {
        path: "fallback",
        tag: "kind",
        variants: &[
            Variant { word: "status", needs: &["code"], may_have: &[] },
            Variant { word: "value", needs: &["name"], may_have: &[] },
        ],
    },
    Kinds {
        path: "rate",
        tag: "algorithm",
        variants: &[
            Variant { word: "token_bucket", needs: &["per_sec", "burst"], may_have: &[] },
            Variant { word: "sliding_window", needs: &["limit", "window_ms"], may_have: &[] },
        ],
    },
    Kinds {
        path: "throttle",
        tag: "kind",
        variants: &[Variant { word: "sre", needs: &["k"], may_have: &["window_ms"] }],
    },
    Kinds {
        path: "concurrency",
        tag: "kind",
        variants: &[
            Variant { word: "fixed", needs: &["max"], may_have: &[] },
            Variant { word: "aimd", needs: &["initial", "min", "max", "backoff_ratio", "timeout_ms"], may_have: &[] },
            Variant { word: "vegas", needs: &["initial", "max"], may_have: &["smoothing", "probe_multiplier"] },
            Variant {
                word: "gradient2",
                needs: &["initial", "min", "max", "smoothing", "queue", "long_window", "tolerance"],
                may_have: &[],
            },
        ],
    },
    Kinds {
        path: "balance",
        tag: "algorithm",
        variants: &[
            Variant { word: "round_robin", needs: &[], may_have: &[] },
            Variant { word: "weighted_round_robin", needs: &[], may_have: &[] },
            Variant { word: "random", needs: &[], may_have: &[] },
            Variant { word: "least_request", needs: &[], may_have: &[] },
            Variant { word: "p2c_peak_ewma", needs: &[], may_have: &["default_rtt_ms", "decay_ms"] },
            Variant { word: "consistent_hash", needs: &["key"], may_have: &["max_load"] },
        ],
    },
];

/// How a service sheds.
pub(super) const SHED: Kinds =
    Kinds { path: "shed", tag: "kind", variants: &[Variant { word: "bbr", needs: &["cpu_percent"], may_have: &[] }] };

impl Kinds {
    /// What is wrong with a merged table: no kind, a key of another kind, a key missing.
    pub(super) fn wrong(&self, table: &Table) -> Option<String> {
        let words = || self.variants.iter().map(|v| format!("`{}`", v.word)).collect::<Vec<_>>().join(" or ");
        let Some(word) = table.get(self.tag).and_then(Value::as_str) else {
            return Some(format!("names no {}; write `{} = …` with {}", self.tag, self.tag, words()));
        };
        let variant = self.variants.iter().find(|v| v.word == word)?;
        let known = |name: &str| name == self.tag || variant.needs.contains(&name) || variant.may_have.contains(&name);
        if let Some(strange) = table.keys().find(|name| !known(name)) {
            return Some(format!("`{strange}` does not belong to {word}"));
        }
        super::check::missing(table, variant.needs)
    }
}
