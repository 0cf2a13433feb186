//! What the agent's clients know of their callees' instances and use of them, for who asks: the application, and the export of
//! metrics, which looks at it when it collects. Calls pay nothing for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use fuseboard_policy::names;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use crate::discovery::{Instance, Snapshot};
use crate::members::Members;
use crate::room::{Room, Usage};

/// The lists and the rooms of an agent's clients.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    members: Mutex<Vec<Weak<Members>>>,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    all: Vec<Seen>,
    /// Those that are gone are taken out when there are so many.
    most: usize,
}

#[derive(Debug)]
struct Seen {
    at: At,
    room: Weak<Room>,
}

/// One instance of a callee.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    service: Arc<str>,
    host: Arc<str>,
    port: u16,
    http: bool,
}

impl At {
    fn labels(&self) -> [KeyValue; 3] {
        [
            KeyValue::new(names::PEER_SERVICE, self.service.clone()),
            KeyValue::new("server.address", self.host.clone()),
            KeyValue::new("server.port", i64::from(self.port)),
        ]
    }
}

impl Sightings {
    /// With metrics of everything that is seen.
    pub(crate) fn new(meter: &Meter) -> Arc<Self> {
        let seen = Arc::new(Self::default());
        seen.tell_pools(meter);
        seen.tell_http(meter);
        seen.tell_discovery(meter);
        seen
    }

    /// One more client follows a source.
    pub(crate) fn add(&self, members: &Arc<Members>) {
        let mut all = lock(&self.members);
        all.retain(|members| members.strong_count() > 0);
        all.push(Arc::downgrade(members));
    }

    /// Room at one more instance.
    pub(crate) fn room(&self, service: &Arc<str>, instance: &Instance, http: bool, room: &Arc<Room>) {
        let Some((host, port)) = instance.host_and_port() else { return };
        let mut rooms = lock(&self.rooms);
        if rooms.all.len() >= rooms.most {
            rooms.all.retain(|seen| seen.room.strong_count() > 0);
            rooms.most = rooms.all.len() * 2 + 16;
        }
        let at = At { service: service.clone(), host: host.into(), port, http };
        rooms.all.push(Seen { at, room: Arc::downgrade(room) });
    }

    /// What is known of a callee. Of several clients the one that was made first speaks.
    pub(crate) fn snapshot(&self, service: &str) -> Option<Snapshot> {
        self.members().into_iter().find(|members| *members.service == *service).map(|members| members.snapshot())
    }

    fn members(&self) -> Vec<Arc<Members>> {
        lock(&self.members).iter().filter_map(Weak::upgrade).collect()
    }

    /// What is used of each instance, by all clients together.
    fn usages(&self) -> BTreeMap<At, Usage> {
        let mut usages = BTreeMap::<At, Usage>::new();
        for seen in &lock(&self.rooms).all {
            if let Some(room) = seen.room.upgrade() {
                let sum = usages.entry(seen.at.clone()).or_default();
                *sum = sum.and(room.usage());
            }
        }
        usages
    }

    fn tell_pools(self: &Arc<Self>, meter: &Meter) {
        let tell = |name: &'static str, unit: &'static str, what: &'static str, of: fn(&Usage) -> usize| {
            let seen = self.clone();
            let counter = meter.i64_observable_up_down_counter(name).with_unit(unit).with_description(what);
            counter.with_callback(move |into| seen.observe(into, |usage| count(of(usage)))).build();
        };
        tell("resilience.pool.connections", "{connection}", "Open connections to an instance.", |usage| usage.open);
        tell("resilience.pool.in_use", "{request}", "Places taken at an instance.", |usage| usage.in_use);
        tell("resilience.pool.waiting", "{request}", "Calls that wait for a place.", |usage| usage.waiting);
        tell("resilience.pool.limit", "{request}", "Places at an instance.", |usage| usage.limit);
        let (seen, what) = (self.clone(), "Share of the places at an instance that are taken.");
        let share = meter.f64_observable_gauge("resilience.pool.saturation").with_unit("1").with_description(what);
        share
            .with_callback(move |into| seen.observe(into, |usage| usage.in_use as f64 / usage.limit.max(1) as f64))
            .build();
    }

    fn observe<T>(&self, into: &dyn AsyncInstrument<T>, of: impl Fn(&Usage) -> T) {
        for (at, usage) in self.usages() {
            into.observe(of(&usage), &at.labels());
        }
    }

    /// By OpenTelemetry's names.
    fn tell_http(self: &Arc<Self>, meter: &Meter) {
        let (seen, what) = (self.clone(), "Number of outbound HTTP connections that are currently active or idle.");
        let open = meter.i64_observable_up_down_counter("http.client.open_connections").with_unit("{connection}");
        let open = open.with_description(what).with_callback(move |into| {
            for (at, usage) in seen.usages().into_iter().filter(|(at, _)| at.http) {
                let mut labels = at.labels().to_vec();
                labels.push(KeyValue::new("http.connection.state", "active"));
                into.observe(count(usage.active), &labels);
                labels.pop();
                labels.push(KeyValue::new("http.connection.state", "idle"));
                into.observe(count(usage.open - usage.active), &labels);
            }
        });
        open.build();
        let (seen, what) = (self.clone(), "Number of active HTTP requests.");
        let active = meter.i64_observable_up_down_counter("http.client.active_requests").with_unit("{request}");
        let active = active.with_description(what).with_callback(move |into| {
            for (at, usage) in seen.usages().into_iter().filter(|(at, _)| at.http) {
                into.observe(count(usage.in_use), &at.labels());
            }
        });
        active.build();
    }

    fn tell_discovery(self: &Arc<Self>, meter: &Meter) {
        let tell = |name: &'static str, unit: &'static str, what: &'static str, of: fn(&Snapshot) -> f64| {
            let seen = self.clone();
            let gauge = meter.f64_observable_gauge(name).with_unit(unit).with_description(what);
            let gauge = gauge.with_callback(move |into| {
                for members in seen.members() {
                    let label = KeyValue::new(names::PEER_SERVICE, members.service.clone());
                    into.observe(of(&members.snapshot()), &[label]);
                }
            });
            gauge.build();
        };
        tell("resilience.discovery.instances", "{instance}", "Instances of a callee that are known.", |known| {
            known.instances.len() as f64
        });
        tell(
            "resilience.discovery.stale",
            "s",
            "How long the source of a callee's instances has not answered.",
            |known| {
                let since = known.stale.as_ref().map(|stale| SystemTime::now().duration_since(stale.since));
                since.map_or(0.0, |age| age.unwrap_or_default().as_secs_f64())
            },
        );
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
