//! Telemetry of a shop that never was: traces of five spans, eight attributes each, about 289 bytes of protobuf a span.
//!
//! Two services take part in a trace: the gateway (server and client span) and one of eight behind it (server span, a
//! query, a look into the cache). Every instance sends its own spans, 512 a request, so that a trace comes in pieces, as it
//! does in life. Ids and durations are drawn bit by bit; methods, routes and statements come from short lists, users from
//! 20,000, addresses from a few hundred, and order ids grow as orders do. Everything follows from the seed.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Spans a trace.
pub(crate) const SPANS: u64 = 5;
/// Spans a request.
const REQUEST: usize = 512;

const METHODS: [&str; 8] = ["GET", "GET", "GET", "GET", "GET", "POST", "PUT", "DELETE"];
const DEVICES: [&str; 5] = ["ios", "android", "firefox", "chrome", "partner"];
/// The services behind the gateway: name, what they keep, their database.
pub(crate) const SERVICES: [(&str, &str, &str); 8] = [
    ("orders", "orders", "postgresql"),
    ("payments", "payments", "postgresql"),
    ("inventory", "stock", "mysql"),
    ("catalog", "products", "postgresql"),
    ("users", "users", "postgresql"),
    ("shipping", "parcels", "mysql"),
    ("search", "documents", "elasticsearch"),
    ("pricing", "prices", "postgresql"),
];
/// Instances a service.
const INSTANCES: usize = 2;
/// The coupon of one trace in ten thousand.
pub(crate) const RARE_COUPON: &str = "winter-1999";

/// Makes requests, one after the other.
pub(crate) struct Shop {
    random: SmallRng,
    seed: u64,
    /// Traces made so far.
    traces: u64,
    /// Start of the last trace, Unix nanoseconds.
    now: i64,
    /// From one trace to the next, on average, in nanoseconds.
    gap: i64,
    /// Spans not yet sent, by instance.
    waiting: Vec<Vec<Span>>,
    /// Requests that are full.
    ready: Vec<Vec<u8>>,
}

/// What the spans of one trace have in common.
struct Visit {
    trace_id: [u8; 16],
    method: &'static str,
    route: String,
    path: String,
    status: i64,
    user: i64,
    order: String,
    service: usize,
    rare: bool,
}

impl Shop {
    /// A shop that opens at `from`, Unix nanoseconds, and has so many visits a second.
    pub(crate) fn new(seed: u64, from: i64, rate: u64) -> Self {
        let gap = gap(rate);
        let waiting = (0..(SERVICES.len() + 1) * INSTANCES).map(|_| Vec::with_capacity(REQUEST)).collect();
        Self { random: SmallRng::seed_from_u64(seed), seed, traces: 0, now: from, gap, waiting, ready: Vec::new() }
    }

