//! Breakers, and setting overrides.

use std::time::{Duration, Instant};

use anyhow::Result;
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::{Change, ChangeState, OverrideSpec};
use fuseboard_api::command::Action;
use fuseboard_policy::overrides::{OverrideAction, Selector};

use super::super::exit::Failure;
use super::client::Client;
use super::data::{mismatch, word};
use super::print::{instant, json, line, table};
use super::{BreakerArgs, Session};

/// Edges as they are written on the command line.
#[derive(Debug, Clone)]
pub(super) struct Target {
    text: String,
    pub(super) selector: Selector,
}

/// Reads a target.
pub(super) fn target(text: &str) -> Result<Target, String> {
    selector(text).map(|selector| Target { text: text.to_owned(), selector })
}

/// `SERVICE`, `SERVICE/OPERATION` or `CALLER:SERVICE/OPERATION`; splits at the first slash, the caller's colon stands before it.
fn selector(target: &str) -> Result<Selector, String> {
    let (head, operation) = match target.split_once('/') {
        Some((head, operation)) => (head, Some(operation)),
        None => (target, None),
    };
    let (caller, service) = match head.split_once(':') {
        Some((caller, service)) => (Some(caller), service),
        None => (None, head),
    };
    let part = |text: Option<&str>| match text {
        Some("") => Err(format!("{target:?} has an empty part; write SERVICE/OPERATION or CALLER:SERVICE/OPERATION")),
        other => Ok(other.map(str::to_owned)),
    };
    Ok(Selector { caller: part(caller)?, service: part(Some(service))?, operation: part(operation)?, instance: None })
}

pub(super) fn breaker(session: &Session, args: &BreakerArgs) -> Result<()> {
    let Some(mode) = args.mode else { return show(session, &args.target.text, &args.target.selector) };
    let action = OverrideAction::Mode(mode.into());
    let spec = OverrideSpec { selector: args.target.selector.clone(), action };
    override_edges(session, &args.target, spec, args.ttl, args.reason.as_deref().unwrap_or_default(), args.wait)
}

/// Sets an override, waits for the word of every instance, and says how that went.
pub(super) fn override_edges(
    session: &Session,
    target: &Target,
    spec: OverrideSpec,
    ttl: Duration,
    reason: &str,
    wait: Duration,
) -> Result<()> {
    warn_of_unknown(session, &target.text, &target.selector)?;
    let action = Action::SetOverride { spec, ttl_ms: u64::try_from(ttl.as_millis())? };
    let receipt = session.client.command(&session.actor, reason, action)?;
    let Some(id) = receipt.override_id else { return Err(mismatch()) };
    let change = settle(session, id, wait)?;
    if session.json {
        json(&change)?;
    } else {
        line(&format!(
            "override {id}: {} · applied {}/{}{}",
            change.summary,
            change.applied,
            change.targeted,
            latency(&change)
        ))?;
        for refusal in change.acknowledgements.iter().filter(|a| a.refused.is_some()) {
            line(&format!("{} refused: {}", refusal.instance, refusal.refused.as_deref().unwrap_or_default()))?;
        }
    }
    if change.targeted == 0 {
        return Err(Failure::NotMet(
            "no connected instance calls that edge; the override waits for one until it expires".to_owned(),
        )
        .into());
    }
    if change.applied < change.targeted {
        let why =
            format!("applied {} of {} within {}", change.applied, change.targeted, humantime::format_duration(wait));
        return Err(Failure::NotMet(why).into());
    }
    Ok(())
}

/// Says on stderr when no call along such an edge is known: a misspelt name steers nothing, and nobody would notice.
fn warn_of_unknown(session: &Session, target: &str, selector: &Selector) -> Result<()> {
    let range = TimeRange::ending(Client::now(), Duration::from_secs(600));
    let Answer::Board(board) = session.client.ask(Question::Board { range })? else { return Err(mismatch()) };
    let known = board.edges.iter().any(|e| {
        Selector { instance: None, ..selector.clone() }.matches(&e.key.caller, "", &e.key.callee, &e.key.operation)
    });
    if !known {
        eprintln!("no call to {target} was seen in the last ten minutes; `fuseboard ctl edges` lists the names");
    }
    Ok(())
}

fn latency(change: &Change) -> String {
    change.p99_ms().map(|p| format!(" in {p:.1} ms (p99)")).unwrap_or_default()
}

/// Waits until every instance has spoken.
fn settle(session: &Session, id: u64, wait: Duration) -> Result<Change> {
    let end = Instant::now() + wait;
    loop {
        let now = Client::now();
        let range = TimeRange { from: now - Duration::from_secs(3600), to: now };
        let Answer::Changes(changes) = session.client.ask(Question::Changes { range })? else { return Err(mismatch()) };
        let Some(change) = changes.overrides.into_iter().find(|c| c.id == id) else { return Err(mismatch()) };
        if change.state != ChangeState::Requested || Instant::now() >= end {
            return Ok(change);
        }
        session.client.pause(Duration::from_millis(20));
    }
}

fn show(session: &Session, target: &str, selector: &Selector) -> Result<()> {
    let range = TimeRange::ending(Client::now(), Duration::from_secs(600));
    let Answer::Breakers(all) = session.client.ask(Question::Breakers { range })? else { return Err(mismatch()) };
    let mine: Vec<_> = all
        .breakers
        .into_iter()
        .filter(|b| selector.matches(&b.key.caller, &b.instance, &b.key.callee, &b.key.operation))
        .collect();
    if mine.is_empty() {
        return Err(Failure::NotMet(format!(
            "no breaker is known for {target}; `fuseboard ctl edges` lists the edges"
        ))
        .into());
    }
    if session.json {
        return json(&mine);
    }
    let rows: Vec<_> = mine
        .iter()
        .map(|b| {
            [
                b.key.to_string(),
                b.instance.clone(),
                word(&b.state),
                word(&b.mode),
                instant(b.since),
                format!("{}/{} failed", b.failures, b.calls),
                b.cause.clone(),
            ]
        })
        .collect();
    table(["EDGE", "INSTANCE", "STATE", "MODE", "SINCE", "WINDOW", "CAUSE"], &rows, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_split_at_the_first_slash() {
        let all = selector("orders:payments/shop.v1.Payments/Charge").unwrap();
        assert_eq!(all.caller.as_deref(), Some("orders"));
        assert_eq!(all.service.as_deref(), Some("payments"));
        assert_eq!(all.operation.as_deref(), Some("shop.v1.Payments/Charge"));
        assert_eq!(selector("payments").unwrap().operation, None);
        assert_eq!(selector("bank/POST /a:b").unwrap().operation.as_deref(), Some("POST /a:b"));
        assert!(selector("payments/").is_err());
        assert!(selector(":payments").is_err());
    }
}
