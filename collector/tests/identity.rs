//! Who is let in, and for what, over real HTTP with real tokens.

use std::path::Path;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Ask, Question, Refusal};
use fuseboard_api::change::{OverrideAction, OverrideSpec, Selector};
use fuseboard_api::command::{Action, Command, PolicyEdit, Receipt};
use fuseboard_api::fleet::AuditEntry;
use fuseboard_api::identity::{Deed, MadeToken, NewToken, Role, TokenInfo, Whoami};
use fuseboard_collector::tokens::Tokens;
use fuseboard_collector::{Auth, Collector, Config, Place};
use fuseboard_policy::settings::BreakerMode;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message as _;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::FakeAgent;
use crate::common::{SERVER, Stage, request, span};

fn wanted(name: &str, role: Role) -> NewToken {
    let services = if role == Role::Agent { vec!["orders".to_owned()] } else { Vec::new() };
    NewToken { name: name.into(), role, services, ttl_secs: Some(3_600), ..NewToken::default() }
}

/// A collector that asks, and one token of each role.
struct Guarded {
    stage: Stage,
    agent: String,
    viewer: String,
    operator: String,
    admin: String,
}

/// Makes tokens in the file of a collector that does not run.
async fn tokens(file: &Path, all: &[(&str, Role)]) -> Vec<MadeToken> {
    let tokens = Tokens::open(file).await.expect("the file is free");
    let mut made = Vec::new();
    for (name, role) in all {
        made.push(tokens.create(wanted(name, *role), "root at the file").await.expect("made"));
    }
    tokens.close().await;
    made
}

impl Guarded {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("data.fuseboard");
        let all = [("orders", Role::Agent), ("vera", Role::Viewer), ("otto", Role::Operator), ("ann", Role::Admin)];
        let [agent, viewer, operator, admin] =
            tokens(&file, &all).await.try_into().map(|made: [MadeToken; 4]| made.map(|m| m.token)).expect("four");
        let mut config = Config::new(&file).on_free_ports();
        config.jaeger_api = Place::At(([127, 0, 0, 1], 0).into());
        let handle = Collector::start(config).await.expect("the collector starts");
        Self { stage: Stage::of(handle, dir), agent, viewer, operator, admin }
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.stage.handle.addresses().control)
    }

    async fn send(&self, method: Method, url: &str, token: Option<&str>, body: &impl Serialize) -> reqwest::Response {
        let request = self.stage.http.request(method, url).json(body);
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        request.send().await.expect("an answer")
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, token: &str, body: &impl Serialize) -> Result<T, Refusal> {
        read(self.send(Method::POST, &self.at(path), Some(token), body).await).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, token: &str) -> Result<T, Refusal> {
        read(self.send(Method::GET, &self.at(path), Some(token), &()).await).await
    }

    async fn command(&self, token: &str, actor: &str, action: Action) -> Result<Receipt, Refusal> {
        let command = Command { actor: actor.into(), reason: "a test".into(), action };
        self.post("/v1/command", token, &command).await
    }

    async fn audit(&self) -> Vec<AuditEntry> {
        match self.stage.ask_at(Question::Audit(fuseboard_api::fleet::AuditQuery::default()), None).await.1 {
            fuseboard_api::ask::Answer::Audit(audit) => {
                assert_eq!(audit.broken_at, None);
                audit.entries
            }
            other => panic!("the audit, not {other:?}"),
        }
    }
}

async fn read<T: DeserializeOwned>(response: reqwest::Response) -> Result<T, Refusal> {
    if response.status().is_success() {
        Ok(response.json().await.expect("words"))
    } else {
        Err(response.json().await.expect("a refusal"))
    }
}

fn ask() -> Ask {
    Ask { question: Question::Totals, as_of: None }
}

