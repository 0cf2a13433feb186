//! Which policy is in force, and which one comes back when a change is not confirmed in time. Told the time; waits for
//! nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuseboard_policy::set::PolicySet;
use fuseboard_policy::wire::v1;
use tokio::time::Instant;

/// Reverted revisions that are remembered; older ones are forgotten.
const REVERTED: usize = 16;
/// Longest time that a change may wait for its confirmation.
const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 3600);

/// An instant on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// What runs while this process does.
    pub(super) at: Instant,
    /// Since 1970; goes on over restarts, but may be set.
    pub(super) wall: Duration,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    fn unix_nanos(self) -> i64 {
        i64::try_from(self.wall.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// One policy: as it came, and ready to be asked.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// `None` for the default. Without its time to confirm.
    message: Option<v1::Policy>,
    set: PolicySet,
}

/// A policy in force that waits for its confirmation.
#[derive(Debug)]
struct Trial {
    standing: Standing,
    until: Instant,
    /// The same end on the wall clock, since 1970.
    until_wall: Duration,
}

/// What the collector wants, read and checked.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) message: v1::Policy,
    pub(super) set: PolicySet,
}

/// What a message with a policy asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing new: it is in force as it is, or was reverted here and is not confirmed.
    Nothing,
    /// Only its confirmation, or a shorter time until it; what is in force stays.
    Word,
    /// What was confirmed before, which is in force again.
    Back,
    /// Another policy, to be read and [taken](Policies::take).
    Other,
}

/// What is kept of a trial over a restart. The earlier of both ends counts.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KeptTrial {
    /// The policy on trial.
    #[prost(message, optional, tag = "1")]
    pub(crate) policy: Option<v1::Policy>,
    /// What was left when this was kept, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub(crate) remaining_ms: u64,
    /// The end on the wall clock, in nanoseconds since 1970.
    #[prost(int64, tag = "3")]
    pub(crate) until_unix_nanos: i64,
}

/// The policies of an agent.
///
/// A policy that need not be confirmed is in force for good. One with a time to confirm is in force at once, on trial: unless
/// it comes again with 0 in that time, the last one that was confirmed comes back. While it is on trial:
/// - the same revision with another time: the earlier end counts, so that sending it again never makes a trial longer;
/// - another revision: takes its place, and what would come back stays the same;
/// - the revision that would come back, with or without a time: comes back now. What was confirmed stays so.
///
/// A revision that was reverted here is taken again only with 0.
#[derive(Debug)]
pub(super) struct Policies {
    confirmed: Standing,
    trial: Option<Trial>,
    /// Newest last.
    reverted: Vec<u64>,
    since: i64,
}

impl Policies {
    /// The default is in force.
    pub(super) fn new(default: PolicySet, now: Moment) -> Self {
        let confirmed = Standing { message: None, set: default };
        Self { confirmed, trial: None, reverted: Vec::new(), since: now.unix_nanos() }
    }

    fn standing(&self) -> &Standing {
        self.trial.as_ref().map_or(&self.confirmed, |trial| &trial.standing)
    }

    /// What is in force.
    pub(super) fn in_force(&self) -> &PolicySet {
        &self.standing().set
    }

    /// Since when, in nanoseconds since 1970; after a restart, since then.
    pub(super) fn since(&self) -> i64 {
        self.since
    }

    /// The revision that was reverted last, or was asked for last after it had been; 0 none.
    pub(super) fn reverted_from(&self) -> u64 {
        self.reverted.last().copied().unwrap_or(0)
    }

    /// When the trial ends.
    pub(super) fn trial_ends(&self) -> Option<Instant> {
        self.trial.as_ref().map(|trial| trial.until)
    }

    /// What is kept over a restart: the last confirmed policy (`None`: the default), the trial, and what was reverted.
    pub(super) fn kept(&self, now: Moment) -> (Option<v1::Policy>, Option<KeptTrial>, Vec<u64>) {
        let trial = self.trial.as_ref().map(|trial| KeptTrial {
            policy: trial.standing.message.clone(),
            remaining_ms: millis(trial.until.saturating_duration_since(now.at)),
            until_unix_nanos: i64::try_from(trial.until_wall.as_nanos()).unwrap_or(i64::MAX),
        });
        (self.confirmed.message.clone(), trial, self.reverted.clone())
    }

    /// Takes up what was reverted before a restart.
    pub(super) fn remember(&mut self, reverted: &[u64]) {
        self.reverted = reverted.iter().rev().take(REVERTED).rev().copied().collect();
    }

