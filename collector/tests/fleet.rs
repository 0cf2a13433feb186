//! The agents' side: streams, acknowledgements, refusals, breakers.

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::breaker::{BreakerMode, BreakerState, Breakers};
use fuseboard_api::change::ChangeState;
use fuseboard_api::command::Action;
use fuseboard_api::strip::MarkKind;
use fuseboard_api::{TimeRange, UnixNanos};
use fuseboard_policy::wire::v1::{self, from_agent, to_agent};
use tonic::Code;

use crate::agent::{FakeAgent, audit, audit_actions, changes, command, fleet, force, set_policy, until};
use crate::common::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_set_before_an_agent_connects_is_given_at_hello() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let mut agent = FakeAgent::connect(&stage, "orders", "orders-1").await;
    let policy = agent.next_policy().await;
    assert_eq!(policy.revision, 1);
    let timeout = policy.rules[0].settings.as_ref().and_then(|s| s.timeout.as_ref());
    assert_eq!(timeout.and_then(|t| t.attempt_ms), Some(500));
    assert_eq!(agent.next_overrides().await.overrides, []);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_pushed_before_anything_was_set() {
    let stage = Stage::start().await;
    let mut agent = FakeAgent::connect(&stage, "orders", "orders-1").await;
    assert_eq!(agent.next_overrides().await.generation, 0, "no empty policy takes away what the agent has");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_applied_only_when_every_instance_says_so() {
    let stage = Stage::start().await;
    let mut one = FakeAgent::connect(&stage, "orders", "orders-1").await;
    let mut two = FakeAgent::connect(&stage, "orders", "orders-2").await;
    one.next_overrides().await;
    two.next_overrides().await;
    let receipt = set_policy(&stage, 0, 500).await;
    assert_eq!((receipt.targeted, receipt.note.as_str()), (2, ""));
    one.obey().await;
    until(&stage, async || (changes(&stage).await.revisions[0].applied == 1).then_some(())).await;
    let half = changes(&stage).await.revisions.remove(0);
    assert_eq!((half.state, half.targeted), (ChangeState::Requested, 2));
    two.obey().await;
    let whole =
        until(&stage, async || changes(&stage).await.revisions.into_iter().find(|c| c.state == ChangeState::Applied))
            .await;
    assert_eq!(whole.acknowledgements.len(), 2);
    assert!(whole.acknowledgements.iter().all(|a| a.latency_ms > 0.0 && a.refused.is_none()));
    assert!(audit_actions(&audit(&stage).await).contains(&"agent.applied"));
    let members = until(&stage, async || {
        let members = fleet(&stage).await.members;
        members.iter().all(|m| m.running == 1).then_some(members)
    })
    .await;
    assert!(members.iter().all(|m| m.connected == Some(true) && m.version == "1.2.3"), "{members:?}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_with_its_reason_and_taken_back_by_applying() {
    let stage = Stage::start().await;
    let mut agent = FakeAgent::connect(&stage, "orders", "orders-1").await;
    agent.next_overrides().await;
    set_policy(&stage, 0, 500).await;
    agent.next_policy().await;
    let failure = v1::Failure { revision: 1, reason: "attempt_ms is below my floor".into() };
    agent.status = v1::Status { attempted: 1, last_failed: Some(failure), ..v1::Status::default() };
    agent.tell().await;
    let refused =
        until(&stage, async || changes(&stage).await.revisions.into_iter().find(|c| c.state == ChangeState::Refused))
            .await;
    assert_eq!(refused.acknowledgements[0].refused.as_deref(), Some("attempt_ms is below my floor"));
    assert_eq!(refused.applied, 0);
    agent.status.running = 1;
    agent.tell().await;
    until(&stage, async || (changes(&stage).await.revisions[0].state == ChangeState::Applied).then_some(())).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overrides_reach_whom_they_concern_with_the_time_left() {
    let stage = Stage::start().await;
    let mut orders = FakeAgent::connect(&stage, "orders", "orders-1").await;
    let mut users = FakeAgent::connect(&stage, "users", "users-1").await;
    orders.next_overrides().await;
    users.next_overrides().await;
    let spec = force(Some("orders"), BreakerMode::ForcedOpen);
    let receipt = command(&stage, Action::SetOverride { spec, ttl_ms: 60_000 }).await.expect("fine");
    assert_eq!(receipt.targeted, 1);
    let given = orders.next_overrides().await;
    assert_eq!(users.next_overrides().await.overrides, [], "not meant for users");
    let [one] = given.overrides.as_slice() else { panic!("one override, not {given:?}") };
    assert!(one.remaining_ms > 0 && one.remaining_ms <= 60_000, "{one:?}");
    assert!(one.expires_unix_nanos > UnixNanos::now().0);
    orders.status.overrides = vec![1];
    orders.status.overrides_generation = given.generation;
    orders.tell().await;
    until(&stage, async || (changes(&stage).await.overrides[0].state == ChangeState::Applied).then_some(())).await;
    command(&stage, Action::EndOverride { id: 1 }).await.expect("in force");
    let after = orders.next_overrides().await;
    assert!(after.generation > given.generation && after.overrides.is_empty());
    // Only now a short one: it expires by itself, at the collector too.
    let spec = force(Some("orders"), BreakerMode::ForcedOpen);
    command(&stage, Action::SetOverride { spec, ttl_ms: 150 }).await.expect("fine");
    assert_eq!(orders.next_overrides().await.overrides.len(), 1);
    assert_eq!(orders.next_overrides().await.overrides, []);
    let told = changes(&stage).await.overrides;
    assert_eq!(told[0].state, ChangeState::Expired);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_stream_of_an_instance_takes_the_place_of_the_older() {
    let stage = Stage::start().await;
    let mut old = FakeAgent::connect(&stage, "orders", "orders-1").await;
    old.next_overrides().await;
    let mut new = FakeAgent::connect(&stage, "orders", "orders-1").await;
    let ended = old.next().await;
    assert_eq!(ended.expect_err("told to go").code(), Code::Aborted);
    new.next_overrides().await;
    assert_eq!(set_policy(&stage, 0, 500).await.targeted, 1);
    new.obey().await;
    let told =
        until(&stage, async || changes(&stage).await.revisions.into_iter().find(|c| c.state == ChangeState::Applied))
            .await;
    assert_eq!(told.targeted, 1, "one instance, however many streams");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_is_noted_and_gets_what_it_missed_when_it_comes_back() {
    let stage = Stage::start().await;
    let mut agent = FakeAgent::connect(&stage, "orders", "orders-1").await;
    agent.next_overrides().await;
    drop(agent);
    until(&stage, async || {
        fleet(&stage).await.members.first().is_some_and(|m| m.connected == Some(false)).then_some(())
    })
    .await;
    assert_eq!(set_policy(&stage, 0, 500).await.targeted, 0);
    let mut agent = FakeAgent::connect(&stage, "orders", "orders-1").await;
    agent.obey().await;
    let told =
        until(&stage, async || changes(&stage).await.revisions.into_iter().find(|c| c.state == ChangeState::Applied))
            .await;
    assert_eq!((told.targeted, told.applied), (1, 1));
    // The latency counts from when the stream came up, not from when nobody was there to hear.
    assert!(told.acknowledgements[0].latency_ms < 10_000.0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_does_not_greet_is_refused() {
    let stage = Stage::start().await;
    let mut rude = FakeAgent::open(&stage, from_agent::Message::Status(v1::Status::default())).await;
    assert_eq!(rude.next().await.expect_err("refused").code(), Code::InvalidArgument);
    let nameless = v1::Hello { service: "orders".into(), ..v1::Hello::default() };
    let mut nameless = FakeAgent::open(&stage, from_agent::Message::Hello(nameless)).await;
    let told = nameless.next().await.expect_err("refused");
    assert!(told.message().contains("instance"), "{told}");
    assert_eq!(fleet(&stage).await.members, []);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_missed_many_changes_gets_only_the_newest() {
    let stage = Stage::start().await;
    for revision in 0..20 {
        set_policy(&stage, revision, 500 + revision).await;
    }
    let mut agent = FakeAgent::connect(&stage, "orders", "orders-1").await;
    assert_eq!(agent.next_policy().await.revision, 20);
    assert!(matches!(agent.next().await, Ok(Some(to_agent::Message::Overrides(_)))));
    stage.stop().await;
}

fn window(calls: std::ops::Range<i64>) -> Vec<v1::WindowCall> {
    calls
        .map(|i| v1::WindowCall { at_unix_nanos: i, failed: i % 2 == 0, micros: 1000, ..v1::WindowCall::default() })
        .collect()
}

fn status(state: v1::BreakerState, calls: std::ops::Range<i64>) -> v1::BreakerStatus {
    v1::BreakerStatus {
        service: "payments".into(),
        operation: "pay.Payments/Charge".into(),
        state: state.into(),
        mode: v1::Mode::Auto.into(),
        since_unix_nanos: 5,
        calls: calls.end.unsigned_abs() - calls.start.unsigned_abs(),
        window: window(calls),
        revision: 1,
        ..v1::BreakerStatus::default()
    }
}

async fn breakers(stage: &Stage, as_of: Option<UnixNanos>) -> (UnixNanos, Breakers) {
    let range = TimeRange { from: UnixNanos(0), to: UnixNanos(i64::MAX) };
    match stage.ask_at(Question::Breakers { range }, as_of).await {
        (at, Answer::Breakers(breakers)) => (at, breakers),
        other => panic!("breakers, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_is_told_with_its_window_its_rule_and_its_trip_and_replayed() {
    let stage = Stage::start().await;
    let rules = "[[edge]]\nservice = \"payments\"\n[edge.breaker]\nwindow = { kind = \"count\", size = 20 }\nmin_calls = 10\nfailure_ratio = 0.5\nopen_ms = 5000\n";
    command(&stage, Action::set_policy(0, rules)).await.expect("valid");
    let agent = FakeAgent::connect(&stage, "orders", "orders-1").await;
    for end in [10, 15, 30] {
        let report = v1::BreakerReport {
            breakers: vec![status(v1::BreakerState::Closed, (end - 10)..end)],
            transitions: vec![],
        };
        agent.say(from_agent::Message::Breakers(report)).await;
    }
    let (before, closed) = until(&stage, async || {
        let (at, told) = breakers(&stage, None).await;
        told.breakers.first().is_some_and(|b| b.window.last().is_some_and(|c| c.at.0 == 29)).then_some((at, told))
    })
    .await;
    let seen: Vec<i64> = closed.breakers[0].window.iter().map(|c| c.at.0).collect();
    assert_eq!(seen, (20..30).collect::<Vec<_>>());
    assert_eq!(closed.breakers[0].rule, "50 % of ≥ 10 of the last 20 calls fail");
    let opened = v1::BreakerTransition {
        service: "payments".into(),
        operation: "pay.Payments/Charge".into(),
        at_unix_nanos: UnixNanos::now().0,
        from: v1::BreakerState::Closed.into(),
        to: v1::BreakerState::Open.into(),
        cause: "6 of 10 calls failed (60 % ≥ 50 %)".into(),
        window: window(25..35),
        revision: 1,
        by_mode: false,
    };
    let report =
        v1::BreakerReport { breakers: vec![status(v1::BreakerState::Open, 25..35)], transitions: vec![opened] };
    agent.say(from_agent::Message::Breakers(report)).await;
    let (_, open) = until(&stage, async || {
        let (at, told) = breakers(&stage, None).await;
        (!told.transitions.is_empty()).then_some((at, told))
    })
    .await;
    assert_eq!(open.breakers[0].state, BreakerState::Open);
    assert_eq!(open.transitions[0].window.len(), 10);
    assert_eq!(breakers(&stage, Some(before)).await.1, closed, "as of then it was closed");
    let range =
        TimeRange::ending(UnixNanos::now() + std::time::Duration::from_secs(1), std::time::Duration::from_secs(60));
    let Answer::Strip(strip) = stage.ask_at(Question::Strip { range, columns: 60 }, None).await.1 else {
        panic!("a strip")
    };
    let kinds: Vec<MarkKind> = strip.marks.iter().map(|m| m.kind).collect();
    assert!(kinds.contains(&MarkKind::BreakerOpened) && kinds.contains(&MarkKind::Revision), "{:?}", strip.marks);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_agents_get_a_change_and_each_word_is_written_down() {
    const AGENTS: usize = 300;
    let stage = Stage::start().await;
    let mut agents = Vec::new();
    for i in 0..AGENTS {
        let mut agent = FakeAgent::connect(&stage, "orders", &format!("orders-{i}")).await;
        agent.next_overrides().await;
        agents.push(agent);
    }
    assert_eq!(set_policy(&stage, 0, 500).await.targeted as usize, AGENTS);
    let obeying: Vec<_> = agents
        .into_iter()
        .map(|mut agent| {
            tokio::spawn(async move {
                agent.obey().await;
                agent
            })
        })
        .collect();
    let applied =
        until(&stage, async || changes(&stage).await.revisions.into_iter().find(|c| c.state == ChangeState::Applied))
            .await;
    assert_eq!((applied.targeted as usize, applied.acknowledgements.len()), (AGENTS, AGENTS));
    println!("figure acknowledgement_p99 = {:.1} ms with {AGENTS} agents", applied.p99_ms().unwrap_or_default());
    let audit = audit(&stage).await;
    assert_eq!(audit.broken_at, None);
    assert_eq!(audit_actions(&audit).iter().filter(|a| **a == "agent.applied").count(), AGENTS);
    for agent in obeying {
        agent.await.expect("it lives");
    }
    stage.stop().await;
}
