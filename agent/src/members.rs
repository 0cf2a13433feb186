//! The instances of a callee as a client knows them: who is there now, and what the client keeps for each.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use fuseboard_policy::pool::Pool;
use futures_util::StreamExt as _;
use opentelemetry::KeyValue;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::Inner;
use crate::call::NoPlace;
use crate::discovery::{Endpoints, Instance, IntoEndpoints, Kind, Snapshot, Watch};
use crate::error::AgentError;
use crate::log::Severity;

/// Longest wait for a source's first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// The instances of a callee that a client knows, for the edge's balancer.
#[derive(Debug)]
pub(crate) struct Members {
    /// The callee.
    pub(crate) service: Arc<str>,
    roster: ArcSwap<Roster>,
    answered: watch::Sender<bool>,
}

/// One list.
#[derive(Debug, Default)]
struct Roster {
    /// By content: lists that say the same have the same.
    generation: u64,
    /// Ids (`host:port`) and weights.
    ids: Vec<(Arc<str>, u64)>,
    snapshot: Snapshot,
}

impl Roster {
    /// Callers that start together do not all begin with the same instance.
    fn new(mut ids: Vec<(Arc<str>, u64)>, snapshot: Snapshot) -> Self {
        ids.sort();
        let mut hasher = DefaultHasher::new();
        ids.hash(&mut hasher);
        let turn = usize::from(rand::random::<u16>()).checked_rem(ids.len()).unwrap_or(0);
        ids.rotate_left(turn);
        // 0 is the generation of a pool that nobody joined.
        Self { generation: hasher.finish().max(1), ids, snapshot }
    }
}

impl Members {
    fn new(service: &str) -> Arc<Self> {
        Arc::new(Self { service: service.into(), roster: ArcSwap::default(), answered: watch::Sender::new(false) })
    }

    /// Tells an edge's pool who is there.
    pub(crate) fn join(&self, pool: &Pool, now: u64) {
        let roster = self.roster.load();
        pool.join(roster.generation, &roster.ids, now);
    }

    /// What the source last said.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.roster.load().snapshot.clone()
    }

    /// Whether there is anybody to call.
    pub(crate) fn is_anyone(&self) -> bool {
        !self.roster.load().ids.is_empty()
    }

    /// Comes back when there is somebody to call. Waits only for a source that never answered yet, for five seconds at most and
    /// not longer than `until`.
    ///
    /// # Errors
    /// Nobody is there: why, in words.
    pub(crate) async fn ready(&self, until: Option<Instant>) -> Result<(), NoPlace> {
        let most = Instant::now() + FIRST_ANSWER;
        let until = until.map_or(most, |until| until.min(most));
        let mut answered = self.answered.subscribe();
        let _ = tokio::time::timeout_at(until, answered.wait_for(|answered| *answered)).await;
        let roster = self.roster.load();
        if !roster.ids.is_empty() {
            return Ok(());
        }
        Err(NoPlace::nobody(match &roster.snapshot.stale {
            Some(stale) => format!("no instance of {} is known: {}", self.service, stale.error),
            None if roster.snapshot.answered => {
                format!("the source of discovery says that no instance of {} is there", self.service)
            }
            None => format!("the source of discovery has not said yet where {} is", self.service),
        }))
    }

    /// Takes a new list. What was said before it.
    fn take(&self, ids: Vec<(Arc<str>, u64)>, snapshot: Snapshot) -> Snapshot {
        let answered = snapshot.answered;
        let old = self.roster.swap(Arc::new(Roster::new(ids, snapshot)));
        self.answered.send_if_modified(|before| std::mem::replace(before, answered) != answered);
        old.snapshot.clone()
    }
}

/// One instance, and what a client keeps for it.
#[derive(Debug)]
pub(crate) struct Peer<W> {
    instance: Instance,
    /// `server.address`.
    pub(crate) host: String,
    /// `server.port`.
    pub(crate) port: u16,
    /// Connections, for one.
    pub(crate) wire: W,
}

/// Makes what is kept for an instance.
type Make<W> = Box<dyn Fn(&Instance) -> Result<W, AgentError> + Send + Sync>;