/// One of every action; the match keeps the list whole.
fn every_action() -> Vec<Action> {
    let selector = Selector::default();
    let spec = OverrideSpec { selector, action: OverrideAction::Mode(BreakerMode::ForcedOpen) };
    let edit = PolicyEdit {
        caller: None,
        service: "*".into(),
        operation: None,
        path: "timeout.attempt_ms".into(),
        value: Some("800".into()),
    };
    let all = vec![
        Action::set_policy(0, ""),
        Action::edit_policy(0, vec![edit]),
        Action::rollback(0),
        Action::PauseRollout { revision: 1 },
        Action::ResumeRollout { revision: 1 },
        Action::AbortRollout { revision: 1 },
        Action::PromoteRollout { revision: 1, force: true },
        Action::ConfirmRevision { revision: 1 },
        Action::SetOverride { spec, ttl_ms: 1_000 },
        Action::RenewOverride { id: 1, ttl_ms: 2_000 },
        Action::EndOverride { id: 1 },
        Action::EndAllOverrides,
        Action::StartIncident { name: "x".into(), from: UnixNanos(1) },
        Action::StopIncident { id: 1, to: None },
        Action::RenameIncident { id: 1, name: "y".into() },
        Action::SetReadOnly { on: false },
    ];
    for (n, action) in all.iter().enumerate() {
        let place = match action {
            Action::SetPolicy { .. } => 0,
            Action::EditPolicy { .. } => 1,
            Action::Rollback { .. } => 2,
            Action::PauseRollout { .. } => 3,
            Action::ResumeRollout { .. } => 4,
            Action::AbortRollout { .. } => 5,
            Action::PromoteRollout { .. } => 6,
            Action::ConfirmRevision { .. } => 7,
            Action::SetOverride { .. } => 8,
            Action::RenewOverride { .. } => 9,
            Action::EndOverride { .. } => 10,
            Action::EndAllOverrides => 11,
            Action::StartIncident { .. } => 12,
            Action::StopIncident { .. } => 13,
            Action::RenameIncident { .. } => 14,
            Action::SetReadOnly { .. } => 15,
        };
        assert_eq!(place, n, "a new action belongs into this list");
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_nobody_gets_in_anywhere() {
    let guarded = Guarded::start().await;
    let addresses = guarded.stage.handle.addresses();
    let (metrics, jaeger) = (addresses.metrics.expect("listens"), addresses.jaeger_api.expect("listens"));
    let mut all = Vec::new();
    for (method, path) in [
        (Method::POST, "/v1/ask"),
        (Method::POST, "/v1/command"),
        (Method::GET, "/v1/live"),
        (Method::GET, "/v1/incidents/1/file"),
        (Method::GET, "/v1/traces/00000000000000000000000000000001"),
        (Method::GET, "/v1/stats"),
        (Method::GET, "/v1/export?format=jaeger"),
        (Method::GET, "/v1/edges"),
        (Method::GET, "/v1/tail"),
        (Method::GET, "/v1/whoami"),
        (Method::GET, "/v1/tokens"),
        (Method::POST, "/v1/tokens"),
        (Method::POST, "/v1/tokens/0/revoke"),
        (Method::GET, "/no/such/place"),
    ] {
        all.push((method, guarded.at(path)));
    }
    for url in [format!("http://{metrics}/metrics"), format!("http://{metrics}/healthz")] {
        all.push((Method::GET, url));
    }
    for path in ["services", "services/x/operations", "operations", "traces", "traces/1", "dependencies"] {
        all.push((Method::GET, format!("http://{jaeger}/api/{path}")));
    }
    for (method, url) in all {
        for token in [None, Some("nonsense"), Some(&*"fb_0123456789abcdef_".to_owned())] {
            let reply = guarded.send(method.clone(), &url, token, &ask()).await;
            assert_eq!(reply.status(), StatusCode::UNAUTHORIZED, "{method} {url} with {token:?}");
            let asks = reply.headers().get("www-authenticate").expect("says how").to_str().expect("text").to_owned();
            assert!(asks.starts_with("Bearer"), "{asks}");
            let refusal: Refusal = reply.json().await.expect("a refusal");
            assert_eq!(refusal.code, "unauthenticated");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_may_read_and_nothing_else() {
    let guarded = Guarded::start().await;
    let viewer = guarded.viewer.as_str();
    guarded.post::<serde_json::Value>("/v1/ask", viewer, &ask()).await.expect("reads");
    let who: Whoami = guarded.get("/v1/whoami", viewer).await.expect("told");
    assert_eq!((who.name.as_str(), who.role, who.asked), ("vera", Role::Viewer, true));
    assert_eq!(who.may, [Deed::Whoami, Deed::Read, Deed::Scrape]);
    for action in every_action() {
        let lacks = if matches!(action, Action::SetReadOnly { .. }) { "role admin" } else { "operator" };
        for actor in ["vera", "ann"] {
            let refusal = guarded.command(viewer, actor, action.clone()).await.expect_err("a viewer");
            assert_eq!(refusal.code, "forbidden", "{action:?}");
            assert!(refusal.message.contains("vera is a viewer") && refusal.message.contains(lacks), "{refusal}");
            assert!(who.may_not.iter().any(|(_, why)| *why == refusal.message), "the console says the same: {refusal}");
        }
    }
    let refusal = guarded.post::<MadeToken>("/v1/tokens", viewer, &wanted("eve", Role::Admin)).await.expect_err("no");
    assert!(refusal.code == "forbidden" && refusal.message.contains("admin"), "{refusal}");
    let reply = guarded.send(Method::GET, &guarded.at("/v1/tokens"), Some(viewer), &()).await;
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
    // It is in the audit, under the name of the token, and no more often than there is room for.
    let refused: Vec<_> = guarded.audit().await.into_iter().filter(|e| e.action == "access.refused").collect();
    assert!(!refused.is_empty() && refused.len() <= 10, "{refused:?}");
    assert!(refused.iter().all(|e| e.actor == "vera" && e.detail.contains("127.0.0.1")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_acts_under_the_name_of_the_token_alone() {
    let guarded = Guarded::start().await;
    let operator = guarded.operator.as_str();
    let action = Action::set_policy(0, "");
    guarded.command(operator, "ann", action).await.expect("an operator may");
    let audit = guarded.audit().await;
    let set = audit.iter().find(|e| e.action == "policy.set").expect("written down");
    assert_eq!(set.actor, "otto");
    // Whatever is wrong with an action, it is not the role.
    for action in every_action() {
        let admins_only = matches!(action, Action::SetReadOnly { .. });
        if let Err(refusal) = guarded.command(operator, "", action).await {
            assert_eq!(refusal.code == "forbidden", admins_only, "{refusal}");
        }
    }
    let refusal = guarded.post::<MadeToken>("/v1/tokens", operator, &wanted("eve", Role::Admin)).await.expect_err("no");
    assert_eq!(refusal.code, "forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_reads_nothing_and_a_person_is_no_agent() {
    let guarded = Guarded::start().await;
    let refusal = guarded.post::<serde_json::Value>("/v1/ask", &guarded.agent, &ask()).await.expect_err("an agent");
    assert!(refusal.code == "forbidden" && refusal.message.contains("orders is an agent"), "{refusal}");
    let who: Whoami = guarded.get("/v1/whoami", &guarded.agent).await.expect("told");
    assert_eq!((who.role, who.services.as_slice()), (Role::Agent, &["orders".to_owned()][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_end_when_they_are_revoked_or_expire() {
    let guarded = Guarded::start().await;
    let admin = guarded.admin.as_str();
    let short = NewToken { ttl_secs: Some(1), ..wanted("eve", Role::Viewer) };
    let made: MadeToken = guarded.post("/v1/tokens", admin, &short).await.expect("an admin may");
    assert!(made.info.created_by == "ann" && made.info.expires.is_some());
    let kept: MadeToken = guarded.post("/v1/tokens", admin, &wanted("bob", Role::Viewer)).await.expect("made");
    guarded.get::<Whoami>("/v1/whoami", &kept.token).await.expect("good");
    // Expiry needs no event: the instant itself ends it.
    while UnixNanos::now() <= made.info.expires.expect("set") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let refusal = guarded.get::<Whoami>("/v1/whoami", &made.token).await.expect_err("expired");
    assert!(refusal.code == "unauthenticated" && refusal.message.contains("expired at"), "{refusal}");
    let path = format!("/v1/tokens/{}/revoke", kept.info.id);
    let info: TokenInfo = guarded.post(&path, admin, &serde_json::json!({"reason": "left"})).await.expect("revoked");
    assert_eq!(info.revoked_by.as_deref(), Some("ann"));
    let refusal = guarded.get::<Whoami>("/v1/whoami", &kept.token).await.expect_err("revoked");
    assert!(refusal.code == "unauthenticated" && refusal.message.contains("was revoked at"), "{refusal}");
    let again = guarded.post::<TokenInfo>(&path, admin, &serde_json::json!({})).await.expect_err("once");
    assert_eq!(again.code, "conflict");
    // All of it is in the audit; no secret is anywhere in the file.
    let audit = guarded.audit().await;
    let told = |action: &str| audit.iter().filter(|e| e.action == action).count();
    assert_eq!((told("token.created"), told("token.revoked")), (6, 1));
    let list: Vec<TokenInfo> = guarded.get("/v1/tokens", admin).await.expect("listed");
    assert_eq!(list.len(), 6);
    let (file, token) = (guarded.stage.file(), guarded.admin.clone());
    let dir = guarded.stage.stop().await;
    let secret = token.rsplit('_').next().expect("a secret").as_bytes().to_owned();
    for entry in std::fs::read_dir(dir.path()).expect("a directory") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        assert!(!bytes.windows(secret.len()).any(|w| w == secret), "a secret is in a file");
    }
    // What was revoked stays so.
    let handle = Collector::start(Config::new(&file).on_free_ports()).await.expect("starts again");
    let url = format!("http://{}/v1/whoami", handle.addresses().control);
    let status = async |token: &str| {
        reqwest::Client::new().get(&url).bearer_auth(token).send().await.expect("an answer").status()
    };
    assert_eq!(status(&kept.token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&token).await, StatusCode::OK);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_secrets_are_slowed_down_and_hold_up_nobody_else() {
    let guarded = Guarded::start().await;
    // Ann was here before; Otto was not.
    guarded.get::<Whoami>("/v1/whoami", &guarded.admin).await.expect("good");
    let forged = |token: &str| {
        let (head, secret) = token.rsplit_once('_').expect("a secret");
        format!("{head}_{}", "0".repeat(secret.len()))
    };
    let (viewers, admins) = (forged(&guarded.viewer), forged(&guarded.admin));
    let guess =
        async |token: &str| guarded.send(Method::GET, &guarded.at("/v1/whoami"), Some(token), &()).await.status();
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(guess(&viewers).await);
        assert_eq!(guess(&admins).await, StatusCode::UNAUTHORIZED, "cheap to refuse once the right one was shown");
        guarded.get::<Whoami>("/v1/whoami", &guarded.admin).await.expect("not held up");
    }
    let slowed = statuses.iter().filter(|s| **s == StatusCode::TOO_MANY_REQUESTS).count();
    assert!(slowed >= 30, "{statuses:?}");
    guarded.get::<Whoami>("/v1/whoami", &guarded.operator).await.expect("a first time is not held up, either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_desktop_asks_nobody_until_it_has_an_admin() {
    let stage = Stage::with(|config, _| config.auth = Auth::Auto).await;
    let url = format!("http://{}/v1/whoami", stage.handle.addresses().control);
    let who: Whoami = stage.http.get(&url).send().await.expect("an answer").json().await.expect("words");
    assert_eq!((who.asked, who.role, who.may_not.len()), (false, Role::Admin, 0));
    // Tokens of others change nothing here.
    let reply = stage.http.get(&url).bearer_auth("somebody else's").send().await.expect("an answer");
    assert_eq!(reply.status(), StatusCode::OK);
}

/// One span of each service.
fn spans_of(services: &[&str]) -> ExportTraceServiceRequest {
    let mut all = Vec::new();
    for (n, service) in (1..).zip(services) {
        let mut one = request(service, vec![span(n, n, 0, SERVER, "GET /")]);
        all.append(&mut one.resource_spans);
    }
    ExportTraceServiceRequest { resource_spans: all }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_sends_for_its_own_services_alone() {
    let guarded = Guarded::start().await;
    let send = async |token: Option<&str>, request: &ExportTraceServiceRequest| {
        let post = guarded.stage.http.post(guarded.stage.url("/v1/traces")).body(request.encode_to_vec());
        let post = post.header("content-type", "application/x-protobuf");
        token.into_iter().fold(post, |post, token| post.bearer_auth(token)).send().await.expect("an answer")
    };
    let both = spans_of(&["orders", "payments"]);
    for (token, status) in [(None, 401), (Some(&*guarded.viewer), 403), (Some(&*guarded.operator), 403)] {
        let reply = send(token, &both).await;
        assert_eq!(reply.status().as_u16(), status);
        assert_eq!(reply.headers().contains_key("www-authenticate"), status == 401);
        assert_eq!(reply.headers().get("content-type").expect("a kind"), "application/x-protobuf");
    }
    assert_eq!(guarded.stage.totals().await.spans, 0);
    let reply = send(Some(&guarded.agent), &both).await;
    assert_eq!(reply.status(), StatusCode::OK);
    let said = ExportTraceServiceResponse::decode(reply.bytes().await.expect("a body")).expect("OTLP");
    let partial = said.partial_success.expect("one is not its own");
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("payments") && partial.error_message.contains("token"), "{partial:?}");
    let totals = guarded.stage.totals().await;
    assert_eq!((totals.spans, totals.services, totals.rejected), (1, vec!["orders".to_owned()], 1));
    // The same over gRPC.
    let mut client = guarded.stage.grpc().await;
    let refused = client.export(both.clone()).await.expect_err("no token");
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let mut request = tonic::Request::new(spans_of(&["payments"]));
    request.metadata_mut().insert("authorization", format!("Bearer {}", guarded.agent).parse().expect("a header"));
    let said = client.export(request).await.expect("heard").into_inner();
    assert_eq!(said.partial_success.expect("not its own").rejected_spans, 1);
    assert_eq!(guarded.stage.totals().await.spans, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_opens_the_control_stream_of_its_own_service_alone() {
    let guarded = Guarded::start().await;
    let refused = FakeAgent::with_token(&guarded.stage, None, "orders").await.err().expect("no token");
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let refused = FakeAgent::with_token(&guarded.stage, Some(&guarded.admin), "orders").await.err().expect("a person");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let mut other = FakeAgent::with_token(&guarded.stage, Some(&guarded.agent), "payments").await.expect("a stream");
    let refused = other.next().await.expect_err("another's service");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert!(refused.message().contains("payments"), "{refused:?}");
    let mut own = FakeAgent::with_token(&guarded.stage, Some(&guarded.agent), "orders").await.expect("a stream");
    own.next_overrides().await;
}
