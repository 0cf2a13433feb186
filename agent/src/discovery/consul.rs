//! Consul, spoken to over its HTTP API.
//!
//! A watch is a blocking query for the passing instances of a service: it comes back when something may have changed, or after about a
//! minute. As Consul's documentation asks for, the index begins again at 0 when it goes backwards, answers that come at once are
//! limited to one a second (after the first five), and an answer is no proof of a change. An agent that knows no leader is not believed.
//!
//! A registration has a check with a time to live that is kept passing; it is made again when Consul does not know it any more.
//! What [`Instance`] has beyond address and weight is in the service's meta: `version`, `zone`, `secure`, `path`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::http::{Http, unreadable};
use super::{Discovery, DiscoveryError, Instance, Keeper, Lease, Pauses, Teller, Watch};
use crate::error::AgentError;
use crate::tls::{ClientTls, Dialer};

/// Longest wait for an answer that is to come at once.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a query blocks; Consul adds up to a sixteenth.
const WAIT: Duration = Duration::from_secs(60);
/// Answers that may come at once, and how often there may be another.
const BURST: f64 = 5.0;
const EVERY: f64 = 1.0;

/// A Consul agent as a source of instances. Clones are handles of the same.
#[derive(Clone)]
pub struct Consul {
    at: Arc<str>,
    http: Http,
    token: Option<HeaderValue>,
    ttl: Duration,
    wait: Duration,
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul").field("at", &self.at).finish_non_exhaustive()
    }
}

/// One entry of a health query.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    address: String,
    port: u16,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u32,
}

impl Entry {
    /// The service's own address; the node's where it has none.
    fn instance(self) -> Option<Instance> {
        let host = if self.service.address.is_empty() { self.node.address } else { self.service.address };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let mut instance = Instance::at(format!("{host}:{}", self.service.port)).ok()?.named(self.service.id);
        instance.weight = self.service.weights.map_or(1, |weights| weights.passing);
        let mut meta = self.service.meta.unwrap_or_default();
        instance.version = meta.remove("version");
        instance.zone = meta.remove("zone");
        instance.secure = meta.remove("secure").is_some_and(|secure| secure == "true");
        instance.path = meta.remove("path").unwrap_or_default();
        instance.metadata = meta;
        Some(instance)
    }
}

impl Consul {
    /// A Consul agent by its HTTP address (`http://127.0.0.1:8500`).
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(address: impl AsRef<str>) -> Result<Self, AgentError> {
        let at: Uri = crate::address::uri(address.as_ref())?;
        let at = at.to_string().trim_end_matches('/').into();
        let http = Http::new(&Dialer::default());
        Ok(Self { at, http, token: None, ttl: Duration::from_secs(15), wait: WAIT })
    }

    /// The ACL token, sent as `X-Consul-Token`. It is never shown.
    ///
    /// # Errors
    /// It cannot stand in a header.
    pub fn token(mut self, token: &str) -> Result<Self, AgentError> {
        let reason = || "the token cannot stand in a header".to_owned();
        let mut value = HeaderValue::from_str(token)
            .map_err(|_| AgentError::Address { text: self.at.to_string(), reason: reason() })?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(self)
    }

    /// How long a registration passes after its instance is gone: 15 s when not given, 1 s at least. It is kept passing three times as
    /// often.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl.max(Duration::from_secs(1));
        self
    }

    /// How long a query blocks: a minute when not given, ten at most.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait.clamp(Duration::from_secs(1), Duration::from_secs(600));
        self
    }

    /// What an `https://` address is dialled with; this system's roots when not given.
    ///
    /// # Errors
    /// Certificates, keys or names that cannot be used.
    pub fn tls(mut self, settings: &ClientTls) -> Result<Self, AgentError> {
        self.http = Http::new(&Dialer::new(settings)?);
        Ok(self)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Response<Bytes>, DiscoveryError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.at));
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = request.body(Full::from(body)).map_err(|error| unreadable(&self.at, error))?;
        let answer = self.http.whole(&self.at, request, limit).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let said = String::from_utf8_lossy(answer.body()).trim().chars().take(200).collect::<String>();
        let reason = format!("{} {said}", answer.status().as_u16());
        Err(DiscoveryError::Refused { at: self.at.to_string(), reason })
    }

    /// The passing instances and the index of the answer; with an index, once something may have changed since.
    async fn passing(&self, service: &str, index: Option<u64>) -> Result<(Vec<Instance>, u64), DiscoveryError> {
        let mut path = format!("/v1/health/service/{}?passing=1", escaped(service));
        let mut limit = ANSWER;
        if let Some(index) = index {
            path.push_str(&format!("&index={index}&wait={}s", self.wait.as_secs()));
            limit += self.wait + self.wait / 16;
        }
        let answer = self.ask(Method::GET, &path, None, limit).await?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        if header("x-consul-knownleader") == Some("false") {
            let reason = "it knows no leader".to_owned();
            return Err(DiscoveryError::Refused { at: self.at.to_string(), reason });
        }
        let index = header("x-consul-index").and_then(|index| index.parse().ok()).unwrap_or(0);
        let entries: Vec<Entry> = serde_json::from_slice(answer.body()).map_err(|error| unreadable(&self.at, error))?;
        Ok((entries.into_iter().filter_map(Entry::instance).collect(), index))
    }

    async fn follow(self, service: String, tell: Teller) {
        let (mut index, mut pauses, mut bucket) = (None, Pauses::default(), Bucket::full());
        loop {
            bucket.wait().await;
            match self.passing(&service, index).await {
                Ok((instances, now)) => {
                    tell.list(instances);
                    pauses.over();
                    index = Some(next(index, now));
                }
                Err(error) => {
                    tell.failed(error);
                    // What blocks may have been missed meanwhile: the next answer comes at once.
                    index = None;
                    pauses.wait().await;
                }
            }
        }
    }

    async fn keep(self, keeper: Arc<Keeper>, service: String, instance: Instance) -> Result<(), DiscoveryError> {
        let (mut registered, mut pauses) = (false, Pauses::default());
        loop {
            let wait = match self.renew(&service, &instance, &mut registered).await {
                Ok(()) => {
                    keeper.kept();
                    pauses.over();
                    self.ttl / 3
                }
                Err(error) => {
                    keeper.failed(error);
                    pauses.draw().min(self.ttl / 3)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = keeper.ending() => return self.deregister(&service, &instance.id).await,
            }
        }
    }

    /// Registers, or keeps the check of a registration passing.
    async fn renew(&self, service: &str, instance: &Instance, registered: &mut bool) -> Result<(), DiscoveryError> {
        if *registered {
            let path = format!("/v1/agent/check/pass/{}", escaped(&check(&instance.id)));
            match self.ask(Method::PUT, &path, None, ANSWER).await {
                // Consul forgot it: it is registered again, at once.
                Err(DiscoveryError::Refused { .. }) => *registered = false,
                answer => return answer.map(drop),
            }
        }
        let path = "/v1/agent/service/register";
        self.ask(Method::PUT, path, Some(&registration(service, instance, self.ttl)), ANSWER).await?;
        *registered = true;
        Ok(())
    }
}

