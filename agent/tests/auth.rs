//! Bearer tokens: who is let in, and every way in that is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use fuseboard_agent::guard::{Auth, Caller, Claims, Keys};
use fuseboard_agent::tls::Pem;
use fuseboard_agent::{Agent, guard};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::Code;
use tower::{Layer as _, ServiceExt as _};

use crate::collector::{Collector, soon};
use crate::rig::agent;

const RSA: &str = include_str!("data/rsa.pem");
const RSA_PUBLIC: &str = include_str!("data/rsa.pub.pem");
const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({ "sub": "ann", "aud": "orders", "iss": "login", "exp": now() + 600, "scope": "read" })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn rsa(claims: &Value) -> String {
    encode(&Header::new(Algorithm::RS256), claims, &EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap()).unwrap()
}

fn rsa_auth() -> Auth {
    Auth::jwt("orders", Keys::pem(Pem::text(RSA_PUBLIC)).unwrap()).issuer("login")
}

/// A router behind auth; it answers with who calls.
fn router(agent: &Agent, auth: Auth) -> Router {
    let who = |Extension(caller): Extension<Caller>, claims: Option<Extension<Claims>>| async move {
        assert!(claims.is_some_and(|Extension(claims)| claims.subject() == Some(&*caller.to_string())));
        caller.to_string()
    };
    let router = Router::new().route("/orders/{id}", get(who)).route("/admin/{*rest}", get(who));
    router.route("/healthz", get(|| async { "well" })).layer(agent.http_server().with_auth(auth))
}

async fn ask(router: &Router, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    soon("an answer", router.clone().oneshot(request.body(Body::empty()).unwrap())).await.unwrap()
}

async fn status(router: &Router, path: &str, token: &str) -> u16 {
    ask(router, path, Some(token)).await.status().as_u16()
}

fn challenge(answer: &Response<Body>) -> &str {
    answer.headers()["www-authenticate"].to_str().unwrap()
}

/// A key pair, by which tokens are signed and checked.
struct Pair {
    signing: EncodingKey,
    algorithm: Algorithm,
    public: String,
}

impl Pair {
    fn ec() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let signing = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { signing, algorithm: Algorithm::ES256, public: pair.public_key_pem() }
    }

    fn ed() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let signing = EncodingKey::from_ed_der(pair.serialized_der());
        Self { signing, algorithm: Algorithm::EdDSA, public: pair.public_key_pem() }
    }

    fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.signing).unwrap()
    }

    fn jwk(&self, kid: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.signing, self.algorithm).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }
}

#[tokio::test]
async fn good_tokens_of_every_kind_are_let_in() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let (ec, ed) = (Pair::ec(), Pair::ed());
    let secret = encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(SECRET)).unwrap();
    for (keys, token) in [
        (Keys::pem(Pem::text(RSA_PUBLIC)), rsa(&claims())),
        (Keys::pem(Pem::text(&ec.public)), ec.sign(None, &claims())),
        (Keys::pem(Pem::text(&ed.public)), ed.sign(Some("any"), &claims())),
        (Keys::secret(SECRET), secret),
    ] {
        let router = router(&orders, Auth::jwt("orders", keys.unwrap()).issuer("login").open("/healthz"));
        // The second time it is remembered.
        for _ in 0..2 {
            let answer = ask(&router, "/orders/7", Some(&token)).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(axum::body::to_bytes(answer.into_body(), 100).await.unwrap(), "ann");
        }
        assert_eq!(ask(&router, "/healthz", None).await.status(), StatusCode::OK);
        assert_eq!(challenge(&ask(&router, "/orders/7", None).await), "Bearer");
    }
}

