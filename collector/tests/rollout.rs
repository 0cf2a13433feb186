//! Staged delivery over real streams: who is given a change, what the guards make of real spans, and how it is taken back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::change::{ChangeState, Changes};
use fuseboard_api::command::{Action, Receipt};
use fuseboard_api::rollout::{Against, Delivery, Measure, Rollout, RolloutState, Stage as Step, Verdict};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_util::sync::CancellationToken;

use crate::agent::{FakeAgent, audit, audit_actions, changes, command, document, fleet, set_policy, until};
use crate::common::{CLIENT, Stage, With as _, kv, request, span};

/// A long time: what is meant not to happen within a test.
const LONG: u64 = 3_600_000;

fn plan(stages: &[(f64, u64)]) -> Delivery {
    let stages = stages.iter().map(|(share, bake_ms)| Step { share: *share, bake_ms: *bake_ms }).collect();
    Delivery { stages, min_samples: 100, ..Delivery::default() }
}

async fn publish(stage: &Stage, base: u64, delivery: Delivery) -> Receipt {
    let action = Action::SetPolicy { base, document: document(700 + base), delivery };
    command(stage, action).await.expect("a valid change")
}

/// Agents of one service that obey whatever they are given, until the test is over.
struct Crew {
    stop: CancellationToken,
    running: Vec<(String, Arc<AtomicU64>)>,
}