fn check(id: &str) -> String {
    format!("service:{id}")
}

/// What Consul is told of an instance.
fn registration(service: &str, instance: &Instance, ttl: Duration) -> Value {
    let (host, port) = instance.host_and_port().unwrap_or_default();
    let mut meta = instance.metadata.clone();
    meta.extend(instance.version.clone().map(|version| ("version".to_owned(), version)));
    meta.extend(instance.zone.clone().map(|zone| ("zone".to_owned(), zone)));
    if instance.secure {
        meta.insert("secure".to_owned(), "true".to_owned());
    }
    if !instance.path.is_empty() {
        meta.insert("path".to_owned(), instance.path.clone());
    }
    json!({
        "ID": instance.id, "Name": service, "Address": host, "Port": port, "Meta": meta,
        "Weights": { "Passing": instance.weight, "Warning": 1 },
        "Check": {
            "CheckID": check(&instance.id), "TTL": format!("{}s", ttl.as_secs()), "Status": "passing",
            // The least that Consul takes.
            "DeregisterCriticalServiceAfter": "1m",
        },
    })
}

/// The index to ask with after an answer with `now`: from the start where it went backwards, and never 0, which would not block.
fn next(asked: Option<u64>, now: u64) -> u64 {
    if asked.is_some_and(|asked| now < asked) { 1 } else { now.max(1) }
}

/// A name as a part of a path.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

/// Limits how often answers may come at once.
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full() -> Self {
        Self { tokens: BURST, at: Instant::now() }
    }

    async fn wait(&mut self) {
        let now = Instant::now();
        self.tokens = (self.tokens + (now - self.at).as_secs_f64() / EVERY).min(BURST);
        self.at = now;
        if self.tokens < 1.0 {
            // Spread, so that many who were woken at once do not come back at once.
            let short = (1.0 - self.tokens) * EVERY * (1.0 + rand::random::<f64>() / 16.0);
            tokio::time::sleep(Duration::from_secs_f64(short)).await;
            (self.tokens, self.at) = (1.0, Instant::now());
        }
        self.tokens -= 1.0;
    }
}

impl Discovery for Consul {
    fn register(&self, service: &str, instance: Instance) -> Result<Lease, DiscoveryError> {
        let (consul, service) = (self.clone(), service.to_owned());
        Ok(Lease::start(|keeper| consul.keep(keeper, service, instance)))
    }

    fn deregister<'a>(&'a self, _: &'a str, id: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        async move {
            let path = format!("/v1/agent/service/deregister/{}", escaped(id));
            match self.ask(Method::PUT, &path, None, ANSWER).await {
                Err(DiscoveryError::Refused { reason, .. }) if reason.starts_with("404") => Ok(()),
                answer => answer.map(drop),
            }
        }
        .boxed()
    }

    fn instances<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<Vec<Instance>, DiscoveryError>> {
        async move { Ok(self.passing(service, None).await?.0) }.boxed()
    }

    fn watch(&self, service: &str) -> Watch {
        let (consul, service) = (self.clone(), service.to_owned());
        Watch::start(|tell| consul.follow(service, tell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_backwards_begins_again() {
        assert_eq!((next(None, 7), next(Some(7), 9), next(Some(9), 4), next(None, 0)), (7, 9, 1, 1));
    }

    #[test]
    fn an_entry_without_an_address_is_at_its_node() {
        let text = r#"[{"Node":{"Address":"10.0.0.9"},"Service":{"ID":"pay-1","Address":"","Port":80,
            "Meta":{"zone":"a","colour":"red"},"Weights":{"Passing":3,"Warning":1}},"Checks":[]}]"#;
        let mut entries: Vec<Entry> = serde_json::from_str(text).unwrap();
        let instance = entries.remove(0).instance().unwrap();
        assert_eq!(
            (instance.address.as_str(), instance.weight, instance.zone.as_deref()),
            ("10.0.0.9:80", 3, Some("a"))
        );
        assert_eq!(instance.metadata.get("colour").map(String::as_str), Some("red"));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_at_once_are_limited() {
        let (mut bucket, begun) = (Bucket::full(), Instant::now());
        for _ in 0..5 {
            bucket.wait().await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            bucket.wait().await;
        }
        assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