/// All instances of a callee, each with what a client keeps for it.
pub(crate) struct Peers<W> {
    members: Arc<Members>,
    all: ArcSwap<HashMap<Arc<str>, Arc<Peer<W>>>>,
    /// Held while they change.
    changing: Mutex<()>,
    make: Make<W>,
    /// Ends the task that follows the source; `None` without one.
    following: Option<DropGuard>,
}

impl<W> std::fmt::Debug for Peers<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("members", &self.members).finish_non_exhaustive()
    }
}

impl<W: Send + Sync + 'static> Peers<W> {
    /// Reads the endpoints, and follows them where they change. `make` makes what is kept for an instance; it is not to
    /// connect yet.
    pub(crate) fn start(
        agent: &Arc<Inner>,
        service: &str,
        endpoints: impl IntoEndpoints,
        make: impl Fn(&Instance) -> Result<W, AgentError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, AgentError> {
        let Endpoints(kind) = endpoints.into_endpoints()?;
        let source = match kind {
            Kind::Fixed(list) if list.is_empty() => return Err(AgentError::NoAddress(service.to_owned())),
            Kind::Fixed(list) => {
                let peers = Self::new(service, make, None);
                let snapshot = Snapshot { instances: list.into(), answered: true, stale: None };
                peers.take(snapshot, |_, error| Err(error))?;
                return Ok(peers);
            }
            Kind::Found(source) => source,
            Kind::Discovered => agent.discovery.clone().ok_or_else(|| AgentError::NoDiscovery(service.to_owned()))?,
        };
        let closing = CancellationToken::new();
        let peers = Self::new(service, make, Some(closing.clone().drop_guard()));
        agent.sightings.add(&peers.members);
        let follow = follow(source.watch(service), Arc::downgrade(&peers), Arc::downgrade(agent));
        tokio::spawn(async move { closing.run_until_cancelled(follow).await });
        Ok(peers)
    }

    fn new(
        service: &str,
        make: impl Fn(&Instance) -> Result<W, AgentError> + Send + Sync + 'static,
        following: Option<DropGuard>,
    ) -> Arc<Self> {
        let (members, make) = (Members::new(service), Box::new(make));
        Arc::new(Self { members, all: ArcSwap::default(), changing: Mutex::new(()), make, following })
    }

    /// What the balancer chooses from.
    pub(crate) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// Those that are known now.
    pub(crate) fn list(&self) -> Vec<Arc<Peer<W>>> {
        self.all.load().values().cloned().collect()
    }

    /// What the balancer chooses from, or `None` where there is one address for ever: what is behind it (a balancer of its own, say)
    /// may be given two attempts of a call at a time.
    pub(crate) fn choice(&self) -> Option<Arc<Members>> {
        let one = self.following.is_none() && self.all.load().len() == 1;
        (!one).then(|| self.members.clone())
    }

    /// The instance that the balancer chose. Clients of one callee may know different instances: for what this one does not
    /// know, any of its own.
    ///
    /// # Errors
    /// There is none any more.
    pub(crate) fn get(&self, id: Option<&str>) -> Result<Arc<Peer<W>>, NoPlace> {
        let all = self.all.load();
        let found = id.and_then(|id| all.get(id)).or_else(|| all.values().next()).cloned();
        found.ok_or_else(|| NoPlace::nobody(format!("the last instance of {} has just gone", self.members.service)))
    }

    /// Takes a new list; connections of instances that stay are kept. What was said before it. `bad` is told of instances that
    /// cannot be called.
    fn take(
        &self,
        snapshot: Snapshot,
        mut bad: impl FnMut(&Instance, AgentError) -> Result<(), AgentError>,
    ) -> Result<Snapshot, AgentError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.all.load();
        let (mut all, mut ids) = (HashMap::new(), Vec::new());
        for instance in &*snapshot.instances {
            let id: Arc<str> = instance.address.as_str().into();
            let peer = match old.get(&id) {
                Some(peer) if peer.instance == *instance => peer.clone(),
                _ => match self.peer(instance) {
                    Ok(peer) => Arc::new(peer),
                    Err(error) => {
                        bad(instance, error)?;
                        continue;
                    }
                },
            };
            if all.insert(id.clone(), peer).is_none() {
                ids.push((id, u64::from(instance.weight)));
            }
        }
        self.all.store(Arc::new(all));
        Ok(self.members.take(ids, snapshot))
    }

    fn peer(&self, instance: &Instance) -> Result<Peer<W>, AgentError> {
        let (host, port) = instance.host_and_port().ok_or_else(|| AgentError::Address {
            text: instance.address.clone(),
            reason: "it is not of the form host:port".to_owned(),
        })?;
        Ok(Peer { host: host.to_owned(), port, wire: (self.make)(instance)?, instance: instance.clone() })
    }

    /// Makes anew what is kept for each instance, after a change of settings. Calls under way end on what they began with.
    pub(crate) fn remake(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.all.load();
        let again = |(id, peer): (&Arc<str>, &Arc<Peer<W>>)| {
            // What could be made once, can be made again.
            let made = self.peer(&peer.instance).map_or_else(|_| peer.clone(), Arc::new);
            (id.clone(), made)
        };
        self.all.store(Arc::new(old.iter().map(again).collect()));
    }
}