impl Crew {
    async fn of(stage: &Stage, service: &str, n: usize) -> Self {
        let stop = CancellationToken::new();
        let mut running = Vec::new();
        for i in 0..n {
            let instance = format!("{service}-{i}");
            let mut agent = FakeAgent::connect(stage, service, &instance).await;
            agent.tell().await;
            let runs = Arc::new(AtomicU64::new(0));
            running.push((instance, runs.clone()));
            let stop = stop.clone();
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = agent.obey() => runs.store(agent.status.running, Ordering::SeqCst),
                    }
                }
            });
        }
        until(stage, async || {
            let members = fleet(stage).await.members;
            (members.iter().filter(|m| m.connected == Some(true)).count() >= n).then_some(())
        })
        .await;
        Self { stop, running }
    }

    fn with(&self, revision: u64) -> Vec<&str> {
        let runs = self.running.iter().filter(|(_, r)| r.load(Ordering::SeqCst) == revision);
        runs.map(|(name, _)| name.as_str()).collect()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A call of orders, told by its agent.
fn call(failed: bool) -> Span {
    static IDS: AtomicU64 = AtomicU64::new(1);
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    let span = Span {
        trace_id: u128::from(id).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        ..span(1, 1, 0, CLIENT, "Charge")
    };
    let span = span.with("resilience.operation", "pay.Pay/Charge").with("resilience.peer", "payments");
    let span = span.with("service.peer.name", "payments");
    if failed { span.failed("deadline exceeded") } else { span }
}

/// Sends calls of every instance, over and over, while the test waits; those of instances that run `bad` fail.
async fn traffic<T>(stage: &Stage, crew: &Crew, bad: u64, waited: impl Future<Output = T>) -> T {
    let sending = async {
        loop {
            for (instance, runs) in &crew.running {
                let failed = runs.load(Ordering::SeqCst) == bad;
                let mut told = request("orders", (0..40).map(|_| call(failed)).collect());
                for resource in told.resource_spans.iter_mut().filter_map(|r| r.resource.as_mut()) {
                    resource.attributes.retain(|a| a.key != "service.instance.id");
                    resource.attributes.push(kv("service.instance.id", instance.as_str()));
                }
                stage.send(told).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = sending => unreachable!("it sends for ever"),
        found = waited => found,
    }
}

fn rollout_of(changes: &Changes, revision: u64) -> Option<&Rollout> {
    changes.revisions.iter().find(|c| c.id == revision)?.rollout.as_ref()
}

async fn reaches(stage: &Stage, revision: u64, state: RolloutState) -> Rollout {
    until(stage, async || rollout_of(&changes(stage).await, revision).filter(|r| r.state == state).cloned()).await
}

/// Until so many of the crew run a revision.
async fn run_it(stage: &Stage, crew: &Crew, revision: u64, n: usize) {
    until(stage, async || {
        let members = fleet(stage).await.members;
        let told = members.iter().filter(|m| m.running == revision).count();
        (told == n && crew.with(revision).len() == n).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_change_is_found_in_its_first_stage_and_taken_back_from_everyone() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let crew = Crew::of(&stage, "orders", 4).await;
    run_it(&stage, &crew, 1, 4).await;
    let receipt = publish(&stage, 1, plan(&[(0.25, LONG), (1.0, LONG)])).await;
    assert_eq!((receipt.revision, receipt.targeted), (Some(2), 1));
    run_it(&stage, &crew, 2, 1).await;
    let during = changes(&stage).await;
    assert_eq!(during.revisions[0].state, ChangeState::Rolling);
    assert_eq!(during.rollout().map(|r| r.revision), Some(2));
    let before = UnixNanos::now();
    let reverted = traffic(&stage, &crew, 2, reaches(&stage, 2, RolloutState::Reverted)).await;
    let failing = reverted.readings.iter().find(|r| r.verdict == Verdict::Fails).expect("a guard failed");
    assert_eq!((failing.guard.measure, failing.against), (Measure::Errors, Against::Others));
    assert!(failing.changed > 0.9 && failing.control == 0.0 && failing.changed_calls >= 100, "{failing:?}");
    assert!(reverted.why.contains("errors 100.0 %"), "{}", reverted.why);
    run_it(&stage, &crew, 1, 4).await;
    let after = changes(&stage).await;
    assert_eq!(after.revisions[0].state, ChangeState::Reverted);
    assert_eq!(after.revisions[1].ended, None, "r1 is in force as before");
    assert_eq!(after.rollout(), None);
    let told = audit(&stage).await;
    let actions = audit_actions(&told);
    assert!(actions.contains(&"rollout.stage") && actions.contains(&"rollout.reverted"), "{actions:?}");
    assert_eq!(told.broken_at, None);
    // Nobody is given it again, and the next change is a new number.
    let mut late = FakeAgent::connect(&stage, "orders", "orders-late").await;
    assert_eq!(late.next_policy().await.revision, 1);
    assert_eq!(set_policy(&stage, 1, 800).await.revision, Some(3));
    // As of then it was still rolled out: the replay says so.
    let (_, answer) =
        stage.ask_at(fuseboard_api::ask::Question::Changes { range: crate::common::EVER }, Some(before)).await;
    let fuseboard_api::ask::Answer::Changes(then) = answer else { panic!("changes") };
    assert_eq!(then.rollout().map(|r| (r.revision, r.state)), Some((2, RolloutState::Baking)));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_change_goes_through_its_stages_to_everyone() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let crew = Crew::of(&stage, "orders", 4).await;
    run_it(&stage, &crew, 1, 4).await;
    // What calls before the change look like, for the stage in which nobody is left without it.
    let warm = until(&stage, async || (stage.totals().await.spans >= 400).then_some(()));
    traffic(&stage, &crew, 99, warm).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    publish(&stage, 1, plan(&[(0.25, 300), (0.5, 300), (1.0, 300)])).await;
    let refused = command(&stage, Action::set_policy(1, document(900))).await.expect_err("one at a time");
    assert_eq!(refused.code, "conflict");
    assert!(refused.message.contains("revision 2 is being rolled out"), "{}", refused.message);
    let done = traffic(&stage, &crew, 99, reaches(&stage, 2, RolloutState::Done)).await;
    assert_eq!(done.stage, 2);
    assert_eq!(crew.with(2).len(), 4);
    let stages: Vec<String> = audit(&stage)
        .await
        .entries
        .into_iter()
        .rev()
        .filter(|e| e.action == "rollout.stage")
        .map(|e| e.detail)
        .collect();
    assert_eq!(
        stages,
        [
            "stage 1 of 3: 25 % of the instances: orders 1/4",
            "stage 2 of 3: 50 % of the instances: orders 2/4",
            "stage 3 of 3: 100 % of the instances: orders 4/4"
        ]
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_calls_it_holds_and_says_so_until_somebody_promotes_or_aborts_it() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let crew = Crew::of(&stage, "orders", 2).await;
    run_it(&stage, &crew, 1, 2).await;
    publish(&stage, 1, plan(&[(0.1, 1), (1.0, 1)])).await;
    run_it(&stage, &crew, 2, 1).await;
    let holding = until(&stage, async || {
        let now = changes(&stage).await;
        rollout_of(&now, 2).filter(|r| r.state == RolloutState::Holding && r.why.contains("too few")).cloned()
    })
    .await;
    let [group] = holding.groups.as_slice() else { panic!("one service, not {:?}", holding.groups) };
    assert_eq!((group.changed.len(), group.others.len(), &group.running), (1, 1, &group.changed));
    command(&stage, Action::PauseRollout { revision: 2 }).await.expect("it runs");
    assert_eq!(reaches(&stage, 2, RolloutState::Paused).await.stage, 0);
    let wrong = command(&stage, Action::AbortRollout { revision: 7 }).await.expect_err("another");
    assert_eq!(wrong.code, "not_found");
    command(&stage, Action::PromoteRollout { revision: 2, force: false }).await.expect("no guard fails");
    run_it(&stage, &crew, 2, 2).await;
    command(&stage, Action::AbortRollout { revision: 2 }).await.expect("it runs");
    run_it(&stage, &crew, 1, 2).await;
    assert_eq!(reaches(&stage, 2, RolloutState::Aborted).await.why, "a test");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_changes_are_turned_off_it_holds_though_its_guards_pass_and_can_only_be_taken_back() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let crew = Crew::of(&stage, "orders", 2).await;
    run_it(&stage, &crew, 1, 2).await;
    publish(&stage, 1, plan(&[(0.5, 1), (1.0, LONG)])).await;
    run_it(&stage, &crew, 2, 1).await;
    command(&stage, Action::SetReadOnly { on: true }).await.expect("fine");
    let held = until(&stage, async || {
        let now = changes(&stage).await;
        let passes = |r: &&Rollout| !r.readings.is_empty() && r.readings.iter().all(|r| r.verdict == Verdict::Passes);
        rollout_of(&now, 2).filter(passes).cloned()
    });
    let held = traffic(&stage, &crew, 99, held).await;
    assert_eq!((held.state, held.stage), (RolloutState::Holding, 0), "{held:?}");
    assert!(held.why.contains("no changes are taken: ann turned them off, because: a test"), "{}", held.why);
    let refused = command(&stage, Action::PromoteRollout { revision: 2, force: true }).await.expect_err("a change");
    assert_eq!(refused.code, "read_only");
    command(&stage, Action::SetReadOnly { on: false }).await.expect("fine");
    let next = until(&stage, async || rollout_of(&changes(&stage).await, 2).filter(|r| r.stage == 1).cloned());
    traffic(&stage, &crew, 99, next).await;
    command(&stage, Action::SetReadOnly { on: true }).await.expect("fine");
    command(&stage, Action::AbortRollout { revision: 2 }).await.expect("it takes a change back");
    run_it(&stage, &crew, 1, 2).await;
    reaches(&stage, 2, RolloutState::Aborted).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_the_same_instances_in_the_same_stage() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let crew = Crew::of(&stage, "orders", 5).await;
    run_it(&stage, &crew, 1, 5).await;
    publish(&stage, 1, plan(&[(0.4, LONG), (1.0, LONG)])).await;
    run_it(&stage, &crew, 2, 2).await;
    let had: BTreeSet<String> = crew.with(2).into_iter().map(str::to_owned).collect();
    let since = reaches(&stage, 2, RolloutState::Baking).await.since;
    drop(crew);
    let stage = Stage::over(stage.stop().await).await;
    let crew = Crew::of(&stage, "orders", 5).await;
    run_it(&stage, &crew, 2, 2).await;
    let has: BTreeSet<String> = crew.with(2).into_iter().map(str::to_owned).collect();
    assert_eq!(has, had);
    assert_eq!(reaches(&stage, 2, RolloutState::Baking).await.since, since, "its time counts on");
    // To go back to what the others have is to abort it; no revision is made.
    let back = command(&stage, Action::rollback(1)).await.expect("there is a revision 1");
    assert_eq!(back.revision, Some(1));
    run_it(&stage, &crew, 1, 5).await;
    reaches(&stage, 2, RolloutState::Aborted).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unconfirmed_change_lapses_and_a_confirmed_one_stays() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let mut agent = FakeAgent::connect(&stage, "orders", "orders-1").await;
    assert_eq!(agent.next_policy().await.confirm_within_ms, 0);
    agent.next_overrides().await;
    let within = |ms| Delivery { confirm_within_ms: Some(ms), ..Delivery::default() };
    publish(&stage, 1, within(60_000)).await;
    let given = agent.next_policy().await;
    assert!(given.revision == 2 && (1..=60_000).contains(&given.confirm_within_ms), "{}", given.confirm_within_ms);
    assert_eq!(reaches(&stage, 2, RolloutState::Confirming).await.stage, 0);
    command(&stage, Action::ConfirmRevision { revision: 2 }).await.expect("in time");
    let again = agent.next_policy().await;
    assert_eq!((again.revision, again.confirm_within_ms), (2, 0));
    reaches(&stage, 2, RolloutState::Done).await;
    let twice = command(&stage, Action::ConfirmRevision { revision: 2 }).await.expect_err("once is enough");
    assert_eq!(twice.code, "conflict");
    publish(&stage, 2, within(1_000)).await;
    assert_eq!(agent.next_policy().await.revision, 3);
    assert_eq!(agent.next_policy().await.revision, 2, "given back when the time is over");
    reaches(&stage, 3, RolloutState::Lapsed).await;
    agent.status.running = 2;
    agent.status.reverted_from = 3;
    agent.status.since_unix_nanos = 77;
    agent.tell().await;
    agent.tell().await;
    let member =
        until(&stage, async || fleet(&stage).await.members.into_iter().find(|m| m.reverted_from == Some(3))).await;
    assert_eq!((member.since_running, member.desired), (Some(UnixNanos(77)), 2));
    until(&stage, async || audit_actions(&audit(&stage).await).contains(&"agent.reverted").then_some(())).await;
    let late = command(&stage, Action::ConfirmRevision { revision: 3 }).await.expect_err("too late");
    assert_eq!(late.code, "conflict");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_cannot_be_kept_are_refused_and_nothing_is_written() {
    let stage = Stage::start().await;
    let first = Action::SetPolicy { base: 0, document: document(1), delivery: plan(&[(0.5, 1), (1.0, 1)]) };
    let refused = command(&stage, first).await.expect_err("nothing to go back to");
    assert!(refused.message.contains("nothing to go back to"), "{}", refused.message);
    set_policy(&stage, 0, 500).await;
    let shrinking = Action::SetPolicy { base: 1, document: document(1), delivery: plan(&[(0.5, 1), (0.4, 1)]) };
    assert_eq!(command(&stage, shrinking).await.expect_err("stages grow").code, "bad_request");
    assert_eq!(changes(&stage).await.revisions.len(), 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_differ_without_a_reason_are_told() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let mut agents = Vec::new();
    for (i, hash) in [1_u8, 1, 2].into_iter().enumerate() {
        let mut agent = FakeAgent::connect(&stage, "orders", &format!("orders-{i}")).await;
        agent.status.effective_hash = vec![hash; 16];
        agent.obey().await;
        agents.push(agent);
    }
    let drift = until(&stage, async || fleet(&stage).await.drift.into_iter().find(|d| d.of == 3)).await;
    assert_eq!((drift.instances.as_slice(), drift.revision), ([String::from("orders-2")].as_slice(), 1));
    assert!(drift.text.starts_with("1 of 3 instances of orders at r1"), "{}", drift.text);
    stage.stop().await;
}