    /// What a message asks for; all but another policy is done at once.
    ///
    /// # Errors
    /// A time to confirm that is too long to guard against anything.
    pub(super) fn ask(&mut self, message: &v1::Policy, now: Moment) -> Result<Asked, String> {
        let within = within(message)?;
        if let Some(at) = self.reverted.iter().position(|revision| *revision == message.revision) {
            let revision = self.reverted.remove(at);
            if within.is_some() {
                self.reverted.push(revision);
                return Ok(Asked::Nothing);
            }
        }
        let same = |standing: &Standing| standing.message.as_ref().is_some_and(|m| equal(m, message));
        if let Some(trial) = self.trial.as_mut().filter(|trial| same(&trial.standing)) {
            match within {
                Some(within) => {
                    trial.until = trial.until.min(now.at + within);
                    trial.until_wall = trial.until_wall.min(now.wall + within);
                }
                None => self.confirmed = self.trial.take().map(|trial| trial.standing).unwrap_or_default(),
            }
            return Ok(Asked::Word);
        }
        if !same(&self.confirmed) {
            return Ok(Asked::Other);
        }
        if self.trial.take().is_none() {
            return Ok(Asked::Nothing);
        }
        self.since = now.unix_nanos();
        Ok(Asked::Back)
    }

    /// Puts a policy into force, on trial if it says so.
    pub(super) fn take(&mut self, wanted: Wanted, now: Moment) {
        let Wanted { mut message, set } = wanted;
        let within = within(&message).unwrap_or(Some(LONGEST_TRIAL));
        message.confirm_within_ms = 0;
        let standing = Standing { message: Some(message), set };
        match within {
            None => (self.confirmed, self.trial) = (standing, None),
            Some(within) => {
                // The same revision in other words does not begin anew.
                let before = self.trial.take().filter(|trial| trial.standing.set.revision() == standing.set.revision());
                let (until, until_wall) = (now.at + within, now.wall + within);
                let until = before.as_ref().map_or(until, |trial| trial.until.min(until));
                let until_wall = before.map_or(until_wall, |trial| trial.until_wall.min(until_wall));
                self.trial = Some(Trial { standing, until, until_wall });
            }
        }
        self.since = now.unix_nanos();
    }

    /// Goes back if the time to confirm is over; says from which revision.
    pub(super) fn lapse(&mut self, now: Moment) -> Option<u64> {
        let trial = self.trial.take_if(|trial| trial.until <= now.at)?;
        let revision = trial.standing.set.revision();
        self.reverted.retain(|before| *before != revision);
        self.reverted.push(revision);
        self.reverted.drain(..self.reverted.len().saturating_sub(REVERTED));
        self.since = now.unix_nanos();
        Some(revision)
    }
}

impl KeptTrial {
    /// The policy with the time that is left of it; a millisecond at least, as 0 would confirm it.
    pub(super) fn resumed(self, now: Moment) -> Option<v1::Policy> {
        let mut policy = self.policy?;
        let end = Duration::from_nanos(u64::try_from(self.until_unix_nanos).unwrap_or(0));
        let left = millis(end.saturating_sub(now.wall)).min(self.remaining_ms);
        policy.confirm_within_ms = left.clamp(1, millis(LONGEST_TRIAL));
        Some(policy)
    }
}

/// The time to confirm a policy; `None`: nothing to wait for.
fn within(message: &v1::Policy) -> Result<Option<Duration>, String> {
    let within = Duration::from_millis(message.confirm_within_ms);
    if within > LONGEST_TRIAL {
        let (ms, most) = (message.confirm_within_ms, LONGEST_TRIAL.as_millis());
        return Err(format!("confirm_within_ms: this agent takes 0 to {most} ms, not {ms}"));
    }
    Ok((!within.is_zero()).then_some(within))
}

