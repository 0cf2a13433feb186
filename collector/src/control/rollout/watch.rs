//! The watch over a rollout: looks at its calls and at the clock, and writes the next row when one of them says so.

use std::sync::Arc;
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Refusal;
use fuseboard_api::live::Touched;
use fuseboard_api::rollout::{Group, Verdict};
use rusqlite::{Connection, Transaction};

use super::calls::Calls;
use super::rows::{self, Kind, Look, Standing};
use super::{NOW, back_to, go_on, guard, picture, step};
use crate::control::picture::{Presence, presence};
use crate::control::write::Deny;
use crate::control::{Control, PAUSE, read_only};
use crate::store::StoreError;

/// Guards look so often in a stage, at most…
const LOOKS: u32 = 60;
/// … every so often, …
const SHORTEST: Duration = Duration::from_millis(250);
/// … and at least every so often, also while a stage lasts longer; …
const LONGEST: Duration = Duration::from_secs(30);
/// … while a stage is young, sooner: after this part more of its age, so that a bad change is seen within seconds in a stage of
/// hours, with few looks more.
const YOUNG: u32 = 4;
/// So many instances are named in a sentence.
const NAMED: usize = 3;

/// A rollout that is watched.
struct Watched {
    standing: Standing,
    calls: Calls,
    next: UnixNanos,
}

