//! etcd's requests and answers as its JSON gateway has them: keys and values in base64, 64-bit numbers as text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::discovery::http::{Http, unreadable};
use crate::discovery::{DiscoveryError, Instance};
use crate::tls::Dialer;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Most keys of a service that are read.
const MOST: u32 = 4096;

/// The keys of a service.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    first: String,
    /// The first key after them.
    end: Vec<u8>,
}

impl Keys {
    pub(super) fn of(prefix: &str, service: &str) -> Self {
        let first = format!("{prefix}/{service}/");
        // '0' comes after '/'.
        let end = format!("{prefix}/{service}0").into_bytes();
        Self { first, end }
    }

    /// The key of an instance.
    pub(super) fn one(&self, id: &str) -> String {
        format!("{}{id}", self.first)
    }

    /// These keys, as a request has them.
    pub(super) fn range(&self) -> Value {
        json!({ "key": STANDARD.encode(&self.first), "range_end": STANDARD.encode(&self.end) })
    }
}

/// What is known of a service's keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed {
    /// The revision of the store that this is.
    pub(super) revision: i64,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Listed {
    /// The instances; what cannot be read is none.
    pub(super) fn instances(&self) -> Vec<Instance> {
        let read = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            let text = std::str::from_utf8(value).ok()?;
            let mut instance =
                serde_json::from_str(text).ok().or_else(|| Instance::at(text.trim()).ok().map(|i| i.named("")))?;
            if instance.id.is_empty() {
                let key = String::from_utf8_lossy(key);
                instance.id = key.rsplit('/').next().unwrap_or_default().to_owned();
            }
            Some(instance)
        };
        self.values.iter().filter_map(read).collect()
    }

    /// Takes one event of a watch. Whether something changed.
    pub(super) fn take(&mut self, event: &Value) -> bool {
        let Some(key) = bytes(&event["kv"]["key"]) else { return false };
        if event["type"] == "DELETE" {
            return self.values.remove(&key).is_some();
        }
        // No value is an empty one.
        let value = bytes(&event["kv"]["value"]).unwrap_or_default();
        self.values.insert(key, value.clone()) != Some(value)
    }
}

fn bytes(field: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(field.as_str()?).ok()
}

/// A 64-bit number; absent means 0.
pub(super) fn number(field: &Value) -> i64 {
    field.as_i64().or_else(|| field.as_str()?.parse().ok()).unwrap_or(0)
}

