//! Who calls, by a bearer token (JWT, RFC 7519): checked as RFC 8725 advises.

mod claims;
mod keys;
mod store;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::MatchedPath;
use fuseboard_policy::rate::RateLimiter;
use fuseboard_policy::settings::Rate;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};
use tonic::Code;

pub use self::claims::Claims;
pub use self::keys::{KeyError, Keys};
use self::store::{Set, Store};
use super::caller::Caller;
use super::refusal::Refused;
use super::routes::{Routes, decoded};
use super::table::Table;
use crate::agent::Inner;
use crate::tls::Dialer;

/// Longest token that is looked at, in bytes.
const MOST_TOKEN: usize = 8 * 1024;
/// Checked tokens that are remembered: a caller sends the same one many times, and a signature costs more than a whole request.
const REMEMBERED: usize = 1024;
/// Callers whose checks are counted.
const CALLERS: usize = 10_000;
/// Most keys that one token is tried with.
const MOST_TRIES: usize = 4;

/// Lets in callers with a bearer token only, except where a route is [open](Auth::open).
///
/// The signature is checked with the algorithm of the key, never with one that the token chooses; `exp` and the audience must be
/// there; `nbf` and the issuer are checked where they are given. What is refused is answered 401 (or 403 for a scope or role that
/// is missing) with `WWW-Authenticate`, or `UNAUTHENTICATED` and `PERMISSION_DENIED`. No token is ever written anywhere.
///
/// ```no_run
/// use fuseboard_agent::guard::{Auth, Keys};
///
/// # fn auth() -> Result<Auth, Box<dyn std::error::Error>> {
/// let keys = Keys::jwks_url("https://login.example.org/keys")?;
/// let auth = Auth::jwt("orders", keys).issuer("https://login.example.org").open("/healthz").scope("/admin/*", "orders:admin");
/// # Ok(auth)
/// # }
/// ```
#[derive(Clone)]
pub struct Auth {
    store: Arc<Store>,
    audiences: Vec<String>,
    issuers: Vec<String>,
    leeway: Duration,
    routes: Routes<Rule>,
    remembered: Arc<Table<Box<str>, Remembered>>,
    checks: Option<Checks>,
}

/// How many signatures are checked for each caller.
#[derive(Clone)]
struct Checks {
    rate: Rate,
    callers: Arc<Table<Caller, RateLimiter>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("audiences", &self.audiences)
            .field("issuers", &self.issuers)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

/// What a route asks for.
#[derive(Debug, Clone)]
enum Rule {
    /// Nothing.
    Open,
    /// A token with all of these.
    Needs(Vec<Need>),
}

#[derive(Debug, Clone)]
enum Need {
    Scope(String),
    Role(String),
}

/// A token that was good.
struct Remembered {
    claims: Claims,
    expires: u64,
    /// The keys that it was checked with.
    generation: u64,
}

/// What a look at a request says.
pub(super) enum Verdict {
    /// Nobody was asked.
    Open,
    Good(Claims),
    Refused(Refused),
    /// A key that is not known: it may be new.
    UnknownKey,
}

/// Why a token is not good.
enum Bad {
    UnknownKey,
    TooMany,
    Because(&'static str),
}

impl Auth {
    /// Tokens for `audience` (their `aud` holds it), signed with one of these keys.
    pub fn jwt(audience: impl Into<String>, keys: Keys) -> Self {
        Self::with(vec![audience.into()], keys)
    }

    /// Tokens for any audience or none. A token that was made for another service, and got lost there, is good here, too: give
    /// an audience where the issuer writes one.
    pub fn jwt_for_any_audience(keys: Keys) -> Self {
        Self::with(Vec::new(), keys)
    }

    fn with(audiences: Vec<String>, keys: Keys) -> Self {
        // Another crate may have switched on another of its providers: then it does not choose by itself.
        let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
        Self {
            store: Arc::new(Store::new(keys)),
            audiences,
            issuers: Vec::new(),
            leeway: Duration::from_secs(30),
            routes: Routes::default(),
            remembered: Arc::new(Table::new(REMEMBERED)),
            checks: None,
        }
    }

