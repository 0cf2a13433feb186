//! Which instances have a change in a stage.
//!
//! Every instance has a place, a hash of the revision and its name: nobody chooses who goes first, another revision begins
//! with others, and after a restart the same ones have it. A stage draws a line through the places of each service, at the
//! share of the instances that are connected when it begins; who connects later falls on one side of it.

use std::collections::BTreeMap;

/// Up to which place (inclusive) instances of a service have the change, by service.
pub(super) type Lines = BTreeMap<String, u64>;

/// A line through the instances of each service.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Division {
    /// The revision on the one side.
    pub(super) revision: u64,
    /// Its share of the instances.
    pub(super) share: f64,
    /// The lines of the services that were connected when the stage began.
    pub(super) lines: Lines,
}

impl Division {
    /// Whether an instance has the change.
    pub(crate) fn has(&self, service: &str, instance: &str) -> bool {
        if self.share >= 1.0 {
            return true;
        }
        // Of a service that was not there, about the share.
        let line = self.lines.get(service).copied().unwrap_or((self.share * u64::MAX as f64) as u64);
        place(self.revision, service, instance) <= line
    }

    /// The division of the next stage: at least one instance of each service has the change, who had it keeps it, and while
    /// the share is not the whole one of several goes without, to be compared with.
    pub(super) fn next<'a>(
        &self,
        revision: u64,
        share: f64,
        connected: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        if share >= 1.0 {
            return Self { revision, share, lines: Lines::new() };
        }
        let mut places: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (service, instance) in connected {
            places.entry(service).or_default().push(place(revision, service, instance));
        }
        let mut lines = self.lines.clone();
        for (service, mut places) in places {
            places.sort_unstable();
            places.dedup();
            let most = places.len().saturating_sub(1).max(1);
            let wanted = ((share * places.len() as f64 - 1e-9).ceil() as usize).clamp(1, most);
            let line = places.get(wanted - 1).copied().unwrap_or_default();
            let kept = lines.entry(service.to_owned()).or_insert(line);
            *kept = line.max(*kept);
        }
        Self { revision, share, lines }
    }
}

/// Where an instance stands among those of its service.
fn place(revision: u64, service: &str, instance: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("fuseboard rollout place v1");
    hasher.update(&revision.to_le_bytes());
    hasher.update(&(service.len() as u64).to_le_bytes());
    hasher.update(service.as_bytes());
    hasher.update(instance.as_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("orders-{i}")).collect()
    }

    fn stage(before: &Division, revision: u64, share: f64, names: &[String]) -> (Division, Vec<String>) {
        let division = before.next(revision, share, names.iter().map(|n| ("orders", n.as_str())));
        let has = names.iter().filter(|n| division.has("orders", n)).cloned().collect();
        (division, has)
    }

    #[test]
    fn a_share_is_met_exactly_and_only_grows() {
        for n in 1..40 {
            let names = names(n);
            let (mut division, mut had) = (Division::default(), Vec::new());
            for share in [0.01, 0.1, 0.5, 0.99, 1.0] {
                let has;
                (division, has) = stage(&division, 7, share, &names);
                assert!(had.iter().all(|name| has.contains(name)), "who had it keeps it");
                let expected =
                    if share >= 1.0 { n } else { ((share * n as f64).ceil() as usize).clamp(1, (n - 1).max(1)) };
                assert_eq!(has.len(), expected, "{share} of {n}");
                had = has;
            }
        }
    }

    #[test]
    fn another_revision_begins_with_others_and_who_comes_later_falls_on_a_side() {
        let all = names(200);
        let (division, has) = stage(&Division::default(), 7, 0.1, &all[..100]);
        assert_eq!(has.len(), 10);
        let (_, others) = stage(&Division::default(), 8, 0.1, &all[..100]);
        assert_ne!(has, others);
        let later = all[100..].iter().filter(|n| division.has("orders", n)).count();
        assert!((1..=25).contains(&later), "about a tenth of those who come later, not {later}");
        assert!(!(0..50).all(|i| division.has("users", &format!("users-{i}"))), "a service that was not there");
    }
}
