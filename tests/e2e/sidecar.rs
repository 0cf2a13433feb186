//! Services in other languages, steered through the sidecar.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::ChangeState;
use fuseboard_api::command::{Action, PolicyEdit};
use fuseboard_api::trace::{Trace, TraceQuery};
use fuseboard_policy::names;
use fuseboard_sidecar::{Config, Sidecar};
use fuseboard_tests::stage::{PATIENCE, Stage, all_changes, last};
use serde_json::{Value, json};

const POLICY: &str = r#"
[[edge]]
service = "payments"
timeout = { attempt_ms = 20000 }
breaker = { consecutive_failures = 3, open_ms = 1000, half_open_successes = 1 }
"#;

/// A service in another language.
struct Program {
    child: Child,
    port: u16,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts one that says its port on its first line. Where the language is missing, so is the test.
    fn start(stage: &Stage, language: &str, name: &str, text: &str) -> Result<Option<Self>> {
        let file = stage.folder.path().join(name);
        std::fs::write(&file, text)?;
        let started = Command::new(language).arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = started else {
            let _ = writeln!(std::io::stderr(), "not run: services through the sidecar (needs {language})");
            return Ok(None);
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Some(Self { child, port: line.trim().parse()? }))
    }
}

/// Orders in Python and payments in Node, each with a sidecar beside it.
struct Scene {
    stage: Stage,
    _programs: [Program; 2],
    orders: Sidecar,
    payments: Sidecar,
    mood: String,
    client: reqwest::Client,
}

impl Scene {
    async fn set() -> Result<Option<Self>> {
        let stage = Stage::set(POLICY).await?;
        let Some(node) = Program::start(&stage, "node", "payments.js", include_str!("../data/sidecar/payments.js"))?
        else {
            return Ok(None);
        };
        let Some(python) = Program::start(&stage, "python3", "orders.py", include_str!("../data/sidecar/orders.py"))?
        else {
            return Ok(None);
        };
        let payments = beside(&stage, "payments", "/charges/{id}", node.port, "").await?;
        let upstream = format!(
            "[[outbound]]\nlisten = \"127.0.0.1:0\"\nto = \"payments\"\n\
             [[upstream]]\nservice = \"payments\"\naddresses = [\"{}\"]\nroutes = [\"/charges/{{id}}\"]\n",
            payments.inbound()[0]
        );
        let orders = beside(&stage, "orders", "/orders/{id}", python.port, &upstream).await?;
        stage.connected("orders", 1).await?;
        let client = reqwest::Client::new();
        let told = client.post(format!("http://127.0.0.1:{}/upstream", python.port));
        told.body(format!("http://{}", orders.outbound()[0])).send().await?.error_for_status()?;
        let mood = format!("http://127.0.0.1:{}/mood", node.port);
        Ok(Some(Self { stage, _programs: [node, python], orders, payments, mood, client }))
    }

    /// Changes how payments is; how many charges it has seen.
    async fn mood(&self, mood: Value) -> Result<u64> {
        let answer = self.client.post(&self.mood).body(mood.to_string()).send().await?.bytes().await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        answer["seen"].as_u64().context("no count")
    }