/// Base64 as tokens are written.
fn b64(value: &Value) -> String {
    // The middle part of a token is the text of its claims.
    let token = encode(&Header::default(), value, &EncodingKey::from_secret(SECRET)).unwrap();
    token.split('.').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn every_known_attack_is_refused() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let router = router(&orders, rsa_auth());
    let good = rsa(&claims());
    let [head, body, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let hmac =
        |secret: &[u8]| encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(secret)).unwrap();
    let stranger = Pair::ec();
    let own_key = Header { jwk: serde_json::from_value(stranger.jwk("x")).ok(), ..Header::new(Algorithm::ES256) };
    let critical = Header { crit: Some(vec!["x".to_owned()]), ..Header::new(Algorithm::RS256) };
    let rsa_key = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    let none = |alg: &str| format!("{}.{body}.", b64(&json!({ "alg": alg, "typ": "JWT" })));
    for (what, token, says) in [
        ("no algorithm", none("none"), "cannot be read"),
        ("no algorithm, otherwise written", none("nOnE"), "cannot be read"),
        ("no signature", format!("{head}.{body}."), "signature is wrong"),
        ("the public key as a secret", hmac(RSA_PUBLIC.as_bytes()), "not known"),
        ("the public key as a secret, trimmed", hmac(RSA_PUBLIC.trim().as_bytes()), "not known"),
        ("other claims", format!("{head}.{}.{signature}", b64(&with("sub", "root"))), "signature is wrong"),
        ("a key that it brings along", encode(&own_key, &claims(), &stranger.signing).unwrap(), "not known"),
        ("an extension", encode(&critical, &claims(), &rsa_key).unwrap(), "extension"),
        ("expired", rsa(&with("exp", now() - 60)), "expired"),
        ("without an end", rsa(&without("exp")), "lacks"),
        ("an end that is no number", rsa(&with("exp", "never")), "lacks"),
        ("not yet", rsa(&with("nbf", now() + 60)), "not valid yet"),
        ("of another audience", rsa(&with("aud", "payments")), "audience"),
        ("of other audiences", rsa(&with("aud", json!(["payments", "stock"]))), "audience"),
        ("without an audience", rsa(&without("aud")), "lacks"),
        ("of another issuer", rsa(&with("iss", "elsewhere")), "issuer"),
        ("without an issuer", rsa(&without("iss")), "lacks"),
        ("much too long", rsa(&with("x", "x".repeat(10_000))), "too long"),
        ("nonsense", "a.b.c".to_owned(), "cannot be read"),
        ("nothing", String::new(), "cannot be read"),
    ] {
        let answer = ask(&router, "/orders/7", Some(&token)).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
        let challenge = challenge(&answer);
        assert!(challenge.contains(says), "{what}: {challenge}");
        assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{what}: {challenge}");
    }
    // Within the leeway both ends are forgiven.
    assert_eq!(status(&router, "/orders/7", &rsa(&with("exp", now() - 10))).await, 200);
    assert_eq!(status(&router, "/orders/7", &rsa(&with("nbf", now() + 10))).await, 200);
    // Two tokens are no token.
    let twice = Request::get("/orders/7").header("authorization", format!("Bearer {good}"));
    let twice = twice.header("authorization", format!("Bearer {good}")).body(Body::empty()).unwrap();
    assert_eq!(router.clone().oneshot(twice).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_remembered_token_still_expires() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let router = router(&orders, rsa_auth().leeway(Duration::ZERO));
    let token = rsa(&with("exp", now() + 2));
    assert_eq!(status(&router, "/orders/7", &token).await, 200);
    soon("its end", async {
        while status(&router, "/orders/7", &token).await == 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_forged_tokens_is_not_looked_at() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let router = router(&orders, rsa_auth().checks_per_caller(1, 5));
    let good = rsa(&claims());
    assert_eq!(status(&router, "/orders/7", &good).await, 200);
    let mut last = 0;
    for n in 0..20 {
        last = status(&router, "/orders/7", &good.replacen('.', &format!("{n}."), 1)).await;
    }
    assert_eq!(last, 429);
    // What was checked once goes on.
    assert_eq!(status(&router, "/orders/7", &good).await, 200);
}

#[tokio::test]
async fn routes_ask_for_scopes_and_roles_however_they_are_written() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let auth = rsa_auth().scope("/admin/*", "admin").role("/admin/users/*", "clerk").scope("/orders/{id}", "read");
    let router = router(&orders, auth);
    let (reader, admin) = (rsa(&claims()), rsa(&with("scope", "read admin")));
    let mut clerk = with("scope", "admin");
    clerk["roles"] = json!(["clerk"]);
    assert_eq!(status(&router, "/orders/7", &reader).await, 200);
    assert_eq!(status(&router, "/orders/7", &rsa(&clerk)).await, 403);
    let answer = ask(&router, "/admin/a", Some(&reader)).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(challenge(&answer), "Bearer error=\"insufficient_scope\", scope=\"admin\"");
    for path in ["/%61dmin/a", "/admin/%61"] {
        assert_ne!(status(&router, path, &reader).await, 200, "{path}");
    }
    assert_eq!(status(&router, "/admin/a", &admin).await, 200);
    // The most specific rule of the path, and what the template asks for.
    assert_eq!(status(&router, "/admin/users/7", &admin).await, 403);
    assert_eq!(status(&router, "/admin/users/7", &rsa(&clerk)).await, 200);
}

#[tokio::test]
async fn grpc_is_answered_in_its_own_words() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let layer = orders.grpc_server().with_auth(rsa_auth().scope("/shop.Orders/Cancel", "cancel"));
    let service = layer.layer(tower::service_fn(|request: Request<tonic::body::Body>| async move {
        assert!(request.extensions().get::<Claims>().is_some());
        Ok::<_, std::convert::Infallible>(tonic::Status::ok("").into_http::<tonic::body::Body>())
    }));
    let call = |path: &'static str, token: Option<String>| {
        let mut request = Request::post(path).header("content-type", "application/grpc");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let service = service.clone();
        async move {
            let answer = service.oneshot(request.body(tonic::body::Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            Code::from_bytes(answer.headers()["grpc-status"].as_bytes())
        }
    };
    assert_eq!(call("/shop.Orders/Get", Some(rsa(&claims()))).await, Code::Ok);
    assert_eq!(call("/shop.Orders/Get", None).await, Code::Unauthenticated);
    assert_eq!(call("/shop.Orders/Cancel", Some(rsa(&claims()))).await, Code::PermissionDenied);
    let spans = collector.spans("all", |spans| spans.len() == 3).await;
    let refused = spans.iter().filter(|s| s.text("resilience.refused_by").as_deref() == Some("auth"));
    assert_eq!(refused.count(), 2);
    orders.flush().await;
    collector.metrics("the count", |names| names.iter().any(|name| name == "resilience.requests.refused")).await;
}

/// An issuer that publishes what it is told to.
struct Issuer {
    url: String,
    hits: Arc<AtomicUsize>,
    keys: Arc<std::sync::Mutex<Option<Value>>>,
}

impl Issuer {
    async fn start() -> Self {
        let (hits, keys) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(None::<Value>)));
        let answer = {
            let (hits, keys) = (hits.clone(), keys.clone());
            move || {
                hits.fetch_add(1, Ordering::SeqCst);
                let keys = keys.lock().unwrap().clone();
                std::future::ready(keys.map(axum::Json).ok_or(StatusCode::BAD_GATEWAY))
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().route("/keys", get(answer))).into_future());
        Self { url, hits, keys }
    }

    fn publish(&self, keys: &[Value]) {
        *self.keys.lock().unwrap() = Some(json!({ "keys": keys }));
    }

    fn auth(&self) -> Auth {
        Auth::jwt("orders", Keys::jwks_url(&self.url).unwrap())
    }
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_found_by_its_id() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let (issuer, old, new) = (Issuer::start().await, Pair::ec(), Pair::ec());
    let secret = json!({ "kty": "oct", "kid": "c", "k": b64(&json!("x")), "alg": "HS256" });
    issuer.publish(&[old.jwk("a"), secret, json!({ "kty": "unheard of", "kid": "d" })]);
    let router = router(&orders, issuer.auth());
    assert_eq!(status(&router, "/orders/7", &old.sign(Some("a"), &claims())).await, 200);
    assert_eq!(status(&router, "/orders/7", &old.sign(None, &claims())).await, 200);
    assert_eq!(issuer.hits.load(Ordering::SeqCst), 1);
    issuer.publish(&[new.jwk("b")]);
    assert_eq!(status(&router, "/orders/7", &new.sign(Some("b"), &claims())).await, 200);
    // What is not published any more is not good any more, though it was remembered.
    assert_eq!(status(&router, "/orders/7", &old.sign(Some("a"), &claims())).await, 401);
    // Ids that nobody knows do not become a storm at the issuer.
    for n in 0..50 {
        assert_eq!(status(&router, "/orders/7", &new.sign(Some(&n.to_string()), &claims())).await, 401);
    }
    assert!(issuer.hits.load(Ordering::SeqCst) < 10, "{:?}", issuer.hits);
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_and_it_is_told() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let (issuer, pair) = (Issuer::start().await, Pair::ec());
    let router = router(&orders, issuer.auth());
    let answer = ask(&router, "/orders/7", Some(&pair.sign(Some("a"), &claims()))).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    collector.logs("why", |logs| logs.iter().any(|log| format!("{:?}", log.body).contains("it answers 502"))).await;
}

