//! A bad change, given to a tenth first: real agents under load, the guard, and the story that the audit tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use fuseboard_agent::HttpMethod;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::{Change, ChangeState};
use fuseboard_api::command::{Action, PolicyEdit};
use fuseboard_api::fleet::AuditQuery;
use fuseboard_api::rollout::{Delivery, Measure, RolloutState, Stage as Step, Verdict};
use fuseboard_tests::stage::{PATIENCE, Stage, all_changes, last};

use crate::control::caller;

/// How many instances call.
const CLERKS: usize = 10;

/// A service that takes its time.
async fn slow_shelf(time: Duration) -> Result<std::net::SocketAddr> {
    let app = Router::new().route(
        "/item",
        get(move || async move {
            tokio::time::sleep(time).await;
            "here"
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

fn revision(answer: &Answer, number: u64) -> Option<Change> {
    let Answer::Changes(changes) = answer else { return None };
    changes.revisions.iter().find(|c| c.id == number).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_timeout_at_ten_percent_is_seen_by_the_guard_and_reverted_and_the_audit_tells_the_story() -> Result<()> {
    let policy = "[[edge]]\nservice = \"*\"\ntimeout = { attempt_ms = 20000, overall_ms = 30000 }\n";
    let stage = Stage::set(policy).await?;
    let address = slow_shelf(Duration::from_millis(60)).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let (mut agents, mut load) = (Vec::new(), Vec::new());
    for i in 0..CLERKS {
        let agent = caller(&stage, &format!("clerk-{i}")).await?;
        let client = agent.http_client("shelf", format!("http://{address}"))?;
        agents.push(agent);
        let stop = stop.clone();
        load.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // That it fails where the change is in force is what the collector is to find out.
                let _ = client.request(HttpMethod::GET, "/item", "/item").send().await;
            }
        }));
    }
    stage.connected("clerk", CLERKS).await?;
    let applied = |answer: &Answer| revision(answer, 1).filter(|c| c.applied as usize == CLERKS).map(|_| ());
    stage.until("the first policy everywhere", all_changes(), applied).await?;

    let edit = PolicyEdit {
        caller: None,
        service: "*".to_owned(),
        operation: None,
        path: "timeout.attempt_ms".to_owned(),
        value: Some("10".to_owned()),
    };
    let hour = 3_600_000;
    let delivery = Delivery {
        stages: vec![Step { share: 0.1, bake_ms: hour }, Step { share: 1.0, bake_ms: hour }],
        ..Delivery::default()
    };
    let receipt = stage.command(Action::EditPolicy { base: 1, edits: vec![edit], delivery }).await?;
    assert_eq!((receipt.revision, receipt.targeted), (Some(2), 1), "a tenth of ten");
    let ended = |answer: &Answer| revision(answer, 2).filter(|c| c.state == ChangeState::Reverted);
    let reverted = stage.until("the guard", all_changes(), ended).await?;
    let rollout = reverted.rollout.context("it was rolled out")?;
    assert_eq!((rollout.state, rollout.stage), (RolloutState::Reverted, 0));
    let failing: Vec<_> = rollout.readings.iter().filter(|r| r.verdict == Verdict::Fails).collect();
    assert!(failing.iter().any(|r| r.guard.measure == Measure::Errors), "{:?}", rollout.readings);
    assert!(reverted.acknowledgements.len() <= 1, "nobody else ever had it: {:?}", reverted.acknowledgements);

    let back = |answer: &Answer| {
        let Answer::Fleet(fleet) = answer else { return None };
        let mine: Vec<_> = fleet.members.iter().filter(|m| m.service == "clerk").collect();
        (fleet.revision == 1 && mine.len() == CLERKS && mine.iter().all(|m| m.running == 1 && m.desired == 1))
            .then_some(())
    };
    stage.until("everyone back at the first policy", Question::Fleet { range: last(60) }, back).await?;
    stop.store(true, Ordering::Relaxed);
    for calls in load {
        tokio::time::timeout(PATIENCE, calls).await??;
    }
    let Answer::Audit(audit) =
        stage.ask(Question::Audit(AuditQuery::containing(Some("revision 2".to_owned())))).await?
    else {
        anyhow::bail!("the audit")
    };
    assert_eq!(audit.broken_at, None);
    let told: Vec<(&str, &str)> = audit.entries.iter().rev().map(|e| (e.actor.as_str(), e.action.as_str())).collect();
    assert_eq!(told.first(), Some(&("tester", "policy.edit")));
    assert_eq!(told.get(1), Some(&("tester", "rollout.stage")));
    assert_eq!(told.last(), Some(&("collector", "rollout.reverted")), "{told:?}");
    let end = audit.entries.first().context("an entry")?;
    assert!(end.reason.starts_with("a guard failed:") && end.reason.contains("errors"), "{}", end.reason);
    assert!(end.detail.contains("everyone is given revision 1 again"), "{}", end.detail);
    println!("{}", end.reason);
    for agent in agents {
        agent.shutdown().await;
    }
    stage.collector.shutdown().await;
    Ok(())
}