/// Takes over what a source tells, for as long as there is somebody to tell.
async fn follow<W: Send + Sync + 'static>(mut watch: Watch, peers: Weak<Peers<W>>, agent: Weak<Inner>) {
    while let Some(snapshot) = watch.next().await {
        let (Some(peers), Some(agent)) = (peers.upgrade(), agent.upgrade()) else { return };
        let service = &peers.members.service;
        let bad = |instance: &Instance, error: AgentError| {
            let text = format!("instance {} of {service} is left out: {error}", instance.id);
            crate::log::write(&agent, Severity::Warn, text, &about(service));
            Ok(())
        };
        // Nothing that `bad` takes is an error.
        if let Ok(before) = peers.take(snapshot.clone(), bad) {
            tell(&agent, service, &before, &snapshot);
        }
    }
}

fn about(service: &Arc<str>) -> [KeyValue; 1] {
    [KeyValue::new(fuseboard_policy::names::PEER_SERVICE, service.clone())]
}

/// Tells when a list goes stale, and when it is fresh again.
fn tell(agent: &Arc<Inner>, service: &Arc<str>, before: &Snapshot, now: &Snapshot) {
    let known = now.instances.len();
    let text = match (&before.stale, &now.stale) {
        (None, Some(stale)) => {
            let text = format!("discovery of {service} is stale, {known} instances stay known: {}", stale.error);
            return crate::log::write(agent, Severity::Warn, text, &about(service));
        }
        (Some(_), None) => format!("discovery of {service} answers again, {known} instances"),
        _ if before.instances != now.instances => format!("{service} has {known} instances now"),
        _ => return,
    };
    crate::log::write(agent, Severity::Info, text, &about(service));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[&str]) -> Vec<(Arc<str>, u64)> {
        list.iter().map(|id| ((*id).into(), 1)).collect()
    }

    #[test]
    fn lists_that_say_the_same_are_one_generation() {
        let of = |list: &[&str]| Roster::new(ids(list), Snapshot::default()).generation;
        assert_eq!(of(&["a:1", "b:2"]), of(&["b:2", "a:1"]));
        assert_ne!(of(&["a:1"]), of(&["a:1", "b:2"]));
        assert_ne!(of(&[]), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_the_first_answer_only() {
        let members = Members::new("bank");
        let begun = Instant::now();
        let soon = Some(begun + Duration::from_millis(300));
        assert!(members.ready(soon).await.unwrap_err().cause.contains("not said yet"));
        assert_eq!(begun.elapsed(), Duration::from_millis(300));
        let (asked, told) = tokio::join!(members.ready(None), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            members.take(ids(&["a:1"]), Snapshot { answered: true, ..Snapshot::default() });
            Instant::now()
        });
        assert!(asked.is_ok());
        assert_eq!(told, Instant::now());
        members.take(Vec::new(), Snapshot { answered: true, ..Snapshot::default() });
        let begun = Instant::now();
        assert!(members.ready(None).await.unwrap_err().cause.contains("no instance of bank is there"));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