impl Control {
    /// Watches whatever is rolled out until the collector stops.
    pub(in crate::control) async fn watch_rollouts(self: Arc<Self>) {
        let mut desired = self.desired.subscribe();
        let mut watched: Option<Watched> = None;
        loop {
            desired.borrow_and_update();
            let running = match self.running().await {
                Ok(running) => running,
                Err(e) => {
                    tracing::warn!("a rollout may be under way that cannot be read: {e}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let wake = running.as_ref().map(|s| next_wake(s, watched.as_ref()).since(UnixNanos::now()));
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = desired.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => {
                    let Some(standing) = running else { continue };
                    match self.act(standing, watched.take()).await {
                        Ok(next) => watched = next,
                        Err(deny) => {
                            tracing::warn!("a rollout does not go on yet: {}", Refusal::from(deny));
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            }
        }
    }

    async fn running(&self) -> Result<Option<Standing>, StoreError> {
        let now = self.store.as_of_now();
        self.store.read(move |conn| Ok(rows::running(conn, now)?)).await
    }

    /// Does what it is time for.
    async fn act(&self, standing: Standing, watched: Option<Watched>) -> Result<Option<Watched>, Deny> {
        if standing.unconfirmed().is_some_and(|by| by <= UnixNanos::now()) {
            self.change(&[Touched::Changes, Touched::Audit], lapse).await?;
            return Ok(None);
        }
        let as_of = self.store.as_of_now();
        let looked = self.store.read(move |read| -> Result<_, StoreError> {
            let mut calls = match watched.filter(|w| same(&w.standing, &standing)) {
                Some(watched) => watched.calls,
                None => Calls::begin(read, &standing, as_of)?,
            };
            let streams = presence(read, as_of)?;
            let groups = picture::groups(read, &standing, &streams, as_of)?;
            calls.count(read, &standing, &groups, as_of)?;
            let look = look(read, &standing, &streams, &groups, &calls, as_of)?;
            Ok((standing, calls, look))
        });
        let (standing, calls, look) = looked.await?;
        let now = UnixNanos::now();
        let next = now + pause(now.since(standing.since), Duration::from_millis(standing.of_stage().bake_ms));
        let seen = standing.clone();
        if decides(&look, &standing, now) {
            self.change(&[Touched::Changes, Touched::Audit], move |tx, at| decide(tx, at, &seen, &look)).await?;
        } else {
            let written = self.store.transact(&[Touched::Changes], move |tx, at| -> Result<(), StoreError> {
                Ok(rows::write_look(tx, at, seen.revision, &look)?)
            });
            written.await?;
        }
        Ok(Some(Watched { standing, calls, next }))
    }
}

/// Whether both are the same stage of the same rollout, so that its calls add up.
fn same(a: &Standing, b: &Standing) -> bool {
    (a.revision, a.stage, a.since) == (b.revision, b.stage, b.since)
}

/// How long until the next look, in a stage of such an age that is to last so long.
fn pause(age: Duration, bake: Duration) -> Duration {
    let usual = (age.max(bake) / LOOKS).clamp(SHORTEST, LONGEST);
    (age / YOUNG).clamp(SHORTEST, usual)
}

/// When something is to be done next.
fn next_wake(standing: &Standing, watched: Option<&Watched>) -> UnixNanos {
    let confirm_by = standing.unconfirmed().unwrap_or(NOW);
    // Without stages nobody looks: only the confirmation is waited for.
    if standing.delivery.stages.is_empty() {
        return confirm_by;
    }
    let look = match watched.filter(|w| same(&w.standing, standing)) {
        Some(watched) if standing.paused || standing.baked || standing.due() <= UnixNanos::now() => watched.next,
        Some(watched) => watched.next.min(standing.due()),
        None => (standing.since + SHORTEST).max(UnixNanos::now()),
    };
    look.min(confirm_by)
}

/// What the guards see, and what keeps the stage from ending.
fn look(
    conn: &Connection,
    standing: &Standing,
    streams: &[Presence],
    groups: &[Group],
    calls: &Calls,
    as_of: UnixNanos,
) -> rusqlite::Result<Look> {
    let pairs = calls.pairs(groups);
    let delivery = &standing.delivery;
    let readings: Vec<_> = delivery.guards.iter().map(|g| guard::read(g, &pairs, delivery.min_samples)).collect();
    let mut missing = match read_only::state(conn, as_of)? {
        Some(by) => read_only::words(&by),
        None => absent(conn, standing, streams, groups, as_of)?,
    };
    if missing.is_empty() && !standing.waived {
        let too_few = readings.iter().find(|r| r.verdict == Verdict::TooFew);
        missing = match too_few {
            Some(_) if pairs.is_empty() => {
                "too few calls to say: no call yet on an edge that the change touches".to_owned()
            }
            Some(reading) => reading.text.clone(),
            None => String::new(),
        };
    }
    Ok(Look { at: as_of, stage: standing.stage, missing, readings })
}

/// Which instances should run it and do not; empty when all do.
fn absent(
    conn: &Connection,
    standing: &Standing,
    streams: &[Presence],
    groups: &[Group],
    as_of: UnixNanos,
) -> rusqlite::Result<String> {
    if groups.iter().all(|g| g.changed.is_empty()) {
        return Ok("no instance that is given it is connected".to_owned());
    }
    let given = |s: &&Presence| s.ended.is_none() && standing.division.has(&s.service, &s.instance);
    for stream in streams.iter().filter(given) {
        let said = picture::said(conn, stream.session, as_of)?;
        if let Some((_, reason)) = said.failed.filter(|(n, _)| *n == standing.revision && said.running != *n) {
            return Ok(format!("{} refuses it: {reason}", stream.instance));
        }
    }
    let lack: Vec<&str> =
        groups.iter().flat_map(|g| g.changed.iter().filter(|i| !g.running.contains(i))).map(String::as_str).collect();
    Ok(match lack.as_slice() {
        [] => String::new(),
        few if few.len() <= NAMED => format!("{} should have it and has not said so yet", few.join(", ")),
        many => format!("{} instances should have it and have not said so yet", many.len()),
    })
}

/// Whether a look leads to a step.
fn decides(look: &Look, standing: &Standing, now: UnixNanos) -> bool {
    let fails = !standing.waived && look.readings.iter().any(|r| r.verdict == Verdict::Fails);
    let goes_on = !standing.paused && !standing.baked && look.missing.is_empty() && standing.due() <= now;
    fails || goes_on
}

/// Writes a look and the step that follows, unless somebody did something since. While changes are turned off it may only
/// be taken back.
fn decide(tx: &Transaction<'_>, at: UnixNanos, seen: &Standing, look: &Look) -> Result<(), Deny> {
    let Some(standing) = rows::running(tx, NOW)?.filter(|now| now == seen) else { return Ok(()) };
    rows::write_look(tx, at, standing.revision, look)?;
    let failing: Vec<&str> =
        look.readings.iter().filter(|r| r.verdict == Verdict::Fails).map(|r| r.text.as_str()).collect();
    if !failing.is_empty() && !standing.waived {
        let why = format!("a guard failed: {}", failing.join("; "));
        return Ok(step(tx, at, "collector", &standing, Kind::Reverted, &why, &back_to(&standing))?);
    }
    if read_only::state(tx, NOW)?.is_some() {
        return Ok(());
    }
    let told: Vec<&str> = look.readings.iter().map(|r| r.text.as_str()).collect();
    let why = if told.is_empty() { "its time has passed".to_owned() } else { told.join("; ") };
    go_on(tx, at, "collector", &standing, &why)?;
    Ok(())
}

/// Takes back what nobody confirmed in time.
fn lapse(tx: &Transaction<'_>, at: UnixNanos) -> Result<(), Deny> {
    let due = |s: &Standing| s.unconfirmed().is_some_and(|by| by <= at);
    let Some(standing) = rows::running(tx, NOW)?.filter(due) else { return Ok(()) };
    Ok(step(tx, at, "collector", &standing, Kind::Lapsed, "nobody confirmed it in time", &back_to(&standing))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_stage_is_looked_at_soon_and_not_too_often() {
        let hour = Duration::from_secs(3600);
        let (mut age, mut looks) = (SHORTEST, Vec::new());
        while age < hour {
            looks.push(age);
            age += pause(age, hour);
        }
        assert!(looks.iter().filter(|at| **at <= Duration::from_secs(5)).count() >= 8, "{looks:?}");
        assert!(looks.len() < 160, "{} looks, 120 of them every 30 s", looks.len());
        assert_eq!(pause(Duration::ZERO, Duration::ZERO), SHORTEST);
        assert_eq!(pause(100 * hour, hour), LONGEST);
    }
}
