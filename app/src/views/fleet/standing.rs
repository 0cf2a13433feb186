//! How each instance stands with what it is meant to run.

use std::collections::BTreeSet;

use fuseboard_api::fleet::{Fleet, Member};

use crate::widgets::Tone;

/// How an instance stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// Refused what it is meant to run, with the reason.
    Refused(&'a str),
    /// Its control stream is down.
    Lost,
    /// Went back by itself, because nobody confirmed the revision in time.
    WentBack(u64),
    /// Runs another revision than it is meant to, or lacks overrides.
    Behind,
    /// Runs what it is meant to, but has other settings in force than the others of its service.
    Differs,
    /// Is among the first to have a staged change.
    Early,
    /// Runs what it is meant to.
    Current,
    /// Runs no agent.
    TelemetryOnly,
}

impl Standing<'_> {
    /// In a word or two, and how bad it is.
    pub(super) fn words(&self) -> (&'static str, Tone) {
        match self {
            Self::Current => ("up to date", Tone::Well),
            Self::Early => ("staged change", Tone::Accent),
            Self::Behind => ("behind", Tone::AtRisk),
            Self::Differs => ("differs", Tone::AtRisk),
            Self::WentBack(_) => ("went back", Tone::AtRisk),
            Self::Refused(_) => ("refused", Tone::Failed),
            Self::Lost => ("lost", Tone::Failed),
            Self::TelemetryOnly => ("telemetry only", Tone::Neutral),
        }
    }

    /// The order of the list: the worst first.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Refused(_) => 0,
            Self::Lost => 1,
            Self::WentBack(_) => 2,
            Self::Behind => 3,
            Self::Differs => 4,
            Self::Early | Self::Current | Self::TelemetryOnly => 5,
        }
    }

    /// Whether somebody should look.
    pub(super) fn is_trouble(&self) -> bool {
        self.rank() < 5
    }
}

/// The revision that an instance is meant to run.
pub(super) fn desired(m: &Member, fleet: &Fleet) -> u64 {
    if m.desired > 0 { m.desired } else { fleet.revision }
}

/// Instances that differ from the others of their service: (service, instance).
pub(super) fn differing(fleet: &Fleet) -> BTreeSet<(&str, &str)> {
    let mut all = BTreeSet::new();
    for drift in &fleet.drift {
        all.extend(drift.instances.iter().map(|i| (drift.service.as_str(), i.as_str())));
    }
    all
}

/// How `m` stands; `differing` as [`differing`] gives it.
pub(super) fn standing<'a>(m: &'a Member, fleet: &Fleet, differing: &BTreeSet<(&str, &str)>) -> Standing<'a> {
    let desired = desired(m, fleet);
    match (m.connected, &m.last_failed) {
        (None, _) => Standing::TelemetryOnly,
        (_, Some((revision, why))) if *revision >= desired && m.running != desired => Standing::Refused(why),
        (Some(false), _) => Standing::Lost,
        _ if m.running != desired => match m.reverted_from {
            Some(from) if from >= desired => Standing::WentBack(from),
            _ => Standing::Behind,
        },
        _ if m.overrides < fleet.overrides => Standing::Behind,
        _ if differing.contains(&(m.service.as_str(), m.instance.as_str())) => Standing::Differs,
        _ if desired > fleet.revision => Standing::Early,
        _ => Standing::Current,
    }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::fleet::Drift;

    use super::*;

    fn member(instance: &str, running: u64, connected: Option<bool>) -> Member {
        Member {
            service: "orders".into(),
            instance: instance.into(),
            running,
            desired: 42,
            connected,
            overrides: 3,
            ..Member::default()
        }
    }

    #[test]
    fn laggards_refusals_and_drift_are_told_apart() {
        let drift = Drift { service: "orders".into(), instances: vec!["o-9".into()], ..Drift::default() };
        let fleet = Fleet { revision: 42, overrides: 3, drift: vec![drift], ..Fleet::default() };
        let differ = differing(&fleet);
        let of = |m: &Member| standing(m, &fleet, &differ).words().0;
        assert_eq!(of(&member("o-1", 42, Some(true))), "up to date");
        assert_eq!(of(&member("o-9", 42, Some(true))), "differs");
        assert_eq!(of(&member("o-1", 41, Some(true))), "behind");
        assert_eq!(of(&member("o-1", 41, Some(false))), "lost");
        assert_eq!(of(&member("o-1", 0, None)), "telemetry only");
        let refused = Member { last_failed: Some((42, "too long".into())), ..member("o-1", 41, Some(true)) };
        assert_eq!(standing(&refused, &fleet, &differ), Standing::Refused("too long"));
        let long_ago = Member { last_failed: Some((40, "too long".into())), ..member("o-1", 42, Some(true)) };
        assert_eq!(of(&long_ago), "up to date");
        assert_eq!(of(&Member { overrides: 2, ..member("o-1", 42, Some(true)) }), "behind");
        assert_eq!(of(&Member { desired: 43, ..member("o-1", 43, Some(true)) }), "staged change");
        let back = Member { reverted_from: Some(43), ..member("o-1", 41, Some(true)) };
        assert_eq!(standing(&back, &fleet, &differ), Standing::WentBack(43));
    }
}
