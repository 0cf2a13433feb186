//! The sentence on top of the board, from simple rules over what its edges saw.

use fuseboard_api::UnixNanos;
use fuseboard_api::graph::{Board, Edge, Headline, Severity};

/// Fewer calls than this say nothing.
const FEW: u64 = 5;

/// At this share of errors an edge has failed.
const FAILED: f64 = 0.05;

/// At this share it is at risk.
const AT_RISK: f64 = 0.01;

/// The errors that came back over an edge are an echo when a failing edge further down brings at least this share as many.
const EXPLAINS: f64 = 0.5;

pub(super) fn headline(board: &Board) -> Headline {
    let failing: Vec<&Edge> =
        board.edges.iter().filter(|e| e.stats.calls >= FEW && e.stats.error_ratio() >= AT_RISK).collect();
    let causes: Vec<&Edge> = failing.iter().copied().filter(|e| !is_echo(e, &failing)).collect();
    let worst = causes.iter().copied().max_by(|a, b| badness(a).total_cmp(&badness(b)));
    let Some(worst) = worst else { return well(board) };
    let mut text = cause(worst);
    let echoes = callers_above(worst, &failing);
    if !echoes.is_empty() {
        let plural = if echoes.len() == 1 { "echo" } else { "echoes" };
        text.push_str(&format!("; {plural}: {}", list(&echoes)));
    }
    let others = causes.len() - 1;
    if others > 0 {
        text.push_str(&format!("; {others} more {} too", if others == 1 { "edge fails" } else { "edges fail" }));
    }
    Headline {
        severity: if worst.stats.error_ratio() >= FAILED { Severity::Failed } else { Severity::AtRisk },
        text,
        edge: Some(worst.key.clone()),
        since: since(board, worst),
    }
}

/// Errors count by how many there are and how large their share is.
fn badness(edge: &Edge) -> f64 {
    edge.stats.errors as f64 * edge.stats.error_ratio()
}

fn well(board: &Board) -> Headline {
    let calls: u64 = board.edges.iter().map(|e| e.stats.calls).sum();
    let text = if calls == 0 {
        "No calls in this range".to_owned()
    } else {
        let quiet = "All edges are well";
        let services = board.nodes.iter().filter(|n| !n.instances.is_empty()).count();
        let plural = if services == 1 { "" } else { "s" };
        format!("{quiet}: {services} service{plural}, {calls} calls")
    };
    Headline { severity: Severity::Well, text, edge: None, since: board.range.from }
}

/// `orders → payments: 34 % of Charge fail (120 of 350), 80 refused here, p95 713 ms`.
fn cause(edge: &Edge) -> String {
    let s = &edge.stats;
    let percent = s.error_ratio() * 100.0;
    let percent = if percent < 10.0 { format!("{percent:.1}") } else { format!("{percent:.0}") };
    let key = &edge.key;
    let operation = key.operation.rsplit('/').next().filter(|o| !o.is_empty() && !key.operation.contains(' '));
    let operation = operation.unwrap_or(&key.operation);
    let mut text =
        format!("{} → {}: {percent} % of {operation} fail ({} of {})", key.caller, key.callee, s.errors, s.calls);
    if s.refused > 0 {
        text.push_str(&format!(", {} refused here", s.refused));
    }
    if let Some(p95) = s.quantile(0.95) {
        let ms = p95.as_secs_f64() * 1e3;
        let p95 = if ms >= 10.0 { format!("{ms:.0}") } else { format!("{ms:.1}") };
        text.push_str(&format!(", p95 {p95} ms"));
    }
    text
}

/// An edge whose callee itself calls an edge that fails as often as what came back from the callee. What the caller's own
/// rules refused never got there, so that an open breaker does not make an echo look like a cause.
fn is_echo(edge: &Edge, failing: &[&Edge]) -> bool {
    let came_back = edge.stats.errors.saturating_sub(edge.stats.refused);
    failing.iter().any(|below| {
        below.key.caller == edge.key.callee
            && below.key.callee != edge.key.caller
            && below.stats.errors as f64 >= came_back as f64 * EXPLAINS
    })
}

/// Callers whose failing calls lead to `cause`, nearest first.
fn callers_above(cause: &Edge, failing: &[&Edge]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut below = vec![cause.key.caller.clone()];
    while let Some(callee) = below.pop() {
        for edge in failing.iter().filter(|e| e.key.callee == callee) {
            let name = format!("{} → {}", edge.key.caller, edge.key.callee);
            if !names.contains(&name) && edge.key.caller != cause.key.callee {
                names.push(name);
                below.push(edge.key.caller.clone());
            }
        }
    }
    names
}

fn list(names: &[String]) -> String {
    match names {
        [a] => a.clone(),
        [a, b] => format!("{a} and {b}"),
        [a, b, rest @ ..] => format!("{a}, {b} and {} more", rest.len()),
        [] => String::new(),
    }
}

/// The start of the last run of spark points in error.
fn since(board: &Board, edge: &Edge) -> UnixNanos {
    let step = i64::try_from(board.spark_step_ms).unwrap_or(0).saturating_mul(1_000_000);
    let bad = |p: &&fuseboard_api::stats::SparkPoint| f64::from(p.error_ratio) >= AT_RISK || p.rate == 0.0;
    let run = edge.spark.iter().rev().take_while(bad).count();
    // Silence before the first error is not part of it.
    let silent = edge.spark.iter().rev().take(run).collect::<Vec<_>>();
    let run = silent.iter().rposition(|p| p.error_ratio > 0.0).map_or(0, |last| last + 1);
    let end = board.range.to.0.div_euclid(step.max(1)).saturating_add(1).saturating_mul(step);
    UnixNanos(end.saturating_sub(step.saturating_mul(i64::try_from(run).unwrap_or(0)))).min(board.range.to)
}

#[cfg(test)]
mod tests {
    use fuseboard_api::graph::EdgeKey;
    use fuseboard_api::stats::Stats;

    use super::*;

    fn edge(caller: &str, callee: &str, calls: u64, errors: u64, refused: u64) -> Edge {
        let stats = Stats { seconds: 60.0, calls, errors, refused, ..Stats::default() };
        Edge { key: EdgeKey::new(caller, callee, "op"), stats, ..Edge::default() }
    }

    #[test]
    fn an_open_breaker_does_not_make_an_echo_the_cause() {
        let edges = vec![
            edge("gateway", "orders", 1000, 760, 600),
            edge("orders", "payments", 400, 180, 80),
            edge("payments", "bank", 320, 140, 60),
        ];
        let said = headline(&Board { edges, ..Board::default() });
        assert_eq!(said.edge, Some(EdgeKey::new("payments", "bank", "op")));
        assert!(said.text.ends_with("; echoes: orders → payments and gateway → orders"), "{}", said.text);
    }
}