/// Whether two messages say the same, apart from the time to confirm.
fn equal(a: &v1::Policy, b: &v1::Policy) -> bool {
    a.revision == b.revision && a.rules == b.rules && a.services == b.services
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment(ms: u64) -> Moment {
        // Only differences matter.
        thread_local!(static ZERO: Instant = Instant::now());
        Moment { at: ZERO.with(|zero| *zero) + Duration::from_millis(ms), wall: Duration::from_millis(ms) }
    }

    fn message(revision: u64, confirm_within_ms: u64) -> v1::Policy {
        v1::Policy { revision, confirm_within_ms, ..v1::Policy::default() }
    }

    fn new() -> Policies {
        Policies::new(PolicySet::default(), moment(0))
    }

    /// As the steering does it.
    fn send(policies: &mut Policies, revision: u64, within: u64, now: u64) -> Asked {
        policies.lapse(moment(now));
        let message = message(revision, within);
        let asked = policies.ask(&message, moment(now)).unwrap();
        if asked == Asked::Other {
            let set = PolicySet::new(revision, &Default::default());
            policies.take(Wanted { message, set }, moment(now));
        }
        asked
    }

    fn running(policies: &Policies) -> (u64, u64) {
        (policies.in_force().revision(), policies.reverted_from())
    }

    #[test]
    fn a_change_that_nobody_confirms_goes_back_at_its_time() {
        let mut policies = new();
        assert_eq!(send(&mut policies, 1, 0, 0), Asked::Other);
        assert_eq!(send(&mut policies, 2, 100, 10), Asked::Other);
        assert_eq!(policies.lapse(moment(109)), None);
        assert_eq!(running(&policies), (2, 0));
        assert_eq!(policies.lapse(moment(110)), Some(2));
        assert_eq!((running(&policies), policies.since()), ((1, 2), 110_000_000));
    }

    #[test]
    fn a_confirmed_change_stays_and_is_the_next_one_to_come_back() {
        let mut policies = new();
        send(&mut policies, 2, 100, 0);
        assert_eq!(send(&mut policies, 2, 0, 99), Asked::Word);
        assert_eq!((policies.lapse(moment(1_000)), policies.trial_ends()), (None, None));
        assert_eq!(send(&mut policies, 2, 50, 1_000), Asked::Nothing, "what was confirmed stays so");
        send(&mut policies, 3, 100, 1_000);
        assert_eq!((policies.lapse(moment(1_100)), running(&policies)), (Some(3), (2, 3)));
    }

    #[test]
    fn sent_again_a_trial_gets_shorter_but_never_longer() {
        let mut policies = new();
        send(&mut policies, 2, 100, 0);
        assert_eq!(send(&mut policies, 2, 100, 50), Asked::Word);
        assert_eq!(policies.trial_ends(), Some(moment(100).at));
        send(&mut policies, 2, 20, 50);
        assert_eq!((policies.lapse(moment(69)), policies.lapse(moment(70))), (None, Some(2)));
    }

    #[test]
    fn another_revision_takes_the_place_of_a_trial_and_the_way_back_stays() {
        let mut policies = new();
        send(&mut policies, 1, 0, 0);
        send(&mut policies, 2, 100, 0);
        send(&mut policies, 3, 100, 50);
        assert_eq!((policies.lapse(moment(149)), policies.lapse(moment(150))), (None, Some(3)));
        assert_eq!(running(&policies), (1, 3));
        send(&mut policies, 4, 100, 200);
        assert_eq!(send(&mut policies, 1, 10, 250), Asked::Back, "the way back was confirmed before");
        assert_eq!((running(&policies), policies.trial_ends()), ((1, 3), None));
    }

    #[test]
    fn a_reverted_revision_comes_back_only_when_it_is_confirmed() {
        let mut policies = new();
        for revision in [2, 3] {
            send(&mut policies, revision, 10, 0);
            policies.lapse(moment(10));
        }
        assert_eq!(running(&policies), (0, 3));
        assert_eq!(send(&mut policies, 2, 10, 20), Asked::Nothing);
        assert_eq!(running(&policies), (0, 2), "and says which it does not take");
        assert_eq!(send(&mut policies, 2, 0, 20), Asked::Other);
        assert_eq!(running(&policies), (2, 3));
    }

    #[test]
    fn a_time_to_confirm_without_end_is_refused() {
        let refused = new().ask(&message(2, u64::MAX), moment(0)).unwrap_err();
        assert!(refused.contains("confirm_within_ms") && refused.contains("86400000"), "{refused}");
    }

    #[test]
    fn after_a_restart_the_earlier_end_counts() {
        let kept = |remaining_ms, until_ms: i64| KeptTrial {
            policy: Some(message(2, 0)),
            remaining_ms,
            until_unix_nanos: until_ms * 1_000_000,
        };
        let left = |kept: KeptTrial| kept.resumed(moment(1_000)).unwrap().confirm_within_ms;
        assert_eq!((left(kept(50, 1_200)), left(kept(500, 1_200))), (50, 200));
        assert_eq!((left(kept(500, 900)), left(kept(0, 2_000))), (1, 1), "over, but not confirmed");
    }

    proptest! {
        /// Against the whole story kept as a list: what runs is the last trial in time, else the last confirmed one.
        #[test]
        fn never_runs_what_was_neither_confirmed_nor_in_time(
            steps in prop::collection::vec((1_u64..6, prop_oneof![Just(0), 1_u64..60], 0_u64..40), 1..60),
        ) {
            let (mut policies, mut now) = (new(), 0);
            let (mut confirmed, mut trial, mut reverted) = (0, None::<(u64, u64)>, Vec::<u64>::new());
            for (revision, within, wait) in steps {
                now += wait;
                policies.lapse(moment(now));
                if let Some((lapsed, _)) = trial.take_if(|(_, until)| *until <= now) {
                    reverted.push(lapsed);
                }
                send(&mut policies, revision, within, now);
                match (within, trial) {
                    (0, _) => {
                        reverted.retain(|r| *r != revision);
                        (confirmed, trial) = (revision, None);
                    }
                    _ if reverted.contains(&revision) => {}
                    _ if revision == confirmed => trial = None,
                    (_, Some((on, until))) if on == revision => trial = Some((on, until.min(now + within))),
                    _ => trial = Some((revision, now + within)),
                }
                prop_assert_eq!(policies.in_force().revision(), trial.map_or(confirmed, |(on, _)| on));
            }
        }
    }
}