/// The members of a cluster, and the way to the one that answers.
pub(super) struct Gateway {
    http: Http,
    endpoints: Vec<Uri>,
    /// Which of them is asked.
    at: AtomicUsize,
    user: Option<(String, String)>,
    token: Mutex<Option<String>>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Gateway {
    pub(super) fn new(endpoints: Vec<Uri>, user: Option<(String, String)>, dialer: &Dialer) -> Self {
        Self { http: Http::new(dialer), endpoints, at: AtomicUsize::new(0), user, token: Mutex::new(None) }
    }

    /// All keys of a service.
    pub(super) async fn list(&self, keys: &Keys) -> Result<Listed, DiscoveryError> {
        let mut range = keys.range();
        range["limit"] = MOST.into();
        let answer = self.ask("/v3/kv/range", &range).await?;
        let mut listed = Listed { revision: number(&answer["header"]["revision"]), values: BTreeMap::new() };
        for kv in answer["kvs"].as_array().into_iter().flatten() {
            listed.take(&json!({ "kv": kv }));
        }
        Ok(listed)
    }

    /// The store's revision, by a linearizable read.
    pub(super) async fn revision(&self, keys: &Keys) -> Result<i64, DiscoveryError> {
        let mut range = keys.range();
        range["count_only"] = true.into();
        Ok(number(&self.ask("/v3/kv/range", &range).await?["header"]["revision"]))
    }

    /// Whether a key is there.
    pub(super) async fn is_there(&self, key: &str) -> Result<bool, DiscoveryError> {
        let answer = self.ask("/v3/kv/range", &json!({ "key": STANDARD.encode(key), "count_only": true })).await?;
        Ok(number(&answer["count"]) > 0)
    }

    /// Puts a key that lives as long as a lease.
    pub(super) async fn put(&self, key: &str, value: &[u8], lease: i64) -> Result<(), DiscoveryError> {
        let put = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value), "lease": lease.to_string() });
        self.ask("/v3/kv/put", &put).await.map(drop)
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), DiscoveryError> {
        self.ask("/v3/kv/deleterange", &json!({ "key": STANDARD.encode(key) })).await.map(drop)
    }

    /// A new lease.
    pub(super) async fn grant(&self, ttl: Duration) -> Result<i64, DiscoveryError> {
        let answer = self.ask("/v3/lease/grant", &json!({ "TTL": ttl.as_secs().to_string() })).await?;
        match number(&answer["ID"]) {
            0 => Err(unreadable(&self.endpoint().to_string(), "the new lease has no number")),
            id => Ok(id),
        }
    }

    /// Keeps a lease alive once. Whether it still was.
    pub(super) async fn keep_alive(&self, lease: i64) -> Result<bool, DiscoveryError> {
        // The gateway answers a stream of one; a lease that is gone has no time left.
        match self.ask("/v3/lease/keepalive", &json!({ "ID": lease.to_string() })).await {
            Ok(answer) => Ok(number(&answer["result"]["TTL"]) > 0),
            Err(DiscoveryError::Refused { reason, .. }) if reason.contains("lease not found") => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn revoke(&self, lease: i64) -> Result<(), DiscoveryError> {
        match self.ask("/v3/lease/revoke", &json!({ "ID": lease.to_string() })).await {
            Err(DiscoveryError::Refused { reason, .. }) if reason.contains("lease not found") => Ok(()),
            done => done.map(drop),
        }
    }

    /// Begins a watch; the answer goes on.
    pub(super) async fn watch(&self, keys: &Keys, from: i64) -> Result<(String, Response<Incoming>), DiscoveryError> {
        let mut create = keys.range();
        create["start_revision"] = from.to_string().into();
        create["progress_notify"] = true.into();
        self.log_in().await?;
        let (at, request) = self.request("/v3/watch", &json!({ "create_request": create }))?;
        let answer = self.reached(self.http.open(&at, request, ANSWER).await)?;
        if answer.status().is_success() {
            return Ok((at, answer));
        }
        // The token may have run out: the next try asks for a new one.
        self.forget_token();
        Err(DiscoveryError::Refused { at, reason: format!("the watch was answered {}", answer.status()) })
    }

    async fn ask(&self, path: &str, body: &Value) -> Result<Value, DiscoveryError> {
        self.log_in().await?;
        match self.once(path, body).await {
            Err(DiscoveryError::Refused { reason, .. }) if self.user.is_some() && reason.contains("auth token") => {
                self.forget_token();
                self.log_in().await?;
                self.once(path, body).await
            }
            done => done,
        }
    }

    async fn once(&self, path: &str, body: &Value) -> Result<Value, DiscoveryError> {
        let (at, request) = self.request(path, body)?;
        let answer = self.reached(self.http.whole(&at, request, ANSWER).await)?;
        let status = answer.status();
        let value = serde_json::from_slice::<Value>(answer.body());
        if status.is_success() {
            return value.map_err(|error| unreadable(&at, error));
        }
        let said = value.ok().and_then(|v| v["error"].as_str().or(v["message"].as_str()).map(str::to_owned));
        let reason = said.unwrap_or_else(|| status.to_string());
        // A member without a leader may have neighbours that have one.
        if status.is_server_error() {
            self.at.fetch_add(1, Ordering::Relaxed);
        }
        Err(DiscoveryError::Refused { at, reason })
    }

    fn request(&self, path: &str, body: &Value) -> Result<(String, Request<Full<Bytes>>), DiscoveryError> {
        let at = self.endpoint().to_string().trim_end_matches('/').to_owned();
        let mut request = Request::post(format!("{at}{path}")).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &*self.token.lock().unwrap_or_else(PoisonError::into_inner) {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::from(body.to_string()));
        request.map_err(|error| unreadable(&at, error)).map(|request| (at, request))
    }

    fn endpoint(&self) -> &Uri {
        &self.endpoints[self.at.load(Ordering::Relaxed) % self.endpoints.len()]
    }

    /// A member that does not answer is left for the next one.
    fn reached<T>(&self, answer: Result<T, DiscoveryError>) -> Result<T, DiscoveryError> {
        if answer.is_err() {
            self.at.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn log_in(&self) -> Result<(), DiscoveryError> {
        let Some((name, password)) = &self.user else { return Ok(()) };
        if self.token.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let answer = self.once("/v3/auth/authenticate", &json!({ "name": name, "password": password })).await?;
        let token = answer["token"].as_str().map(str::to_owned);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
        Ok(())
    }

    fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Option<&str>, key: &str, value: &str) -> Value {
        let kv = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        kind.map_or_else(|| json!({ "kv": kv }), |kind| json!({ "type": kind, "kv": kv }))
    }

    #[test]
    fn values_are_json_or_addresses() {
        let mut listed = Listed::default();
        assert!(listed.take(&event(None, "/s/pay/one", r#"{"address":"a:1","weight":3}"#)));
        assert!(!listed.take(&event(None, "/s/pay/one", r#"{"address":"a:1","weight":3}"#)), "no change");
        assert!(listed.take(&event(Some("PUT"), "/s/pay/two", "b:2\n")));
        assert!(listed.take(&event(None, "/s/pay/bad", "{ rubbish")));
        let found: Vec<_> = listed.instances().into_iter().map(|i| (i.id, i.address, i.weight)).collect();
        assert_eq!(found, [("one".into(), "a:1".into(), 3), ("two".into(), "b:2".into(), 1)]);
        assert!(listed.take(&event(Some("DELETE"), "/s/pay/two", "")));
        assert_eq!(listed.instances().len(), 1);
    }

    #[test]
    fn the_range_holds_one_service_only() {
        let keys = Keys::of("/s", "pay");
        let inside = |key: &str| key.as_bytes() >= keys.first.as_bytes() && key.as_bytes() < keys.end.as_slice();
        assert!(inside(&keys.one("a")) && inside("/s/pay/\u{ffff}"));
        assert!(!inside("/s/payments/a") && !inside("/s/pay") && !inside("/s/pax/z"));
    }
}
