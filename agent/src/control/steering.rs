//! The policy and the overrides that this instance obeys, and what became of those that it was sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::overrides::Override;
use fuseboard_policy::set::{PolicySet, hash_all};
use fuseboard_policy::wire::v1;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::disk::Saved;
use super::standing::{Asked, Moment, Policies, Wanted};
use crate::bounds::{Bounds, MOST_REFUSED};
use crate::edges::Edges;
use crate::rules::{self, Rules};

/// Longest reason of a refusal that is told, in characters.
const LONGEST_REASON: usize = 4_000;

/// Everything that steers an agent. Changes are rare; calls never come here.
pub(crate) struct Steering {
    caller: Arc<str>,
    instance: Arc<str>,
    bounds: Bounds,
    /// Held while what is in force changes: changes follow one another. Nothing that calls or telling wait for takes it.
    turn: Mutex<()>,
    /// Never held for long.
    held: Mutex<Held>,
    /// Something changed that the collector, the disk or the ticker should know of.
    pub(crate) changed: Notify,
    /// The same, for the ticker.
    pub(crate) due: Notify,
}

struct Held {
    policies: Policies,
    attempted: u64,
    last_failed: Option<v1::Failure>,
    generation: u64,
    active: Vec<Active>,
    refused: Vec<v1::RefusedOverride>,
}

struct Active {
    one: Override,
    until: Instant,
}

impl Held {
    fn rules(&self) -> Arc<Rules> {
        let overrides = self.active.iter().map(|a| a.one.clone()).collect();
        Arc::new(Rules { set: self.policies.in_force().clone(), overrides })
    }
}

impl Steering {
    /// Begins with the default policy, which is checked.
    pub(crate) fn new(caller: Arc<str>, instance: Arc<str>, default: &PolicyDocument, bounds: Bounds) -> Self {
        let held = Held {
            policies: Policies::new(PolicySet::new(0, default), Moment::now()),
            attempted: 0,
            last_failed: None,
            generation: 0,
            active: Vec::new(),
            refused: Vec::new(),
        };
        let (turn, held) = (Mutex::new(()), Mutex::new(held));
        Self { caller, instance, bounds, turn, held, changed: Notify::new(), due: Notify::new() }
    }