#[tokio::test]
async fn a_document_in_a_file_is_read_again_and_a_broken_one_is_not_taken() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let (file, old, new) = (tempfile::NamedTempFile::new().unwrap(), Pair::ec(), Pair::ec());
    let put = |text: &str| std::fs::write(file.path(), text).unwrap();
    put(&json!({ "keys": [old.jwk("a")] }).to_string());
    let router = router(&orders, Auth::jwt("orders", Keys::jwks_file(file.path())));
    assert_eq!(status(&router, "/orders/7", &old.sign(Some("a"), &claims())).await, 200);
    put("{\"keys\": [");
    assert_eq!(status(&router, "/orders/7", &new.sign(Some("b"), &claims())).await, 401);
    collector.logs("why", |logs| logs.iter().any(|log| format!("{:?}", log.body).contains("the last ones stay"))).await;
    assert_eq!(status(&router, "/orders/7", &old.sign(Some("a"), &claims())).await, 200);
    put(&json!({ "keys": [old.jwk("a"), new.jwk("b")] }).to_string());
    soon("the new key", async {
        while status(&router, "/orders/7", &new.sign(Some("b"), &claims())).await != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn keys_that_cannot_be_safe_are_refused_by_name() {
    let says = |keys: Result<Keys, guard::KeyError>| keys.unwrap_err().to_string();
    assert!(says(Keys::secret("short")).contains("32 at least"));
    assert!(says(Keys::pem(Pem::text(RSA))).contains("private"));
    assert!(says(Keys::pem("/no/such/key.pem")).contains("/no/such/key.pem"));
    assert!(says(Keys::pem(Pem::text("nonsense"))).contains("no public key"));
    assert!(says(Keys::jwks_url("http://login.example.org/keys")).contains("https://"));
    assert!(!says(Keys::jwks_url("http://ann:secret@login.example.org/keys")).contains("secret"));
}