    /// Most tokens a second, and at once, whose signature is checked for one [`Caller`] as its connection shows it; more are
    /// answered 429 or `RESOURCE_EXHAUSTED`. A flood of forged tokens costs no more than that. Tokens that are remembered do
    /// not count. Not bounded when not given: behind a proxy all callers may be one address.
    #[must_use]
    pub fn checks_per_caller(mut self, per_sec: u64, burst: u64) -> Self {
        let rate = Rate::TokenBucket { per_sec, burst };
        self.checks = Some(Checks { rate, callers: Arc::new(Table::new(CALLERS)) });
        self
    }

    /// Another audience that is taken.
    #[must_use]
    pub fn and_audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Takes tokens of this issuer (`iss`) only; may be said more than once.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuers.push(issuer.into());
        self
    }

    /// How far the issuer's clock may be off, for `exp` and `nbf`; 30 s when not given, 5 min at most.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(Duration::from_secs(300));
        self
    }

    /// Needs no token for a path (`/healthz`), or for all that begin with it (`/public/*`).
    #[must_use]
    pub fn open(mut self, path: impl Into<String>) -> Self {
        self.routes.set(path, Rule::Open);
        self
    }

    /// Needs a scope for a path (`/orders/{id}`, `/pkg.Service/Method`), or for all that begin with it (`/admin/*`). Rules are looked
    /// up for the path and for axum's template of it; what both ask for is needed.
    #[must_use]
    pub fn scope(self, path: impl Into<String>, scope: impl Into<String>) -> Self {
        self.need(path.into(), Need::Scope(scope.into()))
    }

    /// Needs a role; otherwise like [`Auth::scope`].
    #[must_use]
    pub fn role(self, path: impl Into<String>, role: impl Into<String>) -> Self {
        self.need(path.into(), Need::Role(role.into()))
    }

    fn need(mut self, path: String, need: Need) -> Self {
        let mut needs = match self.routes.exactly(&path) {
            Some(Rule::Needs(needs)) => needs.clone(),
            _ => Vec::new(),
        };
        needs.push(need);
        self.routes.set(path, Rule::Needs(needs));
        self
    }

    pub(super) fn start(&self, agent: &Arc<Inner>, dialer: &Dialer) {
        self.store.start(agent, dialer);
    }

    /// Waits for keys that may be new. Whether it is worth another look.
    pub(super) async fn refresh(&self) -> bool {
        self.store.refresh().await
    }

    /// Looks at a request of a caller, as its connection shows it, at a time of the agent's clock.
    pub(super) fn check(&self, parts: &Parts, caller: &Caller, now: u64) -> Verdict {
        let (path, headers) = (parts.uri.path(), &parts.headers);
        let template = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let plain = decoded(path);
        let paths = [Some(path), (*plain != *path).then_some(&*plain), template.filter(|template| *template != path)];
        let rules: Vec<_> = paths.into_iter().flatten().map(|path| self.routes.get(path)).collect();
        if rules.iter().all(|rule| matches!(rule, Some(Rule::Open))) {
            return Verdict::Open;
        }
        let token = match bearer(headers) {
            Ok(token) => token,
            Err(refused) => return Verdict::Refused(refused),
        };
        let claims = match self.claims(token, caller, now) {
            Ok(claims) => claims,
            Err(Bad::UnknownKey) => return Verdict::UnknownKey,
            Err(Bad::TooMany) => return Verdict::Refused(too_many()),
            Err(Bad::Because(reason)) => return Verdict::Refused(unauthenticated(Some(reason))),
        };
        let needs =
            rules.iter().flatten().filter_map(|rule| if let Rule::Needs(all) = rule { Some(all) } else { None });
        for need in needs.flatten() {
            let (has, word) = match need {
                Need::Scope(scope) => (claims.has_scope(scope), scope),
                Need::Role(role) => (claims.has_role(role), role),
            };
            if !has {
                return Verdict::Refused(forbidden(need, word));
            }
        }
        Verdict::Good(claims)
    }