    /// What is in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.lock().rules()
    }

    /// Takes up what was kept over a restart. Of an override and of a trial, the earlier end counts: what was left of it when
    /// it was kept, or its end on the wall clock.
    pub(crate) fn restore(&self, saved: Saved) {
        let now = Moment::now();
        let trial = saved.trial.and_then(|trial| trial.resumed(now));
        for policy in saved.policy.into_iter().chain(trial) {
            self.take_policy(policy, now);
        }
        let mut overrides = saved.overrides.unwrap_or_default();
        for one in &mut overrides.overrides {
            let end = Duration::from_nanos(u64::try_from(one.expires_unix_nanos).unwrap_or(0));
            let left = u64::try_from(end.saturating_sub(now.wall).as_millis()).unwrap_or(u64::MAX);
            one.remaining_ms = one.remaining_ms.min(left);
        }
        let mut held = self.lock();
        held.policies.remember(&saved.reverted);
        self.take_overrides(&mut held, overrides);
    }

    /// The collector sent a policy: in force at once, or refused with a reason.
    pub(crate) fn apply_policy(&self, policy: v1::Policy, edges: &Edges) {
        let (_turn, now) = (self.turn(), Moment::now());
        // Not left to the ticker, whose turn may be late.
        let lapsed = lapse(&mut self.lock(), now);
        if self.take_policy(policy, now) || lapsed {
            edges.change(&self.rules());
        }
        self.tell();
    }

    /// The collector sent the overrides meant for this instance; they replace all earlier ones.
    pub(crate) fn apply_overrides(&self, overrides: v1::Overrides, edges: &Edges) {
        let _turn = self.turn();
        self.take_overrides(&mut self.lock(), overrides);
        edges.change(&self.rules());
        self.tell();
    }

    /// Ends the overrides whose time has come, and a trial that nobody confirmed.
    pub(crate) fn expire(&self, edges: &Edges) {
        let (_turn, now) = (self.turn(), Moment::now());
        let over = {
            let mut held = self.lock();
            let before = held.active.len();
            held.active.retain(|active| active.until > now.at);
            lapse(&mut held, now) || held.active.len() != before
        };
        if over {
            edges.change(&self.rules());
            self.changed.notify_one();
        }
    }

    /// When the next override or the trial ends.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let held = self.lock();
        held.active.iter().map(|active| active.until).chain(held.policies.trial_ends()).min()
    }

    /// What the agent tells the collector of itself.
    pub(crate) fn status(&self, edges: &Edges, dropped: u64) -> v1::Status {
        let hash = effective_hash(edges);
        let held = self.lock();
        v1::Status {
            running: held.policies.in_force().revision(),
            attempted: held.attempted,
            last_failed: held.last_failed.clone(),
            reverted_from: held.policies.reverted_from(),
            effective_hash: hash.to_vec(),
            overrides_generation: held.generation,
            overrides: held.active.iter().map(|active| active.one.id).collect(),
            refused_overrides: held.refused.clone(),
            dropped,
            since_unix_nanos: held.policies.since(),
        }
    }

    /// What is worth keeping over a restart.
    pub(crate) fn to_save(&self) -> Saved {
        let (held, now) = (self.lock(), Moment::now());
        let overrides = held.active.iter().map(|active| {
            let left = active.until.saturating_duration_since(now.at);
            let mut one = active.one.clone();
            one.remaining_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            v1::Override::from(&one)
        });
        let overrides = v1::Overrides { generation: held.generation, overrides: overrides.collect() };
        let (policy, trial, reverted) = held.policies.kept(now);
        Saved { policy, overrides: Some(overrides), trial, reverted }
    }

    /// Whether other settings are in force now.
    fn take_policy(&self, policy: v1::Policy, now: Moment) -> bool {
        let revision = policy.revision;
        let asked = {
            let mut held = self.lock();
            held.attempted = revision;
            held.policies.ask(&policy, now)
        };
        let taken = asked.and_then(|asked| match asked {
            Asked::Nothing | Asked::Word => Ok(false),
            Asked::Back => Ok(true),
            Asked::Other => {
                let set = self.read_policy(&policy)?;
                self.lock().policies.take(Wanted { message: policy, set }, now);
                Ok(true)
            }
        });
        taken.unwrap_or_else(|reason| {
            tracing::warn!(revision, %reason, "refused a policy; the last good one stays in force");
            self.lock().last_failed = Some(v1::Failure { revision, reason: shortened(reason) });
            false
        })
    }

    fn read_policy(&self, policy: &v1::Policy) -> Result<PolicySet, String> {
        let document = PolicyDocument::try_from(policy.clone()).map_err(|problems| rules::one_line(&problems))?;
        self.bounds.check_policy(&document)?;
        Ok(PolicySet::new(policy.revision, &document))
    }

    fn take_overrides(&self, held: &mut Held, overrides: v1::Overrides) {
        let now = Instant::now();
        held.generation = overrides.generation;
        held.active.clear();
        // Meant for somebody else, they count for nothing here.
        let mine = overrides.overrides.into_iter().filter(|one| self.is_meant(one.selector.as_ref()));
        let (taken, refused) = self.bounds.few_and_short(mine.collect());
        held.refused = refused;
        for message in taken {
            let id = message.id;
            let read = Override::try_from(message).map_err(|e| e.to_string());
            match read.and_then(|one| self.bounds.check_override(&one).map(|()| one)) {
                Err(reason) if held.refused.len() < MOST_REFUSED => {
                    held.refused.push(v1::RefusedOverride { id, reason });
                }
                Ok(one) if one.remaining_ms > 0 => {
                    held.active.push(Active { until: now + Duration::from_millis(one.remaining_ms), one });
                }
                // Over already, or one refusal too many to tell.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn is_meant(&self, selector: Option<&v1::Selector>) -> bool {
        let fits = |want: &Option<String>, have: &str| want.as_deref().is_none_or(|w| w == have);
        selector.is_none_or(|s| fits(&s.caller, &self.caller) && fits(&s.instance, &self.instance))
    }

    fn tell(&self) {
        self.changed.notify_one();
        self.due.notify_one();
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A policy may have as many problems as rules: enough of them to know what to mend.
fn shortened(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(LONGEST_REASON) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

/// Whether a trial is over without its confirmation, so that the last confirmed policy is in force again.
fn lapse(held: &mut Held, now: Moment) -> bool {
    let Some(from) = held.policies.lapse(now) else { return false };
    let to = held.policies.in_force().revision();
    tracing::warn!(from, to, "nobody confirmed the policy in time; the last confirmed one is in force again");
    true
}

/// Over what is in force on each edge, overrides included.
fn effective_hash(edges: &Edges) -> [u8; 16] {
    let mut all: Vec<_> =
        edges.list().iter().map(|e| (format!("{}/{}", e.service, e.operation), e.in_force().hash)).collect();
    all.sort_unstable();
    all.extend(edges.own_hash().map(|hash| ("service".to_owned(), hash)));
    hash_all(all.iter().flat_map(|(name, hash)| [name.as_bytes(), hash.as_slice()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use fuseboard_policy::overrides::{OverrideAction, Selector};
    use fuseboard_policy::settings::BreakerMode;
    use fuseboard_policy::wire;
    use std::time::{SystemTime, UNIX_EPOCH};

    fn steering() -> (Steering, Edges) {
        let steering = Steering::new("orders".into(), "orders-1".into(), &PolicyDocument::default(), Bounds::default());
        let edges = Edges::new("orders".into(), "orders-1".into(), Clock::start(), 8, steering.rules());
        (steering, edges)
    }

    fn policy(revision: u64, text: &str) -> v1::Policy {
        wire::policy(revision, &PolicyDocument::parse(text).unwrap())
    }

    fn forced_open(id: u64, remaining_ms: u64, expires_unix_nanos: i64) -> v1::Override {
        let selector = Selector { service: Some("payments".into()), ..Selector::default() };
        let action = OverrideAction::Mode(BreakerMode::ForcedOpen);
        let (actor, reason) = (String::from("ann"), String::from("drill"));
        v1::Override::from(&Override { id, selector, action, remaining_ms, expires_unix_nanos, actor, reason })
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_policy_leaves_the_last_good_one_in_force() {
        let (steering, edges) = steering();
        steering.apply_policy(policy(3, "[[edge]]\nservice = \"*\"\ntimeout = { attempt_ms = 5 }\n"), &edges);
        steering.apply_policy(policy(4, "[[edge]]\nservice = \"*\"\ntimeout = { attempt_ms = 700000 }\n"), &edges);
        let status = steering.status(&edges, 0);
        assert_eq!((status.running, status.attempted), (3, 4));
        let failure = status.last_failed.unwrap();
        assert_eq!(failure.revision, 4);
        assert!(failure.reason.contains("700000"), "{}", failure.reason);
        let edge = edges.get(&"payments".into(), &"Pay/Charge".into());
        assert_eq!(edge.in_force().settings.timeout.as_ref().unwrap().attempt_ms, Some(5));
    }

    #[tokio::test(start_paused = true)]
    async fn an_override_ends_by_itself() {
        let (steering, edges) = steering();
        let edge = edges.get(&"payments".into(), &"Pay/Charge".into());
        steering.apply_overrides(v1::Overrides { generation: 9, overrides: vec![forced_open(7, 1000, 0)] }, &edges);
        assert_eq!(edge.engine().breaker().state_name(), "forced_open");
        let status = steering.status(&edges, 0);
        assert_eq!((status.overrides_generation, status.overrides), (9, vec![7]));
        tokio::time::advance(Duration::from_millis(999)).await;
        steering.expire(&edges);
        assert_eq!(edge.engine().breaker().state_name(), "forced_open");
        tokio::time::advance(Duration::from_millis(1)).await;
        steering.expire(&edges);
        assert_eq!(edge.engine().breaker().state_name(), "closed");
        assert!(steering.status(&edges, 0).overrides.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_restart_the_earlier_end_of_an_override_counts() {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = |s: i64| i64::try_from(wall.as_nanos()).unwrap() + s * 1_000_000_000;
        let overrides =
            vec![forced_open(1, 60_000, at(600)), forced_open(2, 600_000, at(30)), forced_open(3, 600_000, at(-1))];
        let (steering, _) = steering();
        let overrides = Some(v1::Overrides { generation: 4, overrides });
        steering.restore(Saved { overrides, ..Saved::default() });
        let left = |id: u64| {
            let held = steering.lock();
            held.active.iter().find(|a| a.one.id == id).map(|a| a.until - Instant::now())
        };
        assert_eq!(left(1), Some(Duration::from_secs(60)));
        assert!(left(2).is_some_and(|l| l <= Duration::from_secs(30) && l > Duration::from_secs(20)));
        assert_eq!(left(3), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_override_that_makes_no_sense_is_refused_by_its_number() {
        let (steering, edges) = steering();
        let mut bad = forced_open(5, 1000, 0);
        bad.action = Some(v1::r#override::Action::Timeout(v1::Timeout { attempt_ms: Some(0), overall_ms: None }));
        let mut other = forced_open(6, 1000, 0);
        other.selector.as_mut().unwrap().instance = Some(String::from("orders-2"));
        steering.apply_overrides(v1::Overrides { generation: 1, overrides: vec![bad, other] }, &edges);
        let status = steering.status(&edges, 0);
        assert!(status.overrides.is_empty());
        assert_eq!(status.refused_overrides.iter().map(|r| r.id).collect::<Vec<_>>(), [5]);
    }

    fn attempt_ms(edges: &Edges) -> Option<u64> {
        let edge = edges.get(&"payments".into(), &"Pay/Charge".into());
        edge.in_force().settings.timeout.as_ref().and_then(|timeout| timeout.attempt_ms)
    }

    fn on_trial(revision: u64, ms: u64, confirm_within_ms: u64) -> v1::Policy {
        let text = format!("[[edge]]\nservice = \"*\"\ntimeout = {{ attempt_ms = {ms} }}\n");
        v1::Policy { confirm_within_ms, ..policy(revision, &text) }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unconfirmed_policy_goes_back_and_a_restart_does_not_save_it() {
        let (steering, edges) = steering();
        steering.apply_policy(on_trial(3, 30, 0), &edges);
        steering.apply_policy(on_trial(4, 40, 5_000), &edges);
        assert_eq!(
            (attempt_ms(&edges), steering.next_expiry()),
            (Some(40), Some(Instant::now() + Duration::from_secs(5)))
        );
        tokio::time::advance(Duration::from_secs(2)).await;
        let kept = steering.to_save();

        let (again, same_edges) = self::steering();
        again.restore(kept);
        same_edges.change(&again.rules());
        assert_eq!((attempt_ms(&same_edges), again.status(&same_edges, 0).running), (Some(40), 4));
        // Time on the wall clock goes on while the test's stands still.
        assert!(again.next_expiry().is_some_and(|end| end <= Instant::now() + Duration::from_secs(3)));
        for (steering, edges) in [(&steering, &edges), (&again, &same_edges)] {
            tokio::time::advance(Duration::from_secs(3)).await;
            steering.expire(edges);
            let status = steering.status(edges, 0);
            assert_eq!((attempt_ms(edges), status.running, status.reverted_from), (Some(30), 3, 4));
            assert!(status.since_unix_nanos > 0 && steering.next_expiry().is_none());
        }
        let (third, _) = self::steering();
        third.restore(again.to_save());
        third.apply_policy(on_trial(4, 40, 5_000), &edges);
        assert_eq!(third.status(&edges, 0).running, 3, "it is not taken again, also after a restart");
        third.apply_policy(on_trial(4, 40, 0), &edges);
        assert_eq!(third.status(&edges, 0).running, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_policy_leaves_a_trial_running_to_its_end() {
        let (steering, edges) = steering();
        steering.apply_policy(on_trial(4, 40, 5_000), &edges);
        steering.apply_policy(on_trial(5, 700_000, 0), &edges);
        assert_eq!(steering.status(&edges, 0).running, 4);
        tokio::time::advance(Duration::from_secs(5)).await;
        steering.apply_policy(on_trial(5, 700_000, 0), &edges);
        let status = steering.status(&edges, 0);
        assert_eq!((attempt_ms(&edges), status.running, status.attempted, status.reverted_from), (None, 0, 5, 4));
    }
}
