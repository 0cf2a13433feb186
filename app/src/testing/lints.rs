//! What the linter finds in the canned shop.

use fuseboard_api::command::PolicyEdit;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::lint::{LintFinding, LintGap, LintNumber, LintSeverity, Lints};

fn number(name: &str, value: f64, unit: &str) -> LintNumber {
    LintNumber { name: name.to_owned(), value, unit: unit.to_owned() }
}

/// One that the form can mend, one on a path that takes judgement, and a rule that matches nothing.
pub(super) fn lints() -> Lints {
    let charge = EdgeKey::new("orders", "payments", "shop.Payments/Charge");
    let edit = |service: &str, operation: &str, path: &str, value: Option<&str>| PolicyEdit {
        caller: None,
        service: service.to_owned(),
        operation: Some(operation.to_owned()),
        path: path.to_owned(),
        value: value.map(str::to_owned),
    };
    let findings = vec![
        LintFinding {
            id: "3f9a01c2".to_owned(),
            rule: "timeout.cuts_good_calls".to_owned(),
            severity: LintSeverity::Error,
            path: vec![charge.clone()],
            given_by: "payments/shop.Payments/Charge".to_owned(),
            setting: "timeout.attempt_ms".to_owned(),
            text: "the timeout of 800 ms cuts 9.4 % of the attempts; their p99 is 1,410 ms where none is cut"
                .to_owned(),
            numbers: vec![
                number("timeout", 800.0, "ms"),
                number("p99 of attempts", 1410.0, "ms"),
                number("attempts cut", 9.4, "%"),
            ],
            source: "a timeout belongs above the latencies of good calls: 1.5 × p99".to_owned(),
            advice: "raise it to 2,120 ms, or find out why one call in ten takes so long".to_owned(),
            fix: vec![edit("payments", "shop.Payments/Charge", "timeout.attempt_ms", Some("2120"))],
        },
        LintFinding {
            id: "77b1e40d".to_owned(),
            rule: "retry.amplification".to_owned(),
            severity: LintSeverity::Warn,
            path: vec![EdgeKey::new("gateway", "orders", "shop.Orders/Place"), charge],
            given_by: "*".to_owned(),
            setting: "retry.max_attempts".to_owned(),
            text: "retries on 2 edges multiply: one call at gateway can become 9 at payments".to_owned(),
            numbers: vec![number("amplification", 9.0, "x"), number("traces", 412.0, "")],
            source: "retry on one level only (Google SRE, Addressing Cascading Failures)".to_owned(),
            advice: "retry nearest to what fails, and nowhere above it".to_owned(),
            fix: Vec::new(),
        },
        LintFinding {
            id: "c20d9e55".to_owned(),
            rule: "rule.matches_nothing".to_owned(),
            severity: LintSeverity::Note,
            given_by: "legacy-billing/Invoice".to_owned(),
            text: "the rule legacy-billing/Invoice matches no edge that carried calls".to_owned(),
            advice: "look over a longer range; if it still matches nothing, remove it".to_owned(),
            fix: vec![edit("legacy-billing", "Invoice", "timeout", None)],
            ..LintFinding::default()
        },
    ];
    let gap = LintGap {
        rules: vec!["breaker.never_trips".to_owned()],
        edge: Some(EdgeKey::new("orders", "ledger", "append")),
        text: "12 calls over orders → ledger: 100 are needed".to_owned(),
    };
    Lints { revision: 41, edges: 12, calls: 184_220, traces: 412, findings, gaps: vec![gap], ..Lints::default() }
}