    /// The verdict when no key was found, however often the keys were read.
    pub(super) fn no_key(&self) -> Refused {
        if self.store.now().incomplete {
            let text = "the keys of tokens cannot be read now";
            return Refused::new("auth", StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, text)
                .again_in(Duration::from_secs(1));
        }
        unauthenticated(Some("the token is signed with a key that is not known"))
    }

    fn claims(&self, token: &str, caller: &Caller, now: u64) -> Result<Claims, Bad> {
        let set = self.store.now();
        if let Some(known) = self.remembered.get(token)
            && known.generation == set.generation
        {
            let over = known.expires.saturating_add(self.leeway.as_secs()) < unix_now();
            return if over { Err(Bad::Because("the token has expired")) } else { Ok(known.claims.clone()) };
        }
        if let Some(Checks { rate, callers }) = &self.checks {
            let counted = callers.entry(caller, || RateLimiter::new(rate, now));
            // Where no place is left for a caller, none is refused for it.
            if counted.is_some_and(|limiter| !limiter.acquire(now, 1)) {
                return Err(Bad::TooMany);
            }
        }
        let (claims, expires) = self.verify(token, &set)?;
        let remember = || Remembered { claims: claims.clone(), expires, generation: set.generation };
        self.remembered.replace(token, remember);
        Ok(claims)
    }

    fn verify(&self, token: &str, set: &Set) -> Result<(Claims, u64), Bad> {
        // `none` and other algorithms that are no signature are none that can be read here.
        let header = decode_header(token).map_err(|_| Bad::Because("the token cannot be read"))?;
        if header.crit.is_some() {
            return Err(Bad::Because("the token asks for an extension that is not known"));
        }
        let mut reason = None;
        for key in set.candidates(header.kid.as_deref(), header.alg).take(MOST_TRIES) {
            match decode::<Map<String, Value>>(token, &key.key, &self.rules(key.algorithm)) {
                Ok(read) => {
                    let expires = read.claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
                    return Ok((Claims::new(read.claims), expires as u64));
                }
                Err(error) => reason = Some(why(error.kind())),
            }
        }
        Err(reason.map_or(Bad::UnknownKey, Bad::Because))
    }

    fn rules(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut rules = Validation::new(algorithm);
        rules.leeway = self.leeway.as_secs();
        rules.validate_nbf = true;
        let mut required = vec!["exp"];
        if self.audiences.is_empty() {
            rules.validate_aud = false;
        } else {
            rules.set_audience(&self.audiences);
            required.push("aud");
        }
        if !self.issuers.is_empty() {
            rules.set_issuer(&self.issuers);
            required.push("iss");
        }
        rules.set_required_spec_claims(&required);
        rules
    }
}

fn why(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks exp, aud or iss",
        _ => "the token cannot be read",
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(unauthenticated(None)) };
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim();
            if token.len() > MOST_TOKEN { Err(unauthenticated(Some("the token is too long"))) } else { Ok(token) }
        }
        _ => Err(unauthenticated(None)),
    }
}

/// RFC 6750, 3: without a token only the scheme is named.
fn unauthenticated(reason: Option<&str>) -> Refused {
    let text = reason.unwrap_or("a bearer token is needed");
    let mut refused = Refused::new("auth", StatusCode::UNAUTHORIZED, Code::Unauthenticated, text);
    let detail = reason.map(|reason| format!(" error=\"invalid_token\", error_description=\"{reason}\""));
    refused.challenge = Some(format!("Bearer{}", detail.unwrap_or_default()));
    refused
}

fn too_many() -> Refused {
    let text = "too many new tokens of this caller a second";
    Refused::new("auth", StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, text).again_in(Duration::from_secs(1))
}

fn forbidden(need: &Need, word: &str) -> Refused {
    let kind = if matches!(need, Need::Scope(_)) { "scope" } else { "role" };
    let text = format!("the token lacks the {kind} {word}");
    let mut refused = Refused::new("auth", StatusCode::FORBIDDEN, Code::PermissionDenied, text);
    let scope = if matches!(need, Need::Scope(_)) { format!(", scope=\"{word}\"") } else { String::new() };
    refused.challenge = Some(format!("Bearer error=\"insufficient_scope\"{scope}"));
    refused
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