    /// The id of the trace that is made as number `n`.
    pub(crate) fn trace_id(seed: u64, n: u64) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&mix(seed ^ mix(n)).to_be_bytes());
        id[8..].copy_from_slice(&mix(mix(n).wrapping_add(seed)).to_be_bytes());
        id
    }

    /// Length of the shop's own time in which so many spans happen, in nanoseconds.
    pub(crate) fn time_of(spans: u64, rate: u64) -> i64 {
        (spans / SPANS) as i64 * gap(rate)
    }

    /// Requests that hold so many traces, and nothing after them.
    pub(crate) fn requests(&mut self, traces: u64) -> Vec<Vec<u8>> {
        for _ in 0..traces {
            self.visit();
        }
        for who in 0..self.waiting.len() {
            self.send(who);
        }
        std::mem::take(&mut self.ready)
    }

    /// The next request that is full.
    pub(crate) fn next_request(&mut self) -> Vec<u8> {
        loop {
            match self.ready.pop() {
                Some(request) => return request,
                None => self.visit(),
            }
        }
    }

    fn visit(&mut self) {
        let visit = self.draw();
        self.traces += 1;
        self.now += self.random.random_range(0..2 * self.gap);
        let (gateway, behind) = (self.random.random_range(0..INSTANCES), self.random.random_range(0..INSTANCES));
        let behind = (visit.service + 1) * INSTANCES + behind;
        let (name, table, system) = SERVICES[visit.service];
        let host = format!("{name}-1");
        let peer = format!("10.4.{}.{}", visit.service, self.random.random_range(1..32));
        let query = self.lasting(400_000);
        let cache = self.lasting(80_000);
        let work = query + cache + self.lasting(300_000);
        let call = work + self.lasting(250_000);
        let whole = call + self.lasting(200_000);
        let ids: [u64; SPANS as usize] = std::array::from_fn(|_| self.random.random::<u64>() | 1);
        let span = |of: usize, parent: Option<usize>, kind: i32, name: String, start: i64, lasts: i64| Span {
            trace_id: visit.trace_id.to_vec(),
            span_id: ids[of].to_be_bytes().to_vec(),
            parent_span_id: parent.map(|p| ids[p].to_be_bytes().to_vec()).unwrap_or_default(),
            kind,
            name,
            start_time_unix_nano: start as u64,
            end_time_unix_nano: (start + lasts) as u64,
            status: (visit.status >= 500 && kind <= 3 && of < 3)
                .then(|| Status { code: 2, message: "upstream timed out".to_owned() }),
            ..Span::default()
        };
        let t0 = self.now;
        let (t1, t2) = (t0 + (whole - call) / 2, t0 + (whole - call) / 2 + (call - work) / 2);
        let (t3, t4) = (t2 + cache + (work - query - cache) / 2, t2 + (work - query - cache) / 3);
        let mut spans = [
            span(0, None, 2, format!("{} {}", visit.method, visit.route), t0, whole),
            span(1, Some(0), 3, visit.method.to_owned(), t1, call),
            span(2, Some(1), 2, format!("{} {}", visit.method, visit.route), t2, work),
            span(3, Some(2), 3, format!("SELECT {table}"), t3, query),
            span(4, Some(2), 3, "GET".to_owned(), t4, cache),
        ];
        let random = &mut self.random;
        spans[0].attributes = vec![
            text("http.request.method", visit.method),
            text("url.path", &visit.path),
            text("http.route", &visit.route),
            int("http.response.status_code", visit.status),
            text("device", DEVICES[(visit.user % 5) as usize]),
            text("client.address", &format!("203.0.{}.{}", visit.user % 79, visit.user % 251)),
            int("user.id", visit.user),
            if visit.rare { text("coupon", RARE_COUPON) } else { text("url.scheme", "https") },
        ];
        spans[1].attributes = vec![
            text("http.request.method", visit.method),
            text("server.address", &host),
            int("server.port", 8080),
            text("network.peer.address", &peer),
            int("thread.id", random.random_range(1..17)),
            int("http.response.status_code", visit.status),
            text("order.id", &visit.order),
            text("peer.service", name),
        ];
        spans[2].attributes = vec![
            text("http.request.method", visit.method),
            text("http.route", &visit.route),
            int("http.response.status_code", visit.status),
            text("server.address", &host),
            text("network.peer.address", "10.4.200.7"),
            int("user.id", visit.user),
            text("order.id", &visit.order),
            int("thread.id", random.random_range(1..17)),
        ];
        spans[3].attributes = vec![
            text("db.system.name", system),
            text("db.namespace", "shop"),
            text("db.operation.name", "SELECT"),
            text("db.collection.name", table),
            text("db.query.text", &format!("SELECT * FROM {table} WHERE id = ?")),
            text("server.address", "db-1"),
            int("server.port", 5432),
            int("db.rows", random.random_range(0..20)),
        ];
        spans[4].attributes = vec![
            text("db.system.name", "redis"),
            text("db.operation.name", "GET"),
            text("db.query.text", &format!("GET {name}:?")),
            text("server.address", "cache-1"),
            int("server.port", 6379),
            text("db.namespace", "0"),
            truth("cache.hit", random.random_range(0..10) > 2),
            int("cache.bytes", random.random_range(0..512) * 8),
        ];
        for (span, who) in spans.into_iter().zip([gateway, gateway, behind, behind, behind]) {
            self.waiting[who].push(span);
            if self.waiting[who].len() == REQUEST {
                self.send(who);
            }
        }
    }

    fn draw(&mut self) -> Visit {
        let random = &mut self.random;
        let service = random.random_range(0..SERVICES.len());
        let method = METHODS[random.random_range(0..METHODS.len())];
        let order = self.traces / 3 + random.random_range(0..10_000);
        let kind = ["", "/lines", "/history"][random.random_range(0..3)];
        let status = match random.random_range(0..200) {
            0..3 => 503,
            3..9 => 404,
            _ if method == "POST" => 201,
            _ => 200,
        };
        let table = SERVICES[service].1;
        Visit {
            trace_id: Self::trace_id(self.seed, self.traces),
            method,
            route: format!("/{table}/{{id}}{kind}"),
            path: format!("/{table}/{order}{kind}"),
            status,
            user: random.random_range(1..=20_000),
            order: format!("ord-{order:08}"),
            service,
            rare: (self.traces + 4_321).is_multiple_of(10_000),
        }
    }

    /// A duration with a long tail, in nanoseconds.
    fn lasting(&mut self, typical: i64) -> i64 {
        let spread = self.random.random_range(0.2..1.8_f64);
        let tail = 1.0 / self.random.random_range(0.02..1.0_f64);
        (typical as f64 * spread * tail.sqrt()) as i64
    }

    /// Makes a request of what an instance has.
    fn send(&mut self, who: usize) {
        let spans = std::mem::take(&mut self.waiting[who]);
        if spans.is_empty() {
            return;
        }
        let service = match who / INSTANCES {
            0 => "gateway",
            behind => SERVICES[behind - 1].0,
        };
        let attributes = vec![
            text("service.name", service),
            text("service.instance.id", &format!("{service}-{}", who % INSTANCES)),
            text("service.version", if who.is_multiple_of(INSTANCES) { "4.2.0" } else { "4.2.1" }),
            text("telemetry.sdk.language", "rust"),
        ];
        let scope = Some(InstrumentationScope { name: "shop".into(), version: "1.0".into(), ..Default::default() });
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes, ..Resource::default() }),
                scope_spans: vec![ScopeSpans { scope, spans, schema_url: String::new() }],
                schema_url: String::new(),
            }],
        };
        self.ready.push(request.encode_to_vec());
    }
}

/// From one trace to the next, in nanoseconds.
fn gap(rate: u64) -> i64 {
    1_000_000_000 / rate as i64
}

/// Scatters the bits of a number.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn kv(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn text(key: &str, value: &str) -> KeyValue {
    kv(key, Value::StringValue(value.into()))
}

fn int(key: &str, value: i64) -> KeyValue {
    kv(key, Value::IntValue(value))
}

fn truth(key: &str, value: bool) -> KeyValue {
    kv(key, Value::BoolValue(value))
}