    /// What orders was told by payments, or by the sidecar in its place.
    async fn order(&self) -> Result<Value> {
        let url = format!("http://{}/orders/7", self.orders.inbound()[0]);
        let answer = self.client.get(url).send().await?.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// A trace that has all that is looked for, once its spans are there.
    async fn trace(&self, what: &str, query: TraceQuery, fits: impl Fn(&Trace) -> bool) -> Result<Trace> {
        let found = |answer: &Answer| {
            let Answer::Traces(list) = answer else { return None };
            list.rows.first().map(|row| row.trace_id)
        };
        let id = self.stage.until(what, Question::Traces(query), found).await?;
        let whole = |answer: &Answer| {
            let Answer::Trace(Some(trace)) = answer else { return None };
            fits(trace).then(|| trace.clone())
        };
        self.stage.until(what, Question::Trace(id), whole).await
    }

    async fn end(self) {
        self.orders.shutdown().await;
        self.payments.shutdown().await;
        self.stage.collector.shutdown().await;
    }
}

async fn beside(stage: &Stage, service: &str, route: &str, port: u16, more: &str) -> Result<Sidecar> {
    let text = format!(
        "service = {{ name = \"{service}\" }}\ntelemetry = {{ otlp = \"{}\" }}\ncontrol = {{ address = \"{}\" }}\n\
         [[inbound]]\nlisten = \"127.0.0.1:0\"\nto = \"127.0.0.1:{port}\"\nroutes = [\"{route}\"]\n{more}",
        stage.otlp()?,
        stage.control()
    );
    Ok(Sidecar::start(Config::parse(&text, "a test")?).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_node_trip_refuse_probe_and_recover() -> Result<()> {
    let Some(scene) = Scene::set().await? else { return Ok(()) };
    assert_eq!(scene.order().await?["status"], 200);
    one_trace_through_both(&scene).await?;

    scene.mood(json!({ "fail": true })).await?;
    for _ in 0..3 {
        assert_eq!(scene.order().await?["status"], 500);
    }
    let seen = scene.mood(json!({})).await?;
    let refused = scene.order().await?;
    assert_eq!((&refused["status"], &refused["refused_by"]), (&json!(503), &json!("breaker")), "{refused}");
    assert!(refused["body"].as_str().is_some_and(|body| body.contains("GET /charges/{id}")), "{refused}");
    assert_eq!(scene.mood(json!({})).await?, seen, "the refused call reached nobody");

    let tripped = Instant::now();
    while scene.order().await?["status"] != 200 {
        assert!(tripped.elapsed() < PATIENCE, "the breaker never closes");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let attributes = vec![(names::BREAKER_PROBE.to_owned(), "true".to_owned())];
    let probe = TraceQuery { range: last(60), attributes, ..TraceQuery::default() };
    scene.trace("the probe that closed the breaker", probe, |_| true).await?;
    scene.end().await;
    Ok(())
}

/// Both services and both sides of the call between them, each the child of the one before.
async fn one_trace_through_both(scene: &Scene) -> Result<()> {
    let operation = Some("GET /orders/{id}".to_owned());
    let query = TraceQuery { range: last(60), operation, ..TraceQuery::default() };
    let trace = scene.trace("a trace through Python and Node", query, |trace| trace.spans.len() == 4).await?;
    let mut below = None;
    for (service, name) in [
        ("orders", "GET /orders/{id}"),
        ("orders", "GET /charges/{id}"),
        ("orders", "GET /charges/{id}"),
        ("payments", "GET /charges/{id}"),
    ] {
        let span = trace.spans.iter().find(|span| span.parent == below).context("the chain breaks")?;
        assert_eq!((span.origin.service.as_str(), span.name.as_str()), (service, name));
        below = Some(span.span_id);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_moved_live_cuts_the_calls_of_a_python_service() -> Result<()> {
    let Some(scene) = Scene::set().await? else { return Ok(()) };
    let edit = PolicyEdit {
        caller: None,
        service: "payments".to_owned(),
        operation: None,
        path: "timeout.attempt_ms".to_owned(),
        value: Some("150".to_owned()),
    };
    assert_eq!(scene.order().await?["status"], 200);
    let receipt = scene.stage.command(Action::edit_policy(1, vec![edit])).await?;
    let revision = receipt.revision.context("no revision")?;
    let applied = |answer: &Answer| {
        let Answer::Changes(changes) = answer else { return None };
        changes.revisions.iter().find(|c| c.id == revision && c.state == ChangeState::Applied).map(|_| ())
    };
    scene.stage.until("the moved timeout in both sidecars", all_changes(), applied).await?;
    scene.mood(json!({ "slow_ms": 60000 })).await?;
    let cut = scene.order().await?;
    assert_eq!((&cut["status"], &cut["refused_by"]), (&json!(504), &json!("timeout")), "{cut}");
    let attributes =
        vec![(names::OUTCOME.to_owned(), "timeout".to_owned()), (names::REVISION.to_owned(), revision.to_string())];
    let query = TraceQuery { range: last(60), attributes, ..TraceQuery::default() };
    let trace = scene.trace("the cut call", query, |_| true).await?;
    let timeouts = trace.spans.iter().filter_map(|span| span.attr(names::ATTEMPT_TIMEOUT_MS)?.as_int());
    assert!(timeouts.into_iter().all(|ms| ms == 150));
    scene.end().await;
    Ok(())
}
